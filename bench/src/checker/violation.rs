//! What a violation says: the anomaly's name, and the transactions that show it.

use crate::history::HistoryTime;
use proto::{Key, Value};
use std::fmt;
use truetime::Timestamp;

/// The anomaly, by the name it has in the literature (Adya's thesis, Jepsen, the Spanner paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// G0: the writes of two transactions interleave, so that each overwrote a part of the other.
    DirtyWrite,
    /// G1a: a read returned what an aborted transaction wrote.
    AbortedRead,
    /// G1b: a read returned what a transaction later overwrote itself.
    IntermediateRead,
    /// G1c: two transactions each saw what the other wrote.
    CircularInformationFlow,
    /// G-single (read skew): a transaction saw a part of another's writes and missed another part.
    FracturedRead,
    /// G2-item: two transactions each missed what the other wrote to a row it had read.
    WriteSkew,
    /// G2: as write skew, where what was missed appeared in, or vanished from, a scanned interval.
    PredicateWriteSkew,
    /// A scan missed a row, or returned one that had been deleted or was not yet there.
    Phantom,
    /// P4: a transaction overwrote a version that it had not seen.
    LostUpdate,
    /// A read missed a version that it had to see.
    StaleRead,
    /// A read saw a version above its timestamp.
    FutureRead,
    /// Two reads of one key in one transaction differ.
    NonRepeatableRead,
    /// A transaction did not see its own write.
    OwnWriteMissed,
    /// A read returned what nobody wrote.
    GarbageRead,
    /// A scan returned rows out of order, twice, or from outside its interval.
    DisorderedScan,
    /// One attempt took effect at two timestamps.
    DuplicateCommit,
    /// A part of a transaction whose outcome is unknown took effect, and another part did not.
    HalfApplied,
    /// A write was acknowledged, and nobody ever saw it.
    LostWrite,
    /// Two transactions wrote one key at the same timestamp.
    SharedTimestamp,
    /// Strict-1SR violation between writes: a later transaction was ordered before one that had been
    /// acknowledged when it began.
    CausalReverse,
    /// A strong read's timestamp lies below a version that an earlier read had seen.
    NonMonotonicRead,
    /// A transaction was ordered before a version that an earlier read had seen.
    WriteBelowRead,
    /// One attempt was told both "committed" and "aborted".
    ContradictoryOutcome,
    /// A commit timestamp lies before the instant at which the commit arrived.
    TimestampBeforeArrival,
    /// A commit was acknowledged or seen before its timestamp had passed: no commit wait.
    CommitWaitSkipped,
}

impl Anomaly {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::DirtyWrite => "dirty write (G0)",
            Anomaly::AbortedRead => "aborted read (G1a)",
            Anomaly::IntermediateRead => "intermediate read (G1b)",
            Anomaly::CircularInformationFlow => "circular information flow (G1c)",
            Anomaly::FracturedRead => "fractured read (G-single)",
            Anomaly::WriteSkew => "write skew (G2-item)",
            Anomaly::PredicateWriteSkew => "predicate write skew (G2)",
            Anomaly::Phantom => "phantom",
            Anomaly::LostUpdate => "lost update (P4)",
            Anomaly::StaleRead => "stale read",
            Anomaly::FutureRead => "future read",
            Anomaly::NonRepeatableRead => "non-repeatable read",
            Anomaly::OwnWriteMissed => "own write missed",
            Anomaly::GarbageRead => "garbage read",
            Anomaly::DisorderedScan => "disordered scan",
            Anomaly::DuplicateCommit => "duplicate commit",
            Anomaly::HalfApplied => "half applied transaction",
            Anomaly::LostWrite => "lost acknowledged write",
            Anomaly::SharedTimestamp => "shared timestamp",
            Anomaly::CausalReverse => "causal reverse",
            Anomaly::NonMonotonicRead => "non-monotonic read",
            Anomaly::WriteBelowRead => "write below read",
            Anomaly::ContradictoryOutcome => "contradictory outcome",
            Anomaly::TimestampBeforeArrival => "timestamp before arrival",
            Anomaly::CommitWaitSkipped => "commit wait skipped",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a transaction has to do with a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It made the read in question.
    Reader,
    /// It wrote what should have been read.
    WroteExpected,
    /// It wrote what was read.
    WroteObserved,
    /// It was first, in real time or in the list.
    Earlier,
    /// It was second.
    Later,
    /// It is one of several alike.
    Member,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Reader => "reader",
            Part::WroteExpected => "wrote what was expected",
            Part::WroteObserved => "wrote what was seen",
            Part::Earlier => "earlier",
            Part::Later => "later",
            Part::Member => "involved",
        })
    }
}

/// A transaction of a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Involved {
    /// What it has to do with it.
    pub part: Part,
    /// Which record of the history it is, from 1; in a file that is the line before it.
    pub record: u32,
    /// The client that ran it.
    pub process: u32,
    /// The database's id.
    pub id: Option<String>,
    /// What it was and how it ended: "read-write, committed".
    pub sort: &'static str,
    /// Its commit or read timestamp, when it has one.
    pub timestamp: Option<Timestamp>,
    /// When its client began it.
    pub invoked: HistoryTime,
    /// When its client had its last answer.
    pub responded: HistoryTime,
}

impl fmt::Display for Involved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: record {}, {}", self.part, self.record, self.sort)?;
        if let Some(id) = &self.id {
            write!(f, ", id {id}")?;
        }
        if let Some(timestamp) = self.timestamp {
            write!(f, ", timestamp {timestamp}")?;
        }
        write!(f, ", process {} from {} to {}", self.process, self.invoked, self.responded)
    }
}

/// One version of a key, or its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The value; `None` is "no such row".
    pub value: Option<Value>,
    /// The commit timestamp, where it is known.
    pub version: Option<Timestamp>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "\"{value}\"")?,
            None => f.write_str("no row")?,
        }
        match self.version {
            Some(version) => write!(f, " of {version}"),
            None => Ok(()),
        }
    }
}

/// The facts of a violation beside the transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A read returned something else than the replay.
    Read {
        /// The key.
        key: Key,
        /// What the replay has there.
        expected: State,
        /// What the read returned.
        observed: State,
    },
    /// A scan's rows are no ascending list of rows of its interval.
    Scan {
        /// The row that is out of place.
        key: Key,
    },
    /// Several transactions, in conflict, have one timestamp.
    Timestamp {
        /// The timestamp.
        timestamp: Timestamp,
        /// A key they conflict on.
        key: Key,
    },
    /// The earlier transaction was answered before the later one began, yet the later one's timestamp
    /// does not follow what the earlier one had shown to be past.
    Order {
        /// The highest commit timestamp that the earlier one acknowledged or saw.
        bound: Timestamp,
        /// The timestamp of the later one.
        timestamp: Timestamp,
    },
    /// Two answers about one attempt.
    Outcome {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A timestamp is on the wrong side of an instant of true time.
    TrueTime {
        /// The timestamp.
        timestamp: Timestamp,
        /// The instant.
        instant: Timestamp,
    },
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Detail::Read { key, expected, observed } => {
                write!(f, "a read of {key} returned {observed}, where {expected} was due")
            }
            Detail::Scan { key } => {
                write!(f, "a scan returned {key} out of order, twice, or from outside its interval")
            }
            Detail::Timestamp { timestamp, key } => {
                write!(f, "transactions in conflict on {key} have the one timestamp {timestamp}")
            }
            Detail::Order { bound, timestamp } => write!(
                f,
                "{bound} was surely past when the later one began, but its timestamp is {timestamp}"
            ),
            Detail::Outcome { first, second } => {
                write!(f, "the outcome was told as {first} and as {second}")
            }
            Detail::TrueTime { timestamp, instant } => {
                write!(f, "the timestamp is {timestamp}, true time then was {instant}")
            }
        }
    }
}

/// One way in which the history is not strictly serializable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it is called.
    pub anomaly: Anomaly,
    /// What was expected and what was seen.
    pub detail: Detail,
    /// The transactions that show it.
    pub transactions: Vec<Involved>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.anomaly, self.detail)?;
        for involved in &self.transactions {
            write!(f, "\n  {involved}")?;
        }
        Ok(())
    }
}
