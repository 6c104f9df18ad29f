//! SQL over the wire.

use super::sessions::Session;
use super::*;
use proto::rpc::v1::session_answer::Response as Wire;
use proto::rpc::v1::session_call::Request;
use v1::SqlTransactionStatus as Status_;

fn statement(sql: &str, parameters: Vec<v1::Value>) -> Option<v1::SqlStatement> {
    Some(v1::SqlStatement { sql: sql.to_owned(), parameters })
}

fn execute(sql_session: u32, sql: &str) -> Request {
    let statement = statement(sql, Vec::new());
    Request::ExecuteSql(v1::ExecuteSqlRequest { statement, transaction: None, sql_session })
}

/// The rows as text, and the summary.
#[derive(Debug, Default)]
struct Done {
    columns: Vec<v1::SqlColumn>,
    rows: Vec<Vec<v1::Value>>,
    summary: v1::SqlSummary,
    transaction: Option<v1::TransactionId>,
}

impl Done {
    fn take(&mut self, chunk: v1::ExecuteSqlResponse) -> bool {
        if !chunk.columns.is_empty() {
            self.columns = chunk.columns;
        }
        self.rows.extend(chunk.rows.into_iter().map(|row| row.values));
        self.transaction = chunk.transaction.or(self.transaction);
        let last = chunk.summary.is_some();
        if let Some(summary) = chunk.summary {
            self.summary = summary;
        }
        last
    }

    fn integers(&self) -> Vec<Vec<i64>> {
        use proto::rpc::FromValue;
        let integer = |value: &v1::Value| i64::from_value(value.clone()).unwrap();
        self.rows.iter().map(|row| row.iter().map(integer).collect()).collect()
    }
}

fn sqlstate(error: &v1::Error) -> String {
    let detail = error.detail.clone().unwrap_or_else(|| panic!("no detail: {error:?}"));
    detail.sql.unwrap_or_else(|| panic!("no SQLSTATE: {error:?}")).sqlstate
}

impl Served {
    /// A statement in no session.
    async fn sql_with(
        &mut self,
        sql: &str,
        parameters: Vec<v1::Value>,
        transaction: Option<v1::TransactionSelector>,
    ) -> Result<Done, Status> {
        let statement = statement(sql, parameters);
        let request = v1::ExecuteSqlRequest { statement, transaction, sql_session: 0 };
        let mut stream = self.client.execute_sql(request).await?.into_inner();
        let mut done = Done::default();
        while let Some(chunk) = stream.message().await? {
            done.take(chunk);
        }
        Ok(done)
    }

    async fn sql(&mut self, sql: &str) -> Result<Done, Status> {
        self.sql_with(sql, Vec::new(), None).await
    }

    async fn sqlstate_of(&mut self, sql: &str) -> String {
        let status = self.sql(sql).await.unwrap_err();
        detail_of(&status).unwrap().sql.unwrap().sqlstate
    }
}

impl Session {
    /// A statement of a SQL session, to its end.
    async fn sql(&mut self, number: u64, session: u32, sql: &str) -> Result<Done, v1::Error> {
        self.send([(number, execute(session, sql))]).await;
        self.sql_done(number).await
    }

    async fn sql_done(&mut self, number: u64) -> Result<Done, v1::Error> {
        let mut done = Done::default();
        loop {
            match self.answer(number).await {
                Wire::ExecuteSql(chunk) => {
                    if done.take(chunk) {
                        return Ok(done);
                    }
                }
                Wire::Error(error) => return Err(error),
                other => panic!("no answer to a statement: {other:?}"),
            }
        }
    }
}

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 10, note TEXT)";

async fn with_table() -> Served {
    let mut served = running(ServerSettings::default()).await;
    let created = served.sql(TABLE).await.unwrap();
    assert_eq!(created.summary.tag, "CREATE TABLE");
    let inserted = served.sql("INSERT INTO t (id) VALUES (1), (2), (3)").await.unwrap();
    assert_eq!(inserted.summary.tag, "INSERT 0 3");
    assert!(inserted.summary.commit_timestamp > 0);
    served
}

#[tokio::test]
async fn statements_outside_a_session_are_transactions_of_their_own() {
    let mut served = with_table().await;
    let done = served.sql("SELECT id, n FROM t WHERE id >= 2 ORDER BY id DESC").await.unwrap();
    assert_eq!(done.integers(), [[3, 10], [2, 10]]);
    let types: Vec<v1::SqlType> = done.columns.iter().map(v1::SqlColumn::r#type).collect();
    assert_eq!(types, [v1::SqlType::Int, v1::SqlType::Bigint]);
    assert_eq!((done.summary.tag.as_str(), done.summary.rows), ("SELECT 2", 2));
    assert!(done.summary.read_timestamp > 0);
    let done = served
        .sql_with("UPDATE t SET n = n + $1 WHERE id = $2", vec![5.into(), 2.into()], None)
        .await
        .unwrap();
    assert_eq!(done.summary.tag, "UPDATE 1");
    let done = served.sql("SELECT sum(n), count(*) FROM t").await.unwrap();
    assert_eq!(done.rows[0][0].kind, Some(v1::value::Kind::Numeric("35".to_owned())));
    assert_eq!(done.rows[0][1], 3.into());
    assert_eq!(served.sqlstate_of("INSERT INTO t (id) VALUES (3)").await, "23505");
    assert_eq!(served.sqlstate_of("SELECT nothing FROM t").await, "42703");
    assert_eq!(served.sqlstate_of("SELECT * FROM nowhere").await, "42P01");
    assert_eq!(served.sqlstate_of("SELEC").await, "42601");
    assert_eq!(served.sqlstate_of("BEGIN").await, "25P01");
    assert_eq!(served.sqlstate_of(TABLE).await, "42P07");
    served.sql("DROP TABLE t").await.unwrap();
    assert_eq!(served.sqlstate_of("SELECT * FROM t").await, "42P01");
}

#[tokio::test]
async fn duplicate_key_names_constraint_and_values() {
    let mut served = with_table().await;
    let status = served.sql("INSERT INTO t (id) VALUES (2)").await.unwrap_err();
    let sql = detail_of(&status).unwrap().sql.unwrap();
    assert_eq!(
        (status.message(), sql.detail.as_str()),
        (
            "duplicate key value violates unique constraint \"t_pkey\"",
            "Key (id)=(2) already exists."
        )
    );
}

#[tokio::test]
async fn session_keeps_its_transaction_until_it_ends() {
    let mut served = with_table().await;
    let mut stream = Session::open(&mut served).await.unwrap();
    let begun = stream.sql(1, 1, "BEGIN").await.unwrap();
    assert_eq!(begun.summary.status(), Status_::ReadWrite);
    stream.sql(2, 1, "UPDATE t SET n = 0 WHERE id = 1").await.unwrap();
    let own = stream.sql(3, 1, "SELECT n FROM t WHERE id = 1").await.unwrap();
    assert_eq!(own.integers(), [[0]]);
    let others = stream.sql(4, 2, "SELECT n FROM t WHERE id = 1").await.unwrap();
    assert_eq!(others.integers(), [[10]]);
    let committed = stream.sql(5, 1, "COMMIT").await.unwrap();
    assert_eq!(committed.summary.status(), Status_::Idle);
    assert!(committed.summary.commit_timestamp > 0);
    let others = stream.sql(6, 2, "SELECT n FROM t WHERE id = 1").await.unwrap();
    assert_eq!(others.integers(), [[0]]);
}

#[tokio::test]
async fn failed_transaction_takes_nothing_but_its_end() {
    let mut served = with_table().await;
    let mut stream = Session::open(&mut served).await.unwrap();
    stream.sql(1, 1, "BEGIN").await.unwrap();
    stream.sql(2, 1, "DELETE FROM t").await.unwrap();
    let error = stream.sql(3, 1, "SELECT 1 / 0").await.unwrap_err();
    assert_eq!(sqlstate(&error), "22012");
    let error = stream.sql(4, 1, "SELECT 1").await.unwrap_err();
    assert_eq!(sqlstate(&error), "25P02");
    // Its locks are gone already.
    let done = stream.sql(5, 2, "UPDATE t SET n = n + 1").await.unwrap();
    assert_eq!(done.summary.tag, "UPDATE 3");
    let ended = stream.sql(6, 1, "COMMIT").await.unwrap();
    assert_eq!((ended.summary.tag.as_str(), ended.summary.status()), ("ROLLBACK", Status_::Idle));
}

#[tokio::test]
async fn cancelled_statement_is_answered_and_leaves_no_locks() {
    let mut served = with_table().await;
    let mut stream = Session::open(&mut served).await.unwrap();
    stream.sql(1, 1, "BEGIN").await.unwrap();
    stream.sql(2, 1, "UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
    // Younger, so it waits for the lock.
    stream.send([(3, execute(2, "UPDATE t SET n = 2 WHERE id IN (1, 2)"))]).await;
    let cancel = Request::CancelSql(v1::CancelSqlRequest { sql_session: 2 });
    assert!(matches!(stream.ask(4, cancel).await, Wire::CancelSql(_)));
    let error = stream.sql_done(3).await.unwrap_err();
    assert_eq!(sqlstate(&error), "57014");
    stream.sql(90, 1, "UPDATE t SET n = 3 WHERE id = 2").await.unwrap();
    stream.sql(91, 1, "COMMIT").await.unwrap();
    let done = stream.sql(92, 2, "SELECT n FROM t ORDER BY id").await.unwrap();
    assert_eq!(done.integers(), [[1], [3], [10]]);
}

#[tokio::test]
async fn statement_timeout_cancels() {
    let mut served = with_table().await;
    let mut stream = Session::open(&mut served).await.unwrap();
    stream.sql(1, 1, "BEGIN").await.unwrap();
    stream.sql(2, 1, "UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
    stream.sql(3, 2, "SET statement_timeout = '50ms'").await.unwrap();
    let error = stream.sql(4, 2, "UPDATE t SET n = 2 WHERE id = 1").await.unwrap_err();
    assert_eq!(sqlstate(&error), "57014");
    assert!(error.message.contains("timeout"), "{}", error.message);
}

#[tokio::test]
async fn closed_and_broken_sessions_give_their_transactions_up() {
    let mut served = with_table().await;
    for broken in [false, true] {
        let mut stream = Session::open(&mut served).await.unwrap();
        stream.sql(1, 7, "BEGIN").await.unwrap();
        stream.sql(2, 7, "UPDATE t SET n = 5 WHERE id = 1").await.unwrap();
        if broken {
            drop(stream);
        } else {
            let close = v1::CloseSqlSessionRequest { sql_session: 7 };
            let answer = stream.ask(3, Request::CloseSqlSession(close)).await;
            assert!(matches!(answer, Wire::CloseSqlSession(_)));
        }
        // Waits for the lock until it is given up.
        let done = served.sql("UPDATE t SET n = n + 1 WHERE id = 1").await.unwrap();
        assert_eq!(done.summary.tag, "UPDATE 1");
    }
    let done = served.sql("SELECT n FROM t WHERE id = 1").await.unwrap();
    assert_eq!(done.integers(), [[12]]);
}

#[tokio::test]
async fn batch_is_one_transaction() {
    let mut served = with_table().await;
    let update = |sql: &str, parameters: Vec<v1::Value>| v1::SqlStatement {
        sql: sql.to_owned(),
        parameters,
    };
    let add = "UPDATE t SET n = n + $1 WHERE id = $2";
    let statements = vec![
        update(add, vec![(-4).into(), 1.into()]),
        update(add, vec![4.into(), 2.into()]),
        update("SELECT n FROM t WHERE id < 3 ORDER BY id", Vec::new()),
    ];
    let request = v1::ExecuteSqlBatchRequest { statements, ..Default::default() };
    let done = served.client.execute_sql_batch(request).await.unwrap().into_inner();
    let tags: Vec<&str> = done.results.iter().map(|result| result.tag.as_str()).collect();
    assert_eq!(tags, ["UPDATE 1", "UPDATE 1", "SELECT 2"]);
    assert_eq!(done.results[2].rows[0].values, [6.into()]);
    assert!(done.commit_timestamp > 0);
    let statements = vec![
        update(add, vec![100.into(), 3.into()]),
        update("INSERT INTO t (id) VALUES (4), (1)", Vec::new()),
        update(add, vec![100.into(), 3.into()]),
    ];
    let request = v1::ExecuteSqlBatchRequest { statements, ..Default::default() };
    let status = served.client.execute_sql_batch(request).await.unwrap_err();
    let sql = detail_of(&status).unwrap().sql.unwrap();
    assert_eq!((sql.sqlstate.as_str(), sql.statement), ("23505", 1));
    let done = served.sql("SELECT id, n FROM t ORDER BY id").await.unwrap();
    assert_eq!(done.integers(), [[1, 6], [2, 14], [3, 10]]);
}

#[tokio::test]
async fn statements_run_in_transactions_of_the_api() {
    let mut served = with_table().await;
    let begin = v1::transaction_selector::Selector::Begin(v1::ReadWriteOptions::default());
    let done = served
        .sql_with("UPDATE t SET n = 1 WHERE id = 1", Vec::new(), selector(begin))
        .await
        .unwrap();
    let id = done.transaction.expect("it began a transaction");
    let existing = selector(v1::transaction_selector::Selector::Id(id));
    let done = served.sql_with("SELECT n FROM t WHERE id = 1", Vec::new(), existing).await.unwrap();
    assert_eq!(done.integers(), [[1]]);
    let transaction = Some(v1::commit_request::Transaction::Id(id));
    let mutations = vec![];
    let commit = v1::CommitRequest { transaction, mutations };
    served.client.commit(commit).await.unwrap();
    let done = served.sql("SELECT n FROM t WHERE id = 1").await.unwrap();
    assert_eq!(done.integers(), [[1]]);
}

#[tokio::test]
async fn the_past_can_be_read_and_not_written() {
    let mut served = with_table().await;
    let before = served.sql("SELECT n FROM t WHERE id = 1").await.unwrap().summary.read_timestamp;
    served.sql("UPDATE t SET n = 99").await.unwrap();
    let past = format!("SELECT n FROM t AS OF SYSTEM TIME {before} WHERE id = 1");
    assert_eq!(served.sql(&past).await.unwrap().integers(), [[10]]);
    let mut stream = Session::open(&mut served).await.unwrap();
    let begin = format!("BEGIN READ ONLY AS OF SYSTEM TIME {before}");
    let begun = stream.sql(1, 1, &begin).await.unwrap();
    assert_eq!(begun.summary.status(), Status_::ReadOnly);
    let done = stream.sql(2, 1, "SELECT n FROM t WHERE id = 1").await.unwrap();
    assert_eq!(done.integers(), [[10]]);
    let error = stream.sql(3, 1, "UPDATE t SET n = 1").await.unwrap_err();
    assert_eq!(sqlstate(&error), "25006");
}

#[tokio::test]
async fn cluster_settings_are_kept_and_used() {
    let mut served = with_table().await;
    served.sql("SET CLUSTER SETTING sql.memory_max = '1MB'").await.unwrap();
    let done = served.sql("SHOW CLUSTER SETTING sql.memory_max").await.unwrap();
    assert_eq!(done.rows, [[v1::Value::from("1MB")]]);
    assert_eq!(served.sqlstate_of("SET CLUSTER SETTING sql.memory_max = '1kB'").await, "22023");
    assert_eq!(served.sqlstate_of("SET CLUSTER SETTING no.such = '1'").await, "42704");
    for first in [100, 1_100, 2_100] {
        let rows: Vec<String> =
            (first..first + 1_000).map(|id| format!("({id}, '{}')", "x".repeat(500))).collect();
        let insert = format!("INSERT INTO t (id, note) VALUES {}", rows.join(", "));
        served.sql(&insert).await.unwrap();
    }
    assert_eq!(served.sqlstate_of("SELECT note FROM t ORDER BY note, id DESC").await, "53200");
    served.sql("RESET CLUSTER SETTING sql.memory_max").await.unwrap();
    let done = served.sql("SELECT note FROM t ORDER BY note, id DESC").await.unwrap();
    assert_eq!(done.rows.len(), 3_003);
}

#[tokio::test]
async fn large_results_come_in_chunks_and_wait_for_the_client() {
    let mut served = running(ServerSettings::default()).await;
    served.sql(&format!("{TABLE} SPLIT AT VALUES (150), (250), (260)")).await.unwrap();
    for first in [100, 200, 300] {
        let rows: Vec<String> =
            (first..first + 100).map(|id| format!("({id}, repeat('x', 60000))")).collect();
        let insert = format!("INSERT INTO t (id, note) VALUES {}", rows.join(", "));
        served.sql(&insert).await.unwrap();
    }
    let done = served.sql("SELECT id, note FROM t WHERE id >= 100").await.unwrap();
    let ids: Vec<i64> = done
        .rows
        .iter()
        .map(|row| <i64 as proto::rpc::FromValue>::from_value(row[0].clone()).unwrap())
        .collect();
    assert_eq!(ids, (100..400).collect::<Vec<i64>>());
}

#[tokio::test]
async fn insert_that_waits_for_a_lock_can_be_cancelled() {
    let mut served = with_table().await;
    let mut stream = Session::open(&mut served).await.unwrap();
    stream.sql(1, 1, "BEGIN").await.unwrap();
    stream.sql(2, 1, "INSERT INTO t (id) VALUES (9)").await.unwrap();
    stream.sql(3, 2, "SET statement_timeout = '50ms'").await.unwrap();
    let error = stream.sql(4, 2, "INSERT INTO t (id) VALUES (9)").await.unwrap_err();
    assert_eq!(sqlstate(&error), "57014");
    stream.sql(5, 1, "COMMIT").await.unwrap();
    let error = stream.sql(6, 2, "INSERT INTO t (id) VALUES (9)").await.unwrap_err();
    assert_eq!(sqlstate(&error), "23505");
}

#[tokio::test]
async fn refused_commit_leaves_no_lock_behind() {
    let mut served = running(ServerSettings::default()).await;
    served.sql("CREATE TABLE names (name TEXT PRIMARY KEY, n INT)").await.unwrap();
    served.sql("INSERT INTO names VALUES ('a', 1)").await.unwrap();
    assert_eq!(served.sqlstate_of("UPDATE names SET name = repeat('x', 9000)").await, "54000");
    let mut stream = Session::open(&mut served).await.unwrap();
    stream.sql(1, 1, "SET statement_timeout = '5s'").await.unwrap();
    stream.sql(2, 1, "UPDATE names SET n = 2").await.unwrap();
}

#[tokio::test]
async fn row_that_fits_no_message_is_an_error_and_not_the_end_of_the_stream() {
    let mut served = with_table().await;
    let mut stream = Session::open(&mut served).await.unwrap();
    let large = "SELECT repeat('x', 9000000), repeat('y', 9000000)";
    assert_eq!(sqlstate(&stream.sql(1, 1, large).await.unwrap_err()), "54000");
    stream.sql(2, 1, "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn small_rows_that_become_large_ones_are_refused_and_the_node_lives() {
    let mut served = with_table().await;
    for first in [100, 200] {
        let rows: Vec<String> = (first..first + 100).map(|id| format!("({id})")).collect();
        served.sql(&format!("INSERT INTO t (id) VALUES {}", rows.join(", "))).await.unwrap();
    }
    assert_eq!(served.sqlstate_of("SELECT repeat('x', 1000000) FROM t").await, "53200");
    let done = served.sql("SELECT length(repeat('x', 1000000)) FROM t LIMIT 1").await.unwrap();
    assert_eq!(done.integers(), [[1_000_000]]);
}

#[tokio::test]
async fn batch_whose_results_fit_no_message_is_not_committed() {
    let mut served = with_table().await;
    let statement = |sql: &str| v1::SqlStatement { sql: sql.to_owned(), parameters: Vec::new() };
    let statements =
        vec![statement("UPDATE t SET n = 0"), statement("SELECT repeat('x', 15000000)")];
    let request = v1::ExecuteSqlBatchRequest { statements, ..Default::default() };
    let status = served.client.execute_sql_batch(request).await.unwrap_err();
    assert_eq!(detail_of(&status).unwrap().sql.unwrap().sqlstate, "53200");
    let done = served.sql("SELECT sum(n)::bigint FROM t").await.unwrap();
    assert_eq!(done.integers(), [[30]]);
}

#[tokio::test]
async fn statement_that_waits_for_its_turn_can_be_cancelled_and_fails_its_transaction() {
    let mut served = with_table().await;
    let mut stream = Session::open(&mut served).await.unwrap();
    stream.sql(1, 1, "BEGIN").await.unwrap();
    stream.sql(2, 1, "UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
    stream.sql(3, 2, "BEGIN").await.unwrap();
    // The first waits for the lock, the others for the first.
    let waits = [
        (4, execute(2, "UPDATE t SET n = 2 WHERE id = 1")),
        (5, execute(2, "UPDATE t SET n = 3 WHERE id = 2")),
    ];
    stream.send(waits).await;
    stream.send([(6, Request::Cancel(v1::Cancel {}))]).await;
    let cancel = Request::CancelSql(v1::CancelSqlRequest { sql_session: 2 });
    stream.ask(7, cancel).await;
    for number in [5, 4] {
        assert_eq!(sqlstate(&stream.sql_done(number).await.unwrap_err()), "57014");
    }
    assert_eq!(stream.sql(8, 2, "COMMIT").await.unwrap().summary.tag, "ROLLBACK");
    stream.sql(9, 1, "COMMIT").await.unwrap();
    let done = stream.sql(10, 2, "SELECT n FROM t ORDER BY id").await.unwrap();
    assert_eq!(done.integers(), [[1], [10], [10]]);
}

#[tokio::test]
async fn statement_whose_client_reads_nothing_keeps_its_timeout() {
    let mut served = running(ServerSettings::default()).await;
    served.sql(TABLE).await.unwrap();
    let rows: Vec<String> = (0..600).map(|id| format!("({id}, repeat('x', 60000))")).collect();
    for rows in rows.chunks(100) {
        let insert = format!("INSERT INTO t (id, note) VALUES {}", rows.join(", "));
        served.sql(&insert).await.unwrap();
    }
    let mut stream = Session::open(&mut served).await.unwrap();
    stream.sql(1, 1, "SET statement_timeout = '200ms'").await.unwrap();
    stream.sql(2, 1, "BEGIN").await.unwrap();
    stream.send([(3, execute(1, "SELECT * FROM t"))]).await;
    // Younger, so it waits until the other one has failed.
    let done = served.sql("UPDATE t SET n = 1").await.unwrap();
    assert_eq!(done.summary.tag, "UPDATE 600");
    assert_eq!(sqlstate(&stream.sql_done(3).await.unwrap_err()), "57014");
}

#[tokio::test]
async fn begun_transaction_is_named_with_the_first_chunk_and_by_the_error() {
    let mut served = with_table().await;
    let begin =
        || selector(v1::transaction_selector::Selector::Begin(v1::ReadWriteOptions::default()));
    let mut stream = Session::open(&mut served).await.unwrap();
    let statement = statement("SELECT id FROM t", Vec::new());
    let request = v1::ExecuteSqlRequest { statement, transaction: begin(), sql_session: 0 };
    let Wire::ExecuteSql(first) = stream.ask(1, Request::ExecuteSql(request)).await else {
        panic!("it succeeds")
    };
    assert!(first.transaction.is_some() && first.summary.is_none());
    let status = served.sql_with("SELECT 1 / 0", Vec::new(), begin()).await.unwrap_err();
    let detail = detail_of(&status).unwrap();
    assert!(detail.transaction.is_some(), "{detail:?}");
    let id = first.transaction.unwrap();
    let request = v1::CommitRequest {
        transaction: Some(v1::commit_request::Transaction::Id(id)),
        mutations: Vec::new(),
    };
    served.client.commit(request).await.unwrap();
}

#[tokio::test]
async fn batch_repeated_after_its_commit_is_not_told_that_it_was_aborted() {
    let mut served = with_table().await;
    let begun =
        served.client.begin(begin_read_write()).await.unwrap().into_inner().transaction.unwrap();
    let batch = || v1::ExecuteSqlBatchRequest {
        statements: vec![v1::SqlStatement {
            sql: "UPDATE t SET n = n + 1 WHERE id = 1".to_owned(),
            parameters: Vec::new(),
        }],
        transaction: selector(v1::transaction_selector::Selector::Id(begun)),
        commit: true,
    };
    served.client.execute_sql_batch(batch()).await.unwrap();
    let status = served.client.execute_sql_batch(batch()).await.unwrap_err();
    let detail = detail_of(&status).unwrap();
    assert_eq!(detail.kind(), ErrorKind::TransactionNotHere, "{status:?}");
    assert_eq!((detail.transaction, detail.retry()), (Some(begun), v1::Retry::LookupOutcome));
    let done = served.sql("SELECT n FROM t WHERE id = 1").await.unwrap();
    assert_eq!(done.integers(), [[11]]);
}
