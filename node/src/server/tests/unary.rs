//! Calls outside sessions.

use super::*;

#[tokio::test]
async fn call_before_init_is_told_what_to_do() {
    let mut served = waiting(ServerSettings::default()).await;
    let status = served.client.begin(begin_read_write()).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::NotInitialised);
    assert!(detail_of(&status).unwrap().hint.contains("spandrel init"));
    let status = served.client.status(v1::StatusRequest { local: false }).await.unwrap();
    let status = status.into_inner();
    assert_eq!(status.answered_by, 0);
    assert_eq!(status.nodes[0].state(), v1::NodeState::Waiting);
    let status = served.client.init(v1::InitRequest {}).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::Unavailable);
}

#[tokio::test]
async fn transaction_in_unary_calls_reads_what_it_wrote() {
    let mut served = Served::bank(3).await;
    let rows = served.read(read_points(strong(), &[3, 9, 1, 3])).await.unwrap();
    assert_eq!(pairs(&rows), [Some((3, 10)), None, Some((1, 10)), Some((3, 10))]);
    let committed = served.commit_alone(vec![update([(1, 4), (2, 16)])]).await.unwrap();
    assert!(committed.commit_timestamp > 0);
    let chunks = served.read(read_points(strong(), &[1])).await.unwrap();
    assert_eq!(pairs(&chunks), [Some((1, 4))]);
    assert_eq!(chunks[0].rows[0].commit_timestamp, committed.commit_timestamp);
    assert!(chunks[0].read_timestamp > committed.commit_timestamp);
    let status = served.commit_alone(vec![insert([(1, 1)])]).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::RowExists);
}

#[tokio::test]
async fn tables_are_created_once_found_and_dropped() {
    let mut served = Served::bank(1).await;
    let status = served.client.create_table(accounts()).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::TableExists);
    let again = v1::CreateTableRequest { if_not_exists: true, ..accounts() };
    let again = served.client.create_table(again).await.unwrap().into_inner();
    let created = again.table.unwrap();
    assert!(again.existed && created.id >= 100 && created.columns[0].not_null);
    let by_id = Some(v1::TableRef { name: String::new(), id: created.id });
    let found = served.client.get_table(v1::GetTableRequest { table: by_id.clone() }).await;
    assert_eq!(found.unwrap().into_inner().table, Some(created));
    let drop = v1::DropTableRequest { table: by_id, if_exists: false };
    served.client.drop_table(drop.clone()).await.unwrap();
    let status = served.client.drop_table(drop.clone()).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::TableNotFound);
    served.client.drop_table(v1::DropTableRequest { if_exists: true, ..drop }).await.unwrap();
    let tables = served.client.list_tables(v1::ListTablesRequest {}).await.unwrap();
    assert_eq!(tables.into_inner().tables, []);
}

#[tokio::test]
async fn single_use_commit_sent_twice_is_applied_once_and_can_be_looked_up() {
    let mut served = Served::bank(1).await;
    let written = v1::WrittenKeys { table: table(), keys: vec![bigint_key(5)] };
    let request =
        v1::ResolveCommitRequest { writes: vec![written], max_age_ms: 0, transaction: None };
    let resolved = served.client.resolve_commit(request).await.unwrap().into_inner();
    let single_use = v1::SingleUseCommit {
        id: resolved.transaction,
        coordinator_key: resolved.coordinator_key.clone(),
        priority: None,
    };
    let request = v1::CommitRequest {
        transaction: Some(v1::commit_request::Transaction::SingleUse(single_use)),
        mutations: vec![insert([(5, 50)])],
    };
    let first = served.client.commit(request.clone()).await.unwrap().into_inner();
    let second = served.client.commit(request).await.unwrap().into_inner();
    assert_eq!(first.commit_timestamp, second.commit_timestamp);
    let request = v1::LookupOutcomeRequest {
        transaction: resolved.transaction,
        coordinator_key: resolved.coordinator_key,
    };
    let outcome = served.client.lookup_outcome(request).await.unwrap().into_inner();
    assert_eq!(outcome.outcome(), v1::Outcome::Committed);
    assert_eq!(outcome.commit_timestamp, first.commit_timestamp);

    // With the key of another transaction it would hear "aborted" of what was committed.
    let written = v1::WrittenKeys { table: table(), keys: vec![bigint_key(6)] };
    let request =
        v1::ResolveCommitRequest { writes: vec![written], max_age_ms: 0, transaction: None };
    let other = served.client.resolve_commit(request.clone()).await.unwrap().into_inner();
    let lookup = |coordinator_key| v1::LookupOutcomeRequest {
        transaction: resolved.transaction,
        coordinator_key,
    };
    let status = served.client.lookup_outcome(lookup(other.coordinator_key)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let request = v1::ResolveCommitRequest { transaction: resolved.transaction, ..request };
    let named = served.client.resolve_commit(request).await.unwrap().into_inner();
    assert_eq!(named.transaction, resolved.transaction);
}

#[tokio::test]
async fn keep_alive_names_what_is_lost_and_rollback_of_it_is_no_error() {
    let mut served = Served::bank(1).await;
    let begun = served.client.begin(begin_read_write()).await.unwrap().into_inner();
    let mine = begun.transaction.unwrap();
    let elsewhere = v1::TransactionId { origin: 9 << 32, ..mine };
    let request = v1::KeepAliveRequest { transactions: vec![mine, elsewhere] };
    let alive = served.client.keep_alive(request.clone()).await.unwrap().into_inner();
    assert_eq!(alive.lost, [elsewhere]);
    for transaction in [mine, elsewhere, mine] {
        let request = v1::RollbackRequest { transaction: Some(transaction) };
        served.client.rollback(request).await.unwrap();
    }
    let alive = served.client.keep_alive(request).await.unwrap().into_inner();
    assert!(alive.lost.len() == 2 && alive.lost.contains(&mine));
    let transaction = Some(v1::commit_request::Transaction::Id(elsewhere));
    let commit = v1::CommitRequest { transaction, mutations: vec![] };
    let status = served.client.commit(commit).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::TransactionNotHere);
}

#[tokio::test]
async fn commit_that_is_refused_leaves_no_lock_behind() {
    let mut served = Served::bank(1).await;
    let begin = v1::transaction_selector::Selector::Begin(v1::ReadWriteOptions::default());
    let for_update = v1::ReadRequest {
        lock: v1::LockMode::ForUpdate.into(),
        ..read_points(selector(begin), &[1])
    };
    let chunks = served.read(for_update.clone()).await.unwrap();
    let transaction = chunks[0].transaction.map(v1::commit_request::Transaction::Id);
    let mutations = vec![v1::Mutation { operation: None }];
    let status =
        served.client.commit(v1::CommitRequest { transaction, mutations }).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::InvalidRequest);
    // Younger than the first, this one would wait for it.
    let chunks = served.read(for_update).await.unwrap();
    assert_eq!(pairs(&chunks), [Some((1, 10))]);
}

#[tokio::test]
async fn status_and_shard_map_show_node_and_shards() {
    let mut served = Served::bank(1).await;
    // The shard of the higher keys has a leader once it has answered.
    served.commit_alone(vec![insert([(150, 1)])]).await.unwrap();
    let status = served.client.status(v1::StatusRequest { local: false }).await.unwrap();
    let status = status.into_inner();
    assert_eq!((status.answered_by, &status.cluster_id[..]), (1, &CLUSTER[..]));
    assert_eq!(status.nodes[0].state(), v1::NodeState::Up);
    let clock = status.nodes[0].clock.as_ref().unwrap();
    assert!(clock.sure && clock.epsilon_nanos > 0 && clock.source.starts_with("fixed:"));
    let names: Vec<&str> = status.shards.iter().map(|shard| shard.table.as_str()).collect();
    assert_eq!(names, ["[system]", "accounts", "accounts"]);
    assert!(status.shards.iter().all(|shard| shard.replicas[0].leads && shard.epoch > 0));
    let map = |known_version| v1::ShardMapRequest { known_version };
    let first = served.client.shard_map(map(0)).await.unwrap().into_inner();
    let starts: Vec<usize> =
        first.shards.iter().map(|shard| shard.start.as_ref().unwrap().values.len()).collect();
    assert_eq!(starts, [0, 1]);
    assert_eq!(first.shards[1].start, Some(bigint_key(100)));
    assert!(first.shards.iter().all(|shard| shard.leader == 1 && shard.replicas == [1]));
    let second = served.client.shard_map(map(first.version)).await.unwrap().into_inner();
    assert_eq!(second, v1::ShardMapResponse { version: first.version, ..Default::default() });
}

#[tokio::test]
async fn health_says_serving_once_the_node_runs() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let served = running(ServerSettings::default()).await;
    let address = format!("http://{}", served.node.options().advertise);
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let service = "spandrel.v1.Spandrel".to_owned();
    let mut watch = health.watch(HealthCheckRequest { service }).await.unwrap().into_inner();
    while let Some(health) = watch.message().await.unwrap() {
        if health.status() == ServingStatus::Serving {
            return;
        }
    }
    panic!("the watch ended");
}

#[tokio::test]
async fn pages_tell_metrics_and_what_is_missing() {
    let unready = waiting(ServerSettings::default()).await;
    let (head, body) = page(unready.http, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(body.contains("spandrel init"), "{body}");
    assert!(page(unready.http, "/healthz").await.0.starts_with("HTTP/1.1 200"));
    let served = Served::bank(1).await;
    // The table exists; that each of its shards has elected a leader is what readiness is about.
    while !page(served.http, "/readyz").await.0.starts_with("HTTP/1.1 200") {
        tokio::task::yield_now().await;
    }
    let (_, text) = page(served.http, "/metrics").await;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.split(' ').next_back().unwrap().parse().unwrap()
    };
    assert!(value("spandrel_core_requests_total{core=\"0\"}") >= 3.0);
    assert!(value("spandrel_log_syncs_total") >= 1.0);
    assert!(value("spandrel_shard_leads{shard=\"1\"}") == 1.0);
    assert!(value("spandrel_clock_epsilon_seconds") > 0.0);
    assert!(text.contains("spandrel_shard_safe_time_lag_seconds{shard=\"2\"}"), "{text}");
}

/// Head and body of a page.
async fn page(address: SocketAddr, path: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
