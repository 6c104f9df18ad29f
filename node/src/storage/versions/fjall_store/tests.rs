//! What only the store on disk can show: cut journals, refused directories, damage, views.

use super::*;
use crate::storage::version_store::{StateChange, Version};
use crate::storage::versions::conformance::{copy_directory, journal_bytes};
use proto::{LogIndex, Term, Value};
use std::fs;
use tempfile::TempDir;

const SHARD: ShardId = ShardId(1);
const OTHER: ShardId = ShardId(2);
const NO_LIMIT: ReadLimit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };

type Contents = (Option<EntryId>, Vec<SnapshotPiece>);

fn open(path: &Path) -> FjallStore {
    FjallStore::open(path, FjallOptions::default()).unwrap()
}

fn span_of(shard: ShardId) -> KeySpan {
    let middle = Key::from(&b"m"[..]);
    if shard == SHARD {
        KeySpan::new(Key::default(), middle)
    } else {
        KeySpan { start: middle, end: None }
    }
}

fn version(key: &str, nanos: u64, value: Option<&str>) -> Version {
    Version {
        key: Key::from(key.as_bytes()),
        timestamp: Timestamp::from_nanos(nanos),
        value: value.map(|value| Value::from(value.as_bytes())),
    }
}

fn entry(index: u64) -> EntryId {
    EntryId { term: Term(1), index: LogIndex(index) }
}

fn batch(shard: ShardId, index: u64, versions: Vec<Version>) -> ApplyBatch {
    let state = vec![StateChange::Put(b"index".to_vec(), index.to_string().into_bytes())];
    ApplyBatch { shard, applied: entry(index), versions, state }
}

fn contents(store: &FjallStore, shard: ShardId) -> Contents {
    let pieces = store.snapshot(shard, &span_of(shard)).unwrap().map(Result::unwrap).collect();
    (store.applied(shard).unwrap(), pieces)
}

fn receive(store: &mut FjallStore, pieces: Vec<SnapshotPiece>) {
    store.receive_begin(SHARD).unwrap();
    for piece in pieces {
        store.receive_piece(SHARD, piece).unwrap();
    }
}

/// The directory as a crash leaves it when `len` bytes of the journal reached the disk.
fn cut(directory: &Path, journal: &[u8], len: usize) -> TempDir {
    let left = tempfile::tempdir().unwrap();
    copy_directory(directory, left.path());
    fs::write(left.path().join("engine/0.jnl"), &journal[..len]).unwrap();
    left
}

/// Some two dozen places between two lengths, both included.
fn places(from: usize, to: usize) -> impl Iterator<Item = usize> {
    (from..to).step_by(((to - from) / 24).max(1)).chain([to])
}

/// T45: over both shards, versions and state.
#[test]
fn journal_cut_anywhere_leaves_whole_passes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("engine/0.jnl");
    let mut store = open(directory.path());
    let start = journal_bytes(&journal).len();
    let mut images = vec![(contents(&store, SHARD), contents(&store, OTHER))];
    for index in 1..=4 {
        let left = vec![version("a", index, Some("x")), version("b", index, None)];
        let right = vec![version("m", index, Some("y")), version("a\0", index, Some("z"))];
        store.apply(vec![batch(SHARD, index, left), batch(OTHER, index, right)]).unwrap();
        images.push((contents(&store, SHARD), contents(&store, OTHER)));
    }
    store.persist().unwrap();
    let bytes = journal_bytes(&journal);
    let mut found = Vec::new();
    for len in places(start, bytes.len()) {
        let left = cut(directory.path(), &bytes, len);
        let store = open(left.path());
        let image = (contents(&store, SHARD), contents(&store, OTHER));
        let passes = images.iter().position(|known| *known == image);
        found.push(passes.unwrap_or_else(|| panic!("cut at {len}: {image:?}")));
    }
    assert!(found.is_sorted(), "{found:?}");
    assert_eq!((found.first(), found.last()), (Some(&0), Some(&4)));
}

#[test]
fn install_cut_anywhere_leaves_the_old_or_the_new_shard() {
    let many = |from: u64, value| {
        let keys = (0..60).map(|number| format!("k{number:02}"));
        keys.map(|key| version(&key, from, Some(value))).collect::<Vec<_>>()
    };
    let source_directory = tempfile::tempdir().unwrap();
    let mut source = open(source_directory.path());
    source.apply(vec![batch(SHARD, 8, many(50, "new"))]).unwrap();
    let deleted = vec![version("k05", 60, None), version("k06", 60, Some("newer"))];
    source.apply(vec![batch(SHARD, 9, deleted)]).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    let other = vec![version("m", 5, Some("other")), version("z", 5, None)];
    store.apply(vec![batch(SHARD, 1, many(10, "old")), batch(OTHER, 1, other)]).unwrap();
    let other = vec![version("m", 10, Some("other"))];
    store.apply(vec![batch(SHARD, 2, many(20, "older")), batch(OTHER, 2, other)]).unwrap();
    receive(&mut store, contents(&source, SHARD).1);
    store.persist().unwrap();
    let (old, other) = (contents(&store, SHARD), contents(&store, OTHER));
    let staged = tempfile::tempdir().unwrap();
    copy_directory(directory.path(), staged.path());
    let start = journal_bytes(&directory.path().join("engine/0.jnl")).len();
    store.install(SHARD, &span_of(SHARD), entry(9)).unwrap();
    let new = contents(&store, SHARD);
    assert_eq!(new, contents(&source, SHARD));
    let bytes = journal_bytes(&directory.path().join("engine/0.jnl"));

    let mut is_new = Vec::new();
    for len in places(start, bytes.len()) {
        let left = cut(staged.path(), &bytes, len);
        for _ in 0..2 {
            let store = open(left.path());
            let found = contents(&store, SHARD);
            assert!(found == old || found == new, "cut at {len}: {found:?}");
            assert_eq!(contents(&store, OTHER), other, "cut at {len}");
            is_new.push(found == new);
            let files = fs::read_dir(left.path().join("staging")).unwrap().count();
            assert_eq!(files, 0, "a staged file is left");
        }
    }
    assert!(is_new.is_sorted(), "once marked, an installation is finished: {is_new:?}");
    assert_eq!((is_new.first(), is_new.last()), (Some(&false), Some(&true)));
}

#[test]
fn remove_cut_anywhere_leaves_all_or_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    let many = (0..60).map(|number| version(&format!("k{number}"), 10, Some("v"))).collect();
    store.apply(vec![batch(SHARD, 1, many)]).unwrap();
    store.persist().unwrap();
    let old = contents(&store, SHARD);
    let start = journal_bytes(&directory.path().join("engine/0.jnl")).len();
    store.remove(SHARD, &span_of(SHARD)).unwrap();
    let new = contents(&store, SHARD);
    assert_eq!(new.0, None);
    let bytes = journal_bytes(&directory.path().join("engine/0.jnl"));
    for len in places(start, bytes.len()) {
        let left = cut(directory.path(), &bytes, len);
        let found = contents(&open(left.path()), SHARD);
        assert!(found == old || found == new, "cut at {len}: {found:?}");
    }
}

#[test]
fn open_with_a_damaged_staged_snapshot_that_must_be_installed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    store.apply(vec![batch(SHARD, 1, vec![version("a", 10, Some("v"))])]).unwrap();
    let pieces = contents(&store, SHARD).1;
    receive(&mut store, pieces);
    let task = Task::Install { span: span_of(SHARD), applied: entry(2) };
    Replacer::new(&store.db, &store.keyspaces).mark(SHARD, &task).unwrap();
    drop(store);
    let file = staging::path_of(&directory.path().join("staging"), SHARD);
    let mut bytes = fs::read(&file).unwrap();
    let good = bytes.clone();
    let last = bytes.len() - 1;
    for damaged in [&good[..last], &good[..9], &[]] {
        fs::write(&file, damaged).unwrap();
        let error = FjallStore::open(directory.path(), FjallOptions::default()).err().unwrap();
        let is_damage = matches!(error, OpenError::Store(VersionStoreError::Damaged { .. }));
        assert!(is_damage, "{error}");
    }
    bytes[12] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(FjallStore::open(directory.path(), FjallOptions::default()).is_err());
    fs::write(&file, &good).unwrap();
    assert_eq!(open(directory.path()).applied(SHARD).unwrap(), Some(entry(2)));
}

#[test]
fn open_of_a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let error = FjallStore::open(directory.path(), FjallOptions::default()).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(store);
    open(directory.path());
}

#[test]
fn open_of_a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.keyspaces.state.insert(codec::FORMAT_KEY, 2_u32.to_be_bytes()).unwrap();
    drop(store);
    let error = FjallStore::open(directory.path(), FjallOptions::default()).err().unwrap();
    assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn open_of_contents_without_a_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    store.apply(vec![batch(SHARD, 1, vec![])]).unwrap();
    store.keyspaces.state.remove(codec::FORMAT_KEY).unwrap();
    drop(store);
    let error = FjallStore::open(directory.path(), FjallOptions::default()).err().unwrap();
    assert!(matches!(error, OpenError::Store(VersionStoreError::Damaged { .. })), "{error}");
}

#[test]
fn view_on_another_thread_sees_nothing_applied_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    let first = vec![version("a", 10, Some("1")), version("b", 10, Some("1"))];
    store.apply(vec![batch(SHARD, 1, first.clone())]).unwrap();
    let view = store.view();
    let later = vec![version("a", 20, None), version("c", 20, Some("2"))];
    store.apply(vec![batch(SHARD, 2, later)]).unwrap();
    store.collect(&span_of(SHARD), Timestamp::from_nanos(20), Key::default(), 9).unwrap();
    let read = move || view.read(&[KeySpan::all()], Timestamp::from_nanos(30), NO_LIMIT).unwrap();
    let found = std::thread::spawn(read).join().unwrap();
    assert_eq!(found.rows, first);
}

#[test]
fn persist_ticket_returns_what_was_applied_when_it_was_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    store.apply(vec![batch(SHARD, 1, vec![])]).unwrap();
    let ticket = store.persist_ticket();
    store.apply(vec![batch(SHARD, 2, vec![]), batch(OTHER, 1, vec![])]).unwrap();
    assert_eq!(ticket.persist().unwrap(), vec![(SHARD, entry(1))]);
}

/// Each is read at a place of its own; all must notice.
#[test]
fn reads_of_damaged_entries_are_errors() {
    let is_damage = |damage: &dyn Fn(&Keyspaces)| {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        store.apply(vec![batch(SHARD, 1, vec![version("a", 10, Some("1"))])]).unwrap();
        store.apply(vec![batch(SHARD, 2, vec![version("a", 20, Some("2"))])]).unwrap();
        damage(&store.keyspaces);
        let read = |span| store.read(&[span], Timestamp::from_nanos(15), NO_LIMIT).is_err();
        let reads = read(KeySpan::all()) && read(KeySpan::point(Key::from(&b"a"[..])));
        let mut snapshot = store.snapshot(SHARD, &span_of(SHARD)).unwrap();
        let is_stream_over =
            snapshot.next().is_some_and(|piece| piece.is_err()) && snapshot.next().is_none();
        (reads, is_stream_over)
    };
    let entry = codec::history_key(&Key::from(&b"a"[..]), Timestamp::from_nanos(10));
    assert_eq!(is_damage(&|_| ()), (false, false));
    assert_eq!(is_damage(&|k| k.data.insert("a", "short").unwrap()), (true, true));
    assert_eq!(is_damage(&|k| k.history.insert(&*entry, [7]).unwrap()), (true, true));
    assert_eq!(is_damage(&|k| k.data.remove("a").unwrap()), (false, true));
}

fn newest_of(store: &FjallStore, key: &str, nanos: u64) -> Option<Version> {
    let spans = [KeySpan::point(Key::from(key.as_bytes()))];
    store.read(&spans, Timestamp::from_nanos(nanos), NO_LIMIT).unwrap().rows.pop()
}

#[test]
fn row_too_large_for_the_newest_versions_is_read_and_moved_to_the_history_like_others() {
    let options = FjallOptions { recent_bytes: 4_096, ..FjallOptions::default() };
    let large = "x".repeat(options.recent_bytes);
    let values = [Some("1"), Some(&*large), Some("3"), None, Some(&*large), Some(&*large)];
    let written = |index: usize| version("a", index as u64 + 1, values[index]);
    let directory = tempfile::tempdir().unwrap();
    let mut store = FjallStore::open(directory.path(), options).unwrap();
    store.apply(vec![batch(OTHER, 1, vec![version("m", 1, Some("other"))])]).unwrap();
    for index in 0..values.len() {
        let applied = index as u64 + 1;
        store.apply(vec![batch(SHARD, applied, vec![written(index)])]).unwrap();
        for read in 0..=index {
            let found = newest_of(&store, "a", read as u64 + 1);
            let expected = Some(written(read)).filter(|version| version.value.is_some());
            assert!(found == expected, "version {read} with {index} written");
        }
    }
    let other = Key::from(&b"m"[..]);
    assert!(store.recent.get(&other).is_some(), "a large row drives no others out");
}

#[test]
fn newest_versions_that_a_replacement_forgets_go_with_it_to_be_freed() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    store.apply(vec![batch(SHARD, 1, vec![version("a", 1, Some("1"))])]).unwrap();
    let pieces = contents(&store, SHARD).1;
    receive(&mut store, pieces);
    let key = Key::from(&b"a"[..]);
    let install = store.begin_install(SHARD, &span_of(SHARD), entry(2)).unwrap();
    assert!(store.recent.get(&key).is_none() && install.forgotten.get(&key).is_some());
    let done = install.run().unwrap();
    store.replaced(&done);
    store.apply(vec![batch(SHARD, 3, vec![version("a", 2, Some("2"))])]).unwrap();
    let remove = store.begin_remove(SHARD, &span_of(SHARD)).unwrap();
    assert!(store.recent.get(&key).is_none() && remove.forgotten.get(&key).is_some());
}

/// TRANSACTIONS.md section 4: what arrived in pieces is applied as one, and leaves in pieces again.
#[test]
fn transaction_at_the_limit_of_buffered_writes_is_applied_as_one() {
    const PIECES: u8 = 64;
    const PIECE_BYTES: usize = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    for piece in 0..PIECES {
        let state = vec![StateChange::Put(vec![b'q', piece], vec![piece; PIECE_BYTES])];
        let applied = entry(u64::from(piece) + 1);
        store
            .apply(vec![ApplyBatch { shard: SHARD, applied, versions: Vec::new(), state }])
            .unwrap();
    }
    let sent = contents(&store, SHARD);
    let largest = |pieces: &[SnapshotPiece]| {
        pieces.iter().map(|piece| postcard::to_stdvec(piece).unwrap().len()).max().unwrap()
    };
    assert!(sent.1.len() > usize::from(PIECES) && largest(&sent.1) < PIECE_BYTES + 64);
    let row = |piece: u8| Version {
        key: Key::from(vec![b'a', piece]),
        timestamp: Timestamp::from_nanos(7),
        value: Some(Value::from(vec![piece; PIECE_BYTES])),
    };
    let versions = (0..PIECES).map(row).collect();
    let state = (0..PIECES).map(|piece| StateChange::Delete(vec![b'q', piece])).collect();
    let applied = entry(u64::from(PIECES) + 1);
    store.apply(vec![ApplyBatch { shard: SHARD, applied, versions, state }]).unwrap();
    let committed = contents(&store, SHARD);
    assert_eq!(committed.0, Some(applied));
    assert_eq!(committed.1.len(), usize::from(PIECES) + 1);
    store.persist().unwrap();
    drop(store);
    assert_eq!(contents(&open(directory.path()), SHARD), committed);
}
