//! The shard map as one gateway knows it.

use proto::{Key, KeySpan, ShardId};
use std::collections::BTreeMap;
use txn::transaction::Shards;

use crate::shard::descriptor::ShardDescriptor;

/// All shards known here. Immutable: a new reading of the map makes a new one, shared by the gateway and
/// the router of a core. May be stale, which costs a reroute and never a wrong answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardMap {
    by_start: BTreeMap<Key, ShardDescriptor>,
}

impl ShardMap {
    /// The map of these shards, which must not overlap.
    #[must_use]
    pub fn new(shards: impl IntoIterator<Item = ShardDescriptor>) -> Self {
        let by_start = shards.into_iter().map(|shard| (shard.span.start.clone(), shard)).collect();
        ShardMap { by_start }
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
