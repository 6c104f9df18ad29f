//! Tables as requests name them: which rows to read, what to change, what to create.
//!
//! Example: `KeySet { points: [[7]], ranges: [] }` of `TableRef::Name("account")` is the row whose primary key is 7.
//!
//! Not here: what becomes of a request, and anything of SQL.

use crate::TableId;
use crate::encoding::{Column, Datum};
use serde::{Deserialize, Serialize};

/// Names a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableRef {
    /// By id.
    Id(TableId),
    /// By name.
    Name(String),
}

/// One end of a range of primary keys; fewer values than key columns stand for all keys that start with
/// them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyBound {
    /// No bound.
    Unbounded,
    /// The keys with this prefix are in the range.
    Included(Vec<Datum>),
    /// They are not.
    Excluded(Vec<Datum>),
}

/// A range of primary keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Where it starts.
    pub start: KeyBound,
    /// Where it ends.
    pub end: KeyBound,
}

/// Primary keys of one table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeySet {
    /// Whole keys.
    pub points: Vec<Vec<Datum>>,
    /// Ranges.
    pub ranges: Vec<KeyRange>,
}

impl KeySet {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        let range = KeyRange { start: KeyBound::Unbounded, end: KeyBound::Unbounded };
        KeySet { points: Vec::new(), ranges: vec![range] }
    }
}

/// What a mutation does with its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteKind {
    /// The row must not exist. Columns not given are null.
    Insert,
    /// The row must exist. Columns not given keep their values.
    Update,
    /// Updates the row if it exists, else inserts it.
    InsertOrUpdate,
    /// The row is as given afterwards, whatever it was.
    Replace,
}

/// A change of rows of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Mutation {
    /// Writes rows.
    Write {
        /// How.
        kind: WriteKind,
        /// The table.
        table: TableRef,
        /// The columns given, among them the primary key's.
        columns: Vec<String>,
        /// One value per column for each row.
        rows: Vec<Vec<Datum>>,
    },
    /// Deletes rows, those that do not exist included.
    Delete {
        /// The table.
        table: TableRef,
        /// The rows.
        keys: KeySet,
    },
}

/// A table to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTable {
    /// Its name.
    pub name: String,
    /// Its columns. Their ids are ignored: a new table's are numbered from 1.
    pub columns: Vec<Column>,
    /// The names of the primary key's columns, in key order, all ascending.
    pub primary_key: Vec<String>,
    /// Where it is split from the start: prefixes of primary keys.
    pub splits: Vec<Vec<Datum>>,
}
