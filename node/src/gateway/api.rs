//! What a client asks of a gateway and what it is answered, in terms of no wire format.

use proto::encoding::{Datum, TableSchema};
use proto::{Key, Priority, TxnId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use truetime::Timestamp;
use txn::lock_table::LockMode;
use txn::message::Outcome;

use super::error::Error;
use proto::table::{KeySet, Mutation, NewTable, TableRef};

/// A client's connection or session, as the server numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// One request of a client; answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A transaction that a client may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionHandle {
    /// Lives at the gateway that began it.
    ReadWrite(TxnId),
    /// Nothing but a timestamp: any gateway serves it (T17).
    ReadOnly {
        /// The timestamp.
        at: Timestamp,
        /// Whether it was chosen to be fresh, so that leaders serve it best.
        strong: bool,
    },
}

/// How old a read may be (section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBound {
    /// Everything acknowledged before the read began: `now().latest`.
    Strong,
    /// At exactly this timestamp.
    ExactTimestamp(Timestamp),
    /// As of so long ago: `now().earliest` less that, so that it is surely that old.
    ExactStaleness(Duration),
    /// At most that old: `now().latest` less that, the oldest timestamp that surely is within the bound and
    /// so the one that a nearby replica most likely can serve without asking.
    MaxStaleness(Duration),
}

/// Options of a read-write transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadWriteOptions {
    /// The priority of the attempt that this one repeats, so that it ages (T28).
    pub retry_of: Option<Priority>,
    /// Its age limit; `txn.max_age` if not given.
    pub max_age: Option<Duration>,
}

/// What kind of transaction to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionOptions {
    /// With locks.
    ReadWrite(ReadWriteOptions),
    /// Without.
    ReadOnly(ReadBound),
}

/// In which transaction a read happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// One begun before.
    Existing(TransactionHandle),
    /// A new one, whose handle comes with the rows.
    Begin(TransactionOptions),
    /// A read-only one for this read alone.
    SingleUse(ReadBound),
}

/// A read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// In which transaction.
    pub selector: Selector,
    /// Of which table.
    pub table: TableRef,
    /// Which columns; none means all.
    pub columns: Vec<String>,
    /// Which rows. Ignored with `resume`.
    pub keys: KeySet,
    /// Rows at the most in this answer, in key order; none or zero is no limit. What is left comes with
    /// a resume token.
    pub limit: Option<u64>,
    /// [`LockMode::Exclusive`] for `FOR UPDATE`; only in read-write transactions.
    pub lock: LockMode,
    /// The token of an answer that was cut off: goes on after it.
    pub resume: Option<Vec<u8>>,
}

/// What is committed.
#[derive(Clone, Debug, PartialEq)]
pub enum CommitTarget {
    /// A transaction of this gateway.
    Transaction(TxnId),
    /// The mutations alone, under an id and coordinator key that [`Request::ResolveCommit`] gave; may be sent
    /// again, also through another gateway.
    SingleUse {
        /// The id.
        id: TxnId,
        /// The coordinator's key.
        coordinator: Key,
        /// The priority of this attempt; `None` for a first one.
        priority: Option<Priority>,
    },
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Begins a transaction.
    Begin(TransactionOptions),
    /// Reads rows.
    Read(Read),
    /// Buffers mutations in a transaction, to be seen by its reads and committed later.
    Write {
        /// The transaction.
        transaction: TxnId,
        /// The mutations, in order.
        mutations: Vec<Mutation>,
    },
    /// Commits.
    Commit {
        /// What.
        target: CommitTarget,
        /// Mutations on top of what was buffered, in order.
        mutations: Vec<Mutation>,
    },
    /// Gives a transaction up.
    Rollback(TxnId),
    /// The client is still there.
    KeepAlive(TxnId),
    /// What became of a commit?
    LookupOutcome {
        /// The transaction.
        id: TxnId,
        /// Its coordinator's key, as the error named it.
        coordinator: Key,
    },
    /// The coordinator key for a commit of these mutations, and a fresh id for a single-use one.
    ResolveCommit {
        /// The transaction that the key is for, when its commit was sent already.
        id: Option<TxnId>,
        /// The mutations.
        mutations: Vec<Mutation>,
        /// The age limit of the commit; `txn.max_age` if not given.
        max_age: Option<Duration>,
    },
    /// Creates a table.
    CreateTable(NewTable),
    /// Drops a table; one named by id, only if that is the one which has its name.
    DropTable(TableRef),
    /// Describes a table.
    GetTable(TableRef),
    /// Describes all tables.
    ListTables,
    /// Describes a table as it is in use now, for a statement that is going to name it by its id.
    UseTable(String),
    /// The cluster's settings that differ from their defaults.
    ClusterSettings,
    /// Sets one, or goes back to its default.
    SetClusterSetting {
        /// Its name.
        name: String,
        /// Its value, which was checked.
        value: Option<String>,
    },
}

impl Request {
    /// Whether it uses the tables that it names, so that it needs a lease on the catalog.
    #[must_use]
    pub fn uses_tables(&self) -> bool {
        match self {
            Request::Read(_)
            | Request::Write { .. }
            | Request::Commit { .. }
            | Request::ResolveCommit { .. }
            | Request::UseTable(_)
            | Request::ClusterSettings => true,
            Request::Begin(_)
            | Request::Rollback(_)
            | Request::KeepAlive(_)
            | Request::LookupOutcome { .. }
            | Request::CreateTable(_)
            | Request::DropTable(_)
            | Request::GetTable(_)
            | Request::ListTables
            | Request::SetClusterSetting { .. } => false,
        }
    }
}

/// A transaction that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// How to name it.
    pub transaction: TransactionHandle,
    /// For a read-write transaction: what its retry passes on.
    pub priority: Option<Priority>,
}

/// A row read.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its key, by which it is found among [`Rows::points`].
    pub key: Key,
    /// The commit timestamp of the version; zero for one that the transaction itself has buffered.
    pub timestamp: Timestamp,
    /// The columns as asked.
    pub values: Vec<Datum>,
}

/// Rows read.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The transaction, if this read began one.
    pub begun: Option<Begun>,
    /// The timestamp of a read without locks.
    pub at: Option<Timestamp>,
    /// The table.
    pub schema: Arc<TableSchema>,
    /// The keys of the points, in the order asked; none when the read went on from a token.
    pub points: Vec<Key>,
    /// Those that exist, in key order.
    pub rows: Vec<Row>,
    /// To go on from here, when something was left.
    pub resume: Option<Vec<u8>>,
}

/// A commit that is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The commit timestamp; surely past.
    pub commit_ts: Timestamp,
    /// How long commit wait delayed the answer, in nanoseconds.
    pub commit_wait: u64,
    /// How many shards took part.
    pub participants: u32,
}

/// A good answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To [`Request::Begin`].
    Begun(Begun),
    /// To [`Request::Read`].
    Rows(Rows),
    /// To [`Request::Write`].
    Written,
    /// To [`Request::Commit`].
    Committed(Committed),
    /// To [`Request::Rollback`].
    RolledBack,
    /// To [`Request::KeepAlive`].
    Alive,
    /// To [`Request::LookupOutcome`], and to a single-use commit that this gateway may only look up.
    Outcome(Outcome),
    /// To [`Request::ResolveCommit`].
    Resolved {
        /// The id to commit under.
        id: TxnId,
        /// The coordinator's key.
        coordinator: Key,
    },
    /// To [`Request::CreateTable`], [`Request::GetTable`] and [`Request::UseTable`].
    Table(Arc<TableSchema>),
    /// To [`Request::DropTable`].
    TableDropped,
    /// To [`Request::ListTables`], by id.
    Tables(Vec<Arc<TableSchema>>),
    /// To [`Request::ClusterSettings`].
    Settings(Arc<BTreeMap<String, String>>),
    /// To [`Request::SetClusterSetting`].
    SettingChanged,
}

/// The one answer to a request.
pub type Answer = Result<Response, Error>;
