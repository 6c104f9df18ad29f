use super::*;
use crate::Timestamp;

const MS: u64 = 1_000_000;

fn interval(from_ms: u64, to_ms: u64) -> TimeInterval {
    TimeInterval {
        earliest: Timestamp::from_nanos(from_ms * MS),
        latest: Timestamp::from_nanos(to_ms * MS),
    }
}

fn at(ms: u64) -> Mono {
    Mono::from_nanos(ms * MS)
}

/// One round of exchanges among clocks with those offsets, all with an epsilon of 1 ms and a round
/// trip of `trip_ms`. Says which nodes find themselves outside.
struct Cluster {
    peers: Vec<Peers<u64>>,
    now_ms: u64,
}

impl Cluster {
    fn new(nodes: usize) -> Self {
        Cluster { peers: (0..nodes).map(|_| Peers::default()).collect(), now_ms: 1_000_000 }
    }

    fn round(&mut self, offsets_ms: &[i64], trip_ms: u64) -> Vec<bool> {
        let now = self.now_ms;
        let read = |node: usize, ms: u64| {
            let wall = ms.wrapping_add_signed(offsets_ms[node]);
            interval(wall - 1, wall + 1)
        };
        for (node, peers) in self.peers.iter_mut().enumerate() {
            for other in (0..offsets_ms.len()).filter(|other| *other != node) {
                let exchange = Exchange {
                    sent: read(node, now),
                    theirs: read(other, now + trip_ms / 2),
                    received: read(node, now + trip_ms),
                };
                peers.record(other as u64, at(now + trip_ms), &exchange);
            }
        }
        self.now_ms += trip_ms;
        self.peers.iter().map(|peers| peers.is_outside(at(self.now_ms))).collect()
    }

    fn apart(&self, node: usize) -> Vec<u64> {
        self.peers[node].apart(at(self.now_ms)).map(|(peer, _)| peer).collect()
    }
}

#[test]
fn meeting_is_judged_against_the_time_around_the_answer() {
    let exchange = |theirs| Exchange { sent: interval(10, 12), theirs, received: interval(30, 32) };
    assert_eq!(exchange(interval(9, 10)).meeting(), Meeting::Meets);
    assert_eq!(exchange(interval(32, 40)).meeting(), Meeting::Meets);
    let apart = Meeting::Behind(Duration::from_millis(3));
    assert_eq!(exchange(interval(5, 7)).meeting(), apart);
    let apart = Meeting::Ahead(Duration::from_millis(8));
    assert_eq!(exchange(interval(40, 41)).meeting(), apart);
}

#[test]
fn three_nodes_within_their_claims_none_is_outside() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.round(&[0, 1, -1], 2), [false; 3]);
}

#[test]
fn three_nodes_one_bad_only_it_is_outside_and_all_name_it() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.round(&[0, 1, 20], 2), [false, false, true]);
    assert_eq!(cluster.apart(0), [2]);
    assert_eq!(cluster.apart(1), [2]);
    assert_eq!(cluster.apart(2), [0, 1]);
}

#[test]
fn three_nodes_two_bad_each_in_its_own_way_all_stop() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.round(&[0, 50, -50], 2), [true; 3]);
}

#[test]
fn five_nodes_one_bad_only_it_is_outside() {
    let mut cluster = Cluster::new(5);
    assert_eq!(cluster.round(&[0, 1, 0, -30, 0], 2), [false, false, false, true, false]);
}

#[test]
fn five_nodes_two_bad_that_agree_are_outside() {
    let mut cluster = Cluster::new(5);
    assert_eq!(cluster.round(&[0, 30, 0, 30, 0], 2), [false, true, false, true, false]);
    assert_eq!(cluster.apart(1), [0, 2, 4]);
    assert_eq!(cluster.apart(0), [1, 3]);
}

#[test]
fn outside_node_that_meets_the_others_again_recovers() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.round(&[0, 0, 20], 2), [false, false, true]);
    assert_eq!(cluster.round(&[0, 0, 1], 2), [false, false, false]);
}

#[test]
fn slow_answer_that_would_hide_the_gap_is_no_recovery() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.round(&[0, 0, 20], 2), [false, false, true]);
    assert_eq!(cluster.round(&[0, 0, 20], 60), [false, false, true]);
    assert_eq!(cluster.round(&[0, 0, 0], 60), [false, false, true], "it cannot be told");
    assert_eq!(cluster.round(&[0, 0, 0], 2), [false, false, false]);
}

#[test]
fn slow_answer_counts_once_the_gap_is_too_old_to_count() {
    let mut peers: Peers<u64> = Peers::default();
    let apart =
        Exchange { sent: interval(10, 12), theirs: interval(90, 91), received: interval(13, 14) };
    let slow = Exchange { received: interval(500, 502), ..apart };
    peers.record(2, at(0), &apart);
    peers.record(2, at(60_000), &slow);
    assert!(peers.is_outside(at(60_000)));
    peers.record(2, at(60_001), &slow);
    peers.record(3, at(60_001), &apart);
    assert!(!peers.is_outside(at(60_001)), "one meets, one does not");
}

#[test]
fn unanswered_node_is_not_judged_and_old_answers_are_dropped() {
    let mut peers: Peers<u64> = Peers::default();
    assert!(!peers.is_outside(at(0)));
    let apart =
        Exchange { sent: interval(10, 12), theirs: interval(90, 91), received: interval(13, 14) };
    peers.record(2, at(0), &apart);
    assert!(peers.is_outside(at(60_000)));
    assert!(!peers.is_outside(at(60_001)));
    peers.record(2, at(61_000), &apart);
    assert!(peers.is_outside(at(61_000)));
    peers.forget(2);
    assert!(!peers.is_outside(at(61_000)));
}

#[test]
fn judge_outside_node_refuses_and_keeps_another_reason() {
    let mut peers: Peers<u64> = Peers::default();
    let now = Now { mono: at(5), interval: Ok(interval(10, 12)) };
    assert_eq!(peers.judge(now.clone()), now);
    let apart =
        Exchange { sent: interval(10, 12), theirs: interval(90, 91), received: interval(13, 14) };
    peers.record(2, at(0), &apart);
    assert_eq!(peers.judge(now).interval, Err(ClockUnsure::OutsideClaim));
    let unsure = Now { mono: at(5), interval: Err(ClockUnsure::Unsynchronised) };
    assert_eq!(peers.judge(unsure.clone()), unsure);
}
