//! One field of a key: a tag, then the value in bytes that sort as the value does.
//!
//! A descending field is the ascending one with every byte after the tag inverted, under a tag of its
//! own. No field is the beginning of another of the same column, so fields can follow each other.

use super::datum::{Datum, double_of_ordered, ordered_bits};
use super::error::{DecodeError, DecodeProblem};
use super::schema::Direction;

/// NULL, where it sorts before all values.
pub(super) const NULL_FIRST: u8 = 0x08;
/// NULL, where it sorts after all values.
pub(super) const NULL_LAST: u8 = 0xF8;
/// Added to a tag for descending order.
const DESCENDING: u8 = 0x80;
const BOOLEAN: u8 = 0x10;
const BIGINT: u8 = 0x18;
const DOUBLE: u8 = 0x20;
const TEXT: u8 = 0x28;
const BYTEA: u8 = 0x30;
const TIMESTAMPTZ: u8 = 0x38;

/// In text and bytes: 00 in the value is `ESCAPE, ESCAPED_ZERO`, and the end is `ESCAPE, END`. The end is
/// below every continuation, so that a beginning sorts before what it begins.
const ESCAPE: u8 = 0x00;
const END: u8 = 0x01;
const ESCAPED_ZERO: u8 = 0xFF;

/// Appends a field. NULL sorts after all values ascending and before them descending, as in PostgreSQL.
pub(super) fn encode(datum: &Datum, direction: Direction, out: &mut Vec<u8>) {
    let tag = match (datum, direction) {
        (Datum::Null, Direction::Ascending) => return out.push(NULL_LAST),
        (Datum::Null, Direction::Descending) => return out.push(NULL_FIRST),
        (datum, Direction::Ascending) => tag_of(datum),
        (datum, Direction::Descending) => tag_of(datum) | DESCENDING,
    };
    out.push(tag);
    let start = out.len();
    match datum {
        Datum::Null => {}
        Datum::Bool(value) => out.push(u8::from(*value)),
        Datum::BigInt(value) | Datum::TimestampTz(value) => {
            out.extend_from_slice(&flip_sign(*value).to_be_bytes());
        }
        Datum::Double(value) => out.extend_from_slice(&ordered_bits(*value).to_be_bytes()),
        Datum::Text(value) => encode_bytes(value.as_bytes(), out),
        Datum::Bytes(value) => encode_bytes(value, out),
    }
    if direction == Direction::Descending {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// The least bytes that the field of `datum` takes.
pub(super) fn size_min(datum: &Datum) -> usize {
    1 + match datum {
        Datum::Null => 0,
        Datum::Bool(_) => 1,
        Datum::BigInt(_) | Datum::TimestampTz(_) | Datum::Double(_) => 8,
        Datum::Text(value) => value.len() + 2,
        Datum::Bytes(value) => value.len() + 2,
    }
}

fn tag_of(datum: &Datum) -> u8 {
    match datum {
        Datum::Null => NULL_LAST,
        Datum::Bool(_) => BOOLEAN,
        Datum::BigInt(_) => BIGINT,
        Datum::Double(_) => DOUBLE,
        Datum::Text(_) => TEXT,
        Datum::Bytes(_) => BYTEA,
        Datum::TimestampTz(_) => TIMESTAMPTZ,
    }
}

fn encode_bytes(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        out.push(*byte);
        if *byte == ESCAPE {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend_from_slice(&[ESCAPE, END]);
}

/// Signed order as unsigned order.
fn flip_sign(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// The field that starts at `at`, and where it ends.
pub(super) fn decode(bytes: &[u8], at: usize) -> Result<(Datum, Direction, usize), DecodeError> {
    let mut input = Input { bytes, at, inverted: 0 };
    let tag = input.byte()?;
    let direction = match tag {
        NULL_FIRST => return Ok((Datum::Null, Direction::Descending, input.at)),
        NULL_LAST => return Ok((Datum::Null, Direction::Ascending, input.at)),
        tag if tag & DESCENDING == 0 => Direction::Ascending,
        _ => Direction::Descending,
    };
    if direction == Direction::Descending {
        input.inverted = 0xFF;
    }
    let datum = match tag & !DESCENDING {
        BOOLEAN => Datum::Bool(input.boolean()?),
        BIGINT => Datum::BigInt(input.signed()?),
        DOUBLE => Datum::Double(input.double()?),
        TEXT => {
            let start = input.at;
            let text = String::from_utf8(input.escaped()?);
            Datum::Text(text.map_err(|_| DecodeError::new(start, DecodeProblem::NotUtf8))?)
        }
        BYTEA => Datum::Bytes(input.escaped()?),
        TIMESTAMPTZ => Datum::TimestampTz(input.signed()?),
        _ => {
            let problem = DecodeProblem::Unknown { what: "key tag", found: tag };
            return Err(DecodeError::new(at, problem));
        }
    };
    Ok((datum, direction, input.at))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// FF in a descending field.
    inverted: u8,
}

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = self.bytes.get(self.at);
        let byte = byte.ok_or(DecodeError::new(self.at, DecodeProblem::Truncated))?;
        self.at += 1;
        Ok(byte ^ self.inverted)
    }

    fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.not_canonical(1, "boolean")),
        }
    }

    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        let mut value = [0; 8];
        for byte in &mut value {
            *byte = self.byte()?;
        }
        Ok(u64::from_be_bytes(value))
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        Ok((self.unsigned()? ^ (1 << 63)).cast_signed())
    }

    fn double(&mut self) -> Result<f64, DecodeError> {
        let ordered = self.unsigned()?;
        let double = double_of_ordered(ordered);
        if ordered_bits(double) == ordered {
            Ok(double)
        } else {
            Err(self.not_canonical(8, "double"))
        }
    }

    fn escaped(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut value = Vec::new();
        loop {
            let byte = self.byte()?;
            if byte != ESCAPE {
                value.push(byte);
                continue;
            }
            match self.byte()? {
                ESCAPED_ZERO => value.push(ESCAPE),
                END => return Ok(value),
                _ => return Err(self.not_canonical(1, "escape")),
            }
        }
    }

    /// An error about the last `bytes` bytes.
    fn not_canonical(&self, bytes: usize, what: &'static str) -> DecodeError {
        DecodeError::new(self.at - bytes, DecodeProblem::NotCanonical { what })
    }
}
