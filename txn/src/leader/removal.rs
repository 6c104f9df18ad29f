//! The removal of a shard whose table was dropped: the last decision in its log (TRANSACTIONS.md section 4).
//!
//! It is proposed like a release. The leader stops assigning, granting and answering; waits, up to a small bound,
//! until nothing is prepared here and every participant has applied the outcomes recorded here, and until the
//! highest commit timestamp it assigned has passed; then proposes the entry. Once that is applied every replica
//! refuses everything with [`Refusal::Removed`], which also answers the request. What comes too late for the bound
//! is no reason to keep the shard closed: the leader goes on as before, and is asked again.
//!
//! ```text
//! Holding --asked--> Removing --nothing open, entry applied--> Removed
//!    ^------ bound reached ------|------ lease over --> Resting
//! ```
//! Not here: who asks, and the mark in the shard map that follows (`node/src/gateway/removal.rs`).

use proto::Epoch;
use truetime::Mono;

use super::{Cx, Leader, Phase, Right, Stage, Waiting};
use crate::command::Command;
use crate::lock_table::LockTable;
use crate::message::{Refusal, RequestId};
use crate::state::{Applied, ShardState};

/// A removal under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removing {
    /// The epoch that its entry names.
    pub(super) epoch: Epoch,
    /// When it is given up unless the entry is proposed.
    pub(super) until: Mono,
    pub(super) proposed: bool,
}

impl Leader {
    /// The table was dropped, and nobody uses it any more.
    pub(super) fn remove(&mut self, cx: &mut Cx<'_>, right: Right, caller: RequestId) {
        if cx.state.has_catalog() {
            let reason = "the system shard is never removed".to_owned();
            return cx.refuse(caller, Refusal::Invalid { reason });
        }
        self.removal_waits.push(caller);
        self.fail_waiting(cx);
        let until = cx.now.mono.plus(self.config.hand_over_wait);
        let removing = Removing { epoch: right.epoch, until, proposed: false };
        self.phase = Phase::Removing(removing);
        self.advance_removal(cx, removing);
    }

    /// Proposes the removal as soon as nothing is open, or gives it up.
    pub(super) fn advance_removal(&mut self, cx: &mut Cx<'_>, removing: Removing) {
        if removing.proposed {
            return;
        }
        let Some(interval) = self.clock(cx.now) else { return };
        if self.own_lease(cx.state).is_none_or(|lease| interval.latest >= lease.expires) {
            self.phase = Phase::Holding { epoch: removing.epoch };
            return self.removal_failed(cx, &Refusal::NotLeader { hint: Some(self.node) });
        }
        let open = self.open_matters(cx.state);
        if open > 0 && removing.until <= cx.now.mono {
            self.phase = Phase::Holding { epoch: removing.epoch };
            let what = format!("the removal of the shard: {open} outcomes are not applied yet");
            return self.removal_failed(cx, &Refusal::Overloaded { what });
        }
        if open == 0 && cx.now.after(self.commit_assigned) {
            self.phase = Phase::Removing(Removing { proposed: true, ..removing });
            self.propose(cx, Command::Remove);
        }
    }

    /// What keeps the shard from being removed: prepared in any of the three senses, being aborted by an entry on
    /// its way, or recorded and not applied by all its participants.
    fn open_matters(&self, state: &ShardState) -> usize {
        let open = |stage: &Stage| stage.is_bound() || matches!(stage, Stage::Aborting { .. });
        let here = self.txns.values().filter(|local| open(&local.stage)).count();
        here + state.awaiting().len()
    }

    /// Something else is more urgent. What is proposed cannot be taken back.
    pub(super) fn give_up_removal(&mut self, cx: &mut Cx<'_>) {
        if let Phase::Removing(Removing { epoch, proposed: false, .. }) = self.phase {
            self.phase = Phase::Holding { epoch };
            self.removal_failed(cx, &Refusal::NotLeader { hint: None });
        }
    }

    fn removal_failed(&mut self, cx: &mut Cx<'_>, refusal: &Refusal) {
        for caller in std::mem::take(&mut self.removal_waits) {
            cx.refuse(caller, refusal.clone());
        }
    }

    /// The entry was applied. If it took effect, nothing more is decided here, and everyone hears why.
    pub(super) fn removal_applied(&mut self, cx: &mut Cx<'_>, applied: &Applied) {
        if *applied != Applied::Removed {
            if let Phase::Removing(Removing { epoch, .. }) = self.phase {
                self.phase = Phase::Holding { epoch };
            }
            return self.removal_failed(cx, &Refusal::NotLeader { hint: Some(self.node) });
        }
        self.phase = Phase::Removed;
        for caller in self.take_callers() {
            cx.refuse(caller, Refusal::Removed);
        }
        self.locks = LockTable::new(self.config.transactions_max.saturating_mul(16));
        self.telling.clear();
        self.done.clear();
        self.commit_waits.clear();
        self.wounds_due.clear();
        self.calls.clear();
    }

    /// Everyone who waits for an answer; nothing is known here afterwards that somebody waits for.
    pub(super) fn take_callers(&mut self) -> Vec<RequestId> {
        let mut callers: Vec<RequestId> =
            self.deferred.drain(..).map(|(caller, _)| caller).collect();
        for (_, (_, waiting)) in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Read { caller, .. } | Waiting::Lock { caller } => callers.push(caller),
                Waiting::Commit | Waiting::Prepare => {}
            }
        }
        for (_, local) in std::mem::take(&mut self.txns) {
            callers.extend(local.stage.into_callers());
        }
        callers.extend(std::mem::take(&mut self.past_waits).into_values().flatten());
        callers.extend(std::mem::take(&mut self.resolve_waits).into_values().flatten());
        callers.extend(self.snapshot_waits.drain(..).map(|wait| wait.caller));
        callers.extend(self.catalog_waits.drain(..).map(|(caller, _)| caller));
        callers.append(&mut self.removal_waits);
        callers
    }
}
