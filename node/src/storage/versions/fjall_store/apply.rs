//! Turns the batches of one pass into one batch of the engine.

use super::codec::{self, Kind};
use super::recent::{Newest, Recent};
use super::{Keyspaces, engine_error};
use crate::storage::version_store::{ApplyBatch, StateChange, Version, VersionStoreError};
use crate::storage::versions::assert_applied_grows;
use fjall::OwnedWriteBatch;
use proto::{EntryId, Key, ShardId, Value};
use std::collections::BTreeMap;

/// What a pass leaves behind. The engine orders writes by batch only, so a key that is written twice
/// in one must be settled here.
pub(super) struct Pass<'k> {
    keyspaces: &'k Keyspaces,
    recent: &'k Recent,
    newest: BTreeMap<Key, Newest>,
    history: Vec<(Vec<u8>, Vec<u8>)>,
    state: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    applied: BTreeMap<ShardId, EntryId>,
}

/// What a pass comes to.
pub(super) struct Finished {
    pub(super) batch: OwnedWriteBatch,
    /// The newest version of each key that was written.
    pub(super) newest: BTreeMap<Key, Newest>,
    /// What each shard has applied.
    pub(super) applied: BTreeMap<ShardId, EntryId>,
}

impl<'k> Pass<'k> {
    pub(super) fn new(keyspaces: &'k Keyspaces, recent: &'k Recent) -> Self {
        Pass {
            keyspaces,
            recent,
            newest: BTreeMap::new(),
            history: Vec::new(),
            state: BTreeMap::new(),
            applied: BTreeMap::new(),
        }
    }

    /// Takes in one shard's batch; `before` is what the shard had applied when the pass began.
    pub(super) fn add(
        &mut self,
        batch: ApplyBatch,
        before: Option<EntryId>,
    ) -> Result<(), VersionStoreError> {
        let ApplyBatch { shard, applied, versions, state } = batch;
        let before = self.applied.get(&shard).copied().or(before);
        assert_applied_grows(shard, before, applied);
        self.applied.insert(shard, applied);
        for version in versions {
            self.add_version(version)?;
        }
        for change in state {
            self.change_state(shard, change)?;
        }
        Ok(())
    }

    /// Makes the new version the newest and moves the one before to the history. A tombstone goes to
    /// both at once: the collector walks only the history, and must find it there.
    fn add_version(&mut self, version: Version) -> Result<(), VersionStoreError> {
        let Version { key, timestamp, value } = version;
        let stored;
        let before = match self.newest.get(&key).or_else(|| self.recent.get(&key)) {
            Some(before) => Some(before),
            None => {
                stored = self.stored(&key)?;
                stored.as_ref()
            }
        };
        if let Some(before) = before {
            assert!(
                timestamp > before.timestamp,
                "key {key}: a version at {timestamp:?} came after {:?}",
                before.timestamp
            );
            if before.value.is_some() {
                let entry = codec::history_key(&key, before.timestamp);
                self.history.push((entry, codec::content(before.value.as_ref())));
            }
        }
        if value.is_none() {
            self.history.push((codec::history_key(&key, timestamp), codec::content(None)));
        }
        self.newest.insert(key, Newest { timestamp, value });
        Ok(())
    }

    /// The newest version of the key that the engine has.
    fn stored(&self, key: &Key) -> Result<Option<Newest>, VersionStoreError> {
        let stored = self.keyspaces.data.get(codec::data_key(key)).map_err(engine_error)?;
        let newest = |stored: fjall::UserValue| {
            let (timestamp, content) = codec::split_data_value(&stored)?;
            let value = codec::split_content(content)?.map(Value::from);
            Ok(Newest { timestamp, value })
        };
        stored.map(newest).transpose()
    }

    fn change_state(
        &mut self,
        shard: ShardId,
        change: StateChange,
    ) -> Result<(), VersionStoreError> {
        match change {
            StateChange::Put(key, value) => {
                self.state.insert(codec::state_key(Kind::State, shard, &key), Some(value));
            }
            StateChange::Delete(key) => {
                self.state.insert(codec::state_key(Kind::State, shard, &key), None);
            }
            StateChange::DeleteRange(from, to) if from < to => {
                let from = codec::state_key(Kind::State, shard, &from);
                let to = codec::state_key(Kind::State, shard, &to);
                for (_, value) in self.state.range_mut(from.clone()..to.clone()) {
                    *value = None;
                }
                for entry in self.keyspaces.state.range(from..to) {
                    self.state.insert(entry.key().map_err(engine_error)?.to_vec(), None);
                }
            }
            StateChange::DeleteRange(..) => {}
        }
        Ok(())
    }

    /// The engine's batch, and what is so once that is committed.
    pub(super) fn finish(self, mut batch: OwnedWriteBatch) -> Finished {
        let Keyspaces { data, history, state } = self.keyspaces;
        for (key, Newest { timestamp, value }) in &self.newest {
            let value = codec::data_value(*timestamp, value.as_ref());
            batch.insert(data, &*codec::data_key(key), value);
        }
        for (key, value) in self.history {
            batch.insert(history, key, value);
        }
        for (key, value) in self.state {
            match value {
                Some(value) => batch.insert(state, key, value),
                None => batch.remove(state, key),
            }
        }
        for (shard, applied) in &self.applied {
            let key = codec::state_key(Kind::Applied, *shard, &[]);
            batch.insert(state, key, codec::entry_id(*applied));
        }
        Finished { batch, newest: self.newest, applied: self.applied }
    }
}
