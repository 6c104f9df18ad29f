//! A gateway's errors as PostgreSQL would put them.

use proto::encoding::{EncodeError, decode_any_key};
use proto::{Key, TxnId};
use sql::error::{Abort, Lack, Origin, SqlError, SqlState};
use sql::scalar::env::Env;
use sql::scalar::types::Type;
use sql::scalar::value::Value;
use txn::message::AbortReason;

use crate::gateway::error::{Error, InvalidRequest, Subject};
use crate::system::ddl::{DdlError, InvalidTable};

impl From<Error> for SqlError {
    fn from(error: Error) -> Self {
        let hint = error.hint();
        let (state, message, origin) = match error {
            Error::Over { id, error } => return SqlError::from(*error).over(id),
            Error::AlreadyExists { what } => return exists(what),
            Error::NotFound { what } => return not_found(what),
            Error::Invalid { reason } => return invalid(reason),
            Error::Aborted { reason: AbortReason::Refused } => (
                SqlState::INTERNAL_ERROR,
                "a shard refused the transaction as one that makes no sense".to_owned(),
                Origin::Statement,
            ),
            Error::Aborted { reason } => (
                SqlState::SERIALIZATION_FAILURE,
                format!("the transaction was aborted: {reason}"),
                Origin::Aborted(abort(&reason)),
            ),
            Error::OutcomeUnknown { id, coordinator, for_good } => (
                SqlState::STATEMENT_COMPLETION_UNKNOWN,
                format!("it is not known whether transaction {id} was committed"),
                Origin::OutcomeUnknown { id, coordinator, for_good },
            ),
            Error::Unavailable { .. } => {
                (SqlState::CANNOT_CONNECT_NOW, error.to_string(), Origin::Unavailable(Lack::Shard))
            }
            Error::ClockUnsure { .. } => {
                (SqlState::CANNOT_CONNECT_NOW, error.to_string(), Origin::Unavailable(Lack::Clock))
            }
            Error::Overloaded { .. } => {
                let lack = Origin::Unavailable(Lack::Room);
                (SqlState::INSUFFICIENT_RESOURCES, error.to_string(), lack)
            }
            Error::BelowThreshold { .. } => {
                (SqlState::SNAPSHOT_TOO_OLD, error.to_string(), Origin::Statement)
            }
            Error::TooLarge(_) => {
                (SqlState::PROGRAM_LIMIT_EXCEEDED, error.to_string(), Origin::Statement)
            }
            Error::BeginOutOfBounds { .. } => {
                (SqlState::INTERNAL_ERROR, error.to_string(), Origin::Statement)
            }
            Error::Damaged { .. } => {
                (SqlState::DATA_CORRUPTED, error.to_string(), Origin::Statement)
            }
        };
        SqlError::new(state, message).with_hint(hint).of(origin)
    }
}

fn abort(reason: &AbortReason) -> Abort {
    match reason {
        AbortReason::Wounded { by } => Abort::Wounded { by: *by },
        AbortReason::LocksLost => Abort::LocksLost,
        AbortReason::Idle => Abort::Idle,
        AbortReason::LeaseBound => Abort::LeaseEnded,
        AbortReason::TooOld => Abort::TooOld,
        AbortReason::InDoubt => Abort::Logged,
        AbortReason::SchemaChanged => Abort::SchemaChanged,
        AbortReason::GivenUp | AbortReason::Refused => Abort::Gateway,
    }
}

/// What a request that names a transaction is told when it is not driven here, or no longer takes requests.
pub(super) fn not_here(id: TxnId) -> SqlError {
    let message = format!(
        "transaction {id} is not at this node: it has ended or is ending, or began elsewhere"
    );
    SqlError::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, message)
        .with_hint(
            "If a commit was sent it may have been committed; else run it again from its start.",
        )
        .of(Origin::NotHere { id })
}

fn exists(what: Subject) -> SqlError {
    match what {
        Subject::Row { table, key, columns } => {
            let message =
                format!("duplicate key value violates unique constraint \"{table}_pkey\"");
            let detail = format!("Key ({})=({}) already exists.", columns.join(", "), values(&key));
            SqlError::new(SqlState::UNIQUE_VIOLATION, message).with_detail(detail)
        }
        Subject::Table(name) => {
            let message = format!("relation \"{name}\" already exists");
            SqlError::new(SqlState::DUPLICATE_TABLE, message)
        }
        what @ (Subject::Column { .. } | Subject::Transaction(_)) => {
            SqlError::new(SqlState::INTERNAL_ERROR, format!("{what} exists already"))
        }
    }
}

/// The values of a primary key, as text.
fn values(key: &Key) -> String {
    let Ok(decoded) = decode_any_key(key) else { return key.to_string() };
    let env = Env::default();
    let text = |(datum, _): (proto::encoding::Datum, _)| {
        let column_type = datum.column_type().map_or(Type::Text, Type::of_column);
        Value::from_datum(datum).to_text(column_type, &env)
    };
    decoded.fields.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn not_found(what: Subject) -> SqlError {
    match what {
        Subject::Transaction(id) => not_here(id),
        Subject::Table(name) => {
            let message = format!("relation \"{name}\" does not exist");
            SqlError::new(SqlState::UNDEFINED_TABLE, message)
        }
        Subject::Column { table, column } => {
            let message = format!("column \"{column}\" of relation \"{table}\" does not exist");
            SqlError::new(SqlState::UNDEFINED_COLUMN, message)
        }
        what @ Subject::Row { .. } => {
            SqlError::new(SqlState::INTERNAL_ERROR, format!("{what} does not exist"))
        }
    }
}

fn invalid(reason: InvalidRequest) -> SqlError {
    let state = match &reason {
        InvalidRequest::Value(error) => match error {
            EncodeError::Null { .. } => SqlState::NOT_NULL_VIOLATION,
            EncodeError::Type { .. } => SqlState::DATATYPE_MISMATCH,
            EncodeError::LongKey { .. } | EncodeError::LongRow { .. } => {
                SqlState::PROGRAM_LIMIT_EXCEEDED
            }
            EncodeError::Count { .. } => SqlState::INTERNAL_ERROR,
        },
        InvalidRequest::FutureTimestamp | InvalidRequest::MaxAge => {
            SqlState::INVALID_PARAMETER_VALUE
        }
        InvalidRequest::LockInReadOnly => SqlState::READ_ONLY_SQL_TRANSACTION,
        InvalidRequest::Table(DdlError::NoNodes) => SqlState::CANNOT_CONNECT_NOW,
        InvalidRequest::Table(DdlError::Invalid {
            reason: InvalidTable::TooManyShards, ..
        }) => SqlState::PROGRAM_LIMIT_EXCEEDED,
        InvalidRequest::Table(_) => SqlState::INVALID_TABLE_DEFINITION,
        InvalidRequest::Busy | InvalidRequest::Ending => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        InvalidRequest::PartialKey { .. }
        | InvalidRequest::KeyColumnMissing { .. }
        | InvalidRequest::ResumeToken
        | InvalidRequest::NoMutations
        | InvalidRequest::RangeInSingleUse
        | InvalidRequest::ByShard(_) => SqlState::INTERNAL_ERROR,
    };
    SqlError::new(state, reason.to_string())
}
