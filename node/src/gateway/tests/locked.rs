//! Read-write transactions: mutations, ends, silence, single-use commits.

use super::cluster::Fault;
use super::*;
use crate::gateway::api::{Committed, ReadWriteOptions};
use crate::gateway::{Error, InvalidRequest, Subject};
use proto::table::{KeyBound, KeyRange};
use txn::message::{AbortReason, Outcome};

fn for_update(id: proto::TxnId, ids: &[i64]) -> Request {
    let mut read = read_of(in_txn(id), points(ids));
    read.lock = LockMode::Exclusive;
    Request::Read(read)
}

fn is_commit(request: &ShardRequest) -> bool {
    matches!(request, ShardRequest::Commit { .. })
}

fn is_prepare(request: &ShardRequest) -> bool {
    matches!(request, ShardRequest::Prepare { .. })
}

#[test]
fn transfer_is_one_locked_read_per_shard_and_one_commit_round() {
    let mut rig = Rig::bank();
    let options = TransactionOptions::ReadWrite(ReadWriteOptions::default());
    let mut read = read_of(Selector::Begin(options), points(&[1, 101]));
    read.lock = LockMode::Exclusive;
    let rows = rig.rows(read);
    assert_eq!(values(&rows), [account(1, 10), account(101, 10)]);
    let Some(Begun { transaction: TransactionHandle::ReadWrite(id), .. }) = rows.begun else {
        panic!("it was to begin a transaction");
    };
    let answer = rig.commit(id, vec![update(&[(1, 3), (101, 17)])]).unwrap();
    assert!(matches!(
        answer,
        Response::Committed(Committed { participants: 2, commit_wait: 3, .. })
    ));
    let kinds: Vec<&str> = rig
        .asked()
        .iter()
        .map(|request| match request {
            ShardRequest::LockedRead { .. } => "read",
            ShardRequest::Prepare { .. } => "prepare",
            ShardRequest::Commit { .. } => "commit",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["read", "read", "prepare", "commit"]);
    assert_eq!(rig.balances(), [(1, 3), (2, 10), (101, 17), (102, 10)]);
}

#[test]
fn update_of_unread_row_reads_it_and_keeps_its_other_columns() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    rig.commit(id, vec![update(&[(2, 5)])]).unwrap();
    let asked = rig.asked();
    assert!(matches!(
        &asked[0],
        ShardRequest::LockedRead { mode: LockMode::Exclusive, spans, .. } if spans.len() == 1
    ));
    let bound = crate::gateway::api::ReadBound::Strong;
    let rows = rig.rows(read_of(Selector::SingleUse(bound), points(&[2])));
    assert_eq!(values(&rows), [account(2, 5)]);
}

#[test]
fn full_row_replacement_and_deletion_need_no_read() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    let columns = ["id", "owner", "balance"];
    let replace = write(WriteKind::Replace, &columns, vec![account(1, 99)]);
    let upsert = write(WriteKind::InsertOrUpdate, &columns, vec![account(3, 4)]);
    let delete = Mutation::Delete { table: table(), keys: points(&[2]) };
    rig.commit(id, vec![replace, upsert, delete]).unwrap();
    let asked = rig.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(rig.balances(), [(1, 99), (3, 4), (101, 10), (102, 10)]);
}

#[test]
fn insert_of_existing_row_is_refused_and_releases_its_locks() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    let insert = write(WriteKind::Insert, &["id"], vec![vec![Datum::BigInt(1)]]);
    let error = rig.commit(id, vec![insert]).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }));
    assert!(!error.is_retryable());
    assert_eq!(rig.cluster.locks_of(id), 0);
}

#[test]
fn update_of_absent_row_is_not_found() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    let error = rig.commit(id, vec![update(&[(7, 1)])]).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
}

#[test]
fn value_that_does_not_fit_is_invalid_and_writes_nothing() {
    let mut rig = Rig::bank();
    let before = rig.balances();
    let text = || Datum::Text("ten".to_owned());
    for row in [vec![Datum::Null, text()], vec![text(), Datum::BigInt(1)], vec![Datum::BigInt(9)]] {
        let id = rig.begin();
        let put = write(WriteKind::Replace, &["id", "balance"], vec![row]);
        let error = rig.commit(id, vec![put]).unwrap_err();
        assert!(matches!(error, Error::Invalid { reason: InvalidRequest::Value(_) }), "{error:?}");
    }
    let id = rig.begin();
    let row = vec![Datum::BigInt(1), text()];
    let put = write(WriteKind::Replace, &["id", "balance"], vec![row]);
    rig.commit(id, vec![put]).unwrap_err();
    assert_eq!(rig.balances(), before);
}

#[test]
fn mutations_of_one_commit_see_each_other_in_order() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    let insert = write(WriteKind::Insert, &["id"], vec![vec![Datum::BigInt(5)]]);
    let all = KeyRange {
        start: KeyBound::Included(vec![Datum::BigInt(2)]),
        end: KeyBound::Excluded(vec![Datum::BigInt(102)]),
    };
    let delete =
        Mutation::Delete { table: table(), keys: KeySet { points: vec![], ranges: vec![all] } };
    let again = write(
        WriteKind::Insert,
        &["id", "balance"],
        vec![vec![Datum::BigInt(2), Datum::BigInt(8)]],
    );
    rig.commit(id, vec![insert, update(&[(5, 6)]), delete, again]).unwrap();
    assert_eq!(rig.balances(), [(1, 10), (2, 8), (102, 10)]);
}

#[test]
fn buffered_writes_are_seen_by_the_transaction_alone_until_it_commits() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    let mutations = vec![update(&[(1, 77)])];
    assert_eq!(rig.ask(Request::Write { transaction: id, mutations }), Ok(Response::Written));
    let rows = rig.rows(read_of(in_txn(id), points(&[1])));
    assert_eq!(values(&rows), [account(1, 77)]);
    assert_eq!(rig.balances()[0], (1, 10));
    rig.commit(id, vec![]).unwrap();
    assert_eq!(rig.balances()[0], (1, 77));
}

#[test]
fn wounded_transaction_is_told_by_whom_at_its_next_request_and_after() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    rig.ask(for_update(id, &[1])).unwrap();
    let older = rig.begin();
    rig.cluster.wounded.insert(id, older);
    let error = rig.ask(for_update(id, &[101])).unwrap_err();
    assert_eq!(error.wounded_by(), Some(older));
    assert!(error.is_retryable());
    assert_eq!(rig.commit(id, vec![]).unwrap_err().wounded_by(), Some(older));
}

#[test]
fn repeated_commit_gets_the_same_answer() {
    // T34.
    let mut rig = Rig::bank();
    let id = rig.begin();
    let first = rig.commit(id, vec![update(&[(1, 0)])]);
    let second = rig.commit(id, vec![update(&[(1, 0)])]);
    assert!(first.is_ok());
    assert_eq!(first, second);
    assert_eq!(rig.asked().iter().filter(|request| is_commit(request)).count(), 1);
}

#[test]
fn lost_commit_answer_is_looked_up_not_called_aborted() {
    // T14, T42.
    let mut rig = Rig::bank();
    let id = rig.begin();
    rig.cluster.fault = Some((is_commit, Fault::AnswerLost));
    assert!(rig.commit(id, vec![update(&[(1, 0)])]).is_ok());
    assert_eq!(rig.balances()[0], (1, 0));
}

#[test]
fn commit_without_any_answer_is_unknown_and_not_retryable_and_can_be_asked_for() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    rig.ask(for_update(id, &[1])).unwrap();
    rig.cluster.fault = Some((is_commit, Fault::Silence));
    let target = CommitTarget::Transaction(id);
    let ticket = rig.send(Request::Commit { target, mutations: vec![update(&[(1, 0)])] });
    assert_eq!(rig.answer_to(ticket), None);
    rig.tick_to(40);
    let error = rig.answer_to(ticket).unwrap().unwrap_err();
    let Error::OutcomeUnknown { id: named, coordinator, .. } = error.clone() else {
        panic!("{error:?}");
    };
    assert_eq!(named, id);
    assert!(!error.is_retryable());
    let outcome = rig.ask(Request::LookupOutcome { id, coordinator });
    assert_eq!(outcome, Ok(Response::Outcome(Outcome::InProgress)));
}

#[test]
fn unavailable_prepare_is_unavailable_and_leaves_nothing_behind() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    rig.cluster.fault = Some((is_prepare, Fault::Unavailable));
    let error = rig.commit(id, vec![update(&[(1, 0), (101, 0)])]).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }));
    assert_eq!(rig.cluster.locks_of(id), 0);
    assert_eq!(rig.balances()[0], (1, 10));
}

#[test]
fn silent_client_loses_its_transaction_and_a_keep_alive_prevents_it() {
    let mut rig = Rig::bank();
    let silent = rig.begin();
    rig.ask(for_update(silent, &[1])).unwrap();
    let live = rig.begin();
    rig.ask(for_update(live, &[2])).unwrap();
    rig.tick_to(8);
    assert_eq!(rig.ask(Request::KeepAlive(live)), Ok(Response::Alive));
    rig.tick_to(12);
    assert_eq!(rig.cluster.locks_of(silent), 0);
    assert_eq!(rig.cluster.locks_of(live), 1);
    let reason = AbortReason::Idle;
    assert_eq!(rig.commit(silent, vec![]), Err(Error::Aborted { reason }));
    // The live one falls silent now, ends, and is remembered for another timeout.
    rig.tick_to(60);
    rig.tick_to(80);
    assert_eq!(rig.gateway.transactions(), 0, "ended sessions do not stay");
}

#[test]
fn gone_client_has_its_transactions_rolled_back_unless_a_commit_was_sent() {
    let mut rig = Rig::bank();
    let open = rig.begin();
    rig.ask(for_update(open, &[1])).unwrap();
    let committing = rig.begin();
    rig.cluster.fault = Some((is_commit, Fault::Silence));
    let target = CommitTarget::Transaction(committing);
    let ticket = rig.send(Request::Commit { target, mutations: vec![update(&[(2, 0)])] });
    rig.step(Input::ClientGone(CLIENT));
    assert_eq!(rig.cluster.locks_of(open), 0);
    assert_eq!(rig.cluster.locks_of(committing), 1);
    assert_eq!(rig.answer_to(ticket), None);
}

#[test]
fn rollback_releases_and_is_repeatable() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    rig.ask(for_update(id, &[1, 101])).unwrap();
    assert_eq!(rig.ask(Request::Rollback(id)), Ok(Response::RolledBack));
    assert_eq!(rig.ask(Request::Rollback(id)), Ok(Response::RolledBack));
    assert_eq!(rig.cluster.locks_of(id), 0);
}

#[test]
fn retry_keeps_the_first_priority() {
    // T28.
    let mut rig = Rig::bank();
    let options = |retry_of| {
        let options = ReadWriteOptions { retry_of, max_age: None };
        Request::Begin(TransactionOptions::ReadWrite(options))
    };
    let Ok(Response::Begun(first)) = rig.ask(options(None)) else { panic!() };
    rig.seconds += 1;
    let Ok(Response::Begun(second)) = rig.ask(options(first.priority)) else { panic!() };
    assert_ne!(first.transaction, second.transaction);
    assert!(second.priority.unwrap().is_older_than(&first.priority.unwrap()));
}

fn resolve(rig: &mut Rig, mutations: &[Mutation]) -> CommitTarget {
    match rig
        .ask(Request::ResolveCommit { id: None, mutations: mutations.to_vec(), max_age: None })
        .unwrap()
    {
        Response::Resolved { id, coordinator } => {
            CommitTarget::SingleUse { id, coordinator, priority: None }
        }
        other => panic!("{other:?}"),
    }
}

/// The same client at a second gateway of the same cluster.
fn at_another_gateway(rig: &mut Rig) {
    let settings = GatewaySettings::new(NodeId(2), 1, 0, rig.cluster.system_shard());
    rig.gateway = Gateway::new(settings);
    rig.answers.clear();
}

#[test]
fn single_use_insert_repeated_at_another_gateway_is_committed_once() {
    // The row that its own first attempt inserted must not be taken for somebody else's.
    let mut rig = Rig::bank();
    let insert = vec![write(
        WriteKind::Insert,
        &["id", "balance"],
        vec![vec![Datum::BigInt(50), Datum::BigInt(1)]],
    )];
    let target = resolve(&mut rig, &insert);
    let commit = Request::Commit { target, mutations: insert };
    let first = rig.ask(commit.clone()).unwrap();
    at_another_gateway(&mut rig);
    assert_eq!(rig.ask(commit).unwrap(), with_participants(first, 1));
}

fn with_participants(response: Response, participants: u32) -> Response {
    match response {
        Response::Committed(committed) => {
            Response::Committed(Committed { participants, ..committed })
        }
        other => other,
    }
}

#[test]
fn single_use_update_repeated_after_the_row_changed_again_is_the_same_commit() {
    let mut rig = Rig::bank();
    let mutations = vec![update(&[(1, 4)])];
    let target = resolve(&mut rig, &mutations);
    let commit = Request::Commit { target, mutations };
    let first = rig.ask(commit.clone());
    let id = rig.begin();
    let owner = vec![vec![Datum::BigInt(1), Datum::Text("new".into())]];
    rig.commit(id, vec![write(WriteKind::Update, &["id", "owner"], owner)]).unwrap();
    at_another_gateway(&mut rig);
    assert_eq!(rig.ask(commit), first);
}

#[test]
fn single_use_id_repeated_with_other_writes_is_refused_like_a_shard_does() {
    let mut rig = Rig::bank();
    let mutations = vec![update(&[(1, 4)])];
    let target = resolve(&mut rig, &mutations);
    let first = Request::Commit { target: target.clone(), mutations };
    let others = Request::Commit { target, mutations: vec![update(&[(1, 5)])] };
    let committed = rig.ask(first.clone()).unwrap();
    let refused = rig.ask(others.clone()).unwrap_err();
    assert!(matches!(refused, Error::Invalid { reason: InvalidRequest::ByShard(_) }), "{refused}");
    assert_eq!(rig.ask(first), Ok(committed), "the first is known still");
    at_another_gateway(&mut rig);
    assert_eq!(rig.ask(others), Err(refused), "the shard says the same");
}

#[test]
fn single_use_commit_with_another_coordinator_is_only_looked_up() {
    let mut rig = Rig::bank();
    let target = resolve(&mut rig, &[update(&[(1, 4)])]);
    rig.asked();
    let mutations = vec![update(&[(2, 4)])];
    let answer = rig.ask(Request::Commit { target, mutations });
    assert_eq!(answer, Ok(Response::Outcome(Outcome::InProgress)));
    let asked = rig.asked();
    assert!(matches!(&asked[..], [ShardRequest::Lookup { .. }]), "{asked:?}");
}

#[test]
fn single_use_commit_that_found_the_disk_full_says_so_and_that_its_id_is_over() {
    // Its abort is logged, so that the same request would only hear of that.
    let mut rig = Rig::bank();
    let mutations = vec![write(
        WriteKind::InsertOrUpdate,
        &["id", "balance"],
        vec![vec![Datum::BigInt(1), Datum::BigInt(1)]],
    )];
    let target = resolve(&mut rig, &mutations);
    let CommitTarget::SingleUse { id, .. } = target else { panic!("{target:?}") };
    let is_commit: fn(&ShardRequest) -> bool = |r| matches!(r, ShardRequest::Commit { .. });
    rig.cluster.fault = Some((is_commit, Fault::DiskFull));
    let error = rig.ask(Request::Commit { target, mutations }).unwrap_err();
    assert!(error.to_string().contains("the disk of node n3"), "{error}");
    assert!(matches!(error, Error::Over { id: over, .. } if over == id), "{error:?}");
}

#[test]
fn single_use_id_from_the_future_is_refused() {
    let mut rig = Rig::bank();
    rig.seconds = 100;
    let mutations = vec![update(&[(1, 4)])];
    let target = resolve(&mut rig, &mutations);
    rig.seconds = 1;
    let answer = rig.ask(Request::Commit { target, mutations });
    assert!(matches!(answer, Err(Error::BeginOutOfBounds { .. })));
}

#[test]
fn transactions_above_the_limit_are_refused() {
    let cluster = Cluster::new(1);
    let mut settings = GatewaySettings::new(NodeId(1), 1, 0, cluster.system_shard());
    settings.transactions_max = 1;
    let mut rig = Rig::with(cluster, settings);
    rig.begin();
    let options = TransactionOptions::ReadWrite(ReadWriteOptions::default());
    let answer = rig.ask(Request::Begin(options));
    assert!(matches!(answer, Err(Error::Overloaded { .. })));
}

#[test]
fn transactions_that_ended_do_not_count_and_the_oldest_is_forgotten() {
    let cluster = Cluster::new(1);
    let mut settings = GatewaySettings::new(NodeId(1), 1, 0, cluster.system_shard());
    (settings.transactions_max, settings.ended_max) = (1, 2);
    let mut rig = Rig::with(cluster, settings);
    let ids: Vec<proto::TxnId> = (0..3)
        .map(|_| {
            let id = rig.begin();
            rig.commit(id, vec![]).unwrap();
            id
        })
        .collect();
    let what = Subject::Transaction(ids[0]);
    assert_eq!(
        rig.commit(ids[0], vec![]),
        Err(Error::NotFound { what }),
        "its outcome is looked up"
    );
    assert!(rig.commit(ids[2], vec![]).is_ok(), "answered again");
}

#[test]
fn commit_while_a_read_is_out_is_refused_and_the_read_is_still_answered() {
    let mut rig = Rig::bank();
    let id = rig.begin();
    let is_read: fn(&ShardRequest) -> bool = |r| matches!(r, ShardRequest::LockedRead { .. });
    rig.cluster.fault = Some((is_read, Fault::Silence));
    let ticket = rig.send(for_update(id, &[1]));
    let reason = InvalidRequest::Busy;
    assert_eq!(rig.commit(id, vec![]), Err(Error::Invalid { reason }));
    rig.ask(Request::Rollback(id)).unwrap();
    assert!(matches!(rig.answer_to(ticket), Some(Err(Error::Aborted { .. }))));
}

#[test]
fn failed_read_that_began_a_transaction_names_it_and_rolls_it_back() {
    let mut rig = Rig::bank();
    let is_read: fn(&ShardRequest) -> bool =
        |request| matches!(request, ShardRequest::LockedRead { .. });
    rig.cluster.fault = Some((is_read, Fault::Unavailable));
    let options = TransactionOptions::ReadWrite(ReadWriteOptions::default());
    let read = read_of(Selector::Begin(options), points(&[1]));
    let Err(Error::Over { id, error }) = rig.ask(Request::Read(read)) else { panic!() };
    assert!(matches!(*error, Error::Unavailable { .. }));
    rig.cluster.fault = None;
    let again = rig.ask(Request::Read(read_of(in_txn(id), points(&[1])))).unwrap_err();
    assert_eq!(again, Error::Aborted { reason: AbortReason::GivenUp });
}
