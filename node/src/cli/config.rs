//! Flags from the command line, the environment and a file: the first of them that says something wins.
//!
//! ```text
//! command line  >  SPANDREL_*  >  --config FILE  >  the flag's default
//! ```
//! A file's value becomes the default of its flag, so that a flag is declared once and checked the same way
//! wherever its value comes from. Among flags that exclude each other, one that a stronger source gives keeps the
//! others from being taken from weaker ones.
//!
//! Not here: what the flags mean.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{Cli, Failure};

/// Parses the command line. A usage error ends the process with exit code 2.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Cli, Failure> {
    let matches = command(&arguments)?.get_matches_from(arguments);
    Cli::from_arg_matches(&matches).map_err(|error| Failure::usage(error.render()))
}

/// The commands with what the file says as defaults.
fn command(arguments: &[OsString]) -> Result<Command, Failure> {
    let command = Cli::command();
    // Only to see what is given; what is wrong with it is said later.
    let given = command.clone().ignore_errors(true).try_get_matches_from(arguments);
    let Ok(given) = given else { return Ok(command) };
    let command = ignore_weaker_environment(command, &given);
    match given.get_one::<PathBuf>("config") {
        Some(path) => with_file(command, &given, path),
        None => Ok(command),
    }
}

/// An environment variable does not get in the way of a flag that excludes it.
fn ignore_weaker_environment(mut command: Command, given: &ArgMatches) -> Command {
    for id in excluded(&command, given, |source| source == ValueSource::CommandLine) {
        command = command.mut_arg(id, |arg| arg.env(None));
    }
    match given.subcommand() {
        Some((name, given)) => {
            command.mut_subcommand(name, |command| ignore_weaker_environment(command, given))
        }
        None => command,
    }
}

/// The flags that are excluded by those that a source has given.
fn excluded(
    command: &Command,
    given: &ArgMatches,
    counts: impl Fn(ValueSource) -> bool,
) -> Vec<String> {
    let is_given = |id: &str| {
        given.try_contains_id(id).unwrap_or(false) && given.value_source(id).is_some_and(&counts)
    };
    // Groups have their members only then.
    let mut command = command.clone();
    command.build();
    let mut excluded = Vec::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        if is_given(id) {
            continue;
        }
        let of_groups = command.get_groups().filter(|group| {
            // It asks for more than it needs.
            let is_multiple = (*group).clone().is_multiple();
            !is_multiple && group.get_args().any(|member| member.as_str() == id)
        });
        let mut others: Vec<String> =
            of_groups.flat_map(|group| group.get_args().map(ToString::to_string)).collect();
        for other in command.get_arguments() {
            let conflicts = command.get_arg_conflicts_with(other);
            if conflicts.iter().any(|conflict| conflict.get_id() == arg.get_id()) {
                others.push(other.get_id().to_string());
            }
        }
        for conflict in command.get_arg_conflicts_with(arg) {
            others.push(conflict.get_id().to_string());
        }
        if others.iter().any(|other| is_given(other)) {
            excluded.push(id.to_owned());
        }
    }
    excluded
}

fn with_file(command: Command, given: &ArgMatches, path: &Path) -> Result<Command, Failure> {
    let refuse = |what: String| Failure::configuration(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let table = text.parse::<toml::Table>().map_err(|error| refuse(error.to_string()))?;
    with_table(command, Some(given), &table, "").map_err(refuse)
}

/// The command with a table's values as defaults. Also what is not executed is checked, so that a mistake is seen
/// at once and not with the next command.
fn with_table(
    mut command: Command,
    given: Option<&ArgMatches>,
    table: &toml::Table,
    prefix: &str,
) -> Result<Command, String> {
    let stronger = given.map_or_else(Vec::new, |given| {
        excluded(&command, given, |source| source != ValueSource::DefaultValue)
    });
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        if let toml::Value::Table(table) = value
            && let Some(inner) = command.find_subcommand(key).cloned()
        {
            let given = given.and_then(|given| given.subcommand_matches(key));
            let inner = with_table(inner, given, table, &format!("{name}."))?;
            command = command.mut_subcommand(key, |_| inner);
            continue;
        }
        let arg = command.get_arguments().find(|arg| key_of(arg).as_deref() == Some(key));
        let Some(id) = arg.map(|arg| arg.get_id().to_string()) else {
            return Err(unknown(&command, &name, key, prefix));
        };
        let values = values(value).ok_or_else(|| {
            format!("{name} is to be a text, a number, true or false, or a list of these")
        })?;
        if !stronger.contains(&id) {
            command = command.mut_arg(id, |arg| arg.default_values(values).required(false));
        }
    }
    Ok(command)
}

/// The key of a flag: its name with `_` for `-`. What is no flag, or makes no sense in a file, has none.
pub(super) fn key_of(arg: &Arg) -> Option<String> {
    let name = arg.get_long()?;
    (!["help", "version", "config"].contains(&name)).then(|| name.replace('-', "_"))
}

fn unknown(command: &Command, name: &str, key: &str, prefix: &str) -> String {
    let keys = command.get_arguments().filter_map(key_of);
    let tables = command.get_subcommands().map(|command| command.get_name().to_owned());
    let known = keys.chain(tables).filter(|known| known != "help");
    match known.min_by_key(|known| distance(known, key)) {
        Some(nearest) => format!("there is no key {name}; did you mean {prefix}{nearest}?"),
        None => format!("there is no key {name}"),
    }
}

/// A value as it would be written on the command line.
fn values(value: &toml::Value) -> Option<Vec<String>> {
    let single = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    };
    match value {
        toml::Value::Array(values) if !values.is_empty() => values.iter().map(single).collect(),
        value => single(value).map(|value| vec![value]),
    }
}

/// How many characters are to be added, removed or changed to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
