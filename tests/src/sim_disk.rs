//! A disk for crash tests: it loses, tears and corrupts as real ones do, by a seed.
//!
//! It keeps two images apart. The *live* one is what reads and listings show. The *durable* one is what
//! was synced. [`SimDisk::crash`] makes the live image what a machine finds after a power failure: the
//! durable one, with each sector that was written since, each length and each name, by a draw of the
//! seed, in its old or its new state.
//!
//! ```text
//! write A; sync; write B over sectors 4..7    live: A B B B     after crash(seed), say: A A B A
//! ```
//! A sync that fails behaves like Linux: the live image keeps showing what was written, and no later
//! sync writes it (T46). Clones are the same disk. Not here: slow disks, other threads.

use node::storage::disk::{Disk, DiskFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

/// What fails, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies in this operation: it may have happened in part, and all after it fail.
    Death,
    /// The operation fails with an I/O error; others go on.
    Error,
}

/// How often each operation that changes something was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of a file's content.
    pub writes: u64,
    /// Of files.
    pub syncs: u64,
    /// All operations that change something or make it durable.
    pub all: u64,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    counts: Counts,
    /// By the number of the operation, counting from 0.
    faults: BTreeMap<u64, Fault>,
    dead: bool,
    capacity: Option<u64>,
}

#[derive(Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors of which the live image was written since the last sync that was tried.
    dirty: BTreeSet<usize>,
    /// Whether the length was changed since then.
    length_dirty: bool,
}

/// The kind of an operation that changes something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Write,
    Sync,
    Other,
}

impl SimDisk {
    /// An empty disk without limits or faults.
    #[must_use]
    pub fn new() -> Self {
        SimDisk::default()
    }

    /// Lets the operation with this number, counting from now at 0, meet a fault.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        let mut state = self.lock();
        let number = state.counts.all + operation;
        state.faults.insert(number, fault);
    }

    /// Takes back faults that were not met.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Limits the sum of the lengths of all files, or lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Counts since the disk was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Power fails and comes back.
    pub fn crash(&self, seed: u64) {
        let mut draw = Draw(seed);
        let mut state = self.lock();
        let names: BTreeSet<String> =
            state.live.keys().chain(state.durable.keys()).cloned().collect();
        let mut after = BTreeMap::new();
        for name in names {
            let (live, durable) = (state.live.get(&name), state.durable.get(&name));
            let found = if live == durable || draw.coin() { durable } else { live };
            after.extend(found.map(|inode| (name, *inode)));
        }
        for inode in &mut state.inodes {
            inode.crash(&mut draw);
        }
        state.durable = after.clone();
        state.live = after;
        state.faults.clear();
        state.dead = false;
    }

    /// The process dies and comes back, the machine goes on: the live image stays.
    pub fn restart_process(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.dead = false;
    }

    /// The content of a file, as it is seen.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.live.get(name).map(|inode| state.inodes[*inode].live.clone())
    }

    /// Changes a file behind everyone's back, durably: a bit that flips, a write that went astray.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn corrupt(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let inode = *state.live.get(name).expect("the file to corrupt exists");
        let inode = &mut state.inodes[inode];
        change(&mut inode.live);
        inode.durable.clone_from(&inode.live);
        inode.dirty.clear();
    }

    /// Removes a file behind everyone's back, durably.
    pub fn lose(&self, name: &str) {
        let mut state = self.lock();
        state.live.remove(name);
        state.durable.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn file(&self, inode: usize) -> SimFile {
        SimFile { state: Arc::clone(&self.state), inode }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn dead() -> io::Error {
    io::Error::other("the simulated process is dead")
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("no file {name}"))
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(dead()) } else { Ok(()) }
    }

    /// Counts a change. Returns the error with which it must end, though it happens.
    fn change(&mut self, kind: Change) -> io::Result<Option<io::Error>> {
        self.alive()?;
        let number = self.counts.all;
        self.counts.all += 1;
        match kind {
            Change::Write => self.counts.writes += 1,
            Change::Sync => self.counts.syncs += 1,
            Change::Other => {}
        }
        Ok(self.faults.remove(&number).map(|fault| match fault {
            Fault::Death => {
                self.dead = true;
                dead()
            }
            Fault::Error => io::Error::other("injected fault"),
        }))
    }

    fn used(&self) -> u64 {
        let inodes: BTreeSet<&usize> = self.live.values().collect();
        inodes.into_iter().map(|inode| self.inodes[*inode].live.len() as u64).sum()
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.live.len() {
            self.live.resize(end, 0);
            self.length_dirty = true;
        }
        self.live[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn sync(&mut self) {
        if self.length_dirty {
            self.durable.resize(self.live.len(), 0);
        }
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().for_each(|sector| self.copy_sector(sector));
        self.length_dirty = false;
    }

    /// What Linux does when writing back fails: it counts as written, and is not.
    fn fail_sync(&mut self) {
        self.dirty.clear();
        self.length_dirty = false;
    }

    fn crash(&mut self, draw: &mut Draw) {
        if self.length_dirty && draw.coin() {
            self.durable.resize(self.live.len(), 0);
        }
        let style = draw.next() % 3;
        for sector in std::mem::take(&mut self.dirty) {
            // All, none, or each by itself.
            if style == 0 || (style == 1 && draw.coin()) {
                self.copy_sector(sector);
            }
        }
        self.live.clone_from(&self.durable);
        self.length_dirty = false;
    }

    fn copy_sector(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.live.len()).min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.live[start..end]);
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.alive()?;
        Ok(state.live.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.lock();
        if state.live.contains_key(name) {
            state.alive()?;
            return Err(io::Error::new(ErrorKind::AlreadyExists, format!("file {name} exists")));
        }
        let failed = state.change(Change::Other)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.live.insert(name.to_owned(), inode);
        failed.map_or_else(|| Ok(self.file(inode)), Err)
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let state = self.lock();
        state.alive()?;
        let inode = *state.live.get(name).ok_or_else(|| not_found(name))?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        if !state.live.contains_key(from) {
            return Err(not_found(from));
        }
        let failed = state.change(Change::Other)?;
        let inode = state.live.remove(from).ok_or_else(|| not_found(from))?;
        state.live.insert(to.to_owned(), inode);
        failed.map_or(Ok(()), Err)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        if !state.live.contains_key(name) {
            state.alive()?;
            return Err(not_found(name));
        }
        let failed = state.change(Change::Other)?;
        state.live.remove(name);
        failed.map_or(Ok(()), Err)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        state.alive()?;
        let room = |capacity: u64| capacity.saturating_sub(state.used());
        Ok(state.capacity.map_or(u64::MAX, room))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(error) = state.change(Change::Other)? {
            return Err(error);
        }
        state.durable = state.live.clone();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = lock(&self.state);
        state.alive()?;
        Ok(state.inodes[self.inode].live.len() as u64)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let failed = state.change(Change::Other)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let room =
            state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used()));
        let inode = &mut state.inodes[self.inode];
        let old = inode.live.len();
        let fits = old.saturating_add(usize::try_from(room).unwrap_or(usize::MAX));
        if old < len {
            inode.write(&vec![0; len.min(fits) - old], old);
        }
        match failed {
            Some(error) => Err(error),
            None if len > fits => Err(ErrorKind::StorageFull.into()),
            None => Ok(()),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = lock(&self.state);
        state.alive()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state.inodes[self.inode].live.get(offset..offset.saturating_add(buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let failed = state.change(Change::Write)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        state.inodes[self.inode].write(bytes, offset);
        failed.map_or(Ok(()), Err)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let failed = state.change(Change::Sync)?;
        let dead = state.dead;
        let inode = &mut state.inodes[self.inode];
        match failed {
            // It died while the disk was at it: what is dirty is still in doubt.
            Some(error) if dead => Err(error),
            Some(error) => {
                inode.fail_sync();
                Err(error)
            }
            None => {
                inode.sync();
                Ok(())
            }
        }
    }
}

/// splitmix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }
}
