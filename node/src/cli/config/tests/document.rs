//! `docs/configuration.md` says what the flags are; it is written from their definitions.

use crate::cli::Cli;
use crate::cli::config::key_of;
use clap::{ArgAction, Command, CommandFactory};
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# Configuration

Every flag of every command can come from the command line, from an environment variable or from a file. The command
line wins over the environment, the environment over the file, and the file over the default. Of flags that exclude
each other, the one from the stronger source counts.

The file is [TOML](https://toml.io), named by `--config FILE` or `SPANDREL_CONFIG`, and has a table for each command, so
that one file can serve all of them:

```toml
[start]
data_dir = \"data/1\"
join = [\"n1.example:7420\", \"n2.example:7420\", \"n3.example:7420\"]

[sql]
url = \"n1.example:7420\"
```

Paths in it are relative to where the command runs. A key that does not exist is refused with exit code 3 and the nearest
one that does; a value that its flag does not take is refused as on the command line, with exit code 2.
A variable or key of a flag that takes no value is `true` or `false`. `SPANDREL_LOG` selects what is logged to standard
error, as in `info,node=debug`; it is no flag. `PAGER` is what `spandrel sql` shows long results with.

This page is written by the program's own tests, from the definitions of the flags:
`SPANDREL_REGENERATE=1 cargo test -p node --bin spandrel document`.
";

fn document() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = HEAD.to_owned();
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        push(&mut text, command, "spandrel", "");
    }
    text
}

fn push(text: &mut String, command: &Command, parents: &str, table: &str) {
    let name = format!("{parents} {}", command.get_name());
    let table = format!("{table}{}", command.get_name());
    let mut inner = command.get_subcommands().filter(|c| c.get_name() != "help").peekable();
    if inner.peek().is_some() {
        inner.for_each(|command| push(text, command, &name, &format!("{table}.")));
        return;
    }
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes everything");
    line(format!("\n## `{name}`\n\n{about}.\n"));
    let flags: Vec<_> = command.get_arguments().filter_map(|a| Some((a, key_of(a)?))).collect();
    if flags.is_empty() {
        line("No flags.".to_owned());
        return;
    }
    line(format!("Table `[{table}]`.\n"));
    line("| flag | variable | key | default | |\n|---|---|---|---|---|".to_owned());
    for (arg, key) in flags {
        let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let long = arg.get_long().unwrap_or_default();
        let value = match arg.get_action() {
            ArgAction::SetTrue => String::new(),
            _ => {
                let names = arg.get_value_names().unwrap_or_default();
                names.iter().map(|name| format!(" {name}")).collect()
            }
        };
        let variable = arg.get_env().unwrap_or_default().to_string_lossy();
        let default = match arg.get_action() {
            ArgAction::SetTrue => "false".to_owned(),
            _ if arg.is_required_set() => "(needed)".to_owned(),
            _ => {
                let values = arg.get_default_values().iter();
                let values = values.map(|value| format!("`{}`", value.to_string_lossy()));
                values.collect::<Vec<_>>().join(", ")
            }
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace('|', "\\|");
        line(format!("| {short}`--{long}{value}` | `{variable}` | `{key}` | {default} | {help} |"));
    }
}

#[test]
fn document_of_the_flags_is_what_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let document = document();
    if std::env::var_os("SPANDREL_REGENERATE").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == document,
        "docs/configuration.md is not what the flags say; write it anew with\n  \
         SPANDREL_REGENERATE=1 cargo test -p node --bin spandrel document"
    );
}
