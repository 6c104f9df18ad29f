//! The gateway of one core: what clients ask becomes calls to shards, and their answers become answers.
//!
//! Pure, like the shards: [`Gateway::step`] takes the time and one input and appends effects; it knows no
//! thread, socket, clock or runtime. Terms: a *ticket* is one request of a client and is answered exactly once; a
//! *session* is a read-write transaction that lives here, with its [`txn::transaction::Transaction`]; a
//! *snapshot* is one read without locks; an *owner* is whichever of them waits for calls.
//!
//! Example, a transfer: `Read FOR UPDATE` of two rows begins a session and calls each row's shard once;
//! `Commit` with two updates finds both rows known, forms full-row writes without a further read, and lets the
//! transaction run its commit round; its end answers the ticket.
//!
//! Not here: SQL; routing and retries (see `routing`); retries of a client's transaction, which only the
//! client can run again. Tables are used under a lease on the catalog's version: see `lease.rs`.

pub mod api;
mod catalog;
mod change;
mod ddl;
mod error;
mod keys;
mod lease;
mod machine;
mod mutation;
mod removal;
mod session;
mod settings;
mod single_use;
mod snapshot;
pub mod sql;
#[cfg(test)]
mod tests;
mod token;

pub use error::{Error, InvalidRequest, Subject};
pub use machine::{Effect, Gateway, Input};
pub use settings::GatewaySettings;
