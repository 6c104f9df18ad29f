//! Removal of dropped shards: the map's mark follows the removal in the shard's own log, and in the end nothing
//! is left of a dropped shard at any node.

use node::core::Core;
use node::storage::version_store::{SnapshotPiece, VersionStore};
use node::system::{ShardRecord, ShardState, decode, tables};
use proto::encoding::table_span;
use proto::{Key, NodeId, ShardId};

use super::reference::{Reference, Step};

/// A mark says that the shard decides nothing any more: its log must have said so before.
pub fn check_marks(reference: &Reference, shard: ShardId, step: &Step) {
    if shard != ShardId::SYSTEM {
        return;
    }
    for (key, _) in &step.versions {
        let Some(record) = record_at(reference, key) else { continue };
        let id = record.descriptor.id;
        let removed = reference.shards().get(&id).is_some_and(|log| log.state.header().removed);
        assert!(
            record.state != ShardState::Removed || removed,
            "removal: shard {id} is marked as removed, and no replica has applied its removal"
        );
    }
}

/// The shards that the map calls removed.
#[must_use]
pub fn removed(reference: &Reference) -> Vec<ShardId> {
    let records = records(reference).into_iter();
    let removed = records.filter(|record| record.state == ShardState::Removed);
    removed.map(|record| record.descriptor.id).collect()
}

/// What is still to be done for a dropped shard at a node, if anything is.
pub fn unfinished<S: VersionStore>(
    reference: &Reference,
    node: NodeId,
    core: &Core,
    store: &S,
) -> Option<String> {
    for ShardRecord { descriptor, state } in records(reference) {
        let (id, span) = (descriptor.id, descriptor.span);
        match state {
            ShardState::Live => continue,
            ShardState::Dropping => return Some(format!("shard {id} is dropped and not removed")),
            ShardState::Removed => {}
        }
        if core.replicas().contains_key(&id) {
            return Some(format!("removed shard {id} has a replica on {node}"));
        }
        let applied = store.applied(id).expect("memory does not fail");
        let state = store.state(id).expect("memory does not fail");
        let mut pieces = store.snapshot(id, &span).expect("memory does not fail");
        let versions = pieces.any(|piece| match piece.expect("memory does not fail") {
            SnapshotPiece::Versions(versions) => !versions.is_empty(),
            SnapshotPiece::State(_) | SnapshotPiece::End { .. } => false,
        });
        if applied.is_some() || !state.is_empty() || versions {
            return Some(format!("removed shard {id} has left data on {node}"));
        }
    }
    None
}

/// The map's records as they are.
fn records(reference: &Reference) -> Vec<ShardRecord> {
    let Some(system) = reference.shards().get(&ShardId::SYSTEM) else { return Vec::new() };
    system.versions.keys().filter_map(|key| record_at(reference, key)).collect()
}

fn record_at(reference: &Reference, key: &Key) -> Option<ShardRecord> {
    if !table_span(tables::SHARDS).contains(key) {
        return None;
    }
    let system = reference.shards().get(&ShardId::SYSTEM)?;
    let (_, value) = system.versions.get(key)?.last()?;
    Some(decode(value.as_ref()?).expect("what a gateway wrote can be decoded"))
}
