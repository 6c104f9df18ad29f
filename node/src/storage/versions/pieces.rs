//! A snapshot as a stream of pieces: cut and sealed on one side, checked on the other.

use crate::storage::version_store::{SnapshotPiece, StatePair, Version, VersionStoreError};
use proto::{Key, KeySpan, ShardId};
use std::iter::Peekable;
use truetime::Timestamp;

/// A piece is closed once it holds this much: large enough that its framing costs nothing, small
/// enough that a few in flight cost no memory. One larger version is a piece of its own.
const PIECE_BYTES: usize = 256 * 1024;

/// Cuts versions, then state, into pieces, and ends with their count and checksum.
pub(super) struct PieceStream<V: Iterator, S: Iterator> {
    versions: Peekable<V>,
    state: Peekable<S>,
    pieces: u64,
    checksum: u32,
    is_over: bool,
}

impl<V, S> PieceStream<V, S>
where
    V: Iterator<Item = Result<Version, VersionStoreError>>,
    S: Iterator<Item = Result<StatePair, VersionStoreError>>,
{
    /// A stream of `versions` (keys ascending, newest first) and `state` (keys ascending).
    pub(super) fn new(versions: V, state: S) -> Self {
        let (versions, state) = (versions.peekable(), state.peekable());
        PieceStream { versions, state, pieces: 0, checksum: 0, is_over: false }
    }

    fn next_piece(&mut self) -> Result<SnapshotPiece, VersionStoreError> {
        let versions = fill(&mut self.versions, |version| {
            version.key.as_bytes().len() + version.value.as_ref().map_or(0, |v| v.as_bytes().len())
        })?;
        let piece = if versions.is_empty() {
            let state = fill(&mut self.state, |(key, value)| key.len() + value.len())?;
            if state.is_empty() {
                self.is_over = true;
                return Ok(SnapshotPiece::End { pieces: self.pieces, checksum: self.checksum });
            }
            SnapshotPiece::State(state)
        } else {
            SnapshotPiece::Versions(versions)
        };
        self.checksum = crc32c::crc32c_append(self.checksum, &encode(&piece));
        self.pieces += 1;
        Ok(piece)
    }
}

impl<V, S> Iterator for PieceStream<V, S>
where
    V: Iterator<Item = Result<Version, VersionStoreError>>,
    S: Iterator<Item = Result<StatePair, VersionStoreError>>,
{
    type Item = Result<SnapshotPiece, VersionStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let piece = self.next_piece();
        self.is_over |= piece.is_err();
        Some(piece)
    }
}

/// Takes items until a piece is full. Sixteen bytes each stand for timestamp and framing, so that a
/// flood of empty items is cut as well.
fn fill<T>(
    items: &mut Peekable<impl Iterator<Item = Result<T, VersionStoreError>>>,
    bytes_of: impl Fn(&T) -> usize,
) -> Result<Vec<T>, VersionStoreError> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while bytes < PIECE_BYTES {
        let fits = |item: &Result<T, VersionStoreError>| match item {
            Ok(item) => taken.is_empty() || bytes + bytes_of(item) + 16 <= PIECE_BYTES,
            Err(_) => true,
        };
        let Some(item) = items.next_if(fits) else { break };
        let item = item?;
        bytes += bytes_of(&item) + 16;
        taken.push(item);
    }
    Ok(taken)
}

/// The bytes that the checksum covers.
pub(super) fn encode(piece: &SnapshotPiece) -> Vec<u8> {
    postcard::to_stdvec(piece).expect("a piece is plain data, and a Vec has no size limit")
}

/// Checks the pieces of one snapshot as they arrive: order, count and checksum.
#[derive(Debug)]
pub(super) struct PieceCheck {
    shard: ShardId,
    pieces: u64,
    checksum: u32,
    key_first: Option<Key>,
    version_last: Option<(Key, Timestamp)>,
    state_last: Option<Vec<u8>>,
    is_complete: bool,
}

impl PieceCheck {
    /// Nothing received yet.
    pub(super) fn new(shard: ShardId) -> Self {
        PieceCheck {
            shard,
            pieces: 0,
            checksum: 0,
            key_first: None,
            version_last: None,
            state_last: None,
            is_complete: false,
        }
    }

    /// Takes the next piece, whose encoding is `encoded`. Whether the snapshot is complete.
    pub(super) fn next(
        &mut self,
        piece: &SnapshotPiece,
        encoded: &[u8],
    ) -> Result<bool, VersionStoreError> {
        if self.is_complete {
            return Err(bad_snapshot(self.shard, "a piece came after the end"));
        }
        match piece {
            SnapshotPiece::Versions(versions) => self.check_versions(versions)?,
            SnapshotPiece::State(pairs) => self.check_state(pairs)?,
            SnapshotPiece::End { pieces, checksum } => {
                if (*pieces, *checksum) != (self.pieces, self.checksum) {
                    let what = format!(
                        "{} pieces with checksum {:08x} came, {pieces} with {checksum:08x} were sent",
                        self.pieces, self.checksum
                    );
                    return Err(bad_snapshot(self.shard, &what));
                }
                self.is_complete = true;
                return Ok(true);
            }
        }
        self.checksum = crc32c::crc32c_append(self.checksum, encoded);
        self.pieces += 1;
        Ok(false)
    }

    /// Whether it may be installed over `span`: it is complete and has no key of another shard.
    pub(super) fn admits(&self, span: &KeySpan) -> Result<(), VersionStoreError> {
        if !self.is_complete {
            return Err(bad_snapshot(self.shard, "its end has not come"));
        }
        let last = self.version_last.as_ref().map(|(key, _)| key);
        match self.key_first.iter().chain(last).find(|key| !span.contains(key)) {
            Some(key) => {
                let what = format!("key {key} is outside the shard's span {span}");
                Err(bad_snapshot(self.shard, &what))
            }
            None => Ok(()),
        }
    }

    fn check_versions(&mut self, versions: &[Version]) -> Result<(), VersionStoreError> {
        if self.state_last.is_some() {
            return Err(bad_snapshot(self.shard, "versions came after state"));
        }
        for version in versions {
            let in_order = self.version_last.as_ref().is_none_or(|(key, timestamp)| {
                *key < version.key || (*key == version.key && version.timestamp < *timestamp)
            });
            if !in_order {
                let what =
                    format!("key {} at {:?} is out of order", version.key, version.timestamp);
                return Err(bad_snapshot(self.shard, &what));
            }
            if self.key_first.is_none() {
                self.key_first = Some(version.key.clone());
            }
            self.version_last = Some((version.key.clone(), version.timestamp));
        }
        Ok(())
    }

    fn check_state(&mut self, pairs: &[StatePair]) -> Result<(), VersionStoreError> {
        for (key, _) in pairs {
            if self.state_last.as_ref().is_some_and(|last| last >= key) {
                return Err(bad_snapshot(self.shard, "state is out of order"));
            }
            self.state_last = Some(key.clone());
        }
        Ok(())
    }
}

/// The error for a snapshot that is not what was sent.
pub(super) fn bad_snapshot(shard: ShardId, what: &str) -> VersionStoreError {
    VersionStoreError::BadSnapshot { shard, what: what.to_owned() }
}
