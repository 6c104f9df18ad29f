//! What the three encodings share: a table to test with, and values of every type.

use super::*;
use crate::TableId;
use proptest::collection::vec;
use proptest::prelude::*;

mod keys;
mod rows;
mod schemas;

const LIMITS: EncodingLimits = EncodingLimits { key_bytes_max: 8 << 10, row_bytes_max: 10 << 20 };

const TYPES: [ColumnType; 6] = [
    ColumnType::BigInt,
    ColumnType::DoublePrecision,
    ColumnType::Text,
    ColumnType::Boolean,
    ColumnType::Bytea,
    ColumnType::TimestampTz,
];

/// Those that store what one of [`TYPES`] does.
const NARROW_TYPES: [ColumnType; 2] = [ColumnType::SmallInt, ColumnType::Int];

/// A table with those columns, named and numbered from 1, of which the first ones are the key.
fn parts(types: &[ColumnType], key: &[Direction]) -> TableParts {
    let ids = (1..).map(ColumnId);
    let columns = types.iter().zip(ids.clone()).map(|(column_type, id)| Column {
        name: id.to_string(),
        id,
        column_type: *column_type,
        not_null: false,
        default: None,
    });
    let primary_key =
        key.iter().zip(ids).map(|(direction, column)| KeyColumn { column, direction: *direction });
    TableParts {
        id: TableId(100),
        name: "t".into(),
        columns: columns.collect(),
        primary_key: primary_key.collect(),
        next_column: ColumnId(1_000),
    }
}

fn table(types: &[ColumnType], key: &[Direction]) -> TableSchema {
    TableSchema::new(parts(types, key)).unwrap()
}

/// Values that collide, nest and escape often.
fn datum_of(column_type: ColumnType) -> BoxedStrategy<Datum> {
    let integer = || prop_oneof![any::<i64>(), -300..300_i64, Just(i64::MIN), Just(i64::MAX)];
    let double = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-3..3_i32).prop_map(|value| f64::from(value) / 2.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MIN_POSITIVE / 4.0),
    ];
    let byte = prop_oneof![Just(0_u8), Just(1), Just(0xFE), Just(0xFF), Just(b'a'), any::<u8>()];
    match column_type {
        ColumnType::BigInt => integer().prop_map(Datum::BigInt).boxed(),
        ColumnType::Int => any::<i32>().prop_map(|value| Datum::BigInt(value.into())).boxed(),
        ColumnType::SmallInt => any::<i16>().prop_map(|value| Datum::BigInt(value.into())).boxed(),
        ColumnType::TimestampTz => integer().prop_map(Datum::TimestampTz).boxed(),
        ColumnType::DoublePrecision => double.prop_map(Datum::Double).boxed(),
        ColumnType::Text => "[\0\u{1}a\u{ff}\u{10ffff}]{0,4}".prop_map(Datum::Text).boxed(),
        ColumnType::Bytea => vec(byte, 0..5).prop_map(Datum::Bytes).boxed(),
        ColumnType::Boolean => any::<bool>().prop_map(Datum::Bool).boxed(),
    }
}

fn any_type() -> impl Strategy<Value = ColumnType> {
    prop_oneof![3 => proptest::sample::select(&TYPES), 1 => proptest::sample::select(&NARROW_TYPES)]
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)]
}

/// A table and two keys of it.
fn two_keys() -> impl Strategy<Value = (TableSchema, Vec<Datum>, Vec<Datum>)> {
    vec((any_type(), any_direction()), 1..4).prop_flat_map(|columns| {
        let (types, key): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let values = || types.iter().map(|one| datum_of(*one)).collect::<Vec<_>>();
        (Just(table(&types, &key)), values(), values())
    })
}
