//! One suite for every version store: fixed cases, and random histories against a naive model.

mod cases;
mod collecting;
mod model;
mod random;
mod transfer;

use super::fjall_store::{FjallOptions, FjallStore};
use super::memory::MemoryStore;
use crate::storage::version_store::{
    ApplyBatch, SnapshotPiece, StateChange, StatePair, Version, VersionStore,
};
use proto::{EntryId, Key, KeySpan, LogIndex, ShardId, Term, Value};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use truetime::Timestamp;
use txn::message::ReadLimit;

/// A store under test, and what befalls it.
trait Subject {
    type Store: VersionStore;
    /// An empty one.
    fn fresh() -> Self;
    fn store(&mut self) -> &mut Self::Store;
    /// Stops in good order and starts again.
    fn restart(&mut self);
    /// Dies. What is left is what was persisted and a prefix of the operations after that.
    fn crash(&mut self);
}

struct Memory(MemoryStore);

impl Subject for Memory {
    type Store = MemoryStore;

    fn fresh() -> Self {
        Memory(MemoryStore::new())
    }

    fn store(&mut self) -> &mut MemoryStore {
        &mut self.0
    }

    fn restart(&mut self) {}

    fn crash(&mut self) {
        self.0.crash();
    }
}

/// As [`Memory`], with half of what was not persisted kept.
struct MemoryKeeping(MemoryStore);

impl Subject for MemoryKeeping {
    type Store = MemoryStore;

    fn fresh() -> Self {
        MemoryKeeping(MemoryStore::new())
    }

    fn store(&mut self) -> &mut MemoryStore {
        &mut self.0
    }

    fn restart(&mut self) {}

    fn crash(&mut self) {
        self.0.crash_keeping(self.0.unpersisted() / 2);
    }
}

/// On disk, with so many bytes for the newest versions above the engine.
struct FjallKeeping<const RECENT_BYTES: usize> {
    directory: TempDir,
    store: Option<FjallStore>,
}

type Fjall = FjallKeeping<{ 1024 * 1024 }>;

/// Room for three, so that the engine is asked now and then.
type FjallForgetful = FjallKeeping<500>;

impl<const RECENT_BYTES: usize> FjallKeeping<RECENT_BYTES> {
    fn open(&mut self) {
        let options = FjallOptions { recent_bytes: RECENT_BYTES, ..FjallOptions::default() };
        self.store = Some(FjallStore::open(self.directory.path(), options).unwrap());
    }
}

impl<const RECENT_BYTES: usize> Subject for FjallKeeping<RECENT_BYTES> {
    type Store = FjallStore;

    fn fresh() -> Self {
        let mut fjall = FjallKeeping { directory: tempfile::tempdir().unwrap(), store: None };
        fjall.open();
        fjall
    }

    fn store(&mut self) -> &mut FjallStore {
        self.store.as_mut().unwrap()
    }

    fn restart(&mut self) {
        self.store = None;
        self.open();
    }

    /// The files as they are while the store is open are what a kill leaves.
    fn crash(&mut self) {
        let left = tempfile::tempdir().unwrap();
        copy_directory(self.directory.path(), left.path());
        self.store = None;
        self.directory = left;
        self.open();
    }
}

/// Copies files and folders. Journals are allocated ahead; the zeros at their end are left out.
pub(super) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else if target.extension().is_some_and(|extension| extension == "jnl") {
            fs::write(&target, journal_bytes(&entry.path())).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// What was written to a journal.
pub(super) fn journal_bytes(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(len);
    bytes
}

macro_rules! for_each_store {
    ($($case:ident::$test:ident,)*) => {
        for_each_store!(@ memory, Memory, $($case::$test,)*);
        for_each_store!(@ memory_keeping, MemoryKeeping, $($case::$test,)*);
        for_each_store!(@ fjall, Fjall, $($case::$test,)*);
        for_each_store!(@ fjall_forgetful, FjallForgetful, $($case::$test,)*);
    };
    (@ $name:ident, $subject:ident, $($case:ident::$test:ident,)*) => {
        mod $name {
            $(#[test]
            fn $test() {
                super::$case::$test::<super::$subject>();
            })*
        }
    };
}

for_each_store! {
    cases::read_of_a_key_sees_the_newest_at_or_below,
    cases::read_of_odd_keys_keeps_them_apart,
    cases::read_of_several_spans_follows_their_order,
    cases::read_limit_of_rows_resumes_behind_the_last_row,
    cases::read_limit_of_bytes_returns_at_least_one_row,
    cases::read_limit_reached_by_points_leaves_the_others,
    cases::apply_of_several_shards_takes_all,
    cases::apply_of_one_key_twice_in_a_pass_keeps_both,
    cases::apply_of_state_changes_follows_their_order,
    cases::apply_of_an_applied_entry_panics,
    cases::apply_of_an_older_timestamp_panics,
    cases::persist_of_two_shards_returns_both,
    cases::crash_after_persist_loses_nothing,
    collecting::collect_at_each_threshold_keeps_what_reads_see,
    collecting::collect_of_a_lone_tombstone_drops_it,
    collecting::collect_in_steps_ends_at_the_span,
    collecting::collect_of_a_key_with_many_versions_never_uncovers_a_row,
    transfer::snapshot_of_a_shard_is_frozen,
    transfer::snapshot_of_much_data_comes_in_small_pieces,
    transfer::snapshot_of_nothing_is_only_an_end,
    transfer::install_replaces_the_shard_and_no_other,
    transfer::install_survives_a_crash,
    transfer::receive_of_damaged_pieces_is_refused,
    transfer::receive_of_pieces_out_of_order_is_refused,
    transfer::install_of_an_incomplete_snapshot_is_refused,
    transfer::install_of_keys_outside_the_span_is_refused,
    transfer::receive_begun_again_forgets_the_first,
    transfer::remove_of_a_shard_leaves_the_others,
    random::any_history_matches_the_model,
}

const LEFT: ShardId = ShardId(1);
const RIGHT: ShardId = ShardId(2);
const NO_LIMIT: ReadLimit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };

/// The keys of a shard: those below `m`, and the others.
fn span_of(shard: ShardId) -> KeySpan {
    let middle = key("m");
    if shard == LEFT {
        KeySpan::new(Key::default(), middle)
    } else {
        KeySpan { start: middle, end: None }
    }
}

fn key(bytes: impl AsRef<[u8]>) -> Key {
    Key::from(bytes.as_ref())
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn entry(index: u64) -> EntryId {
    EntryId { term: Term(1), index: LogIndex(index) }
}

fn row(name: impl AsRef<[u8]>, nanos: u64, value: &str) -> Version {
    Version { key: key(name), timestamp: at(nanos), value: Some(Value::from(value.as_bytes())) }
}

fn tombstone(name: impl AsRef<[u8]>, nanos: u64) -> Version {
    Version { key: key(name), timestamp: at(nanos), value: None }
}

fn batch(shard: ShardId, index: u64, versions: Vec<Version>) -> ApplyBatch {
    ApplyBatch { shard, applied: entry(index), versions, state: Vec::new() }
}

fn put(name: &str, value: &str) -> StateChange {
    StateChange::Put(name.into(), value.into())
}

fn pair(name: &str, value: &str) -> StatePair {
    (name.into(), value.into())
}

/// All rows of `span` at a time.
fn rows(store: &impl VersionStore, span: &KeySpan, nanos: u64) -> Vec<Version> {
    let found = store.read(std::slice::from_ref(span), at(nanos), NO_LIMIT).unwrap();
    assert!(found.rest.is_empty(), "a read without limit leaves nothing");
    found.rows
}

/// All that a snapshot of the shard holds.
fn contents(store: &impl VersionStore, shard: ShardId) -> (Vec<Version>, Vec<StatePair>) {
    unpack(store.snapshot(shard, &span_of(shard)).unwrap().map(Result::unwrap))
}

fn unpack(pieces: impl IntoIterator<Item = SnapshotPiece>) -> (Vec<Version>, Vec<StatePair>) {
    let (mut versions, mut state) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            SnapshotPiece::Versions(some) => versions.extend(some),
            SnapshotPiece::State(some) => state.extend(some),
            SnapshotPiece::End { .. } => {}
        }
    }
    (versions, state)
}

fn pieces_of(store: &impl VersionStore, shard: ShardId) -> Vec<SnapshotPiece> {
    store.snapshot(shard, &span_of(shard)).unwrap().map(Result::unwrap).collect()
}

/// Collects the whole span, `keys_max` keys at a time.
fn collect_all(store: &mut impl VersionStore, span: &KeySpan, threshold: u64, keys_max: usize) {
    let mut from = span.start.clone();
    while let Some(next) = store.collect(span, at(threshold), from.clone(), keys_max).unwrap() {
        assert!(next >= from, "the collector went back from {from} to {next}");
        from = next;
    }
}
