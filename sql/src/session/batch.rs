//! Statements in a transaction that is named from outside, and several of them at once.
//!
//! A program on the API has no SQL session: it names a transaction with each request, or has one begun. A batch
//! without one is a transaction of its own, so it can be run again as a whole, like a single statement.

use std::time::Duration;

use proto::{Priority, TxnId};

use super::statement::{Planned, hold, is_planned, pause, priority_of, tag_of, too_much_to_hold};
use super::{Output, Request, Session, State, Summary};
use crate::error::{Origin, SqlError, SqlState};
use crate::execute::Written;
use crate::kv::{Begin, Commit, Kv, Transaction};
use crate::parse::Statement;
use crate::plan::{OutputColumn, PlanKind};
use crate::scalar::value::Value;

/// The transaction of statements that belong to no SQL session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One of their own.
    Own,
    /// A read-only one, for them alone.
    ReadOnly(Begin),
    /// A read-write one that was begun before.
    Existing(TxnId),
    /// A read-write one that is begun for them and stays open.
    Begin {
        /// The priority of the attempt that it repeats.
        retry_of: Option<Priority>,
        /// Its age limit; the cluster's if not given.
        max_age: Option<Duration>,
    },
}

/// The whole result of one statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatementResult {
    /// Of its rows; none when it answers none.
    pub columns: Vec<OutputColumn>,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
    /// PostgreSQL's tag.
    pub tag: String,
    /// Rows answered or changed.
    pub count: u64,
}

/// What a batch answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchResult {
    /// One for each statement.
    pub results: Vec<StatementResult>,
    /// The transaction that was begun for it and is still open.
    pub begun: Option<TxnId>,
    /// The commit that it made.
    pub commit: Commit,
    /// How often it was run again.
    pub retries: u32,
}

/// An error, and which statement it is of.
pub type BatchError = (usize, SqlError);

impl Session {
    /// Executes one statement in that transaction. The output is told the id of one that is begun for it.
    ///
    /// # Errors
    /// What went wrong, parsing included. The transaction is rolled back then, whichever it is.
    pub async fn execute_in<K: Kv, O: Output>(
        &mut self,
        kv: &K,
        scope: Scope,
        request: Request,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        if let Err(error) = self.check_loose(&request) {
            self.give_up(kv, scope).await;
            return Err(error);
        }
        let begin = match scope {
            Scope::Own => return self.execute(kv, request, out).await,
            Scope::ReadOnly(begin) => begin,
            Scope::Existing(_) => Begin::ReadWrite { retry_of: None, max_age: None },
            Scope::Begin { retry_of, max_age } => Begin::ReadWrite { retry_of, max_age },
        };
        let (transaction, begun) = match scope {
            Scope::Existing(id) => (existing(id), None),
            Scope::Own | Scope::ReadOnly(_) | Scope::Begin { .. } => {
                let transaction = kv.begin(begin).await?;
                (transaction, id_of(&transaction))
            }
        };
        if let Some(id) = begun {
            out.begun(id);
        }
        self.state = State::Open { transaction, begin };
        // Others may name this transaction, also one that was begun here: the client has heard of it.
        let result = self.execute_inner(kv, request, out).await;
        if let Err(error) = &result {
            self.fail(kv, error).await;
        }
        self.state = State::Idle;
        result.map_err(|error| over(error, begun))
    }

    /// Refuses what makes no sense without a SQL session.
    fn check_loose(&mut self, request: &Request) -> Result<(), SqlError> {
        match self.parsed(request)? {
            Some(statement) if !is_planned(&statement) && !is_loose(&statement) => {
                Err(SqlError::new(
                    SqlState::NO_ACTIVE_SQL_TRANSACTION,
                    format!("{} needs a SQL session", statement.tag()),
                )
                .with_hint(
                    "Give sql_session on a Session stream, or use the API's Begin and Commit.",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A request failed before its transaction was used.
    async fn give_up<K: Kv>(&self, kv: &K, scope: Scope) {
        if let Scope::Existing(id) = scope {
            kv.rollback(id).await;
        }
    }

    /// Executes statements one after the other in one transaction. With `commit` an existing one, or one that is
    /// begun for them, is committed after the last.
    ///
    /// # Errors
    /// The first that failed, in planning or execution; the transaction is rolled back then, whichever it is.
    pub async fn execute_batch<K: Kv>(
        &mut self,
        kv: &K,
        scope: Scope,
        commit: bool,
        requests: Vec<Request>,
    ) -> Result<BatchResult, BatchError> {
        let planned = match self.plan_batch(kv, requests).await {
            Ok(planned) => planned,
            Err(failed) => {
                self.give_up(kv, scope).await;
                return Err(failed);
            }
        };
        let at_start = |error| (0, error);
        match scope {
            Scope::Own => self.batch_alone(kv, &planned).await,
            Scope::ReadOnly(begin) => {
                let transaction = kv.begin(begin).await.map_err(at_start)?;
                self.batch_in(kv, &planned, &transaction)
                    .await
                    .map(|(results, _)| BatchResult { results, ..BatchResult::default() })
            }
            Scope::Existing(id) => self.batch_then(kv, &planned, existing(id), commit).await,
            Scope::Begin { retry_of, max_age } => {
                let begin = Begin::ReadWrite { retry_of, max_age };
                let transaction = kv.begin(begin).await.map_err(at_start)?;
                let begun = id_of(&transaction);
                let result = self.batch_then(kv, &planned, transaction, commit).await;
                let result =
                    result.map_err(|(number, error)| (number, over(error.of_private(), begun)))?;
                Ok(BatchResult { begun: begun.filter(|_| !commit), ..result })
            }
        }
    }

    async fn plan_batch<K: Kv>(
        &mut self,
        kv: &K,
        requests: Vec<Request>,
    ) -> Result<Vec<Planned>, BatchError> {
        if requests.is_empty() {
            let message = "a batch has at least one statement";
            return Err((0, SqlError::new(SqlState::PROTOCOL_VIOLATION, message)));
        }
        let mut planned = Vec::with_capacity(requests.len());
        for (number, request) in requests.into_iter().enumerate() {
            let statement = self.parsed(&request).map_err(|error| (number, error))?;
            let empty = || (number, not_in_batch("an empty statement"));
            let statement = statement.ok_or_else(empty)?;
            let plan = match is_planned(&statement) {
                true => self.planned(kv, &statement, request).await,
                false => Err(not_in_batch(statement.tag())),
            };
            let plan = plan.map_err(|error| (number, error))?;
            if plan.plan.kind() == PlanKind::Ddl || plan.plan.as_of().is_some() {
                return Err((number, not_in_batch(statement.tag())));
            }
            planned.push(plan);
        }
        Ok(planned)
    }

    /// In a transaction of the batch's own, again when that is safe.
    async fn batch_alone<K: Kv>(
        &mut self,
        kv: &K,
        planned: &[Planned],
    ) -> Result<BatchResult, BatchError> {
        let reads =
            |planned: &Planned| planned.plan.kind() == PlanKind::Rows && !planned.plan.locks();
        let read_only = planned.iter().all(reads);
        let mut retries = 0;
        let mut retry_of = None;
        loop {
            let begin = match read_only {
                true => Begin::ReadOnly,
                false => Begin::ReadWrite { retry_of, max_age: None },
            };
            let transaction = kv.begin(begin).await.map_err(|error| (0, error))?;
            let result = self.batch_then(kv, planned, transaction, !read_only).await;
            match result.map_err(|(number, error)| (number, error.of_private())) {
                Ok(result) => return Ok(BatchResult { retries, ..result }),
                Err((_, error)) if self.may_run_again(&error, retries) => {
                    retries += 1;
                    retry_of = priority_of(&transaction);
                    let pause = kv.pause(pause(retries, kv.random())).await;
                    pause.map_err(|error| (0, error))?;
                }
                Err(failed) => return Err(failed),
            }
        }
    }

    /// In that transaction, which is then committed or stays open; rolled back when a statement fails.
    async fn batch_then<K: Kv>(
        &self,
        kv: &K,
        planned: &[Planned],
        transaction: Transaction,
        commit: bool,
    ) -> Result<BatchResult, BatchError> {
        let last = planned.len() - 1;
        let (results, written) = match self.batch_in(kv, planned, &transaction).await {
            Ok(done) => done,
            Err((number, error)) => {
                // One that is being ended by another request is that one's.
                if let Some(id) = id_of(&transaction)
                    && !matches!(error.origin, Origin::NotHere { .. })
                {
                    kv.rollback(id).await;
                }
                return Err((number, error));
            }
        };
        let mut result = BatchResult { results, ..BatchResult::default() };
        let Some(id) = id_of(&transaction) else { return Ok(result) };
        let mutations = written.mutations;
        if commit {
            result.commit = kv.commit(id, mutations).await.map_err(|error| (last, error))?;
        } else if !mutations.is_empty()
            && let Err(error) = kv.write(id, mutations).await
        {
            kv.rollback(id).await;
            return Err((last, error));
        }
        Ok(result)
    }

    /// All statements in that transaction; what the last one writes is left to the caller.
    async fn batch_in<K: Kv>(
        &self,
        kv: &K,
        planned: &[Planned],
        transaction: &Transaction,
    ) -> Result<(Vec<StatementResult>, Written), BatchError> {
        let mut results = Vec::with_capacity(planned.len());
        let mut written = Written { rows: 0, mutations: Vec::new() };
        let bytes_max = self.settings.memory_max.min(self.batch_bytes_max);
        let mut left = bytes_max;
        for (number, one) in planned.iter().enumerate() {
            if let Some(id) = id_of(transaction)
                && !written.mutations.is_empty()
            {
                let mutations = std::mem::take(&mut written.mutations);
                kv.write(id, mutations).await.map_err(|error| (number - 1, error))?;
            }
            let result = self.one_of_batch(kv, one, transaction, left).await;
            let (result, mutations) = result.map_err(|error| (number, error))?;
            let bytes = result.rows.iter().flatten().map(Value::size).sum::<usize>();
            left = left.checked_sub(bytes).ok_or_else(|| (number, too_much_to_hold(bytes_max)))?;
            written = mutations;
            results.push(result);
        }
        Ok((results, written))
    }

    async fn one_of_batch<K: Kv>(
        &self,
        kv: &K,
        planned: &Planned,
        transaction: &Transaction,
        memory_max: usize,
    ) -> Result<(StatementResult, Written), SqlError> {
        let mut execution = self.execution(kv, planned, Some(transaction));
        let mut result = StatementResult::default();
        let written = match planned.plan.kind() {
            PlanKind::Rows => {
                result.columns = planned.plan.columns().unwrap_or_default().to_vec();
                result.rows = hold(kv, &mut execution, transaction, memory_max).await?;
                Written { rows: result.rows.len() as u64, mutations: Vec::new() }
            }
            PlanKind::Write | PlanKind::Ddl => match transaction {
                Transaction::ReadWrite { .. } => execution.write(kv, transaction).await?,
                Transaction::ReadOnly { .. } => {
                    return Err(SqlError::new(
                        SqlState::READ_ONLY_SQL_TRANSACTION,
                        "cannot write in a read-only transaction",
                    ));
                }
            },
        };
        result.count = written.rows;
        result.tag = tag_of(&planned.statement, written.rows);
        Ok((result, written))
    }
}

/// Whether a statement that is not planned makes sense by itself.
fn is_loose(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Show { .. }
            | Statement::ShowAll
            | Statement::ShowClusterSetting { .. }
            | Statement::SetClusterSetting { .. }
    )
}

fn not_in_batch(tag: &str) -> SqlError {
    SqlError::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("{tag} cannot be part of a batch, which is one transaction of queries and changes"),
    )
    .with_hint("Execute it by itself.")
}

/// The error of a request for which a transaction was begun: that one is over, and its retry wants its priority.
fn over(error: SqlError, begun: Option<TxnId>) -> SqlError {
    match begun {
        Some(id) => error.over(id),
        None => error,
    }
}

fn existing(id: TxnId) -> Transaction {
    // Only whoever begins it again passes a priority on, and that is the client.
    Transaction::ReadWrite { id, priority: Priority::first(id) }
}

fn id_of(transaction: &Transaction) -> Option<TxnId> {
    match transaction {
        Transaction::ReadWrite { id, .. } => Some(*id),
        Transaction::ReadOnly { .. } => None,
    }
}
