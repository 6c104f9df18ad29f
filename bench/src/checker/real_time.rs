//! The order that clients saw with their own eyes (TRANSACTIONS.md section 8).
//!
//! What was acknowledged before a transaction began has a lower timestamp than it, and is at or below
//! the timestamp of a strong read. A read-only transaction binds what starts later only by the newest
//! version that it saw, since its own timestamp may lead true time; a committed transaction that wrote
//! nothing is bound in the same way, because nothing of it ever became visible. Stale reads neither
//! bind nor are bound. Equal instants are concurrent.

use super::log::{Log, NEVER, Role, Txn, TxnRef};
use super::{Finding, TrueTime};
use truetime::Timestamp;

/// A timestamp that was surely past at an instant, and whose answer told so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    instant: u64,
    pub(super) ts: Timestamp,
    pub(super) txn: TxnRef,
}

/// All acknowledgements, with the highest timestamp acknowledged before any instant.
pub(super) struct Acknowledged {
    /// By instant; each holds the highest mark up to it.
    marks: Vec<Mark>,
}

impl Acknowledged {
    /// Commits only: what is known before the replay.
    pub(super) fn commits(log: &Log) -> Self {
        Self::new(log.refs().filter_map(|txn| commit_mark(log.txn(txn), txn)).collect())
    }

    /// Commits, and the newest version that each current read saw.
    pub(super) fn all(log: &Log, newest_seen: &[Timestamp]) -> Self {
        let mark = |txn: TxnRef| {
            let entry = log.txn(txn);
            commit_mark(entry, txn).or_else(|| {
                let seen = newest_seen[txn.index()];
                let binds = matches!(entry.role, Role::Strong | Role::Committed);
                (binds && seen > Timestamp::ZERO).then_some(Mark {
                    instant: entry.acknowledged,
                    ts: seen,
                    txn,
                })
            })
        };
        Self::new(log.refs().filter_map(mark).collect())
    }

    fn new(mut marks: Vec<Mark>) -> Self {
        marks.sort_unstable_by_key(|mark| (mark.instant, mark.txn));
        for next in 1..marks.len() {
            let before = marks[next - 1];
            if marks[next].ts <= before.ts {
                marks[next] = Mark { instant: marks[next].instant, ..before };
            }
        }
        Acknowledged { marks }
    }

    /// The highest timestamp acknowledged strictly before `instant`.
    pub(super) fn newest_before(&self, instant: u64) -> Option<Mark> {
        let count = self.marks.partition_point(|mark| mark.instant < instant);
        self.marks[..count].last().copied()
    }
}

fn commit_mark(entry: &Txn, txn: TxnRef) -> Option<Mark> {
    let binds = entry.role == Role::Committed && entry.has_writes;
    binds.then_some(Mark { instant: entry.acknowledged, ts: entry.ts, txn })
}

/// Passes every broken edge to `report`.
pub(super) fn check(
    log: &Log,
    newest_seen: &[Timestamp],
    true_time: TrueTime,
    mut report: impl FnMut(Finding),
) {
    let acknowledged = Acknowledged::all(log, newest_seen);
    for txn in log.refs() {
        let entry = log.txn(txn);
        let is_ordered = |mark: &Mark| match entry.role {
            Role::Committed | Role::Resolved => mark.ts < entry.ts,
            Role::Strong => mark.ts <= entry.ts,
            Role::Stale | Role::Aborted | Role::Unknown => true,
        };
        if let Some(mark) = acknowledged.newest_before(entry.invoked)
            && !is_ordered(&mark)
        {
            report(Finding::RealTime { earlier: mark.txn, bound: mark.ts, later: txn });
        }
        if let TrueTime::Known { origin } = true_time {
            check_true_time(log, txn, newest_seen[txn.index()], origin, &mut report);
        }
    }
}

/// Arrival of the commit <= s < first acknowledgement or visibility.
fn check_true_time(
    log: &Log,
    txn: TxnRef,
    seen: Timestamp,
    origin: Timestamp,
    report: &mut impl FnMut(Finding),
) {
    let entry = log.txn(txn);
    let true_time = |instant: u64| Timestamp::from_nanos(origin.nanos().saturating_add(instant));
    let arrived = true_time(entry.commit_sent);
    if entry.role.is_commit() && entry.ts < arrived {
        report(Finding::BeforeArrival { txn, arrived });
    }
    let told = true_time(entry.acknowledged);
    if entry.acknowledged == NEVER {
        return;
    }
    if entry.role == Role::Committed && entry.has_writes && told <= entry.ts {
        report(Finding::ToldTooEarly { txn, told, ts: entry.ts });
    } else if seen >= told {
        report(Finding::ToldTooEarly { txn, told, ts: seen });
    }
}
