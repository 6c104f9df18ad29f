//! Statements that are not planned: those of transactions and of settings.

use super::statement::begin_as_of;
use super::{Output, Session, State, Summary};
use crate::error::{SqlError, SqlState};
use crate::kv::{Begin, Kv, Transaction};
use crate::parse::ast::AsOf;
use crate::parse::{SetValue, Statement};
use crate::settings;

const NO_TRANSACTION: &str = "WARNING:  there is no transaction in progress";
const ALREADY_IN_TRANSACTION: &str = "WARNING:  there is already a transaction in progress";

impl Session {
    /// Executes a statement that is not planned.
    pub(super) async fn control<K: Kv, O: Output>(
        &mut self,
        kv: &K,
        statement: &Statement,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        match statement {
            Statement::Begin { modes, as_of } => self.begin(kv, modes.read_only, *as_of).await,
            Statement::Commit { chain } => self.commit(kv, *chain).await,
            Statement::Rollback { chain } => self.roll_back(kv, *chain).await,
            Statement::SetTransaction { modes, session: false } => {
                self.set_transaction(kv, modes.read_only).await
            }
            Statement::SetTransaction { modes, session: true } => {
                if let Some(read_only) = modes.read_only {
                    let value = if read_only { "on" } else { "off" };
                    self.variables.set("default_transaction_read_only", Some(value))?;
                }
                Ok(Summary::of("SET"))
            }
            Statement::Set { name, value, local } => self.set(name, value, *local),
            Statement::Reset { name } => {
                match name {
                    Some(name) => self.variables.set(name, None)?,
                    None => self.variables.reset_all(),
                }
                Ok(Summary::of("RESET"))
            }
            Statement::Show { name } => self.show(name, out).await,
            Statement::ShowAll => self.show_all(out).await,
            Statement::ShowClusterSetting { name } => {
                self.show_cluster(kv, name.as_deref(), out).await
            }
            Statement::SetClusterSetting { name, value } => {
                self.set_cluster(kv, name, value.clone()).await
            }
            Statement::DiscardAll => self.discard_all(),
            Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::RollbackToSavepoint { .. } => Err(SqlError::unsupported("savepoints")),
            Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. } => Err(SqlError::unsupported("named statements")
                .with_hint("Give parameters with each request: its text is planned once.")),
            Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::CreateTable(_)
            | Statement::DropTable(_)
            | Statement::Explain(_)
            | Statement::ShowTables
            | Statement::ShowColumns { .. }
            | Statement::ShowCreateTable { .. } => {
                Err(SqlError::new(SqlState::INTERNAL_ERROR, "this statement is planned"))
            }
        }
    }

    /// The transaction that BEGIN begins.
    fn begin_of(&self, read_only: Option<bool>, as_of: Option<AsOf>) -> Result<Begin, SqlError> {
        match (as_of, read_only) {
            (Some(_), Some(false)) => Err(past_is_read_only()),
            (Some(as_of), _) => Ok(begin_as_of(as_of)),
            (None, read_only) => match read_only.unwrap_or_else(|| self.variables.is_read_only()) {
                true => Ok(Begin::ReadOnly),
                false => Ok(Begin::ReadWrite { retry_of: None, max_age: None }),
            },
        }
    }

    async fn begin<K: Kv>(
        &mut self,
        kv: &K,
        read_only: Option<bool>,
        as_of: Option<AsOf>,
    ) -> Result<Summary, SqlError> {
        let mut summary = Summary::of("BEGIN");
        match self.state {
            State::Open { .. } => summary.notices.push(ALREADY_IN_TRANSACTION.to_owned()),
            State::Idle | State::Failed { .. } => {
                self.begin_as(kv, self.begin_of(read_only, as_of)?).await?;
            }
        }
        Ok(summary)
    }

    /// Begins a transaction. When it cannot, the session has a failed one: what a client sent after it without
    /// waiting does not run outside of a transaction.
    async fn begin_as<K: Kv>(&mut self, kv: &K, begin: Begin) -> Result<(), SqlError> {
        self.state = State::Failed { begin };
        self.used = false;
        self.variables.begin();
        let transaction = kv.begin(begin).await?;
        self.state = State::Open { transaction, begin };
        Ok(())
    }

    async fn commit<K: Kv>(&mut self, kv: &K, chain: bool) -> Result<Summary, SqlError> {
        let (mut summary, begin) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {
                if chain {
                    return Err(no_block("COMMIT AND CHAIN"));
                }
                let mut summary = Summary::of("COMMIT");
                summary.notices.push(NO_TRANSACTION.to_owned());
                return Ok(summary);
            }
            // As in PostgreSQL, the end of a failed transaction says what it was.
            State::Failed { begin } => {
                self.variables.roll_back();
                (Summary::of("ROLLBACK"), begin)
            }
            State::Open { transaction: Transaction::ReadOnly { .. }, begin } => {
                self.variables.commit();
                (Summary::of("COMMIT"), begin)
            }
            State::Open { transaction: Transaction::ReadWrite { id, .. }, begin } => {
                match kv.commit(id, Vec::new()).await {
                    Ok(commit) => {
                        self.variables.commit();
                        (Summary { commit, ..Summary::of("COMMIT") }, begin)
                    }
                    // It is over either way: the session is idle again.
                    Err(error) => {
                        self.variables.roll_back();
                        return Err(error);
                    }
                }
            }
        };
        if chain {
            self.chain(kv, begin, &mut summary).await;
        }
        Ok(summary)
    }

    async fn roll_back<K: Kv>(&mut self, kv: &K, chain: bool) -> Result<Summary, SqlError> {
        let mut summary = Summary::of("ROLLBACK");
        let begin = match self.state {
            State::Idle if chain => return Err(no_block("ROLLBACK AND CHAIN")),
            State::Idle => {
                summary.notices.push(NO_TRANSACTION.to_owned());
                return Ok(summary);
            }
            State::Open { begin, .. } | State::Failed { begin } => begin,
        };
        self.abandon(kv).await;
        self.state = State::Idle;
        self.variables.roll_back();
        if chain {
            self.chain(kv, begin, &mut summary).await;
        }
        Ok(summary)
    }

    /// Begins the next transaction of a chain, like the one before: of the same past, if it read the past. That one
    /// has ended, which the answer must say whatever becomes of this one.
    async fn chain<K: Kv>(&mut self, kv: &K, begin: Begin, summary: &mut Summary) {
        if let Err(error) = self.begin_as(kv, begin).await {
            let notice = format!("WARNING:  the next transaction could not begin: {error}");
            summary.notices.push(notice);
        }
    }

    /// `SET TRANSACTION`, before the transaction has executed anything: it is begun again as what is asked for.
    async fn set_transaction<K: Kv>(
        &mut self,
        kv: &K,
        read_only: Option<bool>,
    ) -> Result<Summary, SqlError> {
        let mut summary = Summary::of("SET");
        let State::Open { transaction, begin } = self.state else {
            summary.notices.push(
                "WARNING:  SET TRANSACTION can only be used in transaction blocks".to_owned(),
            );
            return Ok(summary);
        };
        let is_read_only = matches!(transaction, Transaction::ReadOnly { .. });
        if read_only.is_none_or(|wanted| wanted == is_read_only) {
            return Ok(summary);
        }
        if self.used {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "transaction mode must be set before any query",
            ));
        }
        if !matches!(begin, Begin::ReadWrite { .. } | Begin::ReadOnly) {
            return Err(past_is_read_only());
        }
        let begin = self.begin_of(read_only, None)?;
        self.abandon(kv).await;
        self.state = State::Failed { begin };
        self.state = State::Open { transaction: kv.begin(begin).await?, begin };
        Ok(summary)
    }

    fn set(&mut self, name: &str, value: &SetValue, local: bool) -> Result<Summary, SqlError> {
        let value = match value {
            SetValue::Default => None,
            SetValue::Values(values) => Some(values.join(", ")),
        };
        let mut summary = Summary::of("SET");
        match local {
            false => self.variables.set(name, value.as_deref())?,
            true if matches!(self.state, State::Idle) => summary
                .notices
                .push("WARNING:  SET LOCAL can only be used in transaction blocks".to_owned()),
            true => self.variables.set_local(name, value.as_deref())?,
        }
        Ok(summary)
    }

    async fn set_cluster<K: Kv>(
        &mut self,
        kv: &K,
        name: &str,
        value: Option<String>,
    ) -> Result<Summary, SqlError> {
        if !matches!(self.state, State::Idle) {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "SET CLUSTER SETTING cannot run inside a transaction block",
            ));
        }
        if self.variables.is_read_only() {
            return Err(SqlError::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                "cannot execute SET CLUSTER SETTING in a read-only transaction",
            ));
        }
        let setting = settings::find(name)?;
        if let Some(value) = &value {
            setting.check(value)?;
        }
        kv.set_cluster_setting(setting.name, value).await?;
        Ok(Summary::of("SET CLUSTER SETTING"))
    }

    fn discard_all(&mut self) -> Result<Summary, SqlError> {
        if !matches!(self.state, State::Idle) {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "DISCARD ALL cannot run inside a transaction block",
            ));
        }
        self.variables.reset_all();
        self.forget_plans();
        Ok(Summary::of("DISCARD ALL"))
    }
}

fn past_is_read_only() -> SqlError {
    let message = "AS OF SYSTEM TIME needs a read-only transaction";
    SqlError::new(SqlState::READ_ONLY_SQL_TRANSACTION, message)
}

fn no_block(what: &str) -> SqlError {
    let message = format!("{what} can only be used in transaction blocks");
    SqlError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message)
}
