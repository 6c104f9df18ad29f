//! What is read: keys, columns, limits, locks.

use proto::encoding::Datum;

use super::engine::Engine;
use super::memory_kv::keys_text;
use crate::kv::Lock;

fn engine() -> Engine {
    let mut engine = Engine::default();
    engine.run("CREATE TABLE t (a INT, b TEXT, c BIGINT, PRIMARY KEY (a, b))").unwrap();
    engine.run("INSERT INTO t VALUES (1, 'x', 1), (1, 'y', 2), (2, 'x', 3), (3, 'z', 4)").unwrap();
    engine.kv.take_scans();
    engine
}

/// The keys, columns, limit and lock of the only scan of a statement.
fn scan(engine: &mut Engine, sql: &str) -> (String, Vec<usize>, Option<u64>, Lock) {
    engine.run(sql).unwrap();
    let mut scans = engine.kv.take_scans();
    assert_eq!(scans.len(), 1, "{sql}");
    let scan = scans.remove(0);
    (keys_text(&scan.keys), scan.columns, scan.limit, scan.lock)
}

#[test]
fn a_read_by_key_is_one_point_of_the_columns_that_are_needed() {
    let mut engine = engine();
    let read = scan(&mut engine, "SELECT c FROM t WHERE a = 1 AND b = 'x'");
    assert_eq!(read, ("[BigInt(1),Text(\"x\")]".to_owned(), vec![2], None, Lock::Shared));
    engine.run("PREPARE p AS SELECT c FROM t WHERE b = $2 AND a = $1").unwrap();
    let read = scan(&mut engine, "EXECUTE p (2, 'x')");
    assert_eq!(read.0, "[BigInt(2),Text(\"x\")]");
}

#[test]
fn ranges_are_under_their_prefix() {
    let mut engine = engine();
    let keys = |engine: &mut Engine, condition| {
        scan(engine, &format!("SELECT c FROM t WHERE {condition}")).0
    };
    assert_eq!(keys(&mut engine, "a = 1"), "(=BigInt(1)..=BigInt(1))");
    assert_eq!(keys(&mut engine, "a = 1 AND b > 'x'"), "(~BigInt(1),Text(\"x\")..=BigInt(1))");
    assert_eq!(keys(&mut engine, "a > 1 AND a <= 2.5"), "(=BigInt(2)..=BigInt(2))");
    assert_eq!(keys(&mut engine, "a < 5000000000"), "(..)");
    assert_eq!(keys(&mut engine, "b = 'x'"), "(..)");
    assert_eq!(
        keys(&mut engine, "(a = 1 AND b = 'x') OR (a = 2 AND b = 'y')"),
        "[BigInt(1),Text(\"x\")] [BigInt(2),Text(\"y\")]"
    );
    assert_eq!(keys(&mut engine, "a IN (1, 2) AND b = 'x' AND c = 4").matches('[').count(), 2);
}

#[test]
fn what_no_key_can_be_true_for_reads_nothing() {
    let mut engine = engine();
    for condition in [
        "a = NULL",
        "a = 1.5",
        "a > 5000000000",
        "a = 1 AND a > 2 AND a < 1",
        "a < 2 AND a > 3",
        "a IN (NULL)",
    ] {
        let sql = format!("SELECT c FROM t WHERE {condition}");
        assert!(engine.run(&sql).unwrap().rows.is_empty(), "{condition}");
        let scans = engine.kv.take_scans();
        let nothing = scans.is_empty() || keys_text(&scans[0].keys).starts_with('[');
        assert!(nothing || condition.starts_with("a = 1 AND"), "{condition}");
    }
}

#[test]
fn limits_go_into_the_scan_when_nothing_filters() {
    let mut engine = engine();
    assert_eq!(scan(&mut engine, "SELECT * FROM t LIMIT 2 OFFSET 1").2, Some(3));
    assert_eq!(scan(&mut engine, "SELECT * FROM t ORDER BY a, b LIMIT 2").2, Some(2));
    assert_eq!(scan(&mut engine, "SELECT * FROM t WHERE a > 1 ORDER BY a LIMIT 2").2, Some(2));
    assert_eq!(scan(&mut engine, "SELECT * FROM t WHERE a = 1 ORDER BY b LIMIT 1").2, Some(1));
    assert_eq!(scan(&mut engine, "SELECT * FROM t WHERE c > 1 LIMIT 2").2, None);
    assert_eq!(scan(&mut engine, "SELECT * FROM t ORDER BY b LIMIT 2").2, None);
    assert_eq!(scan(&mut engine, "SELECT * FROM t ORDER BY a DESC LIMIT 2").2, None);
    assert_eq!(scan(&mut engine, "SELECT count(*) FROM t LIMIT 2").2, None);
    assert_eq!(scan(&mut engine, "SELECT DISTINCT a FROM t LIMIT 2").2, None);
}

#[test]
fn what_is_going_to_be_written_is_locked_exclusively() {
    let mut engine = engine();
    for sql in [
        "UPDATE t SET c = 9 WHERE a = 1 AND b = 'x'",
        "DELETE FROM t WHERE a = 1 AND b = 'x'",
        "SELECT c FROM t WHERE a = 1 AND b = 'x' FOR UPDATE",
    ] {
        let read = scan(&mut engine, sql);
        assert_eq!(
            (read.0.as_str(), read.3),
            ("[BigInt(1),Text(\"x\")]", Lock::Exclusive),
            "{sql}"
        );
    }
    assert_eq!(scan(&mut engine, "SELECT c FROM t WHERE a = 1 FOR SHARE").3, Lock::Shared);
}

#[test]
fn tables_begin_with_the_splits_they_ask_for() {
    let mut engine = Engine::default();
    let splits = |engine: &mut Engine, name: &str, sql: &str| {
        engine.run(&format!("CREATE TABLE {name} {sql}")).unwrap();
        engine.kv.splits(name)
    };
    let evenly = "(a INT PRIMARY KEY) SPLIT INTO 4 SHARDS FROM (0) TO (400)";
    let expected: Vec<Vec<Datum>> =
        [100, 200, 300].into_iter().map(|at| vec![Datum::BigInt(at)]).collect();
    assert_eq!(splits(&mut engine, "evenly", evenly), expected);
    let at = "(a INT, b TEXT, PRIMARY KEY (a, b)) SPLIT AT VALUES (5), (6, 'x')";
    let expected =
        vec![vec![Datum::BigInt(5)], vec![Datum::BigInt(6), Datum::Text("x".to_owned())]];
    assert_eq!(splits(&mut engine, "at", at), expected);
    let spread = splits(&mut engine, "spread", "(a BYTEA PRIMARY KEY)");
    assert_eq!((spread.len(), spread[0].clone()), (7, vec![Datum::Bytes(vec![32])]));
    assert!(splits(&mut engine, "whole", "(a BIGINT PRIMARY KEY)").is_empty());
}
