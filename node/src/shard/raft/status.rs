//! What can be seen of a group from outside.

use super::{Progress, RaftGroup, Role, convert};
use crate::storage::record::{LogEntry, Membership};
use ::raft::{ProgressState, StateRole};
use proto::{EntryId, LogIndex, ReplicaId, Term};

impl RaftGroup {
    /// This replica.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        ReplicaId(self.node.raft.id)
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        }
    }

    /// Whether this replica leads the present term. Says nothing about leases.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role() == Role::Leader
    }

    /// The leader of the present term, if known.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaId> {
        convert::replica(self.node.raft.leader_id)
    }

    /// The present term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    /// The members as of the last applied entry.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.node.store().membership()
    }

    /// The first entry that the log still has, or the next one if it has none.
    #[must_use]
    pub fn first_index(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.first_index())
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> EntryId {
        let log = &self.node.raft.raft_log;
        convert::id(log.last_term(), log.last_index())
    }

    /// Whether a snapshot was accepted that is not yet persisted.
    #[must_use]
    pub fn has_unstable_snapshot(&self) -> bool {
        self.node.raft.raft_log.unstable_snapshot().is_some()
    }

    /// The last entry known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.committed)
    }

    /// The last entry that the caller said is applied.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        self.node.store().applied()
    }

    /// The term of an entry, if the log has it or has truncated just behind it.
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        let log = &self.node.raft.raft_log;
        let known = log.first_index() - 1..=log.last_index();
        known.contains(&index.0).then(|| log.term(index.0).ok().map(Term)).flatten()
    }

    /// The retained log that was handed out so far, from an index on.
    #[must_use]
    pub fn entries_from(&self, from: LogIndex) -> Vec<LogEntry> {
        self.node.store().entries_from(from)
    }

    /// How far the others are, by replica. Empty unless this replica leads.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        if !self.is_leader() {
            return Vec::new();
        }
        let first_index = self.first_index().0;
        let others = self.node.raft.prs().iter().filter(|(id, _)| **id != self.node.raft.id);
        let mut progress: Vec<_> = others
            .map(|(id, progress)| Progress {
                replica: ReplicaId(*id),
                matched: LogIndex(progress.matched),
                needs_snapshot: progress.state == ProgressState::Snapshot
                    || progress.next_idx < first_index,
                recently_active: progress.recent_active,
            })
            .collect();
        progress.sort_unstable_by_key(|progress| progress.replica);
        progress
    }
}
