//! What the log should hold, said as simply as possible.

use node::storage::log::RecoveredShard;
use node::storage::record::LogRecord;
use proto::{EntryId, ShardId};
use std::collections::BTreeMap;

/// All shards with all that they retain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) shards: BTreeMap<ShardId, RecoveredShard>,
}

impl Model {
    pub(crate) fn apply(&mut self, record: &LogRecord) {
        match record {
            LogRecord::Created { shard, descriptor } => {
                let descriptor = descriptor.clone();
                let state = RecoveredShard { descriptor, ..RecoveredShard::default() };
                assert!(self.shards.insert(*shard, state).is_none());
            }
            LogRecord::Entries { shard, entries } => {
                let kept = &mut self.shards.get_mut(shard).unwrap().entries;
                kept.retain(|entry| entry.id.index < entries[0].id.index);
                kept.extend(entries.iter().cloned());
            }
            LogRecord::HardState { shard, state } => {
                self.shards.get_mut(shard).unwrap().hard_state = *state;
            }
            LogRecord::Truncated { shard, through } => {
                let state = self.shards.get_mut(shard).unwrap();
                if through.index > state.truncated.index {
                    let contained = state.entries.iter().any(|entry| entry.id == *through);
                    state.entries.retain(|entry| contained && entry.id.index > through.index);
                    state.truncated = *through;
                    state.hard_state.commit = state.hard_state.commit.max(through.index);
                }
            }
            LogRecord::Removed { shard } => {
                self.shards.remove(shard).unwrap();
            }
        }
    }

    /// What must hold of any recovered state, whatever was written.
    pub(crate) fn check_invariants(&self) {
        for (shard, state) in &self.shards {
            let commit = state.hard_state.commit;
            let last = last(state);
            assert!(state.truncated.index <= commit, "{shard}: truncated past commit {commit}");
            assert!(commit <= last.index, "{shard}: commit {commit} behind the last {last:?}");
            let mut before = state.truncated;
            for entry in &state.entries {
                assert_eq!(entry.id.index, before.index.next(), "{shard}: a gap after {before:?}");
                assert!(entry.id.term >= before.term, "{shard}: term falls after {before:?}");
                assert!(entry.id.term <= state.hard_state.term, "{shard}: term of {entry:?}");
                before = entry.id;
            }
        }
    }
}

/// The last entry of a shard, or the last that is gone.
pub(crate) fn last(state: &RecoveredShard) -> EntryId {
    state.entries.last().map_or(state.truncated, |entry| entry.id)
}
