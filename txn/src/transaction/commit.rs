//! How an attempt ends: prepares, the commit, the question what became of it, and giving up.
//!
//! The states are those of the module above. What each of them knows: in [`Preparing`] no commit was sent, so it
//! can be given up with certainty; in [`Deciding`] only the coordinator knows; in [`Aborting`] the
//! coordinator was asked to log an abort, and its record is the answer.

use proto::{Key, ShardId};
use std::collections::BTreeMap;
use std::time::Duration;
use truetime::{Mono, Now, Timestamp};

use super::digest;
use super::scan::{Shards, UnknownShard};
use super::{
    CallError, Cause, Driver, Effect, End, Purpose, Transaction, TxnCall, unexpected_answer,
};
use crate::leader::contradiction;
use crate::message::{AbortReason, Asker, Outcome, Participant, Refusal, Reply, Request, Write};

/// The longest pause between two questions about one outcome.
const LOOKUP_PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Phase {
    Open,
    Preparing(Preparing),
    Deciding(Deciding),
    Aborting(Aborting),
    Ended(End),
}

/// What never changes once a prepare or commit was sent.
#[derive(Debug)]
pub(super) struct Frozen {
    coordinator: Key,
    coordinator_shard: ShardId,
    coordinator_writes: Vec<Write>,
    /// All but the coordinator.
    others: BTreeMap<ShardId, Other>,
    digest: u64,
}

#[derive(Debug)]
struct Other {
    key: Key,
    writes: bool,
    prepared: Option<(Timestamp, Option<Timestamp>)>,
}

impl Frozen {
    pub(super) fn is_prepared(&self, shard: ShardId) -> bool {
        self.others.get(&shard).is_some_and(|other| other.prepared.is_some())
    }

    fn participant_keys(&self) -> Vec<Key> {
        self.others.values().map(|other| other.key.clone()).collect()
    }
}

#[derive(Debug)]
pub(super) struct Preparing {
    pub(super) frozen: Frozen,
    /// Prepares and locks still to be answered.
    waiting: usize,
}

#[derive(Debug)]
pub(super) struct Deciding {
    pub(super) frozen: Frozen,
    /// Whether some copy of the commit may have left this node.
    may_be_received: bool,
    deadline: Mono,
    question: Question,
    pause: Duration,
}

/// What a transaction in doubt does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Asked,
    /// To be asked again then.
    Pausing {
        until: Mono,
        next: Next,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Commit,
    Lookup,
    Abort,
}

#[derive(Debug)]
pub(super) struct Aborting {
    pub(super) frozen: Frozen,
    cause: Cause,
    /// Whether a commit was sent, here or perhaps by another gateway: then only the record says
    /// "aborted".
    pub(super) may_have_committed: bool,
    deadline: Mono,
    question: Question,
    pause: Duration,
}

impl Transaction {
    /// Freezes the transaction and commits it. The end comes as [`Effect::Ended`].
    ///
    /// # Errors
    /// When the shard map must be read first; nothing was done then.
    pub fn commit(
        &mut self,
        now: &Now,
        shards: &impl Shards,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UnknownShard> {
        assert!(self.is_open(), "a transaction commits once");
        assert!(self.reads.is_empty(), "a transaction commits when its reads are done");
        if self.is_past_horizon(now) {
            self.abandon(now, Cause::Aborted(AbortReason::TooOld), None, effects);
            return Ok(());
        }
        let mut writes: BTreeMap<ShardId, Vec<Write>> = BTreeMap::new();
        for (key, value) in self.buffer.iter() {
            let (shard, _) = shards.locate(key).ok_or_else(|| UnknownShard { key: key.clone() })?;
            let write = Write { key: key.clone(), value: value.clone() };
            writes.entry(shard).or_default().push(write);
        }
        // What the gateway can tell for itself, it need not ask: nothing was locked or written.
        let Some(frozen) = self.freeze(writes, effects) else {
            let end = End::Committed { commit_ts: self.id.begin, commit_wait: 0, participants: 0 };
            self.end_with(end, effects);
            return Ok(());
        };
        let (frozen, requests) = frozen;
        self.phase = Phase::Preparing(Preparing { frozen, waiting: requests.len() });
        for (shard, mut request) in requests {
            let key = request.routing_key().cloned();
            let attempt_now = self.touch(now, shard, key.as_ref());
            let purpose = match &mut request {
                Request::Lock { attempt, .. } => {
                    *attempt = attempt_now;
                    Purpose::Lock { shard }
                }
                Request::Prepare { attempt, .. } => {
                    *attempt = attempt_now;
                    Purpose::Prepare { shard }
                }
                _ => unreachable!("the first round has only prepares and locks"),
            };
            self.call(now, purpose, request, effects);
        }
        self.commit_if_ready(now, effects);
        Ok(())
    }

    /// Gives the attempt up, on its client's behalf. Does nothing once it ended or a commit was sent.
    pub fn roll_back(&mut self, now: &Now, reason: AbortReason, effects: &mut Vec<Effect>) {
        if self.end().is_none() && !self.commit_was_sent() {
            self.abandon(now, Cause::Aborted(reason), None, effects);
        }
    }

    /// Decides writes, participants and coordinator for good, and what the first round asks. `None` when
    /// no shard takes part.
    fn freeze(
        &mut self,
        mut writes: BTreeMap<ShardId, Vec<Write>>,
        effects: &mut Vec<Effect>,
    ) -> Option<(Frozen, Vec<(ShardId, Request)>)> {
        // A shard that was asked but gave nothing has nothing to say; if a lock was granted after
        // all, it is given back.
        let id = self.id;
        self.shards.retain(|shard, touched| {
            let takes_part = touched.grant.is_some() || writes.contains_key(shard);
            if !takes_part {
                let key = touched.key.clone();
                effects.push(Effect::Forget { request: Request::Release { id, key } });
            }
            takes_part
        });
        let smallest_write = writes
            .iter()
            .filter_map(|(shard, writes)| Some((writes.first()?.key.clone(), *shard)))
            .min();
        let smallest_lock =
            || self.shards.iter().map(|(shard, touched)| (touched.key.clone(), *shard)).min();
        let (coordinator, coordinator_shard) = smallest_write.or_else(smallest_lock)?;
        let digest = match &self.driver {
            Driver::Only => {
                let mut all: Vec<&Write> = writes.values().flatten().collect();
                all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
                digest::of_writes(all.into_iter())
            }
            Driver::OneOfSeveral { digest, .. } => *digest,
        };
        let coordinator_writes = writes.remove(&coordinator_shard).unwrap_or_default();
        let mut others: BTreeMap<ShardId, Other> = BTreeMap::new();
        for (shard, touched) in &self.shards {
            if *shard != coordinator_shard && !writes.contains_key(shard) {
                let other = Other { key: touched.key.clone(), writes: false, prepared: None };
                others.insert(*shard, other);
            }
        }
        for (shard, writes) in &writes {
            if let Some(first) = writes.first() {
                let other = Other { key: first.key.clone(), writes: true, prepared: None };
                others.insert(*shard, other);
            }
        }
        let frozen = Frozen { coordinator, coordinator_shard, coordinator_writes, others, digest };
        let requests = self.first_round(&frozen, writes);
        Some((frozen, requests))
    }

    /// The prepares, and the locks that the coordinator's shard still lacks. A lone participant takes its
    /// locks with the commit.
    fn first_round(
        &self,
        frozen: &Frozen,
        mut writes: BTreeMap<ShardId, Vec<Write>>,
    ) -> Vec<(ShardId, Request)> {
        if frozen.others.is_empty() {
            return Vec::new();
        }
        let nobody = crate::message::Attempt { id: self.id, priority: self.priority, grant: None };
        let participants = frozen.participant_keys();
        let mut requests = Vec::with_capacity(frozen.others.len() + 1);
        for (shard, other) in &frozen.others {
            requests.push((
                *shard,
                Request::Prepare {
                    attempt: nobody,
                    key: other.key.clone(),
                    coordinator: frozen.coordinator.clone(),
                    participants: participants.clone(),
                    writes: writes.remove(shard).unwrap_or_default(),
                    digest: frozen.digest,
                },
            ));
        }
        let keys: Vec<Key> = frozen
            .coordinator_writes
            .iter()
            .filter(|write| !self.holds_exclusively(&write.key))
            .map(|write| write.key.clone())
            .collect();
        if !keys.is_empty() {
            requests.push((frozen.coordinator_shard, Request::Lock { attempt: nobody, keys }));
        }
        requests
    }

    pub(super) fn lock_answered(
        &mut self,
        now: &Now,
        shard: ShardId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        match result {
            Ok(Reply::Locked { grant }) => {
                if self.accept_grant(shard, grant) {
                    self.first_round_progressed(now, effects);
                } else {
                    let cause = Cause::Aborted(AbortReason::LocksLost);
                    self.abandon(now, cause, Some(shard), effects);
                }
            }
            other => self.first_round_failed(now, shard, other, effects),
        }
    }

    pub(super) fn prepare_answered(
        &mut self,
        now: &Now,
        shard: ShardId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        match result {
            Ok(Reply::Prepared { prepare_ts, expires }) => {
                if let Phase::Preparing(preparing) = &mut self.phase
                    && let Some(other) = preparing.frozen.others.get_mut(&shard)
                {
                    other.prepared = Some((prepare_ts, expires));
                }
                self.first_round_progressed(now, effects);
            }
            other => self.first_round_failed(now, shard, other, effects),
        }
    }

    fn first_round_progressed(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if let Phase::Preparing(preparing) = &mut self.phase {
            preparing.waiting -= 1;
        }
        self.commit_if_ready(now, effects);
    }

    fn first_round_failed(
        &mut self,
        now: &Now,
        shard: ShardId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let cause = match result {
            Ok(Reply::Aborted { reason }) => Cause::Aborted(reason),
            Ok(Reply::Refused(refusal)) => Cause::Refused(refusal),
            Ok(_) => unexpected_answer(),
            Err(error) => Cause::Unavailable(error),
        };
        self.abandon(now, cause, Some(shard), effects);
    }

    /// Sends the commit once everyone else is prepared and the coordinator's locks are held.
    fn commit_if_ready(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let Phase::Preparing(preparing) = &self.phase else { return };
        if preparing.waiting > 0 {
            return;
        }
        // Section 4, horizon: as long as no commit was sent the gateway may say so itself.
        if self.is_past_horizon(now) {
            self.abandon(now, Cause::Aborted(AbortReason::TooOld), None, effects);
            return;
        }
        let Phase::Preparing(Preparing { frozen, .. }) =
            std::mem::replace(&mut self.phase, Phase::Open)
        else {
            unreachable!("the phase was looked at above");
        };
        self.phase = Phase::Deciding(Deciding {
            frozen,
            may_be_received: false,
            deadline: now.mono.plus(self.settings.outcome_wait),
            question: Question::Asked,
            pause: self.settings.lookup_pause,
        });
        self.send_commit(now, effects);
    }

    pub(super) fn is_past_horizon(&self, now: &Now) -> bool {
        // Judged against the same end of the interval as at the shards.
        now.sure().is_some_and(|interval| self.id.horizon <= interval.latest)
    }

    fn send_commit(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let Phase::Deciding(deciding) = &self.phase else { return };
        let frozen = &deciding.frozen;
        let participants = frozen
            .others
            .values()
            .map(|other| {
                let (prepare_ts, expires) =
                    other.prepared.expect("a commit is sent when all others are prepared");
                Participant { key: other.key.clone(), prepare_ts, expires, writes: other.writes }
            })
            .collect();
        let (coordinator, shard) = (frozen.coordinator.clone(), frozen.coordinator_shard);
        let (writes, digest) = (frozen.coordinator_writes.clone(), frozen.digest);
        let single_use = match self.driver {
            Driver::Only => false,
            Driver::OneOfSeveral { .. } => true,
        };
        let attempt = self.touch(now, shard, Some(&coordinator));
        let below = self.below;
        let request = Request::Commit {
            attempt,
            coordinator,
            writes,
            participants,
            digest,
            single_use,
            below,
        };
        self.call(now, Purpose::Commit, request, effects);
    }

    pub(super) fn commit_answered(
        &mut self,
        now: &Now,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        if let Phase::Deciding(deciding) = &mut self.phase {
            deciding.may_be_received |=
                result.as_ref().map_or_else(CallError::maybe_executed, |_| true);
        }
        match result {
            Ok(Reply::Outcome(outcome)) => {
                self.outcome_learned(now, outcome, Next::Lookup, effects)
            }
            // The id was used for other writes. Whatever became of those, it is not to be tried again.
            Ok(Reply::Refused(refusal @ Refusal::Invalid { .. })) => {
                self.release_all(None, effects);
                self.end_with(End::NotCommitted { cause: Cause::Refused(refusal) }, effects);
            }
            // Nobody can tell any more whether an earlier copy was executed.
            Ok(Reply::Refused(Refusal::Removed)) => self.outcome_unknown(ForGood::Yes, effects),
            // Refused, yet an earlier copy may still arrive: only a logged abort settles it.
            Ok(Reply::Refused(refusal)) => {
                self.begin_abort(now, Cause::Refused(refusal), effects);
            }
            Ok(_) => self.ask_later(now, Next::Lookup),
            Err(error) if !self.commit_may_be_received() => {
                self.commit_never_left(now, Cause::Unavailable(error), effects);
            }
            // Not known, which is not "aborted" (T14).
            Err(_) => self.ask_at_once(now, effects),
        }
    }

    fn commit_may_be_received(&self) -> bool {
        match &self.phase {
            Phase::Deciding(deciding) => deciding.may_be_received,
            Phase::Aborting(aborting) => aborting.may_have_committed,
            Phase::Open | Phase::Preparing(_) | Phase::Ended(_) => false,
        }
    }

    /// The commit was turned away on this node: the attempt is as if it had not been tried.
    fn commit_never_left(&mut self, now: &Now, cause: Cause, effects: &mut Vec<Effect>) {
        if let Phase::Deciding(Deciding { frozen, .. }) =
            std::mem::replace(&mut self.phase, Phase::Open)
        {
            self.phase = Phase::Preparing(Preparing { frozen, waiting: 0 });
        }
        self.abandon(now, cause, None, effects);
    }

    pub(super) fn lookup_answered(
        &mut self,
        now: &Now,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        match result {
            // No record: the commit may never have arrived. It is safe to send again (T34).
            Ok(Reply::Outcome(outcome)) => {
                self.outcome_learned(now, outcome, Next::Commit, effects)
            }
            Ok(Reply::Refused(Refusal::Removed)) => self.outcome_unknown(ForGood::Yes, effects),
            Ok(_) | Err(_) => self.ask_later(now, Next::Lookup),
        }
    }

    fn outcome_learned(
        &mut self,
        now: &Now,
        outcome: Outcome,
        if_in_progress: Next,
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Outcome::Committed { commit_ts, commit_wait, .. } => {
                self.committed(commit_ts, commit_wait, effects);
            }
            Outcome::Aborted { reason } => {
                // Not every "aborted" is a logged one, and prepared participants hear only of those.
                if let Some(request) = self.abort_request()
                    && self.frozen().is_some_and(|frozen| !frozen.others.is_empty())
                {
                    effects.push(Effect::Forget { request });
                }
                self.release_all(None, effects);
                self.end_with(End::NotCommitted { cause: Cause::Aborted(reason) }, effects);
            }
            Outcome::InProgress => self.ask_later(now, if_in_progress),
            Outcome::NoLongerKnown => self.outcome_unknown(ForGood::Yes, effects),
        }
    }

    fn committed(&mut self, commit_ts: Timestamp, commit_wait: u64, effects: &mut Vec<Effect>) {
        let others = self.frozen().map_or(0, |frozen| frozen.others.len());
        let participants = u32::try_from(others + 1).unwrap_or(u32::MAX);
        self.end_with(End::Committed { commit_ts, commit_wait, participants }, effects);
    }

    fn outcome_unknown(&mut self, for_good: ForGood, effects: &mut Vec<Effect>) {
        let coordinator =
            self.frozen().map(|frozen| frozen.coordinator.clone()).unwrap_or_default();
        let for_good = for_good == ForGood::Yes;
        self.end_with(End::OutcomeUnknown { coordinator, for_good }, effects);
    }

    fn ask_at_once(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let Some(request) = self.lookup_request() else { return };
        self.set_question(Question::Asked);
        self.call(now, Purpose::Lookup, request, effects);
    }

    /// Asks again after a pause that doubles.
    fn ask_later(&mut self, now: &Now, next: Next) {
        let pause = match &mut self.phase {
            Phase::Deciding(Deciding { pause, .. }) | Phase::Aborting(Aborting { pause, .. }) => {
                let this = *pause;
                *pause = (this * 2).min(LOOKUP_PAUSE_MAX);
                this
            }
            Phase::Open | Phase::Preparing(_) | Phase::Ended(_) => return,
        };
        self.set_question(Question::Pausing { until: now.mono.plus(pause), next });
    }

    fn set_question(&mut self, to: Question) {
        match &mut self.phase {
            Phase::Deciding(Deciding { question, .. })
            | Phase::Aborting(Aborting { question, .. }) => *question = to,
            Phase::Open | Phase::Preparing(_) | Phase::Ended(_) => {}
        }
    }

    fn lookup_request(&self) -> Option<Request> {
        let coordinator = self.frozen()?.coordinator.clone();
        Some(Request::Lookup { id: self.id, coordinator, asker: Asker::Gateway })
    }

    fn abort_request(&self) -> Option<Request> {
        let frozen = self.frozen()?;
        let coordinator = frozen.coordinator.clone();
        Some(Request::Abort { id: self.id, coordinator, participants: frozen.participant_keys() })
    }

    /// Gives up while it is certain that this gateway sent no commit. `said_by` already dropped its locks.
    pub(super) fn abandon(
        &mut self,
        now: &Now,
        cause: Cause,
        said_by: Option<ShardId>,
        effects: &mut Vec<Effect>,
    ) {
        assert!(!self.commit_was_sent(), "a commit that was sent is not abandoned");
        let prepare_was_sent = self.frozen().is_some_and(|frozen| !frozen.others.is_empty());
        let several = matches!(self.driver, Driver::OneOfSeveral { .. });
        match &self.phase {
            // The id stands for other writes, which another gateway may well commit: they are not to be
            // aborted, and their outcome is not that of these. What was prepared here asks, and hears that.
            Phase::Open | Phase::Preparing(_) if several && is_contradiction(&cause) => {
                self.release_all(said_by, effects);
            }
            Phase::Open | Phase::Preparing(_) if several => {
                self.begin_abort(now, cause, effects);
                return;
            }
            Phase::Preparing(_) if prepare_was_sent => {
                if matches!(cause, Cause::Unavailable(_)) {
                    self.begin_abort(now, cause, effects);
                    return;
                }
                // Section 4: the client need not wait for the abort when no commit was sent.
                if let Some(request) = self.abort_request() {
                    effects.push(Effect::Forget { request });
                }
                self.release_others_than_participants(effects);
            }
            Phase::Open | Phase::Preparing(_) => self.release_all(said_by, effects),
            Phase::Deciding(_) | Phase::Aborting(_) | Phase::Ended(_) => return,
        }
        self.end_with(End::NotCommitted { cause }, effects);
    }

    /// Has the coordinator log an abort, and takes its record for the answer.
    fn begin_abort(&mut self, now: &Now, cause: Cause, effects: &mut Vec<Effect>) {
        let may_have_committed =
            self.commit_may_be_received() || matches!(self.driver, Driver::OneOfSeveral { .. });
        let patience =
            if may_have_committed { self.settings.outcome_wait } else { self.settings.abort_wait };
        self.cancel_calls(effects);
        let frozen = match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Preparing(Preparing { frozen, .. })
            | Phase::Deciding(Deciding { frozen, .. }) => frozen,
            Phase::Open => self.nothing_frozen(),
            Phase::Aborting(_) | Phase::Ended(_) => unreachable!("an abort begins once"),
        };
        self.phase = Phase::Aborting(Aborting {
            frozen,
            cause,
            may_have_committed,
            deadline: now.mono.plus(patience),
            question: Question::Asked,
            pause: self.settings.lookup_pause,
        });
        self.send_abort(now, effects);
    }

    /// What an abort names before anything was sent; only a single-use commit, whose coordinator its
    /// client resolved, is aborted at the coordinator that early.
    fn nothing_frozen(&self) -> Frozen {
        let Driver::OneOfSeveral { digest, coordinator, shard } = &self.driver else {
            unreachable!(
                "what only this gateway drives is released, not aborted, while it is open"
            );
        };
        Frozen {
            coordinator: coordinator.clone(),
            coordinator_shard: *shard,
            coordinator_writes: Vec::new(),
            others: BTreeMap::new(),
            digest: *digest,
        }
    }

    fn send_abort(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if let Some(request) = self.abort_request() {
            self.set_question(Question::Asked);
            self.call(now, Purpose::Abort, request, effects);
        }
    }

    pub(super) fn abort_answered(
        &mut self,
        now: &Now,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Aborting(aborting) = &self.phase else { return };
        match result {
            Ok(Reply::Outcome(Outcome::Committed { commit_ts, commit_wait, .. })) => {
                self.committed(commit_ts, commit_wait, effects);
            }
            Ok(Reply::Outcome(Outcome::Aborted { .. })) => self.end_aborted(effects),
            Ok(Reply::Outcome(Outcome::NoLongerKnown) | Reply::Refused(Refusal::Removed)) => {
                if aborting.may_have_committed {
                    self.outcome_unknown(ForGood::Yes, effects);
                } else {
                    self.end_aborted(effects);
                }
            }
            Ok(_) | Err(_) => self.ask_later(now, Next::Abort),
        }
    }

    fn end_aborted(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Aborting(aborting) = &self.phase else { return };
        let cause = aborting.cause.clone();
        // The coordinator tells its participants; the rest is told here.
        self.release_others_than_participants(effects);
        self.end_with(End::NotCommitted { cause }, effects);
    }

    pub(super) fn phase_deadline(&self) -> Mono {
        let (deadline, question) = match &self.phase {
            Phase::Open | Phase::Preparing(_) | Phase::Ended(_) => return Mono::MAX,
            Phase::Deciding(deciding) => (deciding.deadline, deciding.question),
            Phase::Aborting(aborting) => (aborting.deadline, aborting.question),
        };
        match question {
            Question::Asked => deadline,
            Question::Pausing { until, .. } => deadline.min(until),
        }
    }

    pub(super) fn tick_phase(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if now.mono < self.phase_deadline() {
            return;
        }
        let (deadline, question, certain) = match &self.phase {
            Phase::Open | Phase::Preparing(_) | Phase::Ended(_) => return,
            Phase::Deciding(deciding) => (deciding.deadline, deciding.question, false),
            Phase::Aborting(aborting) => {
                (aborting.deadline, aborting.question, !aborting.may_have_committed)
            }
        };
        if deadline <= now.mono {
            if certain {
                if let Some(request) = self.abort_request() {
                    effects.push(Effect::Forget { request });
                }
                self.end_aborted(effects);
            } else {
                self.outcome_unknown(ForGood::No, effects);
            }
            return;
        }
        match question {
            Question::Asked => {}
            Question::Pausing { next: Next::Lookup, .. } => self.ask_at_once(now, effects),
            Question::Pausing { next: Next::Abort, .. } => self.send_abort(now, effects),
            Question::Pausing { next: Next::Commit, .. } => {
                self.set_question(Question::Asked);
                self.send_commit(now, effects);
            }
        }
    }

    /// Gives the locks back everywhere but where they are gone already.
    fn release_all(&mut self, but: Option<ShardId>, effects: &mut Vec<Effect>) {
        for (_, touched) in self.shards.iter().filter(|(shard, _)| Some(**shard) != but) {
            let request = Request::Release { id: self.id, key: touched.key.clone() };
            effects.push(Effect::Forget { request });
        }
    }

    /// Gives back what the coordinator will not: it tells its participants, and drops its own.
    fn release_others_than_participants(&mut self, effects: &mut Vec<Effect>) {
        let Some(frozen) = self.frozen() else { return };
        let told = |shard: &ShardId| {
            *shard == frozen.coordinator_shard || frozen.others.contains_key(shard)
        };
        for (_, touched) in self.shards.iter().filter(|(shard, _)| !told(shard)) {
            let request = Request::Release { id: self.id, key: touched.key.clone() };
            effects.push(Effect::Forget { request });
        }
    }

    fn cancel_calls(&mut self, effects: &mut Vec<Effect>) {
        let calls = std::mem::take(&mut self.calls);
        effects.extend(calls.into_keys().map(|call: TxnCall| Effect::Cancel { call }));
    }

    fn end_with(&mut self, end: End, effects: &mut Vec<Effect>) {
        assert!(self.end().is_none(), "a transaction ends once");
        self.cancel_calls(effects);
        self.reads.clear();
        self.known.clear();
        self.phase = Phase::Ended(end.clone());
        effects.push(Effect::Ended(end));
    }
}

fn is_contradiction(cause: &Cause) -> bool {
    matches!(cause, Cause::Refused(refusal) if *refusal == contradiction())
}

/// Whether an unknown outcome stays unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ForGood {
    Yes,
    No,
}
