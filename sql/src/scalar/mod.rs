//! Scalars: types, values, and all that computes with them and knows no table and no syntax.
//!
//! PostgreSQL 15 is the model, answer for answer and SQLSTATE for SQLSTATE; `testdata/` holds what it said
//! about many expressions, and beside it our own answer where that is another on purpose. A *type*
//! ([`types::Type`]) is known while planning, a *value* ([`value::Value`]) while executing; a value does not
//! name its type, because all integers are alike in it.
//! What an evaluation depends on beyond its arguments is its *environment* ([`env::Env`]).
//!
//! Example: `1 + 2.5` asks [`function::resolve_operator`] for `+` of `integer` and `numeric`; the answer says
//! to coerce both arguments to `numeric` and which function to call, and that the result is `numeric`.
//!
//! Not here: what evaluates its operands only as needed (CASE, COALESCE, AND, OR), types with a length
//! (`varchar(10)`), intervals, dates, arrays, regular expressions.

pub mod aggregate;
pub mod cast;
pub mod env;
pub mod function;
pub mod types;
pub mod value;

mod double;
mod functions;
mod like;
mod numeric;
mod overload;
mod series;
mod text;
mod timestamp;

#[cfg(test)]
mod tests;
