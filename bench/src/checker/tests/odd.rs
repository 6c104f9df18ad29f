//! Correct histories that look wrong.

use super::sketch::*;

#[test]
fn empty_history_is_accepted() {
    expect(vec![], &[]);
    expect(vec![strong(5, [1, 1]).into()], &[]);
}

#[test]
fn strong_read_ahead_of_true_time_is_accepted() {
    // Its timestamp leads; a commit that began after it was answered gets a lower one.
    let history = history(vec![
        strong(100, [5, 6]).sees("x", "0", 1),
        commit(10, [7, 15]).writes("y", "1"),
        strong(20, [16, 25]).sees("y", "1", 10),
    ]);
    assert_eq!(anomalies_in_true_time(&history), []);
    assert_eq!(anomalies(&history), []);
}

#[test]
fn old_stale_read_is_accepted() {
    let records = vec![
        commit(10, [5, 15]).sees("x", "0", 1).writes("x", "1").into(),
        commit(20, [16, 25]).sees("x", "1", 10).writes("x", "2").into(),
        stale(10, [90, 95]).sees("x", "1", 10).into(),
        stale(9, [90, 95]).sees("x", "0", 1).into(),
        stale(0, [90, 95]).reads("y", "0").into(),
    ];
    expect(records, &[]);
}

#[test]
fn equal_instants_are_concurrent() {
    let records = vec![
        commit(30, [10, 10]).writes("x", "1").into(),
        commit(20, [10, 10]).writes("y", "1").into(),
        strong(10, [10, 10]).reads("x", "0").reads("y", "0").into(),
    ];
    expect(records, &[]);
}

#[test]
fn concurrent_transactions_may_be_ordered_against_their_invocation() {
    let records = vec![
        commit(30, [5, 40]).sees("x", "2", 20).writes("x", "1").into(),
        commit(20, [6, 40]).sees("x", "0", 1).writes("x", "2").into(),
        strong(10, [7, 40]).sees("x", "0", 1).into(),
    ];
    expect(records, &[]);
}

#[test]
fn repeated_values_are_told_apart_by_timestamp() {
    let records = vec![
        commit(10, [5, 15]).reads("x", "0").writes("x", "1").into(),
        commit(20, [16, 25]).reads("x", "1").writes("x", "0").into(),
        commit(30, [26, 35]).reads("x", "0").writes("x", "1").into(),
        strong(15, [16, 25]).reads("x", "1").into(),
        strong(25, [16, 28]).reads("x", "0").into(),
        strong(30, [30, 31]).reads("x", "1").into(),
    ];
    expect(records, &[]);
}

#[test]
fn commits_at_one_timestamp_without_conflict_are_accepted() {
    let records = vec![
        commit(10, [5, 15]).reads("x", "0").writes("x", "1").into(),
        commit(10, [5, 15]).reads("y", "0").writes("y", "1").into(),
        // Misses both, as it must, and comes first in any order.
        commit(10, [5, 15]).reads("x", "0").reads("y", "0").writes("z", "1").into(),
        strong(10, [9, 16]).reads("x", "1").reads("y", "1").reads("z", "1").into(),
    ];
    expect(records, &[]);
}

#[test]
fn own_writes_are_seen_as_the_transaction_left_them() {
    let records = vec![
        commit(10, [5, 15])
            .writes("x", "1")
            .reads("x", "1")
            .writes("x", "2")
            .reads("x", "2")
            .writes("a", "1")
            .deletes("y")
            .scans("a", "zz", &[("a", "1"), ("x", "2"), ("z", "0")])
            .reads_none("y")
            .into(),
        strong(20, [16, 25]).scans("a", "zz", &[("a", "1"), ("x", "2"), ("z", "0")]).into(),
    ];
    expect(records, &[]);
}

#[test]
fn scan_stopped_by_a_limit_covers_what_it_consumed() {
    let records = vec![
        commit(10, [5, 15]).writes("xx", "1").into(),
        // Two rows were asked for: the interval ends just past the second.
        strong(20, [16, 25]).scans("a", "xx\0", &[("x", "0"), ("xx", "1")]).into(),
        strong(20, [16, 25]).scans("a", "x", &[]).into(),
        strong(20, [16, 25]).scans("y", "x", &[]).into(),
        strong(20, [16, 25])
            .scans("a", "x\0", &[("x", "0")])
            .scans_from("x\0", &[("xx", "1"), ("y", "0"), ("z", "0")])
            .into(),
    ];
    expect(records, &[]);
}

#[test]
fn reads_of_an_aborted_attempt_are_not_judged() {
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        aborted([16, 25]).reads("x", "0").reads("x", "1").writes("y", "1").into(),
        strong(30, [26, 35]).reads("y", "0").into(),
    ];
    expect(records, &[]);
}

#[test]
fn initial_rows_without_versions_match_any() {
    let mut history = history(vec![
        strong(20, [16, 25]).sees("x", "0", 7).reads("y", "0"),
        commit(30, [26, 35]).sees("x", "0", 7).writes("x", "0"),
        strong(40, [36, 45]).sees("x", "0", 30),
    ]);
    history.header.initial.iter_mut().for_each(|row| row.version = None);
    assert_eq!(anomalies(&history), []);
}
