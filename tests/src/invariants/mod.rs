//! The invariants, one file each, named as in the papers. The simulator feeds them after every pass.
//!
//! | property | paper | file |
//! |---|---|---|
//! | Election Safety | Raft 5.2 | [`election_safety`] |
//! | Log Matching | Raft 5.3 | [`log_matching`] |
//! | Leader Completeness | Raft 5.4 | [`leader_completeness`] |
//! | State Machine Safety | Raft 5.4.3 | [`state_machine_safety`] |
//! | Disjointness of leases | Spanner 4.1.1, A | [`lease_disjointness`] |
//! | Monotonicity of timestamps | Spanner 4.1.2 | [`timestamp_monotonicity`] |
//! | Safe time | Spanner 4.1.3 | [`safe_time`] |
//! | Atomic commitment, one outcome per id | Spanner 4.2.1 | [`atomic_commitment`] |
//! | Transactions in pieces are whole | - | [`whole_transactions`] |
//! | Equal replicas at rest | Raft 5.4.3 | [`replica_agreement`] |
//! | Removal of dropped shards | - | [`removal`] |
//! | Conservation of money | - | [`bank_total`] |
//!
//! External consistency itself is checked on the recorded history (`bench::checker`), lock exclusion by
//! `Core`'s own `check_invariants`. Raft's Leader Append-Only is not checked: the log's index refuses to
//! rewrite what was truncated, and Log Matching sees every append.
//!
//! They speak by panicking: the simulator turns that into a failure with its seed.

pub mod atomic_commitment;
pub mod bank_total;
pub mod election_safety;
pub mod leader_completeness;
pub mod lease_disjointness;
pub mod log_matching;
pub mod reference;
pub mod removal;
pub mod replica_agreement;
pub mod safe_time;
pub mod state_machine_safety;
pub mod timestamp_monotonicity;
pub mod whole_transactions;

use node::core::Core;
use node::storage::record::LogEntry;
use proto::{EntryId, KeySpan, NodeId, ShardId};
use truetime::Timestamp;

/// All that is checked while a cluster runs.
#[derive(Debug, Default)]
pub struct Invariants {
    /// What every log says, once.
    pub reference: reference::Reference,
    election: election_safety::ElectionSafety,
    matching: log_matching::LogMatching,
    monotonicity: timestamp_monotonicity::TimestampMonotonicity,
    safe_time: safe_time::SafeTime,
    /// Outcomes by id.
    pub atomic: atomic_commitment::AtomicCommitment,
    /// Transactions in pieces.
    pub whole: whole_transactions::WholeTransactions,
}

impl Invariants {
    /// A node logged entries.
    pub fn appended(&mut self, shard: ShardId, entries: &[LogEntry]) {
        self.matching.appended(shard, entries);
    }

    /// A node applied its shard's entries behind `before` through `through`.
    pub fn applied(
        &mut self,
        core: &Core,
        node: NodeId,
        shard: ShardId,
        before: EntryId,
        through: EntryId,
    ) {
        // Removed in the same pass: others have applied all that counts.
        let Some(replica) = core.replicas().get(&shard) else { return };
        let entries = replica.raft().entries_from(before.index.next());
        for entry in entries.iter().take_while(|entry| entry.id.index <= through.index) {
            let span = &replica.descriptor().span;
            let Some(step) = self.reference.apply(node, shard, span, entry) else { continue };
            self.monotonicity.applied(shard, &step);
            self.safe_time.applied(shard, &step);
            self.atomic.applied(shard, &step);
            self.whole.applied(shard, &step);
            removal::check_marks(&self.reference, shard, &step);
        }
    }

    /// A node reads without locks.
    pub fn reads(&mut self, core: &Core, at: Timestamp, spans: &[KeySpan]) {
        let Some(first) = spans.first() else { return };
        let replica = core.replicas().values().find(|r| r.descriptor().span.covers(first));
        let Some(replica) = replica else { return };
        let shard = replica.descriptor().id;
        self.safe_time.served(shard, replica.state().applied().index, at, spans);
    }

    /// A pass ended.
    pub fn passed(&mut self, core: &Core, node: NodeId) {
        for (shard, replica) in core.replicas() {
            if replica.raft().is_leader() {
                let new = self.election.leads(*shard, replica.raft().term(), node);
                if new {
                    leader_completeness::check(&self.reference, *shard, replica);
                }
            }
        }
    }
}
