//! How long the shards of a node that was killed or stopped had no commit.

use super::faults::Fault;
use crate::history::HistoryTime;
use proto::ShardId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A node that led shards was killed or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// What was done.
    pub fault: Fault,
    /// When the process was killed or asked to stop.
    pub at: HistoryTime,
    /// What it led just before.
    pub led: BTreeSet<ShardId>,
}

/// A transaction that committed with writes on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardCommit {
    /// The shard.
    pub shard: ShardId,
    /// When the attempt that committed began.
    pub begun: HistoryTime,
    /// When its client was told.
    pub acknowledged: HistoryTime,
}

/// How long it took, for each shard of each event: ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// After kills.
    pub kill: Vec<Duration>,
    /// After stops.
    pub stop: Vec<Duration>,
    /// How many of them had not recovered when the run ended at `end`; they count as `end`.
    pub unrecovered: u64,
}

/// From each event to the first commit on each shard that the node led. Only attempts that began after
/// the event count: one begun before may owe its commit to the node that is gone.
#[must_use]
pub fn recovery(events: &[NodeEvent], commits: &[ShardCommit], end: HistoryTime) -> Recovery {
    let first_from = first_from(commits);
    let mut recovery = Recovery::default();
    for event in events {
        for shard in &event.led {
            let commits = first_from.get(shard).map_or(&[][..], Vec::as_slice);
            let next = commits.partition_point(|(begun, _)| *begun < event.at);
            let first = commits.get(next).map(|(_, acknowledged)| *acknowledged);
            if first.is_none() {
                recovery.unrecovered += 1;
            }
            let until = first.unwrap_or(end).nanos().saturating_sub(event.at.nanos());
            match event.fault {
                Fault::Kill => recovery.kill.push(Duration::from_nanos(until)),
                Fault::Stop => recovery.stop.push(Duration::from_nanos(until)),
            }
        }
    }
    recovery.kill.sort_unstable();
    recovery.stop.sort_unstable();
    recovery
}

/// Per shard, ascending by begin: the first acknowledgement of any commit that began then or later.
fn first_from(commits: &[ShardCommit]) -> BTreeMap<ShardId, Vec<(HistoryTime, HistoryTime)>> {
    let mut by_shard: BTreeMap<ShardId, Vec<(HistoryTime, HistoryTime)>> = BTreeMap::new();
    for commit in commits {
        by_shard.entry(commit.shard).or_default().push((commit.begun, commit.acknowledged));
    }
    for commits in by_shard.values_mut() {
        commits.sort_unstable();
        let mut first = HistoryTime::from_nanos(u64::MAX);
        for (_, acknowledged) in commits.iter_mut().rev() {
            first = first.min(*acknowledged);
            *acknowledged = first;
        }
    }
    by_shard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> HistoryTime {
        HistoryTime::from_nanos(millis * 1_000_000)
    }

    fn commit(shard: u64, begun: u64, acknowledged: u64) -> ShardCommit {
        let (begun, acknowledged) = (at(begun), at(acknowledged));
        ShardCommit { shard: ShardId(shard), begun, acknowledged }
    }

    fn event(fault: Fault, millis: u64, led: &[u64]) -> NodeEvent {
        NodeEvent { fault, at: at(millis), led: led.iter().map(|shard| ShardId(*shard)).collect() }
    }

    fn millis(durations: &[Duration]) -> Vec<u128> {
        durations.iter().map(Duration::as_millis).collect()
    }

    #[test]
    fn recovery_is_the_first_commit_of_each_shard_that_was_led() {
        let events = [event(Fault::Kill, 100, &[1, 2]), event(Fault::Stop, 500, &[3])];
        let commits = [
            commit(3, 110, 115), // not led by the node that was killed
            commit(1, 400, 900), // slow, overtaken by the next
            commit(1, 420, 430),
            commit(2, 300, 310),
            commit(3, 500, 507),
        ];
        let found = recovery(&events, &commits, at(1_000));
        assert_eq!(millis(&found.kill), [210, 330]);
        assert_eq!(millis(&found.stop), [7]);
        assert_eq!(found.unrecovered, 0);
    }

    #[test]
    fn recovery_ignores_what_began_before_the_event() {
        let events = [event(Fault::Kill, 100, &[1])];
        let commits = [commit(1, 99, 101), commit(1, 150, 250)];
        assert_eq!(millis(&recovery(&events, &commits, at(1_000)).kill), [150]);
    }

    #[test]
    fn shard_that_did_not_recover_counts_until_the_end() {
        let events = [event(Fault::Kill, 100, &[1, 2])];
        let found = recovery(&events, &[commit(1, 50, 60)], at(1_000));
        assert_eq!(millis(&found.kill), [900, 900]);
        assert_eq!(found.unrecovered, 2);
    }
}
