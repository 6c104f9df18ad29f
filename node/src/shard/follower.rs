//! Timestamp reads at a replica that does not lead (TRANSACTIONS.md section 5).
//!
//! Terms: *safe time* is the highest timestamp that may be read here: the published promise usable at
//! the applied index, and below every unresolved prepare on the keys read. For a fresher timestamp the
//! follower asks its leader; a *go-ahead* is good for that read alone, once its entry is applied here.
//!
//! Example: promise 100 is usable, a transaction is prepared on `k` at 90. A read of `j` at 95 is served; one
//! of `k` at 95 asks the leader, which waits for the outcome.
//!
//! Not here: choosing who is asked (`routing`).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{KeySpan, LogIndex};
use truetime::{Mono, Now, Timestamp};
use txn::leader::Unanswered;
use txn::message::{ReadLimit, Refusal, Reply, Request, RequestId};
use txn::state::ShardState;

use super::replica::{Effect, ReplicaCall};

/// Reads that may wait for a go-ahead or for an entry.
const WAITING_MAX: usize = 10_000;
/// A read that waits longer is refused; whoever asked tries elsewhere.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a follower keeps for its readers.
#[derive(Debug, Default)]
pub struct Follower {
    /// Promises published outside the log, by the entry at which they count.
    promises: BTreeMap<LogIndex, Timestamp>,
    /// The highest of them that counts.
    usable: Timestamp,
    waiting: BTreeMap<u64, Waiting>,
    next_call: u64,
}

#[derive(Debug)]
struct Waiting {
    caller: RequestId,
    at: Timestamp,
    spans: Vec<KeySpan>,
    limit: ReadLimit,
    /// The leader's go-ahead counts once this is applied.
    go_ahead: Option<LogIndex>,
    until: Mono,
}

impl Follower {
    /// Serves the read if safe time allows, else asks the leader.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(super) fn read(
        &mut self,
        now: &Now,
        state: &ShardState,
        caller: RequestId,
        at: Timestamp,
        spans: Vec<KeySpan>,
        limit: ReadLimit,
        out: &mut Vec<Effect>,
    ) {
        let threshold = state.header().threshold;
        let refusal = if at < threshold {
            Refusal::BelowThreshold { threshold }
        } else if state.header().removed {
            Refusal::Removed
        } else if self.waiting.len() >= WAITING_MAX {
            Refusal::Overloaded { what: "follower reads that wait at this replica".to_owned() }
        } else {
            if at <= self.safe_time(state, &spans) {
                out.push(Effect::Read { to: caller, grant: None, at, spans, limit });
                return;
            }
            return self.ask(now, caller, at, spans, limit, out);
        };
        out.push(Effect::Reply { to: caller, reply: Reply::Refused(refusal) });
    }

    /// R5: everything at or below it is settled on the keys of `spans`, here.
    #[must_use]
    pub fn safe_time(&self, state: &ShardState, spans: &[KeySpan]) -> Timestamp {
        self.usable.max(state.header().promise).min(state.settled(spans))
    }

    fn ask(
        &mut self,
        now: &Now,
        caller: RequestId,
        at: Timestamp,
        spans: Vec<KeySpan>,
        limit: ReadLimit,
        out: &mut Vec<Effect>,
    ) {
        self.next_call += 1;
        let call = self.next_call;
        let request = Request::GoAhead { at, spans: spans.clone() };
        let until = now.mono.plus(PATIENCE);
        let waiting = Waiting { caller, at, spans, limit, go_ahead: None, until };
        self.waiting.insert(call, waiting);
        out.push(Effect::Call { call: ReplicaCall::Follower { call }, request });
    }

    /// The leader's answer.
    pub(super) fn answered(
        &mut self,
        call: u64,
        answer: Result<Reply, Unanswered>,
        state: &ShardState,
        out: &mut Vec<Effect>,
    ) {
        let Some(waiting) = self.waiting.get_mut(&call) else { return };
        let reply = match answer {
            Ok(Reply::GoAhead { applied }) => {
                waiting.go_ahead = Some(applied.index);
                return self.applied(state, out);
            }
            Ok(reply @ Reply::Refused(_)) => reply,
            Ok(_) | Err(Unanswered) => Reply::Refused(Refusal::NotLeader { hint: None }),
        };
        if let Some(waiting) = self.waiting.remove(&call) {
            out.push(Effect::Reply { to: waiting.caller, reply });
        }
    }

    /// Entries were applied: promises count and go-aheads come true.
    pub(super) fn applied(&mut self, state: &ShardState, out: &mut Vec<Effect>) {
        let applied = state.applied().index;
        let later = self.promises.split_off(&applied.next());
        let reached = std::mem::replace(&mut self.promises, later);
        self.usable = reached.into_values().fold(self.usable, Timestamp::max);
        if self.waiting.is_empty() {
            return;
        }
        let ready: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.go_ahead.is_some_and(|index| index <= applied))
            .map(|(call, _)| *call)
            .collect();
        for call in ready {
            if let Some(Waiting { caller: to, at, spans, limit, .. }) = self.waiting.remove(&call) {
                let threshold = state.header().threshold;
                out.push(if at < threshold {
                    let reply = Reply::Refused(Refusal::BelowThreshold { threshold });
                    Effect::Reply { to, reply }
                } else {
                    Effect::Read { to, grant: None, at, spans, limit }
                });
            }
        }
    }

    /// A promise of this term's leader counts once `index` is applied.
    pub(super) fn take_promise(&mut self, state: &ShardState, index: LogIndex, promise: Timestamp) {
        if index <= state.applied().index {
            self.usable = self.usable.max(promise);
            return;
        }
        let kept = self.promises.entry(index).or_default();
        *kept = promise.max(*kept);
    }

    /// Refuses reads that have waited for too long.
    pub(super) fn tick(&mut self, now: &Now, out: &mut Vec<Effect>) {
        let late: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.until <= now.mono)
            .map(|(call, _)| *call)
            .collect();
        for call in late {
            self.refuse(call, out);
        }
    }

    /// This replica leads now, or a snapshot replaces its versions: who waits asks again.
    pub(super) fn fail(&mut self, out: &mut Vec<Effect>) {
        for call in self.waiting.keys().copied().collect::<Vec<_>>() {
            self.refuse(call, out);
        }
    }

    fn refuse(&mut self, call: u64, out: &mut Vec<Effect>) {
        if let Some(waiting) = self.waiting.remove(&call) {
            let reply = Reply::Refused(Refusal::NotLeader { hint: None });
            out.push(Effect::Reply { to: waiting.caller, reply });
        }
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.waiting.values().map(|waiting| waiting.until).min().unwrap_or(Mono::MAX)
    }
}
