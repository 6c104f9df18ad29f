//! Nodes that form a cluster.

use std::collections::BTreeMap;

use client::{Client, Config};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Node, free_address, spandrel, until};

/// The nodes, of which node `n` of the cluster is `nodes[n - 1]`.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts and initialises nodes, and waits until each shard of the system is served.
    pub(crate) async fn start(count: usize) -> Self {
        let mut cluster = Cluster::places(count);
        cluster.start_all().await;
        cluster.init().await;
        cluster
    }

    /// Places for nodes. Nothing is started.
    pub(crate) fn places(count: usize) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the nodes' data");
        let addresses: Vec<String> = (0..count).map(|_| free_address()).collect();
        let join = addresses.join(",");
        let node = |(n, address): (usize, &String)| {
            Node::new(dir.path(), &format!("node{}", n + 1), address, &join)
        };
        let nodes = addresses.iter().enumerate().map(node).collect();
        Cluster { nodes, _dir: dir }
    }

    /// Starts those that do not run.
    pub(crate) async fn start_all(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| !node.runs()) {
            node.start().await;
        }
    }

    pub(crate) async fn init(&self) {
        let ended = spandrel(&["init", "--url", &self.nodes[0].address]).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// `spandrel status --json` at a node.
    pub(crate) async fn status(&self, node: usize) -> Value {
        let url = &self.nodes[node].address;
        until("the status of a node", async || {
            let ended = spandrel(&["status", "--json", "--url", url]).await;
            match ended.code {
                Some(0) => Ok(serde_json::from_str(&ended.stdout).expect("it prints JSON")),
                _ => Err(ended),
            }
        })
        .await
    }

    /// The node that leads the shard of the test's table that has the lowest keys, as a node sees it.
    pub(crate) async fn leader(&self, at: usize) -> usize {
        until("the table has a leader", async || {
            let status = self.status(at).await;
            let leader = shards(&status, "rows").first().map(|shard| shard["leader"].clone());
            let leader = leader.as_ref().and_then(Value::as_u64).filter(|id| *id != 0);
            let leader = leader.and_then(|id| usize::try_from(id).ok()).ok_or(status)?;
            Ok::<_, Value>(leader - 1)
        })
        .await
    }

    /// The last entry of each shard that the replica at `node` has applied, as the node `at` sees it.
    pub(crate) async fn applied(&self, node: usize, at: usize) -> Vec<(u64, u64)> {
        let status = self.status(at).await;
        let mut found = Vec::new();
        for shard in status["shards"].as_array().expect("a list of shards") {
            let replicas = shard["replicas"].as_array().expect("a list of replicas");
            let id = u64::try_from(node + 1).expect("few nodes");
            for replica in replicas.iter().filter(|replica| replica["node"] == id) {
                let number = |value: &Value| value.as_u64().expect("a number");
                found.push((number(&shard["shard"]), number(&replica["applied"])));
            }
        }
        found
    }

    /// Waits until the replicas at `node` have applied what those at `other` have applied by now.
    pub(crate) async fn until_caught_up(&self, node: usize, other: usize) {
        let goal = self.applied(other, other).await;
        assert!(!goal.is_empty(), "node {} has replicas", other + 1);
        until("a node catches up", async || {
            let applied = self.applied(node, other).await;
            let reached = goal.iter().all(|(shard, index)| {
                applied.iter().any(|(of, reached)| of == shard && reached >= index)
            });
            if reached { Ok(()) } else { Err((applied, goal.clone())) }
        })
        .await;
    }
}

/// The shards of a table in a status.
fn shards<'a>(status: &'a Value, table: &str) -> Vec<&'a Value> {
    let shards = status["shards"].as_array().expect("a list of shards");
    shards.iter().filter(|shard| shard["table"] == table).collect()
}

/// A client of some nodes.
pub(crate) async fn client(addresses: &[String]) -> Client {
    client_of(addresses, Config::default()).await
}

/// A client with settings. A node that only just listens may be asked too early.
pub(crate) async fn client_of(addresses: &[String], config: Config) -> Client {
    until("a client connects", async || Client::connect_with(addresses, config.clone()).await).await
}

/// What a node's `/metrics` says, by name with labels.
pub(crate) async fn metrics(
    cluster: &Cluster,
    node: usize,
) -> Result<BTreeMap<String, f64>, String> {
    let status = cluster.status(node).await;
    let address = status["nodes"][node]["http"].as_str().ok_or("it is down")?.to_owned();
    let text = get(&address, "/metrics").await.map_err(|error| error.to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect())
}

/// The answer to an HTTP request, head and body.
async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
