//! A session: calls come in on one stream, answers go out on the other, as many in one message as are
//! ready.
//!
//! It is a stream and no task: whoever sends the answers polls it, and with that it takes calls in, hands
//! them to the core, and collects what is there. So a client that does not take its answers is not listened to
//! either.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{self, ErrorKind, SessionCall, SessionRequest, SessionResponse};
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tonic::{Code, Status};

use super::call;
use super::errors::{Failure, timed_out};
use super::outbox::{Batch, NotTaken, Outbox};
use super::seat::Seat;
use super::service::Inner;
use super::sql::{self, SqlSessions};

/// Messages taken in before answers are looked at again.
const MESSAGES_AT_ONCE: usize = 32;

/// Counts what is open; the count goes down when it is dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// One of at most `max`.
    pub(super) fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let place = Place(count.clone());
        (count.fetch_add(1, Ordering::AcqRel) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The answers of one session; `In` is the stream of its requests.
pub struct SessionStream<In> {
    inner: Arc<Inner>,
    incoming: Pin<Box<In>>,
    outbox: Arc<Outbox>,
    /// The client's number; it has a seat once the node runs.
    client: u64,
    seat: Option<Seat>,
    sql: SqlSessions,
    hello: Option<v1::SessionHello>,
    /// When the first live call's time may be over.
    timer: Option<Pin<Box<Sleep>>>,
    heard_all: bool,
    /// What the session ends with.
    end: Option<Status>,
    done: bool,
    _place: Place,
}

impl<In> SessionStream<In>
where
    In: Stream<Item = Result<SessionRequest, Status>> + Send,
{
    pub(super) fn new(inner: Arc<Inner>, incoming: In, client: u64, place: Place) -> Self {
        let hello = inner.hello();
        SessionStream {
            inner,
            incoming: Box::pin(incoming),
            outbox: Arc::default(),
            client,
            seat: None,
            sql: SqlSessions::default(),
            hello: Some(hello),
            timer: None,
            heard_all: false,
            end: None,
            done: false,
            _place: place,
        }
    }

    /// Takes in what has arrived, as long as the client takes its answers.
    fn listen(&mut self, cx: &mut Context<'_>) {
        let backlog_max = 2 * self.inner.settings.session_calls_max;
        for _ in 0..MESSAGES_AT_ONCE {
            if self.heard_all || self.outbox.backlog() >= backlog_max {
                return;
            }
            match self.incoming.as_mut().poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.heard_all = true,
                Poll::Ready(Some(Ok(message))) => {
                    for call in message.calls {
                        self.take(call);
                    }
                }
                Poll::Ready(Some(Err(status))) => {
                    self.heard_all = true;
                    self.end = Some(end_of(status));
                }
            }
        }
        // More may be there, and nobody will wake this for it.
        cx.waker().wake_by_ref();
    }

    fn take(&mut self, call: SessionCall) {
        let SessionCall { correlation_id: number, timeout_ms, request } = call;
        if let Some(Request::Cancel(v1::Cancel {})) = request {
            self.outbox.withdraw(number);
            return;
        }
        if number == 0 {
            return self.end_with("`correlation_id` is 0; number calls from 1");
        }
        let deadline =
            Instant::now() + self.inner.settings.timeout(request.as_ref(), timeout_ms.into());
        let subject = call::timeout_subject(request.as_ref());
        let calls_max = self.inner.settings.session_calls_max;
        let call = match self.outbox.begin(number, deadline, subject, calls_max) {
            Ok(call) => call,
            Err(NotTaken::NumberInUse) => {
                return self
                    .end_with("`correlation_id` is that of a call that is not answered yet");
            }
            Err(NotTaken::TooMany) => {
                let failure = Failure::overloaded("calls of this session");
                return self.outbox.refuse(number, failure.into_error());
            }
        };
        self.watch(deadline);
        if let Some(failure) = self.inner.refusal() {
            return call.fail(failure.into_error());
        }
        let Some(request) = request else {
            let failure = Failure::new(
                ErrorKind::Unimplemented,
                "`request` is missing, or of a kind that this server does not know",
                "set it, or upgrade the server",
            );
            return call.fail(failure.into_error());
        };
        if self.seat.is_none() {
            self.seat = self.inner.seat(self.client);
        }
        if sql::is_sql(&request) {
            let idle_timeout = self.inner.settings.idle_timeout;
            return self.sql.start(self.seat.clone(), call, request, idle_timeout);
        }
        call::start(&self.inner, self.seat.clone(), call, request);
    }

    /// Wakes up at `deadline` at the latest.
    fn watch(&mut self, deadline: Instant) {
        match &mut self.timer {
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
            Some(timer) if deadline < timer.deadline() => timer.as_mut().reset(deadline),
            Some(_) => {}
        }
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        while let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            match self.outbox.expire(Instant::now(), timed_out) {
                Some(next) => timer.as_mut().reset(next),
                None => self.timer = None,
            }
        }
    }

    /// The client does not keep to the protocol.
    fn end_with(&mut self, problem: &str) {
        self.heard_all = true;
        let failure = Failure::new(ErrorKind::InvalidRequest, problem, "");
        self.end.get_or_insert(failure.into_status());
    }
}

/// What a broken stream of requests ends the session with.
fn end_of(status: Status) -> Status {
    // tonic's words for a message above the limit carry no detail.
    if status.code() == Code::OutOfRange {
        return super::too_large(status.message()).into_status();
    }
    status
}

impl<In> Stream for SessionStream<In>
where
    In: Stream<Item = Result<SessionRequest, Status>> + Send,
{
    type Item = Result<SessionResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        if let Some(hello) = this.hello.take() {
            let response = SessionResponse { hello: Some(hello), answers: Vec::new() };
            return Poll::Ready(Some(Ok(response)));
        }
        this.listen(cx);
        this.expire(cx);
        if let Some(status) = this.end.take() {
            this.done = true;
            return Poll::Ready(Some(Err(status)));
        }
        match this.outbox.poll_take(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((Batch::Answers(answers), parked)) => {
                for job in parked {
                    Box::new(job).ask();
                }
                Poll::Ready(Some(Ok(SessionResponse { hello: None, answers })))
            }
            Poll::Ready((Batch::Idle, _)) if this.heard_all => {
                this.done = true;
                Poll::Ready(None)
            }
            // The stream of requests wakes this.
            Poll::Ready((Batch::Idle, _)) => Poll::Pending,
        }
    }
}

impl<In> Drop for SessionStream<In> {
    fn drop(&mut self) {
        self.outbox.close();
        self.sql.close(self.seat.as_ref());
        if let Some(seat) = &self.seat {
            seat.leave();
        }
    }
}
