//! What the tasks of a run share: the clock, the recording, the counts, and the wish to come to an end.

use super::recording::{Recorded, What};
use crate::bank::audits::AuditFailure;
use crate::bank::stats::{Latencies, Stats};
use crate::history::HistoryTime;
use bytes::Bytes;
use proto::TxnId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Shared by all tasks of a run, which take turns on one thread: its lock is never waited for.
#[derive(Debug)]
pub(super) struct Shared {
    zero: Instant,
    ending: watch::Sender<bool>,
    state: Mutex<State>,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) records: Vec<Recorded>,
    /// Counts only what falls into the measured time.
    pub(super) stats: Stats,
    /// Of the transfers since the last live line.
    pub(super) window: Latencies,
    /// Attempts of unknown outcome, and where it is recorded.
    pub(super) unknown: Vec<(TxnId, Bytes)>,
    pub(super) failed_audits: Vec<AuditFailure>,
    /// Of a client, in its words.
    pub(super) last_failure: Option<String>,
    /// When the measured time was over.
    ended: Option<HistoryTime>,
}

impl Shared {
    /// The history's clock starts now.
    pub(super) fn new() -> Self {
        Shared {
            zero: Instant::now(),
            ending: watch::channel(false).0,
            state: Mutex::new(State::default()),
        }
    }

    /// The history's clock.
    pub(super) fn now(&self) -> HistoryTime {
        let nanos = u64::try_from(self.zero.elapsed().as_nanos());
        HistoryTime::from_nanos(nanos.expect("no run lasts 500 years"))
    }

    /// The instant that the history's clock shows as `at`.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.zero + at
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the run by itself; the counts are whole at each unlock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The measured time is over: nothing counts any more, and everybody finishes what is in flight.
    pub(super) fn end(&self) {
        let now = self.now();
        self.state().ended.get_or_insert(now);
        self.ending.send_replace(true);
    }

    pub(super) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Waits for `instant`; false when the end came first.
    pub(super) async fn sleep_until(&self, instant: Instant) -> bool {
        let mut ending = self.ending.subscribe();
        tokio::select! {
            biased;
            _ = ending.wait_for(|is_ending| *is_ending) => false,
            () = tokio::time::sleep_until(instant) => true,
        }
    }

    /// Adds a record that ends now.
    pub(super) fn record(&self, process: u32, invoked: HistoryTime, what: What) {
        let responded = self.now();
        self.state().records.push(Recorded { process, invoked, responded, what });
    }

    /// A client failed.
    pub(super) fn failed(&self, error: &dyn std::error::Error) {
        tracing::debug!(%error, "a client of the bank failed");
        self.state().last_failure = Some(error.to_string());
    }
}

impl State {
    /// Whether the measured time still lasts.
    pub(super) fn is_measured(&self) -> bool {
        self.ended.is_none()
    }

    /// When the measured time was over.
    pub(super) fn ended(&self) -> Option<HistoryTime> {
        self.ended
    }
}
