//! What the log knows of each shard in memory: everything but the entries' payloads, and where those
//! stand.
//!
//! A *run* is a stretch of consecutive entries of one term that stand close together in one segment.
//! The runs of a shard cover what it retains, without gaps: after `truncated` up to the last entry.
//!
//! ```text
//! truncated 4   runs [5..80 term 2 in segment 3] [81..90 term 2 in segment 4] [91..91 term 3 in ..]
//! ```
//! The same code takes in a record when it is written and when it is recovered. So a record that
//! recovery would refuse is refused before it is written, and the two cannot drift apart.

use super::segment::SegmentNumber;
use crate::storage::record::{HardState, LogEntry, LogRecord};
use bytes::Bytes;
use proto::{EntryId, LogIndex, ShardId, Term};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How far apart in a segment the frames of one run may stand: what must be read to get at one entry.
const RUN_SPAN_MAX: u64 = 1 << 20;

/// A stretch of frames in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: SegmentNumber,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: LogIndex,
    pub(super) last: LogIndex,
    pub(super) term: Term,
    /// `None` during recovery, for entries that a checkpoint knows and that no segment has shown yet.
    pub(super) place: Option<Place>,
    /// About what the entries take in the log.
    pub(super) bytes: u64,
}

/// What the log knows of one shard.
#[derive(Clone, Debug, Default)]
pub(super) struct ShardState {
    pub(super) descriptor: Bytes,
    pub(super) hard_state: HardState,
    pub(super) truncated: EntryId,
    runs: VecDeque<Run>,
}

/// A shard as each segment's first frame has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardCheckpoint {
    shard: ShardId,
    descriptor: Bytes,
    hard_state: HardState,
    truncated: EntryId,
    /// The last entry of each stretch of one term among those that are retained.
    stretches: Vec<EntryId>,
}

/// A record contradicts those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRule {
    /// Records name only shards that were created.
    #[error("shard {0} does not exist here")]
    NoSuchShard(ShardId),
    /// A shard is created once.
    #[error("shard {0} exists already")]
    ShardExists(ShardId),
    /// A record of entries has at least one.
    #[error("a record of shard {0} has no entries")]
    NoEntries(ShardId),
    /// Entries follow each other and what is there.
    #[error("shard {shard}: entry {found} where {expected} at the most can follow")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// The highest index that could stand here.
        expected: LogIndex,
        /// The index that does.
        found: LogIndex,
    },
    /// What is truncated is not written again.
    #[error("shard {shard}: entry {found} is truncated already, through {truncated}")]
    Truncated {
        /// The shard.
        shard: ShardId,
        /// The end of what is gone.
        truncated: LogIndex,
        /// The entry's index.
        found: LogIndex,
    },
    /// Terms of entries do not fall.
    #[error("shard {shard}: entry {} of term {} follows one of term {before}", found.index, found.term)]
    TermFell {
        /// The shard.
        shard: ShardId,
        /// The term of the entry before.
        before: Term,
        /// The entry.
        found: EntryId,
    },
    /// Term and commit do not fall, and a vote stands for its term (T48).
    #[error("shard {shard}: hard state {found:?} goes back behind {before:?}")]
    HardStateFell {
        /// The shard.
        shard: ShardId,
        /// What was durable.
        before: HardState,
        /// What should replace it.
        found: HardState,
    },
    /// After each write, what is committed is there.
    #[error("shard {shard}: commit {commit} behind the last entry {last}")]
    CommitBehindLast {
        /// The shard.
        shard: ShardId,
        /// The hard state's.
        commit: LogIndex,
        /// The last entry's.
        last: LogIndex,
    },
    /// After each write, the term is at least the last entry's.
    #[error("shard {shard}: term {term} below the last entry's {last}")]
    TermBelowLast {
        /// The shard.
        shard: ShardId,
        /// The hard state's.
        term: Term,
        /// The last entry's.
        last: Term,
    },
    /// An entry that was moved is one that counts.
    #[error("shard {shard}: entry {} of term {} was moved and does not count", found.index, found.term)]
    NotRetained {
        /// The shard.
        shard: ShardId,
        /// The entry.
        found: EntryId,
    },
    /// A checkpoint repeats what the records before it add up to.
    #[error("the checkpoint is not what the records before it add up to")]
    OtherCheckpoint,
}

impl Run {
    fn entries(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// The part of this run within `[first, last]`.
    fn clipped(&self, first: LogIndex, last: LogIndex) -> Option<Run> {
        let (first, last) = (self.first.max(first), self.last.min(last));
        (first <= last).then(|| {
            let part = u128::from(self.bytes) * u128::from(last.0 - first.0 + 1);
            let bytes = u64::try_from(part / u128::from(self.entries()))
                .expect("a part of a run is not larger than the run");
            Run { first, last, bytes, ..self.clone() }
        })
    }
}

impl ShardState {
    /// What the shard retains, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// The last entry, or the last that is gone.
    pub(super) fn last(&self) -> EntryId {
        self.runs.back().map_or(self.truncated, |run| EntryId { term: run.term, index: run.last })
    }

    /// Whether what waits to be written cannot contradict that the shard is truncated now.
    pub(super) fn may_truncate_early(&self, through: EntryId) -> bool {
        through.index > self.truncated.index
            && through.index <= self.hard_state.commit
            && self.term_of(through.index) == Some(through.term)
    }

    fn term_of(&self, index: LogIndex) -> Option<Term> {
        let at = self.runs.partition_point(|run| run.last < index);
        self.runs.get(at).filter(|run| run.first <= index).map(|run| run.term)
    }

    fn push_entries(
        &mut self,
        shard: ShardId,
        entries: &[LogEntry],
        place: Place,
    ) -> Result<(), BrokenRule> {
        let first = entries.first().ok_or(BrokenRule::NoEntries(shard))?.id.index;
        if first <= self.truncated.index {
            let truncated = self.truncated.index;
            return Err(BrokenRule::Truncated { shard, truncated, found: first });
        }
        let end = self.last().index.next();
        if first > end {
            return Err(BrokenRule::Gap { shard, expected: end, found: first });
        }
        self.drop_from(first);
        for entry in entries {
            let last = self.last();
            if entry.id.index != last.index.next() {
                let (expected, found) = (last.index.next(), entry.id.index);
                return Err(BrokenRule::Gap { shard, expected, found });
            }
            if entry.id.term < last.term {
                return Err(BrokenRule::TermFell { shard, before: last.term, found: entry.id });
            }
            push_entry(&mut self.runs, entry, place);
        }
        Ok(())
    }

    fn drop_from(&mut self, first: LogIndex) {
        while self.runs.back().is_some_and(|run| run.first >= first) {
            self.runs.pop_back();
        }
        if let Some(run) = self.runs.back_mut().filter(|run| run.last >= first)
            && let Some(rest) = run.clipped(run.first, LogIndex(first.0 - 1))
        {
            *run = rest;
        }
    }

    fn set_hard_state(&mut self, shard: ShardId, state: HardState) -> Result<(), BrokenRule> {
        let before = self.hard_state;
        let vote_stands = before.vote.is_none() || state.vote == before.vote;
        let follows = state.term > before.term || (state.term == before.term && vote_stands);
        if !follows || state.commit < before.commit {
            return Err(BrokenRule::HardStateFell { shard, before, found: state });
        }
        self.hard_state = state;
        Ok(())
    }

    fn truncate(&mut self, through: EntryId) {
        if through.index <= self.truncated.index {
            return;
        }
        if self.term_of(through.index) == Some(through.term) {
            while self.runs.front().is_some_and(|run| run.last <= through.index) {
                self.runs.pop_front();
            }
            if let Some(run) = self.runs.pop_front() {
                let rest = run.clipped(through.index.next(), run.last);
                self.runs.push_front(rest.expect("runs that end at or before `through` are gone"));
            }
        } else {
            // Raft section 7: a snapshot whose last entry is not in the log replaces all of the log.
            self.runs.clear();
        }
        self.truncated = through;
        self.hard_state.commit = self.hard_state.commit.max(through.index);
    }

    /// Entries that are retained now stand at `place`.
    fn relocate(
        &mut self,
        shard: ShardId,
        entries: &[LogEntry],
        place: Place,
    ) -> Result<(), BrokenRule> {
        let mut moved = VecDeque::new();
        for entry in entries {
            if self.term_of(entry.id.index) != Some(entry.id.term) {
                return Err(BrokenRule::NotRetained { shard, found: entry.id });
            }
            push_entry(&mut moved, entry, place);
        }
        for run in moved {
            let before = LogIndex(run.first.0 - 1);
            let at = self.runs.partition_point(|old| old.last < run.first);
            let end = self.runs.partition_point(|old| old.first <= run.last);
            let overlapped: Vec<Run> = self.runs.drain(at..end).collect();
            let head = overlapped.first().and_then(|old| old.clipped(LogIndex(0), before));
            let tail = overlapped.last().and_then(|old| old.clipped(run.last.next(), old.last));
            for (step, run) in head.into_iter().chain([run]).chain(tail).enumerate() {
                self.runs.insert(at + step, run);
            }
        }
        Ok(())
    }

    fn checkpoint(&self, shard: ShardId) -> ShardCheckpoint {
        let mut stretches: Vec<EntryId> = Vec::new();
        for run in &self.runs {
            let id = EntryId { term: run.term, index: run.last };
            match stretches.last_mut() {
                Some(last) if last.term == id.term => *last = id,
                _ => stretches.push(id),
            }
        }
        ShardCheckpoint {
            shard,
            descriptor: self.descriptor.clone(),
            hard_state: self.hard_state,
            truncated: self.truncated,
            stretches,
        }
    }

    fn seeded(from: ShardCheckpoint) -> Self {
        let mut first = from.truncated.index.next();
        let mut runs = VecDeque::new();
        for EntryId { term, index } in from.stretches {
            runs.push_back(Run { first, last: index, term, place: None, bytes: 0 });
            first = index.next();
        }
        ShardState {
            descriptor: from.descriptor,
            hard_state: from.hard_state,
            truncated: from.truncated,
            runs,
        }
    }
}

/// About what an entry takes in the log: term, index, kind and length take a few bytes.
pub(super) fn entry_bytes(entry: &LogEntry) -> u64 {
    entry.data.len() as u64 + 8
}

/// Adds an entry at `place` behind `runs`.
fn push_entry(runs: &mut VecDeque<Run>, entry: &LogEntry, place: Place) {
    let bytes = entry_bytes(entry);
    if let Some(run) = runs.back_mut()
        && let Some(old) = &mut run.place
        && run.term == entry.id.term
        && run.last.next() == entry.id.index
        && old.segment == place.segment
        && (old.end == place.end || place.end - old.start <= RUN_SPAN_MAX)
    {
        old.end = place.end;
        run.last = entry.id.index;
        run.bytes += bytes;
        return;
    }
    let (first, term) = (entry.id.index, entry.id.term);
    runs.push_back(Run { first, last: first, term, place: Some(place), bytes });
}

/// All shards that have a replica here.
#[derive(Debug, Default)]
pub(super) struct Index {
    shards: BTreeMap<ShardId, ShardState>,
}

impl Index {
    pub(super) fn shards(&self) -> impl Iterator<Item = (ShardId, &ShardState)> {
        self.shards.iter().map(|(shard, state)| (*shard, state))
    }

    pub(super) fn shard(&self, shard: ShardId) -> Option<&ShardState> {
        self.shards.get(&shard)
    }

    /// Takes in one record that stands at `place`.
    pub(super) fn apply(&mut self, record: &LogRecord, place: Place) -> Result<(), BrokenRule> {
        match record {
            LogRecord::Created { shard, descriptor } => {
                let state = ShardState { descriptor: descriptor.clone(), ..ShardState::default() };
                match self.shards.insert(*shard, state) {
                    None => Ok(()),
                    Some(_) => Err(BrokenRule::ShardExists(*shard)),
                }
            }
            LogRecord::Entries { shard, entries } => {
                self.shard_mut(*shard)?.push_entries(*shard, entries, place)
            }
            LogRecord::HardState { shard, state } => {
                self.shard_mut(*shard)?.set_hard_state(*shard, *state)
            }
            LogRecord::Truncated { shard, through } => {
                self.shard_mut(*shard)?.truncate(*through);
                Ok(())
            }
            LogRecord::Removed { shard } => match self.shards.remove(shard) {
                Some(_) => Ok(()),
                None => Err(BrokenRule::NoSuchShard(*shard)),
            },
        }
    }

    /// Checks what must hold of a shard after each write; within one, records may come in any order
    /// that recovery can follow.
    pub(super) fn check(&self, shard: ShardId) -> Result<(), BrokenRule> {
        let Some(state) = self.shards.get(&shard) else {
            return Ok(());
        };
        let (last, hard_state) = (state.last(), state.hard_state);
        if hard_state.commit > last.index {
            let (commit, last) = (hard_state.commit, last.index);
            return Err(BrokenRule::CommitBehindLast { shard, commit, last });
        }
        if !state.runs.is_empty() && last.term > hard_state.term {
            let (term, last) = (hard_state.term, last.term);
            return Err(BrokenRule::TermBelowLast { shard, term, last });
        }
        Ok(())
    }

    /// Takes in that entries of a shard now stand at `place`.
    pub(super) fn apply_moved(
        &mut self,
        shard: ShardId,
        entries: &[LogEntry],
        place: Place,
    ) -> Result<(), BrokenRule> {
        self.shard_mut(shard)?.relocate(shard, entries, place)
    }

    pub(super) fn checkpoint(&self) -> Vec<ShardCheckpoint> {
        self.shards.iter().map(|(shard, state)| state.checkpoint(*shard)).collect()
    }

    /// The index at a checkpoint before which nothing was read.
    pub(super) fn seeded(checkpoint: Vec<ShardCheckpoint>) -> Self {
        let shards = checkpoint.into_iter().map(|from| (from.shard, ShardState::seeded(from)));
        Index { shards: shards.collect() }
    }

    fn shard_mut(&mut self, shard: ShardId) -> Result<&mut ShardState, BrokenRule> {
        self.shards.get_mut(&shard).ok_or(BrokenRule::NoSuchShard(shard))
    }
}

/// The shard that a record is about.
pub(super) fn shard_of(record: &LogRecord) -> ShardId {
    match record {
        LogRecord::Created { shard, .. }
        | LogRecord::Entries { shard, .. }
        | LogRecord::HardState { shard, .. }
        | LogRecord::Truncated { shard, .. }
        | LogRecord::Removed { shard } => *shard,
    }
}

#[cfg(test)]
mod tests;
