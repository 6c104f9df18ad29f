//! The queue before the log: jobs become frames of bounded size, in order, and wait while the disk is full.
//!
//! A *job* is what one pass of a core wrote. A *batch* is the jobs at the head of the queue that go into one
//! frame together: as many as fit into a quarter of a segment, and at least one. A job that is too large
//! for a frame is split (`split.rs`).
//!
//! ```text
//! push --> [job][job][job][job ...]     pass: the first three in one frame, one sync --> Durable
//!           `-- one batch --`                 no segment to be had: nothing was written --> Full
//! ```
//! A full disk fails nothing (T52): the jobs stay, what truncates shards is written ahead of them, segments
//! are given back, and the next pass tries again. That is no second try of a failed sync, which there
//! never is (T46): [`LogError::Full`] says that nothing was written.
//!
//! Not here: threads and pauses (`host::log_thread`), the refusal of new work.

use super::error::LogError;
use super::split::split;
use super::{Log, Prepared, Reclaimed, frame};
use crate::storage::disk::Disk;
use crate::storage::record::LogRecord;
use proto::{EntryId, ShardId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Records of one core's pass.
#[derive(Debug)]
pub struct Job<T> {
    /// In order.
    pub records: Vec<LogRecord>,
    /// What to say when they are durable.
    pub done: Option<T>,
}

/// What a pass did.
#[derive(Debug)]
pub enum Pass<T> {
    /// There was nothing to write.
    Idle,
    /// So many jobs, or parts of one, are durable.
    Durable {
        /// How many.
        jobs: usize,
        /// What they want said, in order.
        done: Vec<T>,
    },
    /// The disk is full. Nothing was written; all jobs are still here.
    Full(LogError),
}

/// A log with the jobs that wait for it. See the module.
pub struct LogQueue<D: Disk, T> {
    log: Log<D>,
    /// With their sizes, encoded.
    jobs: VecDeque<(Job<T>, u64)>,
    passes_since_reclaim: u32,
    bytes_since_reclaim: u64,
    /// The last call of [`Log::prepare_ahead`] found no space, and nothing was given back since.
    lacks_spare: bool,
}

/// Segments are given back after this many passes, and after a segment's worth of bytes.
const RECLAIM_EVERY: u32 = 512;
/// A frame's head, seal and padding, with room to spare.
const FRAME_OVERHEAD: u64 = 64;

impl<D: Disk, T> LogQueue<D, T> {
    /// An empty queue.
    #[must_use]
    pub fn new(log: Log<D>) -> Self {
        LogQueue {
            log,
            jobs: VecDeque::new(),
            passes_since_reclaim: 0,
            bytes_since_reclaim: 0,
            lacks_spare: false,
        }
    }

    /// Adds a job behind all others.
    pub fn push(&mut self, job: Job<T>) {
        let bytes = frame::records_bytes(&job.records);
        self.jobs.push_back((job, bytes));
    }

    /// Whether no job waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether there was no space for the next segment when it was last looked for. What is left of the
    /// present one can still be written.
    #[must_use]
    pub fn lacks_spare(&self) -> bool {
        self.lacks_spare
    }

    /// Looks for that space again with the next pass. Cheap, but not for every pass.
    pub fn look_for_spare(&mut self) {
        self.lacks_spare = false;
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log<D> {
        &self.log
    }

    /// Writes one batch with one sync, then gives back segments when it is time and goes on preparing the
    /// next one.
    ///
    /// # Errors
    /// Those after which the log takes no more calls; the process must end.
    pub fn pass(&mut self) -> Result<Pass<T>, LogError> {
        self.split_first();
        let mut jobs = self.batch();
        if jobs == 0 {
            return Ok(Pass::Idle);
        }
        if let Err(error) = self.write(jobs) {
            if !is_full(&error) {
                return Err(error);
            }
            self.make_room()?;
            let mut written = self.write_if_room(jobs)?;
            if !written && jobs > 1 {
                // The first job alone may be one that takes no entries, which the reserve is for.
                jobs = 1;
                written = self.write_if_room(jobs)?;
            }
            if !written {
                return Ok(Pass::Full(error));
            }
        }
        let done: Vec<(Job<T>, u64)> = self.jobs.drain(..jobs).collect();
        self.passes_since_reclaim += 1;
        self.bytes_since_reclaim += done.iter().map(|(_, bytes)| bytes).sum::<u64>();
        if self.passes_since_reclaim >= RECLAIM_EVERY
            || self.bytes_since_reclaim >= self.log.options.segment_bytes
        {
            self.reclaim()?;
        }
        // In small steps between the syncs, so that none of them waits for all of it.
        self.prepare_ahead()?;
        let done = done.into_iter().filter_map(|(job, _)| job.done).collect();
        Ok(Pass::Durable { jobs, done })
    }

    /// Gives back what can be given back and prepares the next segment, while nothing is to be written.
    ///
    /// # Errors
    /// As of [`LogQueue::pass`].
    pub fn tidy(&mut self) -> Result<(), LogError> {
        while self.reclaim()?.more {}
        self.look_for_spare();
        while self.prepare_ahead()? == Prepared::Partly {}
        Ok(())
    }

    /// How many jobs the next batch has.
    fn batch(&self) -> usize {
        let options = &self.log.options;
        let bytes_max = (options.segment_bytes / 4).min(options.batch_bytes_max);
        let mut bytes = FRAME_OVERHEAD;
        let fitting = self.jobs.iter().take_while(|(_, job)| {
            bytes += job;
            bytes <= bytes_max
        });
        fitting.count().max(1).min(self.jobs.len())
    }

    fn split_first(&mut self) {
        let bytes_max = self.log.options.batch_bytes_max.saturating_sub(FRAME_OVERHEAD);
        if self.jobs.front().is_none_or(|(_, bytes)| *bytes <= bytes_max) {
            return;
        }
        let Some((Job { records, mut done }, _)) = self.jobs.pop_front() else { return };
        let index = &self.log.index;
        let parts = split(records, bytes_max, |shard| {
            index.shard(shard).map(|state| state.hard_state.commit).unwrap_or_default()
        });
        for records in parts.into_iter().rev() {
            let bytes = frame::records_bytes(&records);
            self.jobs.push_front((Job { records, done: done.take() }, bytes));
        }
    }

    fn write(&mut self, jobs: usize) -> Result<(), LogError> {
        let batches: Vec<&[LogRecord]> =
            self.jobs.iter().take(jobs).map(|(job, _)| job.records.as_slice()).collect();
        self.log.write_and_sync(&batches)
    }

    /// Whether the first jobs could be written.
    fn write_if_room(&mut self, jobs: usize) -> Result<bool, LogError> {
        match self.write(jobs) {
            Ok(()) => Ok(true),
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Frees what can be freed while the first job finds no space.
    fn make_room(&mut self) -> Result<(), LogError> {
        let early = self.early_truncations();
        if !early.is_empty() {
            match self.log.write_and_sync(&[early]) {
                Ok(()) => {}
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        while self.reclaim()?.more {}
        Ok(())
    }

    /// Truncations that may be written ahead of the jobs before them: they concern entries that the log
    /// has, and has as committed, so no job that waits writes those again or lowers the commit.
    fn early_truncations(&self) -> Vec<LogRecord> {
        let mut early: BTreeMap<ShardId, EntryId> = BTreeMap::new();
        let mut other_replica: BTreeSet<ShardId> = BTreeSet::new();
        for record in self.jobs.iter().flat_map(|(job, _)| &job.records) {
            match record {
                LogRecord::Truncated { shard, through } => {
                    let state = self.log.index.shard(*shard);
                    if !other_replica.contains(shard)
                        && state.is_some_and(|state| state.may_truncate_early(*through))
                    {
                        early.insert(*shard, *through);
                    }
                }
                LogRecord::Created { shard, .. } | LogRecord::Removed { shard } => {
                    other_replica.insert(*shard);
                }
                LogRecord::Entries { .. } | LogRecord::HardState { .. } => {}
            }
        }
        early.into_iter().map(|(shard, through)| LogRecord::Truncated { shard, through }).collect()
    }

    fn reclaim(&mut self) -> Result<Reclaimed, LogError> {
        let done = match self.log.reclaim() {
            Ok(done) => done,
            Err(error) if is_full(&error) => Reclaimed::default(),
            Err(error) => return Err(error),
        };
        if done.segments > 0 {
            self.lacks_spare = false;
        }
        // What is left to be moved is moved with the next pass.
        self.passes_since_reclaim = if done.more { RECLAIM_EVERY } else { 0 };
        self.bytes_since_reclaim = 0;
        Ok(done)
    }

    fn prepare_ahead(&mut self) -> Result<Prepared, LogError> {
        if self.lacks_spare {
            return Ok(Prepared::Ready);
        }
        match self.log.prepare_ahead() {
            Err(error) if is_full(&error) => {
                self.lacks_spare = true;
                Ok(Prepared::Ready)
            }
            other => other,
        }
    }
}

fn is_full(error: &LogError) -> bool {
    matches!(error, LogError::Full { .. })
}
