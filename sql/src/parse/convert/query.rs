//! Queries.

use sqlparser::ast as sql;

use super::{Context, expression, name, table_name};
use crate::error::{SqlError, SqlState};
use crate::parse::ast::{Body, Expr, From, Item, Order, Query, RowLock, Select};

/// SELECT, VALUES or TABLE.
pub(super) fn query(context: &Context<'_>, query: sql::Query) -> Result<Query, SqlError> {
    if query.with.is_some() {
        return Err(SqlError::unsupported("WITH queries"));
    }
    if query.fetch.is_some() {
        return Err(SqlError::unsupported("FETCH clauses").with_hint("Use LIMIT."));
    }
    if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
        return Err(SqlError::unsupported("clauses of other databases"));
    }
    let body = body(context, *query.body)?;
    let (limit, offset) = limit(context, query.limit_clause)?;
    Ok(Query {
        body,
        order_by: order_by(context, query.order_by)?,
        limit,
        offset,
        lock: lock(&query.locks)?,
        as_of: None,
    })
}

fn body(context: &Context<'_>, body: sql::SetExpr) -> Result<Body, SqlError> {
    match body {
        sql::SetExpr::Select(select) => Ok(Body::Select(Box::new(self::select(context, *select)?))),
        sql::SetExpr::Values(values) => {
            let rows = values
                .rows
                .into_iter()
                .map(|row| row.content.into_iter().map(|expr| expression(context, expr)).collect());
            Ok(Body::Values(rows.collect::<Result<_, _>>()?))
        }
        sql::SetExpr::Query(inner) => {
            let inner = query(context, *inner)?;
            let plain = inner.order_by.is_empty() && inner.limit.is_none();
            if plain && inner.offset.is_none() && inner.lock.is_none() {
                return Ok(inner.body);
            }
            Err(SqlError::unsupported("parenthesized queries"))
        }
        sql::SetExpr::Table(table) => {
            let ident = table.table_name.ok_or_else(|| SqlError::unsupported("such queries"))?;
            let table = name(context, sql::Ident::new(ident));
            let from = Some(From { table, alias: None, columns: Vec::new() });
            let items = vec![Item::Star(None)];
            Ok(Body::Select(Box::new(Select {
                distinct: false,
                items,
                from,
                filter: None,
                group_by: Vec::new(),
                having: None,
            })))
        }
        sql::SetExpr::SetOperation { op, .. } => {
            Err(SqlError::unsupported(format!("set operations ({op})")))
        }
        sql::SetExpr::Insert(_)
        | sql::SetExpr::Update(_)
        | sql::SetExpr::Delete(_)
        | sql::SetExpr::Merge(_) => Err(SqlError::unsupported("changes inside queries")),
    }
}

fn select(context: &Context<'_>, select: sql::Select) -> Result<Select, SqlError> {
    let distinct = match select.distinct {
        None | Some(sql::Distinct::All) => false,
        Some(sql::Distinct::Distinct) => true,
        Some(sql::Distinct::On(_)) => return Err(SqlError::unsupported("DISTINCT ON clauses")),
    };
    if select.into.is_some() {
        return Err(SqlError::unsupported("SELECT INTO statements"));
    }
    if !select.named_window.is_empty() || select.qualify.is_some() {
        return Err(SqlError::unsupported("window functions"));
    }
    if select.top.is_some() || !select.lateral_views.is_empty() || select.prewhere.is_some() {
        return Err(SqlError::unsupported("clauses of other databases"));
    }
    let items = select.projection.into_iter().map(|each| item(context, each));
    let group_by = match select.group_by {
        sql::GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
        sql::GroupByExpr::Expressions(..) | sql::GroupByExpr::All(_) => {
            return Err(SqlError::unsupported("GROUP BY ALL and grouping sets"));
        }
    };
    let group_by = group_by.into_iter().map(|expr| expression(context, expr));
    Ok(Select {
        distinct,
        items: items.collect::<Result<_, _>>()?,
        from: from(context, select.from)?,
        filter: optional(context, select.selection)?,
        group_by: group_by.collect::<Result<_, _>>()?,
        having: optional(context, select.having)?,
    })
}

/// An expression that need not be there.
pub(super) fn optional(
    context: &Context<'_>,
    expr: Option<sql::Expr>,
) -> Result<Option<Expr>, SqlError> {
    expr.map(|expr| expression(context, expr)).transpose()
}

fn item(context: &Context<'_>, item: sql::SelectItem) -> Result<Item, SqlError> {
    match item {
        sql::SelectItem::UnnamedExpr(expr) => Ok(Item::Expr(expression(context, expr)?, None)),
        sql::SelectItem::ExprWithAlias { expr, alias } => {
            let alias = name(context, alias);
            Ok(Item::Expr(expression(context, expr)?, Some(alias)))
        }
        sql::SelectItem::Wildcard(options) => plain(&options).map(|()| Item::Star(None)),
        sql::SelectItem::QualifiedWildcard(kind, options) => {
            plain(&options)?;
            match kind {
                sql::SelectItemQualifiedWildcardKind::ObjectName(object) => {
                    Ok(Item::Star(Some(table_name(context, object)?)))
                }
                sql::SelectItemQualifiedWildcardKind::Expr(_) => {
                    Err(SqlError::unsupported("columns of composite type"))
                }
            }
        }
        sql::SelectItem::ExprWithAliases { .. } => {
            Err(SqlError::unsupported("several aliases of a column"))
        }
    }
}

fn plain(options: &sql::WildcardAdditionalOptions) -> Result<(), SqlError> {
    let extra = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    if extra { Err(SqlError::unsupported("options of *")) } else { Ok(()) }
}

/// FROM with one table.
pub(super) fn from(
    context: &Context<'_>,
    mut tables: Vec<sql::TableWithJoins>,
) -> Result<Option<From>, SqlError> {
    let Some(first) = tables.pop() else { return Ok(None) };
    if !tables.is_empty() {
        return Err(SqlError::unsupported("joins"));
    }
    one_table(context, first).map(Some)
}

/// A table without joins.
pub(super) fn one_table(
    context: &Context<'_>,
    table: sql::TableWithJoins,
) -> Result<From, SqlError> {
    if !table.joins.is_empty() {
        return Err(SqlError::unsupported("joins"));
    }
    let sql::TableFactor::Table { name: table, alias, args, sample, with_ordinality, .. } =
        table.relation
    else {
        return Err(match table.relation {
            sql::TableFactor::Derived { .. } => SqlError::unsupported("subqueries"),
            sql::TableFactor::NestedJoin { .. } => SqlError::unsupported("joins"),
            _ => SqlError::unsupported("functions and other sources in FROM"),
        });
    };
    if args.is_some() || with_ordinality {
        return Err(SqlError::unsupported("functions and other sources in FROM"));
    }
    if sample.is_some() {
        return Err(SqlError::unsupported("TABLESAMPLE clauses"));
    }
    let table = table_name(context, table)?;
    let (alias, columns) = match alias {
        None => (None, Vec::new()),
        Some(alias) => {
            let columns = alias.columns.into_iter().map(|column| name(context, column.name));
            (Some(name(context, alias.name)), columns.collect())
        }
    };
    Ok(From { table, alias, columns })
}

fn order_by(context: &Context<'_>, order_by: Option<sql::OrderBy>) -> Result<Vec<Order>, SqlError> {
    let exprs = match order_by.map(|order| order.kind) {
        None => return Ok(Vec::new()),
        Some(sql::OrderByKind::Expressions(exprs)) => exprs,
        Some(sql::OrderByKind::All(_)) => {
            return Err(SqlError::unsupported("ORDER BY ALL clauses"));
        }
    };
    let keys = exprs.into_iter().map(|key| {
        let descending = match key.options.sort {
            None | Some(sql::OrderBySort::Asc) => false,
            Some(sql::OrderBySort::Desc) => true,
            Some(sql::OrderBySort::Using(_)) => {
                return Err(SqlError::unsupported("ORDER BY USING clauses"));
            }
        };
        let nulls_first = key.options.nulls_first;
        Ok(Order { expr: expression(context, key.expr)?, descending, nulls_first })
    });
    keys.collect()
}

type Bounds = (Option<Expr>, Option<Expr>);

fn limit(context: &Context<'_>, clause: Option<sql::LimitClause>) -> Result<Bounds, SqlError> {
    match clause {
        None => Ok((None, None)),
        Some(sql::LimitClause::LimitOffset { limit, offset, .. }) => {
            let offset = offset.map(|offset| offset.value);
            Ok((optional(context, limit)?, optional(context, offset)?))
        }
        Some(sql::LimitClause::OffsetCommaLimit { .. }) => {
            let message = "LIMIT #,# syntax is not supported";
            let error = SqlError::new(SqlState::SYNTAX_ERROR, message);
            Err(error.with_hint("Use separate LIMIT and OFFSET clauses."))
        }
    }
}

fn lock(locks: &[sql::LockClause]) -> Result<Option<RowLock>, SqlError> {
    let mut strongest = None;
    for lock in locks {
        if lock.nonblock.is_some() {
            return Err(SqlError::unsupported("NOWAIT and SKIP LOCKED"));
        }
        match lock.lock_type {
            sql::LockType::Update => strongest = Some(RowLock::Update),
            sql::LockType::Share => strongest = strongest.or(Some(RowLock::Share)),
        }
    }
    Ok(strongest)
}
