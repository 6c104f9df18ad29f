use super::super::field;
use super::*;
use crate::{Key, KeySpan};
use std::cmp::Ordering;
use std::ops::Bound;

fn key(schema: &TableSchema, values: &[Datum]) -> Key {
    key_of(schema, values, &LIMITS).unwrap()
}

fn encoded(datum: &Datum, direction: Direction) -> Vec<u8> {
    let mut out = Vec::new();
    field::encode(datum, direction, &mut out);
    out
}

/// The order that the encoding must keep.
fn compared(schema: &TableSchema, a: &[Datum], b: &[Datum]) -> Ordering {
    let parts = schema.primary_key().iter().zip(a.iter().zip(b));
    let mut orders = parts.map(|(part, (a, b))| match part.direction {
        Direction::Ascending => a.cmp(b),
        Direction::Descending => b.cmp(a),
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn keys_sort_as_their_values((schema, a, b) in two_keys()) {
        prop_assert_eq!(key(&schema, &a).cmp(&key(&schema, &b)), compared(&schema, &a, &b));
    }

    #[test]
    fn nullable_fields_sort_as_their_values(
        (a, b) in any_type().prop_flat_map(|one| {
            let nullable = || prop_oneof![Just(Datum::Null), datum_of(one)];
            (nullable(), nullable())
        }),
        direction in any_direction(),
    ) {
        let order = match direction {
            Direction::Ascending => a.cmp(&b),
            Direction::Descending => b.cmp(&a),
        };
        prop_assert_eq!(encoded(&a, direction).cmp(&encoded(&b, direction)), order);
    }

    #[test]
    fn no_key_begins_another((schema, a, b) in two_keys()) {
        let (a, b) = (key(&schema, &a), key(&schema, &b));
        prop_assert!(a == b || !b.as_bytes().starts_with(a.as_bytes()));
    }

    #[test]
    fn keys_decode_to_their_values((schema, a, _) in two_keys()) {
        let key = key(&schema, &a);
        prop_assert_eq!(decode_key(&schema, &key), Ok(a.clone()));
        let fields: Vec<_> = a
            .into_iter()
            .zip(schema.primary_key())
            .map(|(datum, part)| (datum, part.direction))
            .collect();
        prop_assert_eq!(decode_any_key(&key), Ok(DecodedKey { table: schema.id(), fields }));
    }

    /// Damage anywhere: an error, or another key that encodes back to the same bytes.
    #[test]
    fn damaged_keys_decode_to_themselves_or_not_at_all(
        (schema, a, _) in two_keys(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = key(&schema, &a).as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let cut = Key::from(&bytes[..cut.index(bytes.len() + 1)]);
        for damaged in [Key::from(bytes), cut] {
            check_canonical(&schema, &damaged);
        }
    }

    #[test]
    fn garbage_decodes_to_itself_or_not_at_all(
        (schema, _, _) in two_keys(),
        garbage in vec(prop_oneof![
            any::<u8>(),
            proptest::sample::select(&[0_u8, 1, 0xFF, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38,
                0x80, 0x90, 0x98, 0xA0, 0xA8, 0xB0, 0xB8, 0xF8][..]),
        ], 0..40),
    ) {
        let mut bytes = table_span(schema.id()).start.as_bytes().to_vec();
        check_canonical(&schema, &Key::from(garbage.as_slice()));
        bytes.extend(garbage);
        check_canonical(&schema, &Key::from(bytes));
    }

    #[test]
    fn prefix_span_holds_exactly_the_keys_that_begin_so((schema, a, b) in two_keys()) {
        let key = key(&schema, &b);
        for length in 0..=a.len() {
            let span = prefix_span(&schema, &a[..length], &LIMITS).unwrap();
            let begins = compared(&schema, &a[..length], &b[..length]).is_eq();
            prop_assert_eq!(span.contains(&key), begins);
        }
    }

    #[test]
    fn range_span_holds_exactly_the_keys_between((schema, a, b) in two_keys()) {
        let key = key(&schema, &b);
        for length in 0..=a.len() {
            let bound = &a[..length];
            let span = |lower, upper| range_span(&schema, lower, upper, &LIMITS).unwrap();
            let order = compared(&schema, &b[..length], bound);
            let from = span(Bound::Included(bound), Bound::Unbounded);
            prop_assert_eq!(from.contains(&key), order.is_ge());
            let above = span(Bound::Excluded(bound), Bound::Unbounded);
            prop_assert_eq!(above.contains(&key), order.is_gt());
            let to = span(Bound::Unbounded, Bound::Included(bound));
            prop_assert_eq!(to.contains(&key), order.is_le());
            let below = span(Bound::Unbounded, Bound::Excluded(bound));
            prop_assert_eq!(below.contains(&key), order.is_lt());
        }
    }

    #[test]
    fn split_key_parts_the_rows_below_from_the_others((schema, a, b) in two_keys()) {
        for length in 1..=a.len() {
            let split = split_key(&schema, &a[..length], &LIMITS).unwrap();
            let is_below = compared(&schema, &b[..length], &a[..length]).is_lt();
            prop_assert_eq!(key(&schema, &b) < split, is_below);
            prop_assert!(decode_any_key(&split).is_ok());
        }
    }
}

fn check_canonical(schema: &TableSchema, key: &Key) {
    if let Ok(values) = decode_key(schema, key) {
        assert_eq!(key_of(schema, &values, &LIMITS).unwrap(), *key);
    }
    if let Ok(decoded) = decode_any_key(key) {
        let mut bytes = table_span(decoded.table).start.as_bytes().to_vec();
        for (datum, direction) in decoded.fields {
            field::encode(&datum, direction, &mut bytes);
        }
        assert_eq!(Key::from(bytes), *key);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The examples of docs/formats.md: these bytes are on disks.
#[test]
fn fields_have_the_documented_bytes() {
    use Direction::{Ascending, Descending};
    for (datum, direction, bytes) in [
        (Datum::Null, Ascending, "f8"),
        (Datum::Null, Descending, "08"),
        (Datum::Bool(false), Ascending, "1000"),
        (Datum::Bool(true), Descending, "90fe"),
        (Datum::BigInt(7), Ascending, "188000000000000007"),
        (Datum::BigInt(-1), Ascending, "187fffffffffffffff"),
        (Datum::BigInt(7), Descending, "987ffffffffffffff8"),
        (Datum::Double(1.5), Ascending, "20bff8000000000000"),
        (Datum::Double(-1.5), Ascending, "204007ffffffffffff"),
        (Datum::Double(-0.0), Ascending, "208000000000000000"),
        (Datum::Double(f64::NAN), Ascending, "20fff8000000000000"),
        (Datum::Text("ab".into()), Ascending, "2861620001"),
        (Datum::Text("a\0".into()), Ascending, "286100ff0001"),
        (Datum::Text("a".into()), Descending, "a89efffe"),
        (Datum::Bytes(vec![0, 0xFF]), Ascending, "3000ffff0001"),
        (Datum::TimestampTz(1), Ascending, "388000000000000001"),
    ] {
        assert_eq!(hex(&encoded(&datum, direction)), bytes, "{datum:?} {direction:?}");
    }
}

#[test]
fn key_of_composite_has_the_documented_bytes() {
    let types = [ColumnType::Text, ColumnType::BigInt, ColumnType::Boolean];
    let schema = table(&types, &[Direction::Ascending, Direction::Descending]);
    let row = [Datum::Text("ada".into()), Datum::BigInt(7), Datum::Null];
    let whole = key_of_row(&schema, &row, &LIMITS).unwrap();
    assert_eq!(hex(whole.as_bytes()), "1000000064286164610001987ffffffffffffff8");
    assert_eq!(whole, key(&schema, &row[..2]));
    assert_eq!(table_of(&whole), Some(TableId(100)));
    assert_eq!(table_of(&Key::default()), None);
}

#[test]
fn table_span_ends_where_the_next_table_begins() {
    for id in [0, 99, 255, 0xFFFF, u32::MAX - 1] {
        let (span, next) = (table_span(TableId(id)), table_span(TableId(id + 1)));
        assert_eq!(span.end.as_ref(), Some(&next.start));
        assert!(!span.is_empty());
    }
    let last = KeySpan::new(Key::from(vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF]), Key::from(vec![0x11]));
    assert_eq!(table_span(TableId(u32::MAX)), last);
    let system = table_span(TableId(TableId::FIRST_USER.0 - 1));
    assert!(system.end <= Some(table_span(TableId::FIRST_USER).start));
}

#[test]
fn key_of_values_that_do_not_fit_is_refused() {
    let types = [ColumnType::BigInt, ColumnType::Text, ColumnType::Boolean];
    let schema = table(&types, &[Direction::Ascending; 2]);
    let refusal = |values: &[Datum]| key_of(&schema, values, &LIMITS).unwrap_err();
    let (one, text) = (Datum::BigInt(1), Datum::Text("x".into()));
    let count = |found| EncodeError::Count { table: "t".into(), expected: 2, found };
    assert_eq!(refusal(std::slice::from_ref(&one)), count(1));
    assert_eq!(refusal(&[one.clone(), text.clone(), Datum::Bool(true)]), count(3));
    let null = EncodeError::Null { column: "c2".into() };
    assert_eq!(refusal(&[one.clone(), Datum::Null]), null);
    let (expected, found) = (ColumnType::BigInt, ColumnType::Text);
    let wrong = EncodeError::Type { column: "c1".into(), expected, found };
    assert_eq!(refusal(&[text.clone(), text.clone()]), wrong);
    let long = prefix_span(&schema, &[one.clone(), text.clone(), one], &LIMITS);
    assert_eq!(long.unwrap_err(), count(3));
}

#[test]
fn key_of_the_limit_is_taken_and_one_byte_more_refused() {
    let schema = table(&[ColumnType::Bytea], &[Direction::Ascending]);
    let long = EncodeError::LongKey { table: "t".into(), bytes_max: 8_192 };
    let sized = |value: Vec<u8>| key_of(&schema, &[Datum::Bytes(value)], &LIMITS);
    // Five bytes of header, one of tag, two of end.
    assert_eq!(sized(vec![7; 8_184]).unwrap().as_bytes().len(), 8_192);
    assert_eq!(sized(vec![7; 8_185]), Err(long.clone()));
    // Escapes count.
    assert_eq!(sized(vec![0; 4_092]).unwrap().as_bytes().len(), 8_192);
    assert_eq!(sized(vec![0; 4_093]), Err(long));
}

#[test]
fn decode_key_of_wrong_bytes_says_what_and_where() {
    let schema = table(&[ColumnType::BigInt, ColumnType::Text], &[Direction::Ascending]);
    let good = key(&schema, &[Datum::BigInt(7)]);
    let problem = |bytes: &[u8]| decode_key(&schema, &Key::from(bytes)).unwrap_err();
    let edited = |at: usize, byte: u8| {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = byte;
        problem(&bytes)
    };
    let at = |at, problem| DecodeError { at, problem };
    assert_eq!(problem(&[]), at(0, DecodeProblem::Truncated));
    assert_eq!(problem(&good.as_bytes()[..9]), at(9, DecodeProblem::Truncated));
    assert_eq!(problem(good.successor().as_bytes()), at(14, DecodeProblem::Trailing));
    assert_eq!(edited(0, 0x42), at(0, DecodeProblem::KeySpace { found: 0x42 }));
    let (expected, found) = (TableId(100), TableId(101));
    assert_eq!(edited(4, 101), at(1, DecodeProblem::Table { expected, found }));
    let unknown = DecodeProblem::Unknown { what: "key tag", found: 0x80 };
    assert_eq!(edited(5, 0x80), at(5, unknown));
    let column = ColumnId(1);
    assert_eq!(edited(5, 0x38), at(5, DecodeProblem::Type { column }));
    assert_eq!(edited(5, 0x98), at(5, DecodeProblem::Type { column }));
    assert_eq!(edited(5, 0xF8), at(5, DecodeProblem::NullInKey { column }));
}

#[test]
fn decode_any_key_refuses_second_forms_of_a_value() {
    let problem = |field: &str| {
        let mut bytes = vec![0x10, 0, 0, 0, 100];
        let digit = |at: usize| u8::from_str_radix(&field[at..at + 2], 16).unwrap();
        bytes.extend((0..field.len()).step_by(2).map(digit));
        decode_any_key(&Key::from(bytes)).unwrap_err()
    };
    let not_canonical =
        |at, what| DecodeError { at, problem: DecodeProblem::NotCanonical { what } };
    assert_eq!(problem("1002"), not_canonical(6, "boolean"));
    assert_eq!(problem("207fffffffffffffff"), not_canonical(6, "double"), "-0.0");
    assert_eq!(problem("20fff8000000000001"), not_canonical(6, "double"), "a NaN");
    assert_eq!(problem("20000000000000000f"), not_canonical(6, "double"), "a negative NaN");
    assert_eq!(problem("28610002"), not_canonical(8, "escape"));
    assert_eq!(problem("28ff0001"), DecodeError { at: 6, problem: DecodeProblem::NotUtf8 });
}
