//! What the engine may use, and why opening can be refused.

use crate::storage::version_store::VersionStoreError;
use fjall::KeyspaceCreateOptions;
use fjall::config::FilterPolicy;
use std::path::PathBuf;

const MIB: u64 = 1024 * 1024;

/// Memory and threads of the engine. The default suits a process of 150 MB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FjallOptions {
    /// Decoded blocks of all keyspaces.
    pub cache_bytes: u64,
    /// The newest versions of keys that were written of late, for all shards together.
    pub recent_bytes: usize,
    /// When a memtable of `data` or `history` is written out. The engine counts payload only, takes
    /// about twice that, and keeps up to four full ones while its thread is behind. Fixed when the
    /// directory is created; a later value is ignored.
    pub memtable_bytes: u64,
    /// The same for `state`.
    pub state_memtable_bytes: u64,
    /// Threads that write out memtables and compact. One is best while there are few cores: with more,
    /// the engine keeps its first free for memtables by having it put compactions back into the queue,
    /// over and over, as long as another thread compacts.
    pub worker_threads: usize,
    /// Journals on disk before the engine writes out memtables that hold them back. At least 64 MiB.
    pub journal_bytes: u64,
    /// Open files. At least 10.
    pub files: usize,
}

impl Default for FjallOptions {
    fn default() -> Self {
        FjallOptions {
            cache_bytes: 48 * MIB,
            recent_bytes: 24 * 1024 * 1024,
            memtable_bytes: 4 * MIB,
            state_memtable_bytes: 2 * MIB,
            worker_threads: 1,
            journal_bytes: 64 * MIB,
            files: 256,
        }
    }
}

impl FjallOptions {
    /// Point reads find their table by filter.
    pub(super) fn data(&self) -> KeyspaceCreateOptions {
        KeyspaceCreateOptions::default().max_memtable_size(self.memtable_bytes)
    }

    /// Only ever read by range, which no filter helps.
    pub(super) fn history(&self) -> KeyspaceCreateOptions {
        self.data().filter_policy(FilterPolicy::disabled())
    }

    /// Read whole at opening, else only written.
    pub(super) fn state(&self) -> KeyspaceCreateOptions {
        self.history().max_memtable_size(self.state_memtable_bytes)
    }
}

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("{path} is in use by another process; stop that one or choose another data directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error(
        "{path} has version {found} of the version store's format, this release knows up to {known}; start the release that wrote it, or a later one"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest this code reads.
        known: u32,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] VersionStoreError),
}
