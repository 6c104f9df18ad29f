//! What SQL needs of the database below it.
//!
//! A gateway implements it in a node, a map in memory in the tests. Futures name no runtime. A future that is
//! dropped has asked all the same: whoever gives a statement up rolls its transaction back.
//!
//! Example: `SELECT * FROM t WHERE id = 7` outside a transaction is one [`Kv::begin`] of a read-only
//! transaction, which asks nobody, and one [`Kv::scan`] with one point, which asks one shard.

use proto::encoding::{Datum, TableSchema};
use proto::table::{KeySet, Mutation, NewTable, TableRef};
use proto::{Priority, TxnId};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use truetime::Timestamp;

use crate::error::SqlError;

/// A transaction that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// With locks.
    ReadWrite {
        /// Its id; its begin timestamp is what `now()` is.
        id: TxnId,
        /// What its retry passes on.
        priority: Priority,
    },
    /// Without.
    ReadOnly {
        /// The timestamp that it reads at.
        at: Timestamp,
        /// Whether it was chosen to be fresh.
        strong: bool,
    },
}

/// What kind of transaction to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With locks; with the priority of the attempt that it repeats.
    ReadWrite {
        /// That of the attempt that this one repeats.
        retry_of: Option<Priority>,
        /// Its age limit; the cluster's if not given.
        max_age: Option<Duration>,
    },
    /// Without, as fresh as everything acknowledged before.
    ReadOnly,
    /// Without, at exactly this time.
    AsOf(Timestamp),
    /// Without, as it was so long ago.
    Ago(Duration),
    /// Without, at most so old.
    MaxStaleness(Duration),
}

/// Which lock a scan takes in a read-write transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Shared.
    Shared,
    /// Exclusive: the transaction is going to write what it reads, or the user said `FOR UPDATE`.
    Exclusive,
}

/// Rows to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// In which transaction.
    pub transaction: Transaction,
    /// Of which table.
    pub schema: Arc<TableSchema>,
    /// Positions in [`TableSchema::columns`], in the order wanted.
    pub columns: Vec<usize>,
    /// Which rows.
    pub keys: KeySet,
    /// Rows of all pages together at the most.
    pub limit: Option<u64>,
    /// The lock.
    pub lock: Lock,
    /// The token of the page before, to go on after it; all else is as before.
    pub resume: Option<Vec<u8>>,
}

/// Rows that were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// In the order of the primary key, points and ranges merged. A row that two of them share is there once.
    pub rows: Vec<Vec<Datum>>,
    /// When rows may follow: how to go on.
    pub resume: Option<Vec<u8>>,
}

/// A commit that is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The commit timestamp; zero when nothing was written.
    pub commit_ts: Timestamp,
    /// How long it was held back until that had surely passed, in nanoseconds.
    pub commit_wait: u64,
}

/// The database below SQL.
///
/// Reads, writes and waits end early with `QUERY_CANCELED` when the statement was cancelled; a commit only as long as
/// it surely has not been sent, a change of the catalog and [`Kv::rollback`] never.
pub trait Kv: Send + Sync {
    /// The table of that name, as it is in use now.
    fn table(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Arc<TableSchema>>, SqlError>> + Send;

    /// All tables, by name.
    fn tables(&self) -> impl Future<Output = Result<Vec<Arc<TableSchema>>, SqlError>> + Send;

    /// Begins a transaction.
    fn begin(&self, begin: Begin) -> impl Future<Output = Result<Transaction, SqlError>> + Send;

    /// Reads a page of rows; the buffered writes of a read-write transaction are seen.
    fn scan(&self, scan: Scan) -> impl Future<Output = Result<Page, SqlError>> + Send;

    /// Cuts what a page's token stands for at the borders of shards, in key order: scans that go on from each of
    /// the tokens read the same rows as one that goes on from the whole, and may run at the same time.
    fn split(&self, resume: Vec<u8>)
    -> impl Future<Output = Result<Vec<Vec<u8>>, SqlError>> + Send;

    /// Buffers mutations in a transaction. `UNIQUE_VIOLATION` when an INSERT finds its row.
    fn write(
        &self,
        transaction: TxnId,
        mutations: Vec<Mutation>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Commits, with mutations on top of what was buffered. After an error the transaction is over, unless that
    /// says that its outcome is unknown.
    fn commit(
        &self,
        transaction: TxnId,
        mutations: Vec<Mutation>,
    ) -> impl Future<Output = Result<Commit, SqlError>> + Send;

    /// Gives a transaction up. One that has ended is left alone.
    fn rollback(&self, transaction: TxnId) -> impl Future<Output = ()> + Send;

    /// Creates a table; `DUPLICATE_TABLE` when there is one.
    fn create_table(
        &self,
        table: NewTable,
    ) -> impl Future<Output = Result<Arc<TableSchema>, SqlError>> + Send;

    /// Drops a table; `UNDEFINED_TABLE` when there is none.
    fn drop_table(&self, table: TableRef) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// The cluster's settings that differ from their defaults, by name; the very same map until one changes.
    fn cluster_settings(
        &self,
    ) -> impl Future<Output = Result<Arc<BTreeMap<String, String>>, SqlError>> + Send;

    /// Sets one for the whole cluster; `None` goes back to its default. The value was checked.
    fn set_cluster_setting(
        &self,
        name: &str,
        value: Option<String>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Waits.
    fn pause(&self, duration: Duration) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Lets others run, and says whether the statement was cancelled. Whoever computes for long calls it every
    /// thousand rows or so: it shares a thread with the shards.
    fn breathe(&self) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// The time, in microseconds since the Unix epoch, for statements without a transaction.
    fn now_micros(&self) -> i64;

    /// Sixty-four random bits.
    fn random(&self) -> u64;
}
