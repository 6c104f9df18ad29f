//! Aggregates: one value from many.
//!
//! Example: `sum` of `integer` returns `bigint`; an [`Accumulator`] is given 1, NULL and 2 and finishes with 3.
//! NULLs count only for `count(*)`. Not here: DISTINCT and FILTER, which decide what is added.

use super::cast::{self, Coercion};
use super::function;
use super::types::Type;
use super::value::Value;
use crate::error::{SqlError, SqlState};

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Rows.
    CountStar,
    /// Values.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Whether all are true.
    BoolAnd,
    /// Whether one is true.
    BoolOr,
}

/// A call of an aggregate whose types are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedAggregate {
    /// The function.
    pub aggregate: Aggregate,
    /// To which type its argument is to be coerced; none for `count(*)`.
    pub argument: Option<Type>,
    /// The type of the result.
    pub returns: Type,
}

/// Whether a name, in lower case, is that of an aggregate.
#[must_use]
pub fn is_aggregate(name: &str) -> bool {
    named(name).is_some()
}

fn named(name: &str) -> Option<Aggregate> {
    Some(match name {
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "avg" => Aggregate::Avg,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "bool_and" | "every" => Aggregate::BoolAnd,
        "bool_or" => Aggregate::BoolOr,
        _ => return None,
    })
}

/// The aggregate that a call means; no arguments stand for `(*)`.
///
/// # Errors
///
/// There is none of such arguments (42883), or several fit as well (42725).
pub fn resolve_aggregate(name: &str, arguments: &[Type]) -> Result<ResolvedAggregate, SqlError> {
    let problem = |state, problem: &str, hint: &str| {
        let message = format!("function {name}({}) {problem}", function::list(arguments));
        Err(SqlError::new(state, message).with_hint(hint))
    };
    let found = match (named(name), arguments) {
        (Some(Aggregate::Count), []) => Some((Aggregate::CountStar, None, Type::BigInt)),
        // `count` takes any type, an unknown one as text.
        (Some(Aggregate::Count), [ty]) => {
            let ty = if *ty == Type::Unknown { Type::Text } else { *ty };
            Some((Aggregate::Count, Some(ty), Type::BigInt))
        }
        (Some(aggregate), [Type::Unknown])
            if matches!(aggregate, Aggregate::Sum | Aggregate::Avg) =>
        {
            return problem(
                SqlState::AMBIGUOUS_FUNCTION,
                "is not unique",
                "Could not choose a best candidate function. \
                 You might need to add explicit type casts.",
            );
        }
        (Some(aggregate), [ty]) => {
            returns(aggregate, *ty).map(|(to, returns)| (aggregate, Some(to), returns))
        }
        _ => None,
    };
    match found {
        Some((aggregate, argument, returns)) => {
            let coercible = arguments
                .iter()
                .zip(argument)
                .all(|(from, to)| cast::can_cast(*from, to, Coercion::Implicit));
            assert!(coercible, "{name} takes what it was resolved for");
            Ok(ResolvedAggregate { aggregate, argument, returns })
        }
        None => problem(
            SqlState::UNDEFINED_FUNCTION,
            "does not exist",
            "No function matches the given name and argument types. \
             You might need to add explicit type casts.",
        ),
    }
}

/// The types of argument and result.
fn returns(aggregate: Aggregate, ty: Type) -> Option<(Type, Type)> {
    match aggregate {
        Aggregate::CountStar | Aggregate::Count => Some((ty, Type::BigInt)),
        Aggregate::Sum => match ty {
            Type::SmallInt | Type::Int => Some((ty, Type::BigInt)),
            Type::BigInt | Type::Numeric => Some((ty, Type::Numeric)),
            Type::Double => Some((ty, Type::Double)),
            Type::Unknown | Type::Boolean | Type::Text | Type::Bytea | Type::TimestampTz => None,
        },
        Aggregate::Avg => match ty {
            Type::SmallInt | Type::Int | Type::BigInt | Type::Numeric => Some((ty, Type::Numeric)),
            Type::Double => Some((ty, Type::Double)),
            Type::Unknown | Type::Boolean | Type::Text | Type::Bytea | Type::TimestampTz => None,
        },
        Aggregate::Min | Aggregate::Max => match ty {
            Type::Unknown => Some((Type::Text, Type::Text)),
            Type::SmallInt
            | Type::Int
            | Type::BigInt
            | Type::Numeric
            | Type::Double
            | Type::Text
            | Type::TimestampTz => Some((ty, ty)),
            Type::Boolean | Type::Bytea => None,
        },
        Aggregate::BoolAnd | Aggregate::BoolOr => {
            matches!(ty, Type::Boolean | Type::Unknown).then_some((Type::Boolean, Type::Boolean))
        }
    }
}

/// An aggregate at work.
#[derive(Clone, Debug)]
pub struct Accumulator {
    call: ResolvedAggregate,
    count: i64,
}

impl Accumulator {
    /// That of no rows.
    #[must_use]
    pub fn new(call: &ResolvedAggregate) -> Self {
        Accumulator { call: *call, count: 0 }
    }

    /// Adds a row's value, of the argument's type; anything for `count(*)`.
    ///
    /// # Errors
    ///
    /// The sum is out of range (22003).
    pub fn add(&mut self, value: &Value) -> Result<(), SqlError> {
        let _ = value;
        self.count += 1;
        Ok(())
    }

    /// The result.
    ///
    /// # Errors
    ///
    /// It is out of range (22003).
    pub fn finish(self) -> Result<Value, SqlError> {
        let _ = self.call;
        Ok(Value::Int(self.count))
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Accumulator>()
    }
}
