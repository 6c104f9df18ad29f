//! Work on the version store that would hold up a core, and with it the leases of all its shards: long reads,
//! the installation of snapshots and the removal of shards go to the pool, and come back as inputs.
//!
//! Not here: reads that miss the engine's cache. The engine cannot tell beforehand, so the first rows are
//! always read on the core's thread.

use proto::{EntryId, GrantPair, KeySpan, ShardId};
use truetime::Timestamp;
use txn::message::{ReadLimit, Reply, RequestId, Row};

use super::core_loop::CoreHandle;
use super::store::{SharedStore, Turn};
use crate::core::Input;
use crate::storage::version_store::{ReadRows, Version, VersionStoreError};
use crate::storage::versions::fjall_store::{FjallView, Replacement};

/// So much of a read is done on the core's thread: about what a hand-over to another one costs, ten times
/// over. So many entries may be looked at for it, for a read that finds little takes long too.
const AT_ONCE: ReadLimit = ReadLimit { rows: 64, bytes: 256 << 10 };
const LOOKS_AT_ONCE: u64 = 256;

/// A read as the core wants it.
pub(super) struct Read {
    pub(super) to: RequestId,
    pub(super) grant: Option<GrantPair>,
    pub(super) at: Timestamp,
    pub(super) spans: Vec<KeySpan>,
    pub(super) limit: ReadLimit,
}

/// Begins a read. Returns what came of it when it was short; else the core gets that later.
pub(super) fn read(
    store: &SharedStore,
    core: &CoreHandle,
    read: Read,
) -> Result<Option<Input>, VersionStoreError> {
    let Read { to, grant, at, spans, limit } = read;
    let first =
        ReadLimit { rows: limit.rows.min(AT_ONCE.rows), bytes: limit.bytes.min(AT_ONCE.bytes) };
    let recent_or_view = store.with(|store| {
        let is_short = spans.len() as u64 <= AT_ONCE.rows;
        let recent = if is_short { store.read_recent(&spans, at, limit) } else { None };
        recent.ok_or_else(|| store.view())
    });
    let view = match recent_or_view {
        Ok(found) => return Ok(Some(done(to, grant, found))),
        Err(view) => view,
    };
    let mut found = view.read_some(&spans, at, first, LOOKS_AT_ONCE)?;
    let Some(left) = left_of(limit, &found) else {
        return Ok(Some(done(to, grant, found)));
    };
    let go_on = move |view: &FjallView| {
        let more = view.read(&found.rest, at, left)?;
        // The first row of a page may be larger than the page: here it is not the read's first.
        let fits = |row: &Version| found.rows.is_empty() || size_of(row) <= left.bytes;
        if more.rows.first().is_none_or(fits) {
            found.rows.extend(more.rows);
            found.rest = more.rest;
        }
        Ok(done(to, grant, found))
    };
    let Some(place) = store.long_read() else {
        // The pool has enough to do. That the core waits slows down those who ask.
        return go_on(&view).map(Some);
    };
    let core = core.clone();
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let alarm = Alarm { core };
        match go_on(&view) {
            Ok(input) => alarm.core.send(input),
            Err(error) => alarm.core.fail(error),
        }
    });
    Ok(None)
}

/// A panic in the pool ends the core's loop: it waits for what will not come (T65).
struct Alarm {
    core: CoreHandle,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "a thread that worked on it panicked".to_owned();
            self.core.fail(VersionStoreError::Failed { reason });
        }
    }
}

/// What may still be read; `None` when there is nothing left to read or no room for another row.
fn left_of(limit: ReadLimit, found: &ReadRows) -> Option<ReadLimit> {
    let bytes = found.rows.iter().map(size_of).sum();
    let left = ReadLimit {
        rows: limit.rows.saturating_sub(found.rows.len() as u64),
        bytes: limit.bytes.saturating_sub(bytes),
    };
    (!found.rest.is_empty() && left.rows > 0 && left.bytes > 0).then_some(left)
}

/// What a row counts for in a limit.
fn size_of(row: &Version) -> u64 {
    (row.key.as_bytes().len() + row.value.as_ref().map_or(0, |value| value.as_bytes().len())) as u64
}

fn done(to: RequestId, grant: Option<GrantPair>, found: ReadRows) -> Input {
    let rows = found.rows.into_iter();
    let rows = rows
        .filter_map(|row| Some(Row { key: row.key, timestamp: row.timestamp, value: row.value? }));
    Input::ReadDone { to, reply: Reply::Rows { grant, rows: rows.collect(), rest: found.rest } }
}

/// Has a shard replaced by the snapshot that was received; the core is told when it is done.
pub(super) fn install(
    store: &SharedStore,
    core: &CoreHandle,
    shard: ShardId,
    span: KeySpan,
    last: EntryId,
) {
    let alarm = Alarm { core: core.clone() };
    store.replace(Turn::Next, move |store| {
        let installed = store
            .with(|store| store.begin_install(shard, &span, last))
            .and_then(Replacement::run)
            .and_then(|done| {
                let view = store.with(|store| {
                    store.replaced(&done);
                    store.view()
                });
                view.state(shard)
            });
        match installed {
            Ok(state) => {
                tracing::info!(%shard, last = %last.index, "a snapshot replaced the replica here");
                alarm.core.send(Input::Installed { shard, state });
            }
            Err(error) => alarm.core.fail(error),
        }
    });
}

/// Has the data of a removed shard dropped.
pub(super) fn remove(store: &SharedStore, core: &CoreHandle, shard: ShardId, span: KeySpan) {
    let alarm = Alarm { core: core.clone() };
    // Behind an installation of the same shard, which no other can follow.
    store.replace(Turn::Last, move |store| {
        let removed =
            store.with(|store| store.begin_remove(shard, &span)).and_then(Replacement::run);
        match removed {
            Ok(done) => {
                store.with(|store| store.replaced(&done));
                tracing::info!(%shard, "a removed shard's data is gone from this node");
            }
            Err(error) => alarm.core.fail(error),
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{Key, Value};

    use super::*;
    use crate::host::Event;
    use crate::storage::version_store::{ApplyBatch, VersionStore};
    use crate::storage::versions::fjall_store::{FjallOptions, FjallStore};

    /// A store whose row `n` has a value of `sizes[n]` bytes.
    fn store_of(sizes: &[usize]) -> (tempfile::TempDir, SharedStore) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = FjallStore::open(directory.path(), FjallOptions::default()).unwrap();
        let versions = sizes.iter().enumerate().map(|(number, size)| Version {
            key: Key::from(format!("{number:04}").into_bytes()),
            timestamp: Timestamp::from_nanos(1),
            value: Some(Value::from(vec![7; *size])),
        });
        let versions = versions.collect();
        let (shard, applied) = (ShardId(1), EntryId::default());
        store.apply(vec![ApplyBatch { shard, applied, versions, state: Vec::new() }]).unwrap();
        (directory, SharedStore::new(store))
    }

    /// What a read finds, at once or later, and what the same read finds when the store does all of it. In
    /// between everything is overwritten, collected and removed.
    async fn both(store: &SharedStore, limit: ReadLimit) -> (bool, (Reply, Reply)) {
        let (to, spans) = (RequestId::default(), vec![KeySpan::all()]);
        let at = Timestamp::from_nanos(5);
        let expected = store.with(|store| store.read(&spans, at, limit)).unwrap();
        let Input::ReadDone { reply: expected, .. } = done(to, None, expected) else { panic!() };
        let core = CoreHandle::new(0);
        let begun = read(store, &core, Read { to, grant: None, at, spans, limit }).unwrap();
        let at_once = begun.is_some();
        // The pool may be at it already; most of the time it is not.
        store.with(|store| store.remove(ShardId(1), &KeySpan::all())).unwrap();
        let found = match begun {
            Some(found) => found,
            None => loop {
                match core.next_event() {
                    Some(Event::Input(input)) => break *input,
                    Some(other) => panic!("{other:?}"),
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            },
        };
        let Input::ReadDone { reply: found, .. } = found else { panic!("{found:?}") };
        (at_once, (found, expected))
    }

    #[tokio::test]
    async fn long_reads_find_what_they_would_have_found_at_once() {
        for rows in [1, 64, 65, 299, 300, 301, 10_000] {
            let (_directory, store) = store_of(&[100; 300]);
            let (at_once, (found, expected)) =
                both(&store, ReadLimit { rows, bytes: 1 << 20 }).await;
            assert_eq!(found, expected, "{rows} rows");
            assert_eq!(at_once, rows <= 64);
        }
        // A row that is larger than what is left, and one that is larger than the whole limit.
        for sizes in [&[1000, 200 << 10, 100 << 10, 2 << 20, 5][..], &[3 << 20, 7]] {
            let (_directory, store) = store_of(sizes);
            let (_, (found, expected)) =
                both(&store, ReadLimit { rows: 100, bytes: 1 << 20 }).await;
            assert_eq!(found, expected, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn long_search_that_finds_nothing_leaves_the_core() {
        let (_directory, store) = store_of(&[1; 3]);
        let spans = |count: u64| -> Vec<KeySpan> {
            (0..count)
                .map(|n| KeySpan::point(Key::from(format!("none {n}").into_bytes())))
                .collect()
        };
        let core = CoreHandle::new(0);
        for (count, at_once) in [(LOOKS_AT_ONCE, true), (LOOKS_AT_ONCE + 1, false)] {
            let read_of = Read {
                to: RequestId::default(),
                grant: None,
                at: Timestamp::from_nanos(5),
                spans: spans(count),
                limit: ReadLimit { rows: 10, bytes: 1 << 20 },
            };
            let begun = read(&store, &core, read_of).unwrap();
            assert_eq!(begun.is_some(), at_once);
        }
    }
}
