//! Election Safety (Raft 5.2): at most one leader can be elected in a term.

use proto::{NodeId, ShardId, Term};
use std::collections::BTreeMap;

/// Who led which term.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<(ShardId, Term), NodeId>,
}

impl ElectionSafety {
    /// A node leads; says whether that is news.
    pub fn leads(&mut self, shard: ShardId, term: Term, node: NodeId) -> bool {
        match self.leaders.insert((shard, term), node) {
            None => true,
            Some(before) => {
                assert_eq!(before, node, "election safety: two leaders of shard {shard} in {term}");
                false
            }
        }
    }
}
