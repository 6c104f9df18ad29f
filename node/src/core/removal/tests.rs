//! One core with a replica of a shard that is removed.

use super::*;
use crate::core::tests::quiet;
use crate::core::{Input, PeerMessage};
use crate::routing::ShardMap;
use crate::shard::raft::{Message, MessageKind};
use crate::shard::replica::Durable;
use crate::system::system_shard_span;
use proto::encoding::table_span;
use proto::{LogIndex, NodeId, ReplicaId, TableId, Term};
use std::sync::Arc;
use truetime::{TimeInterval, Timestamp};
use txn::message::{Refusal, Reply, Request, RequestId};

const SHARD: ShardId = ShardId(7);
const THIS: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn now_at(seconds: u64) -> Now {
    let at = Timestamp::from_nanos(1_000_000_000_000).plus(Duration::from_secs(seconds));
    Now {
        mono: Mono::from_nanos(seconds * 1_000_000_000),
        interval: Ok(TimeInterval::around(at, Duration::from_micros(100))),
    }
}

fn replicas() -> Vec<(ReplicaId, NodeId)> {
    (1..=3).map(|n| (ReplicaId(n), NodeId(n))).collect()
}

/// The system shard is elsewhere.
fn system() -> ShardDescriptor {
    let replicas = vec![(ReplicaId(1), OTHER)];
    ShardDescriptor { id: ShardId::SYSTEM, span: system_shard_span(), replicas }
}

fn shard() -> ShardDescriptor {
    ShardDescriptor { id: SHARD, span: table_span(TableId::FIRST_USER), replicas: replicas() }
}

fn core(replicas: Vec<(ShardDescriptor, Durable)>, orphans: Vec<ShardId>) -> Core {
    let config = quiet(THIS, system());
    Core::open(config, ShardMap::new([system()]), replicas, orphans, &now_at(0)).unwrap()
}

fn with_replica() -> Core {
    let mut core = core(vec![(shard(), Durable::default())], Vec::new());
    core.flush(&now_at(0)).unwrap();
    core
}

/// The map is read, and says that the shard was removed.
fn mark(core: &mut Core) {
    let map = ShardMap::new([system()]).with_removed([shard()]);
    core.new_map(&now_at(1), Arc::new(map));
}

fn hear(core: &mut Core, message: PeerMessage) {
    core.step(&now_at(1), Input::Peer { from: OTHER, message }).unwrap();
}

fn heartbeat() -> PeerMessage {
    let message = Message {
        kind: MessageKind::Heartbeat,
        from: ReplicaId(2),
        to: ReplicaId(1),
        term: Term(3),
        log_term: Term(0),
        index: LogIndex(0),
        entries: Vec::new(),
        commit: LogIndex(0),
        commit_term: Term(0),
        snapshot: None,
        reject: false,
        reject_hint: LogIndex(0),
        context: bytes::Bytes::new(),
    };
    PeerMessage::Raft { shard: SHARD, message }
}

fn question(sequence: u64) -> PeerMessage {
    let id = RequestId { node: OTHER, sequence, ..RequestId::default() };
    let request = Arc::new(Request::Remove { key: shard().span.start });
    PeerMessage::Request { id, shard: SHARD, request }
}

/// What the other node is answered.
fn answers(effects: &[Effect]) -> Vec<&Reply> {
    let answer = |effect| match effect {
        &Effect::Send { to: OTHER, message: PeerMessage::Reply { ref reply, .. } } => Some(reply),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

/// How often the system shard is asked for the map.
fn readings(effects: &[Effect]) -> usize {
    let reads = |effect: &&Effect| {
        matches!(effect, Effect::Send { message: PeerMessage::Request { shard, .. }, .. }
            if *shard == ShardId::SYSTEM)
    };
    effects.iter().filter(reads).count()
}

#[test]
fn replica_of_a_removed_shard_leaves_the_log_first_and_then_the_store() {
    let mut core = with_replica();
    mark(&mut core);
    let effects = core.flush(&now_at(1)).unwrap();
    assert!(core.replicas().is_empty());
    let written = effects.iter().find_map(|effect| match effect {
        Effect::Write { records, token } => Some((records, token)),
        _ => None,
    });
    let (records, token) = written.expect("the log is told");
    assert_eq!(records.last(), Some(&LogRecord::Removed { shard: SHARD }));
    let is_removal = |effect: &Effect| matches!(effect, Effect::Remove { shard: SHARD, span } if *span == shard().span);
    assert!(!effects.iter().any(is_removal), "the log has not made it durable");
    core.step(&now_at(1), Input::Synced { token: token.expect("it is synced") }).unwrap();
    assert!(core.flush(&now_at(1)).unwrap().iter().any(is_removal));
}

#[test]
fn nothing_that_comes_late_brings_a_removed_shard_back() {
    let mut core = with_replica();
    mark(&mut core);
    core.flush(&now_at(1)).unwrap();
    hear(&mut core, PeerMessage::Create(shard()));
    hear(&mut core, heartbeat());
    hear(&mut core, question(1));
    let effects = core.flush(&now_at(1)).unwrap();
    assert!(core.replicas().is_empty());
    assert_eq!(answers(&effects), [&Reply::Refused(Refusal::Removed)]);
    assert_eq!(readings(&effects), 0, "there is nothing to find out");
}

#[test]
fn core_that_has_not_read_the_map_creates_no_replica_on_the_word_of_others() {
    let mut core = core(Vec::new(), Vec::new());
    core.flush(&now_at(0)).unwrap();
    hear(&mut core, PeerMessage::Create(shard()));
    let effects = core.flush(&now_at(1)).unwrap();
    assert!(core.replicas().is_empty());
    assert_eq!(readings(&effects), 1, "the map says whether there is one");
}

#[test]
fn messages_of_an_unknown_shard_have_the_map_read_now_and_then() {
    let mut core = core(Vec::new(), Vec::new());
    core.flush(&now_at(0)).unwrap();
    let mut read = 0;
    for sequence in 1..100 {
        hear(&mut core, heartbeat());
        hear(&mut core, question(sequence));
        read += readings(&core.flush(&now_at(1)).unwrap());
    }
    assert_eq!(read, 1);
}

#[test]
fn replica_without_a_leader_looks_whether_its_shard_was_removed() {
    let mut core = with_replica();
    let mut read = 0;
    for second in 1..=120 {
        let effects = core.flush(&now_at(second)).unwrap();
        read += readings(&effects);
        assert!(read > 0 || second < 5, "it never looks");
        for effect in effects {
            if let Effect::Send { message: PeerMessage::Request { id, .. }, .. } = effect {
                let reply = Reply::Rows { grant: None, rows: Vec::new(), rest: Vec::new() };
                hear(&mut core, PeerMessage::Reply { id, reply });
            }
        }
    }
    assert!(read < 20, "{read} readings in two minutes");
}

#[test]
fn what_a_crash_left_in_the_store_goes_once_the_map_names_its_keys() {
    let mut core = core(Vec::new(), vec![SHARD]);
    let read: usize = (1..=5).map(|s| readings(&core.flush(&now_at(s)).unwrap())).sum();
    assert!(read > 0, "it looks");
    mark(&mut core);
    let effects = core.flush(&now_at(6)).unwrap();
    let removed = |effect: &&Effect| matches!(effect, Effect::Remove { shard: SHARD, .. });
    assert_eq!(effects.iter().filter(removed).count(), 1);
    mark(&mut core);
    let effects = core.flush(&now_at(7)).unwrap();
    assert_eq!(effects.iter().filter(removed).count(), 0, "once");
}
