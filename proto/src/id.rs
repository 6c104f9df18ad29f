//! Identities. Each is a type of its own, so that a term is never passed for an index.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::fmt;
use truetime::Timestamp;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number_id!(
    /// One server process with one data directory. Never reused: a directory that is lost takes its id
    /// with it (T49). Starts at 1.
    NodeId, u64, "n"
);
number_id!(
    /// A contiguous key range and the Raft group that replicates it. Never reused. The system shard is
    /// [`ShardId::SYSTEM`].
    ShardId, u64, "s"
);
number_id!(
    /// One node's copy of one shard, as a Raft member. Minted by the change that adds it and never reused
    /// in that shard: a replica that lost its log comes back under another id (T49).
    ReplicaId, u64, "r"
);
number_id!(
    /// A table. Never reused, so keys of a dropped table never come back. Ids below
    /// [`TableId::FIRST_USER`] are the system's.
    TableId, u32, "t"
);
number_id!(
    /// Raft's term.
    Term, u64, ""
);
number_id!(
    /// A position in a shard's log; the first entry is 1.
    LogIndex, u64, ""
);
number_id!(
    /// The number of a lease of one shard. Grants, timestamps and promises are made under an epoch.
    Epoch, u64, "e"
);

impl ShardId {
    /// The shard map, node registry, id allocation and catalog.
    pub const SYSTEM: ShardId = ShardId(1);
}

impl TableId {
    /// The first id that a user's table can have.
    pub const FIRST_USER: TableId = TableId(100);
}

impl LogIndex {
    /// The following position.
    #[must_use]
    pub const fn next(self) -> Self {
        LogIndex(self.0 + 1)
    }
}

/// Names one entry of one shard's log.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// The term in which it was proposed.
    pub term: Term,
    /// Where it stands.
    pub index: LogIndex,
}

/// One attempt of a read-write transaction. No node ever repeats one (TRANSACTIONS.md section 4).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TxnId {
    /// `begin + txn.max_age`: no prepare and no commit without a record succeeds once this has passed.
    /// First in the order, because outcome records are dropped in bulk by it.
    pub horizon: Timestamp,
    /// A gateway's `now().earliest` when the attempt began.
    pub begin: Timestamp,
    /// Who made it: `(node id << 32) | starts of that node so far`, or, with the top bit set, 63 random
    /// bits of a client.
    pub origin: u64,
    /// Distinct for each id of one origin.
    pub sequence: u64,
}

impl fmt::Display for TxnId {
    /// Short form for logs: begin in milliseconds, origin and sequence in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}.{:x}.{:x}", self.begin.nanos() / 1_000_000, self.origin, self.sequence)
    }
}

/// The age by which wound-wait decides. Lower is older and wins. A retry keeps `(begin, id)` of the
/// first attempt, so that it ages (T28); a later attempt counts as older than an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Priority {
    /// The first attempt's begin timestamp.
    pub begin: Timestamp,
    /// The first attempt's id.
    pub first: TxnId,
    /// 1 for the first attempt.
    pub attempt: u32,
}

impl Priority {
    /// The priority of a first attempt.
    #[must_use]
    pub fn first(id: TxnId) -> Self {
        Priority { begin: id.begin, first: id, attempt: 1 }
    }

    /// The priority of the attempt after this one.
    #[must_use]
    pub fn retry(self) -> Self {
        Priority { attempt: self.attempt.saturating_add(1), ..self }
    }

    /// Whether this one wounds `other` rather than waiting for it.
    #[must_use]
    pub fn is_older_than(&self, other: &Priority) -> bool {
        self < other
    }
}

impl Ord for Priority {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.begin, self.first, Reverse(self.attempt)).cmp(&(
            other.begin,
            other.first,
            Reverse(other.attempt),
        ))
    }
}

impl PartialOrd for Priority {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Proof that a leader held a transaction's locks without a break: the epoch, and the number of the
/// first grant, which is never used again in that epoch (TRANSACTIONS.md section 4, T24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantPair {
    /// The lease under which the first lock was granted.
    pub epoch: Epoch,
    /// The number of that grant.
    pub number: u64,
}

impl fmt::Display for GrantPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.epoch, self.number)
    }
}
