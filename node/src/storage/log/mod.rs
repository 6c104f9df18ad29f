//! The node's write-ahead log: the only home of what was acknowledged, shared by all its shards.
//!
//! A *segment* is a file of fixed length, filled with zeros before it is used, so that writing to it
//! and syncing it changes no metadata. A *frame* is what one [`Log::write_and_sync`] puts there: all
//! records of the call or, after a crash, none of them. The *spare* is the next segment, prepared
//! ahead. The *checkpoint* at the start of each segment repeats all shards but their entries, so that
//! older segments matter only for entries that are still retained.
//!
//! ```text
//! log-..3.seg  [header][frame: checkpoint, records][frame: records] .. [frame]
//! log-..4.seg  [header][frame: checkpoint, records][frame: records][zeros ...   <- written next
//! log-..5.seg  [header][zeros ...                                               <- the spare
//! ```
//! A frame is written only when all before it is synced, and each continues the seal of the one
//! before. So at most the last frame is in doubt after a crash, and a valid frame proves that all
//! before it was acknowledged: recovery cuts a torn last write and refuses anything else (T47).
//!
//! For example, an entry that is proposed, committed and applied costs the log: `Entries` in the frame
//! that is synced before the follower is answered; `HardState` with the new commit in some later
//! frame; `Truncated` once the version store has it durably. When no shard retains an entry of the
//! segment, [`Log::reclaim`] deletes the file; a shard that went idle has its entries moved forward.
//!
//! [`LogQueue`] stands before it: it makes frames of bounded size from what the cores write, and waits out a
//! full disk.
//!
//! `docs/formats.md` has the bytes. Not here: when to truncate, a cache of recent entries, the lock of
//! the data directory, compression. Blocking; the host calls it from the thread that syncs.

mod error;
mod file_disk;
mod frame;
mod index;
mod queue;
mod reclaim;
mod recovery;
mod segment;
mod split;
#[cfg(test)]
mod tests;

pub use error::{Damage, LogError};
pub use file_disk::{FileDisk, RealFile};
pub use index::BrokenRule;
pub use queue::{Job, LogQueue, Pass};
pub use reclaim::Reclaimed;
pub use recovery::{Recovered, RecoveredShard, TornTail};

use super::disk::{Disk, DiskFile};
use super::record::LogRecord;
use error::is_full;
use frame::{FrameAt, SectionRef};
use index::{Index, Place};
use segment::{HEADER_BYTES, Segment, SegmentNumber};
use std::collections::BTreeMap;
use std::io;

/// A buffer that one huge write made larger than this is given back.
const BUFFER_KEPT_MAX: usize = 8 << 20;

/// A frame's length has 32 bits, with a checkpoint.
const FRAME_BYTES_MAX: u64 = 1 << 31;

/// Sizes of a log, and whether it may be a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// What to do when there is none.
    pub opening: Opening,
    /// Length of a segment. One that must hold a larger frame is longer.
    pub segment_bytes: u64,
    /// How many segments there may be before entries of the oldest are moved forward.
    pub segments_max: usize,
    /// The most that one write may hold, encoded; 2 GiB at the most. A single entry may be larger.
    pub batch_bytes_max: u64,
    /// While there is no spare, the end of the segment is kept for writes that take no new entries:
    /// those that truncate shards, and so free space (T52).
    pub reserve_bytes: u64,
    /// How much of the spare one call of [`Log::prepare_ahead`] fills.
    pub prepare_bytes_max: u64,
    /// About how much one call of [`Log::reclaim`] moves.
    pub move_bytes_max: u64,
}

impl LogOptions {
    /// The usual sizes.
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        LogOptions {
            opening,
            segment_bytes: 64 << 20,
            segments_max: 16,
            batch_bytes_max: 256 << 20,
            reserve_bytes: 4 << 20,
            prepare_bytes_max: 1 << 20,
            move_bytes_max: 1 << 20,
        }
    }
}

/// What to do when the directory holds no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Create one. Only for a node that never had one: with an empty log it would vote again (T49).
    MayCreate {
        /// Drawn at random, so that no file of one log passes for a file of another.
        log: u64,
    },
    /// Fail with [`LogError::Missing`].
    MustExist,
}

/// How far the spare is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It is there.
    Ready,
    /// Call again.
    Partly,
}

/// How much space the log has and takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What can be written before the next segment is needed.
    pub free_bytes: u64,
    /// Whether the next segment is there.
    pub spare: Prepared,
    /// Files, with the spare.
    pub segments: usize,
    /// Their lengths.
    pub bytes: u64,
    /// About what the retained entries take of that.
    pub retained_bytes: u64,
}

/// The log of a node. See the module.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    options: LogOptions,
    /// Identity, as in each header.
    id: u64,
    index: Index,
    /// Those with frames. The last is the one that is written to.
    segments: BTreeMap<SegmentNumber, Segment<D::File>>,
    spare: Option<Segment<D::File>>,
    preparing: Option<Preparing<D::File>>,
    /// Where the next frame goes in the last segment.
    end: u64,
    /// Of the last frame.
    seal: u64,
    /// The frame that is being built.
    buffer: Vec<u8>,
    poisoned: bool,
}

/// A spare that does not have its name yet.
#[derive(Debug)]
struct Preparing<F> {
    number: SegmentNumber,
    file: F,
    bytes: u64,
}

/// Whether a write may use the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Ordinary,
    FreesSpace,
}

impl<D: Disk> Log<D> {
    /// Opens the log and returns what it holds.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] when something that may have been acknowledged cannot be read; nothing is
    /// changed on the disk then. A write that was cut short at the very end is removed and reported.
    pub fn open(disk: D, options: LogOptions) -> Result<(Log<D>, Recovered), LogError> {
        let block = HEADER_BYTES;
        assert!(options.segment_bytes >= 2 * block, "a segment has room for more than its header");
        assert!(options.segment_bytes.is_multiple_of(block), "a segment consists of whole blocks");
        assert!(options.segments_max >= 2, "entries are moved from one segment to another");
        assert!(
            options.batch_bytes_max <= FRAME_BYTES_MAX,
            "a frame's length has 32 bits, with a checkpoint"
        );
        assert!(options.prepare_bytes_max > 0, "preparing makes progress");
        recovery::open(disk, options)
    }

    /// Writes all records of `batches`, in order, as one frame and makes them durable, with one write
    /// and one sync. When this returns `Ok`, they are acknowledged; after any error but
    /// [`LogError::Full`] and [`LogError::TooLarge`] it is open whether they will be recovered, all or
    /// none, and the log takes no more calls.
    ///
    /// When a segment is full this also starts the next one, preparing it first unless
    /// [`Log::prepare_ahead`] has.
    ///
    /// # Panics
    /// When a record contradicts what is there ([`BrokenRule`]): recovery could not read it.
    pub fn write_and_sync<B: AsRef<[LogRecord]>>(&mut self, batches: &[B]) -> Result<(), LogError> {
        self.check_usable()?;
        let records = || batches.iter().flat_map(|batch| batch.as_ref());
        if records().next().is_none() {
            return Ok(());
        }
        let frees = !records()
            .any(|record| matches!(record, LogRecord::Entries { .. } | LogRecord::Created { .. }));
        let need = if frees { Need::FreesSpace } else { Need::Ordinary };
        let entries: usize = records().map(entries_in).sum();
        // What cannot be split must be taken as it is.
        let bytes_max = if entries <= 1 { FRAME_BYTES_MAX } else { self.options.batch_bytes_max };
        let place = self.stage(need, bytes_max, |buffer| {
            for batch in batches.iter().map(AsRef::as_ref).filter(|batch| !batch.is_empty()) {
                frame::push_section(buffer, &SectionRef::Records(batch));
            }
        })?;
        let applied = records().try_for_each(|record| self.index.apply(record, place));
        let checked = applied.and_then(|()| {
            records().try_for_each(|record| self.index.check(index::shard_of(record)))
        });
        if let Err(rule) = checked {
            self.poisoned = true;
            panic!("a record that cannot be recovered was to be written: {rule}");
        }
        self.flush(place)
    }

    /// Goes on preparing the next segment, a bounded step per call. Called between writes until it is
    /// ready, it spares the write that fills a segment from waiting for that.
    ///
    /// # Errors
    /// [`LogError::Full`] is an early warning: what [`Space::free_bytes`] says can still be written, up
    /// to the reserve. What was filled is given back, so do not call again before something was freed.
    pub fn prepare_ahead(&mut self) -> Result<Prepared, LogError> {
        self.check_usable()?;
        if self.spare.is_some() {
            return Ok(Prepared::Ready);
        }
        self.prepare_step(self.options.segment_bytes)
    }

    /// What the log takes and has left.
    #[must_use]
    pub fn space(&self) -> Space {
        let spare = if self.spare.is_some() { Prepared::Ready } else { Prepared::Partly };
        let files = || self.segments.values().chain(&self.spare);
        Space {
            free_bytes: self.active().map_or(0, |active| active.capacity - self.end),
            spare,
            segments: files().count(),
            bytes: files().map(|segment| segment.capacity).sum(),
            retained_bytes: self.retained_bytes(),
        }
    }

    /// The log's identity, as given when it was created.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    fn active(&self) -> Option<&Segment<D::File>> {
        self.segments.last_key_value().map(|(_, segment)| segment)
    }

    /// Builds a frame with what `encode` adds to it and decides where it goes. Nothing is written, but
    /// the next segment may have been prepared and taken into use.
    fn stage(
        &mut self,
        need: Need,
        bytes_max: u64,
        encode: impl Fn(&mut Vec<u8>),
    ) -> Result<Place, LogError> {
        frame::begin(&mut self.buffer);
        encode(&mut self.buffer);
        let bytes = frame::finished_bytes(&self.buffer);
        if bytes > bytes_max {
            return Err(LogError::TooLarge { bytes, bytes_max });
        }
        if let Some(active) = self.active() {
            let kept = match (need, &self.spare) {
                (Need::FreesSpace, _) | (_, Some(_)) => 0,
                (Need::Ordinary, None) => self.options.reserve_bytes,
            };
            let (segment, start) = (active.number, self.end);
            if start + bytes + kept <= active.capacity {
                return Ok(Place { segment, start, end: start + bytes });
            }
        }
        frame::begin(&mut self.buffer);
        let checkpoint = self.index.checkpoint();
        frame::push_section(&mut self.buffer, &SectionRef::Checkpoint(&checkpoint));
        encode(&mut self.buffer);
        let end = HEADER_BYTES + frame::finished_bytes(&self.buffer);
        let spare = self.take_spare(end)?;
        let segment = spare.number;
        self.segments.insert(segment, spare);
        self.end = HEADER_BYTES;
        Ok(Place { segment, start: HEADER_BYTES, end })
    }

    /// Writes and syncs the frame that was built for `place`.
    fn flush(&mut self, place: Place) -> Result<(), LogError> {
        assert_eq!(place.start, self.end, "a frame goes where the one before it ended");
        let at = FrameAt { log: self.id, segment: place.segment, offset: place.start };
        let seal = frame::finish(&mut self.buffer, at, self.seal);
        let active = self.active().expect("a frame was placed in a segment");
        let done = match active.file.write_at(&self.buffer, place.start) {
            Ok(()) => active.file.sync().map_err(|source| ("syncing", source)),
            Err(source) => Err(("writing", source)),
        };
        if let Err((doing, source)) = done {
            return Err(self.poison(doing, place.segment.file_name(), source));
        }
        self.end = place.end;
        self.seal = seal;
        if self.buffer.capacity() > BUFFER_KEPT_MAX {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// The spare, of at least `capacity_min`, prepared now when it is not there.
    fn take_spare(&mut self, capacity_min: u64) -> Result<Segment<D::File>, LogError> {
        let capacity = capacity_min.next_multiple_of(HEADER_BYTES).max(self.options.segment_bytes);
        loop {
            if let Some(spare) = self.spare.take_if(|spare| spare.capacity >= capacity_min) {
                return Ok(spare);
            }
            self.prepare_step(capacity)?;
        }
    }

    /// A step towards a spare of at least `capacity`; one that is there and too small is replaced.
    fn prepare_step(&mut self, capacity: u64) -> Result<Prepared, LogError> {
        let number = self.active().map_or(SegmentNumber::FIRST, |active| active.number.next());
        if self.preparing.is_none() && self.disk.free_bytes().is_ok_and(|free| free < capacity) {
            // Filling the disk to find out would take its last bytes from everything else.
            let source = io::ErrorKind::StorageFull.into();
            return Err(LogError::Full { needed: capacity, source });
        }
        match self.try_prepare_step(number, capacity) {
            Ok(None) => Ok(Prepared::Partly),
            Ok(Some(segment)) => {
                // The name must be durable before the segment is used, or all in it could vanish.
                if let Err(source) = self.disk.sync_directory() {
                    return Err(self.poison(
                        "syncing the directory of",
                        number.file_name(),
                        source,
                    ));
                }
                self.spare = Some(segment);
                Ok(Prepared::Ready)
            }
            Err(source) if is_full(&source) => {
                self.preparing = None;
                match self.disk.remove(&number.unfinished_name()) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        Err(self.poison("removing", number.unfinished_name(), source))
                    }
                    _ => Err(LogError::Full { needed: capacity, source }),
                }
            }
            Err(source) => Err(self.poison("preparing", number.unfinished_name(), source)),
        }
    }

    fn try_prepare_step(
        &mut self,
        number: SegmentNumber,
        capacity: u64,
    ) -> io::Result<Option<Segment<D::File>>> {
        let name = number.unfinished_name();
        let Preparing { file, bytes: before, .. } = match self.preparing.take() {
            Some(preparing) if preparing.number == number => preparing,
            _ => Preparing { number, file: self.disk.create(&name)?, bytes: 0 },
        };
        let capacity = capacity.max(before);
        let bytes = capacity.min(before + self.options.prepare_bytes_max);
        file.allocate(bytes)?;
        file.sync()?;
        if bytes < capacity {
            self.preparing = Some(Preparing { number, file, bytes });
            return Ok(None);
        }
        file.write_at(&segment::header(self.id, number, capacity), 0)?;
        file.sync()?;
        self.disk.rename(&name, &number.file_name())?;
        Ok(Some(Segment { number, file, capacity }))
    }

    fn check_usable(&self) -> Result<(), LogError> {
        if self.poisoned { Err(LogError::Poisoned) } else { Ok(()) }
    }

    fn poison(&mut self, doing: &'static str, file: String, source: io::Error) -> LogError {
        self.poisoned = true;
        LogError::Io { doing, file, source }
    }
}

fn entries_in(record: &LogRecord) -> usize {
    match record {
        LogRecord::Entries { entries, .. } => entries.len(),
        LogRecord::Created { .. }
        | LogRecord::HardState { .. }
        | LogRecord::Truncated { .. }
        | LogRecord::Removed { .. } => 0,
    }
}
