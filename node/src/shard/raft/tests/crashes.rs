//! Whole groups under a random schedule of loss, reordering between links, crashes and truncation.

use super::harness::{Cluster, R1, R2, R3, Rng};
use crate::shard::raft::Message;
use proto::ReplicaId;

/// One random move. Crashes only where the test wants them.
fn random_move(cluster: &mut Cluster, rng: &mut Rng) {
    let ids = cluster.ids();
    let replica = ids[rng.below(ids.len())];
    let up = cluster.replica(replica).group.is_some();
    let links: Vec<_> =
        cluster.links.iter().filter(|(_, l)| !l.is_empty()).map(|(link, _)| *link).collect();
    match rng.below(100) {
        0..25 if up => cluster.tick(replica),
        25..45 if up => {
            cluster.sync_one(replica);
        }
        45..48 if !links.is_empty() => cluster.drop_one(links[rng.below(links.len())]),
        48..58 => {
            if let Some(leader) = cluster.leader() {
                cluster.propose(leader);
            }
        }
        58..59 if up => cluster.checkpoint_and_truncate(replica),
        59..60 => match rng.below(3) {
            0 => cluster.cut_off(replica),
            _ => cluster.heal(),
        },
        60..61 if up => cluster.group(replica).campaign(),
        61..62 => {
            if let Some(leader) = cluster.leader() {
                let _ = cluster.group(leader).transfer_leadership(replica);
                cluster.run(leader);
            }
        }
        62.. if !links.is_empty() => {
            cluster.deliver(links[rng.below(links.len())]);
        }
        _ => {}
    }
}

fn crash_or_start(cluster: &mut Cluster, rng: &mut Rng) {
    let ids = cluster.ids();
    let replica = ids[rng.below(ids.len())];
    if cluster.replica(replica).group.is_some() {
        cluster.crash(replica, rng.below(6));
        // Connections of a process die with it.
        cluster.links.retain(|(from, to), _| *from != replica && *to != replica);
    } else {
        cluster.start(replica);
    }
}

fn run_random(seed: u64, replicas: u64, moves: usize) -> Vec<Message> {
    let mut cluster = Cluster::new(seed, replicas);
    let mut rng = Rng(seed);
    for _ in 0..moves {
        random_move(&mut cluster, &mut rng);
        if rng.below(60) == 0 {
            crash_or_start(&mut cluster, &mut rng);
        }
    }
    cluster.converge();
    cluster.sent
}

#[test]
fn groups_under_random_faults_keep_the_raft_properties() {
    for seed in 0..60 {
        run_random(seed, 3, 2000);
    }
    for seed in 100..110 {
        run_random(seed, 5, 2000);
    }
}

#[test]
fn same_seed_and_inputs_give_the_same_messages() {
    for seed in [3, 4] {
        assert_eq!(run_random(seed, 5, 1500), run_random(seed, 5, 1500));
    }
}

/// Runs to a point, loses power on some replicas there, and goes on.
fn run_with_crash(seed: u64, point: usize, victims: &[ReplicaId], records: usize) {
    let mut cluster = Cluster::new(seed, 3);
    let mut rng = Rng(seed);
    cluster.elect(R1);
    for at in 0..point + 40 {
        if at == point {
            for victim in victims {
                cluster.crash(*victim, records);
                cluster.links.retain(|(from, to), _| from != victim && to != victim);
            }
            for victim in victims {
                cluster.start(*victim);
            }
        }
        random_move(&mut cluster, &mut rng);
    }
    cluster.converge();
}

#[test]
fn crash_at_every_point_loses_nothing_committed() {
    for point in 0..150 {
        for victims in [&[R1][..], &[R2], &[R1, R2, R3]] {
            for records in [0, 1, 2, usize::MAX] {
                run_with_crash(11, point, victims, records);
            }
        }
    }
}
