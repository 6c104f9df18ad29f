//! From the messages of `spandrel.v1` to what the gateway takes.
//!
//! Every part of a message that the gateway needs is checked here once; what is wrong is named by its
//! field. What depends on a schema (types, names, whole keys) is the gateway's to judge.

use std::time::Duration;

use proto::encoding::{Column, ColumnId, ColumnType, Datum};
use proto::rpc::PriorityIncomplete;
use proto::rpc::v1::{self, mutation::Operation, transaction_selector, value::Kind};
use proto::{Priority, TableId, TxnId};
use truetime::Timestamp;
use txn::lock_table::LockMode;

use super::coordinator_key;
use crate::gateway::api::{
    self, ReadBound, ReadWriteOptions, Selector, TransactionHandle, TransactionOptions,
};
use crate::system::ddl::SHARDS_MAX;
use proto::table::NewTable;
use proto::table::{KeyBound, Mutation, WriteKind};

/// A table whose key starts with BYTEA gets so many shards when nothing else is asked for.
pub(super) const SPREAD_SHARDS: u32 = 8;

/// A message that asks for nothing that could be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    /// A part is not there.
    #[error("`{field}` is missing; set it")]
    Missing {
        /// Where.
        field: &'static str,
    },
    /// A part has a value that it cannot have.
    #[error("`{field}` {problem}")]
    Wrong {
        /// Where.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: &'static str,
    },
    /// A value without a kind: a newer client's type.
    #[error("`{field}` has a value of a type that this server does not know; upgrade the server")]
    UnknownType {
        /// Where.
        field: &'static str,
    },
    /// A priority that names no first attempt.
    #[error("`{field}`: {source}")]
    Priority {
        /// Where.
        field: &'static str,
        /// What is missing.
        source: PriorityIncomplete,
    },
    /// More shards than a table may begin with.
    #[error("`placement` asks for {shards} shards; a table may begin with {SHARDS_MAX}")]
    TooManyShards {
        /// How many.
        shards: u64,
    },
}

fn missing(field: &'static str) -> BadRequest {
    BadRequest::Missing { field }
}

fn wrong(field: &'static str, problem: &'static str) -> BadRequest {
    BadRequest::Wrong { field, problem }
}

/// A value.
pub(super) fn datum(value: v1::Value, field: &'static str) -> Result<Datum, BadRequest> {
    Ok(match value.kind.ok_or(BadRequest::UnknownType { field })? {
        Kind::Null(_) => Datum::Null,
        Kind::Bigint(value) => Datum::BigInt(value),
        Kind::DoublePrecision(value) => Datum::Double(value),
        Kind::Text(value) => Datum::Text(value),
        Kind::Boolean(value) => Datum::Bool(value),
        Kind::Bytea(value) => Datum::Bytes(value.into()),
        Kind::TimestamptzMicros(value) => Datum::TimestampTz(value),
        Kind::Numeric(_) => return Err(wrong(field, "is NUMERIC, which no column is")),
    })
}

fn data(values: Vec<v1::Value>, field: &'static str) -> Result<Vec<Datum>, BadRequest> {
    values.into_iter().map(|value| datum(value, field)).collect()
}

fn keys(keys: Vec<v1::RowKey>, field: &'static str) -> Result<Vec<Vec<Datum>>, BadRequest> {
    keys.into_iter().map(|key| data(key.values, field)).collect()
}

/// The name of a table.
pub(super) fn table_ref(
    table: Option<v1::TableRef>,
    field: &'static str,
) -> Result<proto::table::TableRef, BadRequest> {
    match table {
        None => Err(missing(field)),
        Some(v1::TableRef { id: 0, name }) if name.is_empty() => {
            Err(wrong(field, "has neither name nor id; set one"))
        }
        Some(v1::TableRef { id: 0, name }) => Ok(proto::table::TableRef::Name(name)),
        Some(v1::TableRef { id, .. }) => Ok(proto::table::TableRef::Id(TableId(id))),
    }
}

/// The id of a transaction.
pub(super) fn txn_id(id: Option<v1::TransactionId>) -> Result<TxnId, BadRequest> {
    id.map(TxnId::from).ok_or_else(|| missing("transaction"))
}

fn priority(
    priority: Option<v1::Priority>,
    field: &'static str,
) -> Result<Option<Priority>, BadRequest> {
    let convert = |priority| {
        Priority::try_from(priority).map_err(|source| BadRequest::Priority { field, source })
    };
    priority.map(convert).transpose()
}

/// An age limit; zero is the server's default.
pub(super) fn max_age(milliseconds: u64) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

pub(super) fn read_write(options: v1::ReadWriteOptions) -> Result<ReadWriteOptions, BadRequest> {
    // The client counts attempts; the gateway is told of the attempt before and counts on.
    let retry_of = priority(options.priority, "priority")?
        .map(|this| Priority { attempt: this.attempt - 1, ..this });
    Ok(ReadWriteOptions { retry_of, max_age: max_age(options.max_age_ms) })
}

pub(super) fn read_bound(options: v1::ReadOnlyOptions) -> Result<ReadBound, BadRequest> {
    use v1::read_only_options::Bound;
    Ok(match options.bound {
        None | Some(Bound::Strong(true)) => ReadBound::Strong,
        Some(Bound::Strong(false)) => {
            return Err(wrong("strong", "is false; leave it out or choose another bound"));
        }
        Some(Bound::ExactTimestamp(at)) => ReadBound::ExactTimestamp(Timestamp::from_nanos(at)),
        Some(Bound::ExactStalenessNanos(nanos)) => {
            ReadBound::ExactStaleness(Duration::from_nanos(nanos))
        }
        Some(Bound::MaxStalenessNanos(nanos)) => {
            ReadBound::MaxStaleness(Duration::from_nanos(nanos))
        }
    })
}

/// How to begin.
pub(super) fn begin(request: v1::BeginRequest) -> Result<TransactionOptions, BadRequest> {
    use v1::transaction_options::Mode;
    match request.options.and_then(|options| options.mode) {
        None => Err(missing("options.mode")),
        Some(Mode::ReadWrite(options)) => Ok(TransactionOptions::ReadWrite(read_write(options)?)),
        Some(Mode::ReadOnly(options)) => Ok(TransactionOptions::ReadOnly(read_bound(options)?)),
    }
}

/// In which transaction a read is.
pub(super) fn selector(selector: Option<v1::TransactionSelector>) -> Result<Selector, BadRequest> {
    use transaction_selector::Selector as Wire;
    match selector.and_then(|selector| selector.selector) {
        None => Err(missing("transaction.selector")),
        Some(Wire::SingleUse(options)) => Ok(Selector::SingleUse(read_bound(options)?)),
        Some(Wire::Id(id)) => Ok(Selector::Existing(TransactionHandle::ReadWrite(id.into()))),
        Some(Wire::Begin(options)) => {
            Ok(Selector::Begin(TransactionOptions::ReadWrite(read_write(options)?)))
        }
    }
}

/// The locks of a read.
pub(super) fn lock_mode(number: i32) -> Result<LockMode, BadRequest> {
    match v1::LockMode::try_from(number) {
        Ok(v1::LockMode::Shared) => Ok(LockMode::Shared),
        Ok(v1::LockMode::ForUpdate) => Ok(LockMode::Exclusive),
        Err(_) => Err(wrong("lock", "is a mode that this server does not know")),
    }
}

/// Which rows.
pub(super) fn key_set(set: Option<v1::KeySet>) -> Result<proto::table::KeySet, BadRequest> {
    let set = set.unwrap_or_default();
    let points = keys(set.points, "keys.points")?;
    let ranges = set.ranges.into_iter().map(key_range).collect::<Result<_, _>>()?;
    Ok(proto::table::KeySet { points, ranges })
}

fn key_range(range: v1::KeyRange) -> Result<proto::table::KeyRange, BadRequest> {
    use v1::key_range::{End, Start};
    const FIELD: &str = "keys.ranges";
    let start = match range.start {
        None => KeyBound::Unbounded,
        Some(Start::StartClosed(key)) => KeyBound::Included(data(key.values, FIELD)?),
        Some(Start::StartOpen(key)) => KeyBound::Excluded(data(key.values, FIELD)?),
    };
    let end = match range.end {
        None => KeyBound::Unbounded,
        Some(End::EndClosed(key)) => KeyBound::Included(data(key.values, FIELD)?),
        Some(End::EndOpen(key)) => KeyBound::Excluded(data(key.values, FIELD)?),
    };
    Ok(proto::table::KeyRange { start, end })
}

/// What is written.
pub(super) fn mutations(mutations: Vec<v1::Mutation>) -> Result<Vec<Mutation>, BadRequest> {
    mutations.into_iter().map(mutation).collect()
}

fn mutation(mutation: v1::Mutation) -> Result<Mutation, BadRequest> {
    let (kind, write) = match mutation.operation {
        None => return Err(missing("mutations.operation")),
        Some(Operation::Delete(v1::Delete { table, keys: rows })) => {
            let table = table_ref(table, "mutations.delete.table")?;
            let points = keys(rows, "mutations.delete.keys")?;
            return Ok(Mutation::Delete { table, keys: points_only(points) });
        }
        Some(Operation::Insert(write)) => (WriteKind::Insert, write),
        Some(Operation::Update(write)) => (WriteKind::Update, write),
        Some(Operation::InsertOrUpdate(write)) => (WriteKind::InsertOrUpdate, write),
        Some(Operation::Replace(write)) => (WriteKind::Replace, write),
    };
    let table = table_ref(write.table, "mutations.table")?;
    if write.columns.is_empty() {
        return Err(missing("mutations.columns"));
    }
    let rows = write
        .rows
        .into_iter()
        .map(|row| data(row.values, "mutations.rows"))
        .collect::<Result<_, _>>()?;
    Ok(Mutation::Write { kind, table, columns: write.columns, rows })
}

fn points_only(points: Vec<Vec<Datum>>) -> proto::table::KeySet {
    proto::table::KeySet { points, ranges: Vec::new() }
}

/// What a commit commits.
pub(super) fn commit(
    target: Option<v1::commit_request::Transaction>,
) -> Result<api::CommitTarget, BadRequest> {
    use v1::commit_request::Transaction;
    match target {
        None => Err(missing("transaction")),
        Some(Transaction::Id(id)) => Ok(api::CommitTarget::Transaction(id.into())),
        Some(Transaction::SingleUse(commit)) => {
            let id: TxnId = commit.id.map(TxnId::from).ok_or_else(|| missing("single_use.id"))?;
            let coordinator = coordinator_key::open(&id, &commit.coordinator_key);
            let coordinator = coordinator.ok_or_else(|| {
                let wrong_key = "is not the one that ResolveCommit gave with this id";
                wrong("single_use.coordinator_key", wrong_key)
            })?;
            let priority = priority(commit.priority, "single_use.priority")?;
            Ok(api::CommitTarget::SingleUse { id, coordinator, priority })
        }
    }
}

/// The keys that a commit writes, as mutations of the same keys.
pub(super) fn written_keys(writes: Vec<v1::WrittenKeys>) -> Result<Vec<Mutation>, BadRequest> {
    writes
        .into_iter()
        .map(|write| {
            let table = table_ref(write.table, "writes.table")?;
            let points = keys(write.keys, "writes.keys")?;
            Ok(Mutation::Delete { table, keys: points_only(points) })
        })
        .collect()
}

/// A table to be.
pub(super) fn new_table(request: v1::CreateTableRequest) -> Result<NewTable, BadRequest> {
    let table = request.table.ok_or_else(|| missing("table"))?;
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in table.columns {
        let column_type = column_type(column.r#type())?;
        // Key columns are never null, said or not.
        let not_null = column.not_null || table.primary_key.contains(&column.name);
        let id = ColumnId::default();
        columns.push(Column { name: column.name, id, column_type, not_null, default: None });
    }
    let first_key = table.primary_key.first();
    let key_type = first_key
        .and_then(|name| columns.iter().find(|column| column.name == *name))
        .map(|column| column.column_type);
    let splits = splits(request.placement, key_type)?;
    let (name, primary_key) = (table.name, table.primary_key);
    Ok(NewTable { name, columns, primary_key, splits })
}

fn column_type(column_type: v1::ColumnType) -> Result<ColumnType, BadRequest> {
    Ok(match column_type {
        v1::ColumnType::Unspecified => {
            return Err(wrong("table.columns.type", "is not set, or unknown to this server"));
        }
        v1::ColumnType::Bigint => ColumnType::BigInt,
        v1::ColumnType::DoublePrecision => ColumnType::DoublePrecision,
        v1::ColumnType::Text => ColumnType::Text,
        v1::ColumnType::Boolean => ColumnType::Boolean,
        v1::ColumnType::Bytea => ColumnType::Bytea,
        v1::ColumnType::Timestamptz => ColumnType::TimestampTz,
        v1::ColumnType::Smallint => ColumnType::SmallInt,
        v1::ColumnType::Int => ColumnType::Int,
    })
}

fn splits(
    placement: Option<v1::create_table_request::Placement>,
    key_type: Option<ColumnType>,
) -> Result<Vec<Vec<Datum>>, BadRequest> {
    use v1::create_table_request::Placement;
    match placement {
        None if key_type == Some(ColumnType::Bytea) => {
            let step = u8::try_from(256 / SPREAD_SHARDS).expect("a part of 256");
            Ok((1..SPREAD_SHARDS)
                .filter_map(|shard| u8::try_from(shard).ok()?.checked_mul(step))
                .map(|first| vec![Datum::Bytes(vec![first])])
                .collect())
        }
        None => Ok(Vec::new()),
        Some(Placement::SplitAt(at)) => {
            let splits = keys(at.keys, "split_at.keys")?;
            if splits.iter().any(Vec::is_empty) {
                return Err(wrong("split_at.keys", "has a key without values"));
            }
            Ok(splits)
        }
        Some(Placement::SplitEvenly(even)) => {
            if !key_type.is_some_and(ColumnType::is_integer) {
                let problem = "needs an integer as first key column; use split_at";
                return Err(wrong("split_evenly", problem));
            }
            even_splits(even)
        }
    }
}

fn even_splits(even: v1::SplitEvenly) -> Result<Vec<Vec<Datum>>, BadRequest> {
    let shards = even.shards;
    if shards == 0 {
        return Err(wrong("split_evenly.shards", "is 0; a table has at least one shard"));
    }
    if shards as usize > SHARDS_MAX {
        return Err(BadRequest::TooManyShards { shards: shards.into() });
    }
    let (from, to) = (i128::from(even.from), i128::from(even.to));
    if to - from < i128::from(shards) {
        return Err(wrong("split_evenly", "has fewer numbers from `from` to `to` than shards"));
    }
    (1..shards)
        .map(|shard| {
            let at = from + (to - from) * i128::from(shard) / i128::from(shards);
            let at = i64::try_from(at).expect("it lies between two i64");
            Ok(vec![Datum::BigInt(at)])
        })
        .collect()
}

#[cfg(test)]
mod tests;
