//! The stream of a shard's snapshot: newest versions and history merged, then state.

use super::codec::{self, Kind};
use super::engine_error;
use super::view::{FjallView, history_version};
use crate::storage::version_store::{SnapshotPiece, StatePair, Version, VersionStoreError};
use crate::storage::versions::pieces::PieceStream;
use fjall::Readable;
use proto::{Key, KeySpan, ShardId};
use truetime::Timestamp;

/// A frozen shard. While it is held the engine keeps what it shows, so it should not be held idle.
pub struct FjallSnapshot(PieceStream<VersionsIter, StateIter>);

impl FjallSnapshot {
    pub(super) fn new(view: &FjallView, shard: ShardId, span: &KeySpan) -> Self {
        FjallSnapshot(PieceStream::new(VersionsIter::new(view, span), StateIter::new(view, shard)))
    }
}

impl Iterator for FjallSnapshot {
    type Item = Result<SnapshotPiece, VersionStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// All versions of a span, keys ascending, newest first.
struct VersionsIter {
    data: Option<fjall::Iter>,
    history: Option<fjall::Iter>,
    /// The history's next version.
    older: Option<Version>,
    /// The key whose newest version was returned last, and when that was written.
    current: Option<(Key, Timestamp)>,
}

impl VersionsIter {
    fn new(view: &FjallView, span: &KeySpan) -> Self {
        let open = !span.is_empty();
        let data = || view.snapshot.range(&view.keyspaces.data, codec::data_bounds(span));
        VersionsIter {
            data: open.then(data),
            history: open.then(|| view.history(codec::history_bounds(span))),
            older: None,
            current: None,
        }
    }

    fn next_version(&mut self) -> Result<Option<Version>, VersionStoreError> {
        loop {
            if self.older.is_none() {
                self.older = self.next_older()?;
            }
            let Some(older) = &self.older else { break };
            match &self.current {
                // A newest tombstone stands in both keyspaces.
                Some((key, newest)) if older.key == *key && older.timestamp == *newest => {
                    self.older = None;
                }
                Some((key, newest)) if older.key == *key => {
                    if older.timestamp > *newest {
                        return Err(codec::damaged("a key's history is newer than its newest"));
                    }
                    return Ok(self.older.take());
                }
                Some(_) | None => break,
            }
        }
        let newest = self.next_newest()?;
        let is_orphan = match (&self.older, &newest) {
            (Some(older), Some(newest)) => older.key < newest.key,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_orphan {
            return Err(codec::damaged("a key has a history and no newest"));
        }
        self.current = newest.as_ref().map(|version| (version.key.clone(), version.timestamp));
        Ok(newest)
    }

    fn next_older(&mut self) -> Result<Option<Version>, VersionStoreError> {
        let Some(entry) = self.history.as_mut().and_then(Iterator::next) else { return Ok(None) };
        history_version(&entry.into_inner().map_err(engine_error)?).map(Some)
    }

    fn next_newest(&mut self) -> Result<Option<Version>, VersionStoreError> {
        let Some(entry) = self.data.as_mut().and_then(Iterator::next) else { return Ok(None) };
        let (key, value) = entry.into_inner().map_err(engine_error)?;
        let (timestamp, content) = codec::split_data_value(&value)?;
        codec::version(codec::key_of_data(&key), timestamp, content).map(Some)
    }
}

impl Iterator for VersionsIter {
    type Item = Result<Version, VersionStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_version().transpose()
    }
}

/// All pairs of a shard's state, by key.
pub(super) struct StateIter(fjall::Iter);

impl StateIter {
    pub(super) fn new(view: &FjallView, shard: ShardId) -> Self {
        let prefix = codec::state_key(Kind::State, shard, &[]);
        StateIter(view.snapshot.prefix(&view.keyspaces.state, prefix))
    }

    fn pair(entry: fjall::Guard) -> Result<StatePair, VersionStoreError> {
        let (key, value) = entry.into_inner().map_err(engine_error)?;
        let (_, key) = codec::split_state_key(&key)?;
        Ok((key.to_vec(), value.to_vec()))
    }
}

impl Iterator for StateIter {
    type Item = Result<StatePair, VersionStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(StateIter::pair)
    }
}
