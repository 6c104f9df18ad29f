//! Values, their order, and what they are in a column.

use proto::encoding::Datum;
use rust_decimal::Decimal;
use std::cmp::Ordering;

use super::env::Env;
use super::text;
use super::types::Type;
use crate::error::SqlError;

/// A value, or NULL.
///
/// Equality is that of [`Value::order`]: NULL equals NULL, NaN equals NaN, `1.0` equals `1.00`.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value, of any type.
    Null,
    /// A BOOLEAN.
    Bool(bool),
    /// A SMALLINT, INT or BIGINT.
    Int(i64),
    /// A DOUBLE PRECISION.
    Double(f64),
    /// A NUMERIC, of up to 28 digits; its scale is part of it.
    Numeric(Decimal),
    /// A TEXT.
    Text(String),
    /// A BYTEA.
    Bytes(Vec<u8>),
    /// A TIMESTAMPTZ: microseconds since the Unix epoch; `i64::MAX` is `infinity`, `i64::MIN` `-infinity`.
    TimestampTz(i64),
}

impl Value {
    /// That of a column.
    #[must_use]
    pub fn from_datum(datum: Datum) -> Value {
        match datum {
            Datum::Bool(value) => Value::Bool(value),
            Datum::BigInt(value) => Value::Int(value),
            Datum::Double(value) => Value::Double(value),
            Datum::Text(value) => Value::Text(value),
            Datum::Bytes(value) => Value::Bytes(value),
            Datum::TimestampTz(value) => Value::TimestampTz(value),
            Datum::Null => Value::Null,
        }
    }

    /// For a column; no column holds a NUMERIC.
    #[must_use]
    pub fn into_datum(self) -> Option<Datum> {
        Some(match self {
            Value::Null => Datum::Null,
            Value::Bool(value) => Datum::Bool(value),
            Value::Int(value) => Datum::BigInt(value),
            Value::Double(value) => Datum::Double(value),
            Value::Numeric(_) => return None,
            Value::Text(value) => Datum::Text(value),
            Value::Bytes(value) => Datum::Bytes(value),
            Value::TimestampTz(value) => Datum::TimestampTz(value),
        })
    }

    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// PostgreSQL's text output, except that NULL is the empty text.
    #[must_use]
    pub fn to_text(&self, _ty: Type, env: &Env) -> String {
        text::output(self, env)
    }

    /// PostgreSQL's text input.
    ///
    /// # Errors
    ///
    /// The text is no value of the type (22P02, 22007), or out of its range (22003, 22008).
    pub fn from_text(text: &str, ty: Type, env: &Env) -> Result<Value, SqlError> {
        text::input(text, ty, env)
    }

    /// The order of PostgreSQL's B-tree, NULL last. Values of different types are ordered by type, which means
    /// nothing.
    #[must_use]
    pub fn order(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) | (Value::TimestampTz(a), Value::TimestampTz(b)) => {
                a.cmp(b)
            }
            (Value::Double(a), Value::Double(b)) => order_of_doubles(*a, *b),
            (Value::Numeric(a), Value::Numeric(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::Text(value) => value.len(),
                Value::Bytes(value) => value.len(),
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Double(_)
                | Value::Numeric(_)
                | Value::TimestampTz(_) => 0,
            }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Bool(_) => 0,
            Value::Int(_) => 1,
            Value::Double(_) => 2,
            Value::Numeric(_) => 3,
            Value::Text(_) => 4,
            Value::Bytes(_) => 5,
            Value::TimestampTz(_) => 6,
            Value::Null => 7,
        }
    }
}

/// Zeros are equal, NaNs are equal and above all else.
fn order_of_doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }
}

impl Eq for Value {}

/// Values to group by, or a row of DISTINCT: NULL is equal to NULL here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey(pub Vec<Value>);

impl GroupKey {
    /// Bytes of memory that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<GroupKey>() + self.0.iter().map(Value::size).sum::<usize>()
    }
}

impl Ord for GroupKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        let different = pairs.map(|(a, b)| a.order(b)).find(|order| order.is_ne());
        different.unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for GroupKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
