//! How a call to a shard can fail before the shard answers.

use proto::{NodeId, ShardId};
use std::fmt;

/// Names one call of one transaction. Small, and never reused within it: a late answer to an abandoned
/// call finds nobody (T9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnCall(pub u32);

/// What stood in the way of a call when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No replica said that it leads.
    NoLeader {
        /// The shard.
        shard: ShardId,
    },
    /// The node did not answer.
    NoReply {
        /// The shard.
        shard: ShardId,
        /// The last node that was asked.
        node: NodeId,
    },
    /// There is no connection to the node.
    Unreachable {
        /// The shard.
        shard: ShardId,
        /// The last node that was tried.
        node: NodeId,
    },
    /// The shard map has no shard for the key, also after it was read again.
    NoShard,
    /// The gateway has no lease on the catalog, under which tables may be used (section 7).
    NoCatalogLease,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NoLeader { shard } => write!(f, "shard {shard} has no leader at the moment"),
            Obstacle::NoReply { shard, node } => {
                write!(f, "node {node}, asked for shard {shard}, did not answer")
            }
            Obstacle::Unreachable { shard, node } => {
                write!(f, "node {node}, which serves shard {shard}, cannot be reached")
            }
            Obstacle::NoCatalogLease => {
                f.write_str("this gateway holds no lease on the catalog at the moment")
            }
            Obstacle::NoShard => f.write_str("the shard map has no shard for this key"),
        }
    }
}

/// A call that ended without an answer of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Its deadline passed.
    #[error("{what}; try again, and see `spandrel status` if it lasts")]
    Unavailable {
        /// The last thing that stood in the way.
        what: Obstacle,
        /// Whether the request may have been received, and may still take effect.
        maybe_executed: bool,
    },
    /// Too many calls are outstanding at this gateway. It was never sent.
    #[error("{outstanding} calls are outstanding at this gateway, its limit; try again later")]
    Overloaded {
        /// How many.
        outstanding: usize,
    },
}

impl CallError {
    /// Whether the request may have been received by a shard.
    #[must_use]
    pub fn maybe_executed(&self) -> bool {
        match self {
            CallError::Unavailable { maybe_executed, .. } => *maybe_executed,
            CallError::Overloaded { .. } => false,
        }
    }
}
