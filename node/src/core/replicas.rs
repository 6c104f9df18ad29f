//! The replicas of one core: what reaches them, and what they want done.

use std::sync::Arc;

use proto::{EntryId, NodeId, ShardId};
use truetime::{Mono, Now};
use txn::leader::DiskRoom;
use txn::message::{Refusal, Reply, Request, RequestId};

use super::{Core, Durability, Effect, Note, PeerMessage, PublishedPromise, REPLICA_OWNER};
use crate::routing::{CallId, Route};
use crate::shard::descriptor::ShardDescriptor;
use crate::shard::raft;
use crate::shard::replica::{self, Durable, Replica, ReplicaError};
use crate::storage::record::LogRecord;
use crate::storage::version_store::StatePair;
use crate::system::{Counter, counter_key};

impl Core {
    pub(super) fn open_replica(
        &mut self,
        now: &Now,
        descriptor: ShardDescriptor,
        durable: Durable,
    ) -> Result<(), ReplicaError> {
        let shard = descriptor.id;
        let seed = self.config.seed ^ shard.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let config = self.config.replica;
        let catalog_key = (shard == ShardId::SYSTEM).then(|| counter_key(Counter::Catalog));
        let node = self.config.node;
        let mut replica = Replica::open(descriptor, catalog_key, node, config, seed, durable, now)?;
        replica.set_disk_room(self.disk);
        self.replica_deadlines.insert(shard, replica.next_deadline(now));
        self.replicas.insert(shard, replica);
        self.dirty.insert(shard);
        Ok(())
    }

    /// This node has a replica of the shard. Created once; the record stands in the log before anything
    /// that the replica does.
    pub(super) fn create(
        &mut self,
        now: &Now,
        descriptor: ShardDescriptor,
    ) -> Result<(), ReplicaError> {
        let mine = descriptor.replica_on(self.config.node).is_some();
        if !mine || self.replicas.contains_key(&descriptor.id) {
            return Ok(());
        }
        let shard = descriptor.id;
        let bytes = descriptor.encode();
        self.records.push(LogRecord::Created { shard, descriptor: bytes.into() });
        self.sync_wanted = true;
        self.open_replica(now, descriptor, Durable::default())
    }

    /// Runs `act` on a replica and carries out what it wants.
    pub(super) fn with_replica(
        &mut self,
        now: &Now,
        shard: ShardId,
        act: impl FnOnce(&mut Replica, &Now, &mut Vec<replica::Effect>) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        let Some(replica) = self.replicas.get_mut(&shard) else { return Ok(()) };
        let mut effects = Vec::new();
        act(replica, now, &mut effects)?;
        self.replica_deadlines.insert(shard, replica.next_deadline(now));
        if replica.has_ready() {
            self.dirty.insert(shard);
        }
        for effect in effects {
            self.absorb(now, shard, effect);
        }
        Ok(())
    }

    pub(super) fn absorb(&mut self, now: &Now, shard: ShardId, effect: replica::Effect) {
        match effect {
            replica::Effect::Send { to, message } => {
                self.send(to, PeerMessage::Raft { shard, message });
            }
            replica::Effect::SendSnapshot { to, message } => {
                self.send_snapshot(now, to, shard, message);
            }
            replica::Effect::Log(record) => self.records.push(record),
            replica::Effect::WhenDurable { number, sync, messages } => {
                self.sync_wanted |= sync;
                self.waiting.push(Durability::Ready { shard, number, messages });
            }
            replica::Effect::Apply(batch) => self.out.push(Effect::Apply(batch)),
            replica::Effect::Install { last } => {
                let span = self.replicas[&shard].descriptor().span.clone();
                self.out.push(Effect::Install { shard, span, last });
            }
            replica::Effect::Reply { to, reply } => self.reply(now, to, reply),
            replica::Effect::Read { to, grant, at, spans, limit } => {
                self.out.push(Effect::Read { to, grant, at, spans, limit });
            }
            replica::Effect::Call { call, request } => {
                self.next_replica_call = self.next_replica_call.wrapping_add(1);
                let part = self.next_replica_call;
                self.replica_calls.insert(part, (shard, call));
                self.call(now, CallId { owner: REPLICA_OWNER, part }, request, Route::Leader);
            }
            replica::Effect::Standing(standing) => {
                self.out.push(Effect::Note(Note::Standing { shard, standing }));
            }
            replica::Effect::Collect { threshold } => {
                let span = self.replicas[&shard].descriptor().span.clone();
                self.out.push(Effect::Collect { shard, span, threshold });
            }
        }
    }

    pub(super) fn raft_message(
        &mut self,
        now: &Now,
        from: NodeId,
        shard: ShardId,
        message: raft::Message,
    ) -> Result<(), ReplicaError> {
        if !self.replicas.contains_key(&shard) {
            self.look_for_unheard_of(now, shard);
            return Ok(());
        }
        let mut bad = None;
        self.with_replica(now, shard, |replica, now, _| {
            bad = replica.raft_message(now, from, message).err();
            Ok(())
        })?;
        if let Some(reason) = bad {
            self.out.push(Effect::Note(Note::BadMessage { from, shard, reason }));
        }
        self.dirty.insert(shard);
        Ok(())
    }

    /// Another node's replica speaks of a shard that has none here: it was created elsewhere already, or
    /// removed; who still speaks for a removed one finds out by itself.
    pub(super) fn look_for_unheard_of(&mut self, now: &Now, shard: ShardId) {
        if !self.is_removed(shard) {
            self.look_for_unknown(now);
        }
    }

    pub(super) fn request(
        &mut self,
        now: &Now,
        id: RequestId,
        shard: ShardId,
        request: Request,
    ) -> Result<(), ReplicaError> {
        if !self.replicas.contains_key(&shard) {
            let refusal = if self.is_removed(shard) {
                Refusal::Removed
            } else {
                self.look_for_unknown(now);
                Refusal::NotLeader { hint: None }
            };
            self.reply(now, id, Reply::Refused(refusal));
            return Ok(());
        }
        self.with_replica(now, shard, |replica, now, out| {
            replica.request(now, id, request, out);
            Ok(())
        })
    }

    pub(super) fn installed(
        &mut self,
        now: &Now,
        shard: ShardId,
        state: &[StatePair],
    ) -> Result<(), ReplicaError> {
        self.dirty.insert(shard);
        self.with_replica(now, shard, |replica, _, out| replica.installed(state, out))
    }

    pub(super) fn durable(&mut self, now: &Now, durable: Vec<(ShardId, EntryId)>) {
        for (shard, entry) in durable {
            let truncated = self.with_replica(now, shard, |replica, _, out| {
                replica.durable(entry, out);
                Ok(())
            });
            assert!(truncated.is_ok(), "truncating reads nothing from disk");
        }
    }

    pub(super) fn set_disk_room(&mut self, room: DiskRoom) {
        self.disk = room;
        self.replicas.values_mut().for_each(|replica| replica.set_disk_room(room));
    }

    pub(super) fn unreachable(&mut self, now: &Now, node: NodeId) {
        for shard in self.replicas.keys().copied().collect::<Vec<_>>() {
            let told = self.with_replica(now, shard, |replica, now, out| {
                replica.unreachable(now, node, out);
                Ok(())
            });
            assert!(told.is_ok(), "losing a node reads nothing from disk");
        }
        self.transfers_unreachable(node);
        let mut routed = Vec::new();
        self.router.node_unreachable(now.mono, node, &mut routed);
        self.route(now, routed);
    }

    /// A new connection: what was begun while there was none, or on the one before, never arrived.
    pub(super) fn reachable(&mut self, node: NodeId) {
        self.transfers_unreachable(node);
        self.router.node_reachable(node);
    }

    pub(super) fn take_promises(
        &mut self,
        now: &Now,
        from: NodeId,
        promises: &[PublishedPromise],
    ) -> Result<(), ReplicaError> {
        for promise in promises {
            let PublishedPromise { shard, term, index, promise } = *promise;
            self.with_replica(now, shard, |replica, _, _| {
                replica.take_promise(from, term, index, promise);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// One message per node for all shards whose past somebody reads.
    pub(super) fn publish(&mut self, now: &Now) {
        let mut by_node = std::collections::BTreeMap::<NodeId, Vec<PublishedPromise>>::new();
        for (shard, replica) in &mut self.replicas {
            let Some((term, index, promise)) = replica.published_promise(now) else { continue };
            for (_, node) in &replica.descriptor().replicas {
                if *node != self.config.node {
                    let promise = PublishedPromise { shard: *shard, term, index, promise };
                    by_node.entry(*node).or_default().push(promise);
                }
            }
        }
        self.publishes = !by_node.is_empty();
        for (node, promises) in by_node {
            self.send(node, PeerMessage::Promises(promises));
        }
    }

    /// Every leader here hands over; [`Core::leads_nothing`] says when that is done.
    pub(super) fn hand_over(&mut self, now: &Now) {
        self.handing_over = true;
        for shard in self.replicas.keys().copied().collect::<Vec<_>>() {
            let handed = self.with_replica(now, shard, |replica, now, out| {
                replica.hand_over(now, None, out);
                Ok(())
            });
            assert!(handed.is_ok(), "handing over reads nothing from disk");
        }
    }

    /// Whether no replica here leads a shard with other voters.
    #[must_use]
    pub fn leads_nothing(&self) -> bool {
        self.replicas.values().all(|r| !r.raft().is_leader() || r.descriptor().replicas.len() == 1)
    }

    /// A leader whose clock vouches for nothing, or too little, gives its shards to a node whose clock does
    /// (TRANSACTIONS.md section 2).
    pub(super) fn shed_leaders(&mut self, now: &Now) {
        let max = self.config.replica.txn.epsilon_max;
        if now.sure().is_some_and(|interval| interval.epsilon() <= max) {
            return;
        }
        let sure = self.clocks.sure_nodes(max);
        if sure.is_empty() {
            return;
        }
        for replica in self.replicas.values_mut().filter(|replica| replica.raft().is_leader()) {
            replica.abandon(&sure);
            self.dirty.insert(replica.descriptor().id);
        }
    }

    /// A request to a shard of this core, for tests and tools that speak to a shard directly.
    pub fn ask(&mut self, now: &Now, id: RequestId, shard: ShardId, request: Request) {
        let request = Arc::new(request);
        self.local.push_back(PeerMessage::Request { id, shard, request });
        self.replica_deadlines
            .entry(shard)
            .and_modify(|deadline| *deadline = Mono::min(*deadline, now.mono));
    }
}
