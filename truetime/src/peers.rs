//! Whether this node's claim can be true, judged by the other nodes' claims (T19).
//!
//! In an *exchange* this node notes its interval, asks another for its own, and notes its interval again
//! when the answer arrives. The other read its clock in between, so if both claims are true, its interval
//! cannot end before the first one's `earliest`, nor begin after the last one's `latest`. If it does,
//! the two are *apart*, and at least one of them is false.
//!
//! Example, three nodes: n1 claims `[10, 12]` and later `[13, 15]`; n2 answers `[11, 14]` and n3
//! `[90, 93]`. n1 is apart from n3 and meets n2: it is one of two that agree and goes on. n3 is apart
//! from both: it is outside its claim and says so.
//!
//! A node that nobody answered is not judged: a partition is no clock's fault. Not here: sending the
//! exchanges, and which of two nodes is right when there are only two (both stop).

use crate::{ClockUnsure, Mono, Now, TimeInterval};
use std::collections::BTreeMap;
use std::time::Duration;

/// An answer older than this is no longer counted.
pub const EXCHANGE_AGE_MAX: Duration = Duration::from_secs(60);

/// This node's interval before and after it was told another's. Take this node's from its clock, not
/// from [`Peers::judge`]: a node outside its claim must go on comparing, or it never recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Ours when the question left.
    pub sent: TimeInterval,
    /// Theirs, read when it arrived.
    pub theirs: TimeInterval,
    /// Ours when the answer arrived.
    pub received: TimeInterval,
}

/// What an exchange shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Both claims can be true.
    Meets,
    /// They cannot: theirs ends this long before ours begins.
    Behind(Duration),
    /// They cannot: theirs begins this long after ours ends.
    Ahead(Duration),
}

impl Exchange {
    /// What it shows.
    #[must_use]
    pub fn meeting(&self) -> Meeting {
        if self.theirs.latest < self.sent.earliest {
            Meeting::Behind(self.sent.earliest.since(self.theirs.latest))
        } else if self.theirs.earliest > self.received.latest {
            Meeting::Ahead(self.theirs.earliest.since(self.received.latest))
        } else {
            Meeting::Meets
        }
    }

    /// How much room it leaves the other's interval to meet ours by chance: the round trip, and all the
    /// bounds.
    fn slack(&self) -> Duration {
        let ours = self.received.latest.since(self.sent.earliest);
        ours + self.theirs.latest.since(self.theirs.earliest)
    }
}

/// The last exchange with each other node.
#[derive(Debug)]
pub struct Peers<Id> {
    last: BTreeMap<Id, Record>,
}

#[derive(Debug)]
struct Record {
    at: Mono,
    meeting: Meeting,
    slack: Duration,
}

impl<Id> Default for Peers<Id> {
    fn default() -> Self {
        Peers { last: BTreeMap::new() }
    }
}

impl<Id: Ord + Copy> Peers<Id> {
    /// Takes in an exchange that ended at `at`.
    pub fn record(&mut self, peer: Id, at: Mono, exchange: &Exchange) {
        let meeting = exchange.meeting();
        let slack = exchange.slack();
        if meeting == Meeting::Meets
            && let Some(before) = self.last.get(&peer)
            && before.is_hidden_by(slack)
            && at.since(before.at) <= EXCHANGE_AGE_MAX
        {
            return;
        }
        self.last.insert(peer, Record { at, meeting, slack });
    }

    /// Forgets a node that is no longer one of the cluster.
    pub fn forget(&mut self, peer: Id) {
        self.last.remove(&peer);
    }

    /// The nodes whose claims and ours cannot both be true, with what the last exchange showed.
    pub fn apart(&self, at: Mono) -> impl Iterator<Item = (Id, Meeting)> {
        self.counted(at)
            .filter(|(_, record)| record.meeting != Meeting::Meets)
            .map(|(peer, record)| (peer, record.meeting))
    }

    /// Whether this node, with those it meets, is no majority of itself and those that answered lately.
    #[must_use]
    pub fn is_outside(&self, at: Mono) -> bool {
        let answered = self.counted(at).count();
        let meets = answered - self.apart(at).count();
        2 * (meets + 1) <= answered + 1
    }

    /// `now`, unless this node is outside its claim: then it vouches for nothing.
    #[must_use]
    pub fn judge(&self, now: Now) -> Now {
        if now.interval.is_ok() && self.is_outside(now.mono) {
            Now { interval: Err(ClockUnsure::OutsideClaim), ..now }
        } else {
            now
        }
    }

    fn counted(&self, at: Mono) -> impl Iterator<Item = (Id, &Record)> {
        let is_recent = move |record: &Record| at.since(record.at) <= EXCHANGE_AGE_MAX;
        self.last
            .iter()
            .filter(move |(_, record)| is_recent(record))
            .map(|(peer, record)| (*peer, record))
    }
}

impl Record {
    /// Whether an exchange with that much slack would have met although nothing has changed: a slow
    /// answer hides a gap, and is no sign that it closed.
    fn is_hidden_by(&self, slack: Duration) -> bool {
        match self.meeting {
            Meeting::Meets => false,
            Meeting::Behind(gap) | Meeting::Ahead(gap) => slack >= self.slack + gap,
        }
    }
}

#[cfg(test)]
mod tests;
