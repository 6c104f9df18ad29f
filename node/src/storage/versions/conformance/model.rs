//! The naive model: every version in one map, and nothing clever.

use super::*;
use std::collections::BTreeMap;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    versions: BTreeMap<(Key, Timestamp), Option<Value>>,
    shards: BTreeMap<ShardId, (EntryId, State)>,
}

impl Model {
    pub(super) fn apply(&mut self, batch: ApplyBatch) {
        for version in batch.versions {
            self.versions.insert((version.key, version.timestamp), version.value);
        }
        let (applied, state) = self.shards.entry(batch.shard).or_default();
        *applied = batch.applied;
        for change in batch.state {
            match change {
                StateChange::Put(key, value) => {
                    state.insert(key, value);
                }
                StateChange::Delete(key) => {
                    state.remove(&key);
                }
                StateChange::DeleteRange(from, to) => {
                    state.retain(|key, _| *key < from || *key >= to);
                }
            }
        }
    }

    /// All rows of `span` at `timestamp`.
    pub(super) fn rows(&self, span: &KeySpan, timestamp: Timestamp) -> Vec<Version> {
        let mut newest: BTreeMap<&Key, Version> = BTreeMap::new();
        for ((key, written), value) in &self.versions {
            if span.contains(key) && *written <= timestamp {
                let (key_, timestamp, value) = (key.clone(), *written, value.clone());
                newest.insert(key, Version { key: key_, timestamp, value });
            }
        }
        newest.into_values().filter(|version| version.value.is_some()).collect()
    }

    pub(super) fn collect(&mut self, span: &KeySpan, threshold: Timestamp) {
        let all = self.versions.clone();
        self.versions.retain(|(key, written), value| {
            let is_covered = all
                .keys()
                .any(|(other, later)| other == key && written < later && *later <= threshold);
            let is_tombstone_seen = value.is_none() && *written <= threshold;
            !span.contains(key) || !(is_covered || is_tombstone_seen)
        });
    }

    pub(super) fn contents(&self, shard: ShardId) -> (Vec<Version>, Vec<StatePair>) {
        let mut versions = Vec::new();
        for ((key, timestamp), value) in self.versions.iter().rev() {
            if span_of(shard).contains(key) {
                let (key, value) = (key.clone(), value.clone());
                versions.push(Version { key, timestamp: *timestamp, value });
            }
        }
        versions.sort_by(|a, b| a.key.cmp(&b.key));
        let state = self.shards.get(&shard).map(|(_, state)| state.clone());
        (versions, state.unwrap_or_default().into_iter().collect())
    }

    pub(super) fn applied(&self, shard: ShardId) -> Option<EntryId> {
        self.shards.get(&shard).map(|(applied, _)| *applied)
    }

    pub(super) fn persisted(&self) -> Vec<(ShardId, EntryId)> {
        self.shards.iter().map(|(shard, (applied, _))| (*shard, *applied)).collect()
    }

    pub(super) fn remove(&mut self, shard: ShardId) {
        self.versions.retain(|(key, _), _| !span_of(shard).contains(key));
        self.shards.remove(&shard);
    }

    pub(super) fn install(
        &mut self,
        shard: ShardId,
        (versions, state): (Vec<Version>, Vec<StatePair>),
        applied: EntryId,
    ) {
        self.remove(shard);
        for version in versions {
            self.versions.insert((version.key, version.timestamp), version.value);
        }
        self.shards.insert(shard, (applied, state.into_iter().collect()));
    }
}
