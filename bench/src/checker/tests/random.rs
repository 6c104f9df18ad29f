//! Random correct histories are accepted; with one observation changed they are not.

use super::sketch::{key, ts, value};
use crate::checker::{Options, TrueTime, check};
use crate::history::{
    Answer, Header, History, HistoryTime, Kind, Lookup, Op, Outcome, Record, Row, Transaction,
};
use crate::rng::Rng;
use proptest::prelude::*;
use proto::{Key, KeySpan, Value};
use std::collections::{BTreeMap, BTreeSet};
use truetime::Timestamp;

/// Which rows come with their version.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Versions {
    All,
    None,
    Some,
}

/// What to generate.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    seed: u64,
    transactions: u64,
    versions: Versions,
    /// The share of attempts whose outcome is unknown.
    unknown: f64,
}

type State = BTreeMap<Key, (Value, Option<Timestamp>)>;

/// A store that is right by construction: it runs everything in the order of timestamps, and gives each
/// attempt instants that its timestamp allows.
struct Store {
    rng: Rng,
    recipe: Recipe,
    state: State,
    /// When each key was last written or deleted.
    written: BTreeMap<Key, u64>,
    /// Keys read and written by the commits of the current timestamp.
    at_once: BTreeSet<Key>,
    records: Vec<Record>,
    attempts: u64,
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Store {
    fn run(recipe: Recipe) -> History {
        let mut rng = Rng::new(recipe.seed);
        let mut initial = Vec::new();
        let mut state = State::new();
        for name in KEYS {
            if rng.chance(0.6) {
                let version = (recipe.versions == Versions::All).then(|| ts(1));
                initial.push(Row { key: key(name), value: value("0"), version });
                state.insert(key(name), (value("0"), version));
            }
        }
        let (at_once, records) = (BTreeSet::new(), Vec::new());
        let written = BTreeMap::new();
        let mut store = Store { rng, recipe, state, written, at_once, records, attempts: 0 };
        let mut now = 20;
        for _ in 0..recipe.transactions {
            let is_read_only = store.rng.chance(0.4);
            // Sometimes no time passes between two transactions that have nothing in common.
            if is_read_only || !store.rng.chance(0.1) {
                now += 1 + store.rng.below(6);
                store.at_once.clear();
            }
            if is_read_only {
                store.read_only(now)
            } else {
                store.read_write(now)
            }
            if is_read_only {
                // Commits at the timestamp of a read would have to come before it.
                now += 1;
            }
        }
        History { header: Header { initial, ..Header::default() }, records: store.records }
    }

    fn some_key(&mut self) -> Key {
        let index = self.rng.below(5);
        key(KEYS[usize::try_from(index).unwrap()])
    }

    /// The version to tell with a row.
    fn told(&mut self, version: Option<Timestamp>) -> Option<Timestamp> {
        let is_told = match self.recipe.versions {
            Versions::All => true,
            Versions::None => false,
            Versions::Some => self.rng.chance(0.5),
        };
        version.filter(|_| is_told)
    }

    /// When the newest version that `ops` read was written.
    fn newest_read(&self, ops: &[Op]) -> u64 {
        let is_read = |key: &Key| {
            ops.iter().any(|op| match op {
                Op::Read { key: read, .. } => key == read,
                Op::Scan { span, .. } => span.contains(key),
                Op::Write { .. } => false,
            })
        };
        let read = self.written.iter().filter(|(key, _)| is_read(key));
        read.map(|(_, at)| *at).max().unwrap_or(1)
    }

    fn read_only(&mut self, at: u64) {
        let mut ops = Vec::new();
        for _ in 0..=self.rng.below(3) {
            ops.push(self.read(&self.state.clone()));
        }
        let newest = self.newest_read(&ops);
        let is_strong = self.rng.chance(0.6);
        let invoked =
            if is_strong { at - self.rng.below(at.min(15)) } else { self.rng.below(at * 2) };
        let responded = invoked.max(newest + 1) + self.rng.below(8);
        let at = ts(at);
        let kind = if is_strong { Kind::Strong { at } } else { Kind::Stale { at } };
        self.record(invoked, responded, kind, ops);
    }

    fn read_write(&mut self, at: u64) {
        let mut state = self.state.clone();
        let mut ops = Vec::new();
        let mut touched = BTreeSet::new();
        for _ in 0..=self.rng.below(4) {
            let op = if self.rng.chance(0.5) { self.read(&state) } else { self.write(&mut state) };
            match &op {
                Op::Read { key, .. } | Op::Write { key, .. } => {
                    touched.insert(key.clone());
                }
                Op::Scan { .. } => touched.extend(KEYS.map(key)),
            }
            ops.push(op);
        }
        if !self.at_once.is_disjoint(&touched) {
            return;
        }
        let invoked = at - self.rng.below(at.min(15));
        let responded = at + 1 + self.rng.below(12);
        let newest = self.newest_read(&ops);
        let is_committed = self.rng.chance(0.8);
        if is_committed {
            self.at_once.extend(touched);
            for (_, version) in state.values_mut() {
                version.get_or_insert(ts(at));
            }
            // Rows of the initial state keep having no version when none are known.
            for (key, (_, version)) in &mut state {
                let was = self.state.get(key);
                let is_own =
                    ops.iter().any(|op| matches!(op, Op::Write { key: k, .. } if k == key));
                if let (Some((_, None)), false) = (was, is_own) {
                    *version = None;
                }
            }
            self.state = state;
            for op in &ops {
                if let Op::Write { key, .. } = op {
                    self.written.insert(key.clone(), at);
                }
            }
        }
        let is_unknown = self.rng.chance(self.recipe.unknown);
        let commit_sent = (is_committed && self.rng.chance(0.5))
            .then(|| HistoryTime::from_nanos(invoked + (at - invoked) / 2));
        let outcome = match (is_unknown, is_committed) {
            (true, _) => Outcome::Unknown,
            (false, true) => Outcome::Committed { at: ts(at) },
            (false, false) => Outcome::Aborted,
        };
        // Whoever gives up may do so long before the commit takes effect, but not before it has read.
        let gave_up = invoked.max(newest + 1) + self.rng.below(20);
        let responded = if is_unknown { gave_up } else { responded };
        self.record(invoked, responded, Kind::ReadWrite { outcome, commit_sent }, ops);
        if is_unknown && self.rng.chance(0.2) {
            self.look_up(at, is_committed);
        }
    }

    fn look_up(&mut self, at: u64, is_committed: bool) {
        let responded = HistoryTime::from_nanos(at + 1 + self.rng.below(30));
        let answer = match (self.rng.chance(0.3), is_committed) {
            (true, _) => Answer::NotKnown,
            (false, true) => Answer::Committed { at: ts(at) },
            (false, false) => Answer::Aborted,
        };
        let id = self.attempts.to_string();
        let (process, invoked) = (1, responded);
        self.records.push(Record::Lookup(Lookup { process, invoked, responded, id, answer }));
    }

    fn record(&mut self, invoked: u64, responded: u64, kind: Kind, ops: Vec<Op>) {
        self.attempts += 1;
        let id = Some(self.attempts.to_string());
        let (invoked, responded) =
            (HistoryTime::from_nanos(invoked), HistoryTime::from_nanos(responded));
        let transaction = Transaction { process: 1, invoked, responded, id, kind, ops };
        self.records.push(Record::Transaction(transaction));
    }

    fn read(&mut self, state: &State) -> Op {
        let start = self.some_key();
        if self.rng.chance(0.7) {
            let found = state.get(&start).cloned();
            let version = self.told(found.as_ref().and_then(|(_, version)| *version));
            return Op::Read { key: start, value: found.map(|(value, _)| value), version };
        }
        let end = self.rng.chance(0.5).then(|| self.some_key());
        let span = KeySpan { start, end };
        let mut rows = Vec::new();
        for (key, (value, version)) in state.iter().filter(|(key, _)| span.contains(key)) {
            let version = self.told(*version);
            rows.push(Row { key: key.clone(), value: value.clone(), version });
        }
        Op::Scan { span, rows }
    }

    fn write(&mut self, state: &mut State) -> Op {
        let key = self.some_key();
        let value = (!self.rng.chance(0.2)).then(|| value(&self.rng.below(4).to_string()));
        match &value {
            Some(value) => state.insert(key.clone(), (value.clone(), None)),
            None => state.remove(&key),
        };
        Op::Write { key, value }
    }
}

fn recipes(unknown: f64) -> impl Strategy<Value = Recipe> {
    let versions = prop_oneof![Just(Versions::All), Just(Versions::None), Just(Versions::Some)];
    (any::<u64>(), 5..120_u64, versions).prop_map(move |(seed, transactions, versions)| Recipe {
        seed,
        transactions,
        versions,
        unknown,
    })
}

fn verdict(history: &History, true_time: TrueTime) -> String {
    let checked = check(history, Options { true_time, ..Options::default() });
    let shown: Vec<String> = checked.violations.iter().map(ToString::to_string).collect();
    shown.join("\n")
}

/// Changes one thing that a judged transaction saw; false if there is nothing to change.
fn doctor(history: &mut History, seed: u64) -> bool {
    let mut rng = Rng::new(seed);
    let judged: Vec<&mut Transaction> = history
        .records
        .iter_mut()
        .filter_map(|record| match record {
            Record::Transaction(transaction) => Some(transaction),
            Record::Lookup(_) => None,
        })
        .filter(|transaction| match transaction.kind {
            Kind::ReadWrite { outcome, .. } | Kind::SingleUse { outcome } => {
                matches!(outcome, Outcome::Committed { .. })
            }
            Kind::Strong { .. } | Kind::Stale { .. } => true,
        })
        .collect();
    let mut reads: Vec<&mut Op> = judged
        .into_iter()
        .flat_map(|transaction| &mut transaction.ops)
        .filter(|op| !matches!(op, Op::Write { .. }))
        .collect();
    if reads.is_empty() {
        return false;
    }
    let chosen = usize::try_from(rng.below(reads.len() as u64)).unwrap();
    match &mut *reads[chosen] {
        Op::Read { value: seen, version, .. } => match (&*seen, *version) {
            (Some(_), Some(told)) if rng.chance(0.5) => *version = Some(told.next()),
            (Some(_), _) if rng.chance(0.5) => (*seen, *version) = (None, None),
            (before, _) => {
                let other = value(&rng.below(4).to_string());
                *seen = Some(if before.as_ref() == Some(&other) { value("9") } else { other });
            }
        },
        Op::Scan { span, rows } => {
            if rows.is_empty() || rng.chance(0.3) {
                let absent = KEYS
                    .map(key)
                    .into_iter()
                    .find(|key| span.contains(key) && rows.iter().all(|row| row.key != *key));
                let Some(key) = absent else {
                    // Every key is there already, or none can be: then one less, if there is one.
                    return rows.pop().is_some();
                };
                rows.push(Row { key, value: value("0"), version: None });
                rows.sort_unstable_by(|one, two| one.key.cmp(&two.key));
            } else {
                let row = usize::try_from(rng.below(rows.len() as u64)).unwrap();
                rows.remove(row);
            }
        }
        Op::Write { .. } => unreachable!("writes are filtered out"),
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn correct_history_is_accepted(recipe in recipes(0.0)) {
        let history = Store::run(recipe);
        prop_assert_eq!(verdict(&history, TrueTime::Unknown), "");
        prop_assert_eq!(verdict(&history, TrueTime::Known { origin: Timestamp::ZERO }), "");
    }

    #[test]
    fn correct_history_with_unknown_outcomes_is_accepted(recipe in recipes(0.4)) {
        let history = Store::run(recipe);
        prop_assert_eq!(verdict(&history, TrueTime::Unknown), "");
        prop_assert_eq!(verdict(&history, TrueTime::Known { origin: Timestamp::ZERO }), "");
    }

    #[test]
    fn changed_observation_is_rejected(recipe in recipes(0.0), seed in any::<u64>()) {
        let mut history = Store::run(recipe);
        // Initial rows without a version match any version that is told for them.
        history.header.initial.iter_mut().for_each(|row| { row.version.get_or_insert(ts(1)); });
        prop_assume!(doctor(&mut history, seed));
        prop_assert_ne!(verdict(&history, TrueTime::Unknown), "");
    }

    #[test]
    fn value_that_nobody_wrote_is_rejected_whatever_is_unknown(
        recipe in recipes(0.4), seed in any::<u64>(),
    ) {
        let mut history = Store::run(recipe);
        let mut reads: Vec<&mut Option<Value>> = history.records.iter_mut().filter_map(|record| {
            match record {
                Record::Transaction(Transaction {
                    kind: Kind::Strong { .. } | Kind::Stale { .. }, ops, ..
                }) => Some(ops),
                Record::Transaction(_) | Record::Lookup(_) => None,
            }
        }).flatten().filter_map(|op| match op {
            Op::Read { value, .. } => Some(value),
            Op::Write { .. } | Op::Scan { .. } => None,
        }).collect();
        prop_assume!(!reads.is_empty());
        let chosen = usize::try_from(Rng::new(seed).below(reads.len() as u64)).unwrap();
        *reads[chosen] = Some(value("nobody's"));
        prop_assert_ne!(verdict(&history, TrueTime::Unknown), "");
    }
}
