//! Casts: which there are, and what they do.

use super::env::Env;
use super::types::Type;
use super::value::Value;
use super::{double, numeric, text};
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
    if from == to {
        return Ok(value);
    }
    if needed(from, to).is_none() {
        let message = format!("cannot cast type {from} to {to}");
        return Err(SqlError::new(SqlState::CANNOT_COERCE, message));
    }
    Ok(match (to, value) {
        (_, Value::Null) => Value::Null,
        (Type::Text | Type::Unknown, Value::Text(text)) => Value::Text(text),
        (_, Value::Text(text)) => text::input(&text, to, env)?,
        (Type::Text, Value::Bool(value)) => Value::Text(value.to_string()),
        (Type::Text, value) => Value::Text(text::output(&value, env)),
        (Type::Boolean, Value::Int(value)) => Value::Bool(value != 0),
        (Type::SmallInt | Type::Int | Type::BigInt, value) => Value::Int(integer(&value, to)?),
        (Type::Numeric, Value::Int(value)) => Value::Numeric(numeric::from_int(value)),
        (Type::Numeric, Value::Double(value)) => Value::Numeric(numeric::from_double(value)?),
        #[expect(clippy::cast_precision_loss, reason = "PostgreSQL rounds it too")]
        (Type::Double, Value::Int(value)) => Value::Double(value as f64),
        (Type::Double, Value::Numeric(value)) => Value::Double(numeric::to_double(value)),
        (_, value) => {
            let message = format!("a value of type {from} is {value:?}");
            return Err(SqlError::new(SqlState::INTERNAL_ERROR, message));
        }
    })
}

/// The value as an integer of that type.
fn integer(value: &Value, to: Type) -> Result<i64, SqlError> {
    let (min, max) = text::bounds(to);
    let integer = match value {
        Value::Int(value) => Some(*value).filter(|value| (min..=max).contains(value)),
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Double(value) => double::to_integer(*value, min, max),
        Value::Numeric(value) => numeric::to_integer(*value, min, max),
        Value::Null | Value::Text(_) | Value::Bytes(_) | Value::TimestampTz(_) => None,
    };
    integer.ok_or_else(|| out_of_range(to))
}

/// The error of an integer that its type cannot hold.
pub(super) fn out_of_range(ty: Type) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{ty} out of range"))
}
