//! State Machine Safety (Raft 5.4.3): no two replicas apply different entries at one index.

use proto::{EntryId, NodeId, ShardId};

/// Compares what a replica applies with what another applied there before.
pub fn check(node: NodeId, shard: ShardId, known: (EntryId, u64), applied: (EntryId, u64)) {
    assert_eq!(
        known, applied,
        "state machine safety: {node} applies another entry of shard {shard} than a replica before it"
    );
}
