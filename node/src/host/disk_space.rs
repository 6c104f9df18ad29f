//! The free space of the data directory's file system, looked at now and then: below the watermark the cores
//! are told to take no new work, and a ballast is there for when somebody else takes the rest (T52).
//!
//! ```text
//! free   |....... new work taken .......|. watermark .|. new work refused .|. ballast released .| 0
//! ```
//! The *ballast* is a file of reserved space. It is deleted when the disk is all but full, also before a start,
//! and made again when there is plenty; so a node can write its outcomes, truncate its log and be
//! restarted. What is refused, and what goes on, is `txn`'s business.
//!
//! Not here: a version store whose own write finds no space. It ends the node, which the distance between
//! watermark, ballast and nothing is to prevent.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use txn::leader::DiskRoom;

use super::log_thread::LogStats;

/// Enough for two segments of the log.
const BALLAST_BYTES: u64 = 128 << 20;
/// With less than this the ballast goes: the next segment of the log, and what else a node writes.
const NEARLY_NOTHING: u64 = 96 << 20;
/// How often the file system is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The ballast of a data directory.
#[derive(Clone, Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
}

/// How the disk is, for `/metrics`.
#[derive(Debug, Default)]
pub struct DiskStats {
    /// What the file system has left for this node.
    pub free_bytes: AtomicU64,
    /// Whether new work is refused for it.
    pub short: AtomicBool,
}

/// What the file system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    free: u64,
    size: u64,
}

impl Ballast {
    /// That of the data directory, whether or not it is there.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Ballast { path: data_dir.join("ballast"), bytes: BALLAST_BYTES }
    }

    /// Gives it back when next to nothing else is left. Says whether it did.
    pub fn release_if_needed(&self) -> io::Result<bool> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        if look(directory)?.free >= NEARLY_NOTHING {
            return Ok(false);
        }
        self.release()
    }

    /// Gives it back. Says whether there was one.
    pub fn release(&self) -> io::Result<bool> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reserves its space, unless it is there. A file system that cannot reserve gets none.
    fn make(&self) -> io::Result<()> {
        let file = match File::create_new(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error),
        };
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, self.bytes).or_else(|error| {
            self.release()?;
            Err(error.into())
        })
    }

    fn exists(&self) -> bool {
        self.path.exists()
    }
}

fn look(directory: &Path) -> io::Result<Found> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(Found {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        size: found.f_blocks.saturating_mul(found.f_frsize),
    })
}

/// Below so much free space new work is refused: a twentieth, within bounds.
fn watermark(size: u64) -> u64 {
    (size / 20).clamp(256 << 20, 1 << 30)
}

/// What must be free before new work is taken again: more than the watermark, so that it does not
/// flutter, and than what releasing the ballast gives back.
fn recovery(size: u64) -> u64 {
    watermark(size) / 4 * 5
}

/// Whether there is room, after `before`. A log that finds no space knows better than the file system: there
/// are quotas.
fn judge(before: DiskRoom, found: Found, log_lacks_space: bool) -> DiskRoom {
    let wanted = match before {
        DiskRoom::Enough => watermark(found.size),
        DiskRoom::Short => recovery(found.size),
    };
    if log_lacks_space || found.free < wanted { DiskRoom::Short } else { DiskRoom::Enough }
}

/// Watches the disk for as long as it is polled; `tell` hears of each change.
pub(super) async fn watch(
    data_dir: PathBuf,
    log: Arc<LogStats>,
    stats: Arc<DiskStats>,
    tell: impl Fn(DiskRoom),
) {
    let mut room = DiskRoom::Enough;
    let mut told_of_failure = false;
    loop {
        let directory = data_dir.clone();
        let looked = tokio::task::spawn_blocking(move || look_and_adjust(&directory)).await;
        match looked.map_err(io::Error::other).flatten() {
            Ok(found) => {
                let lacks = log.lacks_spare.load(Ordering::Relaxed)
                    || log.waits_for_space.load(Ordering::Relaxed);
                let next = judge(room, found, lacks);
                stats.free_bytes.store(found.free, Ordering::Relaxed);
                stats.short.store(next == DiskRoom::Short, Ordering::Relaxed);
                if next != room {
                    room = next;
                    note(room, found, &data_dir);
                    tell(room);
                }
            }
            Err(error) if !told_of_failure => {
                told_of_failure = true;
                let path = data_dir.display();
                tracing::warn!(%error, %path, "the free space of the disk cannot be told");
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Looks, and gives the ballast back or makes it again.
fn look_and_adjust(directory: &Path) -> io::Result<Found> {
    let ballast = Ballast::of(directory);
    ballast.release_if_needed()?;
    let found = look(directory)?;
    let plenty = recovery(found.size).saturating_add(ballast.bytes);
    if found.free < plenty || ballast.exists() {
        return Ok(found);
    }
    // Where space cannot be reserved there is the watermark only.
    let _ = ballast.make();
    look(directory)
}

fn note(room: DiskRoom, found: Found, data_dir: &Path) {
    let (path, free_bytes) = (data_dir.display(), found.free);
    match room {
        DiskRoom::Short => {
            let wanted_bytes = recovery(found.size);
            tracing::warn!(
                %path, free_bytes, wanted_bytes,
                "the disk is nearly full: shards that this node leads refuse writes until there is more \
                 space; free or add some, no restart is needed"
            );
        }
        DiskRoom::Enough => {
            tracing::warn!(%path, free_bytes, "the disk has space again: writes are taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 100 << 30;

    fn found(mib: u64) -> Found {
        Found { free: mib << 20, size: SIZE }
    }

    #[test]
    fn room_changes_at_two_marks() {
        let (enough, short) = (DiskRoom::Enough, DiskRoom::Short);
        assert_eq!(judge(enough, found(1024), false), enough);
        assert_eq!(judge(enough, found(1023), false), short);
        assert_eq!(judge(short, found(1279), false), short);
        assert_eq!(judge(short, found(1280), false), enough);
    }

    #[test]
    fn log_without_space_is_short_whatever_the_file_system_says() {
        assert_eq!(judge(DiskRoom::Enough, found(50_000), true), DiskRoom::Short);
    }

    #[test]
    fn released_ballast_does_not_look_like_recovery() {
        for size in [1 << 30, 10 << 30, SIZE] {
            assert!(NEARLY_NOTHING + BALLAST_BYTES < recovery(size));
            assert!(watermark(size) < recovery(size));
        }
    }

    #[test]
    fn ballast_is_made_once_and_released_once() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast { bytes: 1 << 20, ..Ballast::of(dir.path()) };
        assert!(!ballast.release().unwrap());
        if ballast.make().is_err() {
            return assert!(!ballast.exists(), "nothing is left where space cannot be reserved");
        }
        ballast.make().unwrap();
        assert_eq!(std::fs::metadata(&ballast.path).unwrap().len(), 1 << 20);
        assert!(ballast.release().unwrap());
        assert!(!ballast.exists());
    }
}
