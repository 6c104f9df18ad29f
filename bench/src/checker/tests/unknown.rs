//! Attempts of unknown outcome: all or nothing, and never held against a correct history.

use super::sketch::*;
use crate::checker::{Anomaly, Options, check};
use crate::history::Answer;

fn transfer() -> Draft {
    unknown([5, 15]).sees("x", "0", 1).sees("y", "0", 1).writes("x", "1").writes("y", "2")
}

#[test]
fn unknown_that_committed_is_accepted() {
    let records = vec![
        transfer().into(),
        strong(9, [6, 20]).sees("x", "0", 1).sees("y", "0", 1).into(),
        strong(30, [25, 40]).sees("x", "1", 10).sees("y", "2", 10).into(),
    ];
    expect(records, &[]);
}

#[test]
fn unknown_that_did_not_commit_is_accepted() {
    let records = vec![transfer(), strong(90, [80, 95]).sees("x", "0", 1).sees("y", "0", 1)];
    let history = history(records);
    assert_eq!(anomalies(&history), []);
    assert_eq!(check(&history, Options::default()).unsettled, 1);
}

#[test]
fn unknown_half_applied_is_found() {
    let records =
        vec![transfer().into(), strong(30, [25, 40]).sees("x", "1", 10).sees("y", "0", 1).into()];
    expect(records, &[Anomaly::HalfApplied]);
    // By two readers, each of which sees one half only.
    let records = vec![
        transfer().into(),
        strong(30, [25, 40]).sees("x", "1", 10).into(),
        strong(31, [25, 40]).sees("y", "0", 1).into(),
    ];
    expect(records, &[Anomaly::HalfApplied]);
}

#[test]
fn unknown_at_two_timestamps_is_a_duplicate_commit() {
    let records = vec![
        transfer().into(),
        strong(11, [25, 40]).sees("x", "1", 10).sees("y", "2", 10).into(),
        strong(30, [25, 40]).sees("x", "1", 20).into(),
    ];
    expect(records, &[Anomaly::DuplicateCommit]);
}

#[test]
fn unknown_that_read_what_was_overwritten_by_then_is_found() {
    let records = vec![
        transfer().into(),
        commit(8, [4, 9]).sees("x", "0", 1).writes("x", "5").into(),
        strong(30, [25, 40]).sees("x", "1", 10).sees("y", "2", 10).into(),
    ];
    expect(records, &[Anomaly::LostUpdate]);
}

#[test]
fn unknown_that_a_lookup_settles_is_held_to_it() {
    let committed = || lookup("t", told_committed(10), 20);
    let missed = || strong(30, [25, 40]).sees("x", "0", 1).into();
    let seen = || strong(30, [25, 40]).sees("x", "1", 10).into();
    let unknown = || unknown([5, 15]).writes("x", "1").id("t").into();
    expect(vec![unknown(), committed(), seen()], &[]);
    expect(vec![unknown(), committed(), missed()], &[Anomaly::StaleRead]);
    expect(vec![unknown(), lookup("t", Answer::Aborted, 20), missed()], &[]);
    expect(vec![unknown(), lookup("t", Answer::Aborted, 20), seen()], &[Anomaly::AbortedRead]);
    expect(vec![unknown(), lookup("t", Answer::NotKnown, 20), seen()], &[]);
    expect(vec![unknown(), lookup("t", Answer::NotKnown, 20), missed()], &[]);
    expect(vec![unknown(), lookup("other", Answer::Aborted, 20), seen()], &[]);
}

#[test]
fn unknown_alike_in_value_is_told_apart_by_what_it_read() {
    // Both write x = 1; only the second had read the newest x.
    let records = |y| {
        vec![
            unknown([5, 15]).sees("x", "0", 1).writes("x", "1").writes("y", "1").into(),
            commit(20, [16, 25]).sees("x", "0", 1).writes("x", "7").into(),
            unknown([26, 35]).sees("x", "7", 20).writes("x", "1").writes("z", "1").into(),
            strong(50, [45, 55]).sees("x", "1", 30).into(),
            match y {
                "z missed" => strong(50, [45, 55]).sees("z", "0", 1).into(),
                _ => strong(50, [45, 55]).sees("y", "0", 1).into(),
            },
        ]
    };
    expect(records("z missed"), &[Anomaly::HalfApplied]);
    expect(records("y missed"), &[]);
}

#[test]
fn unknown_that_cannot_be_told_from_another_is_accepted() {
    let blind = |other: &str| unknown([5, 15]).writes("x", "1").writes(other, "1").into();
    let seen = strong(50, [45, 55]).sees("x", "1", 30);
    expect(vec![blind("y"), blind("z"), seen.into()], &[]);
    // Whichever it was, the other half of one of them is due; what was read above the version tells
    // which.
    let seen = strong(50, [45, 55]).sees("x", "1", 30).sees("y", "0", 1).sees("z", "1", 30);
    expect(vec![blind("y"), blind("z"), seen.into()], &[]);
    let neither = strong(50, [45, 55]).sees("x", "1", 30).sees("y", "0", 1).sees("z", "0", 1);
    let found = anomalies(&history(vec![blind("y"), blind("z"), neither.into()]));
    assert_eq!(found, [Anomaly::HalfApplied]);
}

#[test]
fn unknown_seen_only_by_another_unknown_is_accepted() {
    let records = |x| {
        vec![
            unknown([5, 15]).writes("x", "1").writes("z", "1").into(),
            unknown([16, 25]).sees("x", "1", 10).writes("y", "1").into(),
            strong(50, [45, 55]).sees("y", "1", 20).into(),
            stale(15, [45, 55]).sees("x", x, if x == "1" { 10 } else { 1 }).into(),
        ]
    };
    expect(records("1"), &[]);
    // What the second had read is binding once the second was seen.
    expect(records("0"), &[Anomaly::StaleRead]);
}

#[test]
fn unknown_invoked_after_the_read_explains_nothing() {
    let records = vec![
        unknown([50, 60]).writes("x", "1").into(),
        strong(30, [25, 40]).reads("x", "1").into(),
    ];
    expect(records, &[Anomaly::FutureRead]);
}

#[test]
fn unknown_without_versions_is_matched_by_value() {
    let unknown = || unknown([5, 15]).writes("x", "1").writes("y", "2").into();
    let both = strong(30, [25, 40]).reads("x", "1").reads("y", "2");
    expect(vec![unknown(), both.into()], &[]);
    let neither = strong(30, [25, 40]).reads("x", "0").reads("y", "0");
    expect(vec![unknown(), neither.into()], &[]);
    let half = strong(30, [25, 40]).reads("x", "1").reads("y", "0");
    expect(vec![unknown(), half.into()], &[Anomaly::HalfApplied]);
    // y was written in between, so which of the two came last is open.
    let records = |y| {
        vec![
            unknown(),
            commit(20, [6, 25]).writes("y", "5").into(),
            strong(30, [25, 40]).reads("x", "1").into(),
            strong(31, [25, 41]).reads("y", y).into(),
        ]
    };
    expect(records("5"), &[]);
    expect(records("2"), &[]);
}

#[test]
fn unknown_without_versions_does_not_come_and_go() {
    let records = vec![
        unknown([5, 15]).writes("x", "1").into(),
        strong(30, [25, 40]).reads("x", "1").into(),
        strong(31, [25, 41]).reads("x", "0").into(),
    ];
    expect(records, &[Anomaly::StaleRead]);
}

#[test]
fn unknown_deletion_and_insertion_explain_scans_without_versions() {
    let records = vec![
        unknown([5, 15]).deletes("x").writes("a", "1").into(),
        strong(20, [16, 25]).scans("a", "y", &[("x", "0")]).into(),
        strong(30, [26, 35]).scans("a", "y", &[("a", "1")]).into(),
    ];
    expect(records, &[]);
}
