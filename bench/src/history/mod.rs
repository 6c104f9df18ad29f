//! What clients saw: one record per transaction attempt, and the file that holds them.
//!
//! Terms: the *history clock* is one monotonic clock for all clients of a recording, in nanoseconds
//! since its start ([`HistoryTime`]); in the simulator it is true time. An attempt is *invoked* when its
//! client begins and *responded* when its client knows what it will ever know without asking again. A
//! *process* is one client that does one thing at a time. A *lookup* asks later for the outcome of an
//! attempt.
//!
//! Example, a transfer of 10 from `a` to `b`, with the commit timestamps of the rows it read:
//! ```text
//! {"k":"rw","p":3,"i":1000,"e":9000,"id":"x1.7.1","out":"ok","t":5000,
//!  "ops":[["r","a","100",4000],["r","b","50",4100],["w","a","90"],["w","b","60"]]}
//! ```
//!
//! Not here: any judgement (that is [`crate::checker`]), and any clock: whoever records reads it.

mod json;
mod reader;
mod text;
mod writer;

pub use reader::{HistoryError, Malformed, Reader};
pub use writer::Writer;

use proto::{Key, KeySpan, Value};
use std::fmt;
use truetime::Timestamp;

/// The version of the file format that this code writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// An instant on the history clock: nanoseconds since the recording began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryTime(u64);

impl HistoryTime {
    /// The instant that many nanoseconds after the recording began.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        HistoryTime(nanos)
    }

    /// Nanoseconds since the recording began.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

impl fmt::Display for HistoryTime {
    /// Seconds since the recording began, with nine decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// What holds for a whole recording: the first line of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Which workload was recorded, for people.
    pub workload: String,
    /// The clocks' epsilon in microseconds, for people.
    pub epsilon_us: Option<u64>,
    /// When the history clock shows true time (the simulator): the timestamp of its instant zero.
    pub true_time_origin: Option<Timestamp>,
    /// The rows that existed before the first record. Every other key was absent.
    pub initial: Vec<Row>,
}

/// One row as a read returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// The commit timestamp of the version, when the answer told it. `None` for a row that the
    /// transaction itself had written.
    pub version: Option<Timestamp>,
}

/// One step of a transaction, in the order in which its client took them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read one key.
    Read {
        /// The key.
        key: Key,
        /// What came back; `None` is "no such row".
        value: Option<Value>,
        /// The commit timestamp of the version, when the answer told it.
        version: Option<Timestamp>,
    },
    /// Write or delete one key.
    Write {
        /// The key.
        key: Key,
        /// The new value; `None` deletes.
        value: Option<Value>,
    },
    /// Read an interval. `rows` claims to be every row of `span` and nothing else, keys ascending.
    Scan {
        /// What was consumed: a scan that a limit stopped ends just past the last row it returned.
        span: KeySpan,
        /// The rows.
        rows: Vec<Row>,
    },
}

/// How the commit of an attempt ended, as its client learned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed.
    Committed {
        /// Its commit timestamp.
        at: Timestamp,
    },
    /// Surely without effect.
    Aborted,
    /// The client could not learn it. All or nothing may have happened, then or later.
    Unknown,
}

/// What sort of transaction it was, with what only that sort has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads and writes under locks.
    ReadWrite {
        /// How it ended.
        outcome: Outcome,
        /// When its commit was sent, if that was noted (the simulator notes when it arrived).
        commit_sent: Option<HistoryTime>,
    },
    /// Writes sent together with their commit.
    SingleUse {
        /// How it ended.
        outcome: Outcome,
    },
    /// Read-only, at a timestamp that the database chose to be current. Also all pages of a scan in pages.
    Strong {
        /// The read timestamp.
        at: Timestamp,
    },
    /// Read-only, at a timestamp or staleness that the client chose.
    Stale {
        /// The read timestamp.
        at: Timestamp,
    },
}

/// One attempt of a transaction as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Which client.
    pub process: u32,
    /// When the client began it.
    pub invoked: HistoryTime,
    /// When the client had its last answer, or gave up.
    pub responded: HistoryTime,
    /// The database's id of the attempt, which no other attempt has.
    pub id: Option<String>,
    /// What it was and how it ended.
    pub kind: Kind,
    /// What it did.
    pub ops: Vec<Op>,
}

/// The answer to a question for an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It committed.
    Committed {
        /// Its commit timestamp.
        at: Timestamp,
    },
    /// It surely has no effect.
    Aborted,
    /// The outcome is no longer known, or not yet. Tells nothing.
    NotKnown,
}

/// A question, asked apart from the commit itself, for the outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Which client asked.
    pub process: u32,
    /// When it asked.
    pub invoked: HistoryTime,
    /// When it was answered.
    pub responded: HistoryTime,
    /// The attempt in question.
    pub id: String,
    /// The answer.
    pub answer: Answer,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An attempt.
    Transaction(Transaction),
    /// A lookup of an outcome.
    Lookup(Lookup),
}

/// A whole history in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What holds for all of it.
    pub header: Header,
    /// The records, in any order.
    pub records: Vec<Record>,
}

#[cfg(test)]
mod tests;
