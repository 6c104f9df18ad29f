//! Keys of rows: key space, table, then one field for each column of the primary key.

use super::EncodingLimits;
use super::datum::Datum;
use super::error::{DecodeError, DecodeProblem, EncodeError};
use super::field;
use super::schema::{Direction, TableSchema};
use crate::{Key, TableId};

/// The first byte of every key of a row. All others are reserved.
pub(super) const ROWS: u8 = 0x10;
/// The key space and the table's id.
const HEADER_BYTES: usize = 5;

/// A key, as far as it can be read without a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedKey {
    /// Whose key it is.
    pub table: TableId,
    /// The fields; fewer than the primary key has in a split key.
    pub fields: Vec<(Datum, Direction)>,
}

/// The key of a row, from the values of the primary key in its order.
///
/// # Errors
///
/// Values that do not fit the primary key, or a key past the limit.
pub fn key_of(
    schema: &TableSchema,
    key_values: &[Datum],
    limits: &EncodingLimits,
) -> Result<Key, EncodeError> {
    check_count(schema, schema.primary_key().len(), key_values.len())?;
    prefix(schema, key_values.iter(), limits).map(Key::from)
}

/// The key of a row, from the values of all columns in SQL's order.
///
/// # Errors
///
/// Values that do not fit the primary key, or a key past the limit.
pub fn key_of_row(
    schema: &TableSchema,
    row: &[Datum],
    limits: &EncodingLimits,
) -> Result<Key, EncodeError> {
    check_count(schema, schema.columns().len(), row.len())?;
    prefix(schema, schema.key_positions().iter().map(|at| &row[*at]), limits).map(Key::from)
}

/// The values of the primary key, in its order.
///
/// # Errors
///
/// Bytes that are no key of this table.
pub fn decode_key(schema: &TableSchema, key: &Key) -> Result<Vec<Datum>, DecodeError> {
    let bytes = key.as_bytes();
    let (found, mut at) = decode_header(bytes)?;
    if found != schema.id() {
        let problem = DecodeProblem::Table { expected: schema.id(), found };
        return Err(DecodeError::new(1, problem));
    }
    let mut values = Vec::with_capacity(schema.primary_key().len());
    for (part, position) in schema.primary_key().iter().zip(schema.key_positions()) {
        let (datum, direction, end) = field::decode(bytes, at)?;
        if datum.is_null() {
            let problem = DecodeProblem::NullInKey { column: part.column };
            return Err(DecodeError::new(at, problem));
        }
        let is_expected = datum.fits(schema.columns()[*position].column_type);
        if !is_expected || direction != part.direction {
            return Err(DecodeError::new(at, DecodeProblem::Type { column: part.column }));
        }
        values.push(datum);
        at = end;
    }
    if at < bytes.len() {
        return Err(DecodeError::new(at, DecodeProblem::Trailing));
    }
    Ok(values)
}

/// What can be read of a key, or of a split key, without a schema.
///
/// # Errors
///
/// Bytes that are no key of a row.
pub fn decode_any_key(key: &Key) -> Result<DecodedKey, DecodeError> {
    let bytes = key.as_bytes();
    let (table, mut at) = decode_header(bytes)?;
    let mut fields = Vec::new();
    while at < bytes.len() {
        let (datum, direction, end) = field::decode(bytes, at)?;
        fields.push((datum, direction));
        at = end;
    }
    Ok(DecodedKey { table, fields })
}

/// Whose key it is, when it is one of a row.
#[must_use]
pub fn table_of(key: &Key) -> Option<TableId> {
    decode_header(key.as_bytes()).ok().map(|(table, _)| table)
}

/// The bytes that every key of a table begins with.
pub(super) fn header(table: TableId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.push(ROWS);
    bytes.extend_from_slice(&table.0.to_be_bytes());
    bytes
}

/// The bytes that every key begins with whose first columns have those values.
pub(super) fn prefix<'a>(
    schema: &TableSchema,
    key_values: impl ExactSizeIterator<Item = &'a Datum>,
    limits: &EncodingLimits,
) -> Result<Vec<u8>, EncodeError> {
    let long = || EncodeError::LongKey {
        table: schema.name().to_owned(),
        bytes_max: limits.key_bytes_max,
    };
    if key_values.len() > schema.primary_key().len() {
        check_count(schema, schema.primary_key().len(), key_values.len())?;
    }
    let mut bytes = header(schema.id());
    let parts = schema.primary_key().iter().zip(schema.key_positions());
    for ((part, position), datum) in parts.zip(key_values) {
        let column = &schema.columns()[*position];
        let Some(found) = datum.column_type() else {
            return Err(EncodeError::Null { column: column.name.clone() });
        };
        if !datum.fits(column.column_type) {
            let (column, expected) = (column.name.clone(), column.column_type);
            return Err(EncodeError::Type { column, expected, found });
        }
        // Before the bytes are copied: a value may be as large as a message.
        if bytes.len() + field::size_min(datum) > limits.key_bytes_max {
            return Err(long());
        }
        field::encode(datum, part.direction, &mut bytes);
    }
    if bytes.len() > limits.key_bytes_max {
        return Err(long());
    }
    Ok(bytes)
}

pub(super) fn check_count(
    schema: &TableSchema,
    expected: usize,
    found: usize,
) -> Result<(), EncodeError> {
    if expected == found {
        return Ok(());
    }
    Err(EncodeError::Count { table: schema.name().to_owned(), expected, found })
}

fn decode_header(bytes: &[u8]) -> Result<(TableId, usize), DecodeError> {
    match bytes {
        [ROWS, a, b, c, d, ..] => Ok((TableId(u32::from_be_bytes([*a, *b, *c, *d])), HEADER_BYTES)),
        [] | [ROWS, ..] => Err(DecodeError::new(bytes.len(), DecodeProblem::Truncated)),
        [found, ..] => Err(DecodeError::new(0, DecodeProblem::KeySpace { found: *found })),
    }
}
