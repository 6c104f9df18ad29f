//! What a table looks like.

use super::datum::ColumnType;
use super::error::SchemaError;
use crate::TableId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// As PostgreSQL has it.
pub(super) const COLUMNS_MAX: usize = 1_600;
/// As PostgreSQL has it.
pub(super) const KEY_COLUMNS_MAX: usize = 32;
/// As PostgreSQL has it.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// A column of one table, from 1. Never used again, so that the values of a dropped column never come
/// back under another name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ColumnId(pub u32);

impl fmt::Display for ColumnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, in the case that SQL gave it.
    pub name: String,
    /// Its id.
    pub id: ColumnId,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether NULL is refused. Always so in the primary key.
    pub not_null: bool,
    /// What SQL puts there when no value is given: the text of an expression, without columns in it. Whoever
    /// writes rows without SQL gets NULL.
    pub default: Option<String>,
}

/// In which direction a key column is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Lowest first.
    Ascending,
    /// Highest first.
    Descending,
}

/// A column of the primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// Which column.
    pub column: ColumnId,
    /// In which direction.
    pub direction: Direction,
}

/// What a schema is made of and stored as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableParts {
    /// The table's id.
    pub id: TableId,
    /// The table's name.
    pub name: String,
    /// The columns in SQL's order.
    pub columns: Vec<Column>,
    /// The columns of the primary key, most significant first.
    pub primary_key: Vec<KeyColumn>,
    /// The id that the next column will get; above every id that a column ever had.
    pub next_column: ColumnId,
}

/// A table that is known to make sense.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TableParts", into = "TableParts")]
pub struct TableSchema {
    parts: TableParts,
    /// Where the key columns stand in `columns`, in the order of the key.
    key_positions: Vec<usize>,
    /// Where the other columns stand, by id.
    value_positions: Vec<usize>,
}

impl TableSchema {
    /// Checks the parts. The columns of the primary key become NOT NULL.
    ///
    /// # Errors
    ///
    /// What does not make sense.
    pub fn new(mut parts: TableParts) -> Result<Self, SchemaError> {
        check_name(&parts.name)?;
        check_columns(&parts)?;
        let key_positions = key_positions(&parts)?;
        for position in &key_positions {
            parts.columns[*position].not_null = true;
        }
        let mut value_positions: Vec<usize> =
            (0..parts.columns.len()).filter(|at| !key_positions.contains(at)).collect();
        value_positions.sort_by_key(|at| parts.columns[*at].id);
        Ok(TableSchema { parts, key_positions, value_positions })
    }

    /// The table's id.
    #[must_use]
    pub fn id(&self) -> TableId {
        self.parts.id
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// The columns in SQL's order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.parts.columns
    }

    /// The columns of the primary key, most significant first.
    #[must_use]
    pub fn primary_key(&self) -> &[KeyColumn] {
        &self.parts.primary_key
    }

    /// Where the columns of the primary key stand in [`TableSchema::columns`], in the order of the key.
    #[must_use]
    pub fn key_positions(&self) -> &[usize] {
        &self.key_positions
    }

    /// Where the other columns stand in [`TableSchema::columns`], by column id.
    #[must_use]
    pub fn value_positions(&self) -> &[usize] {
        &self.value_positions
    }

    /// Where the column of that name stands in [`TableSchema::columns`].
    #[must_use]
    pub fn position_of(&self, name: &str) -> Option<usize> {
        self.parts.columns.iter().position(|column| column.name == name)
    }

    /// What it is made of, to be changed and checked again.
    #[must_use]
    pub fn into_parts(self) -> TableParts {
        self.parts
    }
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    if name.is_empty() {
        return Err(SchemaError::EmptyName);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(SchemaError::LongName { name: name.to_owned() });
    }
    if name.chars().any(char::is_control) {
        return Err(SchemaError::ControlCharacter { name: name.to_owned() });
    }
    Ok(())
}

fn check_columns(parts: &TableParts) -> Result<(), SchemaError> {
    if parts.columns.len() > COLUMNS_MAX {
        return Err(SchemaError::TooManyColumns { count: parts.columns.len() });
    }
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for Column { name, id, .. } in &parts.columns {
        check_name(name)?;
        if !names.insert(name) {
            return Err(SchemaError::RepeatedName { name: name.clone() });
        }
        if !ids.insert(*id) {
            return Err(SchemaError::RepeatedId { id: *id });
        }
        if *id == ColumnId(0) || *id >= parts.next_column {
            return Err(SchemaError::IdOutOfRange { id: *id, next: parts.next_column });
        }
    }
    Ok(())
}

fn key_positions(parts: &TableParts) -> Result<Vec<usize>, SchemaError> {
    let key = &parts.primary_key;
    if key.is_empty() {
        return Err(SchemaError::NoPrimaryKey);
    }
    if key.len() > KEY_COLUMNS_MAX {
        return Err(SchemaError::LongPrimaryKey { count: key.len() });
    }
    let mut positions = Vec::with_capacity(key.len());
    for KeyColumn { column: id, .. } in key {
        let position = parts
            .columns
            .iter()
            .position(|column| column.id == *id)
            .ok_or(SchemaError::UnknownKeyColumn { id: *id })?;
        if positions.contains(&position) {
            let name = parts.columns[position].name.clone();
            return Err(SchemaError::RepeatedKeyColumn { name });
        }
        positions.push(position);
    }
    Ok(positions)
}

impl TryFrom<TableParts> for TableSchema {
    type Error = SchemaError;

    fn try_from(parts: TableParts) -> Result<Self, SchemaError> {
        TableSchema::new(parts)
    }
}

impl From<TableSchema> for TableParts {
    fn from(schema: TableSchema) -> TableParts {
        schema.parts
    }
}
