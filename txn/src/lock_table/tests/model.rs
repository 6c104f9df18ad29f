//! The lock table against a naive model, step by step.
//!
//! The model knows no keys: the key space is cut into atoms (a key, the gap behind it, the next key,
//! ...), a span is a set of atoms, and every question is a loop over everything.

use super::super::{Acquire, LockMode, LockNeed, LockTable, Waiter};
use proptest::prelude::*;
use proto::{Key, KeySpan, Priority, TxnId};
use std::collections::{BTreeMap, BTreeSet};
use truetime::Timestamp;

/// Keys `a` to `f`, each with the gap behind it.
const ATOMS: u32 = 12;

/// Transactions 1 and 3 have one priority, so that their ids must decide.
const BEGINS: [u64; 6] = [3, 1, 4, 1, 5, 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Atoms {
    first: u32,
    end: u32,
}

impl Atoms {
    fn set(self) -> u32 {
        (self.first..self.end).fold(0, |set, atom| set | 1 << atom)
    }

    fn is_point(self) -> bool {
        self.first.is_multiple_of(2) && self.end == self.first + 1
    }

    fn span(self) -> KeySpan {
        let boundary = |atom: u32| {
            let key = Key::from(vec![b'a' + u8::try_from(atom / 2).expect("few atoms")]);
            if atom.is_multiple_of(2) { key } else { key.successor() }
        };
        let end = (self.end < ATOMS).then(|| boundary(self.end));
        KeySpan { start: boundary(self.first), end }
    }
}

type Need = (Atoms, LockMode);

fn need(need: &Need) -> LockNeed {
    LockNeed { span: need.0.span(), mode: need.1 }
}

#[derive(Clone, Debug)]
enum Step {
    Lock { txn: usize, needs: Vec<Need> },
    Restore { txn: usize, needs: Vec<Need> },
    Bind { txn: usize },
    Release { txn: usize },
    FailWaiters { txn: usize },
    Cancel { pick: usize },
    Shrink { pick: usize, to: (u32, u32) },
    FailAll,
    TakeGranted,
}

fn atoms() -> impl Strategy<Value = Atoms> {
    prop_oneof![
        (0..ATOMS / 2).prop_map(|key| Atoms { first: 2 * key, end: 2 * key + 1 }),
        (0..ATOMS, 1..=ATOMS)
            .prop_map(|(first, length)| Atoms { first, end: (first + length).min(ATOMS) }),
    ]
}

fn needs(max: usize) -> impl Strategy<Value = Vec<Need>> {
    let mode = prop_oneof![Just(LockMode::Shared), Just(LockMode::Exclusive)];
    prop::collection::vec((atoms(), mode), 1..=max)
}

fn step() -> impl Strategy<Value = Step> {
    let txn = 0..BEGINS.len();
    prop_oneof![
        12 => (txn.clone(), needs(3)).prop_map(|(txn, needs)| Step::Lock { txn, needs }),
        1 => (txn.clone(), needs(2)).prop_map(|(txn, needs)| Step::Restore { txn, needs }),
        2 => txn.clone().prop_map(|txn| Step::Bind { txn }),
        3 => txn.clone().prop_map(|txn| Step::Release { txn }),
        2 => txn.prop_map(|txn| Step::FailWaiters { txn }),
        2 => (0..8usize).prop_map(|pick| Step::Cancel { pick }),
        3 => (0..20usize, (0..ATOMS, 0..ATOMS)).prop_map(|(pick, to)| Step::Shrink { pick, to }),
        1 => Just(Step::FailAll),
        6 => Just(Step::TakeGranted),
    ]
}

type ModelAge = (u64, usize);

#[derive(Clone, Debug)]
struct Held {
    txn: usize,
    atoms: Atoms,
    mode: LockMode,
    is_used_again: bool,
}

/// Lists, and loops over them.
#[derive(Default)]
struct Model {
    held: Vec<Held>,
    waiting: BTreeMap<(ModelAge, u64), (usize, Vec<Need>)>,
    bound: BTreeSet<usize>,
}

fn age(txn: usize) -> ModelAge {
    (BEGINS[txn], txn)
}

fn overlap(one: Atoms, other: Atoms) -> bool {
    one.set() & other.set() != 0
}

fn conflict(one: Need, other: Need) -> bool {
    overlap(one.0, other.0) && (one.1 == LockMode::Exclusive || other.1 == LockMode::Exclusive)
}

impl Model {
    fn covers(&self, txn: usize, (atoms, mode): Need) -> bool {
        let mine = self.held.iter().filter(|held| held.txn == txn && held.mode >= mode);
        let set = mine.fold(0, |set, held| set | held.atoms.set());
        atoms.set() & !set == 0
    }

    fn holders_against(&self, txn: usize, need: Need) -> BTreeSet<usize> {
        let against = |held: &&Held| held.txn != txn && conflict(need, (held.atoms, held.mode));
        self.held.iter().filter(against).map(|held| held.txn).collect()
    }

    fn is_behind_older(&self, txn: usize, need: Need) -> bool {
        self.waiting.values().any(|(other, needs)| {
            age(*other) < age(txn) && needs.iter().any(|theirs| conflict(need, *theirs))
        })
    }

    fn is_blocked(&self, txn: usize, need: Need) -> bool {
        !self.covers(txn, need)
            && (!self.holders_against(txn, need).is_empty() || self.is_behind_older(txn, need))
    }

    fn grant(&mut self, txn: usize, needs: &[Need]) {
        for (atoms, mode) in needs.iter().copied() {
            if !self.covers(txn, (atoms, mode)) {
                // A key has one lock of a transaction, which an exclusive need raises.
                self.held
                    .retain(|held| held.txn != txn || held.atoms != atoms || !atoms.is_point());
                self.held.push(Held { txn, atoms, mode, is_used_again: false });
                continue;
            }
            let as_key = |held: &Held| held.txn == txn && held.atoms == atoms && held.mode >= mode;
            if atoms.is_point() && self.held.iter().any(as_key) {
                continue;
            }
            for held in &mut self.held {
                if held.txn == txn && held.mode >= mode && overlap(held.atoms, atoms) {
                    held.is_used_again = true;
                }
            }
        }
    }

    fn acquire(&mut self, txn: usize, waiter: u64, needs: Vec<Need>) -> Acquire {
        if !needs.iter().any(|need| self.is_blocked(txn, *need)) {
            self.grant(txn, &needs);
            return Acquire::Granted;
        }
        let missing = needs.iter().filter(|need| !self.covers(txn, **need));
        let holders: BTreeSet<usize> =
            missing.flat_map(|need| self.holders_against(txn, *need)).collect();
        let (mut wounded, mut behind_bound) = (vec![], vec![]);
        for holder in holders.into_iter().filter(|holder| age(txn) < age(*holder)) {
            let list = if self.bound.contains(&holder) { &mut behind_bound } else { &mut wounded };
            list.push(id(holder));
        }
        self.waiting.insert((age(txn), waiter), (txn, needs));
        wounded.sort_unstable();
        behind_bound.sort_unstable();
        Acquire::Queued { wounded, behind_bound }
    }

    fn take_granted(&mut self) -> Vec<(Waiter, TxnId)> {
        let mut granted = vec![];
        loop {
            let next = self
                .waiting
                .iter()
                .find(|(_, (txn, needs))| !needs.iter().any(|need| self.is_blocked(*txn, *need)));
            let Some((ticket, _)) = next else { return granted };
            let ticket = *ticket;
            let (txn, needs) = self.waiting.remove(&ticket).expect("found a moment ago");
            self.grant(txn, &needs);
            granted.push((Waiter(ticket.1), id(txn)));
        }
    }

    fn release(&mut self, txn: usize) -> Vec<Waiter> {
        self.held.retain(|held| held.txn != txn);
        self.bound.remove(&txn);
        self.fail_waiters(txn)
    }

    fn fail_waiters(&mut self, txn: usize) -> Vec<Waiter> {
        let failed = self.waiting.keys().filter(|ticket| ticket.0 == age(txn));
        let failed = failed.map(|ticket| Waiter(ticket.1)).collect();
        self.waiting.retain(|ticket, _| ticket.0 != age(txn));
        failed
    }

    fn shrink(&mut self, index: usize, to: Option<Atoms>) {
        let from = self.held[index].clone();
        let is_fixed = from.atoms.is_point() || from.is_used_again || to == Some(from.atoms);
        if !is_fixed && !self.bound.contains(&from.txn) {
            self.held.remove(index);
            self.grant(from.txn, &to.map(|to| (to, from.mode)).into_iter().collect::<Vec<_>>());
        }
    }

    fn blocked_by_bound(&self) -> Vec<(TxnId, TxnId)> {
        let mut oldest = BTreeMap::new();
        for (txn, needs) in self.waiting.values() {
            for holder in needs.iter().flat_map(|need| self.holders_against(*txn, *need)) {
                if age(*txn) < age(holder) && self.bound.contains(&holder) {
                    oldest.entry(id(holder)).or_insert(id(*txn));
                }
            }
        }
        oldest.into_iter().collect()
    }

    fn bound_writers_over(&self, atoms: Atoms) -> Vec<TxnId> {
        let over = |held: &&Held| {
            held.mode == LockMode::Exclusive
                && self.bound.contains(&held.txn)
                && overlap(held.atoms, atoms)
        };
        let writers: BTreeSet<_> = self.held.iter().filter(over).map(|held| id(held.txn)).collect();
        writers.into_iter().collect()
    }

    fn held_spans(&self, txn: usize) -> Vec<LockNeed> {
        let mine = self.held.iter().filter(|held| held.txn == txn);
        let mut spans: Vec<_> = mine.map(|held| need(&(held.atoms, held.mode))).collect();
        spans.sort_unstable();
        spans
    }

    /// What the rules promise, said without the rules: no two transactions hold conflicting locks, and
    /// whoever waits does so for an older transaction or a bound one.
    fn check(&self) {
        for held in &self.held {
            let against = self.holders_against(held.txn, (held.atoms, held.mode));
            assert!(against.is_empty(), "{held:?} conflicts with {against:?}");
        }
        for (txn, needs) in self.waiting.values() {
            for holder in needs.iter().flat_map(|need| self.holders_against(*txn, *need)) {
                let is_right = age(holder) < age(*txn) || self.bound.contains(&holder);
                assert!(is_right, "{txn} waits for the younger {holder}");
            }
        }
    }
}

/// Ids in an order that is not the age's.
fn id(txn: usize) -> TxnId {
    TxnId { sequence: txn as u64, ..TxnId::default() }
}

fn priority(txn: usize) -> Priority {
    let begin = Timestamp::from_nanos(BEGINS[txn]);
    Priority { begin, first: TxnId::default(), attempt: 1 }
}

/// Both of them, and the checks that follow every step.
struct Pair {
    table: LockTable,
    model: Model,
}

impl Pair {
    fn run(&mut self, number: u64, step: &Step) {
        match step {
            Step::Lock { txn, needs } => self.lock(*txn, number, needs),
            Step::Restore { txn, needs } => {
                let is_free = |need: &Need| self.model.holders_against(*txn, *need).is_empty();
                if self.model.waiting.is_empty() && needs.iter().all(is_free) {
                    let needs = ordered(needs);
                    self.table.restore(id(*txn), priority(*txn), needs.iter().map(need).collect());
                    self.model.grant(*txn, &needs);
                    self.model.bound.insert(*txn);
                }
            }
            Step::Bind { txn } => {
                if !self.table.held_spans(id(*txn)).is_empty() {
                    self.table.bind(id(*txn));
                    self.model.bound.insert(*txn);
                }
            }
            Step::Release { txn } => self.release(*txn),
            Step::FailWaiters { txn } => {
                let failed = self.table.fail_waiters(id(*txn));
                assert_eq!(failed, self.model.fail_waiters(*txn));
            }
            Step::Cancel { pick } => {
                let ticket = self.model.waiting.keys().nth(*pick).copied();
                if let Some(ticket) = ticket {
                    self.table.cancel(Waiter(ticket.1));
                    self.model.waiting.remove(&ticket);
                }
            }
            Step::Shrink { pick, to } => self.shrink(*pick, *to),
            Step::FailAll => {
                let failed: Vec<_> =
                    self.model.waiting.keys().map(|ticket| Waiter(ticket.1)).collect();
                assert_eq!(self.table.fail_all(), failed);
                self.model.waiting.clear();
            }
            Step::TakeGranted => self.take_granted(),
        }
    }

    fn lock(&mut self, txn: usize, waiter: u64, needs: &[Need]) {
        let needs = ordered(needs);
        let asked = needs.iter().map(need).collect();
        let outcome = self.table.acquire(id(txn), priority(txn), Waiter(waiter), asked);
        assert_eq!(outcome, self.model.acquire(txn, waiter, needs));
        if let Acquire::Queued { wounded, .. } = outcome {
            for txn in wounded {
                self.release(usize::try_from(txn.sequence).expect("a small number"));
            }
        }
    }

    fn release(&mut self, txn: usize) {
        assert_eq!(self.table.release(id(txn)), self.model.release(txn));
    }

    fn shrink(&mut self, pick: usize, (first, length): (u32, u32)) {
        let Some(from) = self.model.held.get(pick).cloned() else { return };
        let first = from.atoms.first + first % (from.atoms.end - from.atoms.first);
        let to = Atoms { first, end: (first + length).min(from.atoms.end) };
        let span = to.span();
        let span = if length == 0 { KeySpan::new(span.start.clone(), span.start) } else { span };
        self.table.shrink(id(from.txn), &need(&(from.atoms, from.mode)), &span);
        self.model.shrink(pick, (length > 0).then_some(to));
    }

    fn take_granted(&mut self) {
        assert_eq!(self.table.take_granted(), self.model.take_granted());
    }

    fn compare(&self) {
        self.table.check_invariants();
        self.model.check();
        assert_eq!(self.table.blocked_by_bound(), self.model.blocked_by_bound());
        for txn in 0..BEGINS.len() {
            assert_eq!(self.table.held_spans(id(txn)), self.model.held_spans(txn));
            assert_eq!(self.table.is_bound(id(txn)), self.model.bound.contains(&txn));
        }
        for first in 0..ATOMS {
            for end in [first + 1, first + 4, ATOMS] {
                let atoms = Atoms { first, end: end.min(ATOMS) };
                assert_eq!(
                    self.table.bound_writers_over(&[atoms.span()]),
                    self.model.bound_writers_over(atoms)
                );
                for txn in 0..BEGINS.len() {
                    for mode in [LockMode::Shared, LockMode::Exclusive] {
                        assert_eq!(
                            self.table.holds(id(txn), &atoms.span(), mode),
                            self.model.covers(txn, (atoms, mode)),
                            "{txn} on {} {mode}",
                            atoms.span()
                        );
                    }
                }
            }
        }
        let waited: usize = self.model.waiting.values().map(|(_, needs)| needs.len()).sum();
        assert_eq!(self.table.lock_count(), self.model.held.len() + waited);
    }
}

/// The order in which the table takes the needs of one request.
fn ordered(needs: &[Need]) -> Vec<Need> {
    let mut needs = needs.to_vec();
    needs.sort_by_key(need);
    needs.dedup();
    needs
}

proptest! {
    #[test]
    fn table_does_what_the_model_does(steps in prop::collection::vec(step(), 1..80)) {
        let mut pair = Pair { table: LockTable::new(1_000), model: Model::default() };
        for (number, step) in (0..).zip(&steps) {
            pair.run(number, step);
            pair.compare();
        }
        // Nothing is lost: whoever still waits is granted once the others are gone.
        pair.take_granted();
        for txn in 0..BEGINS.len() {
            pair.release(txn);
            pair.take_granted();
            pair.compare();
        }
        prop_assert!(pair.table.is_idle());
    }
}
