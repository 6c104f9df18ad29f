//! Which source wins, and what a file may not say. The environment is not touched: tests share it.

use super::{command, distance};
use crate::cli::{Cli, Command, Failure};
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::PathBuf;

/// The command line with a file of this text.
fn parse(text: &str, flags: &[&str]) -> Result<Cli, Failure> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let arguments: Vec<OsString> = std::iter::once("spandrel")
        .chain(flags.iter().copied())
        .chain(["--config"])
        .map(OsString::from)
        .chain([file.path().as_os_str().to_owned()])
        .collect();
    let matches = command(&arguments)?.try_get_matches_from(arguments);
    let matches = matches.map_err(|error| Failure::usage(error.to_string()))?;
    Cli::from_arg_matches(&matches).map_err(Failure::usage)
}

fn refusal(text: &str) -> String {
    let failure = parse(text, &["status"]).expect_err(text);
    assert_eq!(failure.code, 3, "{}", failure.message);
    failure.message
}

const START: &str = r#"
    [start]
    data_dir = "d"
    join = ["n1:7420", "n2:7420"]
    port_offset = 7
    insecure = true
    clock = "fixed:1ms"
"#;

#[test]
fn file_gives_flags_that_are_required_and_lists() {
    let Command::Start(args) = parse(START, &["start"]).unwrap().command else { panic!("start") };
    assert_eq!(args.data_dir, PathBuf::from("d"));
    assert_eq!(args.join, ["n1:7420", "n2:7420"]);
    assert_eq!((args.port_offset, args.insecure), (7, true));
    assert_eq!(args.clock.to_string(), "fixed:1ms");
    assert_eq!(args.listen, "127.0.0.1:7420", "what the file does not say has its default");
}

#[test]
fn flags_win_over_the_file() {
    let flags = ["start", "--port-offset", "1", "--join", "n3:7420"];
    let Command::Start(args) = parse(START, &flags).unwrap().command else { panic!("start") };
    assert_eq!(args.port_offset, 1);
    assert_eq!(args.join, ["n3:7420"]);
    assert_eq!(args.data_dir, PathBuf::from("d"));
}

#[test]
fn values_of_the_file_are_checked_as_flags_are() {
    let failure = parse("[start]\ndata_dir = 'd'\njoin = 'nonsense'", &["start"]).unwrap_err();
    assert_eq!(failure.code, 2);
    assert!(failure.message.contains("HOST:PORT"), "{}", failure.message);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    let message = refusal("[start]\ndata-dir = 'd'");
    assert!(message.ends_with("no key start.data-dir; did you mean start.data_dir?"), "{message}");
    let message = refusal("[strat]");
    assert!(message.ends_with("no key strat; did you mean start?"), "{message}");
    let message = refusal("[bench.bank]\nclient = 5");
    assert!(message.ends_with("did you mean bench.bank.clients?"), "{message}");
}

#[test]
fn file_that_is_not_toml_or_not_there_is_refused() {
    assert!(refusal("[start").contains("expected"));
    assert!(refusal("[start]\njoin = {}").contains("a text, a number"));
    let arguments = ["spandrel", "status", "--config", "/nowhere/at/all"].map(OsString::from);
    let failure = command(&arguments).unwrap_err();
    assert_eq!(failure.code, 3);
    assert!(failure.message.starts_with("/nowhere/at/all: "), "{}", failure.message);
}

#[test]
fn flag_keeps_what_it_excludes_from_being_taken_from_the_file() {
    let text = "[sql]\nfile = 'x.sql'\nformat = 'csv'";
    let Command::Sql(args) = parse(text, &["sql", "-e", "SELECT 1"]).unwrap().command else {
        panic!("sql")
    };
    let shown = format!("{args:?}");
    assert!(shown.contains("SELECT 1") && !shown.contains("x.sql"), "{shown}");
    assert!(shown.contains("Csv"), "{shown}");
    let text = "[bench.bank]\nurl = 'n1:7420'\naccounts = 7";
    let Command::Bench(args) = parse(text, &["bench", "bank", "--processes", "3"]).unwrap().command
    else {
        panic!("bench")
    };
    let shown = format!("{args:?}");
    assert!(shown.contains("url: None") && shown.contains("processes: Some(3)"), "{shown}");
    assert!(shown.contains("accounts: 7"), "{shown}");
}

#[test]
fn every_flag_has_a_variable() {
    fn check(command: &clap::Command) {
        for arg in command.get_arguments().filter(|arg| super::key_of(arg).is_some()) {
            let name = arg.get_env().unwrap_or_default().to_string_lossy().into_owned();
            assert!(name.starts_with("SPANDREL_"), "{} --{}", command.get_name(), arg.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    let mut command = Cli::command();
    command.build();
    check(&command);
}

#[test]
fn variable_means_the_same_kind_of_value_everywhere() {
    fn check(command: &clap::Command, seen: &mut std::collections::BTreeMap<String, String>) {
        for arg in command.get_arguments() {
            let Some(name) = arg.get_env() else { continue };
            let kind = format!("{} {:?}", arg.get_id(), arg.get_action());
            let name = name.to_string_lossy().into_owned();
            let before = seen.entry(name.clone()).or_insert_with(|| kind.clone());
            assert_eq!(*before, kind, "{name}");
        }
        command.get_subcommands().for_each(|command| check(command, seen));
    }
    let mut command = Cli::command();
    command.build();
    check(&command, &mut std::collections::BTreeMap::new());
}

#[test]
fn distance_counts_changes() {
    assert_eq!(distance("", ""), 0);
    assert_eq!(distance("data_dir", "data-dir"), 1);
    assert_eq!(distance("start", "strat"), 2);
    assert_eq!(distance("abc", ""), 3);
}

mod document;
