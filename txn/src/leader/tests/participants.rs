//! Prepare, doubt and the outcome at a participant.

use super::rig::{Rig, SECOND, attempt, key};
use super::*;

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
    let asker = Asker::Participant { participants: vec![key("p")], digest: 1 };
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
fn prepare_of_other_writes_under_a_known_id_is_refused() {
    // Section 4: two gateways that drive one single-use id with different writes must not share a prepare. While
    // it is in flight, once it is prepared, and at the next leader.
    let mut rig = Rig::new();
    let id = rig.id();
    let first = rig.prepare_of(id, "k", 1);
    let in_flight = rig.prepare_of(id, "k", 2);
    rig.run();
    let prepared = rig.prepare_of(id, "k", 2);
    rig.reload();
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let restored = rig.prepare_of(id, "k", 2);
    rig.run();
    for other in [in_flight, prepared, restored] {
        assert_eq!(rig.reply(other), Some(&Reply::Refused(contradiction())));
    }
    assert!(matches!(rig.reply(first), Some(Reply::Prepared { .. })));
    let same = rig.prepare_of(id, "k", 1);
    assert_eq!(rig.reply(same), rig.reply(first));
}

#[test]
fn read_only_participant_refuses_a_prepare_of_other_writes() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_shared(id, "k");
    let promised = rig.prepare_reads(id, "k");
    assert!(matches!(rig.reply(promised), Some(Reply::Prepared { .. })));
    let other = rig.prepare_of(id, "k", 2);
    assert_eq!(rig.reply(other), Some(&Reply::Refused(contradiction())));
}

#[test]
fn prepared_transaction_stays_alive_under_its_grant_at_the_next_leader() {
    // A new leader restores the grant pair with the locks: its gateway still asks by it.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_for_update(id, "k");
    let grant = rig.grant(id);
    rig.prepare(id, "k");
    rig.run();
    rig.reload();
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let alive = rig.ask(Request::KeepAlive { attempt: attempt(id, grant), key: key("k") });
    assert_eq!(rig.reply(alive), Some(&Reply::Alive));
}
