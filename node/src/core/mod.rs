//! One core of a node: its replicas, its router and its gateway, driven by inputs, answering in effects.
//!
//! A *pass* takes inputs, then one [`Core::flush`]: one append, one sync and one batch of messages for
//! everything that became ready in it. Every replica of a node belongs to one core; a request for a shard
//! of another core of the same node travels like one to another node, through the host.
//!
//! ```text
//! host: inputs --> step --> replicas, router, gateway --> flush --> effects, in order --> host
//! ```
//! Effects are to be carried out in order; [`Effect::Write`] and [`Effect::Read`] come back as inputs.
//! Pure: the simulator drives the same code as the host.
//!
//! Not here: connections, threads, disks; what other cores of the node do.

mod beats;
mod clocks;
mod message;
mod removal;
mod replicas;
mod snapshots;
pub mod status;
#[cfg(test)]
mod tests;
pub mod watchdog;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::{EntryId, GrantPair, KeySpan, NodeId, ShardId, Term};
use truetime::{Mono, Now, Timestamp};
use txn::leader::DiskRoom;
use txn::message::{ReadLimit, Reply, Request, RequestId};
use txn::transaction::CallError;

use crate::gateway::{self, Gateway};
use crate::routing::{self, CallId, Route, Router, RouterSettings, ShardMap};
use crate::shard::descriptor::ShardDescriptor;
use crate::shard::raft;
use crate::shard::replica::{Durable, Replica, ReplicaCall, ReplicaConfig, ReplicaError};
use crate::storage::record::LogRecord;
use crate::storage::version_store::{ApplyBatch, SnapshotPiece, StatePair};

use beats::Rhythm;
use clocks::PeerClocks;
pub use message::{PeerMessage, PublishedPromise, core_of, describe};
use removal::Removals;
use snapshots::Transfers;
use watchdog::SyncWatch;

/// Who and how a core is.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The node.
    pub node: NodeId,
    /// How often the node has started, this time included.
    pub start: u32,
    /// This core.
    pub core: u16,
    /// How many the node has.
    pub cores: u16,
    /// For the draws of election timeouts and the like.
    pub seed: u64,
    /// Of every replica.
    pub replica: ReplicaConfig,
    /// Of the router.
    pub router: RouterSettings,
    /// Of the gateway.
    pub gateway: gateway::GatewaySettings,
    /// How often promises of quiet shards are published.
    pub publish_interval: Duration,
    /// How often the others' clocks are compared with this node's.
    pub clock_interval: Duration,
}

/// What happens to a core.
#[derive(Debug)]
pub enum Input {
    /// A message of another node, or of another core of this one.
    Peer {
        /// The node.
        from: NodeId,
        /// The message.
        message: PeerMessage,
    },
    /// Something for the gateway: a client's request, a client that is gone.
    Gateway(gateway::Input),
    /// The write of this token, and all before it, are durable.
    Synced {
        /// From [`Effect::Write`].
        token: u64,
    },
    /// The store was read for a request.
    ReadDone {
        /// From [`Effect::Read`].
        to: RequestId,
        /// The rows.
        reply: Reply,
    },
    /// A snapshot is in the version store.
    Installed {
        /// The shard.
        shard: ShardId,
        /// Its state there.
        state: Vec<StatePair>,
    },
    /// All pieces of a snapshot were received, are sound and may be installed.
    SnapshotComplete {
        /// The shard.
        shard: ShardId,
        /// From [`Effect::ReceivePiece`].
        receipt: u64,
    },
    /// A piece was not sound, or all of them together are not; the transfer is dropped.
    SnapshotBroken {
        /// The shard.
        shard: ShardId,
        /// From [`Effect::ReceivePiece`].
        receipt: u64,
    },
    /// The version store has made these durable.
    Durable(Vec<(ShardId, EntryId)>),
    /// No message to this node gets through at the moment; some may be lost.
    Unreachable(NodeId),
    /// The connection is there again.
    Reachable(NodeId),
    /// This node has a replica of the shard: create it if it is not here.
    Create(ShardDescriptor),
    /// What the host has found of the node's disk, when that changes.
    DiskRoom(DiskRoom),
    /// The node is about to stop: every leader here hands over.
    HandOver,
}

/// What a core wants done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Append the records to the node's log. With a token: sync, then [`Input::Synced`].
    Write {
        /// In order.
        records: Vec<LogRecord>,
        /// Names the sync; without one the records may linger until the next.
        token: Option<u64>,
    },
    /// To another node, or to another core of this one.
    Send {
        /// The node.
        to: NodeId,
        /// The message.
        message: PeerMessage,
    },
    /// Take the batch in.
    Apply(ApplyBatch),
    /// Read at `at` and come back with [`Input::ReadDone`].
    Read {
        /// Comes back.
        to: RequestId,
        /// Goes into the reply.
        grant: Option<GrantPair>,
        /// The snapshot.
        at: Timestamp,
        /// The keys.
        spans: Vec<KeySpan>,
        /// How much.
        limit: ReadLimit,
    },
    /// Freeze the shard as it is now and send it in pieces, ending with the last piece.
    SendSnapshot {
        /// The receiver.
        to: NodeId,
        /// The shard.
        shard: ShardId,
        /// Its keys.
        span: KeySpan,
        /// Names the transfer.
        transfer: u64,
    },
    /// Stop sending it: the receiver is gone or has given it up.
    StopSnapshot {
        /// The receiver.
        to: NodeId,
        /// The shard.
        shard: ShardId,
        /// Names the transfer.
        transfer: u64,
    },
    /// Begin to receive a snapshot, in place of what was being received of the shard.
    ReceiveBegin {
        /// The shard.
        shard: ShardId,
    },
    /// Take the next piece; answer with [`Input::SnapshotComplete`] or [`Input::SnapshotBroken`] when it
    /// ends the transfer. It is complete only if it may be installed over `span`: after that answer
    /// nobody asks again.
    ReceivePiece {
        /// The shard.
        shard: ShardId,
        /// Its keys.
        span: KeySpan,
        /// Goes into the answer, so that it is not taken for that of another snapshot.
        receipt: u64,
        /// The piece.
        piece: SnapshotPiece,
    },
    /// Replace the shard by the received snapshot, then [`Input::Installed`].
    Install {
        /// The shard.
        shard: ShardId,
        /// Its keys.
        span: KeySpan,
        /// The last entry contained.
        last: EntryId,
    },
    /// Versions of the shard that only reads below the threshold see may go.
    Collect {
        /// The shard.
        shard: ShardId,
        /// Its keys.
        span: KeySpan,
        /// The threshold.
        threshold: Timestamp,
    },
    /// The shard was removed, and the log knows it no more: drop its versions and state.
    Remove {
        /// The shard.
        shard: ShardId,
        /// Its keys.
        span: KeySpan,
    },
    /// Answer a client.
    Answer {
        /// Which request.
        ticket: gateway::api::Ticket,
        /// The answer.
        answer: gateway::api::Answer,
    },
    /// Something a person wants to know of.
    Note(Note),
}

/// Something a person wants to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A replica became leader, or lost that.
    Standing {
        /// The shard.
        shard: ShardId,
        /// Role, leader and term.
        standing: raft::Standing,
    },
    /// A message made no sense and was dropped.
    BadMessage {
        /// Who sent it.
        from: NodeId,
        /// The shard.
        shard: ShardId,
        /// What is wrong with it.
        reason: String,
    },
    /// This node's clock and those of the others contradict each other.
    ClockOutsideClaim {
        /// Whose intervals do not meet this node's.
        disagrees_with: Vec<NodeId>,
    },
    /// This node's clock and those of a majority agree again.
    ClockInsideClaim,
}

/// One core.
pub struct Core {
    config: CoreConfig,
    replicas: BTreeMap<ShardId, Replica>,
    router: Router,
    gateway: Gateway,
    clocks: PeerClocks,
    transfers: Transfers,
    removals: Removals,
    /// Replicas touched in this pass.
    dirty: BTreeSet<ShardId>,
    /// Calls of replicas under way, by the part of their [`CallId`].
    replica_calls: BTreeMap<u32, (ShardId, ReplicaCall)>,
    next_replica_call: u32,
    /// Messages to this very core.
    local: VecDeque<PeerMessage>,
    /// What waits for each sync under way, oldest first.
    syncs: VecDeque<(u64, Vec<Durability>)>,
    next_token: u64,
    sync_watch: SyncWatch,
    records: Vec<LogRecord>,
    waiting: Vec<Durability>,
    sync_wanted: bool,
    replica_deadlines: BTreeMap<ShardId, Mono>,
    rhythm: Rhythm,
    next_publish: Mono,
    /// Something was published last time.
    publishes: bool,
    handing_over: bool,
    disk: DiskRoom,
    out: Vec<Effect>,
}

/// What is done once something is durable.
#[derive(Debug)]
enum Durability {
    /// A ready of a replica.
    Ready { shard: ShardId, number: u64, messages: Vec<(NodeId, raft::Message)> },
    /// Beats that a core of another node is to hear were taken here: an answer to no write of this pass.
    BeatsHeard { to: NodeId, core: u16, heard: Vec<(ShardId, Term)> },
    /// That this node has no replica of the shard any more.
    Removed { shard: ShardId, span: KeySpan },
}

/// Calls of replicas have this owner; the gateway's never do.
const REPLICA_OWNER: u64 = u64::MAX;

impl Core {
    /// A core with the replicas that its node's log and version store know. The map has at least the
    /// system shard. `orphans` are shards of this core that only the version store has.
    pub fn open(
        config: CoreConfig,
        map: ShardMap,
        replicas: Vec<(ShardDescriptor, Durable)>,
        orphans: Vec<ShardId>,
        now: &Now,
    ) -> Result<Self, ReplicaError> {
        let map = Arc::new(map);
        let router =
            Router::new(config.node, config.start, config.core, config.router, map.clone());
        let gateway = Gateway::new(config.gateway.clone());
        let rhythm = Rhythm::new(&config.replica, now);
        let mut core = Core {
            clocks: PeerClocks::new(config.clock_interval),
            config,
            replicas: BTreeMap::new(),
            router,
            gateway,
            transfers: Transfers::default(),
            removals: Removals::new(now, orphans),
            dirty: BTreeSet::new(),
            replica_calls: BTreeMap::new(),
            next_replica_call: 0,
            local: VecDeque::new(),
            syncs: VecDeque::new(),
            next_token: 1,
            sync_watch: SyncWatch::default(),
            records: Vec::new(),
            waiting: Vec::new(),
            sync_wanted: false,
            replica_deadlines: BTreeMap::new(),
            rhythm,
            next_publish: now.mono,
            publishes: false,
            handing_over: false,
            disk: DiskRoom::Enough,
            out: Vec::new(),
        };
        for (descriptor, durable) in replicas {
            core.open_replica(now, descriptor, durable)?;
        }
        Ok(core)
    }

    /// Takes one input. Effects follow at [`Core::flush`].
    pub fn step(&mut self, now: &Now, input: Input) -> Result<(), ReplicaError> {
        let now = &self.clocks.read(now);
        self.notice_sleep(now);
        match input {
            Input::Peer { from, message } => self.peer(now, from, message)?,
            Input::Gateway(input) => self.gateway_step(now, input),
            Input::Synced { token } => self.synced(token),
            Input::ReadDone { to, reply } => self.reply(now, to, reply),
            Input::Installed { shard, state } => self.installed(now, shard, &state)?,
            Input::SnapshotComplete { shard, receipt } => {
                self.snapshot_complete(now, shard, receipt);
            }
            Input::SnapshotBroken { shard, receipt } => self.snapshot_broken(shard, receipt),
            Input::Durable(durable) => self.durable(now, durable),
            Input::Unreachable(node) => self.unreachable(now, node),
            Input::Reachable(node) => self.reachable(node),
            Input::Create(descriptor) => self.create(now, descriptor)?,
            Input::DiskRoom(room) => self.set_disk_room(room),
            Input::HandOver => self.hand_over(now),
        }
        Ok(())
    }

    /// Ends the pass: does what is due, and returns all effects, in order.
    pub fn flush(&mut self, now: &Now) -> Result<Vec<Effect>, ReplicaError> {
        let now = &self.clocks.read(now);
        self.notice_sleep(now);
        self.tick(now)?;
        loop {
            while let Some(message) = self.local.pop_front() {
                self.peer(now, self.config.node, message)?;
            }
            if self.removals.map_is_new() {
                self.let_go(now);
            }
            while let Some(shard) = self.dirty.pop_first() {
                self.with_replica(now, shard, |replica, now, out| replica.flush(now, out))?;
            }
            self.write();
            if self.dirty.is_empty() && self.local.is_empty() && !self.removals.map_is_new() {
                break;
            }
        }
        Ok(std::mem::take(&mut self.out))
    }

    /// When [`Core::flush`] is to be called again at the latest, without an input.
    #[must_use]
    pub fn next_deadline(&self) -> Mono {
        let replicas = self.replica_deadlines.values().min().copied().unwrap_or(Mono::MAX);
        // Whoever begins to read the past waits for a pass, of which each beat makes one.
        let publish = if self.publishes { self.next_publish } else { Mono::MAX };
        replicas
            .min(self.router.next_deadline())
            .min(self.gateway.next_deadline())
            .min(publish)
            .min(self.rhythm.next_deadline())
            .min(self.clocks.next_deadline())
            .min(self.transfers.next_deadline())
            .min(self.removals.next_deadline())
    }

    fn tick(&mut self, now: &Now) -> Result<(), ReplicaError> {
        let due: Vec<ShardId> = self
            .replica_deadlines
            .iter()
            .filter(|(_, deadline)| **deadline <= now.mono)
            .map(|(shard, _)| *shard)
            .collect();
        for shard in due {
            self.with_replica(now, shard, |replica, now, out| {
                replica.tick(now, out);
                Ok(())
            })?;
        }
        self.beat(now)?;
        let mut routed = Vec::new();
        if self.router.next_deadline() <= now.mono {
            self.router.tick(now, &mut routed);
        }
        self.route(now, routed);
        self.tell_of_system_shard(now);
        self.look_for_marks(now);
        if self.gateway.next_deadline() <= now.mono {
            self.gateway_step(now, gateway::Input::Tick);
        }
        if self.next_publish <= now.mono {
            self.next_publish = now.mono.plus(self.config.publish_interval);
            self.publish(now);
        }
        self.exchange_clocks(now);
        self.shed_leaders(now);
        self.watch_disk(now)?;
        self.expire_transfers(now);
        Ok(())
    }

    fn peer(&mut self, now: &Now, from: NodeId, message: PeerMessage) -> Result<(), ReplicaError> {
        match message {
            PeerMessage::Raft { shard, message } => self.raft_message(now, from, shard, message)?,
            PeerMessage::Request { id, shard, request } => {
                self.request(now, id, shard, Arc::unwrap_or_clone(request))?;
            }
            PeerMessage::Reply { id, reply } => self.reply(now, id, reply),
            PeerMessage::Promises(promises) => self.take_promises(now, from, &promises)?,
            PeerMessage::Beats { core, beats } => self.hear_beats(now, from, core, &beats)?,
            PeerMessage::BeatsHeard { heard, .. } => self.beats_heard(from, &heard),
            PeerMessage::Create(descriptor) => self.create_if_current(now, descriptor)?,
            PeerMessage::SnapshotBegin { shard, transfer, message } => {
                self.snapshot_begin(now, from, shard, transfer, message);
            }
            PeerMessage::SnapshotPiece { shard, transfer, piece } => {
                self.snapshot_piece(now, from, shard, transfer, piece);
            }
            PeerMessage::SnapshotProgress { shard, transfer } => {
                self.snapshot_progress(now, from, shard, transfer);
            }
            PeerMessage::SnapshotDone { shard, transfer, delivered } => {
                self.snapshot_done(from, shard, transfer, delivered);
            }
            PeerMessage::ClockAsk { number, core } => self.clock_asked(from, number, core),
            PeerMessage::ClockTell { number, interval, .. } => {
                self.clocks.told(from, number, interval);
            }
            PeerMessage::CatalogChanged { version, .. } => {
                self.gateway_step(now, gateway::Input::CatalogChanged { version });
            }
        }
        Ok(())
    }

    /// An answer on its way to whoever asked.
    fn reply(&mut self, now: &Now, to: RequestId, reply: Reply) {
        if to.node != self.config.node || to.core != self.config.core {
            let message = PeerMessage::Reply { id: to, reply };
            return self.out.push(Effect::Send { to: to.node, message });
        }
        let mut routed = Vec::new();
        self.router.replied(now.mono, to, reply, &mut routed);
        self.route(now, routed);
    }

    /// Carries out what the router wants.
    fn route(&mut self, now: &Now, effects: Vec<routing::Effect>) {
        for effect in effects {
            match effect {
                routing::Effect::Send { to, id, shard, request } => {
                    self.send(to, PeerMessage::Request { id, shard, request });
                }
                routing::Effect::Complete { call, result } => self.completed(now, call, result),
                routing::Effect::RefreshMap => {
                    self.gateway_step(now, gateway::Input::Refresh);
                }
            }
        }
    }

    fn send(&mut self, to: NodeId, message: PeerMessage) {
        let here = to == self.config.node
            && message.core(self.config.cores).is_none_or(|core| core == self.config.core);
        if here {
            self.local.push_back(message);
        } else {
            self.out.push(Effect::Send { to, message });
        }
    }

    fn call(&mut self, now: &Now, call: CallId, request: Request, route: Route) {
        let mut routed = Vec::new();
        self.router.call(now.mono, call, request, route, &mut routed);
        self.route(now, routed);
    }

    fn completed(&mut self, now: &Now, call: CallId, result: Result<Reply, CallError>) {
        if call.owner != REPLICA_OWNER {
            return self.gateway_step(now, gateway::Input::Completed { call, result });
        }
        let Some((shard, call)) = self.replica_calls.remove(&call.part) else { return };
        let answer = result.map_err(|_| txn::leader::Unanswered);
        let answered = self.with_replica(now, shard, |replica, now, out| {
            replica.answered(now, call, answer, out);
            Ok(())
        });
        assert!(answered.is_ok(), "taking an answer reads nothing from disk");
    }

    fn gateway_step(&mut self, now: &Now, input: gateway::Input) {
        let mut effects = Vec::new();
        self.gateway.step(now, input, &mut effects);
        for effect in effects {
            match effect {
                gateway::Effect::Call { call, request, route } => {
                    self.call(now, call, request, route);
                }
                gateway::Effect::Cancel(call) => self.router.cancel(call),
                gateway::Effect::UpdateMap(map) => self.new_map(now, map),
                gateway::Effect::NewShards(shards) => self.announce(shards),
                gateway::Effect::CatalogChanged { version, nodes } => {
                    self.tell_of_catalog(version, nodes);
                }
                gateway::Effect::Answer { ticket, answer } => {
                    self.out.push(Effect::Answer { ticket, answer });
                }
            }
        }
    }

    fn new_map(&mut self, now: &Now, map: Arc<ShardMap>) {
        let mut routed = Vec::new();
        self.announce_mine(&map);
        self.removals.new_map();
        self.router.update_map(now.mono, map, &mut routed);
        self.route(now, routed);
    }

    /// Tells the nodes of new shards that they have replicas of them; who misses it reads the map.
    fn announce(&mut self, shards: Vec<ShardDescriptor>) {
        for shard in shards {
            for (_, node) in shard.replicas.clone() {
                self.send(node, PeerMessage::Create(shard.clone()));
            }
        }
    }

    /// All gateways of these nodes, those of this node's other cores included.
    fn tell_of_catalog(&mut self, version: Timestamp, nodes: Vec<NodeId>) {
        for node in nodes {
            if node != self.config.node {
                self.send(node, PeerMessage::CatalogChanged { version, core: None });
                continue;
            }
            for core in 0..self.config.cores {
                let core = Some(core);
                self.send(node, PeerMessage::CatalogChanged { version, core });
            }
        }
    }

    /// Replicas of this node that the map knows and no core has yet.
    fn announce_mine(&mut self, map: &ShardMap) {
        let node = self.config.node;
        for shard in map.iter() {
            if shard.replica_on(node).is_some() && !self.replicas.contains_key(&shard.id) {
                self.send(node, PeerMessage::Create(shard.clone()));
            }
        }
    }

    /// One append for everything of this pass, and what waits for it.
    fn write(&mut self) {
        let records = std::mem::take(&mut self.records);
        let waiting = std::mem::take(&mut self.waiting);
        if std::mem::take(&mut self.sync_wanted) {
            let token = self.next_token;
            self.next_token += 1;
            self.syncs.push_back((token, waiting));
            self.out.push(Effect::Write { records, token: Some(token) });
            return;
        }
        if !records.is_empty() {
            self.out.push(Effect::Write { records, token: None });
        }
        // What needs no sync is durable as soon as its predecessors are.
        match self.syncs.back_mut() {
            Some((_, last)) => last.extend(waiting),
            None => self.make_durable(waiting),
        }
    }

    fn synced(&mut self, token: u64) {
        let (expected, waiting) = self.syncs.pop_front().expect("a sync completes after it began");
        assert!(token == expected, "sync {token} completes before {expected} (T55)");
        self.make_durable(waiting);
    }

    fn make_durable(&mut self, waiting: Vec<Durability>) {
        for durable in waiting {
            match durable {
                Durability::Ready { shard, number, messages } => {
                    let Some(replica) = self.replicas.get_mut(&shard) else { continue };
                    replica.persisted(number);
                    self.dirty.insert(shard);
                    for (to, message) in messages {
                        self.send(to, PeerMessage::Raft { shard, message });
                    }
                }
                Durability::BeatsHeard { to, core, heard } => {
                    self.send(to, PeerMessage::BeatsHeard { core, heard });
                }
                Durability::Removed { shard, span } => {
                    self.out.push(Effect::Remove { shard, span });
                }
            }
        }
    }

    /// The gateway, to look at.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The router, to look at.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The replicas, to look at.
    #[must_use]
    pub fn replicas(&self) -> &BTreeMap<ShardId, Replica> {
        &self.replicas
    }
}
