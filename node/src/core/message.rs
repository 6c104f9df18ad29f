//! What the cores of a cluster say to each other. One stream per pair of nodes carries them in order, many
//! in one frame; a lost frame loses them, and everyone who needs an answer asks again.

use std::sync::Arc;

use proto::{LogIndex, NodeId, ShardId, Term};
use serde::{Deserialize, Serialize};
use truetime::{TimeInterval, Timestamp};
use txn::message::{Reply, Request, RequestId};

use crate::shard::descriptor::ShardDescriptor;
use crate::shard::raft;
use crate::shard::replica::Beat;
use crate::storage::version_store::SnapshotPiece;

/// One message between two cores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Between two replicas of a shard.
    Raft {
        /// The shard.
        shard: ShardId,
        /// Raft's.
        message: raft::Message,
    },
    /// A question to a replica of a shard.
    Request {
        /// Comes back with the answer.
        id: RequestId,
        /// The shard.
        shard: ShardId,
        /// The question.
        request: Arc<Request>,
    },
    /// The answer to a request.
    Reply {
        /// Of which.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Promises published outside the log, for all quiet shards of one core.
    Promises(Vec<PublishedPromise>),
    /// A shard was created and has a replica on the receiver's node.
    Create(ShardDescriptor),
    /// A snapshot of a shard follows.
    SnapshotBegin {
        /// The shard.
        shard: ShardId,
        /// Names the transfer between the two nodes.
        transfer: u64,
        /// What Raft steps once the data is complete.
        message: raft::Message,
    },
    /// The next piece of it.
    SnapshotPiece {
        /// The shard.
        shard: ShardId,
        /// The transfer.
        transfer: u64,
        /// The piece.
        piece: SnapshotPiece,
    },
    /// The receiver has taken another piece.
    SnapshotProgress {
        /// The shard.
        shard: ShardId,
        /// The transfer.
        transfer: u64,
    },
    /// The receiver has it all, or gave up.
    SnapshotDone {
        /// The shard.
        shard: ShardId,
        /// The transfer.
        transfer: u64,
        /// Whether Raft got it.
        delivered: bool,
    },
    /// What does your clock say?
    ClockAsk {
        /// Comes back.
        number: u64,
        /// Which core asks.
        core: u16,
    },
    /// This.
    ClockTell {
        /// Of the question.
        number: u64,
        /// Which core asked.
        core: u16,
        /// `None` while unsure.
        interval: Option<TimeInterval>,
    },
    /// The catalog has this version: use it, and acknowledge it.
    CatalogChanged {
        /// The commit timestamp of the change.
        version: Timestamp,
        /// Which core is to know; all of the node when not given.
        core: Option<u16>,
    },
    /// Heartbeats of all quiet shards that one core leads.
    Beats {
        /// Which core leads them.
        core: u16,
        /// One for each shard.
        beats: Vec<Beat>,
    },
    /// Those that replicas of the sender took.
    BeatsHeard {
        /// Which core leads them.
        core: u16,
        /// The shards, each with the term of the beat.
        heard: Vec<(ShardId, Term)>,
    },
}

/// One promise: see [`crate::shard::replica::Replica::published_promise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPromise {
    /// The shard.
    pub shard: ShardId,
    /// The leader's term.
    pub term: Term,
    /// It counts once this is applied.
    pub index: LogIndex,
    /// The promise.
    pub promise: Timestamp,
}

impl PeerMessage {
    /// Which core of the receiving node it is for; `None` for all.
    #[must_use]
    pub fn core(&self, cores: u16) -> Option<u16> {
        match self {
            PeerMessage::Raft { shard, .. }
            | PeerMessage::Request { shard, .. }
            | PeerMessage::SnapshotBegin { shard, .. }
            | PeerMessage::SnapshotPiece { shard, .. }
            | PeerMessage::SnapshotProgress { shard, .. }
            | PeerMessage::SnapshotDone { shard, .. } => Some(core_of(*shard, cores)),
            PeerMessage::Create(descriptor) => Some(core_of(descriptor.id, cores)),
            PeerMessage::Reply { id, .. } => Some(id.core),
            PeerMessage::Promises(_) | PeerMessage::Beats { .. } => None,
            PeerMessage::BeatsHeard { core, .. } => Some(*core),
            PeerMessage::CatalogChanged { core, .. } => *core,
            PeerMessage::ClockAsk { .. } => Some(0),
            PeerMessage::ClockTell { core, .. } => Some(*core),
        }
    }
}

/// The core of a node that has the replica of a shard, if the node has one.
#[must_use]
pub fn core_of(shard: ShardId, cores: u16) -> u16 {
    u16::try_from(shard.0 % u64::from(cores.max(1))).expect("a remainder is below a u16")
}

/// Nodes that a message of a shard may come from are in its descriptor; this is only for logs.
#[must_use]
pub fn describe(from: NodeId, message: &PeerMessage) -> String {
    match message {
        PeerMessage::Raft { shard, message } => format!("{from} {shard} {:?}", message.kind),
        PeerMessage::Request { shard, request, .. } => format!("{from} asks {shard} {request:?}"),
        PeerMessage::Reply { reply, .. } => format!("{from} answers {reply:?}"),
        other => format!("{from} {other:?}"),
    }
}
