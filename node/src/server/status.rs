//! How the cluster is: each node's own report, put together.
//!
//! A node reports its clock and its cores; who asks for the cluster's status gets the reports of all nodes
//! that answer in time and merges them by shard. The leader's word counts for what only a leader knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::rpc::v1;
use proto::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

use super::shard_map::location;
use crate::core::status::{CoreStatus, Places, ReplicaStatus, ShardPlace};
use crate::host::{Node, Running};
use crate::system::NodeRecord;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Who and where it is.
    pub node: NodeRecord,
    /// The release it runs.
    pub version: String,
    /// Its clock's source, as `--clock` names it.
    pub clock: String,
    /// Its cores.
    pub cores: Vec<CoreStatus>,
}

/// Asks other nodes.
#[tonic::async_trait]
pub trait Peers: Send + Sync + 'static {
    /// What a node says of itself; `None` when it does not answer.
    async fn ask_status(&self, node: NodeId) -> Option<NodeReport>;
}

/// Where a node listens.
pub(super) fn address(node: &NodeRecord) -> v1::NodeAddress {
    v1::NodeAddress {
        node: node.id.0,
        grpc: node.advertise.clone(),
        http: node.http.clone(),
        postgres: String::new(),
    }
}

/// The release that runs.
#[must_use]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// What this node says of itself; `None` while it does not run.
pub async fn report(node: &Node) -> Option<NodeReport> {
    let running = node.running()?;
    let mut cores = Vec::with_capacity(running.cores.len());
    for core in &running.cores {
        cores.extend(core.status().await);
    }
    let (id, count) = (running.member.node, running.cores.len());
    let options = node.options();
    let record = NodeRecord {
        id,
        uuid: running.directory,
        advertise: options.advertise.clone(),
        http: options.http.clone(),
        cores: u16::try_from(count).unwrap_or(u16::MAX),
    };
    let clock = options.clock.to_string();
    Some(NodeReport { node: record, version: version(), clock, cores })
}

/// The status of the cluster, or with no `peers` of this node alone.
pub(super) async fn of_cluster(
    node: &Arc<Node>,
    peers: Option<&Arc<dyn Peers>>,
    limit: Duration,
) -> v1::StatusResponse {
    let (Some(running), Some(own)) = (node.running(), report(node).await) else {
        return waiting(node);
    };
    let member = &running.member;
    let others = match peers {
        Some(peers) => ask_others(&running, peers, limit).await,
        None => BTreeMap::new(),
    };
    let mut nodes = Vec::with_capacity(member.nodes.len());
    let mut reports = Vec::with_capacity(member.nodes.len());
    for known in &member.nodes {
        let report = if known.id == member.node { Some(&own) } else { others.get(&known.id) };
        if known.id == member.node || peers.is_some() {
            nodes.push(node_status(known, report));
        }
        reports.extend(report.map(|report| (known.id, report)));
    }
    nodes.sort_by_key(|node| node.address.as_ref().map_or(0, |address| address.node));
    let places = match running.cores.first() {
        Some(core) => core.places().await,
        None => None,
    };
    v1::StatusResponse {
        cluster_id: Bytes::copy_from_slice(&member.cluster),
        answered_by: member.node.0,
        nodes,
        shards: shards(&reports, places.as_ref()),
    }
}

/// Before the node is part of a cluster.
fn waiting(node: &Node) -> v1::StatusResponse {
    let options = node.options();
    let member = node.member();
    let address = v1::NodeAddress {
        node: member.as_ref().map_or(0, |member| member.node.0),
        grpc: options.advertise.clone(),
        http: options.http.clone(),
        postgres: String::new(),
    };
    let status = v1::NodeStatus {
        address: Some(address),
        state: v1::NodeState::Waiting.into(),
        version: version(),
        cores: options.cores.into(),
        clock: None,
        open_transactions: 0,
    };
    v1::StatusResponse { nodes: vec![status], ..Default::default() }
}

async fn ask_others(
    running: &Running,
    peers: &Arc<dyn Peers>,
    limit: Duration,
) -> BTreeMap<NodeId, NodeReport> {
    let mut asked = tokio::task::JoinSet::new();
    for node in &running.member.nodes {
        if node.id != running.member.node {
            let (id, peers) = (node.id, peers.clone());
            asked.spawn(async move {
                let report = tokio::time::timeout(limit, peers.ask_status(id)).await;
                (id, report.ok().flatten())
            });
        }
    }
    let mut reports = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        if let Ok((id, Some(report))) = answer {
            reports.insert(id, report);
        }
    }
    reports
}

fn node_status(known: &NodeRecord, report: Option<&NodeReport>) -> v1::NodeStatus {
    let Some(report) = report else {
        return v1::NodeStatus {
            address: Some(address(known)),
            state: v1::NodeState::Down.into(),
            ..Default::default()
        };
    };
    v1::NodeStatus {
        address: Some(address(&report.node)),
        state: v1::NodeState::Up.into(),
        version: report.version.clone(),
        cores: report.node.cores.into(),
        clock: Some(clock_status(report)),
        open_transactions: report.cores.iter().map(|core| core.transactions).sum(),
    }
}

/// The clock as the core that is least sure of it reads it.
fn clock_status(report: &NodeReport) -> v1::ClockStatus {
    let unsure = report.cores.iter().find_map(|core| core.unsure.clone());
    let epsilon = report.cores.iter().filter_map(|core| core.epsilon).max();
    let epsilon = epsilon.filter(|_| unsure.is_none());
    v1::ClockStatus {
        source: report.clock.clone(),
        sure: epsilon.is_some(),
        epsilon_nanos: epsilon.map_or(0, nanos),
        unsure_because: unsure.unwrap_or_default(),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn shards(reports: &[(NodeId, &NodeReport)], places: Option<&Places>) -> Vec<v1::ShardStatus> {
    let mut by_shard: BTreeMap<ShardId, Vec<(NodeId, &ReplicaStatus)>> = BTreeMap::new();
    for (node, report) in reports {
        for replica in report.cores.iter().flat_map(|core| &core.replicas) {
            by_shard.entry(replica.shard).or_default().push((*node, replica));
        }
    }
    by_shard
        .into_iter()
        .filter_map(|(shard, mut replicas)| {
            replicas.sort_by_key(|(node, _)| *node);
            shard_status(shard, &replicas, places)
        })
        .collect()
}

fn shard_status(
    shard: ShardId,
    replicas: &[(NodeId, &ReplicaStatus)],
    places: Option<&Places>,
) -> Option<v1::ShardStatus> {
    // Of two that think they lead, the later term does.
    let leader = replicas.iter().filter(|(_, r)| r.leads).max_by_key(|(_, r)| r.term);
    let newest = replicas.iter().max_by_key(|(_, r)| r.term);
    let (_, told) = leader.or(newest)?;
    let place = ShardPlace {
        shard,
        span: told.span.clone(),
        nodes: told.nodes.clone(),
        leader: leader.map(|(node, _)| *node).or(told.leader),
    };
    let location = location(&place);
    let table = if shard == ShardId::SYSTEM {
        "[system]".to_owned()
    } else {
        let name = places.and_then(|places| places.tables.get(&proto::TableId(location.table)));
        name.cloned().unwrap_or_else(|| format!("[table {}]", location.table))
    };
    Some(v1::ShardStatus {
        location: Some(location),
        table,
        term: told.term.0,
        epoch: told.epoch.0,
        lease_expires: told.lease_expires.nanos(),
        replicas: replicas.iter().map(|(node, replica)| replica_status(*node, replica)).collect(),
        prepared: u32::try_from(told.prepared).unwrap_or(u32::MAX),
    })
}

fn replica_status(node: NodeId, replica: &ReplicaStatus) -> v1::ReplicaStatus {
    v1::ReplicaStatus {
        node: node.0,
        leads: replica.leads,
        applied: replica.applied.0,
        safe_time: replica.safe_time.nanos(),
        held_by: replica.held_by.map(Into::into),
        held_for_nanos: nanos(replica.held_for),
    }
}
