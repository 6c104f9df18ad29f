//! What a replica keeps of its log.

use std::time::Duration;

use proto::{Key, KeySpan};
use truetime::{ClockUnsure, Mono, Now};

use super::super::*;

const NODE: NodeId = NodeId(1);
const MIB: usize = 1 << 20;

fn now(millis: u64) -> Now {
    let mono = Mono::ZERO.plus(Duration::from_millis(millis));
    Now { mono, interval: Err(ClockUnsure::Unsynchronised) }
}

/// A replica, the first of `nodes`, that has applied `count` entries of this size.
fn replica(nodes: u64, count: u64, bytes: usize) -> Replica {
    let descriptor = ShardDescriptor {
        id: ShardId(7),
        span: KeySpan { start: Key::from(&b""[..]), ..KeySpan::all() },
        replicas: (1..=nodes).map(|n| (ReplicaId(n), NodeId(n))).collect(),
    };
    let data = Bytes::from(vec![1; bytes]);
    let id = |index| EntryId { term: Term(1), index: LogIndex(index) };
    let entries = (1..=count).map(|index| LogEntry {
        id: id(index),
        kind: EntryKind::Normal,
        data: data.clone(),
    });
    let durable = Durable {
        hard_state: HardState { term: Term(1), vote: None, commit: LogIndex(count) },
        truncated: EntryId::default(),
        entries: entries.collect(),
        applied: id(count),
        state: Vec::new(),
    };
    let config = ReplicaConfig::default();
    Replica::open(descriptor, None, NODE, config, 7, durable, &now(0)).unwrap()
}

/// What is truncated when everything is durable.
fn truncated(replica: &mut Replica) -> Option<u64> {
    let mut out = Vec::new();
    let last = EntryId { term: Term(1), index: replica.state.applied().index };
    replica.durable(last, &mut out);
    match out.as_slice() {
        [] => None,
        [Effect::Log(LogRecord::Truncated { through, .. })] => Some(through.index.0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn small_entries_are_kept_by_their_number() {
    let mut replica = replica(3, 1500, 100);
    assert_eq!(truncated(&mut replica), Some(500));
    assert_eq!(truncated(&mut replica), None);
}

#[test]
fn large_entries_are_kept_by_their_bytes() {
    let mut replica = replica(3, 100, MIB);
    assert_eq!(truncated(&mut replica), Some(100 - 32));
    assert_eq!(replica.raft().first_index(), LogIndex(69));
}

#[test]
fn some_entries_are_kept_however_large() {
    let mut replica = replica(3, 20, 40 * MIB);
    assert_eq!(truncated(&mut replica), Some(20 - RETAINED_ENTRIES_MIN));
}

#[test]
fn disk_that_is_short_before_the_election_counts_for_the_leader() {
    let mut replica = replica(1, 0, 0);
    replica.set_disk_room(DiskRoom::Short);
    let mut out = Vec::new();
    for pass in 0..100 {
        replica.tick(&now(pass * 100), &mut out);
        replica.flush(&now(pass * 100), &mut out).unwrap();
        for effect in std::mem::take(&mut out) {
            if let Effect::WhenDurable { number, .. } = effect {
                replica.persisted(number);
            }
        }
    }
    assert!(replica.leader().is_some(), "alone it elects itself");
    let request = Request::Lock {
        attempt: txn::message::Attempt {
            id: proto::TxnId {
                horizon: Timestamp::from_nanos(2),
                begin: Timestamp::from_nanos(1),
                origin: 1,
                sequence: 1,
            },
            priority: proto::Priority::first(proto::TxnId {
                horizon: Timestamp::from_nanos(2),
                begin: Timestamp::from_nanos(1),
                origin: 1,
                sequence: 1,
            }),
            grant: None,
        },
        keys: vec![Key::from(&b"k"[..])],
    };
    replica.request(&now(10_000), RequestId::default(), request, &mut out);
    assert!(
        out.contains(&refusal(RequestId::default(), Refusal::DiskFull { node: NODE })),
        "{out:?}"
    );
}
