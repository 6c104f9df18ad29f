//! The simulator: a whole cluster in one thread, from one seed.
//!
//! Terms: a *plan* is what a seed decides beforehand ([`plan`]); a *pass* is one round of a node's loop; true
//! time is what the event queue counts, and no node sees it. A run has two phases: clients work while faults
//! are drawn, and only safety is checked; then everything heals, and every client's transaction and everything
//! prepared must come to an end in bounded time (liveness), after which all replicas are equal.
//!
//! ```text
//! seed -> plan -> boot -> tables -> load -> work + faults -> heal -> quiet -> replicas, history checked
//! ```
//! The nodes run the code of production: `Core`, the log over a simulated disk, clocks judged as real ones are.
//! A failure names its seed; `cargo run -p tests --bin sim -- --seed S --trace` shows all that happened.
//!
//! Not here: SQL, more than one core of a node, damage to disks (`tests/log_crash`), membership changes.

mod churn;
mod client;
mod cluster;
mod faults;
mod links;
mod machine;
mod network;
mod passes;
pub mod plan;
mod rng;
mod run;
mod seats;
pub mod tables;

pub use run::{Outcome, Summary, run, run_many};
