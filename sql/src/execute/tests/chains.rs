//! Chains and nesting to their limits, from text to answer, on a small stack.

use super::engine::Engine;
use crate::scalar::value::Value;

fn on_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

fn only_value(engine: &mut Engine, sql: &str) -> Value {
    let mut outcome = engine.run(sql).unwrap();
    assert_eq!((outcome.rows.len(), outcome.columns.len()), (1, 1));
    outcome.rows.remove(0).remove(0)
}

#[test]
fn chains_of_ten_thousand_operators_are_evaluated() {
    on_small_stack(|| {
        let mut engine = Engine::default();
        let sum = format!("SELECT {}1", "1 + ".repeat(10_000));
        assert_eq!(only_value(&mut engine, &sum), Value::Int(10_001));
        let or = format!("SELECT {}true", "false OR ".repeat(10_000));
        assert_eq!(only_value(&mut engine, &or), Value::Bool(true));
        engine.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)").unwrap();
        engine.run("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").unwrap();
        let equal = format!("SELECT count(*) FROM t WHERE {}v = 3", "v = 7 OR ".repeat(9_999));
        assert_eq!(only_value(&mut engine, &equal), Value::Int(1));
        let keys = format!("SELECT count(*) FROM t WHERE {}id = 3", "id = 7 OR ".repeat(9_999));
        assert_eq!(only_value(&mut engine, &keys), Value::Int(1));
        let list = format!("SELECT count(*) FROM t WHERE id IN ({}2)", "1, ".repeat(100_000));
        assert_eq!(only_value(&mut engine, &list), Value::Int(2));
    });
}

#[test]
fn the_deepest_nesting_is_evaluated() {
    on_small_stack(|| {
        let mut engine = Engine::default();
        for (open, close) in [
            ("(", ")"),
            ("(1 + ", ")"),
            ("abs(1 - ", ")"),
            ("coalesce(NULL, ", ")"),
            ("CASE WHEN true THEN ", " END"),
        ] {
            let sql = format!("SELECT {}1{}", open.repeat(60), close.repeat(60));
            only_value(&mut engine, &sql);
        }
        // As many precedences between brackets as the parser lets through.
        for levels in (1..64).rev() {
            let open = "(false OR true AND 1 = 1 + 1 * (".repeat(levels);
            let sql = format!("SELECT {open}1{}", "))".repeat(levels));
            if crate::parse::parse(&sql, &crate::parse::Limits::default()).is_ok() {
                let _ = engine.run(&sql);
                return;
            }
        }
    });
}
