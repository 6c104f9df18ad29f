//! Gives what the replay found its name, and collects the transactions that show it.
//!
//! The replay knows only that a read should have returned something else. Here one more pass over the
//! history gathers everything that was written to and read from the keys in question, and the most
//! telling name that fits is taken: where a read missed a version, for example, it is a lost update if
//! the reader then overwrote it, a fractured read if it saw another write of the same transaction, and a
//! plain stale read if nothing else is known.

use super::log::{KeyId, Log, Op, Role, Txn, TxnRef, ValueId};
use super::replay::{Mismatch, Slot, Source};
use super::violation::{Anomaly, Detail, Involved, Part, State, Violation};
use super::{Finding, Told};
use crate::history::HistoryTime;
use std::collections::{BTreeMap, BTreeSet};
use truetime::Timestamp;

/// No violation names more transactions than this.
const MEMBERS_MAX: usize = 8;

/// The violations of `findings`.
pub(super) fn name_all(log: &Log, findings: &[Finding]) -> Vec<Violation> {
    let stories = Stories::gather(log, findings);
    findings.iter().map(|finding| name(log, &stories, finding)).collect()
}

fn name(log: &Log, stories: &Stories, finding: &Finding) -> Violation {
    let involve = |txn: TxnRef, part| involved(log, log.txn(txn), part);
    match finding {
        Finding::Mismatch(mismatch) => name_mismatch(log, stories, mismatch),
        Finding::Disordered { reader, key } => Violation {
            anomaly: Anomaly::DisorderedScan,
            detail: Detail::Scan { key: log.key_bytes(*key) },
            transactions: vec![involve(*reader, Part::Reader)],
        },
        Finding::SharedTimestamp { key, first, second } => Violation {
            anomaly: Anomaly::SharedTimestamp,
            detail: Detail::Timestamp { timestamp: log.txn(*second).ts, key: log.key_bytes(*key) },
            transactions: [first, second].map(|txn| involve(*txn, Part::Member)).to_vec(),
        },
        Finding::Circle { key, members } => Violation {
            anomaly: Anomaly::WriteSkew,
            detail: Detail::Timestamp {
                timestamp: log.txn(members[0]).ts,
                key: log.key_bytes(*key),
            },
            transactions: members
                .iter()
                .take(MEMBERS_MAX)
                .map(|txn| involve(*txn, Part::Member))
                .collect(),
        },
        Finding::RealTime { earlier, bound, later } => Violation {
            anomaly: edge_name(log.txn(*earlier), log.txn(*later)),
            detail: Detail::Order { bound: *bound, timestamp: log.txn(*later).ts },
            transactions: vec![involve(*earlier, Part::Earlier), involve(*later, Part::Later)],
        },
        Finding::BeforeArrival { txn, arrived } => Violation {
            anomaly: Anomaly::TimestampBeforeArrival,
            detail: Detail::TrueTime { timestamp: log.txn(*txn).ts, instant: *arrived },
            transactions: vec![involve(*txn, Part::Member)],
        },
        Finding::ToldTooEarly { txn, told, ts } => Violation {
            anomaly: Anomaly::CommitWaitSkipped,
            detail: Detail::TrueTime { timestamp: *ts, instant: *told },
            transactions: vec![involve(*txn, Part::Member)],
        },
        Finding::Outcomes { first, second, told } => name_outcomes(log, *first, *second, *told),
    }
}

fn name_outcomes(log: &Log, first: TxnRef, second: TxnRef, told: [Told; 2]) -> Violation {
    let text = |told| match told {
        Told::Committed(at) => format!("committed at {at}"),
        Told::Aborted => "aborted".to_string(),
    };
    let is_twice = told.iter().all(|told| matches!(told, Told::Committed(_)));
    let mut members = vec![first, second];
    members.dedup();
    Violation {
        anomaly: if is_twice { Anomaly::DuplicateCommit } else { Anomaly::ContradictoryOutcome },
        detail: Detail::Outcome { first: text(told[0]), second: text(told[1]) },
        transactions: members
            .into_iter()
            .map(|txn| involved(log, log.txn(txn), Part::Member))
            .collect(),
    }
}

/// The name of a broken edge between these two.
fn edge_name(earlier: &Txn, later: &Txn) -> Anomaly {
    match (earlier.role.is_commit() && earlier.has_writes, later.role.is_commit()) {
        (true, true) => Anomaly::CausalReverse,
        (true, false) => Anomaly::StaleRead,
        (false, true) => Anomaly::WriteBelowRead,
        (false, false) => Anomaly::NonMonotonicRead,
    }
}

fn involved(log: &Log, txn: &Txn, part: Part) -> Involved {
    let sort = match (txn.role, txn.single_use) {
        (Role::Committed, false) => "read-write, committed",
        (Role::Committed, true) => "single-use commit, committed",
        (Role::Resolved, _) => "outcome unknown, seen committed",
        (Role::Unknown, _) => "outcome unknown",
        (Role::Aborted, _) => "aborted",
        (Role::Strong, _) => "strong read",
        (Role::Stale, _) => "stale read",
    };
    let has_timestamp = txn.role.is_commit() || txn.role.is_read_only();
    Involved {
        part,
        record: txn.record,
        process: txn.process,
        id: log.id_text(txn),
        sort,
        timestamp: has_timestamp.then_some(txn.ts),
        invoked: HistoryTime::from_nanos(txn.invoked),
        responded: HistoryTime::from_nanos(txn.responded),
    }
}

/// One write of a key.
#[derive(Clone, Copy)]
struct Written {
    txn: TxnRef,
    value: ValueId,
    /// Whether its transaction leaves it there.
    is_effect: bool,
}

/// One read of a key that the replay judged.
#[derive(Clone, Copy)]
struct Seen {
    txn: TxnRef,
    value: ValueId,
    version: Option<Timestamp>,
}

/// Everything that happened to one key.
#[derive(Default)]
struct Story {
    writes: Vec<Written>,
    reads: Vec<Seen>,
}

/// The stories of all keys that the readers in question touched.
struct Stories(BTreeMap<KeyId, Story>);

impl Stories {
    fn gather(log: &Log, findings: &[Finding]) -> Self {
        let mut stories: BTreeMap<KeyId, Story> = BTreeMap::new();
        for finding in findings {
            if let Finding::Mismatch(mismatch) = finding {
                stories.entry(mismatch.key).or_default();
                let reads = log.reads(mismatch.reader).map(|(key, _, _)| key);
                for key in reads.chain(log.writes(mismatch.reader).map(|(key, _)| key)) {
                    stories.entry(key).or_default();
                }
            }
        }
        if stories.is_empty() {
            return Stories(stories);
        }
        for txn in log.refs() {
            let effects = log.effects(txn);
            for (key, value) in log.writes(txn) {
                if let Some(story) = stories.get_mut(&key) {
                    let is_effect = effects.get(&key) == Some(&value);
                    story.writes.push(Written { txn, value, is_effect });
                }
            }
            let role = log.txn(txn).role;
            if role.is_commit() || role.is_read_only() {
                for (key, value, version) in log.reads(txn) {
                    if let Some(story) = stories.get_mut(&key) {
                        story.reads.push(Seen { txn, value, version });
                    }
                }
            }
        }
        Stories(stories)
    }

    fn writes(&self, key: KeyId) -> &[Written] {
        self.0.get(&key).map_or(&[], |story| story.writes.as_slice())
    }

    fn reads(&self, key: KeyId) -> &[Seen] {
        self.0.get(&key).map_or(&[], |story| story.reads.as_slice())
    }
}

/// Where a value that was read comes from.
#[derive(Clone, Copy)]
enum Origin {
    /// A commit, above or below the read point.
    Commit(TxnRef),
    /// Nobody in the history.
    Initial,
    /// A write that its transaction overwrote itself.
    Intermediate(TxnRef),
    Aborted(TxnRef),
    /// An attempt of unknown outcome, which cannot have been seen there.
    Unknown(TxnRef),
    /// A commit whose timestamp is another one.
    Elsewhere(TxnRef),
    Nowhere,
}

impl Origin {
    fn txn(self) -> Option<TxnRef> {
        match self {
            Origin::Commit(txn)
            | Origin::Intermediate(txn)
            | Origin::Aborted(txn)
            | Origin::Unknown(txn)
            | Origin::Elsewhere(txn) => Some(txn),
            Origin::Initial | Origin::Nowhere => None,
        }
    }
}

fn name_mismatch(log: &Log, stories: &Stories, mismatch: &Mismatch) -> Violation {
    let case = Case { log, stories, mismatch, reader: log.txn(mismatch.reader) };
    let origin = case.origin(mismatch.key, mismatch.observed, mismatch.version);
    let mut transactions = vec![involved(log, case.reader, Part::Reader)];
    if let Source::Txn(writer) = mismatch.expected.source
        && writer != mismatch.reader
    {
        transactions.push(involved(log, log.txn(writer), Part::WroteExpected));
    }
    if let Some(writer) = origin.txn() {
        transactions.push(involved(log, log.txn(writer), Part::WroteObserved));
    }
    let Slot { value, ts, is_exact, .. } = mismatch.expected;
    let is_committed = is_exact && mismatch.expected.source != Source::Txn(mismatch.reader);
    let known = match origin {
        Origin::Commit(txn) => Some(log.txn(txn).ts),
        _ => None,
    };
    Violation {
        anomaly: case.anomaly(origin),
        detail: Detail::Read {
            key: log.key_bytes(mismatch.key),
            expected: State { value: log.value_bytes(value), version: is_committed.then_some(ts) },
            observed: State {
                value: log.value_bytes(mismatch.observed),
                version: mismatch.version.or(known),
            },
        },
        transactions,
    }
}

/// One mismatch, with what is needed to name it.
struct Case<'a> {
    log: &'a Log,
    stories: &'a Stories,
    mismatch: &'a Mismatch,
    reader: &'a Txn,
}

impl Case<'_> {
    fn anomaly(&self, origin: Origin) -> Anomaly {
        if self.mismatch.expected.source == Source::Txn(self.mismatch.reader) {
            return Anomaly::OwnWriteMissed;
        }
        match origin {
            Origin::Aborted(_) => Anomaly::AbortedRead,
            Origin::Intermediate(_) => Anomaly::IntermediateRead,
            Origin::Elsewhere(_) => Anomaly::DuplicateCommit,
            Origin::Nowhere => Anomaly::GarbageRead,
            Origin::Unknown(writer) if self.log.txn(writer).invoked > self.reader.responded => {
                Anomaly::FutureRead
            }
            Origin::Unknown(_) => Anomaly::HalfApplied,
            Origin::Commit(_) | Origin::Initial if self.is_repeated() => Anomaly::NonRepeatableRead,
            Origin::Commit(writer) if self.is_above_reader(writer) => self.too_new(writer),
            Origin::Commit(writer) => self.too_old(Some(writer)),
            Origin::Initial => self.too_old(None),
        }
    }

    /// Whether the reader could not see `writer`.
    fn is_above_reader(&self, writer: TxnRef) -> bool {
        let writer = self.log.txn(writer).ts;
        if self.reader.role.is_read_only() {
            writer > self.reader.ts
        } else {
            writer >= self.reader.ts
        }
    }

    /// Whether the reader had read the key before, and got something else.
    fn is_repeated(&self) -> bool {
        let ops = self.log.ops(self.mismatch.reader);
        ops[..self.mismatch.position].iter().any(|op| match *op {
            Op::Read { key, value, .. } => {
                key == self.mismatch.key && value != self.mismatch.observed
            }
            Op::Write { .. } | Op::Scan { .. } => false,
        })
    }

    /// The read returned what `writer` wrote above its read point.
    fn too_new(&self, writer: TxnRef) -> Anomaly {
        let own = self.log.effects(self.mismatch.reader);
        let saw_reader =
            self.log.reads(writer).any(|(key, value, _)| own.get(&key) == Some(&value));
        if saw_reader {
            return Anomaly::CircularInformationFlow;
        }
        let others = self.log.effects(writer);
        let missed_other = self.log.reads(self.mismatch.reader).any(|(key, value, _)| {
            key != self.mismatch.key && others.get(&key).is_some_and(|written| *written != value)
        });
        if missed_other { Anomaly::FracturedRead } else { Anomaly::FutureRead }
    }

    /// The read returned what `writer`, or nobody, had left before the version that was due.
    fn too_old(&self, writer: Option<TxnRef>) -> Anomaly {
        let missed = match self.mismatch.expected.source {
            Source::Txn(missed) => missed,
            Source::Candidates => return Anomaly::HalfApplied,
            Source::Initial => return Anomaly::StaleRead,
        };
        let is_seen = self.is_missed_version_seen();
        let outcome_was_unknown =
            matches!(self.log.txn(missed).role, Role::Resolved | Role::Unknown);
        if outcome_was_unknown && !is_seen {
            return Anomaly::HalfApplied;
        }
        let own = self.log.effects(self.mismatch.reader);
        let is_commit = self.reader.role.is_commit();
        if is_commit && own.contains_key(&self.mismatch.key) {
            return Anomaly::LostUpdate;
        }
        let shared = self.other_keys_seen_of(missed);
        let overwrote_each_other = writer
            .is_some_and(|writer| self.log.writes(writer).any(|(key, _)| shared.contains(&key)));
        if !shared.is_empty() {
            let is_dirty = overwrote_each_other && !is_seen;
            return if is_dirty { Anomaly::DirtyWrite } else { Anomaly::FracturedRead };
        }
        if is_commit && let Some(skew) = self.skew(missed, &own) {
            return skew;
        }
        if self.mismatch.is_scan
            && (self.mismatch.observed == ValueId::ABSENT
                || self.mismatch.expected.value == ValueId::ABSENT)
        {
            return Anomaly::Phantom;
        }
        let is_acknowledged = self.log.txn(missed).acknowledged < self.reader.invoked;
        if is_acknowledged && !is_seen && self.others_missed_it() {
            return Anomaly::LostWrite;
        }
        if self.saw_later_than(missed) { Anomaly::CausalReverse } else { Anomaly::StaleRead }
    }

    /// Whether any transaction saw the version that was due.
    fn is_missed_version_seen(&self) -> bool {
        let Slot { value, ts, is_exact, .. } = self.mismatch.expected;
        self.stories.reads(self.mismatch.key).iter().any(|seen| {
            seen.value == value
                && self.log.txn(seen.txn).ts >= ts
                && (!is_exact || seen.version.is_none_or(|version| version == ts))
        })
    }

    /// Whether another transaction that had to see the version that was due saw something else.
    fn others_missed_it(&self) -> bool {
        let Slot { value, ts, .. } = self.mismatch.expected;
        let next = self
            .stories
            .writes(self.mismatch.key)
            .iter()
            .map(|write| self.log.txn(write.txn))
            .filter(|txn| txn.role.is_commit() && txn.ts > ts)
            .map(|txn| txn.ts)
            .min()
            .unwrap_or(Timestamp::MAX);
        self.stories.reads(self.mismatch.key).iter().any(|seen| {
            let point = self.log.txn(seen.txn).ts;
            let is_due = ts < point && point <= next;
            seen.txn != self.mismatch.reader && is_due && seen.value != value
        })
    }

    /// Other keys in which the reader saw what `writer` wrote.
    fn other_keys_seen_of(&self, writer: TxnRef) -> BTreeSet<KeyId> {
        let effects = self.log.effects(writer);
        let at = self.log.txn(writer).ts;
        let reads = self.log.reads(self.mismatch.reader);
        reads
            .filter(|(key, value, version)| {
                *key != self.mismatch.key
                    && effects.get(key) == Some(value)
                    && version.is_none_or(|version| version == at)
            })
            .map(|(key, _, _)| key)
            .collect()
    }

    /// Whether `missed` in turn missed what the reader wrote.
    fn skew(&self, missed: TxnRef, own: &BTreeMap<KeyId, ValueId>) -> Option<Anomaly> {
        let mut has_read = false;
        let mut has_scanned = self.mismatch.is_scan;
        for op in self.log.ops(missed) {
            match *op {
                Op::Read { key, .. } => has_read |= own.contains_key(&key),
                Op::Scan { from, to, .. } => {
                    let keys = &self.log.keys;
                    let start = keys.get(from.0);
                    let is_in = |key: &KeyId| {
                        let key = keys.get(key.0);
                        start <= key && (to.0 >= keys.len() || key < keys.get(to.0))
                    };
                    if own.keys().any(is_in) {
                        (has_read, has_scanned) = (true, true);
                    }
                }
                Op::Write { .. } => {}
            }
        }
        let name = if has_scanned { Anomaly::PredicateWriteSkew } else { Anomaly::WriteSkew };
        has_read.then_some(name)
    }

    /// Whether the reader saw a write of a transaction that began after `missed` was acknowledged.
    fn saw_later_than(&self, missed: TxnRef) -> bool {
        let acknowledged = self.log.txn(missed).acknowledged;
        self.log.reads(self.mismatch.reader).any(|(key, value, version)| {
            match self.origin(key, value, version) {
                Origin::Commit(writer) => self.log.txn(writer).invoked > acknowledged,
                _ => false,
            }
        })
    }

    /// Where `value`, read from `key` with `version`, comes from.
    fn origin(&self, key: KeyId, value: ValueId, version: Option<Timestamp>) -> Origin {
        let alike = || self.stories.writes(key).iter().filter(move |write| write.value == value);
        let commits = || {
            let committed = |write: &&Written| self.log.txn(write.txn).role.is_commit();
            alike().filter(|write| write.is_effect).filter(committed).map(|write| write.txn)
        };
        let ts = |txn: &TxnRef| self.log.txn(*txn).ts;
        let exact = version.and_then(|version| commits().find(|txn| ts(txn) == version));
        let is_initial = self.is_initial(key, value, version);
        let guessed = match (version, is_initial) {
            (Some(_), _) => None,
            (None, true) => commits().filter(|txn| !self.is_above_reader(*txn)).max_by_key(ts),
            (None, false) => commits()
                .filter(|txn| !self.is_above_reader(*txn))
                .max_by_key(ts)
                .or_else(|| commits().min_by_key(ts)),
        };
        if let Some(commit) = exact.or(guessed) {
            return Origin::Commit(commit);
        }
        if is_initial {
            return Origin::Initial;
        }
        let by_role = |role| alike().find(|write| self.log.txn(write.txn).role == role);
        let intermediate =
            alike().find(|write| !write.is_effect && self.log.txn(write.txn).role.is_commit());
        if let Some(write) = intermediate {
            Origin::Intermediate(write.txn)
        } else if let Some(write) = by_role(Role::Aborted) {
            Origin::Aborted(write.txn)
        } else if let Some(write) = by_role(Role::Unknown) {
            Origin::Unknown(write.txn)
        } else {
            commits().next().map_or(Origin::Nowhere, Origin::Elsewhere)
        }
    }

    /// Whether `value` is what the key held before the history.
    fn is_initial(&self, key: KeyId, value: ValueId, version: Option<Timestamp>) -> bool {
        match self.log.initial.iter().rev().find(|row| row.key == key) {
            Some(row) => {
                row.value == value
                    && (version.is_none() || row.version.is_none() || row.version == version)
            }
            None => value == ValueId::ABSENT,
        }
    }
}
