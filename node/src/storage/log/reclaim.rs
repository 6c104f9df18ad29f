//! Giving space back, and reading entries that are on the disk only.
//!
//! Only the oldest segments are deleted. Their order on the disk does not matter: recovery starts
//! behind the last gap in the numbers, and finds that nothing before it is needed.
//!
//! A shard that went idle would keep an old segment, and so all after it. When there are more
//! segments than wanted and the retained entries fill less than half of them, those of the oldest one
//! are written again at the end. Each byte that is moved so was paid for by one that is given back:
//! the log takes at most the wanted segments or about twice what is retained.

use super::error::{Damage, LogError};
use super::frame::{self, FrameAt, Section, SectionRef};
use super::index::{Place, Run, entry_bytes};
use super::segment::SegmentNumber;
use super::{Log, Need};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::record::{LogEntry, LogRecord};
use proto::{LogIndex, ShardId};

/// What a call of [`Log::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Files that were deleted.
    pub segments: usize,
    /// How long they were.
    pub bytes: u64,
    /// How many entries were written again.
    pub entries_moved: usize,
    /// Whether another call would do more.
    pub more: bool,
}

impl<D: Disk> Log<D> {
    /// Deletes segments that nothing retained needs, and, when an idle shard keeps an old one for few
    /// entries, moves some of those forward, with one write and one sync. Costs next to nothing when
    /// there is nothing to do; call it between writes, at least once per segment.
    ///
    /// # Errors
    /// [`LogError::Full`] when entries must be moved and cannot; what could be deleted is.
    pub fn reclaim(&mut self) -> Result<Reclaimed, LogError> {
        self.check_usable()?;
        let mut done = Reclaimed::default();
        self.delete_unneeded(&mut done)?;
        if self.is_wasteful() {
            done.entries_moved = self.move_oldest()?;
            self.delete_unneeded(&mut done)?;
            done.more = self.is_wasteful();
        }
        Ok(done)
    }

    /// Entries that `shard` retains, from `from` on: as many as there are and `bytes_max` allows, and
    /// at least one; none when `from` is not retained. Reads the disk, up to about 1 MiB more than asked.
    pub fn entries(
        &self,
        shard: ShardId,
        from: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<LogEntry>, LogError> {
        self.check_usable()?;
        let Some(state) = self.index.shard(shard).filter(|state| from > state.truncated.index)
        else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut bytes = 0;
        for run in state.runs().filter(|run| run.last >= from) {
            let entries = self.read_run(shard, run)?;
            for entry in entries.into_iter().filter(|entry| entry.id.index >= from) {
                bytes += entry_bytes(&entry);
                if bytes > bytes_max && !found.is_empty() {
                    return Ok(found);
                }
                found.push(entry);
            }
        }
        Ok(found)
    }

    pub(super) fn retained_bytes(&self) -> u64 {
        self.index.shards().flat_map(|(_, state)| state.runs()).map(|run| run.bytes).sum()
    }

    fn is_wasteful(&self) -> bool {
        let capacity: u64 = self.segments.values().map(|segment| segment.capacity).sum();
        self.segments.len() > self.options.segments_max && self.retained_bytes() * 2 < capacity
    }

    /// The oldest segment that some shard needs an entry of.
    fn oldest_needed(&self) -> Option<SegmentNumber> {
        let runs = self.index.shards().flat_map(|(_, state)| state.runs());
        runs.filter_map(|run| run.place).map(|place| place.segment).min()
    }

    fn delete_unneeded(&mut self, done: &mut Reclaimed) -> Result<(), LogError> {
        let Some(active) = self.active().map(|active| active.number) else {
            return Ok(());
        };
        if self.segments.len() == 1 {
            return Ok(());
        }
        let keep = self.oldest_needed().map_or(active, |oldest| oldest.min(active));
        while let Some(oldest) = self.segments.first_entry().filter(|entry| *entry.key() < keep) {
            let segment = oldest.remove();
            let name = segment.number.file_name();
            if let Err(source) = self.disk.remove(&name) {
                return Err(self.poison("removing", name, source));
            }
            done.segments += 1;
            done.bytes += segment.capacity;
        }
        Ok(())
    }

    /// Writes entries of the oldest segment again at the end of the log.
    fn move_oldest(&mut self) -> Result<usize, LogError> {
        let Some(oldest) = self.oldest_needed() else {
            return Ok(0);
        };
        let mut moved: Vec<(ShardId, Vec<LogEntry>)> = Vec::new();
        let mut bytes = 0;
        for (shard, state) in self.index.shards() {
            let there = |run: &&Run| run.place.is_some_and(|place| place.segment == oldest);
            for run in state.runs().filter(there) {
                bytes += run.bytes;
                if bytes > self.options.move_bytes_max && !moved.is_empty() {
                    break;
                }
                moved.push((shard, self.read_run(shard, run)?));
            }
        }
        let place = self.stage(Need::FreesSpace, super::FRAME_BYTES_MAX, |buffer| {
            for (shard, entries) in &moved {
                frame::push_section(buffer, &SectionRef::Moved(*shard, entries));
            }
        })?;
        for (shard, entries) in &moved {
            self.index
                .apply_moved(*shard, entries, place)
                .expect("the entries of a run are retained, and nothing was written since");
        }
        self.flush(place)?;
        Ok(moved.iter().map(|(_, entries)| entries.len()).sum())
    }

    /// The entries of a run, from the disk, all checks passed (T50).
    fn read_run(&self, shard: ShardId, run: &Run) -> Result<Vec<LogEntry>, LogError> {
        let place = run.place.expect("recovery leaves no run without a place");
        let mut entries = Vec::new();
        let mut next = run.first;
        for section in self.read_sections(shard, place)? {
            let lists = match section {
                Section::Checkpoint(_) => Vec::new(),
                Section::Moved(of, list) => vec![(of, list)],
                Section::Records(records) => records
                    .into_iter()
                    .filter_map(|record| match record {
                        LogRecord::Entries { shard, entries } => Some((shard, entries)),
                        LogRecord::Created { .. }
                        | LogRecord::HardState { .. }
                        | LogRecord::Truncated { .. }
                        | LogRecord::Removed { .. } => None,
                    })
                    .collect(),
            };
            for entry in lists.into_iter().filter(|(of, _)| *of == shard).flat_map(|(_, list)| list)
            {
                // An entry that was replaced has another term; one that was written twice is the same,
                // because a term has one leader and that never replaces its own (Log Matching).
                if entry.id.index == next && entry.id.term == run.term && next <= run.last {
                    next = next.next();
                    entries.push(entry);
                }
            }
        }
        if next <= run.last {
            let damage = Damage::EntryNotFound { index: next };
            return Err(corrupt(shard, place.segment, place.start, damage));
        }
        Ok(entries)
    }

    fn read_sections(&self, shard: ShardId, place: Place) -> Result<Vec<Section>, LogError> {
        let segment =
            self.segments.get(&place.segment).expect("segments with retained entries stay");
        let length = usize::try_from(place.end - place.start)
            .expect("what was written from memory fits in memory");
        let mut bytes = vec![0; length];
        segment.file.read_at(&mut bytes, place.start).map_err(|source| LogError::Io {
            doing: "reading",
            file: place.segment.file_name(),
            source,
        })?;
        let mut sections = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            let offset = place.start + start as u64;
            let at = FrameAt { log: self.id, segment: place.segment, offset };
            let frame = frame::parse(&bytes[start..], at)
                .ok_or_else(|| corrupt(shard, place.segment, offset, Damage::Frame))?;
            sections.extend(
                frame::sections(frame.payload)
                    .ok_or_else(|| corrupt(shard, place.segment, offset, Damage::Content))?,
            );
            start +=
                usize::try_from(frame.bytes).expect("a frame in memory has a length in memory");
        }
        Ok(sections)
    }
}

fn corrupt(shard: ShardId, segment: SegmentNumber, offset: u64, damage: Damage) -> LogError {
    LogError::Corrupt { file: segment.file_name(), offset, shards: vec![shard], damage }
}
