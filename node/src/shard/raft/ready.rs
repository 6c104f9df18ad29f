//! What a group asks of its host in one pass.

use super::message::{Message, SnapshotMeta};
use crate::storage::record::{HardState, LogEntry};
use proto::{LogIndex, ReplicaId, Term};

/// Work for the host. Several may be under way; they become durable in the order of their numbers.
///
/// In this order: install `snapshot_to_install`, append `entries_to_append`, write `hard_state` (a
/// torn tail must not leave a commit index without its entries), all in one batch; then, when that
/// batch *and those of all earlier numbers* are durable, call `persisted(number)` and send
/// `messages_after_sync`. What has nothing to write is durable as soon as its predecessors are.
/// `messages_now` and `committed` need not wait.
#[must_use = "raft has already moved on as if this were done"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Counts up from 1 at each start.
    pub number: u64,
    /// The role, leader or term, if any of them changed.
    pub standing: Option<Standing>,
    /// The shard's state becomes this one; the log begins anew behind it. Every entry handed out as
    /// committed before has to be applied, or dropped, first.
    pub snapshot_to_install: Option<SnapshotMeta>,
    /// Contiguous. What the log has at their indexes or behind them is replaced.
    pub entries_to_append: Vec<LogEntry>,
    /// Replaces the one before.
    pub hard_state: Option<HardState>,
    /// Whether anything in it must be durable: a snapshot, entries, a term or a vote. Without, a
    /// write of the hard state may linger and the number still counts as persisted.
    pub must_sync: bool,
    /// A leader's messages: they may overtake its own disk (Raft thesis 10.2.1).
    pub messages_now: Vec<Message>,
    /// Votes and acknowledgements, and all else that a follower or candidate sends (T39).
    pub messages_after_sync: Vec<Message>,
    /// Entries to apply, each exactly once since the start. All of them are durable here (T56).
    pub committed: Vec<LogEntry>,
}

/// What a replica is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its role.
    pub role: Role,
    /// Whom it takes for the leader of this term.
    pub leader: Option<ReplicaId>,
    /// The term.
    pub term: Term,
}

/// Raft's roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes what the leader sends.
    Follower,
    /// Asks whether an election would be won.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Proposes.
    Leader,
}

/// How far a leader has brought one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub replica: ReplicaId,
    /// The last entry that it is known to have, durably.
    pub matched: LogIndex,
    /// It lacks entries that are truncated here, so only a snapshot helps; or is receiving one.
    pub needs_snapshot: bool,
    /// Whether it was heard of since the last check of the quorum.
    pub recently_active: bool,
}

/// A `Ready` that was handed out and is not persisted yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) number: u64,
    pub(super) writes_log: bool,
    /// It replaces entries that may be durable, so what an earlier number makes durable may be gone
    /// again once this one is.
    pub(super) replaces: bool,
    pub(super) snapshot: Option<LogIndex>,
    /// A leader's messages must not leave before it.
    pub(super) holds_messages: bool,
}
