//! SQL: parse, bind, plan, execute, over the trait [`kv::Kv`].
//!
//! ```text
//! text --parse--> Statement --bind, plan--> Plan --execute--> rows, mutations
//!                  ^ no catalog              ^ tables, types     ^ Kv
//! ```
//! A statement is parsed without knowing any table; a plan is made for the tables as they are and run as often as
//! they stay so; an execution is one run in one transaction. Scalars are apart from all of it.
//!
//! Not here: shards, replicas, the wire.

#![expect(
    clippy::manual_async_fn,
    reason = "that a future is Send is part of a signature here, whatever the database below is"
)]

mod bind;
pub mod error;
pub mod execute;
pub mod kv;
pub mod parse;
pub mod plan;
pub mod scalar;
pub mod session;
pub mod settings;
