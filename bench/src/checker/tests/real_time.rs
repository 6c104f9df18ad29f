//! Every edge of the real-time order, broken and just not broken.

use super::sketch::*;
use crate::checker::Anomaly;

/// A commit at 50 that was acknowledged at 15: its timestamp leads the instants used here, which are
/// not true time unless a test says so.
fn writer() -> Draft {
    commit(50, [5, 15]).writes("x", "1")
}

#[test]
fn commit_below_an_acknowledged_one_is_a_causal_reverse() {
    let later = |at, begun| commit(at, [begun, 90]).writes("y", "1").into();
    expect(vec![writer().into(), later(49, 16)], &[Anomaly::CausalReverse]);
    expect(vec![writer().into(), later(50, 16)], &[Anomaly::CausalReverse]);
    expect(vec![writer().into(), later(51, 16)], &[]);
    // Begun at the instant of the acknowledgement: concurrent.
    expect(vec![writer().into(), later(49, 15)], &[]);
}

#[test]
fn strong_read_below_an_acknowledged_commit_is_a_stale_read() {
    // It does not even read the key in question.
    let reader = |at, begun| strong(at, [begun, 90]).reads("y", "0").into();
    expect(vec![writer().into(), reader(49, 16)], &[Anomaly::StaleRead]);
    expect(vec![writer().into(), reader(50, 16)], &[]);
    expect(vec![writer().into(), reader(49, 15)], &[]);
}

#[test]
fn commit_below_a_version_that_was_read_is_a_write_below_read() {
    // The writer is slow to be acknowledged, but a reader has seen it.
    let records = |at| {
        vec![
            commit(50, [5, 95]).writes("x", "1").into(),
            strong(60, [6, 20]).sees("x", "1", 50).into(),
            commit(at, [21, 90]).writes("y", "1").into(),
        ]
    };
    expect(records(49), &[Anomaly::WriteBelowRead]);
    expect(records(50), &[Anomaly::WriteBelowRead]);
    // Above the version that was seen; the timestamp of the read itself binds nobody.
    expect(records(51), &[]);
}

#[test]
fn strong_read_below_a_version_that_was_read_is_non_monotonic() {
    let records = |at| {
        vec![
            commit(50, [5, 95]).writes("x", "1").into(),
            strong(60, [6, 20]).sees("x", "1", 50).into(),
            strong(at, [21, 90]).reads("y", "0").into(),
        ]
    };
    expect(records(49), &[Anomaly::NonMonotonicRead]);
    expect(records(50), &[]);
}

#[test]
fn deletion_that_was_read_binds_like_any_version() {
    let records = |at| {
        vec![
            commit(50, [5, 95]).deletes("x").into(),
            strong(60, [6, 20]).reads_none("x").into(),
            strong(at, [21, 90]).reads("y", "0").into(),
        ]
    };
    expect(records(49), &[Anomaly::NonMonotonicRead]);
    expect(records(50), &[]);
}

#[test]
fn row_that_a_scan_returned_binds_like_any_version() {
    let records = vec![
        commit(50, [5, 95]).writes("x", "1").into(),
        strong(60, [6, 20]).scans("x", "y", &[("x", "1")]).into(),
        commit(49, [21, 90]).writes("y", "1").into(),
    ];
    expect(records, &[Anomaly::WriteBelowRead]);
}

#[test]
fn answered_lookup_binds_like_an_acknowledgement() {
    let records = |at| {
        vec![
            unknown([5, 15]).writes("x", "1").id("t").into(),
            lookup("t", told_committed(50), 20),
            commit(at, [21, 90]).writes("y", "1").into(),
        ]
    };
    expect(records(49), &[Anomaly::CausalReverse]);
    expect(records(51), &[]);
}

#[test]
fn unknown_outcome_seen_below_what_was_acknowledged_is_a_causal_reverse() {
    let records = |version| {
        vec![
            writer().into(),
            unknown([16, 30]).writes("y", "1").into(),
            stale(60, [40, 41]).sees("y", "1", version).into(),
        ]
    };
    expect(records(49), &[Anomaly::CausalReverse]);
    expect(records(51), &[]);
}

#[test]
fn stale_reads_neither_bind_nor_are_bound() {
    let records = vec![
        writer().into(),
        stale(10, [80, 81]).reads("x", "0").into(),
        stale(60, [16, 17]).sees("x", "1", 50).into(),
        stale(1, [82, 83]).reads("x", "0").into(),
    ];
    expect(records, &[]);
    // Slow to be acknowledged, seen by a stale read only.
    let records = vec![
        commit(50, [5, 95]).writes("x", "1").into(),
        stale(60, [6, 20]).sees("x", "1", 50).into(),
        commit(49, [21, 90]).writes("y", "1").into(),
    ];
    expect(records, &[]);
}

#[test]
fn commit_without_writes_binds_by_what_it_saw() {
    let records = |at| {
        vec![
            commit(50, [5, 95]).writes("x", "1").into(),
            commit(80, [6, 20]).sees("x", "1", 50).into(),
            commit(at, [21, 90]).writes("y", "1").into(),
        ]
    };
    expect(records(49), &[Anomaly::WriteBelowRead]);
    expect(records(51), &[]);
}

#[test]
fn true_time_commit_acknowledged_before_its_timestamp_skips_commit_wait() {
    let at = |at| history(vec![commit(at, [5, 15]).writes("x", "1")]);
    assert_eq!(anomalies_in_true_time(&at(15)), [Anomaly::CommitWaitSkipped]);
    assert_eq!(anomalies_in_true_time(&at(14)), []);
    assert_eq!(anomalies(&at(15)), []);
}

#[test]
fn true_time_commit_below_its_arrival_is_found() {
    let at = |at| history(vec![commit(at, [5, 15]).writes("x", "1")]);
    assert_eq!(anomalies_in_true_time(&at(4)), [Anomaly::TimestampBeforeArrival]);
    assert_eq!(anomalies_in_true_time(&at(5)), []);
    let sent = history(vec![commit(7, [5, 15]).writes("x", "1").sent(8)]);
    assert_eq!(anomalies_in_true_time(&sent), [Anomaly::TimestampBeforeArrival]);
}

#[test]
fn true_time_version_seen_before_its_timestamp_skips_commit_wait() {
    let seen_at = |responded, reader: fn(u64, [u64; 2]) -> Draft| {
        history(vec![
            commit(50, [5, 95]).writes("x", "1"),
            reader(60, [6, responded]).sees("x", "1", 50),
        ])
    };
    for reader in [strong, stale] {
        assert_eq!(anomalies_in_true_time(&seen_at(50, reader)), [Anomaly::CommitWaitSkipped]);
        assert_eq!(anomalies_in_true_time(&seen_at(51, reader)), []);
    }
}

#[test]
fn true_time_lookup_answered_before_the_timestamp_skips_commit_wait() {
    let told_at = |responded| {
        history(vec![
            unknown([5, 15]).writes("x", "1").id("t").into(),
            lookup("t", told_committed(50), responded),
        ])
    };
    assert_eq!(anomalies_in_true_time(&told_at(50)), [Anomaly::CommitWaitSkipped]);
    assert_eq!(anomalies_in_true_time(&told_at(51)), []);
}

#[test]
fn true_time_origin_of_the_header_moves_the_instants() {
    let mut history = history(vec![commit(1_014, [5, 15]).writes("x", "1")]);
    history.header.true_time_origin = Some(ts(1_000));
    assert_eq!(anomalies(&history), []);
    history.header.true_time_origin = Some(ts(999));
    assert_eq!(anomalies(&history), [Anomaly::CommitWaitSkipped]);
}
