//! Runs the bank on a live cluster.
//!
//! ```text
//! connect -> create, load, read all -> | clients, audits, faults, a line a second | -> lookups, last audit
//!                                      |<------------- measured ---------------->|
//! ```
//! Everything here runs on the caller's one thread, beside the servers: it records numbers, and leaves text
//! and judgement to [`Finished::check`], for which the cluster need not run any more.
//!
//! Example: `drive(&options, &["127.0.0.1:7420".into()], None::<&mut NoCluster>, interrupt)`, then
//! `finished.check(Some(&path))` writes the history and gives the report.
//!
//! Not here: starting nodes, and what the command line looks like.

mod auditor;
mod clients;
mod error;
mod harm;
mod load;
mod recording;
mod shared;

pub use error::BankError;

use super::accounts::Accounts;
use super::audits::PAGE_ROWS;
use super::cluster::Cluster;
use super::cpu::cpu_time;
use super::faults::Fault;
use super::options::BankOptions;
use super::recovery::{NodeEvent, recovery};
use super::report::{CpuSeconds, Report, Run};
use super::stats::{LiveLine, Stats};
use super::work::{Spread, Workload};
use crate::checker::{Checker, Options};
use crate::history::{Answer, HistoryError, HistoryTime, Writer};
use auditor::Auditor;
use bytes::Bytes;
use client::{Client, ClientError, Config, Outcome};
use proto::{NodeId, TableId, TxnId};
use recording::{Recording, What};
use shared::Shared;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The bank's table.
const TABLE: &str = "bank_accounts";

/// Its columns.
const COLUMNS: [&str; 2] = ["id", "balance"];

/// What a transfer writes.
const ROW: [&str; 2] = COLUMNS;

/// What a transfer reads.
const BALANCE: [&str; 1] = [COLUMNS[1]];

/// Session streams of all clients together: a node answers everything that is ready on one in one message.
const STREAMS: usize = 3;

/// The longest pause before a retry. Short, so that it is the cluster's recovery that is measured.
const BACKOFF_MAX: Duration = Duration::from_millis(100);

/// How long clients may take to finish what is in flight at the end: a request, and the search for the
/// outcome of its commit.
const FINISH_LIMIT: Duration = Duration::from_secs(60);

/// For how long an outcome that was not known is asked for at the end.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// The wait between two such questions.
const LOOKUP_PAUSE: Duration = Duration::from_millis(100);

/// A live line does not wait longer for the shard map.
const MAP_LIMIT: Duration = Duration::from_millis(200);

/// A run that is over, and not yet checked.
#[derive(Debug)]
pub struct Finished {
    recording: Recording,
    spread: Spread,
    stats: Stats,
    events: Vec<NodeEvent>,
    started: HistoryTime,
    ended: HistoryTime,
    epsilon: Duration,
    failed_audits: Vec<super::AuditFailure>,
    cpu: CpuSeconds,
    last_failure: Option<String>,
}

/// Runs the bank on the cluster at `addresses`, until the time is over or `interrupt` is ready. `cluster`
/// is needed for faults only.
///
/// # Errors
/// The accounts could not be loaded, a node could not be started again, or a client got stuck. What is wrong
/// with the database's answers is no error but part of the report.
pub async fn drive<C: Cluster>(
    options: &BankOptions,
    addresses: &[String],
    cluster: Option<&mut C>,
    interrupt: impl Future<Output = ()>,
) -> Result<Finished, BankError> {
    drive_by(
        options,
        async |config| Client::connect_with(addresses, config).await,
        cluster,
        interrupt,
    )
    .await
}

/// Like [`drive`], by clients that `connect` makes.
async fn drive_by<C: Cluster>(
    options: &BankOptions,
    connect: impl AsyncFn(Config) -> Result<Client, ClientError>,
    cluster: Option<&mut C>,
    interrupt: impl Future<Output = ()>,
) -> Result<Finished, BankError> {
    let mut interrupt = std::pin::pin!(interrupt);
    let bank = tokio::select! {
        bank = Bank::open(options, connect) => bank?,
        () = &mut interrupt => return Err(BankError::Interrupted),
    };
    bank.run(cluster, interrupt).await
}

/// A bank that is loaded.
struct Bank<'a> {
    options: &'a BankOptions,
    client: Client,
    pager: Client,
    shared: Arc<Shared>,
    table: TableId,
    spread: Arc<Spread>,
    recording: Recording,
    loaded: Instant,
    nodes: Vec<NodeId>,
    epsilon: Duration,
}

impl<'a> Bank<'a> {
    async fn open(
        options: &'a BankOptions,
        connect: impl AsyncFn(Config) -> Result<Client, ClientError>,
    ) -> Result<Self, BankError> {
        let connect = async |streams, page_rows| {
            let config = Config {
                streams,
                page_rows,
                backoff_max: BACKOFF_MAX,
                seed: Some(options.seed),
                ..Config::default()
            };
            connect(config).await.map_err(BankError::doing("connect to the cluster"))
        };
        let client = connect(STREAMS, Config::default().page_rows).await?;
        let pager = connect(1, PAGE_ROWS).await?;
        let accounts = Accounts::new(options.accounts);
        let table = load::create(&client, options).await?;
        let spread = load::spread(&client, table, accounts).await?;
        let began = Instant::now();
        load::fill(&client, accounts).await?;
        say(format_args!(
            "loaded {} accounts in {:.1} s",
            options.accounts,
            began.elapsed().as_secs_f64()
        ));
        let initial = load::initial(&client, accounts).await?;
        let loaded = Instant::now();
        let status = client.status().await.map_err(BankError::doing("ask for the status"))?;
        let clocks = status.nodes.iter().filter_map(|node| node.clock.as_ref());
        let epsilon = clocks.map(|clock| clock.epsilon_nanos).max().unwrap_or(0);
        let nodes = status.nodes.iter().filter_map(|node| node.address.as_ref());
        Ok(Bank {
            options,
            client,
            pager,
            shared: Arc::new(Shared::new()),
            table,
            spread: Arc::new(spread),
            recording: Recording { accounts, initial, records: Vec::new() },
            loaded,
            nodes: nodes.map(|node| NodeId(node.node)).collect(),
            epsilon: Duration::from_nanos(epsilon),
        })
    }

    async fn run<C: Cluster>(
        self,
        mut cluster: Option<&mut C>,
        interrupt: impl Future<Output = ()>,
    ) -> Result<Finished, BankError> {
        let used_before = CpuUsed::now(cluster.as_deref());
        let started = self.shared.now();
        let mut clients = self.start_clients();
        let auditor = tokio::spawn(self.auditor().work(self.options.audit_interval));
        let events = self.measure(cluster.as_deref_mut(), started, interrupt).await;
        let used = CpuUsed::now(cluster.as_deref());
        // Whatever went wrong, nothing of the run may go on.
        self.shared.end();
        let events = events?;
        finish(&mut clients).await?;
        tracing::debug!("the clients have finished");
        let mut auditor = auditor.await??;
        tracing::debug!("the auditor has finished");
        self.look_up().await?;
        auditor.last().await?;
        tracing::debug!("the last audit is made");
        let mut recording = self.recording;
        let mut cpu = used.since(used_before);
        if !events.is_empty() {
            // A node that was started again has forgotten what it used before.
            cpu.servers = None;
        }
        let mut state = self.shared.state();
        recording.records = std::mem::take(&mut state.records);
        Ok(Finished {
            recording,
            spread: Arc::unwrap_or_clone(self.spread),
            stats: std::mem::take(&mut state.stats),
            events,
            started,
            ended: state.ended().unwrap_or(started),
            epsilon: self.epsilon,
            failed_audits: std::mem::take(&mut state.failed_audits),
            cpu,
            last_failure: state.last_failure.take(),
        })
    }

    fn start_clients(&self) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        let BankOptions { seed, cross_shard, read_only, .. } = *self.options;
        for process in 0..self.options.clients {
            let spread = Arc::clone(&self.spread);
            let workload = Workload::new(spread, seed, process, cross_shard, read_only);
            let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
            clients.spawn(clients::work(client, shared, process, workload));
        }
        clients
    }

    fn auditor(&self) -> Auditor {
        Auditor::new(
            (self.client.clone(), self.pager.clone()),
            Arc::clone(&self.shared),
            self.options.clients,
            self.recording.accounts,
            self.nodes.clone(),
            self.loaded,
        )
    }

    /// Lets the time pass: faults, a line a second, and the end.
    async fn measure<C: Cluster>(
        &self,
        cluster: Option<&mut C>,
        started: HistoryTime,
        interrupt: impl Future<Output = ()>,
    ) -> Result<Vec<NodeEvent>, BankError> {
        let from = Duration::from_nanos(started.nanos());
        let (shared, options) = (&*self.shared, self.options);
        let until_end = async {
            let over = shared.instant(from + options.duration);
            tokio::select! {
                _ = shared.sleep_until(over) => {}
                () = interrupt => say(format_args!("interrupted; finishing what is in flight")),
            }
            shared.end();
        };
        let harm = async {
            let Some(cluster) = cluster else { return Ok(Vec::new()) };
            let events =
                harm::hurt(cluster, &self.client, shared, &self.spread, options, from).await;
            if events.is_err() {
                shared.end();
            }
            events
        };
        let (events, (), ()) = tokio::join!(harm, until_end, self.tell(from));
        events
    }

    /// Prints a line a second.
    async fn tell(&self, from: Duration) {
        let mut before = (0, 0);
        let mut elapsed = Duration::ZERO;
        loop {
            elapsed += Duration::from_secs(1);
            if !self.shared.sleep_until(self.shared.instant(from + elapsed)).await {
                return;
            }
            let leaders = self.leaders().await;
            let line = {
                let mut state = self.shared.state();
                let window = std::mem::take(&mut state.window);
                let now = (state.stats.transfers, state.stats.aborts());
                let (transfers, aborts) = (now.0 - before.0, now.1 - before.1);
                before = now;
                LiveLine {
                    elapsed,
                    transfers,
                    aborts,
                    transfers_total: now.0,
                    latency: window.percentiles(),
                    outcome_unknown_total: state.stats.outcome_unknown,
                    leaders,
                }
            };
            say(format_args!("{line}"));
        }
    }

    async fn leaders(&self) -> BTreeMap<NodeId, usize> {
        let mut leaders = BTreeMap::new();
        if let Ok(Ok(map)) = timeout(MAP_LIMIT, self.client.shard_map()).await {
            for leader in map.shards(self.table).iter().filter_map(|place| place.leader) {
                *leaders.entry(leader).or_default() += 1;
            }
        }
        leaders
    }

    /// Asks once more for every outcome that is not known, all at the same time.
    async fn look_up(&self) -> Result<(), BankError> {
        let process = self.options.clients + 1;
        let unknown = std::mem::take(&mut self.shared.state().unknown);
        let mut lookups = JoinSet::new();
        // Without the key there is nobody to ask.
        for (process, (id, key)) in (process..).zip(unknown).filter(|(_, (_, key))| !key.is_empty())
        {
            let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
            lookups.spawn(async move {
                let invoked = shared.now();
                let answer = look_up(&client, id, key).await;
                tracing::debug!(%id, ?answer, "asked for an outcome");
                shared.record(process, invoked, What::Lookup { id, answer });
            });
        }
        while let Some(ended) = lookups.join_next().await {
            ended?;
        }
        Ok(())
    }
}

/// What was used of the processors up to a moment.
#[derive(Clone, Copy)]
struct CpuUsed {
    servers: Option<Duration>,
    client: Option<Duration>,
}

impl CpuUsed {
    fn now<C: Cluster>(cluster: Option<&C>) -> Self {
        let client = cpu_time(std::process::id());
        CpuUsed { servers: cluster.and_then(Cluster::cpu_time), client }
    }

    fn since(self, before: CpuUsed) -> CpuSeconds {
        let seconds = |now: Option<Duration>, before: Option<Duration>| {
            Some(now?.saturating_sub(before?).as_secs_f64())
        };
        CpuSeconds {
            servers: seconds(self.servers, before.servers),
            client: seconds(self.client, before.client),
        }
    }
}

/// Asks until there is an answer, or nobody has one in time.
async fn look_up(client: &Client, id: TxnId, key: Bytes) -> Answer {
    let deadline = Instant::now() + LOOKUP_LIMIT;
    while Instant::now() < deadline {
        match client.lookup_outcome(id, key.clone()).await {
            Ok((Outcome::Committed, Some(at))) => return Answer::Committed { at },
            Ok((Outcome::Aborted, _)) => return Answer::Aborted,
            Ok((Outcome::NoLongerKnown, _)) => return Answer::NotKnown,
            Ok(answer) => tracing::debug!(%id, ?answer, "no outcome yet"),
            Err(error) => tracing::debug!(%id, %error, "no outcome yet"),
        }
        sleep(LOOKUP_PAUSE).await;
    }
    Answer::NotKnown
}

/// Waits until every client has finished what it had begun.
async fn finish(clients: &mut JoinSet<()>) -> Result<(), BankError> {
    let all = async {
        while let Some(ended) = clients.join_next().await {
            ended?;
        }
        Ok(())
    };
    let finished = timeout(FINISH_LIMIT, all).await;
    let stuck = BankError::Stuck { clients: clients.len(), limit: FINISH_LIMIT };
    finished.unwrap_or(Err(stuck))
}

/// Progress goes to stderr, where a closed pipe is nobody's loss.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Finished {
    /// Writes the history to `path`, if there is one, and checks it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn check(self, path: Option<&Path>) -> Result<Report, HistoryError> {
        let header = self.recording.header(u64::try_from(self.epsilon.as_micros()).unwrap_or(0));
        let mut writer = path.map(|path| Writer::create(path, &header)).transpose()?;
        let mut checker = Checker::for_header(&header, Options::default());
        for record in self.recording.records() {
            if let Some(writer) = &mut writer {
                writer.record(&record)?;
            }
            checker.record(&record);
        }
        if let Some(writer) = writer {
            writer.finish()?;
        }
        let commits = self.recording.shard_commits(&self.spread);
        let count = |fault| self.events.iter().filter(|event| event.fault == fault).count();
        let count = |fault| u64::try_from(count(fault)).unwrap_or(u64::MAX);
        let run = Run {
            duration: Duration::from_nanos(self.ended.nanos() - self.started.nanos()),
            epsilon: self.epsilon,
            kills: count(Fault::Kill),
            stops: count(Fault::Stop),
            recovery: recovery(&self.events, &commits, self.ended),
            failed_audits: self.failed_audits,
            cpu: self.cpu,
        };
        Ok(Report::new(&self.stats, &run, &checker.finish()))
    }

    /// The last failure of a client, for a run in which nothing committed.
    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }
}

#[cfg(test)]
mod fake;

#[cfg(test)]
mod tests;
