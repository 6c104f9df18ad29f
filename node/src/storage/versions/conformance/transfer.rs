//! Snapshots, their installation, and removal.

use super::*;
use crate::storage::version_store::VersionStoreError;

/// Both shards with a few versions and some state.
fn filled<S: Subject>() -> S {
    let mut subject = S::fresh();
    let state = |value| vec![put("prepared", value)];
    let left = vec![row("a", 10, "1"), row("b", 10, "2"), row("c", 10, "3")];
    let left = ApplyBatch { state: state("left"), ..batch(LEFT, 1, left) };
    let right = vec![row("m", 10, "4"), tombstone("z", 11)];
    let right = ApplyBatch { state: state("right"), ..batch(RIGHT, 1, right) };
    subject.store().apply(vec![left, right]).unwrap();
    let more = vec![row("a", 20, "5"), tombstone("b", 20)];
    subject.store().apply(vec![batch(LEFT, 2, more)]).unwrap();
    subject
}

fn receive(
    store: &mut impl VersionStore,
    pieces: Vec<SnapshotPiece>,
) -> Result<bool, VersionStoreError> {
    store.receive_begin(LEFT).unwrap();
    let mut is_complete = false;
    for piece in pieces {
        is_complete = store.receive_piece(LEFT, piece)?;
    }
    Ok(is_complete)
}

/// The pieces are refused, nothing of them can be installed, and the shard is as it was.
fn assert_refused<S: Subject>(pieces: Vec<SnapshotPiece>, why: &str) {
    let mut subject = filled::<S>();
    let before = contents(subject.store(), LEFT);
    let error = receive(subject.store(), pieces).unwrap_err();
    assert!(matches!(error, VersionStoreError::BadSnapshot { .. }), "{why}: {error}");
    let error = subject.store().check_received(LEFT, &span_of(LEFT)).unwrap_err();
    assert!(matches!(error, VersionStoreError::BadSnapshot { .. }), "{why}: {error}");
    let error = subject.store().install(LEFT, &span_of(LEFT), entry(9)).unwrap_err();
    assert!(matches!(error, VersionStoreError::BadSnapshot { .. }), "{why}: {error}");
    assert_eq!(contents(subject.store(), LEFT), before, "{why}");
    assert_eq!(subject.store().applied(LEFT).unwrap(), Some(entry(2)), "{why}");
}

fn sealed(pieces: Vec<SnapshotPiece>) -> Vec<SnapshotPiece> {
    let mut checksum = 0;
    for piece in &pieces {
        checksum = crc32c::crc32c_append(checksum, &postcard::to_stdvec(piece).unwrap());
    }
    let end = SnapshotPiece::End { pieces: pieces.len() as u64, checksum };
    [pieces, vec![end]].concat()
}

pub(super) fn snapshot_of_a_shard_is_frozen<S: Subject>() {
    let mut subject = filled::<S>();
    let store = subject.store();
    let snapshot = store.snapshot(LEFT, &span_of(LEFT)).unwrap();
    let versions = vec![
        row("a", 20, "5"),
        row("a", 10, "1"),
        tombstone("b", 20),
        row("b", 10, "2"),
        row("c", 10, "3"),
    ];
    let state = vec![put("prepared", "later")];
    let later = ApplyBatch { state, ..batch(LEFT, 3, vec![row("a", 30, "6"), row("d", 30, "7")]) };
    store.apply(vec![later]).unwrap();
    collect_all(store, &span_of(LEFT), 30, 10);
    let frozen = unpack(snapshot.map(Result::unwrap));
    assert_eq!(frozen, (versions, vec![pair("prepared", "left")]));
}

pub(super) fn snapshot_of_much_data_comes_in_small_pieces<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let big = "x".repeat(100_000);
    let mut versions: Vec<Version> = (0..10).map(|n| row(format!("a{n}"), 10, &big)).collect();
    versions.push(row("b", 10, &"y".repeat(600_000)));
    versions.extend((0..20_000).map(|n| row(format!("c{n:05}"), 10, "")));
    let state = (0..10).map(|n| put(&format!("s{n}"), &big)).collect();
    store.apply(vec![ApplyBatch { state, ..batch(LEFT, 1, versions.clone()) }]).unwrap();
    let pieces = pieces_of(store, LEFT);
    for piece in &pieces {
        let len = postcard::to_stdvec(piece).unwrap().len();
        let is_one = matches!(piece, SnapshotPiece::Versions(one) if one.len() == 1);
        assert!(len <= 270_000 || is_one, "a piece of {len} bytes");
    }
    assert!(pieces.len() < 20, "{} pieces", pieces.len());
    assert_eq!(unpack(pieces.clone()).0, versions);
    let (_, without_end) = pieces.split_last().unwrap();
    assert_eq!(pieces, sealed(without_end.to_vec()));
}

pub(super) fn snapshot_of_nothing_is_only_an_end<S: Subject>() {
    let mut subject = filled::<S>();
    let store = subject.store();
    let nowhere = KeySpan::new(key("x"), key("x"));
    let pieces = store.snapshot(ShardId(77), &nowhere).unwrap().map(Result::unwrap);
    assert_eq!(pieces.collect::<Vec<_>>(), sealed(vec![]));
    assert!(receive(store, sealed(vec![])).unwrap());
    store.install(LEFT, &span_of(LEFT), entry(9)).unwrap();
    assert_eq!(contents(store, LEFT), (vec![], vec![]));
    assert_eq!(store.applied(LEFT).unwrap(), Some(entry(9)));
}

pub(super) fn install_replaces_the_shard_and_no_other<S: Subject>() {
    let mut source = filled::<S>();
    let pieces = pieces_of(source.store(), LEFT);
    let mut subject = S::fresh();
    let store = subject.store();
    let state = vec![put("old", "1"), put("prepared", "old")];
    let old = vec![row("a", 5, "old"), row("b\0", 5, "old"), row("l", 5, "old"), tombstone("e", 6)];
    store.apply(vec![ApplyBatch { state, ..batch(LEFT, 1, old) }]).unwrap();
    let state = vec![put("old", "1")];
    let other = vec![row("m", 5, "other"), row("\u{7f}", 5, "other")];
    store.apply(vec![ApplyBatch { state, ..batch(RIGHT, 1, other) }]).unwrap();
    store.apply(vec![batch(RIGHT, 2, vec![row("m", 6, "other")])]).unwrap();
    let other = contents(store, RIGHT);

    assert!(receive(store, pieces).unwrap());
    store.install(LEFT, &span_of(LEFT), entry(40)).unwrap();
    assert_eq!(contents(store, LEFT), contents(source.store(), LEFT));
    assert_eq!(store.applied(LEFT).unwrap(), Some(entry(40)));
    assert_eq!(contents(store, RIGHT), other);
    assert_eq!(store.applied(RIGHT).unwrap(), Some(entry(2)));
    for nanos in [4, 5, 10, 15, 20] {
        let expected = rows(source.store(), &span_of(LEFT), nanos);
        assert_eq!(rows(subject.store(), &span_of(LEFT), nanos), expected);
    }
    let again = subject.store().install(LEFT, &span_of(LEFT), entry(41));
    assert!(again.is_err(), "a snapshot is installed once");
}

pub(super) fn install_survives_a_crash<S: Subject>() {
    let mut source = filled::<S>();
    let pieces = pieces_of(source.store(), LEFT);
    let mut subject = S::fresh();
    subject.store().apply(vec![batch(LEFT, 1, vec![row("g", 5, "old")])]).unwrap();
    receive(subject.store(), pieces).unwrap();
    subject.store().install(LEFT, &span_of(LEFT), entry(40)).unwrap();
    subject.crash();
    assert_eq!(subject.store().applied(LEFT).unwrap(), Some(entry(40)));
    assert_eq!(contents(subject.store(), LEFT), contents(source.store(), LEFT));
}

pub(super) fn receive_of_damaged_pieces_is_refused<S: Subject>() {
    let mut source = filled::<S>();
    let good = pieces_of(source.store(), LEFT);
    let mut changed = good.clone();
    changed[0] = SnapshotPiece::Versions(vec![row("a", 20, "forged")]);
    assert_refused::<S>(changed, "changed row");
    assert_refused::<S>(good[1..].to_vec(), "first piece lost");
    assert_refused::<S>([&good[..1], &good[2..]].concat(), "state lost");
    let after_end = [good.clone(), vec![SnapshotPiece::State(vec![])]].concat();
    assert_refused::<S>(after_end, "piece after the end");
    let Some(SnapshotPiece::End { pieces, checksum }) = good.last().cloned() else {
        panic!("a snapshot ends with its end")
    };
    for end in [
        SnapshotPiece::End { pieces: pieces + 1, checksum },
        SnapshotPiece::End { pieces, checksum: checksum ^ 1 },
    ] {
        assert_refused::<S>([&good[..good.len() - 1], &[end]].concat(), "wrong end");
    }
}

pub(super) fn receive_of_pieces_out_of_order_is_refused<S: Subject>() {
    let versions = |versions: &[Version]| SnapshotPiece::Versions(versions.to_vec());
    let state = |pairs: &[StatePair]| SnapshotPiece::State(pairs.to_vec());
    let refused = |pieces: &[SnapshotPiece], why| assert_refused::<S>(sealed(pieces.to_vec()), why);
    let (a, b) = (row("a", 10, "1"), row("b", 10, "1"));
    refused(&[versions(&[b.clone(), a.clone()])], "keys fall");
    refused(&[versions(std::slice::from_ref(&b)), versions(std::slice::from_ref(&a))], "keys fall");
    refused(&[versions(&[a.clone(), a.clone()])], "a version twice");
    refused(&[versions(&[a.clone(), row("a", 11, "2")])], "oldest first");
    refused(&[state(&[pair("k", "v")]), versions(&[a])], "state before versions");
    refused(&[state(&[pair("k", "v"), pair("j", "v")])], "state falls");
    refused(&[state(&[pair("k", "v")]), state(&[pair("k", "v")])], "state twice");
}

pub(super) fn install_of_an_incomplete_snapshot_is_refused<S: Subject>() {
    let mut source = filled::<S>();
    let mut pieces = pieces_of(source.store(), LEFT);
    pieces.pop();
    let mut subject = filled::<S>();
    let before = contents(subject.store(), LEFT);
    assert!(!receive(subject.store(), pieces).unwrap());
    for _ in 0..2 {
        let error = subject.store().install(LEFT, &span_of(LEFT), entry(9)).unwrap_err();
        assert!(matches!(error, VersionStoreError::BadSnapshot { .. }), "{error}");
        assert_eq!(contents(subject.store(), LEFT), before);
    }
    let piece = SnapshotPiece::State(vec![]);
    assert!(subject.store().receive_piece(LEFT, piece.clone()).is_err(), "it was dropped");
    receive(subject.store(), vec![piece]).unwrap();
    subject.crash();
    assert!(subject.store().install(LEFT, &span_of(LEFT), entry(9)).is_err(), "a crash drops it");
}

pub(super) fn install_of_keys_outside_the_span_is_refused<S: Subject>() {
    for outside in ["m", "zzz"] {
        let versions = vec![row("a", 90, "1"), row(outside, 90, "2")];
        let mut subject = filled::<S>();
        let (left, right) = (contents(subject.store(), LEFT), contents(subject.store(), RIGHT));
        let pieces = sealed(vec![SnapshotPiece::Versions(versions)]);
        assert!(receive(subject.store(), pieces).unwrap());
        let error = subject.store().install(LEFT, &span_of(LEFT), entry(9)).unwrap_err();
        assert!(matches!(error, VersionStoreError::BadSnapshot { .. }), "{error}");
        assert_eq!(contents(subject.store(), LEFT), left);
        assert_eq!(contents(subject.store(), RIGHT), right);
    }
}

pub(super) fn receive_begun_again_forgets_the_first<S: Subject>() {
    let mut source = filled::<S>();
    let pieces = pieces_of(source.store(), LEFT);
    let mut subject = filled::<S>();
    receive(subject.store(), vec![SnapshotPiece::Versions(vec![row("first", 1, "try")])]).unwrap();
    assert!(receive(subject.store(), pieces).unwrap());
    subject.store().install(LEFT, &span_of(LEFT), entry(9)).unwrap();
    assert_eq!(contents(subject.store(), LEFT), contents(source.store(), LEFT));
}

pub(super) fn remove_of_a_shard_leaves_the_others<S: Subject>() {
    let mut subject = filled::<S>();
    let right = contents(subject.store(), RIGHT);
    assert_eq!(subject.store().shards(), [LEFT, RIGHT]);
    subject.store().remove(LEFT, &span_of(LEFT)).unwrap();
    subject.crash();
    let store = subject.store();
    assert_eq!(contents(store, LEFT), (vec![], vec![]));
    assert_eq!(store.applied(LEFT).unwrap(), None);
    assert_eq!(store.shards(), [RIGHT]);
    assert_eq!(store.state(LEFT).unwrap(), vec![]);
    assert_eq!(contents(store, RIGHT), right);
    assert_eq!(store.persist().unwrap(), vec![(RIGHT, entry(1))]);
}
