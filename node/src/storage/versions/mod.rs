//! The two version stores: [`fjall_store::FjallStore`] on disk, [`memory::MemoryStore`] for the
//! simulator. One suite, `conformance`, is run against both.
//!
//! Terms. A *version* is one key's row, or tombstone, at one commit timestamp; *history* is every
//! version that a newer one of its key covers. *Applied* is the last log entry whose effect a shard
//! contains; it changes in the same batch as that effect (T45). *Persisted* is what a crash keeps: a
//! store applies without syncing, because the Raft log is what makes things durable, and the log keeps
//! every entry that is not persisted yet. A *span* is a key interval, a shard's or a part of it.
//!
//! Example: key `k` with a row at 10, a tombstone at 20 and a row at 30.
//! ```text
//! read at   9: nothing          collect(threshold 15): nothing goes, 10 is what a read at 15 sees
//! read at  10: row of 10        collect(threshold 25): 20 and 10 go, a read at 25 sees nothing
//! read at  25: nothing          collect(threshold 30): 20 and 10 go, 30 is the newest
//! read at  99: row of 30
//! ```
//!
//! Not here: the check that a timestamp is above the threshold of garbage collection. A read below it
//! finds too little and does not notice; the caller compares the two after its view was taken (T61).
//! Nor safe time, locks, or any meaning of keys, rows and state.

mod page;
mod pieces;

pub mod fjall_store;
pub mod memory;

#[cfg(test)]
mod conformance;

use proto::{EntryId, ShardId};

/// An entry takes effect once and in order (T45): what is applied lies behind what was.
fn assert_applied_grows(shard: ShardId, before: Option<EntryId>, after: EntryId) {
    if let Some(before) = before {
        assert!(
            after.index > before.index,
            "shard {shard}: entry {} applied after {}",
            after.index,
            before.index
        );
        assert!(
            after.term >= before.term,
            "shard {shard}: an entry of term {} applied after one of {}",
            after.term,
            before.term
        );
    }
}

/// A snapshot replaces a shard only by something newer.
fn assert_installs_forward(shard: ShardId, before: Option<EntryId>, after: EntryId) {
    if let Some(before) = before {
        assert!(
            after.index >= before.index,
            "shard {shard}: a snapshot of entry {} installed over {}",
            after.index,
            before.index
        );
    }
}
