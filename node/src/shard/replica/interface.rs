//! What a replica is given, what it wants done, and why it may not start.

use std::time::Duration;

use proto::{EntryId, GrantPair, KeySpan, LogIndex, NodeId, ShardId, Term};
use serde::{Deserialize, Serialize};
use truetime::Timestamp;
use txn::command::UnknownEntry;
use txn::leader::{CallId, Config as TxnConfig};
use txn::message::{ReadLimit, Reply, Request, RequestId};
use txn::state::DamagedState;

use crate::shard::raft::{Message, OpenError, Standing};
use crate::storage::record::{HardState, LogEntry, LogRecord};
use crate::storage::version_store::{ApplyBatch, StatePair};

/// How a replica times and bounds itself.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaConfig {
    /// The transaction core's settings.
    pub txn: TxnConfig,
    /// Length of a Raft tick.
    pub tick: Duration,
    /// A follower campaigns after between one and two times this many ticks of silence.
    pub election_ticks: u16,
    /// A leader says that it lives this often; the leaders of a core together.
    pub heartbeat_ticks: u16,
    /// Entries kept behind what is durably applied, so that a follower that was away for a moment needs no
    /// snapshot; as far as they fit into `retained_bytes_max`.
    pub retained_entries: u64,
    /// Bytes of entries kept for followers, also for one that is further behind; beyond it gets a snapshot.
    pub retained_bytes_max: u64,
    /// Entries that wait to be applied before new requests are refused as overload.
    pub unapplied_entries_max: u64,
}

impl ReplicaConfig {
    /// The time from one heartbeat to the next.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.tick * u32::from(self.heartbeat_ticks)
    }
}

impl Default for ReplicaConfig {
    fn default() -> Self {
        ReplicaConfig {
            txn: TxnConfig::default(),
            tick: Duration::from_millis(100),
            election_ticks: 8,
            heartbeat_ticks: 2,
            retained_entries: 1_000,
            retained_bytes_max: 32 << 20,
            unapplied_entries_max: 20_000,
        }
    }
}

/// A leader's heartbeat to a replica that has everything; those of many shards travel as one message. See
/// `raft/beat.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The shard.
    pub shard: ShardId,
    /// The leader's term.
    pub term: Term,
    /// All of the leader's log, which is committed.
    pub commit: LogIndex,
}

/// What a replica wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Raft's message to the same shard's replica on another node; may leave at once.
    Send {
        /// Where.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Stream the shard as it is now, then have the receiver step `message`.
    SendSnapshot {
        /// Where.
        to: NodeId,
        /// Names the last entry contained.
        message: Message,
    },
    /// Append to the node's log.
    Log(LogRecord),
    /// When all records so far are durable, and all of earlier readies: call [`super::Replica::persisted`] with
    /// this number and send the messages.
    WhenDurable {
        /// Raft's number.
        number: u64,
        /// Whether the log must be synced for it; without, it is durable as soon as its predecessors are.
        sync: bool,
        /// Votes and acknowledgements (T39).
        messages: Vec<(NodeId, Message)>,
    },
    /// Take in the batch.
    Apply(ApplyBatch),
    /// Replace the shard in the version store by the snapshot that was received, then call
    /// [`super::Replica::installed`].
    Install {
        /// The last entry contained.
        last: EntryId,
    },
    /// Answer a request.
    Reply {
        /// Whom.
        to: RequestId,
        /// What.
        reply: Reply,
    },
    /// Read from the versions and answer.
    Read {
        /// Whom.
        to: RequestId,
        /// To pass on.
        grant: Option<GrantPair>,
        /// The snapshot.
        at: Timestamp,
        /// The keys.
        spans: Vec<KeySpan>,
        /// How much.
        limit: ReadLimit,
    },
    /// Ask the leader of another shard, or of this one.
    Call {
        /// Comes back with the answer.
        call: ReplicaCall,
        /// The question.
        request: Request,
    },
    /// This replica's role, leader or term changed.
    Standing(Standing),
    /// Versions below the threshold may be collected.
    Collect {
        /// The threshold.
        threshold: Timestamp,
    },
}

/// A call of a replica: answers to what an earlier leader asked are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplicaCall {
    /// Of the leader of this term.
    Leader {
        /// The term.
        term: Term,
        /// Its number.
        call: CallId,
    },
    /// A follower asks its leader for a go-ahead.
    Follower {
        /// Its number.
        call: u64,
    },
}

/// Why a replica cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// What Raft read back is impossible.
    #[error("shard {shard}: {source}")]
    Raft {
        /// The shard.
        shard: ShardId,
        /// Why.
        source: OpenError,
    },
    /// The stored state cannot be read.
    #[error("shard {shard}: {source}")]
    State {
        /// The shard.
        shard: ShardId,
        /// Why.
        source: DamagedState,
    },
    /// An entry of another version.
    #[error("shard {shard}, entry {index}: {source}")]
    Entry {
        /// The shard.
        shard: ShardId,
        /// Where.
        index: LogIndex,
        /// Why.
        source: UnknownEntry,
    },
    /// This node is not among the shard's replicas.
    #[error("shard {shard} has no replica on this node")]
    NotMember {
        /// The shard.
        shard: ShardId,
    },
    /// The log lacks entries that the version store has not applied.
    #[error(
        "shard {shard}: the log begins behind entry {log}, the versions end at {applied}; replace this replica"
    )]
    Hole {
        /// The shard.
        shard: ShardId,
        /// Truncated through.
        log: LogIndex,
        /// The version store's last entry.
        applied: LogIndex,
    },
}

/// What a restarted replica is rebuilt from.
#[derive(Debug, Default)]
pub struct Durable {
    /// Raft's.
    pub hard_state: HardState,
    /// The log begins behind it.
    pub truncated: EntryId,
    /// The log.
    pub entries: Vec<LogEntry>,
    /// The version store's last entry of this shard.
    pub applied: EntryId,
    /// The version store's state of this shard.
    pub state: Vec<StatePair>,
}
