//! Grants, wounds and idle timeouts (TRANSACTIONS.md section 4, "Locks" to "Keep-alive").

use super::rig::{Rig, SECOND, attempt, key, write};
use super::*;

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

#[test]
fn wounded_transaction_gets_no_rows_and_no_locks_any_more() {
    // T27: whatever it asks, with its grant pair or without.
    let mut rig = Rig::new();
    let (older, younger) = (rig.id(), rig.id());
    rig.read_shared(younger, "k");
    let grant = rig.grant(younger);
    rig.read_for_update(older, "k");
    assert_eq!(rig.grant(younger), None);
    for grant in [grant, None] {
        let spans = vec![KeySpan::point(key("j"))];
        let limit = ReadLimit { rows: 10, bytes: 1_000 };
        let attempt = attempt(younger, grant);
        let read = rig.ask(Request::LockedRead { attempt, mode: LockMode::Shared, spans, limit });
        let lock = rig.ask(Request::Lock { attempt, keys: vec![key("j")] });
        let alive = rig.ask(Request::KeepAlive { attempt, key: key("k") });
        let prepare = rig.ask(Request::Prepare {
            attempt,
            key: key("k"),
            coordinator: key("a-coordinator"),
            participants: vec![key("k")],
            writes: vec![write("k")],
            digest: 1,
        });
        let commit = rig.commit_with(younger, "k", Vec::new(), grant);
        rig.run();
        // Nothing but a record fences a commit that brings no grant pair.
        assert_eq!(rig.state.outcome(&younger).is_some(), grant.is_none());
        assert!(!rig.was_read(read));
        for caller in [read, lock, alive, prepare] {
            let told = rig.reply(caller);
            let by_whom = Reply::Aborted { reason: AbortReason::Wounded { by: older } };
            assert_eq!(told, Some(&by_whom), "{grant:?}");
        }
        let told = rig.reply(commit);
        assert!(matches!(told, Some(Reply::Outcome(Outcome::Aborted { .. }))), "{told:?}");
    }
    assert!(rig.state.prepared().is_empty());
}

#[test]
fn read_that_was_granted_before_a_wound_shows_nothing_that_came_after_it() {
    // T27: the read may be carried out late; its timestamp is below whatever follows.
    let mut rig = Rig::new();
    let (older, younger) = (rig.id(), rig.id());
    let read = rig.read_shared(younger, "k");
    let (_, at) = *rig.reads.iter().find(|(to, _)| *to == read).unwrap();
    rig.commit(older, "k", Vec::new());
    rig.run();
    assert!(rig.commit_ts(&older) > Some(at));
}

#[test]
fn wait_that_ends_without_a_grant_is_never_taken_for_one() {
    // T29: at each place where locks are acquired. A commit or prepare in hand stops the idle clock.
    let mut rig = Rig::new();
    let holder = rig.older_id();
    rig.prepare(holder, "k");
    rig.run();
    let (reader, locker, committer, preparer) = (rig.id(), rig.id(), rig.id(), rig.id());
    let read = rig.read_shared(reader, "k");
    let lock = Request::Lock { attempt: attempt(locker, None), keys: vec![key("k")] };
    let lock = rig.ask(lock);
    let commit = rig.commit(committer, "k", Vec::new());
    let prepare = rig.prepare(preparer, "k");
    for _ in 0..24 {
        rig.wait(SECOND / 2);
        rig.run();
    }
    let idle = Reply::Aborted { reason: AbortReason::Idle };
    assert_eq!(rig.reply(read), Some(&idle));
    assert_eq!(rig.reply(lock), Some(&idle));
    assert!(rig.reply(commit).is_none() && rig.reply(prepare).is_none());
    assert!(!rig.was_read(read) && !rig.state.prepared().contains_key(&preparer));
    rig.resolve(holder, "k", Decision::Abort);
    rig.run();
    rig.wait(SECOND / 10);
    rig.run();
    assert!(rig.committed(commit).is_some() && rig.state.prepared().contains_key(&preparer));
    assert!(!rig.was_read(read));
}

#[test]
fn lock_table_without_room_grants_nothing() {
    // T29, T32: the limit is an outcome, at each place where locks are acquired.
    let mut rig = Rig::with(Config { transactions_max: 1, ..Config::default() });
    let id = rig.id();
    for n in 0..16 {
        rig.read_shared(id, &format!("held-{n}"));
    }
    let read = rig.read_shared(id, "k");
    let attempt = attempt(id, rig.grant(id));
    let lock = rig.ask(Request::Lock { attempt, keys: vec![key("k")] });
    for caller in [read, lock] {
        let reply = rig.reply(caller);
        assert!(matches!(reply, Some(Reply::Refused(Refusal::Overloaded { .. }))), "{reply:?}");
    }
    assert!(!rig.was_read(read));
    let commit = rig.commit(id, "k", Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    assert!(matches!(rig.reply(commit), Some(Reply::Outcome(Outcome::Aborted { .. }))));
    assert!(rig.state.outcome(&id).is_none());
}
