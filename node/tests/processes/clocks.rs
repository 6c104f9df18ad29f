//! A node whose clock is outside its claim is named and leads nothing that needs time; the others carry on.

use serde_json::Value;

use crate::support::{Cluster, client, create_table, metrics, put, read_one, until};

const OFF: usize = 2;

/// The nodes that lead a shard.
fn leaders(status: &Value) -> Vec<u64> {
    let shards = status["shards"].as_array().expect("a list of shards");
    shards.iter().filter_map(|shard| shard["leader"].as_u64()).collect()
}

#[tokio::test]
async fn node_with_its_clock_outside_its_claim_is_named_and_holds_no_lease() {
    let mut cluster = Cluster::places(3);
    cluster.nodes[OFF].clock = "fixed:250us,offset=2s".to_owned();
    cluster.start_all().await;
    cluster.init().await;
    let client = client(&cluster.addresses()[..OFF]).await;
    until("the node is named in the status", async || {
        let status = cluster.status(0).await;
        let node = &status["nodes"][OFF];
        let because = node["clock_unsure_because"].as_str().unwrap_or_default().to_owned();
        match node["clock_sure"] == false && !because.is_empty() {
            true => Ok(()),
            false => Err(status),
        }
    })
    .await;
    until("its log says so", async || {
        let output = cluster.nodes[OFF].output();
        if output.contains("outside its claimed bound") { Ok(()) } else { Err(output) }
    })
    .await;
    until("its metrics say so", async || {
        let metrics = metrics(&cluster, OFF).await?;
        match metrics.get("spandrel_clock_sure") {
            Some(sure) if *sure == 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // Only the others lead, and they are not disturbed.
    create_table(&client, 4).await;
    until("the others lead all shards", async || {
        let status = cluster.status(0).await;
        let off = u64::try_from(OFF + 1).expect("few nodes");
        let leaders = leaders(&status);
        let good =
            leaders.len() == 5 && leaders.iter().all(|leader| *leader != 0 && *leader != off);
        if good { Ok(()) } else { Err(status) }
    })
    .await;
    for id in [1, 301, 601, 901] {
        until("a commit", async || put(&client, id, id).await).await;
        let found = until("a strong read", async || read_one(&client, id).await).await;
        assert_eq!(found, Some(id));
    }
    let status = cluster.status(0).await;
    for node in 0..OFF {
        assert_eq!(status["nodes"][node]["clock_sure"], true, "{status:#}");
    }
}
