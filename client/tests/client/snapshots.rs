//! Snapshot reads and the streams under them, against scripted nodes.

use crate::support::{Cluster, Reaction, break_session, points, row, selector};
use bytes::Bytes;
use client::{Bound, Client, ClientError, Config, KeyRange, Placement, Routing, Row, Scan};
use proto::NodeId;
use proto::rpc::v1;
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::transaction_selector::Selector;
use proto::rpc::v1::{ReadResponse, read_only_options};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use truetime::Timestamp;

fn scan() -> Scan<'static> {
    Scan { range: KeyRange::all(), columns: &["id"], limit: 0 }
}

/// Where each read went, its bound, and its token.
fn reads(cluster: &Cluster) -> Vec<(u64, Option<read_only_options::Bound>, Bytes)> {
    cluster.calls(|node, call| match call {
        Request::Read(read) => match selector(read) {
            Some(Selector::SingleUse(options)) => {
                Some((node, options.bound, read.resume_token.clone()))
            }
            _ => None,
        },
        _ => None,
    })
}

fn chunk(keys: &[i64], token: &'static str) -> ReadResponse {
    ReadResponse {
        rows: keys.iter().map(|&key| row(key, 1)).collect(),
        resume_token: token.into(),
        read_timestamp: 5_000,
        ..ReadResponse::default()
    }
}

fn keys(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

fn key_of(call: &Request) -> Option<i64> {
    let Request::Read(read) = call else { return None };
    match points(read).first()?.values[0].kind.as_ref()? {
        v1::value::Kind::Bigint(key) => Some(*key),
        _ => None,
    }
}

async fn get(client: &Client, key: i64) -> Result<Option<Row>, ClientError> {
    client.snapshot(Bound::Strong).get("accounts", key, &["id"]).await
}

fn one_stream() -> Config {
    let routing = Routing::InTurn;
    Config { streams: 1, placement: Placement::OneNode, routing, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn second_read_is_at_the_timestamp_of_the_first() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    let mut snapshot = client.snapshot(Bound::MaxStaleness(Duration::from_secs(1)));
    snapshot.get("accounts", 1, &["id"]).await.unwrap();
    snapshot.get("accounts", 2, &["id"]).await.unwrap();
    let bounds: Vec<_> = reads(&cluster).into_iter().map(|(_, bound, _)| bound.unwrap()).collect();
    assert_eq!(
        bounds,
        [
            read_only_options::Bound::MaxStalenessNanos(1_000_000_000),
            read_only_options::Bound::ExactTimestamp(5_000)
        ]
    );
    assert_eq!(snapshot.timestamp(), Some(Timestamp::from_nanos(5_000)));
}

#[tokio::test(start_paused = true)]
async fn calls_made_together_share_a_message_and_answers_in_any_order_reach_their_callers() {
    let cluster = Cluster::new(|_, call| match key_of(call) {
        Some(key) => Reaction::AnswerInReverse(Response::Read(chunk(&[key], ""))),
        None => Reaction::Usual,
    });
    let client = cluster.client_with(one_stream()).await;
    client.get_table("accounts").await.unwrap();
    let messages = cluster.messages();
    let (a, b, c) = tokio::join!(get(&client, 1), get(&client, 2), get(&client, 3));
    let rows = [a, b, c].map(|row| row.unwrap().unwrap());
    assert_eq!(keys(&rows), [1, 2, 3]);
    assert_eq!(cluster.messages() - messages, 1);
}

#[tokio::test(start_paused = true)]
async fn node_that_dies_is_replaced_by_another_one() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client_with(one_stream()).await;
    get(&client, 1).await.unwrap();
    cluster.kill(1);
    sleep(Duration::from_millis(50)).await;
    get(&client, 1).await.unwrap();
    let nodes: Vec<u64> = reads(&cluster).into_iter().map(|(node, ..)| node).collect();
    assert_eq!(nodes, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn stream_returns_home_when_its_node_is_back() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client_with(one_stream()).await;
    cluster.kill(1);
    sleep(Duration::from_secs(1)).await;
    cluster.revive(1);
    sleep(Duration::from_secs(20)).await;
    get(&client, 1).await.unwrap();
    assert_eq!(reads(&cluster)[0].0, 1);
}

#[tokio::test(start_paused = true)]
async fn read_that_was_cut_off_is_repeated_elsewhere() {
    let cluster = Cluster::new(|node, call| match call {
        Request::Read(_) if node == 1 => break_session(),
        _ => Reaction::Usual,
    });
    let client = cluster.client_with(one_stream()).await;
    assert!(get(&client, 1).await.unwrap().is_some());
    let nodes: Vec<u64> = reads(&cluster).into_iter().map(|(node, ..)| node).collect();
    assert_eq!(nodes, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn whole_cluster_gone_is_an_error_that_names_the_addresses() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    client.get_table("accounts").await.unwrap();
    cluster.kill(1);
    cluster.kill(2);
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let error = get(&client, 1).await.unwrap_err();
    assert!(matches!(&error, ClientError::NoConnection { addresses, .. } if addresses == "n1, n2"));
    assert!(error.is_retryable());
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn read_without_an_answer_ends_at_its_deadline_and_is_withdrawn() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Read(_) => Reaction::Hold,
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    client.get_table("accounts").await.unwrap();
    let start = Instant::now();
    let error = get(&client, 1).await.unwrap_err();
    assert!(matches!(error, ClientError::DeadlineExceeded { .. }), "{error}");
    assert_eq!(start.elapsed().as_secs(), 10);
    sleep(Duration::from_millis(1)).await;
    let cancels = cluster.calls(|_, call| matches!(call, Request::Cancel(_)).then_some(()));
    assert_eq!(cancels.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn scan_that_was_cut_off_goes_on_after_its_last_token_without_loss_or_repetition() {
    let cluster = Cluster::new(|_, call| {
        let Request::Read(read) = call else { return Reaction::Usual };
        match &*read.resume_token {
            b"" => Reaction::AnswerAndBreak(vec![
                Response::Read(chunk(&[1, 2], "after 2")),
                // Not covered by a token, so it will come again.
                Response::Read(chunk(&[3], "")),
            ]),
            b"after 2" => Reaction::Answer(vec![
                Response::Read(chunk(&[3, 4], "after 4")),
                Response::Read(chunk(&[5], "")),
            ]),
            other => panic!("{other:?}"),
        }
    });
    let client = cluster.client().await;
    let mut snapshot = client.snapshot(Bound::Strong);
    let rows = snapshot.scan("accounts", scan()).await.unwrap();
    assert_eq!(keys(&rows), [1, 2, 3, 4, 5]);
    let reads = reads(&cluster);
    let [(first, ..), (second, bound, token)] = reads.as_slice() else { panic!("{reads:?}") };
    assert_ne!(first, second);
    assert_eq!(*bound, Some(read_only_options::Bound::ExactTimestamp(5_000)));
    assert_eq!(&**token, b"after 2");
}

#[tokio::test(start_paused = true)]
async fn pages_go_on_in_another_client_from_their_token() {
    let cluster = Cluster::new(|_, call| {
        let Request::Read(read) = call else { return Reaction::Usual };
        let page = match &*read.resume_token {
            b"" => ReadResponse { more: true, ..chunk(&[1, 2], "after 2") },
            b"after 2" => chunk(&[3], ""),
            other => panic!("{other:?}"),
        };
        Reaction::Answer(vec![Response::Read(page)])
    });
    let client = cluster.client().await;
    let mut pages = client.snapshot(Bound::Strong).pages("accounts", scan()).await.unwrap();
    assert_eq!(pages.resume_token(), None);
    assert_eq!(keys(&pages.next_page().await.unwrap().unwrap()), [1, 2]);
    let token = pages.resume_token().unwrap();

    let other = cluster.client().await;
    let mut rest = other.resume_pages("accounts", scan(), token).await.unwrap();
    assert_eq!(keys(&rest.next_page().await.unwrap().unwrap()), [3]);
    assert_eq!(rest.next_page().await.unwrap(), None);
    assert_eq!(rest.resume_token(), None);
}

#[tokio::test(start_paused = true)]
async fn read_goes_to_the_leader_of_its_key() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client_with(Config::default()).await;
    for leader in [2, 1, 2] {
        cluster.set_leader(leader);
        sleep(Duration::from_secs(3)).await;
        for _ in 0..4 {
            get(&client, 1).await.unwrap();
        }
        let nodes: Vec<u64> = reads(&cluster).into_iter().map(|(node, ..)| node).collect();
        assert_eq!(nodes[nodes.len() - 4..], [leader; 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn read_at_a_chosen_node_goes_there_and_nowhere_else() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    // The only stream goes to node 1.
    let client = cluster.client_with(one_stream()).await;
    for _ in 0..3 {
        let mut snapshot = client.snapshot(Bound::Strong).at_node(NodeId(2));
        snapshot.get("accounts", 1, &["id"]).await.unwrap();
    }
    assert!(reads(&cluster).into_iter().all(|(node, ..)| node == 2));
    cluster.kill(2);
    sleep(Duration::from_millis(1)).await;
    let mut snapshot = client.snapshot(Bound::Strong).at_node(NodeId(2));
    let error = snapshot.get("accounts", 1, &["id"]).await.unwrap_err();
    assert!(matches!(error, ClientError::NoConnection { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn row_that_does_not_exist_is_none() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Read(_) => {
            let rows = vec![Row::default()];
            Reaction::Answer(vec![Response::Read(ReadResponse { rows, ..Default::default() })])
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    assert_eq!(get(&client, 1).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_the_limit_are_refused() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Read(_) => Reaction::Hold,
        _ => Reaction::Usual,
    });
    let client = cluster.client_with(Config { in_flight_max: 1, ..one_stream() }).await;
    client.get_table("accounts").await.unwrap();
    let (first, second) = tokio::join!(get(&client, 1), get(&client, 2));
    assert!(matches!(first, Err(ClientError::DeadlineExceeded { .. })));
    assert_eq!(second, Err(ClientError::TooManyInFlight { in_flight_max: 1 }));
}
