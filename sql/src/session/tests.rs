//! Sessions over a database in memory, whose commits fail as they are told to.

use std::sync::Arc;

use proto::{Key, Priority, TxnId};
use truetime::Timestamp;

use super::{Identity, Output, Request, Scope, Session, Status, Summary};
use crate::error::{Origin, SqlError, SqlState};
use crate::execute::tests::engine::block_on;
use crate::execute::tests::memory_kv::MemoryKv;
use crate::kv::Begin;
use crate::plan::OutputColumn;
use crate::scalar::types::Type;
use crate::scalar::value::Value;
use crate::settings::ClusterSettings;

#[derive(Default)]
struct Rows {
    columns: usize,
    rows: Vec<Vec<Value>>,
}

impl Output for Rows {
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
        let settings = ClusterSettings { retries_max: 3, ..ClusterSettings::default() };
        let session = Session::new(Identity::default(), settings);
        let mut rig = Rig { kv: Arc::default(), session };
        rig.done("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL)");
        rig.done("INSERT INTO t VALUES (1, 10), (2, 20)");
        rig
    }

    fn run(&mut self, text: &str) -> Result<(Summary, Vec<Vec<Value>>), SqlError> {
        let mut rows = Rows::default();
        let executed = self.session.execute(&*self.kv, request(text), &mut rows);
        block_on(executed).map(|summary| (summary, rows.rows))
    }

    fn done(&mut self, text: &str) -> Summary {
        self.run(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).0
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
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "wounded")
        .of(Origin::Aborted { wounded_by: None })
}

fn unknown() -> SqlError {
    let at = Timestamp::from_nanos(1);
    let id = TxnId { horizon: at, begin: at, origin: 1, sequence: 1 };
    let origin = Origin::OutcomeUnknown { id, coordinator: Key::default(), for_good: false };
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
