//! The settings of a leader.

use std::time::Duration;

/// Durations and limits of the transaction core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// A transaction whose gateway is silent for this long loses its locks; a prepared one asks.
    pub idle_timeout: Duration,
    /// No attempt may claim a horizon further than this above its begin.
    pub max_age_limit: Duration,
    /// How long an outcome record is kept past its horizon.
    pub record_ttl: Duration,
    /// A clock wider than this assigns and promises nothing.
    pub epsilon_max: Duration,
    /// How far a lease reaches ahead.
    pub lease_length: Duration,
    /// How long a hand-over waits for prepared transactions before its release carries their bound.
    pub hand_over_wait: Duration,
    /// How long an older transaction waits for a prepared one before it asks that one's coordinator.
    pub wound_delay: Duration,
    /// Requests that may wait for the lease.
    pub deferred_max: usize,
    /// Transactions known at once.
    pub transactions_max: usize,
    /// Writes of a transaction that take more travel in pieces, each in an entry of its own.
    pub entry_bytes_max: usize,
    /// Outcome records kept.
    pub outcomes_max: usize,
    /// Versions newer than this stay readable.
    pub gc_ttl: Duration,
    /// `catalog.lease`: for how long a gateway may use a catalog version.
    pub catalog_lease: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            idle_timeout: Duration::from_secs(10),
            max_age_limit: Duration::from_secs(24 * 3600),
            record_ttl: Duration::from_secs(600),
            epsilon_max: Duration::from_millis(500),
            lease_length: Duration::from_secs(2),
            hand_over_wait: Duration::from_millis(100),
            wound_delay: Duration::from_millis(20),
            deferred_max: 10_000,
            transactions_max: 100_000,
            entry_bytes_max: 1 << 20,
            outcomes_max: 5_000_000,
            gc_ttl: Duration::from_secs(3600),
            catalog_lease: Duration::from_secs(60),
        }
    }
}

/// Whether the disk of the leader's node has room for new work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskRoom {
    /// It has.
    #[default]
    Enough,
    /// What is left is for outcomes, aborts and clean-up (T52).
    Short,
}
