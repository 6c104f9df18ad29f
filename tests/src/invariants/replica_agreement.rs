//! Equal replicas at rest: when nothing is left to replicate, every replica has the reference's state and
//! versions.

use node::shard::replica::Replica;
use node::storage::version_store::{SnapshotPiece, VersionStore};
use proto::{Key, NodeId, Value};
use std::collections::BTreeMap;
use truetime::Timestamp;

use super::reference::{Reference, ShardLog};

/// Versions above this were not collected on any replica.
fn newest(
    versions: &[(Timestamp, Option<Value>)],
    threshold: Timestamp,
) -> Vec<(Timestamp, Option<Value>)> {
    versions.iter().filter(|(timestamp, _)| *timestamp > threshold).cloned().collect()
}

/// Compares one replica and its store with the reference.
pub fn check<S: VersionStore>(reference: &Reference, node: NodeId, replica: &Replica, store: &S) {
    let shard = replica.descriptor().id;
    let Some(log) = reference.shards().get(&shard) else { return };
    assert_eq!(
        replica.state(),
        &log.state,
        "replica agreement: the state of shard {shard} at {node} differs from the log's"
    );
    let span = &replica.descriptor().span;
    let pieces = store.snapshot(shard, span).expect("memory does not fail");
    let mut found: BTreeMap<Key, Vec<(Timestamp, Option<Value>)>> = BTreeMap::new();
    for piece in pieces {
        if let SnapshotPiece::Versions(versions) = piece.expect("memory does not fail") {
            for version in versions {
                let chain = found.entry(version.key).or_default();
                chain.insert(0, (version.timestamp, version.value));
            }
        }
    }
    compare(log, node, &found);
}

fn compare(log: &ShardLog, node: NodeId, found: &BTreeMap<Key, Vec<(Timestamp, Option<Value>)>>) {
    let threshold = log.state.header().threshold;
    for (key, expected) in &log.versions {
        let has = found.get(key).map(|chain| newest(chain, threshold)).unwrap_or_default();
        let expected = newest(expected, threshold);
        assert_eq!(has, expected, "replica agreement: the versions of {key} at {node}");
    }
    let first = Timestamp::ZERO;
    for (key, chain) in found {
        let seeded = chain.iter().all(|(timestamp, _)| *timestamp == first);
        assert!(
            seeded || log.versions.contains_key(key),
            "replica agreement: {node} has versions of {key} that no entry installed"
        );
    }
}
