//! What a replica does as time passes: Raft's ticks, counted when they matter and not one by one, and its
//! part in the heartbeats of its core.

use proto::{NodeId, Term};
use truetime::{Mono, Now};

use super::super::raft::{Heartbeat, Message};
use super::{Beat, Effect, Replica};

impl Replica {
    /// Does what is due, ticks included.
    pub fn tick(&mut self, now: &Now, out: &mut Vec<Effect>) {
        self.tick_raft(now);
        self.follower.tick(now, out);
        if let Some(leader) = &mut self.leader {
            leader.tick(now, &self.state, &mut self.leader_effects);
            self.run_leader_effects(out);
        }
        self.advance_hand_over(now);
    }

    /// When [`Replica::tick`] is to be called again at the latest. A leader counts on [`Replica::beat`]
    /// besides, which looks after its quorum.
    #[must_use]
    pub fn next_deadline(&self, now: &Now) -> Mono {
        let leader = self.leader.as_ref().map_or(Mono::MAX, |l| l.next_deadline(now, &self.state));
        let tick = if self.raft.is_leader() { Mono::MAX } else { self.next_tick() };
        let hand_over = self.hand_over.map_or(Mono::MAX, |hand_over| hand_over.deadline);
        tick.min(leader).min(hand_over).min(self.follower.next_deadline())
    }

    /// A leader's part of the core's rhythm: says to the others that it lives, sees to it that it hears of
    /// them, and looks whether there is something to do that no deadline tells of. The heartbeats that go
    /// together with those of other shards are put into `beats`.
    pub fn beat(&mut self, now: &Now, beats: &mut Vec<(NodeId, Beat)>, out: &mut Vec<Effect>) {
        if !self.raft.is_leader() {
            return;
        }
        self.tick_raft(now);
        if let Some(leader) = &mut self.leader
            && !leader.is_at_rest(now)
        {
            leader.tick(now, &self.state, &mut self.leader_effects);
            self.run_leader_effects(out);
        }
        for heartbeat in self.raft.heartbeats() {
            let Some(to) = self.descriptor.node_of(heartbeat.to) else { continue };
            if heartbeat.is_beat {
                let (shard, Heartbeat { term, commit, .. }) = (self.descriptor.id, heartbeat);
                beats.push((to, Beat { shard, term, commit }));
            } else {
                let message = heartbeat.message(self.raft.replica());
                out.push(Effect::Send { to, message });
            }
        }
    }

    /// Takes a beat of another node's leader, if it says nothing new; says whether it did. Else it is to
    /// be stepped as the message that it stands for: [`Replica::beat_message`].
    pub fn hear_beat(&mut self, now: &Now, from: NodeId, beat: &Beat) -> bool {
        self.elapse(now);
        let from = self.descriptor.replica_on(from);
        from.is_some_and(|from| self.raft.hear_beat(from, beat.term, beat.commit))
    }

    /// What a beat stands for; `None` when the node has no replica of this shard.
    #[must_use]
    pub fn beat_message(&self, from: NodeId, beat: &Beat) -> Option<Message> {
        let Beat { term, commit, .. } = *beat;
        let heartbeat = Heartbeat { to: self.raft.replica(), term, commit, is_beat: true };
        Some(heartbeat.message(self.descriptor.replica_on(from)?))
    }

    /// The replica on that node took a beat of this term.
    pub fn beat_heard(&mut self, by: NodeId, term: Term) {
        if let Some(by) = self.descriptor.replica_on(by) {
            self.raft.beat_heard(by, term);
        }
    }

    /// The process slept until now: it has not heard of its leader only because it did not listen. One tick
    /// counts all the same, for a process that is late each time has no other.
    pub fn slept(&mut self, now: &Now) {
        let unheard = now.mono.since(self.ticked).saturating_sub(self.config.tick);
        self.ticked = self.ticked.plus(unheard);
    }

    /// When Raft has something to do at a tick, if nothing is heard until then.
    fn next_tick(&self) -> Mono {
        let ticks = u32::try_from(self.raft.ticks_left()).unwrap_or(u32::MAX);
        self.ticked.plus(self.config.tick.saturating_mul(ticks))
    }

    /// The ticks since the last that Raft was told of; they count as told from here on.
    fn take_ticks(&mut self, now: &Now) -> usize {
        let tick = self.config.tick.as_nanos().max(1);
        let ticks = now.mono.since(self.ticked).as_nanos() / tick;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        self.ticked = self.ticked.plus(self.config.tick.saturating_mul(ticks));
        usize::try_from(ticks).expect("a u32 fits")
    }

    /// Has Raft know how much time has passed, before it is told what came in that time. A leader's timeout is
    /// the check of its quorum, which no message may carry it past: it would grant a pre-vote as if nobody led,
    /// and one talkative follower would keep the leader of a minority from stepping down.
    pub(super) fn elapse(&mut self, now: &Now) {
        if self.raft.is_leader() {
            return self.tick_raft(now);
        }
        let ticks = self.take_ticks(now);
        self.raft.elapse(ticks);
    }

    fn tick_raft(&mut self, now: &Now) {
        let due = self.next_tick() <= now.mono;
        let ticks = self.take_ticks(now);
        if !due {
            return self.raft.elapse(ticks);
        }
        self.raft.elapse(ticks.saturating_sub(1));
        let epsilon_max = self.config.txn.epsilon_max;
        if now.sure().is_some_and(|interval| interval.epsilon() <= epsilon_max) {
            self.raft.tick();
        } else {
            self.raft.tick_unsure();
        }
    }
}
