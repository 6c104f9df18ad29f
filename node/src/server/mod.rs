//! The listeners of a node: the gRPC API with health and reflection, and HTTP with metrics and health.
//!
//! Translation and nothing else. A request becomes a question to one core of the node
//! ([`crate::gateway::api`]); what comes back becomes the answer. Terms: a *call* is one request of a client
//! and has one last answer; a *seat* is the core at which a client's transactions begin; a *session* is a
//! stream of calls with a seat of its own; an *outbox* has the answers that are to be sent.
//!
//! ```text
//! SessionRequest --SessionStream--> call --convert--> Request --Seat--> core
//!                                                                        | on the core's thread
//! SessionResponse <--SessionStream-- Outbox <--answers, errors-- Answer <+
//! ```
//! Everything that is ready when the client's connection can take it goes out in one message; a request costs no
//! task and no channel.
//!
//! Not here: what any request means (`gateway`), node to node (`host`), the PostgreSQL protocol, TLS.

mod answers;
mod api;
mod call;
mod convert;
mod coordinator_key;
mod errors;
pub mod http;
pub mod listen;
mod metrics;
mod outbox;
mod read;
mod seat;
mod service;
mod session;
mod shard_map;
pub mod status;
#[cfg(test)]
mod tests;
mod token;
mod too_large;

pub use api::{Chunks, SpandrelService};
pub use service::{InitFailed, InitHook, Initialised, ServerSettings};
pub use session::SessionStream;

use errors::Failure;
use proto::rpc::v1::ErrorKind;

/// One gRPC message, in either direction.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A message above the limit.
fn too_large(words: &str) -> Failure {
    Failure::new(
        ErrorKind::LimitExceeded,
        words.to_owned(),
        "a message takes at most 16 MiB; send several",
    )
}
