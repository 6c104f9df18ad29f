//! The lock table against golden scripts, against a naive model, and at its limits.

mod model;
mod script;

use super::*;
use proto::Key;
use truetime::Timestamp;

fn id(n: u64) -> TxnId {
    TxnId { begin: Timestamp::from_nanos(n), ..TxnId::default() }
}

fn point(key: &[u8], mode: LockMode) -> LockNeed {
    LockNeed { span: KeySpan::point(Key::from(key)), mode }
}

#[test]
fn lock_table_behaves_as_its_scripts_say() {
    crate::golden::check("lock_table", || {
        let mut interpreter = script::Interpreter::new();
        move |line: &str| interpreter.run(line)
    });
}

#[test]
fn two_transactions_of_one_priority_do_not_wait_for_each_other() {
    let mut table = LockTable::new(100);
    let priority = Priority::first(id(1));
    let x = || vec![point(b"x", LockMode::Exclusive)];
    let y = || vec![point(b"y", LockMode::Exclusive)];
    assert_eq!(table.acquire(id(2), priority, Waiter(1), x()), Acquire::Granted);
    assert_eq!(table.acquire(id(3), priority, Waiter(2), y()), Acquire::Granted);
    let waits = Acquire::Queued { wounded: vec![], behind_bound: vec![] };
    assert_eq!(table.acquire(id(3), priority, Waiter(3), x()), waits);
    let wounds = Acquire::Queued { wounded: vec![id(3)], behind_bound: vec![] };
    assert_eq!(table.acquire(id(2), priority, Waiter(4), y()), wounds);
}

#[test]
fn priority_first_seen_counts_while_the_transaction_is_known() {
    let mut table = LockTable::new(100);
    let x = || vec![point(b"x", LockMode::Exclusive)];
    let y = || vec![point(b"y", LockMode::Exclusive)];
    assert_eq!(table.acquire(id(2), Priority::first(id(2)), Waiter(1), x()), Acquire::Granted);
    assert_eq!(table.acquire(id(3), Priority::first(id(3)), Waiter(2), y()), Acquire::Granted);
    let claims_more = table.acquire(id(3), Priority::first(id(1)), Waiter(3), x());
    assert_eq!(claims_more, Acquire::Queued { wounded: vec![], behind_bound: vec![] });
    table.check_invariants();
}

#[test]
fn restore_of_what_the_transaction_waits_for_makes_it_grantable() {
    let mut table = LockTable::new(100);
    let needs = || vec![point(b"x", LockMode::Shared)];
    let wants = vec![point(b"x", LockMode::Exclusive)];
    assert_eq!(table.acquire(id(1), Priority::first(id(1)), Waiter(1), needs()), Acquire::Granted);
    let _ = table.acquire(id(2), Priority::first(id(2)), Waiter(2), wants);
    let _ = table.acquire(id(3), Priority::first(id(3)), Waiter(3), needs());
    table.restore(id(3), Priority::first(id(3)), needs());
    table.check_invariants();
    assert_eq!(table.take_granted(), vec![(Waiter(3), id(3))]);
}

#[test]
#[should_panic(expected = "restoring x exclusive")]
fn restore_of_a_conflicting_lock_panics() {
    let mut table = LockTable::new(100);
    let needs = || vec![point(b"x", LockMode::Exclusive)];
    table.restore(id(1), Priority::first(id(1)), needs());
    table.restore(id(2), Priority::first(id(2)), needs());
}

#[test]
#[should_panic(expected = "neither holds nor waits")]
fn bind_of_an_unknown_transaction_panics() {
    LockTable::new(100).bind(id(1));
}

#[test]
#[should_panic(expected = "w7 waits already")]
fn acquire_with_a_ticket_in_use_panics() {
    let mut table = LockTable::new(100);
    let needs = || vec![point(b"x", LockMode::Exclusive)];
    for n in 1..=3 {
        let _ = table.acquire(id(n), Priority::first(id(n)), Waiter(7), needs());
    }
}

/// T32: the table takes a million locks and gives all of them back.
#[test]
fn million_locks_are_held_and_released() {
    const TXNS: u64 = 1_000;
    const LOCKS: u64 = 1_000;
    let mut table = LockTable::new(1_000_000);
    let key = |txn: u64, n: u64| (txn * LOCKS + n).to_be_bytes();
    for txn in 0..TXNS {
        let needs = (0..LOCKS).map(|n| point(&key(txn, n), LockMode::Exclusive)).collect();
        let outcome = table.acquire(id(txn), Priority::first(id(txn)), Waiter(txn), needs);
        assert_eq!(outcome, Acquire::Granted);
    }
    assert_eq!(table.lock_count(), 1_000_000);
    let more = vec![point(b"one more", LockMode::Shared)];
    let refused = table.acquire(id(1), Priority::first(id(1)), Waiter(1), more);
    assert_eq!(refused, Acquire::Overloaded);
    for txn in 0..TXNS {
        assert!(table.release(id(txn)).is_empty());
    }
    assert!(table.is_idle());
    assert_eq!(table.lock_count(), 0);
}
