//! The external-consistency checker: TRANSACTIONS.md section 8, applied to a recorded history.
//!
//! Terms: a *read point* is where in the order of timestamps a transaction reads: just below its commit
//! timestamp, or at its read timestamp. An *edge* is an order that clients could see: one was answered
//! before the other began.
//!
//! How: (1) outcomes that clients could not learn are settled from the versions that reads returned
//! (`resolve`); (2) all attempts are sorted by timestamp and replayed once over one current value per
//! key (`replay`); (3) instants are swept once for broken edges (`real_time`); (4) whatever did not
//! match gets its name (`diagnose`), which may be slow, because there is little of it. Time is
//! O(n log n) in the number of rows read and written.
//!
//! Example: `a` is 100. T1 writes 90 at timestamp 50. T2 commits at 60 and has read 100. The replay has
//! 90 at 59, so T2 missed T1: if T2 wrote `a`, that is a lost update, else perhaps a write skew.
//!
//! The checker never reports a correct history. What it therefore cannot see: reads of attempts that
//! did not commit; two changes that cancel out, where reads carry no version; what an attempt of unknown
//! outcome did, if no read returned a version of it or if values without versions leave a choice; the
//! timestamp of a deletion that a scan made visible.

mod diagnose;
mod interner;
mod live_set;
mod log;
mod real_time;
mod replay;
mod resolve;
mod violation;

pub use violation::{Anomaly, Detail, Involved, Part, State, Violation};

use crate::history::{Answer, Header, History, Lookup, Record, Row, Transaction};
use log::{KeyId, Log, NO_ID, Role, TxnRef};
use replay::Mismatch;
use std::collections::BTreeSet;
use truetime::Timestamp;

/// Whether the history clock shows true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrueTime {
    /// It does not. Only the order of its instants counts.
    #[default]
    Unknown,
    /// It does: instant zero was true time `origin`. Checks commit wait against it.
    Known {
        /// The timestamp of instant zero.
        origin: Timestamp,
    },
}

/// What to check and how much to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the history clock shows true time.
    pub true_time: TrueTime,
    /// Describe no more violations than this; the others are counted.
    pub violations_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { true_time: TrueTime::Unknown, violations_max: 10 }
    }
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Attempts and reads that were checked.
    pub transactions: u64,
    /// Rows read and written, and scans.
    pub operations: u64,
    /// Attempts of unknown outcome of which no read told what became of them.
    pub unsettled: u64,
    /// How many violations there are.
    pub violations_found: u64,
    /// The first of them.
    pub violations: Vec<Violation>,
}

impl Checked {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_strictly_serializable(&self) -> bool {
        self.violations_found == 0
    }

    /// `"strictly serializable"`, or the names of what was violated.
    #[must_use]
    pub fn verdict(&self) -> String {
        if self.is_strictly_serializable() {
            return "strictly serializable".to_string();
        }
        let names: BTreeSet<&str> = self.violations.iter().map(|v| v.anomaly.name()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        if names.is_empty() { "violated".to_string() } else { names.join(", ") }
    }
}

/// Something that must not be, before it has its name.
#[derive(Clone, Debug)]
enum Finding {
    /// A read returned something else than the replay.
    Mismatch(Mismatch),
    /// A scan's rows are no ascending list of rows of its interval.
    Disordered { reader: TxnRef, key: KeyId },
    /// Two commits wrote one key at one timestamp.
    SharedTimestamp { key: KeyId, first: TxnRef, second: TxnRef },
    /// Commits at one timestamp of which each misses a write of another.
    Circle { key: KeyId, members: Vec<TxnRef> },
    /// A broken edge.
    RealTime { earlier: TxnRef, bound: Timestamp, later: TxnRef },
    /// A commit timestamp below the arrival of the commit.
    BeforeArrival { txn: TxnRef, arrived: Timestamp },
    /// An answer before a timestamp that it shows was past.
    ToldTooEarly { txn: TxnRef, told: Timestamp, ts: Timestamp },
    /// Two answers about one attempt.
    Outcomes { first: TxnRef, second: TxnRef, told: [Told; 2] },
}

/// An answer about an attempt that commits at, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Committed(Timestamp),
    Aborted,
}

/// The first findings, and how many there are.
struct Findings {
    kept: Vec<Finding>,
    kept_max: usize,
    found: u64,
}

impl Findings {
    fn push(&mut self, finding: Finding) {
        self.found += 1;
        if self.kept.len() < self.kept_max {
            self.kept.push(finding);
        }
    }
}

/// A check in progress. Takes records in any order; [`Checker::finish`] gives the verdict.
pub struct Checker {
    options: Options,
    log: Log,
    lookups: Vec<KnownOutcome>,
    records: u32,
    transactions: u64,
    operations: u64,
}

/// A lookup that told something.
struct KnownOutcome {
    id: u32,
    told: Told,
    responded: u64,
}

impl Checker {
    /// A check of a history in which no row exists yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let log = Log::default();
        Checker { options, log, lookups: Vec::new(), records: 0, transactions: 0, operations: 0 }
    }

    /// A check of the history that `header` begins, true time included.
    #[must_use]
    pub fn for_header(header: &Header, options: Options) -> Self {
        let true_time = match header.true_time_origin {
            Some(origin) => TrueTime::Known { origin },
            None => options.true_time,
        };
        let mut checker = Checker::new(Options { true_time, ..options });
        header.initial.iter().for_each(|row| checker.initial(row));
        checker
    }

    /// Says that `row` existed before the first record.
    pub fn initial(&mut self, row: &Row) {
        self.log.add_initial(row);
    }

    /// Adds an attempt or a lookup.
    pub fn record(&mut self, record: &Record) {
        match record {
            Record::Transaction(transaction) => self.transaction(transaction),
            Record::Lookup(lookup) => self.lookup(lookup),
        }
    }

    /// Adds an attempt.
    pub fn transaction(&mut self, transaction: &Transaction) {
        self.count_record();
        self.transactions += 1;
        self.operations += self.log.add(transaction, self.records);
    }

    /// Adds a lookup.
    pub fn lookup(&mut self, lookup: &Lookup) {
        self.count_record();
        let told = match lookup.answer {
            Answer::Committed { at } => Told::Committed(at),
            Answer::Aborted => Told::Aborted,
            Answer::NotKnown => return,
        };
        let id = self.log.ids.intern(lookup.id.as_bytes());
        self.lookups.push(KnownOutcome { id, told, responded: lookup.responded.nanos() });
    }

    fn count_record(&mut self) {
        self.records = self.records.checked_add(1).expect("a history has fewer than 2^32 records");
    }

    /// Checks everything that was added.
    #[must_use]
    pub fn finish(mut self) -> Checked {
        let kept_max = self.options.violations_max;
        let mut findings = Findings { kept: Vec::new(), kept_max, found: 0 };
        apply_outcomes(&mut self.log, &self.lookups, &mut findings);
        resolve::resolve(&mut self.log, self.options.true_time);
        let newest_seen = replay::replay(&self.log, self.options.true_time, &mut findings);
        real_time::check(&self.log, &newest_seen, self.options.true_time, |finding| {
            findings.push(finding);
        });
        let unsettled = self.log.txns.iter().filter(|txn| txn.role == Role::Unknown).count();
        Checked {
            transactions: self.transactions,
            operations: self.operations,
            unsettled: u64::try_from(unsettled).unwrap_or(u64::MAX),
            violations_found: findings.found,
            violations: diagnose::name_all(&self.log, &findings.kept),
        }
    }
}

/// Checks a history that is in memory.
#[must_use]
pub fn check(history: &History, options: Options) -> Checked {
    let mut checker = Checker::for_header(&history.header, options);
    history.records.iter().for_each(|record| checker.record(record));
    checker.finish()
}

/// Settles unknown outcomes by what lookups answered, and finds answers that contradict each other.
fn apply_outcomes(log: &mut Log, lookups: &[KnownOutcome], findings: &mut Findings) {
    let mut by_id: Vec<Option<TxnRef>> = vec![None; interner::index(log.ids.len())];
    for txn in log.refs() {
        let entry = log.txn(txn);
        if entry.id == NO_ID {
            continue;
        }
        let first = by_id[interner::index(entry.id)].get_or_insert(txn);
        if let (Some(one), Some(two)) = (told(log, *first), told(log, txn))
            && one != two
        {
            findings.push(Finding::Outcomes { first: *first, second: txn, told: [one, two] });
        }
    }
    for lookup in lookups {
        // A lookup may be about an attempt that another recording holds.
        let Some(txn) = by_id[interner::index(lookup.id)] else { continue };
        if let Some(before) = told(log, txn)
            && before != lookup.told
        {
            let told = [before, lookup.told];
            findings.push(Finding::Outcomes { first: txn, second: txn, told });
            continue;
        }
        let entry = &mut log.txns[txn.index()];
        match lookup.told {
            Told::Committed(at) if !entry.role.is_read_only() => {
                entry.role = Role::Committed;
                entry.ts = at;
                entry.acknowledged = entry.acknowledged.min(lookup.responded);
            }
            Told::Aborted if !entry.role.is_read_only() => entry.role = Role::Aborted,
            Told::Committed(_) | Told::Aborted => {}
        }
    }
}

/// What the client, or a lookup, was told about `txn`.
fn told(log: &Log, txn: TxnRef) -> Option<Told> {
    let entry = log.txn(txn);
    match entry.role {
        Role::Committed => Some(Told::Committed(entry.ts)),
        Role::Aborted => Some(Told::Aborted),
        Role::Unknown | Role::Resolved | Role::Strong | Role::Stale => None,
    }
}

#[cfg(test)]
mod tests;
