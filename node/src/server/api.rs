//! The generated service, and calls outside sessions.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use proto::rpc::v1::session_answer::Response as Wire;
use proto::rpc::v1::session_call::Request as WireRequest;
use proto::rpc::v1::spandrel_server::{Spandrel, SpandrelServer};
use proto::rpc::v1::{self, SessionAnswer};
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::MESSAGE_BYTES_MAX;
use super::call;
use super::errors::{Failure, status_of, timed_out};
use super::listen::Connection;
use super::outbox::{Batch, Outbox};
use super::service::{InitHook, Inner, ServerSettings};
use super::session::{Place, SessionStream};
use super::status::Peers;
use crate::host::Node;

/// `spandrel.v1` of one node. Cheap to clone.
#[derive(Clone)]
pub struct SpandrelService {
    inner: Arc<Inner>,
}

impl SpandrelService {
    /// The API of a node, which need not run yet.
    #[must_use]
    pub fn new(
        node: Arc<Node>,
        init: Arc<dyn InitHook>,
        peers: Arc<dyn Peers>,
        settings: ServerSettings,
    ) -> Self {
        SpandrelService { inner: Arc::new(Inner::new(node, init, peers, settings)) }
    }

    /// With the limits on messages, to be served.
    #[must_use]
    pub fn into_server(self) -> SpandrelServer<Self> {
        SpandrelServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Takes no more calls: each is answered that the node is stopping.
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Starts a call outside a session.
    fn start<T>(
        &self,
        request: Request<T>,
        wrap: fn(T) -> WireRequest,
    ) -> Result<LoneCall, Failure> {
        let inner = &self.inner;
        if let Some(failure) = inner.refusal() {
            return Err(failure);
        }
        admit(&request)?;
        let place = Place::take(&inner.calls, inner.settings.calls_max)
            .ok_or_else(|| Failure::overloaded("calls of this node"))?;
        let (metadata, _, request) = request.into_parts();
        let request = wrap(request);
        let timeout = timeout_of(&metadata, inner.settings.time_max(Some(&request)));
        let deadline = Instant::now() + timeout;
        let outbox = Arc::<Outbox>::default();
        let subject = call::timeout_subject(Some(&request));
        let call = outbox
            .begin(1, deadline, subject, 1)
            .expect("a fresh outbox has room for its only call");
        let lone = LoneCall {
            outbox,
            timer: Box::pin(tokio::time::sleep_until(deadline)),
            ready: VecDeque::new(),
            _place: place,
        };
        // Each call is a client of its own. It never leaves: what it begins lives by its keep-alives.
        call::start(inner, inner.seat(inner.next_client()), call, request);
        Ok(lone)
    }

    /// A call with one answer.
    async fn unary<T, R>(
        &self,
        request: Request<T>,
        wrap: fn(T) -> WireRequest,
        unwrap: fn(Wire) -> Option<R>,
    ) -> Result<Response<R>, Status> {
        let mut call = self.start(request, wrap).map_err(Failure::into_status)?;
        let answer = poll_fn(|cx| call.poll_answer(cx)).await;
        match answer.and_then(|answer| answer.response) {
            Some(Wire::Error(error)) => Err(status_of(error)),
            Some(response) => unwrap(response)
                .map(Response::new)
                .ok_or_else(|| Failure::unexpected_answer().into_status()),
            None => Err(Failure::unexpected_answer().into_status()),
        }
    }
}

/// Whether the connection may make calls.
fn admit<T>(request: &Request<T>) -> Result<(), Failure> {
    match request.extensions().get::<Connection>() {
        Some(connection) if connection.is_over_limit() => {
            Err(Failure::overloaded("connections of this node"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The client's own limit, cut a little so that the answer about it comes from here and has its detail.
fn timeout_of(metadata: &MetadataMap, max: Duration) -> Duration {
    let given = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok());
    let given = given.and_then(grpc_timeout).unwrap_or(max);
    let given = given.saturating_sub((given / 10).min(Duration::from_millis(5)));
    given.min(max)
}

/// Up to eight digits and a unit, as the gRPC protocol has it.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (unit, digits) = (text.chars().last()?, text.get(..text.len().checked_sub(1)?)?);
    if digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3_600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Until a call is looked at again that has no deadline of its own any more.
const NO_DEADLINE: Duration = Duration::from_secs(3_600);

/// One call outside a session. Dropped, it is withdrawn.
struct LoneCall {
    outbox: Arc<Outbox>,
    timer: Pin<Box<Sleep>>,
    ready: VecDeque<SessionAnswer>,
    _place: Place,
}

impl LoneCall {
    /// The next answer; `None` after the last.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<SessionAnswer>> {
        if let Some(answer) = self.ready.pop_front() {
            return Poll::Ready(Some(answer));
        }
        if let Poll::Ready((batch, parked)) = self.outbox.poll_take(cx) {
            return Poll::Ready(self.took(batch, parked));
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let next = self.outbox.expire(Instant::now(), timed_out);
        match self.outbox.poll_take(cx) {
            Poll::Ready((batch, parked)) => Poll::Ready(self.took(batch, parked)),
            Poll::Pending => {
                // The timer fired a little early; or it is a statement, which ends by itself.
                let next = next.unwrap_or_else(|| Instant::now() + NO_DEADLINE);
                self.timer.as_mut().reset(next);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn took(&mut self, batch: Batch, parked: Vec<super::read::ReadJob>) -> Option<SessionAnswer> {
        for job in parked {
            Box::new(job).ask();
        }
        match batch {
            Batch::Answers(answers) => {
                self.ready.extend(answers);
                self.ready.pop_front()
            }
            Batch::Idle => None,
        }
    }
}

impl Drop for LoneCall {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// The chunks of one answer.
pub struct Chunks<T> {
    call: LoneCall,
    unwrap: fn(Wire) -> Option<T>,
    ended: bool,
}

impl<T> Chunks<T> {
    fn new(call: LoneCall, unwrap: fn(Wire) -> Option<T>) -> Self {
        Chunks { call, unwrap, ended: false }
    }
}

impl<T> Stream for Chunks<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let answer = std::task::ready!(self.call.poll_answer(cx));
        self.ended = !answer.as_ref().is_some_and(|answer| answer.more_follow);
        let unwrap = self.unwrap;
        Poll::Ready(answer.and_then(|answer| answer.response).map(|response| match response {
            Wire::Error(error) => Err(status_of(error)),
            response => unwrap(response).ok_or_else(|| Failure::unexpected_answer().into_status()),
        }))
    }
}

/// Takes the answer of one kind.
macro_rules! only {
    ($kind:ident) => {
        |answer| match answer {
            Wire::$kind(answer) => Some(answer),
            _ => None,
        }
    };
}

#[tonic::async_trait]
impl Spandrel for SpandrelService {
    type ReadStream = Chunks<v1::ReadResponse>;
    type ExecuteSqlStream = Chunks<v1::ExecuteSqlResponse>;
    type SessionStream = SessionStream<Streaming<v1::SessionRequest>>;

    async fn begin(
        &self,
        request: Request<v1::BeginRequest>,
    ) -> Result<Response<v1::BeginResponse>, Status> {
        self.unary(request, WireRequest::Begin, only!(Begin)).await
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let call = self.start(request, WireRequest::Read).map_err(Failure::into_status)?;
        Ok(Response::new(Chunks::new(call, only!(Read))))
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        self.unary(request, WireRequest::Commit, only!(Commit)).await
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackRequest>,
    ) -> Result<Response<v1::RollbackResponse>, Status> {
        self.unary(request, WireRequest::Rollback, only!(Rollback)).await
    }

    async fn keep_alive(
        &self,
        request: Request<v1::KeepAliveRequest>,
    ) -> Result<Response<v1::KeepAliveResponse>, Status> {
        self.unary(request, WireRequest::KeepAlive, only!(KeepAlive)).await
    }

    async fn lookup_outcome(
        &self,
        request: Request<v1::LookupOutcomeRequest>,
    ) -> Result<Response<v1::LookupOutcomeResponse>, Status> {
        self.unary(request, WireRequest::LookupOutcome, only!(LookupOutcome)).await
    }

    async fn resolve_commit(
        &self,
        request: Request<v1::ResolveCommitRequest>,
    ) -> Result<Response<v1::ResolveCommitResponse>, Status> {
        self.unary(request, WireRequest::ResolveCommit, only!(ResolveCommit)).await
    }

    async fn create_table(
        &self,
        request: Request<v1::CreateTableRequest>,
    ) -> Result<Response<v1::CreateTableResponse>, Status> {
        self.unary(request, WireRequest::CreateTable, only!(CreateTable)).await
    }

    async fn drop_table(
        &self,
        request: Request<v1::DropTableRequest>,
    ) -> Result<Response<v1::DropTableResponse>, Status> {
        self.unary(request, WireRequest::DropTable, only!(DropTable)).await
    }

    async fn get_table(
        &self,
        request: Request<v1::GetTableRequest>,
    ) -> Result<Response<v1::GetTableResponse>, Status> {
        self.unary(request, WireRequest::GetTable, only!(GetTable)).await
    }

    async fn list_tables(
        &self,
        request: Request<v1::ListTablesRequest>,
    ) -> Result<Response<v1::ListTablesResponse>, Status> {
        self.unary(request, WireRequest::ListTables, only!(ListTables)).await
    }

    async fn execute_sql(
        &self,
        request: Request<v1::ExecuteSqlRequest>,
    ) -> Result<Response<Self::ExecuteSqlStream>, Status> {
        let call = self.start(request, WireRequest::ExecuteSql).map_err(Failure::into_status)?;
        Ok(Response::new(Chunks::new(call, only!(ExecuteSql))))
    }

    async fn execute_sql_batch(
        &self,
        request: Request<v1::ExecuteSqlBatchRequest>,
    ) -> Result<Response<v1::ExecuteSqlBatchResponse>, Status> {
        self.unary(request, WireRequest::ExecuteSqlBatch, only!(ExecuteSqlBatch)).await
    }

    async fn cancel_sql(
        &self,
        request: Request<v1::CancelSqlRequest>,
    ) -> Result<Response<v1::CancelSqlResponse>, Status> {
        self.unary(request, WireRequest::CancelSql, only!(CancelSql)).await
    }

    async fn close_sql_session(
        &self,
        request: Request<v1::CloseSqlSessionRequest>,
    ) -> Result<Response<v1::CloseSqlSessionResponse>, Status> {
        self.unary(request, WireRequest::CloseSqlSession, only!(CloseSqlSession)).await
    }

    async fn init(
        &self,
        request: Request<v1::InitRequest>,
    ) -> Result<Response<v1::InitResponse>, Status> {
        self.unary(request, WireRequest::Init, only!(Init)).await
    }

    async fn shard_map(
        &self,
        request: Request<v1::ShardMapRequest>,
    ) -> Result<Response<v1::ShardMapResponse>, Status> {
        self.unary(request, WireRequest::ShardMap, only!(ShardMap)).await
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        self.unary(request, WireRequest::Status, only!(Status)).await
    }

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let inner = self.inner.clone();
        if let Some(failure) = inner.refusal() {
            return Err(failure.into_status());
        }
        admit(&request).map_err(Failure::into_status)?;
        let place = Place::take(&inner.sessions, inner.settings.sessions_max)
            .ok_or_else(|| Failure::overloaded("sessions of this node").into_status())?;
        let client = inner.next_client();
        Ok(Response::new(SessionStream::new(inner, request.into_inner(), client, place)))
    }
}
