//! Whole runs against a database in memory, in a time that passes only while somebody waits.

use super::fake::{Fake, Flaw};
use super::{BankError, Finished, drive_by};
use crate::bank::{BankOptions, Cluster, ClusterError, Report};
use crate::verify::verify_file;
use proto::NodeId;
use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::time::Duration;

/// A cluster whose one node comes back at once.
#[derive(Default)]
struct Nodes {
    done: Vec<&'static str>,
}

impl Cluster for Nodes {
    async fn start(&mut self, _: NodeId) -> Result<(), ClusterError> {
        self.done.push("start");
        Ok(())
    }

    async fn kill(&mut self, _: NodeId) -> Result<(), ClusterError> {
        self.done.push("kill");
        Ok(())
    }

    async fn stop(&mut self, _: NodeId) -> Result<(), ClusterError> {
        self.done.push("stop");
        Ok(())
    }

    fn cpu_time(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

fn options() -> BankOptions {
    BankOptions {
        accounts: 10,
        shards: 2,
        clients: 4,
        duration: Duration::from_secs(8),
        audit_interval: Duration::from_millis(500),
        ..BankOptions::default()
    }
}

async fn run(
    flaw: Flaw,
    options: &BankOptions,
    nodes: &mut Nodes,
    interrupt: impl Future<Output = ()>,
) -> Result<Finished, BankError> {
    let fake = Fake::new(flaw);
    let connect = async |config| Arc::clone(&fake).connect(config).await;
    drive_by(options, connect, Some(nodes), interrupt).await
}

async fn report(flaw: Flaw, options: &BankOptions) -> Report {
    let finished = run(flaw, options, &mut Nodes::default(), pending()).await.unwrap();
    finished.check(None).unwrap()
}

#[tokio::test(start_paused = true)]
async fn run_on_a_right_database_is_strictly_serializable() {
    let report = report(Flaw::None, &options()).await;
    assert_eq!(report.verdict, "strictly serializable");
    assert!(report.transfers > 1_000, "{report}");
    assert!((0.4..0.6).contains(&share(report.cross_shard_transfers, report.transfers)));
    // One at the beginning, one each half second, one at the end.
    assert_eq!(report.audits, 17);
    assert!(report.aborts_by_reason["wounded"] > 0);
    assert_eq!(report.epsilon_us, 250.0);
    assert_eq!(report.commit_wait_ms.map(|wait| wait.p50), Some(0.5));
    assert!(report.latency_ms.read_only.is_some());
    assert_eq!(report.cpu_seconds.servers, Some(0.0));
    assert!(report.cpu_seconds.client.is_some());
    assert!(report.checked_transactions > report.transfers + report.audits);
}

#[tokio::test(start_paused = true)]
async fn run_whose_last_audit_is_never_answered_is_not_good() {
    let report = report(Flaw::LosesAShard, &BankOptions { read_only: 0.0, ..options() }).await;
    assert_eq!(report.verdict, "failed audit");
    assert!(report.anomalies[0].contains("no answer"), "{report}");
    assert!(!report.is_good());
}

fn share(part: u64, of: u64) -> f64 {
    f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(of).unwrap())
}

#[tokio::test(start_paused = true)]
async fn run_on_a_database_that_loses_writes_is_not() {
    let report = report(Flaw::LosesWrites, &options()).await;
    assert!(report.verdict.starts_with("failed audit, "), "{}", report.verdict);
    assert!(!report.is_good());
}

#[tokio::test(start_paused = true)]
async fn outcome_that_was_unknown_is_looked_up_at_the_end() {
    let options = BankOptions { read_only: 0.0, ..options() };
    let mut nodes = Nodes::default();
    let finished = run(Flaw::ForgetsOutcomes, &options, &mut nodes, pending());
    let finished = finished.await.unwrap();
    let lookups = |record: &crate::history::Record| {
        matches!(record, crate::history::Record::Lookup(lookup)
            if matches!(lookup.answer, crate::history::Answer::Committed { .. }))
    };
    let looked_up = finished.recording.records().filter(lookups).count();
    let report = finished.check(None).unwrap();
    assert!(report.outcome_unknown > 0);
    assert_eq!(u64::try_from(looked_up), Ok(report.outcome_unknown));
    assert_eq!(report.verdict, "strictly serializable");
}

#[tokio::test(start_paused = true)]
async fn faults_are_made_and_their_recovery_is_measured() {
    let every = Some(Duration::from_secs(2));
    let options = BankOptions { kill_leaders: every, stop_leaders: every, ..options() };
    let mut nodes = Nodes::default();
    let finished = run(Flaw::None, &options, &mut nodes, pending()).await.unwrap();
    let report = finished.check(None).unwrap();
    // At 2, 3 and 4 seconds. The next is due at 5, when the second kill has just ended; after that, less
    // than three seconds are left to see it recover.
    assert_eq!(nodes.done, ["kill", "start", "stop", "start", "kill", "start"]);
    assert_eq!((report.kills, report.stops), (2, 1));
    assert_eq!(report.cpu_seconds.servers, None);
    let recovery = report.recovery_ms;
    assert!(recovery.kill.unwrap().max < 100.0 && recovery.stop.unwrap().max < 100.0);
    assert_eq!(recovery.unrecovered, 0);
}

#[tokio::test(start_paused = true)]
async fn interrupt_ends_the_measured_time_and_the_rest_is_checked() {
    let second = tokio::time::sleep(Duration::from_secs(1));
    let finished = run(Flaw::None, &options(), &mut Nodes::default(), second).await.unwrap();
    let report = finished.check(None).unwrap();
    assert!(report.is_good());
    assert!((1..1_500).contains(&report.transfers), "{report}");
}

#[tokio::test(start_paused = true)]
async fn interrupt_before_the_measured_time_ends_all() {
    let finished = run(Flaw::None, &options(), &mut Nodes::default(), ready(())).await;
    assert!(matches!(finished, Err(BankError::Interrupted)));
}

#[tokio::test(start_paused = true)]
async fn history_file_verifies_like_the_run() {
    for flaw in [Flaw::None, Flaw::LosesWrites] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finished = run(flaw, &options(), &mut Nodes::default(), pending()).await.unwrap();
        let report = finished.check(Some(file.path())).unwrap();
        let checked = verify_file(file.path()).unwrap();
        assert_eq!(checked.transactions, report.checked_transactions);
        assert_eq!(checked.is_strictly_serializable(), flaw == Flaw::None);
        assert!(report.verdict.ends_with(&checked.verdict()));
    }
}
