//! Monotonicity of timestamps (Spanner 4.1.2, R1): the timestamps that a shard's leaders assign strictly
//! increase, over all terms, in the order of the log.
//!
//! A commit of a coordinator and a prepare assign; an outcome at a participant does not (T11).

use proto::ShardId;
use std::collections::BTreeMap;
use truetime::Timestamp;
use txn::command::Command;
use txn::state::Applied;

use super::reference::Step;

/// The highest timestamp assigned, and the highest promised, per shard.
#[derive(Debug, Default)]
pub struct TimestampMonotonicity {
    highest: BTreeMap<ShardId, Timestamp>,
}

impl TimestampMonotonicity {
    /// An entry was applied for the first time.
    pub fn applied(&mut self, shard: ShardId, step: &Step) {
        let Some(entry) = &step.entry else { return };
        let assigned = match (&entry.command, &step.applied) {
            (Command::Commit { commit_ts, .. }, Applied::Committed { .. }) => *commit_ts,
            (Command::Prepare { record, .. }, Applied::Prepared { .. }) => record.prepare_ts,
            _ => return,
        };
        let highest = self.highest.entry(shard).or_default();
        assert!(
            assigned > *highest,
            "timestamp monotonicity: entry {} of shard {shard} assigns {assigned}, after {highest}",
            step.index
        );
        *highest = assigned;
    }
}
