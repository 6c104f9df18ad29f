//! Arguments of functions as what they are in Rust.
//!
//! The planner has coerced them to the types that the function declares, and NULLs have been dealt with; an
//! argument that is something else all the same is a bug of ours, and the statement fails with XX000.

use rust_decimal::Decimal;

use crate::error::{SqlError, SqlState};
use crate::scalar::value::Value;

fn wrong(arguments: &[Value], place: usize) -> SqlError {
    let message = format!("argument {place} of a function is {:?}", arguments.get(place));
    SqlError::new(SqlState::INTERNAL_ERROR, message)
}

macro_rules! argument {
    ($($(#[$doc:meta])* $name:ident: $variant:ident as $ty:ty, $get:expr;)*) => {
        $($(#[$doc])* pub(super) fn $name(arguments: &[Value], place: usize) -> Result<$ty, SqlError> {
            match arguments.get(place) {
                Some(Value::$variant(value)) => Ok($get(value)),
                _ => Err(wrong(arguments, place)),
            }
        })*
    };
}

argument! {
    boolean: Bool as bool, |value: &bool| *value;
    int: Int as i64, |value: &i64| *value;
    double: Double as f64, |value: &f64| *value;
    numeric: Numeric as Decimal, |value: &Decimal| *value;
    timestamp: TimestampTz as i64, |value: &i64| *value;
}

pub(super) fn text(arguments: &[Value], place: usize) -> Result<&str, SqlError> {
    match arguments.get(place) {
        Some(Value::Text(value)) => Ok(value),
        _ => Err(wrong(arguments, place)),
    }
}

pub(super) fn bytes(arguments: &[Value], place: usize) -> Result<&[u8], SqlError> {
    match arguments.get(place) {
        Some(Value::Bytes(value)) => Ok(value),
        _ => Err(wrong(arguments, place)),
    }
}
