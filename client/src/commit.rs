//! Commits, and the search for the outcome of one whose answer was lost.
//!
//! A commit may be answered in four ways ([`Verdict`]). Whatever is not a certain abort and not a commit is
//! *looked up* by the attempt's id at the coordinator, which any node reaches. A lookup that finds no record and
//! no commit in hand logs an abort, so its "aborted" is certain too. Only when nobody can say does the caller
//! get "outcome unknown" (T42).
//!
//! ```text
//! commit --> Ok ----------------------------------------------> Committed
//!        --> certain abort -----------------------------------> Aborted
//!        --> would be refused again --------------------------> Failed
//!        --> lost, late, in doubt --> ResolveCommit, LookupOutcome --> one of these, or Unknown
//! ```

use crate::backoff::Backoff;
use crate::call::ask;
use crate::client::Client;
use crate::error::{CallError, ClientError, Refusal};
use crate::mutation::Mutations;
use crate::observe::Commit;
use crate::tables::is_stale_table;
use crate::transaction::Begun;
use bytes::Bytes;
use proto::rpc::v1::commit_request::Transaction;
use proto::rpc::v1::{
    CommitRequest, CommitResponse, ErrorKind, LookupOutcomeRequest, Outcome, ResolveCommitRequest,
    Retry, RowKey, SingleUseCommit, Table, WrittenKeys,
};
use proto::{NodeId, Priority, TxnId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use truetime::Timestamp;

/// The time of one question for an outcome, so that a node that hangs does not use up all of it.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a commit that a node could not take at the moment is sent again to it.
const RESENDS_MAX: u32 = 3;

/// What became of a commit.
#[derive(Debug)]
pub(crate) enum Verdict {
    Committed(Commit),
    /// For certain; another attempt may fare better.
    Aborted(ClientError),
    /// For certain; another attempt would not fare better.
    Failed(ClientError),
    Unknown(ClientError),
}

/// A single-use commit as it was resolved: the same in each repetition.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) id: TxnId,
    coordinator_key: Bytes,
}

/// A transaction whose commit has not been sent: rolled back when that is given up.
struct Unsent<'a>(&'a Begun);

impl Unsent<'_> {
    /// From here on it is the server that decides, and no keep-alive is needed.
    fn now_sent(self) {
        let Begun { connection, id } = self.0;
        connection.transaction_ended(*id);
        std::mem::forget(self);
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.0.connection.roll_back(self.0.id);
    }
}

fn committed(response: CommitResponse) -> Verdict {
    let timestamp = response.commit_timestamp;
    Verdict::Committed(Commit {
        timestamp: (timestamp != 0).then(|| Timestamp::from_nanos(timestamp)),
        commit_wait: Some(Duration::from_nanos(response.commit_wait_nanos)),
        participants: (response.participants != 0).then_some(response.participants),
    })
}

/// What an error answer to a commit says for certain; `None` when nothing.
fn certain(refusal: &Refusal) -> Option<Verdict> {
    let boxed = || Box::new(refusal.clone());
    match refusal.retry {
        Retry::Transaction => Some(Verdict::Aborted(ClientError::Aborted(boxed()))),
        // The node forgot the transaction, perhaps after it had committed it.
        Retry::Never
            if !matches!(
                refusal.kind,
                ErrorKind::OutcomeNoLongerKnown
                    | ErrorKind::OutcomeUnknown
                    | ErrorKind::TransactionNotHere
            ) =>
        {
            Some(Verdict::Failed(ClientError::Refused(boxed())))
        }
        Retry::Never | Retry::Request | Retry::LookupOutcome | Retry::Unspecified => None,
    }
}

impl Client {
    /// The tables of the mutations, one for each change.
    async fn tables_of(&self, mutations: &Mutations) -> Result<Vec<Arc<Table>>, ClientError> {
        let mut tables = Vec::new();
        for name in mutations.tables() {
            tables.push(self.table(name).await?);
        }
        Ok(tables)
    }

    /// A table of the mutations was dropped, and perhaps created again: another attempt asks for its new id.
    pub(crate) fn forget_stale(&self, mutations: &Mutations, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Failed(error) if is_stale_table(&error) => {
                mutations.tables().for_each(|name| self.tables().forget(name));
                Verdict::Aborted(error)
            }
            other => other,
        }
    }

    /// Commits a transaction that began.
    pub(crate) async fn commit_begun(&self, begun: &Begun, mutations: &Mutations) -> Verdict {
        let unsent = Unsent(begun);
        let tables = match self.tables_of(mutations).await {
            Ok(tables) => tables,
            Err(error) => return before_commit(error),
        };
        let id = begun.id;
        let request = || CommitRequest {
            transaction: Some(Transaction::Id(id.into())),
            mutations: mutations.to_wire(&tables),
        };
        let time = self.config().request_timeout;
        let mut backoff = Backoff::new(Duration::from_millis(2), self.config().backoff_max);
        unsent.now_sent();
        let mut sends = 0;
        loop {
            sends += 1;
            let error = match ask(&begun.connection, request(), time).await {
                Ok(response) => return committed(response),
                Err(error) => error,
            };
            if sends == 1 && never_left(&error) {
                begun.connection.roll_back(id);
                return before_commit(error.of_harmless());
            }
            let is_again = matches!(&error, CallError::Refused(r) if r.retry == Retry::Request);
            if !is_again || sends > RESENDS_MAX {
                let verdict = self.verdict_of(id, mutations, &tables, error).await;
                return self.forget_stale(mutations, verdict);
            }
            sleep(backoff.next(self.pool().jitter(), Duration::ZERO)).await;
        }
    }

    async fn verdict_of(
        &self,
        id: TxnId,
        mutations: &Mutations,
        tables: &[Arc<Table>],
        error: CallError,
    ) -> Verdict {
        let mut key = Bytes::new();
        if let CallError::Refused(refusal) = &error {
            if let Some(verdict) = certain(refusal) {
                return verdict;
            }
            key = refusal.coordinator_key.clone();
        }
        if mutations.is_empty() {
            // It wrote nothing, so there is nothing that could be done twice.
            return Verdict::Aborted(error.of_harmless());
        }
        tracing::debug!(%id, ?error, "the answer to a commit is lost; looking its outcome up");
        let deadline = Instant::now() + self.config().outcome_timeout;
        if key.is_empty() {
            let writes = match mutations.keys(tables) {
                Ok(writes) => writes,
                // Without its key columns no node has executed it.
                Err(error) => return Verdict::Failed(error),
            };
            match self.resolve(Some(id), writes, Duration::ZERO, deadline).await {
                Ok(resolved) => key = resolved.coordinator_key,
                Err(error) => {
                    tracing::debug!(%id, ?error, "cannot learn the coordinator");
                    return unknown(id, Bytes::new());
                }
            }
        }
        let if_aborted = Verdict::Aborted(error.of_harmless());
        self.look_up(id, key, if_aborted, deadline).await
    }

    /// The coordinator key of these writes, under the id given or a fresh one.
    async fn resolve(
        &self,
        id: Option<TxnId>,
        writes: Vec<WrittenKeys>,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Resolved, ClientError> {
        let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let time = deadline.saturating_duration_since(Instant::now());
        let transaction = id.map(Into::into);
        let request = ResolveCommitRequest { writes, max_age_ms, transaction };
        let answer = self.ask_anyone(request, None, time).await?;
        let reason = "an answer to ResolveCommit is incomplete";
        let id = answer.transaction.ok_or(ClientError::Protocol { reason })?.into();
        Ok(Resolved { id, coordinator_key: answer.coordinator_key })
    }

    /// Asks until somebody knows. "Aborted" is also a fence: no copy of the commit that is still on its way
    /// can be executed after it.
    async fn look_up(
        &self,
        id: TxnId,
        coordinator_key: Bytes,
        if_aborted: Verdict,
        deadline: Instant,
    ) -> Verdict {
        let mut backoff = Backoff::new(Duration::from_millis(10), self.config().backoff_max);
        while Instant::now() < deadline {
            let request = LookupOutcomeRequest {
                transaction: Some(id.into()),
                coordinator_key: coordinator_key.clone(),
            };
            let time = deadline.saturating_duration_since(Instant::now()).min(LOOKUP_TIMEOUT);
            match self.ask_anyone(request, None, time).await {
                Ok(answer) => match answer.outcome() {
                    Outcome::Committed => {
                        return Verdict::Committed(Commit::looked_up(answer.commit_timestamp));
                    }
                    Outcome::Aborted => return if_aborted,
                    Outcome::NoLongerKnown => break,
                    Outcome::InProgress | Outcome::Unspecified => {}
                },
                Err(error) => tracing::debug!(%id, %error, "nobody knows the outcome yet"),
            }
            sleep(backoff.next(self.pool().jitter(), Duration::ZERO)).await;
        }
        unknown(id, coordinator_key)
    }

    /// Gives writes an id and a coordinator, once, before they are first sent.
    pub(crate) async fn prepare_single_use(
        &self,
        mutations: &Mutations,
        max_age: Duration,
    ) -> Result<(Resolved, CommitRequest, Option<NodeId>), Verdict> {
        let deadline = Instant::now() + self.config().request_timeout;
        let tables = self.tables_of(mutations).await.map_err(before_commit)?;
        let writes = mutations.keys(&tables).map_err(Verdict::Failed)?;
        let first = writes.first().and_then(|w| Some((w.table.as_ref()?.id, w.keys.first()?)));
        let leader =
            first.and_then(|(table, key): (u32, &RowKey)| self.leader_of(table, Some(key)));
        let resolved = self.resolve(None, writes, max_age, deadline).await.map_err(|error| {
            let verdict = before_commit(error);
            self.forget_stale(mutations, verdict)
        })?;
        let request = CommitRequest { transaction: None, mutations: mutations.to_wire(&tables) };
        Ok((resolved, request, leader))
    }

    /// Sends a single-use commit until there is an answer. Returns who gave it.
    pub(crate) async fn commit_single_use(
        &self,
        resolved: &Resolved,
        mut request: CommitRequest,
        priority: Priority,
        leader: Option<NodeId>,
    ) -> (Option<NodeId>, Verdict) {
        let Resolved { id, coordinator_key } = resolved;
        request.transaction = Some(Transaction::SingleUse(SingleUseCommit {
            id: Some((*id).into()),
            coordinator_key: coordinator_key.clone(),
            priority: Some(priority.into()),
        }));
        let deadline = Instant::now() + self.config().outcome_timeout;
        let mut backoff = Backoff::new(Duration::from_millis(5), self.config().backoff_max);
        let mut left = false;
        loop {
            let connection = match self.pool().pick(leader, deadline).await {
                Ok(connection) => connection,
                Err(_) if left => return (None, unknown(*id, coordinator_key.clone())),
                Err(error) => return (None, Verdict::Aborted(error)),
            };
            let node = connection.node();
            let time = self.config().request_timeout;
            let error = match ask(&connection, request.clone(), time).await {
                Ok(response) => return (node, committed(response)),
                Err(error) => error,
            };
            if let CallError::TooLarge { .. } = &error {
                return (node, before_commit(error.of_harmless()));
            }
            if let CallError::Refused(refusal) = &error
                && let Some(verdict) = certain(refusal)
            {
                if !left || refusal.kind == ErrorKind::AbortedLogged {
                    return (node, verdict);
                }
                // An earlier copy may have committed, or may still arrive.
                let verdict = self.look_up(*id, coordinator_key.clone(), verdict, deadline).await;
                return (node, verdict);
            }
            left |= !never_left(&error);
            let is_over = matches!(&error, CallError::Refused(refusal)
                if refusal.kind == ErrorKind::OutcomeNoLongerKnown);
            let wait = backoff.next(self.pool().jitter(), Duration::ZERO);
            if is_over || Instant::now() + wait >= deadline {
                let verdict = if left {
                    unknown(*id, coordinator_key.clone())
                } else {
                    Verdict::Aborted(error.of_harmless())
                };
                return (node, verdict);
            }
            sleep(wait).await;
        }
    }
}

fn unknown(id: TxnId, coordinator_key: Bytes) -> Verdict {
    Verdict::Unknown(ClientError::OutcomeUnknown { id, coordinator_key })
}

/// A failure before any commit was sent.
fn before_commit(error: ClientError) -> Verdict {
    if error.is_retryable() { Verdict::Aborted(error) } else { Verdict::Failed(error) }
}

/// Whether the request is still only here.
fn never_left(error: &CallError) -> bool {
    match error {
        CallError::NotSent { .. }
        | CallError::TooManyInFlight { .. }
        | CallError::TooLarge { .. } => true,
        CallError::Lost { .. }
        | CallError::Deadline { .. }
        | CallError::Refused(_)
        | CallError::Protocol { .. } => false,
    }
}
