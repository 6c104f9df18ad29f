//! A rig for the tests of one shard: it keeps what was proposed in a log, and applies it when told.

use std::collections::BTreeMap;

use proto::{EntryId, Key, KeySpan, LogIndex, NodeId, Priority, Term, TxnId, Value};
use truetime::{ClockUnsure, Mono, Now, TimeInterval, Timestamp};

use super::*;
use crate::lock_table::LockMode;
use crate::message::Decision;
use crate::state::{Changes, NewVersion, OutcomeRecord, StatePut};

/// The key whose writes make catalog versions.
pub(super) const CATALOG: &str = "catalog";
pub(super) const START: u64 = 1_000_000_000_000;

/// One shard whose leader may change; true time moves only when told.
pub(super) struct Rig {
    pub(super) true_time: u64,
    /// What a leader's clock reads beyond true time.
    pub(super) offset: i64,
    pub(super) epsilon: Duration,
    pub(super) sure: bool,
    pub(super) config: Config,
    pub(super) state: ShardState,
    /// The stored form of `state`: what a snapshot carries of it.
    pub(super) pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) versions: Vec<NewVersion>,
    pub(super) leader: Leader,
    pub(super) term: u64,
    pub(super) log: Vec<(Term, Entry)>,
    pub(super) applied: usize,
    pub(super) replies: Vec<(u64, Reply)>,
    pub(super) reads: Vec<(u64, Timestamp)>,
    pub(super) calls: Vec<(CallId, Request)>,
    pub(super) handed_over: bool,
    pub(super) callers: u64,
    pub(super) ids: u64,
}

impl Rig {
    /// A leader that settled and holds a lease.
    pub(super) fn new() -> Self {
        Rig::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let mut rig = Rig { config, ..Rig::bare() };
        rig.elect();
        let id = rig.id();
        rig.read_shared(id, "warm-up");
        rig.run();
        assert!(rig.serves(), "a leader that was asked takes a lease");
        rig.ask(Request::Release { id, key: key("warm-up") });
        rig.replies.clear();
        rig
    }

    pub(super) fn bare() -> Self {
        let now = Now { mono: Mono::ZERO, interval: Err(ClockUnsure::Unsynchronised) };
        Rig {
            true_time: START,
            offset: 0,
            epsilon: Duration::from_millis(1),
            sure: true,
            config: Config::default(),
            state: ShardState::new(KeySpan::all()).with_catalog(key(CATALOG)),
            pairs: BTreeMap::new(),
            versions: Vec::new(),
            leader: Leader::new(Config::default(), NodeId(1), Term(0), &now),
            term: 0,
            log: Vec::new(),
            applied: 0,
            replies: Vec::new(),
            reads: Vec::new(),
            calls: Vec::new(),
            handed_over: false,
            callers: 0,
            ids: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        let reading = self.true_time.checked_add_signed(self.offset).unwrap();
        let interval = TimeInterval::around(Timestamp::from_nanos(reading), self.epsilon);
        Now {
            mono: Mono::from_nanos(self.true_time - START + 1),
            interval: if self.sure { Ok(interval) } else { Err(ClockUnsure::Unsynchronised) },
        }
    }

    /// A new leader of the next term, its own first entry committed.
    pub(super) fn elect(&mut self) {
        self.term += 1;
        let mut out = Vec::new();
        let next = Leader::new(self.config, NodeId(self.term), Term(self.term), &self.now());
        std::mem::replace(&mut self.leader, next).step_down(None, &mut out);
        self.take(out);
        self.log.push((Term(self.term), Entry::default()));
    }

    /// The leader is gone and what it proposed but nobody applied is lost.
    pub(super) fn lose_unapplied(&mut self) {
        self.log.truncate(self.applied);
    }

    pub(super) fn take(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Propose(entry) => self.log.push((Term(self.term), entry)),
                Effect::Reply { to, reply } => self.replies.push((to.sequence, reply)),
                Effect::Read { to, at, .. } => self.reads.push((to.sequence, at)),
                Effect::Call { call, request } => self.calls.push((call, request)),
                Effect::HandedOver => self.handed_over = true,
            }
        }
    }

    /// Applies the next entry of the log.
    pub(super) fn apply_one(&mut self) {
        let (term, entry) = self.log[self.applied].clone();
        self.applied += 1;
        let id = EntryId { term, index: LogIndex(self.applied as u64) };
        let mut changes = Changes::default();
        let applied = self.state.apply(id, Some(&entry), &mut changes);
        let (versions, puts) = changes.finish(&self.state);
        self.versions.extend(versions);
        store(&mut self.pairs, puts);
        let mut out = Vec::new();
        self.leader.applied(&self.now(), &self.state, id, Some(&entry), &applied, &mut out);
        self.take(out);
        self.leader.check_invariants(&self.state);
    }

    pub(super) fn tick(&mut self) {
        let mut out = Vec::new();
        self.leader.tick(&self.now(), &self.state, &mut out);
        self.take(out);
    }

    /// The replica starts again, or gets a snapshot: it has what was stored and nothing else.
    pub(super) fn reload(&mut self) {
        let pairs: Vec<_> = self.pairs.clone().into_iter().collect();
        let span = self.state.span().clone();
        self.state = ShardState::load(span, self.state.applied(), &pairs).unwrap();
    }

    /// Applies everything, and what comes of it.
    pub(super) fn run(&mut self) {
        self.tick();
        let most = self.log.len() + 1_000;
        while self.applied < self.log.len() {
            assert!(self.log.len() < most, "it proposes without end");
            self.apply_one();
        }
    }

    pub(super) fn wait(&mut self, nanos: u64) {
        self.true_time += nanos;
        self.tick();
    }

    pub(super) fn ask(&mut self, request: Request) -> u64 {
        self.callers += 1;
        let caller = RequestId { sequence: self.callers, ..RequestId::default() };
        let mut out = Vec::new();
        self.leader.request(&self.now(), &self.state, caller, request, &mut out);
        self.take(out);
        self.callers
    }

    pub(super) fn hand_over(&mut self) {
        let mut out = Vec::new();
        self.leader.hand_over(&self.now(), &self.state, &mut out);
        self.take(out);
    }

    /// Answers all calls of one kind, or lets them go unanswered.
    pub(super) fn answer_calls(
        &mut self,
        wanted: impl Fn(&Request) -> bool,
        answer: &Result<Reply, Unanswered>,
    ) -> usize {
        let calls = std::mem::take(&mut self.calls);
        let (answered, left): (Vec<_>, _) = calls.into_iter().partition(|(_, r)| wanted(r));
        self.calls = left;
        let count = answered.len();
        for (call, _) in answered {
            self.answer(call, answer.clone());
        }
        count
    }

    pub(super) fn answer(&mut self, call: CallId, answer: Result<Reply, Unanswered>) {
        let mut out = Vec::new();
        self.leader.answered(&self.now(), &self.state, call, answer, &mut out);
        self.take(out);
    }

    /// A fresh id; each is younger than the one before.
    pub(super) fn id(&mut self) -> TxnId {
        self.ids += 1;
        let begin = Timestamp::from_nanos(START + self.ids);
        let horizon = begin.plus(Duration::from_secs(600));
        TxnId { horizon, begin, origin: 1, sequence: self.ids }
    }

    /// A fresh id that begins now.
    pub(super) fn id_now(&mut self) -> TxnId {
        let begin = Timestamp::from_nanos(self.true_time);
        TxnId { begin, horizon: begin.plus(Duration::from_secs(600)), ..self.id() }
    }

    /// A fresh id that is older than all others.
    pub(super) fn older_id(&mut self) -> TxnId {
        self.ids += 1;
        let begin = Timestamp::from_nanos(START - self.ids);
        TxnId {
            begin,
            horizon: begin.plus(Duration::from_secs(600)),
            origin: 1,
            sequence: self.ids,
        }
    }

    pub(super) fn lock(&mut self, id: TxnId, name: &str, mode: LockMode) -> u64 {
        let spans = vec![KeySpan::point(key(name))];
        let limit = ReadLimit { rows: 10, bytes: 1_000 };
        self.ask(Request::LockedRead { attempt: attempt(id, self.grant(id)), mode, spans, limit })
    }

    pub(super) fn read_shared(&mut self, id: TxnId, name: &str) -> u64 {
        self.lock(id, name, LockMode::Shared)
    }

    pub(super) fn read_for_update(&mut self, id: TxnId, name: &str) -> u64 {
        self.lock(id, name, LockMode::Exclusive)
    }

    pub(super) fn snapshot(&mut self, at: Timestamp, name: &str) -> u64 {
        let spans = vec![KeySpan::point(key(name))];
        self.ask(Request::SnapshotRead { at, spans, limit: ReadLimit { rows: 1, bytes: 1 } })
    }

    pub(super) fn grant(&self, id: TxnId) -> Option<GrantPair> {
        self.leader.txns.get(&id).and_then(|local| local.grant)
    }

    pub(super) fn commit(&mut self, id: TxnId, name: &str, participants: Vec<Participant>) -> u64 {
        let grant = self.grant(id);
        self.commit_with(id, name, participants, grant)
    }

    pub(super) fn commit_with(
        &mut self,
        id: TxnId,
        name: &str,
        participants: Vec<Participant>,
        grant: Option<GrantPair>,
    ) -> u64 {
        self.ask(Request::Commit {
            attempt: attempt(id, grant),
            coordinator: key(name),
            writes: vec![write(name)],
            participants,
            digest: 7,
            single_use: false,
            below: None,
        })
    }

    pub(super) fn prepare(&mut self, id: TxnId, name: &str) -> u64 {
        self.prepare_of(id, name, 1)
    }

    /// A prepare of a transaction whose writes have this digest.
    pub(super) fn prepare_of(&mut self, id: TxnId, name: &str, digest: u64) -> u64 {
        self.prepare_with(id, name, vec![write(name)], digest)
    }

    /// A read-only participant's prepare: it checks the locks held.
    pub(super) fn prepare_reads(&mut self, id: TxnId, name: &str) -> u64 {
        self.prepare_with(id, name, Vec::new(), 1)
    }

    fn prepare_with(&mut self, id: TxnId, name: &str, writes: Vec<Write>, digest: u64) -> u64 {
        let grant = self.grant(id);
        self.ask(Request::Prepare {
            attempt: attempt(id, grant),
            key: key(name),
            coordinator: key("a-coordinator"),
            participants: vec![key(name)],
            writes,
            digest,
        })
    }

    pub(super) fn go_ahead(&mut self, at: Timestamp, name: &str) -> u64 {
        self.ask(Request::GoAhead { at, spans: vec![KeySpan::point(key(name))] })
    }

    pub(super) fn resolve(&mut self, id: TxnId, name: &str, decision: Decision) -> u64 {
        self.ask(Request::Resolve { id, key: key(name), decision })
    }

    pub(super) fn reply(&self, caller: u64) -> Option<&Reply> {
        self.replies.iter().find(|(to, _)| *to == caller).map(|(_, reply)| reply)
    }

    pub(super) fn committed(&self, caller: u64) -> Option<Timestamp> {
        match self.reply(caller) {
            Some(Reply::Outcome(Outcome::Committed { commit_ts, .. })) => Some(*commit_ts),
            _ => None,
        }
    }

    /// What the record says.
    pub(super) fn commit_ts(&self, id: &TxnId) -> Option<Timestamp> {
        match self.state.outcome(id) {
            Some(OutcomeRecord::Committed { commit_ts, .. }) => Some(*commit_ts),
            _ => None,
        }
    }

    /// `p`, as it was proposed last.
    pub(super) fn proposed_prepare(&self, wanted: &TxnId) -> Timestamp {
        let prepare = self.log.iter().rev().find_map(|(_, entry)| match &entry.command {
            Command::Prepare { id, record } if id == wanted => Some(record.prepare_ts),
            _ => None,
        });
        prepare.expect("a prepare is proposed")
    }

    /// `s`, as it was proposed last.
    pub(super) fn proposed_commit(&self, wanted: &TxnId) -> Timestamp {
        let commit = self.log.iter().rev().find_map(|(_, entry)| match &entry.command {
            Command::Commit { id, commit_ts, .. } if id == wanted => Some(*commit_ts),
            _ => None,
        });
        commit.expect("a commit is proposed")
    }

    pub(super) fn was_read(&self, caller: u64) -> bool {
        self.reads.iter().any(|(to, _)| *to == caller)
    }

    pub(super) fn serves(&self) -> bool {
        self.leader.serves(&self.now(), &self.state)
    }

    pub(super) fn lease_end(&self) -> Timestamp {
        self.state.header().lease.unwrap().expires
    }
}

/// Takes changes into a stored state, as a version store does.
pub(super) fn store(pairs: &mut BTreeMap<Vec<u8>, Vec<u8>>, puts: Vec<StatePut>) {
    for put in puts {
        match put {
            StatePut::Put(key, value) => {
                pairs.insert(key, value);
            }
            StatePut::Delete(key) => {
                pairs.remove(&key);
            }
            StatePut::DeleteRange(from, to) => pairs.retain(|key, _| *key < from || *key >= to),
        }
    }
}

pub(super) fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

pub(super) fn write(name: &str) -> Write {
    Write { key: key(name), value: Some(Value::from(&b"row"[..])) }
}

pub(super) fn attempt(id: TxnId, grant: Option<GrantPair>) -> Attempt {
    Attempt { id, priority: Priority::first(id), grant }
}

pub(super) fn participant(name: &str, prepare_ts: u64, expires: Option<u64>) -> Participant {
    Participant {
        key: key(name),
        prepare_ts: Timestamp::from_nanos(prepare_ts),
        expires: expires.map(Timestamp::from_nanos),
        writes: true,
    }
}

pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;
