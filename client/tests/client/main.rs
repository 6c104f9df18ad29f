//! The client against scripted nodes.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test itself")]

mod network;
mod shell;
mod snapshots;
mod sql;
mod support;
mod transactions;
