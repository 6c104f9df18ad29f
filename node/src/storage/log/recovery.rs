//! Opening a log: find its segments, check and replay them, cut a write that the crash tore.
//!
//! 1. Files that were being prepared are of no use. Of the segments, those behind the last gap in the
//!    numbers count; what is before the gap was being deleted.
//! 2. Each is replayed up to its first frame that is not valid. The next segment's first frame must
//!    continue exactly there, or frames are missing.
//! 3. Behind the last valid frame only a torn write may stand; it is zeroed. One segment behind it, the
//!    spare, may have no frame; two cannot be, because a spare is prepared only when the segment before
//!    it is in use.
//! 4. The last frame is written and synced again. It may come from a write whose sync failed, and then
//!    the system shows bytes that are not on the disk, and would not write them again (T46).
//!
//! Nothing is changed on the disk before all of it has been checked.

use super::error::{Damage, LogError};
use super::frame::{self, Frame, FrameAt, Section, Tail};
use super::index::{BrokenRule, Index, Place, shard_of};
use super::segment::{self, FileKind, HEADER_BYTES, Segment, SegmentNumber};
use super::{Log, LogOptions, Opening};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::record::{HardState, LogEntry, LogRecord};
use bytes::Bytes;
use proto::{EntryId, LogIndex, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// What a log held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The replicas of this node.
    pub shards: BTreeMap<ShardId, RecoveredShard>,
    /// What was cut, for the node's own log: a write that the crash interrupted.
    pub torn_tail: Option<TornTail>,
}

/// One shard as the log had it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredShard {
    /// What the replica was created with.
    pub descriptor: Bytes,
    /// The last one written. What is truncated was committed, so `commit` is at least that.
    pub hard_state: HardState,
    /// The last entry that is gone.
    pub truncated: EntryId,
    /// Those after it, without gaps.
    pub entries: Vec<LogEntry>,
}

/// A write that was never synced and is not there in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file's name in the log's directory.
    pub file: String,
    /// Where the write began.
    pub offset: u64,
    /// How far it had got.
    pub bytes: u64,
}

/// What has been replayed so far.
#[derive(Default)]
struct Replay {
    index: Index,
    entries: BTreeMap<ShardId, BTreeMap<LogIndex, LogEntry>>,
    /// Of the last frame; `None` before the first.
    seal: Option<u64>,
    /// The last frame.
    last: Option<Place>,
}

/// A stretch of the disk that is to be zeroed or written again.
struct Repair {
    segment: SegmentNumber,
    offset: u64,
    bytes: Vec<u8>,
}

pub(super) fn open<D: Disk>(disk: D, options: LogOptions) -> Result<(Log<D>, Recovered), LogError> {
    let names =
        disk.list().map_err(|source| io("listing", String::from("the directory"), source))?;
    let (kept, useless) = survey(&names);
    let (segments, id) = match (kept.is_empty(), options.opening) {
        (true, Opening::MustExist) => return Err(LogError::Missing),
        (true, Opening::MayCreate { log }) => (Vec::new(), log),
        (false, _) => open_segments(&disk, &kept)?,
    };
    let mut replay = Replay::default();
    let mut repairs = Vec::new();
    let mut torn_tail = None;
    let used = replay_segments(&segments, id, &mut replay, &mut repairs, &mut torn_tail)?;
    check_complete(&replay, &segments)?;

    repair(&segments, &repairs)?;
    for name in &useless {
        disk.remove(name).map_err(|source| io("removing", name.clone(), source))?;
    }
    // A segment may be here whose name is not durable yet; nothing may be written to it before.
    disk.sync_directory().map_err(|source| io("syncing", String::from("the directory"), source))?;

    let mut segments = segments.into_iter();
    let mut log = Log {
        disk,
        options,
        id,
        index: replay.index,
        segments: segments.by_ref().take(used).map(|segment| (segment.number, segment)).collect(),
        spare: segments.next(),
        preparing: None,
        end: replay.last.map_or(HEADER_BYTES, |last| last.end),
        seal: replay.seal.unwrap_or(frame::first_link(id)),
        buffer: Vec::new(),
        poisoned: false,
    };
    if log.segments.is_empty() && log.spare.is_none() {
        let first = log.take_spare(HEADER_BYTES)?;
        log.spare = Some(first);
    }
    let shards = recovered_shards(&log.index, replay.entries);
    Ok((log, Recovered { shards, torn_tail }))
}

/// The segments that count, in order, and the files that are of no use.
fn survey(names: &[String]) -> (Vec<SegmentNumber>, Vec<String>) {
    let mut kept: Vec<SegmentNumber> = Vec::new();
    let mut useless = Vec::new();
    for name in names {
        match FileKind::of(name) {
            FileKind::Foreign => {}
            FileKind::Unfinished => useless.push(name.clone()),
            FileKind::Segment(number) => {
                if kept.last().is_some_and(|last| last.next() != number) {
                    useless.extend(kept.drain(..).map(SegmentNumber::file_name));
                }
                kept.push(number);
            }
        }
    }
    (kept, useless)
}

/// Segments with the id of the log that they belong to.
type Opened<F> = (Vec<Segment<F>>, u64);

/// Opens the segments and checks their headers.
fn open_segments<D: Disk>(
    disk: &D,
    numbers: &[SegmentNumber],
) -> Result<Opened<D::File>, LogError> {
    let mut segments = Vec::new();
    let mut id = None;
    for number in numbers {
        let name = number.file_name();
        let file = disk.open(&name).map_err(|source| io("opening", name, source))?;
        let (segment, found) = segment::open(file, *number)?;
        let expected = *id.get_or_insert(found);
        if found != expected {
            return Err(corrupt(*number, 0, Damage::OtherLog { expected, found }));
        }
        segments.push(segment);
    }
    Ok((segments, id.expect("there is at least one segment")))
}

/// Replays all frames. Returns how many of the segments have any.
fn replay_segments<F: DiskFile>(
    segments: &[Segment<F>],
    log: u64,
    replay: &mut Replay,
    repairs: &mut Vec<Repair>,
    torn_tail: &mut Option<TornTail>,
) -> Result<usize, LogError> {
    let mut used = 0;
    // Where the valid frames of the segment before ended, and what stands behind them.
    let mut before: Option<(FrameAt, Vec<u8>)> = None;
    for segment in segments {
        let bytes = read_frames(segment)?;
        let start = FrameAt { log, segment: segment.number, offset: HEADER_BYTES };
        if frame::parse(&bytes, start).is_none() {
            if used + 1 != segments.len() {
                return Err(corrupt(segment.number, HEADER_BYTES, Damage::NoOpening));
            }
            check_tail(start, &bytes, repairs, torn_tail)?;
            break;
        }
        let end = replay.segment(&bytes, start, before.as_ref().map(|(at, _)| *at))?;
        before = Some((end, bytes));
        used += 1;
    }
    if let Some((end, bytes)) = before {
        let position = |offset: u64| {
            usize::try_from(offset - HEADER_BYTES)
                .expect("offsets within what was read fit in memory")
        };
        check_tail(end, &bytes[position(end.offset)..], repairs, torn_tail)?;
        let last = replay.last.expect("a segment with frames has a last one");
        let frame = bytes[position(last.start)..position(last.end)].to_vec();
        repairs.push(Repair { segment: last.segment, offset: last.start, bytes: frame });
    }
    Ok(used)
}

/// All of a segment behind its header.
fn read_frames<F: DiskFile>(segment: &Segment<F>) -> Result<Vec<u8>, LogError> {
    let name = || segment.number.file_name();
    let length = usize::try_from(segment.capacity - HEADER_BYTES)
        .map_err(|_| io("reading", name(), std::io::ErrorKind::OutOfMemory.into()))?;
    let mut bytes = vec![0; length];
    let read = segment.file.read_at(&mut bytes, HEADER_BYTES);
    read.map_err(|source| io("reading", name(), source))?;
    Ok(bytes)
}

/// Checks what stands behind the last valid frame of the log, and in its spare.
fn check_tail(
    at: FrameAt,
    bytes: &[u8],
    repairs: &mut Vec<Repair>,
    torn_tail: &mut Option<TornTail>,
) -> Result<(), LogError> {
    match frame::classify_tail(bytes, at) {
        Tail::Clean => {}
        Tail::Torn { bytes } => {
            let zeros = vec![0; usize::try_from(bytes).expect("it is in memory")];
            repairs.push(Repair { segment: at.segment, offset: at.offset, bytes: zeros });
            *torn_tail = Some(TornTail { file: at.segment.file_name(), offset: at.offset, bytes });
        }
        Tail::Damaged => return Err(corrupt(at.segment, at.offset, Damage::Frame)),
        Tail::BeforeValid { later } => {
            return Err(corrupt(at.segment, at.offset, Damage::FrameBeforeValid { later }));
        }
    }
    Ok(())
}

/// What a checkpoint promised and no segment showed was in a segment that is gone.
fn check_complete<F>(replay: &Replay, segments: &[Segment<F>]) -> Result<(), LogError> {
    let Some(first) = segments.first().map(|segment| segment.number) else {
        return Ok(());
    };
    if replay.last.is_none() && first != SegmentNumber::FIRST {
        return Err(corrupt(first.previous(), 0, Damage::Missing));
    }
    let mut missing = Vec::new();
    let mut shards = Vec::new();
    for (shard, state) in replay.index.shards() {
        let before = missing.len();
        missing.extend(state.runs().filter(|run| run.place.is_none()).cloned());
        if missing.len() > before {
            shards.push(shard);
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(run) => Err(LogError::Corrupt {
            file: first.previous().file_name(),
            offset: 0,
            shards,
            damage: Damage::EntriesMissing { first: run.first, last: run.last },
        }),
    }
}

fn repair<F: DiskFile>(segments: &[Segment<F>], repairs: &[Repair]) -> Result<(), LogError> {
    for Repair { segment: number, offset, bytes } in repairs {
        let segment = segments.iter().find(|segment| segment.number == *number);
        let file = &segment.expect("what is repaired was read").file;
        let written = file.write_at(bytes, *offset).and_then(|()| file.sync());
        written.map_err(|source| io("repairing", number.file_name(), source))?;
    }
    Ok(())
}

impl Replay {
    /// Replays the frames of one segment, which start at `at`. `before` is where those of the segment
    /// before it ended. Returns where these end.
    fn segment(
        &mut self,
        bytes: &[u8],
        mut at: FrameAt,
        before: Option<FrameAt>,
    ) -> Result<FrameAt, LogError> {
        let mut rest = bytes;
        while let Some(frame) = frame::parse(rest, at) {
            let opens = at.offset == HEADER_BYTES;
            let expected = match self.seal {
                None if at.segment == SegmentNumber::FIRST => frame::first_link(at.log),
                None => frame.link,
                Some(seal) => seal,
            };
            if frame.link != expected {
                // Between segments, what is missing is at the end of the earlier one.
                let found = if opens { before.unwrap_or(at) } else { at };
                return Err(corrupt(found.segment, found.offset, Damage::Unlinked));
            }
            let end = at.offset + frame.bytes;
            self.frame(&frame, Place { segment: at.segment, start: at.offset, end }, opens)?;
            self.seal = Some(frame.seal);
            rest = &rest[usize::try_from(frame.bytes).expect("it is in memory")..];
            at.offset = end;
        }
        Ok(at)
    }

    fn frame(&mut self, frame: &Frame<'_>, place: Place, opens: bool) -> Result<(), LogError> {
        let damaged = |damage| corrupt(place.segment, place.start, damage);
        let broken = |rule| damaged(Damage::Rule(Box::new(rule)));
        let sections = frame::sections(frame.payload).ok_or_else(|| damaged(Damage::Content))?;
        if opens != matches!(sections.first(), Some(Section::Checkpoint(_))) {
            return Err(damaged(Damage::Content));
        }
        let mut touched = BTreeSet::new();
        for section in sections {
            match section {
                Section::Checkpoint(checkpoint) if self.last.is_none() => {
                    self.index = Index::seeded(checkpoint);
                }
                Section::Checkpoint(checkpoint) => {
                    if checkpoint != self.index.checkpoint() {
                        return Err(broken(BrokenRule::OtherCheckpoint));
                    }
                }
                Section::Moved(shard, entries) => {
                    self.index.apply_moved(shard, &entries, place).map_err(broken)?;
                    self.keep(shard, entries);
                }
                Section::Records(records) => {
                    for record in records {
                        self.index.apply(&record, place).map_err(broken)?;
                        touched.insert(shard_of(&record));
                        self.follow(record);
                    }
                }
            }
        }
        touched.into_iter().try_for_each(|shard| self.index.check(shard)).map_err(broken)?;
        self.last = Some(place);
        Ok(())
    }

    /// Keeps the payloads that a record brings, and only those that the index retains.
    fn follow(&mut self, record: LogRecord) {
        let shard = shard_of(&record);
        if let LogRecord::Entries { entries, .. } = record {
            if let (Some(kept), Some(first)) = (self.entries.get_mut(&shard), entries.first()) {
                kept.split_off(&first.id.index);
            }
            self.keep(shard, entries);
            return;
        }
        let Some(state) = self.index.shard(shard) else {
            self.entries.remove(&shard);
            return;
        };
        if let Some(kept) = self.entries.get_mut(&shard) {
            kept.split_off(&state.last().index.next());
            *kept = kept.split_off(&state.truncated.index.next());
        }
    }

    fn keep(&mut self, shard: ShardId, entries: Vec<LogEntry>) {
        let kept = self.entries.entry(shard).or_default();
        kept.extend(entries.into_iter().map(|entry| (entry.id.index, entry)));
    }
}

fn recovered_shards(
    index: &Index,
    mut entries: BTreeMap<ShardId, BTreeMap<LogIndex, LogEntry>>,
) -> BTreeMap<ShardId, RecoveredShard> {
    let shards = index.shards().map(|(shard, state)| {
        let entries: Vec<LogEntry> =
            entries.remove(&shard).unwrap_or_default().into_values().collect();
        let retained = state.last().index.0 - state.truncated.index.0;
        assert_eq!(entries.len() as u64, retained, "{shard}: an entry for each index is retained");
        let recovered = RecoveredShard {
            descriptor: state.descriptor.clone(),
            hard_state: state.hard_state,
            truncated: state.truncated,
            entries,
        };
        (shard, recovered)
    });
    shards.collect()
}

fn io(doing: &'static str, file: String, source: std::io::Error) -> LogError {
    LogError::Io { doing, file, source }
}

fn corrupt(segment: SegmentNumber, offset: u64, damage: Damage) -> LogError {
    LogError::Corrupt { file: segment.file_name(), offset, shards: Vec::new(), damage }
}
