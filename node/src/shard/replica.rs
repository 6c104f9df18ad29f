//! One replica of one shard: Raft below, the replicated state in the middle, leader or follower duties on
//! top.
//!
//! Terms: a *pass* is everything between two [`Replica::flush`]es; a *ready* is Raft's work of one pass;
//! it is *persisted* once its log records are durable.
//!
//! ```text
//! requests, calls' answers --> Leader or Follower --Propose--> Raft --ready--> log records, messages
//!                                    ^                                            |
//!                                    +-- Applied <-- ShardState::apply <-- committed entries
//! ```
//! Within a pass the effects are in this order: messages, log records, the applied batch, then what
//! leader and follower want done because of it; so a read never runs ahead of the versions it is to see.
//!
//! Not here: which node a shard's leader is on (`routing`), the disk and the version store (effects),
//! changes of membership (they come with replica replacement).

mod interface;
#[cfg(test)]
mod tests;
mod timing;

pub use interface::{Beat, Durable, Effect, ReplicaCall, ReplicaConfig, ReplicaError};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proto::{EntryId, Key, LogIndex, NodeId, ReplicaId, ShardId, Term};
use truetime::{Mono, Now, Timestamp};
use txn::command::{Entry, UnknownEntry};
use txn::leader::{DiskRoom, Leader, Unanswered};
use txn::message::{Refusal, Reply, Request, RequestId};
use txn::state::{Applied, Changes, ShardState, StatePut};

use super::descriptor::ShardDescriptor;
use super::follower::Follower;
use super::raft::{
    Message, MessageKind, Progress, RaftConfig, RaftGroup, Ready, Role, SnapshotMeta,
    SnapshotOutcome, Standing,
};
use crate::storage::record::{EntryKind, HardState, LogEntry, LogRecord, Membership};
use crate::storage::version_store::{ApplyBatch, StateChange, StatePair, Version};

/// One replica.
pub struct Replica {
    descriptor: ShardDescriptor,
    catalog_key: Option<Key>,
    config: ReplicaConfig,
    node: NodeId,
    raft: RaftGroup,
    state: ShardState,
    leader: Option<Leader>,
    follower: Follower,
    /// Raft has been told of the ticks up to here.
    ticked: Mono,
    /// Entries that Raft would not take yet (a transfer under way); in order, of the present term.
    unproposed: VecDeque<Entry>,
    leader_effects: Vec<txn::leader::Effect>,
    /// A snapshot is being installed: nothing is applied meanwhile.
    installing: Option<PendingInstall>,
    /// A snapshot that the version store has and the log has not heard of.
    unlogged: Option<EntryId>,
    /// Who was sent a snapshot and has not caught up since, with the last entry in it.
    catching_up: BTreeMap<ReplicaId, CatchingUp>,
    /// Of the node; for leaders.
    disk: DiskRoom,
    /// Asked to hand leadership over; the target once the lease is released.
    hand_over: Option<HandOver>,
}

#[derive(Debug)]
struct PendingInstall {
    meta: SnapshotMeta,
    number: u64,
    sync: bool,
    messages: Vec<(NodeId, Message)>,
    hard_state: Option<HardState>,
    entries: Vec<LogEntry>,
}

#[derive(Clone, Copy, Debug)]
struct HandOver {
    to: Option<ReplicaId>,
    deadline: Mono,
}

/// So many entries behind what is durably applied are kept however large they are, for a follower that is
/// only as far behind as the network makes it.
const RETAINED_ENTRIES_MIN: u64 = 8;
/// How long Raft may take to hand over before the old leader goes on.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(2);

impl Replica {
    /// Starts a replica, new (`Durable::default()`) or from what was durable. `catalog_key` is that of the
    /// catalog's version, for the shard that has it.
    pub fn open(
        descriptor: ShardDescriptor,
        catalog_key: Option<Key>,
        node: NodeId,
        config: ReplicaConfig,
        seed: u64,
        durable: Durable,
        now: &Now,
    ) -> Result<Self, ReplicaError> {
        let shard = descriptor.id;
        let replica = descriptor.replica_on(node).ok_or(ReplicaError::NotMember { shard })?;
        let raft_config = RaftConfig {
            replica,
            election_ticks: config.election_ticks,
            heartbeat_ticks: config.heartbeat_ticks,
            entries_per_message_bytes_max: 1 << 20,
            inflight_messages_max: 256,
            uncommitted_bytes_max: u64::MAX,
            committed_per_ready_bytes_max: 16 << 20,
        };
        let Durable { mut hard_state, mut truncated, mut entries, applied, state } = durable;
        let last = entries.last().map_or(truncated, |entry| entry.id);
        let mut unlogged = None;
        if applied.index > last.index {
            // A snapshot was installed and the log did not come to say so: it begins anew behind it, and
            // is told before anything else.
            unlogged = Some(applied);
            (truncated, entries) = (applied, Vec::new());
            hard_state.commit = hard_state.commit.max(applied.index);
            hard_state.term = hard_state.term.max(applied.term);
        }
        if applied.index < truncated.index {
            let (log, applied) = (truncated.index, applied.index);
            return Err(ReplicaError::Hole { shard, log, applied });
        }
        let membership = Membership {
            voters: descriptor.replicas.iter().map(|(replica, _)| *replica).collect(),
            ..Membership::default()
        };
        let state = ShardState::load(descriptor.span.clone(), applied, &state)
            .map_err(|source| ReplicaError::State { shard, source })?;
        let state = keeping(state, catalog_key.as_ref());
        let raft = RaftGroup::open(
            &raft_config,
            seed,
            hard_state,
            membership,
            applied.index,
            truncated,
            entries,
        )
        .map_err(|source| ReplicaError::Raft { shard, source })?;
        Ok(Replica {
            descriptor,
            catalog_key,
            config,
            node,
            raft,
            state,
            leader: None,
            follower: Follower::default(),
            ticked: now.mono,
            unproposed: VecDeque::new(),
            leader_effects: Vec::new(),
            installing: None,
            unlogged,
            catching_up: BTreeMap::new(),
            disk: DiskRoom::Enough,
            hand_over: None,
        })
    }

    /// Takes a request of a gateway or another shard.
    pub fn request(
        &mut self,
        now: &Now,
        caller: RequestId,
        request: Request,
        out: &mut Vec<Effect>,
    ) {
        if self.state.header().removed {
            return out.push(refusal(caller, Refusal::Removed));
        }
        let Some(leader) = &mut self.leader else {
            return self.request_at_follower(now, caller, request, out);
        };
        let unapplied = self.raft.last().index.0.saturating_sub(self.state.applied().index.0);
        if unapplied > self.config.unapplied_entries_max {
            let what = "entries of this shard that wait for a majority".to_owned();
            return out.push(refusal(caller, Refusal::Overloaded { what }));
        }
        leader.request(now, &self.state, caller, request, &mut self.leader_effects);
        self.run_leader_effects(out);
    }

    fn request_at_follower(
        &mut self,
        now: &Now,
        caller: RequestId,
        request: Request,
        out: &mut Vec<Effect>,
    ) {
        match request {
            // While a snapshot takes their place the versions here are neither old nor new.
            Request::SnapshotRead { at, spans, limit } if self.installing.is_none() => {
                if !spans.iter().all(|span| self.descriptor.span.covers(span)) {
                    return out.push(refusal(caller, Refusal::WrongShard));
                }
                self.follower.read(now, &self.state, caller, at, spans, limit, out);
            }
            _ => {
                let hint = self.leader_node();
                out.push(refusal(caller, Refusal::NotLeader { hint }));
            }
        }
    }

    /// Takes a message of the same shard's replica on another node. Returns what is wrong with it, for
    /// the log; it had no effect then.
    pub fn raft_message(
        &mut self,
        now: &Now,
        from: NodeId,
        message: Message,
    ) -> Result<(), String> {
        self.elapse(now);
        if self.descriptor.node_of(message.from) != Some(from) {
            return Err(format!("{from} speaks for replica {} of another node", message.from));
        }
        if message.kind == MessageKind::Snapshot {
            return Err("a snapshot comes with its data".to_owned());
        }
        self.raft.step(message).map_err(|error| error.to_string())
    }

    /// The data of a snapshot is complete: Raft decides whether it is wanted.
    pub fn snapshot_received(&mut self, now: &Now, message: Message) -> Result<(), String> {
        self.elapse(now);
        if self.installing.is_some() {
            return Err("another snapshot is being installed".to_owned());
        }
        self.raft.step(message).map_err(|error| error.to_string())
    }

    /// Whether Raft has accepted a snapshot that is still to be installed.
    #[must_use]
    pub fn is_installing(&self) -> bool {
        self.installing.is_some() || self.raft.has_unstable_snapshot()
    }

    /// The follower got the snapshot that was sent, or did not.
    pub fn snapshot_sent(&mut self, to: NodeId, delivered: bool) {
        let outcome = if delivered { SnapshotOutcome::Delivered } else { SnapshotOutcome::Failed };
        if let Some(replica) = self.descriptor.replica_on(to) {
            self.raft.report_snapshot(replica, outcome);
        }
    }

    /// A node cannot be reached at the moment: as a replica, and as the gateway of transactions here.
    pub fn unreachable(&mut self, now: &Now, node: NodeId, out: &mut Vec<Effect>) {
        if let Some(leader) = &mut self.leader {
            leader.gateway_lost(now, &self.state, node, &mut self.leader_effects);
            self.run_leader_effects(out);
        }
        if let Some(replica) = self.descriptor.replica_on(node)
            && self.raft.is_leader()
        {
            self.raft.report_unreachable(replica);
        }
    }

    /// The answer to one of its calls.
    pub fn answered(
        &mut self,
        now: &Now,
        call: ReplicaCall,
        answer: Result<Reply, Unanswered>,
        out: &mut Vec<Effect>,
    ) {
        match (call, &mut self.leader) {
            (ReplicaCall::Leader { term, call }, Some(leader)) if term == self.raft.term() => {
                leader.answered(now, &self.state, call, answer, &mut self.leader_effects);
                self.run_leader_effects(out);
            }
            (ReplicaCall::Leader { .. }, _) => {}
            (ReplicaCall::Follower { call }, _) => {
                self.follower.answered(call, answer, &self.state, out);
            }
        }
    }

    /// The ready of this number is durable.
    pub fn persisted(&mut self, number: u64) {
        self.raft.persisted(number);
    }

    /// The snapshot is in the version store, with this state.
    pub fn installed(
        &mut self,
        state: &[StatePair],
        out: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let shard = self.descriptor.id;
        let Some(install) = self.installing.take() else { return Ok(()) };
        let state = ShardState::load(self.descriptor.span.clone(), install.meta.last, state)
            .map_err(|source| ReplicaError::State { shard, source })?;
        self.state = keeping(state, self.catalog_key.as_ref());
        // The store comes first: a log that begins behind it without it would be a hole.
        out.push(Effect::Log(LogRecord::Truncated { shard, through: install.meta.last }));
        self.log(install.entries, install.hard_state, out);
        let (number, messages) = (install.number, install.messages);
        out.push(Effect::WhenDurable { number, sync: install.sync, messages });
        self.follower.applied(&self.state, out);
        Ok(())
    }

    /// Ends a pass: everything that became ready goes out.
    pub fn flush(&mut self, now: &Now, out: &mut Vec<Effect>) -> Result<(), ReplicaError> {
        if let Some(through) = self.unlogged.take() {
            out.push(Effect::Log(LogRecord::Truncated { shard: self.descriptor.id, through }));
        }
        self.propose_waiting();
        while self.installing.is_none() {
            let Some(ready) = self.raft.take_ready() else { break };
            self.take_ready(now, ready, out)?;
            self.propose_waiting();
        }
        Ok(())
    }

    fn take_ready(
        &mut self,
        now: &Now,
        ready: Ready,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if let Some(standing) = ready.standing {
            self.stand(now, standing, out);
        }
        for message in ready.messages_now {
            self.send(message, out);
        }
        let to_send = ready
            .messages_after_sync
            .into_iter()
            .filter_map(|message| Some((self.descriptor.node_of(message.to)?, message)))
            .collect();
        let (number, sync) = (ready.number, ready.must_sync);
        let (entries, hard_state) = (ready.entries_to_append, ready.hard_state);
        if let Some(meta) = ready.snapshot_to_install {
            let last = meta.last;
            let install =
                PendingInstall { meta, number, sync, messages: to_send, hard_state, entries };
            self.installing = Some(install);
            self.follower.fail(out);
            out.push(Effect::Install { last });
            return Ok(());
        }
        self.log(entries, hard_state, out);
        out.push(Effect::WhenDurable { number, sync, messages: to_send });
        self.apply(now, ready.committed, out)
    }

    fn log(&mut self, entries: Vec<LogEntry>, state: Option<HardState>, out: &mut Vec<Effect>) {
        let shard = self.descriptor.id;
        if !entries.is_empty() {
            out.push(Effect::Log(LogRecord::Entries { shard, entries }));
        }
        if let Some(state) = state {
            out.push(Effect::Log(LogRecord::HardState { shard, state }));
        }
    }

    fn send(&mut self, message: Message, out: &mut Vec<Effect>) {
        let Some(to) = self.descriptor.node_of(message.to) else { return };
        if message.kind != MessageKind::Snapshot {
            return out.push(Effect::Send { to, message });
        }
        let current = message.snapshot.as_ref().is_some_and(|m| m.last == self.state.applied());
        if let Some(meta) = message.snapshot.as_ref().filter(|_| current) {
            let catching_up = CatchingUp { sent: meta.last.index, silent: 0 };
            self.catching_up.insert(message.to, catching_up);
            out.push(Effect::SendSnapshot { to, message });
        } else {
            // The versions have moved on since; Raft asks again.
            self.raft.report_snapshot(message.to, SnapshotOutcome::Failed);
        }
    }

    /// A new role, leader or term. Whoever stops leading fails what waits, and never grants it.
    fn stand(&mut self, now: &Now, standing: Standing, out: &mut Vec<Effect>) {
        let leads = standing.role == Role::Leader;
        if leads && self.leader.as_ref().is_some_and(|leader| leader.term() == standing.term) {
            return;
        }
        let hint = standing.leader.and_then(|leader| self.descriptor.node_of(leader));
        self.unproposed.clear();
        if let Some(leader) = self.leader.take() {
            leader.step_down(hint, &mut self.leader_effects);
            self.run_leader_effects(out);
            self.hand_over = None;
        }
        if leads {
            let leader =
                self.leader.insert(Leader::new(self.config.txn, self.node, standing.term, now));
            leader.set_disk_room(self.disk);
            self.follower.fail(out);
        }
        out.push(Effect::Standing(standing));
    }

    fn apply(
        &mut self,
        now: &Now,
        committed: Vec<LogEntry>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let Some(last) = committed.last().map(|entry| entry.id) else { return Ok(()) };
        let shard = self.descriptor.id;
        let mut changes = Changes::default();
        let mut done: Vec<(EntryId, Option<Entry>, Applied)> = Vec::with_capacity(committed.len());
        for entry in committed {
            let decoded = decode(&entry).map_err(|source| ReplicaError::Entry {
                shard,
                index: entry.id.index,
                source,
            })?;
            let applied = self.state.apply(entry.id, decoded.as_ref(), &mut changes);
            done.push((entry.id, decoded, applied));
        }
        out.push(Effect::Apply(batch(shard, last, changes, &self.state)));
        self.raft.applied(last.index);
        if let Some(leader) = &mut self.leader {
            for (id, entry, applied) in &done {
                leader.applied(
                    now,
                    &self.state,
                    *id,
                    entry.as_ref(),
                    applied,
                    &mut self.leader_effects,
                );
            }
            self.run_leader_effects(out);
        }
        if done.iter().any(|(_, _, applied)| *applied == Applied::ThresholdMoved) {
            out.push(Effect::Collect { threshold: self.state.header().threshold });
        }
        self.follower.applied(&self.state, out);
        Ok(())
    }

    fn run_leader_effects(&mut self, out: &mut Vec<Effect>) {
        use txn::leader::Effect as Wish;
        let term = self.raft.term();
        for wish in std::mem::take(&mut self.leader_effects) {
            match wish {
                Wish::Propose(entry) => self.unproposed.push_back(entry),
                Wish::Reply { to, reply } => out.push(Effect::Reply { to, reply }),
                Wish::Read { to, grant, at, spans, limit } => {
                    out.push(Effect::Read { to, grant, at, spans, limit });
                }
                Wish::Call { call, request } => {
                    out.push(Effect::Call { call: ReplicaCall::Leader { term, call }, request });
                }
                Wish::HandedOver => self.transfer(),
            }
        }
        self.propose_waiting();
    }

    /// Hands entries to Raft in the order in which their timestamps were assigned.
    fn propose_waiting(&mut self) {
        let term = self.raft.term();
        if self.leader.as_ref().is_none_or(|leader| leader.term() != term) {
            return;
        }
        while let Some(entry) = self.unproposed.front() {
            if self.raft.propose(Bytes::from(entry.encode())).is_err() {
                // A transfer is under way, or leadership is gone and the next ready will say so.
                return;
            }
            self.unproposed.pop_front();
        }
    }

    /// Stops leading as soon as that is safe; `to` takes over, or any other voter.
    pub fn hand_over(&mut self, now: &Now, to: Option<NodeId>, out: &mut Vec<Effect>) {
        let to = to.and_then(|node| self.descriptor.replica_on(node));
        if let Some(leader) = &mut self.leader
            && self.hand_over.is_none()
        {
            let deadline = now.mono.plus(TRANSFER_PATIENCE);
            self.hand_over = Some(HandOver { to, deadline });
            leader.hand_over(now, &self.state, &mut self.leader_effects);
            self.run_leader_effects(out);
        }
    }

    /// Gives leadership to one of `heirs` at once and without a release: the successor waits the lease out. For
    /// a leader whose clock vouches for nothing (TRANSACTIONS.md section 2). While none of them could lead,
    /// this replica does.
    pub fn abandon(&mut self, heirs: &BTreeSet<NodeId>) {
        if !self.raft.is_leader() {
            return;
        }
        let is_heir =
            |replica| self.descriptor.node_of(replica).is_some_and(|n| heirs.contains(&n));
        let heir = self.successors().filter(|p| is_heir(p.replica)).max_by_key(|p| p.matched);
        self.transfer_to(heir);
    }

    fn transfer(&mut self) {
        let wanted = self.hand_over.and_then(|hand_over| hand_over.to);
        let best = self.successors().max_by_key(|p| (Some(p.replica) == wanted, p.matched));
        self.transfer_to(best);
    }

    /// The replicas that could lead soon.
    fn successors(&self) -> impl Iterator<Item = Progress> + use<> {
        let me = self.raft.replica();
        let others = self.raft.progress().into_iter();
        others.filter(move |p| p.replica != me && p.recently_active && !p.needs_snapshot)
    }

    fn transfer_to(&mut self, to: Option<Progress>) {
        if let Some(to) = to {
            let transferred = self.raft.transfer_leadership(to.replica);
            debug_assert!(transferred.is_ok(), "a leader transfers to a voter: {transferred:?}");
        }
    }

    fn advance_hand_over(&mut self, now: &Now) {
        let Some(hand_over) = self.hand_over.filter(|h| h.deadline <= now.mono) else { return };
        // A release in flight is still to be followed by a transfer.
        let failed = self.leader.as_mut().is_none_or(txn::leader::Leader::hand_over_failed);
        let deadline = now.mono.plus(self.config.tick);
        self.hand_over = (!failed).then_some(HandOver { deadline, ..hand_over });
    }

    /// Whether the node's disk has room for new work.
    pub fn set_disk_room(&mut self, room: DiskRoom) {
        self.disk = room;
        if let Some(leader) = &mut self.leader {
            leader.set_disk_room(room);
        }
    }

    /// The shard is gone: whoever waits for this replica is told, to ask elsewhere and learn why.
    pub fn remove(mut self, out: &mut Vec<Effect>) {
        if let Some(leader) = self.leader.take() {
            leader.step_down(None, &mut self.leader_effects);
            self.run_leader_effects(out);
        }
        self.follower.fail(out);
    }

    /// What the version store has made durable may leave the log, but for what a follower still needs. The
    /// window is memory and disk, so what is kept for others is bounded in bytes; who is behind that gets
    /// a snapshot.
    pub fn durable(&mut self, durable: EntryId, out: &mut Vec<Effect>) {
        let behind = |kept: u64| durable.index.0.saturating_sub(kept);
        let mut wanted = behind(self.config.retained_entries);
        let mut bytes_max = self.config.retained_bytes_max;
        if self.raft.is_leader() {
            let me = self.raft.replica();
            let mut others = self.raft.progress();
            others.retain(|p| p.replica != me);
            let near = self.raft.last().index.0.saturating_sub(self.config.retained_entries);
            self.catching_up.retain(|replica, catching_up| {
                let Some(them) = others.iter().find(|p| p.replica == *replica) else {
                    return false;
                };
                catching_up.silent = if them.recently_active { 0 } else { catching_up.silent + 1 };
                them.matched.0 < near && catching_up.silent <= SILENT_MAX
            });
            if !self.catching_up.is_empty() {
                bytes_max = bytes_max.saturating_mul(CATCH_UP_FACTOR);
            }
            let lowest = others.iter().map(|p| kept_from(p, &self.catching_up).0).min();
            wanted = lowest.map_or(wanted, |lowest| wanted.min(lowest));
        }
        let fitting = self.raft.last_beyond(bytes_max).0;
        let kept_always = self.config.retained_entries.min(RETAINED_ENTRIES_MIN);
        let through = LogIndex(wanted.max(fitting.min(behind(kept_always))));
        if through < self.raft.first_index() || self.installing.is_some() {
            return;
        }
        let Some(term) = self.raft.term_of(through) else { return };
        let through = EntryId { term, index: through };
        self.raft.truncate_through(through);
        out.push(Effect::Log(LogRecord::Truncated { shard: self.descriptor.id, through }));
    }

    /// The promise to publish outside the log, while somebody reads the past here: term, last entry
    /// proposed, promise.
    pub fn published_promise(&mut self, now: &Now) -> Option<(Term, LogIndex, Timestamp)> {
        let leader = self.leader.as_mut()?;
        if !leader.wanted_for_stale_reads(now) || !self.unproposed.is_empty() {
            return None;
        }
        let promise = leader.published_promise(now, &self.state)?;
        Some((self.raft.term(), self.raft.last().index, promise))
    }

    /// A promise of the leader that travelled outside the log.
    pub fn take_promise(&mut self, from: NodeId, term: Term, index: LogIndex, promise: Timestamp) {
        if term == self.raft.term() && self.leader_node() == Some(from) {
            self.follower.take_promise(&self.state, index, promise);
        }
    }

    /// Whether [`Replica::flush`] has something to do.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.installing.is_none() && self.raft.has_ready()
    }

    /// The shard.
    #[must_use]
    pub fn descriptor(&self) -> &ShardDescriptor {
        &self.descriptor
    }

    /// The replicated state.
    #[must_use]
    pub fn state(&self) -> &ShardState {
        &self.state
    }

    /// Raft, to look at.
    #[must_use]
    pub fn raft(&self) -> &RaftGroup {
        &self.raft
    }

    /// What it does as the leader, if it is.
    #[must_use]
    pub fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// The node of the leader, as far as this replica knows.
    #[must_use]
    pub fn leader_node(&self) -> Option<NodeId> {
        self.raft.leader().and_then(|leader| self.descriptor.node_of(leader))
    }

    /// The highest promise that counts here: below every prepare it is the safe time.
    #[must_use]
    pub fn promise(&self) -> Timestamp {
        self.follower.safe_time(&self.state, &[])
    }

    /// Slow checks for the simulator.
    pub fn check_invariants(&self) {
        if let Some(leader) = &self.leader {
            leader.check_invariants(&self.state);
        }
    }
}

/// A follower that was sent a snapshot and has not come near the log's end since.
#[derive(Clone, Copy, Debug)]
struct CatchingUp {
    /// The last entry of the snapshot.
    sent: LogIndex,
    /// For how many truncations it has said nothing: nothing is heard of it while it installs.
    silent: u32,
}

/// After so many truncations, of which there is one each 2 s, a silent follower is taken for gone.
const SILENT_MAX: u32 = 60;

/// What a snapshot and the catching up behind it may have retained, in times of the usual bound. Without
/// it a follower under load comes out of each snapshot to find what follows cut off, and gets another one.
const CATCH_UP_FACTOR: u64 = 4;

/// The last entry that one follower does not need any more: it has it, or the snapshot on its way to it does.
fn kept_from(follower: &Progress, catching_up: &BTreeMap<ReplicaId, CatchingUp>) -> LogIndex {
    let sent = catching_up.get(&follower.replica).map(|catching_up| catching_up.sent);
    sent.map_or(follower.matched, |sent| follower.matched.max(sent))
}

fn refusal(to: RequestId, refusal: Refusal) -> Effect {
    Effect::Reply { to, reply: Reply::Refused(refusal) }
}

fn decode(entry: &LogEntry) -> Result<Option<Entry>, UnknownEntry> {
    match entry.kind {
        EntryKind::Normal if !entry.data.is_empty() => Entry::decode(&entry.data).map(Some),
        EntryKind::Normal | EntryKind::Membership => Ok(None),
    }
}

fn batch(shard: ShardId, applied: EntryId, changes: Changes, state: &ShardState) -> ApplyBatch {
    let (versions, pairs) = changes.finish(state);
    let versions = versions
        .into_iter()
        .map(|v| Version { key: v.key, timestamp: v.timestamp, value: v.value })
        .collect();
    let state = pairs
        .into_iter()
        .map(|put| match put {
            StatePut::Put(key, value) => StateChange::Put(key, value),
            StatePut::Delete(key) => StateChange::Delete(key),
            StatePut::DeleteRange(from, to) => StateChange::DeleteRange(from, to),
        })
        .collect();
    ApplyBatch { shard, applied, versions, state }
}

/// The state, keeping the catalog's version if the shard has it.
fn keeping(state: ShardState, catalog_key: Option<&Key>) -> ShardState {
    match catalog_key {
        Some(key) => state.with_catalog(key.clone()),
        None => state,
    }
}
