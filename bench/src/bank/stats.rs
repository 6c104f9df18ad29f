//! Counts and latencies of a run.

use hdrhistogram::Histogram;
use proto::NodeId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Three significant digits: a percentile is right to one part in a thousand.
const DIGITS: u8 = 3;

/// Longer latencies count as this long.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// Why an attempt was aborted, in the database's words: "wounded", "lease".
pub type AbortReason = String;

/// How long things took.
#[derive(Clone, Debug)]
pub struct Latencies {
    micros: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let micros = Histogram::new_with_bounds(1, micros_of(LATENCY_MAX), DIGITS)
            .expect("the bounds are positive, ascending, and three digits are allowed");
        Latencies { micros }
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.micros.saturating_record(micros_of(latency).max(1));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Latencies) {
        self.micros.add(&other.micros).expect("all have the same bounds");
    }

    /// The percentiles; `None` when nothing was recorded.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.micros.is_empty() {
            return None;
        }
        let at = |quantile| millis_of(self.micros.value_at_quantile(quantile));
        Some(Percentiles {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: millis_of(self.micros.max()),
        })
    }
}

fn micros_of(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

fn millis_of(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are not longer.
    pub p50: f64,
    /// 95 of 100 are not longer.
    pub p95: f64,
    /// 99 of 100 are not longer.
    pub p99: f64,
    /// 999 of 1000 are not longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { p50, p95, p99, p999, max } = self;
        write!(f, "p50 {p50:.1}  p95 {p95:.1}  p99 {p99:.1}  p99.9 {p999:.1}  max {max:.1} ms")
    }
}

/// What the clients of a run did. Each client counts for itself; [`Stats::merge`] adds them up.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Transfers that committed.
    pub transfers: u64,
    /// Of these, those over two shards.
    pub cross_shard_transfers: u64,
    /// Attempts that were aborted, by reason.
    pub aborts_by_reason: BTreeMap<AbortReason, u64>,
    /// Attempts that repeated an earlier one.
    pub retries: u64,
    /// Commits whose outcome the client did not learn.
    pub outcome_unknown: u64,
    /// Audits that were made.
    pub audits: u64,
    /// From the first attempt to the acknowledgement, of transfers that committed.
    pub transfer_latency: Latencies,
    /// Of read-only transactions other than audits.
    pub read_only_latency: Latencies,
    /// How long acknowledgements of transfers were held back for commit wait.
    pub commit_wait: Latencies,
}

impl Stats {
    /// Counts an aborted attempt.
    pub fn abort(&mut self, reason: &str) {
        match self.aborts_by_reason.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                self.aborts_by_reason.insert(reason.to_string(), 1);
            }
        }
    }

    /// Attempts that were aborted.
    #[must_use]
    pub fn aborts(&self) -> u64 {
        self.aborts_by_reason.values().sum()
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Stats) {
        self.transfers += other.transfers;
        self.cross_shard_transfers += other.cross_shard_transfers;
        for (reason, count) in &other.aborts_by_reason {
            *self.aborts_by_reason.entry(reason.clone()).or_default() += count;
        }
        self.retries += other.retries;
        self.outcome_unknown += other.outcome_unknown;
        self.audits += other.audits;
        self.transfer_latency.merge(&other.transfer_latency);
        self.read_only_latency.merge(&other.read_only_latency);
        self.commit_wait.merge(&other.commit_wait);
    }
}

/// What is printed each second while the bank runs.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveLine {
    /// How long the measured part has lasted.
    pub elapsed: Duration,
    /// Transfers committed in the last second.
    pub transfers: u64,
    /// Attempts aborted in the last second.
    pub aborts: u64,
    /// Transfers committed so far.
    pub transfers_total: u64,
    /// How long the last second's transfers took; `None` when none committed.
    pub latency: Option<Percentiles>,
    /// Outcomes unknown so far.
    pub outcome_unknown_total: u64,
    /// Who leads how many shards.
    pub leaders: BTreeMap<NodeId, usize>,
}

impl fmt::Display for LiveLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>4}s  {:>7} transfers/s  {:>6} aborts/s  {:>9} transfers",
            self.elapsed.as_secs(),
            self.transfers,
            self.aborts,
            self.transfers_total
        )?;
        match self.latency {
            Some(Percentiles { p50, p99, .. }) => write!(f, "  p50 {p50:>6.1}  p99 {p99:>7.1} ms")?,
            None => write!(f, "  p50      -  p99       - ms")?,
        }
        if !self.leaders.is_empty() {
            f.write_str("  leading")?;
        }
        for (node, shards) in &self.leaders {
            write!(f, " {node}:{shards}")?;
        }
        match self.outcome_unknown_total {
            0 => Ok(()),
            unknown => write!(f, "  {unknown} outcomes unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), None);
        (1..=1000).for_each(|millis| latencies.record(Duration::from_millis(millis)));
        let found = latencies.percentiles().unwrap();
        for (found, due) in [
            (found.p50, 500.0),
            (found.p95, 950.0),
            (found.p99, 990.0),
            (found.p999, 999.0),
            (found.max, 1000.0),
        ] {
            assert!((found - due).abs() <= due / 500.0, "{found} is not {due}");
        }
    }

    #[test]
    fn latency_out_of_bounds_counts_as_the_bound() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(100_000));
        let found = latencies.percentiles().unwrap();
        assert!(found.p50 < 0.01 && found.max > 3_599_000.0, "{found}");
    }

    #[test]
    fn merged_stats_add_up() {
        let mut one = Stats { transfers: 2, retries: 1, ..Stats::default() };
        one.abort("wounded");
        let mut two = Stats { transfers: 3, cross_shard_transfers: 1, ..Stats::default() };
        two.abort("wounded");
        two.abort("lease");
        two.transfer_latency.record(Duration::from_millis(7));
        one.merge(&two);
        assert_eq!((one.transfers, one.cross_shard_transfers, one.retries), (5, 1, 1));
        assert_eq!(one.aborts(), 3);
        assert_eq!(one.aborts_by_reason["wounded"], 2);
        assert!(one.transfer_latency.percentiles().is_some());
    }

    #[test]
    fn live_line_stays_in_its_columns() {
        let mut line = LiveLine {
            elapsed: Duration::from_secs(7),
            transfers: 4321,
            aborts: 12,
            transfers_total: 30_000,
            latency: None,
            outcome_unknown_total: 0,
            leaders: BTreeMap::new(),
        };
        assert_eq!(
            line.to_string(),
            "   7s     4321 transfers/s      12 aborts/s      30000 transfers\
             \x20 p50      -  p99       - ms"
        );
        line.latency = Some(Percentiles { p50: 4.3, p95: 9.0, p99: 21.5, p999: 30.0, max: 31.0 });
        line.leaders = BTreeMap::from([(NodeId(1), 5), (NodeId(3), 3)]);
        assert!(
            line.to_string().ends_with(" p50    4.3  p99    21.5 ms  leading n1:5 n3:3"),
            "{line}"
        );
        line.outcome_unknown_total = 2;
        assert!(line.to_string().ends_with("  2 outcomes unknown"));
    }
}
