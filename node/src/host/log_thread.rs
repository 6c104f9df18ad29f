//! The thread that syncs the log: one write and one sync for everything that all cores have ready, as far
//! as it fits into one frame.
//!
//! A failed write or sync ends the process at once: what the kernel still had may be gone, and trying again
//! would report success (T46). So does one that does not come back (T53), which a second thread watches for.
//! A full disk is not that: nothing was written, and the jobs wait (T52).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use truetime::Mono;

use crate::core::watchdog::{self, SyncWatch};
use crate::storage::disk::Disk;
use crate::storage::log::{self, Log, LogError, LogQueue, Pass};

/// Records of one core's pass, and the core and its token, to be told when they are durable.
pub type Job = log::Job<(u16, u64)>;

/// How the log has done so far, for `/metrics`.
#[derive(Debug, Default)]
pub struct LogStats {
    /// Syncs.
    pub syncs: AtomicU64,
    /// Jobs that were made durable by them.
    pub jobs: AtomicU64,
    /// Nanoseconds spent in them.
    pub nanos: AtomicU64,
    /// The turn of the thread under way, counted from 1; 0 between two.
    turn: AtomicU64,
    /// There is no space for the next segment; what is left of the present one can still be written.
    pub lacks_spare: AtomicBool,
    /// Jobs wait for space. No sync is under way then, so no sync is slow.
    pub waits_for_space: AtomicBool,
}

/// Why the log can no longer be relied on.
#[derive(Debug, thiserror::Error)]
pub enum LogFailure {
    /// The disk refused something.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk neither refused nor did it.
    #[error(
        "a write or sync of the log has not come back for 20 s; what was being written is not \
         acknowledged: restart the node, and replace the disk if this repeats"
    )]
    Stalled,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub struct LogHandle {
    jobs: Sender<Job>,
}

impl LogHandle {
    /// Hands a job over. Jobs of one core become durable in order.
    pub fn submit(&self, job: Job) {
        // The receiver lives as long as the process: it ends by aborting it.
        let _ = self.jobs.send(job);
    }
}

/// Whom the thread tells of what.
pub struct LogEvents<D, S, F> {
    /// What a sync made durable.
    pub durable: D,
    /// A write found no space: whatever can free some at once should. Called before each further try.
    pub starving: S,
    /// The node must end.
    pub fatal: F,
}

/// What the thread may do while nothing is to be synced, and how often it looks.
const IDLE: Duration = Duration::from_secs(1);
/// How soon a write that found no space is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(200);

/// How often the thread is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Starts the thread and the one that watches it.
pub fn start<D: Disk<File: 'static> + 'static>(
    log: Log<D>,
    stats: Arc<LogStats>,
    events: LogEvents<
        impl Fn(u16, u64) + Send + 'static,
        impl Fn() + Send + 'static,
        impl Fn(LogFailure) + Send + Sync + 'static,
    >,
) -> std::io::Result<LogHandle> {
    let (jobs, receiver) = channel();
    // Dropped when the thread ends.
    let (alive, ended) = channel();
    let LogEvents { durable, starving, fatal } = events;
    let fatal = Arc::new(fatal);
    let (watched, stalled) = (stats.clone(), fatal.clone());
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        if let Err(error) = run(LogQueue::new(log), &receiver, &stats, durable, starving) {
            fatal(error.into());
        }
        drop(alive);
    })?;
    std::thread::Builder::new()
        .name("log-watch".to_owned())
        .spawn(move || watch(&ended, LOOK_EVERY, &watched, || stalled(LogFailure::Stalled)))?;
    Ok(LogHandle { jobs })
}

/// Ends with the log's thread, or when that has been at one turn for too long.
fn watch(ended: &Receiver<()>, every: Duration, stats: &LogStats, stalled: impl Fn()) {
    let mut watch = SyncWatch::default();
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let mono = u64::try_from(super::monotonic().as_nanos()).unwrap_or(u64::MAX);
        let turn = Some(stats.turn.load(Ordering::Relaxed)).filter(|turn| *turn > 0);
        match watch.look(Mono::from_nanos(mono), turn) {
            watchdog::Disk::Answers => {}
            watchdog::Disk::Stalls => {
                tracing::warn!("the log's disk stalls; others are to lead meanwhile")
            }
            watchdog::Disk::Lost => return stalled(),
        }
    }
}

fn run<D: Disk>(
    mut queue: LogQueue<D, (u16, u64)>,
    jobs: &Receiver<Job>,
    stats: &LogStats,
    durable: impl Fn(u16, u64),
    starving: impl Fn(),
) -> Result<(), LogError> {
    let mut looked = super::monotonic();
    let mut turns = 0;
    loop {
        stats.turn.store(0, Ordering::Relaxed);
        if queue.is_empty() {
            match jobs.recv_timeout(IDLE) {
                Ok(job) => queue.push(job),
                Err(RecvTimeoutError::Timeout) => {
                    queue.tidy()?;
                    stats.lacks_spare.store(queue.lacks_spare(), Ordering::Relaxed);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        jobs.try_iter().for_each(|job| queue.push(job));
        let begun = super::monotonic();
        if queue.lacks_spare() && begun.saturating_sub(looked) >= IDLE {
            looked = begun;
            queue.look_for_spare();
        }
        turns += 1;
        stats.turn.store(turns, Ordering::Relaxed);
        let pass = queue.pass()?;
        // What follows waits for space or for nothing, and is no sync.
        stats.turn.store(0, Ordering::Relaxed);
        match pass {
            Pass::Idle => {}
            Pass::Durable { jobs, done } => {
                let took = super::monotonic().saturating_sub(begun);
                stats.syncs.fetch_add(1, Ordering::Relaxed);
                stats.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                stats.nanos.fetch_add(nanos, Ordering::Relaxed);
                if stats.waits_for_space.swap(false, Ordering::Relaxed) {
                    tracing::info!("there is space for the log again");
                }
                done.into_iter().for_each(|(core, token)| durable(core, token));
            }
            Pass::Full(error) => {
                if !stats.waits_for_space.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the log waits for space on the disk; nothing is lost");
                }
                starving();
                if !pause(&mut queue, jobs) {
                    return Ok(());
                }
            }
        }
        stats.lacks_spare.store(queue.lacks_spare(), Ordering::Relaxed);
    }
}

/// Waits before the next try, taking in jobs. Returns whether there is anybody left to write for.
fn pause<D: Disk>(queue: &mut LogQueue<D, (u16, u64)>, jobs: &Receiver<Job>) -> bool {
    let until = super::monotonic() + FULL_PAUSE;
    while let Some(left) = until.checked_sub(super::monotonic()) {
        match jobs.recv_timeout(left) {
            Ok(job) => queue.push(job),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::log::{FileDisk, LogOptions, Opening};
    use crate::storage::record::{EntryKind, HardState, LogEntry, LogRecord};
    use proto::{EntryId, LogIndex, ShardId, Term};

    const SHARD: ShardId = ShardId(1);

    fn options() -> LogOptions {
        LogOptions {
            segment_bytes: 64 << 10,
            batch_bytes_max: 16 << 10,
            ..LogOptions::new(Opening::MayCreate { log: 7 })
        }
    }

    fn entries(first: u64, count: u64) -> LogRecord {
        let entries = (first..first + count).map(|index| LogEntry {
            id: EntryId { term: Term(1), index: LogIndex(index) },
            kind: EntryKind::Normal,
            data: vec![1; 1000].into(),
        });
        LogRecord::Entries { shard: SHARD, entries: entries.collect() }
    }

    #[test]
    fn more_than_fits_into_a_frame_is_written_in_several() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Log::open(FileDisk::open(&directory.path().join("log")).unwrap(), options());
        let (jobs, receiver) = channel();
        let created = LogRecord::Created { shard: SHARD, descriptor: b"x".to_vec().into() };
        let state = HardState { term: Term(1), vote: None, commit: LogIndex(0) };
        let state = LogRecord::HardState { shard: SHARD, state };
        jobs.send(Job { records: vec![created, state], done: Some((0, 0)) }).unwrap();
        // Ten times what a frame takes, then one job that is too large by itself.
        for job in 0..160 {
            let records = vec![entries(1 + job, 1)];
            jobs.send(Job { records, done: Some((0, 1 + job)) }).unwrap();
        }
        jobs.send(Job { records: vec![entries(161, 40)], done: Some((1, 0)) }).unwrap();
        drop(jobs);
        let told = std::cell::RefCell::new(Vec::new());
        let stats = LogStats::default();
        let queue = LogQueue::new(open().unwrap().0);
        let tell = |core, token| told.borrow_mut().push((core, token));
        run(queue, &receiver, &stats, tell, || panic!("there is space")).unwrap();
        let expected: Vec<(u16, u64)> = (0..=160).map(|job| (0, job)).chain([(1, 0)]).collect();
        assert_eq!(*told.borrow(), expected);
        assert!(stats.syncs.load(Ordering::Relaxed) > 10);
        assert_eq!(open().unwrap().1.shards[&SHARD].entries.len(), 200);
    }
}
