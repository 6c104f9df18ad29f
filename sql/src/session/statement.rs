//! Runs one statement: looks tables up, plans, and executes it in the right transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::Priority;
use truetime::Timestamp;

use super::{
    Known, Output, PLAN_TEXT_MAX, PLAN_TEXTS_MAX, PLANS_MAX, Request, Session, State, Summary,
};
use crate::error::{SqlError, SqlState};
use crate::execute::{Execution, Written};
use crate::kv::{Begin, Kv, Transaction};
use crate::parse::ast::AsOf;
use crate::parse::{self, Limits, Statement};
use crate::plan::{self, Catalog, Plan, PlanKind};
use crate::scalar::cast::{Coercion, can_cast, cast};
use crate::scalar::env::Env;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// The pause before a statement is run again: doubles up to the most, and is drawn below that.
const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_MOST: Duration = Duration::from_millis(500);

/// A statement with all that is needed to run it.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) plan: Arc<Plan>,
    pub(super) statement: Arc<Statement>,
    pub(super) parameters: Vec<Value>,
}

impl Session {
    /// Executes one statement.
    ///
    /// # Errors
    /// What went wrong. A transaction that was open is failed then.
    pub async fn execute<K: Kv, O: Output>(
        &mut self,
        kv: &K,
        request: Request,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let result = self.execute_inner(kv, request, out).await.map_err(SqlError::of_private);
        if let Err(error) = &result {
            self.fail(kv, error).await;
        }
        result
    }

    /// The same without what becomes of an open transaction when it fails.
    pub(super) async fn execute_inner<K: Kv, O: Output>(
        &mut self,
        kv: &K,
        request: Request,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let Some(statement) = self.parsed(&request)? else { return Ok(Summary::default()) };
        if matches!(self.state, State::Failed { .. }) && !ends_transaction(&statement) {
            return Err(SqlError::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        if !is_planned(&statement) {
            refuse_parameters(&request)?;
            return self.control(kv, &statement, out).await;
        }
        let planned = self.planned(kv, &statement, request).await?;
        self.used = true;
        match self.state {
            State::Open { transaction, .. } => self.run_in(kv, &planned, &transaction, out).await,
            State::Idle | State::Failed { .. } => self.run_alone(kv, &planned, out).await,
        }
    }

    /// Parses a text, or finds it among those known; nothing for a text without a statement.
    pub(super) fn parsed(&mut self, request: &Request) -> Result<Option<Arc<Statement>>, SqlError> {
        self.uses += 1;
        let key = key_of(request);
        if let Some(known) = self.known.get_mut(&key) {
            known.used = self.uses;
            return Ok(Some(Arc::clone(&known.statement)));
        }
        let mut statements = parse::parse(&request.text, &Limits::default())?;
        let statement = match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => Arc::new(statement),
            (None, _) => return Ok(None),
            (Some(_), false) => {
                return Err(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    "cannot execute several statements at once",
                )
                .with_hint("Send them one by one, or as a batch."));
            }
        };
        if is_planned(&statement) && request.text.len() <= PLAN_TEXT_MAX {
            self.known_bytes += request.text.len();
            while self.known.len() >= PLANS_MAX || self.known_bytes > PLAN_TEXTS_MAX {
                self.forget_oldest();
            }
            let known = Known {
                statement: Arc::clone(&statement),
                plan: None,
                env: self.variables.env(&self.identity),
                used: self.uses,
            };
            self.known.insert(key, known);
        }
        Ok(Some(statement))
    }

    fn forget_oldest(&mut self) {
        let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.known_bytes -= key.0.len();
            self.known.remove(&key);
        }
    }

    /// Plans a statement, unless the plan known is for the very tables there are now.
    pub(super) async fn planned<K: Kv>(
        &mut self,
        kv: &K,
        statement: &Arc<Statement>,
        request: Request,
    ) -> Result<Planned, SqlError> {
        let mut catalog = Catalog(BTreeMap::new());
        for name in statement.tables() {
            if let Some(schema) = kv.table(&name).await? {
                catalog.0.insert(name, schema);
            }
        }
        let key = key_of(&request);
        let mut env = self.env(kv, None);
        let known = self.known.get(&key).filter(|known| known.env.reads_like(&env.session));
        let known = known.and_then(|known| known.plan.clone());
        let plan = match known.filter(|plan| plan.is_for(&catalog)) {
            Some(plan) => plan,
            None => {
                let plan = Arc::new(plan::plan(statement, &catalog, &key.1, &mut env)?);
                if let Some(known) = self.known.get_mut(&key)
                    && !names_an_instant(&key.0)
                {
                    known.plan = Some(Arc::clone(&plan));
                    known.env = Arc::clone(&env.session);
                }
                plan
            }
        };
        let parameters = bound(plan.parameters(), request.parameters, &env)?;
        Ok(Planned { plan, statement: Arc::clone(statement), parameters })
    }

    /// Runs a statement in the open transaction.
    async fn run_in<K: Kv, O: Output>(
        &mut self,
        kv: &K,
        planned: &Planned,
        transaction: &Transaction,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        if planned.plan.as_of().is_some() {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "AS OF SYSTEM TIME in a statement must not be used inside a transaction",
            )
            .with_hint("Say BEGIN READ ONLY AS OF SYSTEM TIME instead."));
        }
        match planned.plan.kind() {
            PlanKind::Rows => {
                check_locks(planned, transaction)?;
                let mut execution = self.execution(kv, planned, Some(transaction));
                let rows = deliver(kv, &mut execution, planned, Some(transaction), out).await?;
                let mut summary = Summary::of(tag_of(&planned.statement, rows));
                summary.rows = rows;
                summary.read_at = read_at(transaction);
                Ok(summary)
            }
            PlanKind::Write => {
                let Transaction::ReadWrite { id, .. } = transaction else {
                    return Err(read_only(planned));
                };
                let mut execution = self.execution(kv, planned, Some(transaction));
                let Written { rows, mutations } = execution.write(kv, transaction).await?;
                if !mutations.is_empty() {
                    kv.write(*id, mutations).await?;
                }
                let mut summary = Summary::of(tag_of(&planned.statement, rows));
                summary.rows = rows;
                Ok(summary)
            }
            PlanKind::Ddl => Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{} cannot run inside a transaction block", planned.statement.tag()),
            )
            .with_hint("COMMIT first: in this release a change of the catalog is a transaction of its own.")),
        }
    }

    /// Runs a statement in a transaction of its own, again when that is safe.
    async fn run_alone<K: Kv, O: Output>(
        &mut self,
        kv: &K,
        planned: &Planned,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let read_only = planned.plan.kind() == PlanKind::Rows && !planned.plan.locks();
        if !read_only && self.variables.is_read_only() {
            return Err(self::read_only(planned));
        }
        if planned.plan.kind() == PlanKind::Ddl {
            let mut execution = self.execution(kv, planned, None);
            let notices = execution.ddl(kv).await?;
            let mut summary = Summary::of(tag_of(&planned.statement, 0));
            summary.notices = notices;
            return Ok(summary);
        }
        if read_only {
            return self.read_alone(kv, planned, out).await;
        }
        let mut retries = 0;
        let mut retry_of = None;
        loop {
            let transaction = kv.begin(Begin::ReadWrite { retry_of, max_age: None }).await?;
            match self.attempt(kv, planned, &transaction).await.map_err(SqlError::of_private) {
                Ok((mut summary, held)) => {
                    summary.retries = retries;
                    if let Some(columns) = planned.plan.columns() {
                        out.columns(columns).await?;
                        out.rows(held).await?;
                    }
                    return Ok(summary);
                }
                Err(error) if self.may_run_again(&error, retries) => {
                    retries += 1;
                    retry_of = priority_of(&transaction);
                    kv.pause(pause(retries, kv.random())).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One attempt of a statement on its own that locks; rows are held until it has committed.
    async fn attempt<K: Kv>(
        &self,
        kv: &K,
        planned: &Planned,
        transaction: &Transaction,
    ) -> Result<(Summary, Vec<Vec<Value>>), SqlError> {
        let Transaction::ReadWrite { id, .. } = *transaction else {
            return Err(SqlError::new(SqlState::INTERNAL_ERROR, "a transaction without locks"));
        };
        let mut execution = self.execution(kv, planned, Some(transaction));
        let executed = match planned.plan.kind() {
            PlanKind::Rows => hold(kv, &mut execution, transaction, self.settings.memory_max)
                .await
                .map(|held| (Written { rows: held.len() as u64, mutations: Vec::new() }, held)),
            PlanKind::Write | PlanKind::Ddl => {
                execution.write(kv, transaction).await.map(|written| (written, Vec::new()))
            }
        };
        let (written, held) = match executed {
            Ok(executed) => executed,
            Err(error) => {
                kv.rollback(id).await;
                return Err(error);
            }
        };
        let commit = kv.commit(id, written.mutations).await?;
        let mut summary = Summary::of(tag_of(&planned.statement, written.rows));
        summary.rows = written.rows;
        summary.commit = commit;
        Ok((summary, held))
    }

    /// A statement on its own that takes no locks.
    async fn read_alone<K: Kv, O: Output>(
        &mut self,
        kv: &K,
        planned: &Planned,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let begin = planned.plan.as_of().map_or(Begin::ReadOnly, begin_as_of);
        let mut retries = 0;
        loop {
            let transaction = match planned.plan.needs_transaction() {
                true => Some(kv.begin(begin).await?),
                false => None,
            };
            let mut execution = self.execution(kv, planned, transaction.as_ref());
            let mut counted = Counted { out: &mut *out, any: false };
            let done =
                deliver(kv, &mut execution, planned, transaction.as_ref(), &mut counted).await;
            let left = counted.any;
            match done {
                Ok(rows) => {
                    let mut summary = Summary::of(tag_of(&planned.statement, rows));
                    summary.rows = rows;
                    summary.retries = retries;
                    summary.read_at = transaction.as_ref().and_then(read_at);
                    return Ok(summary);
                }
                Err(error) if !left && self.may_run_again(&error, retries) => {
                    retries += 1;
                    kv.pause(pause(retries, kv.random())).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a statement on its own is run again after that error.
    pub(super) fn may_run_again(&self, error: &SqlError, retries: u32) -> bool {
        error.is_retryable() && retries < self.settings.retries_max
    }

    pub(super) fn execution<K: Kv>(
        &self,
        kv: &K,
        planned: &Planned,
        transaction: Option<&Transaction>,
    ) -> Execution {
        let env = self.env(kv, transaction);
        let (plan, parameters) = (Arc::clone(&planned.plan), planned.parameters.clone());
        Execution::new(plan, parameters, env, self.settings.memory_max)
    }
}

/// Remembers whether anything has left.
struct Counted<'a, O> {
    out: &'a mut O,
    any: bool,
}

impl<O: Output> Output for Counted<'_, O> {
    async fn columns(&mut self, columns: &[plan::OutputColumn]) -> Result<(), SqlError> {
        self.any = true;
        self.out.columns(columns).await
    }

    async fn rows(&mut self, rows: Vec<Vec<Value>>) -> Result<(), SqlError> {
        self.any = true;
        self.out.rows(rows).await
    }
}

/// Sends all rows of an execution on as they come; the columns leave with the first of them.
async fn deliver<K: Kv, O: Output>(
    kv: &K,
    execution: &mut Execution,
    planned: &Planned,
    transaction: Option<&Transaction>,
    out: &mut O,
) -> Result<u64, SqlError> {
    let columns = planned.plan.columns().unwrap_or_default();
    let mut count = 0;
    let mut said = false;
    while let Some(rows) = execution.rows(kv, transaction).await? {
        if !std::mem::replace(&mut said, true) {
            out.columns(columns).await?;
        }
        count += rows.len() as u64;
        if !rows.is_empty() {
            out.rows(rows).await?;
        }
    }
    if !said {
        out.columns(columns).await?;
    }
    Ok(count)
}

/// All rows of an execution, up to the limit of memory.
pub(super) async fn hold<K: Kv>(
    kv: &K,
    execution: &mut Execution,
    transaction: &Transaction,
    memory_max: usize,
) -> Result<Vec<Vec<Value>>, SqlError> {
    let mut held = Vec::new();
    let mut bytes = 0_usize;
    while let Some(rows) = execution.rows(kv, Some(transaction)).await? {
        bytes += rows.iter().flatten().map(Value::size).sum::<usize>();
        if bytes > memory_max {
            return Err(too_much_to_hold(memory_max));
        }
        held.extend(rows);
    }
    Ok(held)
}

/// A result that must be held does not fit.
pub(super) fn too_much_to_hold(memory_max: usize) -> SqlError {
    let message =
        format!("the result takes more than the {memory_max} bytes that a statement may hold");
    SqlError::new(SqlState::OUT_OF_MEMORY, message)
        .with_hint("Ask for less with LIMIT, or raise the cluster setting sql.memory_max.")
}

/// PostgreSQL's tag.
pub(super) fn tag_of(statement: &Statement, rows: u64) -> String {
    match statement {
        Statement::Insert(_) => format!("INSERT 0 {rows}"),
        Statement::Query(_) | Statement::Update(_) | Statement::Delete(_) => {
            format!("{} {rows}", statement.tag())
        }
        _ => statement.tag().to_owned(),
    }
}

/// Whether it is planned and executed; all others are the session's own.
pub(super) fn is_planned(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::CreateTable(_)
            | Statement::DropTable(_)
            | Statement::Explain(_)
            | Statement::ShowTables
            | Statement::ShowColumns { .. }
            | Statement::ShowCreateTable { .. }
    )
}

fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. })
}

/// Whether a literal may stand for another instant the next time: a plan has read it already. A text that only
/// looks so is planned each time, which costs no more than that.
fn names_an_instant(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| text.contains(word))
}

fn key_of(request: &Request) -> (String, Vec<Type>) {
    (request.text.clone(), request.parameters.iter().map(|(_, ty)| *ty).collect())
}

/// The values of a plan's parameters.
fn bound(types: &[Type], given: Vec<(Value, Type)>, env: &Env) -> Result<Vec<Value>, SqlError> {
    if types.len() != given.len() {
        let message = format!(
            "the statement has {} parameters, and {} values were given",
            types.len(),
            given.len()
        );
        return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message));
    }
    types.iter().zip(given).map(|(wanted, (value, ty))| value_as(*wanted, value, ty, env)).collect()
}

fn value_as(wanted: Type, value: Value, ty: Type, env: &Env) -> Result<Value, SqlError> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::Text(text) if ty == Type::Unknown => Value::from_text(&text, wanted, env),
        value if ty == wanted => Ok(value),
        value if can_cast(ty, wanted, Coercion::Assignment) => cast(value, ty, wanted, env),
        _ => {
            let message = format!("a parameter is {}, and {} is needed", ty.name(), wanted.name());
            Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message))
        }
    }
}

fn refuse_parameters(request: &Request) -> Result<(), SqlError> {
    if request.parameters.is_empty() {
        return Ok(());
    }
    Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, "this statement takes no parameters"))
}

fn check_locks(planned: &Planned, transaction: &Transaction) -> Result<(), SqlError> {
    match transaction {
        Transaction::ReadOnly { .. } if planned.plan.locks() => Err(SqlError::new(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "cannot execute SELECT FOR UPDATE in a read-only transaction",
        )),
        Transaction::ReadOnly { .. } | Transaction::ReadWrite { .. } => Ok(()),
    }
}

fn read_only(planned: &Planned) -> SqlError {
    SqlError::new(
        SqlState::READ_ONLY_SQL_TRANSACTION,
        format!("cannot execute {} in a read-only transaction", planned.statement.tag()),
    )
}

fn read_at(transaction: &Transaction) -> Option<Timestamp> {
    match transaction {
        Transaction::ReadOnly { at, .. } => Some(*at),
        Transaction::ReadWrite { .. } => None,
    }
}

pub(super) fn priority_of(transaction: &Transaction) -> Option<Priority> {
    match transaction {
        Transaction::ReadWrite { priority, .. } => Some(*priority),
        Transaction::ReadOnly { .. } => None,
    }
}

pub(super) fn begin_as_of(as_of: AsOf) -> Begin {
    match as_of {
        AsOf::Timestamp(at) => Begin::AsOf(at),
        AsOf::Ago(age) => Begin::Ago(age),
        AsOf::MaxStaleness(age) => Begin::MaxStaleness(age),
    }
}

/// The pause before attempt number `retries + 1`.
pub(super) fn pause(retries: u32, random: u64) -> Duration {
    let most = PAUSE_FIRST.saturating_mul(1 << retries.min(8)).min(PAUSE_MOST);
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).max(2);
    // At least half of it, so that two that met do not meet again at once.
    Duration::from_nanos(nanos / 2 + random % (nanos / 2))
}
