//! The few things that the log asks of a disk. Blocking and small, so that a simulator can stand in
//! for it: the host calls it from the thread that syncs, the simulator inline.

use std::io;

/// A directory of files. Paths are plain names, without separators.
pub trait Disk: Send {
    /// An open file of this disk.
    type File: DiskFile;

    /// Names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file; it is an error when it exists.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Renames, replacing what had the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// How much more can be written; `u64::MAX` when there is no telling.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Makes creations, renames and removals durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: Send {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reserves space and sets the length, zero-filled, so that later writes only overwrite.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Fills `buffer` from `offset`; it is an error when the file ends before that.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable. After an error nothing may be assumed of any of it (T46).
    fn sync(&self) -> io::Result<()>;
}
