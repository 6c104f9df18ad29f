//! Where a snapshot waits until it is complete: one file per shard, synced before it may be installed.
//!
//! A file holds the pieces as frames: length and CRC32C of the payload, four bytes big-endian each,
//! then the piece in postcard. The last one is the end.

use super::codec::damaged;
use crate::storage::version_store::{SnapshotPiece, VersionStoreError};
use crate::storage::versions::pieces::{PieceCheck, encode};
use proto::{KeySpan, ShardId};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// The file of a shard's snapshot.
pub(super) fn path_of(directory: &Path, shard: ShardId) -> PathBuf {
    directory.join(format!("{:016x}.snapshot", shard.0))
}

/// A snapshot that is being received.
pub(super) struct Staging {
    check: PieceCheck,
    path: PathBuf,
    file: BufWriter<File>,
}

impl Staging {
    /// Starts anew; what was there is dropped.
    pub(super) fn create(directory: &Path, shard: ShardId) -> Result<Self, VersionStoreError> {
        let path = path_of(directory, shard);
        let file = File::create(&path).map_err(|error| io_error(&path, &error))?;
        Ok(Staging { check: PieceCheck::new(shard), path, file: BufWriter::new(file) })
    }

    /// Takes the next piece. Whether the snapshot is complete, and then durable.
    pub(super) fn take(&mut self, piece: &SnapshotPiece) -> Result<bool, VersionStoreError> {
        let payload = encode(piece);
        let is_complete = self.check.next(piece, &payload)?;
        self.write(&payload, is_complete).map_err(|error| io_error(&self.path, &error))?;
        Ok(is_complete)
    }

    fn write(&mut self, payload: &[u8], is_complete: bool) -> io::Result<()> {
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.file.write_all(&len.to_be_bytes())?;
        self.file.write_all(&crc32c::crc32c(payload).to_be_bytes())?;
        self.file.write_all(payload)?;
        if is_complete {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            sync_directory_of(&self.path)?;
        }
        Ok(())
    }

    /// Whether the snapshot may be installed over `span`.
    pub(super) fn admits(&self, span: &KeySpan) -> Result<(), VersionStoreError> {
        self.check.admits(span)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a complete snapshot back, checking all of it again: it is installed only if it is still what
/// was received, also when the installation is finished after a crash.
pub(super) struct StagedPieces {
    path: PathBuf,
    file: BufReader<File>,
    bytes_left: u64,
    check: PieceCheck,
    is_over: bool,
}

impl StagedPieces {
    pub(super) fn open(path: &Path, shard: ShardId) -> Result<Self, VersionStoreError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes_left, file) = opened.map_err(|error| io_error(path, &error))?;
        Ok(StagedPieces {
            path: path.to_owned(),
            file: BufReader::new(file),
            bytes_left,
            check: PieceCheck::new(shard),
            is_over: false,
        })
    }

    fn next_piece(&mut self) -> Result<SnapshotPiece, VersionStoreError> {
        let cut = || damaged("a staged snapshot was cut");
        let mut head = [0; 8];
        self.bytes_left = self.bytes_left.checked_sub(head.len() as u64).ok_or_else(cut)?;
        self.file.read_exact(&mut head).map_err(|error| io_error(&self.path, &error))?;
        let [a, b, c, d, checksum @ ..] = head;
        let len = u32::from_be_bytes([a, b, c, d]);
        self.bytes_left = self.bytes_left.checked_sub(u64::from(len)).ok_or_else(cut)?;
        let mut payload = vec![0; len as usize];
        self.file.read_exact(&mut payload).map_err(|error| io_error(&self.path, &error))?;
        if crc32c::crc32c(&payload) != u32::from_be_bytes(checksum) {
            return Err(damaged("a piece of a staged snapshot fails its checksum"));
        }
        let piece = postcard::from_bytes(&payload)
            .map_err(|_| damaged("a piece of a staged snapshot cannot be decoded"))?;
        let checked = self.check.next(&piece, &payload);
        self.is_over = checked.map_err(|error| damaged(&error.to_string()))?;
        Ok(piece)
    }
}

impl Iterator for StagedPieces {
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

/// Removes a shard's file, if there is one.
pub(super) fn discard(path: &Path) -> Result<(), VersionStoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Empties the directory, creating it if need be.
pub(super) fn clear(directory: &Path) -> Result<(), VersionStoreError> {
    let empty = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for entry in fs::read_dir(directory)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    };
    empty().map_err(|error| io_error(directory, &error))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

pub(super) fn io_error(path: &Path, error: &io::Error) -> VersionStoreError {
    VersionStoreError::Failed { reason: format!("{}: {error}", path.display()) }
}
