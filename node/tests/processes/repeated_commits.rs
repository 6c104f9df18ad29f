//! A single-use commit is sent again, with the same id, after each kind of failure that can lose its answer.
//!
//! That it was executed once shows in two ways: every answer has the same timestamp, and a later commit to the
//! same row is not undone by a repetition.

use std::time::Duration;

use client::Client;
use proto::rpc::v1::commit_request::Transaction;
use proto::rpc::v1::mutation::Operation;
use proto::rpc::v1::spandrel_client::SpandrelClient;
use proto::rpc::v1::{
    CommitRequest, Mutation, ResolveCommitRequest, RowValues, SingleUseCommit, TableRef, Write,
    WrittenKeys,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::support::{Cluster, TABLE, client, create_table, put, read_one, until};

/// A call without an answer by then is sent again.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

async fn connect(address: &str) -> Result<SpandrelClient<Channel>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let endpoint = endpoint.timeout(CALL_TIMEOUT).connect_timeout(CALL_TIMEOUT);
    let channel = endpoint.connect().await;
    channel.map(SpandrelClient::new).map_err(|error| Status::unavailable(error.to_string()))
}

/// Fixes the id of a commit that sets a row's value.
async fn resolve(address: &str, id: i64, value: i64) -> Result<CommitRequest, Status> {
    let table = Some(TableRef { name: TABLE.to_owned(), id: 0 });
    let writes = vec![WrittenKeys { table: table.clone(), keys: vec![id.into()] }];
    let request = ResolveCommitRequest { writes, max_age_ms: 0, transaction: None };
    let resolved = connect(address).await?.resolve_commit(request).await?.into_inner();
    let rows = vec![RowValues { values: vec![id.into(), value.into()] }];
    let columns = vec!["id".to_owned(), "value".to_owned()];
    let write = Write { table, columns, rows };
    Ok(CommitRequest {
        transaction: Some(Transaction::SingleUse(SingleUseCommit {
            id: resolved.transaction,
            coordinator_key: resolved.coordinator_key,
            priority: None,
        })),
        mutations: vec![Mutation { operation: Some(Operation::InsertOrUpdate(write)) }],
    })
}

/// Sends the commit once; its timestamp.
async fn send(address: &str, commit: &CommitRequest) -> Result<u64, Status> {
    let answer = connect(address).await?.commit(commit.clone()).await?;
    Ok(answer.into_inner().commit_timestamp)
}

/// Sends the commit until it is answered; its timestamp.
async fn repeat(address: &str, commit: &CommitRequest) -> u64 {
    until("an answer to a repeated commit", async || send(address, commit).await).await
}

/// A commit that was answered, and a later one to the same row.
struct Done {
    commit: CommitRequest,
    timestamp: u64,
}

async fn commit_and_overwrite(cluster: &Cluster, client: &Client, id: i64, gateway: usize) -> Done {
    let address = &cluster.nodes[gateway].address;
    let commit = until("an id for a commit", async || resolve(address, id, 1).await).await;
    let timestamp = repeat(address, &commit).await;
    until("a commit", async || put(client, id, 2).await).await;
    Done { commit, timestamp }
}

async fn assert_executed_once(cluster: &Cluster, client: &Client, id: i64, done: &Done) {
    for node in cluster.nodes.iter().filter(|node| node.runs()) {
        assert_eq!(repeat(&node.address, &done.commit).await, done.timestamp);
    }
    let found = until("a strong read", async || read_one(client, id).await).await;
    assert_eq!(found, Some(2), "no repetition undid the later commit");
}

#[tokio::test]
async fn commit_repeated_after_each_kind_of_failure_is_executed_once() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, 2).await;

    // The leader dies when the answer was given.
    let leader = cluster.leader(0).await;
    let gateway = (leader + 1) % 3;
    let first = commit_and_overwrite(&cluster, &client, 1, gateway).await;
    cluster.nodes[leader].kill().await;
    assert_executed_once(&cluster, &client, 1, &first).await;
    cluster.nodes[leader].start().await;

    // The node that took the commit dies, which may lead the shard or not.
    let second = commit_and_overwrite(&cluster, &client, 2, gateway).await;
    cluster.nodes[gateway].kill().await;
    assert_executed_once(&cluster, &client, 2, &second).await;
    cluster.nodes[gateway].start().await;

    // All die.
    let third = commit_and_overwrite(&cluster, &client, 3, gateway).await;
    for node in &mut cluster.nodes {
        node.kill().await;
    }
    cluster.start_all().await;
    for (id, done) in [(1, &first), (2, &second), (3, &third)] {
        assert_executed_once(&cluster, &client, id, done).await;
    }
}

#[tokio::test]
async fn commit_whose_gateway_died_under_it_is_executed_once() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, 2).await;
    for round in 0..3 {
        let id = 10 + round;
        let gateway = usize::try_from(round).expect("a few rounds");
        let address = cluster.nodes[gateway].address.clone();
        let commit = until("an id for a commit", async || resolve(&address, id, 1).await).await;
        // Whatever became of it: its answer is lost with the process, or never made.
        let (sent, ()) = tokio::join!(send(&address, &commit), cluster.nodes[gateway].kill());
        let other = cluster.nodes[(gateway + 1) % 3].address.clone();
        let timestamp = repeat(&other, &commit).await;
        assert!(sent.is_err() || sent.is_ok_and(|sent| sent == timestamp));
        until("a commit", async || put(&client, id, 2).await).await;
        cluster.nodes[gateway].start().await;
        assert_executed_once(&cluster, &client, id, &Done { commit, timestamp }).await;
    }
}
