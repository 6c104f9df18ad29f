//! A shard's replica on this node, pure: time, messages and disk completions in, effects out.

pub mod descriptor;
pub mod follower;
pub mod raft;
pub mod replica;
