//! What is held: by key, by interval, and by transaction.
//!
//! A lock on exactly one key, the common case, lives in an ordered map by key; any other span is an
//! *interval* and lives in a [`SpanIndex`]. A transaction's own view of both makes its release cost
//! no more than what it holds.
//!
//! A request for keys that the transaction holds already adds nothing. It may however rest on an
//! interval that a scan is about to shrink, so that interval is marked as used again and keeps its
//! size.
//!
//! Not here: age, wounds, waiting. Nothing here asks whether a lock may be granted.

use super::span_index::SpanIndex;
use super::{LockMode, LockNeed};
use proto::{Key, KeySpan, TxnId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

/// All granted locks of one shard.
pub(super) struct HeldLocks {
    points: BTreeMap<Key, PointLock>,
    intervals: SpanIndex<(TxnId, LockMode)>,
    by_txn: BTreeMap<TxnId, OwnLocks>,
    len: usize,
}

/// The lock of one key. Most have one holder, so only further ones cost an allocation.
struct PointLock {
    mode: LockMode,
    holder: TxnId,
    others: BTreeSet<TxnId>,
}

/// What one transaction holds.
#[derive(Default)]
pub(super) struct OwnLocks {
    pub(super) points: BTreeMap<Key, LockMode>,
    pub(super) intervals: BTreeMap<LockNeed, Uses>,
}

/// How many grants rest on an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uses {
    Once,
    Again,
}

impl HeldLocks {
    pub(super) fn new() -> Self {
        HeldLocks {
            points: BTreeMap::new(),
            intervals: SpanIndex::new(),
            by_txn: BTreeMap::new(),
            len: 0,
        }
    }

    /// The number of locks held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn own(&self, txn: TxnId) -> Option<&OwnLocks> {
        self.by_txn.get(&txn)
    }

    /// Whether `txn`'s own locks, in a mode at least as strong, leave no key of the span out.
    pub(super) fn covers(&self, txn: TxnId, span: &KeySpan, mode: LockMode) -> bool {
        let Some(own) = self.by_txn.get(&txn) else { return span.is_empty() };
        let holds_point = |key: &Key| own.points.get(key).is_some_and(|held| *held >= mode);
        let reaches_end = |reached: &Key| span.end.as_ref().is_some_and(|end| reached >= end);
        if span.as_point().is_some_and(holds_point) {
            return true;
        }
        // Everything of the span below `reached` is held.
        let mut reached = span.start.clone();
        if !own.intervals.is_empty() {
            let mut all = false;
            let _ = self.intervals.visit(span, &mut |interval, (holder, held)| {
                if *holder != txn || *held < mode {
                    return ControlFlow::Continue(());
                }
                while reached < interval.start && holds_point(&reached) {
                    reached = reached.successor();
                }
                if reached < interval.start {
                    return ControlFlow::Break(());
                }
                match &interval.end {
                    None => all = true,
                    Some(end) => reached = reached.clone().max(end.clone()),
                }
                if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if all {
                return true;
            }
        }
        while !reaches_end(&reached) && holds_point(&reached) {
            reached = reached.successor();
        }
        reaches_end(&reached)
    }

    /// Shows the holder of each lock that conflicts with `mode` on `span`, the asking transaction's
    /// own locks included, until `visitor` breaks. A holder of several such locks is shown for each.
    pub(super) fn visit_conflicts<F>(
        &self,
        span: &KeySpan,
        mode: LockMode,
        visitor: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(TxnId) -> ControlFlow<()>,
    {
        if let Some(key) = span.as_point() {
            if let Some(lock) = self.points.get(key) {
                lock.visit_conflicts(mode, visitor)?;
            }
        } else if !span.is_empty() {
            let end = span.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            for (_, lock) in self.points.range((Bound::Included(&span.start), end)) {
                lock.visit_conflicts(mode, visitor)?;
            }
        }
        self.intervals.visit(span, &mut |_, (holder, held)| {
            if held.conflicts_with(mode) { visitor(*holder) } else { ControlFlow::Continue(()) }
        })
    }

    /// Gives `txn` what `need` names, as far as it does not hold it already.
    pub(super) fn add(&mut self, txn: TxnId, need: &LockNeed) {
        if self.covers(txn, &need.span, need.mode) {
            self.use_again(txn, need);
            return;
        }
        let own = self.by_txn.entry(txn).or_default();
        if let Some(key) = need.span.as_point() {
            if own.points.insert(key.clone(), need.mode).is_none() {
                self.len += 1;
            }
            self.points
                .entry(key.clone())
                .and_modify(|lock| lock.add(txn, need.mode))
                .or_insert_with(|| PointLock::new(txn, need.mode));
        } else {
            own.intervals.insert(need.clone(), Uses::Once);
            self.intervals.insert(need.span.clone(), (txn, need.mode));
            self.len += 1;
        }
    }

    /// Keeps the intervals that a covered request rests on from being shrunk.
    fn use_again(&mut self, txn: TxnId, need: &LockNeed) {
        let Some(own) = self.by_txn.get_mut(&txn) else { return };
        let held_as_point = need.span.as_point().and_then(|key| own.points.get(key));
        if own.intervals.is_empty() || held_as_point.is_some_and(|held| *held >= need.mode) {
            return;
        }
        let _ = self.intervals.visit(&need.span, &mut |interval, (holder, held)| {
            if *holder == txn && *held >= need.mode {
                own.intervals.insert(LockNeed { span: interval.clone(), mode: *held }, Uses::Again);
            }
            ControlFlow::Continue(())
        });
    }

    /// Drops everything `txn` holds, and returns it.
    pub(super) fn remove_all(&mut self, txn: TxnId) -> OwnLocks {
        let own = self.by_txn.remove(&txn).unwrap_or_default();
        for key in own.points.keys() {
            self.remove_point(txn, key);
        }
        for need in own.intervals.keys() {
            self.remove_interval(txn, need);
        }
        self.len -= own.points.len() + own.intervals.len();
        own
    }

    /// Replaces the interval `from` by `to`, and says whether it did: not when nothing of that name is
    /// held, when another grant rests on it as well, or when nothing would change.
    pub(super) fn shrink(&mut self, txn: TxnId, from: &LockNeed, to: &KeySpan) -> bool {
        let Some(own) = self.by_txn.get_mut(&txn) else { return false };
        if from.span == *to || own.intervals.get(from) != Some(&Uses::Once) {
            return false;
        }
        own.intervals.remove(from);
        if own.points.is_empty() && own.intervals.is_empty() {
            self.by_txn.remove(&txn);
        }
        self.remove_interval(txn, from);
        self.len -= 1;
        if !to.is_empty() {
            self.add(txn, &LockNeed { span: to.clone(), mode: from.mode });
        }
        true
    }

    fn remove_point(&mut self, txn: TxnId, key: &Key) {
        let Entry::Occupied(mut lock) = self.points.entry(key.clone()) else {
            panic!("{txn} holds {key}, which is not indexed");
        };
        if !lock.get_mut().remove(txn) {
            lock.remove();
        }
    }

    fn remove_interval(&mut self, txn: TxnId, need: &LockNeed) {
        let removed = self.intervals.remove(&need.span, &(txn, need.mode));
        assert!(removed, "{txn} holds {need}, which is not indexed");
    }

    /// Asserts that the three views agree and that no two transactions hold conflicting locks.
    pub(super) fn check_invariants(&self) {
        let mut points = 0;
        let mut intervals = 0;
        for (txn, own) in &self.by_txn {
            for (key, mode) in &own.points {
                let lock = self.points.get(key).expect("a held key is indexed");
                assert_eq!(lock.mode, *mode, "mode of {txn} on {key}");
                assert!(lock.is_held_by(*txn), "{txn} is not a holder of {key}");
                self.assert_compatible(*txn, &KeySpan::point(key.clone()), *mode);
            }
            for need in own.intervals.keys() {
                assert!(need.span.as_point().is_none(), "{need} is filed as an interval");
                self.assert_compatible(*txn, &need.span, need.mode);
            }
            points += own.points.len();
            intervals += own.intervals.len();
            assert!(
                own.points.len() + own.intervals.len() > 0,
                "{txn} is listed and holds nothing"
            );
        }
        assert_eq!(points, self.points.values().map(|lock| 1 + lock.others.len()).sum());
        assert_eq!(intervals, self.intervals.check_invariants(), "indexed intervals");
        assert_eq!(points + intervals, self.len, "locks counted");
    }

    fn assert_compatible(&self, txn: TxnId, span: &KeySpan, mode: LockMode) {
        let _ = self.visit_conflicts(span, mode, &mut |holder| {
            assert_eq!(holder, txn, "{txn} and {holder} both hold {span} {mode}");
            ControlFlow::Continue(())
        });
    }
}

impl PointLock {
    fn new(holder: TxnId, mode: LockMode) -> Self {
        PointLock { mode, holder, others: BTreeSet::new() }
    }

    fn is_held_by(&self, txn: TxnId) -> bool {
        self.holder == txn || self.others.contains(&txn)
    }

    /// Lets `txn` in, or raises the mode of the only holder.
    fn add(&mut self, txn: TxnId, mode: LockMode) {
        if self.holder == txn && self.others.is_empty() {
            self.mode = self.mode.max(mode);
            return;
        }
        assert!(!mode.conflicts_with(self.mode), "{txn} and {} hold one key", self.holder);
        if self.holder != txn {
            self.others.insert(txn);
        }
    }

    /// Lets `txn` go, and says whether a holder remains.
    fn remove(&mut self, txn: TxnId) -> bool {
        if self.others.remove(&txn) {
            return true;
        }
        assert_eq!(self.holder, txn, "the lock of a key is released by its holder");
        match self.others.pop_first() {
            Some(next) => {
                self.holder = next;
                true
            }
            None => false,
        }
    }

    fn visit_conflicts<F>(&self, mode: LockMode, visitor: &mut F) -> ControlFlow<()>
    where
        F: FnMut(TxnId) -> ControlFlow<()>,
    {
        if self.mode.conflicts_with(mode) {
            visitor(self.holder)?;
            for holder in &self.others {
                visitor(*holder)?;
            }
        }
        ControlFlow::Continue(())
    }
}
