//! The Rust client of `spandrel.v1`.
//!
//! A [`Client`] keeps a few *session streams* open, each to some node, and sends every request over one of
//! them. [`Client::run`] takes a closure, runs it as a read-write transaction, and runs it again when the
//! transaction was aborted, with its *priority* kept so that it ages and wins. An outcome that is not known
//! is asked for, and never answered by running the closure again (T42). [`Client::snapshot`] reads without
//! locks at one timestamp; [`Client::apply`] commits writes in one request.
//!
//! ```no_run
//! # use client::{Client, ClientError, LockMode};
//! # async fn example() -> Result<(), ClientError> {
//! let client = Client::connect(["127.0.0.1:7420"]).await?;
//! let keys = vec![1_i64.into(), 2_i64.into()];
//! client
//!     .run(|transaction| {
//!         let keys = keys.clone();
//!         async move {
//!             // One request: it begins the transaction and locks both rows.
//!             let rows = transaction
//!                 .get_many("accounts", keys, &["balance"], LockMode::ForUpdate)
//!                 .await?;
//!             let (from, to): (i64, i64) = (rows[0].get(0)?, rows[1].get(0)?);
//!             transaction.update("accounts", &["id", "balance"], vec![1.into(), (from - 5).into()]);
//!             transaction.update("accounts", &["id", "balance"], vec![2.into(), (to + 5).into()]);
//!             // The second one, sent when the closure returns, carries the writes and commits.
//!             Ok::<_, ClientError>(())
//!         }
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! SQL is executed by [`Client::execute_sql`], or in a session of its own ([`Client::sql_session`]) with BEGIN,
//! SET and cancelling. [`shell`] is what people type it into.
//!
//! Not here: reading one's own buffered writes in `run`: they are sent with the commit. All waits are `tokio`'s; any
//! flavour of runtime does.

mod admin;
mod backoff;
mod call;
mod client;
mod commit;
mod config;
mod connection;
mod dial;
mod error;
mod mutation;
mod observe;
mod pool;
mod reading;
mod run;
mod shard_map;
pub mod shell;
mod snapshot;
mod sql;
mod tables;
mod transaction;

pub use crate::client::Client;
pub use config::{Config, Placement, Routing};
pub use connection::{Inbound, Outbox};
pub use dial::{Dial, Dialing};
pub use error::{ClientError, Refusal};
pub use mutation::Mutations;
pub use observe::{Attempt, AttemptEnd, Commit, Observe};
pub use proto::rpc::v1::{
    Column, ColumnType, ErrorKind, InitResponse, KeyRange, LockMode, NodeAddress, Outcome, Row,
    RowKey, SqlColumn, SqlError, SqlStatement, SqlSummary, SqlTransactionStatus, SqlType,
    StatusResponse, Table, Value, create_table_request::Placement as TablePlacement,
};
pub use run::{Committed, RunOptions};
pub use shard_map::{ShardMap, ShardPlace};
pub use snapshot::{Bound, Pages, Scan, Snapshot};
pub use sql::{SqlAnswer, SqlBatchAnswer, SqlCanceller, SqlRunning, SqlSession};
pub use transaction::Transaction;
