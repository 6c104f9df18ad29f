//! What a caller can learn about each attempt, for statistics and recorded histories.

use crate::error::ClientError;
use proto::{NodeId, Priority, TxnId};
use std::fmt;
use std::time::Duration;
use truetime::Timestamp;

/// A commit that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// `None` when nothing was written: such a transaction has no timestamp.
    pub timestamp: Option<Timestamp>,
    /// For how long the answer was held back until the timestamp had surely passed. `None` when the answer
    /// was lost and the outcome looked up.
    pub commit_wait: Option<Duration>,
    /// How many shards took part. `None` when not known.
    pub participants: Option<u32>,
}

impl Commit {
    pub(crate) const NOTHING: Commit =
        Commit { timestamp: None, commit_wait: None, participants: None };

    pub(crate) fn looked_up(nanos: u64) -> Self {
        Commit { timestamp: Some(Timestamp::from_nanos(nanos)), ..Commit::NOTHING }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It committed.
    Committed(Commit),
    /// It is aborted, and is retried if attempts are left.
    Aborted(ClientError),
    /// It is aborted, and a retry would not help; or the closure failed.
    Failed(Option<ClientError>),
    /// It may have committed.
    OutcomeUnknown(ClientError),
}

/// One attempt of a read-write transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1 for each call of `run` or `apply`.
    pub number: u32,
    /// `None` when it ended before any node had answered.
    pub id: Option<TxnId>,
    /// The priority that it had.
    pub priority: Option<Priority>,
    /// The node that drove it.
    pub gateway: Option<NodeId>,
    /// How it ended.
    pub end: AttemptEnd,
}

/// Told of each attempt when it has ended, before its retry begins.
pub trait Observe: Send + Sync {
    /// It has ended.
    fn attempt_ended(&self, attempt: Attempt);
}

impl<F: Fn(Attempt) + Send + Sync> Observe for F {
    fn attempt_ended(&self, attempt: Attempt) {
        self(attempt);
    }
}

impl fmt::Debug for dyn Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observe")
    }
}
