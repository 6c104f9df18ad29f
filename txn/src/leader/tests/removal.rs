//! The removal of a shard (section 4).

use super::rig::*;
use super::*;

/// A shard without the catalog, whose leader holds a lease.
fn rig() -> Rig {
    let mut rig = Rig { state: ShardState::new(KeySpan::all()), ..Rig::bare() };
    rig.elect();
    let id = rig.id();
    rig.read_shared(id, "warm-up");
    rig.run();
    assert!(rig.serves());
    rig.ask(Request::Release { id, key: key("warm-up") });
    rig.replies.clear();
    rig
}

fn remove() -> Request {
    Request::Remove { key: key("k") }
}

fn is_removed(rig: &Rig, caller: u64) -> bool {
    rig.reply(caller) == Some(&Reply::Refused(Refusal::Removed))
}

fn proposes_removal(rig: &Rig) -> bool {
    rig.log.iter().any(|(_, entry)| entry.command == Command::Remove)
}

#[test]
fn removal_is_answered_once_its_entry_is_applied_and_ends_everything() {
    let mut rig = rig();
    let removed = rig.ask(remove());
    assert!(proposes_removal(&rig));
    assert_eq!(rig.reply(removed), None, "it is not applied yet");
    rig.run();
    assert!(is_removed(&rig, removed));
    assert!(rig.state.header().removed);
    let id = rig.id();
    for request in [
        Request::Lookup { id, coordinator: key("k"), asker: Asker::Client },
        Request::Lookup {
            id,
            coordinator: key("k"),
            asker: Asker::Participant { participants: vec![key("z")], digest: 1 },
        },
        Request::Resolve { id, key: key("k"), decision: Decision::Abort },
        remove(),
    ] {
        let caller = rig.ask(request);
        assert!(is_removed(&rig, caller));
    }
    let (read, commit) = (rig.read_shared(id, "k"), rig.commit_with(id, "k", Vec::new(), None));
    assert!(is_removed(&rig, read) && is_removed(&rig, commit));
    // Nothing more is proposed, by this leader or the next.
    let entries = rig.log.len();
    rig.wait(60 * SECOND);
    assert_eq!(rig.log.len(), entries);
    rig.elect();
    rig.run();
    let caller = rig.ask(remove());
    rig.wait(60 * SECOND);
    assert!(is_removed(&rig, caller));
    assert_eq!(rig.log.len(), entries + 1, "only its own first entry");
}

#[test]
fn removal_waits_for_what_is_prepared_and_is_given_up_after_a_while() {
    let mut rig = rig();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    let removed = rig.ask(remove());
    rig.wait(50 * MILLISECOND);
    assert_eq!(rig.reply(removed), None);
    rig.wait(60 * MILLISECOND);
    assert!(matches!(rig.reply(removed), Some(Reply::Refused(Refusal::Overloaded { .. }))));
    assert!(!proposes_removal(&rig));
    assert!(rig.serves(), "it goes on as before");
    // With the outcome in time it is removed.
    let removed = rig.ask(remove());
    rig.resolve(id, "k", Decision::Abort);
    assert!(!proposes_removal(&rig), "the outcome is not applied yet");
    rig.run();
    assert!(proposes_removal(&rig));
    assert!(is_removed(&rig, removed));
}

#[test]
fn removal_waits_until_participants_have_applied_every_outcome() {
    let mut rig = rig();
    let id = rig.id();
    rig.read_for_update(id, "k");
    let p = START + 2 * MILLISECOND;
    rig.commit(id, "k", vec![participant("z", p, None)]);
    rig.run();
    let removed = rig.ask(remove());
    rig.wait(20 * MILLISECOND);
    assert!(!rig.state.awaiting().is_empty());
    assert!(!proposes_removal(&rig), "z has not applied the commit");
    let told = rig.answer_calls(|r| matches!(r, Request::Resolve { .. }), &Ok(Reply::Resolved));
    assert_eq!(told, 1);
    rig.wait(60 * MILLISECOND);
    rig.run();
    assert!(is_removed(&rig, removed));
}

#[test]
fn removal_waits_until_the_assigned_commits_have_passed() {
    let mut rig = rig();
    let id = rig.id();
    rig.read_for_update(id, "k");
    let commit = rig.commit(id, "k", Vec::new());
    let removed = rig.ask(remove());
    rig.run();
    assert!(!proposes_removal(&rig), "the commit wait is not over");
    rig.wait(10 * MILLISECOND);
    assert!(rig.committed(commit).is_some(), "whoever committed hears of it");
    rig.run();
    assert!(is_removed(&rig, removed));
}

#[test]
fn leader_that_removes_grants_nothing_and_fails_what_waits() {
    let mut rig = rig();
    let (holder, waiter) = (rig.id(), rig.id());
    rig.read_for_update(holder, "k");
    let waiting = rig.read_for_update(waiter, "k");
    assert_eq!(rig.reply(waiting), None);
    let prepared = rig.id();
    rig.prepare(prepared, "p");
    rig.run();
    rig.ask(remove());
    let refused = |rig: &Rig, caller| {
        matches!(rig.reply(caller), Some(Reply::Refused(Refusal::NotLeader { .. })))
    };
    assert!(refused(&rig, waiting));
    let id = rig.id();
    let asked = rig.read_shared(id, "other");
    assert!(refused(&rig, asked));
    assert!(!rig.was_read(asked));
}

#[test]
fn removal_of_an_epoch_that_is_over_has_no_effect() {
    let mut rig = rig();
    rig.ask(remove());
    assert!(proposes_removal(&rig));
    // Another leader's lease comes first.
    let (_, removal) = rig.log.pop().unwrap();
    rig.elect();
    rig.run();
    rig.wait(5 * SECOND);
    let id = rig.id();
    rig.read_shared(id, "k");
    rig.run();
    rig.log.push((Term(rig.term), removal));
    rig.run();
    assert!(!rig.state.header().removed);
    assert!(rig.serves());
}

#[test]
fn hand_over_comes_before_a_removal_that_is_not_proposed() {
    let mut rig = rig();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    let removed = rig.ask(remove());
    rig.hand_over();
    assert!(matches!(rig.reply(removed), Some(Reply::Refused(Refusal::NotLeader { .. }))));
    rig.wait(200 * MILLISECOND);
    rig.run();
    assert!(rig.handed_over);
}

#[test]
fn system_shard_is_never_removed() {
    let mut rig = Rig::new();
    let removed = rig.ask(Request::Remove { key: key(CATALOG) });
    assert!(matches!(rig.reply(removed), Some(Reply::Refused(Refusal::Invalid { .. }))));
}

#[test]
fn participant_in_doubt_takes_abort_where_its_coordinator_was_removed() {
    let mut rig = rig();
    let (writes, reads) = (rig.id(), rig.id());
    rig.read_shared(reads, "r");
    rig.prepare_reads(reads, "r");
    rig.prepare(writes, "k");
    rig.run();
    rig.wait(11 * SECOND);
    rig.run();
    let lookups = |r: &Request| matches!(r, Request::Lookup { .. });
    let asked = rig.answer_calls(lookups, &Ok(Reply::Refused(Refusal::Removed)));
    assert!(asked > 0);
    rig.run();
    assert!(rig.state.prepared().is_empty());
    assert!(rig.versions.is_empty(), "nothing was installed");
    assert_eq!(rig.leader.transactions(), 0);
}

#[test]
fn coordinator_counts_a_removed_participant_as_applied() {
    let mut rig = rig();
    let id = rig.id();
    rig.read_for_update(id, "k");
    rig.commit(id, "k", vec![participant("z", START + 2 * MILLISECOND, None)]);
    rig.run();
    rig.wait(10 * MILLISECOND);
    let refused = Ok(Reply::Refused(Refusal::Removed));
    assert_eq!(rig.answer_calls(|r| matches!(r, Request::Resolve { .. }), &refused), 1);
    rig.wait(60 * MILLISECOND);
    rig.run();
    assert!(rig.state.awaiting().is_empty());
}

#[test]
#[should_panic(expected = "a shard is removed with nothing prepared")]
fn entry_that_removes_a_shard_with_something_prepared_is_a_bug() {
    let mut rig = rig();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    let epoch = rig.state.header().lease.map(|lease| lease.epoch);
    rig.log.push((Term(rig.term), Entry { epoch, ..Entry::fact(Command::Remove) }));
    rig.run();
}
