//! Settings of a gateway.

use proto::NodeId;
use proto::encoding::EncodingLimits;
use std::time::Duration;
use txn::transaction::TransactionSettings;

use crate::routing::ShardDescriptor;

/// Who a gateway is, and its limits.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Its node.
    pub node: NodeId,
    /// How often the node has started: part of every id it makes (section 4).
    pub start: u32,
    /// Which of the node's cores it runs on: likewise.
    pub core: u16,
    /// How many the node has: each acknowledges catalog versions for itself.
    pub cores: u16,
    /// The system shard, from configuration.
    pub system_shard: ShardDescriptor,
    /// Seals resume tokens; the same on all nodes (T17).
    pub token_key: [u64; 2],
    /// For its transactions.
    pub transaction: TransactionSettings,
    /// `txn.max_age`.
    pub max_age: Duration,
    /// `txn.max_age_limit`.
    pub max_age_limit: Duration,
    /// Read-write transactions under way at the most.
    pub transactions_max: usize,
    /// Ended ones that are kept, for `txn.idle_timeout`, to answer repeated requests.
    pub ended_max: usize,
    /// Reads without locks at the most.
    pub snapshots_max: usize,
    /// Requests that wait for the catalog at the most.
    pub parked_max: usize,
    /// Bytes of rows in one answer; the rest comes with a resume token.
    pub read_bytes_max: u64,
    /// How large the keys and rows that it writes may be.
    pub encoding: EncodingLimits,
    /// How far in the future an exact timestamp may lie: the leader makes the read wait.
    pub future_reads_max: Duration,
    /// How often a CREATE or DROP TABLE is tried when it is aborted.
    pub ddl_attempts_max: u32,
    /// How long a CREATE or DROP TABLE waits for the change before it to be in use everywhere: longer than
    /// a catalog lease and what its bound is ahead.
    pub ddl_wait_max: Duration,
    /// Changes of the catalog that may wait at the most.
    pub ddl_waits_max: usize,
}

impl GatewaySettings {
    /// The defaults for a node.
    #[must_use]
    pub fn new(node: NodeId, start: u32, core: u16, system_shard: ShardDescriptor) -> Self {
        GatewaySettings {
            node,
            start,
            core,
            cores: 1,
            system_shard,
            token_key: [0, 0],
            transaction: TransactionSettings::default(),
            max_age: Duration::from_secs(600),
            max_age_limit: Duration::from_secs(86_400),
            transactions_max: 20_000,
            ended_max: 20_000,
            snapshots_max: 20_000,
            parked_max: 10_000,
            // A client's gRPC library takes messages of 4 MiB unless told otherwise.
            read_bytes_max: 2 << 20,
            encoding: EncodingLimits::default(),
            future_reads_max: Duration::from_secs(10),
            ddl_attempts_max: 10,
            ddl_wait_max: Duration::from_secs(140),
            ddl_waits_max: 1_000,
        }
    }
}
