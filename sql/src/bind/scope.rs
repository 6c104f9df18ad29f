//! The names that an expression may use: columns of the tables in FROM, and parameters.

use proto::encoding::TableSchema;

use super::bound::{Expr, Typed};
use crate::error::{SqlError, SqlState};
use crate::parse::ast::{From, Name};
use crate::scalar::types::Type;

/// A column that can be named.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub(crate) name: String,
    pub(crate) ty: Type,
}

/// The columns of one table, in the order of the row; nothing without FROM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// What qualifies the columns.
    table: Option<String>,
    /// The table's own name when an alias hides it.
    hidden: Option<String>,
    pub(crate) columns: Vec<ScopeColumn>,
}

impl Scope {
    /// That of a table in FROM.
    pub(crate) fn of_table(schema: &TableSchema, from: &From) -> Result<Scope, SqlError> {
        let mut columns: Vec<ScopeColumn> = schema
            .columns()
            .iter()
            .map(|column| ScopeColumn {
                name: column.name.clone(),
                ty: Type::of_column(column.column_type),
            })
            .collect();
        let name = from.alias.as_ref().map_or(schema.name(), |alias| &alias.value);
        if from.columns.len() > columns.len() {
            let message = format!(
                "table \"{name}\" has {} columns available but {} columns specified",
                columns.len(),
                from.columns.len()
            );
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        for (column, alias) in columns.iter_mut().zip(&from.columns) {
            column.name.clone_from(&alias.value);
        }
        let hidden = (name != schema.name()).then(|| schema.name().to_owned());
        Ok(Scope { table: Some(name.to_owned()), hidden, columns })
    }

    /// That of the rows of VALUES.
    pub(crate) fn of_values(types: &[Type]) -> Scope {
        let columns = types
            .iter()
            .enumerate()
            .map(|(at, ty)| ScopeColumn { name: format!("column{}", at + 1), ty: *ty });
        Scope { table: None, hidden: None, columns: columns.collect() }
    }

    /// Whether columns can be qualified with this.
    pub(crate) fn check_table(&self, name: &Name) -> Result<(), SqlError> {
        if self.table.as_ref() == Some(&name.value) {
            return Ok(());
        }
        let error = |what: &str| {
            let message = format!("{what} FROM-clause entry for table \"{}\"", name.value);
            SqlError::new(SqlState::UNDEFINED_TABLE, message).at(name.at)
        };
        match (&self.table, &self.hidden) {
            (Some(alias), Some(hidden)) if *hidden == name.value => {
                let hint = format!("Perhaps you meant to reference the table alias \"{alias}\".");
                Err(error("invalid reference to").with_hint(hint))
            }
            _ => Err(error("missing")),
        }
    }

    /// Whether there is exactly one such column without a qualifier.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }

    /// The column of that name.
    pub(crate) fn column(&self, qualifier: Option<&Name>, name: &Name) -> Result<Typed, SqlError> {
        if let Some(qualifier) = qualifier {
            self.check_table(qualifier)?;
        }
        let mut found = self.columns.iter().enumerate().filter(|(_, each)| each.name == name.value);
        match (found.next(), found.next()) {
            (Some((at, column)), None) => Ok(Typed::new(Expr::Column(at), column.ty)),
            (Some(_), Some(_)) => {
                let message = format!("column reference \"{}\" is ambiguous", name.value);
                Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message).at(name.at))
            }
            (None, _) => {
                let message = match qualifier {
                    Some(table) => format!("column {}.{} does not exist", table.value, name.value),
                    None => format!("column \"{}\" does not exist", name.value),
                };
                let at = qualifier.map_or(name.at, |table| table.at);
                Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(at))
            }
        }
    }

    /// A column as messages name it.
    pub(crate) fn describe(&self, column: usize) -> String {
        let name = self.columns.get(column).map_or("?", |column| &column.name);
        match &self.table {
            Some(table) => format!("\"{table}.{name}\""),
            None => format!("\"{name}\""),
        }
    }
}

/// The parameters of a statement, and what is known of their types.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    types: Vec<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    ty: Type,
    at: u32,
}

impl Parameters {
    /// With the types that the client gave; `Unknown` ones are to be found.
    pub(crate) fn new(given: &[Type]) -> Self {
        let types = given.iter().map(|ty| Some(Known { ty: *ty, at: 0 }));
        Parameters { types: types.collect() }
    }

    /// A use of parameter `number`, from 1.
    pub(crate) fn use_of(&mut self, number: u32, at: u32) -> Typed {
        let index = usize::try_from(number).expect("it was limited") - 1;
        if self.types.len() <= index {
            self.types.resize(index + 1, None);
        }
        let known = self.types[index].get_or_insert(Known { ty: Type::Unknown, at });
        Typed::new(Expr::Parameter(index), known.ty)
    }

    /// What is known of a parameter's type by now.
    pub(crate) fn type_of(&self, index: usize) -> Type {
        self.types[index].map_or(Type::Unknown, |known| known.ty)
    }

    /// A use that says the type.
    pub(crate) fn set(&mut self, index: usize, ty: Type) {
        if let Some(known) = &mut self.types[index]
            && known.ty == Type::Unknown
        {
            known.ty = ty;
        }
    }

    /// The types of all.
    pub(crate) fn finish(self) -> Result<Vec<Type>, SqlError> {
        let types = self.types.into_iter().enumerate().map(|(index, known)| match known {
            Some(known) if known.ty != Type::Unknown => Ok(known.ty),
            other => {
                let number = index + 1;
                let message = format!("could not determine data type of parameter ${number}");
                let error = SqlError::new(SqlState::INDETERMINATE_DATATYPE, message);
                let at = other.map_or(0, |known| known.at);
                Err(if at > 0 { error.at(at) } else { error })
            }
        });
        types.collect()
    }
}
