//! What can be set about a client.

use std::time::Duration;

/// To which nodes the streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Each stream to another node, as far as there are nodes.
    Spread,
    /// All streams to one node, and to the next when it dies.
    OneNode,
}

/// Over which of the streams a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// To the node that leads the shard of the first key, when a stream goes there: saves a hop.
    FollowLeaders,
    /// In turn.
    InTurn,
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many session streams to keep open. Few are best: a node answers everything that is ready on a
    /// stream in one message.
    pub streams: usize,
    /// Where the streams go.
    pub placement: Placement,
    /// Which stream a transaction takes.
    pub routing: Routing,
    /// Whether to use the addresses that nodes tell of the others, besides those that were given.
    pub discover_nodes: bool,
    /// For how long an answer is waited for.
    pub request_timeout: Duration,
    /// The same for creating and dropping tables, which wait until every node knows, or until the leases of
    /// those that cannot be asked have ended.
    pub ddl_timeout: Duration,
    /// The same for a statement of SQL. Nodes have limits of their own, and a session can cancel.
    pub sql_timeout: Duration,
    /// For how long a connection may take to open.
    pub connect_timeout: Duration,
    /// How often a connection is probed, so that a node that hangs is noticed.
    pub probe_interval: Duration,
    /// Requests in flight on one stream.
    pub in_flight_max: usize,
    /// How often `run` begins at most.
    pub attempts_max: u32,
    /// How long `run` begins anew when all that it hears is that the cluster is not available: longer than a
    /// leader takes to be replaced.
    pub unavailable_max: Duration,
    /// How long `run` waits at most between two attempts.
    pub backoff_max: Duration,
    /// For how long the outcome of a commit whose answer was lost is asked for.
    pub outcome_timeout: Duration,
    /// How often the shard map is refreshed when leaders are followed.
    pub shard_map_interval: Duration,
    /// How often a stream that had to leave its own node tries to go back.
    pub rehome_interval: Duration,
    /// Rows of a page of a scan.
    pub page_rows: u32,
    /// Seeds the draws of backoffs; by default each client gets one of its own.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            streams: 2,
            placement: Placement::Spread,
            routing: Routing::FollowLeaders,
            discover_nodes: true,
            request_timeout: Duration::from_secs(10),
            ddl_timeout: Duration::from_secs(150),
            sql_timeout: Duration::from_secs(24 * 3_600),
            connect_timeout: Duration::from_secs(2),
            probe_interval: Duration::from_secs(2),
            in_flight_max: 4096,
            attempts_max: 100,
            unavailable_max: Duration::from_secs(15),
            backoff_max: Duration::from_millis(500),
            outcome_timeout: Duration::from_secs(30),
            shard_map_interval: Duration::from_secs(1),
            rehome_interval: Duration::from_secs(5),
            page_rows: 1024,
            seed: None,
        }
    }
}
