//! `spandrel demo`: a cluster inside this process, and the SQL shell with commands that break it.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::shell::{ShellCommandRunning, ShellCommands};
use client::{Bound, Config};
use client::{Client, Column, ColumnType, Mutations, Scan, StatusResponse, Table, TablePlacement};
use proto::NodeId;
use proto::rpc::v1::{NodeState, SplitEvenly};
use truetime::ClockSource;

use super::demo_bank::DemoBank;
use super::embedded::Embedded;
use super::local::Ports;
use super::sql::{ScriptArgs, connect, shell};
use super::start::{Stop, stop_signal};
use super::{Failure, runtime, say};

/// The table that there is from the start.
pub(super) const TABLE: &str = "accounts";
/// How many rows it gets.
pub(super) const ACCOUNTS: i64 = 1_000;
/// What is on each account.
const BALANCE: i64 = 1_000;
/// All nodes have the clock of this process, so a small bound is true.
const EPSILON: Duration = Duration::from_micros(250);
/// So many that a killed one leaves a majority, and few enough for one machine.
const NODES_MAX: i64 = 9;
/// Far above what a demonstration needs.
const SHARDS_MAX: i64 = 1_000;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many nodes there are.
    #[arg(
        long,
        env = "SPANDREL_NODES",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=NODES_MAX)
    )]
    nodes: u32,
    /// Over how many shards the table `accounts` is spread.
    #[arg(
        long,
        env = "SPANDREL_SHARDS",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=SHARDS_MAX)
    )]
    shards: u32,
    /// Where the data is kept; by default in a directory that is removed at the end.
    #[arg(long, env = "SPANDREL_DATA_DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    script: ScriptArgs,
}

pub(super) fn demo(args: DemoArgs) -> Result<(), Failure> {
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let terminated = stop_signal()?;
        let starting = start(&args);
        let interrupted = || Failure::run_time("interrupted");
        let (cluster, client) = tokio::select! {
            started = starting => started?,
            () = terminated => return Err(interrupted()),
        };
        if args.script.is_interactive() {
            say(&banner(&args, &cluster.addresses()));
        }
        // From here on Ctrl-C belongs to the shell; SIGTERM, and a terminal that is closed, end all.
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::run_time)?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(Failure::run_time)?;
        let mut demo = Demo { cluster, client: client.clone(), bank: None };
        let (user, database) = ("root".to_owned(), "postgres".to_owned());
        tokio::select! {
            ended = shell(&client, user, database, args.script, Some(&mut demo)) => ended,
            _ = terminate.recv() => Err(interrupted()),
            _ = hang_up.recv() => Err(interrupted()),
        }
    });
    // What reads standard input cannot be stopped.
    runtime.shutdown_background();
    ended
}

async fn start(args: &DemoArgs) -> Result<(Embedded, Client), Failure> {
    let clock = ClockSource::fixed(EPSILON);
    let data_dir = args.data_dir.as_deref();
    let mut cluster = Embedded::start(args.nodes, data_dir, Ports::Usual, clock, 1).await?;
    // All of them stop together, so there is nobody to hand over to.
    cluster.stop_by(Stop::AtOnce);
    let client = connect(cluster.addresses()).await?;
    create(&client, args.shards).await.map_err(Failure::run_time)?;
    Ok((cluster, client))
}

/// The table and its rows, unless they are there.
async fn create(client: &Client, shards: u32) -> Result<(), client::ClientError> {
    let column = |name: &str, of: ColumnType, not_null| Column {
        name: name.to_owned(),
        r#type: of.into(),
        not_null,
        default_expression: String::new(),
    };
    let table = Table {
        name: TABLE.to_owned(),
        id: 0,
        columns: vec![
            column("id", ColumnType::Bigint, true),
            column("owner", ColumnType::Text, false),
            column("balance", ColumnType::Bigint, true),
        ],
        primary_key: vec!["id".to_owned()],
    };
    let placement = SplitEvenly { shards, from: 1, to: ACCOUNTS + 1 };
    let placement = Some(TablePlacement::SplitEvenly(placement));
    client.create_table_if_missing(table, placement).await?;
    let any = Scan { columns: &["id"], limit: 1, ..Scan::default() };
    if !client.snapshot(Bound::Strong).scan(TABLE, any).await?.is_empty() {
        return Ok(());
    }
    let mut mutations = Mutations::new();
    for id in 1..=ACCOUNTS {
        let row = vec![id.into(), format!("customer {id}").into(), BALANCE.into()];
        mutations.insert_or_update(TABLE, &["id", "owner", "balance"], row);
    }
    client.apply(&mutations).await?;
    Ok(())
}

fn banner(args: &DemoArgs, addresses: &[String]) -> String {
    let kept = match &args.data_dir {
        Some(path) => format!("kept in {}", path.display()),
        None => "gone when you leave".to_owned(),
    };
    format!(
        "spandrel {}: {} nodes in this process, data {kept}; gRPC at {}.\n\
         Table {TABLE} has {ACCOUNTS} rows on {} shards. To see it survive: \\bank start, then \\kill 1, then \\bank status.\n\
         \\? for help",
        env!("CARGO_PKG_VERSION"),
        args.nodes,
        addresses.join(", "),
        args.shards
    )
}

struct Demo {
    cluster: Embedded,
    client: Client,
    bank: Option<DemoBank>,
}

const HELP: &str = "  \\nodes           the nodes, their clocks, and how many shards each leads
  \\kill N          stops node N as a crash would
  \\restart N       starts it again
  \\bank start      transfers between random accounts, in the background
  \\bank status     how fast they are, how long none went through, and whether the total is right
  \\bank stop       ends them
";

impl ShellCommands for Demo {
    fn help(&self) -> &str {
        HELP
    }

    fn execute<'a>(&'a mut self, name: &'a str, argument: &'a str) -> ShellCommandRunning<'a> {
        Box::pin(async move {
            match name {
                "nodes" => Some(self.nodes().await),
                "kill" => Some(self.kill(argument).await),
                "restart" => Some(self.restart(argument).await),
                "bank" => Some(self.bank(argument).await),
                _ => None,
            }
        })
    }
}

impl Demo {
    async fn nodes(&mut self) -> Result<String, String> {
        let status = self.client.status().await.map_err(|error| error.to_string())?;
        Ok(nodes_text(&status))
    }

    async fn kill(&mut self, argument: &str) -> Result<String, String> {
        let id = node_id(argument)?;
        self.cluster.kill(id).await?;
        Ok(format!("{id} is dead\n"))
    }

    async fn restart(&mut self, argument: &str) -> Result<String, String> {
        let id = node_id(argument)?;
        self.cluster.restart(id).await?;
        Ok(format!("{id} is back\n"))
    }

    async fn bank(&mut self, argument: &str) -> Result<String, String> {
        match (argument, &self.bank) {
            ("start", Some(_)) => Err("it runs; \\bank status".to_owned()),
            ("start", None) => {
                // A client of its own, with streams to several nodes: the shell's may lose its only one.
                let addresses = self.cluster.addresses();
                let client = Client::connect_with(addresses, Config::default()).await;
                let client = client.map_err(|error| error.to_string())?;
                let bank = DemoBank::start(client).await.map_err(|error| error.to_string())?;
                let text = bank.started();
                self.bank = Some(bank);
                Ok(text)
            }
            ("status", Some(bank)) => bank.status().await,
            ("stop", Some(bank)) => {
                bank.stop();
                let text = bank.status().await;
                self.bank = None;
                text
            }
            ("status" | "stop", None) => Err("it does not run; \\bank start".to_owned()),
            (_, _) => Err("start, stop or status".to_owned()),
        }
    }
}

/// `2`, or `n2` as nodes are shown.
fn node_id(argument: &str) -> Result<NodeId, String> {
    let number = argument.strip_prefix('n').unwrap_or(argument).parse();
    number.map(NodeId).map_err(|_| "give the number of a node, as \\nodes shows it".to_owned())
}

fn nodes_text(status: &StatusResponse) -> String {
    let mut text = format!("{:<5} {:<8} {:<22} {:<7} clock\n", "node", "state", "address", "leads");
    for node in &status.nodes {
        let address = node.address.clone().unwrap_or_default();
        let leads = status.shards.iter().filter(|shard| {
            shard.location.as_ref().is_some_and(|location| location.leader == address.node)
        });
        let state = match node.state() {
            NodeState::Up => "up",
            NodeState::Down => "down",
            NodeState::Waiting => "waiting",
            NodeState::Unspecified => "unknown",
        };
        let clock = node.clock.as_ref().filter(|_| node.state() == NodeState::Up);
        let clock = clock.map_or_else(String::new, |clock| {
            format!("{} epsilon {} us", clock.source, clock.epsilon_nanos / 1_000)
        });
        writeln!(
            text,
            "n{:<4} {state:<8} {:<22} {:<7} {clock}",
            address.node,
            address.grpc,
            leads.count()
        )
        .expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::node_id;
    use proto::NodeId;

    #[test]
    fn nodes_are_named_by_number() {
        assert_eq!(node_id("2"), Ok(NodeId(2)));
        assert_eq!(node_id("n2"), Ok(NodeId(2)));
        assert!(node_id("").is_err() && node_id("two").is_err());
    }
}
