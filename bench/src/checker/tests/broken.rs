//! Broken histories, one for each anomaly that a replay shows.

use super::sketch::*;
use crate::checker::{Anomaly, Options, check};

#[test]
fn g0_interleaved_writes_are_a_dirty_write() {
    // x keeps the earlier write, y the later one, for good.
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").writes("y", "1").into(),
        commit(20, [6, 25]).writes("x", "2").writes("y", "2").into(),
        strong(40, [40, 41]).reads("x", "1").reads("y", "2").into(),
        strong(50, [50, 51]).reads("x", "1").reads("y", "2").into(),
    ];
    expect(records, &[Anomaly::DirtyWrite, Anomaly::DirtyWrite]);
}

#[test]
fn g1a_read_of_an_aborted_write_is_an_aborted_read() {
    let records = vec![
        aborted([5, 15]).writes("x", "1").into(),
        commit(20, [16, 25]).reads("x", "1").writes("y", "2").into(),
    ];
    expect(records, &[Anomaly::AbortedRead]);
    let records = vec![
        aborted([5, 15]).writes("x", "1").into(),
        strong(20, [16, 25]).sees("x", "1", 9).into(),
    ];
    expect(records, &[Anomaly::AbortedRead]);
}

#[test]
fn g1b_read_of_an_overwritten_write_is_an_intermediate_read() {
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").writes("x", "2").into(),
        strong(20, [16, 25]).reads("x", "1").into(),
    ];
    expect(records, &[Anomaly::IntermediateRead]);
}

#[test]
fn g1c_mutual_sight_is_a_circular_information_flow() {
    let records = vec![
        commit(10, [5, 25]).reads("y", "2").writes("x", "1").into(),
        commit(20, [5, 25]).reads("x", "1").writes("y", "2").into(),
    ];
    expect(records, &[Anomaly::CircularInformationFlow]);
}

#[test]
fn g_single_half_seen_transaction_is_a_fractured_read() {
    let writer = || commit(10, [5, 15]).writes("x", "1").writes("y", "1").into();
    let observer = || strong(30, [30, 31]).reads("x", "1").reads("y", "1").into();
    let records =
        vec![writer(), observer(), strong(20, [6, 25]).reads("x", "0").reads("y", "1").into()];
    expect(records, &[Anomaly::FracturedRead]);
    // The same below the writer's timestamp: one part is too new.
    let records =
        vec![writer(), observer(), strong(9, [6, 25]).reads("x", "0").reads("y", "1").into()];
    expect(records, &[Anomaly::FracturedRead]);
}

#[test]
fn g2_item_crossed_reads_and_writes_are_a_write_skew() {
    let records = vec![
        commit(10, [5, 15]).sees("x", "0", 1).sees("y", "0", 1).writes("x", "1").into(),
        commit(20, [6, 25]).sees("x", "0", 1).sees("y", "0", 1).writes("y", "1").into(),
    ];
    expect(records, &[Anomaly::WriteSkew]);
}

#[test]
fn g2_predicate_crossed_scans_and_inserts_are_a_predicate_write_skew() {
    let records = vec![
        commit(10, [5, 15]).scans("a", "b", &[]).writes("a1", "1").into(),
        commit(20, [6, 25]).scans("a", "b", &[]).writes("a2", "1").into(),
    ];
    expect(records, &[Anomaly::PredicateWriteSkew]);
}

#[test]
fn g2_at_one_timestamp_is_a_write_skew() {
    let crossed = |one: &str, two: &str| {
        vec![
            commit(10, [5, 15]).reads(one, "0").writes(two, "1").into(),
            commit(10, [6, 25]).reads(two, "0").writes(one, "1").into(),
        ]
    };
    expect(crossed("x", "y"), &[Anomaly::WriteSkew]);
    let scan = vec![
        commit(10, [5, 15]).scans("a", "b", &[]).writes("a1", "1").into(),
        commit(10, [6, 25]).scans("a", "b", &[]).writes("a2", "1").into(),
    ];
    expect(scan, &[Anomaly::WriteSkew]);
}

#[test]
fn overwritten_unseen_version_is_a_lost_update() {
    let records = vec![
        commit(10, [5, 15]).reads("x", "0").writes("x", "1").into(),
        commit(20, [6, 25]).reads("x", "0").writes("x", "1").into(),
    ];
    expect(records, &[Anomaly::LostUpdate]);
}

#[test]
fn lost_update_of_equal_values_is_found_by_versions() {
    // Both write what was there before: only the versions tell that the second missed the first.
    let records = vec![
        commit(10, [5, 15]).sees("x", "0", 1).writes("x", "0").into(),
        commit(20, [6, 25]).sees("x", "0", 1).writes("x", "0").into(),
    ];
    expect(records, &[Anomaly::LostUpdate]);
}

#[test]
fn read_that_misses_a_commit_is_a_stale_read() {
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        strong(20, [16, 25]).sees("x", "0", 1).into(),
        strong(30, [26, 35]).sees("x", "1", 10).into(),
    ];
    expect(records, &[Anomaly::StaleRead]);
    // A read at an old timestamp is not excused from what lies below it.
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        stale(11, [90, 95]).sees("x", "0", 1).into(),
    ];
    expect(records, &[Anomaly::StaleRead]);
}

#[test]
fn read_above_its_timestamp_is_a_future_read() {
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        stale(9, [90, 95]).sees("x", "1", 10).into(),
    ];
    expect(records, &[Anomaly::FutureRead]);
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        commit(9, [5, 15]).reads("x", "1").writes("y", "1").into(),
    ];
    expect(records, &[Anomaly::FutureRead]);
}

#[test]
fn later_write_seen_without_the_earlier_is_a_causal_reverse() {
    // The second began after the first was acknowledged; a reader sees only the second.
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        commit(20, [16, 25]).writes("y", "2").into(),
        strong(30, [17, 35]).reads("x", "0").reads("y", "2").into(),
    ];
    expect(records, &[Anomaly::CausalReverse]);
}

#[test]
fn acknowledged_commit_that_nobody_sees_is_a_lost_write() {
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        strong(20, [16, 25]).sees("x", "0", 1).into(),
        strong(30, [26, 35]).sees("x", "0", 1).into(),
    ];
    expect(records, &[Anomaly::LostWrite, Anomaly::LostWrite]);
}

#[test]
fn second_effect_of_one_commit_is_a_duplicate_commit() {
    // The blind write of 1 came back after 2 had replaced it.
    let records = vec![
        single_use(10, [5, 15]).writes("x", "1").into(),
        single_use(20, [16, 25]).writes("x", "2").into(),
        strong(40, [30, 45]).sees("x", "1", 30).into(),
    ];
    expect(records, &[Anomaly::DuplicateCommit]);
}

#[test]
fn one_id_with_two_timestamps_is_a_duplicate_commit() {
    let records = vec![
        single_use(10, [5, 15]).writes("x", "1").id("t").into(),
        lookup("t", told_committed(12), 30),
    ];
    expect(records, &[Anomaly::DuplicateCommit]);
    let records = vec![
        single_use(10, [5, 15]).writes("x", "1").id("t").into(),
        single_use(12, [5, 15]).writes("x", "1").id("t").into(),
    ];
    expect(records, &[Anomaly::DuplicateCommit]);
}

#[test]
fn commit_told_as_aborted_is_a_contradictory_outcome() {
    use crate::history::Answer;
    let told_aborted = |id| lookup(id, Answer::Aborted, 30);
    let committed = commit(10, [5, 15]).writes("x", "1").id("t").into();
    expect(vec![committed, told_aborted("t")], &[Anomaly::ContradictoryOutcome]);
    let aborted = aborted([5, 15]).writes("x", "1").id("t").into();
    expect(vec![aborted, lookup("t", told_committed(10), 30)], &[Anomaly::ContradictoryOutcome]);
    let unknown = unknown([5, 15]).writes("x", "1").id("t").into();
    let told = lookup("t", told_committed(10), 30);
    expect(vec![unknown, told, told_aborted("t")], &[Anomaly::ContradictoryOutcome]);
}

#[test]
fn scan_without_an_inserted_row_is_a_phantom() {
    let insert = || commit(10, [5, 15]).writes("a5", "1").into();
    for miss in [
        strong(20, [16, 25]).scans("a", "b", &[]),
        strong(20, [16, 25]).scans_from("a5", &[("x", "0"), ("y", "0"), ("z", "0")]),
        commit(20, [16, 25]).scans("a", "b", &[]).writes("z", "1"),
    ] {
        expect(vec![insert(), miss.into()], &[Anomaly::Phantom]);
    }
}

#[test]
fn scan_with_a_deleted_row_is_a_phantom() {
    let records = vec![
        commit(10, [5, 15]).deletes("y").into(),
        strong(20, [16, 25]).scans("x", "zz", &[("x", "0"), ("y", "0"), ("z", "0")]).into(),
    ];
    expect(records, &[Anomaly::Phantom]);
}

#[test]
fn scan_out_of_order_twice_or_outside_is_disordered() {
    for rows in [
        &[("y", "0"), ("x", "0"), ("z", "0")][..],
        &[("x", "0"), ("x", "0"), ("y", "0"), ("z", "0")],
        &[("w", "0"), ("x", "0"), ("y", "0"), ("z", "0")],
        &[("x", "0"), ("y", "0"), ("z", "0"), ("zz", "0")],
    ] {
        let scan = strong(20, [16, 25]).scans("x", "zz", rows).into();
        expect(vec![scan], &[Anomaly::DisorderedScan]);
    }
}

#[test]
fn changing_read_in_one_transaction_is_a_non_repeatable_read() {
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        strong(20, [6, 25]).reads("x", "1").reads("x", "0").into(),
    ];
    expect(records, &[Anomaly::NonRepeatableRead]);
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        commit(9, [6, 25]).reads("x", "0").reads("x", "1").writes("y", "1").into(),
    ];
    expect(records, &[Anomaly::NonRepeatableRead]);
}

#[test]
fn own_write_not_seen_is_named_so() {
    let miss = |draft: Draft| expect(vec![draft.into()], &[Anomaly::OwnWriteMissed]);
    miss(commit(10, [5, 15]).writes("x", "1").reads("x", "0"));
    miss(commit(10, [5, 15]).writes("x", "1").scans("x", "y", &[("x", "0")]));
    miss(commit(10, [5, 15]).writes("a", "1").scans("a", "b", &[]));
    miss(commit(10, [5, 15]).deletes("x").scans("x", "y", &[("x", "0")]));
}

#[test]
fn value_that_nobody_wrote_is_a_garbage_read() {
    expect(vec![strong(20, [16, 25]).reads("x", "7").into()], &[Anomaly::GarbageRead]);
    expect(vec![strong(20, [16, 25]).sees("x", "0", 5).into()], &[Anomaly::GarbageRead]);
    expect(vec![strong(20, [16, 25]).reads_none("x").into()], &[Anomaly::GarbageRead]);
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        strong(20, [16, 25]).sees("x", "2", 10).into(),
    ];
    expect(records, &[Anomaly::GarbageRead]);
}

#[test]
fn two_versions_of_a_key_at_one_timestamp_share_it() {
    let records = vec![
        commit(10, [5, 15]).writes("x", "1").into(),
        commit(10, [5, 15]).writes("x", "2").writes("y", "1").into(),
    ];
    expect(records, &[Anomaly::SharedTimestamp]);
}

#[test]
fn violations_beyond_the_limit_are_counted() {
    let records = (0..5).map(|i| strong(20 + i, [16, 99]).reads("x", "7"));
    let history = history(records);
    let checked = check(&history, Options { violations_max: 2, ..Options::default() });
    assert_eq!((checked.violations.len(), checked.violations_found), (2, 5));
    assert_eq!(checked.verdict(), "garbage read");
}

#[test]
fn violation_says_what_was_due_and_who_wrote_it() {
    let history = history(vec![
        commit(10, [5, 15]).reads("x", "0").writes("x", "1").id("t1"),
        commit(20, [6, 25]).reads("x", "0").writes("x", "2").id("t2"),
    ]);
    let checked = check(&history, Options::default());
    assert_eq!(
        checked.violations[0].to_string(),
        concat!(
            "lost update (P4): a read of x returned \"0\", where \"1\" of 0.000000010 was due\n",
            "  reader: record 2, read-write, committed, id t2, timestamp 0.000000020, process 1 ",
            "from 0.000000006s to 0.000000025s\n",
            "  wrote what was expected: record 1, read-write, committed, id t1, timestamp ",
            "0.000000010, process 1 from 0.000000005s to 0.000000015s"
        )
    );
}
