//! What nodes ask each other outside their stream, and how a cluster comes to be.
//!
//! ```text
//! init at n1: introduce to all of --join --> all waiting --> n1 writes its place down (cluster id, ids,
//!             system shard) --> Bootstrap to the others --> each writes its place down and runs
//! ```
//! Whoever has written the plan down can finish it: a member offers it to every node of the plan that still
//! waits. A node that waits and finds its own address in somebody's plan under another directory has lost
//! its directory, and is refused by name (T49).

use std::sync::Arc;
use std::time::Duration;

use proto::rpc::internal::{
    self, AskRequest, AskResponse, BootstrapRequest, BootstrapResponse, IntroduceRequest,
    IntroduceResponse, PeerBatch, SystemReplica, peer_client::PeerClient, peer_server::Peer,
};
use proto::{NodeId, ReplicaId, ShardId};
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::data_dir::Member;
use super::node::{Node, NodeError, hex, random_bytes};
use crate::shard::descriptor::ShardDescriptor;
use crate::system::ddl::REPLICAS;
use crate::system::{NodeRecord, encode, node_key, system_shard_span};

/// The internal service of a node.
pub struct PeerService {
    node: Arc<Node>,
    /// Answers questions of other nodes, such as for a part of the status.
    answer: Arc<dyn AnswerPeers>,
}

/// Answers what another node asks in the node's own encoding.
#[tonic::async_trait]
pub trait AnswerPeers: Send + Sync + 'static {
    /// The answer.
    async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, Status>;
}

/// How long one node may take to answer another outside the stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a node that waits, or whose plan is not finished, looks around.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Why a cluster was not initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A node of the list does not answer.
    #[error("node {address} does not answer: {reason}; start it, then run `spandrel init` again")]
    Unreachable {
        /// Its address.
        address: String,
        /// The transport's words.
        reason: String,
    },
    /// A node of the list belongs to a cluster already.
    #[error(
        "node {address} belongs to cluster {cluster} already; start it with an empty data directory, or \
         correct --join"
    )]
    Taken {
        /// Its address.
        address: String,
        /// The cluster.
        cluster: String,
    },
    /// The list has no address of this node.
    #[error(
        "--join does not list this node ({address}); list every node of the cluster, this one included"
    )]
    NotListed {
        /// This node's address.
        address: String,
    },
    /// Some node has not confirmed; it will be offered its place until it does.
    #[error(
        "node {address} has not confirmed its place: {reason}; it is offered again as long as this node runs"
    )]
    Unconfirmed {
        /// Its address.
        address: String,
        /// Why.
        reason: String,
    },
    /// This node.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl PeerService {
    /// The service of a node.
    #[must_use]
    pub fn new(node: Arc<Node>, answer: Arc<dyn AnswerPeers>) -> Self {
        PeerService { node, answer }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn introduce(
        &self,
        _request: Request<IntroduceRequest>,
    ) -> Result<Response<IntroduceResponse>, Status> {
        let member = self.node.member();
        let membership = match member {
            Some(_) => internal::Membership::Member,
            None => internal::Membership::Waiting,
        };
        let nodes = member.iter().flat_map(identities).collect();
        Ok(Response::new(IntroduceResponse {
            callee: Some(self.node.identity()),
            membership: membership.into(),
            nodes,
        }))
    }

    async fn bootstrap(
        &self,
        request: Request<BootstrapRequest>,
    ) -> Result<Response<BootstrapResponse>, Status> {
        let request = request.into_inner();
        if let Some(member) = self.node.member()
            && member.cluster[..] != request.cluster_id[..]
        {
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {} already",
                hex(&member.cluster)
            )));
        }
        let member = place_of(&self.node, &request).map_err(Status::invalid_argument)?;
        self.node.join(member).map_err(|error| Status::internal(error.to_string()))?;
        self.node.run().map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(BootstrapResponse { node: Some(self.node.identity()) }))
    }

    type ExchangeStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<PeerBatch, Status>> + Send + 'static>>;

    async fn exchange(
        &self,
        request: Request<Streaming<PeerBatch>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let running = self.node.running();
        let running =
            running.ok_or_else(|| Status::unavailable("this node does not run yet; try again"))?;
        let outgoing = running.links.clone().accept(request).await?;
        Ok(Response::new(Box::pin(outgoing)))
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let request = request.into_inner();
        let member = self.node.member();
        let same = member
            .zip(request.caller)
            .is_some_and(|(member, caller)| member.cluster[..] == caller.cluster_id[..]);
        if !same {
            return Err(Status::permission_denied("only nodes of this cluster may ask"));
        }
        let answer = self.answer.answer(&request.question).await?;
        Ok(Response::new(AskResponse { answer: answer.into() }))
    }
}

/// A connection to another node, for a call outside the stream.
pub async fn connect(address: &str) -> Result<PeerClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| error.to_string())?
        .connect_timeout(CALL_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .tcp_nodelay(true);
    endpoint.connect().await.map(PeerClient::new).map_err(|error| deepest(&error))
}

async fn introduce(node: &Node, address: &str) -> Result<IntroduceResponse, String> {
    let mut client = connect(address).await?;
    let request = IntroduceRequest { caller: Some(node.identity()) };
    let answer = client.introduce(request).await.map_err(|status| status.message().to_owned())?;
    Ok(answer.into_inner())
}

/// Initialises the cluster, once; again it finishes what was begun. Says whether it was there before.
pub async fn init(node: &Arc<Node>) -> Result<bool, InitError> {
    if let Some(member) = node.member() {
        node.run()?;
        offer_places(node, &member).await?;
        return Ok(true);
    }
    let own = node.identity();
    let mut nodes = Vec::new();
    for address in &node.options().join {
        let unreachable = |reason| InitError::Unreachable { address: address.clone(), reason };
        let answer = introduce(node, address).await.map_err(unreachable)?;
        let callee = answer.callee.clone().unwrap_or_default();
        if answer.membership() == internal::Membership::Member {
            let cluster = hex(&callee.cluster_id);
            return Err(InitError::Taken { address: address.clone(), cluster });
        }
        nodes.push(callee);
    }
    if !nodes.iter().any(|known| known.directory_uuid == own.directory_uuid) {
        return Err(InitError::NotListed { address: own.grpc_address });
    }
    let system_replicas = (1..).take(nodes.len().min(REPLICAS));
    let plan = BootstrapRequest {
        cluster_id: random_bytes()?.to_vec().into(),
        nodes: (1..).zip(nodes).map(|(node, i)| internal::Identity { node, ..i }).collect(),
        system_replicas: system_replicas
            .map(|id| SystemReplica { node: id, replica: id })
            .collect(),
    };
    let member = place_of(node, &plan)
        .map_err(|reason| InitError::Unconfirmed { address: own.grpc_address.clone(), reason })?;
    node.join(member.clone())?;
    node.run()?;
    offer_places(node, &member).await?;
    Ok(false)
}

/// Offers every other node of the plan its place; an error names the first that did not confirm.
async fn offer_places(node: &Arc<Node>, member: &Member) -> Result<(), InitError> {
    let plan = plan_of(member);
    let mut unconfirmed = None;
    for other in member.nodes.iter().filter(|other| other.id != member.node) {
        if let Err(reason) = offer(node, other, &plan).await {
            let address = other.advertise.clone();
            unconfirmed.get_or_insert(InitError::Unconfirmed { address, reason });
        }
    }
    unconfirmed.map_or(Ok(()), Err)
}

async fn offer(
    node: &Arc<Node>,
    other: &NodeRecord,
    plan: &BootstrapRequest,
) -> Result<(), String> {
    let mut reason = "no address of it is known".to_owned();
    for address in node.candidates(&other.advertise) {
        match introduce(node, &address).await {
            Ok(answer) => {
                let callee = answer.callee.clone().unwrap_or_default();
                if callee.directory_uuid[..] != other.uuid[..] {
                    continue;
                }
                if answer.membership() == internal::Membership::Member {
                    return Ok(());
                }
                let mut client = connect(&address).await?;
                let confirmed = client.bootstrap(plan.clone()).await;
                return confirmed.map(drop).map_err(|status| status.message().to_owned());
            }
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Runs beside the node for as long as it lives: a node that waits finds out whether it may; a member
/// offers the others their places until all have taken them.
pub async fn look_around(node: Arc<Node>) {
    loop {
        if let Some(member) = node.member() {
            match offer_places(&node, &member).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the cluster is not complete"),
            }
        } else if let Err(error) = check_waiting(&node).await {
            return node.fail(error.to_string());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// A node without a place asks the others whether their cluster has one for its directory.
async fn check_waiting(node: &Node) -> Result<(), NodeError> {
    let own = node.identity();
    for address in &node.options().join {
        let Ok(answer) = introduce(node, address).await else { continue };
        if answer.membership() != internal::Membership::Member {
            continue;
        }
        let listed = |known: &&internal::Identity| known.directory_uuid == own.directory_uuid;
        if answer.nodes.iter().any(|known| listed(&known)) {
            // Its place will be offered.
            continue;
        }
        let lost = answer.nodes.iter().find(|known| known.grpc_address == own.grpc_address);
        return Err(match lost {
            Some(known) => NodeError::DirectoryLost {
                address: own.grpc_address.clone(),
                node: NodeId(known.node),
            },
            None => NodeError::NotListed { address: address.clone() },
        });
    }
    Ok(())
}

/// This node's place in a plan.
fn place_of(node: &Node, plan: &BootstrapRequest) -> Result<Member, String> {
    let cluster: [u8; 16] = plan.cluster_id[..]
        .try_into()
        .map_err(|_| "the cluster id is not 16 bytes long".to_owned())?;
    let mut nodes = Vec::with_capacity(plan.nodes.len());
    for identity in &plan.nodes {
        let uuid = identity.directory_uuid[..].try_into();
        nodes.push(NodeRecord {
            id: NodeId(identity.node),
            uuid: uuid.map_err(|_| "a directory's uuid is not 16 bytes long".to_owned())?,
            advertise: identity.grpc_address.clone(),
            http: identity.http_address.clone(),
            cores: 0,
        });
    }
    let own = node.directory();
    let place = nodes.iter().find(|known| known.uuid == own);
    let place = place.ok_or_else(|| "the plan has no place for this directory".to_owned())?.id;
    let system_shard = ShardDescriptor {
        id: ShardId::SYSTEM,
        span: system_shard_span(),
        replicas: plan
            .system_replicas
            .iter()
            .map(|replica| (ReplicaId(replica.replica), NodeId(replica.node)))
            .collect(),
    };
    let mut seed = Vec::with_capacity(nodes.len());
    for record in &nodes {
        let value = encode(record).map_err(|error| error.to_string())?;
        let key = node_key(record.id);
        seed.push((key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }
    Ok(Member { cluster, node: place, nodes, system_shard, seed, storage_created: false })
}

/// The plan that gave a member its place.
fn plan_of(member: &Member) -> BootstrapRequest {
    BootstrapRequest {
        cluster_id: member.cluster.to_vec().into(),
        nodes: identities(member),
        system_replicas: member
            .system_shard
            .replicas
            .iter()
            .map(|(replica, node)| SystemReplica { node: node.0, replica: replica.0 })
            .collect(),
    }
}

fn identities(member: &Member) -> Vec<internal::Identity> {
    let known = member.nodes.iter().map(|node| internal::Identity {
        directory_uuid: node.uuid.to_vec().into(),
        cluster_id: member.cluster.to_vec().into(),
        node: node.id.0,
        protocol_version: 1,
        start: 0,
        grpc_address: node.advertise.clone(),
        http_address: node.http.clone(),
        postgres_address: String::new(),
    });
    known.collect()
}

/// The innermost cause, which is what a person can act on.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
