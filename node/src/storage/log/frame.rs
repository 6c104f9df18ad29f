//! Frames: what one write to the log puts on the disk, whole or not at all (T51).
//!
//! ```text
//! | head check 4 | payload length 4 | link 8 | payload | zeros to a multiple of 8 | seal 8 |
//! ```
//! The *head check* covers where the frame belongs (log, segment, offset: T50) and its length. The
//! *seal* covers the head check, the payload and the *link*, and the link is the seal of the frame
//! before: so the seals form a chain through all segments. Any single flipped bit changes the seal,
//! because each step from the bytes to it is either CRC32C or a bijection.
//!
//! Frames start at multiples of 8 and sectors are multiples of 8, so head check and length are never
//! torn apart, and neither is a seal. [`classify_tail`] builds on that.
//!
//! The payload is a sequence of *sections*, each a postcard value.

use super::index::ShardCheckpoint;
use super::segment::SegmentNumber;
use crate::storage::record::{LogEntry, LogRecord};
use proto::ShardId;
use serde::{Deserialize, Serialize};

/// Bytes before the payload.
pub(super) const HEAD_BYTES: usize = 16;
/// Bytes behind the payload and its padding.
const SEAL_BYTES: usize = 8;
/// Where frames may start.
const ALIGNMENT: usize = 8;
/// The unit that a disk writes whole or not at all. Disks with larger units keep this promise too.
const SECTOR_BYTES: u64 = 512;

/// One section of a payload, to be written.
#[derive(Serialize)]
pub(super) enum SectionRef<'a> {
    /// What a caller wrote.
    Records(&'a [LogRecord]),
    /// All live shards, at the start of each segment.
    Checkpoint(&'a [ShardCheckpoint]),
    /// Entries that were in an older segment and still count.
    Moved(ShardId, &'a [LogEntry]),
}

/// One section of a payload, as it was read. The variants are those of [`SectionRef`], in its order.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Section {
    /// See [`SectionRef::Records`].
    Records(Vec<LogRecord>),
    /// See [`SectionRef::Checkpoint`].
    Checkpoint(Vec<ShardCheckpoint>),
    /// See [`SectionRef::Moved`].
    Moved(ShardId, Vec<LogEntry>),
}

/// Where a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameAt {
    pub(super) log: u64,
    pub(super) segment: SegmentNumber,
    pub(super) offset: u64,
}

/// A frame that passed its checks.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) payload: &'a [u8],
    /// The seal that the frame before it should have.
    pub(super) link: u64,
    pub(super) seal: u64,
    /// With head, padding and seal.
    pub(super) bytes: u64,
}

/// What the first eight bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Blank,
    Wrong,
    /// A frame of this size, with head, padding and seal.
    Right(usize),
}

/// What stands behind the last valid frame of the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Zeros, as the segment was prepared.
    Clean,
    /// A write that was cut short: it was never synced, so it was never acknowledged.
    Torn {
        /// Up to the last byte that is not zero.
        bytes: u64,
    },
    /// A frame that was written in full and does not pass.
    Damaged,
    /// A frame that does not pass, before one that does: a frame is only written when all before it is
    /// synced, so it was acknowledged (T47).
    BeforeValid {
        /// Where the valid one starts.
        later: u64,
    },
}

/// What the first frame of the first segment continues.
pub(super) fn first_link(log: u64) -> u64 {
    mix(log)
}

/// Starts a frame in `buffer`.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEAD_BYTES, 0);
}

/// Adds a section to the payload of the frame in `buffer`.
pub(super) fn push_section(buffer: &mut Vec<u8>, section: &SectionRef<'_>) {
    postcard::serialize_with_flavor(section, Appender(buffer))
        .expect("memory takes all bytes, and every sequence of a section has a known length");
}

/// How many bytes a section of these records takes, without building it.
pub(super) fn records_bytes(records: &[LogRecord]) -> u64 {
    encoded_bytes(&SectionRef::Records(records))
}

/// How many bytes an entry takes.
pub(super) fn entry_bytes(entry: &LogEntry) -> u64 {
    encoded_bytes(entry)
}

fn encoded_bytes(value: &impl Serialize) -> u64 {
    let size = postcard::ser_flavors::Size::default();
    let bytes = postcard::serialize_with_flavor(value, size)
        .expect("counting takes all bytes, and every sequence has a known length");
    bytes as u64
}

/// How large the frame in `buffer` will be when it is finished.
pub(super) fn finished_bytes(buffer: &[u8]) -> u64 {
    (buffer.len().next_multiple_of(ALIGNMENT) + SEAL_BYTES) as u64
}

/// Completes the frame in `buffer`. Returns its seal.
pub(super) fn finish(buffer: &mut Vec<u8>, at: FrameAt, link: u64) -> u64 {
    let payload_bytes = u32::try_from(buffer.len() - HEAD_BYTES)
        .expect("the limit of a batch leaves its length in 32 bits");
    let check = at.head_check(payload_bytes);
    buffer[0..4].copy_from_slice(&check.to_le_bytes());
    buffer[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
    buffer[8..16].copy_from_slice(&link.to_le_bytes());
    buffer.resize(buffer.len().next_multiple_of(ALIGNMENT), 0);
    let seal = seal_of(link, crc32c::crc32c_append(check, &buffer[HEAD_BYTES..]));
    buffer.extend_from_slice(&seal.to_le_bytes());
    seal
}

/// The sections of a payload, or `None` when it is not a sequence of them.
pub(super) fn sections(mut payload: &[u8]) -> Option<Vec<Section>> {
    let mut sections = Vec::new();
    while !payload.is_empty() {
        let (section, rest) = postcard::take_from_bytes(payload).ok()?;
        sections.push(section);
        payload = rest;
    }
    Some(sections)
}

/// Tells what stands at `at`, which is where the last valid frame ended. `bytes` starts there and
/// reaches to the end of the segment.
///
/// Only one write is ever in doubt, and the space under it was zeros. So each sector of it is either
/// as written or still zeros: when no sector is missing, or the head is there and wrong, it was not
/// the crash. (A payload can contain a sector of zeros itself; damage elsewhere in such a frame is
/// taken for a torn write when it is the very last one.)
pub(super) fn classify_tail(bytes: &[u8], at: FrameAt) -> Tail {
    let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
        return Tail::Clean;
    };
    let used = last + 1;
    for start in (ALIGNMENT..used).step_by(ALIGNMENT) {
        let later = FrameAt { offset: at.offset + start as u64, ..at };
        if parse(&bytes[start..], later).is_some() {
            return Tail::BeforeValid { later: later.offset };
        }
    }
    match at.head(bytes) {
        Head::Blank => Tail::Torn { bytes: used as u64 },
        Head::Wrong => Tail::Damaged,
        Head::Right(size) if lacks_a_sector(&bytes[..size], at.offset) => {
            Tail::Torn { bytes: used as u64 }
        }
        Head::Right(_) => Tail::Damaged,
    }
}

/// The frame that starts at the first of `bytes`, when it is whole and belongs at `at`.
pub(super) fn parse(bytes: &[u8], at: FrameAt) -> Option<Frame<'_>> {
    let Head::Right(size) = at.head(bytes) else {
        return None;
    };
    let check = read_u32(bytes, 0)?;
    let payload_bytes = usize::try_from(read_u32(bytes, 4)?).ok()?;
    let link = read_u64(bytes, 8)?;
    let seal = read_u64(bytes, size - SEAL_BYTES)?;
    let crc = crc32c::crc32c_append(check, &bytes[HEAD_BYTES..size - SEAL_BYTES]);
    let payload = &bytes[HEAD_BYTES..HEAD_BYTES + payload_bytes];
    (seal == seal_of(link, crc)).then_some(Frame { payload, link, seal, bytes: size as u64 })
}

impl FrameAt {
    fn head_check(&self, payload_bytes: u32) -> u32 {
        let mut covered = [0; 28];
        covered[0..8].copy_from_slice(&self.log.to_le_bytes());
        covered[8..16].copy_from_slice(&self.segment.0.to_le_bytes());
        covered[16..24].copy_from_slice(&self.offset.to_le_bytes());
        covered[24..28].copy_from_slice(&payload_bytes.to_le_bytes());
        crc32c::crc32c(&covered)
    }

    fn head(&self, bytes: &[u8]) -> Head {
        let (Some(check), Some(payload_bytes)) = (read_u32(bytes, 0), read_u32(bytes, 4)) else {
            return Head::Blank;
        };
        if check == 0 && payload_bytes == 0 {
            return Head::Blank;
        }
        let size = usize::try_from(payload_bytes).ok().and_then(|payload| {
            (HEAD_BYTES + payload).next_multiple_of(ALIGNMENT).checked_add(SEAL_BYTES)
        });
        match size {
            Some(size) if size <= bytes.len() && check == self.head_check(payload_bytes) => {
                Head::Right(size)
            }
            _ => Head::Wrong,
        }
    }
}

/// Whether some sector under `frame`, which starts at `offset`, is still as it was prepared.
fn lacks_a_sector(frame: &[u8], offset: u64) -> bool {
    let before = usize::try_from(offset % SECTOR_BYTES).expect("less than a sector");
    let sector = usize::try_from(SECTOR_BYTES).expect("a sector fits in memory");
    let (first, others) = frame.split_at((sector - before).min(frame.len()));
    std::iter::once(first)
        .chain(others.chunks(sector))
        .any(|sector| sector.iter().all(|byte| *byte == 0))
}

fn seal_of(link: u64, crc: u32) -> u64 {
    mix(link ^ u64::from(crc))
}

/// The finalizer of splitmix64: a bijection in which each bit of the input reaches all of the output.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Lets postcard write behind what a buffer holds; its own `to_extend` goes byte by byte.
struct Appender<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
