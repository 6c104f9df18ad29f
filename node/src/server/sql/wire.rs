//! Between the wire's messages and SQL's values, errors and results.

use proto::rpc::v1::value::Kind;
use proto::rpc::v1::{self, ErrorKind, transaction_selector::Selector};
use sql::error::{Abort, Lack, Origin, SqlError, SqlState};
use sql::kv::Begin;
use sql::plan::OutputColumn;
use sql::scalar::env::Env;
use sql::scalar::types::Type;
use sql::scalar::value::Value;
use sql::session::{BatchResult, Request, Scope, Status, Summary};

use crate::gateway::api::ReadBound;
use crate::server::errors::Failure;
use crate::server::{convert, coordinator_key};

/// A statement, as a session takes it.
pub(super) fn statement(statement: Option<v1::SqlStatement>) -> Result<Request, Failure> {
    let statement = statement.ok_or_else(|| {
        Failure::new(ErrorKind::InvalidRequest, "`statement` is missing", "set it")
    })?;
    let parameters =
        statement.parameters.into_iter().map(parameter).collect::<Result<Vec<_>, _>>()?;
    Ok(Request { text: statement.sql, parameters })
}

fn parameter(value: v1::Value) -> Result<(Value, Type), Failure> {
    let wrong = |message: String| Failure::new(ErrorKind::TypeMismatch, message, "correct it");
    Ok(match value.kind {
        None => {
            let message = "`parameters` has a value of a type that this server does not know";
            return Err(wrong(message.to_owned()));
        }
        Some(Kind::Null(_)) => (Value::Null, Type::Unknown),
        Some(Kind::Bigint(value)) => (Value::Int(value), Type::BigInt),
        Some(Kind::DoublePrecision(value)) => (Value::Double(value), Type::Double),
        Some(Kind::Text(value)) => (Value::Text(value), Type::Unknown),
        Some(Kind::Boolean(value)) => (Value::Bool(value), Type::Boolean),
        Some(Kind::Bytea(value)) => (Value::Bytes(value.into()), Type::Bytea),
        Some(Kind::TimestamptzMicros(value)) => (Value::TimestampTz(value), Type::TimestampTz),
        Some(Kind::Numeric(text)) => {
            let value = Value::from_text(&text, Type::Numeric, &Env::default());
            (value.map_err(|error| wrong(error.message))?, Type::Numeric)
        }
    })
}

/// The transaction that a request names.
pub(super) fn scope(selector: Option<v1::TransactionSelector>) -> Result<Scope, Failure> {
    let Some(selector) = selector.and_then(|selector| selector.selector) else {
        return Ok(Scope::Own);
    };
    Ok(match selector {
        Selector::Id(id) => Scope::Existing(convert::txn_id(Some(id))?),
        Selector::Begin(options) => {
            let options = convert::read_write(options)?;
            Scope::Begin { retry_of: options.retry_of, max_age: options.max_age }
        }
        Selector::SingleUse(options) => Scope::ReadOnly(match convert::read_bound(options)? {
            ReadBound::Strong => Begin::ReadOnly,
            ReadBound::ExactTimestamp(at) => Begin::AsOf(at),
            ReadBound::ExactStaleness(age) => Begin::Ago(age),
            ReadBound::MaxStaleness(age) => Begin::MaxStaleness(age),
        }),
    })
}

/// A column of a result.
pub(super) fn column(column: &OutputColumn) -> v1::SqlColumn {
    let ty = match column.ty {
        Type::Unknown | Type::Text => v1::SqlType::Text,
        Type::Boolean => v1::SqlType::Boolean,
        Type::SmallInt => v1::SqlType::Smallint,
        Type::Int => v1::SqlType::Int,
        Type::BigInt => v1::SqlType::Bigint,
        Type::Numeric => v1::SqlType::Numeric,
        Type::Double => v1::SqlType::DoublePrecision,
        Type::Bytea => v1::SqlType::Bytea,
        Type::TimestampTz => v1::SqlType::Timestamptz,
    };
    v1::SqlColumn { name: column.name.clone(), r#type: ty.into() }
}

/// A value of a result.
pub(super) fn value(value: Value) -> v1::Value {
    let kind = match value {
        Value::Null => return v1::Value::null(),
        Value::Bool(value) => Kind::Boolean(value),
        Value::Int(value) => Kind::Bigint(value),
        Value::Double(value) => Kind::DoublePrecision(value),
        Value::Numeric(value) => Kind::Numeric(value.to_string()),
        Value::Text(value) => Kind::Text(value),
        Value::Bytes(value) => Kind::Bytea(value.into()),
        Value::TimestampTz(value) => Kind::TimestamptzMicros(value),
    };
    v1::Value { kind: Some(kind) }
}

/// How a statement ended.
pub(super) fn summary(summary: Summary, status: Status) -> v1::ExecuteSqlResponse {
    let status = match status {
        Status::Idle => v1::SqlTransactionStatus::Idle,
        Status::ReadWrite => v1::SqlTransactionStatus::ReadWrite,
        Status::ReadOnly => v1::SqlTransactionStatus::ReadOnly,
        Status::Failed => v1::SqlTransactionStatus::Failed,
    };
    let summary = v1::SqlSummary {
        tag: summary.tag,
        rows: summary.rows,
        notices: summary.notices,
        status: status.into(),
        commit_timestamp: summary.commit.commit_ts.nanos(),
        commit_wait_nanos: summary.commit.commit_wait,
        read_timestamp: summary.read_at.map_or(0, |at| at.nanos()),
        retries: summary.retries,
    };
    v1::ExecuteSqlResponse { summary: Some(summary), ..Default::default() }
}

/// What a batch answers.
pub(super) fn batch(result: BatchResult) -> v1::ExecuteSqlBatchResponse {
    let results = result.results.into_iter().map(|one| v1::SqlResult {
        columns: one.columns.iter().map(column).collect(),
        rows: one
            .rows
            .into_iter()
            .map(|row| v1::RowValues { values: row.into_iter().map(value).collect() })
            .collect(),
        tag: one.tag,
        rows_affected: one.count,
    });
    v1::ExecuteSqlBatchResponse {
        results: results.collect(),
        transaction: result.begun.map(Into::into),
        commit_timestamp: result.commit.commit_ts.nanos(),
        retries: result.retries,
    }
}

fn kind_of(error: &SqlError) -> ErrorKind {
    match &error.origin {
        Origin::Statement => match error.state {
            SqlState::INTERNAL_ERROR => ErrorKind::Internal,
            SqlState::QUERY_CANCELED => ErrorKind::Cancelled,
            SqlState::SNAPSHOT_TOO_OLD => ErrorKind::BelowThreshold,
            _ => ErrorKind::Sql,
        },
        Origin::Aborted(abort) => match abort {
            Abort::Wounded { .. } => ErrorKind::AbortedWounded,
            Abort::LocksLost => ErrorKind::AbortedLocksLost,
            Abort::Idle => ErrorKind::AbortedIdle,
            Abort::TooOld => ErrorKind::AbortedTooOld,
            Abort::Logged => ErrorKind::AbortedLogged,
            Abort::LeaseEnded => ErrorKind::AbortedLeaseEnded,
            Abort::SchemaChanged => ErrorKind::AbortedSchemaChanged,
            Abort::Gateway => ErrorKind::AbortedGateway,
        },
        Origin::Unavailable(lack) => match lack {
            Lack::Shard => ErrorKind::Unavailable,
            Lack::Clock => ErrorKind::ClockUnsure,
            Lack::Room => ErrorKind::Overloaded,
            Lack::Node => ErrorKind::Stopping,
        },
        Origin::NotHere { .. } => ErrorKind::TransactionNotHere,
        Origin::OutcomeUnknown { for_good: true, .. } => ErrorKind::OutcomeNoLongerKnown,
        Origin::OutcomeUnknown { for_good: false, .. } => ErrorKind::OutcomeUnknown,
    }
}

/// A statement that failed; in a batch, which one.
pub(super) fn failure(error: SqlError, statement: Option<usize>) -> Failure {
    let kind = kind_of(&error);
    let hint = error.hint.clone().unwrap_or_default();
    let mut failure = Failure::new(kind, error.message, &hint);
    // What may have been committed has another origin: nothing is to be looked up.
    if kind == ErrorKind::Internal {
        failure.detail.retry = v1::Retry::Never.into();
    }
    failure.detail.transaction = error.over.map(|id| (*id).into());
    match error.origin {
        Origin::Aborted(Abort::Wounded { by }) => failure.detail.wounded_by = Some(by.into()),
        Origin::NotHere { id } => failure.detail.transaction = Some(id.into()),
        Origin::OutcomeUnknown { id, coordinator, .. } => {
            failure.detail.transaction = Some(id.into());
            // Without a key nobody knows whom to ask, and another key would ask the wrong shard.
            if !coordinator.as_bytes().is_empty() {
                failure.detail.coordinator_key = coordinator_key::name(&id, &coordinator);
            }
        }
        Origin::Statement | Origin::Aborted(_) | Origin::Unavailable(_) => {}
    }
    failure.detail.sql = Some(v1::SqlError {
        sqlstate: error.state.0.to_owned(),
        detail: error.detail.unwrap_or_default(),
        hint,
        position: error.position.unwrap_or_default(),
        statement: statement.and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
    });
    failure
}

/// Of a statement in a transaction that is over with it: the whole transaction may be tried again, not the
/// statement alone.
pub(super) fn ended_transaction(failure: &mut Failure) {
    if failure.detail.retry() == v1::Retry::Request {
        failure.detail.retry = v1::Retry::Transaction.into();
    }
}
