//! The shard map as one gateway knows it.

use proto::{Key, KeySpan, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use txn::transaction::Shards;

use crate::shard::descriptor::ShardDescriptor;

/// All shards known here. Immutable: a new reading of the map makes a new one, shared by the gateway and
/// the router of a core. May be stale, which costs a reroute and never a wrong answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardMap {
    by_start: BTreeMap<Key, ShardDescriptor>,
    /// Those whose table was dropped.
    dropping: BTreeSet<ShardId>,
    /// Those that are gone, which is known for ever: by id, and their ids by start key.
    removed: BTreeMap<ShardId, ShardDescriptor>,
    removed_by_start: BTreeMap<Key, ShardId>,
}

impl ShardMap {
    /// The map of these shards, which must not overlap.
    #[must_use]
    pub fn new(shards: impl IntoIterator<Item = ShardDescriptor>) -> Self {
        let by_start = shards.into_iter().map(|shard| (shard.span.start.clone(), shard)).collect();
        ShardMap { by_start, ..ShardMap::default() }
    }

    /// The same map with more shards, which are not in it.
    #[must_use]
    pub fn with(&self, shards: impl IntoIterator<Item = ShardDescriptor>) -> Self {
        let mut map = self.clone();
        map.by_start.extend(shards.into_iter().map(|shard| (shard.span.start.clone(), shard)));
        map
    }

    /// The same map with shards that answer only until they are removed.
    #[must_use]
    pub fn with_dropping(self, shards: impl IntoIterator<Item = ShardDescriptor>) -> Self {
        let shards: Vec<ShardDescriptor> = shards.into_iter().collect();
        let mut map = self.with(shards.iter().cloned());
        map.dropping.extend(shards.iter().map(|shard| shard.id));
        map
    }

    /// The same map with shards that were removed: nobody serves their keys.
    #[must_use]
    pub fn with_removed(mut self, shards: impl IntoIterator<Item = ShardDescriptor>) -> Self {
        for shard in shards {
            self.removed_by_start.insert(shard.span.start.clone(), shard.id);
            self.removed.insert(shard.id, shard);
        }
        self
    }

    /// The shard of a key.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<&ShardDescriptor> {
        let (_, shard) = self.by_start.range::<Key, _>(..=key).next_back()?;
        shard.span.contains(key).then_some(shard)
    }

    /// All shards, by start key.
    pub fn iter(&self) -> impl Iterator<Item = &ShardDescriptor> {
        self.by_start.values()
    }

    /// The shards that are to be removed.
    pub fn dropping(&self) -> impl Iterator<Item = &ShardDescriptor> {
        self.iter().filter(|shard| self.dropping.contains(&shard.id))
    }

    /// A shard that was removed.
    #[must_use]
    pub fn removed(&self, shard: ShardId) -> Option<&ShardDescriptor> {
        self.removed.get(&shard)
    }

    /// Whether the shard of this key was removed.
    #[must_use]
    pub fn is_removed(&self, key: &Key) -> bool {
        let before = self.removed_by_start.range::<Key, _>(..=key).next_back();
        before.is_some_and(|(_, shard)| self.removed[shard].span.contains(key))
    }

    /// Whether every key of the span has a shard.
    #[must_use]
    pub fn covers(&self, span: &KeySpan) -> bool {
        txn::transaction::cut(std::slice::from_ref(span), self).is_ok()
    }
}

impl Shards for ShardMap {
    fn locate(&self, key: &Key) -> Option<(ShardId, Option<&Key>)> {
        let shard = self.find(key)?;
        Some((shard.id, shard.span.end.as_ref()))
    }
}
