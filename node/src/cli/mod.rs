//! The command line: names, flags and exit codes.
//!
//! Exit codes: 0 good, 1 a run-time failure or an anomaly, 2 usage, 3 configuration, 4 data directory
//! unusable. stdout carries results only; everything else goes to stderr.

mod bench;
mod config;
mod demo;
mod demo_bank;
mod doctor;
mod embedded;
mod init;
mod local;
mod processes;
mod sql;
mod start;
mod status;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Spanner-like database: SQL and transactions over replicated shards.
#[derive(Debug, Parser)]
#[command(name = "spandrel", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A TOML file with flags: a table for each command. docs/configuration.md has the keys.
    #[arg(long, env = "SPANDREL_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node in the foreground until it gets SIGTERM or SIGINT.
    Start(start::StartArgs),
    /// Initialises the cluster, once; harmless when it is initialised already.
    Init(init::InitArgs),
    /// Executes SQL: of a terminal, a file or the command line.
    Sql(sql::SqlArgs),
    /// Tries it out: a cluster inside this process with a table of accounts, and the SQL shell.
    Demo(demo::DemoArgs),
    /// Looks for what would hurt a node here: clock, disk, limits, memory, ports.
    Doctor(doctor::DoctorArgs),
    /// Shows nodes, shards and clocks.
    Status(status::StatusArgs),
    /// Measures a cluster, and checks what it answered.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Checks a recorded history.
    Verify(bench::VerifyArgs),
}

impl Command {
    /// What of its log is shown. Those that people talk to say themselves what matters.
    fn log_level(&self) -> &'static str {
        match self {
            Command::Sql(_) | Command::Demo(_) | Command::Doctor(_) => "off",
            Command::Start(_)
            | Command::Init(_)
            | Command::Status(_)
            | Command::Bench(_)
            | Command::Verify(_) => "info",
        }
    }
}

/// How a command ended when it did not end well.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Exit code 1.
    fn run_time(message: impl ToString) -> Self {
        Failure { code: 1, message: message.to_string() }
    }

    /// Exit code 1, when what happened was said already.
    fn said() -> Self {
        Failure { code: 1, message: String::new() }
    }

    /// Exit code 2.
    fn usage(message: impl ToString) -> Self {
        Failure { code: 2, message: message.to_string() }
    }

    /// Exit code 3.
    fn configuration(message: impl ToString) -> Self {
        Failure { code: 3, message: message.to_string() }
    }

    /// Exit code 4.
    fn data_directory(message: impl ToString) -> Self {
        Failure { code: 4, message: message.to_string() }
    }
}

/// Parses the command line and carries it out.
pub(crate) fn main() -> ExitCode {
    let cli = match config::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(failure) => return exit(failure),
    };
    log_to_stderr(cli.command.log_level());
    let result = match cli.command {
        Command::Start(args) => start::start(args),
        Command::Init(args) => init::init(&args),
        Command::Sql(args) => sql::sql(args),
        Command::Demo(args) => demo::demo(args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Status(args) => status::status(&args),
        Command::Bench(command) => bench::bench(command),
        Command::Verify(args) => bench::verify(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit(failure),
    }
}

fn exit(Failure { code, message }: Failure) -> ExitCode {
    if !message.is_empty() {
        say(&format!("spandrel: {message}"));
    }
    ExitCode::from(code)
}

/// A line on stderr. A closed stderr is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A result on stdout.
fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::run_time)
}

/// `SPANDREL_LOG` selects, as in `info,node=debug`; `usual` is for when it does not.
fn log_to_stderr(usual: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SPANDREL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}

/// One thread for everything: what a node's first core and every client command run on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(node::host::POOL_THREADS)
        .build()
        .map_err(|error| Failure::run_time(format!("starting the runtime: {error}")))
}
