//! The log on the real file system. Crashes, damage and full disks: `tests/tests/log_crash`.

use super::*;
use crate::storage::record::{EntryKind, HardState, LogEntry};
use proto::{EntryId, LogIndex, ReplicaId, ShardId, Term};

const SHARD: ShardId = ShardId(1);

fn options() -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, ..LogOptions::new(Opening::MayCreate { log: 7 }) }
}

fn entry(term: u64, index: u64) -> LogEntry {
    LogEntry {
        id: EntryId { term: Term(term), index: LogIndex(index) },
        kind: EntryKind::Normal,
        data: vec![b'x'; 500].into(),
    }
}

fn entries(ids: &[(u64, u64)]) -> LogRecord {
    let entries = ids.iter().map(|(term, index)| entry(*term, *index)).collect();
    LogRecord::Entries { shard: SHARD, entries }
}

fn hard_state(term: u64, vote: Option<u64>, commit: u64) -> LogRecord {
    let vote = vote.map(ReplicaId);
    let state = HardState { term: Term(term), vote, commit: LogIndex(commit) };
    LogRecord::HardState { shard: SHARD, state }
}

fn truncated(term: u64, index: u64) -> LogRecord {
    let through = EntryId { term: Term(term), index: LogIndex(index) };
    LogRecord::Truncated { shard: SHARD, through }
}

fn created() -> LogRecord {
    LogRecord::Created { shard: SHARD, descriptor: b"who"[..].into() }
}

/// A log with one shard after each of the writes.
fn log_of(writes: &[&[LogRecord]]) -> (tempfile::TempDir, Log<FileDisk>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(FileDisk::open(directory.path()).unwrap(), options()).unwrap();
    log.write_and_sync(&[[created(), hard_state(2, None, 0)]]).unwrap();
    writes.iter().for_each(|records| log.write_and_sync(&[records]).unwrap());
    (directory, log)
}

/// What the shard is after a restart.
fn recovered(writes: &[&[LogRecord]]) -> RecoveredShard {
    let (directory, log) = log_of(writes);
    drop(log);
    let (_, recovered) = Log::open(FileDisk::open(directory.path()).unwrap(), options()).unwrap();
    assert_eq!(recovered.torn_tail, None);
    recovered.shards.into_values().next().unwrap()
}

fn ids(shard: &RecoveredShard) -> Vec<(u64, u64)> {
    shard.entries.iter().map(|entry| (entry.id.term.0, entry.id.index.0)).collect()
}

#[test]
fn fresh_log_is_empty_and_has_its_first_segment() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(directory.path()).unwrap();
    let (log, found) = Log::open(disk.clone(), options()).unwrap();
    assert_eq!(found, Recovered::default());
    assert_eq!(log.id(), 7);
    assert_eq!(log.space().bytes, 16 << 10);
    assert_eq!(disk.list().unwrap(), ["log-0000000000000001.seg"]);
}

#[test]
fn written_records_are_recovered_over_many_segments() {
    let ids_written: Vec<(u64, u64)> = (1..=100).map(|index| (2, index)).collect();
    let writes: Vec<[LogRecord; 2]> =
        ids_written.chunks(3).map(|ids| [entries(ids), hard_state(2, Some(3), ids[0].1)]).collect();
    let writes: Vec<&[LogRecord]> = writes.iter().map(|write| &write[..]).collect();
    let (directory, log) = log_of(&writes);
    assert!(log.space().segments > 3);
    assert!(log.space().retained_bytes > 100 * 500);
    drop(log);
    let (log, found) = Log::open(FileDisk::open(directory.path()).unwrap(), options()).unwrap();
    let shard = &found.shards[&SHARD];
    assert_eq!(shard.descriptor, &b"who"[..]);
    let commit = LogIndex(100);
    assert_eq!(shard.hard_state, HardState { term: Term(2), vote: Some(ReplicaId(3)), commit });
    assert_eq!(ids(shard), ids_written);
    assert_eq!(shard.entries[41], entry(2, 42));
    // And read back one by one, as for a follower that is far behind.
    for index in 1..=100 {
        let found = log.entries(SHARD, LogIndex(index), 1).unwrap();
        assert_eq!(found, [entry(2, index)]);
    }
    assert_eq!(log.entries(SHARD, LogIndex(101), 1).unwrap(), []);
    assert_eq!(log.entries(ShardId(2), LogIndex(1), 1).unwrap(), []);
}

#[test]
fn empty_write_does_nothing() {
    let (_directory, mut log) = log_of(&[]);
    let before = log.space();
    log.write_and_sync::<[LogRecord; 0]>(&[]).unwrap();
    log.write_and_sync(&[[], []]).unwrap();
    assert_eq!(log.space(), before);
}

#[test]
fn overwritten_entry_drops_those_behind_it() {
    let shard = recovered(&[
        &[entries(&[(1, 1), (1, 2), (1, 3), (1, 4)])],
        &[hard_state(3, None, 1), entries(&[(3, 2)])],
        &[entries(&[(3, 3)])],
    ]);
    assert_eq!(ids(&shard), [(1, 1), (3, 2), (3, 3)]);
}

#[test]
fn truncation_keeps_entries_behind_it() {
    let shard = recovered(&[&[entries(&[(1, 1), (2, 2), (2, 3), (2, 4)])], &[truncated(2, 3)]]);
    assert_eq!(ids(&shard), [(2, 4)]);
    assert_eq!(shard.truncated, EntryId { term: Term(2), index: LogIndex(3) });
    // Only what is committed may be truncated, so this says that it is.
    assert_eq!(shard.hard_state.commit, LogIndex(3));
}

#[test]
fn truncation_at_an_entry_of_another_term_drops_all() {
    let shard = recovered(&[&[entries(&[(1, 1), (1, 2), (1, 3)])], &[truncated(2, 2)]]);
    assert_eq!(ids(&shard), []);
    assert_eq!(shard.truncated, EntryId { term: Term(2), index: LogIndex(2) });
}

#[test]
fn truncation_behind_the_last_entry_lets_the_log_go_on_there() {
    let shard =
        recovered(&[&[entries(&[(1, 1)])], &[truncated(2, 9)], &[entries(&[(2, 10), (2, 11)])]]);
    assert_eq!(ids(&shard), [(2, 10), (2, 11)]);
}

#[test]
fn truncation_that_comes_late_changes_nothing() {
    let shard = recovered(&[
        &[entries(&[(2, 1), (2, 2), (2, 3)])],
        &[truncated(2, 2)],
        &[truncated(2, 1)],
        &[truncated(1, 2)],
    ]);
    assert_eq!(ids(&shard), [(2, 3)]);
    assert_eq!(shard.truncated, EntryId { term: Term(2), index: LogIndex(2) });
}

#[test]
fn removed_shard_can_be_created_again_and_is_empty() {
    let shard = recovered(&[
        &[entries(&[(2, 1)]), hard_state(2, Some(1), 1)],
        &[LogRecord::Removed { shard: SHARD }],
        &[created()],
    ]);
    assert_eq!(
        shard,
        RecoveredShard { descriptor: b"who"[..].into(), ..RecoveredShard::default() }
    );
}

/// Whether the log refuses to write `records` after the first entries 1 to 4.
fn refuses(records: &[LogRecord]) -> bool {
    let (_directory, mut log) =
        log_of(&[&[entries(&[(1, 1), (2, 2), (2, 3), (2, 4)]), hard_state(2, Some(1), 3)]]);
    log.write_and_sync(&[&[truncated(1, 1)]]).unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        log.write_and_sync(&[records]).unwrap();
    }));
    if result.is_err() {
        assert!(matches!(log.write_and_sync(&[records]), Err(LogError::Poisoned)));
    }
    result.is_err()
}

#[test]
fn record_that_contradicts_the_log_is_refused() {
    let other = LogRecord::Removed { shard: ShardId(2) };
    let nothing = LogRecord::Entries { shard: SHARD, entries: Vec::new() };
    let bad: [(&str, &[LogRecord]); 14] = [
        ("unknown shard", &[other]),
        ("created twice", &[created()]),
        ("no entries", &[nothing]),
        ("gap before", &[entries(&[(2, 6)])]),
        ("gap within", &[entries(&[(2, 5), (2, 7)])]),
        ("same index twice", &[entries(&[(2, 5), (2, 5)])]),
        ("truncated already", &[entries(&[(2, 1)])]),
        ("term of entries falls", &[entries(&[(1, 5)])]),
        ("term above the hard state's", &[entries(&[(3, 5)])]),
        ("term falls", &[hard_state(1, Some(1), 3)]),
        ("commit falls", &[hard_state(3, None, 2)]),
        ("vote changes in a term", &[hard_state(2, Some(2), 3)]),
        ("vote vanishes in a term", &[hard_state(2, None, 3)]),
        ("commit behind the last entry", &[hard_state(2, Some(1), 5)]),
    ];
    for (case, records) in bad {
        assert!(refuses(records), "{case}");
    }
}

#[test]
fn record_that_continues_the_log_is_taken() {
    let good: [(&str, &[LogRecord]); 6] = [
        ("next entry", &[entries(&[(2, 5)])]),
        ("new term with its entry", &[entries(&[(3, 5)]), hard_state(3, None, 5)]),
        ("vote in a new term", &[hard_state(3, Some(2), 3)]),
        ("commit grows", &[hard_state(2, Some(1), 4)]),
        ("commit before its entry, in one write", &[hard_state(2, Some(1), 5), entries(&[(2, 5)])]),
        ("removed and created", &[LogRecord::Removed { shard: SHARD }, created()]),
    ];
    for (case, records) in good {
        assert!(!refuses(records), "{case}");
    }
}

/// What recovery finds when the first frame of the second segment, valid in itself, has this payload.
fn damage_of_second_opening(sections: &[SectionRef<'_>], rest: &[u8]) -> Damage {
    let (directory, log) = log_of(&[]);
    let second = SegmentNumber(2);
    let at = FrameAt { log: log.id, segment: second, offset: HEADER_BYTES };
    let mut buffer = Vec::new();
    frame::begin(&mut buffer);
    sections.iter().for_each(|section| frame::push_section(&mut buffer, section));
    buffer.extend_from_slice(rest);
    frame::finish(&mut buffer, at, log.seal);
    let file = log.disk.create(&second.file_name()).unwrap();
    file.allocate(16 << 10).unwrap();
    file.write_at(&segment::header(log.id, second, 16 << 10), 0).unwrap();
    file.write_at(&buffer, HEADER_BYTES).unwrap();
    drop(log);
    match Log::open(FileDisk::open(directory.path()).unwrap(), options()) {
        Err(LogError::Corrupt { damage, .. }) => damage,
        other => panic!("not a report of damage: {other:?}"),
    }
}

#[test]
fn valid_frame_that_contradicts_the_log_is_reported() {
    let (_directory, log) = log_of(&[]);
    let checkpoint = log.index.checkpoint();
    let opening = SectionRef::Checkpoint(&checkpoint);
    let other = SectionRef::Checkpoint(&[]);
    let rule = |rule| Damage::Rule(Box::new(rule));
    let found = damage_of_second_opening(&[other], &[]);
    assert_eq!(found, rule(BrokenRule::OtherCheckpoint));
    let again = [created()];
    let found = damage_of_second_opening(&[opening, SectionRef::Records(&again)], &[]);
    assert_eq!(found, rule(BrokenRule::ShardExists(SHARD)));
}

#[test]
fn valid_frame_without_meaning_is_reported() {
    let (_directory, log) = log_of(&[]);
    let checkpoint = log.index.checkpoint();
    let records = [entries(&[(2, 1)])];
    let records = SectionRef::Records(&records);
    assert_eq!(damage_of_second_opening(&[records], &[]), Damage::Content);
    let opening = SectionRef::Checkpoint(&checkpoint);
    assert_eq!(damage_of_second_opening(&[opening], &[9]), Damage::Content);
}

#[test]
fn errors_say_what_to_do() {
    let error = LogError::Corrupt {
        file: "log-1.seg".into(),
        offset: 4096,
        shards: vec![SHARD, ShardId(2)],
        damage: Damage::Frame,
    };
    assert_eq!(
        error.to_string(),
        "log file log-1.seg is damaged at offset 4096: a frame that was written in full fails its \
         checks (shards affected: s1 s2); acknowledged data may be lost: replace this node's data \
         directory, and its replicas by new ones (T47)"
    );
}
