//! Reading by keys gives what reading everything and filtering gives.

use proptest::prelude::{Just, Strategy, proptest};
use proptest::{collection, prop_assert_eq, prop_oneof, sample};

use super::engine::Engine;

/// A constant to compare with; many are out of range, between values, or of another type.
fn constant() -> impl Strategy<Value = String> + Clone {
    let odd = [
        "NULL",
        "1.5",
        "-0.5",
        "2.0",
        "5000000000",
        "-5000000000",
        "40000",
        "'1'",
        "1::smallint",
        "2::float8",
        "0.5::float8",
        "'NaN'::float8",
        "'Infinity'::float8",
        "'-Infinity'::float8",
        "1e30",
        "99999999999999999999",
        "1 + 1",
        "9007199254740993::float8",
    ];
    prop_oneof![
        3 => (-2..4_i32).prop_map(|n| n.to_string()),
        1 => sample::select(odd.to_vec()).prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    sample::select(vec!["''", "'a'", "'ab'", "'b'", "NULL", "'a' || 'b'"]).prop_map(str::to_owned)
}

fn comparison() -> impl Strategy<Value = &'static str> + Clone {
    sample::select(vec![
        "=",
        "=",
        "=",
        "<",
        "<=",
        ">",
        ">=",
        "<>",
        "IS DISTINCT FROM",
        "IS NOT DISTINCT FROM",
    ])
}

fn atom() -> impl Strategy<Value = String> {
    let column = sample::select(vec!["a", "b", "d"]);
    let number = (column.clone(), comparison(), constant());
    let mirrored =
        number.clone().prop_map(|(column, sign, value)| format!("{value} {sign} {column}"));
    let list = (column.clone(), collection::vec(constant(), 1..4));
    let between = (column, constant(), constant());
    prop_oneof![
        6 => number.prop_map(|(column, sign, value)| format!("{column} {sign} {value}")),
        1 => mirrored,
        3 => (comparison(), text()).prop_map(|(sign, value)| format!("c {sign} {value}")),
        2 => list.prop_map(|(column, list)| format!("{column} IN ({})", list.join(", "))),
        1 => between.prop_map(|(column, low, high)| format!("{column} BETWEEN {low} AND {high}")),
        1 => Just("a IS NULL".to_owned()),
        1 => Just("a = b".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 24, 4, |inner| {
        let some = collection::vec(inner.clone(), 2..5);
        prop_oneof![
            3 => some.clone().prop_map(|all| format!("({})", all.join(" AND "))),
            2 => some.prop_map(|all| format!("({})", all.join(" OR "))),
            1 => inner.prop_map(|one| format!("NOT ({one})")),
        ]
    })
}

const KEYS: [&str; 5] = ["a, b, c", "b", "d, a", "c, d", "a, d, b"];

proptest! {
    #[test]
    fn keys_find_what_a_filter_finds(
        condition in condition(),
        key in sample::select(KEYS.to_vec()),
        rows in collection::vec((-2..4_i32, -2..4_i32, sample::select(vec!["", "a", "ab", "b"]), -2..4_i64), 0..25),
    ) {
        let mut engine = Engine::default();
        let columns = "a INT NOT NULL, b SMALLINT NOT NULL, c TEXT NOT NULL, d BIGINT NOT NULL";
        engine.run(&format!("CREATE TABLE keyed ({columns}, PRIMARY KEY ({key}))")).unwrap();
        engine.run(&format!("CREATE TABLE plain (n INT PRIMARY KEY, {columns})")).unwrap();
        let mut n = 0;
        for (a, b, c, d) in rows {
            let row = format!("{a}, {b}, '{c}', {d}");
            if engine.run(&format!("INSERT INTO keyed VALUES ({row})")).is_ok() {
                n += 1;
                engine.run(&format!("INSERT INTO plain VALUES ({n}, {row})")).unwrap();
            }
        }
        let read = |engine: &mut Engine, table: &str| {
            let sql = format!("SELECT a, b, c, d FROM {table} WHERE {condition} ORDER BY a, b, c, d");
            engine.run(&sql).map(|outcome| outcome.text()).map_err(|error| error.state)
        };
        let (by_key, by_filter) = (read(&mut engine, "keyed"), read(&mut engine, "plain"));
        prop_assert_eq!(&by_key, &by_filter, "{}", &condition);
        // In the order of the key no sort is needed; the answer is the same.
        let sorted = |engine: &mut Engine, table: &str| {
            let sql = format!("SELECT {key} FROM {table} WHERE {condition} ORDER BY {key} LIMIT 3");
            engine.run(&sql).map(|outcome| outcome.text()).map_err(|error| error.state)
        };
        prop_assert_eq!(sorted(&mut engine, "keyed"), sorted(&mut engine, "plain"));
        let deleted = |engine: &mut Engine, table: &str| {
            engine.run(&format!("DELETE FROM {table} WHERE {condition}")).map(|outcome| outcome.text())
        };
        prop_assert_eq!(deleted(&mut engine, "keyed"), deleted(&mut engine, "plain"));
    }
}
