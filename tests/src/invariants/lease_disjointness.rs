//! Disjointness of leases (Spanner 4.1.1, A): at no instant of true time do two leaders of a shard hold a
//! lease that is valid on their own clocks.

use node::core::Core;
use proto::{NodeId, ShardId};
use std::collections::BTreeMap;
use truetime::Now;

/// Who serves what at one instant.
#[derive(Debug, Default)]
pub struct LeaseDisjointness {
    serving: BTreeMap<ShardId, NodeId>,
}

impl LeaseDisjointness {
    /// Adds a node, with its reading of that instant.
    pub fn add(&mut self, node: NodeId, core: &Core, now: &Now) {
        for (shard, replica) in core.replicas() {
            let serves = replica.leader().is_some_and(|leader| leader.serves(now, replica.state()));
            if serves && let Some(other) = self.serving.insert(*shard, node) {
                panic!("lease disjointness: {other} and {node} both serve shard {shard}");
            }
        }
    }
}
