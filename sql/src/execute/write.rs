//! INSERT, UPDATE and DELETE.
//!
//! A statement never sees what it writes: a scan goes on after the keys that were written, and where that does
//! not help (rows that move, an INSERT from its own table) all is read before anything is written.

use proto::encoding::{Datum, TableSchema};
use proto::table::{KeySet, Mutation, TableRef, WriteKind};
use std::collections::BTreeSet;
use std::future::Future;

use super::Written;
use super::memory::size_of_row;
use super::run::{Row, Run, State, collect, next};
use crate::error::{SqlError, SqlState};
use crate::kv::{Kv, Transaction};
use crate::plan::{Delete, Insert, Update};
use crate::scalar::types::Type;
use crate::scalar::value::{GroupKey, Value};

/// Rows and bytes that are left for the commit; more are written on the way.
const ROWS_MAX: usize = 10_000;
const BYTES_MAX: usize = 4 << 20;

/// Mutations of one table on their way.
struct Writer<'a> {
    schema: &'a TableSchema,
    mutations: Vec<Mutation>,
    /// Rows and bytes in the mutations.
    rows: usize,
    bytes: usize,
    written: u64,
}

impl<'a> Writer<'a> {
    fn new(schema: &'a TableSchema) -> Self {
        Writer { schema, mutations: Vec::new(), rows: 0, bytes: 0, written: 0 }
    }

    fn count(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
    }

    /// Writes a whole row.
    fn put(&mut self, kind: WriteKind, row: Row) {
        self.count(size_of_row(&row));
        let row = datums(row);
        if let Some(Mutation::Write { kind: last, rows, .. }) = self.mutations.last_mut()
            && *last == kind
        {
            rows.push(row);
            return;
        }
        let columns = self.schema.columns().iter().map(|column| column.name.clone()).collect();
        let table = TableRef::Id(self.schema.id());
        self.mutations.push(Mutation::Write { kind, table, columns, rows: vec![row] });
    }

    fn delete(&mut self, key: Row) {
        self.count(size_of_row(&key));
        let key = datums(key);
        if let Some(Mutation::Delete { keys, .. }) = self.mutations.last_mut() {
            keys.points.push(key);
            return;
        }
        let keys = KeySet { points: vec![key], ranges: Vec::new() };
        self.mutations.push(Mutation::Delete { table: TableRef::Id(self.schema.id()), keys });
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    /// Buffers what there is in the transaction.
    fn flush<'b, K: Kv>(
        &'b mut self,
        run: &'b mut Run<'_, K>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send + 'b {
        async move {
            let Some(Transaction::ReadWrite { id, .. }) = run.transaction else {
                return Err(read_only());
            };
            (self.rows, self.bytes) = (0, 0);
            run.kv.write(id, std::mem::take(&mut self.mutations)).await
        }
    }

    fn finish(self) -> Written {
        Written { rows: self.written, mutations: self.mutations }
    }
}

fn read_only() -> SqlError {
    let message = "cannot write in a read-only transaction";
    SqlError::new(SqlState::READ_ONLY_SQL_TRANSACTION, message)
}

fn datums(row: Row) -> Vec<Datum> {
    let datum = |value: Value| value.into_datum().expect("columns have types that are stored");
    row.into_iter().map(datum).collect()
}

fn check_writable<K: Kv>(run: &Run<'_, K>) -> Result<(), SqlError> {
    match run.transaction {
        Some(Transaction::ReadWrite { .. }) => Ok(()),
        Some(Transaction::ReadOnly { .. }) | None => Err(read_only()),
    }
}

/// INSERT.
pub(super) fn insert<'a, K: Kv>(
    insert: &'a Insert,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        check_writable(run)?;
        let schema = &*insert.schema;
        let mut writer = Writer::new(schema);
        let mut seen = BTreeSet::new();
        let own = insert.source.scan().is_some_and(|scan| scan.schema.id() == schema.id());
        let mut state = State::of(&insert.source);
        let mut held = match own {
            true => Some(collect(&insert.source, "INSERT from its own table", run).await?),
            false => None,
        };
        loop {
            let rows = match &mut held {
                Some(rows) if rows.is_empty() => None,
                Some(rows) => Some(std::mem::take(rows)),
                None => next(&insert.source, &mut state, run).await?,
            };
            let Some(rows) = rows else { break };
            for row in rows {
                check_nulls(schema, &row, run)?;
                let key = GroupKey(key_of(schema, &row));
                run.memory.take(key.size(), "INSERT")?;
                if let Some(twice) = seen.replace(key) {
                    return Err(duplicate(schema, &twice.0, run));
                }
                writer.put(WriteKind::Insert, row);
                writer.written += 1;
                if writer.is_full() {
                    writer.flush(run).await?;
                }
                if run.tick() {
                    run.breathe().await?;
                }
            }
        }
        Ok(writer.finish())
    }
}

/// UPDATE.
pub(super) fn update<'a, K: Kv>(
    update: &'a Update,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        check_writable(run)?;
        if update.moves {
            return move_rows(update, run).await;
        }
        let mut writer = Writer::new(&update.schema);
        let mut state = State::of(&update.source);
        while let Some(rows) = next(&update.source, &mut state, run).await? {
            for row in rows {
                let row = changed(update, row, run)?;
                writer.put(WriteKind::Replace, row);
                writer.written += 1;
                if writer.is_full() {
                    writer.flush(run).await?;
                }
                if run.tick() {
                    run.breathe().await?;
                }
            }
        }
        Ok(writer.finish())
    }
}

/// An UPDATE that changes primary keys: the rows are taken away and put elsewhere.
fn move_rows<'a, K: Kv>(
    update: &'a Update,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        let schema = &*update.schema;
        let old = collect(&update.source, "UPDATE of primary keys", run).await?;
        let mut old_keys = BTreeSet::new();
        let mut new_keys = BTreeSet::new();
        let mut moved = Vec::with_capacity(old.len());
        for row in old {
            let before = GroupKey(key_of(schema, &row));
            let row = changed(update, row, run)?;
            let after = GroupKey(key_of(schema, &row));
            run.memory.take(before.size() + after.size(), "UPDATE of primary keys")?;
            old_keys.insert(before);
            if let Some(twice) = new_keys.replace(after) {
                return Err(duplicate(schema, &twice.0, run));
            }
            moved.push(row);
            if run.tick() {
                run.breathe().await?;
            }
        }
        let mut writer = Writer::new(schema);
        for key in old_keys.difference(&new_keys) {
            writer.delete(key.0.clone());
            if writer.is_full() {
                writer.flush(run).await?;
            }
        }
        for row in moved {
            // A row may move to where another of them was.
            let taken_over = old_keys.contains(&GroupKey(key_of(schema, &row)));
            let kind = if taken_over { WriteKind::Replace } else { WriteKind::Insert };
            writer.put(kind, row);
            writer.written += 1;
            if writer.is_full() {
                writer.flush(run).await?;
            }
            if run.tick() {
                run.breathe().await?;
            }
        }
        Ok(writer.finish())
    }
}

/// DELETE.
pub(super) fn delete<'a, K: Kv>(
    delete: &'a Delete,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        check_writable(run)?;
        let mut writer = Writer::new(&delete.schema);
        let mut state = State::of(&delete.source);
        while let Some(keys) = next(&delete.source, &mut state, run).await? {
            for key in keys {
                writer.delete(key);
                writer.written += 1;
                if writer.is_full() {
                    writer.flush(run).await?;
                }
                if run.tick() {
                    run.breathe().await?;
                }
            }
        }
        Ok(writer.finish())
    }
}

/// A row after the assignments, all of which see it as it was.
fn changed<K: Kv>(update: &Update, row: Row, run: &mut Run<'_, K>) -> Result<Row, SqlError> {
    let mut evaluator = run.evaluator();
    let values = update.assignments.iter().map(|(_, value)| evaluator.value(value, &row));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let mut row = row;
    for ((column, _), value) in update.assignments.iter().zip(values) {
        row[*column] = value;
    }
    check_nulls(&update.schema, &row, run)?;
    Ok(row)
}

fn key_of(schema: &TableSchema, row: &Row) -> Row {
    schema.key_positions().iter().map(|column| row[*column].clone()).collect()
}

fn check_nulls<K: Kv>(schema: &TableSchema, row: &Row, run: &Run<'_, K>) -> Result<(), SqlError> {
    let columns = schema.columns();
    let mut pairs = row.iter().zip(columns);
    let Some((_, column)) = pairs.find(|(value, column)| column.not_null && value.is_null()) else {
        return Ok(());
    };
    let message = format!(
        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
        column.name,
        schema.name()
    );
    let values = row.iter().zip(columns).map(|(value, column)| match value {
        Value::Null => "null".to_owned(),
        value => value.to_text(Type::of_column(column.column_type), run.env),
    });
    let values: Vec<String> = values.collect();
    let detail = format!("Failing row contains ({}).", values.join(", "));
    Err(SqlError::new(SqlState::NOT_NULL_VIOLATION, message).with_detail(detail))
}

fn duplicate<K: Kv>(schema: &TableSchema, key: &[Value], run: &Run<'_, K>) -> SqlError {
    let columns = schema.key_positions().iter().map(|at| &schema.columns()[*at]);
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (column, value) in columns.zip(key) {
        names.push(column.name.clone());
        values.push(value.to_text(Type::of_column(column.column_type), run.env));
    }
    let table = schema.name();
    let message = format!("duplicate key value violates unique constraint \"{table}_pkey\"");
    let detail = format!("Key ({})=({}) already exists.", names.join(", "), values.join(", "));
    SqlError::new(SqlState::UNIQUE_VIOLATION, message).with_detail(detail)
}
