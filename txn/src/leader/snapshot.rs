//! Reads at a timestamp, by the leader for itself and for its followers (TRANSACTIONS.md section 5).

use std::time::Duration;

use proto::KeySpan;
use truetime::Timestamp;

use super::{Cx, Effect, Leader, Right, SnapshotAnswer, SnapshotWait};
use crate::message::{Refusal, Reply, RequestId};

/// Timestamp reads that may wait at one shard.
const SNAPSHOT_WAITS_MAX: usize = 10_000;

/// A read that waits for longer is dropped without a word: whoever still wants it asks again, and what nobody
/// wants any more must not fill the table.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a timestamp read can be served now.
enum Served {
    Now,
    Later,
    Refused(Refusal),
}

impl Leader {
    pub(super) fn snapshot(
        &mut self,
        cx: &mut Cx<'_>,
        caller: RequestId,
        at: Timestamp,
        spans: Vec<KeySpan>,
        answer: SnapshotAnswer,
    ) {
        let until = cx.now.mono.plus(PATIENCE);
        let wait = SnapshotWait { caller, at, spans, answer, until };
        let still_waits = match self.right(cx) {
            Some(right) => self.serve(cx, right, wait),
            None => Some(wait),
        };
        let Some(wait) = still_waits else { return };
        if self.snapshot_waits.len() >= SNAPSHOT_WAITS_MAX {
            let what = "timestamp reads that wait at this shard".to_owned();
            return cx.refuse(caller, Refusal::Overloaded { what });
        }
        self.snapshot_waits.push(wait);
    }

    /// Serves the waiting reads that nothing holds back any more.
    pub(super) fn serve_snapshots(&mut self, cx: &mut Cx<'_>) {
        let mono = cx.now.mono;
        self.snapshot_waits.retain(|wait| wait.until > mono);
        if self.snapshot_waits.is_empty() {
            return;
        }
        let Some(right) = self.right(cx) else { return };
        for wait in std::mem::take(&mut self.snapshot_waits) {
            let still_waits = self.serve(cx, right, wait);
            self.snapshot_waits.extend(still_waits);
        }
    }

    /// Answers the read, or gives it back when it has to wait.
    fn serve(&mut self, cx: &mut Cx<'_>, right: Right, wait: SnapshotWait) -> Option<SnapshotWait> {
        match self.judge(cx, right, wait.at, &wait.spans) {
            Served::Now => answer(cx, wait),
            Served::Later => return Some(wait),
            Served::Refused(refusal) => cx.refuse(wait.caller, refusal),
        }
        None
    }

    fn judge(&mut self, cx: &Cx<'_>, right: Right, at: Timestamp, spans: &[KeySpan]) -> Served {
        let threshold = cx.state.header().threshold;
        if at < threshold {
            return Served::Refused(Refusal::BelowThreshold { threshold });
        }
        // No reader's clock moves a writer: first t must have come, by this clock; then the lease must
        // reach past it; then the promise (T3).
        if at > right.interval.latest || at >= right.expires {
            return Served::Later;
        }
        self.promise(right, at);
        let blocked = self.locks.bound_writers_over(spans).into_iter().any(|id| {
            self.txns
                .get(&id)
                .and_then(|local| local.stage.writes_from(&id, cx.state))
                .is_some_and(|from| from <= at)
        });
        if blocked { Served::Later } else { Served::Now }
    }
}

fn answer(cx: &mut Cx<'_>, wait: SnapshotWait) {
    match wait.answer {
        SnapshotAnswer::Read(limit) => cx.out.push(Effect::Read {
            to: wait.caller,
            grant: None,
            at: wait.at,
            spans: wait.spans,
            limit,
        }),
        SnapshotAnswer::GoAhead => {
            let applied = cx.state.applied();
            cx.reply(wait.caller, Reply::GoAhead { applied });
        }
    }
}
