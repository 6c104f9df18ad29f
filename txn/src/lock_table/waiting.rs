//! The requests that wait, by ticket and by what they need.

use super::span_index::SpanIndex;
use super::{Age, LockMode, LockNeed, Waiter};
use proto::{KeySpan, TxnId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// All waiting requests of one shard.
pub(super) struct WaitQueue {
    requests: BTreeMap<Waiter, Request>,
    by_span: SpanIndex<Tag>,
    needs_len: usize,
}

/// One request.
pub(super) struct Request {
    pub(super) age: Age,
    pub(super) needs: Vec<LockNeed>,
}

/// Exclusive needs come first, then the older: whoever asks behind many waiters for one key finds the
/// one to wait for at once.
type Tag = (Reverse<LockMode>, Age, Waiter);

impl WaitQueue {
    pub(super) fn new() -> Self {
        WaitQueue { requests: BTreeMap::new(), by_span: SpanIndex::new(), needs_len: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The number of requests.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The number of locks that the requests ask for.
    pub(super) fn needs_len(&self) -> usize {
        self.needs_len
    }

    pub(super) fn contains(&self, waiter: Waiter) -> bool {
        self.requests.contains_key(&waiter)
    }

    pub(super) fn get(&self, waiter: Waiter) -> Option<&Request> {
        self.requests.get(&waiter)
    }

    pub(super) fn push(&mut self, waiter: Waiter, request: Request) {
        self.needs_len += request.needs.len();
        for need in &request.needs {
            self.by_span.insert(need.span.clone(), (Reverse(need.mode), request.age, waiter));
        }
        let before = self.requests.insert(waiter, request);
        assert!(before.is_none(), "{waiter} waits twice");
    }

    pub(super) fn remove(&mut self, waiter: Waiter) -> Option<Request> {
        let request = self.requests.remove(&waiter)?;
        self.needs_len -= request.needs.len();
        for need in &request.needs {
            let tag = (Reverse(need.mode), request.age, waiter);
            let removed = self.by_span.remove(&need.span, &tag);
            assert!(removed, "{waiter} needs {need}, which is not indexed");
        }
        Some(request)
    }

    /// Empties the queue.
    pub(super) fn drain(&mut self) -> Vec<(Age, Waiter)> {
        let drained = self.oldest_first();
        *self = WaitQueue::new();
        drained
    }

    /// Whether a request of a transaction older than `age` conflicts with `need`.
    pub(super) fn has_older_conflict(&self, age: Age, need: &LockNeed) -> bool {
        let flow = self.by_span.visit(&need.span, &mut |_, (Reverse(mode), other, _)| {
            if *other < age && mode.conflicts_with(need.mode) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        flow.is_break()
    }

    /// Adds to `found` the requests of other transactions that conflict with `txn`'s `mode` on `span`.
    pub(super) fn collect_conflicting(
        &self,
        txn: TxnId,
        span: &KeySpan,
        mode: LockMode,
        found: &mut BTreeSet<(Age, Waiter)>,
    ) {
        let _ = self.by_span.visit(span, &mut |_, (Reverse(wanted), age, waiter)| {
            if age.txn != txn && wanted.conflicts_with(mode) {
                found.insert((*age, *waiter));
            }
            ControlFlow::Continue(())
        });
    }

    /// The tickets in the order in which they are granted.
    pub(super) fn oldest_first(&self) -> Vec<(Age, Waiter)> {
        let mut tickets: Vec<_> =
            self.requests.iter().map(|(waiter, request)| (request.age, *waiter)).collect();
        tickets.sort_unstable();
        tickets
    }

    /// Asserts that the two views agree.
    pub(super) fn check_invariants(&self) {
        let needs: usize = self.requests.values().map(|request| request.needs.len()).sum();
        assert_eq!(needs, self.needs_len, "needs counted");
        assert_eq!(needs, self.by_span.check_invariants(), "needs indexed");
    }
}
