//! What the pure core and the host ask of the store that keeps the versions (TRANSACTIONS.md section
//! 6). One implementation on `fjall`, one in memory for the simulator; both in `versions`.

use proto::{EntryId, Key, KeySpan, ShardId, Value};
use serde::{Deserialize, Serialize};
use truetime::Timestamp;
use txn::message::ReadLimit;

/// One version of one key; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The key.
    pub key: Key,
    /// Its commit timestamp. Those of one key only grow (T15).
    pub timestamp: Timestamp,
    /// The row, or `None` where it was deleted.
    pub value: Option<Value>,
}

/// One change of a shard's replicated state beside the versions: prepared records, outcome records,
/// lease and the like, as opaque pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateChange {
    /// Sets a pair.
    Put(Vec<u8>, Vec<u8>),
    /// Removes one.
    Delete(Vec<u8>),
    /// Removes all whose key is in `[from, to)`.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// One pair of a shard's state: key and value, opaque to the store.
pub type StatePair = (Vec<u8>, Vec<u8>);

/// All that one or more consecutive entries of one shard do, taken together or not at all (T45).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyBatch {
    /// The shard.
    pub shard: ShardId,
    /// The last entry whose effect is contained.
    pub applied: EntryId,
    /// New versions, in the order in which they took effect.
    pub versions: Vec<Version>,
    /// Changes of the state, in order.
    pub state: Vec<StateChange>,
}

/// What a read found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRows {
    /// The newest version at or below the timestamp for each key that had a row then. In key order
    /// within a span, spans in the order asked.
    pub rows: Vec<Version>,
    /// What was not read because of the limit; empty when all was.
    pub rest: Vec<KeySpan>,
}

/// Why a version store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VersionStoreError {
    /// The engine failed. Nothing may be assumed of later calls: the process stops (T46).
    #[error(
        "the version store failed: {reason}; restart the node, and replace it if this comes back"
    )]
    Failed {
        /// The engine's words.
        reason: String,
    },
    /// What was read is not what was written.
    #[error("the version store is damaged: {what}; replace this node's data directory")]
    Damaged {
        /// Which part, and how it shows.
        what: String,
    },
    /// A received snapshot is not what was sent, or not complete. It was dropped; the shard is as it
    /// was, and the store goes on.
    #[error("the snapshot received for shard {shard} is unusable: {what}; ask for another one")]
    BadSnapshot {
        /// The shard.
        shard: ShardId,
        /// How it shows.
        what: String,
    },
}

/// One piece of a snapshot, streamed in order (T43 lists what must be in it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotPiece {
    /// Versions, keys ascending, each key's newest first.
    Versions(Vec<Version>),
    /// Pairs of the shard's state.
    State(Vec<StatePair>),
    /// The end, with the count of pieces before it and the CRC32C over their encodings in order.
    End {
        /// How many pieces came before.
        pieces: u64,
        /// Over the postcard encodings of those pieces, one after the other.
        checksum: u32,
    },
}

/// The store of one node: one data space for all its shards.
pub trait VersionStore {
    /// A frozen view, for a snapshot that is streamed while the store moves on.
    type SnapshotReader: Iterator<Item = Result<SnapshotPiece, VersionStoreError>> + Send + 'static;

    /// Takes in the batches, all or none. They are durable only after [`VersionStore::persist`].
    fn apply(&mut self, batches: Vec<ApplyBatch>) -> Result<(), VersionStoreError>;

    /// Reads `spans` at `timestamp`.
    fn read(
        &self,
        spans: &[KeySpan],
        timestamp: Timestamp,
        limit: ReadLimit,
    ) -> Result<ReadRows, VersionStoreError>;

    /// The last entry of the shard that was applied, if the store knows the shard.
    fn applied(&self, shard: ShardId) -> Result<Option<EntryId>, VersionStoreError>;

    /// The shards that have anything here, by id.
    fn shards(&self) -> Vec<ShardId>;

    /// All pairs of the shard's state, by key.
    fn state(&self, shard: ShardId) -> Result<Vec<StatePair>, VersionStoreError>;

    /// Makes everything applied so far durable and returns, per shard, the last entry that now is.
    /// The log may be truncated through it, and no further (section 9.20).
    fn persist(&mut self) -> Result<Vec<(ShardId, EntryId)>, VersionStoreError>;

    /// Freezes the shard as it is now; `span` are its keys.
    fn snapshot(
        &self,
        shard: ShardId,
        span: &KeySpan,
    ) -> Result<Self::SnapshotReader, VersionStoreError>;

    /// Starts to receive a snapshot into a place of its own. An unfinished one of the shard is dropped.
    fn receive_begin(&mut self, shard: ShardId) -> Result<(), VersionStoreError>;

    /// Takes the next piece. At [`SnapshotPiece::End`] count and checksum are compared; the return value
    /// says whether the snapshot is complete.
    fn receive_piece(
        &mut self,
        shard: ShardId,
        piece: SnapshotPiece,
    ) -> Result<bool, VersionStoreError>;

    /// Whether what was received may be installed over `span`: it is complete, and has no key of another
    /// shard. To be asked before anybody relies on it.
    fn check_received(&self, shard: ShardId, span: &KeySpan) -> Result<(), VersionStoreError>;

    /// Replaces the shard's versions and state by the complete received snapshot and makes it durable. A
    /// crash in the middle leaves either the old shard or the finished new one at the next opening.
    fn install(
        &mut self,
        shard: ShardId,
        span: &KeySpan,
        applied: EntryId,
    ) -> Result<(), VersionStoreError>;

    /// Drops versions that no read at or above `threshold` can see, and tombstones with nothing below
    /// them, at most `keys_max` keys from `from` on. Returns where to go on, `None` at the span's end.
    fn collect(
        &mut self,
        span: &KeySpan,
        threshold: Timestamp,
        from: Key,
        keys_max: usize,
    ) -> Result<Option<Key>, VersionStoreError>;

    /// Drops the shard's versions and state.
    fn remove(&mut self, shard: ShardId, span: &KeySpan) -> Result<(), VersionStoreError>;
}
