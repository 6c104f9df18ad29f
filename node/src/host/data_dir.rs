//! A node's data directory: its lock, who the node is, and which cluster it belongs to.
//!
//! ```text
//! DIR/LOCK        held by the running process
//! DIR/ballast     reserved space, given back when the disk is all but full
//! DIR/node.json   identity: written anew, synced and renamed at every change
//! DIR/log/        the log; DIR/versions/  the version store
//! ```
//! A directory that is lost takes its node id with it: a new one has a new uuid, and the cluster refuses it
//! the old id (T49).

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use proto::NodeId;
use serde::{Deserialize, Serialize};

use super::disk_space::Ballast;
use crate::shard::descriptor::ShardDescriptor;
use crate::system::NodeRecord;

/// The version of the directory's layout. Higher ones are refused.
const FORMAT: u32 = 1;

/// What `node.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The layout's version.
    pub format: u32,
    /// Minted when the directory was first opened.
    pub directory: [u8; 16],
    /// How often a process was started on it.
    pub starts: u32,
    /// The cluster, once the node belongs to one.
    pub member: Option<Member>,
}

/// A node's place in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The cluster.
    pub cluster: [u8; 16],
    /// The same on all nodes and told to nobody else: seals what clients bring back.
    pub secret: [u8; 16],
    /// The node.
    pub node: NodeId,
    /// The nodes it was told of; the registry has them all.
    pub nodes: Vec<NodeRecord>,
    /// The system shard, by which everything else is found.
    pub system_shard: ShardDescriptor,
    /// The system shard's first rows, the same on all its replicas.
    pub seed: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the log and the version store were created: from then on they must be there.
    pub storage_created: bool,
}

/// Why a data directory cannot be used. Exit code 4.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused.
    #[error("data directory {path}: {action}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error(
        "data directory {path} is in use by another process; stop that one, or choose another directory"
    )]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "data directory {path} has format {format}, this program knows {FORMAT}; start the newer version that wrote it"
    )]
    Newer {
        /// Where.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// `node.json` makes no sense.
    #[error("{path} is damaged: {reason}; replace this node with an empty directory")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// An open, locked data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    _lock: File,
}

impl DataDir {
    /// Opens and locks the directory, creating it if need be, and counts the start. `fresh` is the uuid that a
    /// new directory gets.
    pub fn open(path: &Path, fresh: [u8; 16]) -> Result<Self, DataDirError> {
        let io = |action| move |source| DataDirError::Io { path: path.to_owned(), action, source };
        std::fs::create_dir_all(path).map_err(io("creating it"))?;
        let lock = File::create(path.join("LOCK")).map_err(io("creating LOCK"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io("locking LOCK")(source)),
        }
        // What follows writes, and a full disk is no reason not to start (T52).
        Ballast::of(path).release_if_needed().map_err(io("releasing the ballast"))?;
        let file = path.join("node.json");
        let mut identity = match std::fs::read(&file) {
            Ok(bytes) => read_identity(&file, &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Identity { format: FORMAT, directory: fresh, starts: 0, member: None }
            }
            Err(source) => return Err(io("reading node.json")(source)),
        };
        identity.starts += 1;
        let mut dir = DataDir { path: path.to_owned(), identity, _lock: lock };
        dir.save()?;
        Ok(dir)
    }

    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the versions are.
    #[must_use]
    pub fn versions(&self) -> PathBuf {
        self.path.join("versions")
    }

    /// Records the node's place in a cluster, durably.
    pub fn set_member(&mut self, member: Member) -> Result<(), DataDirError> {
        self.identity.member = Some(member);
        self.save()
    }

    fn save(&mut self) -> Result<(), DataDirError> {
        let io = |action| {
            let path = self.path.clone();
            move |source| DataDirError::Io { path, action, source }
        };
        let bytes = serde_json::to_vec_pretty(&self.identity)
            .expect("an identity has no map keys but strings, and a vector grows");
        let (file, temporary) = (self.path.join("node.json"), self.path.join("node.json.new"));
        let mut out = File::create(&temporary).map_err(io("creating node.json.new"))?;
        out.write_all(&bytes).map_err(io("writing node.json.new"))?;
        out.sync_all().map_err(io("syncing node.json.new"))?;
        std::fs::rename(&temporary, &file).map_err(io("renaming node.json.new"))?;
        let directory = File::open(&self.path).map_err(io("opening it"))?;
        directory.sync_all().map_err(io("syncing it"))
    }
}

fn read_identity(file: &Path, bytes: &[u8]) -> Result<Identity, DataDirError> {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    let damaged = |e: serde_json::Error| DataDirError::Damaged {
        path: file.to_owned(),
        reason: e.to_string(),
    };
    // The format first: a newer file may have fields that this program cannot read.
    let OnlyFormat { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > FORMAT {
        let path = file.parent().unwrap_or(file).to_owned();
        return Err(DataDirError::Newer { path, format });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_opened_twice_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path(), [1; 16]).unwrap();
        assert!(matches!(DataDir::open(dir.path(), [2; 16]), Err(DataDirError::Locked { .. })));
        drop(first);
        let again = DataDir::open(dir.path(), [2; 16]).unwrap();
        assert_eq!(again.identity().directory, [1; 16]);
        assert_eq!(again.identity().starts, 2);
    }

    #[test]
    fn newer_format_is_refused_whatever_else_it_has() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("node.json"), br#"{"format": 7, "other": []}"#).unwrap();
        let refused = DataDir::open(dir.path(), [1; 16]);
        assert!(matches!(refused, Err(DataDirError::Newer { format: 7, .. })));
    }

    #[test]
    fn damaged_identity_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("node.json"), b"{\"format\": 1, \"dire").unwrap();
        let refused = DataDir::open(dir.path(), [1; 16]);
        assert!(matches!(refused, Err(DataDirError::Damaged { .. })));
    }
}
