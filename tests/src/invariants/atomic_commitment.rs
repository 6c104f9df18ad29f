//! Atomic commitment (Spanner 4.2.1): an id has one outcome, at one timestamp, and every participant takes
//! that one.
//!
//! The coordinator's record is the outcome; a participant's `Resolve` that finds its prepare must agree. One
//! that finds nothing, or a prepare with another timestamp, is a duplicate and does nothing.

use proto::{ShardId, TxnId};
use std::collections::BTreeMap;
use truetime::Timestamp;
use txn::command::Command;
use txn::message::Decision;
use txn::state::Applied;

use super::reference::Step;

/// How an id ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// At that timestamp.
    Committed(Timestamp),
    /// For good.
    Aborted,
}

/// See the module.
#[derive(Debug, Default)]
pub struct AtomicCommitment {
    outcomes: BTreeMap<TxnId, (ShardId, Ended)>,
    /// The prepare timestamps of those that are prepared, by shard.
    prepared: BTreeMap<(ShardId, TxnId), Timestamp>,
}

impl AtomicCommitment {
    /// An entry was applied for the first time.
    pub fn applied(&mut self, shard: ShardId, step: &Step) {
        let Some(entry) = &step.entry else { return };
        match (&entry.command, &step.applied) {
            (Command::Commit { commit_ts, .. }, Applied::Committed { id }) => {
                self.decided(shard, *id, Ended::Committed(*commit_ts));
            }
            (Command::Abort { .. }, Applied::Aborted { id }) => {
                self.decided(shard, *id, Ended::Aborted);
            }
            (Command::Prepare { record, .. }, Applied::Prepared { id }) => {
                self.prepared.insert((shard, *id), record.prepare_ts);
            }
            (Command::Resolve { id, decision }, _) => self.resolved(shard, *id, *decision),
            _ => {}
        }
    }

    fn decided(&mut self, shard: ShardId, id: TxnId, ended: Ended) {
        if let Some((at, before)) = self.outcomes.insert(id, (shard, ended)) {
            panic!("atomic commitment: {id} ended {before:?} at {at} and {ended:?} at {shard}");
        }
    }

    fn resolved(&mut self, shard: ShardId, id: TxnId, decision: Decision) {
        let Some(prepared) = self.prepared.remove(&(shard, id)) else { return };
        let told = match decision {
            Decision::Commit { commit_ts, prepare_ts } if prepare_ts == prepared => {
                Ended::Committed(commit_ts)
            }
            // What was prepared a second time, after its outcome, is dropped.
            Decision::Commit { .. } => return,
            Decision::Abort => Ended::Aborted,
        };
        let decided = self.outcomes.get(&id).map(|(_, ended)| *ended);
        assert_eq!(
            decided,
            Some(told),
            "atomic commitment: shard {shard} resolves {id} as {told:?}, its coordinator decided {decided:?}"
        );
    }
}
