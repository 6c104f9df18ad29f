//! What a replica starts from, and whether that can be.

use super::convert::entry_to_raft;
use super::membership::{MembershipError, check_membership};
use super::window::Window;
use crate::storage::record::{HardState, LogEntry, Membership};
use proto::{EntryId, LogIndex, ReplicaId, Term};
use std::collections::VecDeque;
use thiserror::Error;

/// How a replica takes part in its group. Ticks are whatever the caller makes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// This replica.
    pub replica: ReplicaId,
    /// A follower that hears nothing for between once and twice this long campaigns; a leader that
    /// does not hear from a quorum for this long steps down.
    pub election_ticks: u16,
    /// How often a leader says that it lives.
    pub heartbeat_ticks: u16,
    /// Entries in one append, beyond the first.
    pub entries_per_message_bytes_max: u64,
    /// Appends to one follower that it has not answered yet.
    pub inflight_messages_max: u16,
    /// Payload of proposals that are not committed yet, beyond the first.
    pub uncommitted_bytes_max: u64,
    /// Committed entries in one `Ready`, beyond the first.
    pub committed_per_ready_bytes_max: u64,
}

/// Why a replica cannot start. Except for `Config` it means that what was read back is not what was
/// written: do not start this replica, remove it and add it under a new id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// A setting is out of its range.
    #[error("raft configuration: {reason}")]
    Config {
        /// Which, and what it must be.
        reason: &'static str,
    },
    /// The stored members make no sense.
    #[error("stored members are impossible: {0}")]
    Membership(#[from] MembershipError),
    /// The log does not continue where it was truncated, or has a hole.
    #[error("log has entry {found} where {expected} belongs")]
    Gap {
        /// The index that belongs there.
        expected: LogIndex,
        /// The one that is there.
        found: LogIndex,
    },
    /// Terms never fall along a log, and only "no entry" has term zero.
    #[error("log has term {found} at entry {index} behind term {previous}")]
    TermOrder {
        /// Which entry.
        index: LogIndex,
        /// Its term.
        found: Term,
        /// The term of the entry before.
        previous: Term,
    },
    /// Entries that were known to be committed are gone.
    #[error("the hard state knows entry {commit} to be committed, but the log ends at {last}")]
    CommitBeyondLog {
        /// The stored commit index.
        commit: LogIndex,
        /// Where the log ends.
        last: LogIndex,
    },
    /// The state machine is ahead of the log (T56: an entry is applied only once it is durable).
    #[error("the state machine has applied entry {applied}, but the log ends at {last}")]
    AppliedBeyondLog {
        /// The state machine's index.
        applied: LogIndex,
        /// Where the log ends.
        last: LogIndex,
    },
    /// The state machine is behind the log (T44: only what is durably applied is truncated).
    #[error(
        "the state machine has applied only entry {applied}, but the log begins after {truncated}"
    )]
    AppliedTruncated {
        /// The state machine's index.
        applied: LogIndex,
        /// The last entry that is gone.
        truncated: LogIndex,
    },
    /// Raft itself would not take it.
    #[error("raft cannot start from the stored state: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
}

/// Checks the settings and puts them in the crate's form.
pub(super) fn raft_config(
    config: &RaftConfig,
    applied: LogIndex,
) -> Result<::raft::Config, OpenError> {
    let reason = if config.replica == ReplicaId(0) {
        "replica ids start at 1"
    } else if config.heartbeat_ticks == 0 {
        "heartbeat_ticks must be at least 1"
    } else if config.election_ticks <= config.heartbeat_ticks {
        "election_ticks must be above heartbeat_ticks"
    } else if config.inflight_messages_max == 0 {
        "inflight_messages_max must be at least 1"
    } else if config.uncommitted_bytes_max < config.entries_per_message_bytes_max {
        "uncommitted_bytes_max must not be below entries_per_message_bytes_max"
    } else {
        let election_ticks = usize::from(config.election_ticks);
        return Ok(::raft::Config {
            id: config.replica.0,
            election_tick: election_ticks,
            heartbeat_tick: usize::from(config.heartbeat_ticks),
            applied: applied.0,
            max_size_per_msg: config.entries_per_message_bytes_max,
            max_inflight_msgs: usize::from(config.inflight_messages_max),
            check_quorum: true,
            pre_vote: true,
            // The range in which `Timeouts` draws; the crate insists on it.
            min_election_tick: election_ticks,
            max_election_tick: 2 * election_ticks,
            max_uncommitted_size: config.uncommitted_bytes_max,
            max_committed_size_per_ready: config.committed_per_ready_bytes_max,
            ..::raft::Config::default()
        });
    };
    Err(OpenError::Config { reason })
}

/// Checks what was stored and makes the window of it.
pub(super) fn open_window(
    hard_state: HardState,
    membership: Membership,
    applied: LogIndex,
    truncated: EntryId,
    entries: Vec<LogEntry>,
) -> Result<(Window, HardState), OpenError> {
    check_membership(&membership)?;
    let last = check_log(truncated, &entries)?;
    if applied < truncated.index {
        return Err(OpenError::AppliedTruncated { applied, truncated: truncated.index });
    }
    if applied > last.index {
        return Err(OpenError::AppliedBeyondLog { applied, last: last.index });
    }
    if hard_state.commit > last.index {
        return Err(OpenError::CommitBeyondLog { commit: hard_state.commit, last: last.index });
    }
    let hard_state = caught_up(hard_state, applied, last);
    let entries: VecDeque<_> = entries.into_iter().map(entry_to_raft).collect();
    Ok((Window::new(truncated, entries, applied, membership, hard_state), hard_state))
}

/// Returns the last entry.
fn check_log(truncated: EntryId, entries: &[LogEntry]) -> Result<EntryId, OpenError> {
    let nowhere = EntryId::default();
    if (truncated.index == nowhere.index) != (truncated.term == nowhere.term) {
        return Err(OpenError::TermOrder {
            index: truncated.index,
            found: truncated.term,
            previous: nowhere.term,
        });
    }
    let mut previous = truncated;
    for LogEntry { id, .. } in entries {
        let expected = previous.index.next();
        if id.index != expected {
            return Err(OpenError::Gap { expected, found: id.index });
        }
        if id.term == Term(0) || id.term < previous.term {
            return Err(OpenError::TermOrder {
                index: id.index,
                found: id.term,
                previous: previous.term,
            });
        }
        previous = *id;
    }
    Ok(previous)
}

/// The hard state may lag behind the rest, and what it lacks follows from the rest:
/// - its commit index is not synced for its own sake, and what is applied was committed;
/// - it is written behind the entries of the same `Ready`, so a torn write may leave an entry of a
///   term that it does not name. Then this replica had not voted in that term, or that would have
///   been durable before.
fn caught_up(stored: HardState, applied: LogIndex, last: EntryId) -> HardState {
    HardState {
        term: stored.term.max(last.term),
        vote: stored.vote.filter(|_| stored.term >= last.term),
        commit: stored.commit.max(applied),
    }
}
