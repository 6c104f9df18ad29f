//! Histories in a few words.

use crate::checker::{Anomaly, Checked, Options, TrueTime, check};
use crate::history::{
    Answer, Header, History, HistoryTime, Kind, Lookup, Op, Outcome, Record, Row, Transaction,
};
use proto::{Key, KeySpan, Value};
use truetime::Timestamp;

/// One attempt in the making. Instants and timestamps are small numbers.
pub(crate) struct Draft(Transaction);

fn draft(kind: Kind, [invoked, responded]: [u64; 2]) -> Draft {
    Draft(Transaction {
        process: 1,
        invoked: HistoryTime::from_nanos(invoked),
        responded: HistoryTime::from_nanos(responded),
        id: None,
        kind,
        ops: Vec::new(),
    })
}

fn read_write(outcome: Outcome, instants: [u64; 2]) -> Draft {
    draft(Kind::ReadWrite { outcome, commit_sent: None }, instants)
}

pub(crate) fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// Read-write, committed at `at`.
pub(crate) fn commit(at: u64, instants: [u64; 2]) -> Draft {
    read_write(Outcome::Committed { at: ts(at) }, instants)
}

pub(crate) fn single_use(at: u64, instants: [u64; 2]) -> Draft {
    draft(Kind::SingleUse { outcome: Outcome::Committed { at: ts(at) } }, instants)
}

pub(crate) fn aborted(instants: [u64; 2]) -> Draft {
    read_write(Outcome::Aborted, instants)
}

pub(crate) fn unknown(instants: [u64; 2]) -> Draft {
    read_write(Outcome::Unknown, instants)
}

pub(crate) fn strong(at: u64, instants: [u64; 2]) -> Draft {
    draft(Kind::Strong { at: ts(at) }, instants)
}

pub(crate) fn stale(at: u64, instants: [u64; 2]) -> Draft {
    draft(Kind::Stale { at: ts(at) }, instants)
}

pub(crate) fn lookup(id: &str, answer: Answer, responded: u64) -> Record {
    let responded = HistoryTime::from_nanos(responded);
    Record::Lookup(Lookup { process: 9, invoked: responded, responded, id: id.into(), answer })
}

pub(crate) fn told_committed(at: u64) -> Answer {
    Answer::Committed { at: ts(at) }
}

pub(crate) fn key(text: &str) -> Key {
    Key::from(text.as_bytes())
}

pub(crate) fn value(text: &str) -> Value {
    Value::from(text.as_bytes())
}

impl Draft {
    fn op(mut self, op: Op) -> Self {
        self.0.ops.push(op);
        self
    }

    /// Reads a value whose version is not told.
    pub(crate) fn reads(self, name: &str, text: &str) -> Self {
        self.op(Op::Read { key: key(name), value: Some(value(text)), version: None })
    }

    /// Reads a value with its version.
    pub(crate) fn sees(self, name: &str, text: &str, version: u64) -> Self {
        let version = Some(ts(version));
        self.op(Op::Read { key: key(name), value: Some(value(text)), version })
    }

    /// Reads that there is no row.
    pub(crate) fn reads_none(self, name: &str) -> Self {
        self.op(Op::Read { key: key(name), value: None, version: None })
    }

    pub(crate) fn writes(self, name: &str, text: &str) -> Self {
        self.op(Op::Write { key: key(name), value: Some(value(text)) })
    }

    pub(crate) fn deletes(self, name: &str) -> Self {
        self.op(Op::Write { key: key(name), value: None })
    }

    /// Scans `[from, to)`, without versions.
    pub(crate) fn scans(self, from: &str, to: &str, rows: &[(&str, &str)]) -> Self {
        let row =
            |(name, text): &(&str, &str)| Row { key: key(name), value: value(text), version: None };
        let span = KeySpan::new(key(from), key(to));
        self.op(Op::Scan { span, rows: rows.iter().map(row).collect() })
    }

    /// Scans from `from` on.
    pub(crate) fn scans_from(self, from: &str, rows: &[(&str, &str)]) -> Self {
        let mut draft = self.scans(from, "", rows);
        if let Some(Op::Scan { span, .. }) = draft.0.ops.last_mut() {
            span.end = None;
        }
        draft
    }

    pub(crate) fn id(mut self, id: &str) -> Self {
        self.0.id = Some(id.to_string());
        self
    }

    /// Notes when the commit was sent.
    pub(crate) fn sent(mut self, at: u64) -> Self {
        if let Kind::ReadWrite { commit_sent, .. } = &mut self.0.kind {
            *commit_sent = Some(HistoryTime::from_nanos(at));
        }
        self
    }
}

impl From<Draft> for Record {
    fn from(draft: Draft) -> Record {
        Record::Transaction(draft.0)
    }
}

/// A history of `drafts` over a database in which `x`, `y` and `z` are 0, since timestamp 1.
pub(crate) fn history(records: impl IntoIterator<Item = impl Into<Record>>) -> History {
    let row = |name| Row { key: key(name), value: value("0"), version: Some(ts(1)) };
    let header = Header { initial: ["x", "y", "z"].map(row).to_vec(), ..Header::default() };
    History { header, records: records.into_iter().map(Into::into).collect() }
}

/// The anomalies of a history.
pub(crate) fn anomalies(history: &History) -> Vec<Anomaly> {
    names(&check(history, Options::default()))
}

/// The anomalies of a history whose clock shows true time.
pub(crate) fn anomalies_in_true_time(history: &History) -> Vec<Anomaly> {
    let true_time = TrueTime::Known { origin: Timestamp::ZERO };
    names(&check(history, Options { true_time, ..Options::default() }))
}

fn names(checked: &Checked) -> Vec<Anomaly> {
    assert_eq!(checked.is_strictly_serializable(), checked.violations.is_empty());
    checked.violations.iter().map(|violation| violation.anomaly).collect()
}

/// Asserts the anomalies of a history, whatever the order of its records.
pub(crate) fn expect(records: Vec<Record>, expected: &[Anomaly]) {
    let mut history = history(records);
    assert_eq!(anomalies(&history), expected, "as recorded");
    history.records.reverse();
    let mut reversed = anomalies(&history);
    let mut expected = expected.to_vec();
    reversed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(reversed, expected, "in reverse");
}
