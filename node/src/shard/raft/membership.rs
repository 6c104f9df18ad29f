//! Who is in a group, how that may look, and what an entry of kind `Membership` says.

use crate::storage::record::Membership;
use ::raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use proto::ReplicaId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;

/// The payload of an entry of kind `Membership` that begins a change, in postcard's encoding. The
/// empty payload ends one: raft's leader appends that by itself once the change is applied.
///
/// Always by joint consensus, also for one step (T54: the single-server change has a hole).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipChange {
    /// Taken in this order, as one change.
    pub steps: Vec<MemberStep>,
}

/// One step of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberStep {
    /// The replica votes from now on.
    Voter(ReplicaId),
    /// The replica only follows from now on.
    Learner(ReplicaId),
    /// The replica is out, and its id is never used again (T49).
    Remove(ReplicaId),
}

/// Why members, or a change of them, are not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// Replica ids start at 1.
    #[error("replica id zero names nobody")]
    ZeroReplica,
    /// A replica has two roles, or the same one twice.
    #[error("replica {replica} is listed twice")]
    Twice {
        /// The replica.
        replica: ReplicaId,
    },
    /// A group needs a voter to decide anything.
    #[error("there are members but no voters")]
    NoVoters,
    /// Only one who still votes in the outgoing group waits to become a learner.
    #[error("replica {replica} waits to become a learner but is no outgoing voter")]
    LearnerNextNotOutgoing {
        /// The replica.
        replica: ReplicaId,
    },
    /// Nothing to leave.
    #[error("a group that is not joint is to leave its joint state")]
    NothingToLeave,
    /// The payload of the entry is none of ours.
    #[error("the membership entry cannot be decoded: {reason}")]
    Undecodable {
        /// The decoder's words.
        reason: String,
    },
    /// It does not fit the members as they are.
    #[error("the membership change does not fit the present members: {reason}")]
    DoesNotFit {
        /// Raft's words.
        reason: String,
    },
}

/// Checks that raft can take these members. None at all is acceptable too: a replica that was just
/// added and waits for its first snapshot.
pub(super) fn check_membership(membership: &Membership) -> Result<(), MembershipError> {
    let Membership { voters, voters_outgoing, learners, learners_next, auto_leave } = membership;
    let mut incoming = BTreeSet::new();
    // A voter may be incoming and outgoing at once; nobody may be anything else twice.
    for replica in voters.iter().chain(learners).chain(learners_next) {
        insert_once(&mut incoming, *replica)?;
    }
    let mut outgoing = BTreeSet::new();
    for replica in voters_outgoing.iter().chain(learners) {
        insert_once(&mut outgoing, *replica)?;
    }
    if voters.is_empty() && !(incoming.is_empty() && outgoing.is_empty()) {
        return Err(MembershipError::NoVoters);
    }
    if let Some(replica) = learners_next.iter().find(|r| !voters_outgoing.contains(r)) {
        return Err(MembershipError::LearnerNextNotOutgoing { replica: *replica });
    }
    if *auto_leave && voters_outgoing.is_empty() {
        return Err(MembershipError::NothingToLeave);
    }
    Ok(())
}

fn insert_once(seen: &mut BTreeSet<ReplicaId>, replica: ReplicaId) -> Result<(), MembershipError> {
    if replica == ReplicaId(0) {
        return Err(MembershipError::ZeroReplica);
    }
    if !seen.insert(replica) {
        return Err(MembershipError::Twice { replica });
    }
    Ok(())
}

/// What an entry of kind `Membership` asks of raft.
pub(super) fn decode_change(data: &[u8]) -> Result<ConfChangeV2, MembershipError> {
    let mut change = ConfChangeV2::default();
    if data.is_empty() {
        return Ok(change);
    }
    let MembershipChange { steps } = postcard::from_bytes(data)
        .map_err(|error| MembershipError::Undecodable { reason: error.to_string() })?;
    if steps.is_empty() {
        return Err(MembershipError::Undecodable { reason: "no steps".to_owned() });
    }
    // Joint, and left by raft's own entry as soon as this one is applied.
    change.transition = ConfChangeTransition::Implicit;
    change.changes = steps.into_iter().map(step_to_raft).collect::<Vec<_>>().into();
    Ok(change)
}

fn step_to_raft(step: MemberStep) -> ConfChangeSingle {
    let (change_type, replica) = match step {
        MemberStep::Voter(replica) => (ConfChangeType::AddNode, replica),
        MemberStep::Learner(replica) => (ConfChangeType::AddLearnerNode, replica),
        MemberStep::Remove(replica) => (ConfChangeType::RemoveNode, replica),
    };
    ConfChangeSingle { change_type, node_id: replica.0, ..ConfChangeSingle::default() }
}
