//! The types of values, their names, and how PostgreSQL groups them for choosing among overloads.

use proto::encoding::ColumnType;
use std::fmt;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// That of a literal `'x'`, a NULL or a parameter, as long as nothing says more.
    Unknown,
    /// BOOLEAN.
    Boolean,
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    BigInt,
    /// Decimal fraction, of no column.
    Numeric,
    /// IEEE 754 double.
    Double,
    /// UTF-8 text, ordered by its bytes.
    Text,
    /// Bytes.
    Bytea,
    /// An instant.
    TimestampTz,
}

/// PostgreSQL's `typcategory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Unknown,
    Boolean,
    Numeric,
    String,
    User,
    DateTime,
}

impl Type {
    /// All types.
    pub const ALL: [Type; 10] = [
        Type::Unknown,
        Type::Boolean,
        Type::SmallInt,
        Type::Int,
        Type::BigInt,
        Type::Numeric,
        Type::Double,
        Type::Text,
        Type::Bytea,
        Type::TimestampTz,
    ];

    /// The type of a column's values.
    #[must_use]
    pub fn of_column(column_type: ColumnType) -> Type {
        match column_type {
            ColumnType::BigInt => Type::BigInt,
            ColumnType::DoublePrecision => Type::Double,
            ColumnType::Text => Type::Text,
            ColumnType::Boolean => Type::Boolean,
            ColumnType::Bytea => Type::Bytea,
            ColumnType::TimestampTz => Type::TimestampTz,
            ColumnType::SmallInt => Type::SmallInt,
            ColumnType::Int => Type::Int,
        }
    }

    /// The type of a column of such values, where there can be one.
    #[must_use]
    pub fn column_type(self) -> Option<ColumnType> {
        match self {
            Type::Unknown | Type::Numeric => None,
            Type::Boolean => Some(ColumnType::Boolean),
            Type::SmallInt => Some(ColumnType::SmallInt),
            Type::Int => Some(ColumnType::Int),
            Type::BigInt => Some(ColumnType::BigInt),
            Type::Double => Some(ColumnType::DoublePrecision),
            Type::Text => Some(ColumnType::Text),
            Type::Bytea => Some(ColumnType::Bytea),
            Type::TimestampTz => Some(ColumnType::TimestampTz),
        }
    }

    /// PostgreSQL's name, as its function `format_type` and its messages have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Type::Unknown => "unknown",
            Type::Boolean => "boolean",
            Type::SmallInt => "smallint",
            Type::Int => "integer",
            Type::BigInt => "bigint",
            Type::Numeric => "numeric",
            Type::Double => "double precision",
            Type::Text => "text",
            Type::Bytea => "bytea",
            Type::TimestampTz => "timestamp with time zone",
        }
    }

    /// The type of that name, in any case.
    #[must_use]
    pub fn parse_name(name: &str) -> Option<Type> {
        let lower = name.to_ascii_lowercase();
        let words: Vec<&str> = lower.split_ascii_whitespace().collect();
        Some(match words.join(" ").as_str() {
            "unknown" => Type::Unknown,
            "bool" | "boolean" => Type::Boolean,
            "int2" | "smallint" => Type::SmallInt,
            "int4" | "int" | "integer" => Type::Int,
            "int8" | "bigint" => Type::BigInt,
            "numeric" | "decimal" | "dec" => Type::Numeric,
            "float8" | "float" | "double precision" => Type::Double,
            "text" | "varchar" | "character varying" => Type::Text,
            "bytea" => Type::Bytea,
            "timestamptz" | "timestamp with time zone" => Type::TimestampTz,
            _ => return None,
        })
    }

    /// Whether it is one of the three integer types.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, Type::SmallInt | Type::Int | Type::BigInt)
    }

    pub(super) fn category(self) -> Category {
        match self {
            Type::Unknown => Category::Unknown,
            Type::Boolean => Category::Boolean,
            Type::SmallInt | Type::Int | Type::BigInt | Type::Numeric | Type::Double => {
                Category::Numeric
            }
            Type::Text => Category::String,
            Type::Bytea => Category::User,
            Type::TimestampTz => Category::DateTime,
        }
    }

    /// PostgreSQL's `typispreferred`: the type to choose in its category.
    pub(super) fn is_preferred(self) -> bool {
        matches!(self, Type::Boolean | Type::Double | Type::Text | Type::TimestampTz)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
