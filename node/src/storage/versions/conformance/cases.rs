//! Reading, applying and persisting.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) fn read_of_a_key_sees_the_newest_at_or_below<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    for (index, version) in
        [row("k", 10, "a"), tombstone("k", 20), row("k", 30, "b")].into_iter().enumerate()
    {
        store.apply(vec![batch(LEFT, index as u64 + 1, vec![version])]).unwrap();
    }
    let expected = [
        (9, vec![]),
        (10, vec![row("k", 10, "a")]),
        (19, vec![row("k", 10, "a")]),
        (20, vec![]),
        (29, vec![]),
        (30, vec![row("k", 30, "b")]),
        (u64::MAX, vec![row("k", 30, "b")]),
    ];
    for span in [KeySpan::point(key("k")), KeySpan::all(), KeySpan::new(key("k"), key("l"))] {
        for (nanos, expected) in &expected {
            assert_eq!(rows(store, &span, *nanos), *expected, "{span} at {nanos}");
        }
    }
    assert_eq!(rows(store, &KeySpan::point(key("j")), 30), vec![]);
}

pub(super) fn read_of_odd_keys_keeps_them_apart<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let odd: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"\0\x01", b"a", b"a\0", b"a\0\xff", b"a\x01"];
    let old: Vec<Version> = odd.iter().map(|name| row(name, 10, "old")).collect();
    let new: Vec<Version> = odd.iter().map(|name| row(name, 20, "new")).collect();
    store.apply(vec![batch(LEFT, 1, old.clone())]).unwrap();
    store.apply(vec![batch(LEFT, 2, new.clone())]).unwrap();
    assert_eq!(rows(store, &KeySpan::all(), 10), old);
    assert_eq!(rows(store, &KeySpan::all(), 20), new);
    for (number, name) in odd.iter().enumerate() {
        assert_eq!(rows(store, &KeySpan::point(key(name)), 15), old[number..=number]);
        assert_eq!(rows(store, &KeySpan { start: key(name), end: None }, 15), old[number..]);
        assert_eq!(rows(store, &KeySpan::new(Key::default(), key(name)), 15), old[..number]);
    }
}

pub(super) fn read_of_several_spans_follows_their_order<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let all: Vec<Version> = ["a", "b", "c", "d"].iter().map(|name| row(name, 10, "v")).collect();
    store.apply(vec![batch(LEFT, 1, all)]).unwrap();
    let spans = [
        KeySpan::point(key("d")),
        KeySpan::new(key("c"), key("b")),
        KeySpan::new(key("a"), key("c")),
        KeySpan::point(key("x")),
        KeySpan::point(key("c")),
    ];
    let found = store.read(&spans, at(10), NO_LIMIT).unwrap();
    let names: Vec<Key> = found.rows.into_iter().map(|row| row.key).collect();
    assert_eq!(names, ["d", "a", "b", "c"].map(key));
    assert_eq!(found.rest, vec![]);
}

pub(super) fn read_limit_of_rows_resumes_behind_the_last_row<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let all = ["a", "b", "c", "d"].iter().map(|name| row(name, 10, "v")).collect();
    store.apply(vec![batch(LEFT, 1, all)]).unwrap();
    store.apply(vec![batch(LEFT, 2, vec![tombstone("b", 20)])]).unwrap();
    let spans = [KeySpan::new(key("a"), key("d")), KeySpan::point(key("d"))];

    let limit = ReadLimit { rows: 1, ..NO_LIMIT };
    let first = store.read(&spans, at(20), limit).unwrap();
    assert_eq!(first.rows, vec![row("a", 10, "v")]);
    assert_eq!(first.rest, vec![KeySpan::new(key("a\0"), key("d")), spans[1].clone()]);
    let second = store.read(&first.rest, at(20), limit).unwrap();
    assert_eq!(second.rows, vec![row("c", 10, "v")]);
    assert_eq!(second.rest, vec![KeySpan::new(key("c\0"), key("d")), spans[1].clone()]);
    let third = store.read(&second.rest, at(20), limit).unwrap();
    assert_eq!(third.rows, vec![row("d", 10, "v")]);
    assert_eq!(third.rest, vec![]);
    let none = store.read(&spans, at(20), ReadLimit { rows: 0, bytes: 0 }).unwrap();
    assert_eq!(none.rows, vec![row("a", 10, "v")], "every read makes progress");
}

pub(super) fn read_limit_of_bytes_returns_at_least_one_row<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let all = vec![row("a", 10, "12345"), row("b", 10, "123"), row("c", 10, "1")];
    store.apply(vec![batch(LEFT, 1, all.clone())]).unwrap();
    let read = |bytes| {
        let limit = ReadLimit { bytes, ..NO_LIMIT };
        let found = store.read(&[KeySpan::all()], at(10), limit).unwrap();
        (found.rows.len(), found.rest.first().map(|span| span.start.clone()))
    };
    assert_eq!(read(0), (1, Some(key("a\0"))));
    assert_eq!(read(9), (1, Some(key("a\0"))));
    assert_eq!(read(10), (2, Some(key("b\0"))));
    assert_eq!(read(11), (2, Some(key("b\0"))));
    assert_eq!(read(13), (3, None));
}

pub(super) fn read_limit_reached_by_points_leaves_the_others<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let all = ["a", "b", "c"].iter().map(|name| row(name, 10, "v")).collect();
    store.apply(vec![batch(LEFT, 1, all)]).unwrap();
    let spans = ["c", "x", "a", "b"].map(|name| KeySpan::point(key(name)));
    let found = store.read(&spans, at(10), ReadLimit { rows: 2, ..NO_LIMIT }).unwrap();
    assert_eq!(found.rows, vec![row("c", 10, "v"), row("a", 10, "v")]);
    assert_eq!(found.rest, spans[3..]);
}

pub(super) fn apply_of_several_shards_takes_all<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    assert_eq!(store.applied(LEFT).unwrap(), None);
    let pass = vec![
        batch(LEFT, 3, vec![row("a", 10, "1")]),
        batch(RIGHT, 9, vec![row("z", 11, "2")]),
        batch(LEFT, 4, vec![row("b", 12, "3")]),
    ];
    store.apply(pass).unwrap();
    assert_eq!(store.applied(LEFT).unwrap(), Some(entry(4)));
    assert_eq!(store.applied(RIGHT).unwrap(), Some(entry(9)));
    let all = vec![row("a", 10, "1"), row("b", 12, "3"), row("z", 11, "2")];
    assert_eq!(rows(store, &KeySpan::all(), 12), all);
}

pub(super) fn apply_of_one_key_twice_in_a_pass_keeps_both<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let first = batch(LEFT, 1, vec![row("k", 10, "1"), tombstone("k", 20)]);
    let second = batch(LEFT, 2, vec![row("k", 30, "3")]);
    store.apply(vec![first, second]).unwrap();
    let (versions, _) = contents(store, LEFT);
    assert_eq!(versions, vec![row("k", 30, "3"), tombstone("k", 20), row("k", 10, "1")]);
}

pub(super) fn apply_of_state_changes_follows_their_order<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    let change = |index, state| ApplyBatch { state, ..batch(LEFT, index, vec![]) };
    let range = |from: &str, to: &str| StateChange::DeleteRange(from.into(), to.into());
    let other = ApplyBatch { state: vec![put("b", "other")], ..batch(RIGHT, 1, vec![]) };
    let first = vec![put("a", "1"), put("b", "2"), put("c", "3"), put("", "none")];
    store.apply(vec![change(1, first), other]).unwrap();
    assert_eq!(
        store.state(LEFT).unwrap(),
        vec![pair("", "none"), pair("a", "1"), pair("b", "2"), pair("c", "3")]
    );

    let second =
        vec![put("bb", "x"), range("b", "c"), put("b", "5"), range("c", "a"), range("a", "a")];
    let third =
        vec![StateChange::Delete("c".into()), StateChange::Delete("q".into()), put("a", "6")];
    store.apply(vec![change(2, second), change(3, third)]).unwrap();
    let left = vec![pair("", "none"), pair("a", "6"), pair("b", "5")];
    assert_eq!(store.state(LEFT).unwrap(), left);
    assert_eq!(contents(store, LEFT), (vec![], left));
    assert_eq!(store.state(RIGHT).unwrap(), vec![pair("b", "other")]);
}

/// T45: an entry takes effect once.
pub(super) fn apply_of_an_applied_entry_panics<S: Subject>() {
    let panics = |pass: Vec<ApplyBatch>| {
        let mut subject = S::fresh();
        subject.store().apply(vec![batch(LEFT, 5, vec![])]).unwrap();
        catch_unwind(AssertUnwindSafe(|| subject.store().apply(pass))).is_err()
    };
    assert!(panics(vec![batch(LEFT, 5, vec![])]));
    assert!(panics(vec![batch(LEFT, 4, vec![])]));
    assert!(panics(vec![batch(LEFT, 6, vec![]), batch(LEFT, 6, vec![])]));
    assert!(!panics(vec![batch(LEFT, 6, vec![]), batch(LEFT, 8, vec![]), batch(RIGHT, 1, vec![])]));
    let old_term = EntryId { term: Term(0), index: LogIndex(7) };
    assert!(panics(vec![ApplyBatch { applied: old_term, ..batch(LEFT, 7, vec![]) }]));
}

/// T15: no two versions of a key share a timestamp, and they come in order.
pub(super) fn apply_of_an_older_timestamp_panics<S: Subject>() {
    let panics = |versions: Vec<Version>| {
        let mut subject = S::fresh();
        subject.store().apply(vec![batch(LEFT, 1, vec![row("k", 10, "1")])]).unwrap();
        let pass = vec![batch(LEFT, 2, versions)];
        catch_unwind(AssertUnwindSafe(|| subject.store().apply(pass))).is_err()
    };
    assert!(panics(vec![row("k", 10, "2")]));
    assert!(panics(vec![tombstone("k", 9)]));
    assert!(panics(vec![row("k", 11, "2"), row("k", 11, "3")]));
    assert!(!panics(vec![row("k", 11, "2"), row("j", 1, "3")]));
}

pub(super) fn persist_of_two_shards_returns_both<S: Subject>() {
    let mut subject = S::fresh();
    assert_eq!(subject.store().persist().unwrap(), vec![]);
    subject.store().apply(vec![batch(RIGHT, 7, vec![]), batch(LEFT, 2, vec![])]).unwrap();
    let mut persisted = subject.store().persist().unwrap();
    persisted.sort_unstable();
    assert_eq!(persisted, vec![(LEFT, entry(2)), (RIGHT, entry(7))]);
}

pub(super) fn crash_after_persist_loses_nothing<S: Subject>() {
    let mut subject = S::fresh();
    let state = vec![put("s", "1")];
    let first = ApplyBatch { state, ..batch(LEFT, 1, vec![row("k", 10, "1"), row("l", 10, "1")]) };
    subject.store().apply(vec![first]).unwrap();
    subject.store().apply(vec![batch(LEFT, 2, vec![tombstone("k", 20)])]).unwrap();
    let before = contents(subject.store(), LEFT);
    let persisted = subject.store().persist().unwrap();
    subject.store().apply(vec![batch(LEFT, 3, vec![row("k", 30, "lost?")])]).unwrap();
    subject.crash();
    let kept = subject.store().applied(LEFT).unwrap().unwrap();
    assert!(kept >= persisted[0].1, "{kept:?} is before {persisted:?}");
    if kept == entry(2) {
        assert_eq!(contents(subject.store(), LEFT), before);
    }
    let next = batch(LEFT, kept.index.0 + 1, vec![row("k", 40, "after")]);
    subject.store().apply(vec![next]).unwrap();
    subject.restart();
    assert_eq!(rows(subject.store(), &KeySpan::point(key("k")), 40), vec![row("k", 40, "after")]);
}
