//! The thread that syncs the log: one write and one sync for everything that all cores have ready.
//!
//! A failed write or sync ends the process at once: what the kernel still had may be gone, and trying again
//! would report success (T46). So does one that does not come back (T53), which a second thread watches for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use truetime::Mono;

use crate::core::watchdog::{Disk, SyncWatch};
use crate::storage::log::{FileDisk, Log, LogError, Prepared};
use crate::storage::record::LogRecord;

/// Records of one core's pass.
#[derive(Debug)]
pub struct Job {
    /// In order.
    pub records: Vec<LogRecord>,
    /// Whom to tell when they are durable: the core and its token.
    pub done: Option<(u16, u64)>,
}

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

/// What the thread may do while nothing is to be synced, and how often it looks.
const IDLE: Duration = Duration::from_secs(1);

/// Under load segments are given back after this many syncs.
const TIDY_EVERY: u32 = 512;

/// How often the thread is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Starts the thread and the one that watches it. `durable` is called with what a sync made durable; after
/// `fatal` nothing more becomes durable.
pub fn start(
    log: Log<FileDisk>,
    stats: Arc<LogStats>,
    durable: impl Fn(u16, u64) + Send + 'static,
    fatal: impl Fn(LogFailure) + Send + Sync + 'static,
) -> std::io::Result<LogHandle> {
    let (jobs, receiver) = channel();
    // Dropped when the thread ends.
    let (alive, ended) = channel();
    let fatal = Arc::new(fatal);
    let (watched, stalled) = (stats.clone(), fatal.clone());
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        run(log, &receiver, &stats, durable, |error| fatal(error.into()));
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
            Disk::Answers => {}
            Disk::Stalls => tracing::warn!("the log's disk stalls; others are to lead meanwhile"),
            Disk::Lost => return stalled(),
        }
    }
}

fn run(
    mut log: Log<FileDisk>,
    jobs: &Receiver<Job>,
    stats: &LogStats,
    durable: impl Fn(u16, u64),
    fatal: impl FnOnce(LogError),
) {
    let mut batch: Vec<Vec<LogRecord>> = Vec::new();
    let mut done: Vec<(u16, u64)> = Vec::new();
    let mut since_tidied = 0;
    let mut turns = 0;
    loop {
        stats.turn.store(0, Ordering::Relaxed);
        match jobs.recv_timeout(IDLE) {
            Ok(job) => {
                for job in std::iter::once(job).chain(jobs.try_iter()) {
                    batch.push(job.records);
                    done.extend(job.done);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = housekeep(&mut log) {
                    tracing::warn!(%error, "the log could not be tidied; trying again later");
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        turns += 1;
        stats.turn.store(turns, Ordering::Relaxed);
        let begun = super::monotonic();
        if let Err(error) = write(&mut log, &batch) {
            return fatal(error);
        }
        let took = super::monotonic().saturating_sub(begun);
        stats.syncs.fetch_add(1, Ordering::Relaxed);
        stats.jobs.fetch_add(batch.len() as u64, Ordering::Relaxed);
        stats
            .nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        batch.clear();
        for (core, token) in done.drain(..) {
            durable(core, token);
        }
        if since_tidied >= TIDY_EVERY {
            since_tidied = 0;
            if let Err(error) = log.reclaim() {
                tracing::warn!(%error, "log segments could not be given back; trying again later");
            }
        }
        since_tidied += 1;
        // The next segment is prepared in small steps between the syncs, so that none of them waits for it.
        if let Err(error) = log.prepare_ahead() {
            tracing::warn!(%error, "the next log segment could not be prepared; trying again later");
        }
    }
}

/// A full log is tidied once before it counts as a failure.
fn write(log: &mut Log<FileDisk>, batch: &[Vec<LogRecord>]) -> Result<(), LogError> {
    match log.write_and_sync(batch) {
        Err(LogError::Full { .. }) => {
            housekeep(log)?;
            log.write_and_sync(batch)
        }
        other => other,
    }
}

fn housekeep(log: &mut Log<FileDisk>) -> Result<(), LogError> {
    log.reclaim()?;
    while log.prepare_ahead()? == Prepared::Partly {}
    Ok(())
}
