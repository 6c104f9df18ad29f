//! Replays a history by timestamp over one current version per key.
//!
//! At one timestamp, commits come before reads: a commit sees the state just below its timestamp, a read
//! at `t` sees everything at or below `t`. Commits at one timestamp see nothing of each other; that is
//! right while they do not conflict (T15), and a circle among them is a write skew.
//!
//! Attempts of unknown outcome that [`super::resolve`] could not place are *candidates*: a read without
//! a version that does not match may have seen one of them. If exactly one fits, it has committed, and
//! what it wrote to keys that it surely overwrote is due from then on.

use super::interner::index;
use super::live_set::LiveSet;
use super::log::{KeyId, Log, Op, Role, Txn, TxnRef, ValueId};
use super::{Finding, Findings, TrueTime};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use truetime::Timestamp;

/// Who wrote the current version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nobody in the history.
    Initial,
    /// That transaction.
    Txn(TxnRef),
    /// One of several attempts of unknown outcome.
    Candidates,
}

/// The current version of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) value: ValueId,
    pub(super) source: Source,
    /// Its commit timestamp, or, when that is not known, one that is surely not above it.
    pub(super) ts: Timestamp,
    /// Whether `ts` is the commit timestamp.
    pub(super) is_exact: bool,
}

/// A read that returned something else than the replay has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mismatch {
    pub(super) reader: TxnRef,
    pub(super) key: KeyId,
    pub(super) expected: Slot,
    pub(super) observed: ValueId,
    pub(super) version: Option<Timestamp>,
    /// How many steps of the reader came before.
    pub(super) position: usize,
    /// Whether a scan showed it.
    pub(super) is_scan: bool,
}

/// Replays `log`, reports what does not match, and returns the newest version that each attempt saw.
pub(super) fn replay(log: &Log, true_time: TrueTime, findings: &mut Findings) -> Vec<Timestamp> {
    let mut events: Vec<(Timestamp, bool, TxnRef)> = log
        .refs()
        .filter_map(|txn| {
            let Txn { role, ts, .. } = *log.txn(txn);
            (role.is_commit() || role.is_read_only()).then_some((ts, role.is_read_only(), txn))
        })
        .collect();
    events.sort_unstable();
    let mut replay = Replay::new(log, true_time, findings);
    for group in events.chunk_by(|one, two| one.0 == two.0) {
        let commits = group.partition_point(|(_, is_read_only, _)| !is_read_only);
        replay.run_commits(&group[..commits]);
        for &(_, _, reader) in &group[commits..] {
            replay.run(reader);
        }
    }
    replay.newest_seen
}

struct Replay<'a> {
    log: &'a Log,
    findings: &'a mut Findings,
    slots: Vec<Slot>,
    /// The place of each key in the order of keys, and the key at each place.
    rank_of: Vec<u32>,
    key_at: Vec<KeyId>,
    live: LiveSet,
    candidates: Candidates,
    newest_seen: Vec<Timestamp>,
    /// What the running transaction overwrote, oldest first.
    undo: Vec<(KeyId, Slot)>,
}

impl<'a> Replay<'a> {
    fn new(log: &'a Log, true_time: TrueTime, findings: &'a mut Findings) -> Self {
        let mut key_at: Vec<KeyId> = (0..log.keys.len()).map(KeyId).collect();
        key_at.sort_unstable_by(|one, two| log.keys.get(one.0).cmp(log.keys.get(two.0)));
        let mut rank_of = vec![0; key_at.len()];
        for (rank, key) in (0..).zip(&key_at) {
            rank_of[key.index()] = rank;
        }
        let absent = Slot {
            value: ValueId::ABSENT,
            source: Source::Initial,
            ts: Timestamp::ZERO,
            is_exact: false,
        };
        let mut replay = Replay {
            log,
            findings,
            slots: vec![absent; key_at.len()],
            rank_of,
            live: LiveSet::new(log.keys.len()),
            key_at,
            candidates: Candidates::new(log, true_time),
            newest_seen: vec![Timestamp::ZERO; log.txns.len()],
            undo: Vec::new(),
        };
        for row in &log.initial {
            let ts = row.version.unwrap_or(Timestamp::ZERO);
            let is_exact = row.version.is_some();
            replay.put(row.key, Slot { value: row.value, source: Source::Initial, ts, is_exact });
        }
        replay
    }

    fn put(&mut self, key: KeyId, slot: Slot) {
        self.slots[key.index()] = slot;
        self.live.set(self.rank_of[key.index()], slot.value != ValueId::ABSENT);
    }

    /// The place of the end of a scan.
    fn rank_of_end(&self, end: KeyId) -> u32 {
        self.rank_of.get(end.index()).copied().unwrap_or(u32::MAX)
    }

    /// Runs the commits of one timestamp.
    fn run_commits(&mut self, group: &[(Timestamp, bool, TxnRef)]) {
        if let &[(_, _, only)] = group {
            self.run(only);
            self.undo.clear();
            return;
        }
        for &(_, _, txn) in group {
            self.run(txn);
            while let Some((key, slot)) = self.undo.pop() {
                self.put(key, slot);
            }
        }
        self.report_circle(group);
        for &(ts, _, second) in group {
            for (key, value) in self.log.effects(second) {
                if let Slot { source: Source::Txn(first), ts: before, is_exact: true, .. } =
                    self.slots[key.index()]
                    && before == ts
                {
                    self.findings.push(Finding::SharedTimestamp { key, first, second });
                }
                self.put(key, Slot { value, source: Source::Txn(second), ts, is_exact: true });
            }
        }
    }

    /// Runs one transaction; its writes stay, with what they replaced in `undo`.
    fn run(&mut self, txn: TxnRef) {
        let log = self.log;
        let ts = log.txn(txn).ts;
        let mut ops = log.ops(txn).iter().enumerate();
        while let Some((position, op)) = ops.next() {
            match *op {
                Op::Read { key, value, version } => {
                    self.read(Mismatch {
                        reader: txn,
                        key,
                        expected: self.slots[key.index()],
                        observed: value,
                        version: version.get(),
                        position,
                        is_scan: false,
                    });
                }
                Op::Write { key, value } => {
                    self.undo.push((key, self.slots[key.index()]));
                    self.put(key, Slot { value, source: Source::Txn(txn), ts, is_exact: true });
                }
                Op::Scan { from, to, rows } => {
                    let rows = index(rows);
                    let returned = &log.ops(txn)[position + 1..=position + rows];
                    let span = [self.rank_of[from.index()], self.rank_of_end(to)];
                    self.scan(txn, span, returned, position);
                    if rows > 0 {
                        ops.nth(rows - 1);
                    }
                }
            }
        }
    }

    /// Compares a scan of the keys in `span` with the rows that exist there, in one pass over both.
    fn scan(&mut self, reader: TxnRef, span: [u32; 2], returned: &[Op], position: usize) {
        let [from, to] = span;
        if let Some(key) = self.out_of_place(span, returned) {
            self.findings.push(Finding::Disordered { reader, key });
            return;
        }
        let mut rows = rows_of(returned).peekable();
        let mut next_rank = from;
        loop {
            let existing = self.live.next(next_rank).filter(|rank| *rank < to);
            let returned = rows.peek().map(|(key, _, _)| self.rank_of[key.index()]);
            let rank = match (existing, returned) {
                (None, None) => return,
                (Some(rank), None) | (None, Some(rank)) => rank,
                (Some(existing), Some(returned)) => existing.min(returned),
            };
            let key = self.key_at[index(rank)];
            let row = rows.next_if(|(returned, _, _)| *returned == key);
            let (observed, version) =
                row.map_or((ValueId::ABSENT, None), |(_, value, version)| (value, version));
            let expected = self.slots[key.index()];
            let is_scan = true;
            self.read(Mismatch { reader, key, expected, observed, version, position, is_scan });
            next_rank = rank + 1;
        }
    }

    /// The first row that is not above the one before it, or not in the interval.
    fn out_of_place(&self, [from, to]: [u32; 2], returned: &[Op]) -> Option<KeyId> {
        let mut lowest = from;
        rows_of(returned).map(|(key, _, _)| key).find(|key| {
            let rank = self.rank_of[key.index()];
            let is_in_place = lowest <= rank && rank < to;
            lowest = rank + 1;
            !is_in_place
        })
    }

    /// Compares one read, given as the mismatch that it would be.
    fn read(&mut self, read: Mismatch) {
        let Mismatch { reader, key, expected, observed, version, .. } = read;
        let is_own = expected.source == Source::Txn(reader);
        let is_same_version =
            is_own || !expected.is_exact || version.is_none_or(|version| version == expected.ts);
        if observed == expected.value && is_same_version {
            if !is_own {
                let seen = &mut self.newest_seen[reader.index()];
                // An inexact version is what the row said it is.
                let version = if expected.is_exact { None } else { version };
                *seen = (*seen).max(expected.ts).max(version.unwrap_or(Timestamp::ZERO));
            }
            return;
        }
        if !is_own && version.is_none() && self.explain(key, observed, reader) {
            return;
        }
        self.findings.push(Finding::Mismatch(read));
    }

    /// Whether an attempt of unknown outcome may have put `value` there, in which case it is put there.
    fn explain(&mut self, key: KeyId, value: ValueId, reader: TxnRef) -> bool {
        let before = self.slots[key.index()];
        let found = self.candidates.find(self.log, key, value, reader, before.ts);
        let (source, writer) = match found.as_slice() {
            [] => return false,
            [only] => (Source::Txn(*only), Some(*only)),
            [_, ..] => (Source::Candidates, None),
        };
        self.put(key, Slot { value, source, ts: before.ts, is_exact: false });
        let Some(writer) = writer else { return true };
        self.candidates.see(writer, self.log.txn(reader).ts);
        for (other, value) in self.log.effects(writer) {
            let slot = self.slots[other.index()];
            // It committed above `before.ts`, so it overwrote whatever is not newer than that. A version
            // of unknown timestamp may be newer.
            let is_overwritten = slot.is_exact || slot.source == Source::Initial;
            if is_overwritten && slot.ts <= before.ts {
                self.put(other, Slot { value, source, ts: before.ts, is_exact: false });
            }
        }
        true
    }

    /// Finds commits of one timestamp that each miss a write of another one: no order explains them.
    fn report_circle(&mut self, group: &[(Timestamp, bool, TxnRef)]) {
        let mut writers: BTreeMap<u32, BTreeSet<TxnRef>> = BTreeMap::new();
        for &(_, _, txn) in group {
            for (key, _) in self.log.writes(txn) {
                writers.entry(self.rank_of[key.index()]).or_default().insert(txn);
            }
        }
        // `missed[reader]` must come after `reader`; the key is one that shows it.
        let mut missed: BTreeMap<TxnRef, BTreeMap<TxnRef, u32>> = BTreeMap::new();
        for &(_, _, reader) in group {
            let after = missed.entry(reader).or_default();
            for op in self.log.ops(reader) {
                let (from, to) = match *op {
                    Op::Read { key, .. } => {
                        let rank = self.rank_of[key.index()];
                        (rank, rank + 1)
                    }
                    Op::Scan { from, to, .. } => (self.rank_of[from.index()], self.rank_of_end(to)),
                    Op::Write { .. } => continue,
                };
                if from >= to {
                    continue;
                }
                for (&rank, writers) in writers.range(from..to) {
                    let others = writers.iter().filter(|writer| **writer != reader);
                    after.extend(others.map(|writer| (*writer, rank)));
                }
            }
        }
        // Who misses nobody of the rest can come last, whom nobody misses can come first; what then
        // remains is circular.
        loop {
            let before = missed.len();
            let rest: BTreeSet<TxnRef> = missed.keys().copied().collect();
            missed.retain(|_, after| after.keys().any(|writer| rest.contains(writer)));
            let targets: BTreeSet<TxnRef> =
                missed.values().flat_map(|a| a.keys().copied()).collect();
            missed.retain(|reader, _| targets.contains(reader));
            if missed.len() == before {
                break;
            }
        }
        let members: Vec<TxnRef> = missed.keys().copied().collect();
        let shown = missed.values().flatten().find(|(writer, _)| missed.contains_key(*writer));
        if let Some((_, &rank)) = shown {
            let key = self.key_at[index(rank)];
            self.findings.push(Finding::Circle { key, members });
        }
    }
}

/// The rows of a scan.
fn rows_of(returned: &[Op]) -> impl Iterator<Item = (KeyId, ValueId, Option<Timestamp>)> {
    returned.iter().filter_map(|op| match *op {
        Op::Read { key, value, version } => Some((key, value, version.get())),
        Op::Write { .. } | Op::Scan { .. } => None,
    })
}

/// Attempts of unknown outcome, by what they would have written.
struct Candidates {
    by_effect: HashMap<(KeyId, ValueId), Vec<TxnRef>>,
    /// Those that were seen, with a timestamp that they are not above.
    seen: BTreeMap<TxnRef, Timestamp>,
    true_time: TrueTime,
}

impl Candidates {
    fn new(log: &Log, true_time: TrueTime) -> Self {
        let mut by_effect: HashMap<_, Vec<TxnRef>> = HashMap::new();
        for txn in log.refs().filter(|txn| log.txn(*txn).role == Role::Unknown) {
            for effect in log.effects(txn) {
                by_effect.entry(effect).or_default().push(txn);
            }
        }
        Candidates { by_effect, seen: BTreeMap::new(), true_time }
    }

    /// Those that may have put `value` into `key`, over a version of timestamp `below`, before `reader`
    /// read it.
    fn find(
        &self,
        log: &Log,
        key: KeyId,
        value: ValueId,
        reader: TxnRef,
        below: Timestamp,
    ) -> Vec<TxnRef> {
        let Some(writers) = self.by_effect.get(&(key, value)) else { return Vec::new() };
        let reader = log.txn(reader);
        let fits = |writer: &TxnRef| {
            let invoked = log.txn(*writer).invoked;
            let is_begun = match self.true_time {
                TrueTime::Unknown => invoked <= reader.responded,
                TrueTime::Known { origin } => {
                    origin.nanos().saturating_add(invoked) <= reader.ts.nanos()
                }
            };
            is_begun && self.seen.get(writer).is_none_or(|highest| below < *highest)
        };
        writers.iter().copied().filter(fits).collect()
    }

    /// Notes that a read at `point` saw `writer`.
    fn see(&mut self, writer: TxnRef, point: Timestamp) {
        let highest = self.seen.entry(writer).or_insert(point);
        *highest = (*highest).min(point);
    }
}
