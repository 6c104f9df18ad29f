//! The gateway's half of a transaction against replies given by hand. Two shards: `a` has the keys
//! below `m`, `b` the others.

mod lossy;
mod removed;

use proto::{Epoch, GrantPair, Key, KeySpan, Priority, ShardId, TxnId, Value};
use std::time::Duration;
use truetime::{Mono, Now, TimeInterval, Timestamp};

use super::*;
use crate::leader::contradiction;
use crate::message::{Asker, Outcome, Participant};

const A: ShardId = ShardId(10);
const B: ShardId = ShardId(11);

pub(super) struct TwoShards(Key);

impl Shards for TwoShards {
    fn locate(&self, key: &Key) -> Option<(ShardId, Option<&Key>)> {
        Some(if *key < self.0 { (A, Some(&self.0)) } else { (B, None) })
    }
}

pub(super) fn shards() -> TwoShards {
    TwoShards(key("m"))
}

pub(super) fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

pub(super) fn now_at(seconds: u64) -> Now {
    let at = Timestamp::from_nanos(1_000_000_000_000).plus(Duration::from_secs(seconds));
    Now {
        mono: Mono::from_nanos(seconds * 1_000_000_000),
        interval: Ok(TimeInterval::around(at, Duration::from_micros(100))),
    }
}

pub(super) fn txn_id() -> TxnId {
    let begin = now_at(0).sure().unwrap().earliest;
    TxnId { horizon: begin.plus(Duration::from_secs(600)), begin, origin: 1, sequence: 1 }
}

pub(super) fn put(name: &str) -> Write {
    Write { key: key(name), value: Some(Value::from(name.as_bytes())) }
}

const EVERYTHING: ReadLimit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };

struct Rig {
    txn: Transaction,
    now: Now,
    effects: Vec<Effect>,
}

impl Rig {
    fn new() -> Self {
        Rig::driven_by(Driver::Only)
    }

    fn single_use() -> Self {
        Rig::driven_by(Driver::OneOfSeveral { digest: 77, coordinator: key("a"), shard: A })
    }

    fn driven_by(driver: Driver) -> Self {
        let id = txn_id();
        let settings = TransactionSettings::default();
        let txn = Transaction::new(id, Priority::first(id), driver, settings);
        Rig { txn, now: now_at(1), effects: Vec::new() }
    }

    fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The only call that is asked for now.
    fn call(&mut self) -> (TxnCall, Request) {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.into_iter().next().unwrap()
    }

    fn calls(&mut self) -> Vec<(TxnCall, Request)> {
        self.take()
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Call { call, request } => Some((call, request)),
                _ => None,
            })
            .collect()
    }

    fn read(&mut self, mode: LockMode, names: &[&str]) -> Vec<(TxnCall, Request)> {
        let spans = names.iter().map(|name| KeySpan::point(key(name))).collect();
        self.txn.read(&self.now, &shards(), mode, spans, EVERYTHING, &mut self.effects).unwrap();
        self.calls()
    }

    /// Reads under exclusive locks and has each shard answer with its grant.
    fn lock(&mut self, names: &[&str]) {
        for (call, request) in self.read(LockMode::Exclusive, names) {
            let shard = if *request.routing_key().unwrap() < key("m") { A } else { B };
            self.answer(call, rows(grant(shard), &[]));
        }
        self.take();
    }

    fn commit(&mut self) {
        self.txn.commit(&self.now, &shards(), &mut self.effects).unwrap();
    }

    fn answer(&mut self, call: TxnCall, reply: Reply) {
        self.txn.completed(&self.now, call, Ok(reply), &mut self.effects);
    }

    fn fail(&mut self, call: TxnCall) {
        let result = Err(unavailable(true));
        self.txn.completed(&self.now, call, result, &mut self.effects);
    }

    fn tick_to(&mut self, seconds: u64) {
        self.now = now_at(seconds);
        self.txn.tick(&self.now, &mut self.effects);
    }

    fn end(&self) -> &End {
        self.txn.end().expect("it ended")
    }

    fn forgotten(&mut self) -> Vec<Request> {
        self.take()
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Forget { request } => Some(request),
                _ => None,
            })
            .collect()
    }

    /// Locks on both shards, writes `a1` and `z1`, and the commit asked for: the prepare's call.
    fn prepare_at_b(&mut self) -> TxnCall {
        self.lock(&["a1", "z1"]);
        self.txn.write(put("a1")).unwrap();
        self.txn.write(put("z1")).unwrap();
        self.commit();
        let (call, request) = self.call();
        assert!(matches!(request, Request::Prepare { .. }), "{request:?}");
        call
    }

    /// As above, up to the commit's call.
    fn commit_at_a(&mut self) -> TxnCall {
        let prepare = self.prepare_at_b();
        self.answer(prepare, prepared(50));
        let (call, request) = self.call();
        assert!(matches!(request, Request::Commit { .. }), "{request:?}");
        call
    }
}

pub(super) fn grant(shard: ShardId) -> GrantPair {
    GrantPair { epoch: Epoch(3), number: shard.0 }
}

fn rows(grant: GrantPair, names: &[&str]) -> Reply {
    let row = |name: &&str| Row {
        key: key(name),
        timestamp: Timestamp::from_nanos(5),
        value: Value::from(format!("old {name}").into_bytes()),
    };
    Reply::Rows { grant: Some(grant), rows: names.iter().map(row).collect(), rest: Vec::new() }
}

fn prepared(at: u64) -> Reply {
    let expires = Some(Timestamp::from_nanos(at + 1000));
    Reply::Prepared { prepare_ts: Timestamp::from_nanos(at), expires }
}

fn committed() -> Reply {
    let commit_ts = Timestamp::from_nanos(60);
    Reply::Outcome(Outcome::Committed { commit_ts, participants: Vec::new(), commit_wait: 9 })
}

fn aborted(reason: AbortReason) -> Reply {
    Reply::Outcome(Outcome::Aborted { reason })
}

fn unavailable(maybe_executed: bool) -> CallError {
    CallError::Unavailable { what: Obstacle::NoLeader { shard: A }, maybe_executed }
}

#[test]
fn transfer_over_two_shards_takes_one_read_each_and_one_commit_round() {
    let mut rig = Rig::new();
    let reads = rig.read(LockMode::Exclusive, &["a1", "z1"]);
    assert_eq!(reads.len(), 2);
    rig.answer(reads[0].0, rows(grant(A), &["a1"]));
    rig.answer(reads[1].0, rows(grant(B), &["z1"]));
    let effects = rig.take();
    let Effect::ReadDone { result: Ok(read), .. } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(read.rows.len(), 2);
    assert!(rig.txn.known(&key("a1")).is_some());
    rig.txn.write(put("a1")).unwrap();
    rig.txn.write(put("z1")).unwrap();
    rig.commit();
    let (prepare, request) = rig.call();
    let Request::Prepare { attempt, key: named, coordinator, participants, writes, digest } =
        request
    else {
        panic!("{request:?}");
    };
    assert_eq!(attempt.grant, Some(grant(B)));
    assert_eq!((named, coordinator), (key("z1"), key("a1")));
    assert_eq!(participants, [key("z1")]);
    assert_eq!(writes, [put("z1")]);
    rig.answer(prepare, prepared(50));
    let (commit, request) = rig.call();
    let Request::Commit {
        attempt,
        coordinator,
        writes,
        participants,
        single_use,
        digest: of_all,
        ..
    } = request
    else {
        panic!("{request:?}");
    };
    assert_eq!(digest, of_all);
    assert_eq!(attempt.grant, Some(grant(A)));
    assert_eq!(coordinator, key("a1"));
    assert_eq!(writes, [put("a1")]);
    let (prepare_ts, expires) = (Timestamp::from_nanos(50), Some(Timestamp::from_nanos(1050)));
    assert_eq!(participants, [Participant { key: key("z1"), prepare_ts, expires, writes: true }]);
    assert!(!single_use);
    rig.answer(commit, committed());
    let commit_ts = Timestamp::from_nanos(60);
    assert_eq!(rig.end(), &End::Committed { commit_ts, commit_wait: 9, participants: 2 });
}

#[test]
fn blind_write_at_one_shard_is_one_commit() {
    let mut rig = Rig::new();
    rig.txn.write(put("a1")).unwrap();
    rig.commit();
    let (commit, request) = rig.call();
    let Request::Commit { attempt, participants, .. } = request else { panic!("{request:?}") };
    assert_eq!((attempt.grant, participants.len()), (None, 0));
    rig.answer(commit, committed());
    assert!(matches!(rig.end(), End::Committed { participants: 1, .. }));
}

#[test]
fn blind_writes_at_two_shards_lock_the_coordinator_while_preparing() {
    let mut rig = Rig::new();
    rig.txn.write(put("a1")).unwrap();
    rig.txn.write(put("z1")).unwrap();
    rig.commit();
    let calls = rig.calls();
    assert!(matches!(&calls[0].1, Request::Prepare { .. }));
    assert!(matches!(&calls[1].1, Request::Lock { keys, .. } if *keys == [key("a1")]));
    rig.answer(calls[0].0, prepared(50));
    assert_eq!(rig.take(), [], "the coordinator's lock is still awaited");
    rig.answer(calls[1].0, Reply::Locked { grant: grant(A) });
    let (_, request) = rig.call();
    assert!(matches!(request, Request::Commit { attempt, .. } if attempt.grant == Some(grant(A))));
}

#[test]
fn locks_without_writes_are_checked_at_every_shard() {
    let mut rig = Rig::new();
    let reads = rig.read(LockMode::Shared, &["a1", "z1"]);
    rig.answer(reads[0].0, rows(grant(A), &[]));
    rig.answer(reads[1].0, rows(grant(B), &[]));
    rig.take();
    rig.commit();
    let (prepare, request) = rig.call();
    assert!(matches!(&request, Request::Prepare { attempt, writes, coordinator, .. }
            if writes.is_empty() && *coordinator == key("a1") && attempt.grant == Some(grant(B))));
    rig.answer(prepare, prepared(50));
    let (_, request) = rig.call();
    let Request::Commit { writes, participants, .. } = request else { panic!("{request:?}") };
    assert!(writes.is_empty());
    assert!(!participants[0].writes);
}

#[test]
fn transaction_that_touched_nothing_commits_without_a_message() {
    let mut rig = Rig::new();
    rig.commit();
    assert_eq!(rig.calls(), []);
    assert!(matches!(rig.end(), End::Committed { participants: 0, .. }));
}

#[test]
fn reads_see_buffered_writes_and_deletes() {
    let mut rig = Rig::new();
    rig.txn.write(put("b")).unwrap();
    rig.txn.write(Write { key: key("c"), value: None }).unwrap();
    let span = KeySpan::new(key("a"), key("e"));
    let (now, effects) = (now_at(1), &mut rig.effects);
    rig.txn.read(&now, &shards(), LockMode::Shared, vec![span], EVERYTHING, effects).unwrap();
    let (call, _) = rig.call();
    rig.answer(call, rows(grant(A), &["a", "b", "c", "d"]));
    let effects = rig.take();
    let Effect::ReadDone { result: Ok(read), .. } = &effects[0] else { panic!("{effects:?}") };
    let names: Vec<&[u8]> = read.rows.iter().map(|row| row.value.as_bytes()).collect();
    assert_eq!(names, [b"old a".as_slice(), b"b", b"old d"]);
}

#[test]
fn limited_scan_refills_what_buffered_deletes_took_and_asks_no_further_shard() {
    let mut rig = Rig::new();
    rig.txn.write(Write { key: key("a"), value: None }).unwrap();
    let limit = ReadLimit { rows: 2, bytes: u64::MAX };
    let span = KeySpan { start: key("a"), end: None };
    let (now, effects) = (now_at(1), &mut rig.effects);
    rig.txn.read(&now, &shards(), LockMode::Shared, vec![span], limit, effects).unwrap();
    let (call, _) = rig.call();
    let Reply::Rows { rows: two, .. } = rows(grant(A), &["a", "b"]) else { unreachable!() };
    let rest = vec![KeySpan::new(key("b\0"), key("m"))];
    rig.answer(call, Reply::Rows { grant: Some(grant(A)), rows: two, rest: rest.clone() });
    let (call, request) = rig.call();
    let Request::LockedRead { spans, limit, .. } = request else { panic!("{request:?}") };
    assert_eq!((spans, limit.rows), (rest, 1));
    let Reply::Rows { rows: one, .. } = rows(grant(A), &["c"]) else { unreachable!() };
    let rest = vec![KeySpan::new(key("c\0"), key("m"))];
    rig.answer(call, Reply::Rows { grant: Some(grant(A)), rows: one, rest });
    let effects = rig.take();
    let Effect::ReadDone { result: Ok(read), .. } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(read.rows.len(), 2);
    let left = [KeySpan::new(key("c\0"), key("m")), KeySpan { start: key("m"), end: None }];
    assert_eq!(read.rest, left);
}

#[test]
fn second_grant_pair_at_a_shard_aborts_and_releases() {
    // T24: the first locks were lost in between.
    let mut rig = Rig::new();
    rig.lock(&["a1", "z1"]);
    let reads = rig.read(LockMode::Shared, &["a2"]);
    assert!(matches!(&reads[0].1, Request::LockedRead { attempt, .. }
        if attempt.grant == Some(grant(A))));
    rig.answer(reads[0].0, rows(GrantPair { epoch: Epoch(4), number: 1 }, &["a2"]));
    let cause = Cause::Aborted(AbortReason::LocksLost);
    assert_eq!(rig.end(), &End::NotCommitted { cause });
    let forgotten = rig.forgotten();
    assert!(matches!(&forgotten[..], [Request::Release { key: named, .. }] if *named == key("z1")));
}

#[test]
fn wound_at_one_shard_ends_the_attempt_and_releases_the_other() {
    let mut rig = Rig::new();
    rig.lock(&["z1"]);
    let reads = rig.read(LockMode::Shared, &["a1", "z2"]);
    let reason = AbortReason::Wounded { by: TxnId::default() };
    rig.answer(reads[0].0, Reply::Aborted { reason: reason.clone() });
    assert_eq!(rig.end(), &End::NotCommitted { cause: Cause::Aborted(reason) });
    let effects = rig.take();
    assert!(effects.contains(&Effect::Cancel { call: reads[1].0 }));
    let releases = effects.iter().filter(|e| matches!(e, Effect::Forget { .. })).count();
    assert_eq!(releases, 1);
    // T27: what still comes in changes nothing.
    rig.answer(reads[1].0, rows(grant(B), &["z2"]));
    assert_eq!(rig.take(), []);
}

#[test]
fn unavailable_read_leaves_the_transaction_open_and_unvalidated_shards_are_released() {
    let mut rig = Rig::new();
    let reads = rig.read(LockMode::Shared, &["z1"]);
    rig.fail(reads[0].0);
    assert!(matches!(&rig.take()[..], [Effect::ReadDone { result: Err(ReadError::Call(_)), .. }]));
    rig.txn.write(put("a1")).unwrap();
    rig.commit();
    let effects = rig.take();
    assert!(matches!(&effects[0], Effect::Forget { request: Request::Release { .. } }));
    assert!(matches!(&effects[1], Effect::Call { request: Request::Commit { .. }, .. }));
}

#[test]
fn aborted_prepare_aborts_at_the_coordinator_without_making_the_client_wait() {
    let mut rig = Rig::new();
    let prepare = rig.prepare_at_b();
    rig.answer(prepare, Reply::Aborted { reason: AbortReason::LocksLost });
    assert!(matches!(rig.end(), End::NotCommitted { .. }));
    let forgotten = rig.forgotten();
    assert!(matches!(&forgotten[..], [Request::Abort { coordinator, participants, .. }]
        if *coordinator == key("a1") && *participants == [key("z1")]));
}

#[test]
fn unavailable_prepare_is_answered_from_the_coordinators_abort() {
    let mut rig = Rig::new();
    let prepare = rig.prepare_at_b();
    rig.fail(prepare);
    assert!(rig.txn.end().is_none());
    let (abort, request) = rig.call();
    assert!(matches!(request, Request::Abort { .. }));
    rig.answer(abort, aborted(AbortReason::GivenUp));
    assert!(matches!(rig.end(), End::NotCommitted { cause: Cause::Unavailable(_) }));
}

#[test]
fn unavailable_prepare_with_unreachable_coordinator_is_not_committed_for_sure() {
    let mut rig = Rig::new();
    let prepare = rig.prepare_at_b();
    rig.fail(prepare);
    let (abort, _) = rig.call();
    rig.fail(abort);
    rig.tick_to(4);
    assert!(matches!(rig.end(), End::NotCommitted { cause: Cause::Unavailable(_) }));
}

#[test]
fn unavailable_commit_is_looked_up_and_never_called_aborted() {
    // T14, T42.
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.fail(commit);
    let (lookup, request) = rig.call();
    let asker = Asker::Gateway;
    assert_eq!(request, Request::Lookup { id: txn_id(), coordinator: key("a1"), asker });
    rig.answer(lookup, committed());
    assert!(matches!(rig.end(), End::Committed { .. }));
}

#[test]
fn unavailable_commit_without_record_is_sent_again() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.fail(commit);
    let (lookup, _) = rig.call();
    rig.answer(lookup, Reply::Outcome(Outcome::InProgress));
    rig.tick_to(2);
    let calls = rig.calls();
    assert!(matches!(&calls[0].1, Request::Commit { participants, .. } if participants.len() == 1));
}

#[test]
fn commit_that_cannot_be_asked_about_is_unknown_at_the_deadline() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.fail(commit);
    let (lookup, _) = rig.call();
    rig.fail(lookup);
    rig.tick_to(3);
    assert!(rig.txn.end().is_none());
    rig.tick_to(22);
    let unknown = End::OutcomeUnknown { coordinator: key("a1"), for_good: false };
    assert_eq!(rig.end(), &unknown);
}

#[test]
fn commit_that_never_left_the_node_is_not_unknown() {
    let mut rig = Rig::new();
    rig.txn.write(put("a1")).unwrap();
    rig.commit();
    let (commit, _) = rig.call();
    let result = Err(CallError::Overloaded { outstanding: 5 });
    rig.txn.completed(&rig.now, commit, result, &mut rig.effects);
    assert!(matches!(rig.end(), End::NotCommitted { cause: Cause::Unavailable(_) }));
}

#[test]
fn refused_commit_is_settled_by_a_logged_abort() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.answer(commit, Reply::Refused(Refusal::DiskFull { node: proto::NodeId(1) }));
    let (abort, request) = rig.call();
    assert!(matches!(request, Request::Abort { .. }));
    // An earlier copy was taken after all.
    rig.answer(abort, committed());
    assert!(matches!(rig.end(), End::Committed { .. }));
}

#[test]
fn refused_commit_whose_abort_cannot_be_asked_is_unknown() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.answer(commit, Reply::Refused(Refusal::DiskFull { node: proto::NodeId(1) }));
    let (abort, _) = rig.call();
    rig.fail(abort);
    rig.tick_to(60);
    assert!(matches!(rig.end(), End::OutcomeUnknown { for_good: false, .. }));
}

#[test]
fn outcome_no_longer_known_is_unknown_for_good() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.answer(commit, Reply::Outcome(Outcome::NoLongerKnown));
    assert!(matches!(rig.end(), End::OutcomeUnknown { for_good: true, .. }));
}

#[test]
fn aborted_commit_has_the_participants_told() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.answer(commit, aborted(AbortReason::LeaseBound));
    assert!(matches!(rig.end(), End::NotCommitted { .. }));
    assert!(rig.forgotten().iter().any(|request| matches!(request, Request::Abort { .. })));
}

#[test]
fn transaction_past_its_horizon_sends_no_commit() {
    let mut rig = Rig::new();
    let prepare = rig.prepare_at_b();
    rig.now = now_at(600);
    rig.answer(prepare, prepared(50));
    let cause = Cause::Aborted(AbortReason::TooOld);
    assert_eq!(rig.end(), &End::NotCommitted { cause });
    assert_eq!(rig.calls(), []);
}

#[test]
fn keep_alives_go_to_every_shard_with_locks_at_a_third_of_the_timeout() {
    let mut rig = Rig::new();
    rig.lock(&["a1", "z1"]);
    assert_eq!(rig.txn.next_deadline(), now_at(1).mono.plus(Duration::from_secs(10) / 3));
    rig.tick_to(4);
    assert_eq!(rig.take(), []);
    rig.tick_to(5);
    let calls = rig.calls();
    let named: Vec<&Key> = calls.iter().filter_map(|(_, r)| r.routing_key()).collect();
    assert_eq!(named, [&key("a1"), &key("z1")]);
    rig.answer(calls[0].0, Reply::Alive);
    rig.answer(calls[1].0, Reply::Aborted { reason: AbortReason::Idle });
    assert!(matches!(rig.end(), End::NotCommitted { .. }));
}

#[test]
fn keep_alive_answered_aborted_after_the_commit_was_sent_decides_nothing() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.tick_to(5);
    for (call, _) in rig.calls() {
        rig.answer(call, Reply::Aborted { reason: AbortReason::LocksLost });
    }
    assert!(rig.txn.end().is_none());
    rig.answer(commit, committed());
    assert!(matches!(rig.end(), End::Committed { .. }));
}

#[test]
fn single_use_commit_is_aborted_only_from_the_record() {
    let mut rig = Rig::single_use();
    let reads = rig.read(LockMode::Exclusive, &["a"]);
    rig.answer(reads[0].0, Reply::Aborted { reason: AbortReason::LocksLost });
    assert!(rig.txn.end().is_none(), "another gateway may have committed it");
    let (abort, request) = rig.call();
    assert!(matches!(request, Request::Abort { coordinator, .. } if coordinator == key("a")));
    rig.answer(abort, committed());
    assert!(matches!(rig.end(), End::Committed { .. }));
}

#[test]
fn single_use_commit_without_a_record_past_the_horizon_is_unknown_for_good() {
    let mut rig = Rig::single_use();
    rig.txn.write(put("a")).unwrap();
    rig.now = now_at(700);
    rig.commit();
    let (abort, _) = rig.call();
    rig.answer(abort, Reply::Outcome(Outcome::NoLongerKnown));
    assert!(matches!(rig.end(), End::OutcomeUnknown { for_good: true, .. }));
}

#[test]
fn rollback_while_a_commit_is_out_does_nothing() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.txn.roll_back(&now_at(1), AbortReason::GivenUp, &mut rig.effects);
    assert_eq!(rig.take(), []);
    rig.answer(commit, committed());
    assert!(matches!(rig.end(), End::Committed { .. }));
}

#[test]
fn buffered_writes_above_the_limit_are_refused_whole() {
    let id = txn_id();
    let settings = TransactionSettings { buffered_bytes_max: 150, ..Default::default() };
    let mut txn = Transaction::new(id, Priority::first(id), Driver::Only, settings);
    txn.write(put("a")).unwrap();
    txn.write(put("b")).unwrap();
    assert_eq!(txn.write(put("c")), Err(BufferFull { bytes_max: 150 }));
    txn.write(put("b")).expect("replacing a write takes no more room");
    assert_eq!(txn.buffer().iter().count(), 2);
}

#[test]
fn single_use_commit_whose_id_came_with_other_writes_takes_no_outcome_for_its_own() {
    // Another gateway may commit the id, with those other writes: asking for an abort would hear "committed" of
    // them, or abort them.
    let mut rig = Rig::single_use();
    rig.lock(&["a", "z1"]);
    rig.txn.write(put("a")).unwrap();
    rig.txn.write(put("z1")).unwrap();
    rig.commit();
    let (prepare, request) = rig.call();
    assert!(matches!(request, Request::Prepare { digest: 77, .. }));
    rig.answer(prepare, Reply::Refused(contradiction()));
    let asked = rig.calls();
    assert_eq!(asked, []);
    let cause = Cause::Refused(contradiction());
    assert_eq!(rig.end(), &End::NotCommitted { cause });
}
