//! What can go wrong for a client, one variant per thing that it can do about it.

use proto::encoding::{DecodeError, EncodeError};
use proto::{Key, TxnId};
use truetime::Timestamp;
use txn::message::{AbortReason, Refusal};
use txn::transaction::{BufferFull, CallError, Cause};

use crate::system::SystemError;
use crate::system::ddl::DdlError;

/// An answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The transaction surely was not committed.
    #[error("the transaction was aborted: {reason}")]
    Aborted {
        /// Why.
        reason: AbortReason,
    },
    /// The transaction is over for good: the read that began it failed and it was rolled back, or it is a
    /// single-use commit whose abort is logged. The same request under the same id is of no use.
    #[error("{error}")]
    Over {
        /// The transaction, whose priority its retry passes on (T28).
        id: TxnId,
        /// Why.
        error: Box<Error>,
    },
    /// Nobody here knows whether it was committed (T42).
    #[error("the outcome of transaction {id} is unknown")]
    OutcomeUnknown {
        /// The transaction.
        id: TxnId,
        /// Whose shard knows; to ask later with.
        coordinator: Key,
        /// Whether nothing more will ever be known.
        for_good: bool,
    },
    /// What was to be created is there.
    #[error("{what} exists already")]
    AlreadyExists {
        /// A row or table.
        what: Subject,
    },
    /// What was asked for is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// A row, table, column or transaction.
        what: Subject,
    },
    /// The request makes no sense, now or later.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: InvalidRequest,
    },
    /// A shard could not be reached in time; the request had no effect.
    #[error("{error}")]
    Unavailable {
        /// What stood in the way.
        error: CallError,
    },
    /// A single-use id whose begin timestamp is out of bounds.
    #[error("the id's begin timestamp {begin} is not acceptable here")]
    BeginOutOfBounds {
        /// The timestamp.
        begin: Timestamp,
    },
    /// The versions of that time were collected.
    #[error("the timestamp is below the version collection threshold {threshold}")]
    BelowThreshold {
        /// The lowest timestamp that can be read.
        threshold: Timestamp,
    },
    /// No clock vouches for a timestamp at the moment.
    #[error("the clock is unsure: {reason}")]
    ClockUnsure {
        /// The clock's words.
        reason: String,
    },
    /// A limit is reached; the request had no effect.
    #[error("overloaded: {what}")]
    Overloaded {
        /// Which limit.
        what: String,
    },
    /// The transaction writes too much.
    #[error(transparent)]
    TooLarge(#[from] BufferFull),
    /// Stored data does not decode.
    #[error("{what}")]
    Damaged {
        /// What was found.
        what: String,
    },
}

/// What an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A table, by name or id.
    Table(String),
    /// A row of a table.
    Row {
        /// The table.
        table: String,
        /// The row's key.
        key: Key,
        /// The names of the primary key's columns.
        columns: Vec<String>,
    },
    /// A column of a table.
    Column {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A transaction at this gateway.
    Transaction(TxnId),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Table(name) => write!(f, "table {name}"),
            Subject::Row { table, key, .. } => write!(f, "row {key} of table {table}"),
            Subject::Column { table, column } => write!(f, "column {column} of table {table}"),
            Subject::Transaction(id) => write!(f, "transaction {id} at this gateway"),
        }
    }
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// A value does not fit.
    #[error(transparent)]
    Value(#[from] EncodeError),
    /// A point needs a value for every key column.
    #[error("a point needs all {expected} columns of the primary key, {got} were given")]
    PartialKey {
        /// Columns of the primary key.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// A mutation does not give the whole primary key.
    #[error("a mutation must give column {column}, which is in the primary key")]
    KeyColumnMissing {
        /// The column.
        column: String,
    },
    /// The token is not one of ours, or for another read.
    #[error("the resume token does not belong to this read; start it again without the token")]
    ResumeToken,
    /// Locks are for read-write transactions.
    #[error("a read-only transaction takes no locks; begin a read-write one to read FOR UPDATE")]
    LockInReadOnly,
    /// The transaction is being committed or rolled back.
    #[error("the transaction is being ended; wait for that answer")]
    Ending,
    /// A request of the same transaction has not been answered.
    #[error("another request of the transaction has not been answered yet; wait for it")]
    Busy,
    /// A commit of nothing needs no id.
    #[error("a single-use commit needs at least one mutation")]
    NoMutations,
    /// What a range deletes depends on what is there, so its coordinator cannot be resolved before.
    #[error("a single-use commit cannot delete ranges; use a transaction")]
    RangeInSingleUse,
    /// The timestamp lies in the future.
    #[error("the timestamp lies in the future")]
    FutureTimestamp,
    /// The age limit is above the highest allowed.
    #[error("max_age is above txn.max_age_limit")]
    MaxAge,
    /// A shard refused it.
    #[error("{0}")]
    ByShard(String),
    /// A table's definition is wrong.
    #[error("{0}")]
    Table(DdlError),
}

impl Error {
    /// Whether the same request, or for a transaction its whole closure, may be tried again. Never true for a
    /// transaction that may have been committed (T42).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Aborted { reason: AbortReason::Refused } => false,
            Error::Over { error, .. } => error.is_retryable(),
            Error::Aborted { .. }
            | Error::Unavailable { .. }
            | Error::ClockUnsure { .. }
            | Error::Overloaded { .. } => true,
            Error::OutcomeUnknown { .. }
            | Error::AlreadyExists { .. }
            | Error::NotFound { .. }
            | Error::Invalid { .. }
            | Error::BeginOutOfBounds { .. }
            | Error::BelowThreshold { .. }
            | Error::TooLarge(_)
            | Error::Damaged { .. } => false,
        }
    }

    /// For a stored row that does not decode.
    pub(super) fn damaged_row(table: &str, key: &Key, error: &DecodeError) -> Self {
        Error::Damaged { what: format!("row {key} of table {table} does not decode: {error}") }
    }

    /// The older transaction that this one had to make way for.
    #[must_use]
    pub fn wounded_by(&self) -> Option<TxnId> {
        match self {
            Error::Aborted { reason: AbortReason::Wounded { by } } => Some(*by),
            Error::Over { error, .. } => error.wounded_by(),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Error::Aborted { reason: AbortReason::TooOld } => {
                "make the transaction shorter, or raise its max_age"
            }
            Error::Aborted { reason: AbortReason::Refused } => {
                "this is a bug of the client; report it"
            }
            Error::Over { error, .. } if error.is_retryable() => {
                "run it again from its start under a new id, after a pause"
            }
            Error::Over { error, .. } => error.hint(),
            Error::Aborted { .. } => "run the transaction again from its start, with its priority",
            Error::OutcomeUnknown { for_good: true, .. } => {
                "look at the data: the record of the outcome is gone"
            }
            Error::OutcomeUnknown { .. } => {
                "ask LookupOutcome with the id and key; do not run it again"
            }
            Error::AlreadyExists { .. } => "use InsertOrUpdate or Replace if that is meant",
            Error::NotFound { what: Subject::Transaction(_) } => {
                "it ended or is at another gateway; if a commit was sent, ask LookupOutcome"
            }
            Error::NotFound { .. } => "check the name or key",
            Error::Invalid { .. } => "correct the request",
            Error::Unavailable { .. } => "try again; `spandrel status` shows what is down",
            Error::BeginOutOfBounds { .. } => "get a new id from ResolveCommit",
            Error::BelowThreshold { .. } => "read at a later timestamp, or raise gc.ttl",
            Error::ClockUnsure { .. } => {
                "try again or another gateway; `spandrel status` shows each node's clock"
            }
            Error::Overloaded { .. } => "try again after a pause",
            Error::TooLarge(_) => "split the transaction",
            Error::Damaged { .. } => "report it, with this node's log",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BelowThreshold { threshold } => Error::BelowThreshold { threshold },
            Refusal::ClockUnsure { reason } => Error::ClockUnsure { reason },
            Refusal::Overloaded { what } => Error::Overloaded { what },
            Refusal::DiskFull { .. } => Error::Overloaded { what: refusal.to_string() },
            Refusal::Invalid { reason } => {
                Error::Invalid { reason: InvalidRequest::ByShard(reason) }
            }
            // The router answers these itself as long as there is time; a removed shard had a table. Where a
            // commit may have been sent that is not what its client is told (`txn::transaction`).
            Refusal::NotLeader { .. } | Refusal::WrongShard | Refusal::Removed => {
                Error::Aborted { reason: AbortReason::SchemaChanged }
            }
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable { .. } => Error::Unavailable { error },
            CallError::Overloaded { .. } => Error::Overloaded { what: error.to_string() },
        }
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Aborted(reason) => Error::Aborted { reason },
            Cause::Refused(refusal) => refusal.into(),
            Cause::Unavailable(error) => error.into(),
        }
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Error::Invalid { reason: InvalidRequest::Value(error) }
    }
}

impl From<SystemError> for Error {
    fn from(error: SystemError) -> Self {
        Error::Damaged { what: error.to_string() }
    }
}

impl From<DdlError> for Error {
    fn from(error: DdlError) -> Self {
        match error {
            DdlError::AlreadyExists { name } => Error::AlreadyExists { what: Subject::Table(name) },
            DdlError::System(error) => error.into(),
            DdlError::Invalid { .. } | DdlError::NoNodes | DdlError::IdsUsedUp => {
                Error::Invalid { reason: InvalidRequest::Table(error) }
            }
        }
    }
}

impl From<InvalidRequest> for Error {
    fn from(reason: InvalidRequest) -> Self {
        Error::Invalid { reason }
    }
}
