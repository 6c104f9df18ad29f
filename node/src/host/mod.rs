//! Runs the pure parts on a real machine: threads, clock, disk, connections.
//!
//! ```text
//! connections --> Inbox of a core --> Core::step .. Core::flush --> effects
//!                    ^                                               |-- Write --> log thread --+
//!                    +------------------- Synced --------------------|--------------------------+
//!                    +--- ReadDone, Installed -----------------------|-- Read, Install: version store
//!                                                                    |-- Send --> link of the other node
//!                                                                    |-- Answer --> whoever waits for it
//! ```
//! A core is one thread with a `current_thread` runtime: its connections, gateway and shards. The other
//! threads of a node are the one that syncs the log and a small pool, which makes the version store durable,
//! goes on with long reads and installs snapshots.
//!
//! Not here: what any message means; the public API (`server`).

mod answers;
mod core_loop;
pub mod data_dir;
pub mod disk_space;
mod inbox;
mod link;
pub mod log_thread;
mod node;
pub mod peer_service;
mod store;
mod store_work;

pub use answers::{Answers, OnAnswer};
pub use core_loop::{CoreHandle, Event};
pub use inbox::Inbox;
pub use link::{Link, Links, PEER_MESSAGE_BYTES_MAX};
pub(crate) use node::random_u64;
pub use node::{Node, NodeError, NodeOptions, Running};
pub use store::SharedStore;

use std::time::Duration;

/// Threads of a core's pool: one replaces shards, one makes the version store durable, the others read.
pub const POOL_THREADS: usize = 4;

/// The monotonic clock, since an arbitrary origin: for statistics only.
#[expect(clippy::disallowed_methods, reason = "the host is where clocks are read")]
pub(crate) fn monotonic() -> Duration {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    std::time::Instant::now().duration_since(*ORIGIN.get_or_init(std::time::Instant::now))
}
