//! Values as text and back: PostgreSQL's output and input functions.

use super::env::{ByteaOutput, Env};
use super::types::Type;
use super::value::Value;
use super::{double, numeric, timestamp};
use crate::error::{SqlError, SqlState};

/// The text of a value, the empty text for NULL. A value says enough of its type.
pub(super) fn output(value: &Value, env: &Env) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "t".to_owned(),
        Value::Bool(false) => "f".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => double::output(*value, env.session.extra_float_digits),
        Value::Numeric(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Bytes(value) => match env.session.bytea_output {
            ByteaOutput::Hex => format!("\\x{}", hex(value)),
            ByteaOutput::Escape => escape(value),
        },
        Value::TimestampTz(value) => timestamp::output(*value, &env.session.time_zone),
    }
}

/// The value of a text.
pub(super) fn input(text: &str, ty: Type, env: &Env) -> Result<Value, SqlError> {
    Ok(match ty {
        Type::Text | Type::Unknown => Value::Text(text.to_owned()),
        Type::Boolean => Value::Bool(boolean(text)?),
        Type::SmallInt | Type::Int | Type::BigInt => Value::Int(integer(text, ty)?),
        Type::Numeric => Value::Numeric(numeric::input(text)?),
        Type::Double => Value::Double(double::input(text)?),
        Type::Bytea => Value::Bytes(bytes(text)?),
        Type::TimestampTz => Value::TimestampTz(timestamp::input(text, env)?),
    })
}

/// C's `isspace`.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{B}' | '\u{C}' | '\r')
}

/// The least and greatest value of an integer type.
pub(super) fn bounds(ty: Type) -> (i64, i64) {
    match ty {
        Type::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Type::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

fn invalid(text: &str, ty: Type) -> SqlError {
    let message = format!("invalid input syntax for type {ty}: \"{text}\"");
    SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
}

fn boolean(text: &str) -> Result<bool, SqlError> {
    let word = text.trim_matches(is_space).to_ascii_lowercase();
    // Any beginning will do that means one thing only.
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(invalid(text, Type::Boolean))
    }
}

fn integer(text: &str, ty: Type) -> Result<i64, SqlError> {
    let trimmed = text.trim_matches(is_space);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let (min, max) = bounds(ty);
    let out_of_range = || {
        let message = format!("value \"{text}\" is out of range for type {ty}");
        SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
    };
    // Like PostgreSQL, count digits first and look at what follows them then.
    let counted = digits.bytes().take_while(u8::is_ascii_digit).try_fold(0_u64, |all, digit| {
        let all = all.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        (all <= max.unsigned_abs() + 1).then_some(all)
    });
    if counted.is_none() {
        return Err(out_of_range());
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(text, ty));
    }
    let value = trimmed.parse::<i64>().ok().filter(|value| (min..=max).contains(value));
    value.ok_or_else(out_of_range)
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes of hexadecimal; spaces between bytes are skipped.
pub(super) fn from_hex(text: &str) -> Result<Vec<u8>, SqlError> {
    let problem = |message: String| Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let Some(high) = digit(c) else {
            return problem(format!("invalid hexadecimal digit: \"{c}\""));
        };
        let Some(c) = rest.next() else {
            return problem("invalid hexadecimal data: odd number of digits".to_owned());
        };
        let Some(low) = digit(c) else {
            return problem(format!("invalid hexadecimal digit: \"{c}\""));
        };
        bytes.push(high << 4 | low);
    }
    Ok(bytes)
}

/// Bytes as text, with a backslash before those that are none.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7E => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text
}

/// The bytes of [`escape`]'s text; none where a backslash makes no sense.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => return None,
        }
    }
    Some(bytes)
}

fn bytes(text: &str) -> Result<Vec<u8>, SqlError> {
    if let Some(digits) = text.strip_prefix("\\x") {
        return from_hex(digits);
    }
    unescape(text).ok_or_else(|| {
        let message = "invalid input syntax for type bytea";
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    })
}
