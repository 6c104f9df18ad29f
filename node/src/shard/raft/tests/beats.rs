//! Heartbeats that travel as beats: to whom, what they are good for, and what they are not taken for.

use super::harness::{Cluster, R1, R2, R3};
use crate::shard::raft::{Heartbeat, MessageKind, Role};
use proto::{LogIndex, ReplicaId, Term};

fn elected() -> Cluster {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    cluster.settle();
    cluster
}

fn beats(cluster: &mut Cluster) -> Vec<(ReplicaId, bool)> {
    let heartbeats = cluster.group(R1).heartbeats();
    heartbeats.iter().map(|heartbeat| (heartbeat.to, heartbeat.is_beat)).collect()
}

#[test]
fn quiet_group_lives_on_beats_alone() {
    let mut cluster = elected();
    let (term, sent) = (cluster.group(R1).term(), cluster.sent.len());
    cluster.pass(200);
    assert_eq!((cluster.leader(), cluster.group(R1).term()), (Some(R1), term));
    let followers = [R2, R3].map(|replica| cluster.group(replica).role());
    assert_eq!(followers, [Role::Follower; 2]);
    // The harness gives beats and their answers the shape of heartbeats; an answer of Raft names its commit.
    let sent = &cluster.sent[sent..];
    assert_eq!(sent.iter().filter(|m| m.kind == MessageKind::Heartbeat).count(), 200);
    assert!(
        sent.iter().all(|m| m.kind != MessageKind::Append && m.kind != MessageKind::RequestPreVote)
    );
}

#[test]
fn leader_whose_beats_nobody_answers_steps_down() {
    let mut cluster = elected();
    for _ in 0..20 {
        cluster.group(R1).tick();
        assert!(cluster.group(R1).heartbeats().iter().all(|heartbeat| heartbeat.is_beat));
    }
    assert_eq!(cluster.group(R1).role(), Role::Follower);
}

#[test]
fn answer_of_one_follower_is_a_quorum_of_three_and_one_of_another_term_is_none() {
    let mut cluster = elected();
    let term = cluster.group(R1).term();
    for _ in 0..40 {
        cluster.group(R1).tick();
        cluster.group(R1).beat_heard(R2, term);
    }
    assert_eq!(cluster.group(R1).role(), Role::Leader);
    for _ in 0..20 {
        cluster.group(R1).tick();
        cluster.group(R1).beat_heard(R2, Term(term.0 - 1));
    }
    assert_eq!(cluster.group(R1).role(), Role::Follower);
}

#[test]
fn follower_that_lacks_an_entry_gets_a_heartbeat_and_the_other_none_until_all_is_committed() {
    let mut cluster = elected();
    assert_eq!(beats(&mut cluster), [(R2, true), (R3, true)]);
    cluster.cut_off(R3);
    cluster.propose(R1).unwrap();
    assert_eq!(beats(&mut cluster), [(R2, false), (R3, false)], "neither has it");
    cluster.settle();
    assert_eq!(beats(&mut cluster), [(R2, true), (R3, false)]);
    cluster.heal();
    cluster.pass(4);
    assert_eq!(beats(&mut cluster), [(R2, true), (R3, true)]);
}

#[test]
fn beat_is_taken_only_by_a_follower_that_it_tells_nothing_new() {
    let mut cluster = elected();
    let [beat, _]: [Heartbeat; 2] = cluster.group(R1).heartbeats().try_into().unwrap();
    let follower = cluster.group(R2);
    assert!(follower.hear_beat(R1, beat.term, beat.commit));
    assert!(!follower.hear_beat(R3, beat.term, beat.commit), "another leader");
    assert!(!follower.hear_beat(R1, Term(beat.term.0 + 1), beat.commit), "a later term");
    assert!(!follower.hear_beat(R1, Term(beat.term.0 - 1), beat.commit), "an earlier term");
    let later = LogIndex(beat.commit.0 + 1);
    assert!(!follower.hear_beat(R1, beat.term, later), "an entry to commit");
    assert!(!cluster.group(R1).hear_beat(R1, beat.term, beat.commit), "no follower");
}

#[test]
fn beat_begins_the_election_timeout_anew() {
    let mut cluster = elected();
    let [beat, _]: [Heartbeat; 2] = cluster.group(R1).heartbeats().try_into().unwrap();
    let follower = cluster.group(R2);
    let ticks = follower.ticks_left();
    for _ in 0..5 {
        follower.elapse(ticks - 1);
        assert_eq!(follower.ticks_left(), 1);
        assert!(follower.hear_beat(R1, beat.term, beat.commit));
        assert_eq!(follower.ticks_left(), follower.ticks_left().max(10));
    }
    let left = follower.ticks_left();
    follower.elapse(left - 1);
    assert_eq!(follower.role(), Role::Follower, "ticks that passed unheeded elect nobody");
    follower.tick();
    assert_eq!(follower.role(), Role::PreCandidate);
}
