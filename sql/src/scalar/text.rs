//! Values as text and back: PostgreSQL's output and input functions.

use super::env::Env;
use super::types::Type;
use super::value::Value;
use crate::error::{SqlError, SqlState};

/// The text of a value, the empty text for NULL.
pub(super) fn output(value: &Value, ty: Type, env: &Env) -> String {
    let _ = (ty, env);
    match value {
        Value::Int(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        _ => String::new(),
    }
}

/// The value of a text.
pub(super) fn input(text: &str, ty: Type, env: &Env) -> Result<Value, SqlError> {
    let _ = env;
    if matches!(ty, Type::Text | Type::Unknown) {
        return Ok(Value::Text(text.to_owned()));
    }
    let message = format!("invalid input syntax for type {ty}: \"{text}\"");
    Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message))
}
