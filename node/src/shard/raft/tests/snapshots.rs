use super::harness::{Cluster, R1, R2, R3, entry, fresh, id, voters};
use super::messages::{append, snapshot};
use crate::shard::raft::{MessageError, MessageKind, Role};
use proto::LogIndex;

/// R1 leads and has truncated what R3 lacks.
fn cluster_with_a_replica_behind() -> Cluster {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.cut_off(R3);
    for _ in 0..20 {
        cluster.propose(R1);
        cluster.settle();
    }
    cluster.checkpoint_and_truncate(R1);
    assert_eq!(cluster.group(R1).first_index(), LogIndex(22));
    cluster.heal();
    cluster
}

/// Until it is the next message from R1 to R3.
fn until_the_snapshot_leaves(cluster: &mut Cluster) {
    for _ in 0..50 {
        let next = cluster.links.get(&(R1, R3)).and_then(|link| link.front());
        match next.map(|next| next.message.kind) {
            Some(MessageKind::Snapshot) => return,
            Some(_) => {
                cluster.deliver((R1, R3));
            }
            None => cluster.tick(R1),
        }
        cluster.sync_one(R3);
        cluster.deliver((R3, R1));
    }
    panic!("R1 sends no snapshot");
}

#[test]
fn follower_behind_the_window_gets_a_snapshot_and_goes_on_from_there() {
    let mut cluster = cluster_with_a_replica_behind();
    cluster.pass(5);
    let sent = cluster.sent.iter().filter(|m| m.kind == MessageKind::Snapshot);
    let metas: Vec<_> = sent.map(|m| (m.to, m.snapshot.clone().unwrap())).collect();
    assert_eq!(metas.len(), 1, "one is enough");
    assert_eq!((metas[0].0, metas[0].1.last), (R3, id(1, 21)));
    assert_eq!(metas[0].1.membership, voters([1, 2, 3]));
    assert_eq!(cluster.group(R3).first_index(), LogIndex(22));
    assert_eq!(cluster.group(R3).applied_index(), LogIndex(21));
    assert!(cluster.group(R1).progress().iter().all(|p| !p.needs_snapshot));
    cluster.propose(R1);
    cluster.pass(3);
    assert_eq!(cluster.replicas[&R3].machine, cluster.replicas[&R1].machine);
    assert_eq!(cluster.replica(R3).machine.log.len(), 22);
}

#[test]
fn follower_that_waits_for_its_snapshot_is_reported_as_needing_it() {
    let mut cluster = cluster_with_a_replica_behind();
    until_the_snapshot_leaves(&mut cluster);
    let progress = cluster.group(R1).progress();
    assert_eq!(progress.iter().map(|p| p.needs_snapshot).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn snapshot_lost_on_the_way_is_sent_again() {
    let mut cluster = cluster_with_a_replica_behind();
    until_the_snapshot_leaves(&mut cluster);
    cluster.drop_one((R1, R3));
    assert_eq!(cluster.replica(R3).machine.applied, LogIndex(1));
    cluster.pass(10);
    assert_eq!(cluster.replica(R3).machine.applied, LogIndex(21));
    assert_eq!(cluster.sent.iter().filter(|m| m.kind == MessageKind::Snapshot).count(), 2);
}

#[test]
fn snapshot_lost_in_a_crash_of_the_receiver_is_sent_again() {
    // The state and the truncation are one record, the hard state another.
    for (records, applied) in [(0, 1), (1, 21), (2, 21)] {
        let mut cluster = cluster_with_a_replica_behind();
        until_the_snapshot_leaves(&mut cluster);
        cluster.deliver((R1, R3));
        cluster.crash(R3, records);
        cluster.start(R3);
        assert_eq!(cluster.group(R3).applied_index(), LogIndex(applied), "{records} records");
        cluster.converge();
    }
}

#[test]
fn snapshot_outdated_is_refused_without_a_trace() {
    let mut group = fresh(R1, voters([1, 2, 3]));
    let mut message = append(R2, R1, 1);
    message.entries = (1..=5).map(|index| entry(1, index, "a")).collect();
    message.commit = LogIndex(5);
    group.step(message).unwrap();
    let number = group.take_ready().unwrap().number;
    group.persisted(number);
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.committed.len(), 5);
    group.applied(LogIndex(5));

    group.step(snapshot(R2, R1, 1, id(1, 3))).unwrap();
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.snapshot_to_install, None);
    assert!(ready.entries_to_append.is_empty());
    assert_eq!(ready.messages_after_sync[0].index, LogIndex(5), "it says what it has");
    assert_eq!(group.last(), id(1, 5));
    assert_eq!(group.first_index(), LogIndex(1));
}

#[test]
fn snapshot_of_what_the_log_has_only_advances_the_commit_index() {
    let mut group = fresh(R1, voters([1, 2, 3]));
    let mut message = append(R2, R1, 1);
    message.entries = (1..=5).map(|index| entry(1, index, "a")).collect();
    group.step(message).unwrap();
    let number = group.take_ready().unwrap().number;
    group.persisted(number);
    group.step(snapshot(R2, R1, 1, id(1, 3))).unwrap();
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.snapshot_to_install, None);
    assert_eq!(ready.committed.len(), 3);
}

#[test]
fn snapshot_for_others_is_refused() {
    let mut group = fresh(R3, voters([]));
    let mut message = snapshot(R2, R3, 1, id(1, 3));
    message.snapshot.as_mut().unwrap().membership = voters([1, 2]);
    group.step(message).unwrap();
    assert_eq!(group.take_ready().unwrap().snapshot_to_install, None);
    assert_eq!(group.last().index, LogIndex(0));
}

#[test]
fn snapshot_being_installed_replaces_the_log_and_holds_elections_off() {
    let mut group = fresh(R1, voters([1, 2, 3]));
    let mut message = append(R2, R1, 1);
    message.entries = vec![entry(1, 1, "a"), entry(1, 2, "b")];
    group.step(message).unwrap();
    let first = group.take_ready().unwrap().number;
    group.step(snapshot(R3, R1, 2, id(2, 9))).unwrap();
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.snapshot_to_install.as_ref().unwrap().last, id(2, 9));
    assert!(ready.must_sync);
    assert_eq!(ready.hard_state.unwrap().commit, LogIndex(9));
    assert_eq!((group.first_index(), group.last()), (LogIndex(10), id(2, 9)));
    assert_eq!(ready.messages_after_sync[0].index, LogIndex(9), "acknowledged when installed");

    // Entries behind it arrive meanwhile.
    let mut message = append(R3, R1, 2);
    (message.index, message.log_term) = (LogIndex(9), proto::Term(2));
    message.entries = vec![entry(2, 10, "c")];
    message.commit = LogIndex(10);
    group.step(message).unwrap();
    let behind = group.take_ready().unwrap();
    assert_eq!(behind.entries_to_append, [entry(2, 10, "c")]);

    group.persisted(first);
    for _ in 0..60 {
        group.tick();
    }
    group.campaign();
    assert_eq!(group.role(), Role::Follower);
    assert_eq!(
        group.step(super::messages::timeout_now(R3, R1, 2)),
        Err(MessageError::CannotLeadYet { from: R3 })
    );
    assert_eq!(group.applied_index(), LogIndex(0));

    group.persisted(ready.number);
    assert_eq!(group.applied_index(), LogIndex(9));
    group.applied(LogIndex(4));
    assert_eq!(group.applied_index(), LogIndex(9), "a late report from before is ignored");
    assert_eq!(group.take_ready(), None, "entry 10 is not durable");
    group.persisted(behind.number);
    assert_eq!(group.take_ready().unwrap().committed, [entry(2, 10, "c")]);
    group.tick();
    assert_eq!(group.role(), Role::PreCandidate, "the time that passed meanwhile counts");
}

#[test]
fn new_replica_without_members_learns_them_from_its_snapshot() {
    let mut cluster = Cluster::with_members(1, voters([1, 2]), 1..=2);
    cluster.elect(R1);
    let mut group = fresh(R3, voters([]));
    group.step(snapshot(R1, R3, 1, id(1, 1))).unwrap();
    let ready = group.take_ready().unwrap();
    group.persisted(ready.number);
    assert_eq!(group.membership(), &voters([1, 2, 3]));
    assert_eq!(group.leader(), Some(R1));
}

#[test]
fn truncation_drops_the_prefix_and_keeps_the_last_term() {
    let mut cluster = Cluster::new(1, 1);
    cluster.elect(R1);
    for _ in 0..5 {
        cluster.propose(R1);
    }
    cluster.settle();
    let group = cluster.group(R1);
    group.truncate_through(id(1, 4));
    assert_eq!(group.first_index(), LogIndex(5));
    assert_eq!(group.term_of(LogIndex(4)), Some(proto::Term(1)));
    assert_eq!(group.term_of(LogIndex(3)), None);
    assert_eq!(group.last(), id(1, 6));
    assert_eq!(group.entries_from(LogIndex(1)).len(), 2);
    group.truncate_through(id(1, 2));
    assert_eq!(group.first_index(), LogIndex(5), "never backwards");
    group.truncate_through(id(1, 6));
    assert_eq!((group.first_index(), group.last()), (LogIndex(7), id(1, 6)));
    assert_eq!(cluster.propose(R1), Some(id(1, 7)));
    cluster.settle();
    assert_eq!(cluster.replica(R1).machine.applied, LogIndex(7));
}

#[test]
#[should_panic(expected = "truncation through 2 above applied 1")]
fn truncation_of_what_is_not_applied_panics() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.propose(R1);
    cluster.group(R1).truncate_through(id(1, 2));
}

#[test]
#[should_panic(expected = "the log has another entry at 1")]
fn truncation_through_another_term_panics() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.group(R1).truncate_through(id(2, 1));
}
