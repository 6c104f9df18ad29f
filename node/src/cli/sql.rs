//! `spandrel sql`, and the flags of whatever has the SQL shell in it.

use std::path::PathBuf;

use clap::Args;
use client::shell::{
    Format, ShellCommands, ShellEnd, ShellInput, ShellOptions, ShellOutput, run_shell,
};
use client::{Client, Config, Placement};

use super::{Failure, runtime, say};

#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// Any node of the cluster, HOST:PORT.
    #[arg(long, env = "SPANDREL_URL", default_value = "127.0.0.1:7420")]
    url: String,
    /// Who works. This release has no login; it is shown in the prompt.
    #[arg(long, env = "SPANDREL_USER", default_value = "root")]
    user: String,
    /// The database. A cluster is one; it is shown in the prompt.
    #[arg(long, env = "SPANDREL_DATABASE", default_value = "postgres")]
    database: String,
    #[command(flatten)]
    script: ScriptArgs,
}

/// What the shell executes, and how it writes results.
#[derive(Debug, Args)]
pub(super) struct ScriptArgs {
    /// Executes these statements and leaves; can be given more than once.
    #[arg(
        short = 'e',
        long = "execute",
        env = "SPANDREL_EXECUTE",
        value_name = "SQL",
        conflicts_with = "file"
    )]
    execute: Vec<String>,
    /// Executes the statements of a file and leaves; - is standard input.
    #[arg(short = 'f', long = "file", env = "SPANDREL_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
    /// How results are written: table, csv or json.
    #[arg(long, env = "SPANDREL_FORMAT", default_value = "table", value_parser = format)]
    format: Format,
}

fn format(text: &str) -> Result<Format, String> {
    text.parse()
}

impl ScriptArgs {
    /// What to execute.
    fn input(self) -> ShellInput {
        match self.file {
            Some(file) if file.as_os_str() == "-" => ShellInput::Stdin,
            Some(file) => ShellInput::File(file),
            None if self.execute.is_empty() => ShellInput::Stdin,
            None => ShellInput::Texts(self.execute),
        }
    }

    /// Whether somebody sits at a terminal.
    pub(super) fn is_interactive(&self) -> bool {
        use std::io::IsTerminal;
        self.file.is_none() && self.execute.is_empty() && std::io::stdin().is_terminal()
    }
}

pub(super) fn sql(args: SqlArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let client = connect([args.url.as_str()]).await?;
        if args.script.is_interactive() {
            say(&format!(
                "spandrel {}, connected to {}; \\? for help",
                env!("CARGO_PKG_VERSION"),
                args.url
            ));
        }
        shell(&client, args.user, args.database, args.script, None).await
    })
}

/// A client for one person: one stream.
pub(super) async fn connect<A: AsRef<str>>(
    addresses: impl IntoIterator<Item = A>,
) -> Result<Client, Failure> {
    let config = Config { streams: 1, placement: Placement::OneNode, ..Config::default() };
    Client::connect_with(addresses, config).await.map_err(Failure::run_time)
}

/// Runs the shell until its input ends.
pub(super) async fn shell(
    client: &Client,
    user: String,
    database: String,
    script: ScriptArgs,
    commands: Option<&mut dyn ShellCommands>,
) -> Result<(), Failure> {
    let format = script.format;
    let options = ShellOptions { user, database, format, input: script.input() };
    match run_shell(client, options, ShellOutput::standard(), commands)
        .await
        .map_err(Failure::run_time)?
    {
        ShellEnd::Good => Ok(()),
        ShellEnd::Failed => Err(Failure::said()),
    }
}
