//! One call of a client: converted, asked at a core, and answered when the core answers.
//!
//! Nothing waits here: what is to be done with an answer travels with the question. Calls that look at more
//! than one core (status, shard map, init) are tasks of their own, as they are rare.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use prost::Message;
use proto::TxnId;
use proto::rpc::v1::session_answer::Response as Wire;
use proto::rpc::v1::session_call::Request as WireRequest;
use proto::rpc::v1::{self, ErrorKind, Retry};
use txn::message::Outcome;

use super::errors::Failure;
use super::outbox::{Call, Delivery, SMALL, TimeoutSubject};
use super::read::ReadJob;
use super::seat::Seat;
use super::service::Inner;
use super::{answers, convert, coordinator_key, sql};
use crate::gateway::api::{Answer, Begun, CommitTarget, Request, Response, TransactionHandle};
use crate::gateway::{Error, Subject};
use proto::table::TableRef;

/// Transactions that one KeepAlive may name.
const KEEP_ALIVES_MAX: usize = 10_000;
/// An answer is never larger: what a message may have, less what surrounds it.
const ANSWER_BYTES_MAX: usize = super::MESSAGE_BYTES_MAX - (64 << 10);

/// What is said of a call when its time runs out.
pub(super) fn timeout_subject(request: Option<&WireRequest>) -> TimeoutSubject {
    use v1::commit_request::Transaction;
    let commit = match request {
        Some(WireRequest::Commit(commit)) => commit,
        Some(WireRequest::ExecuteSql(_) | WireRequest::ExecuteSqlBatch(_)) => {
            return TimeoutSubject::Statement;
        }
        Some(_) | None => return TimeoutSubject::Request,
    };
    let (id, coordinator_key) = match &commit.transaction {
        Some(Transaction::Id(id)) => (Some(*id), bytes::Bytes::new()),
        Some(Transaction::SingleUse(commit)) => (commit.id, commit.coordinator_key.clone()),
        None => (None, bytes::Bytes::new()),
    };
    TimeoutSubject::Commit { id, coordinator_key }
}

/// Whether a request needs a cluster.
fn needs_cluster(request: &WireRequest) -> bool {
    !matches!(request, WireRequest::Init(_) | WireRequest::Status(_))
}

/// Executes a call. `seat` is `None` as long as the node does not run.
pub(super) fn start(inner: &Arc<Inner>, seat: Option<Seat>, call: Call, request: WireRequest) {
    let Some(seat) = seat else {
        if needs_cluster(&request) {
            return call.fail(Failure::not_initialised().into_error());
        }
        return inner.clone().start_beside(call, request, None);
    };
    let started = match request {
        WireRequest::Read(request) => {
            ReadJob::start(seat, call, request);
            return;
        }
        WireRequest::Begin(request) => begin(&seat, &call, request),
        WireRequest::Commit(request) => commit(&seat, &call, request),
        WireRequest::Rollback(request) => rollback(&seat, &call, request),
        WireRequest::KeepAlive(request) => keep_alive(&seat, &call, request),
        WireRequest::LookupOutcome(request) => lookup(&seat, &call, request),
        WireRequest::ResolveCommit(request) => resolve(&seat, &call, request),
        WireRequest::CreateTable(request) => create_table(&seat, &call, request),
        WireRequest::DropTable(request) => drop_table(&seat, &call, request),
        WireRequest::GetTable(request) => get_table(&seat, &call, request),
        WireRequest::ListTables(v1::ListTablesRequest {}) => {
            list_tables(&seat, &call);
            Ok(())
        }
        WireRequest::ExecuteSql(_)
        | WireRequest::ExecuteSqlBatch(_)
        | WireRequest::CancelSql(_)
        | WireRequest::CloseSqlSession(_) => {
            sql::start_loose(seat, call, request);
            return;
        }
        WireRequest::Init(_) | WireRequest::Status(_) | WireRequest::ShardMap(_) => {
            inner.clone().start_beside(call, request, Some(seat));
            return;
        }
        // A session withdraws calls itself; alone it withdraws nothing.
        WireRequest::Cancel(v1::Cancel {}) => return,
    };
    if let Err(failure) = started {
        call.fail(failure.into_error());
    }
}

fn begin(seat: &Seat, call: &Call, request: v1::BeginRequest) -> Result<(), Failure> {
    let options = convert::begin(request)?;
    let (call, back) = (call.clone(), seat.clone());
    seat.ask(Request::Begin(options), move |answer| match answer {
        Ok(Response::Begun(begun)) => {
            let delivery = call.finish(Wire::Begin(answers::begun(begun)), SMALL);
            if let (Delivery::Withdrawn, Some(id)) = (delivery, read_write(&begun)) {
                back.roll_back(id);
            }
        }
        other => fail(&call, other),
    });
    Ok(())
}

fn read_write(begun: &Begun) -> Option<TxnId> {
    match begun.transaction {
        TransactionHandle::ReadWrite(id) => Some(id),
        TransactionHandle::ReadOnly { .. } => None,
    }
}

/// Answers with the error, or, for a good answer, that it is none to this request.
fn fail(call: &Call, answer: Answer) {
    let failure = match answer {
        Err(error) => Failure::from(error),
        Ok(_) => Failure::unexpected_answer(),
    };
    call.fail(failure.into_error());
}

fn commit(seat: &Seat, call: &Call, request: v1::CommitRequest) -> Result<(), Failure> {
    let target = convert::commit(request.transaction)?;
    match target {
        CommitTarget::Transaction(id) => {
            let mutations = convert::mutations(request.mutations)
                .map_err(|bad| refused_commit(seat, id, bad.into()))?;
            let (call, back) = (call.clone(), seat.clone());
            let request = Request::Commit { target, mutations };
            seat.ask_of(id, request, move |answer| match answer {
                Ok(Response::Committed(committed)) => {
                    call.finish(Wire::Commit(answers::committed(committed)), SMALL);
                }
                Err(error) => {
                    call.fail(refused_commit(&back, id, error.into()).into_error());
                }
                other => fail(&call, other),
            })
        }
        CommitTarget::SingleUse { id, ref coordinator, .. } => {
            let coordinator = coordinator.clone();
            let mutations = convert::mutations(request.mutations)?;
            let call = call.clone();
            seat.ask(Request::Commit { target, mutations }, move |answer| match answer {
                Ok(Response::Committed(committed)) => {
                    call.finish(Wire::Commit(answers::committed(committed)), SMALL);
                }
                Ok(Response::Outcome(outcome)) => {
                    single_use_outcome(&call, id, coordinator, outcome);
                }
                other => fail(&call, other),
            });
            Ok(())
        }
    }
}

/// The failure of a transaction's commit. One that says that the transaction is over makes it so: what the
/// gateway refused without ending the transaction is followed by a rollback, which does nothing to one that
/// has ended or whose commit was sent.
fn refused_commit(seat: &Seat, id: TxnId, failure: Failure) -> Failure {
    let failure = failure.of_commit(id);
    if matches!(failure.detail.retry(), Retry::Never | Retry::Transaction) {
        seat.roll_back(id);
    }
    failure
}

/// The answer to a single-use commit that this gateway could only look up.
fn single_use_outcome(call: &Call, id: TxnId, coordinator: proto::Key, outcome: Outcome) {
    let unknown = |for_good| Error::OutcomeUnknown { id, coordinator, for_good };
    let error = match outcome {
        Outcome::Committed { commit_ts, commit_wait, participants: _ } => {
            let response = v1::CommitResponse {
                commit_timestamp: commit_ts.nanos(),
                commit_wait_nanos: commit_wait,
                participants: 0,
            };
            call.finish(Wire::Commit(response), SMALL);
            return;
        }
        Outcome::Aborted { reason } => Error::Aborted { reason },
        Outcome::InProgress => unknown(false),
        Outcome::NoLongerKnown => unknown(true),
    };
    call.fail(Failure::from(error).into_error());
}

fn rollback(seat: &Seat, call: &Call, request: v1::RollbackRequest) -> Result<(), Failure> {
    let id = convert::txn_id(request.transaction)?;
    let done = |call: &Call| {
        call.finish(Wire::Rollback(v1::RollbackResponse {}), SMALL);
    };
    let then = {
        let call = call.clone();
        move |answer| match answer {
            Ok(Response::RolledBack) => done(&call),
            // Gone already, or its commit decides: both are as the client wants it.
            Err(Error::NotFound { what: Subject::Transaction(_) } | Error::Aborted { .. }) => {
                done(&call);
            }
            Err(Error::Invalid { reason: crate::gateway::InvalidRequest::Ending }) => done(&call),
            other => fail(&call, other),
        }
    };
    if seat.ask_of(id, Request::Rollback(id), then).is_err() {
        done(call);
    }
    Ok(())
}

fn keep_alive(seat: &Seat, call: &Call, request: v1::KeepAliveRequest) -> Result<(), Failure> {
    let count = request.transactions.len();
    if count > KEEP_ALIVES_MAX {
        return Err(Failure::new(
            ErrorKind::LimitExceeded,
            format!(
                "a keep-alive names {count} transactions, at most {KEEP_ALIVES_MAX} are allowed"
            ),
            "send several",
        ));
    }
    let lost = Arc::new(Mutex::new(Vec::new()));
    // One more than there are, so that the answer does not leave before all are asked.
    let open = Arc::new(AtomicUsize::new(count + 1));
    let answered = {
        let (call, lost) = (call.clone(), lost.clone());
        move || {
            if open.fetch_sub(1, Ordering::AcqRel) == 1 {
                let lost = std::mem::take(&mut *lost.lock());
                let size = SMALL + 40 * lost.len();
                call.finish(Wire::KeepAlive(v1::KeepAliveResponse { lost }), size);
            }
        }
    };
    for wire in request.transactions {
        let id = TxnId::from(wire);
        let then = {
            let (answered, lost) = (answered.clone(), lost.clone());
            move |answer: Answer| {
                if answer.is_err() {
                    lost.lock().push(wire);
                }
                answered();
            }
        };
        if seat.ask_of(id, Request::KeepAlive(id), then).is_err() {
            lost.lock().push(wire);
            answered();
        }
    }
    answered();
    Ok(())
}

fn lookup(seat: &Seat, call: &Call, request: v1::LookupOutcomeRequest) -> Result<(), Failure> {
    let id = convert::txn_id(request.transaction)?;
    let Some(coordinator) = coordinator_key::open(&id, &request.coordinator_key) else {
        return Err(Failure::new(
            ErrorKind::InvalidRequest,
            "`coordinator_key` is not one of this transaction",
            "take it from the error that said OUTCOME_UNKNOWN, or from ResolveCommit for this transaction",
        ));
    };
    let call = call.clone();
    seat.ask(Request::LookupOutcome { id, coordinator }, move |answer| match answer {
        Ok(Response::Outcome(outcome)) => {
            let (outcome, commit_timestamp) = match outcome {
                Outcome::Committed { commit_ts, .. } => (v1::Outcome::Committed, commit_ts.nanos()),
                Outcome::Aborted { .. } => (v1::Outcome::Aborted, 0),
                Outcome::InProgress => (v1::Outcome::InProgress, 0),
                Outcome::NoLongerKnown => (v1::Outcome::NoLongerKnown, 0),
            };
            let outcome = outcome.into();
            let response = v1::LookupOutcomeResponse { outcome, commit_timestamp };
            call.finish(Wire::LookupOutcome(response), SMALL);
        }
        other => fail(&call, other),
    });
    Ok(())
}

fn resolve(seat: &Seat, call: &Call, request: v1::ResolveCommitRequest) -> Result<(), Failure> {
    let mutations = convert::written_keys(request.writes)?;
    let max_age = convert::max_age(request.max_age_ms);
    let asked_for = request.transaction.map(|id| convert::txn_id(Some(id))).transpose()?;
    let call = call.clone();
    let request = Request::ResolveCommit { id: asked_for, mutations, max_age };
    seat.ask(request, move |answer| match answer {
        Ok(Response::Resolved { id, coordinator }) => {
            let coordinator_key = coordinator_key::name(&id, &coordinator);
            let size = SMALL + coordinator_key.len();
            let response =
                v1::ResolveCommitResponse { transaction: Some(id.into()), coordinator_key };
            call.finish(Wire::ResolveCommit(response), size);
        }
        other => fail(&call, other),
    });
    Ok(())
}

fn create_table(seat: &Seat, call: &Call, request: v1::CreateTableRequest) -> Result<(), Failure> {
    let if_not_exists = request.if_not_exists;
    let table = convert::new_table(request)?;
    let name = table.name.clone();
    let (call, back) = (call.clone(), seat.clone());
    seat.ask(Request::CreateTable(table), move |answer| match answer {
        Ok(Response::Table(schema)) => {
            let table = Some(answers::table(&schema));
            let response = v1::CreateTableResponse { table, existed: false };
            finish_large(&call, Wire::CreateTable(response));
        }
        Err(Error::AlreadyExists { what: Subject::Table(_) }) if if_not_exists => {
            let request = Request::GetTable(TableRef::Name(name));
            back.ask(request, move |answer| match answer {
                Ok(Response::Table(schema)) => {
                    let table = Some(answers::table(&schema));
                    let response = v1::CreateTableResponse { table, existed: true };
                    finish_large(&call, Wire::CreateTable(response));
                }
                other => fail(&call, other),
            });
        }
        other => fail(&call, other),
    });
    Ok(())
}

fn drop_table(seat: &Seat, call: &Call, request: v1::DropTableRequest) -> Result<(), Failure> {
    let if_exists = request.if_exists;
    let table = convert::table_ref(request.table, "table")?;
    let call = call.clone();
    seat.ask(Request::DropTable(table), move |answer| match answer {
        Ok(Response::TableDropped) => {
            call.finish(Wire::DropTable(v1::DropTableResponse {}), SMALL);
        }
        Err(Error::NotFound { what: Subject::Table(_) }) if if_exists => {
            call.finish(Wire::DropTable(v1::DropTableResponse {}), SMALL);
        }
        other => fail(&call, other),
    });
    Ok(())
}

fn get_table(seat: &Seat, call: &Call, request: v1::GetTableRequest) -> Result<(), Failure> {
    let table = convert::table_ref(request.table, "table")?;
    let call = call.clone();
    seat.ask(Request::GetTable(table), move |answer| match answer {
        Ok(Response::Table(schema)) => {
            let table = Some(answers::table(&schema));
            finish_large(&call, Wire::GetTable(v1::GetTableResponse { table }));
        }
        other => fail(&call, other),
    });
    Ok(())
}

fn list_tables(seat: &Seat, call: &Call) {
    let call = call.clone();
    seat.ask(Request::ListTables, move |answer| match answer {
        Ok(Response::Tables(schemas)) => {
            let mut tables: Vec<v1::Table> =
                schemas.iter().map(|schema| answers::table(schema)).collect();
            tables.sort_by(|a, b| a.name.cmp(&b.name));
            finish_large(&call, Wire::ListTables(v1::ListTablesResponse { tables }));
        }
        other => fail(&call, other),
    });
}

/// The last answer, whose size is not known to be small. Says whether it is on its way: else it is too large, which
/// the client is told, or nobody waits for it.
pub(super) fn finish_large(call: &Call, response: Wire) -> bool {
    let wrapped = v1::SessionAnswer { response: Some(response), ..Default::default() };
    let size = wrapped.encoded_len();
    if size > ANSWER_BYTES_MAX {
        let failure = Failure::new(
            ErrorKind::LimitExceeded,
            format!("the answer takes {size} bytes, at most {ANSWER_BYTES_MAX} are allowed"),
            "ask for less at once",
        );
        call.fail(failure.into_error());
        return false;
    }
    let delivery = wrapped.response.map(|response| call.finish(response, SMALL + size));
    delivery.is_some_and(|delivery| delivery != Delivery::Withdrawn)
}
