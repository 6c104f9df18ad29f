//! Choosing timestamps: one function for each, with its floors asserted (TRANSACTIONS.md section 4, T1).

use truetime::Timestamp;

use super::{Cx, Leader, Right};
use crate::state::ShardState;

impl Leader {
    /// Everything that a timestamp chosen now must exceed: what this leader assigned or promised, what was
    /// published, every commit applied in the shard, and the end of the epoch before (T2, T3).
    pub(super) fn floor(&self, state: &ShardState) -> Timestamp {
        let header = state.header();
        let epoch_floor = header.lease.map_or(Timestamp::ZERO, |lease| lease.floor);
        self.assigned.max(header.highest_commit).max(header.promise).max(epoch_floor)
    }

    /// `s`: above every floor and `now().latest` of this very step, at least every `p`. `None` when it
    /// would not lie below the end of the applied lease; the caller waits for the extension.
    pub(super) fn choose_commit_ts(
        &mut self,
        cx: &Cx<'_>,
        right: Right,
        prepare_ts: impl Iterator<Item = Timestamp>,
    ) -> Option<Timestamp> {
        let floor = self.floor(cx.state);
        let latest = right.interval.latest;
        let highest_prepare = prepare_ts.max().unwrap_or(Timestamp::ZERO);
        let commit_ts = floor.max(latest).next().max(highest_prepare);
        if commit_ts >= right.expires {
            return None;
        }
        assert!(commit_ts > floor, "commit_ts {commit_ts} not above the floor {floor}");
        assert!(commit_ts > latest, "commit_ts {commit_ts} not above now().latest {latest}");
        assert!(
            commit_ts >= highest_prepare,
            "commit_ts {commit_ts} below prepare_ts {highest_prepare}"
        );
        self.assigned = commit_ts;
        self.commit_assigned = self.commit_assigned.max(commit_ts);
        Some(commit_ts)
    }

    /// `p`: above every floor. No reader of the present need wait for it, so it is not below `latest`.
    pub(super) fn choose_prepare_ts(&mut self, cx: &Cx<'_>, right: Right) -> Option<Timestamp> {
        let floor = self.floor(cx.state);
        let prepare_ts = floor.max(right.interval.latest).next();
        if prepare_ts >= right.expires {
            return None;
        }
        assert!(prepare_ts > floor, "prepare_ts {prepare_ts} not above the floor {floor}");
        self.assigned = prepare_ts;
        Some(prepare_ts)
    }

    /// A read promise: nothing at or below `at` will be assigned. `at` must be below the lease's end.
    pub(super) fn promise(&mut self, right: Right, at: Timestamp) {
        assert!(at < right.expires, "promise {at} reaches the lease's end {}", right.expires);
        self.assigned = self.assigned.max(at);
    }

    /// The published promise that an entry proposed now carries: surely past, below the lease's end, and
    /// only when it says something new (T12, T18).
    pub(super) fn promise_for_entry(&mut self, cx: &Cx<'_>, right: Right) -> Option<Timestamp> {
        let past = right.interval.earliest.min(right.expires).prev();
        if past <= cx.state.header().promise {
            return None;
        }
        self.promise(right, past);
        Some(past)
    }

    /// A published promise that travels outside the log: for the entries proposed so far. `None` without a
    /// valid lease.
    pub fn published_promise(
        &mut self,
        now: &truetime::Now,
        state: &ShardState,
    ) -> Option<Timestamp> {
        let mut nothing = Vec::new();
        let cx = Cx { now, state, out: &mut nothing };
        let right = self.right(&cx)?;
        let past = right.interval.earliest.min(right.expires).prev();
        self.promise(right, past);
        Some(past)
    }
}
