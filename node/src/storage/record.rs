//! What a node's log holds: Raft's entries and hard states of all its shards, in one sequence.

use bytes::Bytes;
use proto::{EntryId, LogIndex, ReplicaId, ShardId, Term};
use serde::{Deserialize, Serialize};

/// One entry of a shard's Raft log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Term and index.
    pub id: EntryId,
    /// What Raft does with it when it is committed.
    pub kind: EntryKind,
    /// The payload; empty for the entry by which a new leader commits what went before.
    pub data: Bytes,
}

/// What an entry is to Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A command of the shard's state machine, or nothing.
    Normal,
    /// A membership change (joint consensus).
    Membership,
}

/// Raft's durable state beside the entries (T48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Whom this replica voted for in it.
    pub vote: Option<ReplicaId>,
    /// The highest index known to be committed.
    pub commit: LogIndex,
}

/// The members of a shard's Raft group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Those who vote.
    pub voters: Vec<ReplicaId>,
    /// Those who voted before a joint change that is not finished.
    pub voters_outgoing: Vec<ReplicaId>,
    /// Those who only follow.
    pub learners: Vec<ReplicaId>,
    /// Voters that become learners when the joint change is finished.
    pub learners_next: Vec<ReplicaId>,
    /// Whether Raft leaves the joint configuration by itself.
    pub auto_leave: bool,
}

/// One record of the log, in the order in which it takes effect at recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogRecord {
    /// This node has a replica of the shard from here on. `descriptor` is opaque to the log.
    Created {
        /// The shard.
        shard: ShardId,
        /// What the replica was created with.
        descriptor: Bytes,
    },
    /// Entries that follow each other. An index that was there already is replaced, and what stood
    /// behind it is gone.
    Entries {
        /// The shard.
        shard: ShardId,
        /// Never empty.
        entries: Vec<LogEntry>,
    },
    /// The shard's hard state from here on.
    HardState {
        /// The shard.
        shard: ShardId,
        /// Replaces the one before.
        state: HardState,
    },
    /// Entries up to and including this one are no longer needed: the version store has made their
    /// effect durable, or a snapshot replaced them. The log may begin after it.
    Truncated {
        /// The shard.
        shard: ShardId,
        /// The last entry that is gone; Raft still asks for its term.
        through: EntryId,
    },
    /// This node's replica of the shard is gone for good.
    Removed {
        /// The shard.
        shard: ShardId,
    },
}
