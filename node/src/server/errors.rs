//! What a client is told when something fails: kind, what it may do, and words for people.

use proto::TxnId;
use proto::encoding::EncodeError;
use proto::rpc::v1::{self, ErrorDetail, ErrorKind, Retry};
use proto::rpc::{to_error, to_status};
use tonic::Status;
use txn::message::AbortReason;

use super::convert::BadRequest;
use super::coordinator_key;
use super::outbox::TimeoutSubject;
use crate::gateway::{Error, InvalidRequest, Subject};
use crate::system::ddl::{DdlError, InvalidTable};

/// A failure on its way to a client.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// For programs.
    pub(super) detail: Box<ErrorDetail>,
    /// For people.
    pub(super) message: String,
}

impl Failure {
    /// Of that kind, with its usual retry.
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>, hint: &str) -> Self {
        let detail = ErrorDetail { hint: hint.to_owned(), ..ErrorDetail::of(kind) };
        Failure { detail: Box::new(detail), message: message.into() }
    }

    /// No cluster yet.
    pub(super) fn not_initialised() -> Self {
        Failure::new(
            ErrorKind::NotInitialised,
            "this node is not part of an initialised cluster yet",
            "run `spandrel init` once for the cluster, with this node started",
        )
    }

    /// The node is about to end.
    pub(super) fn stopping() -> Self {
        Failure::new(ErrorKind::Stopping, "the node is stopping", "use another node")
    }

    /// A limit on how much goes on at once is reached.
    pub(super) fn overloaded(what: &str) -> Self {
        Failure::new(
            ErrorKind::Overloaded,
            format!("overloaded: {what}"),
            "try again after a pause",
        )
    }

    /// A transaction of another node, or of an earlier start of this one.
    pub(super) fn not_here(id: TxnId) -> Self {
        Error::NotFound { what: Subject::Transaction(id) }.into()
    }

    /// The answer is none to what was asked.
    pub(super) fn unexpected_answer() -> Self {
        Failure::new(
            ErrorKind::Internal,
            "the gateway answered something else than was asked",
            "this is a bug of the server; report it",
        )
    }

    /// As an answer on a session.
    pub(super) fn into_error(self) -> v1::Error {
        to_error(*self.detail, self.message)
    }

    /// As the end of a call.
    pub(super) fn into_status(self) -> Status {
        to_status(&self.detail, self.message)
    }

    /// Of a transaction's commit: whatever did not surely abort it by itself is followed by a rollback, so
    /// that the client may begin another attempt at once.
    pub(super) fn of_commit(self, id: TxnId) -> Self {
        let mut failure = self;
        failure.detail.transaction.get_or_insert(id.into());
        if failure.detail.retry() == Retry::Request {
            failure.detail.retry = Retry::Transaction.into();
        }
        failure
    }
}

/// A session's error as the status of a call.
pub(super) fn status_of(error: v1::Error) -> Status {
    match error.detail {
        Some(detail) => to_status(&detail, error.message),
        None => Status::new(tonic::Code::from(error.code), error.message),
    }
}

/// The answer to a call whose time ran out.
pub(super) fn timed_out(subject: &TimeoutSubject) -> v1::Error {
    let failure = match subject {
        // A statement answers for itself.
        TimeoutSubject::Request | TimeoutSubject::Statement => Failure::new(
            ErrorKind::DeadlineExceeded,
            "the request's time ran out",
            "try again with more time; `spandrel status` shows what is down",
        ),
        // T42: it may have been sent on, so nothing is known about it.
        TimeoutSubject::Commit { id, coordinator_key } => {
            let mut failure = Failure::new(
                ErrorKind::OutcomeUnknown,
                "the commit was not decided in the time given",
                "ask LookupOutcome, with the key from ResolveCommit; do not run it again",
            );
            failure.detail.transaction = *id;
            failure.detail.coordinator_key = coordinator_key.clone();
            failure
        }
    };
    failure.into_error()
}

impl From<BadRequest> for Failure {
    fn from(bad: BadRequest) -> Self {
        let kind = match &bad {
            BadRequest::TooManyShards { .. } => ErrorKind::LimitExceeded,
            BadRequest::Missing { .. }
            | BadRequest::Wrong { .. }
            | BadRequest::UnknownType { .. }
            | BadRequest::Priority { .. } => ErrorKind::InvalidRequest,
        };
        Failure::new(kind, bad.to_string(), "")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Error::Over { id, error } = error {
            let mut failure = Failure::from(*error);
            failure.detail.transaction = Some(id.into());
            if failure.detail.retry() == Retry::Request {
                failure.detail.retry = Retry::Transaction.into();
            }
            return failure;
        }
        let mut detail =
            ErrorDetail { hint: error.hint().to_owned(), ..ErrorDetail::of(kind_of(&error)) };
        detail.wounded_by = error.wounded_by().map(Into::into);
        match &error {
            Error::OutcomeUnknown { id, coordinator, for_good: _ } => {
                detail.transaction = Some((*id).into());
                detail.coordinator_key = coordinator_key::name(id, coordinator);
            }
            Error::NotFound { what: Subject::Transaction(id) } => {
                detail.transaction = Some((*id).into());
            }
            Error::Aborted { .. }
            | Error::Over { .. }
            | Error::AlreadyExists { .. }
            | Error::NotFound { .. }
            | Error::Invalid { .. }
            | Error::Unavailable { .. }
            | Error::BeginOutOfBounds { .. }
            | Error::BelowThreshold { .. }
            | Error::ClockUnsure { .. }
            | Error::Overloaded { .. }
            | Error::TooLarge(_)
            | Error::Damaged { .. } => {}
        }
        Failure { detail: Box::new(detail), message: error.to_string() }
    }
}

fn kind_of(error: &Error) -> ErrorKind {
    match error {
        Error::Aborted { reason } => abort_kind(reason),
        Error::Over { error, .. } => kind_of(error),
        Error::OutcomeUnknown { for_good: true, .. } => ErrorKind::OutcomeNoLongerKnown,
        Error::OutcomeUnknown { for_good: false, .. } => ErrorKind::OutcomeUnknown,
        Error::AlreadyExists { what: Subject::Row { .. } } => ErrorKind::RowExists,
        Error::AlreadyExists { what: Subject::Table(_) } => ErrorKind::TableExists,
        Error::AlreadyExists { what: Subject::Column { .. } | Subject::Transaction(_) } => {
            ErrorKind::InvalidRequest
        }
        Error::NotFound { what } => match what {
            Subject::Table(_) => ErrorKind::TableNotFound,
            Subject::Row { .. } => ErrorKind::RowNotFound,
            Subject::Column { .. } => ErrorKind::ColumnNotFound,
            Subject::Transaction(_) => ErrorKind::TransactionNotHere,
        },
        Error::Invalid { reason } => invalid_kind(reason),
        Error::Unavailable { .. } => ErrorKind::Unavailable,
        Error::BeginOutOfBounds { .. } => ErrorKind::IdRefused,
        Error::BelowThreshold { .. } => ErrorKind::BelowThreshold,
        Error::ClockUnsure { .. } => ErrorKind::ClockUnsure,
        Error::Overloaded { .. } => ErrorKind::Overloaded,
        Error::TooLarge(_) => ErrorKind::LimitExceeded,
        Error::Damaged { .. } => ErrorKind::Internal,
    }
}

fn abort_kind(reason: &AbortReason) -> ErrorKind {
    match reason {
        AbortReason::Wounded { .. } => ErrorKind::AbortedWounded,
        AbortReason::LocksLost => ErrorKind::AbortedLocksLost,
        AbortReason::Idle => ErrorKind::AbortedIdle,
        AbortReason::LeaseBound => ErrorKind::AbortedLeaseEnded,
        AbortReason::TooOld => ErrorKind::AbortedTooOld,
        // Its own client knows that it gave up; whoever else is told this lost a shard or a gateway.
        AbortReason::GivenUp => ErrorKind::AbortedGateway,
        AbortReason::InDoubt => ErrorKind::AbortedLogged,
        AbortReason::SchemaChanged => ErrorKind::AbortedSchemaChanged,
        AbortReason::Refused => ErrorKind::IdRefused,
    }
}

fn invalid_kind(reason: &InvalidRequest) -> ErrorKind {
    match reason {
        InvalidRequest::Value(error) => encode_kind(error),
        InvalidRequest::ResumeToken => ErrorKind::ResumeTokenInvalid,
        InvalidRequest::Table(error) => match error {
            DdlError::NoNodes => ErrorKind::NotInitialised,
            DdlError::IdsUsedUp | DdlError::Invalid { reason: InvalidTable::TooManyShards, .. } => {
                ErrorKind::LimitExceeded
            }
            DdlError::AlreadyExists { .. } => ErrorKind::TableExists,
            DdlError::System(_) => ErrorKind::Internal,
            DdlError::Invalid { reason: InvalidTable::Split(error), .. } => encode_kind(error),
            DdlError::Invalid { .. } => ErrorKind::InvalidRequest,
        },
        InvalidRequest::MaxAge => ErrorKind::LimitExceeded,
        InvalidRequest::PartialKey { .. }
        | InvalidRequest::KeyColumnMissing { .. }
        | InvalidRequest::LockInReadOnly
        | InvalidRequest::Ending
        | InvalidRequest::Busy
        | InvalidRequest::NoMutations
        | InvalidRequest::RangeInSingleUse
        | InvalidRequest::FutureTimestamp
        | InvalidRequest::ByShard(_) => ErrorKind::InvalidRequest,
    }
}

fn encode_kind(error: &EncodeError) -> ErrorKind {
    match error {
        EncodeError::Count { .. } => ErrorKind::InvalidRequest,
        EncodeError::Type { .. } => ErrorKind::TypeMismatch,
        EncodeError::Null { .. } => ErrorKind::NotNullViolated,
        EncodeError::LongKey { .. } | EncodeError::LongRow { .. } => ErrorKind::LimitExceeded,
    }
}

#[cfg(test)]
mod tests;
