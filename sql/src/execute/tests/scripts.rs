//! Golden scripts: `sql/src/testscripts/*.sql`, one behaviour each.
//!
//! ```text
//! SELECT 1 + 1
//! ---
//! ?column?
//! 2
//! ```
//! A statement, `---`, what it gives as psql writes it unaligned, an empty line. A statement that ends in
//! `\gdesc` is described and not run. Lines with `#` before a statement are comments. With
//! `UPDATE_GOLDEN=1` the answers are written instead of compared.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::engine::Engine;
use crate::error::SqlError;
use crate::parse::{Limits, parse};

#[test]
fn scripts_give_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testscripts");
    let mut failures = Vec::new();
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let script = fs::read_to_string(&path).unwrap();
        let actual = run(&script);
        if actual == script {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, actual).unwrap();
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            failures.push(format!("{name}:\n{}", first_difference(&script, &actual)));
        }
    }
    assert!(failures.is_empty(), "UPDATE_GOLDEN=1 accepts\n{}", failures.join("\n"));
}

fn first_difference(expected: &str, actual: &str) -> String {
    let mut pairs = expected.lines().zip(actual.lines()).enumerate();
    match pairs.find(|(_, (expected, actual))| expected != actual) {
        Some((at, (expected, actual))) => {
            format!("  line {}\n  expected: {expected}\n  actual:   {actual}", at + 1)
        }
        None => "  one is longer".to_owned(),
    }
}

/// The script with the answers that its statements give now.
fn run(script: &str) -> String {
    let mut engine = Engine::default();
    let mut written = String::new();
    for block in script.split("\n\n") {
        let block = block.trim_matches('\n');
        if block.is_empty() {
            continue;
        }
        let statement = block.split("\n---").next().unwrap();
        let lines = statement.lines().filter(|line| !line.starts_with('#'));
        let sql = lines.collect::<Vec<_>>().join("\n");
        if sql.is_empty() {
            writeln!(written, "{statement}\n").unwrap();
            continue;
        }
        let answer = match sql.strip_suffix("\\gdesc") {
            Some(described) => describe(&engine, described),
            None => engine.run(&sql).map(|outcome| outcome.text()),
        };
        let answer = answer.unwrap_or_else(|error| error_text(&error));
        writeln!(written, "{statement}\n---\n{answer}\n").unwrap();
    }
    written.truncate(written.trim_end().len());
    written.push('\n');
    written
}

fn describe(engine: &Engine, sql: &str) -> Result<String, SqlError> {
    let statements = parse(sql, &Limits::default())?;
    let plan = engine.plan(&statements[0], &[])?;
    let columns = plan.columns().unwrap_or_default().iter();
    let lines = columns.map(|column| format!("{}|{}", column.name, column.ty));
    Ok(std::iter::once("Column|Type".to_owned()).chain(lines).collect::<Vec<_>>().join("\n"))
}

fn error_text(error: &SqlError) -> String {
    let mut text = format!("ERROR:  {}: {}", error.state, error.message);
    if let Some(detail) = &error.detail {
        write!(text, "\nDETAIL:  {detail}").unwrap();
    }
    if let Some(hint) = &error.hint {
        write!(text, "\nHINT:  {hint}").unwrap();
    }
    if let Some(position) = error.position {
        write!(text, "\nPOSITION:  {position}").unwrap();
    }
    text
}
