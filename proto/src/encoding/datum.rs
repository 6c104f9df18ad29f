//! Typed values and their order.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ColumnType {
    /// 64-bit integer.
    BigInt,
    /// IEEE 754 double.
    DoublePrecision,
    /// UTF-8 text, ordered by its bytes (PostgreSQL's collation "C").
    Text,
    /// True or false.
    Boolean,
    /// Bytes.
    Bytea,
    /// An instant, in microseconds.
    TimestampTz,
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
}

impl ColumnType {
    /// Whether it is one of the three integer types.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt)
    }
}

impl fmt::Display for ColumnType {
    /// SQL's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::BigInt => "BIGINT",
            ColumnType::DoublePrecision => "DOUBLE PRECISION",
            ColumnType::Text => "TEXT",
            ColumnType::Boolean => "BOOLEAN",
            ColumnType::Bytea => "BYTEA",
            ColumnType::TimestampTz => "TIMESTAMPTZ",
            ColumnType::SmallInt => "SMALLINT",
            ColumnType::Int => "INT",
        })
    }
}

/// One typed value, or NULL.
///
/// Equality and order are those of PostgreSQL's B-tree and not of IEEE 754: `-0.0` equals `0.0`, a NaN
/// equals every NaN and is above all other numbers, NULL equals NULL and is above all values. Values of
/// different types are ordered by type, which means nothing but gives sets a definite order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Datum {
    /// A BOOLEAN.
    Bool(bool),
    /// A BIGINT, or a value of a narrower integer type: columns of all three store integers alike.
    BigInt(i64),
    /// A DOUBLE PRECISION.
    Double(f64),
    /// A TEXT.
    Text(String),
    /// A BYTEA.
    Bytes(Vec<u8>),
    /// A TIMESTAMPTZ: microseconds since the Unix epoch. As in PostgreSQL, `i64::MAX` is `infinity` and
    /// `i64::MIN` is `-infinity`.
    TimestampTz(i64),
    /// No value, of any type.
    Null,
}

impl Datum {
    /// Its type, for integers the widest; NULL has none of its own.
    #[must_use]
    pub fn column_type(&self) -> Option<ColumnType> {
        match self {
            Datum::Bool(_) => Some(ColumnType::Boolean),
            Datum::BigInt(_) => Some(ColumnType::BigInt),
            Datum::Double(_) => Some(ColumnType::DoublePrecision),
            Datum::Text(_) => Some(ColumnType::Text),
            Datum::Bytes(_) => Some(ColumnType::Bytea),
            Datum::TimestampTz(_) => Some(ColumnType::TimestampTz),
            Datum::Null => None,
        }
    }

    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// Whether a column of that type can hold it.
    #[must_use]
    pub fn fits(&self, column_type: ColumnType) -> bool {
        match (self, column_type) {
            (Datum::BigInt(value), ColumnType::SmallInt) => i16::try_from(*value).is_ok(),
            (Datum::BigInt(value), ColumnType::Int) => i32::try_from(*value).is_ok(),
            _ => self.column_type().is_none_or(|own| own == column_type),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Datum::Bool(_) => 0,
            Datum::BigInt(_) => 1,
            Datum::Double(_) => 2,
            Datum::Text(_) => 3,
            Datum::Bytes(_) => 4,
            Datum::TimestampTz(_) => 5,
            Datum::Null => 6,
        }
    }
}

/// The bits of a double, such that unsigned order is PostgreSQL's order and equal values have equal
/// bits.
pub(super) fn ordered_bits(double: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    // `0.0 + -0.0` is `0.0`; NaN's sign and payload mean nothing in SQL.
    let bits = if double.is_nan() { NAN_BITS } else { (double + 0.0).to_bits() };
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The double of [`ordered_bits`].
pub(super) fn double_of_ordered(ordered: u64) -> f64 {
    const SIGN: u64 = 1 << 63;
    f64::from_bits(if ordered & SIGN == 0 { !ordered } else { ordered & !SIGN })
}

/// The one NaN that is stored.
pub(super) const NAN_BITS: u64 = 0x7FF8_0000_0000_0000;

impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
            (Datum::BigInt(a), Datum::BigInt(b)) => a.cmp(b),
            (Datum::Double(a), Datum::Double(b)) => ordered_bits(*a).cmp(&ordered_bits(*b)),
            (Datum::Text(a), Datum::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Datum::Bytes(a), Datum::Bytes(b)) => a.cmp(b),
            (Datum::TimestampTz(a), Datum::TimestampTz(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Datum {}

impl Hash for Datum {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Datum::Bool(value) => value.hash(state),
            Datum::BigInt(value) | Datum::TimestampTz(value) => value.hash(state),
            Datum::Double(value) => ordered_bits(*value).hash(state),
            Datum::Text(value) => value.hash(state),
            Datum::Bytes(value) => value.hash(state),
            Datum::Null => {}
        }
    }
}
