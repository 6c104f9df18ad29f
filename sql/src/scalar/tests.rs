//! What PostgreSQL 15 answers, against what this module does: the files of `testdata/`.
//!
//! A line is a question, ` => ` and PostgreSQL's answer; a third part after ` =/=> ` is our own answer where it
//! is another. A question is a kind, a name and arguments, each a type and a text or `null`:
//!
//! ```text
//! op + int4 '1' int8 '2' => bigint '3'
//! fn round numeric '2.5' => numeric '3'
//! cast int8 text 'x' => !22P02 invalid input syntax for type bigint: "x"
//! agg sum int4 '1' '2' null => bigint '3'
//! common int4 numeric => numeric
//! zone Europe/Berlin
//! ```
//!
//! `questions_for_postgresql` prints them as a script for `psql -qAtX`, which prints the lines with its answers:
//! `cargo test -p sql questions_for -- --ignored --nocapture`.

mod edges;

use std::sync::Arc;

use super::aggregate::{self, Accumulator};
use super::cast::{self, Coercion};
use super::env::{Env, SessionEnv};
use super::function::{self, Resolved};
use super::timestamp;
use super::types::Type;
use super::value::Value;
use crate::error::SqlError;

const FILES: [(&str, &str); 6] = [
    ("arithmetic", include_str!("testdata/arithmetic.txt")),
    ("casts", include_str!("testdata/casts.txt")),
    ("instants", include_str!("testdata/instants.txt")),
    ("numeric", include_str!("testdata/numeric.txt")),
    ("overloads", include_str!("testdata/overloads.txt")),
    ("text", include_str!("testdata/text.txt")),
];

/// A question, taken apart.
struct Question<'a> {
    kind: &'a str,
    name: &'a str,
    arguments: Vec<(Type, Option<String>)>,
}

/// The next word, or text in quotes with its doubled quotes undone.
fn word<'a>(rest: &mut &'a str) -> Option<(&'a str, Option<String>)> {
    *rest = rest.trim_start_matches(' ');
    if !rest.starts_with('\'') {
        let end = rest.find(' ').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        *rest = after;
        return (!word.is_empty()).then_some((word, None));
    }
    let mut from = 1;
    loop {
        let end = from + rest[from..].find('\'').expect("the quote is closed");
        if rest[end + 1..].starts_with('\'') {
            from = end + 2;
            continue;
        }
        let text = rest[1..end].replace("''", "'");
        let word = &rest[..=end];
        *rest = &rest[end + 1..];
        return Some((word, Some(text)));
    }
}

fn question(line: &str) -> Question<'_> {
    let mut rest = line;
    let (kind, _) = word(&mut rest).expect("a kind");
    let name = if kind == "common" { "" } else { word(&mut rest).expect("a name").0 };
    let mut arguments: Vec<(Type, Option<String>)> = Vec::new();
    let mut ty = None;
    while let Some((plain, text)) = word(&mut rest) {
        if text.is_some() || plain == "null" {
            arguments.push((ty.expect("the type is before the value"), text));
        } else {
            ty = Some(Type::parse_name(plain).expect("it is a type"));
            if kind == "common" {
                arguments.push((ty.expect("it is some"), None));
            }
        }
    }
    Question { kind, name, arguments }
}

/// What PostgreSQL calls it in an expression.
fn sql_of_argument(ty: Type, text: &Option<String>) -> String {
    let value = match text {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => "NULL".to_owned(),
    };
    if ty == Type::Unknown { value } else { format!("CAST({value} AS {ty})") }
}

fn sql_of(question: &Question<'_>) -> String {
    let arguments: Vec<String> =
        question.arguments.iter().map(|(ty, text)| sql_of_argument(*ty, text)).collect();
    let name = question.name;
    match (question.kind, arguments.as_slice()) {
        ("op", [right]) => format!("{name} {right}"),
        ("op", [left, right]) => format!("{left} {name} {right}"),
        ("fn", all) => format!("pg_catalog.{name}({})", all.join(", ")),
        ("cast", [value]) => format!("CAST({value} AS {})", Type::parse_name(name).unwrap()),
        ("agg", all) => {
            format!("SELECT {name}(v) FROM (VALUES ({})) AS t(v)", all.join("), ("))
        }
        ("common", all) => format!("COALESCE({})", all.join(", ")),
        _ => panic!("{} {name} with {arguments:?}", question.kind),
    }
}

fn coerced(
    values: Vec<Value>,
    from: &[Type],
    to: &[Type],
    env: &Env,
) -> Result<Vec<Value>, SqlError> {
    for (from, to) in from.iter().zip(to) {
        assert!(cast::can_cast(*from, *to, Coercion::Implicit), "{from} to {to}");
    }
    let all = values.into_iter().zip(from.iter().zip(to));
    all.map(|(value, (from, to))| cast::cast(value, *from, *to, env)).collect()
}

/// The answer of this module.
fn answer(question: &Question<'_>, env: &mut Env) -> Result<(Type, Value), SqlError> {
    let types: Vec<Type> = question.arguments.iter().map(|(ty, _)| *ty).collect();
    let mut values = Vec::new();
    for (ty, text) in &question.arguments {
        values.push(match text {
            Some(text) => Value::from_text(text, *ty, env)?,
            None => Value::Null,
        });
    }
    let call = |resolved: Resolved, values, env: &mut Env| {
        let values = coerced(values, &types, &resolved.arguments, env)?;
        Ok((resolved.returns, resolved.function.call(&values, env)?))
    };
    match (question.kind, types.as_slice()) {
        ("op", [right]) => {
            call(function::resolve_operator(question.name, None, *right)?, values, env)
        }
        ("op", [left, right]) => {
            call(function::resolve_operator(question.name, Some(*left), *right)?, values, env)
        }
        ("fn", _) => call(function::resolve_function(question.name, &types)?, values, env),
        ("cast", [from]) => {
            let to = Type::parse_name(question.name).unwrap();
            Ok((to, cast::cast(values.remove(0), *from, to, env)?))
        }
        ("agg", [first, ..]) => {
            let resolved = aggregate::resolve_aggregate(question.name, &[*first])?;
            let to = vec![resolved.argument.unwrap(); values.len()];
            let mut accumulator = Accumulator::new(&resolved);
            for value in coerced(values, &types, &to, env)? {
                accumulator.add(&value)?;
            }
            Ok((resolved.returns, accumulator.finish()?))
        }
        ("common", all) => Ok((function::common_type(all, "COALESCE")?, Value::Null)),
        _ => panic!("{} {}", question.kind, question.name),
    }
}

fn shown(answer: Result<(Type, Value), SqlError>, env: &Env) -> String {
    match answer {
        Ok((ty, Value::Null)) => format!("{ty} null"),
        Ok((ty, value)) => format!("{ty} '{}'", value.to_text(ty, env).replace('\'', "''")),
        Err(error) => format!("!{} {}", error.state, error.message),
    }
}

/// Checks the lines of one file; gives those that are otherwise, and how many there are.
fn check(file: &str, lines: &str) -> (Vec<String>, usize) {
    let mut env = Env::default();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(zone) = line.strip_prefix("zone ") {
            let time_zone = timestamp::zone_named(zone).expect("it is a zone");
            env.session = Arc::new(SessionEnv { time_zone, ..SessionEnv::default() });
            continue;
        }
        let (asked, expected) = line.split_once(" => ").expect("it has an answer");
        let expected = expected.split_once(" =/=> ").map_or(expected, |(_, ours)| ours);
        let ours = shown(answer(&question(asked), &mut env), &env);
        count += 1;
        if ours != expected {
            wrong.push(format!("{file}: {asked}\n    expected {expected}\n    but is   {ours}"));
        }
    }
    (wrong, count)
}

#[test]
fn answers_are_those_of_postgresql() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (file, lines) in FILES {
        let (of_file, lines) = check(file, lines);
        wrong.extend(of_file);
        count += lines;
    }
    assert!(count > 500, "{count} lines were found");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
#[ignore = "prints a script to ask a PostgreSQL with"]
fn questions_for_postgresql() {
    println!(
        "SET timezone = 'UTC'; SET client_min_messages = warning;
CREATE OR REPLACE FUNCTION pg_temp.answer(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE ty text; value text; message text;
BEGIN
    EXECUTE 'SELECT pg_typeof(x)::text, CASE WHEN x IS NOT NULL THEN format(''%s'', x) END FROM (SELECT ('
        || expression || ') AS x) AS s' INTO ty, value;
    RETURN ty || ' ' || coalesce('''' || replace(value, '''', '''''') || '''', 'null');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
    RETURN '!' || SQLSTATE || ' ' || replace(message, 'pg_catalog.', '');
END $$;"
    );
    for (file, lines) in FILES {
        println!("SET timezone = 'UTC';\n\\echo :: {file}");
        for line in lines.lines() {
            if line.is_empty() || line.starts_with('#') {
                println!("\\echo '{}'", line.replace('\'', "''"));
                continue;
            }
            if let Some(zone) = line.strip_prefix("zone ") {
                println!("SET timezone = '{zone}';\n\\echo {line}");
                continue;
            }
            let (asked, answer) = line.split_once(" => ").unwrap_or((line, ""));
            let ours = answer.split_once(" =/=> ").map(|(_, ours)| format!(" =/=> {ours}"));
            let tail = ours.unwrap_or_default();
            let sql = sql_of(&question(asked));
            println!("SELECT $q${asked} => $q$ || pg_temp.answer($q${sql}$q$) || $q${tail}$q$;");
        }
    }
}
