//! SQL: statements outside of any session, and what a statement answers.
//!
//! ```text
//! Client::execute_sql         one statement, a transaction of its own
//! Client::execute_sql_batch   several, one transaction, one round trip
//! Client::sql_session         BEGIN, SET, cancelling: tied to one stream (session)
//! ```
//!
//! The server runs an aborted transaction of its own again where that is safe, so nothing is retried here but
//! what was never executed.
//!
//! Not here: SQL inside of [`Client::run`], whose closure reads rows and buffers its writes.

mod session;

pub use session::{SqlCanceller, SqlRunning, SqlSession};

use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::Connection;
use crate::error::{CallError, ClientError};
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{
    ExecuteSqlBatchRequest, ExecuteSqlRequest, RowValues, SqlColumn, SqlStatement, SqlSummary,
    Value,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use truetime::Timestamp;

/// How a statement is named in errors.
const REQUEST: &str = "the SQL statement";

/// The whole answer to one statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SqlAnswer {
    /// Empty when it answers no rows.
    pub columns: Vec<SqlColumn>,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
    /// How it ended.
    pub summary: SqlSummary,
}

/// The answers to a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SqlBatchAnswer {
    /// One for each statement. Of their summaries only tag and rows are set.
    pub answers: Vec<SqlAnswer>,
    /// When the batch wrote.
    pub commit_timestamp: Option<Timestamp>,
    /// How often the server ran it again after an abort.
    pub retries: u32,
}

/// One part of the answer to a statement.
#[derive(Debug, Default)]
struct Part {
    columns: Vec<SqlColumn>,
    rows: Vec<RowValues>,
    summary: Option<SqlSummary>,
}

fn part(response: Response) -> Result<Part, CallError> {
    match response {
        Response::ExecuteSql(answer) => {
            Ok(Part { columns: answer.columns, rows: answer.rows, summary: answer.summary })
        }
        _ => Err(CallError::Protocol { reason: "an answer is of another request" }),
    }
}

fn plain(rows: Vec<RowValues>) -> impl Iterator<Item = Vec<Value>> {
    rows.into_iter().map(|row| row.values)
}

impl Client {
    /// Executes one statement in a transaction of its own.
    pub async fn execute_sql(
        &self,
        sql: &str,
        parameters: Vec<Value>,
    ) -> Result<SqlAnswer, ClientError> {
        let statement = Some(SqlStatement { sql: sql.to_owned(), parameters });
        let request = ExecuteSqlRequest { statement, transaction: None, sql_session: 0 };
        let mut sending = Sending::new(self);
        loop {
            let connection = sending.connection().await?;
            match execute(&connection, request.clone(), self.config().sql_timeout).await {
                Ok(answer) => return Ok(answer),
                Err(error) => sending.failed(error).await?,
            }
        }
    }

    /// Executes statements one after the other in one transaction: all of them take effect or none.
    pub async fn execute_sql_batch(
        &self,
        statements: Vec<SqlStatement>,
    ) -> Result<SqlBatchAnswer, ClientError> {
        let request = ExecuteSqlBatchRequest { statements, transaction: None, commit: false };
        let mut sending = Sending::new(self);
        let response = loop {
            let connection = sending.connection().await?;
            match execute_batch(&connection, request.clone(), self.config().sql_timeout).await {
                Ok(response) => break response,
                Err(error) => sending.failed(error).await?,
            }
        };
        let Response::ExecuteSqlBatch(answer) = response else {
            return Err(ClientError::Protocol { reason: "an answer is of another request" });
        };
        let answers = answer.results.into_iter().map(|result| SqlAnswer {
            columns: result.columns,
            rows: plain(result.rows).collect(),
            summary: SqlSummary {
                tag: result.tag,
                rows: result.rows_affected,
                ..SqlSummary::default()
            },
        });
        Ok(SqlBatchAnswer {
            answers: answers.collect(),
            commit_timestamp: timestamp(answer.commit_timestamp),
            retries: answer.retries,
        })
    }
}

/// Sends again what was not executed, for as long as the cluster may take to be available again.
struct Sending<'a> {
    client: &'a Client,
    deadline: Instant,
    backoff: Backoff,
}

impl<'a> Sending<'a> {
    fn new(client: &'a Client) -> Self {
        let config = client.config();
        let deadline = Instant::now() + config.unavailable_max;
        let backoff = Backoff::new(Duration::from_millis(5), config.backoff_max);
        Sending { client, deadline, backoff }
    }

    async fn connection(&self) -> Result<Arc<Connection>, ClientError> {
        self.client.pool().pick(None, self.deadline).await
    }

    /// Waits until it may be sent again.
    async fn failed(&mut self, error: CallError) -> Result<(), ClientError> {
        let wait = self.backoff.next(self.client.pool().jitter(), Duration::ZERO);
        if !error.was_not_executed() || Instant::now() + wait >= self.deadline {
            return Err(error.of_sql(Ends::Transaction));
        }
        sleep(wait).await;
        Ok(())
    }
}

async fn execute_batch(
    connection: &Arc<Connection>,
    request: ExecuteSqlBatchRequest,
    time: Duration,
) -> Result<Response, CallError> {
    connection.call(Request::ExecuteSqlBatch(request), time)?.only().await
}

async fn execute(
    connection: &Arc<Connection>,
    request: ExecuteSqlRequest,
    time: Duration,
) -> Result<SqlAnswer, CallError> {
    let mut call = connection.call(Request::ExecuteSql(request), time)?;
    let mut answer = SqlAnswer::default();
    while let Some(response) = call.next().await? {
        let part = part(response)?;
        if !part.columns.is_empty() {
            answer.columns = part.columns;
        }
        answer.rows.extend(plain(part.rows));
        if let Some(summary) = part.summary {
            answer.summary = summary;
            return Ok(answer);
        }
    }
    Err(CallError::Protocol { reason: "a statement has no summary" })
}

/// What a statement whose answer was lost may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// It may have committed.
    Transaction,
    /// Nothing that lasts: it was inside of a transaction that ends with the session.
    Nothing,
}

/// A timestamp of the wire, where 0 is none.
fn timestamp(nanos: u64) -> Option<Timestamp> {
    (nanos != 0).then(|| Timestamp::from_nanos(nanos))
}
