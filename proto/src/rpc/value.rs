//! Rust's types as values of columns, and back.

use super::v1::{KeyRange, Null, Row, RowKey, Value, key_range, value::Kind};
use prost::bytes::Bytes;
use std::fmt;
use truetime::Timestamp;

/// A value is not of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    /// The Rust type asked for.
    pub wanted: &'static str,
    /// The SQL type found.
    pub found: &'static str,
}

impl fmt::Display for WrongType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrongType { wanted, found } = self;
        write!(f, "the value is {found}, which does not read as {wanted}")?;
        if *found == "NULL" {
            write!(f, "; read a column that can be NULL as Option<{wanted}>")?;
        }
        Ok(())
    }
}

impl std::error::Error for WrongType {}

/// A Rust type that a column's value can be read as.
pub trait FromValue: Sized {
    /// Reads it.
    fn from_value(value: Value) -> Result<Self, WrongType>;
}

impl Value {
    /// NULL.
    #[must_use]
    pub fn null() -> Self {
        Value { kind: Some(Kind::Null(Null::Value.into())) }
    }

    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Some(Kind::Null(_)))
    }

    /// A TIMESTAMPTZ of that many microseconds since the Unix epoch.
    #[must_use]
    pub fn timestamptz_micros(micros: i64) -> Self {
        Value { kind: Some(Kind::TimestamptzMicros(micros)) }
    }

    /// The SQL name of its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            None => "of a type this release does not know",
            Some(Kind::Null(_)) => "NULL",
            Some(Kind::Bigint(_)) => "BIGINT",
            Some(Kind::DoublePrecision(_)) => "DOUBLE PRECISION",
            Some(Kind::Text(_)) => "TEXT",
            Some(Kind::Boolean(_)) => "BOOLEAN",
            Some(Kind::Bytea(_)) => "BYTEA",
            Some(Kind::TimestamptzMicros(_)) => "TIMESTAMPTZ",
            Some(Kind::Numeric(_)) => "NUMERIC",
        }
    }
}

macro_rules! value_of {
    ($rust:ty, $kind:ident) => {
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Value { kind: Some(Kind::$kind(value)) }
            }
        }

        impl FromValue for $rust {
            fn from_value(value: Value) -> Result<Self, WrongType> {
                match value.kind {
                    Some(Kind::$kind(value)) => Ok(value),
                    kind => Err(WrongType {
                        wanted: stringify!($rust),
                        found: Value { kind }.type_name(),
                    }),
                }
            }
        }
    };
}

value_of!(i64, Bigint);
value_of!(f64, DoublePrecision);
value_of!(String, Text);
value_of!(bool, Boolean);
value_of!(Bytes, Bytea);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::from(value.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Value::null, Into::into)
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, WrongType> {
        if value.is_null() { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl From<Vec<Value>> for RowKey {
    fn from(values: Vec<Value>) -> Self {
        RowKey { values }
    }
}

macro_rules! key_of {
    ($($rust:ty),*) => {$(
        impl From<$rust> for RowKey {
            /// The key of a table whose primary key is one column of this type.
            fn from(value: $rust) -> Self {
                RowKey { values: vec![value.into()] }
            }
        }
    )*};
}

key_of!(i64, &str, String, Bytes);

impl<A: Into<Value>, B: Into<Value>> From<(A, B)> for RowKey {
    fn from((first, second): (A, B)) -> Self {
        RowKey { values: vec![first.into(), second.into()] }
    }
}

impl Row {
    /// Whether there is such a row.
    #[must_use]
    pub fn exists(&self) -> bool {
        !self.values.is_empty()
    }

    /// The commit timestamp of the version that was read.
    #[must_use]
    pub fn version(&self) -> Timestamp {
        Timestamp::from_nanos(self.commit_timestamp)
    }

    /// The value of the column at `index` of those that were asked for.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, WrongType> {
        let absent = WrongType { wanted: std::any::type_name::<T>(), found: "not in the row" };
        self.values.get(index).cloned().map_or(Err(absent), T::from_value)
    }
}

impl KeyRange {
    /// All rows of a table.
    #[must_use]
    pub fn all() -> Self {
        KeyRange::default()
    }

    /// All rows whose key begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<RowKey>) -> Self {
        let prefix = prefix.into();
        KeyRange {
            start: Some(key_range::Start::StartClosed(prefix.clone())),
            end: Some(key_range::End::EndClosed(prefix)),
        }
    }

    /// `[start, end)`.
    #[must_use]
    pub fn between(start: impl Into<RowKey>, end: impl Into<RowKey>) -> Self {
        KeyRange {
            start: Some(key_range::Start::StartClosed(start.into())),
            end: Some(key_range::End::EndOpen(end.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, FromValue, Row, Value, WrongType};

    #[test]
    fn value_of_each_type_reads_back() {
        assert_eq!(i64::from_value((-7).into()), Ok(-7));
        assert_eq!(f64::from_value(1.5.into()), Ok(1.5));
        assert_eq!(String::from_value("x".into()), Ok("x".to_owned()));
        assert_eq!(bool::from_value(true.into()), Ok(true));
        let bytes = Bytes::from_static(b"\0x");
        assert_eq!(Bytes::from_value(bytes.clone().into()), Ok(bytes));
    }

    #[test]
    fn null_reads_as_none_and_as_nothing_else() {
        assert_eq!(Option::<i64>::from_value(Value::null()), Ok(None));
        assert_eq!(Option::<i64>::from_value(3.into()), Ok(Some(3)));
        assert_eq!(i64::from_value(Value::null()), Err(WrongType { wanted: "i64", found: "NULL" }));
    }

    #[test]
    fn row_without_values_is_absent_and_reads_as_an_error() {
        assert!(!Row::default().exists());
        assert!(Row::default().get::<i64>(0).is_err());
        let row = Row { commit_timestamp: 9, values: vec![4.into()] };
        assert_eq!((row.exists(), row.get(0)), (true, Ok(4_i64)));
    }

    #[test]
    fn value_without_kind_is_not_null() {
        assert!(Option::<i64>::from_value(Value::default()).is_err());
    }
}
