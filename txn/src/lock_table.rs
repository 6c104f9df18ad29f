//! Lock table of one shard: strict two-phase locking with wound-wait (Spanner 4.2.1).
//!
//! A transaction *holds* locks on key spans, shared or exclusive. A *request* names all that one
//! operation needs; it is granted as a whole, or *waits* as a whole. A transaction is *older* than
//! another when its [`Priority`] says so. A *bound* transaction is prepared in one of the three senses
//! of TRANSACTIONS section 4.
//!
//! - An older requester wounds a younger holder that is not bound; otherwise it waits. Waiting needs
//!   alone are never a reason to wound.
//! - A request also waits behind every older *waiting* request that it conflicts with, so that nobody
//!   barges past an older one; an older one overtakes younger waiters.
//! - So a transaction waits only for older ones and for bound ones. No cycle exists without a bound
//!   transaction that is younger than one of its waiters, and [`LockTable::blocked_by_bound`] names
//!   those: their coordinators are asked (T26), since a bound one may itself wait on another shard.
//!
//! ```text
//!                       holds x      waits for x
//! t2: lock x exclusive  t2 X         -               granted
//! t3: lock x shared     t2 X         t3 S            queued: younger than t2
//! t1: lock x exclusive  t2 X         t1 X, t3 S      wounds t2, queued before t3
//! t2: release           t1 X         t3 S            t1 granted
//! ```
//!
//! The caller does the aborting: it calls [`LockTable::release`] for each wounded transaction, and at
//! the end of every step [`LockTable::take_granted`], which costs nothing when nothing changed.
//!
//! Cost: a lock on one key is a few lookups in ordered maps. Intervals and waiting requests live in a
//! `span_index` each, where an overlap is found without looking at the rest. A release looks at the
//! locks that go, and at the requests that conflict with one of them.
//!
//! Not here: numbering of grants, timeouts and keep-alive, replication of locks, escalation of many
//! locks into one: past `locks_max` a request is refused (T32).

mod held;
mod span_index;
mod waiting;

#[cfg(test)]
mod tests;

use held::HeldLocks;
use proto::{KeySpan, Priority, TxnId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use waiting::{Request, WaitQueue};

/// How a span is locked. The later is the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockMode {
    /// For reading: any number of holders.
    Shared,
    /// For writing: one holder.
    Exclusive,
}

/// One lock that a request asks for, or that a transaction holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LockNeed {
    /// The keys, present or absent (T30).
    pub span: KeySpan,
    /// How they are locked.
    pub mode: LockMode,
}

/// The caller's ticket for one request, unique while that request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// What became of a request. Only [`Acquire::Granted`] allows to read or write (T29).
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquire {
    /// All needs are held.
    Granted,
    /// Nothing of it is granted; [`LockTable::take_granted`] will name the waiter.
    Queued {
        /// Younger holders in the way. The caller aborts them now: [`LockTable::release`] for each,
        /// then [`LockTable::take_granted`].
        wounded: Vec<TxnId>,
        /// Younger holders in the way that are bound: only their coordinators may abort them (T26).
        behind_bound: Vec<TxnId>,
    },
    /// The table is full: nothing changed, nobody is wounded, and the transaction should be aborted.
    Overloaded,
}

/// The lock table.
pub struct LockTable {
    locks_max: usize,
    txns: BTreeMap<TxnId, Member>,
    held: HeldLocks,
    queue: WaitQueue,
    /// Requests that something stopped blocking since they were last looked at.
    unblocked: BTreeSet<(Age, Waiter)>,
}

/// A transaction that holds a lock, waits, or is bound.
struct Member {
    age: Age,
    standing: Standing,
    waiting: BTreeSet<Waiter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// May be wounded.
    Free,
    /// Only its coordinator decides its outcome.
    Bound,
}

/// A total order of transactions: the older is the lesser. Priorities alone would not do, as a client
/// that runs one attempt twice makes two transactions of one priority, which might wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    priority: Priority,
    txn: TxnId,
}

impl LockTable {
    /// A table without locks, for at most `locks_max` locks held and waited for.
    #[must_use]
    pub fn new(locks_max: usize) -> Self {
        LockTable {
            locks_max,
            txns: BTreeMap::new(),
            held: HeldLocks::new(),
            queue: WaitQueue::new(),
            unblocked: BTreeSet::new(),
        }
    }

    /// Asks for all of `needs`. What the transaction holds already is granted whoever waits for it.
    /// The priority that the table first saw of a transaction counts while it is known here.
    ///
    /// # Panics
    /// When `waiter` waits already.
    pub fn acquire(
        &mut self,
        txn: TxnId,
        priority: Priority,
        waiter: Waiter,
        needs: Vec<LockNeed>,
    ) -> Acquire {
        assert!(!self.queue.contains(waiter), "{waiter} waits already");
        let needs = normalised(needs);
        let age = self.txns.get(&txn).map_or(Age { priority, txn }, |member| member.age);
        let is_new = |need: &&LockNeed| !self.held.covers(txn, &need.span, need.mode);
        let missing: Vec<&LockNeed> = needs.iter().filter(is_new).collect();
        if !missing.is_empty() && self.lock_count() + needs.len() > self.locks_max {
            return Acquire::Overloaded;
        }
        let holders: BTreeSet<TxnId> =
            missing.iter().flat_map(|need| self.conflicting_holders(txn, need)).collect();
        let is_behind = missing.iter().any(|need| self.queue.has_older_conflict(age, need));
        if holders.is_empty() && !is_behind {
            self.grant(age, &needs);
            return Acquire::Granted;
        }
        let (behind_bound, wounded) = holders
            .into_iter()
            .filter(|holder| age < self.member(*holder).age)
            .partition(|holder| self.member(*holder).standing == Standing::Bound);
        self.member_mut(age).waiting.insert(waiter);
        self.queue.push(waiter, Request { age, needs });
        Acquire::Queued { wounded, behind_bound }
    }

    /// Gives a prepared transaction, found in the state of a new leader, its locks back, and binds it.
    /// The budget does not apply: these locks exist already.
    ///
    /// # Panics
    /// When another transaction holds a conflicting lock.
    pub fn restore(&mut self, txn: TxnId, priority: Priority, needs: Vec<LockNeed>) {
        let age = self.txns.get(&txn).map_or(Age { priority, txn }, |member| member.age);
        let needs = normalised(needs);
        for need in &needs {
            let holder = self.conflicting_holders(txn, need).pop_first();
            assert!(holder.is_none(), "restoring {need} of {txn}, which {holder:?} holds");
        }
        self.grant(age, &needs);
        self.member_mut(age).standing = Standing::Bound;
    }

    /// From now on, until its release, `txn` is not wounded and its locks are not shrunk.
    ///
    /// # Panics
    /// When the table does not know it: whoever binds has just checked its locks.
    pub fn bind(&mut self, txn: TxnId) {
        let Some(member) = self.txns.get_mut(&txn) else {
            panic!("binding {txn}, which neither holds nor waits for a lock");
        };
        member.standing = Standing::Bound;
    }

    /// Whether `txn` is bound.
    #[must_use]
    pub fn is_bound(&self, txn: TxnId) -> bool {
        self.txns.get(&txn).is_some_and(|member| member.standing == Standing::Bound)
    }

    /// Drops all that `txn` holds and waits for, and returns its waiters, which the caller fails.
    #[must_use]
    pub fn release(&mut self, txn: TxnId) -> Vec<Waiter> {
        let Some(member) = self.txns.remove(&txn) else { return Vec::new() };
        for waiter in &member.waiting {
            self.dequeue(*waiter);
        }
        let own = self.held.remove_all(txn);
        if !self.queue.is_empty() {
            for (key, mode) in own.points {
                self.unblock(txn, &KeySpan::point(key), mode);
            }
            for need in own.intervals.keys() {
                self.unblock(txn, &need.span, need.mode);
            }
        }
        member.waiting.into_iter().collect()
    }

    /// Drops all that `txn` waits for, and returns its waiters, which the caller fails. What it holds stays.
    #[must_use]
    pub fn fail_waiters(&mut self, txn: TxnId) -> Vec<Waiter> {
        let Some(member) = self.txns.get_mut(&txn) else { return Vec::new() };
        let waiting = std::mem::take(&mut member.waiting);
        for waiter in &waiting {
            self.dequeue(*waiter);
        }
        self.forget_if_nothing(txn);
        waiting.into_iter().collect()
    }

    /// Forgets a waiting request. One that no longer waits is left alone.
    pub fn cancel(&mut self, waiter: Waiter) {
        let Some(age) = self.dequeue(waiter) else { return };
        self.member_mut(age).waiting.remove(&waiter);
        self.forget_if_nothing(age.txn);
    }

    /// Grants what can be granted by now, oldest first. Due after whatever may end a wait: a release, a
    /// cancellation, a shrinking, and (for other requests of the same transaction) a grant.
    #[must_use]
    pub fn take_granted(&mut self) -> Vec<(Waiter, TxnId)> {
        let mut granted = Vec::new();
        while let Some((age, waiter)) = self.unblocked.pop_first() {
            if !self.is_grantable(waiter) {
                continue;
            }
            let request = self.queue.remove(waiter).expect("only waiting requests are grantable");
            self.member_mut(age).waiting.remove(&waiter);
            self.grant(age, &request.needs);
            granted.push((waiter, age.txn));
        }
        granted
    }

    /// Narrows an interval lock to what a limited scan consumed (T30); an empty `to` drops it. Nothing
    /// happens when `from` is no longer held under that name, when the transaction was granted something
    /// else on the strength of it, or when it is bound: a lock more than needed is safe.
    ///
    /// # Panics
    /// When `to` is not within `from`.
    pub fn shrink(&mut self, txn: TxnId, from: &LockNeed, to: &KeySpan) {
        assert!(from.span.covers(to), "{to} is not within {from}");
        if !self.is_bound(txn) && self.held.shrink(txn, from, to) {
            self.unblock(txn, &from.span, from.mode);
            self.forget_if_nothing(txn);
        }
    }

    /// Whether `txn`'s locks, in that mode or a stronger one, cover the whole span, be it by several.
    #[must_use]
    pub fn holds(&self, txn: TxnId, span: &KeySpan, mode: LockMode) -> bool {
        self.held.covers(txn, span, mode)
    }

    /// What `txn` holds, in key order.
    #[must_use]
    pub fn held_spans(&self, txn: TxnId) -> Vec<LockNeed> {
        let Some(own) = self.held.own(txn) else { return Vec::new() };
        let point = |(key, mode): (&proto::Key, &LockMode)| LockNeed {
            span: KeySpan::point(key.clone()),
            mode: *mode,
        };
        let mut spans: Vec<LockNeed> = own.points.iter().map(point).collect();
        spans.extend(own.intervals.keys().cloned());
        spans.sort_unstable();
        spans
    }

    /// Bound transactions that block an older one, each with the oldest that waits for it. After a
    /// short delay the caller asks their coordinators to abort them, unless decided (T26).
    #[must_use]
    pub fn blocked_by_bound(&self) -> Vec<(TxnId, TxnId)> {
        let mut oldest = BTreeMap::new();
        for (age, waiter) in self.queue.oldest_first() {
            let needs = self.queue.get(waiter).map_or(&[][..], |request| &request.needs);
            for holder in needs.iter().flat_map(|need| self.conflicting_holders(age.txn, need)) {
                if age < self.member(holder).age && self.is_bound(holder) {
                    oldest.entry(holder).or_insert(age.txn);
                }
            }
        }
        oldest.into_iter().collect()
    }

    /// The bound transactions with an exclusive lock on any of the spans, in order of id: a read at a
    /// timestamp waits for those that may commit at or below it.
    #[must_use]
    pub fn bound_writers_over(&self, spans: &[KeySpan]) -> Vec<TxnId> {
        let mut writers = BTreeSet::new();
        for span in spans {
            let _ = self.held.visit_conflicts(span, LockMode::Shared, &mut |holder| {
                if self.is_bound(holder) {
                    writers.insert(holder);
                }
                ControlFlow::Continue(())
            });
        }
        writers.into_iter().collect()
    }

    /// At step-down: every waiting request fails, oldest first, and none is granted. Locks stay.
    #[must_use]
    pub fn fail_all(&mut self) -> Vec<Waiter> {
        self.unblocked.clear();
        let failed = self.queue.drain();
        for (age, waiter) in &failed {
            self.member_mut(*age).waiting.remove(waiter);
            self.forget_if_nothing(age.txn);
        }
        failed.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// The locks held and waited for.
    #[must_use]
    pub fn lock_count(&self) -> usize {
        self.held.len() + self.queue.needs_len()
    }

    /// Whether no transaction holds or waits for a lock, and none is bound.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.txns.is_empty()
    }

    /// Asserts what must hold between two steps, that is, when the wounded were released.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn check_invariants(&self) {
        self.held.check_invariants();
        self.queue.check_invariants();
        let mut waiting = 0;
        for (txn, member) in &self.txns {
            assert_eq!(*txn, member.age.txn, "filed under another id");
            assert!(!self.has_nothing(*txn), "{txn} is known for no reason");
            for waiter in &member.waiting {
                let request = self.queue.get(*waiter).expect("a member's request waits");
                assert_eq!(request.age, member.age, "age of {waiter}");
            }
            waiting += member.waiting.len();
        }
        assert_eq!(waiting, self.queue.len(), "requests of members");
        for (age, waiter) in self.queue.oldest_first() {
            let is_lost = self.is_grantable(waiter) && !self.unblocked.contains(&(age, waiter));
            assert!(!is_lost, "{waiter} of {} could be granted and nobody looks", age.txn);
            let request = self.queue.get(waiter).expect("listed a moment ago");
            for need in &request.needs {
                for holder in self.conflicting_holders(age.txn, need) {
                    let blocker = self.member(holder);
                    let waits_rightly = blocker.age < age || blocker.standing == Standing::Bound;
                    assert!(waits_rightly, "{} waits for the younger {holder}", age.txn);
                }
            }
        }
    }

    fn grant(&mut self, age: Age, needs: &[LockNeed]) {
        if needs.is_empty() {
            return;
        }
        for need in needs {
            self.held.add(age.txn, need);
        }
        // With these locks the transaction may hold all that another request of its own asks for, which
        // then need not wait behind an older one any more.
        let waiting = self.member_mut(age).waiting.iter();
        let waiting: Vec<_> = waiting.map(|waiter| (age, *waiter)).collect();
        self.unblocked.extend(waiting);
    }

    /// Whether a request waits and nothing blocks it.
    fn is_grantable(&self, waiter: Waiter) -> bool {
        let Some(request) = self.queue.get(waiter) else { return false };
        let age = request.age;
        request.needs.iter().all(|need| {
            self.held.covers(age.txn, &need.span, need.mode)
                || (!self.has_conflicting_holder(age.txn, need)
                    && !self.queue.has_older_conflict(age, need))
        })
    }

    fn has_conflicting_holder(&self, txn: TxnId, need: &LockNeed) -> bool {
        let flow = self.held.visit_conflicts(&need.span, need.mode, &mut |holder| {
            if holder == txn { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        flow.is_break()
    }

    fn conflicting_holders(&self, txn: TxnId, need: &LockNeed) -> BTreeSet<TxnId> {
        let mut holders = BTreeSet::new();
        let _ = self.held.visit_conflicts(&need.span, need.mode, &mut |holder| {
            if holder != txn {
                holders.insert(holder);
            }
            ControlFlow::Continue(())
        });
        holders
    }

    /// Takes a request out of the queue, so that those behind it are looked at again.
    fn dequeue(&mut self, waiter: Waiter) -> Option<Age> {
        let Request { age, needs } = self.queue.remove(waiter)?;
        self.unblocked.remove(&(age, waiter));
        for need in &needs {
            self.unblock(age.txn, &need.span, need.mode);
        }
        Some(age)
    }

    /// Has the requests looked at again that `txn` blocked by `mode` on `span`, held or waited for.
    fn unblock(&mut self, txn: TxnId, span: &KeySpan, mode: LockMode) {
        self.queue.collect_conflicting(txn, span, mode, &mut self.unblocked);
    }

    fn member(&self, txn: TxnId) -> &Member {
        self.txns.get(&txn).expect("whoever holds a lock is a member")
    }

    fn member_mut(&mut self, age: Age) -> &mut Member {
        self.txns.entry(age.txn).or_insert_with(|| Member {
            age,
            standing: Standing::Free,
            waiting: BTreeSet::new(),
        })
    }

    fn has_nothing(&self, txn: TxnId) -> bool {
        let member = self.member(txn);
        member.waiting.is_empty()
            && member.standing == Standing::Free
            && self.held.own(txn).is_none()
    }

    fn forget_if_nothing(&mut self, txn: TxnId) {
        if self.has_nothing(txn) {
            self.txns.remove(&txn);
        }
    }
}

/// Without empty spans and repetitions, and in an order of its own: the shared need of a span comes
/// before the exclusive one.
fn normalised(mut needs: Vec<LockNeed>) -> Vec<LockNeed> {
    needs.retain(|need| !need.span.is_empty());
    needs.sort_unstable();
    needs.dedup();
    needs
}

impl LockMode {
    /// Whether two transactions may not hold these modes on one key.
    #[must_use]
    pub fn conflicts_with(self, other: LockMode) -> bool {
        self == LockMode::Exclusive || other == LockMode::Exclusive
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockMode::Shared => "shared",
            LockMode::Exclusive => "exclusive",
        })
    }
}

impl fmt::Display for LockNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.span, self.mode)
    }
}

impl fmt::Display for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}
