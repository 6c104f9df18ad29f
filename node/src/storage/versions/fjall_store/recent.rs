//! The newest versions of keys that were written of late.
//!
//! Every write looks for the version that it replaces, on each replica, and what a transaction reads under
//! locks was often written a moment ago. Finding it in the engine's memtable is a walk through a skip list, at
//! ten times the price of a hash map.
//!
//! What is in here is what `data` holds, with one exception that nobody can tell: a tombstone may stay that was
//! collected, and a key without a version reads the same. An entry leaves when others need its room, the one
//! that came first, however often it was written again: its next write brings it back. A version that would take
//! too much of the room does not come in.
//!
//! Not here: rows that are only read. A view may be older than what was applied since, so nothing that was read
//! through one comes in.

use proto::{Key, Value};
use std::collections::{HashMap, VecDeque};
use truetime::Timestamp;

/// What an entry takes beside the bytes of its key and value: counts of their owners, places in the map and in
/// the queue.
const ENTRY_BYTES: usize = 160;

/// So many entries there is room for, whatever their size: one that would take more does not come in.
const ENTRIES_MIN: usize = 16;

/// A version without its key; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) timestamp: Timestamp,
    pub(super) value: Option<Value>,
}

/// The map, with a limit in bytes.
pub(super) struct Recent {
    /// One without a version keeps its place in the queue only: the key's newest version is too large.
    newest: HashMap<Key, Option<Newest>>,
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
        self.newest.get(key)?.as_ref()
    }

    /// Notes what has been applied. Also of a version that is too large for the map nothing older stays.
    pub(super) fn put(&mut self, key: Key, newest: Newest) {
        let newest = Some(newest)
            .filter(|newest| size_of(&key, Some(newest)) <= self.bytes_max / ENTRIES_MIN);
        let bytes = size_of(&key, newest.as_ref());
        if let Some(before) = self.newest.get_mut(&key) {
            self.bytes = self.bytes - size_of(&key, before.as_ref()) + bytes;
            *before = newest;
        } else if newest.is_some() {
            self.bytes += bytes;
            self.order.push_back(key.clone());
            self.newest.insert(key, newest);
        }
        while self.bytes > self.bytes_max {
            let first = self.order.pop_front().expect("each entry is in the queue");
            let newest = self.newest.remove(&first).expect("each key of the queue has its entry");
            self.bytes -= size_of(&first, newest.as_ref());
        }
    }

    /// Forgets everything. What that was is the caller's, since it takes a while to free.
    #[must_use = "it is freed where it is dropped, which is not to be under a lock"]
    pub(super) fn take(&mut self) -> Recent {
        let empty = Recent::new(self.bytes_max);
        std::mem::replace(self, empty)
    }
}

fn size_of(key: &Key, newest: Option<&Newest>) -> usize {
    let value = newest.and_then(|newest| newest.value.as_ref());
    ENTRY_BYTES + key.as_bytes().len() + value.map_or(0, |value| value.as_bytes().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many entries with values of ten bytes there is room for, each of which takes all that one may.
    const ROOM: u8 = 16;

    fn key(number: u8) -> Key {
        Key::from(vec![number])
    }

    fn newest(nanos: u64, len: usize) -> Newest {
        Newest { timestamp: Timestamp::from_nanos(nanos), value: Some(Value::from(vec![0; len])) }
    }

    /// Full of the keys below [`ROOM`], in that order.
    fn full() -> Recent {
        let mut recent = Recent::new(usize::from(ROOM) * (ENTRY_BYTES + 11));
        for number in 0..ROOM {
            recent.put(key(number), newest(1, 10));
        }
        assert_eq!((recent.bytes, recent.order.len()), (recent.bytes_max, usize::from(ROOM)));
        recent
    }

    fn known(recent: &Recent) -> Vec<u8> {
        (0..=u8::MAX).filter(|number| recent.get(&key(*number)).is_some()).collect()
    }

    #[test]
    fn entry_that_came_first_leaves_first_though_it_was_written_again() {
        let mut recent = full();
        recent.put(key(0), newest(2, 10));
        recent.put(key(ROOM), newest(3, 10));
        assert_eq!(known(&recent), (1..=ROOM).collect::<Vec<_>>());
        recent.put(key(0), newest(4, 10));
        assert_eq!(recent.get(&key(0)), Some(&newest(4, 10)));
        assert_eq!(recent.order.len(), recent.newest.len());
    }

    #[test]
    fn value_that_grows_takes_the_room_of_others() {
        let mut recent = Recent::new(ENTRIES_MIN * (ENTRY_BYTES + 101));
        let count = u8::try_from(recent.bytes_max / (ENTRY_BYTES + 1)).unwrap();
        for number in 0..count {
            recent.put(key(number), newest(1, 0));
        }
        assert_eq!(known(&recent).len(), usize::from(count));
        for number in [3, 4] {
            recent.put(key(number), newest(2, 100));
        }
        assert_eq!(known(&recent), (1..count).collect::<Vec<_>>());
        assert_eq!(recent.get(&key(4)), Some(&newest(2, 100)));
    }

    #[test]
    fn value_above_its_share_drives_nothing_out() {
        let mut recent = full();
        for len in [11, 10_000] {
            recent.put(key(100), newest(2, len));
        }
        assert_eq!(known(&recent), (0..ROOM).collect::<Vec<_>>());
        assert_eq!(recent.order.len(), usize::from(ROOM));
    }

    #[test]
    fn value_above_its_share_leaves_nothing_older_of_its_key() {
        for len in [11, 10_000] {
            let mut recent = full();
            recent.put(key(3), newest(2, len));
            assert_eq!(recent.get(&key(3)), None);
            assert_eq!(known(&recent).len(), usize::from(ROOM) - 1);
            recent.put(key(3), newest(3, len));
            assert_eq!(recent.get(&key(3)), None);
            recent.put(key(3), newest(4, 10));
            assert_eq!(recent.get(&key(3)), Some(&newest(4, 10)));
            assert_eq!(recent.bytes, recent.bytes_max);
        }
    }

    #[test]
    fn key_whose_value_was_too_large_leaves_in_its_turn() {
        let mut recent = full();
        recent.put(key(0), newest(2, 11));
        for number in ROOM..ROOM * 3 {
            recent.put(key(number), newest(3, 10));
        }
        assert_eq!(known(&recent), (ROOM * 2..ROOM * 3).collect::<Vec<_>>());
        assert_eq!(
            (recent.order.len(), recent.newest.len()),
            (usize::from(ROOM), usize::from(ROOM))
        );
        recent.put(key(0), newest(4, 10));
        assert_eq!(recent.get(&key(0)), Some(&newest(4, 10)));
    }

    #[test]
    fn taken_one_leaves_an_empty_one_with_the_same_limit() {
        let mut recent = full();
        let taken = recent.take();
        assert_eq!(known(&taken).len(), usize::from(ROOM));
        assert_eq!((known(&recent), recent.bytes), (Vec::new(), 0));
        assert_eq!(recent.bytes_max, taken.bytes_max);
    }
}
