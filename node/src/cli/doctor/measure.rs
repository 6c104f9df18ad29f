//! What `spandrel doctor` finds on this machine.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Client, Config};
use rustix::process::{Resource, getrlimit};
use tokio::time::Instant;

/// As the log writes: blocks into space that was allocated before.
const BLOCK_BYTES: usize = 4 << 10;
const BLOCKS: u64 = 256;
/// Enough for a 99th percentile, and over in a second or two on a slow disk.
const SYNCS: u32 = 300;
/// On a disk that is slower still, fewer do.
const SYNC_TIME_MAX: Duration = Duration::from_secs(10);

/// How long syncs take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syncs {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) count: usize,
    /// Whether the file system is none of a disk.
    pub(super) in_memory: bool,
}

/// A file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk {
    pub(super) free: u64,
    pub(super) size: u64,
}

/// Of the machine, or of the group of processes that this one is confined to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) available: u64,
    pub(super) total: u64,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Free,
    /// A node listens on it.
    Ours,
    Taken,
}

/// The directory, or the nearest one above it that exists.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

/// Syncs of single blocks, one after the other.
pub(super) fn syncs(data_dir: &Path) -> Result<Syncs, String> {
    let directory = existing(data_dir);
    let path = directory.join(format!(".spandrel-doctor-{}", std::process::id()));
    let measured = measure(&path);
    // It may not have been created.
    let _ = std::fs::remove_file(&path);
    let mut times = measured
        .map_err(|error| format!("{} cannot be written to: {error}", directory.display()))?;
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let in_memory = is_in_memory(&directory);
    Ok(Syncs { p50: at(50), p99: at(99), count: times.len(), in_memory })
}

/// At least one.
fn measure(path: &Path) -> io::Result<Vec<Duration>> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let block = [0x5a_u8; BLOCK_BYTES];
    let write = |file: &File, number: u64| {
        let offset = number % BLOCKS * u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
        file.write_all_at(&block, offset)
    };
    for number in 0..BLOCKS {
        write(&file, number)?;
    }
    file.sync_all()?;
    let began = Instant::now();
    let mut times = Vec::new();
    for number in 0..SYNCS {
        let start = Instant::now();
        write(&file, number.into())?;
        file.sync_data()?;
        times.push(start.elapsed());
        if began.elapsed() > SYNC_TIME_MAX {
            break;
        }
    }
    Ok(times)
}

fn is_in_memory(directory: &Path) -> bool {
    /// Of `tmpfs` and `ramfs`, as the kernel numbers file systems.
    const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
    rustix::fs::statfs(directory).is_ok_and(|found| IN_MEMORY.contains(&found.f_type))
}

/// The file system of the data directory.
pub(super) fn disk(data_dir: &Path) -> Result<Disk, String> {
    let directory = existing(data_dir);
    let found = rustix::fs::statvfs(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let unit = found.f_frsize;
    Ok(Disk {
        free: found.f_bavail.saturating_mul(unit),
        size: found.f_blocks.saturating_mul(unit),
    })
}

/// How many files this process may open; `None` when there is no limit.
pub(super) fn files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many cores this process may use.
pub(super) fn cores() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u64::try_from(cores).unwrap_or(u64::MAX)
}

/// What there is of memory.
pub(super) fn memory() -> Result<Memory, String> {
    let info = std::fs::read_to_string("/proc/meminfo")
        .map_err(|error| format!("/proc/meminfo: {error}"))?;
    let mut memory = machine_memory(&info).ok_or("/proc/meminfo does not say")?;
    let read = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    if let Some(limit) = read("memory.max") {
        let used = read("memory.current").unwrap_or(0);
        memory.total = memory.total.min(limit);
        memory.available = memory.available.min(limit.saturating_sub(used));
    }
    Ok(memory)
}

fn machine_memory(info: &str) -> Option<Memory> {
    let kib = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(Memory { available: kib("MemAvailable")? * 1024, total: kib("MemTotal")? * 1024 })
}

/// Whether an address can be listened on.
pub(super) async fn port(address: &str) -> Result<Port, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(Port::Free),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // The HTTP port of a node does not answer this, and is told by its other one.
            let config = Config { streams: 1, discover_nodes: false, ..Config::default() };
            let found = Client::connect_with([address], config).await;
            let is_ours = found.is_ok() || answers_metrics(address);
            Ok(if is_ours { Port::Ours } else { Port::Taken })
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the HTTP pages of a node are there.
fn answers_metrics(address: &str) -> bool {
    use std::io::{Read, Write};
    let patience = Some(Duration::from_secs(2));
    let ask = || -> io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(1 << 20).read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("spandrel_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernels_table() {
        let info = "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\n";
        let memory = machine_memory(info).unwrap();
        assert_eq!((memory.available, memory.total), (8 << 20, 16 << 20));
        assert!(machine_memory("MemTotal: 1 kB\n").is_none());
    }

    #[test]
    fn syncs_leave_no_file_and_need_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let found = syncs(&dir.path().join("not/there/yet")).unwrap();
        assert!(found.count > 0 && found.p50 <= found.p99);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(disk(dir.path()).unwrap().size > 0);
    }

    #[tokio::test]
    async fn port_of_another_program_is_taken() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap().to_string();
        drop(other);
        assert_eq!(port(&address).await, Ok(Port::Free));
        assert!(port("nonsense").await.is_err());
    }
}
