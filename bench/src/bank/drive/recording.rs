//! The history of a run as it is kept while the run lasts: small, and without a string.
//!
//! Clients share the machine with the nodes that they measure, so keys, balances and ids become text only
//! when everything is over ([`Recording::records`]).

use crate::bank::accounts::Accounts;
use crate::bank::recovery::ShardCommit;
use crate::bank::work::Spread;
use crate::history::{
    self, Answer, Header, HistoryTime, Kind, Lookup, Op, Outcome, Record, Transaction,
};
use proto::{Key, KeySpan, ShardId, TxnId};
use truetime::Timestamp;

/// The balance of one account as a read returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) account: u32,
    pub(super) balance: i64,
    /// The commit timestamp of the version; [`Seen::NO_ROW`] when there was no such row.
    pub(super) version: Timestamp,
}

impl Seen {
    /// The version of a row that is not there, as on the wire.
    const NO_ROW: Timestamp = Timestamp::from_nanos(0);

    fn read(self, keys: &Keys) -> Op {
        let key = keys.of(self.account);
        if self.version == Seen::NO_ROW {
            return Op::Read { key, value: None, version: None };
        }
        let value = Some(Accounts::value(self.balance));
        Op::Read { key, value, version: Some(self.version) }
    }

    fn row(self, keys: &Keys) -> history::Row {
        history::Row {
            key: keys.of(self.account),
            value: Accounts::value(self.balance),
            version: Some(self.version),
        }
    }
}

/// What an attempt of a transfer read, and how much it moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) from: Seen,
    pub(super) to: Seen,
    pub(super) amount: i64,
}

impl Moved {
    /// The balances that it writes.
    pub(super) fn writes(&self) -> [i64; 2] {
        [self.from.balance - self.amount, self.to.balance + self.amount]
    }

    fn ops(&self, keys: &Keys) -> Vec<Op> {
        let [from, to] = self.writes();
        let write = |account, balance| Op::Write {
            key: keys.of(account),
            value: Some(Accounts::value(balance)),
        };
        vec![
            self.from.read(keys),
            self.to.read(keys),
            write(self.from.account, from),
            write(self.to.account, to),
        ]
    }
}

/// Whether the database chose the timestamp of a read to be current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Currency {
    Strong,
    Stale,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An attempt of a transfer; `moved` is what it read and wrote if it came that far.
    Transfer { id: Option<TxnId>, outcome: Outcome, moved: Option<Moved> },
    /// A read of some accounts.
    Read { at: Timestamp, rows: Box<[Seen]> },
    /// A scan of all accounts.
    Audit { at: Timestamp, currency: Currency, rows: Box<[Seen]> },
    /// A question for an outcome.
    Lookup { id: TxnId, answer: Answer },
}

/// One record of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) process: u32,
    pub(super) invoked: HistoryTime,
    pub(super) responded: HistoryTime,
    pub(super) what: What,
}

impl Recorded {
    fn to_record(&self, keys: &Keys) -> Record {
        let (id, kind, ops) = match &self.what {
            What::Lookup { id, answer } => return self.lookup(*id, *answer),
            What::Transfer { id, outcome, moved } => {
                let kind = Kind::ReadWrite { outcome: *outcome, commit_sent: None };
                (id.map(|id| id.to_string()), kind, moved.map_or(Vec::new(), |m| m.ops(keys)))
            }
            What::Read { at, rows } => {
                let ops = rows.iter().map(|row| row.read(keys)).collect();
                (None, Kind::Strong { at: *at }, ops)
            }
            What::Audit { at, currency, rows } => {
                let kind = match currency {
                    Currency::Strong => Kind::Strong { at: *at },
                    Currency::Stale => Kind::Stale { at: *at },
                };
                let rows = rows.iter().map(|row| row.row(keys)).collect();
                (None, kind, vec![Op::Scan { span: KeySpan::all(), rows }])
            }
        };
        let Recorded { process, invoked, responded, .. } = *self;
        Record::Transaction(Transaction { process, invoked, responded, id, kind, ops })
    }

    fn lookup(&self, id: TxnId, answer: Answer) -> Record {
        let Recorded { process, invoked, responded, .. } = *self;
        Record::Lookup(Lookup { process, invoked, responded, id: id.to_string(), answer })
    }

    /// The transfer that this is, if it is one that is known to have committed.
    fn committed(&self) -> Option<&Moved> {
        match &self.what {
            What::Transfer { outcome: Outcome::Committed { .. }, moved, .. } => moved.as_ref(),
            What::Transfer { outcome: Outcome::Aborted | Outcome::Unknown, .. }
            | What::Read { .. }
            | What::Audit { .. }
            | What::Lookup { .. } => None,
        }
    }
}

/// The history's keys, made once.
struct Keys(Vec<Key>);

impl Keys {
    fn of(&self, account: u32) -> Key {
        let made = usize::try_from(account).ok().and_then(|index| self.0.get(index));
        // A scan may return a row that was never made; the checker names it.
        made.cloned().unwrap_or_else(|| Accounts::key(account))
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recording {
    pub(super) accounts: Accounts,
    /// What was there when the run began.
    pub(super) initial: Box<[Seen]>,
    pub(super) records: Vec<Recorded>,
}

impl Recording {
    /// The header of the history.
    pub(super) fn header(&self, epsilon_us: u64) -> Header {
        let keys = self.keys();
        Header {
            workload: "bank".to_owned(),
            epsilon_us: Some(epsilon_us),
            true_time_origin: None,
            initial: self.initial.iter().map(|row| row.row(&keys)).collect(),
        }
    }

    /// The records of the history.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let keys = self.keys();
        self.records.iter().map(move |record| record.to_record(&keys))
    }

    /// The commits, by the shards that they wrote to.
    pub(super) fn shard_commits(&self, spread: &Spread) -> Vec<ShardCommit> {
        let mut commits = Vec::new();
        for record in &self.records {
            let Some(moved) = record.committed() else { continue };
            let commit = |shard: ShardId| ShardCommit {
                shard,
                begun: record.invoked,
                acknowledged: record.responded,
            };
            let shards = [moved.from, moved.to].map(|seen| spread.shard(seen.account));
            commits.push(commit(shards[0]));
            if shards[1] != shards[0] {
                commits.push(commit(shards[1]));
            }
        }
        commits
    }

    fn keys(&self) -> Keys {
        Keys((0..self.accounts.count()).map(Accounts::key).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{self, Anomaly, Options};
    use crate::history::History;

    fn ts(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn seen(account: u32, balance: i64, version: u64) -> Seen {
        Seen { account, balance, version: ts(version) }
    }

    fn record(invoked: u64, what: What) -> Recorded {
        let at = HistoryTime::from_nanos;
        Recorded { process: 1, invoked: at(invoked), responded: at(invoked + 5), what }
    }

    fn transfer(outcome: Outcome) -> What {
        let moved = Moved { from: seen(0, 1000, 10), to: seen(1, 1000, 10), amount: 30 };
        let id = Some(TxnId { origin: 7, sequence: 1, ..TxnId::default() });
        What::Transfer { id, outcome, moved: Some(moved) }
    }

    fn audit(balances: [i64; 2], version: u64) -> What {
        let rows = Box::new([seen(0, balances[0], version), seen(1, balances[1], version)]);
        What::Audit { at: ts(200), currency: Currency::Strong, rows }
    }

    fn check(records: Vec<Recorded>) -> checker::Checked {
        let accounts = Accounts::new(2);
        let initial = Box::new([seen(0, 1000, 10), seen(1, 1000, 10)]);
        let recording = Recording { accounts, initial, records };
        let header = recording.header(250);
        let records = recording.records().collect();
        checker::check(&History { header, records }, Options::default())
    }

    #[test]
    fn recording_of_a_right_run_is_strictly_serializable() {
        let committed = transfer(Outcome::Committed { at: ts(100) });
        let read = What::Read { at: ts(300), rows: Box::new([seen(1, 1030, 100)]) };
        let checked = check(vec![
            record(1, committed),
            record(10, audit([970, 1030], 100)),
            record(20, read),
        ]);
        assert_eq!(checked.verdict(), "strictly serializable");
        assert_eq!((checked.transactions, checked.operations), (3, 8));
    }

    #[test]
    fn recording_of_a_stale_audit_is_not() {
        let committed = transfer(Outcome::Committed { at: ts(100) });
        let checked = check(vec![record(1, committed), record(10, audit([1000, 1000], 10))]);
        assert!(!checked.is_strictly_serializable());
    }

    #[test]
    fn account_that_a_read_did_not_find_is_an_absent_row() {
        let read = What::Read { at: ts(50), rows: Box::new([seen(1, 0, 0)]) };
        let checked = check(vec![record(1, read)]);
        assert_eq!(checked.violations[0].anomaly, Anomaly::GarbageRead);
    }

    #[test]
    fn lookup_that_contradicts_what_was_read_is_found() {
        let id = TxnId { origin: 7, sequence: 1, ..TxnId::default() };
        let lookup = What::Lookup { id, answer: Answer::Aborted };
        let records = |lookup| {
            let unknown = record(1, transfer(Outcome::Unknown));
            vec![unknown, record(10, audit([970, 1030], 100)), record(20, lookup)]
        };
        assert!(!check(records(lookup)).is_strictly_serializable());
        let lookup = What::Lookup { id, answer: Answer::Committed { at: ts(100) } };
        assert_eq!(check(records(lookup)).verdict(), "strictly serializable");
    }

    #[test]
    fn commits_count_for_each_shard_that_they_wrote_to() {
        let spread = Spread::new(Accounts::new(2), |account| ShardId(u64::from(account) + 2));
        let committed = record(1, transfer(Outcome::Committed { at: ts(100) }));
        let recording = Recording {
            accounts: Accounts::new(2),
            initial: Box::new([]),
            records: vec![committed, record(2, transfer(Outcome::Aborted))],
        };
        let shards: Vec<ShardId> =
            recording.shard_commits(&spread).iter().map(|commit| commit.shard).collect();
        assert_eq!(shards, [ShardId(2), ShardId(3)]);
    }
}
