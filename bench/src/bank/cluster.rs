//! What the bank can do to the cluster it runs on, besides being its client.

use proto::{NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

/// Which shards each node leads.
pub type Leaders = BTreeMap<NodeId, BTreeSet<ShardId>>;

/// Why something could not be done to a node.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no such node.
    #[error("the cluster has no node {node}")]
    NoSuchNode {
        /// The node.
        node: NodeId,
    },
    /// The node's process could not be started, signalled or waited for.
    #[error("node {node} could not be {action}: {source}; see its log, {}", log.display())]
    Process {
        /// The node.
        node: NodeId,
        /// What was tried: "started", "killed", "stopped".
        action: &'static str,
        /// What the node printed.
        log: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

/// A cluster whose nodes can be killed and started. The `spandrel` binary implements it for processes of
/// itself. Who leads what is not asked here: any client of the cluster can find out.
pub trait Cluster: Send {
    /// Starts `node` on the data directory and ports that it has, and returns once it answers.
    fn start(&mut self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Kills `node` without warning, and returns once its process is gone.
    fn kill(&mut self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Asks `node` to stop, and returns once its process has ended.
    fn stop(&mut self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// What all nodes have used of the processors since they were started, if that can be told.
    fn cpu_time(&self) -> Option<Duration>;
}
