//! Statements of random words: whatever parses is bound, planned and run without a panic.

use proptest::prelude::{Strategy, proptest};
use proptest::{collection, prop_oneof, sample};

use super::engine::Engine;

/// An operand, so that most of what is made parses.
fn operand() -> impl Strategy<Value = String> {
    let plain = "1 0 -1 2.5 1e300 9223372036854775807 NULL true false 'x' '1' '' '2026-11-25' '\\x00' a b c d e f \
        t.a t.e a::text b::float8 c::numeric e::bytea 'x'::text $1 $2 count(*) sum(a) max(e) now() random()";
    let plain: Vec<&'static str> = plain.split_whitespace().collect();
    let leaf = sample::select(plain).prop_map(str::to_owned);
    leaf.prop_recursive(3, 16, 3, |inner| {
        let signs = "+ - * / % ^ || = <> < >= AND OR LIKE & << ~~*";
        let signs: Vec<&'static str> = signs.split_whitespace().collect();
        let names = "abs upper length coalesce nullif greatest least substring round concat avg min \
            bool_and power";
        let names: Vec<&'static str> = names.split_whitespace().collect();
        let types = "int bigint smallint float8 numeric text bytea bool timestamptz varchar";
        let types: Vec<&'static str> = types.split_whitespace().collect();
        let two = (inner.clone(), sample::select(signs), inner.clone());
        let call = (sample::select(names), collection::vec(inner.clone(), 0..3));
        let cast = (inner.clone(), sample::select(types));
        let case = (inner.clone(), inner.clone(), inner.clone());
        let between = case.clone();
        let list = (inner.clone(), collection::vec(inner.clone(), 1..4));
        prop_oneof![
            4 => two.prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            2 => call.prop_map(|(name, given)| format!("{name}({})", given.join(", "))),
            2 => cast.prop_map(|(a, ty)| format!("({a})::{ty}")),
            1 => case.clone().prop_map(|(a, b, c)| format!("CASE WHEN {a} THEN {b} ELSE {c} END")),
            1 => case.prop_map(|(a, b, c)| format!("CASE {a} WHEN {b} THEN {c} END")),
            1 => between.prop_map(|(a, b, c)| format!("({a} BETWEEN SYMMETRIC {b} AND {c})")),
            1 => list.prop_map(|(a, list)| format!("({a} NOT IN ({}))", list.join(", "))),
            1 => inner.clone().prop_map(|a| format!("(NOT {a})")),
            1 => inner.clone().prop_map(|a| format!("({a} IS NOT UNKNOWN)")),
            1 => inner.prop_map(|a| format!("({a} IS NOT DISTINCT FROM - {a})")),
        ]
    })
}

proptest! {
    #[test]
    fn no_statement_makes_it_panic(x in operand(), y in operand(), z in operand()) {
        let mut engine = Engine::default();
        engine.run(
            "CREATE TABLE t (a INT, b SMALLINT, c BIGINT, d FLOAT8, e TEXT, f BOOLEAN, PRIMARY KEY (a, e))",
        ).unwrap();
        engine.run("INSERT INTO t VALUES (1, 1, 1, 1.5, 'x', true), (2, NULL, NULL, NULL, 'y', NULL)").unwrap();
        for sql in [
            format!("SELECT {x}"),
            format!("SELECT {x}, {y} FROM t WHERE {z} ORDER BY {y}, 1 LIMIT 3"),
            format!("SELECT {x} FROM t GROUP BY {x} HAVING {y} ORDER BY {x}"),
            format!("SELECT count(*) FILTER (WHERE {x}), sum(DISTINCT {y}) FROM t WHERE a = {z}"),
            format!("EXPLAIN SELECT DISTINCT {x} FROM t WHERE (a = {y} AND e < {z}) OR a IN ({x}, {z})"),
            format!("SELECT 1 FROM t WHERE a = {x} AND e = {y} LIMIT {z}"),
            format!("VALUES ({x}), ({y}), ({z}) ORDER BY 1"),
            format!("INSERT INTO t (a, e, d) VALUES ({x}, {y}, {z})"),
            format!("UPDATE t SET a = {x}, e = {y} WHERE {z}"),
            format!("DELETE FROM t WHERE a > {x} AND a <= {y}"),
            format!("CREATE TABLE u (a INT PRIMARY KEY DEFAULT {x}) SPLIT AT VALUES ({y})"),
        ] {
            if engine.run(&format!("PREPARE p AS {sql}")).is_ok() {
                let _ = engine.run("EXECUTE p ('1', '2')");
            }
            let _ = engine.run(&sql);
        }
    }
}
