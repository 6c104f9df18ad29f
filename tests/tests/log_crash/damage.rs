//! Damage that no crash explains is reported, and nothing on the disk is touched.

use crate::history::entries;
use crate::model::Model;
use crate::{LOG, open, small};
use node::storage::disk::{Disk, DiskFile};
use node::storage::log::{Damage, Log, LogError, LogOptions, Opening, Prepared, Recovered};
use node::storage::record::{HardState, LogRecord};
use proto::{ShardId, Term};
use std::collections::BTreeMap;
use std::ops::Range;
use tests::sim_disk::SimDisk;

const HEADER: usize = 4096;

/// A log of several segments with several frames each, and a spare.
fn filled() -> (SimDisk, Model) {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let mut model = Model::default();
    write(&mut log, &mut model, 0..25);
    while log.prepare_ahead().unwrap() != Prepared::Ready {}
    let names = segments(&disk);
    assert!(names.len() >= 4, "{names:?}");
    for name in &names[..names.len() - 1] {
        assert!(frames(&disk.content(name).unwrap()).len() > 3, "{name} has several frames");
    }
    (disk, model)
}

/// Writes entries of two shards, which it creates first, of 1 to 3 kB each.
fn write(log: &mut Log<SimDisk>, model: &mut Model, rounds: Range<u64>) {
    for round in rounds {
        let shard = ShardId(1 + round % 2);
        let state = HardState { term: Term(1), ..HardState::default() };
        let mut records = vec![entries(shard, Term(1), 1 + round / 2, 1, 3000)];
        if round < 2 {
            let descriptor = vec![1; 10].into();
            records.insert(0, LogRecord::Created { shard, descriptor });
            records.push(LogRecord::HardState { shard, state });
        }
        log.write_and_sync(&[&records]).unwrap();
        records.iter().for_each(|record| model.apply(record));
    }
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap()
}

fn image(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap().into_iter();
    names.map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}

/// Opens a damaged log, which must fail and leave it alone.
fn refused(disk: &SimDisk) -> LogError {
    let (before, counts) = (image(disk), disk.counts());
    let error = open(disk).map(|(_, recovered)| recovered).unwrap_err();
    assert_eq!(image(disk), before);
    assert_eq!(disk.counts(), counts, "{error}");
    error
}

fn damage(error: LogError) -> (String, u64, Damage) {
    match error {
        LogError::Corrupt { file, offset, damage, .. } => (file, offset, damage),
        other => panic!("not a report of damage: {other}"),
    }
}

/// Where the frames of a segment start, and where the last one ends, by their lengths.
fn frames(content: &[u8]) -> Vec<usize> {
    let mut starts = vec![HEADER];
    loop {
        let start = *starts.last().unwrap();
        let length = content.get(start + 4..start + 8).map(|b| b.try_into().unwrap());
        let length = usize::try_from(length.map_or(0, u32::from_le_bytes)).unwrap();
        if length == 0 {
            return starts;
        }
        starts.push(start + (16 + length).next_multiple_of(8) + 8);
    }
}

#[test]
fn flipped_bit_anywhere_is_reported_or_in_free_space() {
    let (disk, expected) = filled();
    let names = segments(&disk);
    for name in &names {
        let content = disk.content(name).unwrap();
        let end = *frames(&content).last().unwrap();
        for at in (0..content.len()).step_by(3) {
            disk.corrupt(name, |bytes| bytes[at] ^= 1 << (at % 8));
            let used = at < end;
            match open(&disk) {
                Err(error) => {
                    let (file, offset, _) = damage(error);
                    assert_eq!(file, *name, "flip at {at}");
                    assert!(offset <= at as u64, "flip at {at}, reported at {offset}");
                    assert!(used || at < end + 8, "flip at {at} behind {end} in {name}");
                }
                Ok((_, Recovered { shards, .. })) => {
                    assert!(!used, "flip at {at} of {end} in {name} passed");
                    assert_eq!(shards, expected.shards);
                }
            }
            disk.corrupt(name, |bytes| bytes.clone_from(&content));
        }
    }
}

#[test]
fn damaged_frame_before_a_valid_one_is_reported_with_its_place() {
    let (disk, _) = filled();
    let names = segments(&disk);
    let name = &names[names.len() - 2];
    let starts = frames(&disk.content(name).unwrap());
    // All of the frame is gone, as after a write that the disk lost.
    disk.corrupt(name, |bytes| bytes[starts[1]..starts[2]].fill(0));
    let (file, offset, found) = damage(refused(&disk));
    assert_eq!((&file, offset), (name, starts[1] as u64));
    assert_eq!(found, Damage::FrameBeforeValid { later: starts[2] as u64 });
}

#[test]
fn lost_last_frame_of_a_full_segment_is_reported_with_its_place() {
    let (disk, _) = filled();
    let name = &segments(&disk)[0];
    let starts = frames(&disk.content(name).unwrap());
    let [.., last, end] = starts[..] else { panic!("at least one frame") };
    disk.corrupt(name, |bytes| bytes[last..end].fill(0));
    let (file, offset, found) = damage(refused(&disk));
    assert_eq!((&file, offset, found), (name, last as u64, Damage::Unlinked));
}

#[test]
fn last_frame_written_in_full_and_damaged_is_not_cut() {
    let (disk, _) = filled();
    let names = segments(&disk);
    let name = &names[names.len() - 2];
    let starts = frames(&disk.content(name).unwrap());
    let [.., last, end] = starts[..] else { panic!("at least one frame") };
    for at in last..end {
        disk.corrupt(name, |bytes| bytes[at] ^= 0x10);
        let (file, offset, found) = damage(refused(&disk));
        assert_eq!((&file, offset, found), (name, last as u64, Damage::Frame));
        disk.corrupt(name, |bytes| bytes[at] ^= 0x10);
    }
}

#[test]
fn frame_at_the_wrong_place_is_not_taken() {
    // T50: the disk wrote the first frame of one segment over that of another, and a frame over the
    // one after it.
    let (disk, _) = filled();
    let names = segments(&disk);
    let older = disk.content(&names[0]).unwrap();
    let starts = frames(&older);
    let (first, second) = (starts[0], starts[1]);
    let original = disk.content(&names[1]).unwrap();
    disk.corrupt(&names[1], |bytes| bytes[HEADER..second].copy_from_slice(&older[HEADER..second]));
    assert_eq!(damage(refused(&disk)), (names[1].clone(), HEADER as u64, Damage::NoOpening));
    disk.corrupt(&names[1], |bytes| bytes.clone_from(&original));
    let moved = older[first..second].to_vec();
    disk.corrupt(&names[0], |bytes| bytes[second..second + moved.len()].copy_from_slice(&moved));
    assert_eq!(damage(refused(&disk)), (names[0].clone(), second as u64, Damage::Unlinked));
}

#[test]
fn stale_segment_content_is_not_taken() {
    // A segment as it was at an earlier time, under its own name: the disk lost all later writes to it.
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let mut model = Model::default();
    write(&mut log, &mut model, 0..3);
    let name = segments(&disk)[0].clone();
    let stale = disk.content(&name).unwrap();
    write(&mut log, &mut model, 3..25);
    let end = *frames(&stale).last().unwrap();
    assert!(end < *frames(&disk.content(&name).unwrap()).last().unwrap());
    disk.corrupt(&name, |bytes| bytes.clone_from(&stale));
    assert_eq!(damage(refused(&disk)), (name, end as u64, Damage::Unlinked));
}

#[test]
fn frame_of_another_past_is_not_taken() {
    // Two histories of one log id, as from a copied disk: each frame is valid where it stands, and
    // the second one does not continue the first.
    let run = |first: u64| {
        let disk = SimDisk::new();
        let (mut log, _) = open(&disk).unwrap();
        let shard = ShardId(first);
        for shard in [shard, ShardId(9)] {
            let descriptor = vec![1; 700].into();
            log.write_and_sync(&[[LogRecord::Created { shard, descriptor }]]).unwrap();
        }
        disk
    };
    let (disk, other) = (run(1), run(2));
    let name = &segments(&disk)[0];
    let foreign = other.content(name).unwrap();
    let starts = frames(&foreign);
    assert_eq!(frames(&disk.content(name).unwrap()), starts);
    disk.corrupt(name, |bytes| bytes[starts[1]..].copy_from_slice(&foreign[starts[1]..]));
    let (_, offset, found) = damage(refused(&disk));
    assert_eq!((offset, found), (starts[1] as u64, Damage::Unlinked));
}

#[test]
fn segment_of_another_log_is_not_taken() {
    let (disk, _) = filled();
    let other = SimDisk::new();
    let options = LogOptions { opening: Opening::MayCreate { log: LOG + 1 }, ..small() };
    let (mut log, _) = Log::open(other.clone(), options).unwrap();
    write(&mut log, &mut Model::default(), 0..25);
    let name = &segments(&disk)[1];
    let foreign = other.content(name).unwrap();
    disk.corrupt(name, |bytes| bytes.clone_from(&foreign));
    let (file, _, found) = damage(refused(&disk));
    assert_eq!((&file, found), (name, Damage::OtherLog { expected: LOG, found: LOG + 1 }));
}

#[test]
fn missing_segment_is_reported() {
    let (disk, _) = filled();
    let names = segments(&disk);
    // The one before the last used: those before it are taken for deleted ones, and what they held is
    // missing.
    disk.lose(&names[names.len() - 3]);
    let error = refused(&disk);
    let text = error.to_string();
    let LogError::Corrupt { file, shards, damage, .. } = error else { panic!("{text}") };
    assert_eq!(file, names[names.len() - 3]);
    assert!(matches!(damage, Damage::EntriesMissing { .. }), "{text}");
    assert!(!shards.is_empty(), "{text}");
    assert!(text.contains("replace this node's data directory"), "{text}");
}

#[test]
fn missing_last_segment_is_reported() {
    let (disk, _) = filled();
    let names = segments(&disk);
    disk.lose(&names[names.len() - 2]);
    let (file, _, found) = damage(refused(&disk));
    assert_eq!((file, found), (names[names.len() - 2].clone(), Damage::Missing));
}

#[test]
fn wiped_last_segment_is_reported() {
    // Two segments without a frame: the spare alone cannot be both.
    let (disk, _) = filled();
    let names = segments(&disk);
    let name = &names[names.len() - 2];
    disk.corrupt(name, |bytes| bytes[HEADER..].fill(0));
    let (file, _, found) = damage(refused(&disk));
    assert_eq!((&file, found), (name, Damage::NoOpening));
}

#[test]
fn segment_cut_short_is_reported() {
    let (disk, _) = filled();
    for name in segments(&disk) {
        let content = disk.content(&name).unwrap();
        for length in [0, 100, HEADER, content.len() - 1] {
            disk.corrupt(&name, |bytes| bytes.truncate(length));
            let (file, _, found) = damage(refused(&disk));
            assert_eq!(file, name);
            assert!(matches!(found, Damage::Length { .. }), "{found}");
            disk.corrupt(&name, |bytes| bytes.clone_from(&content));
        }
    }
}

#[test]
fn newer_format_is_named() {
    let (disk, _) = filled();
    let name = &segments(&disk)[0];
    disk.corrupt(name, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    });
    let error = refused(&disk);
    assert!(matches!(error, LogError::UnsupportedFormat { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn absent_log_is_refused_when_it_must_exist() {
    let disk = SimDisk::new();
    let options = LogOptions { opening: Opening::MustExist, ..small() };
    let result = Log::open(disk.clone(), options.clone());
    assert!(matches!(result, Err(LogError::Missing)));
    assert!(disk.list().unwrap().is_empty());
    open(&disk).unwrap();
    let (log, _) = Log::open(disk, options).unwrap();
    assert_eq!(log.id(), LOG);
}

#[test]
fn foreign_and_unfinished_files_do_not_matter() {
    let (disk, expected) = filled();
    disk.create("manifest").unwrap();
    disk.create("log-00000000000000ff.tmp").unwrap().write_at(b"junk", 0).unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.shards, expected.shards);
    let names = segments(&disk);
    assert!(names.contains(&String::from("manifest")));
    assert!(!names.iter().any(|name| name.ends_with("tmp")), "{names:?}");
}

#[test]
fn torn_tail_is_cut_once_and_named() {
    let (disk, expected) = filled();
    let names = segments(&disk);
    let name = &names[names.len() - 2];
    let content = disk.content(name).unwrap();
    let starts = frames(&content);
    let [.., start, end] = starts[..] else { panic!("at least one frame") };
    let frame = &content[start..end];
    // A frame in which a sector of the middle did not arrive.
    disk.corrupt(name, |bytes| {
        let hole = start.next_multiple_of(512);
        assert!(hole + 512 < end, "the last frame is {} long", frame.len());
        bytes[hole..hole + 512].fill(0);
    });
    let (_, recovered) = open(&disk).unwrap();
    let torn = recovered.torn_tail.unwrap();
    assert_eq!((&torn.file, torn.offset, torn.bytes), (name, start as u64, (end - start) as u64));
    assert_ne!(recovered.shards, expected.shards);
    let (_, again) = open(&disk).unwrap();
    assert_eq!((again.torn_tail, again.shards), (None, recovered.shards));
}
