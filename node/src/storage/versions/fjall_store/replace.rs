//! Replacing or removing a whole shard, finished at the next opening if a crash comes between.
//!
//! The engine cannot delete a range at once, so this takes many batches. The first one writes a mark
//! that says what is to be done, the last one removes it. The engine keeps a prefix of its batches, so
//! whatever part of the work is found after a crash, the mark is found with it, and the work is done
//! again from its start, which the mark's file still has.

use super::codec::{self, Bounds, Kind};
use super::staging::{self, StagedPieces};
use super::{Keyspaces, engine_error};
use crate::storage::version_store::{SnapshotPiece, Version, VersionStoreError};
use fjall::{Database, Keyspace, OwnedWriteBatch, UserKey};
use proto::{EntryId, Key, KeySpan, ShardId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// When a batch of bulk work is committed. Small in tests, so that a crash comes between batches.
const BATCH_BYTES: usize = if cfg!(test) { 2 * 1024 } else { 1024 * 1024 };

/// With so many memtables of a keyspace waiting to be written out, a replacement beside others waits. The engine
/// makes everybody wait at four.
const SEALED_MAX: usize = 2;
/// Between two looks at that.
const PACE_PAUSE: Duration = Duration::from_millis(5);
/// It waits no longer than so many of them for one batch.
const PACE_LOOKS_MAX: u32 = 400;

/// What a mark says is to be done with a shard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// Its keys and state become those of the staged snapshot.
    Install {
        /// The shard's keys.
        span: KeySpan,
        /// The entry the snapshot was taken at.
        applied: EntryId,
    },
    /// Its keys and state go.
    Remove {
        /// The shard's keys.
        span: KeySpan,
    },
}

/// Bulk work on one shard.
pub(super) struct Replacer<'s> {
    db: &'s Database,
    keyspaces: &'s Keyspaces,
    batch: OwnedWriteBatch,
    bytes: usize,
    paced: bool,
}

impl<'s> Replacer<'s> {
    pub(super) fn new(db: &'s Database, keyspaces: &'s Keyspaces) -> Self {
        Replacer { db, keyspaces, batch: db.batch(), bytes: 0, paced: false }
    }

    /// While the store is in use: not faster than the engine writes its memtables out. With many of them
    /// waiting it makes every writer wait, and so the cores that apply.
    pub(super) fn beside_others(self) -> Self {
        Replacer { paced: true, ..self }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the engine tells nobody when it has written one out"
    )]
    fn pace(&self) {
        for _ in 0..PACE_LOOKS_MAX {
            let Keyspaces { data, history, state } = self.keyspaces;
            if [data, history, state].iter().all(|k| k.sealed_memtable_count() < SEALED_MAX) {
                return;
            }
            std::thread::sleep(PACE_PAUSE);
        }
    }

    /// Marks the task. From here on it will be finished. It already takes the shard's applied entry
    /// away, which says what the versions are, and they are about to be neither old nor new.
    pub(super) fn mark(&mut self, shard: ShardId, task: &Task) -> Result<(), VersionStoreError> {
        let state = &self.keyspaces.state;
        let mark = postcard::to_stdvec(task).expect("a task is plain data");
        self.put(state, codec::state_key(Kind::Unfinished, shard, &[]), mark)?;
        self.delete(state, codec::state_key(Kind::Applied, shard, &[]).into())?;
        self.commit()
    }

    /// The marked tasks.
    pub(super) fn marked(
        keyspaces: &Keyspaces,
    ) -> Result<BTreeMap<ShardId, Task>, VersionStoreError> {
        let mut tasks = BTreeMap::new();
        for entry in keyspaces.state.prefix(codec::kind_prefix(Kind::Unfinished)) {
            let (key, mark) = entry.into_inner().map_err(engine_error)?;
            let (shard, _) = codec::split_state_key(&key)?;
            let task = postcard::from_bytes(&mark)
                .map_err(|_| codec::damaged("the mark of an installation cannot be decoded"))?;
            tasks.insert(shard, task);
        }
        Ok(tasks)
    }

    /// Does what is marked, from the start. It is durable only after a persist.
    pub(super) fn run(
        &mut self,
        shard: ShardId,
        task: &Task,
        directory: &Path,
    ) -> Result<(), VersionStoreError> {
        let (Task::Install { span, .. } | Task::Remove { span }) = task;
        if !span.is_empty() {
            self.delete_range(&self.keyspaces.data, codec::data_bounds(span))?;
            self.delete_range(&self.keyspaces.history, codec::history_bounds(span))?;
        }
        let state = &self.keyspaces.state;
        for entry in state.prefix(codec::state_key(Kind::State, shard, &[])) {
            self.delete(state, entry.key().map_err(engine_error)?)?;
        }
        // The engine promises no order within a batch, and some of these keys come back.
        self.commit()?;
        if let Task::Install { applied, .. } = task {
            self.copy(StagedPieces::open(&staging::path_of(directory, shard), shard)?, shard)?;
            let key = codec::state_key(Kind::Applied, shard, &[]);
            self.put(state, key, codec::entry_id(*applied).to_vec())?;
        }
        self.delete(state, codec::state_key(Kind::Unfinished, shard, &[]).into())?;
        self.commit()
    }

    fn copy(&mut self, pieces: StagedPieces, shard: ShardId) -> Result<(), VersionStoreError> {
        let mut current: Option<Key> = None;
        for piece in pieces {
            match piece? {
                SnapshotPiece::Versions(versions) => {
                    for version in versions {
                        let is_newest = current.as_ref() != Some(&version.key);
                        self.copy_version(&version, is_newest)?;
                        current = Some(version.key);
                    }
                }
                SnapshotPiece::State(pairs) => {
                    for (key, value) in pairs {
                        let key = codec::state_key(Kind::State, shard, &key);
                        self.put(&self.keyspaces.state, key, value)?;
                    }
                }
                SnapshotPiece::End { .. } => {}
            }
        }
        Ok(())
    }

    fn copy_version(
        &mut self,
        Version { key, timestamp, value }: &Version,
        is_newest: bool,
    ) -> Result<(), VersionStoreError> {
        let Keyspaces { data, history, .. } = self.keyspaces;
        if is_newest {
            let newest = codec::data_value(*timestamp, value.as_ref());
            self.put(data, codec::data_key(key).into_owned(), newest)?;
        }
        if !is_newest || value.is_none() {
            let entry = codec::history_key(key, *timestamp);
            self.put(history, entry, codec::content(value.as_ref()))?;
        }
        Ok(())
    }

    fn delete_range(
        &mut self,
        keyspace: &Keyspace,
        bounds: Bounds,
    ) -> Result<(), VersionStoreError> {
        for entry in keyspace.range(bounds) {
            self.delete(keyspace, entry.key().map_err(engine_error)?)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        keyspace: &Keyspace,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Result<(), VersionStoreError> {
        let bytes = key.len() + value.len();
        self.batch.insert(keyspace, key, value);
        self.added(bytes)
    }

    fn delete(&mut self, keyspace: &Keyspace, key: UserKey) -> Result<(), VersionStoreError> {
        let bytes = key.len();
        self.batch.remove(keyspace, key);
        self.added(bytes)
    }

    /// Sixty-four bytes stand for what the engine keeps of each entry beside its payload.
    fn added(&mut self, bytes: usize) -> Result<(), VersionStoreError> {
        self.bytes += bytes + 64;
        if self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), VersionStoreError> {
        if self.paced {
            self.pace();
        }
        self.bytes = 0;
        let batch = std::mem::replace(&mut self.batch, self.db.batch());
        batch.commit().map_err(engine_error)
    }
}
