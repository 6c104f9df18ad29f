//! Tests of the parser: our extensions, limits, and that no text makes it panic.

use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::prop_oneof;
use std::time::Duration;
use truetime::Timestamp;

use super::ast::{AsOf, Body, Expr, Split};
use super::{Isolation, Limits, SetValue, Statement, TransactionModes, parse};
use crate::error::{SqlError, SqlState};

fn one(text: &str) -> Statement {
    let mut statements = parse(text, &Limits::default()).unwrap();
    assert_eq!(statements.len(), 1, "{text}");
    statements.pop().unwrap()
}

fn refused(text: &str) -> SqlError {
    parse(text, &Limits::default()).unwrap_err()
}

/// What runs in the 2 MiB of a thread runs in a core's.
fn on_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

fn as_of(text: &str) -> AsOf {
    match one(&format!("SELECT * FROM t AS OF SYSTEM TIME {text}")) {
        Statement::Query(query) => query.as_of.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn statements_are_separated_by_semicolons() {
    let statements = parse("; SELECT 1;; -- nothing\n COMMIT ;", &Limits::default()).unwrap();
    assert_eq!(statements.len(), 2);
    assert!(parse(" /* nothing */ ;", &Limits::default()).unwrap().is_empty());
}

#[test]
fn times_of_reads() {
    assert_eq!(as_of("'-10s'"), AsOf::Ago(Duration::from_secs(10)));
    assert_eq!(as_of("'-1.5m'"), AsOf::Ago(Duration::from_secs(90)));
    assert_eq!(as_of("'-1h2m3ms'"), AsOf::Ago(Duration::from_millis(3_720_003)));
    assert_eq!(as_of("42"), AsOf::Timestamp(Timestamp::from_nanos(42)));
    assert_eq!(as_of("'42.000'"), AsOf::Timestamp(Timestamp::from_nanos(42)));
    let second = AsOf::Timestamp(Timestamp::from_nanos(1_000_000_000));
    assert_eq!(as_of("'1970-01-01 00:00:01+00'"), second);
    assert_eq!(as_of("'1970-01-01 00:00:01'"), second, "a time without a zone is in UTC");
    assert_eq!(as_of("'1970-01-01 00:00:01+00'::timestamptz"), second);
    assert_eq!(as_of("with_max_staleness('5s')"), AsOf::MaxStaleness(Duration::from_secs(5)));
}

#[test]
fn clauses_of_ours_are_cut_out() {
    let Statement::CreateTable(create) =
        one("CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES (1), (1 + 1)")
    else {
        panic!("a table");
    };
    assert!(matches!(create.split, Some(Split::At(keys)) if keys.len() == 2));
    let Statement::CreateTable(create) =
        one("CREATE TABLE t (a INT, PRIMARY KEY (a)) SPLIT INTO 4 SHARDS FROM (-10) TO (10)")
    else {
        panic!("a table");
    };
    assert!(matches!(create.split, Some(Split::Evenly { .. })));
}

#[test]
fn transactions_and_settings() {
    let modes = TransactionModes {
        isolation: Some(Isolation::RepeatableRead),
        read_only: Some(true),
        deferrable: Some(false),
    };
    let text = "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY NOT DEFERRABLE";
    assert_eq!(one(text), Statement::Begin { modes, as_of: None });
    assert_eq!(one("END WORK AND CHAIN"), Statement::Commit { chain: true });
    assert_eq!(one("abort and no chain"), Statement::Rollback { chain: false });
    let set = |name: &str, values: &[&str], local| Statement::Set {
        name: name.to_owned(),
        value: SetValue::Values(values.iter().map(|value| (*value).to_owned()).collect()),
        local,
    };
    assert_eq!(one("SET search_path TO a, \"B\""), set("search_path", &["a", "B"], false));
    assert_eq!(one("SET LOCAL Statement_Timeout = 100"), set("statement_timeout", &["100"], true));
    assert_eq!(one("SET SESSION x.y = 'z'"), set("x.y", &["z"], false));
    assert_eq!(one("SET TIME ZONE 'Europe/Berlin'"), set("timezone", &["Europe/Berlin"], false));
    let value = SetValue::Default;
    assert_eq!(
        one("SET x TO DEFAULT"),
        Statement::Set { name: "x".to_owned(), value, local: false }
    );
    let cluster = |name: &str, value: Option<&str>| Statement::SetClusterSetting {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    assert_eq!(one("SET CLUSTER SETTING txn.idle = '10s'"), cluster("txn.idle", Some("10s")));
    assert_eq!(one("RESET CLUSTER SETTING txn.idle"), cluster("txn.idle", None));
    assert_eq!(one("SHOW CLUSTER SETTINGS"), Statement::ShowClusterSetting { name: None });
    assert_eq!(
        one("SHOW TRANSACTION ISOLATION LEVEL"),
        Statement::Show { name: "transaction_isolation".to_owned() }
    );
    assert_eq!(one("DEALLOCATE ALL"), Statement::Deallocate { all: true });
}

#[test]
fn names_fold_unless_quoted_and_tables_are_listed() {
    assert_eq!(one("SELECT * FROM public.\"T\"").tables(), ["T"]);
    assert_eq!(one("INSERT INTO A SELECT * FROM B").tables(), ["a", "b"]);
    assert_eq!(one("EXPLAIN DELETE FROM T").tables(), ["t"]);
}

#[test]
fn limits_are_typed() {
    let limits = Limits { statement_bytes_max: 10, ..Limits::default() };
    let error = parse("SELECT 1234567", &limits).unwrap_err();
    assert_eq!(error.state, SqlState::STATEMENT_TOO_COMPLEX);
    let limits = Limits { tokens_max: 10, ..Limits::default() };
    let error = parse("SELECT 1,1,1,1,1,1", &limits).unwrap_err();
    assert_eq!(error.state, SqlState::STATEMENT_TOO_COMPLEX);
    assert!(parse("SELECT 'a, b, c, d, e, f, g, h, i, j, k' -- , , , , ,", &limits).is_ok());
    assert_eq!(refused("SELECT $65536").state, SqlState::PROGRAM_LIMIT_EXCEEDED);
    assert!(parse("SELECT $65535", &Limits::default()).is_ok());
}

#[test]
fn nesting_is_limited_and_a_chain_is_one_level() {
    on_small_stack(|| {
        let nested =
            |open: &str, close: &str, n| format!("SELECT {}1{}", open.repeat(n), close.repeat(n));
        for (open, close) in [("(", ")"), ("(1 + ", ")"), ("abs(", ")"), ("(1 = 1 + ", ")")] {
            assert!(parse(&nested(open, close, 60), &Limits::default()).is_ok(), "{open}");
            let error = refused(&nested(open, close, 70));
            assert_eq!(error.state, SqlState::STATEMENT_TOO_COMPLEX, "{open}");
        }
        for (open, close) in [
            ("NOT ", ""),
            ("- ", ""),
            ("CASE WHEN ", " THEN 1 END"),
            ("", "::int"),
            ("", " IS NULL"),
        ] {
            for n in [1_000, 15_000] {
                let error = refused(&nested(open, close, n));
                assert_eq!(error.state, SqlState::STATEMENT_TOO_COMPLEX, "{open}{close}");
            }
        }
        let in_from =
            |n| format!("SELECT 1 FROM {}t{}", "(SELECT * FROM ".repeat(n), ") x".repeat(n));
        assert_eq!(refused(&in_from(22)).state, SqlState::STATEMENT_TOO_COMPLEX);
        assert_eq!(refused(&in_from(21)).state, SqlState::FEATURE_NOT_SUPPORTED);
        let joins = format!("SELECT 1 FROM {}t{}", "(".repeat(63), ")".repeat(63));
        assert_eq!(refused(&joins).state, SqlState::SYNTAX_ERROR);
        for word in ["EXPLAIN ", "PREPARE p AS ", "DESC ", "CASE WHEN 1 THEN ", "WHILE 1 BEGIN "] {
            let nested = format!("{} SELECT 1", word.repeat(10_000));
            assert!(parse(&nested, &Limits::default()).is_err(), "{word}");
        }
    });
}

#[test]
fn chains_are_flat_up_to_a_limit() {
    on_small_stack(|| {
        for (link, terms) in [("1 + ", 10_000), ("true OR ", 10_000), ("true AND ", 19_000)] {
            let Statement::Query(query) = one(&format!("SELECT {}1", link.repeat(terms))) else {
                panic!("a query");
            };
            let Body::Select(select) = &query.body else { panic!("a SELECT") };
            let super::ast::Item::Expr(expr, _) = &select.items[0] else { panic!("an item") };
            let length = match expr {
                Expr::Fold(_, steps) => steps.len(),
                Expr::And(operands) | Expr::Or(operands) => operands.len() - 1,
                other => panic!("{other:?}"),
            };
            assert_eq!(length, terms);
            drop(query.clone());
            // The tree that is thrown away when the text ends badly is as deep.
            let broken = refused(&format!("SELECT {}", link.repeat(terms)));
            assert_eq!(broken.state, SqlState::SYNTAX_ERROR);
        }
        for link in ["1 + ", "true OR ", "1 = 1 AND 1 < 2 OR ", "a || ", "1 - -"] {
            let error = refused(&format!("SELECT {}1", link.repeat(100_000)));
            assert_eq!(error.state, SqlState::STATEMENT_TOO_COMPLEX, "{link}");
        }
        let unions = format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(30_000));
        assert_eq!(refused(&unions).state, SqlState::STATEMENT_TOO_COMPLEX);
    });
}

/// Words, signs and texts that statements are made of.
fn token() -> impl Strategy<Value = String> {
    let words = "SELECT FROM WHERE GROUP BY ORDER LIMIT OFFSET INSERT INTO VALUES UPDATE SET DELETE \
        CREATE TABLE DROP PRIMARY KEY DEFAULT NOT NULL AND OR IN BETWEEN SYMMETRIC LIKE ESCAPE IS CASE \
        WHEN THEN ELSE END CAST AS OF SYSTEM TIME SPLIT AT INTO SHARDS TO BEGIN READ ONLY COMMIT SHOW \
        CLUSTER SETTING PREPARE EXECUTE EXPLAIN FOR DISTINCT count filter a b t \"Q\" int bigint text \
        trim leading extract year substring position overlay interval array with union join on \
        ( ) , . ; + - * / % ^ = <> < <= > >= || :: ~ ! @ # & | $1 $0 $99999 1 2.5 1e400 'x' E'\\\\' \
        '-10s' $$ $q$ /* */ -- [ ] { } : := ? @-@ '' \\ ` 0x1F 1_000 U&'x' X'1F' B'01' N'n'";
    let words: Vec<&'static str> = words.split_whitespace().collect();
    prop_oneof![
        8 => proptest::sample::select(words).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => Just("\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_tokens_make_it_panic(tokens in proptest::collection::vec(token(), 0..40)) {
        for between in [" ", ""] {
            let _ = parse(&tokens.join(between), &Limits::default());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text, &Limits::default());
        let _ = parse(&format!("SELECT {text}"), &Limits::default());
    }
}
