//! Kills and stops nodes that lead, and starts them again.

use super::error::BankError;
use super::shared::Shared;
use crate::bank::cluster::{Cluster, Leaders};
use crate::bank::faults::{Fault, Faults, pick_victim};
use crate::bank::options::BankOptions;
use crate::bank::recovery::NodeEvent;
use crate::bank::work::Spread;
use client::{Client, StatusResponse};
use proto::rpc::v1::NodeState;
use proto::{NodeId, ShardId};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A node that was killed stays away so long.
const AWAY: Duration = Duration::from_secs(1);

/// No fault comes later than this before the end: its recovery could not be seen.
const TAIL: Duration = Duration::from_secs(3);

/// How long the nodes may take to be complete again before a fault.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait between two looks at the cluster.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Hurts nodes until the run ends, one at a time: the next fault waits until all nodes are there, so at most
/// one is missing. `from` and `to` are the measured time on the history's clock.
pub(super) async fn hurt<C: Cluster>(
    cluster: &mut C,
    client: &Client,
    shared: &Shared,
    spread: &Spread,
    options: &BankOptions,
    from: Duration,
) -> Result<Vec<NodeEvent>, BankError> {
    let mut faults = Faults::new(options.kill_leaders, options.stop_leaders);
    let mut events = Vec::new();
    let shards: BTreeSet<ShardId> = spread.shards().collect();
    let last = shared.instant(from + options.duration.saturating_sub(TAIL));
    let mut round = 0;
    while let Some((due, fault)) = faults.draw() {
        let at = shared.instant(from + due);
        if at > last || !shared.sleep_until(at).await {
            break;
        }
        let Some(leaders) = complete(client, shared, &shards).await else { continue };
        if Instant::now() > last {
            break;
        }
        round += 1;
        let Some(victim) = pick_victim(&leaders, options.seed, round) else { continue };
        let led = leaders.get(&victim).cloned().unwrap_or_default();
        tracing::info!(node = %victim, ?fault, led = led.len(), "hurting a node");
        let at = match fault {
            Fault::Kill => {
                // Before the process is reaped: what recovers meanwhile has recovered from the kill.
                let at = shared.now();
                cluster.kill(victim).await?;
                sleep(AWAY).await;
                at
            }
            Fault::Stop => {
                let at = shared.now();
                cluster.stop(victim).await?;
                at
            }
        };
        events.push(NodeEvent { fault, at, led });
        cluster.start(victim).await?;
    }
    Ok(events)
}

/// Who leads, once all nodes answer; `None` when the end came first, or they do not in time.
async fn complete(client: &Client, shared: &Shared, shards: &BTreeSet<ShardId>) -> Option<Leaders> {
    let deadline = Instant::now() + COMPLETE_TIMEOUT;
    while Instant::now() < deadline && !shared.is_ending() {
        match client.status().await {
            Ok(status) if is_complete(&status) => return Some(leaders(&status, shards)),
            Ok(_) => {}
            Err(error) => shared.failed(&error),
        }
        sleep(LOOK_INTERVAL).await;
    }
    None
}

fn is_complete(status: &StatusResponse) -> bool {
    status.nodes.iter().all(|node| node.state() == NodeState::Up)
}

/// Which node leads which of `shards`.
fn leaders(status: &StatusResponse, shards: &BTreeSet<ShardId>) -> Leaders {
    let mut leaders = Leaders::new();
    for status in &status.shards {
        let Some(location) = &status.location else { continue };
        let shard = ShardId(location.shard);
        if shards.contains(&shard) && location.leader != 0 {
            leaders.entry(NodeId(location.leader)).or_default().insert(shard);
        }
    }
    leaders
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::rpc::v1::{NodeStatus, ShardLocation, ShardStatus};

    fn shard(shard: u64, leader: u64) -> ShardStatus {
        let location = Some(ShardLocation { shard, leader, ..ShardLocation::default() });
        ShardStatus { location, ..ShardStatus::default() }
    }

    #[test]
    fn leaders_are_those_of_the_banks_shards() {
        let shards = vec![shard(1, 1), shard(10, 2), shard(11, 2), shard(12, 0)];
        let status = StatusResponse { shards, ..StatusResponse::default() };
        let banks = BTreeSet::from([10, 11, 12].map(ShardId));
        let led = BTreeSet::from([10, 11].map(ShardId));
        assert_eq!(leaders(&status, &banks), Leaders::from([(NodeId(2), led)]));
    }

    #[test]
    fn cluster_with_a_node_down_is_not_complete() {
        let node = |state: NodeState| NodeStatus { state: state.into(), ..NodeStatus::default() };
        let mut nodes = vec![node(NodeState::Up), node(NodeState::Up)];
        let status = |nodes| StatusResponse { nodes, ..StatusResponse::default() };
        assert!(is_complete(&status(nodes.clone())));
        nodes.push(node(NodeState::Down));
        assert!(!is_complete(&status(nodes)));
    }
}
