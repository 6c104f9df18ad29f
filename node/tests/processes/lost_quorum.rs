//! Two of three nodes are gone: nobody can promise anything, and whoever asks is told so in time.

use std::time::Duration;

use client::{Client, ClientError, Config, ErrorKind};
use tokio::time::timeout;

use crate::support::{
    COLUMNS, Cluster, TABLE, client, client_of, create_table, put, read_one, until,
};

/// For how long a client looks for the outcome of a commit that may have been executed.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(3);

/// A client that asks one node alone, and tries once. What it does not hear within 10 s it gives up by itself,
/// which is another error.
pub(crate) async fn impatient_client(address: &str) -> Client {
    let config = Config { discover_nodes: false, attempts_max: 1, ..Config::default() };
    client_of(&[address.to_owned()], config).await
}

/// Reads and transactions are answered in time, by the server, that they cannot be done.
pub(crate) async fn assert_unavailable_in_time(client: &Client) {
    let transaction = client.run(|transaction| async move {
        transaction.get_for_update(TABLE, 1, &COLUMNS).await?;
        transaction.update(TABLE, &COLUMNS, vec![1.into(), 9.into()]);
        Ok::<_, ClientError>(())
    });
    let (read, transaction) = tokio::join!(read_one(client, 1), transaction);
    assert_unavailable("a strong read", read);
    assert_unavailable("a transaction", transaction);
}

/// A commit in one request is not waited for longer than the client wants either. Its id is good at every node, so
/// the one that is asked cannot say that no other has executed it.
async fn assert_commit_ends_in_time(address: &str) {
    let config = Config {
        discover_nodes: false,
        attempts_max: 1,
        request_timeout: OUTCOME_TIMEOUT,
        outcome_timeout: OUTCOME_TIMEOUT,
        ..Config::default()
    };
    let client = client_of(&[address.to_owned()], config).await;
    let commit = timeout(OUTCOME_TIMEOUT * 5, put(&client, 1, 9)).await.expect("it ends in time");
    let error = commit.expect_err("nobody can commit");
    assert!(error.is_retryable() || matches!(error, ClientError::OutcomeUnknown { .. }), "{error}");
}

fn assert_unavailable<T: std::fmt::Debug>(what: &str, answer: Result<T, ClientError>) {
    let error = answer.expect_err(what);
    let kind = error.refusal().map(|refusal| refusal.kind);
    assert_eq!(kind, Some(ErrorKind::Unavailable), "{what}: {error}");
    assert!(error.to_string().contains("spandrel status"), "{what}: it says what to do: {error}");
}

#[tokio::test]
async fn quorum_lost_is_unavailable_in_time_and_back_after_a_restart() {
    let mut cluster = Cluster::start(3).await;
    let everyone = client(&cluster.addresses()).await;
    create_table(&everyone, 1).await;
    until("a commit", async || put(&everyone, 1, 1).await).await;
    let leader = cluster.leader(0).await;
    let alone = impatient_client(&cluster.nodes[leader].address).await;
    until("a strong read", async || read_one(&alone, 1).await).await;
    for victim in (0..3).filter(|node| *node != leader) {
        cluster.nodes[victim].kill().await;
    }
    // Until its lease ends the leader may serve reads: nobody else can have taken over.
    while let Ok(found) = read_one(&alone, 1).await {
        assert_eq!(found, Some(1));
    }
    assert_unavailable_in_time(&alone).await;
    let address = &cluster.nodes[leader].address;
    tokio::join!(assert_unavailable_in_time(&alone), assert_commit_ends_in_time(address));

    cluster.start_all().await;
    until("a commit", async || put(&everyone, 1, 2).await).await;
    let found = until("a strong read", async || read_one(&everyone, 1).await).await;
    assert_eq!(found, Some(2));
}
