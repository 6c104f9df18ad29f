//! What the calls that ask something of Raft can come to.

use proto::ReplicaId;
use thiserror::Error;

/// Why a proposal was not taken. It has had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// Only a leader proposes.
    #[error("this replica does not lead; ask {leader:?}")]
    NotLeader {
        /// Who does, if that is known.
        leader: Option<ReplicaId>,
    },
    /// Leadership is on its way to another replica.
    #[error("leadership is being handed to {to}; retry there")]
    HandingOver {
        /// The next leader.
        to: ReplicaId,
    },
    /// Too much is proposed and not committed.
    #[error("too many bytes wait to be committed; retry later")]
    Overloaded,
}

/// Why leadership is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransferError {
    /// Only a leader has it to give.
    #[error("this replica does not lead; ask {leader:?}")]
    NotLeader {
        /// Who does, if that is known.
        leader: Option<ReplicaId>,
    },
    /// It is this replica, or one that has no vote.
    #[error("{to} cannot take over: it leads already or has no vote")]
    NotAnotherVoter {
        /// Who was to lead.
        to: ReplicaId,
    },
}

/// What became of a snapshot that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotOutcome {
    /// The other replica has all of it.
    Delivered,
    /// It has not; Raft tries again.
    Failed,
}
