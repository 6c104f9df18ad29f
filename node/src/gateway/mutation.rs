//! From mutations to full-row writes: what must be read first, and what is written then.
//!
//! Example: `Update id = 7, balance = 3` needs row 7 under an exclusive lock, for its other columns and for the
//! proof that it exists. If the transaction read it `FOR UPDATE` it is known and nothing is asked. A `Replace`
//! never needs a read.

use proto::encoding::{Datum, EncodeError, EncodingLimits, TableSchema, encode_row};
use proto::{Key, KeySpan, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use txn::message::Write;
use txn::transaction::Transaction;

use super::catalog::Catalog;
use super::error::{Error, InvalidRequest, Subject};
use super::keys::{columns_of, is_whole_row, key_of_given, point_of, row_of, span_of};
use proto::table::{Mutation, WriteKind};

/// One row's change, or one range to delete, with everything resolved.
#[derive(Debug)]
pub(super) enum Step {
    Write {
        kind: WriteKind,
        schema: Arc<TableSchema>,
        /// Shared by the rows of one mutation.
        columns: Arc<[usize]>,
        key: Key,
        row: Vec<Datum>,
    },
    Delete {
        key: Key,
    },
    DeleteRange {
        span: KeySpan,
    },
}

/// Mutations on their way to become writes.
#[derive(Debug)]
pub(super) struct Forming {
    steps: Vec<Step>,
    /// Rows read for it; `None` for those that do not exist.
    fetched: BTreeMap<Key, Option<Value>>,
}

/// Resolves names and encodes keys.
pub(super) fn resolve(
    mutations: Vec<Mutation>,
    catalog: &Catalog,
    limits: &EncodingLimits,
) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for mutation in mutations {
        match mutation {
            Mutation::Write { kind, table, columns, rows } => {
                let schema = catalog.get(&table)?;
                let columns: Arc<[usize]> = columns_of(&schema, &columns)?.into();
                for row in rows {
                    if row.len() != columns.len() {
                        let (expected, found) = (columns.len(), row.len());
                        let table = schema.name().to_owned();
                        return Err(EncodeError::Count { table, expected, found }.into());
                    }
                    let key = key_of_given(&schema, &columns, &row, limits)?;
                    let (schema, columns) = (Arc::clone(&schema), Arc::clone(&columns));
                    steps.push(Step::Write { kind, schema, columns, key, row });
                }
            }
            Mutation::Delete { table, keys } => {
                let schema = catalog.get(&table)?;
                for point in &keys.points {
                    steps.push(Step::Delete { key: point_of(&schema, point, limits)? });
                }
                for range in &keys.ranges {
                    steps.push(Step::DeleteRange { span: span_of(&schema, range, limits)? });
                }
            }
        }
    }
    Ok(steps)
}

/// The smallest key that the steps write: where a single-use commit has its coordinator.
pub(super) fn coordinator_of(steps: &[Step]) -> Result<Key, Error> {
    let mut smallest: Option<&Key> = None;
    for step in steps {
        let key = match step {
            Step::Write { key, .. } | Step::Delete { key } => key,
            Step::DeleteRange { .. } => return Err(InvalidRequest::RangeInSingleUse.into()),
        };
        if smallest.is_none_or(|smallest| key < smallest) {
            smallest = Some(key);
        }
    }
    smallest.cloned().ok_or_else(|| InvalidRequest::NoMutations.into())
}

impl Forming {
    pub(super) fn new(steps: Vec<Step>) -> Self {
        Forming { steps, fetched: BTreeMap::new() }
    }

    /// What must be read under exclusive locks before [`Forming::writes`].
    pub(super) fn missing(&self, transaction: &Transaction) -> Vec<KeySpan> {
        let mut spans = Vec::new();
        for step in &self.steps {
            match step {
                Step::Write { kind, schema, columns, key, .. } => {
                    let blind = match kind {
                        WriteKind::Insert | WriteKind::Update => false,
                        WriteKind::InsertOrUpdate => is_whole_row(schema, columns),
                        WriteKind::Replace => true,
                    };
                    if !blind && transaction.known(key).is_none() {
                        spans.push(KeySpan::point(key.clone()));
                    }
                }
                Step::Delete { .. } => {}
                Step::DeleteRange { span } => spans.push(span.clone()),
            }
        }
        spans
    }

    /// Takes in what was read for `spans`.
    pub(super) fn fetched(&mut self, spans: &[KeySpan], rows: Vec<txn::message::Row>) {
        for key in spans.iter().filter_map(KeySpan::as_point) {
            self.fetched.insert(key.clone(), None);
        }
        for row in rows {
            self.fetched.insert(row.key, Some(row.value));
        }
    }

    /// The writes, in key order, once nothing is missing.
    pub(super) fn writes(
        self,
        transaction: &Transaction,
        limits: &EncodingLimits,
    ) -> Result<Vec<Write>, Error> {
        let mut staged: BTreeMap<Key, Option<Value>> = BTreeMap::new();
        for step in self.steps {
            match step {
                Step::Write { kind, schema, columns, key, row } => {
                    let now = current(&key, &staged, transaction, &self.fetched);
                    let whole = whole_row(kind, &schema, &columns, &key, row, now)?;
                    let value = encode_row(&schema, &whole, limits)?;
                    staged.insert(key, Some(value));
                }
                Step::Delete { key } => {
                    staged.insert(key, None);
                }
                Step::DeleteRange { span } => {
                    let there: BTreeSet<Key> = staged
                        .keys()
                        .chain(self.fetched.keys())
                        .chain(transaction.buffer().range(&span).map(|(key, _)| key))
                        .filter(|key| span.contains(key))
                        .filter(|key| current(key, &staged, transaction, &self.fetched).is_some())
                        .cloned()
                        .collect();
                    staged.extend(there.into_iter().map(|key| (key, None)));
                }
            }
        }
        Ok(staged.into_iter().map(|(key, value)| Write { key, value }).collect())
    }
}

/// The row as the transaction sees it after the steps so far.
fn current<'a>(
    key: &Key,
    staged: &'a BTreeMap<Key, Option<Value>>,
    transaction: &'a Transaction,
    fetched: &'a BTreeMap<Key, Option<Value>>,
) -> Option<&'a Value> {
    staged
        .get(key)
        .or_else(|| transaction.buffer().get(key))
        .or_else(|| fetched.get(key))
        .or_else(|| transaction.known(key))
        .and_then(Option::as_ref)
}

/// The row as the write leaves it, all columns of it.
fn whole_row(
    kind: WriteKind,
    schema: &TableSchema,
    columns: &[usize],
    key: &Key,
    row: Vec<Datum>,
    current: Option<&Value>,
) -> Result<Vec<Datum>, Error> {
    let subject = || {
        let columns = schema.key_positions().iter().map(|at| schema.columns()[*at].name.clone());
        let (table, columns) = (schema.name().to_owned(), columns.collect());
        Subject::Row { table, key: key.clone(), columns }
    };
    let base = match (kind, current) {
        (WriteKind::Insert, Some(_)) => {
            return Err(Error::AlreadyExists { what: subject() });
        }
        (WriteKind::Update, None) => return Err(Error::NotFound { what: subject() }),
        (WriteKind::Update | WriteKind::InsertOrUpdate, Some(value)) => {
            Some(row_of(schema, key, value)?)
        }
        (WriteKind::Insert | WriteKind::InsertOrUpdate, None) | (WriteKind::Replace, _) => None,
    };
    let mut whole = base.unwrap_or_else(|| vec![Datum::Null; schema.columns().len()]);
    for (position, value) in columns.iter().zip(row) {
        whole[*position] = value;
    }
    Ok(whole)
}
