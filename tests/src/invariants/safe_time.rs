//! Safe time (Spanner 4.1.3): a replica serves a read at `t` only when no commit at or below `t` on the keys
//! read is still to be applied there.
//!
//! Example: a follower that has applied entry 7 serves `k` at 100. If entry 9, of whatever leader, installs a
//! version of `k` at 95, that read was wrong, and every read like it.

use proto::{Key, KeySpan, LogIndex, ShardId};
use std::collections::{BTreeMap, VecDeque};
use truetime::Timestamp;

use super::reference::Step;

/// How many reads and versions of a shard are remembered.
const REMEMBERED_MAX: usize = 2_000;

/// Reads and versions of each shard.
#[derive(Debug, Default)]
pub struct SafeTime {
    shards: BTreeMap<ShardId, Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    reads: VecDeque<Read>,
    installed: VecDeque<(LogIndex, Key, Timestamp)>,
}

#[derive(Debug)]
struct Read {
    applied: LogIndex,
    at: Timestamp,
    spans: Vec<KeySpan>,
}

impl Read {
    fn misses(&self, index: LogIndex, key: &Key, timestamp: Timestamp) -> bool {
        self.applied < index
            && timestamp <= self.at
            && self.spans.iter().any(|span| span.contains(key))
    }
}

impl SafeTime {
    /// A replica that has applied so much serves a read.
    pub fn served(&mut self, shard: ShardId, applied: LogIndex, at: Timestamp, spans: &[KeySpan]) {
        let known = self.shards.entry(shard).or_default();
        let read = Read { applied, at, spans: spans.to_vec() };
        for (index, key, timestamp) in &known.installed {
            assert!(
                !read.misses(*index, key, *timestamp),
                "safe time: shard {shard} at entry {applied} serves {at} and lacks {key} at {timestamp} of \
                 entry {index}"
            );
        }
        known.reads.push_back(read);
        if known.reads.len() > REMEMBERED_MAX {
            known.reads.pop_front();
        }
    }

    /// An entry was applied for the first time.
    pub fn applied(&mut self, shard: ShardId, step: &Step) {
        let known = self.shards.entry(shard).or_default();
        for (key, timestamp) in &step.versions {
            if let Some(read) = known.reads.iter().find(|r| r.misses(step.index, key, *timestamp)) {
                panic!(
                    "safe time: shard {shard} at entry {} served {}, and entry {} installs {key} at \
                     {timestamp}",
                    read.applied, read.at, step.index
                );
            }
            known.installed.push_back((step.index, key.clone(), *timestamp));
            if known.installed.len() > REMEMBERED_MAX {
                known.installed.pop_front();
            }
        }
    }
}
