//! One user's session: statements one after the other, in transactions of their own or of BEGIN's.
//!
//! Terms: a statement is *on its own* when no transaction is open; it then runs in one that is begun and
//! committed for it, and is *run again* when that is aborted and nothing of its answer has left. A transaction
//! that a statement failed in is *failed*: it is rolled back below at once, so that its locks go, and takes nothing
//! but its end.
//!
//! ```text
//! idle --BEGIN--> open --statement fails--> failed --ROLLBACK or COMMIT--> idle
//!                   |                                                       ^
//!                   +--COMMIT, ROLLBACK-------------------------------------+
//! ```
//! Example: `UPDATE t SET n = n + 1 WHERE id = 7` on its own begins a read-write transaction, reads the row under an
//! exclusive lock, commits with the new row, and on "wounded" begins again with the priority of the first attempt.
//!
//! Not here: what statements mean (`plan`, `execute`), the wire, savepoints.

mod batch;
mod control;
mod show;
mod statement;
#[cfg(test)]
mod tests;
mod variables;

pub use batch::{BatchError, BatchResult, Scope, StatementResult};
pub use variables::{SERVER_VERSION, Variables};

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use proto::TxnId;
use truetime::Timestamp;

use crate::error::{Origin, SqlError};
use crate::kv::{Begin, Commit, Kv, Transaction};
use crate::parse::Statement;
use crate::plan::{OutputColumn, Plan};
use crate::scalar::env::{Env, SessionEnv};
use crate::scalar::types::Type;
use crate::scalar::value::Value;
use crate::settings::ClusterSettings;

/// Plans that a session keeps.
const PLANS_MAX: usize = 200;
/// Longer texts are planned each time.
const PLAN_TEXT_MAX: usize = 16 << 10;
/// The texts of the plans that a session keeps, together; what a plan takes grows with its text.
const PLAN_TEXTS_MAX: usize = 128 << 10;

/// Where the answer of a statement goes.
pub trait Output: Send {
    /// A read-write transaction was begun for the statement and stays open when that succeeds. Before anything else.
    fn begun(&mut self, _transaction: TxnId) {}

    /// Rows follow, with these columns. Once, before any row.
    fn columns(
        &mut self,
        columns: &[OutputColumn],
    ) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Rows; waits until the client has caught up.
    fn rows(&mut self, rows: Vec<Vec<Value>>) -> impl Future<Output = Result<(), SqlError>> + Send;
}

/// What is executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// One statement.
    pub text: String,
    /// The values of its parameters, with their types as the client gave them; [`Type::Unknown`] for text that
    /// is to be read as whatever is needed.
    pub parameters: Vec<(Value, Type)>,
}

/// The state of a session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// None is open.
    Idle,
    /// A read-write one is.
    ReadWrite,
    /// A read-only one is.
    ReadOnly,
    /// One is in which a statement failed.
    Failed,
}

/// How a statement ended that did not fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// PostgreSQL's tag.
    pub tag: String,
    /// Rows answered or changed.
    pub rows: u64,
    /// What the user should know.
    pub notices: Vec<String>,
    /// The commit that it made.
    pub commit: Commit,
    /// The timestamp of its reads, when it read without locks.
    pub read_at: Option<Timestamp>,
    /// How often it was run again.
    pub retries: u32,
}

impl Summary {
    fn of(tag: impl Into<String>) -> Self {
        Summary { tag: tag.into(), ..Summary::default() }
    }
}

/// Who a session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
}

impl Default for Identity {
    fn default() -> Self {
        Identity { user: "root".to_owned(), database: "postgres".to_owned() }
    }
}

/// What is open.
#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Open {
        transaction: Transaction,
        /// How it was begun; a chain begins the next one alike.
        begin: Begin,
    },
    Failed {
        begin: Begin,
    },
}

/// A statement that was planned before.
#[derive(Debug)]
struct Known {
    statement: Arc<Statement>,
    /// `None` for what is not planned.
    plan: Option<Arc<Plan>>,
    /// What its literals were read under.
    env: Arc<SessionEnv>,
    /// When it was used last.
    used: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    variables: Variables,
    /// The cluster's settings as stored, and what they mean.
    stored: Arc<BTreeMap<String, String>>,
    settings: ClusterSettings,
    /// What the results of a batch may take, all together: they leave in one message, after the commit.
    batch_bytes_max: usize,
    state: State,
    /// Whether the open transaction has executed anything.
    used: bool,
    /// By text and the types of the parameters.
    known: BTreeMap<(String, Vec<Type>), Known>,
    /// The texts of `known`, together.
    known_bytes: usize,
    uses: u64,
}

impl Session {
    /// A session of that user, under the default settings of a cluster.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Session {
            identity,
            variables: Variables::default(),
            stored: Arc::default(),
            settings: ClusterSettings::default(),
            batch_bytes_max: usize::MAX,
            state: State::Idle,
            used: false,
            known: BTreeMap::new(),
            known_bytes: 0,
            uses: 0,
        }
    }

    /// With a limit on the results of a batch: one that exceeds it fails before it is committed.
    #[must_use]
    pub fn with_batch_bytes_max(self, batch_bytes_max: usize) -> Self {
        Session { batch_bytes_max, ..self }
    }

    /// Takes the settings that the cluster has now; a transaction keeps those that it began under.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn renew_settings<K: Kv>(&mut self, kv: &K) -> Result<(), SqlError> {
        if !matches!(self.state, State::Idle) {
            return Ok(());
        }
        let stored = kv.cluster_settings().await?;
        if !Arc::ptr_eq(&stored, &self.stored) {
            self.settings = ClusterSettings::of(&stored);
            self.variables.set_default_statement_timeout(self.settings.statement_timeout);
            self.stored = stored;
        }
        Ok(())
    }

    /// The state of its transaction.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Idle => Status::Idle,
            State::Open { transaction: Transaction::ReadWrite { .. }, .. } => Status::ReadWrite,
            State::Open { transaction: Transaction::ReadOnly { .. }, .. } => Status::ReadOnly,
            State::Failed { .. } => Status::Failed,
        }
    }

    /// Its variables.
    #[must_use]
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Ends the session: its transaction is rolled back.
    pub async fn close<K: Kv>(&mut self, kv: &K) {
        self.abandon(kv).await;
        self.state = State::Idle;
    }

    /// A statement is not executed at all: an open transaction fails, as it does with any other that fails in it,
    /// and so does one that it was to begin.
    pub async fn refuse<K: Kv>(&mut self, kv: &K, request: &Request, error: &SqlError) {
        let statement = self.parsed(request).ok().flatten();
        if let (State::Idle, Some(Statement::Begin { .. })) = (self.state, statement.as_deref()) {
            let begin = Begin::ReadWrite { retry_of: None, max_age: None };
            self.state = State::Failed { begin };
        }
        self.fail(kv, error).await;
    }

    /// A statement panicked, and its transaction is rolled back: what was open is failed.
    pub fn statement_panicked(&mut self) {
        self.forget_plans();
        if let State::Open { begin, .. } = self.state {
            self.state = State::Failed { begin };
        }
    }

    fn forget_plans(&mut self) {
        self.known.clear();
        self.known_bytes = 0;
    }

    /// What evaluation depends on.
    fn env<K: Kv>(&self, kv: &K, transaction: Option<&Transaction>) -> Env {
        let statement_micros = kv.now_micros();
        let begun = transaction.map(|transaction| match transaction {
            Transaction::ReadWrite { id, .. } => id.begin,
            Transaction::ReadOnly { at, .. } => *at,
        });
        let micros = |at: Timestamp| i64::try_from(at.nanos() / 1_000).unwrap_or(i64::MAX);
        Env {
            transaction_micros: begun.map_or(statement_micros, micros),
            statement_micros,
            clock_micros: statement_micros,
            random: u128::from(kv.random()) << 64 | u128::from(kv.random()),
            session: self.variables.env(&self.identity),
        }
    }

    /// Rolls the open transaction back below.
    async fn abandon<K: Kv>(&mut self, kv: &K) {
        if let State::Open { transaction: Transaction::ReadWrite { id, .. }, .. } = self.state {
            kv.rollback(id).await;
        }
    }

    /// A statement failed: an open transaction fails with it.
    async fn fail<K: Kv>(&mut self, kv: &K, error: &SqlError) {
        if let State::Open { begin, .. } = self.state {
            // One that is being ended by another request is that one's.
            if !matches!(error.origin, Origin::NotHere { .. }) {
                self.abandon(kv).await;
            }
            self.state = State::Failed { begin };
        }
    }
}
