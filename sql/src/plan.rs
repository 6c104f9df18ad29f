//! From a statement to a plan: how its rows are found and what is done with them.
//!
//! A plan is made once and run often: what depends on parameters, the keys to read among it, is evaluated by
//! each execution. A query's plan is a tree of `Node`s, each of which takes the rows of the one below.
//!
//! Example: `SELECT name FROM t WHERE id = $1 ORDER BY id LIMIT 1` is a scan of the one key `$1`, a projection and
//! a limit; the key's order is the order asked for.
//!
//! Not here: a choice by cost. A condition on a prefix of the primary key is always taken.

use proto::encoding::TableSchema;
use proto::table::NewTable;
use std::sync::Arc;

use crate::bind::Context;
use crate::bind::bound::Expr;
use crate::bind::scope::Parameters;
use crate::error::{SqlError, SqlState};
use crate::parse::Statement;
use crate::parse::ast::AsOf;
use crate::scalar::env::Env;
use crate::scalar::types::Type;
use crate::scalar::value::Value;
use node::Node;

pub use crate::bind::Catalog;
pub use crate::bind::query::OutputColumn;

mod change;
mod explain;
pub(crate) mod keys;
pub(crate) mod node;
mod query;
mod show;

/// What an execution of a plan gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanKind {
    /// Rows: [`crate::execute::Execution::rows`].
    Rows,
    /// Changes: [`crate::execute::Execution::write`].
    Write,
    /// A change of the catalog: [`crate::execute::Execution::ddl`].
    Ddl,
}

/// A planned statement.
#[derive(Debug)]
pub struct Plan {
    parameters: Vec<Type>,
    columns: Option<Vec<OutputColumn>>,
    as_of: Option<AsOf>,
    locks: bool,
    /// The tables that it is for.
    catalog: Catalog,
    pub(crate) body: PlanBody,
}

/// What is done.
#[derive(Debug)]
pub(crate) enum PlanBody {
    Query(Node),
    /// These rows, known since planning.
    Fixed(Vec<Vec<Value>>),
    ShowTables,
    Insert(Insert),
    Update(Update),
    Delete(Delete),
    CreateTable {
        table: NewTable,
        if_not_exists: bool,
    },
    DropTable {
        names: Vec<String>,
        if_exists: bool,
    },
}

/// INSERT.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) schema: Arc<TableSchema>,
    /// Whole rows.
    pub(crate) source: Node,
}

/// UPDATE.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) schema: Arc<TableSchema>,
    /// Whole rows.
    pub(crate) source: Node,
    pub(crate) assignments: Vec<(usize, Expr)>,
    /// Whether the primary key may change.
    pub(crate) moves: bool,
}

/// DELETE.
#[derive(Debug)]
pub(crate) struct Delete {
    pub(crate) schema: Arc<TableSchema>,
    /// Primary keys.
    pub(crate) source: Node,
}

/// Binds and plans a statement. `parameters` are the types that the client gave; those that are unknown or left
/// out are found.
///
/// # Errors
///
/// Names, types or clauses are wrong, or it is no statement that is planned (BEGIN, SET and the like).
pub fn plan(
    statement: &Statement,
    catalog: &Catalog,
    parameters: &[Type],
    env: &mut Env,
) -> Result<Plan, SqlError> {
    let parameters = Parameters::new(parameters);
    let mut context = Context { catalog, parameters, env };
    let (body, columns) = body(&mut context, statement)?;
    Ok(Plan {
        parameters: context.parameters.finish()?,
        columns,
        as_of: as_of(statement),
        locks: matches!(statement, Statement::Query(query) if query.lock.is_some()),
        catalog: catalog.clone(),
        body,
    })
}

type Planned = (PlanBody, Option<Vec<OutputColumn>>);

fn body(context: &mut Context<'_>, statement: &Statement) -> Result<Planned, SqlError> {
    match statement {
        Statement::Query(query) => {
            let mut query = context.query(query)?;
            let columns = std::mem::take(&mut query.columns);
            let node = query::plan(query, columns.len());
            Ok((PlanBody::Query(node), Some(columns)))
        }
        Statement::Insert(insert) => {
            let insert = context.insert(insert)?;
            Ok((PlanBody::Insert(change::insert(insert)), None))
        }
        Statement::Update(update) => {
            let update = context.update(update)?;
            Ok((PlanBody::Update(change::update(update)), None))
        }
        Statement::Delete(delete) => {
            let delete = context.delete(delete)?;
            Ok((PlanBody::Delete(change::delete(delete)), None))
        }
        Statement::CreateTable(create) => {
            let table = context.create_table(create)?;
            Ok((PlanBody::CreateTable { table, if_not_exists: create.if_not_exists }, None))
        }
        Statement::DropTable(drop) => {
            let names = drop.names.iter().map(|name| name.value.clone()).collect();
            Ok((PlanBody::DropTable { names, if_exists: drop.if_exists }, None))
        }
        Statement::Explain(inner) => {
            let (body, _) = body(context, inner)?;
            let lines = explain::lines(&body, context.env);
            let rows = lines.into_iter().map(|line| vec![Value::Text(line)]).collect();
            Ok((PlanBody::Fixed(rows), Some(show::text_columns(&["QUERY PLAN"]))))
        }
        Statement::ShowTables => {
            Ok((PlanBody::ShowTables, Some(show::text_columns(&["table_name"]))))
        }
        Statement::ShowColumns { table } => {
            let (rows, columns) = show::columns(context.catalog.table(table)?);
            Ok((PlanBody::Fixed(rows), Some(columns)))
        }
        Statement::ShowCreateTable { table } => {
            let (rows, columns) = show::create_table(context.catalog.table(table)?);
            Ok((PlanBody::Fixed(rows), Some(columns)))
        }
        Statement::Begin { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::SetTransaction { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::RollbackToSavepoint { .. }
        | Statement::Set { .. }
        | Statement::Reset { .. }
        | Statement::Show { .. }
        | Statement::ShowAll
        | Statement::SetClusterSetting { .. }
        | Statement::ShowClusterSetting { .. }
        | Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::DiscardAll => {
            let message = format!("{} cannot be planned", statement.tag());
            Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message))
        }
    }
}

fn as_of(statement: &Statement) -> Option<AsOf> {
    match statement {
        Statement::Query(query) => query.as_of,
        _ => None,
    }
}

impl Plan {
    /// Whether these are the tables that it was made for: a table that was dropped and created again is another.
    #[must_use]
    pub fn is_for(&self, catalog: &Catalog) -> bool {
        let ids = |catalog: &Catalog| -> Vec<_> {
            catalog.0.iter().map(|(name, schema)| (name.clone(), schema.id())).collect()
        };
        ids(&self.catalog) == ids(catalog)
    }

    /// The types of its parameters, all known.
    #[must_use]
    pub fn parameters(&self) -> &[Type] {
        &self.parameters
    }

    /// The columns of its rows, if it gives any.
    #[must_use]
    pub fn columns(&self) -> Option<&[OutputColumn]> {
        self.columns.as_deref()
    }

    /// What its execution gives.
    #[must_use]
    pub fn kind(&self) -> PlanKind {
        match &self.body {
            PlanBody::Query(_) | PlanBody::Fixed(_) | PlanBody::ShowTables => PlanKind::Rows,
            PlanBody::Insert(_) | PlanBody::Update(_) | PlanBody::Delete(_) => PlanKind::Write,
            PlanBody::CreateTable { .. } | PlanBody::DropTable { .. } => PlanKind::Ddl,
        }
    }

    /// The time that it reads at, if it says one.
    #[must_use]
    pub fn as_of(&self) -> Option<AsOf> {
        self.as_of
    }

    /// Whether it is a SELECT that asks for locks.
    #[must_use]
    pub fn locks(&self) -> bool {
        self.locks
    }

    /// Whether it reads or writes a table, for which it takes a transaction.
    #[must_use]
    pub fn needs_transaction(&self) -> bool {
        match &self.body {
            PlanBody::Query(node) => node.scan().is_some(),
            PlanBody::Insert(_) | PlanBody::Update(_) | PlanBody::Delete(_) => true,
            PlanBody::Fixed(_)
            | PlanBody::ShowTables
            | PlanBody::CreateTable { .. }
            | PlanBody::DropTable { .. } => false,
        }
    }
}
