//! Granting, waiting, wounding: what a transaction does before it is bound (TRANSACTIONS.md section 4,
//! "Locks", "Grants are numbered", "Wound-wait", "Keep-alive").

use proto::{GrantPair, Key, KeySpan, NodeId, TxnId};
use truetime::{Mono, Now};

use super::commit::clients;
use super::{Cx, Effect, GONE_MAX, Leader, Local, Right, Stage, Waiting};
use crate::lock_table::{Acquire, LockMode, LockNeed, Waiter};
use crate::message::{
    AbortReason, Attempt, Outcome, ReadLimit, Refusal, Reply, Request, RequestId,
};
use crate::state::ShardState;

/// What became of a request for locks.
pub(super) enum Locked {
    /// All are held.
    Granted,
    /// The request waits; [`Leader::grant_ready`] continues it.
    Queued,
    /// There is no room.
    Overloaded,
}

impl Leader {
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(super) fn locked_read(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        caller: RequestId,
        attempt: Attempt,
        mode: LockMode,
        spans: Vec<KeySpan>,
        limit: ReadLimit,
    ) {
        if let Err(reply) = self.admit(cx, right, &attempt) {
            return cx.reply(caller, reply);
        }
        let needs = spans.iter().map(|span| LockNeed { span: span.clone(), mode }).collect();
        let waiting = Waiting::Read { caller, spans, limit };
        self.lock(cx, right, attempt.id, needs, waiting);
    }

    pub(super) fn lock_keys(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        caller: RequestId,
        attempt: Attempt,
        keys: Vec<Key>,
    ) {
        if let Err(reply) = self.admit(cx, right, &attempt) {
            return cx.reply(caller, reply);
        }
        let needs = exclusive(keys.into_iter());
        self.lock(cx, right, attempt.id, needs, Waiting::Lock { caller });
    }

    /// Whether an attempt that is not bound here may go on: its grant pair is the one held (T24), it has
    /// no record, and it was not told off before. Makes it known here.
    pub(super) fn admit(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        attempt: &Attempt,
    ) -> Result<(), Reply> {
        let id = attempt.id;
        if cx.state.outcome(&id).is_some() {
            return Err(Reply::Aborted { reason: AbortReason::GivenUp });
        }
        self.check_grant(right, attempt)?;
        if let Some(reason) = self.gone.get(&id) {
            return Err(Reply::Aborted { reason: reason.clone() });
        }
        let Some(local) = self.txns.get_mut(&id) else {
            if self.txns.len() >= self.config.transactions_max {
                let what = "transactions at this shard".to_owned();
                return Err(Reply::Refused(Refusal::Overloaded { what }));
            }
            let local = Local {
                priority: attempt.priority,
                grant: None,
                heard: cx.now.mono,
                stage: Stage::Active,
            };
            self.txns.insert(id, local);
            return Ok(());
        };
        local.heard = cx.now.mono;
        match local.stage {
            Stage::Active => Ok(()),
            Stage::Aborting { .. } => Err(Reply::Aborted { reason: AbortReason::GivenUp }),
            _ => Err(Reply::Refused(Refusal::Invalid {
                reason: "the transaction is being committed".to_owned(),
            })),
        }
    }

    /// A request that names a grant goes on only where exactly that grant is held.
    pub(super) fn check_grant(&self, right: Right, attempt: &Attempt) -> Result<(), Reply> {
        let Some(grant) = attempt.grant else { return Ok(()) };
        if self.txns.get(&attempt.id).is_some_and(|local| local.grant == Some(grant)) {
            return Ok(());
        }
        if grant.epoch > right.epoch {
            return Err(Reply::Refused(Refusal::NotLeader { hint: None }));
        }
        let reason = self.gone.get(&attempt.id).cloned().unwrap_or(AbortReason::LocksLost);
        Err(Reply::Aborted { reason })
    }

    /// Asks for locks and continues `waiting` now or when they are granted.
    fn lock(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        id: TxnId,
        needs: Vec<LockNeed>,
        waiting: Waiting,
    ) {
        let waiter = self.new_waiter();
        match self.acquire(cx, id, waiter, needs) {
            Locked::Granted => self.continue_granted(cx, right, id, waiting),
            Locked::Queued => {
                self.waiting.insert(waiter, (id, waiting));
            }
            Locked::Overloaded => {
                if let Waiting::Read { caller, .. } | Waiting::Lock { caller } = waiting {
                    cx.refuse(caller, Refusal::Overloaded { what: "the lock table".to_owned() });
                }
                self.forget_if_empty(id);
            }
        }
    }

    pub(super) fn new_waiter(&mut self) -> Waiter {
        self.next_waiter += 1;
        Waiter(self.next_waiter)
    }

    /// Takes locks for a known transaction, wounding who must be wounded.
    pub(super) fn acquire(
        &mut self,
        cx: &mut Cx<'_>,
        id: TxnId,
        waiter: Waiter,
        needs: Vec<LockNeed>,
    ) -> Locked {
        let priority = self.txns[&id].priority;
        match self.locks.acquire(id, priority, waiter, needs) {
            Acquire::Granted => Locked::Granted,
            Acquire::Queued { wounded, .. } => {
                for victim in wounded {
                    self.wound(cx, victim, id);
                }
                Locked::Queued
            }
            Acquire::Overloaded => Locked::Overloaded,
        }
    }

    /// The first grant of a transaction gets a number that is never used again in this epoch.
    pub(super) fn number_grant(&mut self, right: Right, id: TxnId) -> GrantPair {
        let local = self.txns.get_mut(&id).expect("locks are granted to known transactions");
        *local.grant.get_or_insert_with(|| {
            let number = self.next_grant;
            self.next_grant += 1;
            GrantPair { epoch: right.epoch, number }
        })
    }

    fn continue_granted(&mut self, cx: &mut Cx<'_>, right: Right, id: TxnId, waiting: Waiting) {
        match waiting {
            Waiting::Read { caller, spans, limit } => {
                let grant = Some(self.number_grant(right, id));
                // Everything committed on keys that are now locked is at or below the floor, and whatever
                // comes after these locks are lost lies above it (T27).
                let at = self.floor(cx.state);
                cx.out.push(Effect::Read { to: caller, grant, at, spans, limit });
            }
            Waiting::Lock { caller } => {
                let grant = self.number_grant(right, id);
                cx.reply(caller, Reply::Locked { grant });
            }
            Waiting::Commit => self.commit_locked(cx, right, id),
            Waiting::Prepare => self.prepare_locked(cx, right, id),
        }
    }

    /// Continues the requests whose locks were granted. Without the right nothing is granted: they wait for
    /// the next lease, or fail with the epoch.
    pub(super) fn grant_ready(&mut self, cx: &mut Cx<'_>) {
        let Some(right) = self.right(cx) else { return };
        loop {
            let granted = self.locks.take_granted();
            if granted.is_empty() {
                return;
            }
            for (waiter, id) in granted {
                if let Some((_, waiting)) = self.waiting.remove(&waiter) {
                    self.continue_granted(cx, right, id, waiting);
                }
            }
        }
    }

    /// An older transaction takes the locks of a younger one that is not bound.
    fn wound(&mut self, cx: &mut Cx<'_>, victim: TxnId, by: TxnId) {
        self.drop_unbound(cx, victim, AbortReason::Wounded { by });
    }

    /// Takes everything from a transaction that is not bound. A commit in hand that others may know of is
    /// answered from a logged abort; a prepare or a read learns it at once.
    pub(super) fn drop_unbound(&mut self, cx: &mut Cx<'_>, id: TxnId, reason: AbortReason) {
        let Some(local) = self.txns.remove(&id) else { return };
        assert!(!local.stage.is_bound(), "{id} is bound: only its outcome takes its locks");
        self.remember_gone(id, reason.clone());
        for waiter in self.locks.release(id) {
            match self.waiting.remove(&waiter) {
                Some((_, Waiting::Read { caller, .. } | Waiting::Lock { caller })) => {
                    cx.reply(caller, Reply::Aborted { reason: reason.clone() });
                }
                Some((_, Waiting::Commit | Waiting::Prepare)) | None => {}
            }
        }
        self.stalled.retain(|stalled| *stalled != id);
        self.pieces.leave(id);
        match local.stage {
            Stage::CommitWaiting(commit) if commit.shared => {
                let participants = commit.participants.iter().map(|p| p.key.clone()).collect();
                let callers = clients(commit.callers);
                self.log_abort(cx, id, local.priority, callers, reason, participants);
            }
            Stage::CommitWaiting(commit) => {
                for caller in commit.callers {
                    let reason = reason.clone();
                    cx.outcome(caller, Outcome::Aborted { reason });
                }
            }
            Stage::PrepareWaiting(prepare) => {
                for caller in prepare.callers {
                    cx.reply(caller, Reply::Aborted { reason: reason.clone() });
                }
            }
            stage @ Stage::Aborting { .. } => {
                // Its abort is in flight: keep who waits for it.
                self.txns.insert(id, Local { stage, ..local });
            }
            _ => {}
        }
    }

    fn remember_gone(&mut self, id: TxnId, reason: AbortReason) {
        self.gone.insert(id, reason);
        while self.gone.len() > GONE_MAX {
            self.gone.pop_first();
        }
    }

    /// A transaction that holds nothing and waits for nothing need not be known.
    fn forget_if_empty(&mut self, id: TxnId) {
        let unused = self
            .txns
            .get(&id)
            .is_some_and(|local| matches!(local.stage, Stage::Active) && local.grant.is_none())
            && !self.waiting.values().any(|(waiting, _)| *waiting == id);
        if unused {
            self.txns.remove(&id);
        }
    }

    pub(super) fn release_request(&mut self, cx: &mut Cx<'_>, caller: RequestId, id: TxnId) {
        let unbound = self.txns.get(&id).is_some_and(|local| !local.stage.is_bound());
        if unbound {
            self.drop_unbound(cx, id, AbortReason::GivenUp);
        }
        cx.reply(caller, Reply::Released);
    }

    pub(super) fn keep_alive(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        caller: RequestId,
        attempt: &Attempt,
    ) {
        let reply = match self.check_grant(right, attempt) {
            Err(reply) => reply,
            Ok(()) => match self.txns.get_mut(&attempt.id) {
                Some(local) => {
                    local.heard = cx.now.mono;
                    if let Stage::Prepared { ask_at } | Stage::ReadPromised { ask_at, .. } =
                        &mut local.stage
                    {
                        *ask_at = cx.now.mono.plus(self.config.idle_timeout);
                    }
                    Reply::Alive
                }
                None => {
                    let reason = self.gone.get(&attempt.id).cloned();
                    Reply::Aborted { reason: reason.unwrap_or(AbortReason::LocksLost) }
                }
            },
        };
        cx.reply(caller, reply);
    }

    /// The gateway node of some transactions is gone: what they hold unprepared goes at once rather than
    /// after `txn.idle_timeout` (a lock may be lost at any time before it is bound, the grant pair shows
    /// it), and what they prepared is in doubt now.
    pub fn gateway_lost(
        &mut self,
        now: &Now,
        state: &ShardState,
        gateway: NodeId,
        out: &mut Vec<Effect>,
    ) {
        let cx = &mut Cx { now, state, out };
        let of_gateway: Vec<TxnId> = self
            .txns
            .keys()
            // A client's own ids have the top bit set: any gateway may drive those.
            .filter(|id| id.origin >> 32 == gateway.0)
            .copied()
            .collect();
        for id in of_gateway {
            match self.txns.get(&id).map(|local| &local.stage) {
                Some(Stage::Active | Stage::PrepareWaiting(_)) => {
                    self.drop_unbound(cx, id, AbortReason::Idle);
                }
                Some(Stage::Prepared { .. } | Stage::ReadPromised { .. }) => {
                    self.ask_outcome(cx, id);
                }
                // A commit in hand goes on: its client may ask another gateway for the outcome.
                Some(_) | None => {}
            }
        }
        self.pump(cx);
    }

    /// T26: an older transaction that waits for a prepared younger one has that one's coordinator asked,
    /// after a short delay.
    pub(super) fn note_blocked(&mut self, cx: &mut Cx<'_>) {
        if self.waiting.is_empty() {
            self.wounds_due.clear();
            return;
        }
        let blocked = self.locks.blocked_by_bound();
        self.wounds_due.retain(|victim, _| blocked.iter().any(|(bound, _)| bound == victim));
        for (victim, by) in blocked {
            let due = cx.now.mono.plus(self.config.wound_delay);
            let (due, by) = *self.wounds_due.entry(victim).or_insert((due, by));
            if due <= cx.now.mono {
                self.wounds_due
                    .insert(victim, (cx.now.mono.plus(self.config.wound_delay * 16), by));
                self.call_wound(cx, victim, by);
            }
        }
    }

    fn call_wound(&mut self, cx: &mut Cx<'_>, victim: TxnId, by: TxnId) {
        let Some((coordinator, participants)) = self.coordinator_of(cx, &victim) else { return };
        let request = Request::Wound { victim, coordinator, participants, by };
        self.call(cx, super::CallReason::Wound { id: victim }, request);
    }

    /// Coordinator and participants of a transaction that is prepared here as a participant.
    pub(super) fn coordinator_of(&self, cx: &Cx<'_>, id: &TxnId) -> Option<(Key, Vec<Key>)> {
        match &self.txns.get(id)?.stage {
            Stage::Prepared { .. } => {
                let record = cx.state.prepared().get(id)?;
                Some((record.coordinator.clone(), record.participants.clone()))
            }
            Stage::Preparing { prepare, .. } => {
                Some((prepare.coordinator.clone(), prepare.participants.clone()))
            }
            Stage::ReadPromised { coordinator, participants, .. } => {
                Some((coordinator.clone(), participants.clone()))
            }
            _ => None,
        }
    }

    pub(super) fn call(&mut self, cx: &mut Cx<'_>, reason: super::CallReason, request: Request) {
        self.next_call += 1;
        let call = super::CallId(self.next_call);
        self.calls.insert(call, reason);
        cx.out.push(Effect::Call { call, request });
    }

    /// When a participant that hears nothing asks.
    pub(super) fn doubt_at(&self, cx: &Cx<'_>) -> Mono {
        cx.now.mono.plus(self.config.idle_timeout)
    }
}

/// Exclusive locks on single keys.
pub(super) fn exclusive(keys: impl Iterator<Item = Key>) -> Vec<LockNeed> {
    keys.map(|key| LockNeed { span: KeySpan::point(key), mode: LockMode::Exclusive }).collect()
}
