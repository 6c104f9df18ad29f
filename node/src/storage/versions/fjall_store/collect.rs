//! Garbage collection of versions. Walks the history only, so its cost follows the garbage and not the
//! data: every key that has something to drop has an entry there.

use super::codec;
use super::view::{FjallView, HistoryCursor, history_version};
use crate::storage::version_store::{Version, VersionStoreError};
use fjall::OwnedWriteBatch;
use proto::{Key, KeySpan};
use truetime::Timestamp;

/// Versions dropped by one call at the most, so that a key which was written a million times does not
/// become one batch.
const DROPPED_MAX: usize = 10_000;

/// One walk of the collector.
pub(super) struct Collector<'v> {
    view: &'v FjallView,
    cursor: HistoryCursor<'v>,
    batch: OwnedWriteBatch,
    threshold: Timestamp,
    dropped: usize,
}

/// Whether all that a key has to lose is in the batch.
#[derive(PartialEq, Eq)]
enum Progress {
    Done,
    BatchFull,
}

impl<'v> Collector<'v> {
    /// Collects what no read at or above `threshold` sees, into `batch`.
    pub(super) fn new(
        view: &'v FjallView,
        span: &KeySpan,
        threshold: Timestamp,
        batch: OwnedWriteBatch,
    ) -> Self {
        Collector { view, cursor: HistoryCursor::new(view, span), batch, threshold, dropped: 0 }
    }

    /// Looks at `keys_max` keys from `from` on. Returns what to commit, and where to go on.
    pub(super) fn run(
        mut self,
        from: &Key,
        keys_max: usize,
    ) -> Result<(OwnedWriteBatch, Option<Key>), VersionStoreError> {
        let mut target = codec::history_prefix(from);
        let mut keys = 0;
        loop {
            self.cursor.seek(&target)?;
            let Some((entry, _)) = self.cursor.head() else { return Ok((self.batch, None)) };
            let (key, _) = codec::split_history_key(entry)?;
            if keys == keys_max || self.collect_key(&key)? == Progress::BatchFull {
                return Ok((self.batch, Some(key)));
            }
            keys += 1;
            target = codec::history_prefix(&key.successor());
        }
    }

    /// Drops what the key's newest version at or below the threshold covers, and then that one too if
    /// it is a tombstone: only when nothing is left below it, for until then it must cover that.
    fn collect_key(&mut self, key: &Key) -> Result<Progress, VersionStoreError> {
        let keyspaces = &self.view.keyspaces;
        let newest = self.view.newest(key)?;
        let newest = newest.ok_or_else(|| codec::damaged("a key has a history and no newest"))?;
        let (newest_at, content) = codec::split_data_value(&newest)?;
        let mut is_covered = newest_at <= self.threshold;
        let mut tombstone = (is_covered && codec::split_content(content)?.is_none())
            .then(|| (&keyspaces.data, codec::data_key(key).into_owned()));

        self.cursor.seek(&codec::history_key(key, self.threshold))?;
        while let Some(older) = self.head_of(key)? {
            let entry = codec::history_key(key, older.timestamp);
            if !is_covered {
                is_covered = true;
                tombstone = older.value.is_none().then_some((&keyspaces.history, entry));
            } else if self.dropped < DROPPED_MAX {
                self.batch.remove(&keyspaces.history, entry);
                self.dropped += 1;
            } else {
                return Ok(Progress::BatchFull);
            }
            self.cursor.step()?;
        }
        if let Some((keyspace, entry)) = tombstone {
            self.batch.remove(keyspace, entry);
        }
        Ok(Progress::Done)
    }

    /// The version the cursor stands on, if it is one of `key`.
    fn head_of(&self, key: &Key) -> Result<Option<Version>, VersionStoreError> {
        let head = self.cursor.head().map(history_version).transpose()?;
        Ok(head.filter(|version| version.key == *key))
    }
}
