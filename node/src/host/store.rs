//! The version store as the cores of a node share it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::storage::versions::fjall_store::FjallStore;

/// Reads that may be under way in the pool. Each keeps a view of the store and what it found so far.
const LONG_READS_MAX: usize = 32;

/// One store for all cores. Batches hold it, and whatever takes a view; what is long works on a view.
#[derive(Clone)]
pub struct SharedStore {
    store: Arc<Mutex<FjallStore>>,
    replacements: Arc<Mutex<Replacements>>,
    long_reads: Arc<AtomicUsize>,
}

type Work = Box<dyn FnOnce(&SharedStore) + Send>;

/// When a piece of bulk work has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Before all that waits: a replica that is being installed is not there meanwhile.
    Next,
    /// After all that waits.
    Last,
}

/// Bulk work that replaces whole shards, one after the other: a shard may be removed while a snapshot of it is
/// being installed.
#[derive(Default)]
struct Replacements {
    queue: VecDeque<Work>,
    /// Whether a thread of the pool is at it.
    busy: bool,
}

impl SharedStore {
    /// Shares the store.
    #[must_use]
    pub fn new(store: FjallStore) -> Self {
        SharedStore {
            store: Arc::new(Mutex::new(store)),
            replacements: Arc::default(),
            long_reads: Arc::default(),
        }
    }

    /// Works on the store.
    pub fn with<T>(&self, work: impl FnOnce(&mut FjallStore) -> T) -> T {
        work(&mut self.store.lock())
    }

    /// A place among the reads that the pool may have; `None` when it has enough.
    pub(super) fn long_read(&self) -> Option<LongRead> {
        let place = LongRead { count: self.long_reads.clone() };
        (place.count.fetch_add(1, Ordering::Relaxed) < LONG_READS_MAX).then_some(place)
    }

    /// Does `work` on a thread of the runtime's pool when its turn comes.
    pub(super) fn replace(&self, turn: Turn, work: impl FnOnce(&SharedStore) + Send + 'static) {
        let mut replacements = self.replacements.lock();
        match turn {
            Turn::Next => replacements.queue.push_front(Box::new(work)),
            Turn::Last => replacements.queue.push_back(Box::new(work)),
        }
        if std::mem::replace(&mut replacements.busy, true) {
            return;
        }
        let store = self.clone();
        tokio::task::spawn_blocking(move || {
            while let Some(work) = store.next_replacement() {
                work(&store);
            }
        });
    }

    fn next_replacement(&self) -> Option<Work> {
        let mut replacements = self.replacements.lock();
        let next = replacements.queue.pop_front();
        replacements.busy = next.is_some();
        next
    }
}

/// A place in the pool, given back when dropped.
pub(super) struct LongRead {
    count: Arc<AtomicUsize>,
}

impl Drop for LongRead {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
