//! A dropped table leaves nothing behind on any node, also on one that was dead while it was removed.

use std::collections::BTreeSet;

use node::storage::log::{FileDisk, Log, LogOptions, Opening};
use node::storage::version_store::VersionStore;
use node::storage::versions::fjall_store::{FjallOptions, FjallStore};
use proto::TableId;
use proto::encoding::table_span;
use serde_json::Value;
use truetime::Timestamp;
use txn::message::ReadLimit;

use crate::support::{Cluster, Node, TABLE, client, create_table, metrics, put, until};

const ROWS: i64 = 200;
const SHARDS: u32 = 4;

/// The shards of which the cluster still has replicas, or those of one table.
fn shards_of(status: &Value, table: Option<&str>) -> BTreeSet<u64> {
    let shards = status["shards"].as_array().expect("a list of shards").iter();
    let wanted = shards.filter(|shard| table.is_none_or(|table| shard["table"] == table));
    wanted.map(|shard| shard["shard"].as_u64().expect("a number")).collect()
}

/// Waits until neither status nor metrics of a node name any of the shards.
async fn until_gone(cluster: &Cluster, node: usize, shards: &BTreeSet<u64>) {
    until("the dropped shards are gone", async || {
        let left = shards_of(&cluster.status(node).await, None);
        let metrics = metrics(cluster, node).await?;
        let labels = shards.iter().map(|shard| format!("shard=\"{shard}\""));
        let labels: Vec<String> =
            labels.filter(|label| metrics.keys().any(|name| name.contains(label))).collect();
        // The node has told all of its replicas when the system shard's is among them.
        if left.contains(&1) && left.is_disjoint(shards) && labels.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}, {labels:?}"))
        }
    })
    .await;
}

/// Looks into the data directory of a node that has ended.
fn assert_nothing_is_left(node: &Node, shards: &BTreeSet<u64>) {
    let opening = Opening::MustExist;
    let disk = FileDisk::open(&node.data_dir.join("log")).expect("the log is there");
    let (_, recovered) = Log::open(disk, LogOptions::new(opening)).expect("it can be opened");
    let store = FjallStore::open(&node.data_dir.join("versions"), FjallOptions::default());
    let store = store.expect("the versions can be opened");
    let logged = recovered.shards.keys().map(|shard| shard.0);
    let stored = store.shards().into_iter().map(|shard| shard.0);
    let left: BTreeSet<u64> = logged.chain(stored).filter(|shard| shards.contains(shard)).collect();
    assert!(left.is_empty(), "{left:?} are still in the log or the version store");
    let spans = [table_span(TableId::FIRST_USER)];
    let limit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };
    let rows = store.read(&spans, Timestamp::MAX, limit).expect("it can be read").rows;
    assert!(rows.is_empty(), "{} rows of the dropped table are left", rows.len());
}

#[tokio::test]
async fn dropped_table_is_gone_from_every_node_also_from_one_that_was_killed_meanwhile() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, SHARDS).await;
    for id in 0..ROWS {
        until("a commit", async || put(&client, id, id).await).await;
    }
    let status = cluster.status(0).await;
    let dropped = shards_of(&status, Some(TABLE));
    assert_eq!(dropped.len(), SHARDS as usize, "{status:#?}");

    // Whoever leads the system shard has the shards removed; it dies as soon as that may have begun.
    let mut shards = status["shards"].as_array().expect("a list of shards").iter();
    let system = shards.find(|shard| shard["shard"] == 1).expect("the system shard");
    let leader = system["leader"].as_u64().and_then(|leader| usize::try_from(leader).ok());
    let killed = leader.filter(|leader| *leader > 0).expect("it has a leader") - 1;
    until("the table is dropped", async || client.drop_table(TABLE).await).await;
    cluster.nodes[killed].kill().await;
    for node in (0..3).filter(|node| *node != killed) {
        until_gone(&cluster, node, &dropped).await;
    }
    cluster.nodes[killed].start().await;
    for node in 0..3 {
        until_gone(&cluster, node, &dropped).await;
    }

    for node in &mut cluster.nodes {
        node.kill().await;
    }
    for node in &cluster.nodes {
        assert_nothing_is_left(node, &dropped);
    }
}
