use super::*;
use crate::{Key, Value};

/// A table of nullable columns after a BIGINT key, and a row of it.
fn any_row() -> impl Strategy<Value = (TableSchema, Vec<Datum>)> {
    vec(any_type(), 0..6).prop_flat_map(|types| {
        let nullable = |one: &ColumnType| prop_oneof![Just(Datum::Null), datum_of(*one)];
        let values: Vec<_> = types.iter().map(nullable).collect();
        let types: Vec<_> = std::iter::once(ColumnType::BigInt).chain(types).collect();
        (Just(table(&types, &[Direction::Ascending])), any::<i64>(), values).prop_map(
            |(schema, id, values)| {
                (schema, std::iter::once(Datum::BigInt(id)).chain(values).collect())
            },
        )
    })
}

fn encoded(schema: &TableSchema, row: &[Datum]) -> (Key, Value) {
    let key = key_of_row(schema, row, &LIMITS).unwrap();
    (key, encode_row(schema, row, &LIMITS).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn rows_decode_to_their_values((schema, row) in any_row()) {
        let (key, value) = encoded(&schema, &row);
        prop_assert_eq!(decode_row(&schema, &key, &value), Ok(row));
    }

    #[test]
    fn cut_rows_are_refused((schema, row) in any_row(), cut in any::<prop::sample::Index>()) {
        let (key, value) = encoded(&schema, &row);
        let cut = &value.as_bytes()[..cut.index(value.as_bytes().len())];
        prop_assert!(decode_row(&schema, &key, &Value::from(cut)).is_err());
    }

    /// Damage anywhere: an error, or a row that encodes back to the same bytes, unless an entry became
    /// one of a column that the schema does not know.
    #[test]
    fn damaged_rows_decode_to_themselves_or_not_at_all(
        (schema, row) in any_row(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (key, value) = encoded(&schema, &row);
        let mut bytes = value.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check_canonical(&schema, &key, &bytes);
    }

    #[test]
    fn garbage_decodes_to_itself_or_not_at_all(
        (schema, row) in any_row(),
        garbage in vec(prop_oneof![any::<u8>(), 0..0x20_u8], 0..40),
    ) {
        let key = key_of_row(&schema, &row, &LIMITS).unwrap();
        check_canonical(&schema, &key, &garbage);
        let mut versioned = vec![1];
        versioned.extend(garbage);
        check_canonical(&schema, &key, &versioned);
    }
}

fn check_canonical(schema: &TableSchema, key: &Key, bytes: &[u8]) {
    let value = Value::from(bytes);
    let Ok(row) = decode_row(schema, key, &value) else { return };
    let again = encode_row(schema, &row, &LIMITS).unwrap();
    // Entries of unknown columns are not in `again`.
    let entries = row.iter().skip(1).filter(|datum| !datum.is_null()).count();
    if bytes[1] == u8::try_from(entries).unwrap() {
        assert_eq!(again, value);
    } else {
        assert!(again.as_bytes().len() < bytes.len());
    }
}

/// One column of each type after the key.
fn wide() -> TableSchema {
    let types: Vec<_> = std::iter::once(ColumnType::BigInt).chain(TYPES).collect();
    table(&types, &[Direction::Ascending])
}

fn wide_row() -> Vec<Datum> {
    vec![
        Datum::BigInt(7),
        Datum::BigInt(-65),
        Datum::Double(-0.0),
        Datum::Text("ada".into()),
        Datum::Bool(true),
        Datum::Bytes(vec![0, 255]),
        Datum::TimestampTz(300),
    ]
}

/// The example of docs/formats.md: these bytes are on disks.
#[test]
fn encode_row_has_the_documented_bytes() {
    let (_, value) = encoded(&wide(), &wide_row());
    let bytes = [
        &[1, 6][..],
        &[2 << 3 | 2, 0x81, 0x01],
        &[1 << 3 | 3, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[1 << 3 | 4, 3, b'a', b'd', b'a'],
        &[1 << 3 | 1],
        &[1 << 3 | 4, 2, 0, 255],
        &[1 << 3 | 2, 0xD8, 0x04],
    ];
    assert_eq!(value.as_bytes(), bytes.concat());
}

#[test]
fn decode_row_keeps_the_sign_of_zero() {
    let (key, value) = encoded(&wide(), &wide_row());
    let row = decode_row(&wide(), &key, &value).unwrap();
    assert!(matches!(row[2], Datum::Double(zero) if zero.is_sign_negative()));
}

#[test]
fn decode_row_after_columns_were_dropped_added_and_moved_finds_each_by_id() {
    let (key, value) = encoded(&wide(), &wide_row());
    let mut parts = wide().into_parts();
    // c3 and c6 are dropped, c8 is new, and the others stand in another order.
    parts.columns.retain(|column| ![3, 6].contains(&column.id.0));
    let (name, column_type) = ("new".to_owned(), ColumnType::Text);
    parts
        .columns
        .insert(1, Column { name, id: ColumnId(8), column_type, not_null: true, default: None });
    parts.columns.reverse();
    let changed = TableSchema::new(parts).unwrap();
    let names: Vec<_> = changed.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["c7", "c5", "c4", "c2", "new", "c1"]);
    let row = decode_row(&changed, &key, &value).unwrap();
    let expected = [
        Datum::TimestampTz(300),
        Datum::Bool(true),
        Datum::Text("ada".into()),
        Datum::BigInt(-65),
        Datum::Null,
        Datum::BigInt(7),
    ];
    assert_eq!(row, expected);
}

#[test]
fn encode_row_values_that_do_not_fit_are_refused() {
    let mut parts = wide().into_parts();
    parts.columns[3].not_null = true;
    let schema = TableSchema::new(parts).unwrap();
    let refusal = |at: usize, datum| {
        let mut row = wide_row();
        row[at] = datum;
        encode_row(&schema, &row, &LIMITS).unwrap_err()
    };
    let (expected, found) = (ColumnType::TimestampTz, ColumnType::BigInt);
    let wrong = EncodeError::Type { column: "c7".into(), expected, found };
    assert_eq!(refusal(6, Datum::BigInt(1)), wrong);
    assert_eq!(refusal(3, Datum::Null), EncodeError::Null { column: "c4".into() });
    let short = encode_row(&schema, &wide_row()[1..], &LIMITS).unwrap_err();
    assert_eq!(short, EncodeError::Count { table: "t".into(), expected: 7, found: 6 });
}

#[test]
fn encode_row_of_the_limit_is_taken_and_one_byte_more_refused() {
    let schema = table(&[ColumnType::BigInt, ColumnType::Bytea], &[Direction::Ascending]);
    let limits = EncodingLimits { row_bytes_max: 205, ..LIMITS };
    let sized = |size| {
        let row = [Datum::BigInt(1), Datum::Bytes(vec![7; size])];
        encode_row(&schema, &row, &limits)
    };
    // Version, count, head, two bytes of length.
    assert_eq!(sized(200).unwrap().as_bytes().len(), 205);
    let long = EncodeError::LongRow { table: "t".into(), bytes: 206, bytes_max: 205 };
    assert_eq!(sized(201), Err(long));
}

#[test]
fn decode_row_of_wrong_bytes_says_what_and_where() {
    let schema = wide();
    let key = key_of_row(&schema, &wide_row(), &LIMITS).unwrap();
    let problem = |bytes: &[u8]| decode_row(&schema, &key, &Value::from(bytes)).unwrap_err();
    let at = |at, problem| DecodeError { at, problem };
    let not_canonical = |what| DecodeProblem::NotCanonical { what };
    let unknown = |what, found| DecodeProblem::Unknown { what, found };
    let integer = 2 << 3 | 2;
    for (bytes, expected) in [
        (&[][..], at(0, DecodeProblem::Truncated)),
        (&[2, 0], at(0, unknown("row version", 2))),
        (&[1], at(1, DecodeProblem::Truncated)),
        (&[1, 1], at(2, DecodeProblem::Truncated)),
        (&[1, 0, 0], at(2, DecodeProblem::Trailing)),
        (&[1, 0x80, 0x00], at(1, not_canonical("number"))),
        (&[1, 1, 2 << 3 | 5], at(3, unknown("kind of entry", 5))),
        (&[1, 1, 2, 0], at(2, not_canonical("column id"))),
        (&[1, 1, 2 << 3 | 1], at(2, DecodeProblem::Type { column: ColumnId(2) })),
        (&[1, 1, 3 << 3 | 3, 0x7F, 0xF8, 0, 0, 0, 0, 0, 1], at(3, not_canonical("double"))),
        (&[1, 1, 4 << 3 | 4, 1, 0xFF], at(2, DecodeProblem::NotUtf8)),
        (
            &[1, 1, 4 << 3 | 4, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            at(13, DecodeProblem::Truncated),
        ),
        (
            &[1, 1, integer, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02],
            at(3, not_canonical("number")),
        ),
        (
            &[1, 1, integer, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            at(3, not_canonical("number")),
        ),
    ] {
        assert_eq!(problem(bytes), expected, "{bytes:02x?}");
    }
}

#[test]
fn integers_outside_the_range_of_their_column_are_refused() {
    for (column_type, fits, too_large) in
        [(ColumnType::SmallInt, 32_767, 32_768), (ColumnType::Int, -2_147_483_648, -2_147_483_649)]
    {
        let table = table(&[ColumnType::BigInt, column_type], &[Direction::Ascending]);
        let row = |value| [Datum::BigInt(1), Datum::BigInt(value)];
        assert!(encode_row(&table, &row(fits), &LIMITS).is_ok());
        let refused = encode_row(&table, &row(too_large), &LIMITS).unwrap_err();
        assert!(refused.to_string().contains("out of its range"), "{refused}");
    }
}
