//! INSERT, UPDATE and DELETE.
//!
//! A statement never sees what it writes: a scan goes on after the keys that were written, and where that does
//! not help (rows that move, an INSERT from its own table) all is read before anything is written.

use proto::TxnId;
use proto::encoding::{Datum, TableSchema};
use proto::table::{KeySet, Mutation, TableRef, WriteKind};
use std::collections::BTreeSet;
use std::future::Future;

use super::Written;
use super::memory::size_of_row;
use super::run::{Row, Run, State, collect, next};
use crate::error::{SqlError, SqlState};
use crate::kv::{Kv, Transaction};
use crate::plan::node::Node;
use crate::plan::{Delete, Insert, Update};
use crate::scalar::types::Type;
use crate::scalar::value::{GroupKey, Value};

/// Rows and bytes that are left for the commit; more are written on the way.
const ROWS_MAX: usize = 10_000;
const BYTES_MAX: usize = 4 << 20;

/// What becomes of a row.
enum Change {
    /// It is written, whole.
    Put(WriteKind, Row),
    /// That of this key goes.
    Delete(Row),
}

/// Mutations of one table on their way.
struct Writer<'a> {
    transaction: TxnId,
    schema: &'a TableSchema,
    mutations: Vec<Mutation>,
    /// Rows and bytes in the mutations.
    rows: usize,
    bytes: usize,
}

impl<'a> Writer<'a> {
    fn new<K: Kv>(schema: &'a TableSchema, run: &Run<'_, K>) -> Result<Self, SqlError> {
        let Some(Transaction::ReadWrite { id, .. }) = run.transaction else {
            let message = "cannot write in a read-only transaction";
            return Err(SqlError::new(SqlState::READ_ONLY_SQL_TRANSACTION, message));
        };
        Ok(Writer { transaction: id, schema, mutations: Vec::new(), rows: 0, bytes: 0 })
    }

    /// Takes a change, buffers what there is in the transaction once that is a lot, and breathes now and then.
    fn write<'b, K: Kv>(
        &'b mut self,
        change: Change,
        run: &'b mut Run<'_, K>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send + 'b {
        async move {
            self.add(change);
            if self.rows >= ROWS_MAX || self.bytes >= BYTES_MAX {
                (self.rows, self.bytes) = (0, 0);
                run.kv.write(self.transaction, std::mem::take(&mut self.mutations)).await?;
            }
            run.row_done().await
        }
    }

    /// Adds a change to the last mutation, if that is of its kind.
    fn add(&mut self, change: Change) {
        let (Change::Put(_, row) | Change::Delete(row)) = &change;
        self.rows += 1;
        self.bytes += size_of_row(row);
        let table = TableRef::Id(self.schema.id());
        match (change, self.mutations.last_mut()) {
            (Change::Put(kind, row), Some(Mutation::Write { kind: last, rows, .. }))
                if *last == kind =>
            {
                rows.push(datums(row));
            }
            (Change::Put(kind, row), _) => {
                let columns = self.schema.columns().iter().map(|column| column.name.clone());
                let (columns, rows) = (columns.collect(), vec![datums(row)]);
                self.mutations.push(Mutation::Write { kind, table, columns, rows });
            }
            (Change::Delete(key), Some(Mutation::Delete { keys, .. })) => {
                keys.points.push(datums(key));
            }
            (Change::Delete(key), _) => {
                let keys = KeySet { points: vec![datums(key)], ranges: Vec::new() };
                self.mutations.push(Mutation::Delete { table, keys });
            }
        }
    }
}

/// The rows that a statement goes through.
enum Source<'a> {
    /// As they are read.
    Read(&'a Node, State),
    /// All of them were read before.
    Held(Vec<Row>),
}

impl<'a> Source<'a> {
    fn of(node: &'a Node) -> Self {
        Source::Read(node, State::of(node))
    }

    /// The next of them; `None` at the end.
    fn next<'b, K: Kv>(
        &'b mut self,
        run: &'b mut Run<'_, K>,
    ) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'b {
        async move {
            match self {
                Source::Read(node, state) => next(node, state, run).await,
                Source::Held(rows) => {
                    Ok(Some(std::mem::take(rows)).filter(|rows| !rows.is_empty()))
                }
            }
        }
    }
}

/// Writes what `form` makes of each row, after what the writer has already.
fn write_each<'a, K: Kv>(
    mut source: Source<'a>,
    mut writer: Writer<'a>,
    run: &'a mut Run<'_, K>,
    mut form: impl FnMut(Row, &mut Run<'_, K>) -> Result<Change, SqlError> + Send + 'a,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        let mut written = 0;
        while let Some(rows) = source.next(run).await? {
            for row in rows {
                let change = form(row, run)?;
                written += 1;
                writer.write(change, run).await?;
            }
        }
        Ok(Written { rows: written, mutations: writer.mutations })
    }
}

fn datums(row: Row) -> Vec<Datum> {
    let datum = |value: Value| value.into_datum().expect("columns have types that are stored");
    row.into_iter().map(datum).collect()
}

/// INSERT.
pub(super) fn insert<'a, K: Kv>(
    insert: &'a Insert,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        let schema = &*insert.schema;
        let writer = Writer::new(schema, run)?;
        let own = insert.source.scan().is_some_and(|scan| scan.schema.id() == schema.id());
        let source = match own {
            true => Source::Held(collect(&insert.source, "INSERT from its own table", run).await?),
            false => Source::of(&insert.source),
        };
        let mut seen = BTreeSet::new();
        let form = |row: Row, run: &mut Run<'_, K>| {
            check_nulls(schema, &row, run)?;
            let key = GroupKey(key_of(schema, &row));
            run.memory.take(key.size(), "INSERT")?;
            match seen.replace(key) {
                Some(twice) => Err(duplicate(schema, &twice.0, run)),
                None => Ok(Change::Put(WriteKind::Insert, row)),
            }
        };
        write_each(source, writer, run, form).await
    }
}

/// UPDATE.
pub(super) fn update<'a, K: Kv>(
    update: &'a Update,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        let writer = Writer::new(&update.schema, run)?;
        if update.moves {
            return move_rows(update, writer, run).await;
        }
        let form = |row: Row, run: &mut Run<'_, K>| {
            Ok(Change::Put(WriteKind::Replace, changed(update, row, run)?))
        };
        write_each(Source::of(&update.source), writer, run, form).await
    }
}

/// An UPDATE that changes primary keys: the rows are taken away and put elsewhere.
fn move_rows<'a, K: Kv>(
    update: &'a Update,
    mut writer: Writer<'a>,
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
            run.row_done().await?;
        }
        for key in old_keys.difference(&new_keys) {
            writer.write(Change::Delete(key.0.clone()), run).await?;
        }
        let form = |row: Row, _: &mut Run<'_, K>| {
            // A row may move to where another of them was.
            let taken_over = old_keys.contains(&GroupKey(key_of(schema, &row)));
            let kind = if taken_over { WriteKind::Replace } else { WriteKind::Insert };
            Ok(Change::Put(kind, row))
        };
        write_each(Source::Held(moved), writer, run, form).await
    }
}

/// DELETE.
pub(super) fn delete<'a, K: Kv>(
    delete: &'a Delete,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
    async move {
        let writer = Writer::new(&delete.schema, run)?;
        let form = |key: Row, _: &mut Run<'_, K>| Ok(Change::Delete(key));
        write_each(Source::of(&delete.source), writer, run, form).await
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
