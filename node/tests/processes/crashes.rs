//! All processes of a cluster die at once, while clients commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use client::{Client, ClientError, Mutations};

use crate::support::{COLUMNS, Cluster, TABLE, client, create_table, read_all, until};

const CLIENTS: i64 = 8;
/// Acknowledged commits before each of the deaths, and after the last.
const COMMITS: u64 = 150;
const DEATHS: u64 = 2;
/// The rows of one client end here.
const ROWS_MAX: i64 = 100_000;

/// What became of a commit, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Committed,
    Aborted,
    Nothing,
}

/// Inserts two rows in each transaction, on two shards for most of them, until it is told to stop.
async fn insert_pairs(
    client: Client,
    number: i64,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> BTreeMap<i64, Told> {
    let mut told = BTreeMap::new();
    for count in 0..ROWS_MAX {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = number + CLIENTS * count;
        let mut mutations = Mutations::new();
        mutations.insert(TABLE, &COLUMNS, vec![id.into(), number.into()]);
        mutations.insert(TABLE, &COLUMNS, vec![(-1 - id).into(), number.into()]);
        let outcome = match client.apply(&mutations).await {
            Ok(_) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                Told::Committed
            }
            Err(ClientError::OutcomeUnknown { .. }) => Told::Nothing,
            Err(error) if error.is_retryable() => Told::Aborted,
            Err(error) => panic!("{error}"),
        };
        told.insert(id, outcome);
    }
    told
}

#[tokio::test]
async fn cluster_killed_at_once_keeps_every_acknowledged_commit() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, 4).await;
    let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            tokio::spawn(insert_pairs(client.clone(), number, stop, acknowledged))
        })
        .collect();
    for death in 0..=DEATHS {
        let goal = acknowledged.load(Ordering::Relaxed) + COMMITS;
        until("clients commit", async || {
            let done = acknowledged.load(Ordering::Relaxed);
            if done >= goal { Ok(()) } else { Err((death, done, goal)) }
        })
        .await;
        if death < DEATHS {
            for node in &cluster.nodes {
                node.signal(rustix::process::Signal::KILL);
            }
            for node in &mut cluster.nodes {
                node.ended().await;
            }
            cluster.start_all().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut told = BTreeMap::new();
    for client in clients {
        told.extend(client.await.expect("no client panics"));
    }

    let rows = until("all rows are read", async || read_all(&client).await).await;
    for (id, told) in &told {
        let (one, other) = (rows.contains_key(id), rows.contains_key(&(-1 - id)));
        assert_eq!(one, other, "both rows of {id} or none");
        match told {
            Told::Committed => assert!(one, "{id} was acknowledged and is lost"),
            Told::Aborted => assert!(!one, "{id} was said to be aborted and is there"),
            Told::Nothing => {}
        }
    }
    for id in rows.keys() {
        let id = if *id < 0 { -1 - *id } else { *id };
        assert!(told.contains_key(&id), "{id} was never inserted");
    }
}
