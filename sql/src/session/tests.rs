//! Sessions over a database in memory, whose commits fail as they are told to.

use std::sync::Arc;
use std::time::Duration;

use proto::{Key, Priority, TxnId};
use truetime::Timestamp;

use super::{
    BatchError, BatchResult, Identity, Output, PLAN_TEXTS_MAX, Request, Scope, Session, Status,
    Summary,
};
use crate::error::{Abort, Lack, Origin, SqlError, SqlState};
use crate::execute::tests::engine::block_on;
use crate::execute::tests::memory_kv::MemoryKv;
use crate::kv::Begin;
use crate::plan::OutputColumn;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

#[derive(Default)]
struct Rows {
    begun: Option<TxnId>,
    columns: usize,
    rows: Vec<Vec<Value>>,
}

impl Output for Rows {
    fn begun(&mut self, transaction: TxnId) {
        assert_eq!(self.columns, 0, "it comes before anything else");
        self.begun = Some(transaction);
    }

    async fn columns(&mut self, _: &[OutputColumn]) -> Result<(), SqlError> {
        self.columns += 1;
        Ok(())
    }

    async fn rows(&mut self, rows: Vec<Vec<Value>>) -> Result<(), SqlError> {
        assert_eq!(self.columns, 1, "columns come once, before any row");
        self.rows.extend(rows);
        Ok(())
    }
}

struct Rig {
    kv: Arc<MemoryKv>,
    session: Session,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Rig { kv: Arc::default(), session: Session::new(Identity::default()) };
        rig.done("SET CLUSTER SETTING sql.retries_max = '3'");
        rig.done("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL)");
        rig.done("INSERT INTO t VALUES (1, 10), (2, 20)");
        rig
    }

    fn run(&mut self, text: &str) -> Result<(Summary, Vec<Vec<Value>>), SqlError> {
        let mut rows = Rows::default();
        block_on(self.session.renew_settings(&*self.kv)).unwrap();
        let executed = self.session.execute(&*self.kv, request(text), &mut rows);
        block_on(executed).map(|summary| (summary, rows.rows))
    }

    fn done(&mut self, text: &str) -> Summary {
        self.run(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).0
    }

    /// In that transaction: the result, and the transaction that the output was told of.
    fn run_in(&mut self, scope: Scope, text: &str) -> (Result<Summary, SqlError>, Option<TxnId>) {
        let mut rows = Rows::default();
        let executed = self.session.execute_in(&*self.kv, scope, request(text), &mut rows);
        (block_on(executed), rows.begun)
    }

    fn batch(&mut self, scope: Scope, texts: &[&str]) -> Result<BatchResult, BatchError> {
        let requests = texts.iter().map(|text| request(text)).collect();
        block_on(self.session.execute_batch(&*self.kv, scope, true, requests))
    }

    fn shown(&mut self, name: &str) -> Value {
        self.run(&format!("SHOW {name}")).unwrap().1[0][0].clone()
    }

    fn state_of(&mut self, text: &str) -> SqlState {
        self.run(text).expect_err(text).state
    }

    fn numbers(&mut self) -> Vec<Vec<Value>> {
        self.run("SELECT n FROM t ORDER BY id").unwrap().1
    }
}

fn request(text: &str) -> Request {
    Request { text: text.to_owned(), parameters: Vec::new() }
}

fn numbers(of: [i64; 2]) -> Vec<Vec<Value>> {
    of.map(|n| vec![Value::Int(n)]).to_vec()
}

fn aborted() -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "wounded").of(Origin::Aborted(Abort::LocksLost))
}

fn some_id() -> TxnId {
    let at = Timestamp::from_nanos(1);
    TxnId { horizon: at, begin: at, origin: 1, sequence: 1 }
}

fn not_here() -> SqlError {
    SqlError::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, "it has ended")
        .of(Origin::NotHere { id: some_id() })
}

fn unavailable() -> SqlError {
    SqlError::new(SqlState::CANNOT_CONNECT_NOW, "no clock").of(Origin::Unavailable(Lack::Clock))
}

fn unknown() -> SqlError {
    let origin =
        Origin::OutcomeUnknown { id: some_id(), coordinator: Key::default(), for_good: false };
    SqlError::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, "who knows").of(origin)
}

fn priorities(begun: &[Begin]) -> Vec<Option<Priority>> {
    let of = |begin: &Begin| match begin {
        Begin::ReadWrite { retry_of, .. } => Some(*retry_of),
        Begin::ReadOnly | Begin::AsOf(_) | Begin::Ago(_) | Begin::MaxStaleness(_) => None,
    };
    begun.iter().filter_map(of).collect()
}

#[test]
fn aborted_statement_is_run_again_with_the_priority_of_its_first_attempt() {
    let mut rig = Rig::new();
    let before = rig.kv.begun().len();
    rig.kv.refuse_commits([aborted(), aborted()]);
    let summary = rig.done("UPDATE t SET n = n + 1");
    assert_eq!((summary.tag.as_str(), summary.retries), ("UPDATE 2", 2));
    assert_eq!(rig.numbers(), numbers([11, 21]));
    let priorities = priorities(&rig.kv.begun()[before..]);
    assert_eq!(priorities.len(), 3);
    assert!(priorities[0].is_none() && priorities[1].is_some() && priorities[2].is_some());
}

#[test]
fn statement_is_not_run_again_for_ever() {
    let mut rig = Rig::new();
    let before = rig.kv.commits();
    rig.kv.refuse_commits(std::iter::repeat_with(aborted).take(10));
    assert_eq!(rig.state_of("UPDATE t SET n = 0"), SqlState::SERIALIZATION_FAILURE);
    assert_eq!(rig.kv.commits() - before, 4);
}

#[test]
fn unknown_outcome_is_never_run_again() {
    let mut rig = Rig::new();
    let before = rig.kv.commits();
    rig.kv.refuse_commits([unknown()]);
    assert_eq!(rig.state_of("UPDATE t SET n = 0"), SqlState::STATEMENT_COMPLETION_UNKNOWN);
    rig.kv.refuse_commits([unknown()]);
    let batch = vec![request("UPDATE t SET n = 0"), request("SELECT 1")];
    let failed = block_on(rig.session.execute_batch(&*rig.kv, Scope::Own, false, batch));
    assert_eq!(failed.unwrap_err().1.state, SqlState::STATEMENT_COMPLETION_UNKNOWN);
    assert_eq!(rig.kv.commits() - before, 2);
}

#[test]
fn statement_at_fault_is_not_run_again() {
    let mut rig = Rig::new();
    let before = rig.kv.begun().len();
    assert_eq!(rig.state_of("UPDATE t SET n = n / 0"), SqlState::DIVISION_BY_ZERO);
    assert_eq!(rig.kv.begun().len() - before, 1);
    assert_eq!(rig.session.status(), Status::Idle);
}

#[test]
fn transaction_of_the_user_is_not_run_again_and_says_how_it_ended() {
    let mut rig = Rig::new();
    rig.done("BEGIN");
    rig.done("UPDATE t SET n = 0");
    rig.kv.refuse_commits([aborted()]);
    assert_eq!(rig.state_of("COMMIT"), SqlState::SERIALIZATION_FAILURE);
    assert_eq!(rig.session.status(), Status::Idle);
    rig.done("BEGIN");
    rig.done("UPDATE t SET n = 0");
    assert_eq!(rig.state_of("SELECT 1 / 0"), SqlState::DIVISION_BY_ZERO);
    assert_eq!(rig.session.status(), Status::Failed);
    assert_eq!(rig.state_of("SELECT 1"), SqlState::IN_FAILED_SQL_TRANSACTION);
    assert_eq!(rig.done("COMMIT").tag, "ROLLBACK");
    assert_eq!(rig.numbers(), numbers([10, 20]));
}

#[test]
fn batch_is_run_again_as_a_whole() {
    let mut rig = Rig::new();
    rig.kv.refuse_commits([aborted()]);
    let batch = vec![
        request("UPDATE t SET n = n - 1 WHERE id = 1"),
        request("UPDATE t SET n = n + 1 WHERE id = 2"),
        request("SELECT n FROM t ORDER BY id"),
    ];
    let done = block_on(rig.session.execute_batch(&*rig.kv, Scope::Own, false, batch)).unwrap();
    assert_eq!(done.retries, 1);
    assert_eq!(done.results[2].rows, numbers([9, 21]));
    assert_eq!(rig.numbers(), numbers([9, 21]));
}

#[test]
fn read_only_transactions_write_nothing() {
    let mut rig = Rig::new();
    rig.done("BEGIN READ ONLY");
    assert_eq!(rig.session.status(), Status::ReadOnly);
    assert_eq!(rig.state_of("UPDATE t SET n = 0"), SqlState::READ_ONLY_SQL_TRANSACTION);
    rig.done("ROLLBACK");
    rig.done("SET default_transaction_read_only = on");
    assert_eq!(rig.state_of("DELETE FROM t"), SqlState::READ_ONLY_SQL_TRANSACTION);
    rig.done("BEGIN READ WRITE");
    rig.done("DELETE FROM t");
    rig.done("ROLLBACK");
    assert_eq!(rig.numbers(), numbers([10, 20]));
}

#[test]
fn plan_is_for_the_table_that_has_the_name_now() {
    let mut rig = Rig::new();
    assert_eq!(rig.numbers(), numbers([10, 20]));
    rig.done("DROP TABLE t");
    assert_eq!(rig.state_of("SELECT n FROM t ORDER BY id"), SqlState::UNDEFINED_TABLE);
    rig.done("CREATE TABLE t (n TEXT, id INT PRIMARY KEY)");
    rig.done("INSERT INTO t VALUES ('x', 1)");
    assert_eq!(rig.numbers(), vec![vec![Value::Text("x".to_owned())]]);
}

#[test]
fn parameters_are_cast_to_what_the_statement_needs() {
    let mut rig = Rig::new();
    let mut run = |value: Value, ty: Type| {
        let text = "SELECT n FROM t WHERE id = $1".to_owned();
        let request = Request { text, parameters: vec![(value, ty)] };
        let mut rows = Rows::default();
        let executed = rig.session.execute(&*rig.kv, request, &mut rows);
        block_on(executed).map(|_| rows.rows)
    };
    let found = vec![vec![Value::Int(20)]];
    assert_eq!(run(Value::Text("2".to_owned()), Type::Unknown).as_ref(), Ok(&found));
    assert_eq!(run(Value::Int(2), Type::BigInt), Ok(found));
    assert_eq!(run(Value::Null, Type::Unknown), Ok(Vec::new()));
    let state = run(Value::Text("two".to_owned()), Type::Unknown).unwrap_err().state;
    assert_eq!(state, SqlState::INVALID_TEXT_REPRESENTATION);
    assert_eq!(rig.state_of("SELECT $1::int"), SqlState::PROTOCOL_VIOLATION);
}

#[test]
fn literals_mean_what_the_settings_of_the_moment_say() {
    let mut rig = Rig::new();
    let text = "SELECT timestamptz '2026-01-01 10:00'";
    let instant = |rig: &mut Rig| rig.run(text).unwrap().1;
    let in_utc = instant(&mut rig);
    rig.done("SET TimeZone = 'Europe/Berlin'");
    let in_berlin = instant(&mut rig);
    let (Value::TimestampTz(utc), Value::TimestampTz(berlin)) =
        (in_utc[0][0].clone(), in_berlin[0][0].clone())
    else {
        panic!("they are instants");
    };
    assert_eq!(utc - berlin, 3_600_000_000);
    rig.done("RESET TimeZone");
    assert_eq!(instant(&mut rig), in_utc);
}

#[test]
fn nothing_is_changed_where_transactions_are_read_only() {
    let mut rig = Rig::new();
    rig.done("SET default_transaction_read_only = on");
    for text in ["DROP TABLE t", "CREATE TABLE u (id INT PRIMARY KEY)"] {
        assert_eq!(rig.state_of(text), SqlState::READ_ONLY_SQL_TRANSACTION, "{text}");
    }
    let setting = "SET CLUSTER SETTING sql.retries_max = 1";
    assert_eq!(rig.state_of(setting), SqlState::READ_ONLY_SQL_TRANSACTION);
}

#[test]
fn what_would_take_as_long_again_is_not_run_again() {
    let mut rig = Rig::new();
    let before = rig.kv.commits();
    rig.kv.refuse_commits([aborted().of(Origin::Aborted(Abort::TooOld))]);
    assert_eq!(rig.state_of("UPDATE t SET n = 0"), SqlState::SERIALIZATION_FAILURE);
    assert_eq!(rig.kv.commits() - before, 1);
}

#[test]
fn begin_that_fails_leaves_a_failed_transaction() {
    let mut rig = Rig::new();
    rig.kv.refuse_begins([unavailable()]);
    assert_eq!(rig.state_of("BEGIN"), SqlState::CANNOT_CONNECT_NOW);
    // A client may have sent it without waiting for the answer.
    assert_eq!(rig.state_of("UPDATE t SET n = 0"), SqlState::IN_FAILED_SQL_TRANSACTION);
    assert_eq!(rig.done("COMMIT").tag, "ROLLBACK");
    assert_eq!(rig.numbers(), numbers([10, 20]));
}

#[test]
fn refused_statement_fails_what_it_belongs_to() {
    let mut rig = Rig::new();
    let cancelled = SqlError::new(SqlState::QUERY_CANCELED, "cancelled in the queue");
    for text in ["BEGIN", "UPDATE t SET n = 0", "COMMIT", "no statement"] {
        if text != "BEGIN" {
            rig.done("BEGIN");
            rig.done("UPDATE t SET n = 1");
        }
        block_on(rig.session.refuse(&*rig.kv, &request(text), &cancelled));
        assert_eq!(rig.session.status(), Status::Failed, "{text}");
        assert_eq!(rig.done("COMMIT").tag, "ROLLBACK", "{text}");
        block_on(rig.session.refuse(&*rig.kv, &request("UPDATE t SET n = 0"), &cancelled));
        assert_eq!(rig.session.status(), Status::Idle);
    }
    assert_eq!(rig.numbers(), numbers([10, 20]));
}

#[test]
fn chain_goes_on_as_it_began() {
    let mut rig = Rig::new();
    rig.done("BEGIN READ ONLY");
    assert_eq!(rig.state_of("SELECT 1 / 0"), SqlState::DIVISION_BY_ZERO);
    rig.done("ROLLBACK AND CHAIN");
    assert_eq!(rig.session.status(), Status::ReadOnly);
    rig.done("COMMIT");
    rig.done("BEGIN READ ONLY AS OF SYSTEM TIME '-1s'");
    rig.done("COMMIT AND CHAIN");
    let begun = rig.kv.begun();
    assert_eq!(begun[begun.len() - 2], begun[begun.len() - 1]);
    assert_eq!(rig.state_of("SET TRANSACTION READ WRITE"), SqlState::READ_ONLY_SQL_TRANSACTION);
    rig.done("ROLLBACK");
}

#[test]
fn transaction_that_its_node_forgot_is_aborted_to_its_session_only() {
    let mut rig = Rig::new();
    rig.done("BEGIN");
    rig.kv.refuse_commits([not_here()]);
    let error = rig.run("COMMIT").unwrap_err();
    assert_eq!(error.origin, Origin::Aborted(Abort::Gateway));
    rig.kv.refuse_commits([not_here()]);
    assert_eq!(rig.done("UPDATE t SET n = n + 1").retries, 1);
    // Whoever names it from outside may have sent a commit before.
    rig.kv.refuse_commits([not_here()]);
    let error = rig.batch(Scope::Existing(some_id()), &["UPDATE t SET n = 0"]).unwrap_err().1;
    assert_eq!(error.origin, Origin::NotHere { id: some_id() });
    // And so may a client that was told of the transaction begun for its statement.
    rig.kv.refuse_writes([not_here()]);
    let scope = Scope::Begin { retry_of: None, max_age: None };
    let (failed, begun) = rig.run_in(scope, "UPDATE t SET n = 0");
    let error = failed.unwrap_err();
    assert_eq!(error.origin, Origin::NotHere { id: some_id() });
    assert!(!error.is_retryable() && error.over.as_deref() == begun.as_ref());
    assert_eq!(rig.numbers(), numbers([11, 21]));
}

#[test]
fn request_that_cannot_begin_rolls_back_the_transaction_it_names() {
    let mut rig = Rig::new();
    let scope = Scope::Existing(some_id());
    for text in ["SELEC 1", "SELECT nothing FROM t", "BEGIN"] {
        rig.batch(scope, &["SELECT 1", text]).unwrap_err();
        rig.run_in(scope, text).0.unwrap_err();
        assert_eq!(rig.kv.rolled_back(), [some_id(), some_id()], "{text}");
        rig = Rig::new();
    }
}

#[test]
fn transaction_begun_for_a_request_is_named_at_once_and_when_it_fails() {
    let mut rig = Rig::new();
    let scope = Scope::Begin { retry_of: None, max_age: None };
    let (done, begun) = rig.run_in(scope, "SELECT n FROM t");
    assert_eq!(done.unwrap().rows, 2);
    assert!(begun.is_some());
    let (failed, begun) = rig.run_in(scope, "SELECT 1 / n FROM t WHERE 1 / (n - 10) > 0");
    assert_eq!(failed.unwrap_err().over.as_deref(), begun.as_ref());
    assert_eq!(rig.kv.rolled_back(), Vec::from_iter(begun));
    rig.kv.refuse_commits([aborted()]);
    assert!(rig.batch(scope, &["UPDATE t SET n = 0"]).unwrap_err().1.over.is_some());
}

#[test]
fn plans_that_are_kept_have_a_limit_together() {
    let mut rig = Rig::new();
    for number in 0..40 {
        rig.done(&format!("SELECT '{}', {number}", "x".repeat(10_000)));
        let bytes: usize = rig.session.known.keys().map(|(text, _)| text.len()).sum();
        assert_eq!(bytes, rig.session.known_bytes);
        assert!(bytes <= PLAN_TEXTS_MAX, "{bytes}");
    }
    assert!(rig.session.known.len() > 5);
}

#[test]
fn settings_of_the_cluster_are_those_of_the_moment() {
    let mut rig = Rig::new();
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(rig.shown("statement_timeout"), text("0"));
    rig.done("SET CLUSTER SETTING sql.statement_timeout = '90s'");
    assert_eq!(rig.shown("statement_timeout"), text("90s"));
    rig.done("SET statement_timeout = '5s'");
    rig.done("BEGIN");
    rig.done("SET LOCAL statement_timeout TO DEFAULT");
    assert_eq!(rig.shown("statement_timeout"), text("90s"));
    rig.done("COMMIT");
    assert_eq!(rig.shown("statement_timeout"), text("5s"));
    let shown = rig.run("SELECT current_setting('statement_timeout')").unwrap().1;
    assert_eq!(shown[0][0], text("5s"));
    rig.done("RESET statement_timeout");
    assert_eq!(rig.session.variables().statement_timeout(), Some(Duration::from_secs(90)));
}

#[test]
fn panic_fails_the_transaction_and_leaves_the_session() {
    let mut rig = Rig::new();
    rig.done("SET TimeZone = 'Europe/Berlin'");
    rig.done("BEGIN");
    rig.session.statement_panicked();
    assert_eq!(rig.state_of("UPDATE t SET n = 0"), SqlState::IN_FAILED_SQL_TRANSACTION);
    assert_eq!(rig.done("COMMIT").tag, "ROLLBACK");
    rig.session.statement_panicked();
    assert_eq!(rig.session.status(), Status::Idle);
    assert_eq!(rig.shown("TimeZone"), Value::Text("Europe/Berlin".to_owned()));
    assert_eq!(rig.numbers(), numbers([10, 20]));
}
