//! One request and its one answer, with types.

use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::Connection;
use crate::error::{CallError, ClientError};
use proto::NodeId;
use proto::rpc::v1;
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A request that has exactly one answer.
pub(crate) trait Ask: Clone {
    /// The answer's type.
    type Answer;
    /// For error messages.
    const NAME: &'static str;

    fn into_request(self) -> Request;
    fn answer(response: Response) -> Option<Self::Answer>;
}

macro_rules! ask {
    ($($variant:ident: $request:ident => $answer:ident;)*) => {$(
        impl Ask for v1::$request {
            type Answer = v1::$answer;
            const NAME: &'static str = stringify!($variant);

            fn into_request(self) -> Request {
                Request::$variant(self)
            }

            fn answer(response: Response) -> Option<v1::$answer> {
                if let Response::$variant(answer) = response { Some(answer) } else { None }
            }
        }
    )*};
}

ask! {
    Begin: BeginRequest => BeginResponse;
    Commit: CommitRequest => CommitResponse;
    LookupOutcome: LookupOutcomeRequest => LookupOutcomeResponse;
    ResolveCommit: ResolveCommitRequest => ResolveCommitResponse;
    CreateTable: CreateTableRequest => CreateTableResponse;
    DropTable: DropTableRequest => DropTableResponse;
    GetTable: GetTableRequest => GetTableResponse;
    ListTables: ListTablesRequest => ListTablesResponse;
    Init: InitRequest => InitResponse;
    ShardMap: ShardMapRequest => ShardMapResponse;
    Status: StatusRequest => StatusResponse;
}

/// Asks once, on this connection.
pub(crate) async fn ask<A: Ask>(
    connection: &Arc<Connection>,
    request: A,
    timeout: Duration,
) -> Result<A::Answer, CallError> {
    let response = connection.call(request.into_request(), timeout)?.only().await?;
    A::answer(response).ok_or(CallError::Protocol { reason: "an answer is of another request" })
}

impl Client {
    /// Asks until there is an answer or the time is over, wherever a node can be reached. Only for requests
    /// that may be repeated.
    pub(crate) async fn ask_anyone<A: Ask>(
        &self,
        request: A,
        node: Option<NodeId>,
        time: Duration,
    ) -> Result<A::Answer, ClientError> {
        let deadline = Instant::now() + time;
        let mut backoff = Backoff::new(Duration::from_millis(5), self.config().backoff_max);
        let mut earlier: Option<CallError> = None;
        loop {
            let connection = self.pool().pick(node, deadline).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match ask(&connection, request.clone(), left).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error.or_earlier(earlier.take()),
            };
            let wait = backoff.next(self.pool().jitter(), Duration::ZERO);
            if !error.may_pass() || Instant::now() + wait >= deadline {
                return Err(error.of_harmless());
            }
            earlier = Some(error);
            sleep(wait).await;
        }
    }

    /// Asks once, for requests that must not be repeated; only what was never sent is sent again.
    pub(crate) async fn ask_once<A: Ask>(
        &self,
        request: A,
        time: Duration,
    ) -> Result<A::Answer, ClientError> {
        let deadline = Instant::now() + time;
        loop {
            let connection = self.pool().pick(None, deadline).await?;
            match ask(&connection, request.clone(), time).await {
                Ok(answer) => return Ok(answer),
                Err(CallError::NotSent { .. }) if Instant::now() < deadline => {
                    // The pool has not noticed the break yet.
                    sleep_until(Instant::now() + Duration::from_millis(1)).await;
                }
                Err(error) => return Err(error.of_request(A::NAME)),
            }
        }
    }
}
