//! The client: a handle to the open streams and to what was learnt over them.

use crate::config::{Config, Routing};
use crate::dial::{Dial, DialTonic};
use crate::error::ClientError;
use crate::pool::Pool;
use crate::shard_map::{self, ShardMap};
use crate::tables::Tables;
use parking_lot::RwLock;
use proto::rpc::v1::RowKey;
use proto::{NodeId, TableId};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A client of one cluster. Cheap to clone; the streams close with the last clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    _follower: Option<Arc<Follower>>,
}

/// The task that keeps the shard map fresh. It ends with the last handle of the client.
#[derive(Debug)]
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) tables: Tables,
    pub(crate) shard_map: RwLock<Arc<ShardMap>>,
}

impl Client {
    /// Connects to a cluster by the addresses (`HOST:PORT`) of any of its nodes, and waits for the first
    /// stream. Must be called on a `tokio` runtime.
    pub async fn connect<A>(addresses: A) -> Result<Self, ClientError>
    where
        A: IntoIterator,
        A::Item: AsRef<str>,
    {
        Client::connect_with(addresses, Config::default()).await
    }

    /// Connects with settings.
    pub async fn connect_with<A>(addresses: A, config: Config) -> Result<Self, ClientError>
    where
        A: IntoIterator,
        A::Item: AsRef<str>,
    {
        let dial = Arc::new(DialTonic::new(&config));
        Client::connect_by(dial, addresses, config).await
    }

    /// Connects by other means than the network.
    pub async fn connect_by<A>(
        dial: Arc<dyn Dial>,
        addresses: A,
        config: Config,
    ) -> Result<Self, ClientError>
    where
        A: IntoIterator,
        A::Item: AsRef<str>,
    {
        let addresses: Vec<Arc<str>> = addresses.into_iter().map(|a| a.as_ref().into()).collect();
        if addresses.is_empty() {
            return Err(ClientError::NoConnection {
                addresses: "no address".to_owned(),
                reason: "none was given".to_owned(),
            });
        }
        // Each may be tried, one after the other.
        let tries = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + config.connect_timeout.saturating_mul(tries);
        let follows_leaders = config.routing == Routing::FollowLeaders;
        let inner = Arc::new(Inner {
            pool: Pool::start(config, addresses, dial),
            tables: Tables::default(),
            shard_map: RwLock::default(),
        });
        inner.pool.pick(None, deadline).await?;
        let follower = follows_leaders.then(|| {
            let task = tokio::spawn(shard_map::follow(Arc::clone(&inner)));
            Arc::new(Follower(task))
        });
        Ok(Client { inner, _follower: follower })
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn config(&self) -> &Config {
        self.inner.pool.config()
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.inner.tables
    }

    /// The node that is thought to lead the shard of this key.
    pub(crate) fn leader_of(&self, table: u32, key: Option<&RowKey>) -> Option<NodeId> {
        let map = self.inner.shard_map.read();
        map.locate(TableId(table), key?)?.leader
    }
}
