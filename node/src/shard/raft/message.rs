//! What replicas of one shard say to each other, and which of it can be believed.
//!
//! The crate panics on messages that no correct replica sends, so everything is checked before it
//! gets there: [`Message::check_shape`] looks at the message alone, `RaftGroup::step` at what it
//! claims about this replica's log.

use super::membership::{MembershipError, check_membership};
use crate::storage::record::{LogEntry, Membership};
use bytes::Bytes;
use proto::{EntryId, LogIndex, ReplicaId, Term};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Terms and indexes above this are refused, so that no sum of them overflows. Nobody gets there
/// honestly: a billion entries a second would take 146 years.
pub const NUMBER_MAX: u64 = u64::MAX / 4;

/// One message from a replica to another of the same shard.
///
/// Messages of one link (from, to) are to be delivered in the order in which they left, or not at
/// all: raft's view of a follower's progress is confused by a reply that overtakes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it is; decides which of the fields below mean something.
    pub kind: MessageKind,
    /// The sender.
    pub from: ReplicaId,
    /// The receiver.
    pub to: ReplicaId,
    /// The sender's term, or the one it campaigns for. Never zero.
    pub term: Term,
    /// The term of the entry at `index`; in a rejection, of the one at `reject_hint`.
    pub log_term: Term,
    /// `Append`: the entry before `entries`. `AppendResponse`: the last entry that matches, or the
    /// one that was refused. Vote requests: the candidate's last entry.
    pub index: LogIndex,
    /// `Append` only: contiguous, beginning right behind `index`.
    pub entries: Vec<LogEntry>,
    /// The sender's commit index; in a heartbeat, no more than what the receiver is known to have.
    pub commit: LogIndex,
    /// The term of the entry at `commit`, in vote requests and refusals.
    pub commit_term: Term,
    /// `Snapshot` only. The data travels beside the message; whoever receives both steps the message
    /// when the data is complete.
    pub snapshot: Option<SnapshotMeta>,
    /// Responses: whether the request was refused.
    pub reject: bool,
    /// A refused append: where the sender's log may match.
    pub reject_hint: LogIndex,
    /// Vote requests: marks one that a leader asked for, which is granted despite a living leader
    /// (T6). Empty everywhere else.
    pub context: Bytes,
}

/// The kinds that travel. What raft tells itself (campaign, beat, propose), and what a follower may
/// ask of a leader but never does here (propose, transfer, read index), has no place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageKind {
    /// Entries from the leader.
    Append,
    /// What became of them, sent when they are durable.
    AppendResponse,
    /// A candidate asks for a vote.
    RequestVote,
    /// A vote, sent when it is durable, or a refusal.
    RequestVoteResponse,
    /// Asks who would vote, before disturbing anybody with a higher term.
    RequestPreVote,
    /// What the vote would be.
    RequestPreVoteResponse,
    /// The leader lives.
    Heartbeat,
    /// So does the follower.
    HeartbeatResponse,
    /// The follower needs entries that the leader has truncated; the shard's state follows.
    Snapshot,
    /// The leader hands over: campaign at once.
    TimeoutNow,
}

impl MessageKind {
    /// Whether it answers something. Answers count only when they come from a member.
    #[must_use]
    pub fn is_response(self) -> bool {
        match self {
            MessageKind::AppendResponse
            | MessageKind::RequestVoteResponse
            | MessageKind::RequestPreVoteResponse
            | MessageKind::HeartbeatResponse => true,
            MessageKind::Append
            | MessageKind::RequestVote
            | MessageKind::RequestPreVote
            | MessageKind::Heartbeat
            | MessageKind::Snapshot
            | MessageKind::TimeoutNow => false,
        }
    }
}

/// A state of the shard, named by the last entry that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry whose effect is in it.
    pub last: EntryId,
    /// The members as of that entry (T54).
    pub membership: Membership,
}

/// Why a message of another replica was dropped. But for the last answers of a replica that was just
/// removed, correct replicas with intact logs send none of these: warn, and name the sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// It is for another replica.
    #[error("message for replica {to} reached {replica}; check the routing of shard messages")]
    NotForUs {
        /// Whom it was for.
        to: ReplicaId,
        /// Who got it.
        replica: ReplicaId,
    },
    /// It claims to come from this replica, or from nobody.
    #[error("message claims to come from {from}, which is nobody or this replica itself")]
    ImpossibleSender {
        /// The claim.
        from: ReplicaId,
    },
    /// An answer from a replica that is not a member (T49).
    #[error("{kind:?} from {from}, which is no member; it was removed or lost its identity")]
    UnknownSender {
        /// Who answered.
        from: ReplicaId,
        /// What it answered.
        kind: MessageKind,
    },
    /// Term zero is before the first election.
    #[error("{kind:?} with term zero; the sender's messages are malformed")]
    ZeroTerm {
        /// Its kind.
        kind: MessageKind,
    },
    /// A term or an index above [`NUMBER_MAX`].
    #[error("term or index {number} is beyond {NUMBER_MAX}; the sender's messages are malformed")]
    NumberTooLarge {
        /// The number.
        number: u64,
    },
    /// It carries something that its kind never carries, or lacks what it needs.
    #[error("{kind:?} and its {part} do not go together; the sender's messages are malformed")]
    WrongParts {
        /// Its kind.
        kind: MessageKind,
        /// What is there, or is missing.
        part: &'static str,
    },
    /// An entry is named with a term that it cannot have.
    #[error("entry {index} cannot have term {entry_term} in a message of term {term}")]
    ImpossibleTerm {
        /// Which entry.
        index: LogIndex,
        /// The term it is said to have.
        entry_term: Term,
        /// The message's term.
        term: Term,
    },
    /// Entries do not follow each other.
    #[error("entry {found} where {expected} belongs; the sender's messages are malformed")]
    EntriesNotContiguous {
        /// The index that belongs there.
        expected: LogIndex,
        /// The one that is there.
        found: LogIndex,
    },
    /// A snapshot with members that no group can have.
    #[error("the snapshot's members are impossible: {0}")]
    Membership(#[from] MembershipError),
    /// The leader knows that this replica had an entry that it does not have.
    #[error(
        "the leader has counted on entry {commit}, but this log ends at {last}: acknowledged entries \
         were lost here; remove this replica and add it under a new id"
    )]
    CommitBeyondLog {
        /// What the leader knows to be committed here.
        commit: LogIndex,
        /// Where the log ends.
        last: LogIndex,
    },
    /// A follower answers for an entry that this leader does not have.
    #[error("{from} answers for entry {index}, but this leader's log ends at {last}")]
    AnswerBeyondLog {
        /// Who answered.
        from: ReplicaId,
        /// For which entry.
        index: LogIndex,
        /// Where the leader's log ends.
        last: LogIndex,
    },
    /// A leader hands over to a replica that has not made its log durable yet, or has no vote.
    #[error("{from} hands over leadership, but this replica cannot lead yet")]
    CannotLeadYet {
        /// The leader.
        from: ReplicaId,
    },
    /// Raft itself would not take it.
    #[error("raft refused the message: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
}

impl Message {
    /// Checks what can be seen without knowing the receiver.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(super) fn check_shape(&self) -> Result<(), MessageError> {
        if self.from == ReplicaId(0) {
            return Err(MessageError::ImpossibleSender { from: self.from });
        }
        // The crate takes term zero for a message from itself and skips every check.
        if self.term == Term(0) {
            return Err(MessageError::ZeroTerm { kind: self.kind });
        }
        self.check_numbers()?;
        self.check_parts()?;
        match self.kind {
            MessageKind::Append => {
                self.check_previous()?;
                self.check_entries()
            }
            MessageKind::RequestVote | MessageKind::RequestPreVote => self.check_previous(),
            MessageKind::Snapshot => self.check_snapshot(),
            MessageKind::AppendResponse
            | MessageKind::RequestVoteResponse
            | MessageKind::RequestPreVoteResponse
            | MessageKind::Heartbeat
            | MessageKind::HeartbeatResponse
            | MessageKind::TimeoutNow => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<(), MessageError> {
        let numbers = [
            self.from.0,
            self.term.0,
            self.log_term.0,
            self.index.0,
            self.commit.0,
            self.commit_term.0,
            self.reject_hint.0,
        ];
        match numbers.into_iter().find(|number| *number > NUMBER_MAX) {
            Some(number) => Err(MessageError::NumberTooLarge { number }),
            None => Ok(()),
        }
    }

    fn check_parts(&self) -> Result<(), MessageError> {
        let wrong = |part| Err(MessageError::WrongParts { kind: self.kind, part });
        if !self.entries.is_empty() && self.kind != MessageKind::Append {
            return wrong("entries");
        }
        if self.snapshot.is_some() != (self.kind == MessageKind::Snapshot) {
            return wrong("snapshot");
        }
        if self.reject && !self.kind.is_response() {
            return wrong("rejection");
        }
        let is_transfer_vote = self.kind == MessageKind::RequestVote
            && self.context.as_ref() == ::raft::CAMPAIGN_TRANSFER;
        if !self.context.is_empty() && !is_transfer_vote {
            return wrong("context");
        }
        Ok(())
    }

    /// The entry that the sender's claim builds on: no entry has term zero, and none is of a later
    /// term than the message. For the crate "index 7, term 0" would match any log that ends below 7.
    fn check_previous(&self) -> Result<(), MessageError> {
        let both_or_none = (self.index == LogIndex(0)) == (self.log_term == Term(0));
        if !both_or_none || self.log_term > self.term {
            return Err(self.impossible_term(self.index, self.log_term));
        }
        Ok(())
    }

    fn check_entries(&self) -> Result<(), MessageError> {
        let mut previous = EntryId { term: self.log_term, index: self.index };
        for LogEntry { id, .. } in &self.entries {
            if id.index != previous.index.next() {
                return Err(MessageError::EntriesNotContiguous {
                    expected: previous.index.next(),
                    found: id.index,
                });
            }
            if id.term == Term(0) || id.term < previous.term || id.term > self.term {
                return Err(self.impossible_term(id.index, id.term));
            }
            previous = *id;
        }
        Ok(())
    }

    fn check_snapshot(&self) -> Result<(), MessageError> {
        let Some(SnapshotMeta { last, membership }) = &self.snapshot else {
            return Err(MessageError::WrongParts { kind: self.kind, part: "snapshot" });
        };
        if last.index.0 > NUMBER_MAX {
            return Err(MessageError::NumberTooLarge { number: last.index.0 });
        }
        if last.index == LogIndex(0) || last.term == Term(0) || last.term > self.term {
            return Err(self.impossible_term(last.index, last.term));
        }
        check_membership(membership)?;
        if membership.voters.is_empty() {
            return Err(MembershipError::NoVoters.into());
        }
        Ok(())
    }

    fn impossible_term(&self, index: LogIndex, entry_term: Term) -> MessageError {
        MessageError::ImpossibleTerm { index, entry_term, term: self.term }
    }
}
