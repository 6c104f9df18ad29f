//! Space: full disks, idle shards, deletion.

use crate::history::{History, Progress, choices, entries, run_step};
use crate::model::Model;
use crate::{open, small};
use node::storage::disk::Disk;
use node::storage::log::{Log, LogError, Prepared};
use node::storage::record::{HardState, LogEntry, LogRecord};
use proptest::prelude::*;
use proto::{EntryId, LogIndex, ShardId, Term};
use tests::sim_disk::SimDisk;

const IDLE: ShardId = ShardId(1);
const BUSY: ShardId = ShardId(2);
const TERM: Term = Term(1);

fn created(shard: ShardId) -> [LogRecord; 2] {
    let state = HardState { term: TERM, ..HardState::default() };
    [
        LogRecord::Created { shard, descriptor: vec![7; 20].into() },
        LogRecord::HardState { shard, state },
    ]
}

fn truncated(shard: ShardId, index: u64) -> LogRecord {
    LogRecord::Truncated { shard, through: EntryId { term: TERM, index: LogIndex(index) } }
}

/// A log with an idle shard of `idle` entries and a busy one, and what it should hold.
struct Busy {
    disk: SimDisk,
    log: Log<SimDisk>,
    model: Model,
    next: u64,
}

impl Busy {
    fn new(idle: u64) -> Self {
        let disk = SimDisk::new();
        let (log, _) = open(&disk).unwrap();
        let mut busy = Busy { disk, log, model: Model::default(), next: 1 };
        busy.write(&created(IDLE)).unwrap();
        busy.write(&created(BUSY)).unwrap();
        busy.write(&[entries(IDLE, TERM, 1, idle, 300)]).unwrap();
        busy
    }

    fn write(&mut self, records: &[LogRecord]) -> Result<(), LogError> {
        self.log.write_and_sync(&[records])?;
        records.iter().for_each(|record| self.model.apply(record));
        Ok(())
    }

    fn append(&mut self) -> Result<(), LogError> {
        self.write(&[entries(BUSY, TERM, self.next, 1, 1000)])?;
        self.next += 1;
        Ok(())
    }

    fn truncate(&mut self) -> Result<(), LogError> {
        self.write(&[truncated(BUSY, self.next - 1)])
    }

    fn check_recovery(&mut self) {
        self.disk.crash(1);
        let (log, recovered) = open(&self.disk).unwrap();
        assert_eq!(recovered.shards, self.model.shards);
        self.log = log;
    }
}

#[test]
fn truncated_segments_are_deleted() {
    let mut busy = Busy::new(1);
    busy.write(&[truncated(IDLE, 1)]).unwrap();
    for _ in 0..100 {
        busy.append().unwrap();
        busy.truncate().unwrap();
        busy.log.reclaim().unwrap();
        assert!(busy.log.space().segments <= 2, "{:?}", busy.log.space());
    }
    let done = busy.log.reclaim().unwrap();
    assert_eq!((done.segments, done.entries_moved, done.more), (0, 0, false));
    busy.check_recovery();
}

#[test]
fn retained_segments_are_not_deleted() {
    let mut busy = Busy::new(1);
    for _ in 0..60 {
        busy.append().unwrap();
        busy.log.reclaim().unwrap();
    }
    assert!(busy.log.space().segments > small().segments_max);
    busy.check_recovery();
}

#[test]
fn idle_shard_does_not_keep_segments() {
    let mut busy = Busy::new(30);
    let mut moved = 0;
    for _ in 0..200 {
        busy.append().unwrap();
        busy.truncate().unwrap();
        for call in 0.. {
            let done = busy.log.reclaim().unwrap();
            moved += done.entries_moved;
            assert!(call < 100, "reclaiming comes to an end");
            if !done.more {
                break;
            }
        }
        let space = busy.log.space();
        assert!(space.segments <= small().segments_max + 2, "{space:?}");
    }
    assert!(moved >= 30, "{moved} entries were moved");
    // Retained entries are read back from where they are now.
    let expected = busy.model.shards[&IDLE].entries.clone();
    assert_eq!(busy.log.entries(IDLE, LogIndex(1), u64::MAX).unwrap(), expected);
    busy.check_recovery();
    assert_eq!(busy.log.entries(IDLE, LogIndex(1), u64::MAX).unwrap(), expected);
}

#[test]
fn deletion_that_was_done_in_part_is_finished_by_recovery() {
    // Files vanish in any order: the middle one of three is gone, the first is back.
    let mut busy = Busy::new(1);
    for _ in 0..60 {
        busy.append().unwrap();
    }
    busy.write(&[truncated(IDLE, 1)]).unwrap();
    busy.truncate().unwrap();
    let names = busy.disk.list().unwrap();
    assert!(names.len() >= 4, "{names:?}");
    busy.disk.lose(&names[1]);
    busy.check_recovery();
    let left = busy.disk.list().unwrap();
    assert!(!left.contains(&names[0]), "{left:?}");
    busy.append().unwrap();
    busy.check_recovery();
}

#[test]
fn full_disk_refuses_new_entries_and_takes_truncations() {
    // T52: fill, free, go on without a restart.
    let mut busy = Busy::new(1);
    busy.write(&[truncated(IDLE, 1)]).unwrap();
    busy.disk.set_capacity(Some(40 << 10));
    let before = loop {
        let before = busy.disk.counts();
        if let Err(error) = busy.append() {
            assert!(matches!(error, LogError::Full { .. }), "{error}");
            assert!(error.leaves_log_usable());
            break before;
        }
    };
    assert_eq!(busy.disk.counts().writes, before.writes, "nothing was written");
    let error = loop {
        match busy.log.prepare_ahead() {
            Ok(prepared) => assert_eq!(prepared, Prepared::Partly),
            Err(error) => break error,
        }
    };
    assert!(error.leaves_log_usable());
    assert!(
        busy.disk.list().unwrap().iter().all(|name| name.ends_with("seg")),
        "space is given back"
    );

    // No room for entries; there is room for what frees some, again and again.
    for _ in 0..5 {
        let free = busy.log.space().free_bytes;
        busy.truncate().unwrap();
        assert!(busy.log.space().free_bytes < free);
        assert!(matches!(busy.append(), Err(LogError::Full { .. })));
    }
    assert!(busy.log.reclaim().unwrap().segments >= 1);
    busy.append().unwrap();
    busy.check_recovery();
}

#[test]
fn full_disk_moves_entries_of_an_idle_shard_into_the_reserve() {
    let mut busy = Busy::new(1);
    busy.disk.set_capacity(Some(70 << 10));
    while busy.append().is_ok() {}
    busy.truncate().unwrap();
    let done = busy.log.reclaim().unwrap();
    assert_eq!(done.entries_moved, 1);
    assert!(done.segments >= 3, "{done:?}");
    busy.append().unwrap();
    busy.check_recovery();
}

#[test]
fn full_disk_at_creation_leaves_nothing_behind() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(10 << 10));
    assert!(matches!(open(&disk), Err(LogError::Full { .. })));
    assert!(disk.list().unwrap().is_empty());
    disk.set_capacity(None);
    open(&disk).unwrap();
}

#[test]
fn write_larger_than_a_segment_gets_a_larger_one() {
    let mut busy = Busy::new(1);
    while busy.log.prepare_ahead().unwrap() != Prepared::Ready {}
    let large = LogEntry {
        id: EntryId { term: TERM, index: LogIndex(1) },
        kind: node::storage::record::EntryKind::Normal,
        data: vec![9; 100_000].into(),
    };
    busy.write(&[LogRecord::Entries { shard: BUSY, entries: vec![large.clone()] }]).unwrap();
    busy.next = 2;
    busy.append().unwrap();
    let found = busy.log.entries(BUSY, LogIndex(1), 10).unwrap();
    assert_eq!(found, [large]);
    busy.check_recovery();
}

#[test]
fn write_larger_than_allowed_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let options = node::storage::log::LogOptions { batch_bytes_max: 1000, ..small() };
    let (mut log, _) = Log::open(disk.clone(), options).unwrap();
    log.write_and_sync(&[created(BUSY)]).unwrap();
    let before = disk.counts();
    let error = log.write_and_sync(&[[entries(BUSY, TERM, 1, 3, 1000)]]).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { bytes_max: 1000, .. }), "{error}");
    assert!(error.leaves_log_usable());
    assert_eq!(disk.counts(), before);
    log.write_and_sync(&[[entries(BUSY, TERM, 1, 1, 100)]]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn retained_entries_are_read_back_at_any_time(choices in choices(200)) {
        let history = History::new(choices);
        let (mut log, _) = open(&SimDisk::new()).unwrap();
        let mut progress = Progress::START;
        for step in &history.steps {
            run_step(&mut log, step).unwrap();
            progress.acknowledged += usize::from(matches!(step, crate::history::Step::Write(_)));
            for (shard, state) in &history.states[progress.acknowledged].shards {
                let first = state.truncated.index.next();
                let found = log.entries(*shard, first, u64::MAX).unwrap();
                prop_assert_eq!(&found, &state.entries);
                if let Some(middle) = state.entries.get(state.entries.len() / 2) {
                    let found = log.entries(*shard, middle.id.index, 0).unwrap();
                    prop_assert_eq!(&found, std::slice::from_ref(middle));
                }
                prop_assert!(log.entries(*shard, state.truncated.index, 1).unwrap().is_empty());
            }
        }
    }
}
