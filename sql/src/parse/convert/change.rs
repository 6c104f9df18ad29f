//! INSERT, UPDATE, DELETE.

use sqlparser::ast as sql;

use super::query::{from, one_table, optional, query};
use super::{Context, column_name, expression, table_name};
use crate::error::SqlError;
use crate::parse::ast::{Delete, Insert, Update};

/// INSERT.
pub(super) fn insert(context: &Context<'_>, insert: sql::Insert) -> Result<Insert, SqlError> {
    if insert.on.is_some() {
        return Err(SqlError::unsupported("ON CONFLICT clauses"));
    }
    returning(insert.returning.as_ref())?;
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || insert.replace_into
        || insert.partitioned.is_some()
        || !insert.assignments.is_empty()
        || insert.multi_table_insert_type.is_some();
    if foreign {
        return Err(SqlError::unsupported("clauses of other databases"));
    }
    let sql::TableObject::TableName(table) = insert.table else {
        return Err(SqlError::unsupported("INSERTs into anything but tables"));
    };
    let columns = insert.columns.into_iter().map(|name| column_name(context, name));
    Ok(Insert {
        table: table_name(context, table)?,
        columns: columns.collect::<Result<_, _>>()?,
        source: insert.source.map(|source| query(context, *source)).transpose()?,
    })
}

fn returning(returning: Option<&Vec<sql::SelectItem>>) -> Result<(), SqlError> {
    match returning {
        Some(_) => Err(SqlError::unsupported("RETURNING clauses")),
        None => Ok(()),
    }
}

/// UPDATE.
pub(super) fn update(context: &Context<'_>, update: sql::Update) -> Result<Update, SqlError> {
    returning(update.returning.as_ref())?;
    if update.from.is_some() {
        return Err(SqlError::unsupported("joins"));
    }
    if update.limit.is_some() || !update.order_by.is_empty() || update.or.is_some() {
        return Err(SqlError::unsupported("clauses of other databases"));
    }
    let assignments = update.assignments.into_iter().map(|assignment| match assignment.target {
        sql::AssignmentTarget::ColumnName(name) => {
            Ok((column_name(context, name)?, expression(context, assignment.value)?))
        }
        sql::AssignmentTarget::Tuple(_) => Err(SqlError::unsupported("assignments of rows")),
    });
    Ok(Update {
        assignments: assignments.collect::<Result<_, _>>()?,
        table: one_table(context, update.table)?,
        filter: optional(context, update.selection)?,
    })
}

/// DELETE.
pub(super) fn delete(context: &Context<'_>, delete: sql::Delete) -> Result<Delete, SqlError> {
    returning(delete.returning.as_ref())?;
    if delete.using.is_some() || !delete.tables.is_empty() {
        return Err(SqlError::unsupported("joins"));
    }
    if delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(SqlError::unsupported("clauses of other databases"));
    }
    let tables = match delete.from {
        sql::FromTable::WithFromKeyword(tables) | sql::FromTable::WithoutKeyword(tables) => tables,
    };
    let table = from(context, tables)?.ok_or_else(|| SqlError::unsupported("such DELETEs"))?;
    Ok(Delete { table, filter: optional(context, delete.selection)? })
}
