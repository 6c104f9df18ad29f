//! What the golden files cannot hold: extreme arguments for every function there is, and what depends on the
//! environment or is seen beside the result.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::aggregate::{self, Accumulator};
use super::super::cast::{self, Coercion};
use super::super::env::{ByteaOutput, Env, SessionEnv};
use super::super::function::{self, Function, Rest, Volatility};
use super::super::functions;
use super::super::types::Type;
use super::super::value::{GroupKey, Value};
use crate::error::{SqlError, SqlState};

/// Values at the ends of each type's range, and where they turn.
fn extremes(ty: Type) -> Vec<Value> {
    let env = Env::default();
    let texts: &[&str] = match ty {
        Type::Unknown | Type::Text => {
            &["", "x", "%", "\\", "日本語", "day", "hex", "UTC", "America/New_York", "-", "a,b,c"]
        }
        Type::Boolean => &["t", "f"],
        Type::SmallInt => &["0", "1", "-1", "32767", "-32768"],
        Type::Int => &["0", "1", "-1", "3", "2147483647", "-2147483648"],
        Type::BigInt => &["0", "1", "-1", "9223372036854775807", "-9223372036854775808"],
        Type::Numeric => &[
            "0",
            "1",
            "-1",
            "0.0000000000000000000000000001",
            "-0.9999999999999999999999999999",
            "79228162514264337593543950335",
            "-79228162514264337593543950335",
            "7.9228162514264337593543950335",
            "12345678901234567890.5",
        ],
        Type::Double => &[
            "0",
            "-0",
            "1.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
            "4.9e-324",
            "1e19",
        ],
        Type::Bytea => &["", "\\x00", "\\xff", "abc"],
        Type::TimestampTz => &[
            "infinity",
            "-infinity",
            "epoch",
            "4714-11-24 00:00:00+00 BC",
            "294247-01-10 04:00:54+00",
        ],
    };
    let mut values: Vec<Value> =
        texts.iter().map(|text| Value::from_text(text, ty, &env).unwrap()).collect();
    if ty == Type::TimestampTz {
        // A row can hold what no text is.
        values.extend([i64::MAX - 1, i64::MIN + 1].map(Value::TimestampTz));
    }
    values.push(Value::Null);
    values
}

fn is_of(value: &Value, ty: Type) -> bool {
    match (value, ty) {
        (Value::Int(value), Type::SmallInt) => i16::try_from(*value).is_ok(),
        (Value::Int(value), Type::Int) => i32::try_from(*value).is_ok(),
        (Value::Null, _)
        | (Value::Bool(_), Type::Boolean)
        | (Value::Int(_), Type::BigInt)
        | (Value::Double(_), Type::Double)
        | (Value::Numeric(_), Type::Numeric)
        | (Value::Text(_), Type::Text | Type::Unknown)
        | (Value::Bytes(_), Type::Bytea)
        | (Value::TimestampTz(_), Type::TimestampTz) => true,
        _ => false,
    }
}

fn is_own_fault(error: &SqlError) -> bool {
    error.state == SqlState::INTERNAL_ERROR
}

/// Calls a function with all combinations of extremes.
fn check_function(function: &'static Function) -> usize {
    let mut types = function.arguments.to_vec();
    if function.rest == Rest::Any {
        types.extend([Type::Text, Type::Double]);
    }
    let mut combinations = vec![Vec::new()];
    for ty in types {
        let values = extremes(ty);
        let longer = |start: &Vec<Value>| {
            let start = start.clone();
            values.iter().map(move |value| [start.as_slice(), std::slice::from_ref(value)].concat())
        };
        combinations =
            combinations.iter().flat_map(|start| longer(start).collect::<Vec<_>>()).collect();
    }
    for arguments in &combinations {
        let mut env = Env::default();
        match function.call(arguments, &mut env) {
            Ok(value) => {
                assert!(is_of(&value, function.returns), "{function:?}{arguments:?} is {value:?}");
                let _ = value.to_text(function.returns, &env);
            }
            Err(error) => assert!(!is_own_fault(&error), "{function:?}{arguments:?}: {error}"),
        }
    }
    combinations.len()
}

#[test]
fn no_function_panics_and_results_are_of_their_type() {
    let calls: usize = functions::all().map(check_function).sum();
    assert!(calls > 10_000, "{calls} calls");
}

#[test]
fn functions_are_found_by_their_own_types() {
    for function in functions::all().filter(|function| function.rest == Rest::None) {
        let is_operator = !function.name.starts_with(|c: char| c.is_ascii_alphabetic());
        let found = match function.arguments {
            [right] if is_operator => function::resolve_operator(function.name, None, *right),
            [left, right] if is_operator => {
                function::resolve_operator(function.name, Some(*left), *right)
            }
            arguments => function::resolve_function(function.name, arguments),
        };
        let found = found.unwrap().function;
        assert!(std::ptr::eq(found, function), "{function:?} is there twice");
    }
}

#[test]
fn casts_give_values_of_their_type() {
    let env = Env::default();
    for (from, to) in Type::ALL.iter().flat_map(|from| Type::ALL.map(|to| (*from, to))) {
        for value in extremes(from) {
            let result = cast::cast(value.clone(), from, to, &env);
            let exists = cast::can_cast(from, to, Coercion::Explicit);
            match result {
                Ok(result) => assert!(exists && is_of(&result, to), "{value:?} {from} to {to}"),
                Err(error) if error.state == SqlState::CANNOT_COERCE => assert!(!exists),
                Err(error) => assert!(!is_own_fault(&error), "{value:?} {from} to {to}: {error}"),
            }
        }
    }
}

#[test]
fn texts_read_back_as_the_value() {
    let env = Env::default();
    for ty in Type::ALL {
        for value in extremes(ty).into_iter().filter(|value| !value.is_null()) {
            let text = value.to_text(ty, &env);
            if value == Value::TimestampTz(i64::MIN + 1) {
                continue;
            }
            assert_eq!(Value::from_text(&text, ty, &env).unwrap(), value, "{text} of {ty}");
        }
    }
}

#[test]
fn aggregates_take_extremes() {
    for name in ["count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every"] {
        assert!(aggregate::is_aggregate(name));
        for ty in Type::ALL {
            let Ok(resolved) = aggregate::resolve_aggregate(name, &[ty]) else { continue };
            let mut accumulator = Accumulator::new(&resolved);
            let values = extremes(resolved.argument.unwrap());
            let added: Result<(), SqlError> =
                values.iter().try_for_each(|value| accumulator.add(value));
            match added.and_then(|()| accumulator.finish()) {
                Ok(value) => assert!(is_of(&value, resolved.returns), "{name}({ty}) is {value:?}"),
                Err(error) => assert!(!is_own_fault(&error), "{name}({ty}): {error}"),
            }
        }
    }
    assert!(!aggregate::is_aggregate("lower"));
}

#[test]
fn count_of_rows_counts_nulls() {
    let resolved = aggregate::resolve_aggregate("count", &[]).unwrap();
    let mut accumulator = Accumulator::new(&resolved);
    accumulator.add(&Value::Null).unwrap();
    accumulator.add(&Value::Int(1)).unwrap();
    assert_eq!(accumulator.finish().unwrap(), Value::Int(2));
    let error = aggregate::resolve_aggregate("sum", &[]).unwrap_err();
    assert_eq!(error.state, SqlState::UNDEFINED_FUNCTION);
}

#[test]
fn keys_group_nulls_and_order_them_last() {
    let key = |value| GroupKey(vec![Value::Int(1), value]);
    assert_eq!(key(Value::Null), key(Value::Null));
    assert!(key(Value::Int(i64::MAX)) < key(Value::Null));
    assert!(key(Value::Double(f64::INFINITY)) < key(Value::Double(f64::NAN)));
    assert_eq!(key(Value::Double(0.0)), key(Value::Double(-0.0)));
    let groups: BTreeMap<GroupKey, ()> = [(key(Value::Null), ()), (key(Value::Null), ())].into();
    assert_eq!(groups.len(), 1);
}

fn call(name: &str, arguments: &[(Type, Value)], env: &mut Env) -> Result<Value, SqlError> {
    let types: Vec<Type> = arguments.iter().map(|(ty, _)| *ty).collect();
    let resolved = function::resolve_function(name, &types)?;
    let values: Result<Vec<Value>, SqlError> = arguments
        .iter()
        .zip(&resolved.arguments)
        .map(|((from, value), to)| cast::cast(value.clone(), *from, *to, env))
        .collect();
    resolved.function.call(&values?, env)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn the_environment_answers_for_the_session() {
    let mut env = Env {
        transaction_micros: 1,
        statement_micros: 2,
        clock_micros: 3,
        session: Arc::new(SessionEnv {
            user: "ada".to_owned(),
            database: "engine".to_owned(),
            version: "PostgreSQL 15".to_owned(),
            backend_pid: 7,
            settings: [("timezone".to_owned(), "UTC".to_owned())].into(),
            ..SessionEnv::default()
        }),
        ..Env::default()
    };
    for (name, expected) in [
        ("now", Value::TimestampTz(1)),
        ("current_timestamp", Value::TimestampTz(1)),
        ("transaction_timestamp", Value::TimestampTz(1)),
        ("statement_timestamp", Value::TimestampTz(2)),
        ("clock_timestamp", Value::TimestampTz(3)),
        ("current_user", text("ada")),
        ("user", text("ada")),
        ("session_user", text("ada")),
        ("current_database", text("engine")),
        ("current_schema", text("public")),
        ("version", text("PostgreSQL 15")),
        ("pg_backend_pid", Value::Int(7)),
    ] {
        assert_eq!(call(name, &[], &mut env).unwrap(), expected, "{name}");
    }
    let name = |name: &str| (Type::Unknown, text(name));
    assert_eq!(call("current_setting", &[name("TimeZone")], &mut env).unwrap(), text("UTC"));
    let error = call("current_setting", &[name("no.such")], &mut env).unwrap_err();
    assert_eq!(error.message, "unrecognized configuration parameter \"no.such\"");
    let missing_ok = (Type::Boolean, Value::Bool(true));
    assert!(call("current_setting", &[name("no.such"), missing_ok], &mut env).unwrap().is_null());
}

#[test]
fn words_for_instants_come_from_the_environment() {
    let new_york = Env::time_zone_named("america/new_york").unwrap();
    // 2026-11-25 03:00 in UTC is the day before in New York.
    let micros = 1_795_575_600_000_000;
    let session = Arc::new(SessionEnv { time_zone: new_york, ..SessionEnv::default() });
    let env = Env { transaction_micros: micros, session, ..Env::default() };
    for (word, expected) in [
        ("now", "2026-11-24 22:00:00-05"),
        ("today", "2026-11-24 00:00:00-05"),
        ("Tomorrow", "2026-11-25 00:00:00-05"),
        ("yesterday 10:30", "2026-11-23 10:30:00-05"),
        ("today 10:30 UTC", "2026-11-24 05:30:00-05"),
    ] {
        let value = Value::from_text(word, Type::TimestampTz, &env).unwrap();
        assert_eq!(value.to_text(Type::TimestampTz, &env), expected, "{word}");
    }
    for (name, expected) in [
        ("-03:30", "1970-01-01 03:30:00+03:30"),
        ("+02:30", "1969-12-31 21:30:00-02:30"),
        ("UTC+3", "1969-12-31 21:00:00-03"),
        ("5", "1970-01-01 05:00:00+05"),
        ("-5", "1969-12-31 19:00:00-05"),
        ("+02", "1970-01-01 02:00:00+02"),
        ("5.5", "1970-01-01 05:30:00+05:30"),
    ] {
        let time_zone = Env::time_zone_named(name).unwrap();
        let session = Arc::new(SessionEnv { time_zone, ..SessionEnv::default() });
        let env = Env { session, ..Env::default() };
        assert_eq!(Value::TimestampTz(0).to_text(Type::TimestampTz, &env), expected, "{name}");
    }
    for name in ["nowhere", "", "+", "++5", "168", "é"] {
        assert!(Env::time_zone_named(name).is_none(), "{name}");
    }
}

#[test]
fn settings_change_the_output() {
    let session = SessionEnv {
        extra_float_digits: 0,
        bytea_output: ByteaOutput::Escape,
        ..SessionEnv::default()
    };
    let env = Env { session: Arc::new(session), ..Env::default() };
    for (value, ty, expected) in [
        (Value::Double(0.1 + 0.2), Type::Double, "0.3"),
        (Value::Double(1e20 / 3.0), Type::Double, "3.33333333333333e+19"),
        (Value::Double(-0.0), Type::Double, "-0"),
        (Value::Bytes(b"a\\\x00\xff ".to_vec()), Type::Bytea, "a\\\\\\000\\377 "),
    ] {
        assert_eq!(value.to_text(ty, &env), expected);
    }
}

#[test]
fn random_values_follow_the_seed() {
    let mut env = Env { random: 1, ..Env::default() };
    let mut again = env.clone();
    let first = call("random", &[], &mut env).unwrap();
    assert_eq!(first, call("random", &[], &mut again).unwrap());
    assert_ne!(first, call("random", &[], &mut env).unwrap());
    assert!(matches!(first, Value::Double(value) if (0.0..1.0).contains(&value)));
    let Value::Text(uuid) = call("gen_random_uuid", &[], &mut env).unwrap() else { panic!() };
    let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(&uuid[14..15], "4");
    assert!(["8", "9", "a", "b"].contains(&&uuid[19..20]));
}

#[test]
fn names_of_types_and_volatility() {
    let mut env = Env::default();
    for ty in Type::ALL {
        assert_eq!(call("pg_typeof", &[(ty, Value::Null)], &mut env).unwrap(), text(ty.name()));
        assert_eq!(Type::parse_name(ty.name()), Some(ty));
    }
    for (name, volatility) in [
        ("random", Volatility::Volatile),
        ("clock_timestamp", Volatility::Volatile),
        ("now", Volatility::Stable),
        ("pi", Volatility::Immutable),
    ] {
        let function = function::resolve_function(name, &[]).unwrap().function;
        assert_eq!(function.volatility, volatility, "{name}");
    }
}

#[test]
fn errors_have_hints() {
    let error = function::resolve_operator("+", Some(Type::Text), Type::Int).unwrap_err();
    assert_eq!(error.message, "operator does not exist: text + integer");
    let hint = "No operator matches the given name and argument types. \
                You might need to add explicit type casts.";
    assert_eq!(error.hint.as_deref(), Some(hint));
    let error = Value::from_text("2024-13-01", Type::TimestampTz, &Env::default()).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("Perhaps you need a different \"datestyle\" setting."));
}

#[test]
fn lines_of_base64_are_cut() {
    let mut env = Env::default();
    let bytes = (Type::Bytea, Value::Bytes(vec![0; 58]));
    let encoded =
        call("encode", &[bytes.clone(), (Type::Unknown, text("base64"))], &mut env).unwrap();
    let expected = format!("{}\nAA==", "A".repeat(76));
    assert_eq!(encoded, text(&expected));
    let decoded =
        call("decode", &[(Type::Text, encoded), (Type::Unknown, text("base64"))], &mut env);
    assert_eq!(decoded.unwrap(), bytes.1);
}
