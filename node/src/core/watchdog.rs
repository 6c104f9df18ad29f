//! A disk that neither fails nor answers (T53).
//!
//! A sync that takes long makes a bad leader: leaders here hand over while the others still have theirs. One
//! that does not come back at all ends the process, as a failed one does: what waits for it waits for
//! nothing, and the replicas elsewhere do better without this one.
//!
//! Time counts only while somebody looks: a process that was paused, or a machine that slept, has not seen
//! its disk stall.
//!
//! Not here: ending the process (`host/log_thread`).

use std::time::Duration;

use truetime::{Mono, Now};

use super::Core;
use crate::shard::replica::ReplicaError;

/// Leaders hand over when a sync takes longer.
const SHED_AFTER: Duration = Duration::from_secs(2);
/// The process ends when a sync takes longer.
const END_AFTER: Duration = Duration::from_secs(20);
/// One look counts for no more than this.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// How the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Nothing is to be synced, or not for long.
    Answers,
    /// Lead nothing that others could lead.
    Stalls,
    /// Do not wait for it any longer.
    Lost,
}

/// Watches over one sync after the other.
#[derive(Debug, Default)]
pub struct SyncWatch {
    /// The sync under way, when it was looked at last.
    sync: Option<u64>,
    waited: Duration,
    looked: Mono,
}

impl SyncWatch {
    /// What to think of the disk, now that `sync` is under way. Look several times a second.
    pub fn look(&mut self, mono: Mono, sync: Option<u64>) -> Disk {
        let passed = mono.since(self.looked).min(LOOK_MAX);
        self.looked = mono;
        if sync.is_none() || sync != self.sync {
            self.sync = sync;
            self.waited = Duration::ZERO;
        } else {
            self.waited += passed;
        }
        if self.waited > END_AFTER {
            Disk::Lost
        } else if self.waited > SHED_AFTER {
            Disk::Stalls
        } else {
            Disk::Answers
        }
    }
}

impl Core {
    /// Hands over what others could lead while a sync of this core takes long. Their entries still become
    /// durable on a majority elsewhere, so the release can be logged.
    pub(super) fn watch_disk(&mut self, now: &Now) -> Result<(), ReplicaError> {
        let oldest = self.syncs.front().map(|(token, _)| *token);
        match self.sync_watch.look(now.mono, oldest) {
            Disk::Answers => return Ok(()),
            Disk::Stalls | Disk::Lost => {}
        }
        let led = |(shard, replica): (&proto::ShardId, &crate::shard::replica::Replica)| {
            let shared = replica.descriptor().replicas.len() > 1;
            (replica.raft().is_leader() && shared).then_some(*shard)
        };
        for shard in self.replicas.iter().filter_map(led).collect::<Vec<_>>() {
            self.with_replica(now, shard, |replica, now, out| {
                replica.hand_over(now, None, out);
                Ok(())
            })?;
            self.dirty.insert(shard);
        }
        Ok(())
    }
}
