//! Memory, breathing, large changes.

use super::engine::Engine;
use crate::error::SqlState;
use crate::scalar::value::Value;

fn filled(rows: usize) -> Engine {
    let mut engine = Engine::default();
    engine.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, s TEXT)").unwrap();
    let values: Vec<String> =
        (0..rows).map(|at| format!("({at}, {}, 'text {at}')", at * 7919 % rows)).collect();
    engine.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).unwrap();
    engine
}

#[test]
fn memory_is_limited_for_whatever_keeps_rows() {
    let mut engine = filled(200);
    engine.memory_max = Some(2_000);
    for sql in [
        "SELECT * FROM t ORDER BY v",
        "SELECT DISTINCT s FROM t",
        "SELECT s, count(*) FROM t GROUP BY s",
        "SELECT count(DISTINCT s) FROM t",
        "UPDATE t SET id = id + 1000",
        "INSERT INTO t SELECT id + 1000, v, s FROM t",
    ] {
        let error = engine.run(sql).map(|_| ()).unwrap_err();
        assert_eq!(error.state, SqlState::OUT_OF_MEMORY, "{sql}");
        assert!(error.message.contains("2000 bytes") && error.hint.is_some(), "{error:?}");
    }
    // What keeps nothing needs nothing.
    for sql in [
        "SELECT * FROM t ORDER BY id",
        "SELECT sum(v) FROM t",
        "UPDATE t SET v = v + 1",
        "DELETE FROM t WHERE v = 3",
    ] {
        assert!(engine.run(sql).is_ok(), "{sql}");
    }
}

#[test]
fn the_first_rows_of_an_order_need_memory_for_those_only() {
    let mut engine = Engine::default();
    engine.memory_max = Some(1 << 20);
    let values: Vec<String> = (0..20_000).map(|at| format!("({})", at * 7919 % 20_000)).collect();
    let sql = format!("VALUES {} ORDER BY 1 LIMIT 3 OFFSET 1", values.join(", "));
    let rows = engine.run(&sql).unwrap().rows;
    assert_eq!(rows, [[Value::Int(1)], [Value::Int(2)], [Value::Int(3)]]);
}

#[test]
fn long_computing_breathes() {
    let values: Vec<String> = (0..30_000).map(|at| format!("({})", at * 7919 % 30_000)).collect();
    let values = values.join(", ");
    let mut engine = Engine::default();
    let rows = engine.run(&format!("VALUES {values} ORDER BY 1")).unwrap().rows;
    assert!(rows.windows(2).all(|pair| pair[0][0].order(&pair[1][0]).is_le()));
    assert_eq!(rows.len(), 30_000);
    // Thirty batches to make, and each row is merged about five times.
    assert!(engine.kv.breaths() > 150, "{}", engine.kv.breaths());
}

#[test]
fn long_changes_breathe() {
    let mut engine = filled(1_200);
    // Moved rows are computed, taken away and put elsewhere.
    for (sql, breaths) in
        [("UPDATE t SET v = 1", 1), ("UPDATE t SET id = id + 10000", 3), ("DELETE FROM t", 1)]
    {
        let before = engine.kv.breaths();
        engine.run(sql).unwrap();
        assert_eq!(engine.kv.breaths() - before, breaths, "{sql}");
    }
}

#[test]
fn large_changes_are_written_on_the_way() {
    let mut engine = filled(1);
    let text = "x".repeat(100_000);
    let values: Vec<String> = (1..101).map(|at| format!("({at}, 0, '{text}')")).collect();
    let before = engine.kv.writes();
    engine.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).unwrap();
    assert_eq!(engine.kv.writes() - before, 2, "ten megabytes are two times four and a rest");
    let before = engine.kv.writes();
    engine.run("UPDATE t SET v = v + 1").unwrap();
    assert_eq!(engine.kv.writes() - before, 2);
    let sum = engine.run("SELECT sum(v), count(*) FROM t").unwrap().text();
    assert_eq!(sum, "sum|count\n101|101", "each row was changed once");
}

#[test]
fn a_statement_does_not_see_its_own_writes() {
    let mut engine = filled(50);
    engine.run("BEGIN").unwrap();
    engine.run("INSERT INTO t SELECT id + 1000, v, s FROM t").unwrap();
    engine.run("UPDATE t SET id = id + 10000, v = 1").unwrap();
    engine.run("COMMIT").unwrap();
    let outcome = engine.run("SELECT count(*), min(id), max(id), sum(v) FROM t").unwrap();
    assert_eq!(outcome.text(), "count|min|max|sum\n100|10000|11049|100");
}
