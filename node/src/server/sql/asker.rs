//! How a statement asks its core, waits, and learns that it is cancelled.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use proto::{Key, TxnId};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use txn::transaction::{CallError, Obstacle};

use crate::gateway::Error;
use crate::gateway::api::{Answer, Request, Response, TransactionHandle};
use crate::gateway::sql::{Ask, Cancelled};
use crate::server::outbox::Call;
use crate::server::seat::Seat;

/// Cancels one statement; the first reason counts.
#[derive(Default)]
pub(super) struct Cancel {
    reason: Mutex<Option<Cancelled>>,
    changed: Notify,
}

impl Cancel {
    /// Cancels the statement that runs.
    pub(super) fn cancel(&self, reason: Cancelled) {
        self.reason.lock().get_or_insert(reason);
        self.changed.notify_waiters();
    }

    /// Waits until the statement is cancelled.
    pub(super) async fn cancelled(&self) -> Cancelled {
        loop {
            let changed = self.changed.notified();
            if let Some(reason) = *self.reason.lock() {
                return reason;
            }
            changed.await;
        }
    }
}

/// Cancels a statement when its time is over; dropped, it does nothing any more.
pub(super) struct Timer(AbortHandle);

impl Timer {
    /// At the end of the call's time, or of the timeout, whichever is first.
    pub(super) fn start(cancel: Arc<Cancel>, call: &Call, timeout: Option<Duration>) -> Self {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let end = end.map_or(call.deadline(), |end| end.min(call.deadline()));
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(end).await;
            cancel.cancel(Cancelled::Timeout);
        });
        Timer(task.abort_handle())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells the gateway, while a session lives, that its open transaction is not forgotten.
pub(super) async fn keep_alive(seat: Seat, open: Arc<Mutex<Option<TxnId>>>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let id = *open.lock();
        if let Some(id) = id {
            // One that is gone is found gone by the next statement.
            let _ = seat.ask_of(id, Request::KeepAlive(id), |_| {});
        }
    }
}

/// See the module.
pub(super) struct SeatAsk {
    seat: Seat,
    /// The call that waits for the statement.
    call: Option<Call>,
    cancel: Arc<Cancel>,
    /// The read-write transaction that is open.
    open: Arc<Mutex<Option<TxnId>>>,
}

impl SeatAsk {
    pub(super) fn new(
        seat: Seat,
        call: Option<Call>,
        cancel: Arc<Cancel>,
        open: Arc<Mutex<Option<TxnId>>>,
    ) -> Self {
        SeatAsk { seat, call, cancel, open }
    }

    /// Rolls the open transaction back, without waiting for that; says whether there was one.
    pub(super) fn abandon(&self) -> bool {
        let id = self.open.lock().take();
        if let Some(id) = id {
            self.seat.roll_back(id);
        }
        id.is_some()
    }

    /// What has become of the open transaction.
    fn note(&self, ended: Option<TxnId>, answer: &Answer) {
        if let Ok(Response::Begun(begun)) = answer
            && let TransactionHandle::ReadWrite(id) = begun.transaction
        {
            *self.open.lock() = Some(id);
        }
        if ended.is_some() {
            let mut open = self.open.lock();
            if *open == ended {
                *open = None;
            }
        }
    }
}

/// The transaction that a request ends, whatever its answer.
fn ended_by(request: &Request) -> Option<TxnId> {
    use crate::gateway::api::CommitTarget;
    match request {
        Request::Rollback(id) | Request::Commit { target: CommitTarget::Transaction(id), .. } => {
            Some(*id)
        }
        _ => None,
    }
}

/// The core ended before it answered.
fn never_answered(request: Option<TxnId>, is_commit: bool) -> Error {
    match request {
        Some(id) if is_commit => {
            Error::OutcomeUnknown { id, coordinator: Key::default(), for_good: false }
        }
        Some(_) | None => {
            let what = Obstacle::NoShard;
            CallError::Unavailable { what, maybe_executed: false }.into()
        }
    }
}

impl Ask for SeatAsk {
    async fn ask(&self, request: Request) -> Answer {
        let (sender, receiver) = oneshot::channel();
        self.seat.ask(request, move |answer| {
            let _ = sender.send(answer);
        });
        let answer = receiver.await.unwrap_or_else(|_| Err(never_answered(None, false)));
        self.note(None, &answer);
        answer
    }

    async fn ask_of(&self, id: TxnId, request: Request) -> Answer {
        let (sender, receiver) = oneshot::channel();
        let ended = ended_by(&request);
        let is_commit = matches!(request, Request::Commit { .. });
        let asked = self.seat.ask_of(id, request, move |answer| {
            let _ = sender.send(answer);
        });
        let answer = match asked {
            Ok(()) => receiver.await.unwrap_or_else(|_| Err(never_answered(Some(id), is_commit))),
            Err(_) => {
                let what = crate::gateway::Subject::Transaction(id);
                Err(Error::NotFound { what })
            }
        };
        self.note(ended, &answer);
        answer
    }

    async fn cancelled(&self) -> Cancelled {
        match &self.call {
            None => self.cancel.cancelled().await,
            Some(call) => tokio::select! {
                reason = self.cancel.cancelled() => reason,
                () = call.gone() => Cancelled::ClientGone,
            },
        }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn give_way(&self) {
        tokio::task::yield_now().await;
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what now() says outside a transaction is for people; nothing is decided by it"
    )]
    fn now_micros(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
    }

    fn random(&self) -> u64 {
        crate::host::random_u64()
    }
}
