//! The version store on disk, on the LSM engine `fjall`.
//!
//! Three keyspaces, each an LSM tree; one journal, so that a batch over them is atomic.
//! ```text
//! data      key                          -> timestamp, newest version       point read: one exact get
//! history   escaped key, !timestamp      -> an older version                newest first
//! state     kind, shard, key             -> applied entry, state, marks
//! ```
//! Example: a row of `k` at 10, deleted at 20.
//! ```text
//! after 10: data k -> (10, row)
//! after 20: data k -> (20, tombstone)    history k!20 -> tombstone, k!10 -> row
//! ```
//! **Why the newest version moves to the history when it is overwritten**, at the price of a get per
//! write, rather than being written to both at once: measured on 300,000 rows of 100 bytes, writing
//! both makes an insert 2.3 times as expensive. It is a third cheaper where a row is overwritten that
//! nobody read; where it was read just before, as it is under a lock, the two are equal, for the block
//! is cached. Writing both would also keep every live row twice; moving leaves in the history only what
//! the collector may have to drop, so it never walks live rows. An exact get took a quarter to an
//! eighth of the time of a range seek in the history; an engine snapshot for it cost nothing that could
//! be measured.
//!
//! **Durability.** `apply` writes to the engine's journal without handing it to the operating system;
//! `persist` syncs it. After a crash the engine has a prefix of the batches. The engine itself syncs
//! the journal before it writes a memtable out, so no table runs ahead of it.
//!
//! **After opening** the caller compares each shard's applied entry with the start of its log and refuses
//! a shard that is behind it: the engine takes most damage in the middle of its journal for a torn end
//! and goes on with the prefix. It refuses to open where the end was torn inside a row of several
//! pages, which a loss of power can do to what was not persisted (a kill cannot); that node is replaced.
//!
//! **Above the engine** the newest versions of keys that were written of late are kept in a hash map (`recent`), which
//! most writes and most reads under locks find instead of asking the engine.
//!
//! Not here: a cache of rows that are only read; a look at whether a read would miss
//! it, for which the engine has no call; deletion of ranges in one step; ingestion of sorted tables.

mod apply;
mod codec;
mod collect;
mod options;
mod recent;
mod replace;
mod snapshot;
mod staging;
mod view;

#[cfg(test)]
mod tests;

pub use options::{FjallOptions, OpenError};
pub use snapshot::FjallSnapshot;
pub use view::FjallView;

use crate::storage::version_store::{
    ApplyBatch, ReadRows, SnapshotPiece, StatePair, Version, VersionStore, VersionStoreError,
};
use crate::storage::versions::assert_installs_forward;
use crate::storage::versions::page::{Scan, read_spans};
use crate::storage::versions::pieces::bad_snapshot;
use apply::{Finished, Pass};
use codec::Kind;
use collect::Collector;
use fjall::{Database, Keyspace, LsmError, OwnedWriteBatch, PersistMode};
use proto::{EntryId, Key, KeySpan, ShardId};
use recent::{Newest, Recent};
use replace::{Replacer, Task};
use staging::Staging;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use truetime::Timestamp;
use txn::message::ReadLimit;

/// A version store in a directory.
pub struct FjallStore {
    db: Database,
    keyspaces: Keyspaces,
    /// What the state keyspace says, so that nobody has to read it.
    applied: BTreeMap<ShardId, EntryId>,
    recent: Recent,
    receiving: BTreeMap<ShardId, Staging>,
    /// Where snapshots are staged.
    staging: PathBuf,
}

#[derive(Clone)]
struct Keyspaces {
    data: Keyspace,
    history: Keyspace,
    state: Keyspace,
}

impl FjallStore {
    /// Opens the store in `path`, creating it if there is none, and finishes what a crash interrupted.
    pub fn open(path: &Path, options: FjallOptions) -> Result<Self, OpenError> {
        std::fs::create_dir_all(path).map_err(|error| staging::io_error(path, &error))?;
        let db = Database::builder(path.join("engine"))
            .cache_size(options.cache_bytes)
            .max_cached_files(Some(options.files))
            .max_journaling_size(options.journal_bytes)
            .worker_threads(options.worker_threads)
            .manual_journal_persist(true)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => OpenError::InUse { path: path.to_owned() },
                other => OpenError::Store(engine_error(other)),
            })?;
        let keyspace = |name, create: &dyn Fn() -> fjall::KeyspaceCreateOptions| {
            db.keyspace(name, create).map_err(engine_error)
        };
        let keyspaces = Keyspaces {
            data: keyspace("data", &|| options.data())?,
            history: keyspace("history", &|| options.history())?,
            state: keyspace("state", &|| options.state())?,
        };
        check_format(path, &db, &keyspaces)?;

        let staging = path.join("staging");
        let tasks = Replacer::marked(&keyspaces)?;
        for (shard, task) in &tasks {
            Replacer::new(&db, &keyspaces).run(*shard, task, &staging)?;
        }
        if !tasks.is_empty() {
            db.persist(PersistMode::SyncAll).map_err(engine_error)?;
        }
        staging::clear(&staging)?;
        let applied = load_applied(&keyspaces)?;
        let recent = Recent::new(options.recent_bytes);
        Ok(FjallStore { db, keyspaces, applied, recent, receiving: BTreeMap::new(), staging })
    }

    /// The store as it is now, to be read on another thread. It takes `&self` because the engine may
    /// show half a batch to a view that is taken while the batch is applied; of a [`Replacement`], whose batches
    /// nobody waits for, it may show any part, which is why its shard is not read meanwhile.
    #[must_use]
    pub fn view(&self) -> FjallView {
        FjallView { snapshot: self.db.snapshot(), keyspaces: self.keyspaces.clone() }
    }

    /// A read of single keys that were all written of late, and not after `timestamp`; `None` says that it takes
    /// a view to answer.
    #[must_use]
    pub fn read_recent(
        &self,
        spans: &[KeySpan],
        timestamp: Timestamp,
        limit: ReadLimit,
    ) -> Option<ReadRows> {
        let newest = |span: &KeySpan| {
            let key = span.as_point()?;
            let newest = self.recent.get(key).filter(|newest| newest.timestamp <= timestamp)?;
            let Newest { timestamp, value } = newest.clone();
            Some(Version { key: key.clone(), timestamp, value })
        };
        let found: Option<Vec<Version>> = spans.iter().map(newest).collect();
        let mut found = found?.into_iter();
        let read = read_spans(spans, limit, u64::MAX, |_, page| {
            let version = found.next().expect("each span has its version");
            // A tombstone is not a row.
            Ok(if version.value.is_some() { page.take(version) } else { Scan::Finished })
        });
        read.ok()
    }

    /// What has been applied so far, to be made durable, possibly on another thread.
    #[must_use]
    pub fn persist_ticket(&self) -> PersistTicket {
        PersistTicket { db: self.db.clone(), applied: self.applied.clone() }
    }

    /// A batch that is not even handed to the operating system when it is committed.
    fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    /// The first half of [`VersionStore::install`], which is short. What it returns is then carried out,
    /// possibly on another thread; meanwhile nothing is read, applied, collected or replaced in the shard. At the
    /// end comes [`FjallStore::replaced`].
    pub fn begin_install(
        &mut self,
        shard: ShardId,
        span: &KeySpan,
        applied: EntryId,
    ) -> Result<Replacement, VersionStoreError> {
        let Some(received) = self.receiving.remove(&shard) else {
            return Err(bad_snapshot(shard, "none was received"));
        };
        if let Err(error) = received.admits(span) {
            staging::discard(received.path())?;
            return Err(error);
        }
        assert_installs_forward(shard, self.applied(shard)?, applied);
        self.begin(shard, Task::Install { span: span.clone(), applied })
    }

    /// The first half of [`VersionStore::remove`], like [`FjallStore::begin_install`].
    pub fn begin_remove(
        &mut self,
        shard: ShardId,
        span: &KeySpan,
    ) -> Result<Replacement, VersionStoreError> {
        self.receiving.remove(&shard);
        self.begin(shard, Task::Remove { span: span.clone() })
    }

    /// Marks the task: from here on it is finished, at the next opening if not before.
    fn begin(&mut self, shard: ShardId, task: Task) -> Result<Replacement, VersionStoreError> {
        let (db, keyspaces) = (self.db.clone(), self.keyspaces.clone());
        Replacer::new(&db, &keyspaces).mark(shard, &task)?;
        self.applied.remove(&shard);
        // Until the replacement is done nobody asks for the shard's keys, and then it holds others. That those of
        // other shards are forgotten too costs them one look each.
        let forgotten = self.recent.take();
        Ok(Replacement { db, keyspaces, shard, task, staging: self.staging.clone(), forgotten })
    }

    /// The replacement was carried out: what the shard has applied is known again, if it is still there.
    pub fn replaced(&mut self, done: &Replaced) {
        if let Some(applied) = done.applied {
            self.applied.insert(done.shard, applied);
        }
    }
}

impl VersionStore for FjallStore {
    type SnapshotReader = FjallSnapshot;

    fn apply(&mut self, batches: Vec<ApplyBatch>) -> Result<(), VersionStoreError> {
        let mut pass = Pass::new(&self.keyspaces, &self.recent);
        for batch in batches {
            let before = self.applied.get(&batch.shard).copied();
            pass.add(batch, before)?;
        }
        let Finished { batch, newest, applied } = pass.finish(self.batch());
        batch.commit().map_err(engine_error)?;
        for (key, newest) in newest {
            self.recent.put(key, newest);
        }
        self.applied.extend(applied);
        Ok(())
    }

    fn read(
        &self,
        spans: &[KeySpan],
        timestamp: Timestamp,
        limit: ReadLimit,
    ) -> Result<ReadRows, VersionStoreError> {
        match self.read_recent(spans, timestamp, limit) {
            Some(found) => Ok(found),
            None => self.view().read(spans, timestamp, limit),
        }
    }

    fn applied(&self, shard: ShardId) -> Result<Option<EntryId>, VersionStoreError> {
        Ok(self.applied.get(&shard).copied())
    }

    fn shards(&self) -> Vec<ShardId> {
        self.applied.keys().copied().collect()
    }

    fn state(&self, shard: ShardId) -> Result<Vec<StatePair>, VersionStoreError> {
        self.view().state(shard)
    }

    fn persist(&mut self) -> Result<Vec<(ShardId, EntryId)>, VersionStoreError> {
        self.persist_ticket().persist()
    }

    fn snapshot(
        &self,
        shard: ShardId,
        span: &KeySpan,
    ) -> Result<Self::SnapshotReader, VersionStoreError> {
        Ok(FjallSnapshot::new(&self.view(), shard, span))
    }

    fn receive_begin(&mut self, shard: ShardId) -> Result<(), VersionStoreError> {
        self.receiving.insert(shard, Staging::create(&self.staging, shard)?);
        Ok(())
    }

    fn receive_piece(
        &mut self,
        shard: ShardId,
        piece: SnapshotPiece,
    ) -> Result<bool, VersionStoreError> {
        let Some(receiving) = self.receiving.get_mut(&shard) else {
            return Err(bad_snapshot(shard, "a piece came and none is being received"));
        };
        let taken = receiving.take(&piece);
        if taken.is_err() {
            staging::discard(receiving.path())?;
            self.receiving.remove(&shard);
        }
        taken
    }

    fn check_received(&self, shard: ShardId, span: &KeySpan) -> Result<(), VersionStoreError> {
        match self.receiving.get(&shard) {
            Some(received) => received.admits(span),
            None => Err(bad_snapshot(shard, "none was received")),
        }
    }

    fn install(
        &mut self,
        shard: ShardId,
        span: &KeySpan,
        applied: EntryId,
    ) -> Result<(), VersionStoreError> {
        let done = self.begin_install(shard, span, applied)?.run()?;
        self.replaced(&done);
        Ok(())
    }

    fn collect(
        &mut self,
        span: &KeySpan,
        threshold: Timestamp,
        from: Key,
        keys_max: usize,
    ) -> Result<Option<Key>, VersionStoreError> {
        let from = from.max(span.start.clone());
        if span.end.as_ref().is_some_and(|end| *end <= from) {
            return Ok(None);
        }
        let view = self.view();
        let collector = Collector::new(&view, span, threshold, self.batch());
        let (batch, next) = collector.run(&from, keys_max.max(1))?;
        batch.commit().map_err(engine_error)?;
        Ok(next)
    }

    fn remove(&mut self, shard: ShardId, span: &KeySpan) -> Result<(), VersionStoreError> {
        let done = self.begin_remove(shard, span)?.run()?;
        self.replaced(&done);
        Ok(())
    }
}

/// A shard whose versions and state are being replaced or removed.
#[must_use = "the shard is neither old nor new until it was carried out"]
pub struct Replacement {
    db: Database,
    keyspaces: Keyspaces,
    shard: ShardId,
    task: Task,
    staging: PathBuf,
    /// Of the store; tens of thousands of entries, freed when nobody waits for the store.
    forgotten: Recent,
}

/// A replacement that is durable.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    shard: ShardId,
    /// `None` when the shard was removed.
    applied: Option<EntryId>,
}

impl Replacement {
    /// Carries it out and makes it durable.
    pub fn run(self) -> Result<Replaced, VersionStoreError> {
        let Replacement { db, keyspaces, shard, task, staging, forgotten } = self;
        drop(forgotten);
        Replacer::new(&db, &keyspaces).beside_others().run(shard, &task, &staging)?;
        db.persist(PersistMode::SyncAll).map_err(engine_error)?;
        staging::discard(&staging::path_of(&staging, shard))?;
        let applied = match task {
            Task::Install { applied, .. } => Some(applied),
            Task::Remove { .. } => None,
        };
        Ok(Replaced { shard, applied })
    }
}

/// A promise to make durable what had been applied when it was taken.
pub struct PersistTicket {
    db: Database,
    applied: BTreeMap<ShardId, EntryId>,
}

impl PersistTicket {
    /// What it will make durable.
    #[must_use]
    pub fn applied(&self) -> &BTreeMap<ShardId, EntryId> {
        &self.applied
    }

    /// Syncs. What is returned was noted before the sync began: what is applied meanwhile may or may not
    /// be durable.
    pub fn persist(self) -> Result<Vec<(ShardId, EntryId)>, VersionStoreError> {
        self.db.persist(PersistMode::SyncAll).map_err(engine_error)?;
        Ok(self.applied.into_iter().collect())
    }
}

/// Refuses a directory of a newer release, and notes the version in a new one.
fn check_format(path: &Path, db: &Database, keyspaces: &Keyspaces) -> Result<(), OpenError> {
    let known = codec::FORMAT_VERSION;
    match keyspaces.state.get(codec::FORMAT_KEY).map_err(engine_error)? {
        Some(found) => {
            let found = <[u8; 4]>::try_from(&*found)
                .map_err(|_| codec::damaged("the format version has the wrong length"))?;
            let found = u32::from_be_bytes(found);
            if found > known {
                return Err(OpenError::NewerFormat { path: path.to_owned(), found, known });
            }
        }
        None => {
            let is_new =
                [&keyspaces.state, &keyspaces.data, &keyspaces.history].map(Keyspace::is_empty);
            for is_new in is_new {
                if !is_new.map_err(engine_error)? {
                    return Err(codec::damaged("it has contents and no format version").into());
                }
            }
            let mut batch = db.batch();
            batch.insert(&keyspaces.state, codec::FORMAT_KEY, known.to_be_bytes());
            batch.commit().map_err(engine_error)?;
            db.persist(PersistMode::SyncAll).map_err(engine_error)?;
        }
    }
    Ok(())
}

fn load_applied(keyspaces: &Keyspaces) -> Result<BTreeMap<ShardId, EntryId>, VersionStoreError> {
    let mut applied = BTreeMap::new();
    for entry in keyspaces.state.prefix(codec::kind_prefix(Kind::Applied)) {
        let (key, value) = entry.into_inner().map_err(engine_error)?;
        let (shard, _) = codec::split_state_key(&key)?;
        applied.insert(shard, codec::split_entry_id(&value)?);
    }
    Ok(applied)
}

/// Tells bytes that are wrong from an engine that does not work.
fn engine_error(error: fjall::Error) -> VersionStoreError {
    match error {
        fjall::Error::Storage(LsmError::Io(io)) | fjall::Error::Io(io) => {
            VersionStoreError::Failed { reason: io.to_string() }
        }
        fjall::Error::Storage(_)
        | fjall::Error::JournalRecovery(_)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => VersionStoreError::Damaged { what: error.to_string() },
        // A flush in the background failed. It told nobody why, but most often there is no space for it.
        fjall::Error::Poisoned => VersionStoreError::Failed {
            reason:
                "a write of its own failed, as it does without free space or on a broken disk; \
                     free space if there is none"
                    .to_owned(),
        },
        other => VersionStoreError::Failed { reason: other.to_string() },
    }
}
