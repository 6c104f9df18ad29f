//! The two tables of the simulated workload, and how their rows look to the checker.
//!
//! Both have an id, an amount and a tag that is different in every write, so that the checker can tell which
//! write a read saw. `accounts` is the bank: its amounts add up to the same for ever. `notes` is written
//! blindly, inserted into and deleted from.

use proto::encoding::{Column, ColumnId, ColumnType, Datum, EncodingLimits, TableSchema, key_of};
use proto::table::NewTable;
use proto::table::{KeyBound, KeyRange, KeySet, Mutation, TableRef, WriteKind};
use proto::{Key, KeySpan, Value};

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// The bank.
    Accounts,
    /// Everything else.
    Notes,
}

/// What a row holds beside its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Money, or anything.
    pub amount: i64,
    /// Different in every write.
    pub tag: i64,
}

const COLUMNS: [&str; 3] = ["id", "amount", "tag"];

impl Table {
    /// Both.
    pub const ALL: [Table; 2] = [Table::Accounts, Table::Notes];

    /// Its name in the catalog.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Accounts => "accounts",
            Table::Notes => "notes",
        }
    }

    /// How requests name it.
    #[must_use]
    pub fn reference(self) -> TableRef {
        TableRef::Name(self.name().to_owned())
    }

    /// Its definition, in `shards` shards of `rows / shards` ids each.
    #[must_use]
    pub fn definition(self, rows: i64, shards: i64) -> NewTable {
        let column = |name: &&str| Column {
            id: ColumnId::default(),
            name: (*name).to_owned(),
            column_type: ColumnType::BigInt,
            not_null: true,
            default: None,
        };
        NewTable {
            name: self.name().to_owned(),
            columns: COLUMNS.iter().map(column).collect(),
            primary_key: vec!["id".to_owned()],
            splits: (1..shards).map(|i| vec![Datum::BigInt(rows * i / shards)]).collect(),
        }
    }

    /// The key of a row in histories.
    #[must_use]
    pub fn history_key(self, id: i64) -> Key {
        let mut bytes = vec![if self == Table::Accounts { b'a' } else { b'n' }];
        bytes.extend_from_slice(&id.to_be_bytes());
        Key::from(bytes)
    }

    /// The ids `[from, to)` in histories.
    #[must_use]
    pub fn history_span(self, from: i64, to: i64) -> KeySpan {
        KeySpan::new(self.history_key(from), self.history_key(to))
    }

    /// Writes whole rows.
    #[must_use]
    pub fn write(self, kind: WriteKind, rows: &[(i64, Content)]) -> Mutation {
        Mutation::Write {
            kind,
            table: self.reference(),
            columns: COLUMNS.iter().map(|name| (*name).to_owned()).collect(),
            rows: rows
                .iter()
                .map(|(id, content)| [*id, content.amount, content.tag].map(Datum::BigInt).to_vec())
                .collect(),
        }
    }

    /// Deletes rows.
    #[must_use]
    pub fn delete(self, ids: &[i64]) -> Mutation {
        Mutation::Delete { table: self.reference(), keys: points(ids) }
    }
}

/// The rows of these ids.
#[must_use]
pub fn points(ids: &[i64]) -> KeySet {
    KeySet { points: ids.iter().map(|id| vec![Datum::BigInt(*id)]).collect(), ranges: Vec::new() }
}

/// The rows of the ids `[from, to)`.
#[must_use]
pub fn range(from: i64, to: i64) -> KeySet {
    let range = KeyRange {
        start: KeyBound::Included(vec![Datum::BigInt(from)]),
        end: KeyBound::Excluded(vec![Datum::BigInt(to)]),
    };
    KeySet { points: Vec::new(), ranges: vec![range] }
}

/// A row as a read returned it.
#[must_use]
pub fn row_of(columns: &[Datum]) -> Option<(i64, Content)> {
    let [Datum::BigInt(id), Datum::BigInt(amount), Datum::BigInt(tag)] = columns else {
        return None;
    };
    Some((*id, Content { amount: *amount, tag: *tag }))
}

/// A row's value in histories.
#[must_use]
pub fn history_value(content: Content) -> Value {
    Value::from(format!("{}/{}", content.amount, content.tag).into_bytes())
}

/// The key by which the coordinator of a transaction that writes these rows is found.
#[must_use]
pub fn coordinator_of(schema: &TableSchema, id: i64) -> Option<Key> {
    key_of(schema, &[Datum::BigInt(id)], &EncodingLimits::default()).ok()
}
