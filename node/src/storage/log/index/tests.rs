use super::*;
use crate::storage::record::EntryKind;

const SHARD: ShardId = ShardId(1);

fn place(segment: u64, start: u64, end: u64) -> Place {
    Place { segment: SegmentNumber(segment), start, end }
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
    let entry = |index| LogEntry {
        id: EntryId { term: Term(term), index: LogIndex(index) },
        kind: EntryKind::Normal,
        data: Bytes::from_static(&[0; 92]),
    };
    indexes.map(entry).collect()
}

fn index() -> Index {
    let mut index = Index::default();
    let created = LogRecord::Created { shard: SHARD, descriptor: Bytes::new() };
    index.apply(&created, place(1, 0, 10)).unwrap();
    index
}

fn push(index: &mut Index, term: u64, indexes: std::ops::RangeInclusive<u64>, place: Place) {
    let entries = entries(term, indexes);
    index.apply(&LogRecord::Entries { shard: SHARD, entries }, place).unwrap();
}

/// `first..last@term segment:start-end bytes` for each run.
fn runs(index: &Index) -> Vec<String> {
    let text = |run: &Run| {
        let place = run.place.map_or(String::from("?"), |place| {
            format!("{}:{}-{}", place.segment.0, place.start, place.end)
        });
        format!("{}..{}@{} {place} {}", run.first, run.last, run.term, run.bytes)
    };
    index.shard(SHARD).unwrap().runs().map(text).collect()
}

#[test]
fn entries_close_together_make_one_run() {
    let mut index = index();
    push(&mut index, 1, 1..=2, place(1, 100, 400));
    push(&mut index, 1, 3..=3, place(1, 700, 900));
    assert_eq!(runs(&index), ["1..3@1 1:100-900 300"]);
}

#[test]
fn entries_of_another_term_segment_or_far_away_make_another_run() {
    let mut index = index();
    push(&mut index, 1, 1..=1, place(1, 100, 200));
    push(&mut index, 2, 2..=2, place(1, 200, 300));
    push(&mut index, 2, 3..=3, place(2, 100, 200));
    push(&mut index, 2, 4..=4, place(2, RUN_SPAN_MAX, RUN_SPAN_MAX + 200));
    assert_eq!(
        runs(&index),
        [
            "1..1@1 1:100-200 100",
            "2..2@2 1:200-300 100",
            "3..3@2 2:100-200 100",
            "4..4@2 2:1048576-1048776 100"
        ]
    );
}

#[test]
fn replaced_and_truncated_entries_leave_their_runs() {
    let mut index = index();
    push(&mut index, 1, 1..=6, place(1, 100, 800));
    push(&mut index, 2, 5..=5, place(1, 800, 900));
    let through = EntryId { term: Term(1), index: LogIndex(2) };
    index.apply(&LogRecord::Truncated { shard: SHARD, through }, place(1, 900, 950)).unwrap();
    assert_eq!(runs(&index), ["3..4@1 1:100-800 200", "5..5@2 1:800-900 100"]);
}

#[test]
fn moved_entries_split_the_runs_they_were_in() {
    let mut index = index();
    push(&mut index, 1, 1..=6, place(1, 100, 800));
    push(&mut index, 1, 7..=8, place(2, 100, 300));
    index.apply_moved(SHARD, &entries(1, 3..=4), place(3, 0, 50)).unwrap();
    assert_eq!(
        runs(&index),
        [
            "1..2@1 1:100-800 200",
            "3..4@1 3:0-50 200",
            "5..6@1 1:100-800 200",
            "7..8@1 2:100-300 200"
        ]
    );
    index.apply_moved(SHARD, &entries(1, 2..=7), place(4, 0, 50)).unwrap();
    assert_eq!(runs(&index), ["1..1@1 1:100-800 100", "2..7@1 4:0-50 600", "8..8@1 2:100-300 100"]);
}

#[test]
fn moved_entry_that_does_not_count_is_refused() {
    let mut index = index();
    push(&mut index, 1, 1..=3, place(1, 100, 800));
    for (term, at) in [(1, 4), (2, 3)] {
        let result = index.apply_moved(SHARD, &entries(term, at..=at), place(3, 0, 50));
        assert!(matches!(result, Err(BrokenRule::NotRetained { .. })), "{result:?}");
    }
}

#[test]
fn seeded_index_knows_terms_and_learns_places() {
    let mut index = index();
    push(&mut index, 1, 1..=3, place(1, 100, 800));
    push(&mut index, 2, 4..=6, place(2, 100, 800));
    let mut seeded = Index::seeded(index.checkpoint());
    assert_eq!(seeded.checkpoint(), index.checkpoint());
    assert_eq!(runs(&seeded), ["1..3@1 ? 0", "4..6@2 ? 0"]);
    seeded.apply_moved(SHARD, &entries(1, 2..=3), place(3, 0, 50)).unwrap();
    assert_eq!(runs(&seeded), ["1..1@1 ? 0", "2..3@1 3:0-50 200", "4..6@2 ? 0"]);
    assert_eq!(seeded.checkpoint(), index.checkpoint());
}
