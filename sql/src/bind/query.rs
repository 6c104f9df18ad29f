//! Binds SELECT and VALUES.
//!
//! A query's rows go through stages, and each expression is over the rows of the stage before it:
//! source, WHERE, groups, HAVING, outputs, DISTINCT, ORDER BY, LIMIT. Keys of ORDER BY that are not selected
//! are outputs after the visible ones.

use proto::encoding::TableSchema;
use std::sync::Arc;

use super::bound::{AggregateCall, Expr, Typed};
use super::names::column_name;
use super::scope::Scope;
use super::{Aggregates, Binder, Context};
use crate::error::{SqlError, SqlState};
use crate::parse::ast::{self, Body, Item, Literal, Name, RowLock};
use crate::scalar::cast::Coercion;
use crate::scalar::types::Type;

/// A column of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its name.
    pub name: String,
    /// Its type; never unknown.
    pub ty: Type,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A table; rows have all its columns.
    Table(Arc<TableSchema>),
    /// These; one without columns for a SELECT without FROM.
    Rows(Vec<Vec<Expr>>),
}

/// GROUP BY, or aggregates without it.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    pub(crate) keys: Vec<Expr>,
    pub(crate) aggregates: Vec<AggregateCall>,
}

/// A key of ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SortKey {
    /// Which output.
    pub(crate) output: usize,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// A bound query.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) source: Source,
    pub(crate) lock: Option<RowLock>,
    pub(crate) filter: Option<Expr>,
    pub(crate) grouping: Option<Grouping>,
    pub(crate) having: Option<Expr>,
    /// The visible ones first.
    pub(crate) outputs: Vec<Expr>,
    pub(crate) columns: Vec<OutputColumn>,
    pub(crate) distinct: bool,
    pub(crate) order: Vec<SortKey>,
    pub(crate) limit: Option<Expr>,
    pub(crate) offset: Option<Expr>,
}

/// Outputs as they are collected.
struct Outputs {
    exprs: Vec<Typed>,
    names: Vec<String>,
}

impl Context<'_> {
    /// Binds a query.
    pub(crate) fn query(&mut self, query: &ast::Query) -> Result<Query, SqlError> {
        match &query.body {
            Body::Select(select) => self.select(query, select),
            Body::Values(rows) => self.values(query, rows),
        }
    }

    /// Binds the rows of VALUES to columns of one type each.
    fn values(&mut self, query: &ast::Query, rows: &[Vec<ast::Expr>]) -> Result<Query, SqlError> {
        let nothing = Scope::default();
        let width = values_width(rows)?;
        let mut columns: Vec<Vec<Typed>> = vec![Vec::with_capacity(rows.len()); width];
        for row in rows {
            let mut binder = self.binder(&nothing, "VALUES");
            for (column, expr) in columns.iter_mut().zip(row) {
                column.push(binder.bind(expr)?);
            }
        }
        let mut bound: Vec<Vec<Expr>> = rows.iter().map(|_| Vec::with_capacity(width)).collect();
        let mut types = Vec::with_capacity(width);
        for column in columns {
            let (exprs, ty) = self.binder(&nothing, "VALUES").unify(column, "VALUES")?;
            types.push(ty);
            bound.iter_mut().zip(exprs).for_each(|(row, expr)| row.push(expr));
        }
        let scope = Scope::of_values(&types);
        let mut outputs = Outputs { exprs: Vec::new(), names: Vec::new() };
        for (at, column) in scope.columns.iter().enumerate() {
            outputs.exprs.push(Typed::new(Expr::Column(at), column.ty));
            outputs.names.push(column.name.clone());
        }
        if let Some(lock) = query.lock {
            return Err(not_lockable(lock, "cannot be applied to VALUES"));
        }
        let mut binder = self.binder(&scope, "ORDER BY");
        let order = binder.order_by(query, &mut outputs)?;
        self.finish(query, Source::Rows(bound), &scope, outputs, order)
    }

    fn select(&mut self, query: &ast::Query, select: &ast::Select) -> Result<Query, SqlError> {
        let (source, scope) = match &select.from {
            None => (Source::Rows(vec![Vec::new()]), Scope::default()),
            Some(from) => {
                let schema = self.catalog.table(&from.table)?;
                (Source::Table(Arc::clone(schema)), Scope::of_table(schema, from)?)
            }
        };
        let filter = match &select.filter {
            Some(filter) => Some(self.binder(&scope, "WHERE").condition(filter, "WHERE")?),
            None => None,
        };
        let mut binder = Binder {
            scope: &scope,
            parameters: &mut self.parameters,
            env: self.env,
            aggregates: Aggregates::Collected(Vec::new()),
        };
        let mut outputs = binder.items(&select.items)?;
        let groups = select.group_by.iter().map(|expr| binder.group_key(expr, &outputs));
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        let having = match &select.having {
            Some(having) => Some(binder.condition(having, "HAVING")?),
            None => None,
        };
        let visible = outputs.names.len();
        let mut order = binder.order_by(query, &mut outputs)?;
        let Aggregates::Collected(aggregates) = binder.aggregates else {
            unreachable!("binding puts it back");
        };
        if select.distinct {
            distinct_order(&outputs, visible, &mut order)?;
        }
        let grouped = !groups.is_empty() || !aggregates.is_empty() || having.is_some();
        if let Some(lock) = query.lock {
            let refused = [
                (select.distinct, "DISTINCT clause"),
                (!groups.is_empty(), "GROUP BY clause"),
                (having.is_some(), "HAVING clause"),
                (grouped, "aggregate functions"),
            ];
            if let Some((_, clause)) = refused.into_iter().find(|(found, _)| *found) {
                return Err(not_lockable(lock, &format!("is not allowed with {clause}")));
            }
        }
        let mut bound = self.finish(query, source, &scope, outputs, order)?;
        (bound.filter, bound.distinct) = (filter, select.distinct);
        if grouped {
            let mut grouping = Grouping { keys: groups, aggregates };
            add_dependent_columns(&mut grouping, &bound, having.as_ref());
            let over = |expr| over_groups(expr, &grouping, &scope);
            bound.outputs = std::mem::take(&mut bound.outputs)
                .into_iter()
                .map(over)
                .collect::<Result<_, _>>()?;
            bound.having = having.map(over).transpose()?;
            bound.grouping = Some(grouping);
        }
        Ok(bound)
    }

    /// Types, LIMIT and OFFSET.
    fn finish(
        &mut self,
        query: &ast::Query,
        source: Source,
        scope: &Scope,
        outputs: Outputs,
        order: Vec<SortKey>,
    ) -> Result<Query, SqlError> {
        let mut exprs = Vec::with_capacity(outputs.exprs.len());
        let mut columns = Vec::with_capacity(outputs.names.len());
        let mut names = outputs.names.into_iter();
        let nothing = Scope::default();
        for typed in outputs.exprs {
            let mut binder = self.binder(&nothing, "SELECT");
            let known = binder.known(typed)?;
            columns.extend(names.next().map(|name| OutputColumn { name, ty: known.ty }));
            exprs.push(known.expr);
        }
        let limit = self.bound(query.limit.as_ref(), scope, "LIMIT")?;
        let offset = self.bound(query.offset.as_ref(), scope, "OFFSET")?;
        Ok(Query {
            source,
            lock: query.lock,
            filter: None,
            grouping: None,
            having: None,
            outputs: exprs,
            columns,
            distinct: false,
            order,
            limit,
            offset,
        })
    }

    fn bound(
        &mut self,
        expr: Option<&ast::Expr>,
        scope: &Scope,
        what: &'static str,
    ) -> Result<Option<Expr>, SqlError> {
        let Some(expr) = expr else { return Ok(None) };
        if let ast::Expr::Column { name, .. } = expr {
            if what == "LIMIT" && name.value == "all" {
                return Ok(None);
            }
            if scope.has(&name.value) {
                let message = format!("argument of {what} must not contain variables");
                let error = SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message);
                return Err(error.at(name.at));
            }
        }
        let nothing = Scope::default();
        let mut binder = self.binder(&nothing, what);
        let bound = binder.bind(expr)?;
        let coerced = binder.coerced(bound, Type::BigInt, Coercion::Assignment)?;
        coerced.map(Some).map_err(|typed| {
            let message = format!("argument of {what} must be type bigint, not type {}", typed.ty);
            SqlError::new(SqlState::DATATYPE_MISMATCH, message)
        })
    }
}

fn not_lockable(lock: RowLock, why: &str) -> SqlError {
    let clause = match lock {
        RowLock::Update => "FOR UPDATE",
        RowLock::Share => "FOR SHARE",
    };
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{clause} {why}"))
}

/// The number of columns of VALUES.
pub(super) fn values_width(rows: &[Vec<ast::Expr>]) -> Result<usize, SqlError> {
    let width = rows.first().map_or(0, Vec::len);
    if rows.iter().all(|row| row.len() == width) {
        return Ok(width);
    }
    let message = "VALUES lists must all be the same length";
    Err(SqlError::new(SqlState::SYNTAX_ERROR, message))
}

impl Binder<'_> {
    /// An expression whose type is known in the end: unknown ones are text.
    fn known(&mut self, typed: Typed) -> Result<Typed, SqlError> {
        if typed.ty != Type::Unknown {
            return Ok(typed);
        }
        // A parameter may have found its type elsewhere.
        let ty = match typed.expr {
            Expr::Parameter(index) => match self.parameters.type_of(index) {
                Type::Unknown => Type::Text,
                known => known,
            },
            _ => Type::Text,
        };
        Ok(Typed::new(self.coerce(typed, ty, Coercion::Implicit)?, ty))
    }

    fn items(&mut self, items: &[Item]) -> Result<Outputs, SqlError> {
        let mut outputs = Outputs { exprs: Vec::new(), names: Vec::new() };
        for item in items {
            match item {
                Item::Star(table) => {
                    match table {
                        Some(table) => self.scope.check_table(table)?,
                        None if self.scope.columns.is_empty() => {
                            let message = "SELECT * with no tables specified is not valid";
                            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
                        }
                        None => {}
                    }
                    for (at, column) in self.scope.columns.iter().enumerate() {
                        outputs.exprs.push(Typed::new(Expr::Column(at), column.ty));
                        outputs.names.push(column.name.clone());
                    }
                }
                Item::Expr(expr, alias) => {
                    outputs.exprs.push(self.bind(expr)?);
                    let name = alias.as_ref().map(|alias| alias.value.clone());
                    outputs.names.push(name.unwrap_or_else(|| column_name(expr)));
                }
            }
        }
        Ok(outputs)
    }

    /// A key of GROUP BY: a position, a column, an output's name, or an expression.
    fn group_key(&mut self, expr: &ast::Expr, outputs: &Outputs) -> Result<Expr, SqlError> {
        let found = match position(expr, outputs, "GROUP BY")? {
            Some(output) => Some(output),
            None => match expr {
                ast::Expr::Column { qualifier: None, name } if !self.scope.has(&name.value) => {
                    output_named(name, outputs, "GROUP BY")?
                }
                _ => None,
            },
        };
        let Some(output) = found else {
            let clause = Aggregates::Refused("GROUP BY");
            let collected = std::mem::replace(&mut self.aggregates, clause);
            let bound = self.bind(expr);
            self.aggregates = collected;
            return Ok(self.known(bound?)?.expr);
        };
        let typed = outputs.exprs[output].clone();
        if has_aggregate(&typed.expr) {
            let message = "aggregate functions are not allowed in GROUP BY";
            return Err(SqlError::new(SqlState::GROUPING_ERROR, message));
        }
        Ok(self.known(typed)?.expr)
    }

    fn order_by(
        &mut self,
        query: &ast::Query,
        outputs: &mut Outputs,
    ) -> Result<Vec<SortKey>, SqlError> {
        let mut keys = Vec::with_capacity(query.order_by.len());
        for order in &query.order_by {
            let found = match position(&order.expr, outputs, "ORDER BY")? {
                Some(output) => Some(output),
                None => match &order.expr {
                    ast::Expr::Column { qualifier: None, name } => {
                        output_named(name, outputs, "ORDER BY")?
                    }
                    _ => None,
                },
            };
            let output = match found {
                Some(output) => output,
                None => {
                    let typed = self.bind(&order.expr)?;
                    let same = outputs.exprs.iter().position(|output| *output == typed);
                    same.unwrap_or_else(|| {
                        outputs.exprs.push(typed);
                        outputs.exprs.len() - 1
                    })
                }
            };
            let nulls_first = order.nulls_first.unwrap_or(order.descending);
            keys.push(SortKey { output, descending: order.descending, nulls_first });
        }
        Ok(keys)
    }
}

/// The output that a number in GROUP BY or ORDER BY stands for.
fn position(expr: &ast::Expr, outputs: &Outputs, clause: &str) -> Result<Option<usize>, SqlError> {
    let ast::Expr::Literal(literal, at) = expr else { return Ok(None) };
    let number = match literal {
        Literal::Number(digits) => digits.parse::<usize>().ok(),
        Literal::Null | Literal::Bool(_) | Literal::Text(_) => None,
    };
    let error = |state, message: String| Err(SqlError::new(state, message).at(*at));
    match (number, literal) {
        (Some(number), _) if (1..=outputs.names.len()).contains(&number) => Ok(Some(number - 1)),
        (_, Literal::Number(digits)) if digits.parse::<i64>().is_ok() => {
            let message = format!("{clause} position {digits} is not in select list");
            error(SqlState::INVALID_COLUMN_REFERENCE, message)
        }
        (_, Literal::Bool(_)) => Ok(None),
        _ => error(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}")),
    }
}

/// The visible output of that name.
fn output_named(name: &Name, outputs: &Outputs, clause: &str) -> Result<Option<usize>, SqlError> {
    let mut found = None;
    let same = outputs.names.iter().enumerate().filter(|(_, each)| **each == name.value);
    for (at, _) in same {
        match found {
            Some(before) if outputs.exprs[before] != outputs.exprs[at] => {
                let message = format!("{clause} \"{}\" is ambiguous", name.value);
                return Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message).at(name.at));
            }
            Some(_) => {}
            None => found = Some(at),
        }
    }
    Ok(found)
}

fn has_aggregate(expr: &Expr) -> bool {
    let mut found = matches!(expr, Expr::Aggregate(_));
    expr.each_operand(&mut |operand| found |= has_aggregate(operand));
    found
}

/// With DISTINCT, rows can only be ordered by what they are distinct in.
fn distinct_order(
    outputs: &Outputs,
    visible: usize,
    order: &mut [SortKey],
) -> Result<(), SqlError> {
    for key in order.iter_mut().filter(|key| key.output >= visible) {
        let hidden = &outputs.exprs[key.output];
        let shown = outputs.exprs[..visible].iter().position(|output| output == hidden);
        key.output = shown.ok_or_else(|| {
            let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
            SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
        })?;
    }
    Ok(())
}

/// A table's columns depend on its primary key: grouped by all of it, the others may be used as well.
fn add_dependent_columns(grouping: &mut Grouping, query: &Query, having: Option<&Expr>) {
    let Source::Table(schema) = &query.source else { return };
    let by_key = |at: &usize| grouping.keys.contains(&Expr::Column(*at));
    if !schema.key_positions().iter().all(by_key) {
        return;
    }
    let mut used = std::collections::BTreeSet::new();
    query.outputs.iter().chain(having).for_each(|expr| expr.columns(&mut used));
    for column in used {
        if !grouping.keys.contains(&Expr::Column(column)) {
            grouping.keys.push(Expr::Column(column));
        }
    }
}

/// An expression over groups: keys first, then aggregates.
fn over_groups(expr: Expr, grouping: &Grouping, scope: &Scope) -> Result<Expr, SqlError> {
    if let Some(key) = grouping.keys.iter().position(|key| *key == expr) {
        return Ok(Expr::Column(key));
    }
    match expr {
        Expr::Aggregate(aggregate) => Ok(Expr::Column(grouping.keys.len() + aggregate)),
        Expr::Column(column) => {
            let message = format!(
                "column {} must appear in the GROUP BY clause or be used in an aggregate function",
                scope.describe(column)
            );
            Err(SqlError::new(SqlState::GROUPING_ERROR, message))
        }
        other => other.with_operands(&mut |operand| over_groups(operand, grouping, scope)),
    }
}
