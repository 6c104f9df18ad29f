use super::harness::{entry, id, voters};
use crate::shard::raft::convert::entry_to_raft;
use crate::shard::raft::window::Window;
use crate::storage::record::HardState;
use ::raft::{Error, GetEntriesContext, Storage, StorageError};
use proto::LogIndex;
use raft_protobuf::Message as _;

/// Entries 5 to 9, of eight bytes each; everything before is gone.
fn window() -> Window {
    let entries = (5..=9).map(|index| entry_to_raft(entry(2, index, "8 bytes!"))).collect();
    Window::new(id(1, 4), entries, LogIndex(6), voters([1]), HardState::default())
}

fn indexes(low: u64, high: u64, max_size: u64) -> Result<Vec<u64>, Error> {
    let entries = window().entries(low, high, max_size, GetEntriesContext::empty(false))?;
    Ok(entries.iter().map(|entry| entry.index).collect())
}

#[test]
fn entries_are_those_of_the_range() {
    assert_eq!(indexes(5, 10, u64::MAX).unwrap(), [5, 6, 7, 8, 9]);
    assert_eq!(indexes(6, 8, u64::MAX).unwrap(), [6, 7]);
    assert!(indexes(6, 6, u64::MAX).unwrap().is_empty());
}

#[test]
fn entries_stop_at_the_size_but_never_before_the_first() {
    let one = u64::from(entry_to_raft(entry(2, 5, "8 bytes!")).compute_size());
    assert_eq!(indexes(5, 10, 2 * one).unwrap(), [5, 6]);
    assert_eq!(indexes(5, 10, 2 * one - 1).unwrap(), [5]);
    assert_eq!(indexes(5, 10, 0).unwrap(), [5]);
}

#[test]
fn entries_outside_of_the_window_are_an_error() {
    assert_eq!(indexes(4, 6, 0), Err(Error::Store(StorageError::Compacted)));
    assert_eq!(indexes(5, 11, 0), Err(Error::Store(StorageError::Unavailable)));
}

#[test]
fn term_is_known_from_the_last_truncated_entry_on() {
    let window = window();
    assert_eq!(window.term(3), Err(Error::Store(StorageError::Compacted)));
    assert_eq!(window.term(4), Ok(1));
    assert_eq!(window.term(9), Ok(2));
    assert_eq!(window.term(10), Err(Error::Store(StorageError::Unavailable)));
}

#[test]
fn snapshot_is_named_after_the_applied_entry_or_is_not_to_be_had() {
    let window = window();
    let snapshot = window.snapshot(6, 2).unwrap();
    assert_eq!((snapshot.get_metadata().index, snapshot.get_metadata().term), (6, 2));
    let unavailable = Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
    assert_eq!(window.snapshot(7, 2), unavailable);
    let empty = Window::new(
        id(0, 0),
        std::collections::VecDeque::new(),
        LogIndex(0),
        voters([1]),
        HardState::default(),
    );
    assert_eq!(empty.snapshot(0, 2), unavailable);
}

#[test]
#[should_panic(expected = "leaves a gap")]
fn append_behind_a_gap_panics() {
    window().append(vec![entry_to_raft(entry(2, 11, "a"))]);
}

#[test]
#[should_panic(expected = "at or below the truncated")]
fn append_into_the_truncated_part_panics() {
    window().append(vec![entry_to_raft(entry(2, 4, "a"))]);
}
