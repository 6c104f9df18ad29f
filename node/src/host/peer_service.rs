//! What nodes ask each other outside their stream, and how a cluster comes to be.
//!
//! ```text
//! init at n2: introduce to all of --join --> all waiting --> Make to n1, which has the smallest uuid
//! n1: introduces itself to all --> all waiting --> writes its place down (cluster id, ids, system shard)
//!     --> Bootstrap to the others --> each writes its place down and runs
//! ```
//! Only that one node draws a cluster's id, one `init` at a time. Two that did would give two clusters, each
//! durable at some nodes, and neither could ever be complete.
//!
//! Whoever has written the plan down can finish it: a member offers it to every node of the plan that still
//! waits. A node that waits and finds its own address in somebody's plan under another directory has lost
//! its directory, and is refused by name (T49).

use std::sync::Arc;
use std::time::Duration;

use proto::rpc::internal::{
    self, AskRequest, AskResponse, BootstrapRequest, BootstrapResponse, IntroduceRequest,
    IntroduceResponse, MakeRequest, MakeResponse, PeerBatch, SystemReplica,
    peer_client::PeerClient, peer_server::Peer,
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
/// How long one node may take to make a cluster for another, which has it call every node of the list.
const MAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a node that others know as a member waits for its place.
const PLACE_PATIENCE: Duration = Duration::from_secs(10);
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
    /// Two addresses of the list lead to one node.
    #[error(
        "--join lists one node twice, as {first} and as {second}; list every node once, by one address"
    )]
    ListedTwice {
        /// One address.
        first: String,
        /// The other.
        second: String,
    },
    /// The node that makes the cluster leads by its own list to other nodes.
    #[error(
        "the --join lists of {address} and of the node that was asked lead to different nodes; start all \
         nodes with the same list"
    )]
    ListsDiffer {
        /// Its address.
        address: String,
    },
    /// The node that makes the cluster could not.
    #[error("node {address} could not make the cluster: {reason}")]
    NotMade {
        /// Its address.
        address: String,
        /// In its words.
        reason: String,
        /// Whether the same may work in a moment.
        passes: bool,
    },
    /// This node.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl InitError {
    /// Whether the same may work in a moment.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            InitError::Unreachable { .. } | InitError::Unconfirmed { .. } => true,
            InitError::NotMade { passes, .. } => *passes,
            InitError::Taken { .. }
            | InitError::NotListed { .. }
            | InitError::ListedTwice { .. }
            | InitError::ListsDiffer { .. }
            | InitError::Node(_) => false,
        }
    }
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

    async fn make(&self, request: Request<MakeRequest>) -> Result<Response<MakeResponse>, Status> {
        let wanted = request.into_inner().directory_uuids;
        match make(&self.node, &wanted).await {
            Ok(existed) => Ok(Response::new(MakeResponse { existed })),
            Err(error) if error.passes() => Err(Status::unavailable(error.to_string())),
            Err(error) => Err(Status::failed_precondition(error.to_string())),
        }
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
    connect_for(address, CALL_TIMEOUT).await
}

async fn connect_for(address: &str, timeout: Duration) -> Result<PeerClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| error.to_string())?
        .connect_timeout(CALL_TIMEOUT)
        .timeout(timeout)
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
    let _alone = node.initialising.lock().await;
    if let Some(member) = node.member() {
        return finish(node, &member).await;
    }
    let found = match everyone(node).await? {
        Everyone::Waits(found) => found,
        Everyone::KnowsThis { address } => return until_placed(node, address).await,
    };
    let uuids = uuids_of(&found);
    let (first, address) = maker_of(&found);
    if *first == node.directory() {
        return mint(node, found).await;
    }
    let not_made = |reason, passes| InitError::NotMade { address: address.clone(), reason, passes };
    let client = connect_for(&address, MAKE_TIMEOUT).await;
    let mut client = client.map_err(|reason| not_made(reason, true))?;
    let made = client.make(MakeRequest { directory_uuids: uuids }).await;
    let made = made.map_err(|status| {
        let passes = status.code() != tonic::Code::FailedPrecondition;
        not_made(status.message().to_owned(), passes)
    })?;
    until_placed(node, address.clone()).await?;
    Ok(made.into_inner().existed)
}

/// Makes the cluster for another node, whose list leads to `wanted`. Never asks a third one.
async fn make(node: &Arc<Node>, wanted: &[bytes::Bytes]) -> Result<bool, InitError> {
    let _alone = node.initialising.lock().await;
    if let Some(member) = node.member() {
        return finish(node, &member).await;
    }
    let differ = || InitError::ListsDiffer { address: node.options().advertise.clone() };
    match everyone(node).await? {
        Everyone::Waits(found) if uuids_of(&found) == wanted => {
            if *maker_of(&found).0 == node.directory() {
                mint(node, found).await
            } else {
                Err(differ())
            }
        }
        Everyone::Waits(_) => Err(differ()),
        Everyone::KnowsThis { address } => until_placed(node, address).await,
    }
}

/// What a look at all addresses of `--join` found.
enum Everyone {
    /// Each node by the address of the list that leads to it, this one included; none has a place yet.
    Waits(Vec<(String, internal::Identity)>),
    /// A member knows this node already, and will offer it its place.
    KnowsThis { address: String },
}

async fn everyone(node: &Node) -> Result<Everyone, InitError> {
    let own = node.identity();
    let mut found: Vec<(String, internal::Identity)> = Vec::new();
    for address in &node.options().join {
        let unreachable = |reason| InitError::Unreachable { address: address.clone(), reason };
        let answer = introduce(node, address).await.map_err(unreachable)?;
        let callee = answer.callee.clone().unwrap_or_default();
        if answer.membership() == internal::Membership::Member {
            if answer.nodes.iter().any(|known| known.directory_uuid == own.directory_uuid) {
                return Ok(Everyone::KnowsThis { address: address.clone() });
            }
            let cluster = hex(&callee.cluster_id);
            return Err(InitError::Taken { address: address.clone(), cluster });
        }
        if let Some((first, _)) =
            found.iter().find(|(_, known)| known.directory_uuid == callee.directory_uuid)
        {
            let (first, second) = (first.clone(), address.clone());
            return Err(InitError::ListedTwice { first, second });
        }
        found.push((address.clone(), callee));
    }
    if !found.iter().any(|(_, known)| known.directory_uuid == own.directory_uuid) {
        return Err(InitError::NotListed { address: own.grpc_address });
    }
    Ok(Everyone::Waits(found))
}

fn uuids_of(found: &[(String, internal::Identity)]) -> Vec<bytes::Bytes> {
    let mut uuids: Vec<_> = found.iter().map(|(_, node)| node.directory_uuid.clone()).collect();
    uuids.sort_unstable();
    uuids
}

/// Whose part it is to draw the cluster's id: every node of the list comes to the same answer.
fn maker_of(found: &[(String, internal::Identity)]) -> (bytes::Bytes, String) {
    let first = found.iter().min_by_key(|(_, node)| &node.directory_uuid);
    let (address, node) = first.expect("a list that was looked at has this node in it");
    (node.directory_uuid.clone(), address.clone())
}

/// Draws the cluster's id and gives everyone a place.
async fn mint(
    node: &Arc<Node>,
    found: Vec<(String, internal::Identity)>,
) -> Result<bool, InitError> {
    let system_replicas = (1..).take(found.len().min(REPLICAS));
    let nodes = found.into_iter().map(|(_, identity)| identity);
    let plan = BootstrapRequest {
        cluster_id: random_bytes()?.to_vec().into(),
        nodes: (1..).zip(nodes).map(|(node, i)| internal::Identity { node, ..i }).collect(),
        system_replicas: system_replicas
            .map(|id| SystemReplica { node: id, replica: id })
            .collect(),
        secret: random_bytes()?.to_vec().into(),
    };
    let own = node.identity().grpc_address;
    let member = place_of(node, &plan)
        .map_err(|reason| InitError::Unconfirmed { address: own.clone(), reason })?;
    node.join(member)?;
    // What is written down, should another plan have come first, is what the others are offered.
    let member = node.member().ok_or_else(|| InitError::Unconfirmed {
        address: own,
        reason: "its place is not written down".to_owned(),
    })?;
    finish(node, &member).await?;
    Ok(false)
}

/// Runs a member and offers the others their places. There was a cluster before.
async fn finish(node: &Arc<Node>, member: &Member) -> Result<bool, InitError> {
    node.run()?;
    offer_places(node, member).await?;
    Ok(true)
}

/// Waits for the place that the member at `address` offers. There was a cluster before.
async fn until_placed(node: &Node, address: String) -> Result<bool, InitError> {
    let deadline = tokio::time::Instant::now() + PLACE_PATIENCE;
    while node.member().is_none() {
        if tokio::time::Instant::now() >= deadline {
            let reason = "it has a place for this node and has not offered it".to_owned();
            return Err(InitError::Unconfirmed { address, reason });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(true)
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
                    if callee.cluster_id == plan.cluster_id {
                        return Ok(());
                    }
                    return Err(format!("it belongs to cluster {}", hex(&callee.cluster_id)));
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
            if let Err(error) = check_cluster(&node).await {
                return node.fail(error);
            }
            match offer_places(&node, &member).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the cluster is not complete"),
            }
        } else if let Err(error) = check_waiting(&node).await {
            return node.fail(error);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// A member whose list leads to another cluster and to nobody of its own has the wrong list, or the wrong data
/// directory.
async fn check_cluster(node: &Node) -> Result<(), NodeError> {
    let own = node.identity();
    let mut other = None;
    for address in &node.options().join {
        let Ok(answer) = introduce(node, address).await else { continue };
        let callee = answer.callee.clone().unwrap_or_default();
        let is_member = answer.membership() == internal::Membership::Member;
        if !is_member || callee.directory_uuid == own.directory_uuid {
            continue;
        }
        if callee.cluster_id == own.cluster_id {
            return Ok(());
        }
        other.get_or_insert_with(|| NodeError::OtherCluster {
            mine: hex(&own.cluster_id),
            address: address.clone(),
            theirs: hex(&callee.cluster_id),
        });
    }
    other.map_or(Ok(()), Err)
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
    let secret: [u8; 16] = plan.secret[..]
        .try_into()
        .map_err(|_| "the cluster's secret is not 16 bytes long".to_owned())?;
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
    Ok(Member { cluster, secret, node: place, nodes, system_shard, seed, storage_created: false })
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
        secret: member.secret.to_vec().into(),
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
