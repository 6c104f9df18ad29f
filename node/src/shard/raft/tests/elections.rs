use super::harness::{Cluster, R1, R2, R3, config, entry, fresh, id, voters};
use crate::shard::raft::{MessageKind, ProposeError, RaftGroup, Role, TransferError};
use crate::storage::record::HardState;
use bytes::Bytes;
use proto::{EntryId, LogIndex, ReplicaId, Term};

#[test]
fn group_three_idle_elects_one_leader_that_commits_its_empty_entry() {
    let mut cluster = Cluster::new(1, 3);
    cluster.pass(40);
    let leader = cluster.leader().expect("somebody leads");
    assert_eq!(cluster.committed.len(), 1, "the leader's own entry");
    assert!(cluster.committed[&LogIndex(1)].data.is_empty());
    for replica in cluster.ids() {
        assert_eq!(cluster.group(replica).leader(), Some(leader));
        assert_eq!(cluster.group(replica).commit_index(), LogIndex(1));
    }
}

#[test]
fn group_of_one_campaigns_leads_and_commits_when_durable() {
    let mut cluster = Cluster::new(1, 1);
    cluster.group(R1).campaign();
    cluster.run(R1);
    assert!(cluster.group(R1).is_leader());
    assert_eq!(cluster.group(R1).commit_index(), LogIndex(0), "nothing is durable yet");
    cluster.settle();
    assert_eq!(cluster.propose(R1), Some(id(1, 2)));
    assert_eq!(cluster.group(R1).commit_index(), LogIndex(1), "the entry is not durable yet");
    cluster.settle();
    assert_eq!(cluster.replica(R1).machine.applied, LogIndex(2));
}

#[test]
fn group_of_one_with_unsynced_log_does_not_campaign() {
    // A follower that was left as the only voter, with an entry that is not durable. The crate
    // would make it leader at once, and panic over the unsynced tail.
    let mut group = fresh(R1, voters([1]));
    let mut append = super::messages::append(R2, R1, 1);
    append.entries = vec![entry(1, 1, "a")];
    group.step(append).unwrap();
    group.campaign();
    assert_eq!(group.role(), Role::Follower, "not even handed out");
    let ready = group.take_ready().unwrap();
    for _ in 0..50 {
        group.tick();
    }
    group.campaign();
    assert_eq!(group.role(), Role::Follower, "handed out, not durable");
    group.persisted(ready.number);
    group.tick();
    assert_eq!(group.role(), Role::Leader, "the time that passed meanwhile counts");
}

#[test]
fn vote_granted_leaves_only_after_sync() {
    let mut cluster = Cluster::new(1, 3);
    cluster.group(R1).campaign();
    cluster.run(R1);
    cluster.sync_one(R1);
    // The pre-vote binds nobody, yet waits too: whatever a follower sends does.
    cluster.deliver((R1, R2));
    cluster.sync_one(R2);
    cluster.deliver((R2, R1));
    assert_eq!(cluster.group(R1).role(), Role::Candidate);
    assert!(!cluster.sent.iter().any(|m| m.kind == MessageKind::RequestVote));
    cluster.sync_one(R1);
    assert!(cluster.sent.iter().any(|m| m.kind == MessageKind::RequestVote));

    cluster.deliver((R1, R2));
    let votes = |cluster: &Cluster| {
        cluster.sent.iter().filter(|m| m.kind == MessageKind::RequestVoteResponse).count()
    };
    assert_eq!(votes(&cluster), 0, "the vote is not durable");
    cluster.sync_one(R2);
    assert_eq!(votes(&cluster), 1);
    cluster.settle();
    assert!(cluster.group(R1).is_leader());
}

#[test]
fn vote_lost_in_crash_may_be_given_to_another() {
    let mut cluster = Cluster::new(1, 3);
    cluster.cut_off(R3);
    cluster.group(R1).campaign();
    cluster.run(R1);
    for _ in 0..2 {
        cluster.sync_one(R1);
        cluster.deliver((R1, R2));
        if cluster.group(R1).role() == Role::PreCandidate {
            cluster.sync_one(R2);
            cluster.deliver((R2, R1));
        }
    }
    assert_eq!(cluster.group(R2).term(), Term(1), "R2 has voted, in memory");
    cluster.crash(R2, 0);
    cluster.start(R2);
    assert_eq!(cluster.group(R2).term(), Term(0), "the vote is gone, and nobody was told");
    cluster.converge();
}

#[test]
fn vote_durable_survives_crash() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.crash(R2, 0);
    cluster.start(R2);
    assert_eq!(cluster.replica(R2).disk.hard_state.vote, Some(R1));
    let mut request = super::messages::request_vote(R3, R2, 1);
    (request.index, request.log_term) = (LogIndex(9), Term(1));
    cluster.group(R2).step(request).unwrap();
    let ready = cluster.group(R2).take_ready().unwrap();
    assert!(ready.messages_after_sync.iter().all(|m| m.reject), "one vote in a term");
}

#[test]
fn isolated_replica_returning_does_not_disturb_the_leader() {
    let mut cluster = Cluster::new(3, 3);
    cluster.elect(R1);
    cluster.cut_off(R3);
    cluster.pass(200);
    assert_eq!(cluster.group(R3).role(), Role::PreCandidate);
    assert_eq!(cluster.group(R3).term(), Term(1), "a pre-vote raises no term");
    cluster.heal();
    cluster.pass(50);
    assert!(cluster.group(R1).is_leader());
    assert_eq!(cluster.group(R1).term(), Term(1));
    assert_eq!(cluster.group(R3).leader(), Some(R1));
}

#[test]
fn candidate_is_refused_while_the_leader_lives() {
    let mut cluster = Cluster::new(3, 3);
    cluster.elect(R1);
    let mut request = super::messages::request_vote(R3, R2, 9);
    (request.index, request.log_term) = (LogIndex(5), Term(8));
    cluster.group(R2).step(request).unwrap();
    assert_eq!(cluster.group(R2).term(), Term(1), "ignored altogether");
}

#[test]
fn isolated_leader_steps_down_within_two_election_timeouts() {
    let mut cluster = Cluster::new(2, 3);
    cluster.elect(R1);
    cluster.cut_off(R1);
    for _ in 0..20 {
        cluster.tick(R1);
    }
    assert_eq!(cluster.group(R1).role(), Role::Follower);
    assert_eq!(
        cluster.group(R1).propose(Bytes::from_static(b"late")),
        Err(ProposeError::NotLeader { leader: None })
    );
    cluster.pass(60);
    let leader = cluster.leader().expect("the others go on");
    assert_ne!(leader, R1);
    cluster.converge();
}

#[test]
fn leadership_is_transferred_to_a_caught_up_voter() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    let proposed = cluster.propose(R1).unwrap();
    cluster.group(R1).transfer_leadership(R2).unwrap();
    cluster.run(R1);
    assert_eq!(
        cluster.group(R1).propose(Bytes::from_static(b"late")),
        Err(ProposeError::HandingOver { to: R2 })
    );
    cluster.settle();
    assert!(cluster.group(R2).is_leader(), "despite the vote lease of R3 (T6)");
    assert_eq!(cluster.group(R2).term(), Term(2));
    assert_eq!(cluster.group(R2).term_of(proposed.index), Some(proposed.term));
    cluster.converge();
}

#[test]
fn leadership_transfer_that_fails_is_given_up() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.cut_off(R2);
    cluster.propose(R1);
    cluster.group(R1).transfer_leadership(R2).unwrap();
    cluster.pass(11);
    assert!(cluster.propose(R1).is_some(), "proposals are taken again");
}

#[test]
fn leadership_transfer_to_oneself_or_a_stranger_is_refused() {
    let mut cluster = Cluster::new(1, 3);
    assert_eq!(
        cluster.group(R1).transfer_leadership(R2),
        Err(TransferError::NotLeader { leader: None })
    );
    cluster.elect(R1);
    for to in [R1, ReplicaId(9)] {
        assert_eq!(
            cluster.group(R1).transfer_leadership(to),
            Err(TransferError::NotAnotherVoter { to })
        );
    }
    assert_eq!(
        cluster.group(R2).transfer_leadership(R3),
        Err(TransferError::NotLeader { leader: Some(R1) })
    );
}

#[test]
fn lone_voter_sends_nothing_in_a_term_that_is_not_durable() {
    // R1 votes alone and elects itself at once; R2 only follows. Appends of that term must wait for
    // the vote: a crash would let R1 lead the same term again with other entries.
    let mut membership = voters([1]);
    membership.learners = vec![R2];
    let mut cluster = Cluster::with_members(1, membership, 1..=2);
    cluster.group(R1).campaign();
    cluster.run(R1);
    assert!(cluster.group(R1).is_leader());
    cluster.propose(R1);
    assert!(cluster.sent.is_empty(), "the harness also checks each message against the disk");
    cluster.sync_one(R1);
    assert!(cluster.sent.iter().any(|m| m.kind == MessageKind::Append));
    cluster.settle();
    assert_eq!(cluster.replica(R2).machine.applied, LogIndex(2));
    assert_eq!(cluster.group(R2).role(), Role::Follower);
    cluster.group(R2).campaign();
    assert_eq!(cluster.group(R2).role(), Role::Follower, "a learner has no vote");
}

#[test]
fn replica_without_members_waits_and_does_not_campaign() {
    let mut group = fresh(R3, voters([]));
    for _ in 0..100 {
        group.tick();
    }
    group.campaign();
    assert_eq!(group.role(), Role::Follower);
    assert_eq!(group.take_ready(), None);
}

/// How many ticks pass until a lone follower asks for pre-votes, again and again.
fn campaigns(seed: u64, replica: ReplicaId) -> Vec<usize> {
    let mut group = RaftGroup::open(
        &config(replica),
        seed,
        HardState::default(),
        voters([1, 2, 3]),
        LogIndex(0),
        EntryId::default(),
        Vec::new(),
    )
    .unwrap();
    let mut ticks = Vec::new();
    for term in 1..20 {
        let mut heartbeat = super::messages::append(R3, replica, term);
        heartbeat.kind = MessageKind::Heartbeat;
        group.step(heartbeat).unwrap();
        let mut passed = 0;
        while group.role() == Role::Follower {
            group.tick();
            passed += 1;
        }
        ticks.push(passed);
    }
    ticks
}

#[test]
fn replica_with_an_unsure_clock_leaves_several_timeouts_to_the_others() {
    // A leader needs a clock: it campaigns only when nobody else does.
    let mut group = fresh(R1, voters([1, 2, 3]));
    let mut passed = 0;
    while group.role() == Role::Follower {
        group.tick_unsure();
        passed += 1;
    }
    assert!((40..60).contains(&passed), "{passed}");
}

#[test]
fn election_timeouts_come_from_the_seed_and_cover_the_range() {
    assert_eq!(campaigns(5, R1), campaigns(5, R1));
    assert_ne!(campaigns(5, R1), campaigns(6, R1));
    assert_ne!(campaigns(5, R1), campaigns(5, R2), "one seed for all replicas is no lockstep");
    let ticks = campaigns(5, R1);
    assert!(ticks.iter().all(|ticks| (10..20).contains(ticks)), "{ticks:?}");
    assert!(ticks.iter().any(|ticks| *ticks < 13), "{ticks:?}");
    assert!(ticks.iter().any(|ticks| *ticks > 16), "{ticks:?}");
}
