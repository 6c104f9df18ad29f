//! What a shard's log says: the entries that every replica applies alike.
//!
//! An [`Entry`] is a command with a header. What **assigns** a timestamp or gives a right names the epoch
//! under which it was made, and does nothing when it is applied under another (T14, section 9.23). Facts
//! decided elsewhere (a participant's outcome, an abort, a collection) name none and apply under any.
//!
//! Example: a busy leader of epoch 4 that commits one transaction proposes
//! `{ epoch: 4, extend: 12.5 s, promise: 10.1 s, command: Commit { s = 10.2 s, .. } }`: one entry that also
//! extends its lease and publishes a promise. A release that stood before it in the log voids all three.
//!
//! Not here: what applying does ([`crate::state`]), who may propose ([`crate::leader`]).

use proto::{Epoch, GrantPair, Key, NodeId, Priority, TxnId};
use serde::{Deserialize, Serialize};
use truetime::Timestamp;

use crate::message::{AbortReason, Decision, Participant, Write};

/// One entry of a shard's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch under which the entry was made, when any part of it assigns or gives something.
    pub epoch: Option<Epoch>,
    /// The lease of that epoch now ends here.
    pub extend: Option<Timestamp>,
    /// Published promise: nothing proposed after this entry is at or below it.
    pub promise: Option<Timestamp>,
    /// Outcome records whose horizon is below this may go, but for those that await participants.
    pub collect_outcomes: Option<Timestamp>,
    /// What else it does.
    pub command: Command,
}

/// What an entry does beside its header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Nothing: a header alone, or a leader's proof that it still leads.
    #[default]
    Nothing,
    /// A new epoch begins, for the leader of the term in which this entry was proposed.
    Lease {
        /// The node that leads.
        holder: NodeId,
        /// One above the last.
        epoch: Epoch,
        /// When it ends.
        expires: Timestamp,
    },
    /// The leader lets go: the next epoch may start above `highest` at once.
    Release {
        /// The highest timestamp assigned or promised under this epoch.
        highest: Timestamp,
        /// The next epoch must also wait until this has passed: the highest `expires` that a transaction
        /// still open here was told.
        wait_out: Option<Timestamp>,
    },
    /// Some writes of a transaction that is too large for one entry. It carries no timestamp and is seen by
    /// nobody: only the commit or prepare behind the last piece takes effect (section 4).
    Piece {
        /// The attempt.
        id: TxnId,
        /// Counts from 0, which takes the place of whatever is unfinished.
        number: u32,
        /// Some of this shard's writes.
        writes: Vec<Write>,
    },
    /// The coordinator, or the only participant: writes and outcome record in one (T31, section 4).
    Commit {
        /// The attempt.
        id: TxnId,
        /// The coordinator's key.
        coordinator: Key,
        /// `s`.
        commit_ts: Timestamp,
        /// How many pieces stand before it; it is void unless exactly these are there.
        pieces: u32,
        /// This shard's writes, but for those in pieces.
        writes: Vec<Write>,
        /// Who must be told.
        participants: Vec<Participant>,
        /// Of all writes, as the gateway computed it.
        digest: u64,
    },
    /// The coordinator logs an abort: first record of an id wins (T33).
    Abort {
        /// The attempt.
        id: TxnId,
        /// Why.
        reason: AbortReason,
        /// Who must be told.
        participants: Vec<Key>,
        /// Logged past the horizon, or without a sure clock: told to participants only.
        past_horizon: bool,
    },
    /// A participant is bound to the outcome.
    Prepare {
        /// The attempt.
        id: TxnId,
        /// What it left.
        record: PreparedRecord,
    },
    /// A participant takes the outcome: a fact.
    Resolve {
        /// The attempt.
        id: TxnId,
        /// What was decided.
        decision: Decision,
    },
    /// These participants have applied the outcome; their share of the record need not be kept.
    Forget {
        /// Attempt and the key that names the participant.
        done: Vec<(TxnId, Key)>,
    },
    /// Versions below this may be collected; reads below it are refused.
    Threshold {
        /// The new threshold.
        threshold: Timestamp,
    },
    /// The shard decides nothing from here on. Proposed like a release, with nothing prepared.
    Remove,
    /// No catalog lease that was granted so far ends above this (section 7). Only in the system shard.
    CatalogBound {
        /// The new bound.
        bound: Timestamp,
    },
}

/// A prepared transaction as the log and every snapshot keep it (T43, T44).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedRecord {
    /// For wound-wait after a change of leaders.
    pub priority: Priority,
    /// By which the coordinator is found.
    pub coordinator: Key,
    /// The key by which this shard is named as a participant.
    pub key: Key,
    /// One key in every participant.
    pub participants: Vec<Key>,
    /// `p`.
    pub prepare_ts: Timestamp,
    /// How many pieces stand before it: in the log, and beside it where it is stored.
    pub pieces: u32,
    /// The writes to install; exclusive locks are restored on their keys. In the entry, and where it is
    /// stored, those in pieces are left out.
    pub writes: Vec<Write>,
    /// Of the attempt, as it was checked.
    pub grant: Option<GrantPair>,
    /// What the gateway was told; a repeated prepare is answered with this one.
    pub expires: Option<Timestamp>,
    /// Of the writes of the whole transaction: a prepare with another one is another transaction's.
    pub digest: u64,
}

impl Entry {
    /// An entry that only states a fact.
    #[must_use]
    pub fn fact(command: Command) -> Self {
        Entry { command, ..Entry::default() }
    }

    /// The log's form: a format byte, then postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![ENTRY_FORMAT])
            .expect("a vector grows and every part of an entry can be serialised")
    }

    /// Reads the log's form.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnknownEntry> {
        match bytes.split_first() {
            Some((&ENTRY_FORMAT, rest)) => {
                postcard::from_bytes(rest).map_err(|source| UnknownEntry::Damaged { source })
            }
            Some((&format, _)) => Err(UnknownEntry::Format { format }),
            None => Err(UnknownEntry::Empty),
        }
    }
}

/// First byte of every entry. A reader that does not know it stops (T64).
const ENTRY_FORMAT: u8 = 1;

/// An entry that this program cannot apply. It must stop, never skip it (T64).
#[derive(Debug, thiserror::Error)]
pub enum UnknownEntry {
    /// Written by another version.
    #[error(
        "log entry of format {format}, this program knows {ENTRY_FORMAT}; start the version that wrote it"
    )]
    Format {
        /// The first byte.
        format: u8,
    },
    /// Not an entry at all.
    #[error("log entry cannot be read: {source}; replace this replica")]
    Damaged {
        /// What the decoder says.
        source: postcard::Error,
    },
    /// Nothing in it.
    #[error("log entry is empty; replace this replica")]
    Empty,
}
