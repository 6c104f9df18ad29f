//! The open streams of a client, and who keeps them open.
//!
//! Each of the `streams` places has a *home*: the address that it prefers. A supervisor opens it, waits until
//! it breaks, and goes on to the next address; one that is away from home returns when its home answers
//! again. What is in flight on the old stream stays there until it ends.
//!
//! Not here: requests.

use crate::backoff::{Backoff, Jitter};
use crate::config::{Config, Placement};
use crate::connection::{Connection, Opening};
use crate::dial::Dial;
use crate::error::ClientError;
use parking_lot::Mutex;
use proto::NodeId;
use proto::rpc::v1::NodeAddress;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The streams of a client.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    supervisors: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    dial: Arc<dyn Dial>,
    jitter: Jitter,
    places: Mutex<Places>,
    /// Told whenever a stream comes up.
    came_up: Notify,
    /// Where the turn stands.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Places {
    streams: Vec<Option<Arc<Connection>>>,
    /// Opened because a caller wanted this very node.
    extra: BTreeMap<NodeId, Arc<Connection>>,
    /// Those given first, in their order, then those that nodes told of.
    addresses: Vec<Arc<str>>,
    node_addresses: BTreeMap<NodeId, Arc<str>>,
    last_failure: String,
}

impl Places {
    /// Learns what a node said about the others.
    fn learn(&mut self, nodes: &[NodeAddress]) {
        for NodeAddress { node, grpc, .. } in nodes {
            let node = NodeId(*node);
            if grpc.is_empty() || self.node_addresses.contains_key(&node) {
                continue;
            }
            let address: Arc<str> = grpc.as_str().into();
            if !self.addresses.contains(&address) {
                self.addresses.push(Arc::clone(&address));
            }
            self.node_addresses.insert(node, address);
        }
    }

    fn home(&self, place: usize, placement: Placement) -> usize {
        match placement {
            Placement::Spread => place % self.addresses.len(),
            Placement::OneNode => 0,
        }
    }
}

impl Pool {
    /// Starts the supervisors.
    pub(crate) fn start(config: Config, addresses: Vec<Arc<str>>, dial: Arc<dyn Dial>) -> Self {
        assert!(!addresses.is_empty(), "a pool needs an address, checked by the client");
        let streams = config.streams.max(1);
        let shared = Arc::new(Shared {
            dial,
            jitter: Jitter::new(config.seed),
            places: Mutex::new(Places {
                streams: vec![None; streams],
                extra: BTreeMap::new(),
                addresses,
                node_addresses: BTreeMap::new(),
                last_failure: "no connection has been opened yet".to_owned(),
            }),
            came_up: Notify::new(),
            turn: AtomicUsize::new(0),
            config,
        });
        let supervise = |place| tokio::spawn(Arc::clone(&shared).supervise(place));
        let supervisors = (0..streams).map(supervise).collect();
        Pool { shared, supervisors }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn jitter(&self) -> &Jitter {
        &self.shared.jitter
    }

    /// Learns where nodes are.
    pub(crate) fn learn(&self, nodes: &[NodeAddress]) {
        if self.shared.config.discover_nodes {
            self.shared.places.lock().learn(nodes);
        }
    }

    /// An open stream, to `node` if one goes there, waiting for one until `deadline`.
    pub(crate) async fn pick(
        &self,
        node: Option<NodeId>,
        deadline: Instant,
    ) -> Result<Arc<Connection>, ClientError> {
        loop {
            let came_up = self.shared.came_up.notified();
            tokio::pin!(came_up);
            // Before the look, so that what comes up in between is not missed.
            came_up.as_mut().enable();
            if let Some(connection) = self.shared.open_one(node) {
                return Ok(connection);
            }
            if timeout_at(deadline, came_up).await.is_err() {
                return Err(self.shared.no_connection());
            }
        }
    }

    /// A stream to this very node.
    pub(crate) async fn at_node(&self, node: NodeId) -> Result<Arc<Connection>, ClientError> {
        if let Some(connection) = self.shared.open_to(node) {
            return Ok(connection);
        }
        let address = self.shared.places.lock().node_addresses.get(&node).cloned();
        let Some(address) = address else {
            return Err(ClientError::NoConnection {
                addresses: node.to_string(),
                reason: "no node has told the address of that one".to_owned(),
            });
        };
        match self.shared.open(&address).await {
            // The reader goes on by itself; a broken stream is replaced at the next use.
            Ok((connection, _reader)) => {
                let mut places = self.shared.places.lock();
                places.extra.insert(node, Arc::clone(&connection));
                Ok(connection)
            }
            Err(reason) => {
                Err(ClientError::NoConnection { addresses: address.to_string(), reason })
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for supervisor in &self.supervisors {
            supervisor.abort();
        }
    }
}

impl Shared {
    async fn open(&self, address: &str) -> Result<(Arc<Connection>, JoinHandle<()>), String> {
        let opening = async {
            let opening = Opening::new(self.config.in_flight_max);
            let inbound = self.dial.dial(address, opening.outbox()).await?;
            opening.greet(address, inbound).await
        };
        let limit = self.config.connect_timeout;
        let timed_out = |_| Err(format!("no answer within {limit:?}"));
        let opened = timeout(limit, opening).await.unwrap_or_else(timed_out);
        let mut places = self.places.lock();
        match &opened {
            Ok((connection, _)) => {
                if let Some(node) = connection.node() {
                    places.node_addresses.insert(node, address.into());
                }
                if self.config.discover_nodes {
                    places.learn(connection.nodes());
                }
            }
            Err(reason) => places.last_failure = format!("{address}: {reason}"),
        }
        opened
    }

    /// Keeps one place filled.
    async fn supervise(self: Arc<Self>, place: usize) {
        let new_backoff = || Backoff::new(Duration::from_millis(10), self.config.backoff_max);
        let mut backoff = new_backoff();
        let mut at = self.places.lock().home(place, self.config.placement);
        loop {
            let (address, count) = {
                let places = self.places.lock();
                let count = places.addresses.len();
                at %= count;
                (Arc::clone(&places.addresses[at]), count)
            };
            match self.open(&address).await {
                Ok((connection, reader)) => {
                    let since = Instant::now();
                    at = self.stay(place, at, connection, reader).await;
                    // A node that takes sessions only to drop them is not asked without a pause.
                    if since.elapsed() > self.config.backoff_max {
                        backoff = new_backoff();
                    }
                }
                Err(reason) => {
                    tracing::debug!(%address, reason, "cannot open a session");
                    at = (at + 1) % count;
                }
            }
            sleep(backoff.next(&self.jitter, Duration::ZERO)).await;
        }
    }

    /// Offers the stream until it breaks, or a stream home takes its place. Returns where to go next.
    async fn stay(
        &self,
        place: usize,
        mut at: usize,
        connection: Arc<Connection>,
        mut reader: JoinHandle<()>,
    ) -> usize {
        self.publish(place, Some(connection));
        loop {
            let broken = timeout(self.config.rehome_interval, &mut reader).await.is_ok();
            if broken {
                self.publish(place, None);
                return at + 1;
            }
            let (home, address) = {
                let places = self.places.lock();
                let home = places.home(place, self.config.placement);
                (home, Arc::clone(&places.addresses[home]))
            };
            if home == at {
                continue;
            }
            if let Ok((connection, new_reader)) = self.open(&address).await {
                (at, reader) = (home, new_reader);
                self.publish(place, Some(connection));
            }
        }
    }

    fn publish(&self, place: usize, connection: Option<Arc<Connection>>) {
        let is_up = connection.is_some();
        let before = std::mem::replace(&mut self.places.lock().streams[place], connection);
        // Outside the lock: its end wakes others.
        drop(before);
        if is_up {
            self.came_up.notify_waiters();
        }
    }

    fn open_one(&self, node: Option<NodeId>) -> Option<Arc<Connection>> {
        let places = self.places.lock();
        let count = places.streams.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let live = || {
            let in_turn = (0..count).map(|offset| turn.wrapping_add(offset) % count);
            let open = in_turn.filter_map(|place| places.streams[place].as_ref());
            open.filter(|connection| connection.is_live())
        };
        let preferred = live().find(|connection| node.is_some() && connection.node() == node);
        preferred.or_else(|| live().next()).cloned()
    }

    fn open_to(&self, node: NodeId) -> Option<Arc<Connection>> {
        let places = self.places.lock();
        let mut all = places.streams.iter().flatten().chain(places.extra.get(&node));
        all.find(|connection| connection.node() == Some(node) && connection.is_live()).cloned()
    }

    fn no_connection(&self) -> ClientError {
        let places = self.places.lock();
        ClientError::NoConnection {
            addresses: places.addresses.join(", "),
            reason: places.last_failure.clone(),
        }
    }
}
