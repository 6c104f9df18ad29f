//! A node from its first start to its last: waiting for a cluster, opening what it has, running, handing over.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proto::rpc::internal;
use proto::{EntryId, Key, NodeId, ShardId, Value};
use tokio::sync::watch;
use truetime::{Clock, ClockSource, SystemClock, Timestamp};

use super::core_loop::{Collector, CoreFailure, CoreHandle, CoreLoop, Sending};
use super::data_dir::{DataDir, DataDirError, Member};
use super::disk_space::{self, Ballast, DiskStats};
use super::link::{LinkEvents, Links};
use super::log_thread::{self, LogEvents, LogFailure, LogStats};
use super::store::SharedStore;
use crate::core::{Core, CoreConfig, Input, PeerMessage, core_of};
use crate::gateway::GatewaySettings;
use crate::routing::{RouterSettings, ShardMap};
use crate::shard::descriptor::{BadDescriptor, ShardDescriptor};
use crate::shard::replica::{Durable, ReplicaConfig, ReplicaError};
use crate::storage::log::{
    FileDisk, Log, LogError, LogOptions, Opening, Recovered, RecoveredShard,
};
use crate::storage::record::LogRecord;
use crate::storage::version_store::{ApplyBatch, Version, VersionStore, VersionStoreError};
use crate::storage::versions::fjall_store::{self, FjallOptions, FjallStore};

/// How a node is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its gRPC address, as others reach it.
    pub advertise: String,
    /// Its HTTP address; empty when it has none.
    pub http: String,
    /// All nodes of the cluster as it will be initialised, itself included.
    pub join: Vec<String>,
    /// Its clock.
    pub clock: ClockSource,
    /// How many cores it runs.
    pub cores: u16,
    /// Of its replicas.
    pub replica: ReplicaConfig,
}

/// Why a node could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log.
    #[error("log: {0}")]
    Log(#[from] LogError),
    /// The log, once the node runs.
    #[error("log: {0}")]
    LogFailed(#[from] LogFailure),
    /// The version store.
    #[error("version store: {0}")]
    Open(#[from] fjall_store::OpenError),
    /// The version store, later.
    #[error(transparent)]
    Store(#[from] VersionStoreError),
    /// A replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// A shard's descriptor in the log.
    #[error(transparent)]
    Descriptor(#[from] BadDescriptor),
    /// A core ended.
    #[error(transparent)]
    Core(#[from] CoreFailure),
    /// The operating system.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The address belongs to a node with another data directory (T49).
    #[error(
        "the cluster knows {address} as node {node} with another data directory; a node that lost its \
         directory cannot come back under its old id: start it again with the old directory, or wait for \
         replica replacement, which this release does not have"
    )]
    DirectoryLost {
        /// This node's address.
        address: String,
        /// Whose it is.
        node: NodeId,
    },
    /// The log or an address names another cluster.
    #[error(
        "this node belongs to cluster {mine}, but {address} to cluster {theirs}; correct --join, or start \
         with an empty data directory"
    )]
    OtherCluster {
        /// This node's.
        mine: String,
        /// Who answered.
        address: String,
        /// Theirs.
        theirs: String,
    },
    /// The cluster was made without this node.
    #[error(
        "{address} belongs to a cluster that was initialised without this node; joining one later is not \
         supported by this release: list all nodes in --join before `spandrel init`"
    )]
    NotListed {
        /// Who answered.
        address: String,
    },
}

/// A node that has its data directory, and perhaps its place in a cluster.
pub struct Node {
    options: NodeOptions,
    dir: Mutex<DataDir>,
    running: watch::Sender<Option<Arc<Running>>>,
    failed: watch::Sender<Option<Arc<NodeError>>>,
    /// Held while the cluster is initialised: two at a time would each draw an id for it.
    pub(crate) initialising: tokio::sync::Mutex<()>,
}

/// The parts of a node that runs as a member of a cluster.
pub struct Running {
    /// Its place.
    pub member: Member,
    /// How often it has started.
    pub starts: u32,
    /// Its directory's uuid.
    pub directory: [u8; 16],
    /// Its cores.
    pub cores: Vec<CoreHandle>,
    /// Its links.
    pub links: Arc<Links>,
    /// How the log does.
    pub log_stats: Arc<LogStats>,
    /// How the disk is.
    pub disk_stats: Arc<DiskStats>,
    options: NodeOptions,
    /// What runs beside the cores, ended with them.
    tasks: Vec<tokio::task::AbortHandle>,
}

/// How often the version store is made durable, which lets the log be truncated.
const PERSIST_INTERVAL: Duration = Duration::from_secs(2);
/// How long a graceful stop waits for the shards to be led elsewhere.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(3);
/// The timestamp of the system shard's first rows: below everything that is ever assigned or read at.
const SEED_TIMESTAMP: Timestamp = Timestamp::ZERO;

impl Node {
    /// Opens the data directory.
    pub fn open(options: NodeOptions) -> Result<Arc<Self>, NodeError> {
        let fresh = random_bytes()?;
        let dir = DataDir::open(&options.data_dir, fresh)?;
        Ok(Arc::new(Node {
            options,
            dir: Mutex::new(dir),
            running: watch::Sender::new(None),
            failed: watch::Sender::new(None),
            initialising: tokio::sync::Mutex::new(()),
        }))
    }

    /// How it was started.
    #[must_use]
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// Its place in a cluster, when it has one.
    #[must_use]
    pub fn member(&self) -> Option<Member> {
        self.dir.lock().identity().member.clone()
    }

    /// The uuid of its data directory.
    #[must_use]
    pub fn directory(&self) -> [u8; 16] {
        self.dir.lock().identity().directory
    }

    /// Who it is, as others are told.
    #[must_use]
    pub fn identity(&self) -> internal::Identity {
        let dir = self.dir.lock();
        identity(&self.options, dir.identity().member.as_ref(), dir.identity())
    }

    /// The running parts, once it is a member and has opened what it has.
    #[must_use]
    pub fn running(&self) -> Option<Arc<Running>> {
        self.running.borrow().clone()
    }

    /// Waits until it runs.
    pub async fn until_running(&self) -> Option<Arc<Running>> {
        let mut running = self.running.subscribe();
        running.wait_for(Option::is_some).await.ok().and_then(|running| running.clone())
    }

    /// Waits until something failed that the node cannot go on after.
    pub async fn until_failed(&self) -> Arc<NodeError> {
        let mut failed = self.failed.subscribe();
        let failed = failed.wait_for(Option::is_some).await.map(|failed| failed.clone());
        failed.ok().flatten().expect("the sender lives in this node, and it was waited for")
    }

    /// The node can go on no more.
    pub(crate) fn fail(&self, error: impl Into<NodeError>) {
        let error = error.into();
        tracing::error!(%error, "the node stops");
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| Arc::new(error));
            first
        });
    }

    /// Takes its place in a cluster, durably; again with the same place it changes nothing.
    pub(crate) fn join(self: &Arc<Self>, member: Member) -> Result<(), NodeError> {
        let mut dir = self.dir.lock();
        if dir.identity().member.is_none() {
            dir.set_member(member)?;
        }
        Ok(())
    }

    /// Opens log, version store and replicas, and starts the cores. For a member that does not run yet.
    pub fn run(self: &Arc<Self>) -> Result<Arc<Running>, NodeError> {
        if let Some(running) = self.running() {
            return Ok(running);
        }
        let (member, starts, directory) = {
            let dir = self.dir.lock();
            let identity = dir.identity();
            let member = identity.member.clone().expect("only a member is run");
            (member, identity.starts, identity.directory)
        };
        let (log, recovered, store) = self.open_storage(&member)?;
        let count = self.options.cores.max(1);
        let cores: Vec<CoreHandle> = (0..count).map(CoreHandle::new).collect();
        let events = Arc::new(Events {
            cores: cores.clone(),
            member: member.clone(),
            hello: self.identity(),
        });
        let others = member.nodes.iter().map(|node| node.id).filter(|id| *id != member.node);
        let links = Arc::new(Links::new(others, events));
        let log_stats = Arc::<LogStats>::default();
        let log = {
            let (cores, node) = (cores.clone(), self.clone());
            let ballast = Ballast::of(&self.options.data_dir);
            log_thread::start(
                log,
                log_stats.clone(),
                LogEvents {
                    durable: move |core, token| {
                        cores[usize::from(core)].send(Input::Synced { token });
                    },
                    starving: move || match ballast.release() {
                        Ok(true) => tracing::warn!("the ballast is given to the log"),
                        Ok(false) => {}
                        Err(error) => tracing::warn!(%error, "the ballast cannot be released"),
                    },
                    fatal: move |error: LogFailure| node.fail(error),
                },
            )
            .map_err(|source| NodeError::Io {
                action: "starting the log's thread".into(),
                source,
            })?
        };
        let mut replicas = BTreeMap::<u16, Vec<(ShardDescriptor, Durable)>>::new();
        let logged: BTreeSet<ShardId> = recovered.shards.keys().copied().collect();
        for (descriptor, durable) in durable_replicas(recovered, &store)? {
            let core = core_of(descriptor.id, count);
            replicas.entry(core).or_default().push((descriptor, durable));
        }
        let mut orphans = BTreeMap::<u16, Vec<ShardId>>::new();
        for shard in store.shards().into_iter().filter(|shard| !logged.contains(shard)) {
            orphans.entry(core_of(shard, count)).or_default().push(shard);
        }
        let store = SharedStore::new(store);
        for handle in &cores {
            let mut clock = SystemClock::open(self.options.clock);
            let config = self.core_config(&member, starts, handle.core);
            let map = ShardMap::new([member.system_shard.clone()]);
            let mine = replicas.remove(&handle.core).unwrap_or_default();
            let orphans = orphans.remove(&handle.core).unwrap_or_default();
            let core = Core::open(config, map, mine, orphans, &clock.now())?;
            let core_loop = CoreLoop {
                core,
                handle: handle.clone(),
                siblings: cores.clone(),
                clock: Box::new(clock),
                node: member.node,
                log: log.clone(),
                store: store.clone(),
                links: links.clone(),
                collector: Collector::default(),
                sending: Sending::default(),
            };
            self.spawn_core(core_loop)?;
        }
        let mut tasks = Vec::new();
        for node in &member.nodes {
            if node.id > member.node {
                let candidates = self.candidates(&node.advertise);
                let connecting = links.clone().keep_connected(node.id, candidates);
                tasks.push(tokio::spawn(connecting).abort_handle());
            }
        }
        let persisting = persist_often(self.clone(), store, cores.clone());
        tasks.push(tokio::spawn(persisting).abort_handle());
        let disk_stats = Arc::<DiskStats>::default();
        let watching = {
            let cores = cores.clone();
            let tell = move |room| cores.iter().for_each(|core| core.send(Input::DiskRoom(room)));
            let data_dir = self.options.data_dir.clone();
            disk_space::watch(data_dir, log_stats.clone(), disk_stats.clone(), tell)
        };
        tasks.push(tokio::spawn(watching).abort_handle());
        let options = self.options.clone();
        let running = Running {
            member,
            starts,
            directory,
            cores,
            links,
            log_stats,
            disk_stats,
            options,
            tasks,
        };
        let running = Arc::new(running);
        self.running.send_replace(Some(running.clone()));
        Ok(running)
    }

    /// Where a node may be reached: the addresses of `--join` first.
    #[must_use]
    pub fn candidates(&self, advertise: &str) -> Vec<String> {
        let mut candidates = self.options.join.clone();
        candidates.retain(|address| *address != self.options.advertise);
        // The node's own idea of its address is the best guess among equals.
        candidates.sort_by_key(|address| address != advertise);
        if !candidates.iter().any(|address| address == advertise) {
            candidates.push(advertise.to_owned());
        }
        candidates
    }

    /// The first core shares the caller's runtime; each other one gets a thread and a runtime of its own.
    fn spawn_core(self: &Arc<Self>, core_loop: CoreLoop) -> Result<(), NodeError> {
        let node = self.clone();
        let core = core_loop.handle.core;
        let run = async move {
            if let Err(error) = core_loop.run().await {
                node.fail(error);
            }
        };
        if core == 0 {
            tokio::spawn(run);
            return Ok(());
        }
        let io = |source| NodeError::Io { action: format!("starting core {core}"), source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(super::POOL_THREADS)
            .build()
            .map_err(io)?;
        std::thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || runtime.block_on(run))
            .map_err(io)?;
        Ok(())
    }

    fn core_config(&self, member: &Member, start: u32, core: u16) -> CoreConfig {
        let node = member.node;
        let mut gateway = GatewaySettings::new(node, start, core, member.system_shard.clone());
        let (low, high) = member.secret.split_at(8);
        let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of 16 bytes"));
        gateway.cores = self.options.cores.max(1);
        gateway.token_key = [half(low), half(high)];
        let seed = half(&self.directory()[..8]) ^ (u64::from(start) << 32) ^ u64::from(core);
        CoreConfig {
            node,
            start,
            core,
            cores: self.options.cores.max(1),
            seed,
            replica: self.options.replica,
            router: RouterSettings::default(),
            gateway,
            publish_interval: Duration::from_millis(200),
            clock_interval: Duration::from_secs(2),
        }
    }

    fn open_storage(
        &self,
        member: &Member,
    ) -> Result<(Log<FileDisk>, Recovered, FjallStore), NodeError> {
        let (log_path, versions_path) = {
            let dir = self.dir.lock();
            (dir.log(), dir.versions())
        };
        let opening = if member.storage_created {
            Opening::MustExist
        } else {
            let bytes: [u8; 16] = random_bytes()?;
            let log = u64::from_le_bytes(*bytes.first_chunk().expect("16 bytes have 8"));
            Opening::MayCreate { log }
        };
        let disk = FileDisk::open(&log_path).map_err(|source| DataDirError::Io {
            path: log_path.clone(),
            action: "opening it",
            source,
        })?;
        let (mut log, mut recovered) = Log::open(disk, LogOptions::new(opening))?;
        if let Some(torn) = &recovered.torn_tail {
            tracing::warn!(?torn, "the log's last write was cut short by a crash and was removed");
        }
        let mut store = FjallStore::open(&versions_path, FjallOptions::default())?;
        if !member.storage_created {
            self.create_storage(member, &mut log, &mut recovered, &mut store)?;
        }
        Ok((log, recovered, store))
    }

    /// The first opening: the system shard's replica, if this node has one, with its first rows.
    fn create_storage(
        &self,
        member: &Member,
        log: &mut Log<FileDisk>,
        recovered: &mut Recovered,
        store: &mut FjallStore,
    ) -> Result<(), NodeError> {
        let shard = ShardId::SYSTEM;
        if member.system_shard.replica_on(member.node).is_some() {
            if store.applied(shard)?.is_none() {
                let versions = member.seed.iter().map(|(key, value)| Version {
                    key: Key::from(key.clone()),
                    timestamp: SEED_TIMESTAMP,
                    value: Some(Value::from(value.clone())),
                });
                let versions = versions.collect();
                let applied = EntryId::default();
                store.apply(vec![ApplyBatch { shard, applied, versions, state: Vec::new() }])?;
                store.persist()?;
            }
            if let Entry::Vacant(place) = recovered.shards.entry(shard) {
                let descriptor: bytes::Bytes = member.system_shard.encode().into();
                let created = LogRecord::Created { shard, descriptor: descriptor.clone() };
                log.write_and_sync(&[[created]])?;
                place.insert(RecoveredShard { descriptor, ..RecoveredShard::default() });
            }
        }
        let member = Member { storage_created: true, ..member.clone() };
        self.dir.lock().set_member(member)?;
        Ok(())
    }
}

impl Running {
    /// Hands every lease over and waits until the shards are led elsewhere, for a bounded time.
    pub async fn hand_over(&self) {
        // A core that does not answer must not keep the node from stopping.
        if tokio::time::timeout(HAND_OVER_PATIENCE, self.until_led_elsewhere()).await.is_err() {
            tracing::warn!("stopping with leases that no other node has taken over");
        }
    }

    async fn until_led_elsewhere(&self) {
        loop {
            for core in &self.cores {
                core.send(Input::HandOver);
            }
            let mut done = true;
            for core in &self.cores {
                done &= core.leads_nothing().await;
            }
            if done {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the cores and what runs beside them.
    pub fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
        for core in &self.cores {
            core.stop();
        }
    }

    /// How the node was started.
    #[must_use]
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }
}

/// What links tell the cores.
struct Events {
    cores: Vec<CoreHandle>,
    member: Member,
    hello: internal::Identity,
}

impl LinkEvents for Events {
    fn message(&self, from: NodeId, message: PeerMessage) {
        let cores = u16::try_from(self.cores.len()).expect("cores are counted in a u16");
        match message.core(cores) {
            Some(core) => {
                if let Some(core) = self.cores.get(usize::from(core)) {
                    core.send(Input::Peer { from, message });
                }
            }
            None => {
                for core in &self.cores {
                    core.send(Input::Peer { from, message: message.clone() });
                }
            }
        }
    }

    fn reachable(&self, node: NodeId, up: bool) {
        tracing::info!(%node, up, "link");
        for core in &self.cores {
            core.send(if up { Input::Reachable(node) } else { Input::Unreachable(node) });
        }
    }

    fn hello(&self) -> internal::Identity {
        self.hello.clone()
    }

    fn admit(&self, hello: &internal::Identity) -> Result<NodeId, String> {
        if hello.cluster_id != self.member.cluster[..] {
            return Err("it belongs to another cluster".to_owned());
        }
        let known = self.member.nodes.iter().find(|node| node.id.0 == hello.node);
        match known {
            None => Err(format!("node {} is not registered", hello.node)),
            Some(node) if hello.directory_uuid != node.uuid[..] => {
                Err(format!("node {} comes with another data directory (T49)", hello.node))
            }
            Some(node) => Ok(node.id),
        }
    }
}

fn durable_replicas(
    recovered: Recovered,
    store: &FjallStore,
) -> Result<Vec<(ShardDescriptor, Durable)>, NodeError> {
    let mut replicas = Vec::with_capacity(recovered.shards.len());
    for (shard, found) in recovered.shards {
        let descriptor = ShardDescriptor::decode(&found.descriptor)?;
        let durable = Durable {
            hard_state: found.hard_state,
            truncated: found.truncated,
            entries: found.entries,
            applied: store.applied(shard)?.unwrap_or_default(),
            state: store.state(shard)?,
        };
        replicas.push((descriptor, durable));
    }
    Ok(replicas)
}

/// Makes the version store durable now and then, and tells the cores what the log need not keep.
async fn persist_often(node: Arc<Node>, store: SharedStore, cores: Vec<CoreHandle>) {
    let mut last: BTreeMap<ShardId, EntryId> = BTreeMap::new();
    loop {
        tokio::time::sleep(PERSIST_INTERVAL).await;
        let ticket = store.with(|store| store.persist_ticket());
        if ticket.applied() == &last {
            continue;
        }
        let durable = match tokio::task::spawn_blocking(move || ticket.persist()).await {
            Ok(Ok(durable)) => durable,
            Ok(Err(error)) => return node.fail(error),
            Err(error) => {
                let action = "making the versions durable".to_owned();
                return node.fail(NodeError::Io { action, source: std::io::Error::other(error) });
            }
        };
        last = durable.iter().copied().collect();
        let count = u16::try_from(cores.len()).expect("cores are counted in a u16");
        for core in &cores {
            let mine = durable.iter().filter(|(shard, _)| core_of(*shard, count) == core.core);
            core.send(Input::Durable(mine.copied().collect()));
        }
    }
}

pub(crate) fn identity(
    options: &NodeOptions,
    member: Option<&Member>,
    own: &super::data_dir::Identity,
) -> internal::Identity {
    internal::Identity {
        directory_uuid: own.directory.to_vec().into(),
        cluster_id: member.map(|m| m.cluster.to_vec()).unwrap_or_default().into(),
        node: member.map_or(0, |m| m.node.0),
        protocol_version: 1,
        start: u64::from(own.starts),
        grpc_address: options.advertise.clone(),
        http_address: options.http.clone(),
        postgres_address: String::new(),
    }
}

/// Random bits from the operating system, for what need not be unguessable.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// 16 bytes from the operating system.
pub(crate) fn random_bytes() -> Result<[u8; 16], NodeError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| NodeError::Io {
        action: "drawing random bytes".to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}

/// First seen, then used: cluster ids and uuids in messages and logs.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
