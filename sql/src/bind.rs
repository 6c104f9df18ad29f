//! From what was written to what it means: names become columns, types are found, literals and parameters
//! get theirs.
//!
//! Terms: an expression is *bound* when it is a [`bound::Expr`]; the *scope* is what names it may use; a type
//! is *unknown* as long as nothing says what a literal or parameter is.
//!
//! Example: in `SELECT a + 1 FROM t ORDER BY 1`, `a` is column 0 of the scanned row, the output is called
//! `?column?`, and the order is by output 0.
//!
//! Not here: how rows are found ([`crate::plan`]).

use proto::encoding::TableSchema;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{SqlError, SqlState};
use crate::parse::ast::Name;
use crate::scalar::env::Env;
use bound::AggregateCall;
use scope::{Parameters, Scope};

pub(crate) mod bound;
pub(crate) mod change;
pub(crate) mod definition;
mod expression;
mod names;
pub(crate) mod query;
pub(crate) mod scope;

/// The tables that a statement names, as they are now, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog(pub BTreeMap<String, Arc<TableSchema>>);

impl Catalog {
    pub(crate) fn table(&self, name: &Name) -> Result<&Arc<TableSchema>, SqlError> {
        self.0.get(&name.value).ok_or_else(|| {
            let message = format!("relation \"{}\" does not exist", name.value);
            let error = SqlError::new(SqlState::UNDEFINED_TABLE, message);
            if name.at > 0 { error.at(name.at) } else { error }
        })
    }
}

/// What becomes of calls of aggregates.
pub(crate) enum Aggregates {
    /// They cannot be in this clause.
    Refused(&'static str),
    /// Nor inside another.
    Nested,
    /// They are collected.
    Collected(Vec<AggregateCall>),
}

/// Binds the expressions of one scope.
pub(crate) struct Binder<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) parameters: &'a mut Parameters,
    pub(crate) env: &'a Env,
    pub(crate) aggregates: Aggregates,
}

/// What binding any statement needs.
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) parameters: Parameters,
    pub(crate) env: &'a Env,
}

impl Context<'_> {
    /// Binds in a clause that takes no aggregates.
    pub(crate) fn binder<'b>(&'b mut self, scope: &'b Scope, clause: &'static str) -> Binder<'b> {
        let aggregates = Aggregates::Refused(clause);
        Binder { scope, parameters: &mut self.parameters, env: self.env, aggregates }
    }
}
