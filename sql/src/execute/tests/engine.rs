//! Runs statements one by one over a [`MemoryKv`], as a session would.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::argument::argument;
use super::memory_kv::MemoryKv;
use crate::error::{SqlError, SqlState};
use crate::execute::Execution;
use crate::kv::{Begin, Kv, Transaction};
use crate::parse::{Limits, Statement, parse};
use crate::plan::{Catalog, Plan, PlanKind, plan};
use crate::scalar::env::{Env, SessionEnv};
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// What a statement gave.
pub(crate) struct Outcome {
    pub(crate) columns: Vec<(String, Type)>,
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) notices: Vec<String>,
    /// The command tag, of what gives no rows.
    pub(crate) tag: Option<String>,
}

/// A session of sorts.
#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) kv: MemoryKv,
    prepared: BTreeMap<String, (Statement, Vec<Type>)>,
    transaction: Option<Transaction>,
    pub(crate) memory_max: Option<usize>,
}

/// Nothing in these tests waits.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a future of these tests waits"),
    }
}

pub(crate) fn env() -> Env {
    let micros = 1_764_065_000_000_000;
    Env {
        transaction_micros: micros,
        statement_micros: micros,
        clock_micros: micros,
        session: Arc::new(SessionEnv {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            ..SessionEnv::default()
        }),
        ..Env::default()
    }
}

impl Engine {
    /// Runs the statements of a text; gives the outcome of the last.
    pub(crate) fn run(&mut self, text: &str) -> Result<Outcome, SqlError> {
        let mut last = Outcome::tagged("");
        for statement in parse(text, &Limits::default())? {
            last = self.run_one(&statement, Vec::new(), &[])?;
        }
        Ok(last)
    }

    /// Plans a statement.
    pub(crate) fn plan(&self, statement: &Statement, types: &[Type]) -> Result<Plan, SqlError> {
        let mut catalog = Catalog::default();
        for name in statement.tables() {
            if let Some(schema) = block_on(self.kv.table(&name))? {
                catalog.0.insert(name, schema);
            }
        }
        plan(statement, &catalog, types, &mut env())
    }

    /// Runs a statement with parameters.
    pub(crate) fn run_one(
        &mut self,
        statement: &Statement,
        parameters: Vec<Value>,
        types: &[Type],
    ) -> Result<Outcome, SqlError> {
        match statement {
            Statement::Prepare { name, parameters, statement } => {
                self.plan(statement, parameters)?;
                let prepared = ((**statement).clone(), parameters.clone());
                self.prepared.insert(name.clone(), prepared);
                Ok(Outcome::tagged("PREPARE"))
            }
            Statement::Execute { name, arguments } => {
                let (inner, types) = self.prepared.get(name).cloned().ok_or_else(|| {
                    let message = format!("prepared statement \"{name}\" does not exist");
                    SqlError::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
                })?;
                let plan = self.plan(&inner, &types)?;
                let values = (1..).zip(arguments).zip(plan.parameters());
                let values = values.map(|((at, each), ty)| argument(each, at, *ty, &env()));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                self.execute(&inner, Arc::new(plan), values)
            }
            Statement::Begin { .. } => {
                let begin = Begin::ReadWrite { retry_of: None, max_age: None };
                self.transaction = Some(block_on(self.kv.begin(begin))?);
                Ok(Outcome::tagged("BEGIN"))
            }
            Statement::Commit { .. } => {
                if let Some(Transaction::ReadWrite { id, .. }) = self.transaction.take() {
                    block_on(self.kv.commit(id, Vec::new()))?;
                }
                Ok(Outcome::tagged("COMMIT"))
            }
            Statement::Rollback { .. } => {
                if let Some(Transaction::ReadWrite { id, .. }) = self.transaction.take() {
                    block_on(self.kv.rollback(id));
                }
                Ok(Outcome::tagged("ROLLBACK"))
            }
            statement => {
                let plan = self.plan(statement, types)?;
                if plan.parameters().len() > parameters.len() {
                    let message = format!("there is no parameter ${}", parameters.len() + 1);
                    return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, message));
                }
                self.execute(statement, Arc::new(plan), parameters)
            }
        }
    }

    fn execute(
        &mut self,
        statement: &Statement,
        plan: Arc<Plan>,
        parameters: Vec<Value>,
    ) -> Result<Outcome, SqlError> {
        let memory_max = self.memory_max.unwrap_or(64 << 20);
        let mut execution = Execution::new(Arc::clone(&plan), parameters, env(), memory_max);
        let begin = match plan.kind() {
            PlanKind::Write => Begin::ReadWrite { retry_of: None, max_age: None },
            PlanKind::Rows if plan.locks() => Begin::ReadWrite { retry_of: None, max_age: None },
            PlanKind::Rows | PlanKind::Ddl => Begin::ReadOnly,
        };
        let transaction = match self.transaction {
            Some(transaction) => transaction,
            None => block_on(self.kv.begin(begin))?,
        };
        match plan.kind() {
            PlanKind::Rows => {
                let columns = plan.columns().unwrap().iter();
                let mut outcome = Outcome::tagged("");
                outcome.columns = columns.map(|each| (each.name.clone(), each.ty)).collect();
                outcome.tag = None;
                let given = plan.needs_transaction().then_some(&transaction);
                while let Some(rows) = block_on(execution.rows(&self.kv, given))? {
                    assert!(!rows.is_empty(), "batches have rows");
                    outcome.rows.extend(rows);
                }
                Ok(outcome)
            }
            PlanKind::Write => {
                let Transaction::ReadWrite { id, .. } = transaction else {
                    panic!("begun for writing");
                };
                let written = block_on(execution.write(&self.kv, &transaction));
                if written.is_err() && self.transaction.is_none() {
                    block_on(self.kv.rollback(id));
                }
                let written = written?;
                match self.transaction {
                    Some(_) => block_on(self.kv.write(id, written.mutations))?,
                    None => drop(block_on(self.kv.commit(id, written.mutations))?),
                }
                let oid = if statement.tag() == "INSERT" { " 0" } else { "" };
                Ok(Outcome::tagged(&format!("{}{oid} {}", statement.tag(), written.rows)))
            }
            PlanKind::Ddl => {
                let notices = block_on(execution.ddl(&self.kv))?;
                Ok(Outcome { notices, ..Outcome::tagged(statement.tag()) })
            }
        }
    }
}

impl Outcome {
    fn tagged(tag: &str) -> Self {
        let tag = Some(tag.to_owned());
        Outcome { columns: Vec::new(), rows: Vec::new(), notices: Vec::new(), tag }
    }

    /// The rows as psql writes them unaligned.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> =
            self.notices.iter().map(|notice| format!("NOTICE:  {notice}")).collect();
        match &self.tag {
            Some(tag) => lines.push(tag.clone()),
            None => {
                let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
                lines.push(names.join("|"));
                for row in &self.rows {
                    let values =
                        row.iter().zip(&self.columns).map(|(value, (_, ty))| match value {
                            Value::Null => "NULL".to_owned(),
                            value => value.to_text(*ty, &env()),
                        });
                    lines.push(values.collect::<Vec<_>>().join("|"));
                }
            }
        }
        lines.join("\n")
    }
}
