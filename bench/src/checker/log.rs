//! The history as the checker keeps it: numbers for byte strings, one array of steps for all attempts.
//!
//! A step takes 20 bytes and an attempt about 80, so ten million of each fit a gigabyte or so.

use super::interner::{Interner, index};
use crate::history::{self, Kind, Outcome, Transaction};
use proto::{Key, Value};
use truetime::Timestamp;

/// A key, by the order of first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyId(pub(super) u32);

impl KeyId {
    /// The end of the key space, as the end of a scan.
    const END: KeyId = KeyId(u32::MAX);

    pub(super) fn index(self) -> usize {
        index(self.0)
    }
}

/// A value, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ValueId(u32);

impl ValueId {
    /// No such row.
    pub(super) const ABSENT: ValueId = ValueId(u32::MAX);
    /// Below every value in the order of numbers.
    pub(super) const FIRST: ValueId = ValueId(0);
}

/// A transaction's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TxnRef(pub(super) u32);

impl TxnRef {
    pub(super) fn index(self) -> usize {
        index(self.0)
    }
}

/// The commit timestamp that came with a row, or none. Split in two so that a step stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    high: u32,
    low: u32,
}

impl Version {
    /// No timestamp came with the row. `Timestamp::MAX` is never assigned.
    const NONE: Version = Version { high: u32::MAX, low: u32::MAX };

    fn new(version: Option<Timestamp>) -> Self {
        let Some(version) = version else { return Version::NONE };
        let [a, b, c, d, e, f, g, h] = version.nanos().to_be_bytes();
        Version { high: u32::from_be_bytes([a, b, c, d]), low: u32::from_be_bytes([e, f, g, h]) }
    }

    pub(super) fn get(self) -> Option<Timestamp> {
        let nanos = u64::from(self.high) << 32 | u64::from(self.low);
        (self != Version::NONE).then(|| Timestamp::from_nanos(nanos))
    }
}

/// One step. A scan is followed by its rows, as reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Read { key: KeyId, value: ValueId, version: Version },
    Write { key: KeyId, value: ValueId },
    Scan { from: KeyId, to: KeyId, rows: u32 },
}

/// What became of an attempt, or what sort of read it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Read-write, committed, and somebody was told so.
    Committed,
    /// Read-write, outcome unknown, but a read returned a version that only it can have written.
    Resolved,
    /// Read-write, outcome unknown, and nothing that was read settles it.
    Unknown,
    /// Read-write, without effect.
    Aborted,
    /// Read-only, current.
    Strong,
    /// Read-only, in the past.
    Stale,
}

impl Role {
    /// Whether it has a commit timestamp.
    pub(super) fn is_commit(self) -> bool {
        match self {
            Role::Committed | Role::Resolved => true,
            Role::Unknown | Role::Aborted | Role::Strong | Role::Stale => false,
        }
    }

    /// Whether it has a read timestamp.
    pub(super) fn is_read_only(self) -> bool {
        match self {
            Role::Strong | Role::Stale => true,
            Role::Committed | Role::Resolved | Role::Unknown | Role::Aborted => false,
        }
    }
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Txn {
    pub(super) role: Role,
    pub(super) single_use: bool,
    pub(super) has_writes: bool,
    pub(super) process: u32,
    /// Which record of the history it is, from 1.
    pub(super) record: u32,
    /// Its id's number, `NO_ID` without one.
    pub(super) id: u32,
    /// The commit or read timestamp; zero without one.
    pub(super) ts: Timestamp,
    pub(super) invoked: u64,
    pub(super) responded: u64,
    /// When somebody was first told its outcome or result; [`NEVER`] if nobody was.
    pub(super) acknowledged: u64,
    /// When its commit was sent, else when it was invoked.
    pub(super) commit_sent: u64,
    first_op: usize,
    ops: u32,
}

/// After every instant.
pub(super) const NEVER: u64 = u64::MAX;

/// The id of an attempt that was recorded without one.
pub(super) const NO_ID: u32 = u32::MAX;

/// A row that existed before the first record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initial {
    pub(super) key: KeyId,
    pub(super) value: ValueId,
    pub(super) version: Option<Timestamp>,
}

/// The whole history.
#[derive(Default)]
pub(super) struct Log {
    pub(super) keys: Interner,
    values: Interner,
    pub(super) ids: Interner,
    pub(super) initial: Vec<Initial>,
    pub(super) txns: Vec<Txn>,
    ops: Vec<Op>,
}

impl Log {
    pub(super) fn add_initial(&mut self, row: &history::Row) {
        let key = self.key(&row.key);
        let value = self.value(Some(&row.value));
        self.initial.push(Initial { key, value, version: row.version });
    }

    /// Adds an attempt; `record` is its place in the history. Returns how many rows it read and wrote.
    pub(super) fn add(&mut self, transaction: &Transaction, record: u32) -> u64 {
        let first_op = self.ops.len();
        let mut operations = 0;
        let mut has_writes = false;
        for op in &transaction.ops {
            match op {
                history::Op::Read { key, value, version } => {
                    operations += 1;
                    self.push_read(key, value.as_ref(), *version);
                }
                history::Op::Write { key, value } => {
                    operations += 1;
                    has_writes = true;
                    let op = Op::Write { key: self.key(key), value: self.value(value.as_ref()) };
                    self.ops.push(op);
                }
                history::Op::Scan { span, rows } => {
                    operations += 1 + u64::try_from(rows.len()).unwrap_or(u64::MAX);
                    let from = self.key(&span.start);
                    let to = span.end.as_ref().map_or(KeyId::END, |end| self.key(end));
                    let count =
                        u32::try_from(rows.len()).expect("a scan returns fewer than 2^32 rows");
                    self.ops.push(Op::Scan { from, to, rows: count });
                    for row in rows {
                        self.push_read(&row.key, Some(&row.value), row.version);
                    }
                }
            }
        }
        let ops =
            u32::try_from(self.ops.len() - first_op).expect("an attempt has fewer than 2^32 steps");
        let id = transaction.id.as_ref().map_or(NO_ID, |id| self.ids.intern(id.as_bytes()));
        let txn = Txn { has_writes, record, id, first_op, ops, ..outline(transaction) };
        self.txns.push(txn);
        operations
    }

    /// Adds a transaction that no client reported: the writes of an attempt that cannot be told from
    /// others, made visible at `ts`.
    pub(super) fn add_nameless(
        &mut self,
        pattern: Txn,
        ts: Timestamp,
        writes: &[(KeyId, ValueId)],
    ) {
        let first_op = self.ops.len();
        self.ops.extend(writes.iter().map(|&(key, value)| Op::Write { key, value }));
        let ops = u32::try_from(writes.len()).expect("an attempt has fewer than 2^32 steps");
        let (role, id, commit_sent) = (Role::Resolved, NO_ID, pattern.invoked);
        self.txns.push(Txn { role, id, commit_sent, ts, first_op, ops, ..pattern });
    }

    pub(super) fn txn(&self, txn: TxnRef) -> &Txn {
        &self.txns[txn.index()]
    }

    pub(super) fn refs(&self) -> impl Iterator<Item = TxnRef> + use<> {
        let count = u32::try_from(self.txns.len()).expect("a history has fewer than 2^32 attempts");
        (0..count).map(TxnRef)
    }

    pub(super) fn ops(&self, txn: TxnRef) -> &[Op] {
        let txn = self.txn(txn);
        &self.ops[txn.first_op..txn.first_op + index(txn.ops)]
    }

    /// Every read of `txn`, the rows of its scans included.
    pub(super) fn reads(
        &self,
        txn: TxnRef,
    ) -> impl Iterator<Item = (KeyId, ValueId, Option<Timestamp>)> {
        self.ops(txn).iter().filter_map(|op| match *op {
            Op::Read { key, value, version } => Some((key, value, version.get())),
            Op::Write { .. } | Op::Scan { .. } => None,
        })
    }

    /// Every write of `txn`, in order; the last one of a key is the one that takes effect.
    pub(super) fn writes(&self, txn: TxnRef) -> impl Iterator<Item = (KeyId, ValueId)> {
        self.ops(txn).iter().filter_map(|op| match *op {
            Op::Write { key, value } => Some((key, value)),
            Op::Read { .. } | Op::Scan { .. } => None,
        })
    }

    /// What `txn` leaves in each key it writes.
    pub(super) fn effects(&self, txn: TxnRef) -> std::collections::BTreeMap<KeyId, ValueId> {
        self.writes(txn).collect()
    }

    pub(super) fn key_bytes(&self, key: KeyId) -> Key {
        Key::from(self.keys.get(key.0))
    }

    pub(super) fn value_bytes(&self, value: ValueId) -> Option<Value> {
        (value != ValueId::ABSENT).then(|| Value::from(self.values.get(value.0)))
    }

    pub(super) fn id_text(&self, txn: &Txn) -> Option<String> {
        (txn.id != NO_ID).then(|| String::from_utf8_lossy(self.ids.get(txn.id)).into_owned())
    }

    fn key(&mut self, key: &Key) -> KeyId {
        KeyId(self.keys.intern(key.as_bytes()))
    }

    fn value(&mut self, value: Option<&Value>) -> ValueId {
        value.map_or(ValueId::ABSENT, |value| ValueId(self.values.intern(value.as_bytes())))
    }

    fn push_read(&mut self, key: &Key, value: Option<&Value>, version: Option<Timestamp>) {
        let op = Op::Read {
            key: self.key(key),
            value: self.value(value),
            version: Version::new(version),
        };
        self.ops.push(op);
    }
}

/// Everything about `transaction` but its steps.
fn outline(transaction: &Transaction) -> Txn {
    let invoked = transaction.invoked.nanos();
    let responded = transaction.responded.nanos();
    let by_outcome = |outcome| match outcome {
        Outcome::Committed { at } => (Role::Committed, at, responded),
        Outcome::Aborted => (Role::Aborted, Timestamp::ZERO, NEVER),
        Outcome::Unknown => (Role::Unknown, Timestamp::ZERO, NEVER),
    };
    let (role, ts, acknowledged) = match transaction.kind {
        Kind::ReadWrite { outcome, .. } | Kind::SingleUse { outcome } => by_outcome(outcome),
        Kind::Strong { at } => (Role::Strong, at, responded),
        Kind::Stale { at } => (Role::Stale, at, responded),
    };
    let (single_use, commit_sent) = match transaction.kind {
        Kind::ReadWrite { commit_sent, .. } => {
            (false, commit_sent.map_or(invoked, |sent| sent.nanos()))
        }
        Kind::SingleUse { .. } => (true, invoked),
        Kind::Strong { .. } | Kind::Stale { .. } => (false, invoked),
    };
    Txn {
        role,
        single_use,
        has_writes: false,
        process: transaction.process,
        record: 0,
        id: NO_ID,
        ts,
        invoked,
        responded,
        acknowledged,
        commit_sent,
        first_op: 0,
        ops: 0,
    }
}
