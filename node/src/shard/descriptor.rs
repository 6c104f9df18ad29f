//! Which keys a shard has and where its replicas are.

use proto::{KeySpan, NodeId, ReplicaId, ShardId};
use serde::{Deserialize, Serialize};

/// A shard as the shard map has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDescriptor {
    /// The shard.
    pub id: ShardId,
    /// Its keys.
    pub span: KeySpan,
    /// Its replicas and their nodes.
    pub replicas: Vec<(ReplicaId, NodeId)>,
}

impl ShardDescriptor {
    /// The replica on a node.
    #[must_use]
    pub fn replica_on(&self, node: NodeId) -> Option<ReplicaId> {
        self.replicas.iter().find(|(_, on)| *on == node).map(|(replica, _)| *replica)
    }

    /// The form that the log and the shard map keep: a format byte, then postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![DESCRIPTOR_FORMAT])
            .expect("a vector grows and every part of a descriptor can be serialised")
    }

    /// Reads that form.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadDescriptor> {
        match bytes.split_first() {
            Some((&DESCRIPTOR_FORMAT, rest)) => {
                postcard::from_bytes(rest).map_err(|source| BadDescriptor::Damaged { source })
            }
            first => Err(BadDescriptor::Format { format: first.map(|(format, _)| *format) }),
        }
    }

    /// The node of a replica.
    #[must_use]
    pub fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        self.replicas.iter().find(|(id, _)| *id == replica).map(|(_, on)| *on)
    }
}

const DESCRIPTOR_FORMAT: u8 = 1;

/// A stored descriptor that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadDescriptor {
    /// Written by another version.
    #[error(
        "shard descriptor of format {format:?}, this program knows {DESCRIPTOR_FORMAT}; start the version that wrote it"
    )]
    Format {
        /// The first byte.
        format: Option<u8>,
    },
    /// Not a descriptor.
    #[error("shard descriptor cannot be read: {source}; replace this node's data directory")]
    Damaged {
        /// What the decoder says.
        source: postcard::Error,
    },
}
