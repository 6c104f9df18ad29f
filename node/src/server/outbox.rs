//! The answers of one session, or of one call of its own, on their way to the client.
//!
//! A core answers on its own thread; whoever sends takes everything that is there at once. A *live* call is
//! one whose last answer has not been put here; an answer to a call that is not live any more (withdrawn, timed
//! out, or its client gone) is dropped, and its sender is told so. A read that finds the box full is *parked*
//! here until the client has taken some; a statement of SQL, which is a task, waits for room before it puts
//! rows here, and learns when its call is not live any more.
//!
//! Not here: what any answer means.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::{Error, SessionAnswer};
use tokio::time::Instant;

use super::read::ReadJob;

/// A message takes answers up to about so many bytes: a client's library refuses more than 4 MiB unless told
/// otherwise. Only a single row that is larger makes a larger message.
const MESSAGE_BYTES: usize = 3 << 20;
/// With more than this unsent a read waits for the client.
const FULL_BYTES: usize = 8 << 20;
/// What an answer without rows counts for.
pub(super) const SMALL: usize = 64;

/// What a call's client is told when its time runs out.
pub(super) type OnTimeout = fn(&TimeoutSubject) -> Error;

/// What a timed-out call was about.
#[derive(Clone, Debug, Default)]
pub(super) enum TimeoutSubject {
    /// Something that may be asked again.
    #[default]
    Request,
    /// A commit, which may have been sent on.
    Commit {
        /// Of which transaction.
        id: Option<proto::rpc::v1::TransactionId>,
        /// Its coordinator's key, where the client named it.
        coordinator_key: bytes::Bytes,
    },
    /// A statement of SQL: it is cancelled when its time runs out, and answers for itself, as nobody else knows
    /// whether it has begun to commit.
    Statement,
}

/// A call that has not had its last answer.
#[derive(Debug)]
struct Live {
    /// Tells it from a later call of the same number.
    serial: u64,
    deadline: Instant,
    subject: TimeoutSubject,
    /// To wake when it is live no more.
    watchers: Vec<Waker>,
}

impl Live {
    fn expires(&self) -> bool {
        !matches!(self.subject, TimeoutSubject::Statement)
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: Vec<(SessionAnswer, usize)>,
    bytes: usize,
    live: BTreeMap<u64, Live>,
    parked: Vec<ReadJob>,
    /// Tasks that wait for room, by their calls.
    crowded: BTreeMap<u64, Waker>,
    next_serial: u64,
    waker: Option<Waker>,
    closed: bool,
}

/// Why a call was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Its number belongs to a live call.
    NumberInUse,
    /// As many are live as may be.
    TooMany,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is on its way.
    Taken,
    /// It is on its way, and the client is behind: park before asking for more.
    Full,
    /// Nobody waits for it any more.
    Withdrawn,
}

/// What is to be sent.
#[derive(Debug, PartialEq)]
pub(super) enum Batch {
    /// These, in one message.
    Answers(Vec<SessionAnswer>),
    /// Nothing, and nothing is live.
    Idle,
}

impl Outbox {
    /// Takes a call in. At most `calls_max` are live.
    pub(super) fn begin(
        self: &Arc<Self>,
        number: u64,
        deadline: Instant,
        subject: TimeoutSubject,
        calls_max: usize,
    ) -> Result<Call, NotTaken> {
        let mut state = self.state.lock();
        if state.live.contains_key(&number) {
            return Err(NotTaken::NumberInUse);
        }
        if state.live.len() >= calls_max {
            return Err(NotTaken::TooMany);
        }
        let serial = state.next_serial;
        state.next_serial += 1;
        state.live.insert(number, Live { serial, deadline, subject, watchers: Vec::new() });
        Ok(Call { outbox: self.clone(), number, serial, deadline })
    }

    /// The client wants no answer to this call any more.
    pub(super) fn withdraw(&self, number: u64) {
        let mut state = self.state.lock();
        let watchers = state.end(number);
        state.parked.retain(|job| job.call().number != number);
        // Whoever waits for the last call to end.
        let waker = state.waker.take();
        drop(state);
        wake(waker.into_iter().chain(watchers));
    }

    /// An answer to a call that was not taken.
    pub(super) fn refuse(&self, number: u64, error: Error) {
        self.state.lock().push(number, false, Response::Error(error), SMALL);
    }

    /// The client is gone: every answer is dropped from now on.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let live = std::mem::take(&mut state.live);
        let crowded = std::mem::take(&mut state.crowded);
        let dropped = (std::mem::take(&mut state.parked), std::mem::take(&mut state.answers));
        state.bytes = 0;
        drop(state);
        drop(dropped);
        wake(live.into_values().flat_map(|live| live.watchers).chain(crowded.into_values()));
    }

    /// Answers that wait to be sent, and calls that wait for one.
    pub(super) fn backlog(&self) -> usize {
        let state = self.state.lock();
        state.answers.len() + state.live.len()
    }

    /// Takes what is ready, and the reads that may go on now.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<(Batch, Vec<ReadJob>)> {
        let mut state = self.state.lock();
        if state.answers.is_empty() {
            if state.live.is_empty() {
                return Poll::Ready((Batch::Idle, Vec::new()));
            }
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let mut bytes = 0;
        let taken = state
            .answers
            .iter()
            .take_while(|(_, size)| {
                let fits = bytes == 0 || bytes + size <= MESSAGE_BYTES;
                bytes += size;
                fits
            })
            .count();
        let answers: Vec<SessionAnswer> = if taken == state.answers.len() {
            std::mem::take(&mut state.answers).into_iter().map(|(answer, _)| answer).collect()
        } else {
            state.answers.drain(..taken).map(|(answer, _)| answer).collect()
        };
        state.bytes = state.answers.iter().map(|(_, size)| size).sum();
        if state.is_full() {
            return Poll::Ready((Batch::Answers(answers), Vec::new()));
        }
        let parked = std::mem::take(&mut state.parked);
        let crowded = std::mem::take(&mut state.crowded);
        drop(state);
        wake(crowded.into_values());
        Poll::Ready((Batch::Answers(answers), parked))
    }

    /// Answers every live call whose time is over; says when the next one's is.
    pub(super) fn expire(&self, now: Instant, on_timeout: OnTimeout) -> Option<Instant> {
        let mut state = self.state.lock();
        let due: Vec<u64> = state
            .live
            .iter()
            .filter(|(_, live)| live.expires() && live.deadline <= now)
            .map(|(number, _)| *number)
            .collect();
        let mut watchers = Vec::new();
        for number in due {
            if let Some(live) = state.live.remove(&number) {
                watchers.extend(live.watchers);
                watchers.extend(state.crowded.remove(&number));
                state.parked.retain(|job| job.call().number != number);
                state.push(number, false, Response::Error(on_timeout(&live.subject)), SMALL);
            }
        }
        let next =
            state.live.values().filter(|live| live.expires()).map(|live| live.deadline).min();
        drop(state);
        wake(watchers);
        next
    }

    /// Keeps a read until the client has caught up; gives it back when it has done so already.
    pub(super) fn park(&self, job: Box<ReadJob>) -> Option<Box<ReadJob>> {
        let mut state = self.state.lock();
        if state.is_live(job.call()) && state.is_full() {
            state.parked.push(*job);
            return None;
        }
        Some(job)
    }
}

impl State {
    fn is_live(&self, call: &Call) -> bool {
        self.live.get(&call.number).is_some_and(|live| live.serial == call.serial)
    }

    fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES
    }

    /// A call is live no more: gives those that wait for that.
    fn end(&mut self, number: u64) -> Vec<Waker> {
        let crowded = self.crowded.remove(&number);
        let mut watchers = self.live.remove(&number).map_or_else(Vec::new, |live| live.watchers);
        watchers.extend(crowded);
        watchers
    }

    fn push(&mut self, number: u64, more_follow: bool, response: Response, size: usize) {
        if self.closed {
            return;
        }
        let answer =
            SessionAnswer { correlation_id: number, more_follow, response: Some(response) };
        self.answers.push((answer, size));
        self.bytes += size;
    }
}

/// One live call; cheap to pass on.
#[derive(Clone)]
pub(super) struct Call {
    outbox: Arc<Outbox>,
    number: u64,
    serial: u64,
    deadline: Instant,
}

impl Call {
    /// The last answer, of about `size` bytes.
    pub(super) fn finish(&self, response: Response, size: usize) -> Delivery {
        self.answer(response, size, false)
    }

    /// A part of the answer; more follow.
    pub(super) fn chunk(&self, response: Response, size: usize) -> Delivery {
        self.answer(response, size, true)
    }

    /// A part of the answer, as soon as there is room for it.
    pub(super) async fn chunk_in_turn(&self, response: Response, size: usize) -> Delivery {
        let mut response = Some(response);
        poll_fn(|cx| {
            let mut state = self.outbox.state.lock();
            if state.is_full() && state.is_live(self) {
                state.crowded.insert(self.number, cx.waker().clone());
                return Poll::Pending;
            }
            drop(state);
            let response = response.take().expect("it is polled until it is ready");
            Poll::Ready(self.answer(response, size, true))
        })
        .await
    }

    /// The error that ends it.
    pub(super) fn fail(&self, error: Error) {
        self.finish(Response::Error(error), SMALL);
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether an answer is of interest.
    pub(super) fn is_live(&self) -> bool {
        self.outbox.state.lock().is_live(self)
    }

    /// Waits until nobody waits for an answer any more.
    pub(super) async fn gone(&self) {
        poll_fn(|cx| {
            let mut state = self.outbox.state.lock();
            let live = state.live.get_mut(&self.number);
            let Some(live) = live.filter(|live| live.serial == self.serial) else {
                return Poll::Ready(());
            };
            if !live.watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
                live.watchers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Where its answers go.
    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    fn answer(&self, response: Response, size: usize, more_follow: bool) -> Delivery {
        let mut state = self.outbox.state.lock();
        if !state.is_live(self) {
            return Delivery::Withdrawn;
        }
        let watchers = if more_follow { Vec::new() } else { state.end(self.number) };
        state.push(self.number, more_follow, response, size);
        let delivery = if state.is_full() { Delivery::Full } else { Delivery::Taken };
        let waker = state.waker.take();
        drop(state);
        wake(waker.into_iter().chain(watchers));
        delivery
    }
}

/// Outside the lock: the woken task may run at once, on another thread.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
