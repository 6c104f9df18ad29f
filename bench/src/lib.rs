//! Workloads, recorded histories, and the checker that says whether a history is strictly serializable.
//!
//! A workload ([`bank`]) records every transaction attempt as its client saw it ([`history`]); the
//! checker ([`checker`]) replays the attempts by timestamp and compares what each read returned with
//! what TRANSACTIONS.md section 8 says it must have returned. The simulator feeds the same checker.
//!
//! Example: a history in which a client's deposit into `a` was acknowledged at instant 20, and a strong
//! read that began at instant 30 returned the balance from before it, fails with a stale read that
//! names both transactions.
//!
//! Not here: anything a database does. This crate sees only what clients see.

pub mod bank;
pub mod checker;
pub mod history;
mod rng;
pub mod verify;
