//! One attempt of a read-write transaction, as its closure sees it.
//!
//! ```text
//! Fresh --first read (begins in the same call)--> Begun --closure returns--> Ended
//! ```
//! The first failure that makes a retry necessary stays with the attempt: each later use of it fails alike,
//! and `run` retries whatever the closure made of it.
//!
//! Not here: the commit (`commit`), and the retries (`run`).

use crate::client::Client;
use crate::connection::Connection;
use crate::error::{CallError, ClientError};
use crate::mutation::Mutations;
use crate::reading::{Part, Rows, Scan, first_key, one_for_each, only_row, read};
use crate::tables::is_stale_table;
use parking_lot::{Mutex, MutexGuard};
use proto::rpc::v1::transaction_selector::Selector;
use proto::rpc::v1::{
    LockMode, ReadRequest, ReadWriteOptions, Row, RowKey, TransactionSelector, Value,
};
use proto::{Priority, TxnId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A read-write transaction. Reads take locks; writes are kept here until the commit, and reads do not
/// see them. Clones are handles to the same transaction.
#[derive(Clone, Debug)]
pub struct Transaction {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    priority: Option<Priority>,
    max_age: Duration,
    /// Held by the read that begins, so that another one at the same time does not begin twice.
    beginning: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    mutations: Mutations,
    failed: Option<ClientError>,
    begin_was_sent: bool,
    /// An id that the server began and rolled back again.
    rolled_back: Option<TxnId>,
}

#[derive(Clone, Debug)]
enum Phase {
    Fresh,
    Begun(Begun),
    Ended,
}

/// A transaction that a node knows.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) connection: Arc<Connection>,
    pub(crate) id: TxnId,
}

/// What is left of an attempt when its closure has returned.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) begun: Option<Begun>,
    pub(crate) mutations: Mutations,
    pub(crate) failed: Option<ClientError>,
    /// The priority that the server gave this attempt; `None` when it never began.
    pub(crate) priority: Option<Priority>,
}

impl Transaction {
    pub(crate) fn new(client: Client, priority: Option<Priority>, max_age: Duration) -> Self {
        let state = State {
            phase: Phase::Fresh,
            mutations: Mutations::new(),
            failed: None,
            begin_was_sent: false,
            rolled_back: None,
        };
        Transaction {
            shared: Arc::new(Shared {
                client,
                priority,
                max_age,
                beginning: tokio::sync::Mutex::new(()),
                state: Mutex::new(state),
            }),
        }
    }

    /// Its id, once a read has begun it.
    #[must_use]
    pub fn id(&self) -> Option<TxnId> {
        match &self.shared.state.lock().phase {
            Phase::Begun(begun) => Some(begun.id),
            Phase::Fresh | Phase::Ended => None,
        }
    }

    /// Reads one row under a shared lock.
    pub async fn get(
        &self,
        table: &str,
        key: impl Into<RowKey>,
        columns: &[&str],
    ) -> Result<Option<Row>, ClientError> {
        self.get_many(table, vec![key.into()], columns, LockMode::Shared).await.map(only_row)
    }

    /// Reads one row under an exclusive lock, to write it later.
    pub async fn get_for_update(
        &self,
        table: &str,
        key: impl Into<RowKey>,
        columns: &[&str],
    ) -> Result<Option<Row>, ClientError> {
        self.get_many(table, vec![key.into()], columns, LockMode::ForUpdate).await.map(only_row)
    }

    /// Reads many rows in one request: one answer for each key, in the same order. `Row::exists` tells
    /// whether there is such a row.
    pub async fn get_many(
        &self,
        table: &str,
        keys: Vec<RowKey>,
        columns: &[&str],
        lock: LockMode,
    ) -> Result<Vec<Row>, ClientError> {
        let count = keys.len();
        let rows = self.read(table, Rows::Points(keys), columns, lock).await?;
        one_for_each(rows, count)
    }

    /// Reads the rows of a range and locks it, so that none can appear in it.
    pub async fn scan(
        &self,
        table: &str,
        scan: Scan<'_>,
        lock: LockMode,
    ) -> Result<Vec<Row>, ClientError> {
        let columns = scan.columns;
        self.read(table, Rows::Range(scan), columns, lock).await
    }

    /// A new row; the commit fails when it exists.
    pub fn insert(&self, table: &str, columns: &[&str], values: Vec<Value>) {
        self.mutate(|mutations| mutations.insert(table, columns, values));
    }

    /// Sets columns of a row; the commit fails when it does not exist.
    pub fn update(&self, table: &str, columns: &[&str], values: Vec<Value>) {
        self.mutate(|mutations| mutations.update(table, columns, values));
    }

    /// Inserts a row, or sets columns of the one that exists.
    pub fn insert_or_update(&self, table: &str, columns: &[&str], values: Vec<Value>) {
        self.mutate(|mutations| mutations.insert_or_update(table, columns, values));
    }

    /// Inserts a row, or replaces the whole of it.
    pub fn replace(&self, table: &str, columns: &[&str], values: Vec<Value>) {
        self.mutate(|mutations| mutations.replace(table, columns, values));
    }

    /// Removes a row, if it exists.
    pub fn delete(&self, table: &str, key: impl Into<RowKey>) {
        self.mutate(|mutations| mutations.delete(table, key));
    }

    fn mutate(&self, change: impl FnOnce(&mut Mutations) -> &mut Mutations) {
        change(&mut self.shared.state.lock().mutations);
    }

    async fn read(
        &self,
        name: &str,
        rows: Rows<'_>,
        columns: &[&str],
        lock: LockMode,
    ) -> Result<Vec<Row>, ClientError> {
        self.usable()?;
        let client = &self.shared.client;
        let table = client.table(name).await.map_err(|error| self.note(error))?;
        let mut request = rows.request(client, &table, columns, lock);
        let mut rows = Vec::new();
        loop {
            // Points come in one page, so that their request is not needed again.
            let this = match request.page_rows {
                0 => std::mem::take(&mut request),
                _ => request.clone(),
            };
            let part = self.read_page(this, table.id).await.map_err(|error| {
                if is_stale_table(&error) {
                    client.tables().forget(name);
                    self.state().failed.get_or_insert(error.clone());
                }
                self.note(error)
            })?;
            if rows.is_empty() {
                rows = part.rows;
            } else {
                rows.extend(part.rows);
            }
            match part.token {
                Some((token, _)) if part.more => request.resume_token = token,
                _ => return Ok(rows),
            }
        }
    }

    async fn read_page(&self, request: ReadRequest, table: u32) -> Result<Part, ClientError> {
        if let Some(begun) = self.usable()? {
            return self.read_begun(&begun, request).await;
        }
        let _beginning = self.shared.beginning.lock().await;
        match self.usable()? {
            Some(begun) => self.read_begun(&begun, request).await,
            None => self.read_and_begin(request, table).await,
        }
    }

    async fn read_begun(&self, begun: &Begun, request: ReadRequest) -> Result<Part, ClientError> {
        let selector = Some(Selector::Id(begun.id.into()));
        let transaction = Some(TransactionSelector { selector });
        let request = ReadRequest { transaction, ..request };
        let timeout = self.shared.client.config().request_timeout;
        let (part, result) = read(&begun.connection, request, timeout).await;
        result.map(|()| part).map_err(CallError::of_harmless)
    }

    async fn read_and_begin(&self, request: ReadRequest, table: u32) -> Result<Part, ClientError> {
        let client = &self.shared.client;
        let timeout = client.config().request_timeout;
        let leader = client.leader_of(table, first_key(&request));
        let connection = client.pool().pick(leader, Instant::now() + timeout).await?;
        let options = ReadWriteOptions {
            priority: self.shared.priority.map(Into::into),
            max_age_ms: u64::try_from(self.shared.max_age.as_millis()).unwrap_or(u64::MAX),
        };
        let transaction = Some(TransactionSelector { selector: Some(Selector::Begin(options)) });
        let request = ReadRequest { transaction, ..request };
        self.state().begin_was_sent = true;
        let (part, result) = read(&connection, request, timeout).await;
        if let Some(id) = part.transaction {
            self.began(Begun { connection, id })?;
        }
        match result {
            Ok(()) if part.transaction.is_none() => {
                Err(ClientError::Protocol { reason: "a read that begins answers no transaction" })
            }
            Ok(()) => Ok(part),
            Err(error) => {
                if let CallError::Refused(refusal) = &error {
                    self.state().rolled_back = refusal.transaction;
                }
                Err(error.of_harmless())
            }
        }
    }

    fn began(&self, begun: Begun) -> Result<(), ClientError> {
        let mut state = self.state();
        if let Phase::Ended = state.phase {
            // The closure returned while this read went on by itself.
            begun.connection.roll_back(begun.id);
            return Err(ClientError::TransactionEnded);
        }
        begun.connection.transaction_began(begun.id);
        state.phase = Phase::Begun(begun);
        Ok(())
    }

    /// What there is to go on with; an error when the attempt has failed or ended.
    fn usable(&self) -> Result<Option<Begun>, ClientError> {
        let state = self.shared.state.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        match &state.phase {
            Phase::Fresh => Ok(None),
            Phase::Begun(begun) => Ok(Some(begun.clone())),
            Phase::Ended => Err(ClientError::TransactionEnded),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Keeps the first error that a retry may cure: the attempt is over, whatever the closure does about it.
    fn note(&self, error: ClientError) -> ClientError {
        if error.is_retryable() {
            self.state().failed.get_or_insert(error.clone());
        }
        error
    }

    /// Ends the closure's part. A second call finds nothing left.
    pub(crate) fn end(&self) -> Leftover {
        let mut state = self.state();
        let begun = match std::mem::replace(&mut state.phase, Phase::Ended) {
            Phase::Begun(begun) => Some(begun),
            Phase::Fresh | Phase::Ended => None,
        };
        let id = begun.as_ref().map(|begun| begun.id).or(state.rolled_back);
        let first = || id.map(Priority::first);
        let priority =
            if state.begin_was_sent { self.shared.priority.or_else(first) } else { None };
        Leftover {
            begun,
            mutations: std::mem::take(&mut state.mutations),
            failed: state.failed.take(),
            priority,
        }
    }
}
