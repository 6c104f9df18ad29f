//! What can go wrong with the log, and what to do then.

use super::index::BrokenRule;
use proto::{LogIndex, ShardId};
use std::fmt;
use std::io;

/// Why a call on the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused an operation. When it was a write or a sync, the log is poisoned.
    #[error(
        "{doing} {file}: {source}; what was being written is not acknowledged: restart the node, \
             and replace the disk if this repeats"
    )]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file's name in the log's directory.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier write or sync failed. Nothing is retried (T46).
    #[error(
        "the log is closed after a failed write or sync: restart the node, which checks what is \
             on the disk"
    )]
    Poisoned,
    /// There is no space for the next segment. Nothing was written and the log stays usable.
    #[error(
        "no space for the next log segment of {needed} bytes: {source}; refuse new work, free \
             space by truncating shards and reclaiming segments, then try again"
    )]
    Full {
        /// How large a segment was wanted.
        needed: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The batches of one call are larger than a frame may be. Nothing was written.
    #[error(
        "{bytes} bytes of records in one write, at most {bytes_max} are allowed: split the write"
    )]
    TooLarge {
        /// Encoded size.
        bytes: u64,
        /// [`super::LogOptions::batch_bytes_max`].
        bytes_max: u64,
    },
    /// Something that may have been acknowledged cannot be read. Nothing on the disk was changed.
    #[error("log file {file} is damaged at offset {offset}: {damage}{}; acknowledged data may be \
             lost: replace this node's data directory, and its replicas by new ones (T47)",
             Affected(.shards))]
    Corrupt {
        /// The file's name in the log's directory.
        file: String,
        /// Where in it.
        offset: u64,
        /// Shards that are known to be affected; empty when any may be.
        shards: Vec<ShardId>,
        /// What is wrong there.
        damage: Damage,
    },
    /// Another version of the program wrote this.
    #[error(
        "log file {file} has format {found}, this program reads {known}: start the version that \
             wrote it"
    )]
    UnsupportedFormat {
        /// The file's name in the log's directory.
        file: String,
        /// What the file says.
        found: u32,
        /// What this program writes.
        known: u32,
    },
    /// The log was expected to exist and does not.
    #[error(
        "there is no log in this directory, though this node had one: replace this node's data \
             directory, and its replicas by new ones (T49)"
    )]
    Missing,
}

impl LogError {
    /// Whether the log takes further calls after this error.
    #[must_use]
    pub fn leaves_log_usable(&self) -> bool {
        match self {
            LogError::Full { .. } | LogError::TooLarge { .. } => true,
            LogError::Io { .. }
            | LogError::Poisoned
            | LogError::Corrupt { .. }
            | LogError::UnsupportedFormat { .. }
            | LogError::Missing => false,
        }
    }
}

/// What recovery, or reading back, found wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The segment's header fails its checks. Headers are complete before a segment gets its name.
    #[error("the segment's header fails its checks")]
    Header,
    /// The file is a segment of another log.
    #[error("it belongs to log {found:016x}, not to {expected:016x}")]
    OtherLog {
        /// The log of the segments before it.
        expected: u64,
        /// The log that its header names.
        found: u64,
    },
    /// The header names another segment than the file's name.
    #[error("its header says that it is segment {found}")]
    OtherSegment {
        /// What the header says.
        found: u64,
    },
    /// The file does not have the length that its header names.
    #[error("it should have {expected} bytes and has {found}")]
    Length {
        /// What the header says.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// A frame is there in full, so no write was cut short, but it fails its checks.
    #[error("a frame that was written in full fails its checks")]
    Frame,
    /// A frame fails its checks, and what was written after it is there.
    #[error("a frame fails its checks, but a later one at offset {later} is valid")]
    FrameBeforeValid {
        /// Where the later frame starts.
        later: u64,
    },
    /// A valid frame does not continue the one before it.
    #[error("the frame here does not continue the one before it")]
    Unlinked,
    /// A later segment proves that this one's frames were written, and they are not there.
    #[error("the segment has no valid first frame, though a later segment exists")]
    NoOpening,
    /// A frame passes its checks and its content means nothing.
    #[error("the frame's content cannot be decoded")]
    Content,
    /// A frame passes its checks and contradicts those before it.
    #[error("the frame's content contradicts what came before: {0}")]
    Rule(Box<BrokenRule>),
    /// A segment that must exist does not.
    #[error("the file is missing")]
    Missing,
    /// Entries were in a segment that is no longer there.
    #[error("entries {first} to {last} were in an earlier segment, which is missing")]
    EntriesMissing {
        /// The first of them.
        first: LogIndex,
        /// The last of them.
        last: LogIndex,
    },
    /// The index points to frames that no longer hold the entries.
    #[error("entry {index} is not where it was written")]
    EntryNotFound {
        /// The first one that is not there.
        index: LogIndex,
    },
}

/// Lists shards behind a message.
struct Affected<'a>(&'a [ShardId]);

impl fmt::Display for Affected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(" (any shard of this node may be affected)");
        }
        f.write_str(" (shards affected:")?;
        for shard in self.0 {
            write!(f, " {shard}")?;
        }
        f.write_str(")")
    }
}

/// Whether the system said that there is no more space, as opposed to a broken disk.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
