//! Functions that turn any type into text, and bytes into text and back.
//!
//! `||` and `quote_literal` cast what is no text, so that a boolean becomes `true`; `concat` writes it out as a
//! client would see it, so that it becomes `t`.

use super::arguments::{bytes, text};
use super::text::check_length;
use crate::error::{SqlError, SqlState};
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::text as form;
use crate::scalar::types::Type::{
    self, BigInt, Boolean, Bytea, Double, Int, Numeric, SmallInt, Text, TimestampTz, Unknown,
};
use crate::scalar::value::Value;

type Evaluated = Result<Value, SqlError>;

/// The text of a cast to TEXT.
fn cast_text(value: &Value, env: &Env) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        other => form::output(other, env),
    }
}

fn concatenate(arguments: &[Value], env: &mut Env) -> Evaluated {
    let text: String = arguments.iter().map(|value| cast_text(value, env)).collect();
    Ok(Value::Text(text))
}

fn concat(arguments: &[Value], env: &mut Env) -> Evaluated {
    let text: String = arguments.iter().map(|value| form::output(value, env)).collect();
    Ok(Value::Text(text))
}

fn concat_ws(arguments: &[Value], env: &mut Env) -> Evaluated {
    let Some((separator, values)) = arguments.split_first() else { return Ok(Value::Null) };
    if separator.is_null() {
        return Ok(Value::Null);
    }
    let values = values.iter().filter(|value| !value.is_null());
    let texts: Vec<String> = values.map(|value| form::output(value, env)).collect();
    let separator = form::output(separator, env);
    check_length(separator.len().saturating_mul(texts.len()))?;
    Ok(Value::Text(texts.join(&separator)))
}

fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if !text.contains('\\') {
        return format!("'{quoted}'");
    }
    format!("E'{}'", quoted.replace('\\', "\\\\"))
}

fn quote_literal(arguments: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::Text(literal(&cast_text(&arguments[0], env))))
}

fn quote_nullable(arguments: &[Value], env: &mut Env) -> Evaluated {
    if arguments[0].is_null() {
        return Ok(Value::Text("NULL".to_owned()));
    }
    quote_literal(arguments, env)
}

/// The key words of PostgreSQL 15 that are not free to be the name of everything.
const KEY_WORDS: &str = " all analyse analyze and any array as asc asymmetric authorization between bigint \
binary bit boolean both case cast char character check coalesce collate collation column concurrently \
constraint create cross current_catalog current_date current_role current_schema current_time \
current_timestamp current_user dec decimal default deferrable desc distinct do else end except exists extract \
false fetch float for foreign freeze from full grant greatest group grouping having ilike in initially inner \
inout int integer intersect interval into is isnull join lateral leading least left like limit localtime \
localtimestamp national natural nchar none normalize not notnull null nullif numeric offset on only or order \
out outer overlaps overlay placing position precision primary real references returning right row select \
session_user setof similar smallint some substring symmetric table tablesample then time timestamp to trailing \
treat trim true union unique user using values varchar variadic verbose when where window with xmlattributes \
xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable ";

fn quote_ident(arguments: &[Value], _: &mut Env) -> Evaluated {
    let name = text(arguments, 0)?;
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let safe = starts && name.chars().all(is_plain) && !KEY_WORDS.contains(&format!(" {name} "));
    let quoted = || format!("\"{}\"", name.replace('"', "\"\""));
    Ok(Value::Text(if safe { name.to_owned() } else { quoted() }))
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn encode(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (bytes, encoding) = (bytes(arguments, 0)?, text(arguments, 1)?);
    Ok(Value::Text(match encoding.to_ascii_lowercase().as_str() {
        "hex" => form::hex(bytes),
        "base64" => base64(bytes),
        "escape" => encode_escape(bytes),
        _ => return Err(invalid(format!("unrecognized encoding: \"{encoding}\""))),
    }))
}

/// Unlike [`form::escape`], only zeros and bytes above ASCII are escaped.
fn encode_escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            0 | 0x80.. => text.push_str(&format!("\\{byte:03o}")),
            b'\\' => text.push_str("\\\\"),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

fn decode(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (text, encoding) = (text(arguments, 0)?, text(arguments, 1)?);
    Ok(Value::Bytes(match encoding.to_ascii_lowercase().as_str() {
        "hex" => form::from_hex(text)?,
        "base64" => from_base64(text)?,
        "escape" => form::unescape(text).ok_or_else(|| {
            let message = "invalid input syntax for type bytea";
            SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
        })?,
        _ => return Err(invalid(format!("unrecognized encoding: \"{encoding}\""))),
    }))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// With lines of 76 characters.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + 4);
    for (place, chunk) in bytes.chunks(3).enumerate() {
        if place > 0 && place % 19 == 0 {
            text.push('\n');
        }
        let all = chunk.iter().fold(0_usize, |all, byte| all << 8 | usize::from(*byte));
        let all = all << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let symbol = BASE64[all >> (18 - 6 * digit) & 63];
            text.push(if digit <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Result<Vec<u8>, SqlError> {
    let end = || {
        invalid("invalid base64 end sequence".to_owned())
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted.")
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    // How many bytes the group of four has that the first `=` is in. As in PostgreSQL, all after it have too.
    let (mut all, mut digits, mut kept) = (0_u32, 0, None);
    for c in text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')) {
        let digit = if c == '=' {
            match (kept, digits) {
                (None, 2) => kept = Some(1),
                (None, 3) => kept = Some(2),
                (None, _) => {
                    let message = "unexpected \"=\" while decoding base64 sequence";
                    return Err(invalid(message.to_owned()));
                }
                (Some(_), _) => {}
            }
            0
        } else {
            let symbol = BASE64.iter().position(|symbol| char::from(*symbol) == c);
            symbol.and_then(|at| u32::try_from(at).ok()).ok_or_else(|| {
                invalid(format!("invalid symbol \"{c}\" found while decoding base64 sequence"))
            })?
        };
        all = all << 6 | digit;
        digits += 1;
        if digits == 4 {
            let [_, three @ ..] = all.to_be_bytes();
            bytes.extend_from_slice(&three[..kept.unwrap_or(3)]);
            (all, digits) = (0, 0);
        }
    }
    if digits == 0 { Ok(bytes) } else { Err(end()) }
}

/// The name of a type, for each type.
macro_rules! type_names {
    ($($ty:ident)*) => {
        [$(Function::new("pg_typeof", &[$ty], Text, |_, _| {
            Ok(Value::Text(Type::$ty.name().to_owned()))
        }).takes_null()),*]
    };
}

pub(super) static TYPE_NAMES: [Function; 10] =
    type_names!(Unknown Boolean SmallInt Int BigInt Numeric Double Text Bytea TimestampTz);

/// PostgreSQL's `text || anynonarray` and `anynonarray || text`, one for each type.
macro_rules! concatenations {
    ($($ty:ident)*) => {
        [$(
            Function::new("||", &[Text, $ty], Text, concatenate).stable(),
            Function::new("||", &[$ty, Text], Text, concatenate).stable(),
        )*]
    };
}

pub(super) static OPERATORS: [Function; 16] =
    concatenations!(Boolean SmallInt Int BigInt Numeric Double Bytea TimestampTz);

macro_rules! quotes {
    ($($ty:ident)*) => {
        [$(
            Function::new("quote_literal", &[$ty], Text, quote_literal).stable(),
            Function::new("quote_nullable", &[$ty], Text, quote_nullable).stable().takes_null(),
        )*]
    };
}

pub(super) static QUOTES: [Function; 18] =
    quotes!(Text Boolean SmallInt Int BigInt Numeric Double Bytea TimestampTz);

pub(super) static FUNCTIONS: [Function; 5] = [
    Function::new("concat", &[], Text, concat).stable().takes_null().variadic(),
    Function::new("concat_ws", &[Text], Text, concat_ws).stable().takes_null().variadic(),
    Function::new("quote_ident", &[Text], Text, quote_ident),
    Function::new("encode", &[Bytea, Text], Text, encode),
    Function::new("decode", &[Text, Text], Bytea, decode),
];
