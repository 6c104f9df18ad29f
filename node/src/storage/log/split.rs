//! Cuts the records of one pass into parts that fit into a frame each.
//!
//! After each frame a shard's commit must have its entry and its term must reach its last entry's
//! ([`super::BrokenRule`]), so a shard's records stay in one part when they fit. When they do not:
//!
//! ```text
//! Entries 1..90, HardState{term 7, commit 80}   commit 3 before
//!   --> HardState{term 7, commit 3}, Entries 1..40 | Entries 41..80 | Entries 81..90, HardState{7, 80}
//! ```
//! To Raft each step is a state that it may be found in: a term and vote that are durable early, and a
//! beginning of what was to be appended. Nobody was told of any of it before the last part is durable.

use super::frame;
use super::index::shard_of;
use crate::storage::record::{HardState, LogEntry, LogRecord};
use proto::{LogIndex, ShardId};
use std::collections::BTreeMap;

/// What the hard states and truncations beside a part's entries take at most.
const SMALL_RECORDS: u64 = 256;

/// Parts of at most `bytes_max`, but that a single entry is never cut. Shards change places, records of
/// one do not. `commit_of` is what the log has.
pub(super) fn split(
    records: Vec<LogRecord>,
    bytes_max: u64,
    commit_of: impl Fn(ShardId) -> LogIndex,
) -> Vec<Vec<LogRecord>> {
    let mut shards: BTreeMap<ShardId, Vec<LogRecord>> = BTreeMap::new();
    for record in records {
        shards.entry(shard_of(&record)).or_default().push(record);
    }
    let mut parts: Vec<Vec<LogRecord>> = Vec::new();
    let mut bytes = u64::MAX;
    for (shard, records) in shards {
        let more = frame::records_bytes(&records);
        if more > bytes_max {
            parts.extend(split_shard(shard, records, bytes_max, commit_of(shard)));
            bytes = u64::MAX;
            continue;
        }
        bytes = bytes.saturating_add(more);
        match parts.last_mut().filter(|_| bytes <= bytes_max) {
            Some(part) => part.extend(records),
            None => {
                parts.push(records);
                bytes = more;
            }
        }
    }
    parts
}

fn split_shard(
    shard: ShardId,
    records: Vec<LogRecord>,
    bytes_max: u64,
    mut commit: LogIndex,
) -> Vec<Vec<LogRecord>> {
    let entries_max = bytes_max.saturating_sub(SMALL_RECORDS);
    let mut parts = Parts { parts: vec![Vec::new()], bytes: 0, bytes_max: entries_max };
    // A replica that is removed and one that is created after it have nothing in common.
    for mut life in records.split_inclusive(|r| matches!(r, LogRecord::Removed { .. })) {
        if let [created @ LogRecord::Created { .. }, rest @ ..] = life {
            parts.push_small(created.clone());
            (life, commit) = (rest, LogIndex::default());
        }
        let last = life.iter().rev().find_map(|record| match record {
            LogRecord::HardState { state, .. } => Some(*state),
            _ => None,
        });
        if let Some(last) = last {
            let state = HardState { commit, ..last };
            parts.push_small(LogRecord::HardState { shard, state });
        }
        let mut end = last.map(|state| LogRecord::HardState { shard, state });
        for record in life {
            match record {
                LogRecord::Entries { entries, .. } => {
                    entries.iter().for_each(|entry| parts.push_entry(shard, entry));
                }
                // Only the last one counts, and it stands behind the entries that it commits.
                LogRecord::HardState { .. } => {}
                LogRecord::Removed { .. } => {
                    end.take().into_iter().for_each(|end| parts.push_small(end));
                    parts.push_small(record.clone());
                    commit = LogIndex::default();
                }
                LogRecord::Truncated { .. } | LogRecord::Created { .. } => {
                    parts.push_small(record.clone());
                }
            }
        }
        end.into_iter().for_each(|end| parts.push_small(end));
    }
    parts.parts
}

struct Parts {
    parts: Vec<Vec<LogRecord>>,
    /// Of the last one's entries.
    bytes: u64,
    bytes_max: u64,
}

impl Parts {
    fn push_small(&mut self, record: LogRecord) {
        self.parts.last_mut().expect("there is always a part").push(record);
    }

    fn push_entry(&mut self, shard: ShardId, entry: &LogEntry) {
        let more = frame::entry_bytes(entry);
        if self.bytes > 0 && self.bytes + more > self.bytes_max {
            self.parts.push(Vec::new());
            self.bytes = 0;
        }
        self.bytes += more;
        let part = self.parts.last_mut().expect("there is always a part");
        if let Some(LogRecord::Entries { entries, .. }) = part.last_mut()
            && entries.last().is_some_and(|last| last.id.index.next() == entry.id.index)
        {
            return entries.push(entry.clone());
        }
        part.push(LogRecord::Entries { shard, entries: vec![entry.clone()] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::record::EntryKind;
    use proto::{EntryId, Term};

    const SHARD: ShardId = ShardId(1);

    fn entries(shard: ShardId, term: u64, first: u64, count: u64, size: usize) -> LogRecord {
        let entries = (first..first + count).map(|index| LogEntry {
            id: EntryId { term: Term(term), index: LogIndex(index) },
            kind: EntryKind::Normal,
            data: vec![1; size].into(),
        });
        LogRecord::Entries { shard, entries: entries.collect() }
    }

    fn hard_state(shard: ShardId, term: u64, commit: u64) -> LogRecord {
        let state = HardState { term: Term(term), vote: None, commit: LogIndex(commit) };
        LogRecord::HardState { shard, state }
    }

    #[test]
    fn shards_that_fit_stay_whole() {
        let shard = |number| {
            let shard = ShardId(number);
            vec![entries(shard, 1, 1, 4, 200), hard_state(shard, 1, 2)]
        };
        let records: Vec<LogRecord> = (1..=3).flat_map(shard).collect();
        let parts = split(records, 2000, |_| LogIndex(0));
        assert_eq!(parts, [[shard(1), shard(2)].concat(), shard(3)]);
    }

    #[test]
    fn shard_that_does_not_fit_is_cut_between_entries() {
        let records =
            vec![entries(SHARD, 7, 4, 5, 400), hard_state(SHARD, 7, 6), entries(SHARD, 7, 9, 1, 9)];
        let parts = split(records, 1256, |_| LogIndex(3));
        assert_eq!(
            parts,
            [
                vec![hard_state(SHARD, 7, 3), entries(SHARD, 7, 4, 2, 400)],
                vec![entries(SHARD, 7, 6, 2, 400)],
                vec![
                    entries(SHARD, 7, 8, 1, 400).joined(entries(SHARD, 7, 9, 1, 9)),
                    hard_state(SHARD, 7, 6)
                ],
            ]
        );
    }

    #[test]
    fn single_entry_is_never_cut() {
        let records = vec![entries(SHARD, 1, 1, 2, 5000)];
        let parts = split(records, 1000, |_| LogIndex(0));
        let alone = |index| vec![entries(SHARD, 1, index, 1, 5000)];
        assert_eq!(parts, [alone(1), alone(2)]);
    }

    impl LogRecord {
        fn joined(self, other: LogRecord) -> LogRecord {
            match (self, other) {
                (
                    LogRecord::Entries { shard, mut entries },
                    LogRecord::Entries { entries: more, .. },
                ) => {
                    entries.extend(more);
                    LogRecord::Entries { shard, entries }
                }
                (this, _) => this,
            }
        }
    }
}
