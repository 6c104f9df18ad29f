//! Writes on their way to a commit.

use crate::error::ClientError;
use proto::rpc::v1::mutation::Operation;
use proto::rpc::v1::{self, RowKey, RowValues, Table, TableRef, Value};
use std::sync::Arc;

/// Writes to commit together, in order. Consecutive ones of one kind to the same columns share one
/// mutation on the wire, so that names are sent once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mutations {
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq)]
struct Change {
    table: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Write { kind: WriteKind, columns: Vec<String>, rows: Vec<RowValues> },
    Delete { keys: Vec<RowKey> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteKind {
    Insert,
    Update,
    InsertOrUpdate,
    Replace,
}

impl Mutations {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Mutations::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// A new row; the commit fails when it exists.
    pub fn insert(&mut self, table: &str, columns: &[&str], values: Vec<Value>) -> &mut Self {
        self.write(WriteKind::Insert, table, columns, values)
    }

    /// Sets columns of a row; the commit fails when it does not exist.
    pub fn update(&mut self, table: &str, columns: &[&str], values: Vec<Value>) -> &mut Self {
        self.write(WriteKind::Update, table, columns, values)
    }

    /// Inserts a row, or sets columns of the one that exists.
    pub fn insert_or_update(
        &mut self,
        table: &str,
        columns: &[&str],
        values: Vec<Value>,
    ) -> &mut Self {
        self.write(WriteKind::InsertOrUpdate, table, columns, values)
    }

    /// Inserts a row, or replaces the whole of it.
    pub fn replace(&mut self, table: &str, columns: &[&str], values: Vec<Value>) -> &mut Self {
        self.write(WriteKind::Replace, table, columns, values)
    }

    /// Removes a row, if it exists.
    pub fn delete(&mut self, table: &str, key: impl Into<RowKey>) -> &mut Self {
        let key = key.into();
        match self.changes.last_mut() {
            Some(Change { table: last, what: What::Delete { keys } }) if last == table => {
                keys.push(key);
            }
            _ => {
                let what = What::Delete { keys: vec![key] };
                self.changes.push(Change { table: table.to_owned(), what });
            }
        }
        self
    }

    fn write(
        &mut self,
        kind: WriteKind,
        table: &str,
        columns: &[&str],
        values: Vec<Value>,
    ) -> &mut Self {
        let row = RowValues { values };
        match self.changes.last_mut() {
            Some(Change { table: last, what: What::Write { kind: k, columns: c, rows } })
                if last == table && *k == kind && c == columns =>
            {
                rows.push(row);
            }
            _ => {
                let columns = columns.iter().map(|&column| column.to_owned()).collect();
                let what = What::Write { kind, columns, rows: vec![row] };
                self.changes.push(Change { table: table.to_owned(), what });
            }
        }
        self
    }

    /// The tables' names, one for each change.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().map(|change| change.table.as_str())
    }

    /// As they are sent. `tables` has one for each change.
    pub(crate) fn to_wire(&self, tables: &[Arc<Table>]) -> Vec<v1::Mutation> {
        let pairs = self.changes.iter().zip(tables);
        pairs.map(|(change, table)| change.to_wire(reference(table))).collect()
    }

    /// The keys of all rows. `tables` has one for each change.
    pub(crate) fn keys(&self, tables: &[Arc<Table>]) -> Result<Vec<v1::WrittenKeys>, ClientError> {
        let pairs = self.changes.iter().zip(tables);
        pairs
            .map(|(change, table)| {
                Ok(v1::WrittenKeys { table: Some(reference(table)), keys: change.keys(table)? })
            })
            .collect()
    }
}

impl Change {
    fn to_wire(&self, table: TableRef) -> v1::Mutation {
        let table = Some(table);
        let operation = match &self.what {
            What::Delete { keys } => Operation::Delete(v1::Delete { table, keys: keys.clone() }),
            What::Write { kind, columns, rows } => {
                let write = v1::Write { table, columns: columns.clone(), rows: rows.clone() };
                match kind {
                    WriteKind::Insert => Operation::Insert(write),
                    WriteKind::Update => Operation::Update(write),
                    WriteKind::InsertOrUpdate => Operation::InsertOrUpdate(write),
                    WriteKind::Replace => Operation::Replace(write),
                }
            }
        };
        v1::Mutation { operation: Some(operation) }
    }

    fn keys(&self, table: &Table) -> Result<Vec<RowKey>, ClientError> {
        let (columns, rows) = match &self.what {
            What::Delete { keys } => return Ok(keys.clone()),
            What::Write { columns, rows, .. } => (columns, rows),
        };
        let missing = |column: &String| ClientError::KeyColumnMissing {
            table: table.name.clone(),
            column: column.clone(),
        };
        let places: Vec<(&String, usize)> = table
            .primary_key
            .iter()
            .map(|key_column| {
                let place = columns.iter().position(|column| column == key_column);
                place.map(|place| (key_column, place)).ok_or_else(|| missing(key_column))
            })
            .collect::<Result<_, _>>()?;
        rows.iter()
            .map(|row| {
                let value = |&(column, place): &(&String, usize)| {
                    row.values.get(place).cloned().ok_or_else(|| missing(column))
                };
                Ok(RowKey { values: places.iter().map(value).collect::<Result<_, _>>()? })
            })
            .collect()
    }
}

/// The short and certain way to name a table.
pub(crate) fn reference(table: &Table) -> TableRef {
    TableRef { name: String::new(), id: table.id }
}

#[cfg(test)]
mod tests {
    use super::Mutations;
    use crate::error::ClientError;
    use proto::rpc::v1::{Table, mutation::Operation};
    use std::sync::Arc;

    fn accounts() -> Arc<Table> {
        Arc::new(Table {
            name: "accounts".to_owned(),
            id: 100,
            columns: Vec::new(),
            primary_key: vec!["region".to_owned(), "id".to_owned()],
        })
    }

    #[test]
    fn rows_of_the_same_shape_share_one_mutation() {
        let mut mutations = Mutations::new();
        mutations
            .update("accounts", &["id", "region"], vec![1.into(), "x".into()])
            .update("accounts", &["id", "region"], vec![2.into(), "x".into()])
            .delete("accounts", ("x", 3))
            .delete("accounts", ("x", 4))
            .insert("accounts", &["id", "region"], vec![5.into(), "x".into()]);
        let tables = vec![accounts(); 3];
        let wire = mutations.to_wire(&tables);
        let rows: Vec<usize> = wire
            .iter()
            .map(|mutation| match mutation.operation.as_ref().unwrap() {
                Operation::Delete(delete) => delete.keys.len(),
                Operation::Insert(write) | Operation::Update(write) => write.rows.len(),
                Operation::InsertOrUpdate(_) | Operation::Replace(_) => 0,
            })
            .collect();
        assert_eq!(rows, [2, 2, 1]);
    }

    #[test]
    fn keys_are_in_the_order_of_the_primary_key() {
        let mut mutations = Mutations::new();
        mutations.replace("accounts", &["id", "x", "region"], vec![1.into(), 0.into(), "e".into()]);
        let keys = mutations.keys(&[accounts()]).unwrap();
        assert_eq!(keys[0].keys, [("e", 1).into()]);
    }

    #[test]
    fn mutation_without_its_whole_key_is_refused() {
        let mut mutations = Mutations::new();
        mutations.insert("accounts", &["id"], vec![1.into()]);
        let error = mutations.keys(&[accounts()]).unwrap_err();
        assert!(
            matches!(error, ClientError::KeyColumnMissing { column, .. } if column == "region")
        );
        let mut short = Mutations::new();
        short.insert("accounts", &["id", "region"], vec![1.into()]);
        assert!(short.keys(&[accounts()]).is_err());
    }
}
