//! Statements of SQL: from the wire to `sql::session`, and its answers back.
//!
//! Terms: a *SQL session* has variables and BEGIN's transaction; its client numbers it, and it lives as long as the
//! stream that it came on. A *loose* statement has none and runs in one made for it. Each statement is a task of
//! its own on the core's thread; those of one session wait for each other.
//!
//! ```text
//! ExecuteSql --> task: lock the session --> sql::Session::execute over GatewayKv<SeatAsk>
//!                        chunks of rows <--------+        ^ CancelSql, a timeout, the client gone
//! ```
//! A statement whose client is gone is cancelled where it waits; one that commits is finished all the same. A panic
//! fails its statement, and the transaction that it was in.
//!
//! Not here: what a statement means, and how it is run again (`sql`).

mod asker;
mod guard;
mod output;
mod wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use proto::TxnId;
use proto::rpc::v1::session_answer::Response as Wire;
use proto::rpc::v1::session_call::Request as WireRequest;
use proto::rpc::v1::{self, ErrorKind};
use sql::error::{SqlError, SqlState};
use sql::kv::Kv;
use sql::session::{Identity, Scope, Session, Status};
use tokio::task::AbortHandle;

use super::errors::Failure;
use super::outbox::{Call, SMALL};
use super::seat::Seat;
use crate::gateway::sql::{Ask, Cancelled, GatewayKv};
pub(super) use guard::caught;
pub use guard::is_guarded;

use asker::{Cancel, SeatAsk, Timer};
use guard::{Panicked, guarded};
use output::Chunks;

/// The results of a batch leave in one message: what that may have, less what surrounds them.
const BATCH_BYTES_MAX: usize = super::MESSAGE_BYTES_MAX - (2 << 20);

/// SQL sessions of one stream.
const SESSIONS_MAX: usize = 1_000;

/// What the tasks of a session share.
struct Shared {
    session: tokio::sync::Mutex<Session>,
    /// The read-write transaction that is open, to be kept alive.
    open: Arc<Mutex<Option<TxnId>>>,
}

/// A session whose statement is to be executed.
type Turn<'a> = tokio::sync::MutexGuard<'a, Session>;

/// A SQL session as its stream knows it.
struct Entry {
    shared: Arc<Shared>,
    /// Of the statements that have arrived and are not answered.
    pending: Vec<Weak<Cancel>>,
    keeper: AbortHandle,
}

impl Entry {
    /// A statement has arrived.
    fn begin(&mut self) -> Arc<Cancel> {
        let cancel = Arc::<Cancel>::default();
        self.pending.retain(|pending| pending.strong_count() > 0);
        self.pending.push(Arc::downgrade(&cancel));
        cancel
    }

    /// Cancels all statements that have arrived.
    fn cancel(&self, reason: Cancelled) {
        for pending in self.pending.iter().filter_map(Weak::upgrade) {
            pending.cancel(reason);
        }
    }
}

/// The SQL sessions of one stream.
#[derive(Default)]
pub(super) struct SqlSessions {
    entries: BTreeMap<u32, Entry>,
}

/// Whether a request is for this module.
pub(super) fn is_sql(request: &WireRequest) -> bool {
    matches!(
        request,
        WireRequest::ExecuteSql(_)
            | WireRequest::ExecuteSqlBatch(_)
            | WireRequest::CancelSql(_)
            | WireRequest::CloseSqlSession(_)
    )
}

impl SqlSessions {
    /// Takes a request of the stream.
    pub(super) fn start(
        &mut self,
        seat: Option<Seat>,
        call: Call,
        request: WireRequest,
        idle_timeout: std::time::Duration,
    ) {
        let Some(seat) = seat else {
            return call.fail(Failure::not_initialised().into_error());
        };
        match request {
            WireRequest::ExecuteSql(request) if request.sql_session != 0 => {
                let number = request.sql_session;
                if self.entries.len() >= SESSIONS_MAX && !self.entries.contains_key(&number) {
                    let failure = Failure::overloaded("SQL sessions of this stream");
                    return call.fail(failure.into_error());
                }
                let entry = self.entries.entry(number).or_insert_with(|| open(&seat, idle_timeout));
                let (shared, cancel) = (entry.shared.clone(), entry.begin());
                tokio::spawn(in_session(seat, call, shared, cancel, request));
            }
            WireRequest::CancelSql(request) => {
                if let Some(entry) = self.entries.get(&request.sql_session) {
                    entry.cancel(Cancelled::ByUser);
                }
                call.finish(Wire::CancelSql(v1::CancelSqlResponse {}), SMALL);
            }
            WireRequest::CloseSqlSession(request) => {
                let entry = self.entries.remove(&request.sql_session);
                let done = Wire::CloseSqlSession(v1::CloseSqlSessionResponse {});
                match entry {
                    None => {
                        call.finish(done, SMALL);
                    }
                    Some(entry) => {
                        tokio::spawn(async move {
                            close(seat, entry).await;
                            call.finish(done, SMALL);
                        });
                    }
                }
            }
            request => start_loose(seat, call, request),
        }
    }

    /// The stream ended: every session is closed.
    pub(super) fn close(&mut self, seat: Option<&Seat>) {
        let Some(seat) = seat else { return };
        for entry in std::mem::take(&mut self.entries).into_values() {
            tokio::spawn(close(seat.clone(), entry));
        }
    }
}

/// Takes a request that came on no stream, or names no session.
pub(super) fn start_loose(seat: Seat, call: Call, request: WireRequest) {
    match request {
        WireRequest::ExecuteSql(request) if request.sql_session != 0 => {
            let failure = Failure::new(
                ErrorKind::InvalidRequest,
                "`sql_session` is set, and this call came on no Session stream",
                "open a stream with Session, and execute it there",
            );
            call.fail(failure.into_error());
        }
        WireRequest::ExecuteSql(request) => {
            tokio::spawn(loose(seat, call, request));
        }
        WireRequest::ExecuteSqlBatch(request) => {
            tokio::spawn(batch(seat, call, request));
        }
        WireRequest::CancelSql(_) => {
            call.finish(Wire::CancelSql(v1::CancelSqlResponse {}), SMALL);
        }
        WireRequest::CloseSqlSession(_) => {
            call.finish(Wire::CloseSqlSession(v1::CloseSqlSessionResponse {}), SMALL);
        }
        _ => call.fail(Failure::unexpected_answer().into_error()),
    }
}

fn open(seat: &Seat, idle_timeout: std::time::Duration) -> Entry {
    let open = Arc::<Mutex<Option<TxnId>>>::default();
    let keeper = tokio::spawn(asker::keep_alive(seat.clone(), open.clone(), idle_timeout / 3));
    let session = tokio::sync::Mutex::new(Session::new(Identity::default()));
    let shared = Shared { session, open };
    Entry { shared: Arc::new(shared), pending: Vec::new(), keeper: keeper.abort_handle() }
}

async fn close(seat: Seat, entry: Entry) {
    entry.cancel(Cancelled::ClientGone);
    let mut session = entry.shared.session.lock().await;
    let ask = SeatAsk::new(seat, None, Arc::default(), entry.shared.open.clone());
    session.close(&GatewayKv::new(ask)).await;
    entry.keeper.abort();
}

/// Waits until the statements before this one are done. It can be cancelled meanwhile, and its call's time can run
/// out; how long a statement itself may take counts from there.
async fn turn<'a>(
    kv: &GatewayKv<SeatAsk>,
    call: &Call,
    cancel: &Arc<Cancel>,
    shared: &'a Shared,
) -> Result<Turn<'a>, (SqlError, impl Future<Output = Turn<'a>> + use<'a>)> {
    let _timer = Timer::start(cancel.clone(), call, None);
    let mut turn = Box::pin(shared.session.lock());
    tokio::select! {
        biased;
        reason = kv.asker().cancelled() => Err((reason.into(), turn)),
        session = &mut turn => Ok(session),
    }
}

async fn in_session(
    seat: Seat,
    call: Call,
    shared: Arc<Shared>,
    cancel: Arc<Cancel>,
    request: v1::ExecuteSqlRequest,
) {
    if request.transaction.is_some() {
        let failure = Failure::new(
            ErrorKind::InvalidRequest,
            "`transaction` and `sql_session` are both set",
            "a SQL session has its own transaction: say BEGIN",
        );
        return call.fail(failure.into_error());
    }
    let statement = match wire::statement(request.statement) {
        Ok(statement) => statement,
        Err(failure) => return call.fail(failure.into_error()),
    };
    let ask = SeatAsk::new(seat, Some(call.clone()), cancel.clone(), shared.open.clone());
    let kv = GatewayKv::new(ask);
    let mut session = match turn(&kv, &call, &cancel, &shared).await {
        Ok(session) => session,
        // It is answered at once, and has failed in its turn: those behind it may count on it.
        Err((error, turn)) => {
            call.fail(wire::failure(error.clone(), None).into_error());
            let mut session = turn.await;
            if guarded(session.refuse(&kv, &statement, &error)).await.is_err() {
                session.statement_panicked();
            }
            return;
        }
    };
    let was_in_block = session.status() != Status::Idle;
    let mut out = Chunks::new(call.clone(), cancel.clone());
    let executed = guarded(async {
        if let Err(error) = session.renew_settings(&kv).await {
            session.refuse(&kv, &statement, &error).await;
            return Err(error);
        }
        let timeout = session.variables().statement_timeout();
        let _timer = Timer::start(cancel, &call, timeout);
        session.execute(&kv, statement, &mut out).await
    });
    let result = executed.await.unwrap_or_else(|Panicked| {
        session.statement_panicked();
        Err(bug(&kv))
    });
    match result {
        Ok(summary) => {
            out.finish(summary, session.status());
        }
        Err(error) => {
            let mut failure = wire::failure(error, None);
            if was_in_block || session.status() != Status::Idle {
                wire::ended_transaction(&mut failure);
            }
            call.fail(failure.into_error());
        }
    }
}

/// What a statement that panicked is answered; its transaction is given up.
fn bug(kv: &GatewayKv<SeatAsk>) -> SqlError {
    let message = "the statement ran into a bug of the server";
    let error = SqlError::new(SqlState::INTERNAL_ERROR, message)
        .with_hint("Report it, with the statement and this node's log.");
    match kv.asker().abandon() {
        true => error.with_detail("Its transaction was rolled back."),
        false => error,
    }
}

/// A session for one request, under the settings there are now, and the end of its time.
async fn for_one<K: Kv>(
    kv: &K,
    call: &Call,
    cancel: &Arc<Cancel>,
) -> Result<(Session, Timer), Failure> {
    let mut session = Session::new(Identity::default()).with_batch_bytes_max(BATCH_BYTES_MAX);
    session.renew_settings(kv).await.map_err(|error| wire::failure(error, None))?;
    let timer = Timer::start(cancel.clone(), call, session.variables().statement_timeout());
    Ok((session, timer))
}

/// A statement outside of a SQL session panicked.
fn panicked(seat: &Seat, kv: &GatewayKv<SeatAsk>, scope: Scope) -> Failure {
    if let Scope::Existing(id) = scope {
        seat.roll_back(id);
    }
    wire::failure(bug(kv), None)
}

/// The failure of a request in that transaction.
fn in_scope(scope: Scope, statement: Option<usize>, error: SqlError) -> Failure {
    let mut failure = wire::failure(error, statement);
    if !matches!(scope, Scope::Own | Scope::ReadOnly(_)) {
        wire::ended_transaction(&mut failure);
    }
    failure
}

async fn loose(seat: Seat, call: Call, request: v1::ExecuteSqlRequest) {
    let cancel = Arc::<Cancel>::default();
    let ask = SeatAsk::new(seat.clone(), Some(call.clone()), cancel.clone(), Arc::default());
    let kv = GatewayKv::new(ask);
    let result = async {
        let statement = wire::statement(request.statement)?;
        let scope = wire::scope(request.transaction)?;
        let (mut session, _timer) = for_one(&kv, &call, &cancel).await?;
        let mut out = Chunks::new(call.clone(), cancel);
        match guarded(session.execute_in(&kv, scope, statement, &mut out)).await {
            Ok(Ok(summary)) => Ok((summary, out)),
            Ok(Err(error)) => Err(in_scope(scope, None, error)),
            Err(Panicked) => Err(panicked(&seat, &kv, scope)),
        }
    };
    match result.await {
        Ok((summary, out)) => {
            if let Some(untold) = out.finish(summary, Status::Idle) {
                seat.roll_back(untold);
            }
        }
        Err(failure) => call.fail(failure.into_error()),
    }
}

async fn batch(seat: Seat, call: Call, request: v1::ExecuteSqlBatchRequest) {
    let cancel = Arc::<Cancel>::default();
    let ask = SeatAsk::new(seat.clone(), Some(call.clone()), cancel.clone(), Arc::default());
    let kv = GatewayKv::new(ask);
    let result = async {
        let statements: Vec<_> = request
            .statements
            .into_iter()
            .map(|statement| wire::statement(Some(statement)))
            .collect::<Result<_, _>>()?;
        let scope = wire::scope(request.transaction)?;
        if request.commit && matches!(scope, Scope::Own) {
            return Err(Failure::new(
                ErrorKind::InvalidRequest,
                "`commit` is set without `transaction`",
                "a batch without a transaction commits its own",
            ));
        }
        let (mut session, _timer) = for_one(&kv, &call, &cancel).await?;
        let executed = session.execute_batch(&kv, scope, request.commit, statements);
        match guarded(executed).await {
            Ok(result) => result.map_err(|(number, error)| in_scope(scope, Some(number), error)),
            Err(Panicked) => Err(panicked(&seat, &kv, scope)),
        }
    };
    match result.await {
        Ok(result) => {
            let begun = result.begun;
            let is_told =
                super::call::finish_large(&call, Wire::ExecuteSqlBatch(wire::batch(result)));
            if let Some(untold) = begun.filter(|_| !is_told) {
                seat.roll_back(untold);
            }
        }
        Err(failure) => call.fail(failure.into_error()),
    }
}
