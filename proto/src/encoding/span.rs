//! Spans of keys: tables, beginnings of the primary key, ranges.
//!
//! Bounds may be partial: `[1]` in a table with key `(a, b)` stands for all rows with `a = 1`. Lower and
//! upper are meant in the order of the keys, so for a descending column the higher value comes first.

use super::EncodingLimits;
use super::datum::Datum;
use super::error::EncodeError;
use super::key::{header, prefix};
use super::schema::TableSchema;
use crate::{Key, KeySpan, TableId};
use std::ops::Bound;

/// Every key of a table. Ends where the next table begins.
#[must_use]
pub fn table_span(table: TableId) -> KeySpan {
    let start = header(table);
    let end = table.0.checked_add(1).map_or_else(|| after(start.clone()), |id| header(TableId(id)));
    KeySpan::new(Key::from(start), Key::from(end))
}

/// Every key whose first columns have those values.
///
/// # Errors
///
/// Values that do not fit the primary key, or a key past the limit.
pub fn prefix_span(
    schema: &TableSchema,
    key_values: &[Datum],
    limits: &EncodingLimits,
) -> Result<KeySpan, EncodeError> {
    if key_values.is_empty() {
        return Ok(table_span(schema.id()));
    }
    let begin = prefix(schema, key_values.iter(), limits)?;
    let start = Key::from(begin.as_slice());
    Ok(KeySpan::new(start, Key::from(after(begin))))
}

/// Every key of a table between two bounds, each of which may be partial. An included bound includes
/// every key that begins with it; an excluded one excludes them all.
///
/// # Errors
///
/// Values that do not fit the primary key, or a key past the limit.
pub fn range_span(
    schema: &TableSchema,
    lower: Bound<&[Datum]>,
    upper: Bound<&[Datum]>,
    limits: &EncodingLimits,
) -> Result<KeySpan, EncodeError> {
    let begin = |values: &[Datum]| prefix(schema, values.iter(), limits);
    let table = table_span(schema.id());
    let start = match lower {
        Bound::Included(values) => Key::from(begin(values)?),
        Bound::Excluded(values) => Key::from(after(begin(values)?)),
        Bound::Unbounded => table.start,
    };
    let end = match upper {
        Bound::Included(values) => Key::from(after(begin(values)?)),
        Bound::Excluded(values) => Key::from(begin(values)?),
        Bound::Unbounded => return Ok(KeySpan { start, end: table.end }),
    };
    Ok(KeySpan::new(start, end))
}

/// Where a shard begins whose first row has those values, or the first ones of its primary key.
///
/// # Errors
///
/// Values that do not fit the primary key, or a key past the limit.
pub fn split_key(
    schema: &TableSchema,
    key_values: &[Datum],
    limits: &EncodingLimits,
) -> Result<Key, EncodeError> {
    prefix(schema, key_values.iter(), limits).map(Key::from)
}

/// The lowest bytes above everything that begins with `prefix`.
fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return prefix;
        }
    }
    unreachable!("a key begins with its key space, which is never FF")
}
