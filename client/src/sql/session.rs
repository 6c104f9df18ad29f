//! A SQL session: what SET says, and the transaction of BEGIN, on one stream.
//!
//! ```text
//! closed --first statement--> open --stream breaks--> closed: its transaction is gone
//!                              |  ^
//!                              +--+ statements, one at a time
//! ```
//!
//! A session that lost its stream says so once, if a transaction was lost with it, and opens anew with the next
//! statement, on any stream.

use super::{Ends, REQUEST, SqlAnswer, part, plain};
use crate::client::Client;
use crate::connection::{Call, Connection};
use crate::error::{CallError, ClientError, Refusal};
use parking_lot::Mutex;
use proto::NodeId;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{
    CancelSqlRequest, CloseSqlSessionRequest, ExecuteSqlRequest, SqlColumn, SqlStatement,
    SqlSummary, SqlTransactionStatus, Value,
};
use std::sync::Arc;
use tokio::time::Instant;

/// A SQL session. Dropping it closes it, which rolls its transaction back.
#[derive(Debug)]
pub struct SqlSession {
    client: Client,
    /// Shared with those who may cancel.
    open: Arc<Mutex<Option<Open>>>,
    status: SqlTransactionStatus,
    /// Whether a statement was executed on a stream that is gone since.
    was_open: bool,
}

#[derive(Clone, Debug)]
struct Open {
    connection: Arc<Connection>,
    number: u32,
}

impl Client {
    /// A SQL session. It opens with its first statement.
    #[must_use]
    pub fn sql_session(&self) -> SqlSession {
        SqlSession {
            client: self.clone(),
            open: Arc::default(),
            status: SqlTransactionStatus::Idle,
            was_open: false,
        }
    }
}

impl SqlSession {
    /// Whether it is in a transaction, after its last statement.
    #[must_use]
    pub fn status(&self) -> SqlTransactionStatus {
        self.status
    }

    /// The node that executes its statements, while it is open.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.open.lock().as_ref().and_then(|open| open.connection.node())
    }

    /// The client that it belongs to.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What cancels the statement that it executes.
    #[must_use]
    pub fn canceller(&self) -> SqlCanceller {
        SqlCanceller { open: Arc::clone(&self.open) }
    }

    /// Executes a statement and collects its answer.
    pub async fn execute(
        &mut self,
        sql: &str,
        parameters: Vec<Value>,
    ) -> Result<SqlAnswer, ClientError> {
        let mut running = self.start(sql, parameters).await?;
        let mut rows = Vec::new();
        while let Some(more) = running.next_rows().await? {
            rows.extend(more);
        }
        let (columns, summary) = running.finish();
        Ok(SqlAnswer { columns, rows, summary })
    }

    /// Starts a statement. Its answer is taken part by part; a statement that is dropped before its end is
    /// withdrawn.
    pub async fn start(
        &mut self,
        sql: &str,
        parameters: Vec<Value>,
    ) -> Result<SqlRunning<'_>, ClientError> {
        let ends = self.ends(sql);
        let timeout = self.client.config().sql_timeout;
        // A stream may break between the pool's look at it and the sending: once is no accident, so that a
        // statement that was not sent is sent again only while streams can be had at all.
        let deadline = Instant::now() + self.client.config().unavailable_max;
        loop {
            let (open, notice) = self.opened(deadline).await?;
            let request = Request::ExecuteSql(ExecuteSqlRequest {
                statement: Some(SqlStatement {
                    sql: sql.to_owned(),
                    parameters: parameters.clone(),
                }),
                transaction: None,
                sql_session: open.number,
            });
            match open.connection.call(request, timeout) {
                Ok(call) => {
                    self.was_open = true;
                    return Ok(SqlRunning {
                        session: self,
                        call,
                        ends,
                        columns: Vec::new(),
                        summary: SqlSummary::default(),
                        notice,
                        progress: Progress::Running,
                    });
                }
                Err(error @ CallError::NotSent { .. }) => self.lost(error, Ends::Nothing)?,
                Err(error) => return Err(error.of_sql(Ends::Nothing)),
            }
        }
    }

    /// The stream and number to use, and what the user should know when they are new.
    async fn opened(&mut self, deadline: Instant) -> Result<(Open, Option<String>), ClientError> {
        let before = self.open.lock().clone();
        if let Some(open) = before {
            if open.connection.is_live() {
                return Ok((open, None));
            }
            self.lost(open.connection.not_sent(), Ends::Nothing)?;
        }
        let connection = self.client.pool().pick(None, deadline).await?;
        let number = connection.next_sql_session();
        let open = Open { connection, number };
        let notice = std::mem::take(&mut self.was_open).then(|| {
            format!(
                "the connection of this session broke; this statement ran on a new one, to {}, which does not \
                 know what SET said before",
                open.connection.address()
            )
        });
        *self.open.lock() = Some(open.clone());
        Ok((open, notice))
    }

    /// The stream is gone. An error when a transaction, or the certainty about one, is gone with it.
    fn lost(&mut self, error: CallError, ends: Ends) -> Result<(), ClientError> {
        *self.open.lock() = None;
        let status = std::mem::replace(&mut self.status, SqlTransactionStatus::Idle);
        match (error, ends, status) {
            (CallError::NotSent { .. }, _, SqlTransactionStatus::Idle) => Ok(()),
            (CallError::Lost { address, .. }, Ends::Transaction, _) => {
                Err(ClientError::MayHaveExecuted { address, request: REQUEST })
            }
            (
                CallError::NotSent { address, reason } | CallError::Lost { address, reason },
                _,
                _,
            ) => Err(ClientError::SqlSessionLost { address, reason }),
            (error, ends, _) => Err(error.of_sql(ends)),
        }
    }

    /// What a statement may have done when its answer is lost.
    fn ends(&self, sql: &str) -> Ends {
        let commits = || {
            let word = first_word(sql);
            ["commit", "end"].iter().any(|commit| word.eq_ignore_ascii_case(commit))
        };
        match self.status {
            SqlTransactionStatus::Idle => Ends::Transaction,
            SqlTransactionStatus::ReadWrite if commits() => Ends::Transaction,
            SqlTransactionStatus::ReadWrite
            | SqlTransactionStatus::ReadOnly
            | SqlTransactionStatus::Failed => Ends::Nothing,
        }
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        if let Some(open) = self.open.lock().take() {
            let request = CloseSqlSessionRequest { sql_session: open.number };
            open.connection.send_detached(Request::CloseSqlSession(request));
        }
    }
}

/// Cancels what a session executes; to be used while somebody else waits for the answer.
#[derive(Clone, Debug)]
pub struct SqlCanceller {
    open: Arc<Mutex<Option<Open>>>,
}

impl SqlCanceller {
    /// Asks the node to cancel the statement. It is answered all the same: as cancelled, or as done when it was
    /// too late for that.
    pub fn cancel(&self) {
        if let Some(open) = &*self.open.lock() {
            let request = CancelSqlRequest { sql_session: open.number };
            open.connection.send_detached(Request::CancelSql(request));
        }
    }
}

/// A statement that is being executed.
#[derive(Debug)]
pub struct SqlRunning<'a> {
    session: &'a mut SqlSession,
    call: Call,
    ends: Ends,
    columns: Vec<SqlColumn>,
    summary: SqlSummary,
    notice: Option<String>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Running,
    Done,
}

impl SqlRunning<'_> {
    /// The next rows, perhaps none; `None` once it has ended. Can be dropped while it waits and called again.
    pub async fn next_rows(&mut self) -> Result<Option<Vec<Vec<Value>>>, ClientError> {
        if self.progress == Progress::Done {
            return Ok(None);
        }
        let answer = self.call.next().await.and_then(|response| match response {
            Some(response) => part(response),
            None => Err(CallError::Protocol { reason: "a statement has no summary" }),
        });
        let part = answer.map_err(|error| self.failed(error))?;
        if !part.columns.is_empty() {
            self.columns = part.columns;
        }
        if let Some(summary) = part.summary {
            self.progress = Progress::Done;
            self.session.status = summary.status();
            self.summary = summary;
            self.summary.notices.extend(self.notice.take());
        }
        Ok(Some(plain(part.rows).collect()))
    }

    /// The columns, once the first rows have come; empty for a statement that answers none.
    #[must_use]
    pub fn columns(&self) -> &[SqlColumn] {
        &self.columns
    }

    /// Columns and summary, once there are no more rows.
    #[must_use]
    pub fn finish(self) -> (Vec<SqlColumn>, SqlSummary) {
        (self.columns, self.summary)
    }

    fn failed(&mut self, error: CallError) -> ClientError {
        self.progress = Progress::Done;
        let session = &mut *self.session;
        match error {
            CallError::Lost { .. } | CallError::NotSent { .. } => {
                // A statement alone that was not sent did nothing, which is not what was asked for either.
                let plain = error.clone().of_sql(Ends::Nothing);
                session.lost(error, self.ends).err().unwrap_or(plain)
            }
            CallError::Refused(refusal) => {
                if session.status != SqlTransactionStatus::Idle {
                    session.status = status_after(&refusal, self.ends);
                }
                CallError::Refused(refusal).of_sql(self.ends)
            }
            error @ (CallError::Deadline { .. }
            | CallError::Protocol { .. }
            | CallError::TooLarge { .. }
            | CallError::TooManyInFlight { .. }) => error.of_sql(self.ends),
        }
    }
}

/// Whether the transaction is over after an error in it.
fn status_after(refusal: &Refusal, ends: Ends) -> SqlTransactionStatus {
    // Class 42 of SQLSTATE: the text is wrong, so that it was no COMMIT.
    let was_understood = refusal.sql.as_ref().is_none_or(|error| !error.sqlstate.starts_with("42"));
    match ends {
        // A COMMIT that fails ends it, as in PostgreSQL.
        Ends::Transaction if was_understood => SqlTransactionStatus::Idle,
        Ends::Transaction | Ends::Nothing => SqlTransactionStatus::Failed,
    }
}

/// The first word of a statement, behind spaces and comments; empty when there is none.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            return &rest[..end];
        }
    }
}

/// What follows the comment, which may have others inside.
fn after_comment(text: &str) -> &str {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(found) = text[at..].find("/*").into_iter().chain(text[at..].find("*/")).min() {
        at += found;
        if text[at..].starts_with("/*") {
            depth += 1;
        } else {
            depth = depth.saturating_sub(1);
        }
        at += 2;
        if depth == 0 {
            return &text[at..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::first_word;

    #[test]
    fn first_word_is_behind_spaces_and_comments() {
        for (sql, word) in [
            ("COMMIT", "COMMIT"),
            ("  -- so\n /* or /* so */ */commit;", "commit"),
            ("end;", "end"),
            ("", ""),
            ("/* open", ""),
            ("-- only", ""),
            ("$1", ""),
        ] {
            assert_eq!(first_word(sql), word, "{sql:?}");
        }
    }
}
