//! The coordinator and the only participant: choosing `s`, commit wait, records.

use super::rig::{MILLISECOND, Rig, SECOND, START, key, participant};
use super::*;

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
fn applied_commit_fails_what_its_own_id_still_waits_for() {
    // Section 4: at its application already, though its locks stay for the commit wait.
    let mut rig = Rig::new();
    let (older, id) = (rig.older_id(), rig.id());
    rig.read_for_update(older, "other");
    rig.read_for_update(id, "k");
    let waiting = rig.read_shared(id, "other");
    let commit = rig.commit(id, "k", Vec::new());
    assert!(rig.reply(waiting).is_none());
    rig.run();
    assert!(rig.committed(commit).is_none(), "its timestamp has not passed");
    let given_up = Reply::Aborted { reason: AbortReason::GivenUp };
    assert_eq!(rig.reply(waiting), Some(&given_up));
    let other = rig.older_id();
    let locked = rig.read_shared(other, "k");
    assert!(!rig.was_read(locked), "its locks are still held");
    rig.wait(2 * MILLISECOND + 2);
    assert!(rig.committed(commit).is_some() && rig.was_read(locked));
}
