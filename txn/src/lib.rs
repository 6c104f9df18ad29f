//! The pure transaction core: locks, leases, two-phase commit, outcomes and safe time of one shard, and
//! the gateway's side of a transaction.
//!
//! Everything here takes time, messages and log positions as data and returns what is to be done. It
//! knows no Raft, thread, socket, file, clock or random source.

pub mod command;
pub mod leader;
pub mod lock_table;
pub mod message;
pub mod state;
pub mod transaction;

#[cfg(test)]
mod golden;
