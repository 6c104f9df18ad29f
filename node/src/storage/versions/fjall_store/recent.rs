//! The newest versions of keys that were written of late.
//!
//! Every write looks for the version that it replaces, on each replica, and what a transaction reads under
//! locks was often written a moment ago. Finding it in the engine's memtable is a walk through a skip list, at
//! ten times the price of a hash map.
//!
//! What is in here is what `data` holds, with one exception that nobody can tell: a tombstone may stay that was
//! collected, and a key without a version reads the same. An entry leaves when others need its room, the one
//! that came first, however often it was written again: its next write brings it back.
//!
//! Not here: rows that are only read. A view may be older than what was applied since, so nothing that was read
//! through one comes in.

use proto::{Key, Value};
use std::collections::{HashMap, VecDeque};
use truetime::Timestamp;

/// What an entry takes beside the bytes of its key and value: counts of their owners, places in the map and in
/// the queue.
const ENTRY_BYTES: usize = 160;

/// A version without its key; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) timestamp: Timestamp,
    pub(super) value: Option<Value>,
}

/// The map, with a limit in bytes.
pub(super) struct Recent {
    newest: HashMap<Key, Newest>,
    /// The keys of the map, in the order in which they came.
    order: VecDeque<Key>,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    pub(super) fn new(bytes_max: usize) -> Self {
        Recent { newest: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The newest version of the key; `None` says nothing.
    pub(super) fn get(&self, key: &Key) -> Option<&Newest> {
        self.newest.get(key)
    }

    /// Notes what has been applied.
    pub(super) fn put(&mut self, key: Key, newest: Newest) {
        let bytes = size_of(&key, &newest);
        if let Some(before) = self.newest.get_mut(&key) {
            self.bytes = self.bytes - size_of(&key, before) + bytes;
            *before = newest;
        } else {
            self.bytes += bytes;
            self.order.push_back(key.clone());
            self.newest.insert(key, newest);
        }
        while self.bytes > self.bytes_max {
            let first = self.order.pop_front().expect("each entry is in the queue");
            let newest = self.newest.remove(&first).expect("each key of the queue has its entry");
            self.bytes -= size_of(&first, &newest);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Recent::new(self.bytes_max);
    }
}

fn size_of(key: &Key, newest: &Newest) -> usize {
    let value = newest.value.as_ref().map_or(0, |value| value.as_bytes().len());
    ENTRY_BYTES + key.as_bytes().len() + value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::from(vec![number])
    }

    fn newest(nanos: u64, len: usize) -> Newest {
        Newest { timestamp: Timestamp::from_nanos(nanos), value: Some(Value::from(vec![0; len])) }
    }

    /// Room for three entries with values of ten bytes.
    fn recent() -> Recent {
        Recent::new(3 * (ENTRY_BYTES + 11))
    }

    #[test]
    fn entry_that_came_first_leaves_first_though_it_was_written_again() {
        let mut recent = recent();
        for (number, nanos) in [(1, 1), (2, 2), (3, 3), (1, 4), (4, 5)] {
            recent.put(key(number), newest(nanos, 10));
        }
        assert_eq!(recent.get(&key(1)), None);
        assert_eq!(recent.get(&key(2)), Some(&newest(2, 10)));
        recent.put(key(1), newest(6, 10));
        assert_eq!(recent.get(&key(1)), Some(&newest(6, 10)));
        assert_eq!(recent.order.len(), recent.newest.len());
    }

    #[test]
    fn value_that_grows_takes_the_room_of_others() {
        let mut recent = recent();
        for number in [1, 2, 3] {
            recent.put(key(number), newest(1, 10));
        }
        recent.put(key(3), newest(2, 11));
        assert_eq!(recent.get(&key(1)), None);
        assert_eq!(recent.get(&key(3)), Some(&newest(2, 11)));
    }

    #[test]
    fn value_above_the_limit_is_not_kept_and_nothing_older_of_its_key() {
        let mut recent = recent();
        recent.put(key(1), newest(1, 10));
        recent.put(key(1), newest(2, 10_000));
        assert_eq!(recent.get(&key(1)), None);
        assert_eq!((recent.bytes, recent.order.len()), (0, 0));
    }

    #[test]
    fn cleared_one_is_empty() {
        let mut recent = recent();
        recent.put(key(1), newest(1, 10));
        recent.clear();
        assert_eq!((recent.get(&key(1)), recent.bytes), (None, 0));
    }
}
