//! Schedules in which one transfer gets in the way of another.

use super::*;
use crate::core::Input;
use crate::core::tests::quiet;
use crate::routing::ShardMap;
use crate::shard::descriptor::ShardDescriptor;
use crate::shard::raft::{Message, MessageKind, SnapshotMeta};
use crate::shard::replica::Durable;
use crate::storage::record::Membership;
use crate::system::system_shard_span;
use proto::{EntryId, LogIndex, ReplicaId, Term};
use truetime::{TimeInterval, Timestamp};

const SHARD: ShardId = ShardId::SYSTEM;
const THIS: NodeId = NodeId(1);

fn now_at(seconds: u64) -> Now {
    let at = Timestamp::from_nanos(1_000_000_000_000).plus(Duration::from_secs(seconds));
    Now {
        mono: Mono::from_nanos(seconds * 1_000_000_000),
        interval: Ok(TimeInterval::around(at, Duration::from_micros(100))),
    }
}

/// Node 1 of three, each with a replica of the one shard.
fn core() -> Core {
    let descriptor = ShardDescriptor {
        id: SHARD,
        span: system_shard_span(),
        replicas: (1..=3).map(|n| (ReplicaId(n), NodeId(n))).collect(),
    };
    let config = quiet(THIS, descriptor.clone());
    let map = ShardMap::new([descriptor.clone()]);
    Core::open(config, map, vec![(descriptor, Durable::default())], Vec::new(), &now_at(0)).unwrap()
}

/// A leader's snapshot for this node; a higher node leads a later term.
fn snapshot(from: u64) -> Message {
    let term = Term(from);
    let voters = (1..=3).map(ReplicaId).collect();
    let membership = Membership { voters, ..Membership::default() };
    let last = EntryId { term, index: LogIndex(5) };
    Message {
        kind: MessageKind::Snapshot,
        from: ReplicaId(from),
        to: ReplicaId(1),
        term,
        log_term: Term(0),
        index: LogIndex(0),
        entries: Vec::new(),
        commit: LogIndex(0),
        commit_term: Term(0),
        snapshot: Some(SnapshotMeta { last, membership }),
        reject: false,
        reject_hint: LogIndex(0),
        context: bytes::Bytes::new(),
    }
}

fn begin(core: &mut Core, from: u64, transfer: u64) {
    let message = PeerMessage::SnapshotBegin { shard: SHARD, transfer, message: snapshot(from) };
    core.step(&now_at(0), Input::Peer { from: NodeId(from), message }).unwrap();
}

/// The last piece comes; returns the receipt that its answer has to bear.
fn end(core: &mut Core, from: u64, transfer: u64) -> u64 {
    let piece = SnapshotPiece::End { pieces: 0, checksum: 0 };
    let message = PeerMessage::SnapshotPiece { shard: SHARD, transfer, piece };
    core.step(&now_at(0), Input::Peer { from: NodeId(from), message }).unwrap();
    let effects = core.flush(&now_at(0)).unwrap();
    let progress = PeerMessage::SnapshotProgress { shard: SHARD, transfer };
    assert!(sent(&effects, from).contains(&progress), "{effects:?}");
    let receipt = effects.iter().find_map(|effect| match effect {
        Effect::ReceivePiece { receipt, .. } => Some(*receipt),
        _ => None,
    });
    receipt.expect("the piece is staged")
}

fn sent(effects: &[Effect], to: u64) -> Vec<PeerMessage> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to: node, message } if *node == NodeId(to) => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

fn installs(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Install { .. })).count()
}

fn receives(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::ReceiveBegin { .. })).count()
}

fn given_up(transfer: u64) -> PeerMessage {
    PeerMessage::SnapshotDone { shard: SHARD, transfer, delivered: false }
}

#[test]
fn end_of_a_transfer_that_was_replaced_is_not_taken_for_the_end_of_the_new_one() {
    let mut core = core();
    begin(&mut core, 2, 11);
    let first = end(&mut core, 2, 11);
    // The new leader's transfer has begun when the store says that the old one's is complete.
    begin(&mut core, 3, 11);
    core.step(&now_at(0), Input::SnapshotComplete { shard: SHARD, receipt: first }).unwrap();
    core.step(&now_at(0), Input::SnapshotBroken { shard: SHARD, receipt: first }).unwrap();
    let effects = core.flush(&now_at(0)).unwrap();
    assert_eq!((receives(&effects), installs(&effects)), (1, 0), "{effects:?}");
    assert!(sent(&effects, 2).contains(&given_up(11)), "{effects:?}");
    let second = end(&mut core, 3, 11);
    core.step(&now_at(0), Input::SnapshotComplete { shard: SHARD, receipt: second }).unwrap();
    assert_eq!(installs(&core.flush(&now_at(0)).unwrap()), 1);
}

#[test]
fn what_raft_has_accepted_is_not_replaced_before_it_is_installed() {
    let mut core = core();
    begin(&mut core, 2, 11);
    let receipt = end(&mut core, 2, 11);
    core.step(&now_at(0), Input::SnapshotComplete { shard: SHARD, receipt }).unwrap();
    begin(&mut core, 3, 12);
    let effects = core.flush(&now_at(0)).unwrap();
    assert_eq!((receives(&effects), installs(&effects)), (0, 1), "{effects:?}");
    assert!(sent(&effects, 3).contains(&given_up(12)), "{effects:?}");
}

#[test]
fn transfer_lasts_as_long_as_pieces_are_taken_and_is_stopped_after_that() {
    let mut core = core();
    core.send_snapshot(&now_at(0), NodeId(2), SHARD, snapshot(1));
    let transfer = core.transfers.next;
    let stops = |core: &mut Core, seconds| {
        core.expire_transfers(&now_at(seconds));
        let out = std::mem::take(&mut core.out);
        out.iter().filter(|effect| matches!(effect, Effect::StopSnapshot { .. })).count()
    };
    for seconds in [100, 200, 300] {
        assert_eq!(stops(&mut core, seconds), 0, "{seconds} s");
        core.snapshot_progress(&now_at(seconds), NodeId(2), SHARD, transfer);
        core.snapshot_progress(&now_at(seconds + 1_000), NodeId(2), SHARD, transfer + 1);
    }
    assert_eq!(stops(&mut core, 419), 0);
    assert_eq!(stops(&mut core, 420), 1);
    assert_eq!(stops(&mut core, 1_000), 0, "it is over");
}
