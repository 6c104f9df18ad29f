//! The queue before the log: frames of bounded size, and a disk that is full for a while.

use crate::history::entries;
use crate::model::Model;
use crate::{open, small};
use node::storage::log::{Job, Log, LogOptions, LogQueue, Pass};
use node::storage::record::{HardState, LogRecord};
use proto::{EntryId, LogIndex, ShardId, Term};
use tests::sim_disk::{Fault, SimDisk};

const A: ShardId = ShardId(1);
const B: ShardId = ShardId(2);
const TERM: Term = Term(1);

fn created(shard: ShardId) -> Vec<LogRecord> {
    vec![LogRecord::Created { shard, descriptor: vec![7; 20].into() }, hard_state(shard, TERM, 0)]
}

fn hard_state(shard: ShardId, term: Term, commit: u64) -> LogRecord {
    let state = HardState { term, vote: None, commit: LogIndex(commit) };
    LogRecord::HardState { shard, state }
}

fn truncated(shard: ShardId, index: u64) -> LogRecord {
    LogRecord::Truncated { shard, through: EntryId { term: TERM, index: LogIndex(index) } }
}

fn options() -> LogOptions {
    LogOptions { batch_bytes_max: 2000, ..small() }
}

/// A queue, and what its log holds once all jobs are durable.
struct Rig {
    disk: SimDisk,
    queue: LogQueue<SimDisk, usize>,
    model: Model,
    pushed: usize,
    told: Vec<usize>,
}

impl Rig {
    fn new() -> Self {
        let disk = SimDisk::new();
        let (log, _) = Log::open(disk.clone(), options()).unwrap();
        let queue = LogQueue::new(log);
        let mut rig = Rig { disk, queue, model: Model::default(), pushed: 0, told: Vec::new() };
        rig.push(created(A));
        rig.push(created(B));
        rig.write_all();
        rig
    }

    fn push(&mut self, records: Vec<LogRecord>) {
        records.iter().for_each(|record| self.model.apply(record));
        self.queue.push(Job { records, done: Some(self.pushed) });
        self.pushed += 1;
    }

    /// Whether it wrote.
    fn pass(&mut self) -> bool {
        match self.queue.pass().unwrap() {
            Pass::Idle => false,
            Pass::Durable { done, .. } => {
                self.told.extend(done);
                true
            }
            Pass::Full(error) => {
                assert!(error.leaves_log_usable(), "{error}");
                false
            }
        }
    }

    /// Returns how many passes that took.
    fn write_all(&mut self) -> usize {
        let mut passes = 0;
        while self.pass() {
            passes += 1;
        }
        assert!(self.queue.is_empty(), "a job is left");
        assert_eq!(self.told, (0..self.pushed).collect::<Vec<_>>());
        passes
    }

    fn check_recovery(&self) {
        self.disk.crash(1);
        let (_, recovered) = open(&self.disk).unwrap();
        assert_eq!(recovered.shards, self.model.shards);
    }
}

#[test]
fn jobs_beyond_a_frame_wait_for_the_next() {
    let mut rig = Rig::new();
    for index in 1..=20 {
        rig.push(vec![entries(A, TERM, index, 1, 1000)]);
    }
    let passes = rig.write_all();
    assert!((6..=20).contains(&passes), "{passes}");
    rig.check_recovery();
}

#[test]
fn job_larger_than_a_frame_is_split() {
    let mut rig = Rig::new();
    rig.push(vec![
        entries(A, TERM, 1, 8, 1000),
        hard_state(A, TERM, 5),
        entries(B, Term(2), 1, 3, 1000),
        hard_state(B, Term(2), 0),
        entries(A, TERM, 9, 2, 1000),
        hard_state(A, TERM, 9),
    ]);
    assert!(rig.write_all() > 3);
    rig.check_recovery();
}

#[test]
fn entry_larger_than_a_frame_is_written_alone() {
    let mut rig = Rig::new();
    rig.push(vec![entries(A, TERM, 1, 1, 20_000), hard_state(A, TERM, 1)]);
    rig.write_all();
    rig.check_recovery();
}

#[test]
fn crash_within_a_split_job_leaves_a_beginning_of_it() {
    for operation in 0.. {
        let mut rig = Rig::new();
        rig.push(vec![entries(A, TERM, 1, 4, 1000), hard_state(A, TERM, 2)]);
        rig.write_all();
        // A newer leader replaces what is not committed.
        rig.push(vec![entries(A, Term(2), 3, 9, 1000), hard_state(A, Term(2), 8)]);
        rig.disk.fail_at(operation, Fault::Death);
        let died = loop {
            match rig.queue.pass() {
                Ok(Pass::Idle) => break false,
                Ok(_) => {}
                Err(_) => break true,
            }
        };
        rig.disk.crash(operation);
        let (_, recovered) = open(&rig.disk).unwrap();
        let (found, all) = (&recovered.shards[&A], &rig.model.shards[&A]);
        let old = found.hard_state.term == TERM;
        if old {
            assert_eq!(found.entries.len(), 4);
        } else {
            assert_eq!(found.entries[..], all.entries[..found.entries.len()]);
        }
        assert!(found.hard_state.commit.0 >= 2);
        if !died {
            assert_eq!(found, all);
            assert!(operation > 4);
            return;
        }
    }
}

#[test]
fn full_disk_keeps_jobs_until_there_is_space() {
    // T52: fill, free, go on without a restart; nobody is told of what was not written.
    let mut rig = Rig::new();
    rig.disk.set_capacity(Some(40 << 10));
    let mut next = 1;
    loop {
        rig.push(vec![entries(A, TERM, next, 1, 1000)]);
        next += 1;
        if !rig.pass() {
            break;
        }
    }
    let (told, before) = (rig.told.len(), rig.disk.counts());
    for _ in 0..10 {
        assert!(!rig.pass());
    }
    assert_eq!(rig.disk.counts(), before, "waiting touches nothing, and takes no space");
    assert_eq!(rig.told.len(), told);
    rig.disk.set_capacity(None);
    rig.write_all();
    rig.queue.tidy().unwrap();
    assert!(!rig.queue.lacks_spare());
    rig.check_recovery();
}

#[test]
fn full_disk_takes_truncations_ahead_of_entries_and_goes_on() {
    let mut rig = Rig::new();
    rig.disk.set_capacity(Some(40 << 10));
    let mut next = 1;
    loop {
        rig.push(vec![entries(A, TERM, next, 1, 1000), hard_state(A, TERM, next - 1)]);
        next += 1;
        if !rig.pass() {
            break;
        }
    }
    // It comes behind the entry that waits, and is what makes room for it.
    rig.push(vec![truncated(A, next - 4)]);
    let before = rig.disk.counts().writes;
    assert!(rig.pass());
    let writes = rig.disk.counts().writes - before;
    assert_eq!(writes, 3, "the truncation, the header of the next segment, the entry once");
    rig.write_all();
    rig.check_recovery();
}

#[test]
fn full_disk_takes_hard_states_into_the_reserve() {
    let mut rig = Rig::new();
    rig.disk.set_capacity(Some(40 << 10));
    let mut next = 1;
    loop {
        rig.push(vec![hard_state(B, TERM, 0)]);
        rig.push(vec![entries(A, TERM, next, 1, 1000)]);
        next += 1;
        rig.pass();
        if !rig.queue.is_empty() {
            break;
        }
    }
    assert_eq!(rig.told.len() + 1, rig.pushed, "only the entries wait");
    assert!(!rig.pass());
}

#[test]
fn full_disk_is_not_asked_for_a_spare_in_every_pass() {
    let mut rig = Rig::new();
    while !rig.queue.lacks_spare() {
        rig.disk.set_capacity(Some(20 << 10));
        rig.push(vec![hard_state(A, TERM, 0)]);
        rig.pass();
    }
    let before = rig.disk.counts();
    for _ in 0..5 {
        rig.push(vec![hard_state(A, TERM, 0)]);
        assert!(rig.pass());
    }
    let after = rig.disk.counts();
    assert_eq!(after.all - before.all, 10, "a write and a sync each");
    rig.disk.set_capacity(None);
    rig.queue.tidy().unwrap();
    assert!(!rig.queue.lacks_spare());
}

#[test]
fn segments_are_given_back_by_bytes_not_only_by_syncs() {
    let mut rig = Rig::new();
    for index in 1..=200 {
        rig.push(vec![entries(A, TERM, index, 1, 3000), hard_state(A, TERM, index)]);
        rig.push(vec![truncated(A, index)]);
        rig.write_all();
        let space = rig.queue.log().space();
        assert!(space.segments <= small().segments_max + 2, "{space:?}");
    }
    rig.check_recovery();
}

#[test]
fn failed_sync_is_not_tried_again() {
    let mut rig = Rig::new();
    rig.push(vec![entries(A, TERM, 1, 1, 100)]);
    rig.disk.fail_at(1, Fault::Error);
    rig.queue.pass().unwrap_err();
    let before = rig.disk.counts();
    rig.queue.pass().unwrap_err();
    assert_eq!(rig.disk.counts(), before);
}
