//! A participant: prepare, the outcome, doubt, and what a new leader restores (TRANSACTIONS.md section 4).

use std::collections::BTreeSet;

use proto::{Key, KeySpan, TxnId};
use truetime::Timestamp;

use super::commit::contradiction;
use super::locks::{Locked, exclusive};
use super::{CallReason, Cx, Leader, Local, PrepareInHand, Right, Stage, Waiting};
use crate::command::{Command, PreparedRecord};
use crate::lock_table::{LockMode, LockNeed};
use crate::message::{
    AbortReason, Asker, Attempt, Decision, Outcome, Refusal, Reply, Request, RequestId,
};

impl Leader {
    pub(super) fn prepare(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        caller: RequestId,
        attempt: Attempt,
        prepare: PrepareInHand,
    ) {
        let id = attempt.id;
        if cx.state.outcome(&id).is_some() {
            let reason = "the shard is the coordinator of this id, not a participant".to_owned();
            return cx.refuse(caller, Refusal::Invalid { reason });
        }
        if let Some(local) = self.txns.get_mut(&id) {
            match &mut local.stage {
                Stage::Active => {}
                Stage::PrepareWaiting(first) | Stage::Preparing { prepare: first, .. } => {
                    if first.digest == prepare.digest {
                        first.callers.push(caller);
                    } else {
                        cx.refuse(caller, contradiction());
                    }
                    return;
                }
                Stage::ReadPromised { digest, .. } if *digest != prepare.digest => {
                    return cx.refuse(caller, contradiction());
                }
                Stage::ReadPromised { expires, .. } => {
                    let expires = Some(*expires);
                    return cx
                        .reply(caller, Reply::Prepared { prepare_ts: Timestamp::ZERO, expires });
                }
                Stage::Prepared { .. } => {
                    return self.prepare_again(cx, caller, &id, prepare.digest);
                }
                Stage::CommitWaiting(_)
                | Stage::Committing { .. }
                | Stage::CommitWait { .. }
                | Stage::Aborting { .. } => {
                    let reason = "the shard is the coordinator of this id".to_owned();
                    return cx.refuse(caller, Refusal::Invalid { reason });
                }
            }
        }
        if id.horizon <= right.interval.latest {
            return cx.reply(caller, Reply::Aborted { reason: AbortReason::TooOld });
        }
        if let Err(reply) = self.admit(cx, right, &attempt) {
            return cx.reply(caller, reply);
        }
        if prepare.writes.is_empty() {
            return self.promise_locks(cx, right, caller, id, prepare);
        }
        let needs = exclusive(prepare.writes.iter().map(|w| w.key.clone()));
        self.set_stage(id, Stage::PrepareWaiting(Box::new(prepare)));
        let waiter = self.new_waiter();
        match self.acquire(cx, id, waiter, needs) {
            Locked::Granted => self.prepare_locked(cx, right, id),
            Locked::Queued => {
                self.waiting.insert(waiter, (id, Waiting::Prepare));
            }
            Locked::Overloaded => self.drop_unbound(cx, id, AbortReason::GivenUp),
        }
    }

    /// A read-only participant: its locks are checked, and kept until the lease ends. Nothing is logged.
    fn promise_locks(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        caller: RequestId,
        id: TxnId,
        prepare: PrepareInHand,
    ) {
        if self.txns[&id].grant.is_none() {
            // It came to check locks that it does not hold.
            self.drop_unbound(cx, id, AbortReason::LocksLost);
            return cx.reply(caller, Reply::Aborted { reason: AbortReason::LocksLost });
        }
        self.locks.bind(id);
        let PrepareInHand { coordinator, participants, digest, .. } = prepare;
        let (expires, ask_at) = (right.expires, self.doubt_at(cx));
        let stage = Stage::ReadPromised { coordinator, participants, expires, ask_at, digest };
        self.set_stage(id, stage);
        let expires = Some(right.expires);
        cx.reply(caller, Reply::Prepared { prepare_ts: Timestamp::ZERO, expires });
    }

    /// All exclusive locks are held: `p` is chosen and the record proposed, in this step.
    pub(super) fn prepare_locked(&mut self, cx: &mut Cx<'_>, right: Right, id: TxnId) {
        if id.horizon <= right.interval.latest || cx.state.outcome(&id).is_some() {
            return self.drop_unbound(cx, id, AbortReason::TooOld);
        }
        if !matches!(self.txns.get(&id).map(|l| &l.stage), Some(Stage::PrepareWaiting(_))) {
            return;
        }
        let Some(last) = self.last_entry(id) else { return };
        let Some(prepare_ts) = self.choose_prepare_ts(cx, right) else {
            return self.stall(id);
        };
        let local = self.txns.get_mut(&id).expect("looked up above");
        let Stage::PrepareWaiting(prepare) = std::mem::replace(&mut local.stage, Stage::Active)
        else {
            unreachable!("looked up above")
        };
        let (priority, grant) = (local.priority, local.grant);
        // T25: a successor restores exclusive locks on what is written, and no others.
        let written: BTreeSet<&Key> = prepare.writes.iter().map(|write| &write.key).collect();
        let held = self.locks.held_spans(id);
        let covered = held.iter().all(|h| h.span.as_point().is_some_and(|k| written.contains(k)));
        let expires = (!covered).then_some(right.expires);
        self.locks.bind(id);
        self.pieces.leave(id);
        let record = PreparedRecord {
            priority,
            coordinator: prepare.coordinator.clone(),
            key: prepare.key.clone(),
            participants: prepare.participants.clone(),
            prepare_ts,
            pieces: last.pieces,
            writes: prepare.writes[last.from..].to_vec(),
            grant,
            expires,
            digest: prepare.digest,
        };
        self.set_stage(id, Stage::Preparing { prepare, prepare_ts, expires });
        self.propose(cx, Command::Prepare { id, record });
    }

    /// The prepare record took effect.
    pub(super) fn prepared(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        let ask_at = self.doubt_at(cx);
        let Some(local) = self.txns.get_mut(&id) else { return };
        if let Stage::Preparing { prepare, prepare_ts, expires } = &mut local.stage {
            let callers = std::mem::take(&mut prepare.callers);
            let (prepare_ts, expires) = (*prepare_ts, *expires);
            local.stage = Stage::Prepared { ask_at };
            for caller in callers {
                cx.reply(caller, Reply::Prepared { prepare_ts, expires });
            }
        }
    }

    /// The prepare entry was void: the epoch was over, or one of the id stood before it.
    pub(super) fn prepare_void(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        if !matches!(self.txns.get(&id).map(|l| &l.stage), Some(Stage::Preparing { .. })) {
            return;
        }
        for caller in self.finish(cx, id).map(Stage::into_callers).unwrap_or_default() {
            cx.refuse(caller, Refusal::NotLeader { hint: None });
        }
    }

    /// A repeated prepare is answered from its record, whatever the epoch (section 9.14).
    pub(super) fn prepare_again(
        &mut self,
        cx: &mut Cx<'_>,
        caller: RequestId,
        id: &TxnId,
        digest: u64,
    ) {
        if let Some(record) = cx.state.prepared().get(id) {
            if record.digest != digest {
                return cx.refuse(caller, contradiction());
            }
            let (prepare_ts, expires) = (record.prepare_ts, record.expires);
            cx.reply(caller, Reply::Prepared { prepare_ts, expires });
        }
    }

    /// The coordinator says what was decided. A fact: it needs no lease.
    pub(super) fn resolve(
        &mut self,
        cx: &mut Cx<'_>,
        caller: RequestId,
        id: TxnId,
        decision: Decision,
    ) {
        if !self.leads() {
            return cx.refuse(caller, Refusal::NotLeader { hint: None });
        }
        match self.txns.get(&id).map(|local| &local.stage) {
            Some(Stage::ReadPromised { .. }) => {
                self.finish(cx, id);
                cx.reply(caller, Reply::Resolved);
            }
            Some(Stage::Prepared { .. } | Stage::Preparing { .. }) => {
                // A prepare in flight stands before this in the log.
                self.log_outcome(cx, caller, id, decision);
            }
            Some(Stage::Active | Stage::PrepareWaiting(_)) => {
                // A prepare that lost the race with its own abort.
                self.drop_unbound(cx, id, AbortReason::GivenUp);
                self.acknowledge(cx, caller, id, decision);
            }
            Some(
                Stage::CommitWaiting(_)
                | Stage::Committing { .. }
                | Stage::CommitWait { .. }
                | Stage::Aborting { .. },
            ) => cx.refuse(
                caller,
                Refusal::Invalid { reason: "the shard is the coordinator of this id".into() },
            ),
            None => self.acknowledge(cx, caller, id, decision),
        }
    }

    /// Nothing is left to resolve. "Applied" is said only with a valid lease, or after an own entry.
    fn acknowledge(&mut self, cx: &mut Cx<'_>, caller: RequestId, id: TxnId, decision: Decision) {
        if self.right(cx).is_some() {
            cx.reply(caller, Reply::Resolved);
        } else {
            self.log_outcome(cx, caller, id, decision);
        }
    }

    fn log_outcome(&mut self, cx: &mut Cx<'_>, caller: RequestId, id: TxnId, decision: Decision) {
        if let Some(callers) = self.resolve_waits.get_mut(&id) {
            return callers.push(caller);
        }
        self.resolve_waits.insert(id, vec![caller]);
        self.propose(cx, Command::Resolve { id, decision });
    }

    /// The outcome was applied here: the prepare is gone from the state, so the locks go too.
    pub(super) fn resolved(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        // A prepare still in flight stands behind this entry: it is a late duplicate (T37) that binds once
        // it is applied, and asks then.
        if matches!(self.txns.get(&id).map(|local| &local.stage), Some(Stage::Prepared { .. })) {
            self.finish(cx, id);
        }
        for caller in self.resolve_waits.remove(&id).unwrap_or_default() {
            cx.reply(caller, Reply::Resolved);
        }
    }

    /// In doubt: ask the coordinator, naming the participants, so that all are told.
    pub(super) fn ask_outcome(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        let Some((coordinator, participants)) = self.coordinator_of(cx, &id) else { return };
        let digest = match self.txns.get(&id).map(|local| &local.stage) {
            Some(Stage::ReadPromised { digest, .. }) => Some(*digest),
            _ => cx.state.prepared().get(&id).map(|record| record.digest),
        };
        let Some(digest) = digest else { return };
        let again = self.doubt_at(cx);
        if let Some(local) = self.txns.get_mut(&id)
            && let Stage::Prepared { ask_at } | Stage::ReadPromised { ask_at, .. } =
                &mut local.stage
        {
            *ask_at = again;
        }
        let asker = Asker::Participant { participants, digest };
        self.call(cx, CallReason::Ask { id }, Request::Lookup { id, coordinator, asker });
    }

    /// The coordinator's answer to a question or a wound.
    pub(super) fn learned(&mut self, cx: &mut Cx<'_>, id: TxnId, answer: Option<Reply>) {
        let outcome = match answer {
            Some(Reply::Outcome(outcome)) => outcome,
            // It was removed with every commit applied: what is still in doubt never committed, or is a late
            // duplicate of what was resolved.
            Some(Reply::Refused(Refusal::Removed)) => {
                Outcome::Aborted { reason: AbortReason::InDoubt }
            }
            Some(_) | None => return,
        };
        if matches!(self.txns.get(&id).map(|l| &l.stage), Some(Stage::ReadPromised { .. })) {
            if matches!(outcome, Outcome::Committed { .. } | Outcome::Aborted { .. }) {
                self.finish(cx, id);
            }
            return;
        }
        let record = cx.state.prepared().get(&id);
        let decision = match outcome {
            Outcome::Committed { commit_ts, participants, .. } => {
                let Some(record) = record else { return };
                let named = participants.iter().find(|p| p.key == record.key && p.writes);
                match named {
                    Some(named) => Decision::Commit { commit_ts, prepare_ts: named.prepare_ts },
                    // An answer meant for a client names nobody; ask again as a participant.
                    None => return,
                }
            }
            Outcome::Aborted { .. } => Decision::Abort,
            Outcome::InProgress | Outcome::NoLongerKnown => return,
        };
        let prepared = matches!(self.txns.get(&id).map(|l| &l.stage), Some(Stage::Prepared { .. }));
        if prepared && record.is_some() && !self.resolve_waits.contains_key(&id) {
            self.resolve_waits.insert(id, Vec::new());
            self.propose(cx, Command::Resolve { id, decision });
        }
    }

    /// A new leader: exclusive locks on what prepared transactions write, before anything is granted
    /// (section 9.10). Each is in doubt and asks at the next sweep.
    pub(super) fn restore_prepared(&mut self, cx: &mut Cx<'_>) {
        for (id, record) in cx.state.prepared() {
            let needs: Vec<LockNeed> = record
                .writes
                .iter()
                .map(|write| LockNeed {
                    span: KeySpan::point(write.key.clone()),
                    mode: LockMode::Exclusive,
                })
                .collect();
            self.locks.restore(*id, record.priority, needs);
            self.locks.bind(*id);
            let local = Local {
                priority: record.priority,
                grant: record.grant,
                heard: cx.now.mono,
                stage: Stage::Prepared { ask_at: cx.now.mono },
            };
            self.txns.insert(*id, local);
        }
        if !cx.state.prepared().is_empty() {
            self.next_sweep = cx.now.mono;
        }
    }
}
