//! The syntax that is ours alone.
//!
//! ```text
//! CREATE TABLE .. SPLIT AT VALUES (key, ..), ..
//! CREATE TABLE .. SPLIT INTO n SHARDS FROM (lo) TO (hi)
//! SELECT .. FROM t AS OF SYSTEM TIME time        also BEGIN READ ONLY AS OF SYSTEM TIME time
//! SET CLUSTER SETTING name = value               RESET CLUSTER SETTING name
//! SHOW CLUSTER SETTING name | SHOW CLUSTER SETTINGS
//! SHOW TABLES | SHOW COLUMNS FROM t | SHOW CREATE TABLE t
//! ```
//! A time is `'2026-11-25 10:00:00+00'`, `'-10s'`, nanoseconds since the Unix epoch, or
//! `with_max_staleness('10s')`. The clauses are cut out of the tokens before sqlparser sees them.

use sqlparser::tokenizer::{Token, TokenWithSpan};
use std::time::Duration;
use truetime::Timestamp;

use super::ast::{AsOf, Expr, Split};
use super::cursor::{Cursor, starts_with};
use super::{Context, Statement};
use crate::error::{SqlError, SqlState};
use crate::scalar::env::Env;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// Statements that are wholly ours.
pub(super) fn statement(
    context: &Context<'_>,
    tokens: &[TokenWithSpan],
) -> Result<Option<Statement>, SqlError> {
    let mut cursor = Cursor::new(context.source, tokens);
    let statement = if cursor.words(&["SET", "CLUSTER", "SETTING"]) {
        let name = setting_name(&mut cursor)?;
        if !cursor.sign(&Token::Eq) {
            cursor.expect_words(&["TO"])?;
        }
        let value = if cursor.word("DEFAULT") { None } else { Some(setting_value(&mut cursor)?) };
        Statement::SetClusterSetting { name, value }
    } else if cursor.words(&["RESET", "CLUSTER", "SETTING"]) {
        Statement::SetClusterSetting { name: setting_name(&mut cursor)?, value: None }
    } else if cursor.words(&["SHOW", "CLUSTER", "SETTINGS"])
        || cursor.words(&["SHOW", "ALL", "CLUSTER", "SETTINGS"])
    {
        Statement::ShowClusterSetting { name: None }
    } else if cursor.words(&["SHOW", "CLUSTER", "SETTING"]) {
        Statement::ShowClusterSetting { name: Some(setting_name(&mut cursor)?) }
    } else if cursor.words(&["SHOW", "TABLES"]) {
        Statement::ShowTables
    } else if cursor.words(&["SHOW", "COLUMNS", "FROM"]) {
        Statement::ShowColumns { table: table_name(&mut cursor)? }
    } else if cursor.words(&["SHOW", "CREATE", "TABLE"]) {
        Statement::ShowCreateTable { table: table_name(&mut cursor)? }
    } else {
        return Ok(None);
    };
    cursor.end()?;
    Ok(Some(statement))
}

/// `a.b.c`, in lower case.
pub(super) fn setting_name(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let mut name = cursor.name()?.value.to_lowercase();
    while cursor.sign(&Token::Period) {
        name.push('.');
        name.push_str(&cursor.name()?.value.to_lowercase());
    }
    Ok(name)
}

/// A text, a number with perhaps a unit, or a word.
pub(super) fn setting_value(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    match cursor.text().or_else(|| cursor.number()) {
        Some(value) => Ok(value),
        None => Ok(cursor.name()?.value),
    }
}

fn table_name(cursor: &mut Cursor<'_>) -> Result<super::ast::Name, SqlError> {
    let first = cursor.name()?;
    if !cursor.sign(&Token::Period) {
        return Ok(first);
    }
    if first.value != "public" {
        return Err(super::convert::no_schema(&first));
    }
    cursor.name()
}

/// Clauses of ours in a statement that sqlparser parses.
#[derive(Default)]
pub(super) struct Clauses {
    split: Option<Split>,
    as_of: Option<(AsOf, u32)>,
}

/// Cuts the clauses out.
pub(super) fn take_clauses(
    context: &Context<'_>,
    tokens: &[TokenWithSpan],
) -> Result<(Vec<TokenWithSpan>, Clauses), SqlError> {
    let mut clauses = Clauses::default();
    let mut kept = tokens.to_vec();
    if starts_with(tokens, &["CREATE"]) {
        let at = place_of(tokens, &["SPLIT", "AT"]);
        if let Some(at) = at.or_else(|| place_of(tokens, &["SPLIT", "INTO"])) {
            clauses.split = Some(split(context, &tokens[at..])?);
            kept.truncate(at);
        }
    } else if let Some(at) = place_of(tokens, &["AS", "OF", "SYSTEM", "TIME"]) {
        let mut cursor = Cursor::new(context.source, &tokens[at..]);
        let place = cursor.place();
        let as_of = as_of(&mut cursor)?.expect("the words are there");
        let length = tokens.len() - at - cursor.rest().len();
        kept.drain(at..at + length);
        clauses.as_of = Some((as_of, place));
    }
    Ok((kept, clauses))
}

/// Where words stand outside of brackets.
fn place_of(tokens: &[TokenWithSpan], words: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 && starts_with(&tokens[at..], words) => return Some(at),
            _ => {}
        }
    }
    None
}

/// Puts the clauses where they belong.
pub(super) fn put_clauses(
    mut statement: Statement,
    clauses: Clauses,
) -> Result<Statement, SqlError> {
    if let Some(split) = clauses.split {
        match &mut statement {
            Statement::CreateTable(create) => create.split = Some(split),
            _ => return Err(misplaced("SPLIT", "CREATE TABLE", 0)),
        }
    }
    if let Some((as_of, place)) = clauses.as_of {
        match &mut statement {
            Statement::Query(query) if query.lock.is_some() => {
                let message = "AS OF SYSTEM TIME reads without locks; leave FOR UPDATE out";
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(place));
            }
            Statement::Query(query) => query.as_of = Some(as_of),
            _ => return Err(misplaced("AS OF SYSTEM TIME", "SELECT", place)),
        }
    }
    Ok(statement)
}

fn misplaced(clause: &str, statement: &str, place: u32) -> SqlError {
    let message = format!("{clause} is a clause of {statement} only");
    SqlError::new(SqlState::SYNTAX_ERROR, message).at(place)
}

fn split(context: &Context<'_>, tokens: &[TokenWithSpan]) -> Result<Split, SqlError> {
    let mut cursor = Cursor::new(context.source, tokens);
    let split = if cursor.words(&["SPLIT", "AT"]) {
        cursor.expect_words(&["VALUES"])?;
        let mut keys = vec![expressions(context, &mut cursor)?];
        while cursor.sign(&Token::Comma) {
            keys.push(expressions(context, &mut cursor)?);
        }
        Split::At(keys)
    } else {
        cursor.expect_words(&["SPLIT", "INTO"])?;
        let shards = expression(context, &mut cursor)?;
        if !cursor.word("SHARD") {
            cursor.expect_words(&["SHARDS"])?;
        }
        cursor.expect_words(&["FROM"])?;
        let from = in_brackets(context, &mut cursor)?;
        cursor.expect_words(&["TO"])?;
        let to = in_brackets(context, &mut cursor)?;
        Split::Evenly { shards, from, to }
    };
    cursor.end()?;
    Ok(split)
}

fn expression(context: &Context<'_>, cursor: &mut Cursor<'_>) -> Result<Expr, SqlError> {
    // One expression ends at a comma, a bracket or a word of ours; a copy of all that follows would be
    // quadratic in the number of keys.
    let mut depth = 0_usize;
    let ends = |token: &TokenWithSpan| match token.token {
        Token::LParen => {
            depth += 1;
            false
        }
        Token::RParen if depth > 0 => {
            depth -= 1;
            false
        }
        Token::RParen => true,
        Token::Comma => depth == 0,
        _ => false,
    };
    let rest = cursor.rest();
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    if end == 0 {
        return Err(cursor.unexpected());
    }
    let (expr, consumed) = context.expression(&rest[..end])?;
    cursor.skip(consumed);
    Ok(expr)
}

fn expressions(context: &Context<'_>, cursor: &mut Cursor<'_>) -> Result<Vec<Expr>, SqlError> {
    cursor.expect_sign(&Token::LParen)?;
    let mut expressions = vec![expression(context, cursor)?];
    while cursor.sign(&Token::Comma) {
        expressions.push(expression(context, cursor)?);
    }
    cursor.expect_sign(&Token::RParen)?;
    Ok(expressions)
}

fn in_brackets(context: &Context<'_>, cursor: &mut Cursor<'_>) -> Result<Expr, SqlError> {
    cursor.expect_sign(&Token::LParen)?;
    let expr = expression(context, cursor)?;
    cursor.expect_sign(&Token::RParen)?;
    Ok(expr)
}

/// `AS OF SYSTEM TIME ..`, if it comes next.
pub(super) fn as_of(cursor: &mut Cursor<'_>) -> Result<Option<AsOf>, SqlError> {
    if !cursor.words(&["AS", "OF", "SYSTEM", "TIME"]) {
        return Ok(None);
    }
    let place = cursor.place();
    time(cursor).map(Some).map_err(|error| error.at(place))
}

fn time(cursor: &mut Cursor<'_>) -> Result<AsOf, SqlError> {
    if cursor.word("with_max_staleness") {
        cursor.expect_sign(&Token::LParen)?;
        let text = cursor.text().ok_or_else(|| cursor.unexpected())?;
        cursor.expect_sign(&Token::RParen)?;
        let age = text.strip_prefix('-').unwrap_or(&text);
        return Ok(AsOf::MaxStaleness(duration(age).ok_or_else(|| no_time(&text))?));
    }
    if let Some(number) = cursor.number() {
        return nanoseconds(&number).ok_or_else(|| no_time(&number));
    }
    let _typed = cursor.words(&["timestamp", "with", "time", "zone"]) || cursor.word("timestamptz");
    let text = cursor.text().ok_or_else(|| cursor.unexpected())?;
    if cursor.sign(&Token::DoubleColon) {
        let _cast = cursor.words(&["timestamp", "with", "time", "zone"])
            || cursor.word("timestamptz")
            || cursor.words(&["string"]);
    }
    if let Some(age) = text.strip_prefix('-') {
        return Ok(AsOf::Ago(duration(age).ok_or_else(|| no_time(&text))?));
    }
    if let Some(time) = nanoseconds(&text) {
        return Ok(time);
    }
    match Value::from_text(&text, Type::TimestampTz, &Env::default())? {
        Value::TimestampTz(micros) => {
            let micros = u64::try_from(micros).ok().and_then(|micros| micros.checked_mul(1_000));
            micros.map(|nanos| AsOf::Timestamp(Timestamp::from_nanos(nanos)))
        }
        _ => None,
    }
    .ok_or_else(|| no_time(&text))
}

fn no_time(text: &str) -> SqlError {
    let message = format!("\"{text}\" is no time to read at");
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint(
        "Give an instant from 1970 on, an age such as '-10s', nanoseconds since the Unix epoch, \
         or with_max_staleness('10s').",
    )
}

/// `1764065000000000000`, also with a fraction of zeros.
fn nanoseconds(text: &str) -> Option<AsOf> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos = whole.parse().ok()?;
    let zeros = fraction.bytes().all(|digit| digit == b'0');
    zeros.then_some(AsOf::Timestamp(Timestamp::from_nanos(nanos)))
}

/// `1h30m`, `1.5s`, `250ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut nanos = 0_u128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u128 = match unit.trim() {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        nanos =
            nanos.checked_add(whole.checked_mul(unit)?)?.checked_add(fraction * unit / scale)?;
        rest = after;
    }
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}
