//! SQL: sessions on one stream, what is lost with it, cancelling, and what is sent again.

use crate::support::{Cluster, Reaction, break_session, id, refuse, refuse_kind};
use client::{
    ClientError, Config, ErrorKind, Placement, Routing, SqlColumn, SqlError, SqlStatement,
    SqlSummary, SqlTransactionStatus, SqlType, Value,
};
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{
    ErrorDetail, ExecuteSqlBatchResponse, ExecuteSqlRequest, ExecuteSqlResponse, Retry, RowValues,
    SqlResult,
};
use std::sync::Arc;

fn chunk(chunk: ExecuteSqlResponse) -> Response {
    Response::ExecuteSql(chunk)
}

fn rows(numbers: &[i64]) -> Vec<RowValues> {
    numbers.iter().map(|n| RowValues { values: vec![(*n).into()] }).collect()
}

fn end(tag: &str, status: SqlTransactionStatus) -> Response {
    let summary =
        SqlSummary { tag: tag.to_owned(), status: status.into(), ..SqlSummary::default() };
    chunk(ExecuteSqlResponse { summary: Some(summary), ..Default::default() })
}

fn done(tag: &str, status: SqlTransactionStatus) -> Reaction {
    Reaction::Answer(vec![end(tag, status)])
}

fn text(request: &ExecuteSqlRequest) -> &str {
    request.statement.as_ref().map_or("", |statement| statement.sql.as_str())
}

/// The statements that were sent, each with its node and session.
fn statements(cluster: &Arc<Cluster>) -> Vec<(u64, u32, String)> {
    cluster.calls(|node, call| match call {
        Request::ExecuteSql(sql) => Some((node, sql.sql_session, text(sql).to_owned())),
        _ => None,
    })
}

/// BEGIN and COMMIT do what they say; `script` is for the rest.
fn cluster(mut script: impl FnMut(u64, &str) -> Reaction + Send + 'static) -> Arc<Cluster> {
    Cluster::new(move |node, request| match request {
        Request::ExecuteSql(sql) => match text(sql) {
            "BEGIN" => done("BEGIN", SqlTransactionStatus::ReadWrite),
            sql => script(node, sql),
        },
        _ => Reaction::Usual,
    })
}

async fn one_stream(cluster: &Arc<Cluster>) -> client::Client {
    let config = Config {
        streams: 1,
        placement: Placement::OneNode,
        routing: Routing::InTurn,
        seed: Some(1),
        ..Config::default()
    };
    cluster.client_with(config).await
}

#[tokio::test]
async fn statement_is_answered_in_parts() {
    let cluster = Cluster::new(|_, request| match request {
        Request::ExecuteSql(_) => {
            let column = SqlColumn { name: "n".to_owned(), r#type: SqlType::Bigint.into() };
            let columns = vec![column];
            Reaction::Answer(vec![
                chunk(ExecuteSqlResponse { columns, rows: rows(&[1, 2]), ..Default::default() }),
                chunk(ExecuteSqlResponse { rows: rows(&[3]), ..Default::default() }),
                end("SELECT 3", SqlTransactionStatus::Idle),
            ])
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let mut session = client.sql_session();
    let parameters = vec![Value::from(7), Value::null()];
    let answer = session.execute("SELECT n FROM t", parameters.clone()).await.unwrap();
    let numbers: Vec<Vec<Value>> = [1, 2, 3].map(|n| vec![Value::from(n)]).into();
    assert_eq!((answer.columns[0].name.as_str(), answer.rows), ("n", numbers.clone()));
    assert_eq!(answer.summary.tag, "SELECT 3");
    let mut running = session.start("SELECT n FROM t", Vec::new()).await.unwrap();
    let mut parts = Vec::new();
    while let Some(rows) = running.next_rows().await.unwrap() {
        assert_eq!(running.columns().len(), 1);
        parts.push(rows.len());
    }
    assert_eq!(parts, [2, 1, 0]);
    // The same without a session.
    let answer = client.execute_sql("SELECT n FROM t", Vec::new()).await.unwrap();
    assert_eq!(answer.rows, numbers);
    let sent = cluster.calls(|_, call| match call {
        Request::ExecuteSql(sql) => Some((sql.sql_session != 0, sql.statement.clone()?.parameters)),
        _ => None,
    });
    assert_eq!(sent, [(true, parameters), (true, Vec::new()), (false, Vec::new())]);
}

#[tokio::test]
async fn sessions_have_numbers_of_their_own_and_close_when_dropped() {
    let cluster = cluster(|_, _| done("SELECT 0", SqlTransactionStatus::Idle));
    let client = one_stream(&cluster).await;
    let (mut first, mut second) = (client.sql_session(), client.sql_session());
    for session in [&mut first, &mut second] {
        session.execute("SELECT", Vec::new()).await.unwrap();
    }
    first.execute("SELECT", Vec::new()).await.unwrap();
    assert_eq!(statements(&cluster).iter().map(|sent| sent.1).collect::<Vec<_>>(), [1, 2, 1]);
    drop(first);
    // Sent after the closing, over the same stream.
    second.execute("SELECT", Vec::new()).await.unwrap();
    let closed = cluster.calls(|_, call| match call {
        Request::CloseSqlSession(close) => Some(close.sql_session),
        _ => None,
    });
    assert_eq!(closed, [1]);
}

#[tokio::test]
async fn refusal_says_what_sql_says_and_fails_the_transaction() {
    let said = SqlError {
        sqlstate: "42703".to_owned(),
        detail: "d".to_owned(),
        hint: "h".to_owned(),
        position: 8,
        statement: 0,
    };
    let detail = ErrorDetail { sql: Some(said.clone()), ..ErrorDetail::of(ErrorKind::Sql) };
    let cluster = cluster(move |_, sql| match sql {
        "ROLLBACK" => done("ROLLBACK", SqlTransactionStatus::Idle),
        _ => refuse(detail.clone()),
    });
    let client = cluster.client().await;
    let mut session = client.sql_session();
    let error = session.execute("SELECT x", Vec::new()).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().sql, Some(said));
    assert_eq!(session.status(), SqlTransactionStatus::Idle);
    session.execute("BEGIN", Vec::new()).await.unwrap();
    assert_eq!(session.status(), SqlTransactionStatus::ReadWrite);
    session.execute("SELECT x", Vec::new()).await.unwrap_err();
    assert_eq!(session.status(), SqlTransactionStatus::Failed);
    session.execute("ROLLBACK", Vec::new()).await.unwrap();
    assert_eq!(session.status(), SqlTransactionStatus::Idle);
}

#[tokio::test]
async fn abort_names_who_caused_it() {
    let cluster = cluster(|_, _| {
        let wounded = ErrorDetail::of(ErrorKind::AbortedWounded);
        refuse(ErrorDetail { wounded_by: Some(id(3)), ..wounded })
    });
    let mut session = cluster.client().await.sql_session();
    let error = session.execute("UPDATE t", Vec::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::Aborted(_)), "{error}");
    assert_eq!(error.refusal().unwrap().wounded_by, Some(id(3).into()));
}

#[tokio::test]
async fn broken_stream_takes_its_transaction_along_and_the_next_statement_reopens() {
    let cluster = cluster(|_, sql| match sql {
        "LOSE" => break_session(),
        _ => done("SELECT 0", SqlTransactionStatus::Idle),
    });
    let mut session = one_stream(&cluster).await.sql_session();
    session.execute("BEGIN", Vec::new()).await.unwrap();
    let error = session.execute("LOSE", Vec::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::SqlSessionLost { .. }), "{error}");
    assert!(error.is_retryable(), "nothing of it can have committed");
    assert_eq!(session.status(), SqlTransactionStatus::Idle);
    let answer = session.execute("SELECT", Vec::new()).await.unwrap();
    assert!(answer.summary.notices[0].contains("ran on a new one"), "{:?}", answer.summary);
    let answer = session.execute("SELECT", Vec::new()).await.unwrap();
    assert_eq!(answer.summary.notices, [] as [String; 0], "said once");
}

#[tokio::test]
async fn transaction_lost_between_statements_is_said_before_the_next_one_runs() {
    let cluster = cluster(|node, _| match node {
        1 => break_session(),
        _ => done("SELECT 0", SqlTransactionStatus::Idle),
    });
    let mut session = one_stream(&cluster).await.sql_session();
    session.execute("BEGIN", Vec::new()).await.unwrap();
    cluster.kill(1);
    // Whether or not the client has noticed by now.
    let error = session.execute("SELECT", Vec::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::SqlSessionLost { .. }), "{error}");
    let answer = session.execute("SELECT", Vec::new()).await.unwrap();
    assert_eq!(answer.summary.tag, "SELECT 0");
    assert_eq!(statements(&cluster).last().map(|sent| sent.0), Some(2), "at the other node");
}

#[tokio::test]
async fn lost_answer_leaves_open_what_may_have_committed_and_nothing_is_sent_again() {
    for (begin, sql) in [(false, "UPDATE t"), (true, "COMMIT"), (true, "-- so\nend")] {
        let cluster = cluster(|_, _| break_session());
        let mut session = one_stream(&cluster).await.sql_session();
        if begin {
            session.execute("BEGIN", Vec::new()).await.unwrap();
        }
        let error = session.execute(sql, Vec::new()).await.unwrap_err();
        assert!(matches!(error, ClientError::MayHaveExecuted { .. }), "{sql}: {error}");
        let sent = statements(&cluster).into_iter().filter(|sent| sent.2 == sql).count();
        assert_eq!((sent, session.status()), (1, SqlTransactionStatus::Idle), "{sql}");
    }
}

#[tokio::test]
async fn cancelling_names_the_session_and_the_statement_is_still_waited_for() {
    let cluster = cluster(|_, _| Reaction::Hold);
    let client = one_stream(&cluster).await;
    let mut session = client.sql_session();
    let canceller = session.canceller();
    canceller.cancel();
    let mut running = session.start("SELECT", Vec::new()).await.unwrap();
    let cancelled = || {
        cluster.calls(|_, call| match call {
            Request::CancelSql(cancel) => Some(cancel.sql_session),
            _ => None,
        })
    };
    assert_eq!(cancelled(), [] as [u32; 0], "a session that is not open has nothing to cancel");
    canceller.cancel();
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), running.next_rows());
    assert!(waiting.await.is_err(), "the answer decides");
    assert_eq!(cancelled(), [1]);
}

#[tokio::test]
async fn statement_alone_is_sent_again_only_if_it_was_not_executed() {
    let mut refusals = 0;
    let cluster = cluster(move |_, sql| {
        refusals += 1;
        match sql {
            "LATER" if refusals < 3 => refuse_kind(ErrorKind::Unavailable),
            "LATER" => done("UPDATE 1", SqlTransactionStatus::Idle),
            _ => refuse(ErrorDetail {
                transaction: Some(id(5)),
                retry: Retry::LookupOutcome.into(),
                ..ErrorDetail::of(ErrorKind::OutcomeUnknown)
            }),
        }
    });
    let client = cluster.client().await;
    let answer = client.execute_sql("LATER", Vec::new()).await.unwrap();
    assert_eq!((answer.summary.tag.as_str(), statements(&cluster).len()), ("UPDATE 1", 3));
    let error = client.execute_sql("DOUBT", Vec::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::OutcomeUnknown { .. }), "{error}");
    assert_eq!(statements(&cluster).len(), 4);
}

#[tokio::test]
async fn batch_answers_each_statement() {
    let cluster = Cluster::new(|_, request| match request {
        Request::ExecuteSqlBatch(batch) => {
            let result = |statement: &SqlStatement| SqlResult {
                tag: format!("did {}", statement.sql),
                rows: rows(&[1]),
                rows_affected: 1,
                ..SqlResult::default()
            };
            let results = batch.statements.iter().map(result).collect();
            let answer = ExecuteSqlBatchResponse {
                results,
                commit_timestamp: 9,
                retries: 2,
                ..Default::default()
            };
            Reaction::Answer(vec![Response::ExecuteSqlBatch(answer)])
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let statement = |sql: &str| SqlStatement { sql: sql.to_owned(), parameters: Vec::new() };
    let answer = client.execute_sql_batch(vec![statement("a"), statement("b")]).await.unwrap();
    let tags: Vec<&str> = answer.answers.iter().map(|a| a.summary.tag.as_str()).collect();
    assert_eq!(tags, ["did a", "did b"]);
    assert_eq!(answer.answers[0].rows, [[Value::from(1)]]);
    assert_eq!((answer.commit_timestamp.map(|at| at.nanos()), answer.retries), (Some(9), 2));
}
