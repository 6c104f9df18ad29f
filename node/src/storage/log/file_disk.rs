//! A directory of the real file system as a [`Disk`].
//!
//! Not here: the lock that keeps a second process out of the directory; whoever owns the data
//! directory takes it.

use crate::storage::disk::{Disk, DiskFile};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const ZEROS: &[u8] = &[0; 1 << 18];

/// The files directly in one directory.
#[derive(Clone, Debug)]
pub struct FileDisk {
    directory: PathBuf,
}

impl FileDisk {
    /// The disk of an existing directory, or of one that is made now, durably.
    pub fn open(directory: &Path) -> io::Result<FileDisk> {
        if !directory.is_dir() {
            fs::create_dir(directory)?;
            if let Some(parent) = directory.parent().filter(|parent| parent.is_dir()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(FileDisk { directory: directory.to_path_buf() })
    }

    fn path(&self, name: &str) -> PathBuf {
        assert!(!name.contains(['/', '\0']), "file name {name:?} is not a plain name");
        self.directory.join(name)
    }
}

impl Disk for FileDisk {
    type File = RealFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of ours.
            if let (true, Ok(name)) =
                (entry.file_type()?.is_file(), entry.file_name().into_string())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<RealFile> {
        let options = File::options().read(true).write(true).create_new(true).open(self.path(name));
        options.map(RealFile)
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        File::options().read(true).write(true).open(self.path(name)).map(RealFile)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.directory)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

/// An open file of a [`FileDisk`].
#[derive(Debug)]
pub struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Writes real zeros up to `len`; never shrinks. Space that is only reserved (`fallocate`) would be
    /// marked as written on first use, which makes each sync of the log wait for the file system's
    /// journal.
    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut end = self.len()?;
        while end < len {
            let step = usize::try_from(len - end).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
            self.0.write_all_at(&ZEROS[..step], end)?;
            end += step as u64;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    /// `fdatasync`: also makes a new length durable, but no times.
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, FileDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(&directory.path().join("log")).unwrap();
        (directory, disk)
    }

    #[test]
    fn list_files_are_sorted_and_directories_left_out() {
        let (_directory, disk) = disk();
        disk.create("b").unwrap();
        disk.create("a").unwrap();
        fs::create_dir(disk.path("c")).unwrap();
        assert_eq!(disk.list().unwrap(), ["a", "b"]);
    }

    #[test]
    fn create_existing_name_fails() {
        let (_directory, disk) = disk();
        disk.create("a").unwrap();
        assert_eq!(disk.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn allocate_keeps_what_is_there_and_appends_zeros() {
        let (_directory, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(b"abc", 0).unwrap();
        file.allocate(600_000).unwrap();
        file.allocate(10).unwrap();
        assert_eq!(file.len().unwrap(), 600_000);
        let mut bytes = vec![1; 600_000];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes[..3], b"abc");
        assert!(bytes[3..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn read_behind_the_end_fails() {
        let (_directory, disk) = disk();
        let file = disk.create("a").unwrap();
        file.allocate(10).unwrap();
        let kind = file.read_at(&mut [0; 4], 8).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn rename_replaces_and_remove_removes() {
        let (_directory, disk) = disk();
        disk.create("a").unwrap().write_at(b"new", 0).unwrap();
        disk.create("b").unwrap().write_at(b"older", 0).unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_directory().unwrap();
        assert_eq!(disk.list().unwrap(), ["b"]);
        assert_eq!(disk.open("b").unwrap().len().unwrap(), 3);
        disk.remove("b").unwrap();
        assert!(disk.list().unwrap().is_empty());
    }
}
