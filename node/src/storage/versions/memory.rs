//! The version store of the simulator: all in memory, deterministic, and able to crash.
//!
//! What a crash takes back is kept as a list of undo steps since the last persist, so that a persist
//! costs nothing and a crash only what was not persisted. An *operation* is one call of `apply` or
//! `collect`; the disk may have kept any number of the first ones ([`MemoryStore::crash_keeping`]).
//! `install` and `remove` persist everything, as the store on disk does. Measured against that one, a
//! pass of three writes takes a tenth of the time and a point read a sixth.
//!
//! Not here: errors of the engine. The simulator stops a node whose disk failed before it comes here.

use super::page::{Page, Scan, read_spans};
use super::pieces::{PieceCheck, PieceStream, bad_snapshot, encode};
use super::{assert_applied_grows, assert_installs_forward};
use crate::storage::version_store::{
    ApplyBatch, ReadRows, SnapshotPiece, StateChange, StatePair, Version, VersionStore,
    VersionStoreError,
};
use proto::{EntryId, Key, KeySpan, ShardId, Value};
use std::collections::BTreeMap;
use std::ops::Bound;
use truetime::Timestamp;
use txn::message::ReadLimit;

/// All versions of a key, oldest first: the newest is pushed and found at the end.
type Chain = Vec<(Timestamp, Option<Value>)>;

/// A version store without a disk.
#[derive(Debug, Default)]
pub struct MemoryStore {
    chains: BTreeMap<Key, Chain>,
    shards: BTreeMap<ShardId, Shard>,
    receiving: BTreeMap<ShardId, Receiving>,
    undo: Vec<Undo>,
    /// Where in `undo` each operation begins that is not persisted.
    operations: Vec<usize>,
}

#[derive(Debug)]
struct Shard {
    applied: EntryId,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Debug)]
struct Receiving {
    check: PieceCheck,
    versions: Vec<Version>,
    state: Vec<StatePair>,
}

/// How to take back one change.
#[derive(Debug)]
enum Undo {
    /// Drops the newest version of the key.
    Pushed(Key),
    /// Puts these, the oldest, back in front of the key's versions.
    Collected(Key, Chain),
    /// Sets the pair, or removes it.
    State(ShardId, Vec<u8>, Option<Vec<u8>>),
    /// Sets the entry, or forgets the shard.
    Applied(ShardId, Option<EntryId>),
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        MemoryStore::default()
    }

    /// How many operations a crash would take back.
    #[must_use]
    pub fn unpersisted(&self) -> usize {
        self.operations.len()
    }

    /// Falls back to what was persisted. Snapshots that were being received are gone.
    pub fn crash(&mut self) {
        self.crash_keeping(0);
    }

    /// Falls back to what was persisted and the first `kept` operations after it: an engine may have
    /// written more than it was asked to, but always a prefix.
    pub fn crash_keeping(&mut self, kept: usize) {
        let keep_through = self.operations.get(kept).copied().unwrap_or(self.undo.len());
        while self.undo.len() > keep_through {
            let step = self.undo.pop().expect("the list is longer than what is kept");
            self.take_back(step);
        }
        self.receiving.clear();
        self.forget_undo();
    }

    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Pushed(key) => {
                let chain = self.chains.get_mut(&key).expect("a pushed version's key has a chain");
                chain.pop();
                if chain.is_empty() {
                    self.chains.remove(&key);
                }
            }
            Undo::Collected(key, mut oldest) => {
                let chain = self.chains.entry(key).or_default();
                oldest.append(chain);
                *chain = oldest;
            }
            Undo::State(shard, key, before) => {
                let shard = self.shards.get_mut(&shard).expect("state changed, so it is known");
                match before {
                    Some(value) => shard.state.insert(key, value),
                    None => shard.state.remove(&key),
                };
            }
            Undo::Applied(shard, Some(before)) => {
                self.shards.get_mut(&shard).expect("it had applied before").applied = before;
            }
            Undo::Applied(shard, None) => {
                self.shards.remove(&shard);
            }
        }
    }

    fn forget_undo(&mut self) {
        self.undo.clear();
        self.operations.clear();
    }

    fn push(&mut self, version: Version) {
        let Version { key, timestamp, value } = version;
        let chain = self.chains.entry(key.clone()).or_default();
        if let Some((newest, _)) = chain.last() {
            assert!(
                timestamp > *newest,
                "key {key}: a version at {timestamp:?} came after {newest:?}"
            );
        }
        chain.push((timestamp, value));
        self.undo.push(Undo::Pushed(key));
    }

    fn change(&mut self, id: ShardId, change: StateChange) {
        let state = &mut self.shards.get_mut(&id).expect("applied was set before its state").state;
        match change {
            StateChange::Put(key, value) => {
                let before = state.insert(key.clone(), value);
                self.undo.push(Undo::State(id, key, before));
            }
            StateChange::Delete(key) => {
                if let Some(before) = state.remove(&key) {
                    self.undo.push(Undo::State(id, key, Some(before)));
                }
            }
            StateChange::DeleteRange(from, to) if from < to => {
                for (key, before) in state.extract_if(from..to, |_, _| true) {
                    self.undo.push(Undo::State(id, key, Some(before)));
                }
            }
            StateChange::DeleteRange(..) => {}
        }
    }

    fn drop_span(&mut self, span: &KeySpan) {
        let keys: Vec<Key> = self.chains.range::<Key, _>(bounds(span)).map(key_of).collect();
        for key in keys {
            self.chains.remove(&key);
        }
    }
}

impl VersionStore for MemoryStore {
    type SnapshotReader = MemorySnapshot;

    fn apply(&mut self, batches: Vec<ApplyBatch>) -> Result<(), VersionStoreError> {
        self.operations.push(self.undo.len());
        for batch in batches {
            let ApplyBatch { shard, applied, versions, state } = batch;
            let before = self.shards.get(&shard).map(|known| known.applied);
            assert_applied_grows(shard, before, applied);
            let new = || Shard { applied, state: BTreeMap::new() };
            self.shards.entry(shard).or_insert_with(new).applied = applied;
            self.undo.push(Undo::Applied(shard, before));
            for version in versions {
                self.push(version);
            }
            for change in state {
                self.change(shard, change);
            }
        }
        Ok(())
    }

    fn read(
        &self,
        spans: &[KeySpan],
        timestamp: Timestamp,
        limit: ReadLimit,
    ) -> Result<ReadRows, VersionStoreError> {
        read_spans(spans, limit, u64::MAX, |span, page| {
            if let Some(key) = span.as_point() {
                let found = self.chains.get(key).and_then(|chain| row_at(key, chain, timestamp));
                return Ok(found.map_or(Scan::Finished, |row| page.take(row)));
            }
            Ok(scan(self.chains.range::<Key, _>(bounds(span)), timestamp, page))
        })
    }

    fn applied(&self, shard: ShardId) -> Result<Option<EntryId>, VersionStoreError> {
        Ok(self.shards.get(&shard).map(|known| known.applied))
    }

    fn shards(&self) -> Vec<ShardId> {
        self.shards.keys().copied().collect()
    }

    fn state(&self, shard: ShardId) -> Result<Vec<StatePair>, VersionStoreError> {
        let state = self.shards.get(&shard).map(|known| &known.state);
        let pairs = state.into_iter().flatten();
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn persist(&mut self) -> Result<Vec<(ShardId, EntryId)>, VersionStoreError> {
        self.forget_undo();
        Ok(self.shards.iter().map(|(shard, known)| (*shard, known.applied)).collect())
    }

    fn snapshot(
        &self,
        shard: ShardId,
        span: &KeySpan,
    ) -> Result<Self::SnapshotReader, VersionStoreError> {
        let mut versions = Vec::new();
        if !span.is_empty() {
            for (key, chain) in self.chains.range::<Key, _>(bounds(span)) {
                versions.extend(chain.iter().rev().map(|(timestamp, value)| Version {
                    key: key.clone(),
                    timestamp: *timestamp,
                    value: value.clone(),
                }));
            }
        }
        let state = self.state(shard)?;
        let (versions, state) = (Frozen(versions.into_iter()), Frozen(state.into_iter()));
        Ok(MemorySnapshot(PieceStream::new(versions, state)))
    }

    fn receive_begin(&mut self, shard: ShardId) -> Result<(), VersionStoreError> {
        let check = PieceCheck::new(shard);
        let receiving = Receiving { check, versions: Vec::new(), state: Vec::new() };
        self.receiving.insert(shard, receiving);
        Ok(())
    }

    fn receive_piece(
        &mut self,
        shard: ShardId,
        piece: SnapshotPiece,
    ) -> Result<bool, VersionStoreError> {
        let Some(mut receiving) = self.receiving.remove(&shard) else {
            return Err(bad_snapshot(shard, "a piece came and none is being received"));
        };
        let is_complete = receiving.check.next(&piece, &encode(&piece))?;
        match piece {
            SnapshotPiece::Versions(versions) => receiving.versions.extend(versions),
            SnapshotPiece::State(pairs) => receiving.state.extend(pairs),
            SnapshotPiece::End { .. } => {}
        }
        self.receiving.insert(shard, receiving);
        Ok(is_complete)
    }

    fn check_received(&self, shard: ShardId, span: &KeySpan) -> Result<(), VersionStoreError> {
        match self.receiving.get(&shard) {
            Some(received) => received.check.admits(span),
            None => Err(bad_snapshot(shard, "none was received")),
        }
    }

    fn install(
        &mut self,
        shard: ShardId,
        span: &KeySpan,
        applied: EntryId,
    ) -> Result<(), VersionStoreError> {
        let Some(received) = self.receiving.remove(&shard) else {
            return Err(bad_snapshot(shard, "none was received"));
        };
        received.check.admits(span)?;
        assert_installs_forward(shard, self.applied(shard)?, applied);
        self.drop_span(span);
        for Version { key, timestamp, value } in received.versions.into_iter().rev() {
            self.chains.entry(key).or_default().push((timestamp, value));
        }
        let state = received.state.into_iter().collect();
        self.shards.insert(shard, Shard { applied, state });
        self.forget_undo();
        Ok(())
    }

    fn collect(
        &mut self,
        span: &KeySpan,
        threshold: Timestamp,
        from: Key,
        keys_max: usize,
    ) -> Result<Option<Key>, VersionStoreError> {
        let span = KeySpan { start: from.max(span.start.clone()), end: span.end.clone() };
        if span.is_empty() {
            return Ok(None);
        }
        self.operations.push(self.undo.len());
        let mut emptied = Vec::new();
        let mut keys = self.chains.range_mut::<Key, _>(bounds(&span));
        for (key, chain) in keys.by_ref().take(keys_max.max(1)) {
            let obsolete = obsolete_len(chain, threshold);
            if obsolete > 0 {
                let oldest = chain.drain(..obsolete).collect();
                self.undo.push(Undo::Collected(key.clone(), oldest));
                if chain.is_empty() {
                    emptied.push(key.clone());
                }
            }
        }
        let next = keys.next().map(|(key, _)| key.clone());
        for key in emptied {
            self.chains.remove(&key);
        }
        Ok(next)
    }

    fn remove(&mut self, shard: ShardId, span: &KeySpan) -> Result<(), VersionStoreError> {
        self.drop_span(span);
        self.shards.remove(&shard);
        self.receiving.remove(&shard);
        self.forget_undo();
        Ok(())
    }
}

/// A copy of a shard's versions and state; keys and values are shared with the store.
pub struct MemorySnapshot(PieceStream<Frozen<Version>, Frozen<StatePair>>);

impl Iterator for MemorySnapshot {
    type Item = Result<SnapshotPiece, VersionStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Items that cannot fail to be read.
struct Frozen<T>(std::vec::IntoIter<T>);

impl<T> Iterator for Frozen<T> {
    type Item = Result<T, VersionStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Ok)
    }
}

fn scan<'a>(
    chains: impl Iterator<Item = (&'a Key, &'a Chain)>,
    timestamp: Timestamp,
    page: &mut Page,
) -> Scan {
    for (key, chain) in chains {
        if let Some(row) = row_at(key, chain, timestamp)
            && page.take(row) == Scan::Stopped
        {
            return Scan::Stopped;
        }
    }
    Scan::Finished
}

/// The row that the key had at `at`. Most reads want the newest version, so the search is from there.
fn row_at(key: &Key, chain: &Chain, at: Timestamp) -> Option<Version> {
    let (timestamp, value) = match chain.last() {
        Some(newest) if newest.0 <= at => newest,
        _ => chain[..chain.partition_point(|(timestamp, _)| *timestamp <= at)].last()?,
    };
    let value = Some(value.clone()?);
    Some(Version { key: key.clone(), timestamp: *timestamp, value })
}

/// How many of the oldest versions no read at or above `threshold` can see: those below the newest at
/// or below it, and that one too when it is a tombstone, for then it covers nothing any more.
fn obsolete_len(chain: &Chain, threshold: Timestamp) -> usize {
    let seen = chain.partition_point(|(timestamp, _)| *timestamp <= threshold);
    match chain[..seen].last() {
        Some((_, Some(_))) => seen - 1,
        Some((_, None)) | None => seen,
    }
}

fn key_of((key, _): (&Key, &Chain)) -> Key {
    key.clone()
}

/// The span as bounds; one that is empty becomes one that is empty and in order.
fn bounds(span: &KeySpan) -> (Bound<&Key>, Bound<&Key>) {
    match &span.end {
        Some(end) if *end <= span.start => {
            (Bound::Included(&span.start), Bound::Excluded(&span.start))
        }
        Some(end) => (Bound::Included(&span.start), Bound::Excluded(end)),
        None => (Bound::Included(&span.start), Bound::Unbounded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{LogIndex, Term};

    const SHARD: ShardId = ShardId(1);

    fn batch(index: u64, versions: &[(&str, Option<&str>)], state: Vec<StateChange>) -> ApplyBatch {
        let version = |(key, value): &(&str, Option<&str>)| Version {
            key: Key::from(key.as_bytes()),
            timestamp: Timestamp::from_nanos(index),
            value: value.map(|value| Value::from(value.as_bytes())),
        };
        let applied = EntryId { term: Term(1), index: LogIndex(index) };
        ApplyBatch {
            shard: SHARD,
            applied,
            versions: versions.iter().map(version).collect(),
            state,
        }
    }

    fn image(store: &MemoryStore) -> String {
        format!("{:?} {:?}", store.chains, store.shards)
    }

    /// Every kind of change, with the image after each operation.
    fn history() -> (MemoryStore, Vec<String>) {
        let put = |key: &str, value: &str| StateChange::Put(key.into(), value.into());
        let range = StateChange::DeleteRange("a".into(), "c".into());
        let mut store = MemoryStore::new();
        let mut images = vec![image(&store)];
        let passes = [
            batch(1, &[("x", Some("1")), ("y", Some("1"))], vec![put("a", "1"), put("b", "1")]),
            batch(
                2,
                &[("x", None), ("z", None)],
                vec![put("a", "2"), StateChange::Delete("b".into())],
            ),
            batch(3, &[("x", Some("3"))], vec![put("c", "3"), range, put("a", "4")]),
        ];
        for pass in passes {
            store.apply(vec![pass]).unwrap();
            images.push(image(&store));
        }
        for threshold in [2, 3] {
            let threshold = Timestamp::from_nanos(threshold);
            store.collect(&KeySpan::all(), threshold, Key::default(), 9).unwrap();
            images.push(image(&store));
        }
        store.apply(vec![batch(4, &[("z", Some("4"))], vec![])]).unwrap();
        images.push(image(&store));
        (store, images)
    }

    #[test]
    fn crash_keeping_any_number_of_operations_leaves_the_image_after_them() {
        let (store, images) = history();
        assert_eq!(store.unpersisted(), images.len() - 1);
        for (kept, expected) in images.iter().enumerate() {
            let (mut store, _) = history();
            store.crash_keeping(kept);
            assert_eq!(image(&store), *expected, "{kept} operations kept");
            assert_eq!(store.unpersisted(), 0);
            store.crash();
            assert_eq!(image(&store), *expected, "what a crash left is persisted");
        }
    }

    #[test]
    fn crash_after_a_persist_takes_nothing_before_it_back() {
        let (mut store, images) = history();
        store.persist().unwrap();
        store.apply(vec![batch(9, &[("x", None)], vec![])]).unwrap();
        store.crash();
        assert_eq!(Some(&image(&store)), images.last());
    }
}
