//! The version store as the cores of a node share it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::versions::fjall_store::FjallStore;

/// One store for all cores: a batch or a read holds it for microseconds.
#[derive(Clone)]
pub struct SharedStore {
    store: Arc<Mutex<FjallStore>>,
    replacements: Arc<Mutex<Replacements>>,
}

/// Bulk work that replaces whole shards, in the order in which it was asked for: a shard may be removed while a
/// snapshot of it is being installed.
#[derive(Default)]
struct Replacements {
    queue: VecDeque<Box<dyn FnOnce(&SharedStore) + Send>>,
    /// Whether a thread of the pool is at it.
    busy: bool,
}

impl SharedStore {
    /// Shares the store.
    #[must_use]
    pub fn new(store: FjallStore) -> Self {
        SharedStore { store: Arc::new(Mutex::new(store)), replacements: Arc::default() }
    }

    /// Works on the store.
    pub fn with<T>(&self, work: impl FnOnce(&mut FjallStore) -> T) -> T {
        work(&mut self.store.lock())
    }

    /// Does `work` on a thread of the runtime's pool, after what was asked for before it.
    pub(super) fn replace(&self, work: impl FnOnce(&SharedStore) + Send + 'static) {
        let mut replacements = self.replacements.lock();
        replacements.queue.push_back(Box::new(work));
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

    fn next_replacement(&self) -> Option<Box<dyn FnOnce(&SharedStore) + Send>> {
        let mut replacements = self.replacements.lock();
        let next = replacements.queue.pop_front();
        replacements.busy = next.is_some();
        next
    }
}
