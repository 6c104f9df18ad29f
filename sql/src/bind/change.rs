//! Binds INSERT, UPDATE and DELETE.
//!
//! An INSERT becomes a query whose outputs are whole rows in the order of the table's columns: what is not given
//! is the column's default, or NULL.

use proto::encoding::{Column, TableSchema};
use std::sync::Arc;

use super::Context;
use super::bound::{Expr, Typed};
use super::query::{Query, Source, values_width};
use super::scope::Scope;
use crate::error::{SqlError, SqlState};
use crate::parse::ast::{self, Body, Name};
use crate::parse::{Limits, parse_expression};
use crate::scalar::cast::Coercion;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// INSERT.
pub(crate) struct Insert {
    pub(crate) schema: Arc<TableSchema>,
    /// Where the rows come from.
    pub(crate) query: Query,
    /// A whole row over the rows of the query.
    pub(crate) row: Vec<Expr>,
}

/// UPDATE.
pub(crate) struct Update {
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) filter: Option<Expr>,
    /// Columns and their new values.
    pub(crate) assignments: Vec<(usize, Expr)>,
}

/// DELETE.
pub(crate) struct Delete {
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) filter: Option<Expr>,
}

impl Context<'_> {
    /// Binds INSERT.
    pub(crate) fn insert(&mut self, insert: &ast::Insert) -> Result<Insert, SqlError> {
        let schema = Arc::clone(self.catalog.table(&insert.table)?);
        let mut targets = targets(&schema, &insert.columns)?;
        let plain = |query: &ast::Query| {
            query.order_by.is_empty() && query.limit.is_none() && query.offset.is_none()
        };
        let (query, given) = match &insert.source {
            None => {
                targets.clear();
                (rows_query(vec![Vec::new()], 0), Vec::new())
            }
            Some(query) => match &query.body {
                Body::Values(rows) if plain(query) => {
                    let width = values_width(rows)?;
                    check_width(width, &mut targets, !insert.columns.is_empty())?;
                    let rows = self.inserted_rows(&schema, &targets, rows)?;
                    let given = (0..width).map(Expr::Column).collect();
                    (rows_query(rows, width), given)
                }
                Body::Values(_) | Body::Select(_) => {
                    let query = self.query(query)?;
                    let width = query.columns.len();
                    check_width(width, &mut targets, !insert.columns.is_empty())?;
                    let mut given = Vec::with_capacity(width);
                    for (at, (column, target)) in query.columns.iter().zip(&targets).enumerate() {
                        let typed = Typed::new(Expr::Column(at), column.ty);
                        given.push(self.assigned(&schema.columns()[*target], typed)?);
                    }
                    (query, given)
                }
            },
        };
        let mut given: Vec<Option<Expr>> = given.into_iter().map(Some).collect();
        let mut row = Vec::with_capacity(schema.columns().len());
        for (at, column) in schema.columns().iter().enumerate() {
            let place = targets.iter().position(|target| *target == at);
            let value = place.and_then(|place| given.get_mut(place)?.take());
            row.push(match value {
                Some(value) => value,
                None => self.default_of(column)?,
            });
        }
        Ok(Insert { schema, query, row })
    }

    /// The rows of VALUES, each value of its column's type.
    fn inserted_rows(
        &mut self,
        schema: &TableSchema,
        targets: &[usize],
        rows: &[Vec<ast::Expr>],
    ) -> Result<Vec<Vec<Expr>>, SqlError> {
        let nothing = Scope::default();
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            let mut values = Vec::with_capacity(row.len());
            for (expr, target) in row.iter().zip(targets) {
                let column = &schema.columns()[*target];
                values.push(match expr {
                    ast::Expr::Default(_) => self.default_of(column)?,
                    expr => {
                        let typed = self.binder(&nothing, "VALUES").bind(expr)?;
                        self.assigned(column, typed)?
                    }
                });
            }
            bound.push(values);
        }
        Ok(bound)
    }

    /// A value that is put into a column.
    fn assigned(&mut self, column: &Column, typed: Typed) -> Result<Expr, SqlError> {
        let nothing = Scope::default();
        let to = Type::of_column(column.column_type);
        let mut binder = self.binder(&nothing, "VALUES");
        binder.coerced(typed, to, Coercion::Assignment)?.map_err(|typed| {
            let message = format!(
                "column \"{}\" is of type {to} but expression is of type {}",
                column.name, typed.ty
            );
            SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                .with_hint("You will need to rewrite or cast the expression.")
        })
    }

    /// What a column gets when nothing is given.
    fn default_of(&mut self, column: &Column) -> Result<Expr, SqlError> {
        let Some(text) = &column.default else { return Ok(Expr::Constant(Value::Null)) };
        let expr = parse_expression(text, &Limits::default())?;
        let nothing = Scope::default();
        let typed = self.binder(&nothing, "DEFAULT expressions").bind(&expr)?;
        self.assigned(column, typed)
    }

    /// Binds UPDATE.
    pub(crate) fn update(&mut self, update: &ast::Update) -> Result<Update, SqlError> {
        let schema = Arc::clone(self.catalog.table(&update.table.table)?);
        let scope = Scope::of_table(&schema, &update.table)?;
        let mut assignments: Vec<(usize, Expr)> = Vec::with_capacity(update.assignments.len());
        for (name, expr) in &update.assignments {
            let target = target(&schema, name)?;
            if assignments.iter().any(|(before, _)| *before == target) {
                let message = format!("multiple assignments to same column \"{}\"", name.value);
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            }
            let column = &schema.columns()[target];
            let value = match expr {
                ast::Expr::Default(_) => self.default_of(column)?,
                expr => {
                    let typed = self.binder(&scope, "UPDATE").bind(expr)?;
                    self.assigned(column, typed)?
                }
            };
            assignments.push((target, value));
        }
        let filter = self.filter(&scope, update.filter.as_ref())?;
        Ok(Update { schema, filter, assignments })
    }

    /// Binds DELETE.
    pub(crate) fn delete(&mut self, delete: &ast::Delete) -> Result<Delete, SqlError> {
        let schema = Arc::clone(self.catalog.table(&delete.table.table)?);
        let scope = Scope::of_table(&schema, &delete.table)?;
        let filter = self.filter(&scope, delete.filter.as_ref())?;
        Ok(Delete { schema, filter })
    }

    fn filter(
        &mut self,
        scope: &Scope,
        filter: Option<&ast::Expr>,
    ) -> Result<Option<Expr>, SqlError> {
        filter.map(|filter| self.binder(scope, "WHERE").condition(filter, "WHERE")).transpose()
    }
}

fn rows_query(rows: Vec<Vec<Expr>>, width: usize) -> Query {
    Query {
        source: Source::Rows(rows),
        lock: None,
        filter: None,
        grouping: None,
        having: None,
        outputs: (0..width).map(Expr::Column).collect(),
        columns: Vec::new(),
        distinct: false,
        order: Vec::new(),
        limit: None,
        offset: None,
    }
}

/// The columns that are given, in that order; all when none are named.
fn targets(schema: &TableSchema, names: &[Name]) -> Result<Vec<usize>, SqlError> {
    if names.is_empty() {
        return Ok((0..schema.columns().len()).collect());
    }
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        let at = target(schema, name)?;
        if targets.contains(&at) {
            let message = format!("column \"{}\" specified more than once", name.value);
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message).at(name.at));
        }
        targets.push(at);
    }
    Ok(targets)
}

fn target(schema: &TableSchema, name: &Name) -> Result<usize, SqlError> {
    schema.position_of(&name.value).ok_or_else(|| {
        let (column, table) = (&name.value, schema.name());
        let message = format!("column \"{column}\" of relation \"{table}\" does not exist");
        SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(name.at)
    })
}

/// More values than columns are an error; fewer only when the columns were named.
fn check_width(width: usize, targets: &mut Vec<usize>, named: bool) -> Result<(), SqlError> {
    let error = |message| Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    if width > targets.len() {
        return error("INSERT has more expressions than target columns");
    }
    if width < targets.len() && named {
        return error("INSERT has more target columns than expressions");
    }
    targets.truncate(width);
    Ok(())
}
