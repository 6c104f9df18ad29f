//! A node that was away for a while gets what it missed: from the others' logs, or, where these have been
//! truncated, as snapshots.

use std::sync::Arc;

use client::{Client, ClientError, Mutations};
use tokio::sync::Semaphore;

use crate::support::{Cluster, TABLE, client, create_table, metrics, put, read_one, until};

/// The node that is away, and one that is not.
const AWAY: usize = 2;
const THERE: usize = 0;

/// What a node logs when a snapshot was installed.
const INSTALLED: &str = "a snapshot replaced the replica here";

/// With one of the two others killed, the one that was away is needed for every majority.
async fn assert_serves_without_the_leader(cluster: &mut Cluster, id: i64) {
    let leader = cluster.leader(AWAY).await;
    let victim = if leader == AWAY { THERE } else { leader };
    cluster.nodes[victim].kill().await;
    let client = client(&cluster.addresses()).await;
    let found = until("a strong read", async || read_one(&client, id).await).await;
    assert_eq!(found, Some(id), "the rows written meanwhile are there");
    until("a commit", async || put(&client, id, -id).await).await;
    let found = until("a strong read", async || read_one(&client, id).await).await;
    assert_eq!(found, Some(-id));
}

#[tokio::test]
async fn node_away_for_a_moment_catches_up_by_the_log() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, 4).await;
    cluster.nodes[AWAY].stop().await;
    for id in 0..50 {
        let id = id * 20;
        until("a commit", async || put(&client, id, id).await).await;
    }
    cluster.nodes[AWAY].start().await;
    cluster.until_caught_up(AWAY, THERE).await;
    let output = cluster.nodes[AWAY].output();
    assert!(!output.contains(INSTALLED), "{output}");
    assert_serves_without_the_leader(&mut cluster, 500).await;
}

/// More than a leader keeps for a replica that is behind, in entries and in bytes.
const COMMITS: i64 = 1_300;
const ROW_BYTES: usize = 32 << 10;
const AT_ONCE: usize = 16;

async fn put_large(client: &Client, id: i64, filler: &str) -> Result<(), ClientError> {
    let mut mutations = Mutations::new();
    let values = vec![id.into(), id.into(), filler.into()];
    mutations.insert_or_update(TABLE, &["id", "value", "filler"], values);
    client.apply(&mutations).await.map(drop)
}

#[tokio::test]
async fn node_away_for_longer_than_the_log_is_kept_catches_up_by_snapshot() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, 1).await;
    until("a commit", async || put(&client, 0, 0).await).await;
    cluster.until_caught_up(AWAY, THERE).await;
    cluster.nodes[AWAY].stop().await;
    let missed = cluster.applied(THERE, THERE).await;

    let filler: Arc<str> = "x".repeat(ROW_BYTES).into();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut writers = tokio::task::JoinSet::new();
    for id in 0..COMMITS {
        let (client, filler) = (client.clone(), filler.clone());
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        writers.spawn(async move {
            put_large(&client, id, &filler).await.expect("two nodes are a majority");
            drop(place);
        });
    }
    writers.join_all().await;
    let (shard, applied) = missed.last().copied().expect("the table's shard is the last");
    let name = format!("spandrel_shard_log_first{{shard=\"{shard}\"}}");
    // The node that is away may have been a few entries ahead.
    let wanted = f64::from(u32::try_from(applied + 100).expect("few entries"));
    // Either of the two may lead when the third comes back.
    for node in (0..3).filter(|node| *node != AWAY) {
        until("the logs are truncated", async || {
            let metrics = metrics(&cluster, node).await?;
            match metrics.get(&name) {
                Some(first) if *first > wanted => Ok(()),
                other => Err(format!("{other:?}, wanted {wanted}")),
            }
        })
        .await;
    }

    cluster.nodes[AWAY].start().await;
    cluster.until_caught_up(AWAY, THERE).await;
    let output = cluster.nodes[AWAY].output();
    assert!(output.contains(INSTALLED), "{output}");
    assert_serves_without_the_leader(&mut cluster, COMMITS / 2).await;
}
