//! The rhythm of a core: once in a heartbeat interval its leaders say that they live, those of all quiet
//! shards to one node in one message.
//!
//! ```text
//! leaders here --beats--> one message for each node --> replicas there; those that learn nothing new
//!              <--------- one message back ----------- are listed in the answer
//! ```
//! A quiet shard so costs an entry in a list, and no Raft message, no timer of its own and no pass of a
//! core. Nothing is remembered of a beat on either side: one that is lost is a lost heartbeat, and a
//! replica that cannot take it as a beat takes it as a heartbeat, and answers that by itself.
//! docs/adr/0006-quiet-shards.md has the reasons.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{NodeId, ShardId, Term};
use truetime::{Mono, Now};

use super::{Core, Durability, Note, PeerMessage, core_of};
use crate::shard::replica::{Beat, ReplicaConfig, ReplicaError};

/// So many ticks late, and the process did not run meanwhile.
const LATE_TICKS: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Rhythm {
    interval: Duration,
    /// Between two passes of a process that runs there is less.
    gap_max: Duration,
    next: Mono,
    last_pass: Mono,
}

impl Rhythm {
    pub(super) fn new(config: &ReplicaConfig, now: &Now) -> Self {
        let interval = config.heartbeat_interval();
        let gap_max = interval + config.tick * LATE_TICKS;
        Rhythm { interval, gap_max, next: now.mono.plus(interval), last_pass: now.mono }
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.next
    }
}

impl Core {
    /// Before anything that a pass looks at: a process that slept for a while has not listened.
    pub(super) fn notice_sleep(&mut self, now: &Now) {
        let slept = now.mono.since(self.rhythm.last_pass) > self.rhythm.gap_max;
        self.rhythm.last_pass = self.rhythm.last_pass.max(now.mono);
        if slept {
            self.replicas.values_mut().for_each(|replica| replica.slept(now));
        }
    }

    /// Sends the heartbeats, when it is time.
    pub(super) fn beat(&mut self, now: &Now) -> Result<(), ReplicaError> {
        if now.mono < self.rhythm.next {
            return Ok(());
        }
        self.rhythm.next = now.mono.plus(self.rhythm.interval);
        let leads = self.replicas.iter().filter(|(_, replica)| replica.raft().is_leader());
        let mut beats = Vec::new();
        for shard in leads.map(|(shard, _)| *shard).collect::<Vec<_>>() {
            self.with_replica(now, shard, |replica, now, out| {
                replica.beat(now, &mut beats, out);
                Ok(())
            })?;
        }
        let mut by_node = BTreeMap::<NodeId, Vec<Beat>>::new();
        for (node, beat) in beats {
            by_node.entry(node).or_default().push(beat);
        }
        let core = self.config.core;
        for (node, beats) in by_node {
            self.send(node, PeerMessage::Beats { core, beats });
        }
        Ok(())
    }

    /// Takes the beats of another node's leaders. The answer waits for the disk like every other answer of
    /// a follower, so that one whose disk stalls is no part of a quorum.
    pub(super) fn hear_beats(
        &mut self,
        now: &Now,
        from: NodeId,
        core: u16,
        beats: &[Beat],
    ) -> Result<(), ReplicaError> {
        let mut heard = Vec::with_capacity(beats.len());
        for beat in beats {
            let shard = beat.shard;
            if core_of(shard, self.config.cores) != self.config.core {
                continue;
            }
            let Some(replica) = self.replicas.get_mut(&shard) else {
                self.look_for_unheard_of(now, shard);
                continue;
            };
            if replica.hear_beat(now, from, beat) {
                self.replica_deadlines.insert(shard, replica.next_deadline(now));
                heard.push((shard, beat.term));
            } else if let Some(message) = replica.beat_message(from, beat) {
                self.raft_message(now, from, shard, message)?;
            } else {
                let reason = "it has no replica of the shard that it says it leads".to_owned();
                self.out.push(super::Effect::Note(Note::BadMessage { from, shard, reason }));
            }
        }
        if !heard.is_empty() {
            self.waiting.push(Durability::BeatsHeard { to: from, core, heard });
        }
        Ok(())
    }

    /// The other node's replicas live.
    pub(super) fn beats_heard(&mut self, by: NodeId, heard: &[(ShardId, Term)]) {
        for (shard, term) in heard {
            if let Some(replica) = self.replicas.get_mut(shard) {
                replica.beat_heard(by, *term);
            }
        }
    }
}
