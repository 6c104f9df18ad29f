//! Whole transactions (TRANSACTIONS.md section 4): what travelled in pieces takes effect with every one of its
//! writes or not at all, and its pieces were made under the epoch of its last entry.
//!
//! Looked at from the log alone: the writes of the pieces as they were proposed, against the versions that the
//! commit, or a participant's outcome, installs.

use proto::{Epoch, Key, ShardId, TxnId};
use std::collections::{BTreeMap, BTreeSet};
use txn::command::Command;
use txn::message::Write;
use txn::state::Applied;

use super::reference::Step;

/// See the module.
#[derive(Debug, Default)]
pub struct WholeTransactions {
    /// The pieces that each id has in the log of a shard, since its first one.
    sent: BTreeMap<(ShardId, TxnId), Sent>,
    /// What prepared transactions will install.
    prepared: BTreeMap<(ShardId, TxnId), BTreeSet<Key>>,
    /// How many took effect that had pieces.
    pub in_pieces: u64,
}

#[derive(Debug)]
struct Sent {
    epoch: Option<Epoch>,
    pieces: u32,
    keys: BTreeSet<Key>,
}

impl WholeTransactions {
    /// An entry was applied for the first time.
    pub fn applied(&mut self, shard: ShardId, step: &Step) {
        let Some(entry) = &step.entry else { return };
        match (&entry.command, &step.applied) {
            (Command::Piece { id, number, writes }, Applied::Nothing) => {
                if *number == 0 {
                    let sent = Sent { epoch: entry.epoch, pieces: 0, keys: BTreeSet::new() };
                    self.sent.insert((shard, *id), sent);
                }
                let sent = self.sent.get_mut(&(shard, *id)).expect("a piece follows the first");
                assert_eq!(
                    (sent.epoch, sent.pieces),
                    (entry.epoch, *number),
                    "whole transactions: a piece of {id} does not follow the one before at {shard}"
                );
                sent.pieces += 1;
                sent.keys.extend(keys(writes));
            }
            (Command::Commit { id, pieces, writes, .. }, Applied::Committed { .. }) => {
                let all = self.all(shard, *id, entry.epoch, *pieces, writes);
                check(shard, *id, step, &all);
            }
            (Command::Prepare { id, record }, Applied::Prepared { .. }) => {
                let all = self.all(shard, *id, entry.epoch, record.pieces, &record.writes);
                self.prepared.insert((shard, *id), all);
            }
            (Command::Resolve { id, .. }, _) => {
                let all = self.prepared.remove(&(shard, *id)).unwrap_or_default();
                if !step.versions.is_empty() {
                    check(shard, *id, step, &all);
                }
            }
            _ => assert!(
                step.versions.is_empty(),
                "whole transactions: {:?} installs versions at {shard}",
                entry.command
            ),
        }
    }

    /// The keys of a transaction whose last entry takes effect.
    fn all(
        &mut self,
        shard: ShardId,
        id: TxnId,
        epoch: Option<Epoch>,
        pieces: u32,
        last: &[Write],
    ) -> BTreeSet<Key> {
        let mut all: BTreeSet<Key> = keys(last).collect();
        let sent = self.sent.remove(&(shard, id)).filter(|_| pieces > 0);
        let found = sent.as_ref().map(|sent| (sent.epoch, sent.pieces));
        let wanted = (pieces > 0).then_some((epoch, pieces));
        assert_eq!(found, wanted, "whole transactions: the pieces of {id} at {shard}");
        if let Some(sent) = sent {
            self.in_pieces += 1;
            all.extend(sent.keys);
        }
        all
    }
}

fn keys(writes: &[Write]) -> impl Iterator<Item = Key> {
    writes.iter().map(|write| write.key.clone())
}

fn check(shard: ShardId, id: TxnId, step: &Step, all: &BTreeSet<Key>) {
    let installed: BTreeSet<Key> = step.versions.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(&installed, all, "whole transactions: {id} is not whole at {shard}");
    let timestamps: BTreeSet<_> = step.versions.iter().map(|(_, timestamp)| *timestamp).collect();
    assert!(timestamps.len() <= 1, "whole transactions: {id} has {timestamps:?} at {shard}");
}
