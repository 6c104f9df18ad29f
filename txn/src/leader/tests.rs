//! The leader's rules, each broken schedule of TRANSACTIONS.md section 9 that one shard can show. A rig
//! keeps what was proposed in a log and applies it when the test says so.

mod catalog;
mod values;

use std::time::Duration;

use proto::{EntryId, Epoch, KeySpan, LogIndex, NodeId, Term, TxnId};
use truetime::{ClockUnsure, Mono, Now, TimeInterval, Timestamp};

use super::*;
use crate::lock_table::LockMode;
use crate::message::Decision;
use crate::state::Changes;
use values::{attempt, key, participant, write};

/// The key whose writes make catalog versions.
const CATALOG: &str = "catalog";
const EPSILON: Duration = Duration::from_millis(1);
const START: u64 = 1_000_000_000_000;

/// One shard whose leader may change; true time moves only when told.
struct Rig {
    true_time: u64,
    /// What a leader's clock reads beyond true time.
    offset: i64,
    sure: bool,
    state: ShardState,
    leader: Leader,
    term: u64,
    log: Vec<(Term, Entry)>,
    applied: usize,
    replies: Vec<(u64, Reply)>,
    reads: Vec<(u64, Timestamp)>,
    calls: Vec<(CallId, Request)>,
    handed_over: bool,
    callers: u64,
    ids: u64,
}

impl Rig {
    /// A leader that settled and holds a lease.
    fn new() -> Self {
        let mut rig = Rig::bare();
        rig.elect();
        let id = rig.id();
        rig.read_shared(id, "warm-up");
        rig.run();
        assert!(rig.serves(), "a leader that was asked takes a lease");
        rig.ask(Request::Release { id, key: key("warm-up") });
        rig.replies.clear();
        rig
    }

    fn bare() -> Self {
        let now = Now { mono: Mono::ZERO, interval: Err(ClockUnsure::Unsynchronised) };
        Rig {
            true_time: START,
            offset: 0,
            sure: true,
            state: ShardState::new(KeySpan::all()).with_catalog(key(CATALOG)),
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

    fn now(&self) -> Now {
        let reading = self.true_time.checked_add_signed(self.offset).unwrap();
        let interval = TimeInterval::around(Timestamp::from_nanos(reading), EPSILON);
        Now {
            mono: Mono::from_nanos(self.true_time - START + 1),
            interval: if self.sure { Ok(interval) } else { Err(ClockUnsure::Unsynchronised) },
        }
    }

    /// A new leader of the next term, its own first entry committed.
    fn elect(&mut self) {
        self.term += 1;
        let mut out = Vec::new();
        let next = Leader::new(Config::default(), NodeId(self.term), Term(self.term), &self.now());
        std::mem::replace(&mut self.leader, next).step_down(None, &mut out);
        self.take(out);
        self.log.push((Term(self.term), Entry::default()));
    }

    /// The leader is gone and what it proposed but nobody applied is lost.
    fn lose_unapplied(&mut self) {
        self.log.truncate(self.applied);
    }

    fn take(&mut self, out: Vec<Effect>) {
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
    fn apply_one(&mut self) {
        let (term, entry) = self.log[self.applied].clone();
        self.applied += 1;
        let id = EntryId { term, index: LogIndex(self.applied as u64) };
        let mut changes = Changes::default();
        let applied = self.state.apply(id, Some(&entry), &mut changes);
        let _ = changes.finish(&self.state);
        let mut out = Vec::new();
        self.leader.applied(&self.now(), &self.state, id, Some(&entry), &applied, &mut out);
        self.take(out);
        self.leader.check_invariants(&self.state);
    }

    fn tick(&mut self) {
        let mut out = Vec::new();
        self.leader.tick(&self.now(), &self.state, &mut out);
        self.take(out);
    }

    /// Applies everything, and what comes of it.
    fn run(&mut self) {
        self.tick();
        while self.applied < self.log.len() {
            self.apply_one();
        }
    }

    fn wait(&mut self, nanos: u64) {
        self.true_time += nanos;
        self.tick();
    }

    fn ask(&mut self, request: Request) -> u64 {
        self.callers += 1;
        let caller = RequestId { sequence: self.callers, ..RequestId::default() };
        let mut out = Vec::new();
        self.leader.request(&self.now(), &self.state, caller, request, &mut out);
        self.take(out);
        self.callers
    }

    /// A fresh id; each is younger than the one before.
    fn id(&mut self) -> TxnId {
        self.ids += 1;
        let begin = Timestamp::from_nanos(START + self.ids);
        let horizon = begin.plus(Duration::from_secs(600));
        TxnId { horizon, begin, origin: 1, sequence: self.ids }
    }

    fn lock(&mut self, id: TxnId, name: &str, mode: LockMode) -> u64 {
        let spans = vec![KeySpan::point(key(name))];
        let limit = ReadLimit { rows: 10, bytes: 1_000 };
        self.ask(Request::LockedRead { attempt: attempt(id, self.grant(id)), mode, spans, limit })
    }

    fn read_shared(&mut self, id: TxnId, name: &str) -> u64 {
        self.lock(id, name, LockMode::Shared)
    }

    fn read_for_update(&mut self, id: TxnId, name: &str) -> u64 {
        self.lock(id, name, LockMode::Exclusive)
    }

    fn snapshot(&mut self, at: Timestamp, name: &str) -> u64 {
        let spans = vec![KeySpan::point(key(name))];
        self.ask(Request::SnapshotRead { at, spans, limit: ReadLimit { rows: 1, bytes: 1 } })
    }

    fn grant(&self, id: TxnId) -> Option<GrantPair> {
        self.leader.txns.get(&id).and_then(|local| local.grant)
    }

    fn commit(&mut self, id: TxnId, name: &str, participants: Vec<Participant>) -> u64 {
        let grant = self.grant(id);
        self.commit_with(id, name, participants, grant)
    }

    fn commit_with(
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

    fn prepare(&mut self, id: TxnId, name: &str) -> u64 {
        let grant = self.grant(id);
        self.ask(Request::Prepare {
            attempt: attempt(id, grant),
            key: key(name),
            coordinator: key("a-coordinator"),
            participants: vec![key(name)],
            writes: vec![write(name)],
        })
    }

    fn reply(&self, caller: u64) -> Option<&Reply> {
        self.replies.iter().find(|(to, _)| *to == caller).map(|(_, reply)| reply)
    }

    fn committed(&self, caller: u64) -> Option<Timestamp> {
        match self.reply(caller) {
            Some(Reply::Outcome(Outcome::Committed { commit_ts, .. })) => Some(*commit_ts),
            _ => None,
        }
    }

    fn was_read(&self, caller: u64) -> bool {
        self.reads.iter().any(|(to, _)| *to == caller)
    }

    fn serves(&self) -> bool {
        self.leader.serves(&self.now(), &self.state)
    }

    fn lease_end(&self) -> Timestamp {
        self.state.header().lease.unwrap().expires
    }
}

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

#[test]
fn lease_serves_only_once_it_is_applied() {
    // Section 9.1.
    let mut rig = Rig::bare();
    rig.elect();
    let id = rig.id();
    let read = rig.read_shared(id, "k");
    rig.apply_one();
    assert_eq!(rig.log.len(), 2, "the lease is proposed");
    assert!(!rig.was_read(read) && !rig.serves());
    rig.apply_one();
    assert!(rig.was_read(read) && rig.serves());
}

#[test]
fn new_epoch_waits_out_the_old_lease() {
    // Section 9.2, T4.
    let mut rig = Rig::new();
    let end = rig.lease_end();
    rig.elect();
    rig.run();
    let id = rig.id();
    let read = rig.read_shared(id, "k");
    rig.run();
    assert!(!rig.serves() && !rig.was_read(read));
    rig.true_time = end.nanos() + 2 * MILLISECOND;
    rig.run();
    assert!(rig.serves() && rig.was_read(read));
    assert_eq!(rig.state.header().lease.unwrap().epoch, Epoch(2));
    assert!(rig.leader.floor(&rig.state) >= end, "nothing is assigned below the old lease's end");
}

#[test]
fn node_that_is_elected_again_has_no_right_to_its_old_lease() {
    // Section 9.3.
    let mut rig = Rig::new();
    rig.term += 1;
    rig.leader = Leader::new(Config::default(), NodeId(1), Term(rig.term), &rig.now());
    rig.log.push((Term(rig.term), Entry::default()));
    rig.run();
    assert!(!rig.serves());
}

#[test]
fn commit_is_answered_and_unlocked_only_after_commit_wait() {
    // Section 9.5, T31.
    let mut rig = Rig::new();
    let (writer, reader) = (rig.id(), rig.id());
    rig.read_for_update(writer, "k");
    let commit = rig.commit(writer, "k", Vec::new());
    let waiting = rig.read_shared(reader, "k");
    assert!(rig.reply(commit).is_none(), "not before it is applied");
    rig.run();
    assert!(rig.committed(commit).is_none() && !rig.was_read(waiting), "not before s has passed");
    rig.wait(2 * MILLISECOND + 2);
    let commit_ts = rig.committed(commit).expect("s has passed");
    assert!(rig.now().after(commit_ts));
    assert!(rig.was_read(waiting));
}

#[test]
fn lookup_and_repeated_commit_say_nothing_before_commit_wait() {
    let mut rig = Rig::new();
    let id = rig.id();
    let first = rig.commit(id, "k", Vec::new());
    rig.run();
    let again = rig.commit(id, "k", Vec::new());
    let lookup = Request::Lookup { id, coordinator: key("k"), asker: Asker::Client };
    let lookup = rig.ask(lookup);
    for caller in [first, again, lookup] {
        assert!(rig.committed(caller).is_none(), "before s has passed nobody learns it");
    }
    rig.wait(2 * MILLISECOND + 2);
    let commit_ts = rig.committed(first);
    assert!(commit_ts.is_some() && rig.committed(again) == commit_ts);
    assert!(rig.committed(lookup) == commit_ts);
}

#[test]
fn lookup_of_a_client_fences_a_commit_that_has_not_arrived() {
    // T33: the gateway died with the commit. What it left must not be executed after "aborted".
    let mut rig = Rig::new();
    let id = rig.id();
    let ask = |asker| Request::Lookup { id, coordinator: key("k"), asker };
    let driver = rig.ask(ask(Asker::Gateway));
    rig.run();
    assert_eq!(
        rig.reply(driver),
        Some(&Reply::Outcome(Outcome::InProgress)),
        "it may send it again"
    );
    let client = rig.ask(ask(Asker::Client));
    assert_eq!(rig.reply(client), None, "not before the abort is in the log");
    rig.run();
    let aborted = |reply: Option<&Reply>| {
        matches!(reply, Some(Reply::Outcome(Outcome::Aborted { .. }) | Reply::Aborted { .. }))
    };
    assert!(aborted(rig.reply(client)), "{:?}", rig.reply(client));
    let late = rig.commit(id, "k", Vec::new());
    rig.run();
    rig.wait(2 * MILLISECOND + 2);
    assert!(aborted(rig.reply(late)), "{:?}", rig.reply(late));
}

#[test]
fn new_leader_does_the_commit_wait_again_before_it_tells() {
    // T13: the participants are told by a leader on whose clock s has passed.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.commit(id, "k", vec![participant("p", START, None)]);
    rig.run();
    rig.elect();
    rig.offset = -500_000;
    rig.run();
    assert!(rig.calls.is_empty());
    rig.wait(4 * MILLISECOND);
    let told = rig.calls.iter().any(|(_, request)| {
        matches!(request, Request::Resolve { decision: Decision::Commit { .. }, .. })
    });
    assert!(told);
}

#[test]
fn commit_timestamp_is_above_prepares_promises_and_now() {
    // Section 9.6, T1, T3.
    let mut rig = Rig::new();
    let promised = rig.now().sure().unwrap().latest;
    rig.snapshot(promised, "k");
    let prepared = START + 50 * MILLISECOND;
    let id = rig.id();
    let commit = rig.commit(id, "k", vec![participant("p", prepared, None)]);
    rig.run();
    rig.wait(SECOND / 10);
    let commit_ts = rig.committed(commit).unwrap();
    assert!(commit_ts.nanos() >= prepared && commit_ts > promised);
    // A slower clock afterwards stays above what was assigned.
    rig.offset = -900_000;
    let next = rig.id();
    let commit = rig.commit(next, "k", Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(commit).unwrap() > commit_ts);
}

#[test]
fn commit_at_or_above_a_participants_expiry_is_aborted_by_the_log() {
    // Section 9.7, T25.
    let mut rig = Rig::new();
    let id = rig.id();
    let expired = rig.true_time;
    let commit = rig.commit(id, "k", vec![participant("p", START, Some(expired))]);
    assert!(rig.reply(commit).is_none(), "an abort that others must learn is logged first");
    rig.run();
    let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LeaseBound });
    assert_eq!(rig.reply(commit), Some(&aborted));
    let told = |(_, request): &(CallId, Request)| {
        matches!(request, Request::Resolve { decision: Decision::Abort, .. })
    };
    assert!(rig.calls.iter().any(told));
}

#[test]
fn prepare_leaves_the_expiry_out_only_when_all_locks_are_written() {
    // Section 9.7: a successor restores exclusive locks on what is written and nothing else.
    let mut rig = Rig::new();
    let (written, more) = (rig.id(), rig.id());
    rig.read_for_update(written, "x");
    let all_written = rig.prepare(written, "x");
    rig.read_shared(more, "y");
    rig.read_for_update(more, "z");
    let reads_too = rig.prepare(more, "z");
    rig.run();
    assert!(matches!(rig.reply(all_written), Some(Reply::Prepared { expires: None, .. })));
    assert!(matches!(rig.reply(reads_too), Some(Reply::Prepared { expires: Some(_), .. })));
}

#[test]
fn locks_lost_with_the_epoch_are_noticed_at_commit_and_prepare() {
    // Section 9.8, T24.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_shared(id, "k");
    let grant = rig.grant(id);
    assert!(grant.is_some());
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let commit = rig.commit_with(id, "k", Vec::new(), grant);
    rig.run();
    let lost = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LocksLost });
    assert_eq!(rig.reply(commit), Some(&lost));
}

#[test]
fn older_wounds_a_reader_but_nobody_who_is_prepared() {
    // Section 9.9.
    let mut rig = Rig::new();
    let (oldest, middle, youngest) = (rig.id(), rig.id(), rig.id());
    rig.read_for_update(youngest, "k");
    let taken = rig.read_for_update(middle, "k");
    assert!(rig.was_read(taken), "the younger reader is wounded");
    let refused = rig.read_shared(youngest, "k");
    assert!(matches!(rig.reply(refused), Some(Reply::Aborted { .. })));
    rig.prepare(middle, "k");
    let waits = rig.read_for_update(oldest, "k");
    rig.run();
    rig.wait(20 * SECOND);
    rig.run();
    assert!(
        !rig.was_read(waits),
        "neither a wound nor an idle timeout takes a prepared one's locks"
    );
    assert!(rig.state.prepared().contains_key(&middle));
}

#[test]
fn older_that_waits_for_a_prepared_younger_asks_its_coordinator() {
    // T26.
    let mut rig = Rig::new();
    let (older, younger) = (rig.id(), rig.id());
    rig.prepare(younger, "k");
    rig.run();
    rig.read_for_update(older, "k");
    assert!(rig.calls.is_empty());
    rig.wait(SECOND);
    rig.wait(SECOND);
    let asked = |(_, request): &(CallId, Request)| matches!(request, Request::Wound { victim, by, .. } if *victim == younger && *by == older);
    assert!(rig.calls.iter().any(asked));
}

#[test]
fn new_leader_restores_the_locks_of_prepared_transactions() {
    // Section 9.10.
    let mut rig = Rig::new();
    let (prepared, other) = (rig.id(), rig.id());
    rig.prepare(prepared, "k");
    rig.run();
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let read = rig.read_shared(other, "k");
    rig.run();
    assert!(!rig.was_read(read));
    let decision = Decision::Abort;
    let resolved = rig.ask(Request::Resolve { id: prepared, key: key("k"), decision });
    rig.run();
    assert_eq!(rig.reply(resolved), Some(&Reply::Resolved));
    assert!(rig.was_read(read));
}

#[test]
fn question_of_a_participant_logs_an_abort_before_it_is_answered() {
    // Section 9.12, T33: and the commit that comes late is answered from it.
    let mut rig = Rig::new();
    let id = rig.id();
    let asker = Asker::Participant { participants: vec![key("p")] };
    let question = rig.ask(Request::Lookup { id, coordinator: key("k"), asker });
    assert!(rig.reply(question).is_none());
    rig.run();
    let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::InDoubt });
    assert_eq!(rig.reply(question), Some(&aborted));
    let late = rig.commit(id, "k", Vec::new());
    rig.run();
    assert_eq!(rig.reply(late), Some(&aborted));
}

#[test]
fn abort_that_races_a_commit_loses_to_the_first_in_the_log() {
    // Section 9.15.
    let mut rig = Rig::new();
    let id = rig.id();
    let commit = rig.commit(id, "k", Vec::new());
    let abort = Request::Abort { id, coordinator: key("k"), participants: Vec::new() };
    let abort = rig.ask(abort);
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(commit).is_some());
    assert_eq!(rig.committed(abort), rig.committed(commit));
}

#[test]
fn repeated_commit_is_executed_once_also_by_the_next_leader() {
    // Section 9.13.
    let mut rig = Rig::new();
    let id = rig.id();
    let commit = rig.commit(id, "k", Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    let commit_ts = rig.committed(commit);
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let again = rig.commit(id, "k", Vec::new());
    rig.run();
    assert!(commit_ts.is_some() && rig.committed(again) == commit_ts);
    let commits = rig.log.iter().filter(|(_, e)| matches!(e.command, Command::Commit { .. }));
    assert_eq!(commits.count(), 1);
}

#[test]
fn commit_that_was_lost_with_its_leader_is_never_called_aborted_by_it() {
    // T14: the next leader, above the request's epoch, says what is true.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_for_update(id, "k");
    let grant = rig.grant(id);
    let commit = rig.commit(id, "k", Vec::new());
    rig.lose_unapplied();
    rig.elect();
    assert!(matches!(rig.reply(commit), Some(Reply::Refused(Refusal::NotLeader { .. }))));
    rig.true_time += 3 * SECOND;
    rig.run();
    let again = rig.commit_with(id, "k", Vec::new(), grant);
    rig.run();
    let lost = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LocksLost });
    assert_eq!(rig.reply(again), Some(&lost));
}

#[test]
fn repeated_prepare_is_answered_with_the_lease_that_was_logged() {
    // Section 9.14.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_shared(id, "y");
    let first = rig.prepare(id, "k");
    rig.run();
    let answer = rig.reply(first).cloned();
    assert!(matches!(answer, Some(Reply::Prepared { expires: Some(_), .. })));
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let again = rig.prepare(id, "k");
    assert_eq!(rig.reply(again), answer.as_ref());
}

#[test]
fn late_duplicate_prepare_is_dropped_by_the_outcome_of_the_first() {
    // T37: the outcome names the first one's p.
    let mut rig = Rig::new();
    let id = rig.id();
    let first = rig.prepare(id, "k");
    rig.run();
    let Some(Reply::Prepared { prepare_ts, .. }) = rig.reply(first).cloned() else { panic!() };
    let commit_ts = prepare_ts.next();
    let decision = Decision::Commit { commit_ts, prepare_ts };
    rig.ask(Request::Resolve { id, key: key("k"), decision });
    rig.run();
    assert_eq!(rig.state.header().highest_commit, commit_ts);
    rig.prepare(id, "k");
    rig.run();
    assert!(rig.state.prepared().contains_key(&id));
    let decision = Decision::Commit { commit_ts, prepare_ts };
    rig.ask(Request::Resolve { id, key: key("k"), decision });
    rig.run();
    assert!(rig.state.prepared().is_empty());
}

#[test]
fn entry_of_an_old_epoch_has_no_effect() {
    // Section 9.23: it is applied behind a release, and its caller is not told "committed".
    let mut rig = Rig::new();
    let epoch = rig.state.header().lease.unwrap().epoch;
    let release = Command::Release { highest: Timestamp::from_nanos(START), wait_out: None };
    let release = Entry { epoch: Some(epoch), ..Entry::fact(release) };
    rig.log.push((Term(rig.term), release));
    let id = rig.id();
    let commit = rig.commit(id, "k", Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.state.outcome(&id).is_none());
    assert!(matches!(rig.reply(commit), Some(Reply::Refused(Refusal::NotLeader { .. }))));
}

#[test]
fn waiters_are_failed_at_step_down_and_never_granted() {
    // Section 9.24.
    let mut rig = Rig::new();
    let (holder, waiter) = (rig.id(), rig.id());
    rig.read_for_update(holder, "k");
    let waits = rig.read_shared(waiter, "k");
    rig.elect();
    assert!(matches!(rig.reply(waits), Some(Reply::Refused(Refusal::NotLeader { .. }))));
    assert!(!rig.was_read(waits));
}

#[test]
fn release_waits_until_the_assigned_commits_have_passed() {
    // Section 9.25.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.commit(id, "k", Vec::new());
    rig.run();
    let mut out = Vec::new();
    rig.leader.hand_over(&rig.now(), &rig.state, &mut out);
    rig.take(out);
    rig.run();
    let released = |rig: &Rig| {
        rig.log.iter().any(|(_, entry)| matches!(entry.command, Command::Release { .. }))
    };
    assert!(!released(&rig));
    rig.wait(3 * MILLISECOND);
    rig.run();
    assert!(released(&rig) && rig.handed_over);
    // The next epoch starts at once, above what the released one assigned.
    let floor = rig.leader.floor(&rig.state);
    rig.elect();
    let id = rig.id();
    let read = rig.read_shared(id, "k");
    rig.run();
    assert!(rig.was_read(read) && rig.leader.floor(&rig.state) >= floor);
}

#[test]
fn release_with_a_prepared_transaction_carries_its_bound() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_shared(id, "y");
    rig.prepare(id, "k");
    rig.run();
    let bound = rig.state.prepared()[&id].expires.unwrap();
    let mut out = Vec::new();
    rig.leader.hand_over(&rig.now(), &rig.state, &mut out);
    rig.take(out);
    rig.wait(SECOND / 2);
    rig.run();
    let released = rig.state.header().lease.unwrap().released.unwrap();
    assert_eq!(released.wait_out, Some(bound));
}

#[test]
fn read_at_a_timestamp_waits_for_what_may_commit_at_or_below_it() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    let prepare_ts = rig.state.prepared()[&id].prepare_ts;
    rig.wait(5 * MILLISECOND);
    let below = rig.snapshot(prepare_ts.prev(), "k");
    let other_key = rig.snapshot(prepare_ts.next(), "j");
    let above = rig.snapshot(prepare_ts.next(), "k");
    assert!(rig.was_read(below) && rig.was_read(other_key) && !rig.was_read(above));
    rig.ask(Request::Resolve { id, key: key("k"), decision: Decision::Abort });
    rig.run();
    assert!(rig.was_read(above));
}

#[test]
fn read_ahead_of_the_leaders_clock_waits_until_its_time_has_come() {
    let mut rig = Rig::new();
    let at = rig.now().sure().unwrap().latest.plus(Duration::from_millis(3));
    let read = rig.snapshot(at, "k");
    assert!(!rig.was_read(read));
    rig.wait(4 * MILLISECOND);
    assert!(rig.was_read(read));
}

#[test]
fn published_promise_is_surely_past() {
    // Section 9.17, T12.
    let mut rig = Rig::new();
    rig.wait(MILLISECOND);
    let id = rig.id();
    rig.commit(id, "k", Vec::new());
    rig.run();
    let promise = rig.state.header().promise;
    assert!(promise > Timestamp::ZERO && rig.now().after(promise));
}

#[test]
fn unsure_clock_refuses_requests_and_takes_outcomes() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    rig.sure = false;
    let other = rig.id();
    let refused = rig.read_shared(other, "j");
    assert!(matches!(rig.reply(refused), Some(Reply::Refused(Refusal::ClockUnsure { .. }))));
    let decision = Decision::Abort;
    let resolved = rig.ask(Request::Resolve { id, key: key("k"), decision });
    rig.run();
    assert_eq!(rig.reply(resolved), Some(&Reply::Resolved));
}

#[test]
fn silent_transaction_loses_its_locks_and_is_told_why() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_shared(id, "k");
    let grant = rig.grant(id);
    rig.true_time += 11 * SECOND;
    rig.tick();
    rig.run();
    let alive = Request::KeepAlive { attempt: attempt(id, grant), key: key("k") };
    let alive = rig.ask(alive);
    rig.run();
    assert!(matches!(rig.reply(alive), Some(Reply::Aborted { .. })), "{:?}", rig.reply(alive));
}

#[test]
fn horizon_that_has_passed_is_never_executed_and_never_called_aborted() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.true_time += 601 * SECOND;
    let commit = rig.commit(id, "k", Vec::new());
    rig.run();
    rig.wait(3 * SECOND);
    rig.run();
    assert_eq!(rig.reply(commit), Some(&Reply::Outcome(Outcome::NoLongerKnown)));
}

#[test]
fn outcome_record_stays_until_its_participants_have_applied_it() {
    // Section 9.26, T36.
    let mut rig = Rig::new();
    let (kept, gone) = (rig.id(), rig.id());
    rig.commit(kept, "k", vec![participant("p", START, None)]);
    rig.commit(gone, "j", Vec::new());
    rig.run();
    rig.true_time += 1_300 * SECOND;
    for _ in 0..3 {
        let id = TxnId {
            begin: Timestamp::from_nanos(rig.true_time),
            horizon: Timestamp::from_nanos(rig.true_time + SECOND),
            origin: 2,
            sequence: rig.true_time,
        };
        rig.commit(id, "i", Vec::new());
        rig.run();
        rig.wait(6 * SECOND);
        rig.run();
    }
    assert!(rig.state.outcome(&gone).is_none(), "past horizon and record_ttl it is dropped");
    assert!(rig.state.outcome(&kept).is_some(), "but not while a participant may ask");
}

#[test]
fn transaction_of_a_lost_gateway_frees_its_locks_at_once() {
    let mut rig = Rig::new();
    let (lost, waiter) = (TxnId { origin: 7 << 32 | 1, ..rig.id() }, rig.id());
    rig.read_for_update(lost, "k");
    let read = rig.read_shared(waiter, "k");
    assert!(!rig.was_read(read));
    let mut out = Vec::new();
    rig.leader.gateway_lost(&rig.now(), &rig.state, NodeId(7), &mut out);
    rig.take(out);
    assert!(rig.was_read(read));
}
