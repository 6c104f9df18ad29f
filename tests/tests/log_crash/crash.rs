//! Crashes and failures at every operation of the disk.

use crate::history::{History, Progress, choices, drawn};
use crate::model::Model;
use crate::open;
use node::storage::log::{LogError, Recovered};
use proptest::prelude::*;
use tests::sim_disk::{Fault, SimDisk};

/// Which of the states that a run may leave was recovered. Panics when it is none of them.
fn recovered_state(history: &History, progress: Progress, recovered: Recovered) -> usize {
    let found = Model { shards: recovered.shards };
    found.check_invariants();
    let acknowledged = progress.acknowledged;
    let last = acknowledged + usize::from(progress.in_doubt);
    (acknowledged..=last)
        .find(|state| history.states[*state] == found)
        .unwrap_or_else(|| panic!("after {progress:?} recovery found another state: {found:?}"))
}

fn run_until(history: &History, disk: &SimDisk, operation: u64, fault: Fault) -> Progress {
    disk.fail_at(operation, fault);
    let Ok((mut log, _)) = open(disk) else { return Progress::START };
    let progress = history.run(&mut log, Progress::START);
    disk.clear_faults();
    progress
}

/// How many operations a history takes on the disk when nothing fails.
fn operations(history: &History) -> u64 {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let progress = history.run(&mut log, Progress::START);
    assert_eq!(progress.steps, history.steps.len());
    assert!(!progress.in_doubt);
    disk.counts().all
}

/// What a run met, so that a test can tell that its histories reach it.
#[derive(Default)]
struct Met {
    torn_tails: usize,
    lost_writes: usize,
    kept_writes: usize,
}

/// Crashes in this operation, recovers, runs the rest, and recovers once more.
fn crash_and_go_on(history: &History, operation: u64, seed: u64, met: &mut Met) {
    let disk = SimDisk::new();
    let progress = run_until(history, &disk, operation, Fault::Death);
    disk.crash(seed);
    let (mut log, recovered) = open(&disk).unwrap();
    met.torn_tails += usize::from(recovered.torn_tail.is_some());
    let state = recovered_state(history, progress, recovered);
    if progress.in_doubt {
        met.kept_writes += state - progress.acknowledged;
        met.lost_writes += progress.acknowledged + 1 - state;
    }

    let progress = history.run(&mut log, history.resume_at(state));
    assert_eq!(progress.acknowledged + 1, history.states.len());
    disk.crash(seed + 1);
    let (_, recovered) = open(&disk).unwrap();
    recovered_state(history, progress, recovered);
}

/// Crashes in this operation, then in each operation of the recovery.
fn crash_in_recovery(history: &History, operation: u64, seed: u64) {
    for second in 0.. {
        let disk = SimDisk::new();
        let mut progress = run_until(history, &disk, operation, Fault::Death);
        disk.crash(seed);
        disk.fail_at(second, Fault::Death);
        if let Ok((_, recovered)) = open(&disk) {
            recovered_state(history, progress, recovered);
            break;
        }
        disk.crash(seed + second);
        let (_, recovered) = open(&disk).unwrap();
        let state = recovered_state(history, progress, recovered);
        // What a recovery has shown must not be gone after the next crash.
        progress = history.resume_at(state);
        disk.crash(seed + second + 1);
        let (_, recovered) = open(&disk).unwrap();
        recovered_state(history, progress, recovered);
    }
}

/// Lets this operation fail; the process restarts, and then the machine loses power.
fn fail_and_restart(history: &History, operation: u64, seed: u64) {
    let disk = SimDisk::new();
    let progress = run_until(history, &disk, operation, Fault::Error);
    disk.restart_process();
    let (_, recovered) = open(&disk).unwrap();
    let state = recovered_state(history, progress, recovered);
    disk.crash(seed);
    let (_, again) = open(&disk).unwrap();
    recovered_state(history, history.resume_at(state), again);

    // And without the power failure before the log is used again.
    let disk = SimDisk::new();
    let progress_again = run_until(history, &disk, operation, Fault::Error);
    assert_eq!(progress_again, progress);
    disk.restart_process();
    let (mut log, _) = open(&disk).unwrap();
    let progress = history.run(&mut log, history.resume_at(state));
    disk.crash(seed);
    let (_, recovered) = open(&disk).unwrap();
    recovered_state(history, progress, recovered);
}

#[test]
fn crash_at_every_operation_keeps_what_was_acknowledged() {
    let history = drawn(11, 120);
    let mut met = Met::default();
    for operation in 0..operations(&history) {
        for seed in 0..4 {
            crash_and_go_on(&history, operation, seed * 1000, &mut met);
        }
    }
    assert!(met.torn_tails > 20, "writes are torn");
    assert!(met.lost_writes > 20, "writes in doubt are lost");
    assert!(met.kept_writes > 20, "writes in doubt survive");
}

#[test]
fn crash_at_every_operation_of_recovery_keeps_what_was_acknowledged() {
    let history = drawn(12, 60);
    for operation in (0..operations(&history)).step_by(3) {
        crash_in_recovery(&history, operation, operation);
    }
}

#[test]
fn failure_of_every_operation_then_crash_keeps_what_recovery_showed() {
    let history = drawn(13, 100);
    for operation in 0..operations(&history) {
        for seed in 0..3 {
            fail_and_restart(&history, operation, seed);
        }
    }
}

#[test]
fn crash_of_creation_at_every_operation_leaves_an_empty_log() {
    let history = History::new(Vec::new());
    for operation in 0..operations(&history) {
        for seed in 0..8 {
            crash_and_go_on(&history, operation, seed, &mut Met::default());
        }
    }
}

#[test]
fn sync_failed_log_is_poisoned_and_touches_the_disk_no_more() {
    let history = drawn(14, 40);
    let operations = operations(&history);
    for operation in 0..operations {
        let disk = SimDisk::new();
        disk.fail_at(operation, Fault::Error);
        let Ok((mut log, _)) = open(&disk) else { continue };
        let progress = history.run(&mut log, Progress::START);
        assert!(
            progress.steps < history.steps.len()
                || progress.in_doubt
                || operation + 1 == operations
        );
        let before = disk.counts();
        assert!(matches!(log.write_and_sync(&[[]]), Err(LogError::Poisoned)));
        assert!(matches!(log.prepare_ahead(), Err(LogError::Poisoned)));
        assert!(matches!(log.reclaim(), Err(LogError::Poisoned)));
        assert!(matches!(
            log.entries(proto::ShardId(1), proto::LogIndex(1), 1),
            Err(LogError::Poisoned)
        ));
        assert_eq!(disk.counts(), before);
    }
}

#[test]
fn write_takes_one_write_and_one_sync() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let history = drawn(15, 60);
    for step in &history.steps {
        log.prepare_ahead().unwrap();
        while log.prepare_ahead().unwrap() != node::storage::log::Prepared::Ready {}
        let before = disk.counts();
        if let crate::history::Step::Write(batches) = step {
            log.write_and_sync(batches).unwrap();
            let after = disk.counts();
            assert_eq!(after.writes - before.writes, 1);
            assert_eq!(after.syncs - before.syncs, 1);
            assert_eq!(after.all - before.all, 2);
        }
    }
    assert!(log.space().segments > 2, "the history fills segments");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn history_of_any_kind_survives_a_crash(
        choices in choices(150),
        at in 0..1000u64,
        seed in 0..1_000_000u64,
    ) {
        let history = History::new(choices);
        let operations = operations(&history);
        let operation = operations * at / 1000;
        crash_and_go_on(&history, operation, seed, &mut Met::default());
        fail_and_restart(&history, operation, seed);
    }
}
