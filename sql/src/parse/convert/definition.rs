//! CREATE TABLE.

use sqlparser::ast as sql;

use super::{Context, expression, name, own_table_name, type_name};
use crate::error::{SqlError, SqlState};
use crate::parse::ast::{ColumnDefinition, CreateTable, Expr, Name};
use crate::scalar::types::Type;

/// Operators in a default: its text is made by recursion.
const DEFAULT_OPERATORS_MAX: usize = 256;

/// CREATE TABLE.
pub(super) fn create_table(
    context: &Context<'_>,
    create: sql::CreateTable,
) -> Result<CreateTable, SqlError> {
    refuse_options(&create)?;
    let mut table = CreateTable {
        name: own_table_name(context, create.name)?,
        if_not_exists: create.if_not_exists,
        columns: Vec::with_capacity(create.columns.len()),
        primary_key: Vec::new(),
        split: None,
    };
    for definition in create.columns {
        column(context, &mut table, definition)?;
    }
    for constraint in create.constraints {
        let sql::TableConstraint::PrimaryKey(key) = constraint else {
            return Err(constraint_of(&constraint));
        };
        let columns = key.columns.into_iter().map(|column| key_column(context, column));
        set_primary_key(&mut table, columns.collect::<Result<_, _>>()?)?;
    }
    Ok(table)
}

fn refuse_options(create: &sql::CreateTable) -> Result<(), SqlError> {
    let refused = [
        (create.temporary, "temporary tables"),
        (create.unlogged, "unlogged tables"),
        (create.query.is_some(), "CREATE TABLE AS statements"),
        (create.like.is_some(), "CREATE TABLE LIKE statements"),
        (create.inherits.is_some(), "inherited tables"),
        (create.partition_of.is_some() || create.partition_by.is_some(), "partitioned tables"),
        (
            create.or_replace || create.external || create.clone.is_some(),
            "tables of other databases",
        ),
        (create.on_commit.is_some(), "ON COMMIT clauses"),
        (create.table_options != sql::CreateTableOptions::None, "storage options of tables"),
    ];
    match refused.into_iter().find(|(found, _)| *found) {
        Some((_, what)) => Err(SqlError::unsupported(what)),
        None => Ok(()),
    }
}

fn column(
    context: &Context<'_>,
    table: &mut CreateTable,
    definition: sql::ColumnDef,
) -> Result<(), SqlError> {
    let name = name(context, definition.name);
    let ty = type_name(&definition.data_type)?;
    if ty.ty == Type::Numeric {
        return Err(SqlError::unsupported("NUMERIC columns")
            .with_hint("Use BIGINT in the smallest unit, such as cents, or DOUBLE PRECISION."));
    }
    let mut column = ColumnDefinition { name, ty, null: None, default: None };
    for sql::ColumnOptionDef { option, .. } in definition.options {
        match option {
            sql::ColumnOption::Null => set_null(table, &mut column, true)?,
            sql::ColumnOption::NotNull => set_null(table, &mut column, false)?,
            sql::ColumnOption::Default(expr) => {
                if operators(&expr) > DEFAULT_OPERATORS_MAX {
                    let message = "a default has more than 256 operators";
                    return Err(SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, message));
                }
                let text = expr.to_string();
                if column.default.replace((expression(context, expr)?, text)).is_some() {
                    return Err(repeated("default values", table, &column));
                }
            }
            sql::ColumnOption::PrimaryKey(_) => {
                set_primary_key(table, vec![column.name.clone()])?;
            }
            other => return Err(option_of(&other)),
        }
    }
    table.columns.push(column);
    Ok(())
}

/// Operators along the left spine of an expression.
fn operators(expr: &sql::Expr) -> usize {
    let (mut at, mut count) = (expr, 0);
    while let sql::Expr::BinaryOp { left, .. } = at {
        (at, count) = (left, count + 1);
    }
    count
}

fn repeated(what: &str, table: &CreateTable, column: &ColumnDefinition) -> SqlError {
    let (column, table) = (&column.name, &table.name.value);
    let message =
        format!("multiple {what} specified for column \"{}\" of table \"{table}\"", column.value);
    SqlError::new(SqlState::SYNTAX_ERROR, message).at(column.at)
}

fn set_null(
    table: &CreateTable,
    column: &mut ColumnDefinition,
    null: bool,
) -> Result<(), SqlError> {
    if column.null.is_some_and(|before| before != null) {
        let (name, table) = (&column.name.value, &table.name.value);
        let message = format!(
            "conflicting NULL/NOT NULL declarations for column \"{name}\" of table \"{table}\""
        );
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(column.name.at));
    }
    column.null = Some(null);
    Ok(())
}

fn set_primary_key(table: &mut CreateTable, columns: Vec<Name>) -> Result<(), SqlError> {
    if !table.primary_key.is_empty() {
        let message =
            format!("multiple primary keys for table \"{}\" are not allowed", table.name.value);
        let at = columns.first().map_or(0, |column| column.at);
        return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message).at(at));
    }
    table.primary_key = columns;
    Ok(())
}

fn key_column(context: &Context<'_>, column: sql::IndexColumn) -> Result<Name, SqlError> {
    if column.column.options.sort == Some(sql::OrderBySort::Desc) {
        return Err(SqlError::unsupported("descending key columns"));
    }
    match expression(context, column.column.expr)? {
        Expr::Column { qualifier: None, name } => Ok(name),
        _ => Err(SqlError::unsupported("expressions in primary keys")),
    }
}

fn option_of(option: &sql::ColumnOption) -> SqlError {
    match option {
        sql::ColumnOption::Unique(_) => unique(),
        sql::ColumnOption::ForeignKey(_) => foreign_key(),
        sql::ColumnOption::Check(_) => check(),
        sql::ColumnOption::Generated { .. } | sql::ColumnOption::Identity(_) => {
            SqlError::unsupported("generated columns")
        }
        sql::ColumnOption::Collation(_) => {
            SqlError::unsupported("collations").with_hint("Text is ordered by its bytes.")
        }
        _ => SqlError::unsupported("options of this kind"),
    }
}

fn constraint_of(constraint: &sql::TableConstraint) -> SqlError {
    match constraint {
        sql::TableConstraint::Unique(_) => unique(),
        sql::TableConstraint::ForeignKey(_) => foreign_key(),
        sql::TableConstraint::Check(_) => check(),
        _ => SqlError::unsupported("constraints of this kind"),
    }
}

fn unique() -> SqlError {
    SqlError::unsupported("UNIQUE constraints")
        .with_hint("Only the primary key is unique: make what must be unique the key of a table.")
}

fn foreign_key() -> SqlError {
    SqlError::unsupported("FOREIGN KEY constraints")
        .with_hint("Leave it out, and read the other row in the same transaction.")
}

fn check() -> SqlError {
    SqlError::unsupported("CHECK constraints")
        .with_hint("Leave it out, and check where the value comes from.")
}
