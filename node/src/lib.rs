//! A node: its shards, its storage, its gateway, and the server around them.
//!
//! `shard`, `gateway` and `routing` are pure: they take time, messages and disk completions as events and
//! return effects. `storage` is what keeps bytes. `host` runs the effects, `server` translates the wire.

pub mod core;
pub mod gateway;
pub mod host;
pub mod routing;
pub mod server;
pub mod shard;
pub mod storage;
pub mod system;
