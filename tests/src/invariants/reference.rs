//! What the shards' logs say, applied once: the reference that all replicas are compared with.
//!
//! The first replica that applies an index decides what it was; the others must apply the same
//! (`state_machine_safety`). The reference replays each entry with the real `ShardState`, and keeps the
//! versions.

use node::storage::record::{EntryKind, LogEntry};
use node::system::{Counter, counter_key};
use proto::{EntryId, Key, KeySpan, LogIndex, NodeId, ShardId, Value};
use std::collections::BTreeMap;
use truetime::Timestamp;
use txn::command::Entry;
use txn::state::{Applied, Changes, ShardState};

use super::state_machine_safety;

/// See the module.
#[derive(Debug, Default)]
pub struct Reference {
    shards: BTreeMap<ShardId, ShardLog>,
}

/// One shard's.
#[derive(Debug)]
pub struct ShardLog {
    /// Entries by index, from 1 on.
    entries: Vec<(EntryId, u64)>,
    /// The state after the last of them.
    pub state: ShardState,
    /// The versions installed by them, per key oldest first.
    pub versions: BTreeMap<Key, Vec<(Timestamp, Option<Value>)>>,
}

/// What one entry did.
#[derive(Debug)]
pub struct Step {
    /// Which entry.
    pub index: LogIndex,
    /// What it said; nothing for those of Raft alone.
    pub entry: Option<Entry>,
    /// What that did.
    pub applied: Applied,
    /// The versions it installed.
    pub versions: Vec<(Key, Timestamp)>,
}

impl Reference {
    /// A replica applies an entry; returns what it did when no replica applied it before.
    pub fn apply(
        &mut self,
        node: NodeId,
        shard: ShardId,
        span: &KeySpan,
        entry: &LogEntry,
    ) -> Option<Step> {
        let log = self.shards.entry(shard).or_insert_with(|| ShardLog {
            entries: Vec::new(),
            state: state_of(shard, span),
            versions: BTreeMap::new(),
        });
        let hash = super::log_matching::hash_of(entry);
        let position =
            usize::try_from(entry.id.index.0 - 1).expect("logs of a simulation are short");
        if let Some(known) = log.entries.get(position) {
            state_machine_safety::check(node, shard, *known, (entry.id, hash));
            return None;
        }
        assert_eq!(
            position,
            log.entries.len(),
            "{node} applies entry {:?} first of all, out of order",
            entry.id
        );
        log.entries.push((entry.id, hash));
        Some(log.replay(entry))
    }

    /// The last entry that any replica applied.
    #[must_use]
    pub fn last_applied(&self, shard: ShardId) -> Option<EntryId> {
        self.shards.get(&shard)?.entries.last().map(|(id, _)| *id)
    }

    /// All shards.
    #[must_use]
    pub fn shards(&self) -> &BTreeMap<ShardId, ShardLog> {
        &self.shards
    }
}

/// The first state of a shard, as a replica has it.
fn state_of(shard: ShardId, span: &KeySpan) -> ShardState {
    let state = ShardState::new(span.clone());
    if shard == ShardId::SYSTEM {
        return state.with_catalog(counter_key(Counter::Catalog));
    }
    state
}

impl ShardLog {
    fn replay(&mut self, entry: &LogEntry) -> Step {
        let decoded = match entry.kind {
            EntryKind::Normal if !entry.data.is_empty() => {
                Some(Entry::decode(&entry.data).expect("what was applied can be decoded"))
            }
            EntryKind::Normal | EntryKind::Membership => None,
        };
        let mut changes = Changes::default();
        let applied = self.state.apply(entry.id, decoded.as_ref(), &mut changes);
        let mut versions = Vec::with_capacity(changes.versions.len());
        for version in changes.versions {
            versions.push((version.key.clone(), version.timestamp));
            self.versions.entry(version.key).or_default().push((version.timestamp, version.value));
        }
        Step { index: entry.id.index, entry: decoded, applied, versions }
    }
}
