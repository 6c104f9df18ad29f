//! What the stage of a transaction says of it: whether it is bound, from when its writes may count, who waits.

use proto::TxnId;
use truetime::Timestamp;

use super::Stage;
use crate::message::{Asker, RequestId};
use crate::state::ShardState;

/// Whom an answer from a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Client,
    Participant,
}

impl Audience {
    pub(super) fn of(asker: &Asker) -> Self {
        match asker {
            Asker::Gateway | Asker::Client => Audience::Client,
            Asker::Participant { .. } => Audience::Participant,
        }
    }
}

impl Stage {
    /// Prepared in one of the three senses of section 4.
    pub(super) fn is_bound(&self) -> bool {
        match self {
            Stage::Active
            | Stage::CommitWaiting(_)
            | Stage::PrepareWaiting(_)
            | Stage::Aborting { .. } => false,
            Stage::Committing { .. }
            | Stage::CommitWait { .. }
            | Stage::Preparing { .. }
            | Stage::Prepared { .. }
            | Stage::ReadPromised { .. } => true,
        }
    }

    /// The timestamp at which, or from which on, its writes may appear.
    pub(super) fn writes_from(&self, id: &TxnId, state: &ShardState) -> Option<Timestamp> {
        match self {
            Stage::Committing { commit_ts, .. } | Stage::CommitWait { commit_ts, .. } => {
                Some(*commit_ts)
            }
            Stage::Preparing { prepare_ts, .. } => Some(*prepare_ts),
            Stage::Prepared { .. } => state.prepared().get(id).map(|record| record.prepare_ts),
            Stage::Active
            | Stage::CommitWaiting(_)
            | Stage::PrepareWaiting(_)
            | Stage::ReadPromised { .. }
            | Stage::Aborting { .. } => None,
        }
    }

    pub(super) fn into_callers(self) -> Vec<RequestId> {
        match self {
            Stage::CommitWaiting(commit) | Stage::Committing { commit, .. } => commit.callers,
            Stage::PrepareWaiting(prepare) | Stage::Preparing { prepare, .. } => prepare.callers,
            Stage::CommitWait { callers, .. } => callers,
            Stage::Aborting { callers, .. } => callers.into_iter().map(|(to, _)| to).collect(),
            Stage::Active | Stage::Prepared { .. } | Stage::ReadPromised { .. } => Vec::new(),
        }
    }
}
