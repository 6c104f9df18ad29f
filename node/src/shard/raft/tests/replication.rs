use super::harness::{Cluster, R1, R2, R3, entry, fresh, id, voters};
use super::messages::append;
use crate::shard::raft::{
    MemberStep, MembershipChange, MembershipError, MessageKind, ProposeError, Role,
};
use crate::storage::record::{EntryKind, LogEntry, Membership};
use bytes::Bytes;
use proto::{LogIndex, ReplicaId};

#[test]
fn proposal_at_follower_is_refused_and_not_forwarded() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    let sent = cluster.sent.len();
    assert_eq!(
        cluster.group(R2).propose(Bytes::from_static(b"x")),
        Err(ProposeError::NotLeader { leader: Some(R1) })
    );
    cluster.settle();
    assert_eq!(cluster.sent.len(), sent, "nothing left because of it");
    assert_eq!(cluster.group(R1).last(), id(1, 1));
}

#[test]
fn proposal_returns_the_id_under_which_it_commits() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    let first = cluster.propose(R1).unwrap();
    let second = cluster.propose(R1).unwrap();
    assert_eq!((first, second), (id(1, 2), id(1, 3)));
    cluster.settle();
    assert_eq!(cluster.committed[&LogIndex(2)].data, "proposal 1 at r1");
    assert_eq!(cluster.committed[&LogIndex(3)].data, "proposal 2 at r1");
}

#[test]
fn proposals_beyond_the_limit_are_refused_until_some_commit() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    let group = cluster.group(R1);
    let kilobyte = Bytes::from(vec![1; 1024]);
    for _ in 0..4 {
        group.propose(kilobyte.clone()).unwrap();
    }
    assert_eq!(group.propose(kilobyte.clone()), Err(ProposeError::Overloaded));
    assert_eq!(group.last(), id(1, 5), "the refused one left no trace");
    cluster.run(R1);
    cluster.settle();
    cluster.group(R1).propose(kilobyte).unwrap();
}

#[test]
#[should_panic(expected = "a proposal has a payload")]
fn proposal_without_payload_panics() {
    let _ = fresh(R1, voters([1])).propose(Bytes::new());
}

#[test]
fn follower_far_behind_is_caught_up_in_messages_of_limited_size() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.cut_off(R3);
    for _ in 0..100 {
        cluster.propose(R1);
        cluster.settle();
    }
    cluster.heal();
    let before = cluster.sent.len();
    cluster.pass(10);
    assert_eq!(cluster.replica(R3).machine.applied, LogIndex(101));
    let appends = cluster.sent[before..].iter().filter(|m| m.kind == MessageKind::Append);
    for append in appends {
        let bytes: usize = append.entries.iter().map(|e| e.data.len()).sum();
        assert!(bytes <= 256 || append.entries.len() == 1, "{bytes} bytes in one message");
    }
}

#[test]
fn entry_larger_than_a_message_travels_alone() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.group(R1).propose(Bytes::from(vec![7; 2000])).unwrap();
    cluster.run(R1);
    cluster.settle();
    assert_eq!(cluster.replica(R3).machine.applied, LogIndex(2));
}

#[test]
fn payload_is_shared_not_copied() {
    let mut group = fresh(R1, voters([1, 2, 3]));
    let payload = Bytes::from(vec![9; 64]);
    let mut message = append(R2, R1, 1);
    message.entries =
        vec![LogEntry { id: id(1, 1), kind: EntryKind::Normal, data: payload.clone() }];
    group.step(message).unwrap();
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.entries_to_append[0].data.as_ptr(), payload.as_ptr());
}

#[test]
fn entry_kind_survives_the_way_through_raft() {
    let mut group = fresh(R1, voters([1, 2, 3]));
    let change = LogEntry { kind: EntryKind::Membership, ..entry(1, 2, "kept as it is") };
    let mut message = append(R2, R1, 1);
    message.entries = vec![entry(1, 1, "a"), change.clone()];
    group.step(message).unwrap();
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.entries_to_append, [entry(1, 1, "a"), change.clone()]);
    assert_eq!(group.entries_from(LogIndex(2)), [change]);
}

#[test]
fn progress_tells_how_far_each_follower_is() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.cut_off(R3);
    cluster.propose(R1);
    cluster.pass(12);
    let progress = cluster.group(R1).progress();
    assert_eq!(progress.iter().map(|p| p.replica).collect::<Vec<_>>(), [R2, R3]);
    assert_eq!(progress.iter().map(|p| p.matched.0).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(progress.iter().map(|p| p.recently_active).collect::<Vec<_>>(), [true, false]);
    assert!(cluster.group(R2).progress().is_empty(), "only a leader knows");
}

/// Hands entries to R1 as leader R2 would, all of them committed, and applies what comes out.
fn apply_at_follower(entries: Vec<LogEntry>) -> Vec<Result<Membership, MembershipError>> {
    let mut group = fresh(R1, voters([1, 2]));
    let mut message = append(R2, R1, 1);
    message.commit = entries.last().unwrap().id.index;
    message.entries = entries;
    group.step(message).unwrap();
    let mut results = Vec::new();
    while let Some(ready) = group.take_ready() {
        group.persisted(ready.number);
        for entry in ready.committed {
            results.push(group.apply_membership(&entry));
            assert_eq!(group.applied_index(), entry.id.index, "applied, whatever came of it");
        }
    }
    results
}

fn membership_entry(index: u64, steps: &[MemberStep]) -> LogEntry {
    let data = match steps {
        [] => Vec::new(),
        steps => postcard::to_stdvec(&MembershipChange { steps: steps.to_vec() }).unwrap(),
    };
    LogEntry { id: id(1, index), kind: EntryKind::Membership, data: data.into() }
}

#[test]
fn membership_change_goes_through_a_joint_configuration() {
    let steps = [MemberStep::Voter(R3), MemberStep::Learner(R2)];
    let results = apply_at_follower(vec![membership_entry(1, &steps), membership_entry(2, &[])]);
    let joint = Membership {
        voters: vec![R1, R3],
        voters_outgoing: vec![R1, R2],
        learners: vec![],
        learners_next: vec![R2],
        auto_leave: true,
    };
    let after = Membership { learners: vec![R2], ..voters([1, 3]) };
    assert_eq!(results, [Ok(joint), Ok(after)]);
}

#[test]
fn members_are_sorted() {
    let steps = [90, 7, 40, 23, 64].map(|replica| MemberStep::Voter(ReplicaId(replica)));
    let results = apply_at_follower(vec![membership_entry(1, &steps), membership_entry(2, &[])]);
    assert_eq!(results[1], Ok(voters([1, 2, 7, 23, 40, 64, 90])));
}

#[test]
fn membership_entry_without_sense_is_applied_without_effect() {
    let garbage = LogEntry {
        kind: EntryKind::Membership,
        data: Bytes::from_static(b"\xff\xff\xff"),
        ..entry(1, 2, "")
    };
    let remove_all = [MemberStep::Remove(R1), MemberStep::Remove(R2)];
    let results = apply_at_follower(vec![
        membership_entry(1, &[]),
        garbage,
        membership_entry(3, &remove_all),
    ]);
    assert!(matches!(results[0], Err(MembershipError::DoesNotFit { .. })), "{:?}", results[0]);
    assert!(matches!(results[1], Err(MembershipError::Undecodable { .. })), "{:?}", results[1]);
    assert!(matches!(results[2], Err(MembershipError::DoesNotFit { .. })), "{:?}", results[2]);
}

#[test]
#[should_panic(expected = "members change right behind the entry applied before")]
fn membership_entry_applied_out_of_order_panics() {
    let mut group = fresh(R1, voters([1, 2]));
    let _ = group.apply_membership(&membership_entry(2, &[]));
}

#[test]
fn leader_that_removes_itself_steps_down() {
    // The log ends with a change that removes R1; it is elected with it and then applies it.
    let mut cluster = Cluster::new(1, 2);
    cluster.elect(R2);
    let mut message = append(R2, R1, 1);
    (message.index, message.log_term) = (LogIndex(1), proto::Term(1));
    message.entries = vec![membership_entry(2, &[MemberStep::Remove(R1)])];
    cluster.group(R1).step(message).unwrap();
    cluster.run(R1);
    cluster.sync_one(R1);
    cluster.crash(R2, 0);
    cluster.start(R2);
    cluster.links.clear();
    cluster.elect(R1);
    cluster.settle();
    // Entry 2 makes it joint, entry 4 is the leader's own way out of that, without R1.
    cluster.pass(5);
    assert_eq!(cluster.group(R2).membership(), &voters([2]));
    assert_eq!(cluster.group(R1).membership(), &voters([2]));
    assert_eq!(cluster.group(R1).role(), Role::Follower);
    let answer = {
        let mut answer = append(R2, R1, cluster.group(R1).term().0);
        answer.kind = MessageKind::AppendResponse;
        answer
    };
    cluster.group(R1).step(answer).unwrap();
    cluster.group(R1).campaign();
    assert_eq!(cluster.group(R1).role(), Role::Follower, "it has no vote any more");
}
