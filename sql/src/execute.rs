//! Runs plans over a [`Kv`].
//!
//! Terms: an *execution* is one run of a plan with its parameters; rows are pulled through the parts of the plan
//! in *batches*. An execution that computes for long *breathes*: it lets others run every thousand rows.
//!
//! Example: `UPDATE t SET n = n + 1 WHERE id = 7` scans one key under an exclusive lock, and gives back one
//! mutation that replaces the row; whoever runs it commits with that, in the same message.
//!
//! Not here: transactions, retries, what a session keeps.

use std::future::Future;
use std::sync::Arc;

use crate::error::SqlError;
use crate::kv::{Kv, Transaction};
use crate::plan::{Plan, PlanBody};
use crate::scalar::env::Env;
use crate::scalar::value::Value;
use memory::Memory;
use proto::table::Mutation;
use run::{Row, Run, State};

mod ddl;
pub(crate) mod eval;
mod group;
mod keys;
mod memory;
mod run;
mod scan;
mod sort;
mod write;

#[cfg(test)]
pub(crate) mod tests;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// How many rows: the count of the command tag.
    pub rows: u64,
    /// What is left to write, or to commit with; what came before is buffered in the transaction already.
    pub mutations: Vec<Mutation>,
}

/// One run of a plan.
#[derive(Debug)]
pub struct Execution {
    plan: Arc<Plan>,
    parameters: Vec<Value>,
    env: Env,
    memory: Memory,
    state: Option<State>,
}

impl Execution {
    /// With parameters of the types that the plan says, and at most so many bytes of memory for rows that are
    /// sorted, grouped or kept otherwise.
    ///
    /// # Panics
    ///
    /// When there are fewer parameters than the plan has.
    #[must_use]
    pub fn new(plan: Arc<Plan>, parameters: Vec<Value>, env: Env, memory_max: usize) -> Self {
        let wanted = plan.parameters().len();
        assert!(parameters.len() >= wanted, "the plan takes {wanted} parameters");
        Execution { plan, parameters, env, memory: Memory::new(memory_max), state: None }
    }

    /// The environment as it is after what was run.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The next rows of a plan that gives rows; `None` when there are no more. The transaction is needed if the
    /// plan reads a table.
    ///
    /// # Errors
    ///
    /// Those of the expressions and of the database; 53200 when more memory is needed than there may be.
    pub fn rows<'a, K: Kv>(
        &'a mut self,
        kv: &'a K,
        transaction: Option<&'a Transaction>,
    ) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a {
        async move {
            let plan = Arc::clone(&self.plan);
            match &plan.body {
                PlanBody::Query(node) => {
                    let state = self.state.get_or_insert_with(|| State::of(node));
                    let mut run = Run {
                        kv,
                        transaction: transaction.copied(),
                        parameters: &self.parameters,
                        env: &mut self.env,
                        memory: &mut self.memory,
                        computed: 0,
                    };
                    run::next(node, state, &mut run).await
                }
                PlanBody::Fixed(rows) => Ok(self.once(|| rows.clone())),
                PlanBody::ShowTables => {
                    let tables = kv.tables().await?;
                    let row = |name: &str| vec![Value::Text(name.to_owned())];
                    Ok(self.once(|| tables.iter().map(|table| row(table.name())).collect()))
                }
                PlanBody::Insert(_)
                | PlanBody::Update(_)
                | PlanBody::Delete(_)
                | PlanBody::CreateTable { .. }
                | PlanBody::DropTable { .. } => Ok(None),
            }
        }
    }

    /// Rows that come all at once.
    fn once(&mut self, rows: impl FnOnce() -> Vec<Row>) -> Option<Vec<Row>> {
        if self.state.is_some() {
            return None;
        }
        self.state = Some(State::Rows { at: 0 });
        Some(rows()).filter(|rows| !rows.is_empty())
    }

    /// Runs INSERT, UPDATE or DELETE.
    ///
    /// # Errors
    ///
    /// Those of the expressions and of the database, NULL where it is refused (23502), a key twice (23505).
    pub fn write<'a, K: Kv>(
        &'a mut self,
        kv: &'a K,
        transaction: &'a Transaction,
    ) -> impl Future<Output = Result<Written, SqlError>> + Send + 'a {
        async move {
            let plan = Arc::clone(&self.plan);
            let mut run = Run {
                kv,
                transaction: Some(*transaction),
                parameters: &self.parameters,
                env: &mut self.env,
                memory: &mut self.memory,
                computed: 0,
            };
            match &plan.body {
                PlanBody::Insert(insert) => write::insert(insert, &mut run).await,
                PlanBody::Update(update) => write::update(update, &mut run).await,
                PlanBody::Delete(delete) => write::delete(delete, &mut run).await,
                PlanBody::Query(_)
                | PlanBody::Fixed(_)
                | PlanBody::ShowTables
                | PlanBody::CreateTable { .. }
                | PlanBody::DropTable { .. } => Ok(Written::default()),
            }
        }
    }

    /// Runs CREATE TABLE or DROP TABLE; gives notices.
    ///
    /// # Errors
    ///
    /// Those of the database: there is such a table, or none.
    pub fn ddl<'a, K: Kv>(
        &'a mut self,
        kv: &'a K,
    ) -> impl Future<Output = Result<Vec<String>, SqlError>> + Send + 'a {
        async move {
            let plan = Arc::clone(&self.plan);
            match &plan.body {
                PlanBody::CreateTable { table, if_not_exists } => {
                    ddl::create_table(kv, table, *if_not_exists).await
                }
                PlanBody::DropTable { names, if_exists } => {
                    ddl::drop_tables(kv, names, *if_exists).await
                }
                PlanBody::Query(_)
                | PlanBody::Fixed(_)
                | PlanBody::ShowTables
                | PlanBody::Insert(_)
                | PlanBody::Update(_)
                | PlanBody::Delete(_) => Ok(Vec::new()),
            }
        }
    }
}
