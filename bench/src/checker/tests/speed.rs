//! How fast a check is. Run by hand: `cargo test -p bench --lib speed -- --ignored --nocapture`.

use super::sketch::{ts, value};
use crate::checker::{Checker, Options};
use crate::history::{
    Header, HistoryTime, Kind, Op, Outcome, Reader, Record, Row, Transaction, Writer,
};
use crate::rng::Rng;
use proto::{Key, KeySpan};
use std::time::Instant;

const ACCOUNTS: u64 = 10_000;
const TRANSFERS: u64 = 500_000;

fn account(number: u64) -> Key {
    Key::from(format!("account/{number:06}").into_bytes())
}

/// A bank that ran `TRANSFERS` transfers on 64 clients, with an audit of everything now and then.
fn bank() -> (Header, Vec<Record>) {
    let mut rng = Rng::new(1);
    let mut balances: Vec<(u64, u64)> = vec![(1000, 1); usize::try_from(ACCOUNTS).unwrap()];
    let row = |number: u64, (balance, version): (u64, u64)| Row {
        key: account(number),
        value: value(&balance.to_string()),
        version: Some(ts(version)),
    };
    let initial = (0..).zip(&balances).map(|(number, state)| row(number, *state)).collect();
    let mut records = Vec::new();
    for number in 0..TRANSFERS {
        let at = 1_000 * (number + 10);
        let (from, to) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS));
        let mut ops = Vec::new();
        let kind = if number % 20_000 == 19_999 {
            let rows = (0..).zip(&balances).map(|(number, state)| row(number, *state)).collect();
            ops.push(Op::Scan { span: KeySpan::all(), rows });
            Kind::Strong { at: ts(at) }
        } else {
            for (account_number, is_from) in [(from, true), (to, false)] {
                let slot = &mut balances[usize::try_from(account_number).unwrap()];
                let Row { key, value: seen, version } = row(account_number, *slot);
                ops.push(Op::Read { key: key.clone(), value: Some(seen), version });
                slot.0 = if is_from { slot.0.saturating_sub(1) } else { slot.0 + 1 };
                slot.1 = at;
                ops.push(Op::Write { key, value: Some(value(&slot.0.to_string())) });
            }
            let outcome = Outcome::Committed { at: ts(at) };
            Kind::ReadWrite { outcome, commit_sent: None }
        };
        let process = u32::try_from(number % 64).unwrap();
        records.push(Record::Transaction(Transaction {
            process,
            invoked: HistoryTime::from_nanos(at - 5_000),
            responded: HistoryTime::from_nanos(at + 5_000),
            id: Some(format!("x{number}.7.1")),
            kind,
            ops,
        }));
    }
    (Header { initial, ..Header::default() }, records)
}

#[test]
#[ignore = "a measurement, not a test"]
#[expect(clippy::disallowed_methods, reason = "it measures how long a check takes")]
fn speed_of_a_check_is_printed() {
    let (header, records) = bank();
    let begun = Instant::now();
    let mut checker = Checker::for_header(&header, Options::default());
    records.iter().for_each(|record| checker.record(record));
    let added = begun.elapsed();
    let checked = checker.finish();
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(checked.verdict(), "strictly serializable");
    let operations = f64::from(u32::try_from(checked.operations).unwrap());
    println!("in memory: {operations} operations, {:.0}/s, adding {added:?}", operations / seconds);

    let begun = Instant::now();
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    records.iter().for_each(|record| writer.record(record).unwrap());
    let file = writer.finish().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!("writing: {} bytes, {:.0}/s", file.len(), operations / seconds);

    let begun = Instant::now();
    let reader = Reader::new(file.as_slice()).unwrap();
    let mut checker = Checker::for_header(reader.header(), Options::default());
    reader.for_each(|record| checker.record(&record.unwrap()));
    let checked = checker.finish();
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(checked.verdict(), "strictly serializable");
    println!("from JSON: {:.0}/s", operations / seconds);
}
