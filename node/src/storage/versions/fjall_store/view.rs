//! Reading at one instant of the engine.

use super::codec::{self, Bounds};
use super::snapshot::StateIter;
use super::{Keyspaces, engine_error};
use crate::storage::version_store::{ReadRows, StatePair, Version, VersionStoreError};
use crate::storage::versions::page::{Page, Scan, read_spans};
use fjall::{Readable, Snapshot, UserKey, UserValue};
use proto::{Key, KeySpan, ShardId};
use std::ops::Bound;
use truetime::Timestamp;
use txn::message::ReadLimit;

/// How many entries are passed one by one before a new seek: one seek costs about as much.
const STEPS_MAX: usize = 8;

/// The store as it was when the view was taken. It can go to another thread, which is how a read that
/// misses the cache leaves the shard loop; batches applied later are not seen. Take it, then compare
/// the read's timestamp with the threshold of garbage collection (T61).
pub struct FjallView {
    pub(super) snapshot: Snapshot,
    pub(super) keyspaces: Keyspaces,
}

impl FjallView {
    /// Reads `spans` at `timestamp`, as [`crate::storage::version_store::VersionStore::read`] does.
    pub fn read(
        &self,
        spans: &[KeySpan],
        timestamp: Timestamp,
        limit: ReadLimit,
    ) -> Result<ReadRows, VersionStoreError> {
        self.read_some(spans, timestamp, limit, u64::MAX)
    }

    /// The same, but stops once it has looked at so many entries, be they rows at `timestamp` or not. What was
    /// not read then is in `rest`, perhaps from the start of a span on.
    pub fn read_some(
        &self,
        spans: &[KeySpan],
        timestamp: Timestamp,
        limit: ReadLimit,
        looks: u64,
    ) -> Result<ReadRows, VersionStoreError> {
        read_spans(spans, limit, looks, |span, page| match span.as_point() {
            Some(key) => self.read_point(key, timestamp, page),
            None => self.read_range(span, timestamp, page),
        })
    }

    /// All pairs of the shard's state, by key.
    pub fn state(&self, shard: ShardId) -> Result<Vec<StatePair>, VersionStoreError> {
        StateIter::new(self, shard).collect()
    }

    fn read_point(
        &self,
        key: &Key,
        at: Timestamp,
        page: &mut Page,
    ) -> Result<Scan, VersionStoreError> {
        if !page.may_look() {
            return Ok(Scan::Stopped);
        }
        let Some(newest) = self.newest(key)? else { return Ok(Scan::Finished) };
        let (timestamp, content) = codec::split_data_value(&newest)?;
        if timestamp <= at {
            return take(page, codec::version(key.clone(), timestamp, content)?);
        }
        let mut older = self.history(codec::history_at_or_below(key, at));
        match older.next() {
            Some(entry) => take(page, history_version(&entry.into_inner().map_err(engine_error)?)?),
            None => Ok(Scan::Finished),
        }
    }

    fn read_range(
        &self,
        span: &KeySpan,
        at: Timestamp,
        page: &mut Page,
    ) -> Result<Scan, VersionStoreError> {
        let mut history = HistoryCursor::new(self, span);
        for entry in self.snapshot.range(&self.keyspaces.data, codec::data_bounds(span)) {
            if !page.may_look() {
                return Ok(Scan::Stopped);
            }
            let (key, newest) = entry.into_inner().map_err(engine_error)?;
            let key = codec::key_of_data(&key);
            let (timestamp, content) = codec::split_data_value(&newest)?;
            let version = if timestamp <= at {
                Some(codec::version(key, timestamp, content)?)
            } else {
                history.seek(&codec::history_key(&key, at))?;
                let older = history.head().map(history_version).transpose()?;
                older.filter(|older| older.key == key)
            };
            if let Some(version) = version
                && take(page, version)? == Scan::Stopped
            {
                return Ok(Scan::Stopped);
            }
        }
        Ok(Scan::Finished)
    }

    /// The newest version of the key, as `data` holds it.
    pub(super) fn newest(&self, key: &Key) -> Result<Option<UserValue>, VersionStoreError> {
        self.snapshot.get(&self.keyspaces.data, codec::data_key(key)).map_err(engine_error)
    }

    pub(super) fn history(&self, bounds: Bounds) -> fjall::Iter {
        self.snapshot.range(&self.keyspaces.history, bounds)
    }
}

/// A tombstone is not a row.
fn take(page: &mut Page, version: Version) -> Result<Scan, VersionStoreError> {
    Ok(if version.value.is_some() { page.take(version) } else { Scan::Finished })
}

/// The version that an entry of `history` is.
pub(super) fn history_version(
    (key, content): &(UserKey, UserValue),
) -> Result<Version, VersionStoreError> {
    let (key, timestamp) = codec::split_history_key(key)?;
    codec::version(key, timestamp, content)
}

/// Moves forward through the history of a span: step by step while that is near, else by a new seek.
pub(super) struct HistoryCursor<'v> {
    view: &'v FjallView,
    end: Bound<Vec<u8>>,
    entries: Option<fjall::Iter>,
    head: Option<(UserKey, UserValue)>,
}

impl<'v> HistoryCursor<'v> {
    /// Before the span's first entry; seek first.
    pub(super) fn new(view: &'v FjallView, span: &KeySpan) -> Self {
        let (_, end) = codec::history_bounds(span);
        HistoryCursor { view, end, entries: None, head: None }
    }

    /// The entry that was found.
    pub(super) fn head(&self) -> Option<&(UserKey, UserValue)> {
        self.head.as_ref()
    }

    /// Goes on to the following entry.
    pub(super) fn step(&mut self) -> Result<(), VersionStoreError> {
        let next = self.entries.as_mut().and_then(Iterator::next);
        self.head = next.map(|entry| entry.into_inner().map_err(engine_error)).transpose()?;
        Ok(())
    }

    /// Goes on to the first entry at or behind `target`, which never lies before an earlier target.
    pub(super) fn seek(&mut self, target: &[u8]) -> Result<(), VersionStoreError> {
        if self.entries.is_some() {
            for _ in 0..STEPS_MAX {
                match &self.head {
                    Some((key, _)) if &**key < target => self.step()?,
                    Some(_) | None => return Ok(()),
                }
            }
        }
        let bounds = (Bound::Included(target.to_vec()), self.end.clone());
        self.entries = Some(self.view.history(bounds));
        self.step()
    }
}
