//! What `status` and `/metrics` show of one core.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{Epoch, KeySpan, LogIndex, NodeId, ShardId, TableId, Term, TxnId};
use serde::{Deserialize, Serialize};
use truetime::{Now, Timestamp};

use super::Core;
use crate::shard::raft::Role;

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The shard.
    pub shard: ShardId,
    /// Its keys.
    pub span: KeySpan,
    /// The nodes with a replica.
    pub nodes: Vec<NodeId>,
    /// Whether this replica leads.
    pub leads: bool,
    /// The leader's node, as far as it knows.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub term: Term,
    /// The lease's number.
    pub epoch: Epoch,
    /// When the lease ends.
    pub lease_expires: Timestamp,
    /// Whether this replica holds a lease that is valid now.
    pub serves: bool,
    /// The last entry applied.
    pub applied: LogIndex,
    /// The last entry known to be committed.
    pub committed: LogIndex,
    /// The first entry that is kept.
    pub first: LogIndex,
    /// The last entry.
    pub last: LogIndex,
    /// The highest timestamp at which this replica may serve any key.
    pub safe_time: Timestamp,
    /// The prepared transaction that holds it back, if one does.
    pub held_by: Option<TxnId>,
    /// For how long that transaction has held it back.
    pub held_for: Duration,
    /// How far it is behind the present; `None` while the clock vouches for nothing.
    pub safe_lag: Option<Duration>,
    /// Transactions that are prepared.
    pub prepared: u64,
    /// Transactions that hold or wait for something at this leader.
    pub transactions: u64,
    /// Outcome records kept.
    pub outcomes: u64,
}

/// One core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreStatus {
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// Half the width of the clock's interval; `None` while it vouches for nothing.
    pub epsilon: Option<Duration>,
    /// Why the clock is unsure.
    pub unsure: Option<String>,
    /// Nodes whose clocks contradict this one's.
    pub clock_disagrees_with: Vec<NodeId>,
    /// Calls under way.
    pub calls: u64,
    /// Read-write transactions that the gateway drives, those that just ended included.
    pub transactions: u64,
}

/// Where a shard is, as a core knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlace {
    /// The shard.
    pub shard: ShardId,
    /// Its keys.
    pub span: KeySpan,
    /// The nodes with a replica.
    pub nodes: Vec<NodeId>,
    /// The node thought to lead it.
    pub leader: Option<NodeId>,
}

/// Where all keys are, as a core knows it. May be behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// All shards, by start key.
    pub shards: Vec<ShardPlace>,
    /// The names of the tables.
    pub tables: BTreeMap<TableId, String>,
}

impl Core {
    /// A look at everything.
    #[must_use]
    pub fn status(&mut self, now: &Now) -> CoreStatus {
        let now = self.clocks.read(now);
        let replicas = self.replicas.values().map(|replica| {
            let (state, raft) = (replica.state(), replica.raft());
            let header = state.header();
            let held = state.prepared().iter().min_by_key(|(_, record)| record.prepare_ts);
            let promised = replica.promise();
            let safe_time = held.map_or(promised, |(_, r)| promised.min(r.prepare_ts.prev()));
            let held = held.filter(|(_, record)| record.prepare_ts <= promised);
            let present = now.sure().map(|interval| interval.earliest);
            ReplicaStatus {
                shard: replica.descriptor().id,
                span: replica.descriptor().span.clone(),
                nodes: replica.descriptor().replicas.iter().map(|(_, node)| *node).collect(),
                leads: raft.role() == Role::Leader,
                leader: replica.leader_node(),
                term: raft.term(),
                epoch: header.lease.map_or(Epoch(0), |lease| lease.epoch),
                lease_expires: header.lease.map_or(Timestamp::ZERO, |lease| lease.expires),
                serves: replica.leader().is_some_and(|leader| leader.serves(&now, state)),
                applied: state.applied().index,
                committed: raft.commit_index(),
                first: raft.first_index(),
                last: raft.last().index,
                safe_time,
                held_by: held.map(|(id, _)| *id),
                held_for: held
                    .zip(present)
                    .map_or(Duration::ZERO, |((_, r), present)| present.since(r.prepare_ts)),
                safe_lag: present.map(|present| present.since(safe_time)),
                prepared: state.prepared().len() as u64,
                transactions: replica.leader().map_or(0, |leader| leader.transactions() as u64),
                outcomes: state.outcomes_len() as u64,
            }
        });
        CoreStatus {
            replicas: replicas.collect(),
            epsilon: now.sure().map(|interval| interval.epsilon()),
            unsure: now.interval.as_ref().err().map(ToString::to_string),
            clock_disagrees_with: self.clocks.disagreeing(),
            calls: self.router.outstanding() as u64,
            transactions: self.gateway.transactions() as u64,
        }
    }

    /// Where keys are, as this core knows it.
    #[must_use]
    pub fn places(&self) -> Places {
        let shards = self.gateway.map().iter().map(|shard| ShardPlace {
            shard: shard.id,
            span: shard.span.clone(),
            nodes: shard.replicas.iter().map(|(_, node)| *node).collect(),
            // A replica here knows better than what the last request was told.
            leader: self
                .replicas
                .get(&shard.id)
                .and_then(|replica| replica.leader_node())
                .or_else(|| self.router.leader(shard.id)),
        });
        Places { shards: shards.collect(), tables: self.gateway.table_names() }
    }
}
