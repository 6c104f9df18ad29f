//! Why a run has no report.

use crate::bank::cluster::ClusterError;
use crate::history::HistoryError;
use client::ClientError;

/// Why the bank could not be run. What it finds wrong with the database is in its report instead.
#[derive(Debug, thiserror::Error)]
pub enum BankError {
    /// The cluster did not do what the bank cannot do without.
    #[error("cannot {doing}: {source}")]
    Client {
        /// What was tried.
        doing: &'static str,
        /// What the client said.
        source: ClientError,
    },
    /// A table of the bank's name that the bank did not make.
    #[error(
        "the cluster has a table {table} that is not this benchmark's; rename it, or run on another cluster"
    )]
    TableInTheWay {
        /// Its name.
        table: &'static str,
    },
    /// The shard map does not say where an account is.
    #[error("the shard map has no shard for account {account}, though its table was just created")]
    NoShard {
        /// The account.
        account: u32,
    },
    /// What was loaded is not there.
    #[error("{found} accounts are there after loading {expected}")]
    NotLoaded {
        /// How many were loaded.
        expected: u32,
        /// How many there are.
        found: usize,
    },
    /// A row that the bank cannot have written.
    #[error("the bank's table holds a row that the bank never wrote: {reason}")]
    OddRow {
        /// What is odd about it.
        reason: String,
    },
    /// A node could not be killed, stopped or started.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The history could not be written.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A client did not come to an end, so its last transaction is not recorded and nothing can be checked.
    #[error("{clients} clients did not come to an end within {limit:?}; the history is incomplete")]
    Stuck {
        /// How many.
        clients: usize,
        /// How long they were given.
        limit: std::time::Duration,
    },
    /// A task of the bank panicked.
    #[error("a part of the benchmark failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The user wanted an end before anything was measured.
    #[error("interrupted before anything was measured")]
    Interrupted,
}

impl BankError {
    /// For `map_err`: what was tried when the client failed.
    pub(super) fn doing(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |source| BankError::Client { doing, source }
    }
}
