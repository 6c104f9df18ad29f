//! `spandrel bench` and `spandrel verify`.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::bank::{BankError, BankOptions, Cluster, Finished, Report, Target, drive};
use bench::verify::verify_file;
use clap::{ArgGroup, Args, Subcommand};
use truetime::ClockSource;

use super::embedded::Embedded;
use super::local::Ports;
use super::processes::{NodeFlags, Processes};
use super::start::stop_signal;
use super::{Failure, print, runtime, say};

/// How many nodes an embedded cluster has.
const EMBEDDED_NODES: u32 = 3;

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Transfers between accounts on many shards, audited all along, and checked afterwards.
    Bank(BankArgs),
}

/// Flags of `bench bank`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target"))]
pub(super) struct BankArgs {
    /// Runs on a running cluster, by the address of one node, HOST:PORT.
    // A variable of its own: an address that was set for something else must not get the load.
    #[arg(long, env = "SPANDREL_BENCH_URL", group = "target")]
    url: Option<String>,
    /// Runs on three nodes inside this process. The default.
    #[arg(long, env = "SPANDREL_EMBEDDED", group = "target")]
    embedded: bool,
    /// Starts so many processes of this program, with their data on disk, and stops them at the end.
    #[arg(long, env = "SPANDREL_PROCESSES", value_name = "N", group = "target")]
    processes: Option<u32>,
    /// How many accounts there are.
    #[arg(long, env = "SPANDREL_ACCOUNTS", default_value_t = 10_000)]
    accounts: u32,
    /// Over how many shards they are spread.
    #[arg(long, env = "SPANDREL_SHARDS", default_value_t = 8)]
    shards: u32,
    /// How many clients work at the same time.
    #[arg(long, env = "SPANDREL_CLIENTS", default_value_t = 64)]
    clients: u32,
    /// How long the measured part lasts, as in 30s or 2m.
    #[arg(long, env = "SPANDREL_DURATION", default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// The share of transfers whose accounts are on different shards, from 0 to 1.
    #[arg(long, env = "SPANDREL_CROSS_SHARD", default_value_t = 0.5)]
    cross_shard: f64,
    /// The share of transactions that only read, from 0 to 1.
    #[arg(long, env = "SPANDREL_READ_ONLY", default_value_t = 0.1)]
    read_only: f64,
    /// The clock of nodes that are started here.
    #[arg(long, env = "SPANDREL_CLOCK", default_value = "fixed:250us")]
    clock: String,
    /// How many cores each node that is started here uses; by default its share of the machine's.
    #[arg(long, env = "SPANDREL_CORES")]
    cores: Option<u16>,
    /// How often everything is audited.
    #[arg(long, env = "SPANDREL_AUDIT_INTERVAL", default_value = "5s", value_parser = duration)]
    audit_interval: Duration,
    /// How often a node that leads shards is killed and started again. Needs --processes.
    #[arg(long, env = "SPANDREL_KILL_LEADERS", value_parser = duration)]
    kill_leaders: Option<Duration>,
    /// How often a node that leads shards is stopped and started again. Needs --processes.
    #[arg(long, env = "SPANDREL_STOP_LEADERS", value_parser = duration)]
    stop_leaders: Option<Duration>,
    /// Where nodes that are started here keep their data; by default a directory that is removed at the end.
    #[arg(long, env = "SPANDREL_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where to write the report as JSON.
    #[arg(long, env = "SPANDREL_JSON", value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write the history, for `spandrel verify`.
    #[arg(long, env = "SPANDREL_HISTORY", value_name = "FILE")]
    history: Option<PathBuf>,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A history that `bench` recorded.
    file: PathBuf,
}

impl BankArgs {
    fn options(self) -> Result<(BankOptions, ClockSource), Failure> {
        let target = match (self.url, self.processes) {
            (Some(url), _) => Target::Url(url),
            (None, Some(count)) => Target::Processes(count),
            (None, None) => Target::Embedded,
        };
        let clock: ClockSource =
            self.clock.parse().map_err(|error| Failure::usage(format!("--clock: {error}")))?;
        let options = BankOptions {
            target,
            accounts: self.accounts,
            shards: self.shards,
            clients: self.clients,
            duration: self.duration,
            cross_shard: self.cross_shard,
            read_only: self.read_only,
            clock: self.clock,
            cores: self.cores.map(u32::from),
            audit_interval: self.audit_interval,
            kill_leaders: self.kill_leaders,
            stop_leaders: self.stop_leaders,
            data_dir: self.data_dir,
            json: self.json,
            history: self.history,
            ..BankOptions::default()
        };
        options.validate().map_err(Failure::usage)?;
        Ok((options, clock))
    }
}

/// A number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err("write a number and its unit: us, ms, s, m or h, as in 30s".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// `spandrel bench`.
pub(super) fn bench(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Bank(args) => {
            let (options, clock) = args.options()?;
            // Better now than after the run.
            for path in [&options.json, &options.history].into_iter().flatten() {
                File::create(path).map_err(|error| cannot_write(path, &error))?;
            }
            let finished = runtime()?.block_on(run(&options, clock))?;
            report(&options, finished)
        }
    }
}

fn cannot_write(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::run_time(format!("cannot write {}: {error}", path.display()))
}

/// Runs until the time is over. The first SIGINT or SIGTERM ends the measured time, the second one all.
async fn run(options: &BankOptions, clock: ClockSource) -> Result<Finished, Failure> {
    let twice = async {
        stop_signal()?.await;
        stop_signal()?.await;
        Err(Failure::run_time("interrupted"))
    };
    tokio::select! {
        finished = run_on_target(options, clock) => finished,
        interrupted = twice => interrupted,
    }
}

async fn run_on_target(options: &BankOptions, clock: ClockSource) -> Result<Finished, Failure> {
    let data_dir = options.data_dir.as_deref();
    match &options.target {
        Target::Url(address) => {
            let addresses = [address.clone()];
            run_at(options, &addresses, None::<&mut Processes>).await.map_err(Failure::run_time)
        }
        Target::Embedded => {
            let cores = cores(options, EMBEDDED_NODES);
            let starting = Embedded::start(EMBEDDED_NODES, data_dir, Ports::Any, clock, cores);
            let cluster = unless_stopped(starting).await?;
            let addresses = cluster.addresses();
            run_at(options, &addresses, None::<&mut Processes>).await.map_err(Failure::run_time)
        }
        Target::Processes(count) => {
            let flags =
                NodeFlags { clock: options.clock.clone(), cores: cores(options, *count).into() };
            let mut cluster = unless_stopped(Processes::start(*count, data_dir, flags)).await?;
            let addresses = cluster.addresses();
            let finished = run_at(options, &addresses, Some(&mut cluster)).await;
            if finished.is_err() {
                cluster.keep_files();
            }
            cluster.stop_all().await;
            finished.map_err(Failure::run_time)
        }
    }
}

async fn run_at<C: Cluster>(
    options: &BankOptions,
    addresses: &[String],
    cluster: Option<&mut C>,
) -> Result<Finished, BankError> {
    let interrupt = async {
        match stop_signal() {
            Ok(signal) => signal.await,
            Err(failure) => say(&failure.message),
        }
    };
    drive(options, addresses, cluster, interrupt).await
}

async fn unless_stopped<T>(
    starting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let stopped = stop_signal()?;
    tokio::select! {
        started = starting => started,
        () = stopped => Err(Failure::run_time("interrupted while the cluster started")),
    }
}

/// How many cores each of `nodes` nodes on this machine gets.
fn cores(options: &BankOptions, nodes: u32) -> u16 {
    let machine = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = u32::try_from(machine).unwrap_or(u32::MAX) / nodes.max(1);
    u16::try_from(options.cores.unwrap_or(share).max(1)).unwrap_or(u16::MAX)
}

/// Checks the history, prints what was found, and writes the files.
fn report(options: &BankOptions, finished: Finished) -> Result<(), Failure> {
    say("checking the history");
    let last_failure = finished.last_failure().map(ToOwned::to_owned);
    let report = finished.check(options.history.as_deref()).map_err(Failure::run_time)?;
    if let Some(path) = &options.json {
        write_json(path, &report)?;
    }
    print(&format!("{report}\n"))?;
    if !report.is_good() {
        return Err(Failure::run_time(format!("the history is not right: {}", report.verdict)));
    }
    if report.transfers == 0 {
        let last = last_failure.unwrap_or_else(|| "none".to_owned());
        return Err(Failure::run_time(format!(
            "no transfer committed, so nothing was tested; the last failure: {last}"
        )));
    }
    Ok(())
}

fn write_json(path: &Path, report: &Report) -> Result<(), Failure> {
    let mut json = serde_json::to_vec_pretty(report).map_err(|error| cannot_write(path, &error))?;
    json.push(b'\n');
    std::fs::write(path, json).map_err(|error| cannot_write(path, &error))
}

/// `spandrel verify`.
pub(super) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let checked = verify_file(&args.file).map_err(Failure::run_time)?;
    for violation in &checked.violations {
        print(&format!("{violation}\n"))?;
    }
    let verdict = checked.verdict();
    print(&format!("{verdict} ({} transactions)\n", checked.transactions))?;
    if checked.is_strictly_serializable() {
        Ok(())
    } else {
        Err(Failure::run_time(format!("{} violations", checked.violations_found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_number_and_its_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        for bad in ["30", "s", "-1s", "1 day", "", "1e400s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
