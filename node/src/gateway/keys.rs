//! From names and values to positions, keys and spans, and from stored rows back to values.

use proto::encoding::{Datum, EncodingLimits, TableSchema, decode_row, key_of, range_span};
use proto::{Key, KeySpan, Value};
use std::collections::BTreeSet;
use std::ops::Bound;

use super::error::{Error, InvalidRequest, Subject};
use proto::table::{KeyBound, KeyRange, KeySet};

/// The positions of columns by name; all, if none is named.
pub(super) fn columns_of(schema: &TableSchema, names: &[String]) -> Result<Vec<usize>, Error> {
    if names.is_empty() {
        return Ok((0..schema.columns().len()).collect());
    }
    names
        .iter()
        .map(|name| {
            schema.position_of(name).ok_or_else(|| {
                let (table, column) = (schema.name().to_owned(), name.clone());
                Error::NotFound { what: Subject::Column { table, column } }
            })
        })
        .collect()
}

/// The key of a whole primary key.
pub(super) fn point_of(
    schema: &TableSchema,
    values: &[Datum],
    limits: &EncodingLimits,
) -> Result<Key, Error> {
    let (expected, got) = (schema.primary_key().len(), values.len());
    if expected != got {
        return Err(InvalidRequest::PartialKey { expected, got }.into());
    }
    Ok(key_of(schema, values, limits)?)
}

/// The span of a range.
pub(super) fn span_of(
    schema: &TableSchema,
    range: &KeyRange,
    limits: &EncodingLimits,
) -> Result<KeySpan, Error> {
    Ok(range_span(schema, bound_of(&range.start), bound_of(&range.end), limits)?)
}

fn bound_of(bound: &KeyBound) -> Bound<&[Datum]> {
    match bound {
        KeyBound::Unbounded => Bound::Unbounded,
        KeyBound::Included(prefix) => Bound::Included(prefix),
        KeyBound::Excluded(prefix) => Bound::Excluded(prefix),
    }
}

/// The spans of a key set, as given.
pub(super) fn spans_of(
    schema: &TableSchema,
    keys: &KeySet,
    limits: &EncodingLimits,
) -> Result<Vec<KeySpan>, Error> {
    let mut spans = Vec::with_capacity(keys.points.len() + keys.ranges.len());
    for point in &keys.points {
        spans.push(KeySpan::point(point_of(schema, point, limits)?));
    }
    for range in &keys.ranges {
        spans.push(span_of(schema, range, limits)?);
    }
    Ok(spans)
}

/// The key of a row given as some columns; `positions` are theirs.
pub(super) fn key_of_given(
    schema: &TableSchema,
    positions: &[usize],
    row: &[Datum],
    limits: &EncodingLimits,
) -> Result<Key, Error> {
    let mut values = Vec::with_capacity(schema.primary_key().len());
    for key_column in schema.key_positions() {
        let given = positions.iter().position(|position| position == key_column);
        let value = given.and_then(|index| row.get(index)).ok_or_else(|| {
            let column = schema.columns()[*key_column].name.clone();
            InvalidRequest::KeyColumnMissing { column }
        })?;
        values.push(value.clone());
    }
    point_of(schema, &values, limits)
}

/// Whether the columns are all columns of the table.
pub(super) fn is_whole_row(schema: &TableSchema, positions: &[usize]) -> bool {
    let distinct: BTreeSet<usize> = positions.iter().copied().collect();
    distinct.len() == schema.columns().len()
}

/// All columns of a stored row.
pub(super) fn row_of(schema: &TableSchema, key: &Key, value: &Value) -> Result<Vec<Datum>, Error> {
    decode_row(schema, key, value).map_err(|error| Error::damaged_row(schema.name(), key, &error))
}
