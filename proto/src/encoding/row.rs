//! Values of rows: the columns outside the primary key that are not NULL.

use super::EncodingLimits;
use super::datum::{Datum, NAN_BITS};
use super::error::{DecodeError, DecodeProblem, EncodeError};
use super::key::{check_count, decode_key};
use super::schema::{Column, ColumnId, TableSchema};
use crate::{Key, Value};

const VERSION: u8 = 1;

/// How an entry's payload is laid out: enough to skip it without knowing the column.
const FALSE: u64 = 0;
const TRUE: u64 = 1;
const INTEGER: u64 = 2;
const EIGHT_BYTES: u64 = 3;
const COUNTED_BYTES: u64 = 4;
/// An entry's head is `id step << KIND_BITS | kind`.
const KIND_BITS: u32 = 3;

/// The value of a row, from the values of all columns in SQL's order. The primary key is not repeated.
///
/// # Errors
///
/// Values that do not fit the columns, or a row past the limit.
pub fn encode_row(
    schema: &TableSchema,
    row: &[Datum],
    limits: &EncodingLimits,
) -> Result<Value, EncodeError> {
    check_count(schema, schema.columns().len(), row.len())?;
    let mut entries = Vec::with_capacity(schema.value_positions().len());
    for position in schema.value_positions() {
        let (column, datum) = (&schema.columns()[*position], &row[*position]);
        match datum.column_type() {
            None if column.not_null => {
                return Err(EncodeError::Null { column: column.name.clone() });
            }
            None => {}
            Some(found) if !datum.fits(column.column_type) => {
                let (column, expected) = (column.name.clone(), column.column_type);
                return Err(EncodeError::Type { column, expected, found });
            }
            Some(_) => entries.push((column.id, datum)),
        }
    }
    let bytes = size_of(&entries);
    if bytes > limits.row_bytes_max {
        let (table, bytes_max) = (schema.name().to_owned(), limits.row_bytes_max);
        return Err(EncodeError::LongRow { table, bytes, bytes_max });
    }
    let mut out = Vec::with_capacity(bytes);
    out.push(VERSION);
    put_varint(entries.len() as u64, &mut out);
    let mut before = ColumnId(0);
    for (id, datum) in entries {
        put_varint(head_of(before, id, datum), &mut out);
        put_payload(datum, &mut out);
        before = id;
    }
    assert!(out.len() == bytes, "wrote {} bytes, counted {bytes}", out.len());
    Ok(Value::from(out))
}

/// All columns of a row, in SQL's order. A column that the row does not have is NULL, also when it is
/// NOT NULL by now: what it means then is the catalog's to say. A column that the schema no longer has
/// is skipped.
///
/// # Errors
///
/// Bytes that are no row of this table.
pub fn decode_row(
    schema: &TableSchema,
    key: &Key,
    value: &Value,
) -> Result<Vec<Datum>, DecodeError> {
    let mut row = vec![Datum::Null; schema.columns().len()];
    for (datum, position) in decode_key(schema, key)?.into_iter().zip(schema.key_positions()) {
        row[*position] = datum;
    }
    let mut input = Input { bytes: value.as_bytes(), at: 0 };
    let version = input.byte()?;
    if version != VERSION {
        let problem = DecodeProblem::Unknown { what: "row version", found: version };
        return Err(DecodeError::new(0, problem));
    }
    let mut positions = schema.value_positions().iter().peekable();
    let mut id = 0;
    for _ in 0..input.varint()? {
        let at = input.at;
        let head = input.varint()?;
        let step = head >> KIND_BITS;
        id = u32::try_from(step)
            .ok()
            .filter(|step| *step > 0)
            .and_then(|step| step.checked_add(id))
            .ok_or(input.not_canonical(at, "column id"))?;
        let payload = input.payload(head)?;
        while positions.next_if(|at| schema.columns()[**at].id.0 < id).is_some() {}
        if let Some(position) = positions.next_if(|at| schema.columns()[**at].id.0 == id) {
            row[*position] = payload.into_datum(&schema.columns()[*position], at)?;
        }
    }
    if input.at < input.bytes.len() {
        return Err(DecodeError::new(input.at, DecodeProblem::Trailing));
    }
    Ok(row)
}

fn size_of(entries: &[(ColumnId, &Datum)]) -> usize {
    let mut bytes = 1 + varint_size(entries.len() as u64);
    let mut before = ColumnId(0);
    for (id, datum) in entries {
        bytes += varint_size(head_of(before, *id, datum)) + payload_size(datum);
        before = *id;
    }
    bytes
}

fn head_of(before: ColumnId, id: ColumnId, datum: &Datum) -> u64 {
    let kind = match datum {
        Datum::Bool(false) | Datum::Null => FALSE,
        Datum::Bool(true) => TRUE,
        Datum::BigInt(_) | Datum::TimestampTz(_) => INTEGER,
        Datum::Double(_) => EIGHT_BYTES,
        Datum::Text(_) | Datum::Bytes(_) => COUNTED_BYTES,
    };
    u64::from(id.0 - before.0) << KIND_BITS | kind
}

fn payload_size(datum: &Datum) -> usize {
    match datum {
        Datum::Bool(_) | Datum::Null => 0,
        Datum::BigInt(value) | Datum::TimestampTz(value) => varint_size(zigzag(*value)),
        Datum::Double(_) => 8,
        Datum::Text(value) => varint_size(value.len() as u64) + value.len(),
        Datum::Bytes(value) => varint_size(value.len() as u64) + value.len(),
    }
}

fn put_payload(datum: &Datum, out: &mut Vec<u8>) {
    match datum {
        Datum::Bool(_) | Datum::Null => {}
        Datum::BigInt(value) | Datum::TimestampTz(value) => put_varint(zigzag(*value), out),
        Datum::Double(value) => {
            // Unlike in a key, -0.0 keeps its sign: PostgreSQL shows it.
            let bits = if value.is_nan() { NAN_BITS } else { value.to_bits() };
            out.extend_from_slice(&bits.to_be_bytes());
        }
        Datum::Text(value) => put_counted(value.as_bytes(), out),
        Datum::Bytes(value) => put_counted(value, out),
    }
}

fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Small numbers of either sign as small unsigned ones.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn varint_size(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7F {
        out.push(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    out.push((value & 0x7F) as u8);
}

enum Payload<'a> {
    Bool(bool),
    Integer(i64),
    Double(f64),
    Bytes(&'a [u8]),
}

impl Payload<'_> {
    fn into_datum(self, column: &Column, at: usize) -> Result<Datum, DecodeError> {
        use super::datum::ColumnType as Type;
        match (self, column.column_type) {
            (Payload::Bool(value), Type::Boolean) => Ok(Datum::Bool(value)),
            (Payload::Integer(value), Type::BigInt) => Ok(Datum::BigInt(value)),
            (Payload::Integer(value), Type::SmallInt) if i16::try_from(value).is_ok() => {
                Ok(Datum::BigInt(value))
            }
            (Payload::Integer(value), Type::Int) if i32::try_from(value).is_ok() => {
                Ok(Datum::BigInt(value))
            }
            (Payload::Integer(value), Type::TimestampTz) => Ok(Datum::TimestampTz(value)),
            (Payload::Double(value), Type::DoublePrecision) => Ok(Datum::Double(value)),
            (Payload::Bytes(value), Type::Bytea) => Ok(Datum::Bytes(value.to_vec())),
            (Payload::Bytes(value), Type::Text) => match std::str::from_utf8(value) {
                Ok(text) => Ok(Datum::Text(text.to_owned())),
                Err(_) => Err(DecodeError::new(at, DecodeProblem::NotUtf8)),
            },
            (
                Payload::Bool(_) | Payload::Integer(_) | Payload::Double(_) | Payload::Bytes(_),
                Type::BigInt
                | Type::DoublePrecision
                | Type::Text
                | Type::Boolean
                | Type::Bytea
                | Type::TimestampTz
                | Type::SmallInt
                | Type::Int,
            ) => Err(DecodeError::new(at, DecodeProblem::Type { column: column.id })),
        }
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let count = usize::try_from(count).ok().filter(|count| *count <= rest.len());
        let count = count.ok_or(DecodeError::new(self.at, DecodeProblem::Truncated))?;
        self.at += count;
        Ok(&rest[..count])
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut value: u64 = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let is_last = byte & 0x80 == 0;
            let is_lost = bits << shift >> shift != bits;
            let is_padding = is_last && bits == 0 && shift > 0;
            if is_lost || is_padding {
                return Err(self.not_canonical(start, "number"));
            }
            value |= bits << shift;
            if is_last {
                return Ok(value);
            }
        }
        Err(self.not_canonical(start, "number"))
    }

    fn payload(&mut self, head: u64) -> Result<Payload<'a>, DecodeError> {
        let at = self.at;
        match head & ((1 << KIND_BITS) - 1) {
            FALSE => Ok(Payload::Bool(false)),
            TRUE => Ok(Payload::Bool(true)),
            INTEGER => Ok(Payload::Integer(unzigzag(self.varint()?))),
            EIGHT_BYTES => {
                let mut bits = [0; 8];
                bits.copy_from_slice(self.take(8)?);
                let double = f64::from_bits(u64::from_be_bytes(bits));
                if double.is_nan() && double.to_bits() != NAN_BITS {
                    return Err(self.not_canonical(at, "double"));
                }
                Ok(Payload::Double(double))
            }
            COUNTED_BYTES => {
                let count = self.varint()?;
                Ok(Payload::Bytes(self.take(count)?))
            }
            kind => {
                let found = u8::try_from(kind).unwrap_or(u8::MAX);
                let problem = DecodeProblem::Unknown { what: "kind of entry", found };
                Err(DecodeError::new(at, problem))
            }
        }
    }

    fn not_canonical(&self, at: usize, what: &'static str) -> DecodeError {
        DecodeError::new(at, DecodeProblem::NotCanonical { what })
    }
}
