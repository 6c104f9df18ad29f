//! Tests of `RaftGroup`: each rule by itself, then whole groups under loss, reordering and crashes.

mod beats;
mod crashes;
mod elections;
mod harness;
mod messages;
mod opening;
mod readies;
mod replication;
mod snapshots;
mod window;
