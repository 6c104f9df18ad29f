//! Outcomes are found, never guessed (TRANSACTIONS.md section 4).

use super::rig::{MILLISECOND, Rig, SECOND, START, attempt, key, participant};
use super::*;

fn question(id: TxnId) -> Request {
    let asker = Asker::Participant { participants: vec![key("p")], digest: 7 };
    Request::Lookup { id, coordinator: key("k"), asker }
}

fn is_question(request: &Request) -> bool {
    matches!(request, Request::Lookup { asker: Asker::Participant { .. }, .. })
}

fn committed(commit_ts: Timestamp, participants: Vec<Participant>) -> Reply {
    Reply::Outcome(Outcome::Committed { commit_ts, participants, commit_wait: 0 })
}

#[test]
fn participant_in_doubt_is_told_nothing_before_commit_wait() {
    // Section 9.5: also by the next leader, whose clock is slower.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.commit(id, "k", vec![participant("p", START, None)]);
    rig.run();
    let asked = rig.ask(question(id));
    assert_eq!(rig.reply(asked), Some(&Reply::Outcome(Outcome::InProgress)));
    rig.elect();
    rig.offset = -500_000;
    rig.run();
    let asked = rig.ask(question(id));
    assert_eq!(rig.reply(asked), Some(&Reply::Outcome(Outcome::InProgress)));
    rig.wait(4 * MILLISECOND);
    let asked = rig.ask(question(id));
    let commit_ts = rig.commit_ts(&id).unwrap();
    let told = committed(commit_ts, vec![participant("p", START, None)]);
    assert_eq!(rig.reply(asked), Some(&told));
}

#[test]
fn participant_in_doubt_stays_prepared_until_its_coordinator_knows() {
    // Section 9.11, T38: whatever else it hears, for however long.
    let mut rig = Rig::new();
    let id = rig.id();
    let first = rig.prepare(id, "k");
    rig.run();
    let Some(Reply::Prepared { prepare_ts, .. }) = rig.reply(first).cloned() else { panic!() };
    let commit_ts = prepare_ts.next();
    let answers = [
        Err(Unanswered),
        Ok(Reply::Outcome(Outcome::InProgress)),
        Ok(Reply::Outcome(Outcome::NoLongerKnown)),
        Ok(Reply::Refused(Refusal::NotLeader { hint: None })),
        Ok(Reply::Refused(Refusal::WrongShard)),
        Ok(Reply::Aborted { reason: AbortReason::LocksLost }),
        Ok(committed(commit_ts, Vec::new())),
        Ok(committed(commit_ts, vec![participant("other", prepare_ts.nanos(), None)])),
    ];
    for (round, answer) in answers.iter().cycle().take(70).enumerate() {
        rig.true_time += 11 * SECOND;
        if round % 7 == 6 {
            rig.reload();
            rig.elect();
        }
        rig.run();
        assert_eq!(rig.answer_calls(is_question, answer), 1, "round {round}: it asks again");
        rig.run();
        let other = rig.id_now();
        let read = rig.read_shared(other, "k");
        rig.run();
        assert!(rig.state.prepared().contains_key(&id), "{answer:?}");
        assert!(!rig.was_read(read), "{answer:?}");
        // What lies below p is settled, and is read.
        let below = rig.snapshot(prepare_ts.prev(), "k");
        assert!(rig.was_read(below), "{answer:?}");
        rig.ask(Request::Release { id: other, key: key("k") });
    }
    rig.true_time += 11 * SECOND;
    rig.run();
    let told = Ok(committed(commit_ts, vec![participant("k", prepare_ts.nanos(), None)]));
    assert_eq!(rig.answer_calls(is_question, &told), 1);
    rig.run();
    assert!(rig.state.prepared().is_empty());
    assert_eq!(rig.versions.last().map(|version| version.timestamp), Some(commit_ts));
}

#[test]
fn participant_whose_prepare_is_a_late_duplicate_drops_it_when_it_asks() {
    // Section 9.11, T37: the outcome names another p than the one it holds.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    let held = rig.state.prepared()[&id].prepare_ts;
    rig.true_time += 11 * SECOND;
    rig.run();
    let told = Ok(committed(held.next(), vec![participant("k", held.nanos() - 1, None)]));
    assert_eq!(rig.answer_calls(is_question, &told), 1);
    rig.run();
    assert!(rig.state.prepared().is_empty() && rig.versions.is_empty());
}

#[test]
fn new_leader_asks_about_what_it_finds_prepared_and_names_all() {
    // Section 9.11: without waiting for the idle timeout.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    assert!(rig.calls.is_empty());
    rig.elect();
    rig.run();
    let asker = Asker::Participant { participants: vec![key("k")], digest: 1 };
    let wanted = Request::Lookup { id, coordinator: key("a-coordinator"), asker };
    assert_eq!(rig.calls.iter().filter(|(_, request)| *request == wanted).count(), 1);
}

#[test]
fn participant_in_doubt_is_answered_from_a_logged_abort_at_any_age() {
    // Past the horizon everybody else hears that nothing is known any more.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.true_time += 700 * SECOND;
    let asked = rig.ask(question(id));
    let wound = Request::Wound {
        victim: id,
        coordinator: key("k"),
        participants: vec![key("p")],
        by: TxnId::default(),
    };
    let wound = rig.ask(wound);
    assert!(rig.reply(asked).is_none(), "the abort is logged first");
    rig.run();
    let again = rig.ask(question(id));
    for asked in [asked, wound, again] {
        let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::InDoubt });
        let answers = rig.replies.iter().filter(|(to, _)| *to == asked);
        assert!(answers.clone().count() == 1, "{:?}", answers.collect::<Vec<_>>());
        if asked != wound {
            assert_eq!(rig.reply(asked), Some(&aborted));
        }
    }
    let lookup = Request::Lookup { id, coordinator: key("k"), asker: Asker::Client };
    let lookup = rig.ask(lookup);
    assert_eq!(rig.reply(lookup), Some(&Reply::Outcome(Outcome::NoLongerKnown)));
}

#[test]
fn shard_that_knows_an_id_in_one_role_refuses_it_in_the_other() {
    // T40.
    let mut rig = Rig::new();
    let (prepared, promised, committing) = (rig.id(), rig.id(), rig.id());
    rig.prepare(prepared, "k");
    rig.read_shared(promised, "r");
    rig.prepare_reads(promised, "r");
    rig.commit(committing, "c", Vec::new());
    let invalid = |rig: &Rig, caller| {
        matches!(rig.reply(caller), Some(Reply::Refused(Refusal::Invalid { .. })))
    };
    let check = |rig: &mut Rig, when: &str| {
        for id in [prepared, promised] {
            let commit = rig.commit(id, "k", Vec::new());
            assert!(invalid(rig, commit), "{when}: {:?}", rig.reply(commit));
        }
        let prepare = rig.prepare(committing, "c");
        assert!(invalid(rig, prepare), "{when}: {:?}", rig.reply(prepare));
    };
    check(&mut rig, "in flight");
    rig.run();
    check(&mut rig, "applied");
    rig.wait(SECOND / 10);
    let prepare = rig.prepare(committing, "c");
    assert!(invalid(&rig, prepare), "committed: {:?}", rig.reply(prepare));
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let commit = rig.commit(prepared, "k", Vec::new());
    let prepare = rig.prepare(committing, "c");
    assert!(invalid(&rig, commit) && invalid(&rig, prepare));
    assert_eq!(rig.commit_ts(&prepared), None);
    assert!(!rig.state.prepared().contains_key(&committing));
}

#[test]
fn unsettled_leader_says_nothing_of_what_may_stand_in_its_log() {
    // T8: an extension of the old lease, a commit and a prepare are in the log and not applied yet.
    let mut rig = Rig::new();
    let (committed, prepared) = (rig.id(), rig.id());
    rig.true_time += SECOND + SECOND / 2;
    let entries = rig.log.len();
    rig.commit(committed, "k", Vec::new());
    rig.prepare(prepared, "p");
    assert!(rig.log[entries..].iter().any(|(_, entry)| entry.extend.is_some()));
    rig.elect();
    let entries = rig.log.len();
    rig.true_time = rig.lease_end().nanos() + 2 * MILLISECOND;
    let reader = rig.id();
    let read = rig.read_shared(reader, "p");
    let asked = rig.ask(question(committed));
    let client = Request::Lookup { id: committed, coordinator: key("k"), asker: Asker::Client };
    let client = rig.ask(client);
    let resolved = rig.resolve(prepared, "p", Decision::Abort);
    let alive = Request::KeepAlive { attempt: attempt(prepared, None), key: key("p") };
    let alive = rig.ask(alive);
    rig.tick();
    assert_eq!(rig.log.len(), entries, "no lease, no abort, no outcome is proposed");
    assert!(!rig.was_read(read));
    for caller in [asked, client, resolved, alive] {
        assert!(!matches!(rig.reply(caller), Some(Reply::Outcome(_) | Reply::Resolved)));
    }
    rig.run();
    assert!(!rig.serves(), "the old lease ends later than it seemed");
    rig.true_time = rig.lease_end().nanos() + 2 * MILLISECOND;
    rig.run();
    rig.run();
    assert!(rig.state.prepared().is_empty() && rig.reply(resolved) == Some(&Reply::Resolved));
    assert!(rig.committed(asked).is_some() && rig.committed(client).is_some());
    assert!(rig.was_read(read));
}

#[test]
fn participant_that_prepared_other_writes_under_a_committed_id_is_told_to_abort() {
    // Two gateways, one single-use id: what the second prepared is no part of what the first committed.
    let mut rig = Rig::new();
    let id = rig.id();
    let commit = rig.commit_with(id, "k", Vec::new(), None);
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(commit).is_some());
    let ask = |digest| {
        let asker = Asker::Participant { participants: vec![key("p")], digest };
        Request::Lookup { id, coordinator: key("k"), asker }
    };
    let (own, other) = (rig.ask(ask(7)), rig.ask(ask(8)));
    assert!(rig.committed(own).is_some());
    let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::Refused });
    assert_eq!(rig.reply(other), Some(&aborted));
}
