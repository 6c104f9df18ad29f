//! What SQL needs of the database, in terms of what clients ask of a gateway.
//!
//! Async, but no runtime's: whoever has a gateway says by [`Ask`] how it is asked, how time passes, and when the
//! statement is cancelled, so that the simulator can run SQL as it runs everything else.
//!
//! Example: `INSERT INTO t VALUES (1)` outside a transaction is a [`Request::UseTable`], a [`Request::Begin`] and a
//! [`Request::Commit`] with the mutation.
//!
//! Not here: sessions and retries (`sql::session`), and the wire (`server`).

mod errors;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proto::TxnId;
use proto::encoding::TableSchema;
use proto::table::{Mutation, NewTable, TableRef};
use sql::error::{Lack, Origin, SqlError, SqlState};
use sql::kv::{Begin, Commit, Kv, Lock, Page, Scan, Transaction};
use txn::lock_table::LockMode;
use txn::message::AbortReason;

use super::api::{
    Answer, Begun, CommitTarget, Read, ReadBound, ReadWriteOptions, Request, Response, Selector,
    TransactionHandle, TransactionOptions,
};
use super::error::{Error, InvalidRequest, Subject};

/// Why a statement was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The user wants it.
    ByUser,
    /// It took longer than `statement_timeout`.
    Timeout,
    /// Nobody waits for its answer any more.
    ClientGone,
    /// The node stops.
    Stopping,
}

impl From<Cancelled> for SqlError {
    fn from(cancelled: Cancelled) -> Self {
        let message = match cancelled {
            Cancelled::ByUser => "canceling statement due to user request",
            Cancelled::Timeout => "canceling statement due to statement timeout",
            Cancelled::ClientGone => "canceling statement: its client is gone",
            Cancelled::Stopping => {
                let message = "terminating connection due to administrator command";
                return SqlError::new(SqlState::ADMIN_SHUTDOWN, message)
                    .of(Origin::Unavailable(Lack::Node));
            }
        };
        SqlError::new(SqlState::QUERY_CANCELED, message)
    }
}

/// How one client's statements reach a gateway, and the world around them.
pub trait Ask: Send + Sync {
    /// Asks the client's own gateway.
    fn ask(&self, request: Request) -> impl Future<Output = Answer> + Send;

    /// Asks the gateway where a transaction lives.
    fn ask_of(&self, id: TxnId, request: Request) -> impl Future<Output = Answer> + Send;

    /// Waits until the statement is cancelled.
    fn cancelled(&self) -> impl Future<Output = Cancelled> + Send;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Lets others run.
    fn give_way(&self) -> impl Future<Output = ()> + Send;

    /// Microseconds since the Unix epoch.
    fn now_micros(&self) -> i64;

    /// Random bits.
    fn random(&self) -> u64;
}

/// A gateway as SQL sees it.
#[derive(Debug)]
pub struct GatewayKv<A> {
    ask: A,
}

impl<A: Ask> GatewayKv<A> {
    /// Over that way to ask.
    pub fn new(ask: A) -> Self {
        GatewayKv { ask }
    }

    /// The way to ask.
    pub fn asker(&self) -> &A {
        &self.ask
    }

    /// The result, unless the statement is cancelled before.
    async fn unless_cancelled<T>(
        &self,
        future: impl Future<Output = T> + Send,
    ) -> Result<T, SqlError> {
        let mut future = pin!(future);
        let mut cancelled = pin!(self.ask.cancelled());
        poll_fn(|cx| {
            if let Poll::Ready(reason) = cancelled.as_mut().poll(cx) {
                return Poll::Ready(Err(reason.into()));
            }
            future.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    async fn ask(&self, request: Request) -> Result<Response, SqlError> {
        Ok(self.unless_cancelled(self.ask.ask(request)).await??)
    }

    /// A request in a transaction that is not to end with it.
    async fn ask_of(&self, id: TxnId, request: Request) -> Result<Response, SqlError> {
        match self.unless_cancelled(self.ask.ask_of(id, request)).await? {
            Err(Error::Invalid { reason: InvalidRequest::Ending }) => Err(errors::not_here(id)),
            answer => Ok(answer?),
        }
    }
}

fn unexpected() -> SqlError {
    SqlError::new(
        SqlState::INTERNAL_ERROR,
        "the gateway answered something else than was asked; this is a bug, report it",
    )
}

fn transaction_of(begun: Begun) -> Result<Transaction, SqlError> {
    match (begun.transaction, begun.priority) {
        (TransactionHandle::ReadWrite(id), Some(priority)) => {
            Ok(Transaction::ReadWrite { id, priority })
        }
        (TransactionHandle::ReadOnly { at, strong }, _) => Ok(Transaction::ReadOnly { at, strong }),
        (TransactionHandle::ReadWrite(_), None) => Err(unexpected()),
    }
}

fn options_of(begin: Begin) -> TransactionOptions {
    match begin {
        Begin::ReadWrite { retry_of, max_age } => {
            TransactionOptions::ReadWrite(ReadWriteOptions { retry_of, max_age })
        }
        Begin::ReadOnly => TransactionOptions::ReadOnly(ReadBound::Strong),
        Begin::AsOf(at) => TransactionOptions::ReadOnly(ReadBound::ExactTimestamp(at)),
        Begin::Ago(age) => TransactionOptions::ReadOnly(ReadBound::ExactStaleness(age)),
        Begin::MaxStaleness(age) => TransactionOptions::ReadOnly(ReadBound::MaxStaleness(age)),
    }
}

/// A token of ours: how many rows are still wanted (all ones: all), then the gateway's.
fn with_rows_left(token: Vec<u8>, left: Option<u64>) -> Vec<u8> {
    let mut bytes = left.unwrap_or(u64::MAX).to_be_bytes().to_vec();
    bytes.extend_from_slice(&token);
    bytes
}

fn rows_left(token: &[u8]) -> Result<(Option<u64>, Vec<u8>), SqlError> {
    let (left, token) = token.split_first_chunk::<8>().ok_or_else(unexpected)?;
    let left = Some(u64::from_be_bytes(*left)).filter(|left| *left != u64::MAX);
    Ok((left, token.to_vec()))
}

impl<A: Ask> Kv for GatewayKv<A> {
    async fn table(&self, name: &str) -> Result<Option<Arc<TableSchema>>, SqlError> {
        let request = Request::UseTable(name.to_owned());
        match self.unless_cancelled(self.ask.ask(request)).await? {
            Ok(Response::Table(schema)) => Ok(Some(schema)),
            Err(Error::NotFound { what: Subject::Table(_) }) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(_) => Err(unexpected()),
        }
    }

    async fn tables(&self) -> Result<Vec<Arc<TableSchema>>, SqlError> {
        match self.ask(Request::ListTables).await? {
            Response::Tables(mut tables) => {
                tables.sort_by(|a, b| a.name().cmp(b.name()));
                Ok(tables)
            }
            _ => Err(unexpected()),
        }
    }

    async fn begin(&self, begin: Begin) -> Result<Transaction, SqlError> {
        // Answered at once, and what was begun must be known, so it is not given up half-way.
        match self.ask.ask(Request::Begin(options_of(begin))).await? {
            Response::Begun(begun) => transaction_of(begun),
            _ => Err(unexpected()),
        }
    }

    async fn scan(&self, scan: Scan) -> Result<Page, SqlError> {
        let Scan { transaction, schema, columns, keys, limit, lock, resume } = scan;
        let (limit, resume) = match resume {
            None => (limit, None),
            Some(token) => {
                let (left, token) = rows_left(&token)?;
                (left, Some(token))
            }
        };
        if limit == Some(0) {
            return Ok(Page::default());
        }
        let names = columns.iter().map(|at| schema.columns()[*at].name.clone()).collect();
        let (handle, home) = match transaction {
            Transaction::ReadWrite { id, .. } => (TransactionHandle::ReadWrite(id), Some(id)),
            Transaction::ReadOnly { at, strong } => {
                (TransactionHandle::ReadOnly { at, strong }, None)
            }
        };
        let lock = match (lock, home) {
            (Lock::Exclusive, Some(_)) => LockMode::Exclusive,
            (Lock::Exclusive | Lock::Shared, _) => LockMode::Shared,
        };
        let selector = Selector::Existing(handle);
        let table = TableRef::Id(schema.id());
        let request =
            Request::Read(Read { selector, table, columns: names, keys, limit, lock, resume });
        let answer = match home {
            Some(id) => self.ask_of(id, request).await?,
            None => self.ask(request).await?,
        };
        let Response::Rows(read) = answer else { return Err(unexpected()) };
        let count = u64::try_from(read.rows.len()).unwrap_or(u64::MAX);
        let left = limit.map(|limit| limit.saturating_sub(count));
        // A query for no column at all wants rows without values.
        let values =
            |row: super::api::Row| if columns.is_empty() { Vec::new() } else { row.values };
        Ok(Page {
            rows: read.rows.into_iter().map(values).collect(),
            resume: read
                .resume
                .filter(|_| left != Some(0))
                .map(|token| with_rows_left(token, left)),
        })
    }

    async fn split(&self, resume: Vec<u8>) -> Result<Vec<Vec<u8>>, SqlError> {
        let (left, token) = rows_left(&resume)?;
        match self.ask(Request::SplitToken(token)).await? {
            Response::Tokens(tokens) => {
                Ok(tokens.into_iter().map(|token| with_rows_left(token, left)).collect())
            }
            _ => Err(unexpected()),
        }
    }

    async fn write(&self, transaction: TxnId, mutations: Vec<Mutation>) -> Result<(), SqlError> {
        let request = Request::Write { transaction, mutations };
        match self.ask_of(transaction, request).await? {
            Response::Written => Ok(()),
            _ => Err(unexpected()),
        }
    }

    async fn commit(
        &self,
        transaction: TxnId,
        mutations: Vec<Mutation>,
    ) -> Result<Commit, SqlError> {
        let target = CommitTarget::Transaction(transaction);
        let request = Request::Commit { target, mutations };
        let mut commit = pin!(self.ask.ask_of(transaction, request));
        let answer = match self.unless_cancelled(commit.as_mut()).await {
            Ok(answer) => answer,
            // As long as it waits for locks it can be given up. Once it was sent this does nothing, and the
            // answer is that of the commit.
            Err(cancelled) => {
                self.rollback(transaction).await;
                match commit.await {
                    Err(Error::Aborted { reason: AbortReason::GivenUp }) => return Err(cancelled),
                    answer => answer,
                }
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // What was refused without having ended keeps its locks else.
                if !matches!(error, Error::OutcomeUnknown { .. }) {
                    self.rollback(transaction).await;
                }
                return Err(error.into());
            }
        };
        match answer {
            Response::Committed(committed) => {
                Ok(Commit { commit_ts: committed.commit_ts, commit_wait: committed.commit_wait })
            }
            // It was sent, and whatever this says, it does not say what became of it.
            _ => {
                let coordinator = proto::Key::default();
                Err(Error::OutcomeUnknown { id: transaction, coordinator, for_good: false }.into())
            }
        }
    }

    async fn rollback(&self, transaction: TxnId) {
        // What has ended, or is gone, is as rolled back as can be.
        let _ = self.ask.ask_of(transaction, Request::Rollback(transaction)).await;
    }

    async fn create_table(&self, table: NewTable) -> Result<Arc<TableSchema>, SqlError> {
        match self.ask.ask(Request::CreateTable(table)).await? {
            Response::Table(schema) => Ok(schema),
            _ => Err(unexpected()),
        }
    }

    async fn drop_table(&self, table: TableRef) -> Result<(), SqlError> {
        match self.ask.ask(Request::DropTable(table)).await? {
            Response::TableDropped => Ok(()),
            _ => Err(unexpected()),
        }
    }

    async fn cluster_settings(&self) -> Result<Arc<BTreeMap<String, String>>, SqlError> {
        match self.ask(Request::ClusterSettings).await? {
            Response::Settings(settings) => Ok(settings),
            _ => Err(unexpected()),
        }
    }

    async fn set_cluster_setting(&self, name: &str, value: Option<String>) -> Result<(), SqlError> {
        let request = Request::SetClusterSetting { name: name.to_owned(), value };
        match self.ask.ask(request).await? {
            Response::SettingChanged => Ok(()),
            _ => Err(unexpected()),
        }
    }

    async fn pause(&self, duration: Duration) -> Result<(), SqlError> {
        self.unless_cancelled(self.ask.sleep(duration)).await
    }

    async fn breathe(&self) -> Result<(), SqlError> {
        self.unless_cancelled(self.ask.give_way()).await
    }

    fn now_micros(&self) -> i64 {
        self.ask.now_micros()
    }

    fn random(&self) -> u64 {
        self.ask.random()
    }
}
