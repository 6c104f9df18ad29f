//! The coordinator, which is also the only participant: commit, abort, records, commit wait
//! (TRANSACTIONS.md section 4).
//!
//! There is one place where a commit is answered and its locks go: [`Leader::finish_commit_waits`], after
//! the entry was durable at a majority, applied here, and `after(s)` (T31, R3).

use proto::{Key, TxnId};
use truetime::Timestamp;

use super::locks::{Locked, exclusive};
use super::{Audience, CommitInHand, Cx, Leader, Local, Phase, Right, Stage, Waiting};
use crate::command::Command;
use crate::lock_table::Waiter;
use crate::message::{AbortReason, Asker, Attempt, Outcome, Refusal, Reply, RequestId};
use crate::state::OutcomeRecord;

impl Leader {
    /// A commit without a record. First come the requests that join one in hand.
    pub(super) fn commit(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        caller: RequestId,
        attempt: Attempt,
        commit: CommitInHand,
    ) {
        let id = attempt.id;
        if let Some(local) = self.txns.get_mut(&id) {
            match &mut local.stage {
                Stage::Active => {}
                Stage::CommitWaiting(first) | Stage::Committing { commit: first, .. } => {
                    if first.digest == commit.digest {
                        first.callers.push(caller);
                    } else {
                        cx.refuse(caller, contradiction());
                    }
                    return;
                }
                Stage::Aborting { callers, .. } => {
                    callers.push((caller, Audience::Client));
                    return;
                }
                Stage::CommitWait { callers, .. } => {
                    callers.push(caller);
                    return;
                }
                Stage::PrepareWaiting(_)
                | Stage::Preparing { .. }
                | Stage::Prepared { .. }
                | Stage::ReadPromised { .. } => return cx.refuse(caller, wrong_role()),
            }
        }
        if id.horizon <= right.interval.latest {
            return cx.outcome(caller, Outcome::NoLongerKnown);
        }
        if cx.state.outcomes_len() >= self.config.outcomes_max {
            let what = "outcome records of this shard".to_owned();
            return cx.refuse(caller, Refusal::Overloaded { what });
        }
        match self.admit(cx, right, &attempt) {
            Ok(()) => {}
            Err(Reply::Aborted { reason }) if commit.shared => {
                // Others may know of it: prepared participants, or another gateway. Only a logged abort
                // ends it for all.
                let participants = commit.participants.iter().map(|p| p.key.clone()).collect();
                let caller = (caller, Audience::Client);
                return self.abort(cx, caller, id, reason, participants);
            }
            Err(Reply::Aborted { reason }) => {
                return cx.outcome(caller, Outcome::Aborted { reason });
            }
            Err(other) => return cx.reply(caller, other),
        }
        let needs = exclusive(commit.writes.iter().map(|w| w.key.clone()));
        if needs.is_empty() && self.txns[&id].grant.is_none() {
            self.txns.remove(&id);
            let reason = "a commit without writes and without locks here".to_owned();
            return cx.refuse(caller, Refusal::Invalid { reason });
        }
        self.set_stage(id, Stage::CommitWaiting(Box::new(commit)));
        if needs.is_empty() {
            return self.commit_locked(cx, right, id);
        }
        let waiter = self.new_waiter();
        match self.acquire(cx, id, waiter, needs) {
            Locked::Granted => self.commit_locked(cx, right, id),
            Locked::Queued => {
                self.waiting.insert(waiter, (id, Waiting::Commit));
            }
            Locked::Overloaded => self.drop_unbound(cx, id, AbortReason::GivenUp),
        }
    }

    /// All locks are held, here and at every participant: the step that chooses `s` (T1).
    pub(super) fn commit_locked(&mut self, cx: &mut Cx<'_>, right: Right, id: TxnId) {
        if !matches!(self.txns.get(&id).map(|l| &l.stage), Some(Stage::CommitWaiting(_))) {
            return;
        }
        // The horizon is judged, and the record looked up again, in this step.
        if cx.state.outcome(&id).is_some() {
            return self.drop_unbound(cx, id, AbortReason::GivenUp);
        }
        if id.horizon <= right.interval.latest {
            return self.too_late(cx, id);
        }
        let Some(last) = self.last_entry(id) else { return };
        let Some(Local { stage: Stage::CommitWaiting(commit), .. }) = self.txns.get(&id) else {
            return;
        };
        let prepares: Vec<Timestamp> = commit.participants.iter().map(|p| p.prepare_ts).collect();
        let bound = commit.participants.iter().filter_map(|p| p.expires).min();
        let below = commit.below;
        let Some(commit_ts) = self.choose_commit_ts(cx, right, prepares.into_iter()) else {
            return self.stall(id);
        };
        if bound.is_some_and(|bound| commit_ts >= bound) {
            // T25: a participant no longer vouches for its locks at s.
            return self.drop_unbound(cx, id, AbortReason::LeaseBound);
        }
        if below.is_some_and(|below| commit_ts >= below) {
            // T62: at s its gateway may no longer use the schemas that the writes were formed with.
            return self.drop_unbound(cx, id, AbortReason::SchemaChanged);
        }
        let local = self.txns.get_mut(&id).expect("looked up above");
        let Stage::CommitWaiting(commit) = std::mem::replace(&mut local.stage, Stage::Active)
        else {
            unreachable!("looked up above")
        };
        self.locks.bind(id);
        self.pieces.leave(id);
        let command = Command::Commit {
            id,
            coordinator: commit.coordinator.clone(),
            commit_ts,
            pieces: last.pieces,
            writes: commit.writes[last.from..].to_vec(),
            participants: commit.participants.clone(),
            digest: commit.digest,
        };
        self.set_stage(id, Stage::Committing { commit, commit_ts });
        self.propose(cx, command);
    }

    /// A commit in hand whose horizon has passed: never executed, never called aborted.
    fn too_late(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        let Some(Stage::CommitWaiting(commit)) = self.finish(cx, id) else { return };
        if commit.shared {
            let participants = commit.participants.iter().map(|p| p.key.clone()).collect();
            let priority = proto::Priority::first(id);
            let callers = clients(commit.callers);
            self.log_abort(cx, id, priority, callers, AbortReason::TooOld, participants);
        } else {
            for caller in commit.callers {
                cx.outcome(caller, Outcome::NoLongerKnown);
            }
        }
    }

    /// The timestamp would reach past the lease: try again when its extension is applied.
    pub(super) fn stall(&mut self, id: TxnId) {
        if !self.stalled.contains(&id) {
            self.stalled.push(id);
        }
    }

    pub(super) fn retry_stalled(&mut self, cx: &mut Cx<'_>) {
        if self.stalled.is_empty() {
            return;
        }
        let Some(right) = self.right(cx) else { return };
        for id in std::mem::take(&mut self.stalled) {
            match self.txns.get(&id).map(|local| &local.stage) {
                Some(Stage::CommitWaiting(_)) => self.commit_locked(cx, right, id),
                Some(Stage::PrepareWaiting(_)) => self.prepare_locked(cx, right, id),
                _ => {}
            }
        }
    }

    pub(super) fn set_stage(&mut self, id: TxnId, stage: Stage) {
        self.txns.get_mut(&id).expect("only known transactions change their stage").stage = stage;
    }

    /// The commit entry took effect.
    pub(super) fn committed(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        let Some(OutcomeRecord::Committed { commit_ts, .. }) = cx.state.outcome(&id) else {
            return;
        };
        let commit_ts = *commit_ts;
        if let Some(local) = self.txns.get_mut(&id)
            && let Stage::Committing { commit, .. } = &mut local.stage
        {
            let callers = std::mem::take(&mut commit.callers);
            local.stage = Stage::CommitWait { callers, commit_ts, since: cx.now.mono };
            let waiters = self.locks.fail_waiters(id);
            self.fail_waiters(cx, waiters);
        }
        // Also one of an earlier term, applied before this leader settled: participants are told.
        self.commit_waits.insert((commit_ts, id));
    }

    /// The commit entry was void: another record of the id was first, or the epoch was over.
    pub(super) fn commit_void(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        let Some(local) = self.txns.get(&id) else { return };
        if !matches!(local.stage, Stage::Committing { .. }) {
            return;
        }
        let stage = self.finish(cx, id);
        for caller in stage.map(Stage::into_callers).unwrap_or_default() {
            if cx.state.outcome(&id).is_some() {
                self.answer_recorded(cx, caller, id, Audience::Client);
            } else {
                // Never "aborted" from here: the next epoch's leader answers it (T14).
                cx.refuse(caller, Refusal::NotLeader { hint: None });
            }
        }
    }

    /// The one place where commits become visible: `s` is surely past, so locks go, the gateway is
    /// answered and the participants are told.
    pub(super) fn finish_commit_waits(&mut self, cx: &mut Cx<'_>) {
        while let Some((commit_ts, id)) = self.commit_waits.first().copied() {
            if !cx.now.after(commit_ts) {
                break;
            }
            self.commit_waits.pop_first();
            let waited = match self.txns.get(&id).map(|local| &local.stage) {
                Some(Stage::CommitWait { since, .. }) => {
                    let waited = cx.now.mono.since(*since);
                    let stage = self.finish(cx, id);
                    Some((waited, stage.map(Stage::into_callers).unwrap_or_default()))
                }
                _ => None,
            };
            if let Some((waited, callers)) = waited {
                let commit_wait = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
                for caller in callers {
                    let outcome =
                        Outcome::Committed { commit_ts, participants: Vec::new(), commit_wait };
                    cx.outcome(caller, outcome);
                }
            }
            self.tell_recorded(cx, id);
        }
        while let Some(((commit_ts, id), _)) = self.past_waits.first_key_value() {
            let (commit_ts, id) = (*commit_ts, *id);
            if !cx.now.after(commit_ts) {
                break;
            }
            for caller in self.past_waits.remove(&(commit_ts, id)).unwrap_or_default() {
                self.answer_recorded(cx, caller, id, Audience::Client);
            }
        }
    }

    /// Drops a transaction with all it holds and waits for; what waits for it may go on.
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, id: TxnId) -> Option<Stage> {
        let local = self.txns.remove(&id)?;
        self.pieces.leave(id);
        let waiters = self.locks.release(id);
        self.fail_waiters(cx, waiters);
        self.wounds_due.remove(&id);
        Some(local.stage)
    }

    /// Requests of an attempt that has an outcome, or is given up here, wait for nothing any more.
    fn fail_waiters(&mut self, cx: &mut Cx<'_>, waiters: Vec<Waiter>) {
        for waiter in waiters {
            if let Some((_, Waiting::Read { caller, .. } | Waiting::Lock { caller })) =
                self.waiting.remove(&waiter)
            {
                cx.reply(caller, Reply::Aborted { reason: AbortReason::GivenUp });
            }
        }
    }

    /// A repeated commit of an id with a record: the record answers (T34).
    pub(super) fn answer_commit(
        &mut self,
        cx: &mut Cx<'_>,
        caller: RequestId,
        id: TxnId,
        digest: u64,
    ) {
        match cx.state.outcome(&id) {
            Some(OutcomeRecord::Committed { digest: recorded, .. }) if *recorded != digest => {
                cx.refuse(caller, contradiction());
            }
            _ => self.answer_recorded(cx, caller, id, Audience::Client),
        }
    }

    /// Answers from the record; a commit only once its timestamp is past on this clock (section 9.5).
    pub(super) fn answer_recorded(
        &mut self,
        cx: &mut Cx<'_>,
        caller: RequestId,
        id: TxnId,
        audience: Audience,
    ) {
        match cx.state.outcome(&id) {
            Some(OutcomeRecord::Committed { commit_ts, participants, .. }) => {
                if cx.now.after(*commit_ts) {
                    let participants = match audience {
                        Audience::Participant => participants.clone(),
                        Audience::Client => Vec::new(),
                    };
                    let commit_ts = *commit_ts;
                    let outcome = Outcome::Committed { commit_ts, participants, commit_wait: 0 };
                    cx.outcome(caller, outcome);
                } else if audience == Audience::Client {
                    self.past_waits.entry((*commit_ts, id)).or_default().push(caller);
                } else {
                    cx.outcome(caller, Outcome::InProgress);
                }
            }
            Some(OutcomeRecord::Aborted { past_horizon: true, .. })
                if audience == Audience::Client =>
            {
                cx.outcome(caller, Outcome::NoLongerKnown);
            }
            Some(OutcomeRecord::Aborted { reason, .. }) => {
                cx.outcome(caller, Outcome::Aborted { reason: reason.clone() });
            }
            None => cx.outcome(caller, Outcome::InProgress),
        }
    }

    /// Somebody wants the transaction aborted for good. Joins what is in hand; otherwise logs an abort and
    /// answers from the record (T33).
    pub(super) fn abort(
        &mut self,
        cx: &mut Cx<'_>,
        caller: (RequestId, Audience),
        id: TxnId,
        reason: AbortReason,
        participants: Vec<Key>,
    ) {
        let priority = match self.txns.get_mut(&id) {
            None => proto::Priority::first(id),
            Some(local) => match &mut local.stage {
                Stage::Committing { commit, .. } => return commit.callers.push(caller.0),
                Stage::CommitWait { callers, .. } => return callers.push(caller.0),
                Stage::Aborting { callers, tell } => {
                    callers.push(caller);
                    return tell.extend(participants);
                }
                Stage::Active | Stage::CommitWaiting(_) => local.priority,
                Stage::PrepareWaiting(_)
                | Stage::Preparing { .. }
                | Stage::Prepared { .. }
                | Stage::ReadPromised { .. } => return cx.refuse(caller.0, wrong_role()),
            },
        };
        let mut callers = vec![caller];
        if let Some(stage) = self.finish(cx, id) {
            callers.extend(clients(stage.into_callers()));
        }
        self.stalled.retain(|stalled| *stalled != id);
        self.log_abort(cx, id, priority, callers, reason, participants);
    }

    /// Proposes the abort; its locks are gone already. The first record of the id in the log decides.
    pub(super) fn log_abort(
        &mut self,
        cx: &mut Cx<'_>,
        id: TxnId,
        priority: proto::Priority,
        callers: Vec<(RequestId, Audience)>,
        reason: AbortReason,
        participants: Vec<Key>,
    ) {
        let past_horizon = cx.now.sure().is_none_or(|interval| id.horizon <= interval.latest);
        let stage = Stage::Aborting { callers, tell: Vec::new() };
        self.txns.insert(id, Local { priority, grant: None, heard: cx.now.mono, stage });
        self.propose(cx, Command::Abort { id, reason, participants, past_horizon });
    }

    /// An abort entry was applied, effective or not: the record says what is true.
    pub(super) fn abort_applied(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        if self.txns.get(&id).is_some_and(|local| !matches!(local.stage, Stage::Aborting { .. })) {
            return;
        }
        let mut told = Vec::new();
        if let Some(Stage::Aborting { callers, tell }) = self.finish(cx, id) {
            told = tell;
            for (caller, audience) in callers {
                self.answer_recorded(cx, caller, id, audience);
            }
        }
        if matches!(cx.state.outcome(&id), Some(OutcomeRecord::Aborted { .. })) {
            self.tell_recorded(cx, id);
            self.tell_aborted(cx, id, told);
        }
    }

    /// A question about an id with a record.
    pub(super) fn look_up_record(
        &mut self,
        cx: &mut Cx<'_>,
        caller: RequestId,
        id: TxnId,
        asker: &Asker,
    ) {
        if let Asker::Participant { participants, digest } = asker {
            let committed = cx.state.outcome(&id);
            if matches!(committed, Some(OutcomeRecord::Committed { digest: of, .. }) if of != digest)
            {
                // What it prepared came with other writes under the same id, and is no part of this.
                return cx.outcome(caller, Outcome::Aborted { reason: AbortReason::Refused });
            }
            self.tell_aborted(cx, id, participants.clone());
        }
        self.answer_recorded(cx, caller, id, Audience::of(asker));
    }

    /// No record: is a commit in hand, may one still come, or is nothing known any more?
    pub(super) fn lookup(&mut self, cx: &mut Cx<'_>, caller: RequestId, id: TxnId, asker: Asker) {
        let in_hand = self.txns.get(&id).is_some_and(|local| {
            matches!(
                local.stage,
                Stage::CommitWaiting(_)
                    | Stage::Committing { .. }
                    | Stage::CommitWait { .. }
                    | Stage::Aborting { .. }
            )
        });
        match asker {
            _ if in_hand => cx.outcome(caller, Outcome::InProgress),
            Asker::Participant { participants, .. } => {
                let caller = (caller, Audience::Participant);
                self.abort(cx, caller, id, AbortReason::InDoubt, participants);
            }
            Asker::Client | Asker::Gateway => match cx.now.sure() {
                Some(now) if id.horizon <= now.latest => {
                    cx.outcome(caller, Outcome::NoLongerKnown);
                }
                Some(_)
                    if asker == Asker::Client
                        && cx.state.outcomes_len() < self.config.outcomes_max =>
                {
                    let caller = (caller, Audience::Client);
                    self.abort(cx, caller, id, AbortReason::InDoubt, Vec::new());
                }
                Some(_) | None => cx.outcome(caller, Outcome::InProgress),
            },
        }
    }

    /// T26: an older transaction elsewhere waits for this one. Too late once `s` is chosen.
    pub(super) fn wound_at_coordinator(
        &mut self,
        cx: &mut Cx<'_>,
        caller: RequestId,
        victim: TxnId,
        participants: Vec<Key>,
        by: TxnId,
    ) {
        let decided = self.txns.get(&victim).is_some_and(|local| {
            matches!(local.stage, Stage::Committing { .. } | Stage::CommitWait { .. })
        });
        if decided {
            return cx.outcome(caller, Outcome::InProgress);
        }
        let caller = (caller, Audience::Participant);
        self.abort(cx, caller, victim, AbortReason::Wounded { by }, participants);
    }

    /// Whether the shard still takes decisions that need no right: aborts and outcomes.
    pub(super) fn leads(&self) -> bool {
        !matches!(self.phase, Phase::Settling | Phase::Released | Phase::Removed)
    }
}

/// The refusal of a commit whose id came with other writes before.
#[must_use]
pub fn contradiction() -> Refusal {
    Refusal::Invalid { reason: "this id came with other writes before".to_owned() }
}

fn wrong_role() -> Refusal {
    Refusal::Invalid { reason: "the shard is a participant of this id, not its coordinator".into() }
}

/// Who sent a commit is answered as a client.
pub(super) fn clients(callers: Vec<RequestId>) -> Vec<(RequestId, Audience)> {
    callers.into_iter().map(|to| (to, Audience::Client)).collect()
}
