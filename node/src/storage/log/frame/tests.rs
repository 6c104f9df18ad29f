use super::*;
use proto::{EntryId, LogIndex, Term};

const AT: FrameAt = FrameAt { log: 3, segment: SegmentNumber(5), offset: 4096 };

fn records() -> Vec<LogRecord> {
    vec![
        LogRecord::Created { shard: ShardId(1), descriptor: b"abc"[..].into() },
        LogRecord::Removed { shard: ShardId(1) },
    ]
}

fn frame_of(payload_bytes: usize, at: FrameAt) -> Vec<u8> {
    let mut buffer = Vec::new();
    begin(&mut buffer);
    buffer.resize(HEAD_BYTES + payload_bytes, 0xa5);
    let bytes = finished_bytes(&buffer);
    finish(&mut buffer, at, 99);
    assert_eq!(buffer.len() as u64, bytes);
    buffer
}

/// A tail of 4 KiB that starts with `frame`.
fn tail_of(frame: &[u8]) -> Vec<u8> {
    let mut tail = frame.to_vec();
    tail.resize(4096, 0);
    tail
}

#[test]
fn frame_is_read_back() {
    for payload_bytes in [1, 7, 8, 9, 1000] {
        let mut bytes = frame_of(payload_bytes, AT);
        let seal = bytes.last_chunk().copied().map(u64::from_le_bytes).unwrap();
        let length = bytes.len() as u64;
        bytes.extend([7; 40]);
        let frame = parse(&bytes, AT).unwrap();
        assert_eq!(frame.payload, vec![0xa5; payload_bytes]);
        assert_eq!((frame.link, frame.seal, frame.bytes), (99, seal, length));
    }
}

#[test]
fn frame_with_any_bit_flipped_is_not_valid() {
    let bytes = frame_of(45, AT);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&flipped, AT).is_none(), "bit {bit}");
    }
}

#[test]
fn frame_at_another_place_is_not_valid() {
    let bytes = frame_of(45, AT);
    assert!(parse(&bytes, FrameAt { log: 4, ..AT }).is_none());
    assert!(parse(&bytes, FrameAt { segment: SegmentNumber(6), ..AT }).is_none());
    assert!(parse(&bytes, FrameAt { offset: 4104, ..AT }).is_none());
}

#[test]
fn frame_that_is_cut_is_not_valid() {
    let bytes = frame_of(45, AT);
    for length in 0..bytes.len() {
        assert!(parse(&bytes[..length], AT).is_none(), "{length}");
    }
}

#[test]
fn sections_are_read_back_in_order() {
    let id = EntryId { term: Term(1), index: LogIndex(2) };
    let kind = crate::storage::record::EntryKind::Normal;
    let entries = vec![LogEntry { id, kind, data: b"xyz"[..].into() }];
    let mut buffer = Vec::new();
    begin(&mut buffer);
    push_section(&mut buffer, &SectionRef::Checkpoint(&[]));
    push_section(&mut buffer, &SectionRef::Records(&records()));
    push_section(&mut buffer, &SectionRef::Moved(ShardId(1), &entries));
    let read = sections(&buffer[HEAD_BYTES..]).unwrap();
    let expected = [
        Section::Checkpoint(Vec::new()),
        Section::Records(records()),
        Section::Moved(ShardId(1), entries),
    ];
    assert_eq!(read, expected);
}

#[test]
fn format_of_a_frame_is_as_documented() {
    // Pinned: a change here needs a new format version, and `docs/formats.md`.
    let mut buffer = Vec::new();
    begin(&mut buffer);
    push_section(&mut buffer, &SectionRef::Records(&records()));
    finish(&mut buffer, AT, first_link(AT.log));
    let hex: String = buffer.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = concat!(
        "83f8e4ea",         // head check
        "0a000000",         // payload length
        "ed8f01dbe4140b1d", // link: of the first frame of log 3
        "00",               // section: records
        "02",               // two of them
        "0001",
        "03616263",         // created, shard 1, descriptor of 3 bytes
        "0401",             // removed, shard 1
        "000000000000",     // padding
        "f73ddd9e43206cf3", // seal
    );
    assert_eq!(hex, expected);
}

#[test]
fn tail_of_zeros_is_clean() {
    assert_eq!(classify_tail(&[0; 4096], AT), Tail::Clean);
    assert_eq!(classify_tail(&[], AT), Tail::Clean);
}

#[test]
fn tail_that_lacks_any_sector_is_torn() {
    // The frame does not start with a sector, and takes six.
    let at = FrameAt { offset: AT.offset + 200, ..AT };
    let frame = frame_of(2500, at);
    let cuts: Vec<usize> =
        [0].into_iter().chain((312..frame.len()).step_by(512)).chain([frame.len()]).collect();
    assert_eq!(cuts.len(), 7);
    for missing in 1u32..(1 << 6) {
        let mut tail = tail_of(&frame);
        for sector in (0..6).filter(|sector| missing & (1 << sector) != 0) {
            tail[cuts[sector]..cuts[sector + 1]].fill(0);
        }
        let used = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        let expected = if used == 0 { Tail::Clean } else { Tail::Torn { bytes: used } };
        assert_eq!(classify_tail(&tail, at), expected, "missing sectors {missing:06b}");
    }
}

#[test]
fn tail_that_was_written_in_full_is_damaged() {
    let frame = frame_of(2500, AT);
    for bit in (0..frame.len() * 8).step_by(5) {
        let mut tail = tail_of(&frame);
        tail[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(classify_tail(&tail, AT), Tail::Damaged, "bit {bit}");
    }
}

#[test]
fn tail_before_a_valid_frame_is_named() {
    let first = frame_of(600, AT);
    let later = FrameAt { offset: AT.offset + first.len() as u64, ..AT };
    let mut tail = first.clone();
    tail.extend(frame_of(10, later));
    tail[..first.len()].fill(0);
    let expected = Tail::BeforeValid { later: later.offset };
    assert_eq!(classify_tail(&tail, AT), expected);
    tail[..first.len()].fill(0xff);
    assert_eq!(classify_tail(&tail, AT), expected);
}
