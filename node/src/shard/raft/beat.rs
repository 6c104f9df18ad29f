//! Heartbeats, made by the caller's rhythm rather than the crate's ticks, so that those of all shards can
//! travel together.
//!
//! A *beat* is the heartbeat to a follower that has everything: its answer could only say that it lives
//! too. A follower that takes the beat ([`RaftGroup::hear_beat`]) does for it what the crate does for a
//! heartbeat, which is to begin its election timeout anew; its leader counts the answer
//! ([`RaftGroup::beat_heard`]) for the quorum that it must hear of. Whatever else a heartbeat might bring
//! about (a term to catch up with, a leader to get to know, an entry to commit) it brings about as one:
//! the follower that does not take a beat takes its [`Heartbeat::message`] instead.
//!
//! Not here: who packs them into one message for each node, which is the core.

use super::{Message, MessageKind, RaftGroup, Role};
use bytes::Bytes;
use proto::{LogIndex, ReplicaId, Term};

/// A leader's word to one of the others that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// To whom.
    pub to: ReplicaId,
    /// The leader's term.
    pub term: Term,
    /// What is committed of the entries that the other is known to have.
    pub commit: LogIndex,
    /// Whether a beat will do: the other has all entries, and nothing on its way is waited for.
    pub is_beat: bool,
}

impl Heartbeat {
    /// As Raft's own message.
    #[must_use]
    pub fn message(&self, from: ReplicaId) -> Message {
        Message {
            kind: MessageKind::Heartbeat,
            from,
            to: self.to,
            term: self.term,
            log_term: Term(0),
            index: LogIndex(0),
            entries: Vec::new(),
            commit: self.commit,
            commit_term: Term(0),
            snapshot: None,
            reject: false,
            reject_hint: LogIndex(0),
            context: Bytes::new(),
        }
    }
}

impl RaftGroup {
    /// A heartbeat to each of the others, in the order of their ids. None unless this replica leads, and
    /// nothing of before its term holds its messages back.
    #[must_use]
    pub fn heartbeats(&self) -> Vec<Heartbeat> {
        let (term, last) = (self.term(), self.last().index);
        let known = (self.standing.role, self.standing.term) == (Role::Leader, term);
        if !self.is_leader() || !known || self.must_wait_to_lead() {
            return Vec::new();
        }
        let committed = self.commit_index();
        let others = self.node.raft.prs().iter().filter(|(id, _)| **id != self.node.raft.id);
        let mut heartbeats: Vec<_> = others
            .map(|(id, progress)| {
                let matched = LogIndex(progress.matched);
                Heartbeat {
                    to: ReplicaId(*id),
                    term,
                    commit: matched.min(committed),
                    is_beat: matched == last && committed == last && !progress.is_paused(),
                }
            })
            .collect();
        heartbeats.sort_unstable_by_key(|heartbeat| heartbeat.to);
        heartbeats
    }

    /// Takes a beat, if it says nothing new; says whether it did.
    pub fn hear_beat(&mut self, from: ReplicaId, term: Term, commit: LogIndex) -> bool {
        let says_nothing_new = self.role() == Role::Follower
            && self.term() == term
            && self.leader() == Some(from)
            && self.commit_index() >= commit;
        if says_nothing_new {
            self.node.raft.election_elapsed = 0;
        }
        says_nothing_new
    }

    /// That replica took a beat of this term.
    pub fn beat_heard(&mut self, by: ReplicaId, term: Term) {
        if self.is_leader()
            && self.term() == term
            && let Some(progress) = self.node.raft.mut_prs().get_mut(by.0)
        {
            progress.recent_active = true;
        }
    }
}
