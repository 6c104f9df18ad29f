//! SQL while nodes die: money moved by batches of statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use client::{Client, ClientError};
use proto::rpc::FromValue;
use proto::rpc::v1::SqlStatement;

use crate::support::{Cluster, client, until};

const ACCOUNTS: u64 = 40;
const BALANCE: i64 = 100;
const CLIENTS: u64 = 6;
/// Acknowledged transfers before each death, and after the last.
const TRANSFERS: u64 = 60;

fn statement(sql: &str, parameters: [i64; 2]) -> SqlStatement {
    SqlStatement { sql: sql.to_owned(), parameters: parameters.map(Into::into).to_vec() }
}

/// Moves money about until it is told to stop.
async fn transfer(client: Client, seed: u64, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let mut step = seed;
    while !stop.load(Ordering::Relaxed) {
        step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (from, offset) = ((step >> 33) % ACCOUNTS, 1 + (step >> 13) % (ACCOUNTS - 1));
        let to = (from + offset) % ACCOUNTS;
        let small = |number: u64| i64::try_from(number).expect("it is below a hundred");
        let amount = small(1 + step % 9);
        let add = "UPDATE money SET balance = balance + $1 WHERE id = $2";
        let (from, to) = (small(from), small(to));
        let batch = vec![statement(add, [-amount, from]), statement(add, [amount, to])];
        match client.execute_sql_batch(batch).await {
            Ok(answer) => {
                assert!(answer.answers.iter().all(|answer| answer.summary.rows == 1));
                done.fetch_add(1, Ordering::Relaxed);
            }
            // Either way all of it was moved or nothing.
            Err(ClientError::OutcomeUnknown { .. } | ClientError::MayHaveExecuted { .. }) => {}
            Err(error) if error.is_retryable() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// How much there is, and in how many accounts.
async fn total(client: &Client) -> Result<(i64, i64), ClientError> {
    let sum = "SELECT CAST(sum(balance) AS BIGINT), count(*) FROM money";
    let answer = client.execute_sql(sum, Vec::new()).await?;
    let number = |at: usize| i64::from_value(answer.rows[0][at].clone()).expect("it is a BIGINT");
    Ok((number(0), number(1)))
}

#[tokio::test]
async fn statements_move_money_and_lose_none_while_nodes_die() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    let create = "CREATE TABLE money (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL) \
                  SPLIT INTO 4 SHARDS FROM (0) TO (40)";
    client.execute_sql(create, Vec::new()).await.unwrap();
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    let insert = format!("INSERT INTO money VALUES {}", rows.join(", "));
    client.execute_sql(&insert, Vec::new()).await.unwrap();
    let whole = (BALANCE * 40, 40);
    let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let movers: Vec<_> = (1..=CLIENTS)
        .map(|seed| tokio::spawn(transfer(client.clone(), seed, stop.clone(), done.clone())))
        .collect();
    for death in 0..=2 {
        let goal = done.load(Ordering::Relaxed) + TRANSFERS;
        until("money moves", async || {
            let moved = done.load(Ordering::Relaxed);
            if moved >= goal { Ok(()) } else { Err((death, moved, goal)) }
        })
        .await;
        // Of one snapshot, in the midst of it.
        let seen = until("the total is read", async || total(&client).await).await;
        assert_eq!(seen, whole);
        if death < 2 {
            cluster.nodes[death].kill().await;
            cluster.nodes[death].start().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for mover in movers {
        mover.await.expect("no statement fails for good");
    }
    let seen = until("the total is read", async || total(&client).await).await;
    assert_eq!(seen, whole);
}
