//! The shell's own commands: what follows a `\`.

use super::settings::{Expanded, Format};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `\?`
    Help,
    /// `\q`
    Quit,
    /// `\d`, `\dt`
    Tables,
    /// `\d NAME`
    Describe(String),
    /// `\x`
    Expanded(Option<Expanded>),
    /// `\timing`
    Timing(Option<bool>),
    /// `\format`
    Format(Format),
    /// `\pset null`
    Null(String),
    /// `\pset pager`
    Pager(Option<bool>),
    /// `\i FILE`
    Include(String),
    /// `\r`
    Reset,
    /// One that is not the shell's; perhaps that of the program around it.
    Other {
        /// Without the `\`.
        name: String,
        /// What follows.
        argument: String,
    },
}

/// What the shell's commands are.
pub(super) const HELP: &str = "  \\d               lists tables
  \\d TABLE         describes a table: columns, key, shards and who leads them
  \\dt              lists tables
  \\x [on|off|auto] one line for each value; auto: when a table is too wide
  \\format F        table, csv or json
  \\pset null TEXT  what stands for NULL in tables
  \\pset pager [on|off]
  \\timing [on|off] how long statements take
  \\i FILE          executes a file
  \\r               throws away what was typed of a statement
  \\?               this text
  \\q               leaves (or Ctrl-D)

  Ctrl-C cancels the statement that runs, or clears the line.
  Statements end with a semicolon. docs/sql.md has the language.
";

/// What a command of psql, or of somebody's habit, is here.
pub(super) fn hint(name: &str) -> String {
    let hint = match name {
        "l" | "c" | "connect" => "a cluster is one database; \\d lists its tables",
        "dn" => "there are no schemas; \\d lists the tables",
        "di" => "\\d TABLE shows a table's key",
        "du" | "dg" | "password" => "this release has no users",
        "df" | "dv" | "ds" | "dT" | "dx" => "there are none of these here; \\d lists the tables",
        "h" | "help" => "docs/sql.md has the language, \\? the commands",
        "e" | "ed" | "g" | "gx" | "o" | "copy" | "watch" | "set" | "unset" | "echo" | "!" => {
            "this shell does not have it; \\? has what there is"
        }
        "quit" | "exit" => "\\q leaves",
        "nodes" | "kill" | "restart" | "bank" => "only `spandrel demo` has it",
        _ => "\\? has what there is",
    };
    format!("there is no command \\{name}: {hint}")
}

/// Reads a command; else says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Command, String> {
    let (name, argument) = split(text);
    let words: Vec<&str> = argument.split_whitespace().collect();
    let file = || match argument.is_empty() {
        true => Err(format!("\\{name} needs a file")),
        false => Ok(Command::Include(unquoted(argument, '\''))),
    };
    match (name, words.as_slice()) {
        ("?", _) => Ok(Command::Help),
        ("q", _) => Ok(Command::Quit),
        ("r", _) => Ok(Command::Reset),
        ("d" | "dt", []) => Ok(Command::Tables),
        ("d" | "dt", [_]) => Ok(Command::Describe(table_name(argument))),
        ("d" | "dt", _) if argument.starts_with('"') => Ok(Command::Describe(table_name(argument))),
        ("x", []) => Ok(Command::Expanded(None)),
        ("x", [word]) => expanded(word).map(|expanded| Command::Expanded(Some(expanded))),
        ("timing", words) => switch(words).map(Command::Timing),
        ("format", [word]) => word.parse().map(Command::Format),
        ("format", _) => Err("\\format table, csv or json".to_owned()),
        ("i" | "include", _) => file(),
        ("pset", ["null", ..]) => Ok(Command::Null(unquoted(split(argument).1, '\''))),
        ("pset", ["pager", words @ ..]) => switch(words).map(Command::Pager),
        ("pset", ["format", word]) => word.parse().map(Command::Format),
        ("pset", ["expanded" | "x", word]) => expanded(word).map(|x| Command::Expanded(Some(x))),
        ("pset", _) => Err("\\pset null TEXT, or \\pset pager on or off".to_owned()),
        ("d" | "dt" | "x", _) => Err(format!("\\{name} takes one argument at most")),
        (name, _) => Ok(Command::Other { name: name.to_owned(), argument: argument.to_owned() }),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim().trim_end_matches(';').trim_end();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn switch(words: &[&str]) -> Result<Option<bool>, String> {
    match words {
        [] => Ok(None),
        ["on"] => Ok(Some(true)),
        ["off"] => Ok(Some(false)),
        other => Err(format!("{:?} is neither on nor off", other.join(" "))),
    }
}

fn expanded(word: &str) -> Result<Expanded, String> {
    match word {
        "on" => Ok(Expanded::On),
        "off" => Ok(Expanded::Off),
        "auto" => Ok(Expanded::Auto),
        other => Err(format!("{other:?} is none of on, off and auto")),
    }
}

/// As SQL takes names: in small letters unless quoted.
fn table_name(text: &str) -> String {
    if text.starts_with('"') { unquoted(text, '"') } else { text.to_lowercase() }
}

/// Without the quotes around it, if there are any.
fn unquoted(text: &str, quote: char) -> String {
    let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    match inner {
        Some(inner) => inner.replace(&format!("{quote}{quote}"), &quote.to_string()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Expanded, Format, hint, parse};

    #[test]
    fn commands_are_read_with_their_arguments() {
        for (text, command) in [
            ("d", Command::Tables),
            ("dt;", Command::Tables),
            ("d Accounts", Command::Describe("accounts".to_owned())),
            ("d \"My \"\"Table\"", Command::Describe("My \"Table".to_owned())),
            ("x", Command::Expanded(None)),
            ("x auto", Command::Expanded(Some(Expanded::Auto))),
            ("timing", Command::Timing(None)),
            ("timing off", Command::Timing(Some(false))),
            ("format csv", Command::Format(Format::Csv)),
            ("pset null ", Command::Null(String::new())),
            ("pset null 'it''s  so'", Command::Null("it's  so".to_owned())),
            ("pset pager off", Command::Pager(Some(false))),
            ("i some file.sql", Command::Include("some file.sql".to_owned())),
            ("q", Command::Quit),
        ] {
            assert_eq!(parse(text), Ok(command), "{text}");
        }
        let other = Command::Other { name: "kill".to_owned(), argument: "2".to_owned() };
        assert_eq!(parse("kill 2"), Ok(other));
    }

    #[test]
    fn bad_arguments_are_refused_with_a_sentence() {
        for text in ["x maybe", "timing 1", "format xml", "pset border 2", "i", "dt a b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_commands_have_a_hint() {
        assert_eq!(
            hint("l"),
            "there is no command \\l: a cluster is one database; \\d lists its tables"
        );
        assert!(hint("nonsense").ends_with("\\? has what there is"));
    }
}
