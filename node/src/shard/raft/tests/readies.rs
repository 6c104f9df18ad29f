use super::harness::{Cluster, R1, R2, R3, entry, fresh, id, voters};
use super::messages::append;
use crate::shard::raft::{Message, MessageKind, RaftGroup, Ready, Role, Standing};
use crate::storage::record::HardState;
use proto::{LogIndex, ReplicaId, Term};

fn follower() -> RaftGroup {
    fresh(R1, voters([1, 2, 3]))
}

fn acknowledged(messages: &[Message]) -> Vec<u64> {
    messages
        .iter()
        .filter(|m| m.kind == MessageKind::AppendResponse && !m.reject)
        .map(|m| m.index.0)
        .collect()
}

fn take(group: &mut RaftGroup) -> Ready {
    group.take_ready().expect("there is something to do")
}

#[test]
fn ready_of_a_follower_acknowledges_after_sync_only() {
    let mut group = follower();
    let mut message = append(R2, R1, 1);
    message.entries = vec![entry(1, 1, "a")];
    message.commit = LogIndex(1);
    group.step(message).unwrap();
    let ready = take(&mut group);
    assert_eq!(ready.entries_to_append, [entry(1, 1, "a")]);
    assert_eq!(
        ready.hard_state,
        Some(HardState { term: Term(1), vote: None, commit: LogIndex(1) })
    );
    assert_eq!(
        ready.standing,
        Some(Standing { role: Role::Follower, leader: Some(R2), term: Term(1) })
    );
    assert!(ready.must_sync);
    assert!(ready.messages_now.is_empty());
    assert_eq!(acknowledged(&ready.messages_after_sync), [1]);
    assert!(ready.committed.is_empty(), "committed, but not durable here (T56)");
    assert_eq!(group.take_ready(), None);
    group.persisted(ready.number);
    assert_eq!(take(&mut group).committed, [entry(1, 1, "a")]);
    assert_eq!(group.take_ready(), None, "each entry is handed out once");
}

#[test]
fn ready_that_repeats_an_acknowledgement_has_a_later_number() {
    // The second ready has nothing to write, but its acknowledgement is for what the first writes:
    // it may leave only when both numbers are persisted (T39).
    let mut group = follower();
    let mut message = append(R2, R1, 1);
    message.entries = vec![entry(1, 1, "a")];
    group.step(message.clone()).unwrap();
    let first = take(&mut group);
    group.step(message).unwrap();
    let second = take(&mut group);
    assert!(!second.must_sync);
    assert_eq!(acknowledged(&second.messages_after_sync), [1]);
    assert!(second.messages_now.is_empty());
    assert!(second.number > first.number);
}

#[test]
fn readies_in_flight_are_persisted_by_the_last_number() {
    let mut group = follower();
    let mut numbers = Vec::new();
    for index in 1..=3 {
        let mut message = append(R2, R1, 1);
        (message.index, message.log_term) = (LogIndex(index - 1), Term(u64::from(index > 1)));
        message.entries = vec![entry(1, index, "a")];
        message.commit = LogIndex(3);
        group.step(message).unwrap();
        numbers.push(take(&mut group).number);
    }
    group.persisted(numbers[1]);
    let committed = take(&mut group).committed;
    assert_eq!(committed.iter().map(|e| e.id.index.0).collect::<Vec<_>>(), [1, 2]);
    group.persisted(numbers[2]);
    assert_eq!(take(&mut group).committed.len(), 1);
}

#[test]
fn committed_entries_come_in_pieces_of_limited_size() {
    let mut group = follower();
    let mut message = append(R2, R1, 1);
    let piece = "sixty bytes of payload, so that two go into one hundred 128";
    message.entries = (1..=5).map(|index| entry(1, index, piece)).collect();
    message.commit = LogIndex(5);
    group.step(message).unwrap();
    let number = take(&mut group).number;
    group.persisted(number);
    let mut handed_out = Vec::new();
    while let Some(ready) = group.take_ready() {
        assert!(ready.committed.len() <= 2, "{} entries", ready.committed.len());
        handed_out.extend(ready.committed);
    }
    assert_eq!(handed_out.len(), 5);
}

#[test]
fn entry_replaced_and_come_back_is_not_durable_before_its_last_write() {
    // Leader of term 1 appends [1@1], one of term 2 replaces it, one of term 3 brings it back: three
    // writes under way. When the first is durable, entry 1@1 is in the log and on the disk, but the
    // second write is about to take it away again (T55).
    let mut group = follower();
    let mut numbers = Vec::new();
    for (leader, term, first) in [(R2, 1, entry(1, 1, "a")), (R3, 2, entry(2, 1, "b"))] {
        let mut message = append(leader, R1, term);
        message.entries = vec![first];
        group.step(message).unwrap();
        numbers.push(take(&mut group).number);
    }
    let mut message = append(R2, R1, 3);
    message.entries = vec![entry(1, 1, "a"), entry(3, 2, "c")];
    message.commit = LogIndex(2);
    group.step(message).unwrap();
    numbers.push(take(&mut group).number);

    for number in &numbers[..2] {
        group.persisted(*number);
        assert_eq!(group.take_ready(), None, "nothing to apply after {number}");
    }
    group.persisted(numbers[2]);
    assert_eq!(take(&mut group).committed, [entry(1, 1, "a"), entry(3, 2, "c")]);
}

#[test]
fn leader_sends_appends_before_its_own_sync_and_commits_without_it() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.propose(R1);
    let appends: Vec<_> =
        cluster.sent.iter().filter(|m| m.entries.iter().any(|e| e.id == id(1, 2))).collect();
    assert_eq!(appends.iter().map(|m| m.to).collect::<Vec<_>>(), [R2, R3], "at once, in order");
    assert!(!cluster.replica(R1).batches.is_empty(), "R1's own disk has not synced");

    // Both followers acknowledge: committed without the leader, but not applied by it (T56).
    for follower in [R2, R3] {
        cluster.deliver((R1, follower));
        cluster.sync_one(follower);
        cluster.deliver((follower, R1));
    }
    assert_eq!(cluster.group(R1).commit_index(), LogIndex(2));
    assert_eq!(cluster.replica(R1).machine.applied, LogIndex(1));
    cluster.settle();
    assert_eq!(cluster.replica(R1).machine.applied, LogIndex(2));
}

#[test]
fn new_leader_sends_nothing_while_an_answer_of_its_candidacy_is_unsynced() {
    // Messages now would overtake the answer on its link.
    let mut cluster = Cluster::new(1, 3);
    cluster.group(R1).campaign();
    cluster.run(R1);
    while cluster.group(R1).role() != Role::Candidate {
        cluster.sync_one(R1);
        cluster.deliver((R1, R2));
        cluster.sync_one(R2);
        cluster.deliver((R2, R1));
    }
    cluster.sync_one(R1);
    let rival = super::messages::request_vote(R3, R1, 1);
    cluster.group(R1).step(rival).unwrap();
    cluster.run(R1);
    assert_eq!(cluster.replica(R1).batches.len(), 1, "the refusal waits for the disk");
    cluster.deliver((R1, R2));
    cluster.sync_one(R2);
    cluster.deliver((R2, R1));
    assert!(cluster.group(R1).is_leader());
    assert!(!cluster.sent.iter().any(|m| m.kind == MessageKind::Append), "its appends wait too");
    cluster.sync_one(R1);
    let kinds: Vec<_> =
        cluster.sent.iter().filter(|m| (m.from, m.to) == (R1, R3)).map(|m| m.kind).collect();
    let refusal = kinds.iter().position(|kind| *kind == MessageKind::RequestVoteResponse);
    let append = kinds.iter().position(|kind| *kind == MessageKind::Append);
    assert!(refusal.is_some() && refusal < append, "{kinds:?}");
}

#[test]
fn messages_of_one_ready_are_ordered_by_receiver() {
    let mut cluster = Cluster::new(1, 7);
    cluster.elect(ReplicaId(4));
    cluster.sent.clear();
    cluster.propose(ReplicaId(4));
    let receivers: Vec<_> = cluster.sent.iter().map(|m| m.to.0).collect();
    assert_eq!(receivers, [1, 2, 3, 5, 6, 7]);
}

#[test]
#[should_panic(expected = "ready 1 is persisted after 1")]
fn persisted_twice_panics() {
    let mut group = follower();
    group.step(append(R2, R1, 1)).unwrap();
    let number = take(&mut group).number;
    group.persisted(number);
    group.persisted(number);
}

#[test]
#[should_panic(expected = "the newest is 0")]
fn persisted_before_it_was_handed_out_panics() {
    follower().persisted(1);
}

#[test]
#[should_panic(expected = "applied 1 but only 0 was handed out")]
fn applied_before_it_was_handed_out_panics() {
    follower().applied(LogIndex(1));
}
