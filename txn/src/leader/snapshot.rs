//! Reads at a timestamp, by the leader for itself and for its followers (TRANSACTIONS.md section 5).

use proto::KeySpan;
use truetime::Timestamp;

use super::{Cx, Effect, Leader, Right, SnapshotAnswer, SnapshotWait};
use crate::message::{Refusal, Reply, RequestId};

/// Timestamp reads that may wait at one shard.
const SNAPSHOT_WAITS_MAX: usize = 10_000;

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
        if self.snapshot_waits.len() >= SNAPSHOT_WAITS_MAX {
            let what = "timestamp reads that wait at this shard".to_owned();
            return cx.refuse(caller, Refusal::Overloaded { what });
        }
        self.snapshot_waits.push(SnapshotWait { caller, at, spans, answer });
    }

    /// Serves the waiting reads that nothing holds back any more.
    pub(super) fn serve_snapshots(&mut self, cx: &mut Cx<'_>) {
        if self.snapshot_waits.is_empty() {
            return;
        }
        let Some(right) = self.right(cx) else { return };
        for wait in std::mem::take(&mut self.snapshot_waits) {
            match self.serve(cx, right, wait.at, &wait.spans) {
                Served::Now => answer(cx, wait),
                Served::Later => self.snapshot_waits.push(wait),
                Served::Refused(refusal) => cx.refuse(wait.caller, refusal),
            }
        }
    }

    fn serve(&mut self, cx: &Cx<'_>, right: Right, at: Timestamp, spans: &[KeySpan]) -> Served {
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
