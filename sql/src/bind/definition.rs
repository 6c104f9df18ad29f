//! Binds CREATE TABLE.
//!
//! Example: `CREATE TABLE t (id BIGINT PRIMARY KEY) SPLIT INTO 4 SHARDS FROM (0) TO (400)` is a table that begins
//! with splits at 100, 200 and 300. A key that starts with BYTEA, which is meant to be random, is spread over
//! all first bytes unless something else is said.

use proto::encoding::{Column, ColumnId, ColumnType, Datum};
use proto::table::NewTable;

use super::Context;
use super::scope::Scope;
use crate::error::{SqlError, SqlState};
use crate::execute::eval::constant;
use crate::parse::ast::{self, ColumnDefinition, CreateTable, Split};
use crate::scalar::cast::Coercion;
use crate::scalar::types::Type;

/// So many shards spread a table whose key starts with BYTEA.
const SPREAD_SHARDS: u8 = 8;
/// More are refused before a list of so many is made; the database has its own limit.
const SHARDS_MAX: i64 = 100_000;
/// PostgreSQL's limit of names, which it cuts instead.
const NAME_BYTES_MAX: usize = 63;

impl Context<'_> {
    /// The table to be.
    pub(crate) fn create_table(&mut self, create: &CreateTable) -> Result<NewTable, SqlError> {
        check_name(&create.name)?;
        let mut columns: Vec<Column> = Vec::with_capacity(create.columns.len());
        for definition in &create.columns {
            check_name(&definition.name)?;
            let name = &definition.name.value;
            if columns.iter().any(|column| column.name == *name) {
                let message = format!("column \"{name}\" specified more than once");
                let error = SqlError::new(SqlState::DUPLICATE_COLUMN, message);
                return Err(error.at(definition.name.at));
            }
            columns.push(self.column(definition)?);
        }
        let mut primary_key: Vec<String> = Vec::with_capacity(create.primary_key.len());
        for name in &create.primary_key {
            let column = columns.iter_mut().find(|column| column.name == name.value);
            let Some(column) = column else {
                let message = format!("column \"{}\" named in key does not exist", name.value);
                return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(name.at));
            };
            if primary_key.contains(&name.value) {
                let message =
                    format!("column \"{}\" appears twice in primary key constraint", name.value);
                return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message).at(name.at));
            }
            column.not_null = true;
            primary_key.push(name.value.clone());
        }
        if primary_key.is_empty() {
            return Err(SqlError::unsupported("tables without a primary key").with_hint(
                "Say which columns tell rows apart: PRIMARY KEY after a column, or \
                 PRIMARY KEY (a, b) after all of them.",
            ));
        }
        let key: Vec<ColumnType> = primary_key
            .iter()
            .filter_map(|name| columns.iter().find(|column| column.name == *name))
            .map(|column| column.column_type)
            .collect();
        let splits = self.splits(create.split.as_ref(), &key)?;
        Ok(NewTable { name: create.name.value.clone(), columns, primary_key, splits })
    }

    fn column(&mut self, definition: &ColumnDefinition) -> Result<Column, SqlError> {
        let column_type = definition.ty.ty.column_type().ok_or_else(|| {
            SqlError::unsupported(format!("{} columns", definition.ty.ty.name().to_uppercase()))
        })?;
        let default = match &definition.default {
            None => None,
            Some((expr, text)) => {
                self.check_default(definition, expr)?;
                Some(text.clone())
            }
        };
        let name = definition.name.value.clone();
        let not_null = definition.null == Some(false);
        Ok(Column { name, id: ColumnId::default(), column_type, not_null, default })
    }

    fn check_default(
        &mut self,
        definition: &ColumnDefinition,
        expr: &ast::Expr,
    ) -> Result<(), SqlError> {
        let nothing = Scope::default();
        let mut binder = self.binder(&nothing, "DEFAULT expressions");
        let typed = binder.bind(expr).map_err(|error| {
            if error.state == SqlState::UNDEFINED_COLUMN || error.state == SqlState::UNDEFINED_TABLE
            {
                let message = "cannot use column reference in DEFAULT expression";
                let refused = SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message);
                return SqlError { position: error.position, ..refused };
            }
            error
        })?;
        let to = definition.ty.ty;
        let coerced = binder.coerced(typed, to, Coercion::Assignment)?;
        let expr = coerced.map_err(|typed| {
            let message = format!(
                "column \"{}\" is of type {to} but default expression is of type {}",
                definition.name.value, typed.ty
            );
            SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                .with_hint("You will need to rewrite or cast the expression.")
        })?;
        if has_parameters(&expr) {
            let message = "a DEFAULT expression cannot use parameters";
            return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, message));
        }
        Ok(())
    }

    fn splits(
        &mut self,
        split: Option<&Split>,
        key: &[ColumnType],
    ) -> Result<Vec<Vec<Datum>>, SqlError> {
        match split {
            None if key.first() == Some(&ColumnType::Bytea) => {
                let step = u8::MAX / SPREAD_SHARDS + 1;
                Ok((1..SPREAD_SHARDS).map(|at| vec![Datum::Bytes(vec![at * step])]).collect())
            }
            None => Ok(Vec::new()),
            Some(Split::At(keys)) => {
                keys.iter().map(|values| self.split_key(values, key)).collect()
            }
            Some(Split::Evenly { shards, from, to }) => {
                if !key.first().is_some_and(|first| first.is_integer()) {
                    return Err(invalid("SPLIT INTO needs an integer as first key column")
                        .with_hint("Use SPLIT AT VALUES (..), (..)."));
                }
                let shards = self.integer(shards)?;
                let (from, to) = (self.integer(from)?, self.integer(to)?);
                even_splits(shards, from, to)
            }
        }
    }

    fn split_key(
        &mut self,
        values: &[ast::Expr],
        key: &[ColumnType],
    ) -> Result<Vec<Datum>, SqlError> {
        if values.len() > key.len() {
            let message =
                format!("SPLIT AT has {} values; the key has {}", values.len(), key.len());
            return Err(invalid(message));
        }
        let mut datums = Vec::with_capacity(values.len());
        for (value, column_type) in values.iter().zip(key) {
            match self.split_value(value, Type::of_column(*column_type))? {
                Datum::Null => return Err(invalid("SPLIT AT has a NULL")),
                datum => datums.push(datum),
            }
        }
        Ok(datums)
    }

    fn split_value(&mut self, value: &ast::Expr, to: Type) -> Result<Datum, SqlError> {
        let nothing = Scope::default();
        let mut binder = self.binder(&nothing, "SPLIT");
        let typed = binder.bind(value)?;
        let expr = binder.coerced(typed, to, Coercion::Assignment)?.map_err(|typed| {
            let message = format!("SPLIT has a value of type {} for one of {to}", typed.ty);
            SqlError::new(SqlState::DATATYPE_MISMATCH, message)
        })?;
        if has_parameters(&expr) {
            return Err(SqlError::unsupported("parameters in SPLIT"));
        }
        let value = constant(&expr, self.env)?;
        Ok(value.into_datum().expect("columns have types that are stored"))
    }

    fn integer(&mut self, value: &ast::Expr) -> Result<i64, SqlError> {
        match self.split_value(value, Type::BigInt)? {
            Datum::BigInt(value) => Ok(value),
            _ => Err(invalid("SPLIT INTO has a NULL")),
        }
    }
}

fn has_parameters(expr: &super::bound::Expr) -> bool {
    let mut found = matches!(expr, super::bound::Expr::Parameter(_));
    expr.each_operand(&mut |operand| found |= has_parameters(operand));
    found
}

fn check_name(name: &ast::Name) -> Result<(), SqlError> {
    let problem = if name.value.len() > NAME_BYTES_MAX {
        format!("the name \"{}\" is longer than {NAME_BYTES_MAX} bytes", name.value)
    } else if name.value.is_empty() {
        "a name is empty".to_owned()
    } else {
        return Ok(());
    };
    Err(SqlError::new(SqlState::INVALID_NAME, problem).at(name.at))
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message)
}

fn even_splits(shards: i64, from: i64, to: i64) -> Result<Vec<Vec<Datum>>, SqlError> {
    if !(1..=SHARDS_MAX).contains(&shards) {
        return Err(invalid(format!("a table cannot begin with {shards} shards")));
    }
    let (from, width) = (i128::from(from), i128::from(to) - i128::from(from));
    if width < i128::from(shards) {
        return Err(invalid("SPLIT INTO has fewer numbers from FROM to TO than shards"));
    }
    let splits = (1..shards).map(|shard| {
        let at = from + width * i128::from(shard) / i128::from(shards);
        vec![Datum::BigInt(i64::try_from(at).expect("it lies between two of them"))]
    });
    Ok(splits.collect())
}
