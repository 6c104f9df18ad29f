//! What can go wrong for a user of the client, by what the user can do about it.

use crate::sql::Ends;
use bytes::Bytes;
use proto::TxnId;
use proto::rpc::WrongType;
use proto::rpc::v1::{Error, ErrorKind, Retry, SqlError};
use std::fmt;
use std::time::Duration;
use tonic::Code;

/// A server's "no", with everything that it said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What happened.
    pub kind: ErrorKind,
    /// The server's words.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// The transaction it is about.
    pub transaction: Option<TxnId>,
    /// The older transaction that took the locks.
    pub wounded_by: Option<TxnId>,
    /// Where the outcome of the transaction is recorded, when the server said so.
    pub coordinator_key: Bytes,
    /// What SQL says about it, when it is about a statement.
    pub sql: Option<SqlError>,
    pub(crate) retry: Retry,
}

impl Refusal {
    /// Whether the cluster lacked something, rather than another transaction being in the way.
    pub(crate) fn is_shortage(&self) -> bool {
        matches!(self.kind, ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::ClockUnsure)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(by) = self.wounded_by {
            write!(f, " (by {by})")?;
        }
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let detail = error.detail.unwrap_or_default();
        let retry = match detail.retry() {
            Retry::Unspecified => retry_by_code(Code::from_i32(error.code)),
            retry => retry,
        };
        Refusal {
            kind: detail.kind(),
            retry,
            message: error.message,
            hint: detail.hint,
            transaction: detail.transaction.map(Into::into),
            wounded_by: detail.wounded_by.map(Into::into),
            coordinator_key: detail.coordinator_key,
            sql: detail.sql,
        }
    }
}

/// What an error without our detail, of a proxy for example, allows.
fn retry_by_code(code: Code) -> Retry {
    match code {
        Code::InvalidArgument
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => Retry::Never,
        _ => Retry::Unspecified,
    }
}

/// Why a request of the client failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The transaction is aborted for certain. `Client::run` retries it by itself.
    #[error("transaction aborted: {0}")]
    Aborted(Box<Refusal>),
    /// Nothing was executed, and it may work in a moment.
    #[error("not available at the moment: {0}")]
    Unavailable(Box<Refusal>),
    /// It would be refused again.
    #[error("refused: {0}")]
    Refused(Box<Refusal>),
    /// The transaction may have committed, and nobody could say so in time.
    #[error(
        "the outcome of transaction {id} is unknown: it may have committed; ask lookup_outcome later, do not run it again before that"
    )]
    OutcomeUnknown {
        /// The attempt whose commit was sent.
        id: TxnId,
        /// Where its outcome is recorded. Empty when not even that could be learnt.
        coordinator_key: Bytes,
    },
    /// The connection broke, or no answer came in time, and the request is not one that may simply be
    /// repeated.
    #[error(
        "no answer from {address} to {request}, which may have been executed all the same; look before you repeat it"
    )]
    MayHaveExecuted {
        /// Where it was sent.
        address: String,
        /// What was sent.
        request: &'static str,
    },
    /// The connection broke under a request that changes nothing, or a transaction that sent no commit.
    #[error("the connection to {address} broke: {reason}")]
    Disconnected {
        /// The other end.
        address: String,
        /// The transport's words.
        reason: String,
    },
    /// The stream of a SQL session broke while it was in a transaction, which is rolled back.
    #[error(
        "the connection to {address} broke ({reason}), and the transaction of this session is rolled back; begin it again"
    )]
    SqlSessionLost {
        /// The other end.
        address: String,
        /// The transport's words.
        reason: String,
    },
    /// No answer in time to a request that changes nothing, or in a transaction that sent no commit.
    #[error(
        "no answer within {timeout:?}; the shard may be without a leader, or a lock held for long"
    )]
    DeadlineExceeded {
        /// The request's time.
        timeout: Duration,
    },
    /// No node could be reached.
    #[error("no node answers at {addresses}: {reason}; is the cluster running there?")]
    NoConnection {
        /// The addresses that were tried.
        addresses: String,
        /// Why the last one failed.
        reason: String,
    },
    /// This client has too many requests in flight.
    #[error(
        "{in_flight_max} requests are in flight on one stream; send fewer at a time or open more streams"
    )]
    TooManyInFlight {
        /// The limit, `Config::in_flight_max`.
        in_flight_max: usize,
    },
    /// The request is too large for any node. It was not sent.
    #[error(
        "the request is {bytes} bytes long, and a node takes {bytes_max} at most; split its writes over several transactions, or store smaller values"
    )]
    LimitExceeded {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The transaction was used after its closure had returned.
    #[error("the transaction has ended; use it only inside the closure that it was given to")]
    TransactionEnded,
    /// Every attempt was aborted.
    #[error("given up after {attempts} attempts, the last one: {last}")]
    RetriesExhausted {
        /// How many were made.
        attempts: u32,
        /// Why the last one failed.
        last: Box<ClientError>,
    },
    /// A mutation without a value for a primary-key column.
    #[error("a mutation of table {table} has no value for its primary-key column {column}; add it")]
    KeyColumnMissing {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A value was read as another type than it has.
    #[error(transparent)]
    WrongType(#[from] WrongType),
    /// The server does not follow the protocol of this release.
    #[error(
        "the server's answer makes no sense: {reason}; client and server may be of incompatible releases"
    )]
    Protocol {
        /// What was wrong with it.
        reason: &'static str,
    },
}

impl ClientError {
    /// Whether the caller may do all of it again without the risk of doing it twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            ClientError::Aborted(_)
            | ClientError::Unavailable(_)
            | ClientError::Disconnected { .. }
            | ClientError::SqlSessionLost { .. }
            | ClientError::DeadlineExceeded { .. }
            | ClientError::NoConnection { .. }
            | ClientError::TooManyInFlight { .. } => true,
            ClientError::RetriesExhausted { last, .. } => last.is_retryable(),
            ClientError::Refused(_)
            | ClientError::OutcomeUnknown { .. }
            | ClientError::MayHaveExecuted { .. }
            | ClientError::LimitExceeded { .. }
            | ClientError::TransactionEnded
            | ClientError::KeyColumnMissing { .. }
            | ClientError::WrongType(_)
            | ClientError::Protocol { .. } => false,
        }
    }

    /// What the server said, when it was the server that failed the request.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ClientError::Aborted(refusal)
            | ClientError::Unavailable(refusal)
            | ClientError::Refused(refusal) => Some(refusal),
            ClientError::RetriesExhausted { last, .. } => last.refusal(),
            ClientError::OutcomeUnknown { .. }
            | ClientError::MayHaveExecuted { .. }
            | ClientError::Disconnected { .. }
            | ClientError::SqlSessionLost { .. }
            | ClientError::DeadlineExceeded { .. }
            | ClientError::NoConnection { .. }
            | ClientError::TooManyInFlight { .. }
            | ClientError::LimitExceeded { .. }
            | ClientError::TransactionEnded
            | ClientError::KeyColumnMissing { .. }
            | ClientError::WrongType(_)
            | ClientError::Protocol { .. } => None,
        }
    }
}

/// How one call on one connection failed: what is known about its execution.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    /// It never left this process.
    NotSent { address: String, reason: String },
    /// The limit of one stream.
    TooManyInFlight { in_flight_max: usize },
    /// No node takes it. It never left this process.
    TooLarge { bytes: usize, bytes_max: usize },
    /// It left, and the connection broke before its answer.
    Lost { address: String, reason: String },
    /// It left, and its answer did not come in time.
    Deadline { address: String, timeout: Duration },
    /// The server refused it.
    Refused(Box<Refusal>),
    /// The answer was not one to this request.
    Protocol { reason: &'static str },
}

impl CallError {
    /// Whether another try of the same request could fare better.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            CallError::NotSent { .. } | CallError::Lost { .. } | CallError::Deadline { .. } => true,
            CallError::Refused(refusal) => refusal.retry == Retry::Request,
            CallError::TooManyInFlight { .. }
            | CallError::TooLarge { .. }
            | CallError::Protocol { .. } => false,
        }
    }

    /// What to report of a request that was tried more than once: what a node said earlier tells more than that
    /// the time is over now.
    pub(crate) fn or_earlier(self, earlier: Option<CallError>) -> CallError {
        let is_late = match &self {
            CallError::Deadline { .. } => true,
            CallError::Refused(refusal) => refusal.kind == ErrorKind::DeadlineExceeded,
            CallError::NotSent { .. }
            | CallError::TooManyInFlight { .. }
            | CallError::TooLarge { .. }
            | CallError::Lost { .. }
            | CallError::Protocol { .. } => false,
        };
        earlier.filter(|_| is_late).unwrap_or(self)
    }

    /// As the failure of a request that is no commit and may be repeated at will.
    pub(crate) fn of_harmless(self) -> ClientError {
        match self {
            CallError::NotSent { address, reason } | CallError::Lost { address, reason } => {
                ClientError::Disconnected { address, reason }
            }
            CallError::TooManyInFlight { in_flight_max } => {
                ClientError::TooManyInFlight { in_flight_max }
            }
            CallError::TooLarge { bytes, bytes_max } => {
                ClientError::LimitExceeded { bytes, bytes_max }
            }
            CallError::Deadline { timeout, .. } => ClientError::DeadlineExceeded { timeout },
            CallError::Refused(refusal) => match refusal.retry {
                Retry::Never => ClientError::Refused(refusal),
                Retry::Request => ClientError::Unavailable(refusal),
                // Nothing was committed, so what is in doubt is at most an attempt that ends here.
                Retry::Transaction | Retry::LookupOutcome | Retry::Unspecified => {
                    ClientError::Aborted(refusal)
                }
            },
            CallError::Protocol { reason } => ClientError::Protocol { reason },
        }
    }

    /// As the failure of a request that must not simply be repeated.
    pub(crate) fn of_request(self, request: &'static str) -> ClientError {
        match self {
            CallError::Lost { address, .. } | CallError::Deadline { address, .. } => {
                ClientError::MayHaveExecuted { address, request }
            }
            CallError::NotSent { .. }
            | CallError::TooManyInFlight { .. }
            | CallError::TooLarge { .. }
            | CallError::Refused(_)
            | CallError::Protocol { .. } => self.of_harmless(),
        }
    }

    /// Whether nothing at all was executed, so that it may be sent again whatever it was.
    pub(crate) fn was_not_executed(&self) -> bool {
        match self {
            CallError::NotSent { .. } => true,
            CallError::Refused(refusal) => refusal.retry == Retry::Request,
            CallError::Lost { .. }
            | CallError::Deadline { .. }
            | CallError::TooManyInFlight { .. }
            | CallError::TooLarge { .. }
            | CallError::Protocol { .. } => false,
        }
    }

    /// As the failure of a statement of SQL.
    pub(crate) fn of_sql(self, ends: Ends) -> ClientError {
        let request = "the SQL statement";
        match (ends, self) {
            (Ends::Nothing, error) => error.of_harmless(),
            (Ends::Transaction, CallError::Refused(refusal)) => match refusal.retry {
                Retry::LookupOutcome | Retry::Unspecified => match refusal.transaction {
                    Some(id) => {
                        let coordinator_key = refusal.coordinator_key;
                        ClientError::OutcomeUnknown { id, coordinator_key }
                    }
                    // Its words say more than that nobody knows.
                    None => ClientError::Refused(refusal),
                },
                Retry::Never | Retry::Request | Retry::Transaction => {
                    CallError::Refused(refusal).of_harmless()
                }
            },
            (Ends::Transaction, error) => error.of_request(request),
        }
    }
}
