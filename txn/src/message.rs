//! What gateways and shards ask of a shard, and what it answers.
//!
//! Every request may be lost, repeated or overtaken by another; each is safe to send again. Requests name
//! keys, never leaders: whoever sends one finds the shard by a key and its leader by asking.
//!
//! Example, a transfer over two shards `a` and `b` (coordinator `a`, the shard of the smallest key written):
//! ```text
//! gateway -> a   Read exclusive k1            a -> gateway   Rows, grant e4#7
//! gateway -> b   Read exclusive k9            b -> gateway   Rows, grant e2#3
//! gateway -> b   Prepare e2#3, writes k9      b -> gateway   Prepared p, expires
//! gateway -> a   Commit e4#7, writes k1, [b]  a -> gateway   Committed s      (after commit wait)
//!                                             a -> b         Resolve commit s
//!                                             b -> a         Resolved
//! ```
//! Not here: routing, retries, encodings of rows, anything about SQL.

use proto::{EntryId, GrantPair, Key, KeySpan, NodeId, Priority, TxnId, Value};
use serde::{Deserialize, Serialize};
use std::fmt;
use truetime::Timestamp;

use crate::lock_table::LockMode;

/// Names one request on its way, over all nodes and all starts of a node (T9). Whoever answers it gives it
/// back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RequestId {
    /// Who asks, and is answered.
    pub node: NodeId,
    /// How often that node had started.
    pub start: u32,
    /// Which of its cores asks.
    pub core: u16,
    /// Grows by one with each request of that core since its start.
    pub sequence: u64,
}

/// One row to write; without a value it is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The row's key.
    pub key: Key,
    /// The whole row, or `None` to delete it.
    pub value: Option<Value>,
}

/// Who asks: an attempt of a read-write transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The attempt's id.
    pub id: TxnId,
    /// Its age for wound-wait.
    pub priority: Priority,
    /// The pair of the first grant at this shard, once the gateway has one. A leader that does not hold
    /// exactly that answers aborted (T24).
    pub grant: Option<GrantPair>,
}

/// How much a read may return; it always returns at least one row when there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLimit {
    /// Rows at the most.
    pub rows: u64,
    /// Bytes of keys and values at the most.
    pub bytes: u64,
}

/// A participant as the coordinator's record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Participant {
    /// A key in that shard, by which it is found.
    pub key: Key,
    /// Its prepare timestamp; `s` is at least that. Outcomes name it.
    pub prepare_ts: Timestamp,
    /// `s` must be below this, when given (T25).
    pub expires: Option<Timestamp>,
    /// Whether it prepared writes. One that did not logs nothing and needs no acknowledged outcome.
    pub writes: bool,
}

/// A request to a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Locks the spans and reads the newest committed versions. Answered by [`Reply::Rows`] with the
    /// grant pair. Repeating it is harmless.
    LockedRead {
        /// Who.
        attempt: Attempt,
        /// Shared, or exclusive for a read that precedes a write.
        mode: LockMode,
        /// What, all within the shard.
        spans: Vec<KeySpan>,
        /// How much.
        limit: ReadLimit,
    },
    /// Takes exclusive locks without reading. Answered by [`Reply::Locked`].
    Lock {
        /// Who.
        attempt: Attempt,
        /// The keys, all within the shard.
        keys: Vec<Key>,
    },
    /// Reads at a timestamp without locks. A leader serves it under section 5; a follower when its safe
    /// time allows, else after it asked the leader. Answered by [`Reply::Rows`] without a grant.
    SnapshotRead {
        /// The timestamp of the snapshot.
        at: Timestamp,
        /// What, all within the shard.
        spans: Vec<KeySpan>,
        /// How much.
        limit: ReadLimit,
    },
    /// A follower asks its leader whether it may read these keys at `at`. Answered by [`Reply::GoAhead`]
    /// once the leader has done all that it does for its own read; good for that read alone.
    GoAhead {
        /// The timestamp of the snapshot.
        at: Timestamp,
        /// The keys that will be read.
        spans: Vec<KeySpan>,
    },
    /// First round of two-phase commit, to every participant but the coordinator. Without writes it is a
    /// read-only participant's. Answered by [`Reply::Prepared`]. The writes, participants and coordinator
    /// of an id never change once one was sent.
    Prepare {
        /// Who.
        attempt: Attempt,
        /// A key of this shard, the one by which the gateway names it as a participant.
        key: Key,
        /// The smallest key the transaction writes: its shard is the coordinator.
        coordinator: Key,
        /// One key in every participant but the coordinator, this one included.
        participants: Vec<Key>,
        /// This shard's writes; the keys differ.
        writes: Vec<Write>,
        /// Of the writes of the whole transaction, as in the commit: an id that comes with another one
        /// than before is refused.
        digest: u64,
    },
    /// To the coordinator, or the only participant: commit. Answered by [`Reply::Outcome`], `Committed`
    /// only after commit wait. Idempotent by id.
    Commit {
        /// Who.
        attempt: Attempt,
        /// The smallest key the transaction writes; for one that wrote nothing a key in this shard.
        coordinator: Key,
        /// This shard's writes; the keys differ. Empty only for a transaction that wrote nothing.
        writes: Vec<Write>,
        /// The other participants with what they answered.
        participants: Vec<Participant>,
        /// Distinguishes the writes of the whole transaction: an id that comes with another digest than
        /// its record's is refused.
        digest: u64,
        /// Whether a client made the id and may send it through several gateways (section 4).
        single_use: bool,
        /// The end of the catalog lease under which the gateway formed it: `s` must be below (section 7).
        below: Option<Timestamp>,
    },
    /// To the coordinator: the gateway gives up after a prepare was sent. Logs an abort unless a record
    /// is there. Answered by [`Reply::Outcome`] from the record.
    Abort {
        /// The attempt.
        id: TxnId,
        /// The coordinator's key.
        coordinator: Key,
        /// The participants to tell.
        participants: Vec<Key>,
    },
    /// Drops the locks and waiting requests of a transaction that is not prepared here; nothing is
    /// logged. Answered by [`Reply::Released`].
    Release {
        /// The attempt.
        id: TxnId,
        /// A key in the shard.
        key: Key,
    },
    /// The gateway is there. Answered by [`Reply::Alive`], or aborted when the locks are gone.
    KeepAlive {
        /// Who, with its grant.
        attempt: Attempt,
        /// A key in the shard.
        key: Key,
    },
    /// To the coordinator: what became of it? Answered by [`Reply::Outcome`].
    Lookup {
        /// The attempt.
        id: TxnId,
        /// The coordinator's key.
        coordinator: Key,
        /// Who wants to know, which decides what is done when there is no record.
        asker: Asker,
    },
    /// A participant's leader asks the coordinator to abort a prepared transaction for which an older one
    /// waits (T26). Ignored once `s` is chosen. Answered by [`Reply::Outcome`].
    Wound {
        /// The prepared, younger one.
        victim: TxnId,
        /// The coordinator's key.
        coordinator: Key,
        /// The participants of the victim, so that all are told.
        participants: Vec<Key>,
        /// The older one that waits.
        by: TxnId,
    },
    /// The coordinator tells a participant the outcome. Answered by [`Reply::Resolved`] when the prepare
    /// is gone from the applied state.
    Resolve {
        /// The attempt.
        id: TxnId,
        /// A key in the participant.
        key: Key,
        /// What was decided.
        decision: Decision,
    },
    /// A gateway asks the system shard for a lease on the newest catalog version. Answered by
    /// [`Reply::CatalogLease`].
    CatalogLease {
        /// A key in the shard.
        key: Key,
    },
    /// The shard's table was dropped and is in use nowhere: remove the shard. Answered by
    /// [`Refusal::Removed`], as everything is from then on, once that is applied.
    Remove {
        /// A key in the shard.
        key: Key,
    },
}

/// Who looks an outcome up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asker {
    /// The gateway that drives it, which may send the commit again. Without a record:
    /// [`Outcome::InProgress`] before the horizon, [`Outcome::NoLongerKnown`] after it.
    Gateway,
    /// A client, whose gateway may be gone. Without a record and without a commit in hand an abort is
    /// logged first, so that the client learns an end and no late copy of the commit contradicts it (T33);
    /// past the horizon the answer is [`Outcome::NoLongerKnown`].
    Client,
    /// A participant in doubt. Without a record and without a commit in hand an abort is logged first
    /// (T33), at any age.
    Participant {
        /// All participants, so that all are told.
        participants: Vec<Key>,
        /// Of the writes that it prepared some of: of a commit with another one it is no part.
        digest: u64,
    },
}

/// An outcome as a participant is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Install the writes prepared at `prepare_ts` at `commit_ts`. A prepare with another `prepare_ts` is
    /// a late duplicate and is dropped.
    Commit {
        /// The transaction's timestamp.
        commit_ts: Timestamp,
        /// The participant's own prepare timestamp.
        prepare_ts: Timestamp,
    },
    /// Drop them.
    Abort,
}

/// What is known of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Committed, and its timestamp is past on the answering replica's clock.
    Committed {
        /// The commit timestamp.
        commit_ts: Timestamp,
        /// The participant's own prepare timestamp as the record names it: for [`Asker::Participant`].
        participants: Vec<Participant>,
        /// How long commit wait delayed the answer, in nanoseconds.
        commit_wait: u64,
    },
    /// Aborted for good: by a logged abort, or by a leader that never proposed it and under which it can
    /// no longer commit.
    Aborted {
        /// Why.
        reason: AbortReason,
    },
    /// Not decided yet, or decided and still in commit wait.
    InProgress,
    /// Its record may have been dropped, and nothing more will ever be known.
    NoLongerKnown,
}

/// Why a transaction was aborted. All but [`AbortReason::Refused`] may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AbortReason {
    /// An older transaction needed its locks.
    Wounded {
        /// The older one.
        by: TxnId,
    },
    /// The shard's leader no longer holds its locks: a new leader or epoch.
    LocksLost,
    /// Its gateway was silent for `txn.idle_timeout`.
    Idle,
    /// The commit timestamp would have reached the end of a participant's lease (T25).
    LeaseBound,
    /// It grew older than `txn.max_age`.
    TooOld,
    /// Its gateway or client gave it up.
    GivenUp,
    /// A participant in doubt found no decision.
    InDoubt,
    /// The schema it was planned with may no longer be used.
    SchemaChanged,
    /// The request contradicts an earlier one of the same id.
    Refused,
}

/// A shard's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To a read.
    Rows {
        /// For a locked read.
        grant: Option<GrantPair>,
        /// In key order within a span, spans in the order asked.
        rows: Vec<Row>,
        /// What was not read because of the limit.
        rest: Vec<KeySpan>,
    },
    /// To [`Request::Lock`].
    Locked {
        /// The grant pair.
        grant: GrantPair,
    },
    /// To [`Request::GoAhead`]: the follower may read once it has applied this.
    GoAhead {
        /// The leader's applied entry.
        applied: EntryId,
    },
    /// To [`Request::Prepare`].
    Prepared {
        /// The prepare timestamp.
        prepare_ts: Timestamp,
        /// The commit timestamp must be below this, when given.
        expires: Option<Timestamp>,
    },
    /// To commit, abort, lookup, wound.
    Outcome(Outcome),
    /// To [`Request::Resolve`].
    Resolved,
    /// To [`Request::Release`].
    Released,
    /// To [`Request::KeepAlive`].
    Alive,
    /// To [`Request::CatalogLease`]: until `expires` the gateway may use the version `made`, and no other.
    CatalogLease {
        /// The lease's end.
        expires: Timestamp,
        /// The newest version, by its commit timestamp; zero when the catalog never changed.
        made: Timestamp,
        /// Every lease on an older version ends below this.
        made_bound: Timestamp,
        /// Every lease that was granted before this one was asked for ends below this.
        found_bound: Timestamp,
    },
    /// To any request of an attempt that does not commit (a commit's own abort is an [`Outcome`]).
    Aborted {
        /// Why.
        reason: AbortReason,
    },
    /// Not done, and nothing was changed by it.
    Refused(Refusal),
}

/// One row read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// The commit timestamp of the version.
    pub timestamp: Timestamp,
    /// The row.
    pub value: Value,
}

/// Why a shard did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Ask the leader. Also answered while a leader waits for its lease.
    #[error("this replica does not lead the shard")]
    NotLeader {
        /// The node that does, as far as this one knows.
        hint: Option<NodeId>,
    },
    /// The keys are not, or not all, in this shard: the map in use is stale.
    #[error("the keys are not in this shard")]
    WrongShard,
    /// The versions below the threshold were collected.
    #[error("the timestamp is below the version collection threshold {threshold}")]
    BelowThreshold {
        /// The lowest timestamp that can be read.
        threshold: Timestamp,
    },
    /// The leader's clock vouches for nothing.
    #[error("the leader's clock is unsure: {reason}")]
    ClockUnsure {
        /// The clock's words.
        reason: String,
    },
    /// A queue or table is full; try again later.
    #[error("the shard is overloaded: {what}")]
    Overloaded {
        /// Which limit.
        what: String,
    },
    /// The disk of the shard's leader is nearly full: only reads, outcomes and clean-up are taken (T52).
    #[error(
        "the disk of node {node}, which leads the shard, is nearly full: free or add space there; it \
         then takes writes again by itself"
    )]
    DiskFull {
        /// Whose disk.
        node: NodeId,
    },
    /// The request is malformed or contradicts an earlier one; sending it again is of no use.
    #[error("refused: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The shard was removed with its table, and decides nothing: a participant in doubt takes abort, a
    /// coordinator counts it as applied, and for a client an outcome is no longer known (section 4).
    #[error("the shard was removed")]
    Removed,
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AbortReason::Wounded { by } => write!(f, "wounded by the older transaction {by}"),
            AbortReason::LocksLost => {
                f.write_str("its locks were lost when a shard changed leaders")
            }
            AbortReason::Idle => f.write_str("its gateway was silent for too long"),
            AbortReason::LeaseBound => f.write_str("it outlived a participant's lease"),
            AbortReason::TooOld => f.write_str("it grew older than txn.max_age"),
            AbortReason::GivenUp => f.write_str("it was given up"),
            AbortReason::InDoubt => f.write_str("a participant in doubt found no decision"),
            AbortReason::SchemaChanged => f.write_str("the schema it used has changed"),
            AbortReason::Refused => f.write_str("its requests contradict each other"),
        }
    }
}

impl Request {
    /// A key by which the shard of this request is found; `None` for an empty list of spans or keys, which
    /// nobody should send.
    #[must_use]
    pub fn routing_key(&self) -> Option<&Key> {
        match self {
            Request::LockedRead { spans, .. }
            | Request::SnapshotRead { spans, .. }
            | Request::GoAhead { spans, .. } => spans.first().map(|span| &span.start),
            Request::Lock { keys, .. } => keys.first(),
            Request::Prepare { key, .. }
            | Request::Resolve { key, .. }
            | Request::Release { key, .. }
            | Request::KeepAlive { key, .. }
            | Request::CatalogLease { key }
            | Request::Remove { key } => Some(key),
            Request::Commit { coordinator, .. }
            | Request::Abort { coordinator, .. }
            | Request::Lookup { coordinator, .. }
            | Request::Wound { coordinator, .. } => Some(coordinator),
        }
    }
}
