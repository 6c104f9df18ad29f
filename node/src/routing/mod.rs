//! Finds who serves a key, asks, and asks again until there is an answer or the time is up.
//!
//! Terms: a *call* is what a gateway wants to know; an *attempt* is one message sent for it. A call ends
//! exactly once. Every request is safe to repeat (`txn::message`), so an attempt that brings nothing is followed by
//! another; answers to abandoned attempts are dropped, because a request id is never used again (T9).
//!
//! Example: the call goes to n1, which has led the shard lately; n1 answers "not leader, n2 is"; the second
//! attempt goes to n2 at once, and the hint is kept for the next call. Had n1 known no leader, n3 would have
//! been tried after a pause that grows.
//!
//! Not here: what a request means, reading the shard map (the gateway does, when asked to), connections.

mod map;
mod router;
#[cfg(test)]
mod tests;

pub use crate::shard::descriptor::ShardDescriptor;
pub use map::ShardMap;
pub use router::{CallId, Effect, Preference, Route, Router, RouterSettings};
