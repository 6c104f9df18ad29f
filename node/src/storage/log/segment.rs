//! Segments: the files of the log. A segment gets its name only when its header and its zeros are
//! durable, so a file with a segment's name and a bad header is damage, never a crash.

use super::error::{Damage, LogError};
use crate::storage::disk::DiskFile;
use std::fmt;

/// The header has a block of its own, which is never written again. The first frame starts behind it.
pub(super) const HEADER_BYTES: u64 = HEADER_LENGTH as u64;
/// Of files, frames and sections together; in every header.
pub(super) const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"SPNDRLOG";
const HEADER_LENGTH: usize = 4096;
const CRC_AT: usize = HEADER_LENGTH - 4;

/// Numbers the segments of one log from 1; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentNumber(pub(super) u64);

impl SegmentNumber {
    pub(super) const FIRST: SegmentNumber = SegmentNumber(1);

    pub(super) fn next(self) -> Self {
        SegmentNumber(self.0 + 1)
    }

    pub(super) fn previous(self) -> Self {
        SegmentNumber(self.0.saturating_sub(1))
    }

    pub(super) fn file_name(self) -> String {
        format!("log-{self}.seg")
    }

    /// The name while it is being prepared.
    pub(super) fn unfinished_name(self) -> String {
        format!("log-{self}.tmp")
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a file in the log's directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment(SegmentNumber),
    Unfinished,
    Foreign,
}

impl FileKind {
    pub(super) fn of(name: &str) -> Self {
        let Some((digits, kind)) = name.strip_prefix("log-").and_then(|rest| rest.split_once('.'))
        else {
            return FileKind::Foreign;
        };
        match (u64::from_str_radix(digits, 16).map(SegmentNumber), kind) {
            (Ok(number), "seg") if number.file_name() == name => FileKind::Segment(number),
            (Ok(number), "tmp") if number.unfinished_name() == name => FileKind::Unfinished,
            _ => FileKind::Foreign,
        }
    }
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub(super) number: SegmentNumber,
    pub(super) file: F,
    /// Length of the file.
    pub(super) capacity: u64,
}

/// The header of a segment.
pub(super) fn header(log: u64, number: SegmentNumber, capacity: u64) -> Vec<u8> {
    let mut bytes = vec![0; CRC_AT];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&log.to_le_bytes());
    bytes[24..32].copy_from_slice(&number.0.to_le_bytes());
    bytes[32..40].copy_from_slice(&capacity.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Checks that `file` is the segment that its name says. Returns it with the id of its log.
pub(super) fn open<F: DiskFile>(
    file: F,
    number: SegmentNumber,
) -> Result<(Segment<F>, u64), LogError> {
    let name = number.file_name();
    let io = |source| LogError::Io { doing: "reading", file: name.clone(), source };
    let corrupt =
        |damage| LogError::Corrupt { file: name.clone(), offset: 0, shards: Vec::new(), damage };
    let found = file.len().map_err(io)?;
    if found < HEADER_BYTES {
        return Err(corrupt(Damage::Length { expected: HEADER_BYTES, found }));
    }
    let mut bytes = [0; HEADER_LENGTH];
    file.read_at(&mut bytes, 0).map_err(io)?;
    let (covered, crc) = bytes.split_at(CRC_AT);
    if covered[0..8] != MAGIC[..] || crc != crc32c::crc32c(covered).to_le_bytes() {
        return Err(corrupt(Damage::Header));
    }
    let number_at = |at: usize| {
        u64::from_le_bytes(
            *bytes[at..].first_chunk().expect("the header is longer than its fields"),
        )
    };
    let version = number_at(8) & u64::from(u32::MAX);
    if version != u64::from(FORMAT_VERSION) {
        let found = u32::try_from(version).unwrap_or(u32::MAX);
        return Err(LogError::UnsupportedFormat { file: name, found, known: FORMAT_VERSION });
    }
    if number_at(24) != number.0 {
        return Err(corrupt(Damage::OtherSegment { found: number_at(24) }));
    }
    let capacity = number_at(32);
    if capacity != found {
        return Err(corrupt(Damage::Length { expected: capacity, found }));
    }
    Ok((Segment { number, file, capacity }, number_at(16)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_segment_is_read_back() {
        let number = SegmentNumber(0xabc);
        assert_eq!(number.file_name(), "log-0000000000000abc.seg");
        assert_eq!(FileKind::of(&number.file_name()), FileKind::Segment(number));
        assert_eq!(FileKind::of(&number.unfinished_name()), FileKind::Unfinished);
    }

    #[test]
    fn name_of_another_shape_is_foreign() {
        for name in ["log-abc.seg", "log-0000000000000ABC.seg", "manifest", "log-0000000000000abc"]
        {
            assert_eq!(FileKind::of(name), FileKind::Foreign, "{name}");
        }
    }

    #[test]
    fn names_sort_as_their_numbers() {
        assert!(SegmentNumber(9).file_name() < SegmentNumber(0x10).file_name());
    }
}
