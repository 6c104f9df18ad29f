//! Leader Completeness (Raft 5.4): whatever was committed is in the log of every later leader.
//!
//! What any replica has applied was committed. Looked at when a leader is first seen in its term.

use node::shard::replica::Replica;
use proto::ShardId;

use super::reference::Reference;

/// Checks a new leader.
pub fn check(reference: &Reference, shard: ShardId, leader: &Replica) {
    let Some(committed) = reference.last_applied(shard) else { return };
    // An old leader may still be looked at for the first time when newer ones have gone on.
    if committed.term >= leader.raft().term() {
        return;
    }
    let term = leader.raft().term_of(committed.index);
    assert_eq!(
        term,
        Some(committed.term),
        "leader completeness: the leader of shard {shard} in {} lacks {committed:?}, its log ends at {:?}",
        leader.raft().term(),
        leader.raft().last()
    );
}
