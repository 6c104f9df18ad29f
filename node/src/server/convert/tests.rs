use super::super::answers;
use super::*;
use proptest::prelude::*;
use prost::Message;

fn any_datum() -> impl Strategy<Value = Datum> {
    prop_oneof![
        Just(Datum::Null),
        any::<bool>().prop_map(Datum::Bool),
        any::<i64>().prop_map(Datum::BigInt),
        any::<f64>().prop_map(Datum::Double),
        any::<String>().prop_map(Datum::Text),
        any::<Vec<u8>>().prop_map(Datum::Bytes),
        any::<i64>().prop_map(Datum::TimestampTz),
    ]
}

proptest! {
    #[test]
    fn value_over_the_wire_is_unchanged(expected in any_datum()) {
        let bytes = answers::value(expected.clone()).encode_to_vec();
        let back = datum(v1::Value::decode(bytes.as_slice()).unwrap(), "values").unwrap();
        prop_assert_eq!(back.column_type(), expected.column_type());
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn even_splits_ascend_within_their_bounds(
        shards in 1_u32..=64, from in any::<i64>(), to in any::<i64>(),
    ) {
        match even_splits(v1::SplitEvenly { shards, from, to }) {
            Ok(splits) => {
                prop_assert_eq!(splits.len() + 1, shards as usize);
                prop_assert!(splits.windows(2).all(|pair| pair[0] < pair[1]));
                let inside = |split: &Vec<Datum>| {
                    split[0] > Datum::BigInt(from) && split[0] < Datum::BigInt(to)
                };
                prop_assert!(splits.iter().all(inside));
            }
            Err(_) => prop_assert!(i128::from(to) - i128::from(from) < i128::from(shards)),
        }
    }

    #[test]
    fn request_of_random_bytes_is_converted_or_refused(bytes in any::<Vec<u8>>()) {
        if let Ok(request) = v1::ReadRequest::decode(bytes.as_slice()) {
            let _ = (key_set(request.keys), selector(request.transaction));
            let _ = (table_ref(request.table, "table"), lock_mode(request.lock));
        }
        if let Ok(request) = v1::CommitRequest::decode(bytes.as_slice()) {
            let _ = (commit(request.transaction), mutations(request.mutations));
        }
        if let Ok(request) = v1::CreateTableRequest::decode(bytes.as_slice()) {
            let _ = new_table(request);
        }
    }
}

#[test]
fn value_without_kind_is_refused_and_not_null() {
    let refused = datum(v1::Value::default(), "mutations.rows").unwrap_err();
    assert_eq!(refused, BadRequest::UnknownType { field: "mutations.rows" });
    assert!(refused.to_string().contains("`mutations.rows`"));
}

#[test]
fn priority_on_the_wire_is_that_of_the_attempt_itself() {
    let first = TxnId { begin: Timestamp::from_nanos(5), ..TxnId::default() };
    let second = Priority::first(first).retry();
    let options = v1::ReadWriteOptions { priority: Some(second.into()), max_age_ms: 0 };
    let converted = read_write(options).unwrap();
    assert_eq!(converted.retry_of.map(Priority::retry), Some(second));
    assert_eq!(converted.max_age, None);
    let nameless = v1::Priority { first: None, attempt: 2 };
    let options = v1::ReadWriteOptions { priority: Some(nameless), max_age_ms: 0 };
    assert!(matches!(read_write(options), Err(BadRequest::Priority { field: "priority", .. })));
}

#[test]
fn range_bounds_keep_their_kind_and_an_absent_one_is_none() {
    let key = |id: i64| v1::RowKey { values: vec![id.into()] };
    let range = v1::KeyRange {
        start: Some(v1::key_range::Start::StartOpen(key(1))),
        end: Some(v1::key_range::End::EndClosed(key(2))),
    };
    let set = v1::KeySet { points: vec![], ranges: vec![range, v1::KeyRange::default()] };
    let set = key_set(Some(set)).unwrap();
    assert_eq!(set.ranges[0].start, KeyBound::Excluded(vec![Datum::BigInt(1)]));
    assert_eq!(set.ranges[0].end, KeyBound::Included(vec![Datum::BigInt(2)]));
    assert_eq!(set.ranges[1].start, KeyBound::Unbounded);
    assert_eq!(set.ranges[1].end, KeyBound::Unbounded);
}

#[test]
fn table_without_name_and_id_is_refused_and_an_id_beats_a_name() {
    assert_eq!(table_ref(None, "table"), Err(BadRequest::Missing { field: "table" }));
    assert!(table_ref(Some(v1::TableRef::default()), "table").is_err());
    let both = v1::TableRef { name: "t".to_owned(), id: 101 };
    assert_eq!(table_ref(Some(both), "table"), Ok(proto::table::TableRef::Id(TableId(101))));
}

#[test]
fn key_columns_of_a_new_table_are_not_null_and_a_bytea_key_is_spread() {
    let column = v1::Column {
        name: "id".to_owned(),
        r#type: v1::ColumnType::Bytea.into(),
        ..Default::default()
    };
    let table = v1::Table {
        name: "t".to_owned(),
        id: 0,
        columns: vec![column],
        primary_key: vec!["id".to_owned()],
    };
    let request = v1::CreateTableRequest { table: Some(table), ..Default::default() };
    let table = new_table(request.clone()).unwrap();
    assert!(table.columns[0].not_null);
    assert_eq!(table.splits.len() + 1, SPREAD_SHARDS as usize);
    assert_eq!(table.splits[0], [Datum::Bytes(vec![32])]);
    let placement = v1::create_table_request::Placement::SplitEvenly(v1::SplitEvenly {
        shards: 2,
        from: 0,
        to: 9,
    });
    let evenly = v1::CreateTableRequest { placement: Some(placement), ..request };
    assert!(matches!(new_table(evenly), Err(BadRequest::Wrong { field: "split_evenly", .. })));
}
