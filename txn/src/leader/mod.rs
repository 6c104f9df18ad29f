//! What the leader of a shard keeps in memory and does: lease, locks, both sides of two-phase commit,
//! commit wait, promises (TRANSACTIONS.md sections 3 to 5).
//!
//! Terms: the leader has the *right* to assign, promise, grant and answer while its lease, as applied, is
//! valid on its own sure clock (`Leader::right`). A transaction is *bound* here while it is prepared in
//! one of the three senses of section 4. A *caller* is the request that waits for an answer.
//!
//! ```text
//! Settling --own entry applied--> Resting --asked, old lease waited out--> Taking --applied--> Holding
//!                                    ^------------- lapsed while idle ----------------------------|
//! Holding --told to hand over--> HandingOver --release applied--> Released (then Raft hands over)
//! ```
//!
//! Everything it learns comes in as a call with the time and the replicated state; everything it wants
//! done goes out as an [`Effect`], in order. A leader lives for one term: stepping down drops it, and it
//! fails what waits, never grants it (section 3).
//!
//! Not here: Raft, the routing of calls, reading rows (an effect), what followers do
//! (`node/shard/follower`), escalation of locks.

mod catalog;
mod commit;
mod config;
mod lease;
mod locks;
mod participant;
mod pieces;
mod removal;
mod snapshot;
mod stage;
mod telling;
#[cfg(test)]
mod tests;
mod timestamps;

pub use commit::contradiction;
pub use config::{Config, DiskRoom};
use removal::Removing;
use stage::Audience;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto::{EntryId, Epoch, GrantPair, Key, KeySpan, NodeId, Priority, Term, TxnId};
use truetime::{Mono, Now, TimeInterval, Timestamp};

use crate::command::{Command, Entry};
use crate::lock_table::{LockMode, LockTable, Waiter};
use crate::message::{
    AbortReason, Asker, Attempt, Outcome, Participant, ReadLimit, Refusal, Reply, Request,
    RequestId, Write,
};
use crate::state::{Applied, ShardState};

/// One call of the leader to another shard, unique in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What the leader wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append this to the shard's log. Always possible while it leads.
    Propose(Entry),
    /// Answer.
    Reply {
        /// Whom.
        to: RequestId,
        /// With what.
        reply: Reply,
    },
    /// Read from the versions as they are now, and answer with [`Reply::Rows`]. Nothing above `at` may be
    /// shown, so it may be carried out late (T27).
    Read {
        /// Whom to answer.
        to: RequestId,
        /// To pass on.
        grant: Option<GrantPair>,
        /// The snapshot.
        at: Timestamp,
        /// The keys.
        spans: Vec<KeySpan>,
        /// How much.
        limit: ReadLimit,
    },
    /// Ask another shard, found by the request's key; the answer comes back as [`Leader::answered`].
    Call {
        /// Names the call.
        call: CallId,
        /// What to ask.
        request: Request,
    },
    /// The lease was released: Raft may hand over.
    HandedOver,
}

/// The call had no answer: nobody could be reached in time. It may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

/// The leader's right to act at this instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Right {
    epoch: Epoch,
    /// Nothing at or above this is assigned or promised.
    expires: Timestamp,
    interval: TimeInterval,
}

/// Where the leader stands with its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No entry of its own term is applied: it knows nothing for sure (T8).
    Settling,
    /// It has no lease. It takes one when it has something to do.
    Resting,
    /// A lease of this epoch is proposed.
    Taking,
    /// The lease of this epoch is applied. Whether it is still valid, the clock says.
    Holding { epoch: Epoch },
    /// It assigns nothing more and waits until it may release.
    HandingOver { epoch: Epoch, until: Mono, release_proposed: bool },
    /// Released; Raft is to hand over.
    Released,
    /// It assigns nothing more and waits until it may remove the shard, or for the entry that does.
    Removing(Removing),
    /// The shard is removed: nothing is decided here any more.
    Removed,
}

/// A transaction as this leader knows it.
#[derive(Debug)]
struct Local {
    priority: Priority,
    /// The first grant here.
    grant: Option<GrantPair>,
    /// When its gateway was last heard of.
    heard: Mono,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Holds or waits for locks; may be wounded.
    Active,
    /// A commit in hand waits for its locks, or for its pieces; may be wounded, by a logged abort.
    CommitWaiting(Box<CommitInHand>),
    /// `s` is chosen, its entry in flight.
    Committing { commit: Box<CommitInHand>, commit_ts: Timestamp },
    /// Applied; waits until `s` is past. `since` for the statistics.
    CommitWait { callers: Vec<RequestId>, commit_ts: Timestamp, since: Mono },
    /// A prepare in hand waits for its locks, or for its pieces; may be wounded.
    PrepareWaiting(Box<PrepareInHand>),
    /// The prepare record is in flight.
    Preparing { prepare: Box<PrepareInHand>, prepare_ts: Timestamp, expires: Option<Timestamp> },
    /// The prepare record is applied: what it says is in the state. `ask_at`: when it is in doubt.
    Prepared { ask_at: Mono },
    /// A read-only participant's promise to keep its locks until `expires`.
    ReadPromised {
        coordinator: Key,
        participants: Vec<Key>,
        expires: Timestamp,
        ask_at: Mono,
        digest: u64,
    },
    /// An abort is in flight; its locks are gone already. `tell`: participants that came to be known since
    /// it was proposed.
    Aborting { callers: Vec<(RequestId, Audience)>, tell: Vec<Key> },
}

#[derive(Debug)]
struct CommitInHand {
    callers: Vec<RequestId>,
    coordinator: Key,
    writes: Vec<Write>,
    participants: Vec<Participant>,
    digest: u64,
    /// The end of its gateway's catalog lease.
    below: Option<Timestamp>,
    /// Its abort must be logged before it is told: others may know of it.
    shared: bool,
}

#[derive(Debug)]
struct PrepareInHand {
    callers: Vec<RequestId>,
    key: Key,
    coordinator: Key,
    participants: Vec<Key>,
    writes: Vec<Write>,
    digest: u64,
}

/// What continues when a lock request is granted.
#[derive(Debug)]
enum Waiting {
    Read { caller: RequestId, spans: Vec<KeySpan>, limit: ReadLimit },
    Lock { caller: RequestId },
    Commit,
    Prepare,
}

/// Why a call was made.
#[derive(Debug)]
enum CallReason {
    Tell { id: TxnId, key: Key },
    Ask { id: TxnId },
    Wound { id: TxnId },
}

/// A timestamp read, or a follower's question, that must wait.
#[derive(Debug)]
struct SnapshotWait {
    caller: RequestId,
    at: Timestamp,
    spans: Vec<KeySpan>,
    answer: SnapshotAnswer,
    /// Dropped then.
    until: Mono,
}

#[derive(Clone, Copy, Debug)]
enum SnapshotAnswer {
    Read(ReadLimit),
    GoAhead,
}

/// The leader of one shard, for one term.
pub struct Leader {
    config: Config,
    node: NodeId,
    term: Term,
    phase: Phase,
    disk: DiskRoom,
    /// When anybody last asked for something that needs the lease.
    asked: Option<Mono>,
    /// When anybody last asked for the past.
    stale_asked: Option<Mono>,
    extension_in_flight: bool,
    /// The highest timestamp assigned or promised in this term.
    assigned: Timestamp,
    next_grant: u64,
    next_waiter: u64,
    next_call: u64,
    locks: LockTable,
    txns: BTreeMap<TxnId, Local>,
    waiting: BTreeMap<Waiter, (TxnId, Waiting)>,
    /// Why transactions lost their locks here, to tell them when they ask. Bounded.
    gone: BTreeMap<TxnId, AbortReason>,
    /// Requests that wait for the lease.
    deferred: VecDeque<(RequestId, Request)>,
    /// Commits and prepares whose timestamp would reach past the lease: they wait for its extension.
    stalled: Vec<TxnId>,
    pieces: pieces::PieceQueue,
    /// Applied commits by `s`, until it is past.
    commit_waits: BTreeSet<(Timestamp, TxnId)>,
    /// Answers that wait until a recorded commit timestamp is past.
    past_waits: BTreeMap<(Timestamp, TxnId), Vec<RequestId>>,
    snapshot_waits: Vec<SnapshotWait>,
    /// Gateways that wait for a catalog lease, and the bound that each found.
    catalog_waits: Vec<(RequestId, Timestamp)>,
    catalog_bound_in_flight: bool,
    removal_waits: Vec<RequestId>,
    telling: BTreeMap<TxnId, telling::Telling>,
    /// Acknowledged outcomes to forget with one of the next entries.
    done: Vec<(TxnId, Key)>,
    calls: BTreeMap<CallId, CallReason>,
    /// When the coordinator of a bound transaction that blocks an older one is asked next.
    wounds_due: BTreeMap<TxnId, (Mono, TxnId)>,
    /// Acknowledgements of outcomes that wait until an own entry shows that this leader still leads.
    resolve_waits: BTreeMap<TxnId, Vec<RequestId>>,
    next_sweep: Mono,
    next_flush: Mono,
    next_collection: Mono,
    next_threshold: Mono,
    /// The highest commit timestamp this leader assigned.
    commit_assigned: Timestamp,
}

/// What each entry point works with.
struct Cx<'a> {
    now: &'a Now,
    state: &'a ShardState,
    out: &'a mut Vec<Effect>,
}

/// How often timers of single transactions are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How often acknowledged outcomes are logged as forgotten.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// How often outcome records and versions are considered for collection.
const COLLECT_INTERVAL: Duration = Duration::from_secs(5);
/// How often a busy shard moves its version collection threshold.
const THRESHOLD_INTERVAL: Duration = Duration::from_secs(30);
/// How many reasons for lost locks are remembered.
const GONE_MAX: usize = 10_000;

impl Leader {
    /// A leader that has just been elected in `term`. `grant_base` is above every grant number of its
    /// earlier terms only by the epoch: numbers restart with each epoch.
    #[must_use]
    pub fn new(config: Config, node: NodeId, term: Term, now: &Now) -> Self {
        Leader {
            config,
            node,
            term,
            phase: Phase::Settling,
            disk: DiskRoom::Enough,
            asked: None,
            stale_asked: None,
            extension_in_flight: false,
            assigned: Timestamp::ZERO,
            next_grant: 1,
            next_waiter: 1,
            next_call: 1,
            locks: LockTable::new(config.transactions_max.saturating_mul(16)),
            txns: BTreeMap::new(),
            waiting: BTreeMap::new(),
            gone: BTreeMap::new(),
            deferred: VecDeque::new(),
            stalled: Vec::new(),
            pieces: pieces::PieceQueue::default(),
            commit_waits: BTreeSet::new(),
            past_waits: BTreeMap::new(),
            snapshot_waits: Vec::new(),
            catalog_waits: Vec::new(),
            catalog_bound_in_flight: false,
            removal_waits: Vec::new(),
            telling: BTreeMap::new(),
            done: Vec::new(),
            calls: BTreeMap::new(),
            wounds_due: BTreeMap::new(),
            resolve_waits: BTreeMap::new(),
            next_sweep: now.mono.plus(SWEEP_INTERVAL),
            next_flush: Mono::MAX,
            next_collection: now.mono.plus(COLLECT_INTERVAL),
            next_threshold: now.mono.plus(THRESHOLD_INTERVAL),
            commit_assigned: Timestamp::ZERO,
        }
    }

    /// What the host has found of the node's disk; counts for requests from here on.
    pub fn set_disk_room(&mut self, room: DiskRoom) {
        self.disk = room;
    }

    /// Takes a request; the answer comes as an effect, now or later.
    pub fn request(
        &mut self,
        now: &Now,
        state: &ShardState,
        caller: RequestId,
        request: Request,
        out: &mut Vec<Effect>,
    ) {
        let cx = &mut Cx { now, state, out };
        self.dispatch(cx, caller, request);
        self.pump(cx);
    }

    /// Takes note of an entry that was just applied, in log order, also of entries of earlier terms.
    pub fn applied(
        &mut self,
        now: &Now,
        state: &ShardState,
        id: EntryId,
        entry: Option<&Entry>,
        applied: &Applied,
        out: &mut Vec<Effect>,
    ) {
        let cx = &mut Cx { now, state, out };
        if self.phase == Phase::Settling && id.term == self.term {
            self.settle(cx);
        }
        if let Some(entry) = entry {
            self.take_applied(cx, id, entry, applied);
        }
        self.pump(cx);
    }

    /// Takes the answer to one of its calls.
    pub fn answered(
        &mut self,
        now: &Now,
        state: &ShardState,
        call: CallId,
        answer: Result<Reply, Unanswered>,
        out: &mut Vec<Effect>,
    ) {
        let cx = &mut Cx { now, state, out };
        match self.calls.remove(&call) {
            Some(CallReason::Tell { id, key }) => self.told(cx, id, &key, &answer),
            Some(CallReason::Ask { id } | CallReason::Wound { id }) => {
                self.learned(cx, id, answer.ok());
            }
            None => {}
        }
        self.pump(cx);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: &Now, state: &ShardState, out: &mut Vec<Effect>) {
        let cx = &mut Cx { now, state, out };
        self.pump(cx);
    }

    /// When [`Leader::tick`] is to be called again at the latest.
    #[must_use]
    pub fn next_deadline(&self, now: &Now, state: &ShardState) -> Mono {
        let mut deadline = self.lease_deadline(now, state);
        if self.leads() {
            deadline = deadline.min(self.next_flush);
        }
        if !self.txns.is_empty() || !self.telling.is_empty() {
            deadline = deadline.min(self.next_sweep);
        }
        let commit = self.commit_waits.first().map(|(ts, _)| *ts);
        let past = self.past_waits.first_key_value().map(|((ts, _), _)| *ts);
        for ts in [commit, past].into_iter().flatten() {
            deadline = deadline.min(now.mono_when_after(ts));
        }
        for (due, _) in self.wounds_due.values() {
            deadline = deadline.min(*due);
        }
        if !self.snapshot_waits.is_empty() {
            let first = self.snapshot_waits.iter().map(|wait| wait.at).min();
            let interval = now.sure();
            if let (Some(first), Some(interval)) = (first, interval)
                && first > interval.latest
            {
                deadline = deadline.min(now.mono.plus(first.since(interval.latest)));
            }
        }
        deadline
    }

    /// Fails everything that waits: whoever asked asks the next leader. Nothing is granted (section 3).
    pub fn step_down(mut self, hint: Option<NodeId>, out: &mut Vec<Effect>) {
        let refused = Reply::Refused(Refusal::NotLeader { hint });
        let callers = self.take_callers().into_iter();
        out.extend(callers.map(|to| Effect::Reply { to, reply: refused.clone() }));
    }

    /// Does all that has become possible, until nothing more is.
    fn pump(&mut self, cx: &mut Cx<'_>) {
        self.finish_commit_waits(cx);
        self.advance_lease(cx);
        self.grant_ready(cx);
        self.retry_stalled(cx);
        self.send_pieces(cx);
        self.serve_snapshots(cx);
        self.grant_catalog_leases(cx);
        self.note_blocked(cx);
        self.sweep(cx);
        self.flush_done(cx);
    }

    fn dispatch(&mut self, cx: &mut Cx<'_>, caller: RequestId, request: Request) {
        if let Some(refusal) = self.malformed(cx, &request) {
            return cx.refuse(caller, refusal);
        }
        // What needs no right: facts, and answers from records.
        if self.phase != Phase::Settling {
            match &request {
                Request::Resolve { id, key: _, decision } => {
                    return self.resolve(cx, caller, *id, *decision);
                }
                Request::Prepare { attempt, digest, .. }
                    if cx.state.prepared().contains_key(&attempt.id) =>
                {
                    return self.prepare_again(cx, caller, &attempt.id, *digest);
                }
                Request::Commit { attempt: Attempt { id, .. }, digest, .. }
                    if cx.state.outcome(id).is_some() =>
                {
                    return self.answer_commit(cx, caller, *id, *digest);
                }
                Request::Abort { id, participants, .. } if cx.state.outcome(id).is_some() => {
                    self.tell_aborted(cx, *id, participants.clone());
                    return self.answer_recorded(cx, caller, *id, Audience::Client);
                }
                Request::Wound { victim, participants, .. }
                    if cx.state.outcome(victim).is_some() =>
                {
                    self.tell_aborted(cx, *victim, participants.clone());
                    return self.answer_recorded(cx, caller, *victim, Audience::Participant);
                }
                Request::Lookup { id, asker, .. } if cx.state.outcome(id).is_some() => {
                    return self.look_up_record(cx, caller, *id, asker);
                }
                // An abort is a fact: it needs no lease, and the first record of the id decides.
                Request::Lookup { id, asker: asker @ Asker::Participant { .. }, .. } => {
                    return self.lookup(cx, caller, *id, asker.clone());
                }
                Request::Abort { id, participants, .. } => {
                    let reason = AbortReason::GivenUp;
                    let caller = (caller, Audience::Client);
                    return self.abort(cx, caller, *id, reason, participants.clone());
                }
                Request::Wound { victim, participants, by, .. } => {
                    let participants = participants.clone();
                    return self.wound_at_coordinator(cx, caller, *victim, participants, *by);
                }
                _ => {}
            }
        }
        if self.disk == DiskRoom::Short && self.is_new_work(&request) {
            return cx.refuse(caller, Refusal::DiskFull { node: self.node });
        }
        self.asked = Some(cx.now.mono);
        let Some(right) = self.right(cx) else {
            return self.defer(cx, caller, request);
        };
        self.dispatch_with_right(cx, right, caller, request);
    }

    fn dispatch_with_right(
        &mut self,
        cx: &mut Cx<'_>,
        right: Right,
        caller: RequestId,
        request: Request,
    ) {
        match request {
            Request::LockedRead { attempt, mode, spans, limit } => {
                self.locked_read(cx, right, caller, attempt, mode, spans, limit);
            }
            Request::Lock { attempt, keys } => self.lock_keys(cx, right, caller, attempt, keys),
            Request::SnapshotRead { at, spans, limit } => {
                self.note_stale(cx.now, at);
                self.snapshot(cx, caller, at, spans, SnapshotAnswer::Read(limit));
            }
            Request::GoAhead { at, spans } => {
                self.note_stale(cx.now, at);
                self.snapshot(cx, caller, at, spans, SnapshotAnswer::GoAhead);
            }
            Request::Prepare { attempt, key, coordinator, participants, writes, digest } => {
                let callers = vec![caller];
                let prepare =
                    PrepareInHand { callers, key, coordinator, participants, writes, digest };
                self.prepare(cx, right, caller, attempt, prepare);
            }
            Request::Commit {
                attempt,
                coordinator,
                writes,
                participants,
                digest,
                single_use,
                below,
            } => {
                // Without a grant nothing but a record keeps an earlier copy from being executed later.
                let shared = single_use || !participants.is_empty() || attempt.grant.is_none();
                let commit = CommitInHand {
                    callers: vec![caller],
                    coordinator,
                    writes,
                    participants,
                    digest,
                    below,
                    shared,
                };
                self.commit(cx, right, caller, attempt, commit);
            }
            Request::Release { id, .. } => self.release_request(cx, caller, id),
            Request::KeepAlive { attempt, .. } => self.keep_alive(cx, right, caller, &attempt),
            Request::Lookup { id, asker, .. } => self.lookup(cx, caller, id, asker),
            Request::CatalogLease { .. } => self.catalog_lease(cx, caller),
            Request::Remove { .. } => self.remove(cx, right, caller),
            Request::Abort { .. } | Request::Wound { .. } | Request::Resolve { .. } => {
                unreachable!("facts are taken without the right once the leader has settled")
            }
        }
    }

    /// Whether a request leads to writes that were not begun here. What was begun comes to its end.
    fn is_new_work(&self, request: &Request) -> bool {
        let begun = |id| {
            let local: Option<&Local> = self.txns.get(id);
            local.is_some_and(|local| !matches!(local.stage, Stage::Active))
        };
        match request {
            Request::Lock { .. } => true,
            Request::LockedRead { mode, .. } => *mode == LockMode::Exclusive,
            Request::Prepare { attempt, writes, .. } => !writes.is_empty() && !begun(&attempt.id),
            Request::Commit { attempt, writes, participants, .. } => {
                let writes = !writes.is_empty() || !participants.is_empty();
                writes && !begun(&attempt.id)
            }
            Request::SnapshotRead { .. }
            | Request::GoAhead { .. }
            | Request::Release { .. }
            | Request::KeepAlive { .. }
            | Request::Lookup { .. }
            | Request::Abort { .. }
            | Request::Wound { .. }
            | Request::CatalogLease { .. }
            | Request::Remove { .. }
            | Request::Resolve { .. } => false,
        }
    }

    /// Keys outside the shard, an id with an impossible horizon, repeated keys: refused before anything.
    fn malformed(&self, cx: &Cx<'_>, request: &Request) -> Option<Refusal> {
        if cx.state.header().removed {
            return Some(Refusal::Removed);
        }
        let span = cx.state.span();
        let inside = match request {
            Request::LockedRead { spans, .. }
            | Request::SnapshotRead { spans, .. }
            | Request::GoAhead { spans, .. } => {
                !spans.is_empty() && spans.iter().all(|s| !s.is_empty() && span.covers(s))
            }
            Request::Lock { keys, .. } => !keys.is_empty() && keys.iter().all(|k| span.contains(k)),
            Request::Prepare { key, writes, .. } => {
                span.contains(key) && writes.iter().all(|w| span.contains(&w.key))
            }
            Request::Commit { coordinator, writes, .. } => {
                span.contains(coordinator) && writes.iter().all(|w| span.contains(&w.key))
            }
            Request::Abort { coordinator: key, .. }
            | Request::Lookup { coordinator: key, .. }
            | Request::Wound { coordinator: key, .. }
            | Request::Release { key, .. }
            | Request::KeepAlive { key, .. }
            | Request::CatalogLease { key }
            | Request::Remove { key }
            | Request::Resolve { key, .. } => span.contains(key),
        };
        if !inside {
            return Some(Refusal::WrongShard);
        }
        let (id, writes) = match request {
            Request::Prepare { attempt, writes, .. } | Request::Commit { attempt, writes, .. } => {
                (attempt.id, writes.as_slice())
            }
            Request::LockedRead { attempt, .. } | Request::Lock { attempt, .. } => {
                (attempt.id, [].as_slice())
            }
            // Each of these may log a record, which stays until its horizon has passed.
            Request::Abort { id, .. }
            | Request::Lookup { id, .. }
            | Request::Wound { victim: id, .. } => (*id, [].as_slice()),
            Request::SnapshotRead { .. }
            | Request::GoAhead { .. }
            | Request::Release { .. }
            | Request::KeepAlive { .. }
            | Request::CatalogLease { .. }
            | Request::Remove { .. }
            | Request::Resolve { .. } => return None,
        };
        if id.horizon <= id.begin || id.horizon > id.begin.plus(self.config.max_age_limit) {
            let reason = "the horizon of the id is not within txn.max_age_limit of its begin";
            return Some(Refusal::Invalid { reason: reason.to_owned() });
        }
        if matches!(request, Request::Lookup { asker: Asker::Client, .. })
            && cx.now.sure().is_some_and(|now| id.begin > now.latest)
        {
            let reason = "the id begins in the future: no gateway has made it";
            return Some(Refusal::Invalid { reason: reason.to_owned() });
        }
        let keys: BTreeSet<&Key> = writes.iter().map(|w| &w.key).collect();
        (keys.len() < writes.len())
            .then(|| Refusal::Invalid { reason: "two writes of one key".to_owned() })
    }

    /// Keeps a request until the lease is there, or says why there will be none.
    fn defer(&mut self, cx: &mut Cx<'_>, caller: RequestId, request: Request) {
        let refusal = match (&self.phase, &cx.now.interval) {
            (Phase::HandingOver { .. } | Phase::Released | Phase::Removing(_), _) => {
                Refusal::NotLeader { hint: None }
            }
            (_, Err(unsure)) => Refusal::ClockUnsure { reason: unsure.to_string() },
            (_, Ok(interval)) if interval.epsilon() > self.config.epsilon_max => {
                Refusal::ClockUnsure {
                    reason: format!(
                        "its epsilon {:?} exceeds clock.max_epsilon {:?}",
                        interval.epsilon(),
                        self.config.epsilon_max
                    ),
                }
            }
            _ if self.deferred.len() >= self.config.deferred_max => {
                Refusal::Overloaded { what: "requests that wait for the shard's lease".to_owned() }
            }
            _ => return self.deferred.push_back((caller, request)),
        };
        cx.refuse(caller, refusal);
    }

    fn take_applied(&mut self, cx: &mut Cx<'_>, id: EntryId, entry: &Entry, applied: &Applied) {
        if entry.extend.is_some() && id.term == self.term {
            self.extension_in_flight = false;
        }
        match (&entry.command, applied) {
            (Command::Lease { .. }, _) if id.term == self.term => self.lease_applied(cx, applied),
            (Command::Release { .. }, _) if id.term == self.term => {
                self.release_applied(cx, applied)
            }
            (Command::Piece { .. }, _) if id.term == self.term => self.piece_applied(),
            (Command::Commit { id, .. }, Applied::Committed { .. }) => self.committed(cx, *id),
            (Command::Commit { id, .. }, _) => self.commit_void(cx, *id),
            (Command::Abort { id, .. }, _) => self.abort_applied(cx, *id),
            (Command::Prepare { id, .. }, Applied::Prepared { .. }) => self.prepared(cx, *id),
            (Command::Prepare { id, .. }, _) => self.prepare_void(cx, *id),
            (Command::Resolve { id, .. }, _) => self.resolved(cx, *id),
            (Command::Remove, _) => self.removal_applied(cx, applied),
            (Command::CatalogBound { .. }, _) if id.term == self.term => {
                self.catalog_bound_applied(cx, applied);
            }
            _ => {}
        }
    }

    /// Proposes `command` with all that can ride along.
    fn propose(&mut self, cx: &mut Cx<'_>, command: Command) {
        let entry = self.entry(cx, command);
        cx.out.push(Effect::Propose(entry));
    }

    /// Epoch, lease, locks and waits, in a line for `status`.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{:?}, {} transactions, {} waiting, {} telling",
            self.phase,
            self.txns.len(),
            self.waiting.len(),
            self.telling.len()
        )
    }

    /// The term it leads.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// How many transactions hold or wait for something here.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.txns.len()
    }

    /// Whether the leader holds a lease that is valid on its own clock now.
    #[must_use]
    pub fn serves(&self, now: &Now, state: &ShardState) -> bool {
        let mut none = Vec::new();
        self.right(&Cx { now, state, out: &mut none }).is_some()
    }

    /// Slow checks for the simulator.
    pub fn check_invariants(&self, state: &ShardState) {
        self.locks.check_invariants();
        self.check_pieces();
        for (waiter, (id, _)) in &self.waiting {
            assert!(self.txns.contains_key(id), "{waiter:?} waits for the unknown {id}");
        }
        if self.phase == Phase::Settling {
            return;
        }
        for id in state.prepared().keys() {
            let local = self.txns.get(id);
            assert!(
                local.is_some_and(|l| l.stage.is_bound()),
                "{id} is prepared in the state but not bound here: {local:?}"
            );
        }
    }
}

impl Cx<'_> {
    fn reply(&mut self, to: RequestId, reply: Reply) {
        self.out.push(Effect::Reply { to, reply });
    }

    fn refuse(&mut self, to: RequestId, refusal: Refusal) {
        self.reply(to, Reply::Refused(refusal));
    }

    fn outcome(&mut self, to: RequestId, outcome: Outcome) {
        self.reply(to, Reply::Outcome(outcome));
    }
}
