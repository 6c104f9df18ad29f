//! From what the gateway answers to the messages of `spandrel.v1`.

use proto::encoding::{ColumnType, Datum, TableSchema};
use proto::rpc::v1::{self, value::Kind};
use truetime::Timestamp;

use crate::gateway::api::{Begun, Committed, TransactionHandle};

/// A value.
pub(super) fn value(datum: Datum) -> v1::Value {
    let kind = match datum {
        Datum::Null => Kind::Null(v1::Null::Value.into()),
        Datum::Bool(value) => Kind::Boolean(value),
        Datum::BigInt(value) => Kind::Bigint(value),
        Datum::Double(value) => Kind::DoublePrecision(value),
        Datum::Text(value) => Kind::Text(value),
        Datum::Bytes(value) => Kind::Bytea(value.into()),
        Datum::TimestampTz(value) => Kind::TimestamptzMicros(value),
    };
    v1::Value { kind: Some(kind) }
}

/// A row that exists.
pub(super) fn row(timestamp: Timestamp, values: Vec<Datum>) -> v1::Row {
    let values = values.into_iter().map(value).collect();
    v1::Row { commit_timestamp: timestamp.nanos(), values }
}

/// What a row or a value takes besides its bytes.
const FIXED: usize = 16;

/// About how many bytes a row takes in a message.
pub(super) fn row_size(row: &v1::Row) -> usize {
    FIXED + row.values.iter().map(value_size).sum::<usize>()
}

/// About how many bytes a value takes in a message.
pub(super) fn value_size(value: &v1::Value) -> usize {
    FIXED
        + match &value.kind {
            Some(Kind::Text(text) | Kind::Numeric(text)) => text.len(),
            Some(Kind::Bytea(bytes)) => bytes.len(),
            Some(
                Kind::Null(_)
                | Kind::Boolean(_)
                | Kind::Bigint(_)
                | Kind::DoublePrecision(_)
                | Kind::TimestamptzMicros(_),
            )
            | None => 0,
        }
}

/// A transaction that was begun.
pub(super) fn begun(begun: Begun) -> v1::BeginResponse {
    match begun.transaction {
        TransactionHandle::ReadWrite(id) => {
            v1::BeginResponse { transaction: Some(id.into()), read_timestamp: 0 }
        }
        TransactionHandle::ReadOnly { at, .. } => {
            v1::BeginResponse { transaction: None, read_timestamp: at.nanos() }
        }
    }
}

/// A commit.
pub(super) fn committed(committed: Committed) -> v1::CommitResponse {
    v1::CommitResponse {
        commit_timestamp: committed.commit_ts.nanos(),
        commit_wait_nanos: committed.commit_wait,
        participants: committed.participants,
    }
}

/// A table.
pub(super) fn table(schema: &TableSchema) -> v1::Table {
    let columns = schema.columns();
    v1::Table {
        name: schema.name().to_owned(),
        id: schema.id().0,
        columns: columns
            .iter()
            .map(|column| v1::Column {
                name: column.name.clone(),
                r#type: column_type(column.column_type).into(),
                not_null: column.not_null,
                default_expression: column.default.clone().unwrap_or_default(),
            })
            .collect(),
        primary_key: schema.key_positions().iter().map(|at| columns[*at].name.clone()).collect(),
    }
}

fn column_type(column_type: ColumnType) -> v1::ColumnType {
    match column_type {
        ColumnType::BigInt => v1::ColumnType::Bigint,
        ColumnType::DoublePrecision => v1::ColumnType::DoublePrecision,
        ColumnType::Text => v1::ColumnType::Text,
        ColumnType::Boolean => v1::ColumnType::Boolean,
        ColumnType::Bytea => v1::ColumnType::Bytea,
        ColumnType::TimestampTz => v1::ColumnType::Timestamptz,
        ColumnType::SmallInt => v1::ColumnType::Smallint,
        ColumnType::Int => v1::ColumnType::Int,
    }
}
