//! What must not last: questions, reads and tellings that nobody answers; and what must: a logged abort.

use super::rig::{MILLISECOND, Rig, SECOND, key};
use super::*;
use crate::message::Asker;
use crate::state::OutcomeRecord;

#[test]
fn commit_without_a_grant_that_lost_its_locks_is_aborted_by_the_log() {
    // 9.12: no grant pair fences an earlier copy of it, so only a record may say "aborted".
    let mut rig = Rig::new();
    let (holder, blind) = (rig.id(), rig.id());
    rig.read_for_update(holder, "k");
    rig.run();
    let commit = rig.commit_with(blind, "k", Vec::new(), None);
    assert_eq!(rig.reply(commit), None, "the older one holds the key");
    // The extension of the lease is never applied in time, and a new epoch begins.
    rig.wait(10 * SECOND);
    rig.run();
    rig.wait(10 * SECOND);
    rig.run();
    let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LocksLost });
    assert_eq!(rig.reply(commit), Some(&aborted));
    let record = rig.state.outcome(&blind);
    assert!(matches!(record, Some(OutcomeRecord::Aborted { .. })), "{record:?}");
}

#[test]
fn question_about_an_impossible_id_logs_nothing() {
    let mut rig = Rig::new();
    let id = rig.id();
    let endless = TxnId { horizon: Timestamp::MAX, ..id };
    let future = rig.now().sure().unwrap().latest.plus(Duration::from_secs(1));
    let unborn = TxnId { begin: future, horizon: future.plus(Duration::from_secs(1)), ..id };
    let before = rig.log.len();
    for id in [endless, unborn] {
        let lookup = Request::Lookup { id, coordinator: key("k"), asker: Asker::Client };
        let lookup = rig.ask(lookup);
        let reply = rig.reply(lookup);
        assert!(matches!(reply, Some(Reply::Refused(Refusal::Invalid { .. }))), "{reply:?}");
    }
    assert_eq!(rig.log.len(), before);
}

#[test]
fn snapshot_read_that_nobody_waits_for_any_more_is_dropped() {
    let mut rig = Rig::new();
    let busy = rig.id();
    rig.read_shared(busy, "busy");
    let at = rig.now().sure().unwrap().latest.plus(Duration::from_secs(6));
    let early = rig.snapshot(at, "k");
    for _ in 0..20 {
        rig.wait(SECOND / 2);
        rig.run();
    }
    assert!(rig.serves() && rig.leader.snapshot_waits.is_empty());
    assert_eq!(rig.reply(early), None);
    assert!(!rig.reads.iter().any(|(caller, _)| *caller == early));
}

#[test]
fn abort_is_told_a_few_times_and_then_left_to_those_in_doubt() {
    // T38: a participant without a quorum must not fill its coordinators.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.ask(Request::Abort { id, coordinator: key("k"), participants: vec![key("gone")] });
    rig.run();
    for _ in 0..60 {
        for (call, _) in std::mem::take(&mut rig.calls) {
            let (now, mut out) = (rig.now(), Vec::new());
            rig.leader.answered(&now, &rig.state, call, Err(Unanswered), &mut out);
            rig.take(out);
        }
        rig.wait(SECOND);
        rig.run();
    }
    assert!(rig.leader.telling.is_empty());
}

#[test]
fn participants_that_an_abort_did_not_name_are_told_when_they_are_named() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.ask(Request::Lookup { id, coordinator: key("k"), asker: Asker::Client });
    let abort = |participants| Request::Abort { id, coordinator: key("k"), participants };
    // Joins the abort that is in flight, then finds the record.
    rig.ask(abort(vec![key("p")]));
    rig.run();
    rig.ask(abort(vec![key("q")]));
    let told: Vec<&Key> = rig
        .calls
        .iter()
        .filter_map(|(_, request)| match request {
            Request::Resolve { key, decision: Decision::Abort, .. } => Some(key),
            _ => None,
        })
        .collect();
    assert_eq!(told, [&key("p"), &key("q")]);
}

#[test]
fn lease_is_kept_while_somebody_reads_the_past() {
    let mut rig = Rig::new();
    let past = rig.now().sure().unwrap().earliest.minus(Duration::from_secs(1));
    let spans = vec![KeySpan::point(key("k"))];
    rig.ask(Request::GoAhead { at: past, spans });
    for _ in 0..30 {
        rig.wait(SECOND / 2);
        rig.run();
        assert!(rig.serves(), "its promises need a lease");
    }
    for _ in 0..150 {
        rig.wait(SECOND / 2);
        rig.run();
    }
    assert!(!rig.serves(), "a minute later it lapses");
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
