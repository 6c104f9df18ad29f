//! What all calls share: the node, limits, and what this node cannot answer by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proto::rpc::v1::session_answer::Response as Wire;
use proto::rpc::v1::session_call::Request as WireRequest;
use proto::rpc::v1::{self, ErrorKind};

use super::call::finish_large;
use super::errors::Failure;
use super::outbox::Call;
use super::seat::Seat;
use super::shard_map::ShardMaps;
use super::status::{self, Peers};
use crate::host::Node;
use crate::system::NodeRecord;

/// Limits of the API, all per node unless they say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// Open sessions.
    pub sessions_max: usize,
    /// Calls of one session that are not answered.
    pub session_calls_max: usize,
    /// Calls outside sessions that are not answered.
    pub calls_max: usize,
    /// The longest that a call may take; also what one may take that names no limit of its own.
    pub call_time_max: Duration,
    /// The same for calls that change the catalog, which may wait for the end of leases on it.
    pub ddl_time_max: Duration,
    /// The same for statements of SQL, which `statement_timeout` limits.
    pub sql_time_max: Duration,
    /// `txn.idle_timeout`, for clients to know how often to send keep-alives.
    pub idle_timeout: Duration,
    /// How long other nodes have to tell their status.
    pub status_time_max: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            sessions_max: 10_000,
            session_calls_max: 4_096,
            calls_max: 10_000,
            call_time_max: Duration::from_secs(60),
            ddl_time_max: Duration::from_secs(150),
            sql_time_max: Duration::from_secs(86_400),
            idle_timeout: Duration::from_secs(10),
            status_time_max: Duration::from_secs(2),
        }
    }
}

impl ServerSettings {
    /// The longest that a request may take.
    pub(super) fn time_max(&self, request: Option<&WireRequest>) -> Duration {
        match request {
            Some(WireRequest::CreateTable(_) | WireRequest::DropTable(_)) => self.ddl_time_max,
            Some(WireRequest::ExecuteSql(_) | WireRequest::ExecuteSqlBatch(_)) => self.sql_time_max,
            Some(_) | None => self.call_time_max,
        }
    }

    /// For how long a call's answer is of interest.
    pub(super) fn timeout(&self, request: Option<&WireRequest>, milliseconds: u64) -> Duration {
        let max = self.time_max(request);
        match milliseconds {
            0 => max,
            some => Duration::from_millis(some).min(max),
        }
    }
}

/// A cluster as `Init` made or found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialised {
    /// The cluster.
    pub cluster: [u8; 16],
    /// Whether it was there before.
    pub existed: bool,
    /// Its nodes.
    pub nodes: Vec<NodeRecord>,
}

/// Why a cluster could not be initialised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InitFailed {
    /// What a client may do: [`ErrorKind::Unavailable`] for what may pass, else
    /// [`ErrorKind::InvalidRequest`].
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Initialises the cluster.
#[tonic::async_trait]
pub trait InitHook: Send + Sync + 'static {
    /// Initialises the cluster that this node is listed in, or says what there is.
    async fn init(&self) -> Result<Initialised, InitFailed>;
}

/// See the module.
pub(super) struct Inner {
    pub(super) node: Arc<Node>,
    pub(super) settings: ServerSettings,
    init: Arc<dyn InitHook>,
    peers: Arc<dyn Peers>,
    shard_maps: ShardMaps,
    clients: AtomicU64,
    stopping: AtomicBool,
    /// Open sessions.
    pub(super) sessions: Arc<AtomicUsize>,
    /// Open calls outside sessions.
    pub(super) calls: Arc<AtomicUsize>,
}

impl Inner {
    pub(super) fn new(
        node: Arc<Node>,
        init: Arc<dyn InitHook>,
        peers: Arc<dyn Peers>,
        settings: ServerSettings,
    ) -> Self {
        Inner {
            node,
            settings,
            init,
            peers,
            shard_maps: ShardMaps::default(),
            clients: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            sessions: Arc::default(),
            calls: Arc::default(),
        }
    }

    /// A number for a client.
    pub(super) fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed)
    }

    /// A client's seat, when the node runs.
    pub(super) fn seat(&self, client: u64) -> Option<Seat> {
        self.node.running().map(|running| Seat::new(running, client))
    }

    /// No call is taken from now on.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Why no call is taken, if so.
    pub(super) fn refusal(&self) -> Option<Failure> {
        self.stopping.load(Ordering::Acquire).then(Failure::stopping)
    }

    /// How a session begins.
    pub(super) fn hello(&self) -> v1::SessionHello {
        let member = self.node.member();
        let idle_timeout = self.settings.idle_timeout.as_millis();
        let idle_timeout_ms = u32::try_from(idle_timeout).unwrap_or(u32::MAX);
        match member {
            None => v1::SessionHello { idle_timeout_ms, ..Default::default() },
            Some(member) => v1::SessionHello {
                node: member.node.0,
                cluster_id: Bytes::copy_from_slice(&member.cluster),
                idle_timeout_ms,
                nodes: member.nodes.iter().map(status::address).collect(),
            },
        }
    }

    /// Answers a call for which several parts are asked, beside everything else.
    pub(super) fn start_beside(
        self: Arc<Self>,
        call: Call,
        request: WireRequest,
        seat: Option<Seat>,
    ) {
        tokio::spawn(async move {
            match self.beside(request, seat).await {
                Ok(response) => {
                    finish_large(&call, response);
                }
                Err(failure) => call.fail(failure.into_error()),
            }
        });
    }

    async fn beside(&self, request: WireRequest, seat: Option<Seat>) -> Result<Wire, Failure> {
        match (request, seat) {
            (WireRequest::Init(v1::InitRequest {}), _) => Ok(Wire::Init(self.init().await?)),
            (WireRequest::Status(request), _) => {
                let limit = self.settings.status_time_max;
                let peers = (!request.local).then_some(&self.peers);
                Ok(Wire::Status(status::of_cluster(&self.node, peers, limit).await))
            }
            (WireRequest::ShardMap(request), Some(seat)) => {
                Ok(Wire::ShardMap(self.shard_maps.answer(&seat, request.known_version).await?))
            }
            (WireRequest::ShardMap(_), None) => Err(Failure::not_initialised()),
            (_, _) => Err(Failure::unexpected_answer()),
        }
    }

    async fn init(&self) -> Result<v1::InitResponse, Failure> {
        let initialised = self
            .init
            .init()
            .await
            .map_err(|failed| Failure::new(failed.kind, failed.message, &failed.hint))?;
        Ok(v1::InitResponse {
            cluster_id: Bytes::copy_from_slice(&initialised.cluster),
            existed: initialised.existed,
            nodes: initialised.nodes.iter().map(status::address).collect(),
        })
    }
}
