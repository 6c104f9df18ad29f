//! From sqlparser's trees to ours: what we do not have is refused here by name, what chains becomes flat.
//!
//! Example: `a OR b OR c` comes as `Or(Or(a, b), c)` and leaves as `Or([a, b, c])`. The left spine is taken
//! apart in a loop: it may be twenty thousand operators deep.

use sqlparser::ast as sql;
use sqlparser::tokenizer::Span;

use super::ast::{Expr, Name, TypeName};
use super::{Context, Statement};
use crate::error::{SqlError, SqlState};
use crate::scalar::types::Type;

mod change;
mod definition;
mod expression;
mod query;

pub(super) use expression::expression;

/// A statement that is not the session's.
pub(super) fn statement(
    context: &Context<'_>,
    statement: sql::Statement,
) -> Result<Statement, SqlError> {
    match statement {
        sql::Statement::Query(query) => {
            Ok(Statement::Query(Box::new(query::query(context, *query)?)))
        }
        sql::Statement::Insert(insert) => {
            Ok(Statement::Insert(Box::new(change::insert(context, insert)?)))
        }
        sql::Statement::Update(update) => {
            Ok(Statement::Update(Box::new(change::update(context, update)?)))
        }
        sql::Statement::Delete(delete) => {
            Ok(Statement::Delete(Box::new(change::delete(context, delete)?)))
        }
        sql::Statement::CreateTable(create) => {
            let create = definition::create_table(context, create)?;
            Ok(Statement::CreateTable(Box::new(create)))
        }
        sql::Statement::Drop { object_type, if_exists, names, cascade: _, .. } => {
            if object_type != sql::ObjectType::Table {
                return Err(unsupported_statement(&format!("DROP {object_type}")));
            }
            let names = names.into_iter().map(|name| own_table_name(context, name));
            let names = names.collect::<Result<_, _>>()?;
            Ok(Statement::DropTable(super::ast::DropTable { names, if_exists }))
        }
        _ => Err(unsupported_statement("a statement of this kind")),
    }
}

fn unsupported_statement(what: &str) -> SqlError {
    let message = format!("{what} is not supported in this release");
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

impl Context<'_> {
    fn place(&self, span: Span) -> u32 {
        self.source.place(span.start)
    }
}

/// A name, folded unless quoted.
fn name(context: &Context<'_>, ident: sql::Ident) -> Name {
    let at = context.place(ident.span);
    let value = match ident.quote_style {
        Some(_) => ident.value,
        None => ident.value.to_lowercase(),
    };
    Name { value, at }
}

fn names(context: &Context<'_>, object: sql::ObjectName) -> Result<Vec<Name>, SqlError> {
    let parts = object.0.into_iter().map(|part| match part {
        sql::ObjectNamePart::Identifier(ident) => Ok(name(context, ident)),
        sql::ObjectNamePart::Function(_) => Err(SqlError::unsupported("functions in names")),
    });
    parts.collect()
}

/// The name of a table, which may say `public.` before it.
fn table_name(context: &Context<'_>, object: sql::ObjectName) -> Result<Name, SqlError> {
    let mut parts = names(context, object)?;
    let last = parts.pop().ok_or_else(|| SqlError::unsupported("tables without names"))?;
    match parts.pop() {
        None => Ok(last),
        Some(schema) if schema.value == "public" && parts.len() <= 1 => Ok(last),
        Some(schema) => {
            let message = format!("relation \"{}.{}\" does not exist", schema.value, last.value);
            Err(SqlError::new(SqlState::UNDEFINED_TABLE, message)
                .at(schema.at)
                .with_hint("All tables are in the schema public."))
        }
    }
}

/// The name of a table to create or to drop.
fn own_table_name(context: &Context<'_>, object: sql::ObjectName) -> Result<Name, SqlError> {
    match object.0.first() {
        Some(sql::ObjectNamePart::Identifier(schema))
            if object.0.len() == 2 && schema.value != "public" =>
        {
            Err(no_schema(&name(context, schema.clone())))
        }
        _ => table_name(context, object),
    }
}

/// The name of one column.
fn column_name(context: &Context<'_>, object: sql::ObjectName) -> Result<Name, SqlError> {
    let mut parts = names(context, object)?;
    match (parts.pop(), parts.len()) {
        (Some(name), 0) => Ok(name),
        _ => Err(SqlError::unsupported("columns of composite type")),
    }
}

/// There is one schema.
pub(super) fn no_schema(schema: &Name) -> SqlError {
    let message = format!("schema \"{}\" does not exist", schema.value);
    let error = SqlError::new(SqlState::INVALID_SCHEMA_NAME, message).at(schema.at);
    error.with_hint("All tables are in the schema public.")
}

/// The type of that name.
fn type_name(data_type: &sql::DataType) -> Result<TypeName, SqlError> {
    use sql::DataType as Sql;
    let with_length = |length: &Option<sql::CharacterLength>| match length {
        None => Ok(()),
        Some(_) => Err(SqlError::unsupported("text types with a length")
            .with_hint("Use TEXT; check the length where the value comes from.")),
    };
    let (ty, column_name) = match data_type {
        Sql::BigInt(None) | Sql::Int8(None) => (Type::BigInt, "int8"),
        Sql::Int(None) | Sql::Integer(None) | Sql::Int4(None) => (Type::Int, "int4"),
        Sql::SmallInt(None) | Sql::Int2(None) => (Type::SmallInt, "int2"),
        Sql::Double(sql::ExactNumberInfo::None)
        | Sql::DoublePrecision
        | Sql::Float8
        | Sql::Float(sql::ExactNumberInfo::None) => (Type::Double, "float8"),
        Sql::Float(sql::ExactNumberInfo::Precision(25..=53)) => (Type::Double, "float8"),
        Sql::Numeric(sql::ExactNumberInfo::None)
        | Sql::Decimal(sql::ExactNumberInfo::None)
        | Sql::Dec(sql::ExactNumberInfo::None) => (Type::Numeric, "numeric"),
        Sql::Numeric(_) | Sql::Decimal(_) | Sql::Dec(_) => {
            return Err(SqlError::unsupported("NUMERIC types with a precision")
                .with_hint("Use NUMERIC, and round() where it matters."));
        }
        Sql::Text => (Type::Text, "text"),
        Sql::Varchar(length) | Sql::CharacterVarying(length) | Sql::CharVarying(length) => {
            with_length(length)?;
            (Type::Text, "varchar")
        }
        Sql::Char(_) | Sql::Character(_) => {
            return Err(SqlError::unsupported("CHAR types").with_hint("Use TEXT."));
        }
        Sql::Bool | Sql::Boolean => (Type::Boolean, "bool"),
        Sql::Bytea => (Type::Bytea, "bytea"),
        Sql::Timestamp(None, sql::TimezoneInfo::WithTimeZone | sql::TimezoneInfo::Tz) => {
            (Type::TimestampTz, "timestamptz")
        }
        Sql::Timestamp(..) => {
            return Err(SqlError::unsupported(
                "TIMESTAMP types without a zone or with a precision",
            )
            .with_hint("Use TIMESTAMPTZ."));
        }
        Sql::Real | Sql::Float4 | Sql::Float(_) => {
            return Err(
                SqlError::unsupported("REAL columns and values").with_hint("Use DOUBLE PRECISION.")
            );
        }
        other => return other_type(other),
    };
    Ok(TypeName { ty, column_name })
}

fn other_type(data_type: &sql::DataType) -> Result<TypeName, SqlError> {
    let text = data_type.to_string();
    let lower = text.to_ascii_lowercase();
    if ["serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"]
        .contains(&lower.as_str())
    {
        return Err(SqlError::unsupported("SERIAL types").with_hint(
            "Counting up makes one shard take all inserts. Use BIGINT with keys of the application, \
             or BYTEA with random ones.",
        ));
    }
    let custom = matches!(data_type, sql::DataType::Custom(..));
    if custom {
        let message = format!("type \"{lower}\" does not exist");
        return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
    }
    let message = format!("the type {text} is not supported in this release");
    let error = SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message);
    Err(error.with_hint(
        "There are BIGINT, INT, SMALLINT, DOUBLE PRECISION, TEXT, BOOLEAN, BYTEA and TIMESTAMPTZ.",
    ))
}

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}
