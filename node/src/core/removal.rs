//! Replicas of removed shards: noticing that a shard may be gone, and letting go of it.
//!
//! The map says which shards were removed, and says so for ever. Nobody tells the nodes of a mark: a core whose
//! replica has applied its shard's removal, or has had no leader for a while because the others have let go already,
//! reads the map again until it knows. So it makes no difference what a node missed while it was down.
//!
//! ```text
//! mark seen --> the replica is gone, Removed --> log --synced--> Remove --> version store
//! ```
//! The log forgets the shard first: a log that has it and a store that does not would be a hole. What a crash in
//! between leaves in the store is an *orphan*, removed as soon as the map has said which keys it had.
//!
//! A replica must not come back: a shard that starts anew would know nothing of its outcomes. So a core that has not
//! read the map since its start creates none on the word of others, and one that has knows every removal that
//! it took part in.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::ShardId;
use truetime::{Mono, Now, Timestamp};

use super::{Core, Durability, Effect, REPLICA_OWNER};
use crate::gateway;
use crate::routing::CallId;
use crate::shard::descriptor::ShardDescriptor;
use crate::shard::replica::ReplicaError;
use crate::storage::record::LogRecord;

#[cfg(test)]
mod tests;

/// Between two looks at whether the map should be read; doubles while it should. Longer than an election takes.
const LOOK_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Between two readings of the map because of shards that are not here.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(300);

/// See the module.
#[derive(Debug)]
pub(super) struct Removals {
    look_at: Mono,
    pause: Duration,
    /// Those that had no leader at the last look.
    leaderless: BTreeSet<ShardId>,
    /// In the version store, and not in the log.
    orphans: BTreeSet<ShardId>,
    /// The map is new since the replicas were compared with it.
    map_is_new: bool,
    unknown_again: Mono,
    /// What the gateway knows of the system shard here.
    told: (bool, Timestamp),
}

impl Removals {
    pub(super) fn new(now: &Now, orphans: Vec<ShardId>) -> Self {
        Removals {
            look_at: now.mono.plus(LOOK_MIN),
            pause: LOOK_MIN,
            leaderless: BTreeSet::new(),
            orphans: orphans.into_iter().filter(|shard| *shard != ShardId::SYSTEM).collect(),
            map_is_new: false,
            unknown_again: Mono::ZERO,
            told: (false, Timestamp::ZERO),
        }
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.look_at
    }

    /// Whether [`Core::let_go`] has something to look at.
    pub(super) fn map_is_new(&self) -> bool {
        self.map_is_new
    }

    pub(super) fn new_map(&mut self) {
        self.map_is_new = true;
    }
}

impl Core {
    /// Has the gateway know whether it is beside the leader of the system shard, and how new the map is there.
    pub(super) fn tell_of_system_shard(&mut self, now: &Now) {
        let Some(replica) = self.replicas.get(&ShardId::SYSTEM) else { return };
        let (leads, made) = (replica.leader().is_some(), replica.state().header().catalog_made);
        let (led, known) = self.removals.told;
        if leads != led || (leads && made != known) {
            self.removals.told = (leads, made);
            self.gateway_step(now, gateway::Input::SystemShard { leads, made });
        }
    }

    /// Has the map read when a shard with a replica here may have been removed.
    pub(super) fn look_for_marks(&mut self, now: &Now) {
        if now.mono < self.removals.look_at {
            return;
        }
        let users = self.replicas.iter().filter(|(shard, _)| **shard != ShardId::SYSTEM);
        let leaderless: BTreeSet<ShardId> = users
            .filter(|(_, replica)| replica.leader_node().is_none())
            .map(|(shard, _)| *shard)
            .collect();
        let for_long = leaderless.intersection(&self.removals.leaderless).next().is_some();
        let removed = self.replicas.values().any(|replica| replica.state().header().removed);
        let looks = for_long || removed || !self.removals.orphans.is_empty();
        self.removals.leaderless = leaderless;
        self.removals.look_at = now.mono.plus(self.removals.pause);
        self.removals.pause =
            if looks { (self.removals.pause * 2).min(LOOK_MAX) } else { LOOK_MIN };
        if looks {
            self.gateway_step(now, gateway::Input::Refresh);
        }
    }

    /// Somebody speaks of a shard that has no replica here: the map says whether it should have.
    pub(super) fn look_for_unknown(&mut self, now: &Now) {
        if now.mono >= self.removals.unknown_again {
            self.removals.unknown_again = now.mono.plus(UNKNOWN_PAUSE);
            self.gateway_step(now, gateway::Input::Refresh);
        }
    }

    /// Others say that this node has a replica of the shard.
    pub(super) fn create_if_current(
        &mut self,
        now: &Now,
        descriptor: ShardDescriptor,
    ) -> Result<(), ReplicaError> {
        if self.is_removed(descriptor.id) {
            return Ok(());
        }
        if self.gateway.catalog_made().is_none() {
            self.look_for_unknown(now);
            return Ok(());
        }
        self.create(now, descriptor)
    }

    /// Whether the shard is known to be removed.
    pub(super) fn is_removed(&self, shard: ShardId) -> bool {
        self.router.map().removed(shard).is_some()
    }

    /// Lets go of all that the map calls removed.
    pub(super) fn let_go(&mut self, now: &Now) {
        self.removals.map_is_new = false;
        let map = self.router.map().clone();
        let gone = |shard: &&ShardId| map.removed(**shard).is_some();
        let replicas: Vec<ShardId> = self.replicas.keys().filter(gone).copied().collect();
        for shard in replicas {
            self.let_replica_go(now, shard);
        }
        let orphans: Vec<ShardId> = self.removals.orphans.iter().filter(gone).copied().collect();
        for shard in orphans {
            self.removals.orphans.remove(&shard);
            if let Some(descriptor) = map.removed(shard) {
                self.out.push(Effect::Remove { shard, span: descriptor.span.clone() });
            }
        }
    }

    fn let_replica_go(&mut self, now: &Now, shard: ShardId) {
        let Some(replica) = self.replicas.remove(&shard) else { return };
        self.replica_deadlines.remove(&shard);
        self.dirty.remove(&shard);
        let span = replica.descriptor().span.clone();
        let mut effects = Vec::new();
        replica.remove(&mut effects);
        for effect in effects {
            self.absorb(now, shard, effect);
        }
        for (part, _) in self.replica_calls.extract_if(.., |_, (of, _)| *of == shard) {
            self.router.cancel(CallId { owner: REPLICA_OWNER, part });
        }
        self.transfers_of_removed(shard);
        self.records.push(LogRecord::Removed { shard });
        self.sync_wanted = true;
        self.waiting.push(Durability::Removed { shard, span });
    }
}
