//! The thread that syncs the log: one write and one sync for everything that all cores have ready.
//!
//! A failed write or sync ends the process at once: what the kernel still had may be gone, and trying again
//! would report success (T46).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

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

/// Starts the thread. `durable` is called with what a sync made durable; `fatal` with what ended it.
pub fn start(
    log: Log<FileDisk>,
    stats: Arc<LogStats>,
    durable: impl Fn(u16, u64) + Send + 'static,
    fatal: impl FnOnce(LogError) + Send + 'static,
) -> std::io::Result<LogHandle> {
    let (jobs, receiver) = channel();
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || run(log, &receiver, &stats, durable, fatal))?;
    Ok(LogHandle { jobs })
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
    loop {
        match jobs.recv_timeout(IDLE) {
            Ok(job) => {
                for job in std::iter::once(job).chain(jobs.try_iter()) {
                    batch.push(job.records);
                    done.extend(job.done);
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                if let Err(error) = housekeep(&mut log) {
                    tracing::warn!(%error, "the log could not be tidied; trying again later");
                }
                continue;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        }
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
