//! The lease of one term: taking it, extending it on what is proposed anyway, letting it lapse, handing it
//! over (TRANSACTIONS.md section 3).

use std::time::Duration;

use proto::TxnId;
use truetime::{Mono, Now, Timestamp};

use super::removal::Removing;
use super::{
    COLLECT_INTERVAL, Cx, Effect, Leader, Local, Phase, Right, SWEEP_INTERVAL, Stage,
    THRESHOLD_INTERVAL, Waiting,
};
use crate::command::{Command, Entry};
use crate::message::{AbortReason, Refusal, RequestId};
use crate::state::{Applied, Lease, ShardState};

/// For so long after somebody asked for the past the lease is kept and promises are published.
const STALE_INTEREST: Duration = Duration::from_secs(60);

/// A lease may be renewed with this share of it less than half left. `latest` gains on the monotonic clock, so
/// after a renewal at one multiple of half a lease exactly half is left a little before the next.
const RENEWAL_SLACK: u32 = 32;

impl Leader {
    /// The right to assign, promise, grant and answer at this instant: an own lease, applied, not lapsed,
    /// on a sure and narrow clock (section 9.1).
    pub(super) fn right(&self, cx: &Cx<'_>) -> Option<Right> {
        let Phase::Holding { epoch } = self.phase else { return None };
        let interval = self.clock(cx.now)?;
        let lease = self.own_lease(cx.state)?;
        (lease.epoch == epoch && interval.latest < lease.expires).then_some(Right {
            epoch,
            expires: lease.expires,
            interval,
        })
    }

    /// The interval, when the clock is good enough to lead by.
    pub(super) fn clock(&self, now: &Now) -> Option<truetime::TimeInterval> {
        now.sure().filter(|interval| interval.epsilon() <= self.config.epsilon_max)
    }

    /// The lease in force, when it was given to this node in this very term (section 9.3).
    pub(super) fn own_lease(&self, state: &ShardState) -> Option<Lease> {
        state.header().lease.filter(|lease| {
            lease.holder == self.node && lease.term == self.term && lease.released.is_none()
        })
    }

    /// The first entry of the own term is applied: the last lease that anyone could make good is known,
    /// and so is everything prepared (T8, T10).
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        if cx.state.header().removed {
            self.phase = Phase::Removed;
            return;
        }
        self.phase = Phase::Resting;
        self.restore_prepared(cx);
        self.resume_telling(cx);
        if !self.is_idle(cx.now) {
            self.asked = Some(cx.now.mono);
        }
    }

    /// Takes a lease when one is wanted and the old one is surely over; renews at half; notices a lapse.
    pub(super) fn advance_lease(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Settling | Phase::Taking | Phase::Released | Phase::Removed => {}
            Phase::Resting => self.take_lease(cx),
            Phase::Holding { .. } => self.keep_lease(cx),
            Phase::HandingOver { .. } => self.advance_hand_over(cx),
            Phase::Removing(removing) => self.advance_removal(cx, removing),
        }
        if !self.deferred.is_empty() && self.right(cx).is_some() {
            for (caller, request) in std::mem::take(&mut self.deferred) {
                self.dispatch(cx, caller, request);
            }
        }
    }

    fn take_lease(&mut self, cx: &mut Cx<'_>) {
        // No new epoch while an extension is in flight: it may still make the old lease good.
        if self.extension_in_flight || (self.is_idle(cx.now) && self.deferred.is_empty()) {
            return;
        }
        let Some(interval) = self.clock(cx.now) else { return };
        let last = cx.state.header().lease;
        if last.and_then(|l| l.wait_out()).is_some_and(|until| !cx.now.after(until)) {
            return;
        }
        let ceiling = last.map_or(Timestamp::ZERO, |l| l.ceiling());
        let expires = interval.latest.max(ceiling).plus(self.config.lease_length);
        self.phase = Phase::Taking;
        let epoch = cx.state.next_epoch();
        let command = Command::Lease { holder: self.node, epoch, expires };
        // A lease stands alone: no header of an epoch that is not there yet.
        cx.out.push(Effect::Propose(Entry::fact(command)));
    }

    fn keep_lease(&mut self, cx: &mut Cx<'_>) {
        let lapsed = match (self.own_lease(cx.state), self.clock(cx.now)) {
            (Some(lease), Some(interval)) => interval.latest >= lease.expires,
            (None, _) => true,
            // An unsure clock decides nothing; Raft hands over meanwhile.
            (Some(_), None) => false,
        };
        if lapsed {
            // An extension in flight may still make it good.
            if !self.extension_in_flight {
                self.lose_epoch(cx);
                self.phase = Phase::Resting;
                self.take_lease(cx);
            }
            return;
        }
        if self.extension_due(cx) && !self.is_idle(cx.now) {
            self.propose(cx, Command::Nothing);
        }
        self.move_threshold(cx);
    }

    /// Versions older than `gc.ttl` need not stay readable; moved by the log, so on all replicas alike.
    fn move_threshold(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.next_threshold {
            return;
        }
        self.next_threshold = cx.now.mono.plus(THRESHOLD_INTERVAL);
        let Some(right) = self.right(cx) else { return };
        let threshold = right.interval.earliest.minus(self.config.gc_ttl);
        let header = cx.state.header();
        if threshold > header.threshold && header.highest_commit > header.threshold {
            self.propose(cx, Command::Threshold { threshold });
        }
    }

    /// Whether it is time to extend the lease, if nothing does so on the way, and no extension is under way.
    fn extension_due(&self, cx: &Cx<'_>) -> bool {
        if self.extension_in_flight || self.right(cx).is_none() {
            return false;
        }
        let lease = self.own_lease(cx.state);
        lease.is_some_and(|lease| self.renew_at(cx.now, lease) <= cx.now.mono)
    }

    /// When a lease is renewed: with about half of it left at the latest, judged by `latest` as its end is. Leases
    /// whose shards are quiet come to be renewed at the same multiples of that half by this node's clock, a
    /// quarter being used up, so that a node renews all of them with one write, however many they are.
    fn renew_at(&self, now: &Now, lease: Lease) -> Mono {
        let length = self.config.lease_length;
        let with_left = |left| now.mono_when_not_before(lease.expires.minus(left));
        let half = u64::try_from((length / 2).as_nanos()).unwrap_or(u64::MAX).max(1);
        let together = with_left(length / 2 - length / RENEWAL_SLACK).nanos() / half * half;
        Mono::from_nanos(together).max(with_left(length / 4 * 3))
    }

    pub(super) fn note_stale(&mut self, now: &Now, at: Timestamp) {
        if now.after(at) {
            self.stale_asked = Some(now.mono);
        }
    }

    /// Whether somebody asked for stale reads within the last minute: promises are published meanwhile, and
    /// the lease is kept for them (section 5).
    #[must_use]
    pub fn wanted_for_stale_reads(&self, now: &Now) -> bool {
        self.stale_asked.is_some_and(|asked| now.mono.since(asked) < STALE_INTEREST)
    }

    /// Idle: nothing holds or waits for a lock, nothing is prepared, nobody reads the past, and for one
    /// lease length nobody asked for anything that needs the lease.
    fn is_idle(&self, now: &Now) -> bool {
        self.txns.is_empty()
            && self.waiting.is_empty()
            && self.telling.is_empty()
            && !self.wanted_for_stale_reads(now)
            && self.asked.is_none_or(|asked| now.mono.since(asked) > self.config.lease_length)
    }

    /// Whether only a request, or the answer to a call, gives this leader something to do.
    #[must_use]
    pub fn is_at_rest(&self, now: &Now) -> bool {
        let needs_no_lease = match self.phase {
            Phase::Resting => self.is_idle(now) && self.deferred.is_empty(),
            Phase::Removed => true,
            Phase::Settling
            | Phase::Taking
            | Phase::Holding { .. }
            | Phase::HandingOver { .. }
            | Phase::Released
            | Phase::Removing(_) => false,
        };
        needs_no_lease && self.done.is_empty() && self.past_waits.is_empty()
    }

    /// When the lease wants attention, as far as time alone decides that.
    pub(super) fn lease_deadline(&self, now: &Now, state: &ShardState) -> Mono {
        if self.clock(now).is_none() {
            // No instant makes a lease possible: only a better reading does, and ticks look for one.
            return Mono::MAX;
        }
        let when_past = |ts: Timestamp| now.mono_when_after(ts);
        match self.phase {
            Phase::Resting
                if !self.extension_in_flight
                    && (!self.is_idle(now) || !self.deferred.is_empty()) =>
            {
                let wait_out = state.header().lease.and_then(|lease| lease.wait_out());
                wait_out.map_or(Mono::MAX, when_past)
            }
            Phase::Holding { .. } if !self.is_idle(now) && !self.extension_in_flight => {
                self.own_lease(state).map_or(Mono::MAX, |lease| self.renew_at(now, lease))
            }
            Phase::HandingOver { until, release_proposed: false, .. }
            | Phase::Removing(Removing { until, proposed: false, .. }) => {
                if !now.after(self.commit_assigned) {
                    when_past(self.commit_assigned)
                } else if now.mono < until {
                    until
                } else {
                    Mono::MAX
                }
            }
            _ => Mono::MAX,
        }
    }

    pub(super) fn lease_applied(&mut self, cx: &mut Cx<'_>, applied: &Applied) {
        if self.phase != Phase::Taking {
            return;
        }
        match (applied, self.own_lease(cx.state)) {
            (Applied::LeaseBegan, Some(lease)) => {
                self.phase = Phase::Holding { epoch: lease.epoch };
                self.next_grant = 1;
            }
            _ => self.phase = Phase::Resting,
        }
    }

    /// The epoch is over, the leader stays: every lock of an unprepared transaction is gone with it, those
    /// of prepared ones survive.
    fn lose_epoch(&mut self, cx: &mut Cx<'_>) {
        let lost: Vec<TxnId> = self
            .txns
            .iter()
            .filter(|(_, local)| !local.stage.is_bound())
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.drop_unbound(cx, id, AbortReason::LocksLost);
        }
        for wait in std::mem::take(&mut self.snapshot_waits) {
            cx.refuse(wait.caller, Refusal::NotLeader { hint: Some(self.node) });
        }
        for (caller, _) in std::mem::take(&mut self.catalog_waits) {
            cx.refuse(caller, Refusal::NotLeader { hint: Some(self.node) });
        }
        self.stalled.clear();
    }

    /// Header and command of the next entry: what is proposed anyway also extends the lease, publishes a
    /// promise and collects records.
    pub(super) fn entry(&mut self, cx: &Cx<'_>, command: Command) -> Entry {
        let mut entry = Entry::fact(command);
        if let Some(right) = self.right(cx) {
            entry.epoch = Some(right.epoch);
            if self.extension_due_on_traffic(right) {
                entry.extend = Some(right.interval.latest.plus(self.config.lease_length));
                self.extension_in_flight = true;
            }
            entry.promise = self.promise_for_entry(cx, right);
            entry.collect_outcomes = self.collection_bound(cx, right);
        } else if let Phase::HandingOver { epoch, .. } | Phase::Removing(Removing { epoch, .. }) =
            self.phase
        {
            entry.epoch = Some(epoch);
        }
        entry
    }

    /// On traffic the lease is extended once a quarter of it is used up.
    fn extension_due_on_traffic(&self, right: Right) -> bool {
        !self.extension_in_flight
            && right.expires.since(right.interval.latest) <= self.config.lease_length * 3 / 4
    }

    /// Records with a horizon below it may go: `after(horizon + record_ttl)` holds for them.
    fn collection_bound(&mut self, cx: &Cx<'_>, right: Right) -> Option<Timestamp> {
        if cx.now.mono < self.next_collection {
            return None;
        }
        self.next_collection = cx.now.mono.plus(COLLECT_INTERVAL);
        let bound = right.interval.earliest.minus(self.config.record_ttl);
        let unfinished = cx.state.unfinished().map(|unfinished| unfinished.id.horizon);
        let lowest = cx.state.lowest_horizon().into_iter().chain(unfinished).min();
        lowest.is_some_and(|lowest| lowest < bound).then_some(bound)
    }

    /// Stops assigning and lets go of the shard as soon as that is safe; [`Effect::HandedOver`] says when.
    /// Without a lease there is nothing to release.
    pub fn hand_over(&mut self, now: &Now, state: &ShardState, out: &mut Vec<Effect>) {
        let cx = &mut Cx { now, state, out };
        self.give_up_removal(cx);
        match self.phase {
            Phase::Holding { epoch } if self.right(cx).is_some() => {
                let until = now.mono.plus(self.config.hand_over_wait);
                self.phase = Phase::HandingOver { epoch, until, release_proposed: false };
                self.fail_waiting(cx);
                self.advance_hand_over(cx);
            }
            // What is proposed decides first; whoever wants the hand-over asks again.
            Phase::HandingOver { .. } | Phase::Removing(_) => {}
            // Should Raft not hand over, it has yet to learn what is prepared before it may do anything.
            Phase::Settling => {
                self.fail_waiting(cx);
                cx.out.push(Effect::HandedOver);
            }
            Phase::Holding { .. } | Phase::Resting | Phase::Taking | Phase::Released => {
                self.phase = Phase::Released;
                self.fail_waiting(cx);
                cx.out.push(Effect::HandedOver);
            }
            Phase::Removed => cx.out.push(Effect::HandedOver),
        }
    }

    pub(super) fn fail_waiting(&mut self, cx: &mut Cx<'_>) {
        let mut callers: Vec<RequestId> =
            self.deferred.drain(..).map(|(caller, _)| caller).collect();
        callers.extend(self.snapshot_waits.drain(..).map(|wait| wait.caller));
        callers.extend(self.catalog_waits.drain(..).map(|(caller, _)| caller));
        self.stalled.clear();
        for waiter in self.locks.fail_all() {
            if let Some((_, Waiting::Read { caller, .. } | Waiting::Lock { caller })) =
                self.waiting.remove(&waiter)
            {
                callers.push(caller);
            }
        }
        self.waiting.clear();
        // Commits and prepares that wait for locks, or for an extension, have chosen nothing.
        for local in self.txns.values_mut() {
            if matches!(local.stage, Stage::CommitWaiting(_) | Stage::PrepareWaiting(_)) {
                let stage = std::mem::replace(&mut local.stage, Stage::Active);
                callers.extend(stage.into_callers());
            }
        }
        self.pieces.stop();
        for caller in callers {
            cx.refuse(caller, Refusal::NotLeader { hint: None });
        }
    }

    /// Section 3: waits, up to a bound, for the outcomes of what was promised an `expires`; then until the
    /// highest commit timestamp it assigned has passed; then proposes the release.
    fn advance_hand_over(&mut self, cx: &mut Cx<'_>) {
        let Phase::HandingOver { epoch, until, release_proposed: false } = self.phase else {
            return;
        };
        let Some(interval) = self.clock(cx.now) else { return };
        let Some(lease) = self.own_lease(cx.state) else { return };
        if interval.latest >= lease.expires {
            // Too late to release: the successor waits the lease out.
            self.phase = Phase::Released;
            cx.out.push(Effect::HandedOver);
            return;
        }
        let open = self.open_expires(cx.state);
        if open.is_some() && cx.now.mono < until {
            return;
        }
        // An entry that is not applied yet may be a commit: its timestamp is covered by the same wait.
        if !cx.now.after(self.commit_assigned) || self.txns.values().any(Local::is_committing) {
            return;
        }
        let highest = self.floor(cx.state);
        self.phase = Phase::HandingOver { epoch, until, release_proposed: true };
        self.propose(cx, Command::Release { highest, wait_out: open });
    }

    /// The highest lease end that a transaction still prepared here was told.
    fn open_expires(&self, state: &ShardState) -> Option<Timestamp> {
        self.txns
            .iter()
            .filter_map(|(id, local)| match &local.stage {
                Stage::Preparing { expires, .. } => *expires,
                Stage::ReadPromised { expires, .. } => Some(*expires),
                Stage::Prepared { .. } => state.prepared().get(id).and_then(|r| r.expires),
                _ => None,
            })
            .max()
    }

    pub(super) fn release_applied(&mut self, cx: &mut Cx<'_>, applied: &Applied) {
        if matches!(self.phase, Phase::HandingOver { .. }) {
            self.phase = Phase::Released;
            if *applied == Applied::Released {
                cx.out.push(Effect::HandedOver);
            }
        }
    }

    /// Raft did not hand over in time: the leader goes on, unless its release is still in flight; says
    /// whether it does.
    #[must_use]
    pub fn hand_over_failed(&mut self) -> bool {
        match self.phase {
            Phase::Released => self.phase = Phase::Resting,
            // Nothing was proposed that lets go: its epoch is as good as before.
            Phase::HandingOver { epoch, release_proposed: false, .. } => {
                self.phase = Phase::Holding { epoch };
            }
            Phase::HandingOver { release_proposed: true, .. } => return false,
            Phase::Settling
            | Phase::Resting
            | Phase::Taking
            | Phase::Holding { .. }
            | Phase::Removing(_)
            | Phase::Removed => {}
        }
        true
    }

    /// Looks at timers of single transactions: silent gateways, participants in doubt, expired promises.
    pub(super) fn sweep(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.next_sweep {
            return;
        }
        self.next_sweep = cx.now.mono.plus(SWEEP_INTERVAL);
        let idle_before = |heard: Mono| cx.now.mono.since(heard) > self.config.idle_timeout;
        let mut silent = Vec::new();
        let mut ask = Vec::new();
        let mut lapsed = Vec::new();
        for (id, local) in &self.txns {
            match &local.stage {
                // A commit in hand stops the idle clock.
                Stage::Active if idle_before(local.heard) => silent.push(*id),
                Stage::ReadPromised { expires, .. } if cx.now.after(*expires) => lapsed.push(*id),
                Stage::Prepared { ask_at } | Stage::ReadPromised { ask_at, .. }
                    if *ask_at <= cx.now.mono =>
                {
                    ask.push(*id);
                }
                _ => {}
            }
        }
        for id in silent {
            self.drop_unbound(cx, id, AbortReason::Idle);
        }
        for id in lapsed {
            self.finish(cx, id);
        }
        for id in ask {
            self.ask_outcome(cx, id);
        }
        self.retell(cx);
        self.grant_ready(cx);
        self.serve_snapshots(cx);
    }
}

impl Local {
    fn is_committing(&self) -> bool {
        matches!(self.stage, Stage::Committing { .. } | Stage::CommitWait { .. })
    }
}
