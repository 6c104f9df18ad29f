//! Reads without locks: timestamps, routes, pages.

use super::*;
use crate::gateway::api::ReadBound;
use crate::gateway::{Error, InvalidRequest};
use crate::routing::Preference;

fn timestamps(rig: &mut Rig) -> Vec<(Timestamp, Route)> {
    std::mem::take(&mut rig.asked)
        .into_iter()
        .filter_map(|(request, route)| match request {
            ShardRequest::SnapshotRead { at, .. } => Some((at, route)),
            _ => None,
        })
        .collect()
}

fn page(selector: Selector, limit: u64, resume: Option<Vec<u8>>) -> Read {
    let mut read = read_of(selector, KeySet::all());
    read.limit = Some(limit);
    read.columns = vec!["id".to_owned()];
    read.resume = resume;
    read
}

#[test]
fn strong_read_is_at_latest_at_the_leaders_of_all_shards() {
    let mut rig = Rig::bank();
    rig.balances();
    let latest = now_at(1).sure().unwrap().latest;
    assert_eq!(timestamps(&mut rig), [(latest, Route::Leader), (latest, Route::Leader)]);
}

#[test]
fn stale_reads_are_on_the_safe_side_of_their_bound_and_go_to_a_replica() {
    let mut rig = Rig::bank();
    rig.seconds = 100;
    let interval = now_at(100).sure().unwrap();
    let ten = Duration::from_secs(10);
    for (bound, at) in [
        (ReadBound::ExactStaleness(ten), interval.earliest.minus(ten)),
        (ReadBound::MaxStaleness(ten), interval.latest.minus(ten)),
        (ReadBound::ExactTimestamp(Timestamp::from_nanos(9)), Timestamp::from_nanos(9)),
    ] {
        rig.rows(read_of(Selector::SingleUse(bound), points(&[1])));
        let route = Route::Replica(Preference::Local);
        assert_eq!(timestamps(&mut rig), [(at, route)], "{bound:?}");
    }
}

#[test]
fn pages_of_a_scan_keep_their_timestamp_over_gateways() {
    // T17: a write between the pages is not seen, whoever serves the second.
    let mut rig = Rig::bank();
    let strong = Selector::SingleUse(ReadBound::Strong);
    let first = rig.rows(page(strong, 3, None));
    let ids = |rows: &Rows| rows.rows.iter().map(|row| row.values[0].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), [1, 2, 101].map(Datum::BigInt));
    rig.seconds = 50;
    let id = rig.begin();
    rig.commit(id, vec![Mutation::Delete { table: table(), keys: points(&[102]) }]).unwrap();
    let settings = GatewaySettings::new(NodeId(2), 1, 0, rig.cluster.system_shard());
    rig.gateway = Gateway::new(settings);
    let second = rig.rows(page(strong, 3, first.resume.clone()));
    assert_eq!(ids(&second), [Datum::BigInt(102)]);
    assert_eq!((second.at, second.resume.is_none()), (first.at, true));
}

#[test]
fn token_for_other_columns_or_another_timestamp_is_refused() {
    let mut rig = Rig::bank();
    let strong = Selector::SingleUse(ReadBound::Strong);
    let resume = rig.rows(page(strong, 1, None)).resume;
    let refused = Err(Error::Invalid { reason: InvalidRequest::ResumeToken });
    let mut other_columns = page(strong, 1, resume.clone());
    other_columns.columns = vec!["balance".to_owned()];
    assert_eq!(rig.ask(Request::Read(other_columns)), refused);
    let at = Timestamp::from_nanos(5);
    let handle = TransactionHandle::ReadOnly { at, strong: false };
    let other_time = page(Selector::Existing(handle), 1, resume.clone());
    assert_eq!(rig.ask(Request::Read(other_time)), refused);
    let id = rig.begin();
    assert_eq!(rig.ask(Request::Read(page(in_txn(id), 1, resume))), refused);
}

#[test]
fn answer_above_the_byte_limit_goes_on_with_a_token() {
    let cluster = Cluster::new(1);
    let mut settings = GatewaySettings::new(NodeId(1), 1, 0, cluster.system_shard());
    settings.read_bytes_max = 1;
    let mut rig = Rig::with(cluster, settings);
    rig.ask(Request::CreateTable(accounts())).unwrap();
    let id = rig.begin();
    let rows = [1, 2, 101].map(|id| account(id, 1)).to_vec();
    rig.commit(id, vec![write(WriteKind::Insert, &["id", "owner", "balance"], rows)]).unwrap();
    let mut seen = 0;
    let mut resume = None;
    loop {
        let mut read = read_of(Selector::SingleUse(ReadBound::Strong), KeySet::all());
        read.resume = resume;
        let rows = rig.rows(read);
        assert!(rows.rows.len() <= 1);
        seen += rows.rows.len();
        resume = rows.resume;
        if resume.is_none() {
            break;
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn read_only_transaction_reads_at_one_timestamp() {
    let mut rig = Rig::bank();
    let options = TransactionOptions::ReadOnly(ReadBound::Strong);
    let begun = rig.rows(read_of(Selector::Begin(options), points(&[1]))).begun.unwrap();
    rig.seconds = 30;
    let id = rig.begin();
    rig.commit(id, vec![update(&[(2, 0)])]).unwrap();
    let rows = rig.rows(read_of(Selector::Existing(begun.transaction), points(&[2])));
    assert_eq!(values(&rows), [account(2, 10)]);
}

#[test]
fn read_for_update_without_a_read_write_transaction_is_refused() {
    let mut rig = Rig::bank();
    let mut read = read_of(Selector::SingleUse(ReadBound::Strong), points(&[1]));
    read.lock = LockMode::Exclusive;
    let reason = InvalidRequest::LockInReadOnly;
    assert_eq!(rig.ask(Request::Read(read)), Err(Error::Invalid { reason }));
}

#[test]
fn unsure_clock_chooses_no_timestamp_and_begins_nothing() {
    let mut rig = Rig::bank();
    let interval = Err(truetime::ClockUnsure::Unsynchronised);
    let now = Now { mono: now_at(1).mono, interval };
    let read = Request::Read(read_of(Selector::SingleUse(ReadBound::Strong), points(&[1])));
    let begin = Request::Begin(TransactionOptions::ReadWrite(Default::default()));
    for request in [read, begin] {
        let mut effects = Vec::new();
        let input = Input::Request { client: CLIENT, ticket: Ticket(99), request };
        rig.gateway.step(&now, input, &mut effects);
        assert!(
            matches!(&effects[..], [Effect::Answer { answer: Err(Error::ClockUnsure { .. }), .. }]),
            "{effects:?}"
        );
    }
}

#[test]
fn points_are_matched_to_rows_by_key_and_rows_carry_their_commit_timestamp() {
    let mut rig = Rig::bank();
    rig.seconds = 2;
    let id = rig.begin();
    let Ok(Response::Committed(committed)) = rig.commit(id, vec![update(&[(2, 5)])]) else {
        panic!()
    };
    let bound = ReadBound::Strong;
    let rows = rig.rows(read_of(Selector::SingleUse(bound), points(&[2, 50, 1, 2])));
    let found = |key: &proto::Key| rows.rows.iter().find(|row| row.key == *key);
    let ids: Vec<_> = rows.points.iter().map(|p| found(p).map(|row| &row.values[0])).collect();
    let id = |id| Datum::BigInt(id);
    assert_eq!(ids, [Some(&id(2)), None, Some(&id(1)), Some(&id(2))]);
    assert_eq!(rows.rows.len(), 2, "a row is read once, however often it is asked for");
    assert_eq!(rows.rows[1].timestamp, committed.commit_ts);
    assert!(rows.rows[0].timestamp < committed.commit_ts);
}
