//! Log Matching (Raft 5.3): entries of the same index and term are the same in all logs.

use node::storage::record::LogEntry;
use proto::{EntryId, ShardId};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Every entry that any node logged.
#[derive(Debug, Default)]
pub struct LogMatching {
    entries: BTreeMap<(ShardId, EntryId), u64>,
}

impl LogMatching {
    /// A node logs entries.
    pub fn appended(&mut self, shard: ShardId, entries: &[LogEntry]) {
        for entry in entries {
            let hash = hash_of(entry);
            let before = *self.entries.entry((shard, entry.id)).or_insert(hash);
            assert_eq!(before, hash, "log matching: two entries {:?} of shard {shard}", entry.id);
        }
    }
}

/// Distinguishes entries.
#[must_use]
pub fn hash_of(entry: &LogEntry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.id, &entry.data[..], entry.data.is_empty()).hash(&mut hasher);
    hasher.finish()
}
