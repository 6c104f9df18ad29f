//! The node's log on a disk that loses, tears and corrupts: what was acknowledged is there after any
//! crash, nothing partial is visible, and what cannot be read is reported, never cut.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod crash;
mod damage;
mod history;
mod model;
mod queue;
mod space;

use node::storage::log::{Log, LogError, LogOptions, Opening, Recovered};
use tests::sim_disk::SimDisk;

/// The identity of the logs in these tests.
const LOG: u64 = 0x5eed_10c5;

/// Small enough that a short history has all there is: rotations, moves, steps of preparation.
fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        segments_max: 3,
        reserve_bytes: 1 << 10,
        prepare_bytes_max: 6 << 10,
        move_bytes_max: 2 << 10,
        ..LogOptions::new(Opening::MayCreate { log: LOG })
    }
}

fn open(disk: &SimDisk) -> Result<(Log<SimDisk>, Recovered), LogError> {
    Log::open(disk.clone(), small())
}
