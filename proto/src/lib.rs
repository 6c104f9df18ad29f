//! What travels: ids, keys, rows, and (behind feature `rpc`) the gRPC stubs.
//!
//! Not here: any meaning beyond identity and order. Without `rpc` this crate needs nothing but `std`
//! and serde's derive.

pub mod encoding;
pub mod id;
pub mod key;
#[cfg(feature = "rpc")]
pub mod rpc;
pub mod table;

pub use id::{
    EntryId, Epoch, GrantPair, LogIndex, NodeId, Priority, ReplicaId, ShardId, TableId, Term, TxnId,
};
pub use key::{Key, KeySpan, Value};
