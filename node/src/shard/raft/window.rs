//! The retained log of one replica, in memory, as the crate's `Storage`.
//!
//! It holds what was handed out to be appended, whether or not it is durable yet: the crate itself
//! keeps track of what is persisted. Everything before the window is truncated, so that a follower
//! that needs it gets a snapshot.

use super::convert::{
    entry_from_raft, hard_state_to_raft, id, membership_to_raft, snapshot_to_raft,
};
use super::message::SnapshotMeta;
use crate::storage::record::{HardState, LogEntry, Membership};
use ::raft::eraftpb::{Entry, Snapshot};
use ::raft::{GetEntriesContext, RaftState, Result, Storage, StorageError};
use proto::{EntryId, LogIndex};
use raft_protobuf::Message as _;
use std::collections::VecDeque;

pub(super) struct Window {
    /// The last entry that is gone.
    truncated: EntryId,
    /// Contiguous, beginning right behind `truncated`.
    entries: VecDeque<Entry>,
    /// The last entry whose effect is in the state machine.
    applied: LogIndex,
    /// The members as of `applied`.
    membership: Membership,
    /// What the crate starts from; not kept up to date.
    initial: HardState,
}

impl Window {
    pub(super) fn new(
        truncated: EntryId,
        entries: VecDeque<Entry>,
        applied: LogIndex,
        membership: Membership,
        initial: HardState,
    ) -> Self {
        Window { truncated, entries, applied, membership, initial }
    }

    pub(super) fn truncated(&self) -> EntryId {
        self.truncated
    }

    pub(super) fn last(&self) -> EntryId {
        self.entries.back().map_or(self.truncated, |entry| id(entry.term, entry.index))
    }

    pub(super) fn applied(&self) -> LogIndex {
        self.applied
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(super) fn set_applied(&mut self, applied: LogIndex) {
        self.applied = applied;
    }

    pub(super) fn set_membership(&mut self, membership: Membership) {
        self.membership = membership;
    }

    /// The entries from `from` on, as far as they are here.
    pub(super) fn entries_from(&self, from: LogIndex) -> Vec<LogEntry> {
        let skip = from.0.saturating_sub(self.truncated.index.next().0);
        self.entries.iter().skip(position(skip)).cloned().map(entry_from_raft).collect()
    }

    /// Appends; what stood at the same index or behind it is replaced.
    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        let first_index = self.truncated.index.next().0;
        assert!(
            first.index >= first_index,
            "entry {} is at or below the truncated {}",
            first.index,
            self.truncated.index
        );
        assert!(
            first.index <= self.last().index.next().0,
            "entry {} leaves a gap behind {}",
            first.index,
            self.last().index
        );
        self.entries.truncate(position(first.index - first_index));
        self.entries.extend(entries);
    }

    /// Begins anew behind a snapshot.
    pub(super) fn reset(&mut self, meta: &SnapshotMeta) {
        self.truncated = meta.last;
        self.entries.clear();
        self.membership = meta.membership.clone();
    }

    /// The last entry that is not among the newest of at most `bytes_max` bytes together.
    pub(super) fn last_beyond(&self, bytes_max: u64) -> LogIndex {
        let mut bytes = 0;
        let beyond = self.entries.iter().rev().find(|entry| {
            bytes += entry.data.len() as u64;
            bytes > bytes_max
        });
        beyond.map_or(self.truncated.index, |entry| LogIndex(entry.index))
    }

    /// Drops entries up to and including `through`.
    pub(super) fn truncate_through(&mut self, through: EntryId) {
        let count = through.index.0.saturating_sub(self.truncated.index.0);
        self.entries.drain(..position(count));
        self.truncated = through;
    }

    pub(super) fn term_at(&self, index: u64) -> Result<u64> {
        let truncated = self.truncated;
        if index < truncated.index.0 {
            return Err(StorageError::Compacted.into());
        }
        if index == truncated.index.0 {
            return Ok(truncated.term.0);
        }
        let entry = self.entries.get(position(index - truncated.index.0 - 1));
        entry.map(|entry| entry.term).ok_or(StorageError::Unavailable.into())
    }

    /// The state that a follower can be sent.
    pub(super) fn snapshot_meta(&self) -> Option<SnapshotMeta> {
        let term = self.term_at(self.applied.0).ok()?;
        (self.applied > LogIndex(0)).then(|| SnapshotMeta {
            last: id(term, self.applied.0),
            membership: self.membership.clone(),
        })
    }
}

impl Storage for Window {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState {
            hard_state: hard_state_to_raft(self.initial),
            conf_state: membership_to_raft(&self.membership),
        })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let first = self.truncated.index.next().0;
        if low < first {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last().index.next().0 {
            return Err(StorageError::Unavailable.into());
        }
        // The first entry is always given, however large, or nothing would ever move.
        let size_max = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0_u64;
        let range = self.entries.range(position(low - first)..position(high - first));
        Ok(range
            .enumerate()
            .take_while(|(nth, entry)| {
                size = size.saturating_add(u64::from(entry.compute_size()));
                *nth == 0 || size <= size_max
            })
            .map(|(_, entry)| entry.clone())
            .collect())
    }

    fn term(&self, index: u64) -> Result<u64> {
        self.term_at(index)
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.truncated.index.next().0)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().index.0)
    }

    /// Only its name: the node streams the data beside the message.
    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        match self.snapshot_meta() {
            Some(meta) if meta.last.index.0 >= request_index => Ok(snapshot_to_raft(&meta)),
            Some(_) | None => Err(StorageError::SnapshotTemporarilyUnavailable.into()),
        }
    }
}

/// An offset within the window as a position in memory.
fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("the window is in memory, so its length fits a usize")
}
