//! Rows as bytes: typed values, table schemas, and the encodings of keys and rows.
//!
//! A *datum* is one typed value or NULL. A *table schema* names columns by ids that are never used
//! again. A row is stored as a [`Key`](crate::Key), made of its primary key columns in an order that
//! bytes keep, and a [`Value`](crate::Value), made of the others. `docs/formats.md` has both byte by
//! byte.
//!
//! Example: `CREATE TABLE account (id BIGINT PRIMARY KEY, owner TEXT)` as table 100 stores `(7, 'ada')`
//! under `10 00000064 18 8000000000000007` as `01 01 14 03 616461`.
//!
//! Decoding is total: any bytes give a value or an error that says where, and what decodes encodes
//! back to the same bytes. Not here: defaults, constraints beyond NOT NULL, secondary indexes (each is a
//! table of its own), and reading or writing anything.

mod datum;
mod error;
mod field;
mod key;
mod row;
mod schema;
mod span;

pub use datum::{ColumnType, Datum};
pub use error::{DecodeError, DecodeProblem, EncodeError, SchemaError};
pub use key::{DecodedKey, decode_any_key, decode_key, key_of, key_of_row, table_of};
pub use row::{decode_row, encode_row};
pub use schema::{Column, ColumnId, Direction, KeyColumn, TableParts, TableSchema};
pub use span::{prefix_span, range_span, split_key, table_span};

/// How large a key and a row may be. Reading is not bounded by them: what was stored under a larger
/// limit stays readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodingLimits {
    /// The most bytes of a key.
    pub key_bytes_max: usize,
    /// The most bytes of a row's value.
    pub row_bytes_max: usize,
}

impl Default for EncodingLimits {
    fn default() -> Self {
        EncodingLimits { key_bytes_max: 8 << 10, row_bytes_max: 10 << 20 }
    }
}

#[cfg(test)]
mod tests;
