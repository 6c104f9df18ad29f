use super::*;
use std::collections::HashSet;

fn refusal(change: impl FnOnce(&mut TableParts)) -> SchemaError {
    let types = [ColumnType::BigInt, ColumnType::Text];
    let mut parts = parts(&types, &[Direction::Ascending]);
    change(&mut parts);
    TableSchema::new(parts).unwrap_err()
}

#[test]
fn new_parts_that_make_no_sense_are_refused() {
    let key = |column| KeyColumn { column, direction: Direction::Ascending };
    let long = "é".repeat(32);
    let (id, next) = (ColumnId(1), ColumnId(2));
    assert_eq!(refusal(|table| table.name.clear()), SchemaError::EmptyName);
    assert_eq!(refusal(|table| table.columns[1].name.clear()), SchemaError::EmptyName);
    assert_eq!(
        refusal(|table| table.columns[1].name = long.clone()),
        SchemaError::LongName { name: long.clone() }
    );
    assert_eq!(
        refusal(|table| table.name = "a\0b".into()),
        SchemaError::ControlCharacter { name: "a\0b".into() }
    );
    assert_eq!(
        refusal(|table| table.columns[1].name = "c1".into()),
        SchemaError::RepeatedName { name: "c1".into() }
    );
    assert_eq!(refusal(|table| table.columns[1].id = id), SchemaError::RepeatedId { id });
    let zero = ColumnId(0);
    assert_eq!(
        refusal(|table| table.columns[1].id = zero),
        SchemaError::IdOutOfRange { id: zero, next: ColumnId(1_000) }
    );
    assert_eq!(
        refusal(|table| table.next_column = next),
        SchemaError::IdOutOfRange { id: next, next }
    );
    assert_eq!(refusal(|table| table.primary_key.clear()), SchemaError::NoPrimaryKey);
    assert_eq!(refusal(|table| table.columns.clear()), SchemaError::UnknownKeyColumn { id });
    assert_eq!(
        refusal(|table| table.primary_key.push(key(id))),
        SchemaError::RepeatedKeyColumn { name: "c1".into() }
    );
    assert_eq!(
        refusal(|table| table.primary_key = vec![key(id); 33]),
        SchemaError::LongPrimaryKey { count: 33 }
    );
    assert_eq!(
        refusal(|table| table.columns = vec![table.columns[0].clone(); 1_601]),
        SchemaError::TooManyColumns { count: 1_601 }
    );
}

#[test]
fn new_key_columns_become_not_null() {
    let types = [ColumnType::BigInt, ColumnType::Text];
    let schema = table(&types, &[Direction::Ascending]);
    let not_null: Vec<_> = schema.columns().iter().map(|column| column.not_null).collect();
    assert_eq!(not_null, [true, false]);
    assert_eq!(schema.position_of("c2"), Some(1));
    assert_eq!(schema.position_of("C2"), None);
}

#[test]
fn new_key_in_another_order_than_the_columns_is_kept() {
    let mut parts = parts(&[ColumnType::BigInt; 4], &[Direction::Ascending; 2]);
    parts.columns.reverse();
    let schema = TableSchema::new(parts.clone()).unwrap();
    assert_eq!(schema.key_positions(), [3, 2]);
    assert_eq!(schema.value_positions(), [1, 0]);
    assert_eq!(schema.into_parts().primary_key, parts.primary_key);
}

#[test]
fn datum_order_is_that_of_postgresql() {
    let doubles = [f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, f64::INFINITY, f64::NAN];
    let mut data: Vec<_> = doubles.into_iter().map(Datum::Double).collect();
    data.push(Datum::Null);
    assert!(data.is_sorted_by(|a, b| a < b));
    assert_eq!(Datum::Double(-0.0), Datum::Double(0.0));
    assert_eq!(Datum::Double(-f64::NAN), Datum::Double(f64::NAN));
    let distinct: HashSet<_> = [0.0, -0.0, f64::NAN, -f64::NAN].map(Datum::Double).into();
    assert_eq!(distinct.len(), 2);
}
