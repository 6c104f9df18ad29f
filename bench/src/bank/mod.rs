//! The bank: transfers between accounts on many shards, audits that must always find the same sum.
//!
//! Terms: a *transfer* reads two balances under locks and writes both; it is *cross-shard* when the
//! shard map says that its accounts are on different shards. An *audit* reads every account and adds
//! them up, as a strong read, in the past, at followers, or in pages. A *fault* kills or stops a node
//! that leads shards; the bank *recovers* on such a shard with the first commit there that began after
//! the fault.
//!
//! Example: 4 accounts of 1000 on two shards. A transfer of 30 from account 0 (shard s2) to account 3
//! (shard s3) is cross-shard. An audit that returns 970, 1000, 1000, 1030 is right; one that misses half
//! of the transfer adds up to 3970 or 4030 and is an anomaly even before the history is checked.
//!
//! `drive` talks to a cluster; everything else here decides or counts.

mod accounts;
mod audits;
mod cluster;
mod cpu;
mod drive;
mod faults;
mod options;
mod recovery;
mod report;
mod stats;
mod work;

pub use accounts::{Accounts, INITIAL_BALANCE};
pub use audits::{Audit, AuditFailure, Audits};
pub use cluster::{Cluster, ClusterError, Leaders};
pub use cpu::cpu_time;
pub use drive::{BankError, Finished, drive};
pub use faults::{Fault, Faults, pick_victim};
pub use options::{BankOptions, OptionsError, Target};
pub use recovery::{NodeEvent, Recovery, ShardCommit, recovery};
pub use report::{CpuSeconds, LatencyMs, RecoveryMs, RecoveryReport, Report, Run};
pub use stats::{AbortReason, Latencies, LiveLine, Percentiles, Stats};
pub use work::{Spread, Transfer, Work, Workload};
