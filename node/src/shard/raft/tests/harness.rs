//! A cluster in one thread. Disks, links and time move only when a test says so, and after every
//! move the properties of the Raft paper (figure 3) are checked, and that nothing leaves a replica
//! that its disk does not back.
//!
//! A *batch* is a ready on its way to the disk. A crash keeps the durable image and nothing else,
//! except for as many records of the oldest batches as the test lets through.

use crate::shard::raft::{
    Message, MessageKind, RaftConfig, RaftGroup, Ready, Role, SnapshotMeta, SnapshotOutcome,
};
use crate::storage::record::{EntryKind, HardState, LogEntry, Membership};
use bytes::Bytes;
use proto::{EntryId, LogIndex, ReplicaId, Term};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) const R1: ReplicaId = ReplicaId(1);
pub(super) const R2: ReplicaId = ReplicaId(2);
pub(super) const R3: ReplicaId = ReplicaId(3);

pub(super) fn config(replica: ReplicaId) -> RaftConfig {
    RaftConfig {
        replica,
        election_ticks: 10,
        heartbeat_ticks: 2,
        entries_per_message_bytes_max: 256,
        inflight_messages_max: 4,
        uncommitted_bytes_max: 4096,
        committed_per_ready_bytes_max: 128,
    }
}

pub(super) fn voters(replicas: impl IntoIterator<Item = u64>) -> Membership {
    Membership { voters: replicas.into_iter().map(ReplicaId).collect(), ..Membership::default() }
}

pub(super) fn id(term: u64, index: u64) -> EntryId {
    EntryId { term: Term(term), index: LogIndex(index) }
}

pub(super) fn entry(term: u64, index: u64, data: &'static str) -> LogEntry {
    LogEntry {
        id: id(term, index),
        kind: EntryKind::Normal,
        data: Bytes::from_static(data.as_bytes()),
    }
}

/// A replica with nothing stored.
pub(super) fn fresh(replica: ReplicaId, membership: Membership) -> RaftGroup {
    RaftGroup::open(
        &config(replica),
        7,
        HardState::default(),
        membership,
        LogIndex(0),
        EntryId::default(),
        Vec::new(),
    )
    .unwrap()
}

/// The replicated state: what was applied, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) applied: LogIndex,
    pub(super) log: Vec<(EntryId, Bytes)>,
    pub(super) membership: Membership,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    pub(super) truncated: EntryId,
    pub(super) entries: Vec<LogEntry>,
    pub(super) machine: Machine,
}

impl Disk {
    fn has(&self, entry: EntryId) -> bool {
        self.truncated.index >= entry.index || self.entries.iter().any(|e| e.id == entry)
    }

    fn last_index(&self) -> LogIndex {
        self.entries.last().map_or(self.truncated.index, |entry| entry.id.index)
    }

    fn append(&mut self, entries: &[LogEntry]) {
        if let Some(first) = entries.first() {
            self.entries.retain(|entry| entry.id.index < first.id.index);
            self.entries.extend_from_slice(entries);
        }
    }
}

pub(super) struct Batch {
    ready: Ready,
    snapshot: Option<Machine>,
}

pub(super) struct Replica {
    pub(super) group: Option<RaftGroup>,
    pub(super) disk: Disk,
    pub(super) batches: VecDeque<Batch>,
    pub(super) machine: Machine,
    /// Data of snapshots that were stepped and may have to be installed.
    arrived: BTreeMap<EntryId, Machine>,
    starts: u64,
    ticks: u16,
}

pub(super) struct Envelope {
    pub(super) message: Message,
    snapshot: Option<Machine>,
    travels: TravelsAs,
}

/// What goes over the link: the message, or the beat that it stands for, or the answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TravelsAs {
    Message,
    Beat,
    Answer,
}

/// SplitMix64; the tests' own randomness.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

pub(super) struct Cluster {
    pub(super) seed: u64,
    pub(super) replicas: BTreeMap<ReplicaId, Replica>,
    pub(super) links: BTreeMap<(ReplicaId, ReplicaId), VecDeque<Envelope>>,
    pub(super) cut: BTreeSet<(ReplicaId, ReplicaId)>,
    /// Every message that left, for tests that compare runs.
    pub(super) sent: Vec<Message>,
    leaders: BTreeMap<Term, ReplicaId>,
    entries: BTreeMap<EntryId, (Term, LogEntry)>,
    pub(super) committed: BTreeMap<LogIndex, LogEntry>,
    proposals: u64,
}

impl Cluster {
    pub(super) fn new(seed: u64, replicas: u64) -> Cluster {
        Cluster::with_members(seed, voters(1..=replicas), 1..=replicas)
    }

    pub(super) fn with_members(
        seed: u64,
        membership: Membership,
        replicas: impl IntoIterator<Item = u64>,
    ) -> Cluster {
        let mut cluster = Cluster {
            seed,
            replicas: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            sent: Vec::new(),
            leaders: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: BTreeMap::new(),
            proposals: 0,
        };
        for replica in replicas.into_iter().map(ReplicaId) {
            let machine = Machine { membership: membership.clone(), ..Machine::default() };
            let disk = Disk { machine: machine.clone(), ..Disk::default() };
            let down = Replica {
                group: None,
                disk,
                batches: VecDeque::new(),
                machine,
                arrived: BTreeMap::new(),
                starts: 0,
                ticks: 0,
            };
            cluster.replicas.insert(replica, down);
            cluster.start(replica);
        }
        cluster
    }

    pub(super) fn replica(&mut self, replica: ReplicaId) -> &mut Replica {
        self.replicas.get_mut(&replica).unwrap()
    }

    pub(super) fn group(&mut self, replica: ReplicaId) -> &mut RaftGroup {
        self.replica(replica).group.as_mut().unwrap()
    }

    pub(super) fn ids(&self) -> Vec<ReplicaId> {
        self.replicas.keys().copied().collect()
    }

    pub(super) fn start(&mut self, replica: ReplicaId) {
        let seed = self.seed;
        let state = self.replica(replica);
        state.starts += 1;
        state.machine = state.disk.machine.clone();
        let disk = state.disk.clone();
        let group = RaftGroup::open(
            &config(replica),
            seed.wrapping_add(state.starts),
            disk.hard_state,
            disk.machine.membership.clone(),
            disk.machine.applied,
            disk.truncated,
            disk.entries,
        );
        state.group = Some(group.unwrap());
        self.run(replica);
    }

    /// Power loss. `records` of what was on its way to the disk made it there.
    pub(super) fn crash(&mut self, replica: ReplicaId, mut records: usize) {
        let state = self.replica(replica);
        state.group = None;
        state.arrived.clear();
        for batch in std::mem::take(&mut state.batches) {
            for part in 0..3 {
                if records == 0 {
                    return;
                }
                records -= write_part(&mut state.disk, &batch, part);
            }
        }
    }

    /// Does all that the group has for its host, except for what waits for the disk.
    pub(super) fn run(&mut self, replica: ReplicaId) {
        while let Some(ready) = self.group(replica).take_ready() {
            self.accept(replica, ready);
        }
        self.check(replica);
    }

    fn accept(&mut self, replica: ReplicaId, mut ready: Ready) {
        self.check_log_matching(replica, &ready);
        let state = self.replica(replica);
        let snapshot = ready.snapshot_to_install.as_ref().map(|meta| {
            state.arrived.remove(&meta.last).expect("a snapshot to install was stepped here")
        });
        let committed = std::mem::take(&mut ready.committed);
        let now = std::mem::take(&mut ready.messages_now);
        state.batches.push_back(Batch { ready, snapshot });
        for message in now {
            self.send(message);
        }
        for entry in committed {
            self.apply(replica, entry);
        }
    }

    fn apply(&mut self, replica: ReplicaId, entry: LogEntry) {
        let known = self.committed.entry(entry.id.index).or_insert_with(|| entry.clone());
        assert_eq!(*known, entry, "state machine safety at {} on {replica}", entry.id.index);
        let state = self.replica(replica);
        assert!(state.disk.has(entry.id), "{replica} applies {:?} before it is durable", entry.id);
        let machine = &mut state.machine;
        assert_eq!(entry.id.index, machine.applied.next(), "{replica} applies in order");
        let group = state.group.as_mut().unwrap();
        match entry.kind {
            EntryKind::Membership => {
                if let Ok(membership) = group.apply_membership(&entry) {
                    machine.membership = membership;
                }
            }
            EntryKind::Normal => group.applied(entry.id.index),
        }
        machine.applied = entry.id.index;
        machine.log.push((entry.id, entry.data));
    }

    fn send(&mut self, message: Message) {
        self.send_as(message, TravelsAs::Message);
    }

    fn send_as(&mut self, message: Message, travels: TravelsAs) {
        self.check_backed(&message);
        let from = self.replica(message.from);
        let snapshot = message.snapshot.as_ref().map(|meta| {
            assert_eq!(meta.last.index, from.machine.applied, "a snapshot is of the applied state");
            assert_eq!(meta.membership, from.machine.membership, "with the members of that state");
            from.machine.clone()
        });
        self.sent.push(message.clone());
        let link = (message.from, message.to);
        if !self.cut.contains(&link) && self.replicas.contains_key(&message.to) {
            self.links.entry(link).or_default().push_back(Envelope { message, snapshot, travels });
        }
    }

    /// The oldest batch becomes durable.
    pub(super) fn sync_one(&mut self, replica: ReplicaId) -> bool {
        let state = self.replica(replica);
        let Some(batch) = state.batches.pop_front() else { return false };
        for part in 0..3 {
            write_part(&mut state.disk, &batch, part);
        }
        if let Some(machine) = batch.snapshot {
            state.machine = machine;
        }
        state.group.as_mut().unwrap().persisted(batch.ready.number);
        for message in batch.ready.messages_after_sync {
            self.send(message);
        }
        self.run(replica);
        true
    }

    pub(super) fn tick(&mut self, replica: ReplicaId) {
        self.group(replica).tick();
        let state = self.replica(replica);
        state.ticks += 1;
        if state.ticks.is_multiple_of(config(replica).heartbeat_ticks) {
            for heartbeat in self.group(replica).heartbeats() {
                let travels = if heartbeat.is_beat { TravelsAs::Beat } else { TravelsAs::Message };
                self.send_as(heartbeat.message(replica), travels);
            }
        }
        self.run(replica);
    }

    /// Takes a beat, or the answer to one. Says whether it is done with.
    fn take_beat(&mut self, envelope: &Envelope) -> bool {
        let Message { from, to, term, commit, .. } = envelope.message;
        let group = self.group(to);
        match envelope.travels {
            TravelsAs::Message => false,
            TravelsAs::Answer => {
                group.beat_heard(from, term);
                true
            }
            TravelsAs::Beat => {
                let heard = group.hear_beat(from, term, commit);
                if heard {
                    let mut answer = envelope.message.clone();
                    (answer.kind, answer.from, answer.to) =
                        (MessageKind::HeartbeatResponse, to, from);
                    self.send_as(answer, TravelsAs::Answer);
                }
                heard
            }
        }
    }

    pub(super) fn propose(&mut self, replica: ReplicaId) -> Option<EntryId> {
        self.proposals += 1;
        let data = format!("proposal {} at {replica}", self.proposals);
        let proposed = self.group(replica).propose(Bytes::from(data)).ok();
        self.run(replica);
        proposed
    }

    /// Hands over the oldest message of a link, if the receiver is up.
    pub(super) fn deliver(&mut self, link: (ReplicaId, ReplicaId)) -> bool {
        let Some(envelope) = self.links.get_mut(&link).and_then(VecDeque::pop_front) else {
            return false;
        };
        let (from, to) = link;
        let snapshot_sent = envelope.snapshot.is_some();
        let state = self.replica(to);
        if state.group.is_none() {
            self.lost(from, to, snapshot_sent);
            return true;
        }
        if envelope.travels != TravelsAs::Message && self.take_beat(&envelope) {
            return true;
        }
        let state = self.replica(to);
        let group = state.group.as_mut().unwrap();
        if let (Some(meta), Some(machine)) = (&envelope.message.snapshot, envelope.snapshot) {
            state.arrived.insert(meta.last, machine);
        }
        let stepped = group.step(envelope.message.clone());
        assert_eq!(stepped, Ok(()), "{to} takes {:?}", envelope.message);
        self.run(to);
        self.replica(to).arrived.clear();
        if snapshot_sent && let Some(group) = &mut self.replica(from).group {
            group.report_snapshot(to, SnapshotOutcome::Delivered);
            self.run(from);
        }
        true
    }

    pub(super) fn drop_one(&mut self, link: (ReplicaId, ReplicaId)) {
        if let Some(envelope) = self.links.get_mut(&link).and_then(VecDeque::pop_front) {
            self.lost(link.0, link.1, envelope.snapshot.is_some());
        }
    }

    fn lost(&mut self, from: ReplicaId, to: ReplicaId, snapshot: bool) {
        if let Some(group) = &mut self.replica(from).group {
            group.report_unreachable(to);
            if snapshot {
                group.report_snapshot(to, SnapshotOutcome::Failed);
            }
            self.run(from);
        }
    }

    /// The machine's state becomes durable, and the log that made it is dropped.
    pub(super) fn checkpoint_and_truncate(&mut self, replica: ReplicaId) {
        let state = self.replica(replica);
        state.disk.machine = state.machine.clone();
        let applied = state.machine.applied;
        let group = state.group.as_mut().unwrap();
        let Some(term) = group.term_of(applied).filter(|term| *term > Term(0)) else { return };
        // A truncation is a record too, but losing it loses nothing.
        if state.disk.has(EntryId { term, index: applied }) && applied > state.disk.truncated.index
        {
            group.truncate_through(EntryId { term, index: applied });
            state.disk.truncated = EntryId { term, index: applied };
            state.disk.entries.retain(|entry| entry.id.index > applied);
        }
    }

    pub(super) fn cut_off(&mut self, replica: ReplicaId) {
        for other in self.ids() {
            self.cut.extend([(replica, other), (other, replica)]);
            self.links.remove(&(replica, other));
            self.links.remove(&(other, replica));
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Delivers and syncs until nothing moves any more, without time passing.
    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for replica in self.ids() {
                while self.replica(replica).group.is_some() && self.sync_one(replica) {
                    moved = true;
                }
            }
            let links: Vec<_> = self.links.keys().copied().collect();
            for link in links {
                while self.deliver(link) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Time passes for all, everything is delivered and synced at once.
    pub(super) fn pass(&mut self, ticks: usize) {
        for _ in 0..ticks {
            for replica in self.ids() {
                if self.replica(replica).group.is_some() {
                    self.tick(replica);
                }
            }
            self.settle();
        }
    }

    pub(super) fn elect(&mut self, replica: ReplicaId) {
        self.group(replica).campaign();
        self.run(replica);
        self.settle();
        assert!(self.group(replica).is_leader(), "{replica} is elected");
    }

    pub(super) fn leader(&self) -> Option<ReplicaId> {
        let leads = |r: &Replica| r.group.as_ref().is_some_and(RaftGroup::is_leader);
        let latest = self.replicas.iter().filter(|(_, r)| leads(r));
        latest.max_by_key(|(_, r)| r.group.as_ref().unwrap().term()).map(|(id, _)| *id)
    }

    /// With all replicas up and all links whole, a leader emerges, a proposal commits, and all
    /// replicas have the same state.
    pub(super) fn converge(&mut self) {
        self.heal();
        for replica in self.ids() {
            if self.replica(replica).group.is_none() {
                self.start(replica);
            }
        }
        self.settle();
        self.pass(100);
        let leader = self.leader().expect("a leader emerges");
        self.propose(leader).expect("and takes a proposal");
        self.pass(10);
        let machine = self.replica(leader).machine.clone();
        assert_eq!(Some(&machine.applied), self.committed.keys().last(), "all is applied");
        for (id, replica) in &self.replicas {
            assert_eq!(replica.machine, machine, "{id} has the leader's state");
        }
    }

    fn check(&mut self, replica: ReplicaId) {
        let group = self.replicas[&replica].group.as_ref().unwrap();
        assert!(group.applied_index() <= group.commit_index(), "applied is committed");
        if group.role() != Role::Leader {
            return;
        }
        let first_seen = *self.leaders.entry(group.term()).or_insert(replica);
        assert_eq!(first_seen, replica, "election safety in term {}", group.term());
        for (index, entry) in self.committed.range(group.first_index()..) {
            assert_eq!(
                group.term_of(*index),
                Some(entry.id.term),
                "leader completeness: {replica} leads term {} without {index}",
                group.term()
            );
        }
    }

    /// An entry is created once, behind one predecessor: then two logs that have it in common have
    /// everything before it in common too.
    fn check_log_matching(&mut self, replica: ReplicaId, ready: &Ready) {
        let group = self.replicas[&replica].group.as_ref().unwrap();
        for entry in &ready.entries_to_append {
            let Some(previous) = group.term_of(LogIndex(entry.id.index.0 - 1)) else { continue };
            let known = self.entries.entry(entry.id).or_insert_with(|| (previous, entry.clone()));
            assert_eq!(*known, (previous, entry.clone()), "log matching on {replica}");
        }
    }

    /// T39, T48: whatever promises something leaves only when the sender's disk backs it.
    fn check_backed(&mut self, message: &Message) {
        let disk = &self.replicas[&message.from].disk;
        let HardState { term, vote, .. } = disk.hard_state;
        match message.kind {
            MessageKind::RequestVoteResponse if !message.reject => {
                assert!(
                    term > message.term || (term, vote) == (message.term, Some(message.to)),
                    "{} gives a vote that is not durable: {message:?}",
                    message.from
                );
            }
            MessageKind::RequestVote => assert!(
                term > message.term || (term, vote) == (message.term, Some(message.from)),
                "{} campaigns in a term that is not durable: {message:?}",
                message.from
            ),
            MessageKind::AppendResponse if !message.reject => assert!(
                disk.last_index() >= message.index,
                "{} acknowledges what is not durable: {message:?}",
                message.from
            ),
            MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot => assert!(
                term >= message.term,
                "{} leads a term that is not durable: {message:?}",
                message.from
            ),
            MessageKind::AppendResponse
            | MessageKind::RequestVoteResponse
            | MessageKind::RequestPreVote
            | MessageKind::RequestPreVoteResponse
            | MessageKind::HeartbeatResponse
            | MessageKind::TimeoutNow => {}
        }
    }
}

/// Writes the records of a batch in the order that `Ready` asks for, and says whether there was one.
fn write_part(disk: &mut Disk, batch: &Batch, part: usize) -> usize {
    match part {
        0 => {
            if let (Some(SnapshotMeta { last, .. }), Some(machine)) =
                (&batch.ready.snapshot_to_install, &batch.snapshot)
            {
                disk.truncated = *last;
                disk.entries.clear();
                disk.machine = machine.clone();
                return 1;
            }
        }
        1 => {
            disk.append(&batch.ready.entries_to_append);
            return usize::from(!batch.ready.entries_to_append.is_empty());
        }
        _ => {
            if let Some(hard_state) = batch.ready.hard_state {
                disk.hard_state = hard_state;
                return 1;
            }
        }
    }
    0
}
