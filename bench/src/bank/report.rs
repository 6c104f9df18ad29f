//! The report of a run: what `--json` writes and what the terminal shows.

use super::audits::AuditFailure;
use super::recovery::Recovery;
use super::stats::{Percentiles, Stats};
use crate::checker::Checked;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a run measured besides what its clients counted.
#[derive(Clone, Debug)]
pub struct Run {
    /// How long the measured part lasted.
    pub duration: Duration,
    /// The clocks' epsilon.
    pub epsilon: Duration,
    /// How often a node was killed.
    pub kills: u64,
    /// How often a node was stopped.
    pub stops: u64,
    /// How long shards had no commit after that.
    pub recovery: Recovery,
    /// Audits that did not add up.
    pub failed_audits: Vec<AuditFailure>,
    /// What was used of the processors in the measured part.
    pub cpu: CpuSeconds,
}

/// Processor time of the measured part, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CpuSeconds {
    /// Of the nodes that the bench started as processes; null without such, and when faults ended some.
    pub servers: Option<f64>,
    /// Of the bench itself, in which embedded nodes are.
    pub client: Option<f64>,
}

/// Latencies by kind of transaction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyMs {
    /// Of transfers, retries included; null when none committed.
    pub transfer: Option<Percentiles>,
    /// Of read-only transactions; null when none ran.
    pub read_only: Option<Percentiles>,
}

/// How long shards had no commit, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RecoveryMs {
    /// Half recovered sooner.
    pub p50: f64,
    /// The longest.
    pub max: f64,
}

impl RecoveryMs {
    /// Of `durations`, ascending; `None` of none.
    fn of(durations: &[Duration]) -> Option<Self> {
        let millis = |duration: &Duration| duration.as_secs_f64() * 1_000.0;
        let middle = durations.get(durations.len().saturating_sub(1) / 2)?;
        Some(RecoveryMs { p50: millis(middle), max: millis(durations.last()?) })
    }
}

/// Recovery by what was done to the node that led the shard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RecoveryReport {
    /// After a kill; null when there was none.
    pub kill: Option<RecoveryMs>,
    /// After a stop; null when there was none.
    pub stop: Option<RecoveryMs>,
    /// Shards that had not recovered when the run ended.
    pub unrecovered: u64,
}

/// Everything a run found out. The names of its fields are those of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Transfers that committed in the measured time.
    pub transfers: u64,
    /// Of these, those over two shards.
    pub cross_shard_transfers: u64,
    /// Attempts that were aborted.
    pub aborts: u64,
    /// Attempts that repeated an earlier one.
    pub retries: u64,
    /// Commits whose outcome the client did not learn.
    pub outcome_unknown: u64,
    /// Audits that were made.
    pub audits: u64,
    /// How often a node was killed.
    pub kills: u64,
    /// How often a node was stopped.
    pub stops: u64,
    /// Transactions of the history that were checked.
    pub checked_transactions: u64,
    /// Transfers over the measured time.
    pub transfers_per_second: f64,
    /// The clocks' epsilon, in microseconds.
    pub epsilon_us: f64,
    /// How long transactions took.
    pub latency_ms: LatencyMs,
    /// How long acknowledgements waited for their timestamp to pass; null when nobody told.
    pub commit_wait_ms: Option<Percentiles>,
    /// How long shards had no commit after a fault.
    pub recovery_ms: RecoveryReport,
    /// What was used of the processors.
    pub cpu_seconds: CpuSeconds,
    /// Aborted attempts by reason.
    pub aborts_by_reason: BTreeMap<String, u64>,
    /// What is wrong with the history, and audits that did not add up.
    pub anomalies: Vec<String>,
    /// `"strictly serializable"`, or what was violated.
    pub verdict: String,
}

impl Report {
    /// Puts together what the clients counted, what the run measured, and what the checker found.
    #[must_use]
    pub fn new(stats: &Stats, run: &Run, checked: &Checked) -> Self {
        let failed_audits = run.failed_audits.iter().map(ToString::to_string);
        let violations = checked.violations.iter().map(ToString::to_string);
        let verdict = match (run.failed_audits.is_empty(), checked.is_strictly_serializable()) {
            (true, _) => checked.verdict(),
            (false, true) => "failed audit".to_string(),
            (false, false) => format!("failed audit, {}", checked.verdict()),
        };
        let transfers = f64::from(u32::try_from(stats.transfers).unwrap_or(u32::MAX));
        let seconds = run.duration.as_secs_f64();
        Report {
            transfers: stats.transfers,
            cross_shard_transfers: stats.cross_shard_transfers,
            aborts: stats.aborts(),
            retries: stats.retries,
            outcome_unknown: stats.outcome_unknown,
            audits: stats.audits,
            kills: run.kills,
            stops: run.stops,
            checked_transactions: checked.transactions,
            transfers_per_second: if seconds > 0.0 { transfers / seconds } else { 0.0 },
            epsilon_us: run.epsilon.as_secs_f64() * 1_000_000.0,
            latency_ms: LatencyMs {
                transfer: stats.transfer_latency.percentiles(),
                read_only: stats.read_only_latency.percentiles(),
            },
            commit_wait_ms: stats.commit_wait.percentiles(),
            recovery_ms: RecoveryReport {
                kill: RecoveryMs::of(&run.recovery.kill),
                stop: RecoveryMs::of(&run.recovery.stop),
                unrecovered: run.recovery.unrecovered,
            },
            cpu_seconds: run.cpu,
            aborts_by_reason: stats.aborts_by_reason.clone(),
            anomalies: failed_audits.chain(violations).collect(),
            verdict,
        }
    }

    /// Whether nothing is wrong: the exit code is 0.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.anomalies.is_empty() && self.verdict == "strictly serializable"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "transfers      {} ({:.0}/s), {} of them cross-shard",
            self.transfers, self.transfers_per_second, self.cross_shard_transfers
        )?;
        writeln!(
            f,
            "attempts       {} aborted, {} retried, {} of unknown outcome",
            self.aborts, self.retries, self.outcome_unknown
        )?;
        for (reason, count) in &self.aborts_by_reason {
            writeln!(f, "  aborted      {count} {reason}")?;
        }
        let latencies = [
            ("transfer", self.latency_ms.transfer),
            ("read-only", self.latency_ms.read_only),
            ("commit wait", self.commit_wait_ms),
        ];
        for (name, percentiles) in latencies {
            if let Some(percentiles) = percentiles {
                writeln!(f, "{name:<13}  {percentiles}")?;
            }
        }
        for (name, count, recovery) in [
            ("kills", self.kills, self.recovery_ms.kill),
            ("stops", self.stops, self.recovery_ms.stop),
        ] {
            if let Some(RecoveryMs { p50, max }) = recovery {
                writeln!(f, "{name:<13}  {count}, recovered in p50 {p50:.0}  max {max:.0} ms")?;
            }
        }
        if self.recovery_ms.unrecovered > 0 {
            let shards = self.recovery_ms.unrecovered;
            writeln!(f, "warning        {shards} shards committed nothing more after a fault")?;
        }
        writeln!(f, "epsilon        {:.0} us", self.epsilon_us)?;
        writeln!(
            f,
            "checked        {} transactions, {} audits",
            self.checked_transactions, self.audits
        )?;
        for anomaly in &self.anomalies {
            writeln!(f, "{anomaly}")?;
        }
        write!(f, "verdict        {}", self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Audit;
    use crate::checker::{Checker, Options};
    use crate::history::{HistoryTime, Kind, Op, Transaction};
    use proto::{Key, Value};
    use serde_json::{Value as Json, json};
    use truetime::Timestamp;

    fn run() -> Run {
        let recovery = Recovery {
            kill: [10, 20, 30, 400].map(Duration::from_millis).to_vec(),
            ..Recovery::default()
        };
        Run {
            duration: Duration::from_secs(2),
            epsilon: Duration::from_micros(250),
            kills: 3,
            stops: 0,
            recovery,
            failed_audits: Vec::new(),
            cpu: CpuSeconds { servers: Some(3.5), client: None },
        }
    }

    fn stats() -> Stats {
        let mut stats = Stats {
            transfers: 500,
            cross_shard_transfers: 240,
            retries: 5,
            outcome_unknown: 1,
            audits: 4,
            ..Stats::default()
        };
        stats.abort("wounded");
        stats.transfer_latency.record(Duration::from_millis(8));
        stats.commit_wait.record(Duration::from_micros(500));
        stats
    }

    fn clean() -> Checked {
        Checker::new(Options::default()).finish()
    }

    fn violated() -> Checked {
        let mut checker = Checker::new(Options::default());
        let value = Some(Value::from(&b"1"[..]));
        checker.transaction(&Transaction {
            process: 1,
            invoked: HistoryTime::from_nanos(1),
            responded: HistoryTime::from_nanos(2),
            id: None,
            kind: Kind::Strong { at: Timestamp::from_nanos(3) },
            ops: vec![Op::Read { key: Key::from(&b"a"[..]), value, version: None }],
        });
        checker.finish()
    }

    /// The fields that CLI.md promises, with their types.
    #[test]
    fn report_has_the_promised_fields() {
        let json = serde_json::to_value(Report::new(&stats(), &run(), &clean())).unwrap();
        for field in [
            "transfers",
            "cross_shard_transfers",
            "aborts",
            "retries",
            "outcome_unknown",
            "audits",
            "kills",
            "checked_transactions",
        ] {
            assert!(json[field].is_u64(), "{field}: {}", json[field]);
        }
        assert_eq!(json["transfers_per_second"], json!(250.0));
        assert_eq!(json["epsilon_us"], json!(250.0));
        for field in ["p50", "p95", "p99", "p999", "max"] {
            assert!(json["latency_ms"]["transfer"][field].is_f64(), "{field}");
            assert!(json["commit_wait_ms"][field].is_f64(), "{field}");
        }
        assert_eq!(json["latency_ms"]["read_only"], Json::Null);
        assert_eq!(json["recovery_ms"]["kill"], json!({"p50": 20.0, "max": 400.0}));
        assert_eq!(json["recovery_ms"]["stop"], Json::Null);
        assert_eq!(json["cpu_seconds"], json!({"servers": 3.5, "client": null}));
        assert_eq!(json["aborts_by_reason"], json!({"wounded": 1}));
        assert_eq!(json["anomalies"], json!([]));
        assert_eq!(json["verdict"], json!("strictly serializable"));
    }

    #[test]
    fn report_of_a_violation_says_so() {
        let report = Report::new(&stats(), &run(), &violated());
        assert_eq!(report.verdict, "garbage read");
        assert_eq!(report.anomalies.len(), 1);
        assert!(!report.is_good());
        assert!(Report::new(&stats(), &run(), &clean()).is_good());
    }

    #[test]
    fn report_of_a_failed_audit_says_so() {
        let failure = AuditFailure::Sum { audit: Audit::Strong, expected: 2000, found: 1990 };
        let run = Run { failed_audits: vec![failure], ..run() };
        let report = Report::new(&stats(), &run, &clean());
        assert_eq!(report.verdict, "failed audit");
        assert!(!report.is_good());
        assert_eq!(Report::new(&stats(), &run, &violated()).verdict, "failed audit, garbage read");
    }

    #[test]
    fn report_warns_of_shards_that_did_not_recover() {
        let recovery = Recovery { unrecovered: 2, ..Recovery::default() };
        let text = Report::new(&stats(), &Run { recovery, ..run() }, &clean()).to_string();
        let warning = "warning        2 shards committed nothing more after a fault\n";
        assert!(text.contains(warning), "{text}");
    }

    #[test]
    fn report_on_the_terminal_ends_with_the_verdict() {
        let text = Report::new(&stats(), &run(), &clean()).to_string();
        assert_eq!(
            text,
            "\
transfers      500 (250/s), 240 of them cross-shard
attempts       1 aborted, 5 retried, 1 of unknown outcome
  aborted      1 wounded
transfer       p50 8.0  p95 8.0  p99 8.0  p99.9 8.0  max 8.0 ms
commit wait    p50 0.5  p95 0.5  p99 0.5  p99.9 0.5  max 0.5 ms
kills          3, recovered in p50 20  max 400 ms
epsilon        250 us
checked        0 transactions, 4 audits
verdict        strictly serializable"
        );
    }
}
