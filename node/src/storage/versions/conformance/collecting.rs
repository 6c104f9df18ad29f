//! Garbage collection.

use super::*;

pub(super) fn collect_at_each_threshold_keeps_what_reads_see<S: Subject>() {
    let all = [row("k", 30, "b"), tombstone("k", 20), row("k", 10, "a")];
    let expected = [(9, 3), (10, 3), (19, 3), (20, 1), (29, 1), (30, 1), (99, 1)];
    for (threshold, kept) in expected {
        let mut subject = S::fresh();
        let store = subject.store();
        for (index, version) in all.iter().rev().enumerate() {
            store.apply(vec![batch(LEFT, index as u64 + 1, vec![version.clone()])]).unwrap();
        }
        let reads = |store: &S::Store| -> Vec<Vec<Version>> {
            (threshold..40).map(|nanos| rows(store, &KeySpan::all(), nanos)).collect()
        };
        let before = reads(store);
        collect_all(store, &span_of(LEFT), threshold, 10);
        assert_eq!(contents(store, LEFT).0, all[..kept], "collected at {threshold}");
        assert_eq!(reads(store), before, "collected at {threshold}");
    }
}

pub(super) fn collect_of_a_lone_tombstone_drops_it<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    store.apply(vec![batch(LEFT, 1, vec![tombstone("deleted", 10), row("e", 10, "1")])]).unwrap();
    store.apply(vec![batch(LEFT, 2, vec![tombstone("deleted", 15), tombstone("e", 15)])]).unwrap();
    collect_all(store, &span_of(LEFT), 12, 10);
    let kept = vec![tombstone("deleted", 15), tombstone("e", 15), row("e", 10, "1")];
    assert_eq!(contents(store, LEFT).0, kept);
    collect_all(store, &span_of(LEFT), 15, 10);
    assert_eq!(contents(store, LEFT).0, vec![]);
    store.apply(vec![batch(LEFT, 3, vec![row("e", 20, "again")])]).unwrap();
    assert_eq!(rows(store, &KeySpan::all(), 20), vec![row("e", 20, "again")]);
}

pub(super) fn collect_in_steps_ends_at_the_span<S: Subject>() {
    let mut subject = S::fresh();
    let store = subject.store();
    for (index, nanos) in [(1, 10), (2, 20)] {
        let left = ["a", "b", "c", "d"].map(|name| row(name, nanos, "v")).to_vec();
        let right = batch(RIGHT, index, vec![row("z", nanos, "v")]);
        store.apply(vec![batch(LEFT, index, left), right]).unwrap();
    }
    let span = KeySpan::new(key("b"), key("d"));
    assert_eq!(store.collect(&span, at(20), Key::default(), 1).unwrap(), Some(key("c")));
    assert_eq!(store.collect(&span, at(20), key("c"), 1).unwrap(), None);
    assert_eq!(store.collect(&span, at(20), key("d"), 1).unwrap(), None);
    let left = contents(store, LEFT).0;
    let old: Vec<Key> = left.into_iter().filter(|v| v.timestamp == at(10)).map(|v| v.key).collect();
    assert_eq!(old, ["a", "d"].map(key));
    assert_eq!(contents(store, RIGHT).0.len(), 2);
}

/// A batch of the collector is bounded. Wherever it is cut, a tombstone outlives what it covers.
pub(super) fn collect_of_a_key_with_many_versions_never_uncovers_a_row<S: Subject>() {
    let (covering, row) = (tombstone("hot", 20_000), row("hot", 30_000, "new"));
    let cases = [
        (vec![covering.clone()], vec![]),
        (vec![covering.clone(), tombstone("hot", 30_000)], vec![tombstone("hot", 30_000)]),
        (vec![covering, row.clone()], vec![row]),
    ];
    for (newest, kept) in cases {
        let mut subject = S::fresh();
        let store = subject.store();
        let old = (1..=10_001).map(|nanos| super::row("hot", nanos, "v"));
        let versions = old.chain(newest).collect();
        store.apply(vec![batch(LEFT, 1, versions)]).unwrap();
        let span = span_of(LEFT);
        let mut from = Key::default();
        while let Some(next) = store.collect(&span, at(20_000), from, 10).unwrap() {
            assert_eq!(rows(store, &KeySpan::all(), 20_000), vec![]);
            from = next;
        }
        assert_eq!(contents(store, LEFT).0, kept);
    }
}
