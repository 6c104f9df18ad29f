//! What can be wrong with a schema, with values to encode, and with bytes to decode.
//!
//! Written out and not derived: this crate needs nothing but `std` and serde.

use super::datum::ColumnType;
use super::schema::{COLUMNS_MAX, ColumnId, KEY_COLUMNS_MAX, NAME_BYTES_MAX};
use crate::TableId;
use std::error::Error;
use std::fmt;

/// Why a table's parts make no schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// A name is empty.
    EmptyName,
    /// A name is too long.
    LongName {
        /// The name.
        name: String,
    },
    /// A name holds a control character.
    ControlCharacter {
        /// The name.
        name: String,
    },
    /// Two columns have one name.
    RepeatedName {
        /// The name.
        name: String,
    },
    /// Two columns have one id.
    RepeatedId {
        /// The id.
        id: ColumnId,
    },
    /// A column's id is zero, or not below the id that the next column will get.
    IdOutOfRange {
        /// The id.
        id: ColumnId,
        /// The id that the next column will get.
        next: ColumnId,
    },
    /// More columns than fit.
    TooManyColumns {
        /// How many.
        count: usize,
    },
    /// No primary key.
    NoPrimaryKey,
    /// More columns in the primary key than fit.
    LongPrimaryKey {
        /// How many.
        count: usize,
    },
    /// The primary key names a column that is not there.
    UnknownKeyColumn {
        /// The id.
        id: ColumnId,
    },
    /// The primary key names a column twice.
    RepeatedKeyColumn {
        /// The column.
        name: String,
    },
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaError::EmptyName => f.write_str("a table or column has an empty name; name it"),
            SchemaError::LongName { name } => write!(
                f,
                "name {name:?} has {} bytes, at most {NAME_BYTES_MAX} are allowed; shorten it",
                name.len()
            ),
            SchemaError::ControlCharacter { name } => {
                write!(f, "name {name:?} has a control character; leave it out")
            }
            SchemaError::RepeatedName { name } => {
                write!(f, "column {name:?} is there more than once; rename one")
            }
            SchemaError::RepeatedId { id } => write!(f, "column id {id} is there more than once"),
            SchemaError::IdOutOfRange { id, next } => {
                write!(f, "column id {id} is not between 1 and the next free id {next}")
            }
            SchemaError::TooManyColumns { count } => {
                write!(f, "{count} columns, at most {COLUMNS_MAX} are allowed; split the table")
            }
            SchemaError::NoPrimaryKey => {
                f.write_str("the table has no primary key; name at least one column in it")
            }
            SchemaError::LongPrimaryKey { count } => write!(
                f,
                "{count} columns in the primary key, at most {KEY_COLUMNS_MAX} are allowed"
            ),
            SchemaError::UnknownKeyColumn { id } => {
                write!(f, "the primary key names column id {id}, which the table does not have")
            }
            SchemaError::RepeatedKeyColumn { name } => {
                write!(f, "the primary key names column {name:?} more than once")
            }
        }
    }
}

impl Error for SchemaError {}

/// Why values cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// Not as many values as columns.
    Count {
        /// The table.
        table: String,
        /// How many columns there are to fill.
        expected: usize,
        /// How many values were given.
        found: usize,
    },
    /// A value of another type than its column's.
    Type {
        /// The column.
        column: String,
        /// Its type.
        expected: ColumnType,
        /// The value's type.
        found: ColumnType,
    },
    /// NULL in a column that is NOT NULL.
    Null {
        /// The column.
        column: String,
    },
    /// A key past the limit.
    LongKey {
        /// The table.
        table: String,
        /// The limit.
        bytes_max: usize,
    },
    /// A row past the limit.
    LongRow {
        /// The table.
        table: String,
        /// The row's size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Count { table, expected, found } => {
                write!(f, "{found} values for the {expected} columns of table {table:?}")
            }
            EncodeError::Type { column, expected, found } => {
                if *found == ColumnType::BigInt && expected.is_integer() {
                    return write!(
                        f,
                        "column {column:?} is {expected}, and the value is out of its range"
                    );
                }
                write!(f, "column {column:?} is {expected}, but the value is {found}; cast it")
            }
            EncodeError::Null { column } => {
                write!(f, "column {column:?} is NOT NULL, but the value is NULL")
            }
            EncodeError::LongKey { table, bytes_max } => write!(
                f,
                "the key of a row of table {table:?} takes more than {bytes_max} bytes; \
                 shorten the values of its primary key"
            ),
            EncodeError::LongRow { table, bytes, bytes_max } => write!(
                f,
                "a row of table {table:?} takes {bytes} bytes, at most {bytes_max} are allowed; \
                 store large values in pieces"
            ),
        }
    }
}

impl Error for EncodeError {}

/// Why bytes are not what they should be. For a stored key or row it means damage, or a newer version
/// that wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// At which byte.
    pub at: usize,
    /// What is wrong there.
    pub problem: DecodeProblem,
}

/// What is wrong with bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeProblem {
    /// They end too early.
    Truncated,
    /// More follow than should.
    Trailing,
    /// The first byte of a key is not that of a row of a table.
    KeySpace {
        /// The byte.
        found: u8,
    },
    /// The key is another table's.
    Table {
        /// Whose key it should be.
        expected: TableId,
        /// Whose it is.
        found: TableId,
    },
    /// A tag, version or kind that this version does not know.
    Unknown {
        /// Of what.
        what: &'static str,
        /// The byte.
        found: u8,
    },
    /// Bytes that stand for a value in another way than the one way there is.
    NotCanonical {
        /// Of what.
        what: &'static str,
    },
    /// Text that is not UTF-8.
    NotUtf8,
    /// A value of another type, or in another direction, than the schema says.
    Type {
        /// The column.
        column: ColumnId,
    },
    /// NULL in a column of the primary key.
    NullInKey {
        /// The column.
        column: ColumnId,
    },
}

impl DecodeError {
    pub(super) fn new(at: usize, problem: DecodeProblem) -> Self {
        DecodeError { at, problem }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.problem)
    }
}

impl Error for DecodeError {}

impl fmt::Display for DecodeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeProblem::Truncated => f.write_str("ends too early"),
            DecodeProblem::Trailing => f.write_str("more bytes than there should be"),
            DecodeProblem::KeySpace { found } => {
                write!(f, "key space {found:#04x} holds no rows that this version knows")
            }
            DecodeProblem::Table { expected, found } => {
                write!(f, "a key of table {found}, expected table {expected}")
            }
            DecodeProblem::Unknown { what, found } => {
                write!(f, "{what} {found:#04x} is unknown; a newer version may have written it")
            }
            DecodeProblem::NotCanonical { what } => write!(f, "{what} is not in its one form"),
            DecodeProblem::NotUtf8 => f.write_str("text is not UTF-8"),
            DecodeProblem::Type { column } => {
                write!(f, "column {column} holds another type than the schema says")
            }
            DecodeProblem::NullInKey { column } => {
                write!(f, "column {column} of the primary key is NULL")
            }
        }
    }
}
