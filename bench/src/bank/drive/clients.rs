//! The clients: transfers and reads, one after the other, each attempt recorded.
//!
//! A transfer is two requests: one that begins the transaction and reads both rows for update, and one
//! that writes both and commits.

use super::recording::{Moved, Seen, What};
use super::shared::Shared;
use super::{BALANCE, ROW, TABLE};
use crate::bank::audits::AuditFailure;
use crate::bank::work::{Transfer, Work, Workload};
use crate::history::{HistoryTime, Outcome};
use client::{
    Attempt, AttemptEnd, Bound, Client, ClientError, Commit, LockMode, Observe, Row, RunOptions,
    Transaction,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A client that fails in a way that a retry does not cure does not try again at once.
const PAUSE: Duration = Duration::from_millis(20);

/// Works until the run ends, and finishes what it has begun.
pub(super) async fn work(
    client: Client,
    shared: Arc<Shared>,
    process: u32,
    mut workload: Workload,
) {
    let attempts = Arc::new(Attempts::new(Arc::clone(&shared), process));
    while !shared.is_ending() {
        let result = match workload.draw() {
            Work::Transfer(transfer) => make_transfer(&client, &attempts, transfer).await,
            Work::Read(accounts) => read(&client, &attempts, &accounts).await,
        };
        match result {
            Ok(()) | Err(Halt::Ending) => {}
            Err(Halt::Missing { account }) => {
                shared.state().failed_audits.push(AuditFailure::Missing { account });
                return;
            }
            Err(Halt::Client(error)) => {
                shared.failed(&error);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Why a transaction did not commit.
#[derive(Debug)]
enum Halt {
    Client(ClientError),
    /// An account that was made is not there.
    Missing {
        account: u32,
    },
    /// The run ends, so there is no further attempt.
    Ending,
}

impl From<ClientError> for Halt {
    fn from(error: ClientError) -> Self {
        Halt::Client(error)
    }
}

/// Records the attempts of one client. Made once, so that a transfer allocates nothing for it.
struct Attempts {
    shared: Arc<Shared>,
    process: u32,
    current: Mutex<Option<Current>>,
}

/// The attempt that runs.
#[derive(Clone, Copy)]
struct Current {
    invoked: HistoryTime,
    moved: Option<Moved>,
}

impl Attempts {
    fn new(shared: Arc<Shared>, process: u32) -> Self {
        Attempts { shared, process, current: Mutex::new(None) }
    }

    fn set(&self, current: Option<Current>) -> Option<Current> {
        let mut guard = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *guard, current)
    }
}

impl Observe for Attempts {
    fn attempt_ended(&self, attempt: Attempt) {
        // One that the end of the run forestalled is none.
        let Some(Current { invoked, moved }) = self.set(None) else { return };
        let outcome = match &attempt.end {
            AttemptEnd::Committed(Commit { timestamp: Some(at), .. }) => {
                Outcome::Committed { at: *at }
            }
            AttemptEnd::Aborted(_) | AttemptEnd::Failed(_) => Outcome::Aborted,
            // A commit without a timestamp says nothing that could be checked.
            AttemptEnd::Committed(Commit { timestamp: None, .. })
            | AttemptEnd::OutcomeUnknown(_) => Outcome::Unknown,
        };
        let what = What::Transfer { id: attempt.id, outcome, moved };
        self.shared.record(self.process, invoked, what);
        let mut state = self.shared.state();
        if let AttemptEnd::OutcomeUnknown(ClientError::OutcomeUnknown { id, coordinator_key }) =
            &attempt.end
        {
            state.unknown.push((*id, coordinator_key.clone()));
            // Also one that turns out so after the measured time began in it.
            state.stats.outcome_unknown += 1;
        }
        if !state.is_measured() {
            return;
        }
        state.stats.retries += u64::from(attempt.number > 1);
        match &attempt.end {
            AttemptEnd::Committed(_) | AttemptEnd::OutcomeUnknown(_) => {}
            AttemptEnd::Aborted(error) | AttemptEnd::Failed(Some(error)) => {
                tracing::debug!(%error, "an attempt was aborted");
                state.stats.abort(&reason(error));
            }
            AttemptEnd::Failed(None) => state.stats.abort("rolled back"),
        }
    }
}

/// One word or two for why an attempt was aborted.
pub(super) fn reason(error: &ClientError) -> String {
    if let Some(refusal) = error.refusal() {
        let name = refusal.kind.as_str_name();
        let name = name.trim_start_matches("ERROR_KIND_").trim_start_matches("ABORTED_");
        return name.to_lowercase().replace('_', " ");
    }
    let reason = match error {
        ClientError::Disconnected { .. } | ClientError::MayHaveExecuted { .. } => "disconnected",
        ClientError::DeadlineExceeded { .. } => "deadline exceeded",
        ClientError::NoConnection { .. } => "no connection",
        ClientError::TooManyInFlight { .. } => "too many in flight",
        ClientError::RetriesExhausted { last, .. } => return reason(last),
        ClientError::Aborted(_)
        | ClientError::Unavailable(_)
        | ClientError::Refused(_)
        | ClientError::OutcomeUnknown { .. }
        | ClientError::SqlSessionLost { .. }
        | ClientError::TransactionEnded
        | ClientError::LimitExceeded { .. }
        | ClientError::KeyColumnMissing { .. }
        | ClientError::WrongType(_)
        | ClientError::Protocol { .. } => "client error",
    };
    reason.to_owned()
}

async fn make_transfer(
    client: &Client,
    attempts: &Arc<Attempts>,
    transfer: Transfer,
) -> Result<(), Halt> {
    let begun = Instant::now();
    let observer: Arc<dyn Observe> = Arc::<Attempts>::clone(attempts);
    let options = RunOptions { observer: Some(observer), ..RunOptions::default() };
    let body = |transaction| attempt(transaction, attempts, transfer);
    let committed = client.run_with(options, body).await?;
    let mut state = attempts.shared.state();
    if state.is_measured() {
        let latency = begun.elapsed();
        state.window.record(latency);
        state.stats.transfers += 1;
        state.stats.cross_shard_transfers += u64::from(transfer.is_cross_shard);
        state.stats.transfer_latency.record(latency);
        if let Some(wait) = committed.commit.commit_wait {
            state.stats.commit_wait.record(wait);
        }
    }
    Ok(())
}

async fn attempt(
    transaction: Transaction,
    attempts: &Attempts,
    transfer: Transfer,
) -> Result<(), Halt> {
    if attempts.shared.is_ending() {
        return Err(Halt::Ending);
    }
    let invoked = attempts.shared.now();
    attempts.set(Some(Current { invoked, moved: None }));
    let Transfer { from, to, amount, .. } = transfer;
    let keys = vec![i64::from(from).into(), i64::from(to).into()];
    let rows = transaction.get_many(TABLE, keys, &BALANCE, LockMode::ForUpdate).await?;
    let moved = Moved { from: seen(from, &rows[0])?, to: seen(to, &rows[1])?, amount };
    for (account, row) in [(from, &rows[0]), (to, &rows[1])] {
        if !row.exists() {
            return Err(Halt::Missing { account });
        }
    }
    for (account, balance) in [from, to].into_iter().zip(moved.writes()) {
        transaction.update(TABLE, &ROW, vec![i64::from(account).into(), balance.into()]);
    }
    attempts.set(Some(Current { invoked, moved: Some(moved) }));
    Ok(())
}

async fn read(client: &Client, attempts: &Attempts, accounts: &[u32]) -> Result<(), Halt> {
    let (begun, shared) = (Instant::now(), &attempts.shared);
    let invoked = shared.now();
    let keys = accounts.iter().map(|account| i64::from(*account).into()).collect();
    let mut snapshot = client.snapshot(Bound::Strong);
    let rows = snapshot.get_many(TABLE, keys, &BALANCE).await?;
    let reason = "a read answers no timestamp";
    let at = snapshot.timestamp().ok_or(ClientError::Protocol { reason })?;
    let rows: Result<Box<[Seen]>, ClientError> =
        accounts.iter().zip(&rows).map(|(account, row)| seen(*account, row)).collect();
    shared.record(attempts.process, invoked, What::Read { at, rows: rows? });
    let mut state = shared.state();
    if state.is_measured() {
        state.stats.read_only_latency.record(begun.elapsed());
    }
    Ok(())
}

/// The only column of `row` is its balance.
fn seen(account: u32, row: &Row) -> Result<Seen, ClientError> {
    let balance = if row.exists() { row.get(0)? } else { 0 };
    Ok(Seen { account, balance, version: row.version() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::ErrorKind;
    use proto::rpc::{to_error, v1::ErrorDetail};

    #[test]
    fn reason_of_an_abort_is_in_the_databases_words() {
        let refusal = |kind| Box::new(to_error(ErrorDetail::of(kind), String::new()).into());
        let wounded = ClientError::Aborted(refusal(ErrorKind::AbortedWounded));
        assert_eq!(reason(&wounded), "wounded");
        let last = Box::new(ClientError::Unavailable(refusal(ErrorKind::NotLeader)));
        assert_eq!(reason(&ClientError::RetriesExhausted { attempts: 3, last }), "not leader");
        let timeout = Duration::from_secs(1);
        assert_eq!(reason(&ClientError::DeadlineExceeded { timeout }), "deadline exceeded");
    }
}
