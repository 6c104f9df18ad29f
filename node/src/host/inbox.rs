//! What waits for a core: filled by connections, other cores and the log's thread, emptied once a pass.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A queue with one reader. Emptying it takes the lock once for everything.
#[derive(Debug)]
pub struct Inbox<T> {
    queue: Mutex<Vec<T>>,
    wake: Notify,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Inbox { queue: Mutex::new(Vec::new()), wake: Notify::new() }
    }
}

impl<T> Inbox<T> {
    /// Adds one.
    pub fn push(&self, item: T) {
        let mut queue = self.queue.lock();
        queue.push(item);
        // Somebody who found it filled is on the way already.
        if queue.len() == 1 {
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Adds many.
    pub fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut queue = self.queue.lock();
        let was_empty = queue.is_empty();
        queue.extend(items);
        if was_empty && !queue.is_empty() {
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Takes everything into `into`, which keeps its capacity.
    pub fn take(&self, into: &mut Vec<T>) {
        into.clear();
        std::mem::swap(&mut *self.queue.lock(), into);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes a wake-up on that was for another reader.
    pub fn wake_again(&self) {
        self.wake.notify_one();
    }

    /// Completes once something was pushed into the empty queue.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }
}
