//! Functions of text, and their like for bytes.
//!
//! Places in a text are counted in characters, from 1. A result of more than [`RESULT_BYTES_MAX`] is refused
//! where its length is not that of the arguments; PostgreSQL's limit is a gigabyte.

use super::arguments::{bytes, int, text};
use crate::error::{SqlError, SqlState};
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::like::{self, Unit};
use crate::scalar::types::Type::{Boolean, Bytea, Int, Text};
use crate::scalar::value::Value;

type Evaluated = Result<Value, SqlError>;

/// Bytes that a function makes out of less.
pub(super) const RESULT_BYTES_MAX: usize = 16 << 20;

fn string(text: impl Into<String>) -> Evaluated {
    Ok(Value::Text(text.into()))
}

fn count(length: usize) -> Evaluated {
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// Refuses what is too long.
pub(super) fn check_length(length: usize) -> Result<(), SqlError> {
    if length <= RESULT_BYTES_MAX {
        return Ok(());
    }
    Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large"))
}

/// In upper or lower case, where that is one character too, as in PostgreSQL.
fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        // The one that C's library folds otherwise than Unicode says.
        _ if c == 'İ' => 'i',
        _ => c,
    }
}

pub(super) fn lower_case(text: &str) -> String {
    text.chars().map(|c| single(c, c.to_lowercase())).collect()
}

fn lower(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(lower_case(text(arguments, 0)?))
}

fn upper(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(text(arguments, 0)?.chars().map(|c| single(c, c.to_uppercase())).collect::<String>())
}

fn initcap(arguments: &[Value], _: &mut Env) -> Evaluated {
    let mut in_word = false;
    let capitalise = |c: char| {
        let mapped =
            if in_word { single(c, c.to_lowercase()) } else { single(c, c.to_uppercase()) };
        in_word = c.is_alphanumeric();
        mapped
    };
    string(text(arguments, 0)?.chars().map(capitalise).collect::<String>())
}

fn length(arguments: &[Value], _: &mut Env) -> Evaluated {
    count(text(arguments, 0)?.chars().count())
}

fn octets(arguments: &[Value], _: &mut Env) -> Evaluated {
    count(text(arguments, 0)?.len())
}

fn bits(arguments: &[Value], _: &mut Env) -> Evaluated {
    count(text(arguments, 0)?.len() * 8)
}

fn length_of_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    count(bytes(arguments, 0)?.len())
}

fn bits_of_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    count(bytes(arguments, 0)?.len() * 8)
}

/// The part that `substring` means: how many units to skip and to take.
fn part(arguments: &[Value]) -> Result<(usize, usize), SqlError> {
    let start = int(arguments, 1)?;
    let end = match arguments.get(2) {
        None => i64::MAX,
        Some(_) => {
            let length = int(arguments, 2)?;
            if length < 0 {
                let message = "negative substring length not allowed";
                return Err(SqlError::new(SqlState::SUBSTRING_ERROR, message));
            }
            start.saturating_add(length)
        }
    };
    let start = start.max(1);
    let units = |count: i64| usize::try_from(count).unwrap_or(0);
    Ok((units(start - 1), units(end.saturating_sub(start))))
}

fn substring(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (skip, take) = part(arguments)?;
    string(text(arguments, 0)?.chars().skip(skip).take(take).collect::<String>())
}

fn substring_of_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (skip, take) = part(arguments)?;
    let part = bytes(arguments, 0)?.iter().copied().skip(skip).take(take);
    Ok(Value::Bytes(part.collect()))
}

fn overlay(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (whole, new, start) = (text(arguments, 0)?, text(arguments, 1)?, int(arguments, 2)?);
    let length = match arguments.get(3) {
        Some(_) => int(arguments, 3)?,
        None => i64::try_from(new.chars().count()).unwrap_or(i64::MAX),
    };
    if start <= 0 {
        let message = "negative substring length not allowed";
        return Err(SqlError::new(SqlState::SUBSTRING_ERROR, message));
    }
    let place = |count: i64| usize::try_from(count.max(0)).unwrap_or(0);
    let before = whole.chars().take(place(start - 1));
    let after = whole.chars().skip(place(start - 1 + length));
    string(before.chain(new.chars()).chain(after).collect::<String>())
}

fn position(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (whole, sought) = (text(arguments, 0)?, text(arguments, 1)?);
    count(whole.find(sought).map_or(0, |at| whole[..at].chars().count() + 1))
}

fn position_of_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (whole, sought) = (bytes(arguments, 0)?, bytes(arguments, 1)?);
    if sought.is_empty() {
        return count(1);
    }
    count(whole.windows(sought.len()).position(|part| part == sought).map_or(0, |at| at + 1))
}

/// The characters to trim.
fn trimmed(arguments: &[Value]) -> Result<Vec<char>, SqlError> {
    match arguments.get(1) {
        Some(_) => Ok(text(arguments, 1)?.chars().collect()),
        None => Ok(vec![' ']),
    }
}

fn btrim(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(text(arguments, 0)?.trim_matches(trimmed(arguments)?.as_slice()))
}

fn ltrim(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(text(arguments, 0)?.trim_start_matches(trimmed(arguments)?.as_slice()))
}

fn rtrim(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(text(arguments, 0)?.trim_end_matches(trimmed(arguments)?.as_slice()))
}

/// Bytes without those at the start, or at the end, that are among the second argument's.
fn trimmed_bytes(arguments: &[Value], start: Trim, end: Trim) -> Evaluated {
    let (mut whole, unwanted) = (bytes(arguments, 0)?, bytes(arguments, 1)?);
    while let [first, rest @ ..] = whole {
        if start == Trim::Keep || !unwanted.contains(first) {
            break;
        }
        whole = rest;
    }
    while let [rest @ .., last] = whole {
        if end == Trim::Keep || !unwanted.contains(last) {
            break;
        }
        whole = rest;
    }
    Ok(Value::Bytes(whole.to_vec()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trim {
    Cut,
    Keep,
}

fn btrim_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    trimmed_bytes(arguments, Trim::Cut, Trim::Cut)
}

fn ltrim_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    trimmed_bytes(arguments, Trim::Cut, Trim::Keep)
}

fn rtrim_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    trimmed_bytes(arguments, Trim::Keep, Trim::Cut)
}

/// So many characters, or all but so many if it is negative.
fn portion(text: &str, count: i64) -> usize {
    let length = text.chars().count();
    let magnitude = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 { length.saturating_sub(magnitude) } else { length.min(magnitude) }
}

fn left(arguments: &[Value], _: &mut Env) -> Evaluated {
    let whole = text(arguments, 0)?;
    string(whole.chars().take(portion(whole, int(arguments, 1)?)).collect::<String>())
}

fn right(arguments: &[Value], _: &mut Env) -> Evaluated {
    let whole = text(arguments, 0)?;
    let skip = whole.chars().count() - portion(whole, int(arguments, 1)?);
    string(whole.chars().skip(skip).collect::<String>())
}

/// The text cut to its length, and the padding that it lacks.
fn padded(arguments: &[Value]) -> Result<(String, String), SqlError> {
    let whole = text(arguments, 0)?;
    let fill = if arguments.len() > 2 { text(arguments, 2)? } else { " " };
    let wanted = usize::try_from(int(arguments, 1)?).unwrap_or(0);
    check_length(wanted.saturating_mul(if fill.is_empty() { 0 } else { 4 }))?;
    let kept: String = whole.chars().take(wanted).collect();
    let lacking = wanted - kept.chars().count();
    let padding = fill.chars().cycle().take(if fill.is_empty() { 0 } else { lacking });
    Ok((kept, padding.collect()))
}

fn lpad(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (kept, padding) = padded(arguments)?;
    string(padding + &kept)
}

fn rpad(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (kept, padding) = padded(arguments)?;
    string(kept + &padding)
}

fn replace(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (whole, from, to) = (text(arguments, 0)?, text(arguments, 1)?, text(arguments, 2)?);
    if from.is_empty() {
        return string(whole);
    }
    let growth = to.len().saturating_sub(from.len());
    if growth > 0 && whole.len().saturating_mul(to.len()) > RESULT_BYTES_MAX {
        check_length(whole.len() + whole.matches(from).count().saturating_mul(growth))?;
    }
    string(whole.replace(from, to))
}

fn translate(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (from, to) = (text(arguments, 1)?, text(arguments, 2)?);
    let translated = |c: char| match from.chars().position(|each| each == c) {
        Some(place) => to.chars().nth(place),
        None => Some(c),
    };
    string(text(arguments, 0)?.chars().filter_map(translated).collect::<String>())
}

fn repeat(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (whole, times) = (text(arguments, 0)?, int(arguments, 1)?);
    let times = usize::try_from(times).unwrap_or(0);
    check_length(whole.len().saturating_mul(times))?;
    string(whole.repeat(times))
}

fn reverse(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(text(arguments, 0)?.chars().rev().collect::<String>())
}

fn split_part(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (whole, delimiter, field) = (text(arguments, 0)?, text(arguments, 1)?, int(arguments, 2)?);
    let place = usize::try_from(field.unsigned_abs()).unwrap_or(usize::MAX);
    let part = match (delimiter.is_empty(), field) {
        (_, 0) => {
            let message = "field position must not be zero";
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        (true, -1 | 1) => whole,
        (true, _) => "",
        (false, 1..) => whole.split(delimiter).nth(place - 1).unwrap_or(""),
        (false, _) => {
            let parts = whole.split(delimiter).count();
            let skip = parts.checked_sub(place);
            skip.and_then(|skip| whole.split(delimiter).nth(skip)).unwrap_or("")
        }
    };
    string(part)
}

fn starts_with(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Bool(text(arguments, 0)?.starts_with(text(arguments, 1)?)))
}

fn ascii(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Int(text(arguments, 0)?.chars().next().map_or(0, |c| i64::from(u32::from(c)))))
}

fn chr(arguments: &[Value], _: &mut Env) -> Evaluated {
    let code = int(arguments, 0)?;
    let error = |message: String| Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    if code == 0 {
        return error("null character not permitted".to_owned());
    }
    if code < 0 {
        let message = "character number must be positive";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    match u32::try_from(code).ok().and_then(char::from_u32) {
        Some(c) => string(c),
        None if code > 0x10_FFFF => {
            error(format!("requested character too large for encoding: {code}"))
        }
        None => error(format!("requested character not valid for encoding: {code}")),
    }
}

fn concatenate(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(format!("{}{}", text(arguments, 0)?, text(arguments, 1)?))
}

fn concatenate_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Bytes([bytes(arguments, 0)?, bytes(arguments, 1)?].concat()))
}

fn like(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (text, pattern) = (text(arguments, 0)?.as_bytes(), text(arguments, 1)?.as_bytes());
    like::matches(text, pattern, Unit::Character).map(Value::Bool)
}

fn not(result: Evaluated) -> Evaluated {
    Ok(Value::Bool(result? == Value::Bool(false)))
}

fn not_like(arguments: &[Value], env: &mut Env) -> Evaluated {
    not(like(arguments, env))
}

fn ilike(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (text, pattern) = (lower_case(text(arguments, 0)?), lower_case(text(arguments, 1)?));
    like::matches(text.as_bytes(), pattern.as_bytes(), Unit::Character).map(Value::Bool)
}

fn not_ilike(arguments: &[Value], env: &mut Env) -> Evaluated {
    not(ilike(arguments, env))
}

fn like_bytes(arguments: &[Value], _: &mut Env) -> Evaluated {
    like::matches(bytes(arguments, 0)?, bytes(arguments, 1)?, Unit::Byte).map(Value::Bool)
}

fn not_like_bytes(arguments: &[Value], env: &mut Env) -> Evaluated {
    not(like_bytes(arguments, env))
}

fn like_escape(arguments: &[Value], _: &mut Env) -> Evaluated {
    string(like::with_backslashes(text(arguments, 0)?, text(arguments, 1)?)?)
}

pub(super) static OPERATORS: [Function; 9] = [
    Function::new("||", &[Text, Text], Text, concatenate),
    Function::new("||", &[Bytea, Bytea], Bytea, concatenate_bytes),
    Function::new("~~", &[Text, Text], Boolean, like),
    Function::new("!~~", &[Text, Text], Boolean, not_like),
    Function::new("~~*", &[Text, Text], Boolean, ilike),
    Function::new("!~~*", &[Text, Text], Boolean, not_ilike),
    Function::new("~~", &[Bytea, Bytea], Boolean, like_bytes),
    Function::new("!~~", &[Bytea, Bytea], Boolean, not_like_bytes),
    Function::new("^@", &[Text, Text], Boolean, starts_with),
];

pub(super) static FUNCTIONS: [Function; 48] = [
    Function::new("lower", &[Text], Text, lower),
    Function::new("upper", &[Text], Text, upper),
    Function::new("initcap", &[Text], Text, initcap),
    Function::new("length", &[Text], Int, length),
    Function::new("char_length", &[Text], Int, length),
    Function::new("character_length", &[Text], Int, length),
    Function::new("octet_length", &[Text], Int, octets),
    Function::new("bit_length", &[Text], Int, bits),
    Function::new("length", &[Bytea], Int, length_of_bytes),
    Function::new("octet_length", &[Bytea], Int, length_of_bytes),
    Function::new("bit_length", &[Bytea], Int, bits_of_bytes),
    Function::new("substr", &[Text, Int], Text, substring),
    Function::new("substr", &[Text, Int, Int], Text, substring),
    Function::new("substring", &[Text, Int], Text, substring),
    Function::new("substring", &[Text, Int, Int], Text, substring),
    Function::new("substr", &[Bytea, Int], Bytea, substring_of_bytes),
    Function::new("substr", &[Bytea, Int, Int], Bytea, substring_of_bytes),
    Function::new("substring", &[Bytea, Int], Bytea, substring_of_bytes),
    Function::new("substring", &[Bytea, Int, Int], Bytea, substring_of_bytes),
    Function::new("overlay", &[Text, Text, Int], Text, overlay),
    Function::new("overlay", &[Text, Text, Int, Int], Text, overlay),
    Function::new("position", &[Text, Text], Int, position),
    Function::new("strpos", &[Text, Text], Int, position),
    Function::new("position", &[Bytea, Bytea], Int, position_of_bytes),
    Function::new("btrim", &[Text], Text, btrim),
    Function::new("btrim", &[Text, Text], Text, btrim),
    Function::new("ltrim", &[Text], Text, ltrim),
    Function::new("ltrim", &[Text, Text], Text, ltrim),
    Function::new("rtrim", &[Text], Text, rtrim),
    Function::new("rtrim", &[Text, Text], Text, rtrim),
    Function::new("btrim", &[Bytea, Bytea], Bytea, btrim_bytes),
    Function::new("ltrim", &[Bytea, Bytea], Bytea, ltrim_bytes),
    Function::new("rtrim", &[Bytea, Bytea], Bytea, rtrim_bytes),
    Function::new("left", &[Text, Int], Text, left),
    Function::new("right", &[Text, Int], Text, right),
    Function::new("lpad", &[Text, Int], Text, lpad),
    Function::new("lpad", &[Text, Int, Text], Text, lpad),
    Function::new("rpad", &[Text, Int], Text, rpad),
    Function::new("rpad", &[Text, Int, Text], Text, rpad),
    Function::new("replace", &[Text, Text, Text], Text, replace),
    Function::new("translate", &[Text, Text, Text], Text, translate),
    Function::new("repeat", &[Text, Int], Text, repeat),
    Function::new("reverse", &[Text], Text, reverse),
    Function::new("split_part", &[Text, Text, Int], Text, split_part),
    Function::new("starts_with", &[Text, Text], Boolean, starts_with),
    Function::new("ascii", &[Text], Int, ascii),
    Function::new("chr", &[Int], Text, chr),
    Function::new("like_escape", &[Text, Text], Text, like_escape),
];
