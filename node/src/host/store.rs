//! The version store as the cores of a node share it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::versions::fjall_store::FjallStore;

/// One store for all cores: a batch or a read holds it for microseconds.
#[derive(Clone)]
pub struct SharedStore {
    store: Arc<Mutex<FjallStore>>,
}

impl SharedStore {
    /// Shares the store.
    #[must_use]
    pub fn new(store: FjallStore) -> Self {
        SharedStore { store: Arc::new(Mutex::new(store)) }
    }

    /// Works on the store.
    pub fn with<T>(&self, work: impl FnOnce(&mut FjallStore) -> T) -> T {
        work(&mut self.store.lock())
    }
}
