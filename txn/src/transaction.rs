//! The gateway's side of one attempt of a read-write transaction (TRANSACTIONS.md sections 4 and 5).
//!
//! Terms: a *call* is a request to a shard that the transaction waits for, named by a [`TxnCall`]; the driver
//! routes it to the shard's leader and brings back a reply or a [`CallError`]. A shard is *touched* once a
//! request that may lock was sent there, and a *participant* if it gave a grant or has writes. The
//! transaction is *frozen* from its first prepare or commit on: writes, participants and coordinator key
//! never change after that.
//!
//! Example, a transfer over shards `a` and `b`: two [`Transaction::read`]s `FOR UPDATE` bring a
//! grant pair each; two [`Transaction::write`]s stay here; [`Transaction::commit`] sends the prepare to `b`, and
//! once that is answered the commit with its pair to `a`, whose answer ends the attempt.
//! ```text
//! Open --commit--> Preparing --all prepared, locks held--> Deciding --outcome--> ended
//!   |                  |                                    |  ^ lookup, commit again
//!   +--give up: release everywhere                          |  |
//!                      +--give up: abort at coordinator--> Aborting --> ended
//! ```
//! What an end may say: "not committed" only where no commit was sent and no other gateway may have sent one,
//! or from the coordinator's answer; everything else is "unknown" (T14, T42).
//!
//! Not here: rows and schemas, routing and retries of one call, retries of the transaction, its id's
//! making. Catalog leases (section 7) are not judged here either: whoever holds one names its end by
//! [`Transaction::stay_below`], and the coordinator chooses `s` below it.

mod buffer;
mod call;
mod commit;
pub mod digest;
mod scan;
#[cfg(test)]
mod tests;

pub use buffer::{BufferFull, WriteBuffer};
pub use call::{CallError, Obstacle, TxnCall};
pub use scan::{Ask, Scan, ScanRows, Shards, UnknownShard, cut, normalise};

use proto::{GrantPair, Key, KeySpan, Priority, ShardId, TxnId, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use truetime::{Mono, Now, Timestamp};

use crate::lock_table::LockMode;
use crate::message::{AbortReason, Attempt, ReadLimit, Refusal, Reply, Request, Row, Write};
use commit::{Frozen, Phase};

/// Settings of transactions at one gateway.
#[derive(Clone, Copy, Debug)]
pub struct TransactionSettings {
    /// `txn.idle_timeout`: keep-alives go out every third of it.
    pub idle_timeout: Duration,
    /// How long the client waits for a coordinator to log an abort when it is certain anyway.
    pub abort_wait: Duration,
    /// How long after a commit was sent its outcome is asked for before it is called unknown.
    pub outcome_wait: Duration,
    /// Between two questions about one outcome, at first; doubles up to a second.
    pub lookup_pause: Duration,
    /// Buffered writes at the most.
    pub buffered_bytes_max: usize,
    /// Rows remembered from reads `FOR UPDATE`, so that writing them needs no second read; beyond it they
    /// are read again.
    pub known_bytes_max: usize,
    /// Shards of one read that are asked at the same time.
    pub reads_at_once_max: usize,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        TransactionSettings {
            idle_timeout: Duration::from_secs(10),
            abort_wait: Duration::from_secs(2),
            outcome_wait: Duration::from_secs(8),
            lookup_pause: Duration::from_millis(10),
            buffered_bytes_max: 64 << 20,
            known_bytes_max: 16 << 20,
            reads_at_once_max: 64,
        }
    }
}

/// Who may drive a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Only this gateway: what it never sent was never sent.
    Only,
    /// A single-use commit, which its client may also send through another gateway. It is aborted only from a
    /// logged abort.
    OneOfSeveral {
        /// Distinguishes what the client asked for; equal at every gateway.
        digest: u64,
        /// The key that the client names, resolved before the first send.
        coordinator: Key,
        /// Its shard.
        shard: ShardId,
    },
}

/// Names one read of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u32);

/// Why a read returned nothing. The transaction goes on unless it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// A shard could not be asked.
    Call(CallError),
    /// A shard refused.
    Refused(Refusal),
}

/// Why an attempt surely was not and will not be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was aborted.
    Aborted(AbortReason),
    /// A shard refused it.
    Refused(Refusal),
    /// A shard could not be asked before any commit was sent.
    Unavailable(CallError),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Committed, and the timestamp is past.
    Committed {
        /// The commit timestamp.
        commit_ts: Timestamp,
        /// How long commit wait delayed the answer, in nanoseconds.
        commit_wait: u64,
        /// Shards that took part, the coordinator included.
        participants: u32,
    },
    /// Surely not committed, now and for good.
    NotCommitted {
        /// Why.
        cause: Cause,
    },
    /// Nobody here knows. Never retried under another id (T42).
    OutcomeUnknown {
        /// Whose shard knows.
        coordinator: Key,
        /// Whether nothing more will ever be known (the record's time is over).
        for_good: bool,
    },
}

/// What the driver is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the leader of the shard of the request's routing key, and bring back what became of it.
    Call {
        /// Which call.
        call: TxnCall,
        /// What to ask.
        request: Request,
    },
    /// Ask in passing: nobody waits for the answer.
    Forget {
        /// What to ask.
        request: Request,
    },
    /// Nobody waits for this call any more.
    Cancel {
        /// Which.
        call: TxnCall,
    },
    /// A read is done.
    ReadDone {
        /// Which read.
        read: ReadId,
        /// The rows, merged with the buffered writes.
        result: Result<ScanRows, ReadError>,
    },
    /// The attempt ended. Emitted once, last; reads still under way are not answered.
    Ended(End),
}

/// A shard to which a request that may lock was sent.
#[derive(Debug)]
struct Touched {
    /// The smallest key named there so far.
    key: Key,
    /// The first grant pair (T24).
    grant: Option<GrantPair>,
    /// When a request last left for it: a keep-alive is due a third of the idle timeout later.
    last_sent: Mono,
    /// Whether a keep-alive is under way.
    keeping_alive: bool,
}

/// What an outstanding call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read { read: ReadId, part: usize, shard: ShardId },
    Lock { shard: ShardId },
    Prepare { shard: ShardId },
    Commit,
    Lookup,
    Abort,
    KeepAlive { shard: ShardId },
}

#[derive(Debug)]
struct ActiveRead {
    mode: LockMode,
    scan: Scan,
}

/// One attempt. See the module.
#[derive(Debug)]
pub struct Transaction {
    id: TxnId,
    priority: Priority,
    driver: Driver,
    settings: TransactionSettings,
    buffer: WriteBuffer,
    /// Rows, or their absence, read under an exclusive lock.
    known: BTreeMap<Key, Option<Value>>,
    known_bytes: usize,
    /// Spans scanned under exclusive locks; points are in `known` as long as it has room.
    exclusive: Vec<KeySpan>,
    shards: BTreeMap<ShardId, Touched>,
    reads: BTreeMap<ReadId, ActiveRead>,
    calls: BTreeMap<TxnCall, Purpose>,
    next_call: u32,
    next_read: u32,
    /// The end of the catalog lease under which it used tables.
    below: Option<Timestamp>,
    phase: Phase,
}

impl Transaction {
    /// A new attempt. The id must never have been used, unless `driver` says that others may drive it.
    #[must_use]
    pub fn new(
        id: TxnId,
        priority: Priority,
        driver: Driver,
        settings: TransactionSettings,
    ) -> Self {
        Transaction {
            id,
            priority,
            driver,
            settings,
            buffer: WriteBuffer::default(),
            known: BTreeMap::new(),
            known_bytes: 0,
            exclusive: Vec::new(),
            shards: BTreeMap::new(),
            reads: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            next_read: 0,
            below: None,
            phase: Phase::Open,
        }
    }

    /// The attempt's id.
    #[must_use]
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// The attempt's age for wound-wait.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Open | Phase::Preparing(_) | Phase::Deciding(_) | Phase::Aborting(_) => None,
        }
    }

    /// Whether reads and writes are still taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether a commit was sent, so that only the coordinator can say what became of it.
    #[must_use]
    pub fn commit_was_sent(&self) -> bool {
        match &self.phase {
            Phase::Open | Phase::Preparing(_) | Phase::Ended(_) => false,
            Phase::Deciding(_) => true,
            Phase::Aborting(aborting) => aborting.may_have_committed,
        }
    }

    /// Whether a read is under way.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        !self.reads.is_empty()
    }

    /// The buffered writes.
    #[must_use]
    pub fn buffer(&self) -> &WriteBuffer {
        &self.buffer
    }

    /// What this transaction surely knows of a row that it holds exclusively: its own write, or what it
    /// read. `None` when it must be read first.
    #[must_use]
    pub fn known(&self, key: &Key) -> Option<&Option<Value>> {
        self.buffer.get(key).or_else(|| self.known.get(key))
    }

    /// Reads spans under locks, merged with the buffered writes. The result is a later
    /// [`Effect::ReadDone`], at once when there is nothing to ask.
    ///
    /// # Errors
    /// When the shard map must be read first; nothing was done then.
    pub fn read(
        &mut self,
        now: &Now,
        shards: &impl Shards,
        mode: LockMode,
        spans: Vec<KeySpan>,
        limit: ReadLimit,
        effects: &mut Vec<Effect>,
    ) -> Result<ReadId, UnknownShard> {
        assert!(self.is_open(), "a transaction that is not open takes no reads");
        let parts = cut(&normalise(spans), shards)?;
        let read = ReadId(self.next_read);
        self.next_read += 1;
        let scan = Scan::new(parts, limit, self.settings.reads_at_once_max);
        self.reads.insert(read, ActiveRead { mode, scan });
        self.advance_read(now, read, effects);
        Ok(read)
    }

    /// Buffers a write; a later one of the same key replaces it.
    ///
    /// # Errors
    /// When the buffered writes would exceed their limit; nothing was done then.
    pub fn write(&mut self, write: Write) -> Result<(), BufferFull> {
        assert!(self.is_open(), "a transaction that is not open takes no writes");
        self.buffer.put(write, self.settings.buffered_bytes_max)
    }

    /// Has the coordinator refuse any `s` that is not below `end`. Frozen with the commit.
    pub fn stay_below(&mut self, end: Timestamp) {
        assert!(self.is_open(), "what a commit says is frozen when it is sent");
        self.below = Some(end);
    }

    /// A call was answered, or failed. Unknown calls are late answers and change nothing.
    pub fn completed(
        &mut self,
        now: &Now,
        call: TxnCall,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(purpose) = self.calls.remove(&call) else { return };
        match purpose {
            Purpose::Read { read, part, shard } => {
                self.read_answered(now, (read, part, shard), result, effects);
            }
            Purpose::KeepAlive { shard } => self.keep_alive_answered(now, shard, result, effects),
            Purpose::Lock { shard } => self.lock_answered(now, shard, result, effects),
            Purpose::Prepare { shard } => self.prepare_answered(now, shard, result, effects),
            Purpose::Commit => self.commit_answered(now, result, effects),
            Purpose::Lookup => self.lookup_answered(now, result, effects),
            Purpose::Abort => self.abort_answered(now, result, effects),
        }
    }

    /// Time passed: keep-alives, pauses between questions, and deadlines.
    pub fn tick(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        self.tick_phase(now, effects);
        if !self.commit_was_sent() && self.end().is_none() && self.is_past_horizon(now) {
            self.abandon(now, Cause::Aborted(AbortReason::TooOld), None, effects);
        }
        if self.end().is_some() {
            return;
        }
        let pause = self.settings.idle_timeout / 3;
        let prepared = self.frozen();
        let due: Vec<(ShardId, Key, Option<GrantPair>)> = self
            .shards
            .iter()
            .filter(|(shard, touched)| {
                !touched.keeping_alive
                    && touched.last_sent.plus(pause) <= now.mono
                    && (touched.grant.is_some() || prepared.is_some_and(|f| f.is_prepared(**shard)))
            })
            .map(|(shard, touched)| (*shard, touched.key.clone(), touched.grant))
            .collect();
        for (shard, key, grant) in due {
            let attempt = Attempt { id: self.id, priority: self.priority, grant };
            let request = Request::KeepAlive { attempt, key };
            self.call(now, Purpose::KeepAlive { shard }, request, effects);
            if let Some(touched) = self.shards.get_mut(&shard) {
                touched.keeping_alive = true;
            }
        }
    }

    /// When [`Transaction::tick`] has something to do; [`Mono::MAX`] if never.
    #[must_use]
    pub fn next_deadline(&self) -> Mono {
        if self.end().is_some() {
            return Mono::MAX;
        }
        let pause = self.settings.idle_timeout / 3;
        let prepared = self.frozen();
        self.shards
            .iter()
            .filter(|(shard, touched)| {
                !touched.keeping_alive
                    && (touched.grant.is_some() || prepared.is_some_and(|f| f.is_prepared(**shard)))
            })
            .map(|(_, touched)| touched.last_sent.plus(pause))
            .min()
            .unwrap_or(Mono::MAX)
            .min(self.phase_deadline())
    }

    /// Sends what a read can ask, or reports it when it is complete.
    fn advance_read(&mut self, now: &Now, read: ReadId, effects: &mut Vec<Effect>) {
        let Some(active) = self.reads.get_mut(&read) else { return };
        let mode = active.mode;
        if let Some(rows) = active.scan.take_finished() {
            self.finish_read(read, Ok(rows), effects);
            return;
        }
        for ask in active.scan.asks() {
            let attempt = self.touch(now, ask.shard, ask.spans.first().map(|span| &span.start));
            let (spans, limit) = (ask.spans, ask.limit);
            let request = Request::LockedRead { attempt, mode, spans, limit };
            let purpose = Purpose::Read { read, part: ask.part, shard: ask.shard };
            self.call(now, purpose, request, effects);
        }
    }

    /// Ends a read: parts still under way find nobody when they are answered.
    fn finish_read(
        &mut self,
        read: ReadId,
        result: Result<ScanRows, ReadError>,
        effects: &mut Vec<Effect>,
    ) {
        self.reads.remove(&read);
        self.calls.retain(|call, purpose| {
            let abandoned = matches!(purpose, Purpose::Read { read: of, .. } if *of == read);
            if abandoned {
                effects.push(Effect::Cancel { call: *call });
            }
            !abandoned
        });
        effects.push(Effect::ReadDone { read, result });
    }

    fn read_answered(
        &mut self,
        now: &Now,
        (read, part, shard): (ReadId, usize, ShardId),
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let (grant, rows, rest) = match result {
            Ok(Reply::Rows { grant: Some(grant), rows, rest }) => (grant, rows, rest),
            Ok(Reply::Aborted { reason }) => {
                return self.abandon(now, Cause::Aborted(reason), Some(shard), effects);
            }
            Ok(Reply::Refused(refusal)) => {
                return self.finish_read(read, Err(ReadError::Refused(refusal)), effects);
            }
            Err(error) => return self.finish_read(read, Err(ReadError::Call(error)), effects),
            Ok(_) => return self.abandon(now, unexpected_answer(), None, effects),
        };
        if !self.accept_grant(shard, grant) {
            return self.abandon(now, Cause::Aborted(AbortReason::LocksLost), Some(shard), effects);
        }
        let Some(active) = self.reads.get_mut(&read) else { return };
        let mode = active.mode;
        let (buffer, known) = (&self.buffer, &mut self.known);
        let (known_bytes, exclusive) = (&mut self.known_bytes, &mut self.exclusive);
        let known_bytes_max = self.settings.known_bytes_max;
        active.scan.answered(part, rows, rest, |rows, consumed| {
            if mode == LockMode::Exclusive {
                let room = known_bytes_max.saturating_sub(*known_bytes);
                *known_bytes += remember(known, exclusive, &rows, consumed, room);
            }
            buffer.overlay(rows, consumed)
        });
        self.advance_read(now, read, effects);
    }

    /// Keeps the first pair of a shard; says whether this one agrees with it (T24).
    fn accept_grant(&mut self, shard: ShardId, grant: GrantPair) -> bool {
        let Some(touched) = self.shards.get_mut(&shard) else { return false };
        *touched.grant.get_or_insert(grant) == grant
    }

    fn keep_alive_answered(
        &mut self,
        now: &Now,
        shard: ShardId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(touched) = self.shards.get_mut(&shard) {
            touched.keeping_alive = false;
        }
        // Once a commit was sent only the coordinator's outcome counts.
        let undecided = matches!(self.phase, Phase::Open | Phase::Preparing(_));
        if let (Ok(Reply::Aborted { reason }), true) = (result, undecided) {
            self.abandon(now, Cause::Aborted(reason), Some(shard), effects);
        }
    }

    /// Notes that a request leaves for a shard, and says who asks there.
    fn touch(&mut self, now: &Now, shard: ShardId, key: Option<&Key>) -> Attempt {
        let key = key.cloned().unwrap_or_default();
        let touched = self.shards.entry(shard).or_insert_with(|| Touched {
            key: key.clone(),
            grant: None,
            last_sent: now.mono,
            keeping_alive: false,
        });
        touched.last_sent = now.mono;
        if key < touched.key {
            touched.key = key;
        }
        Attempt { id: self.id, priority: self.priority, grant: touched.grant }
    }

    fn call(&mut self, now: &Now, purpose: Purpose, request: Request, effects: &mut Vec<Effect>) {
        if let Purpose::KeepAlive { shard } = purpose
            && let Some(touched) = self.shards.get_mut(&shard)
        {
            touched.last_sent = now.mono;
        }
        let call = TxnCall(self.next_call);
        self.next_call += 1;
        self.calls.insert(call, purpose);
        effects.push(Effect::Call { call, request });
    }

    /// Whether the exclusive lock on a key is surely held already.
    fn holds_exclusively(&self, key: &Key) -> bool {
        self.known.contains_key(key) || self.exclusive.iter().any(|span| span.contains(key))
    }

    fn frozen(&self) -> Option<&Frozen> {
        match &self.phase {
            Phase::Open | Phase::Ended(_) => None,
            Phase::Preparing(preparing) => Some(&preparing.frozen),
            Phase::Deciding(deciding) => Some(&deciding.frozen),
            Phase::Aborting(aborting) => Some(&aborting.frozen),
        }
    }
}

/// A shard answered with something that is no answer to what it was asked: nothing can be concluded
/// about the locks there.
fn unexpected_answer() -> Cause {
    Cause::Aborted(AbortReason::LocksLost)
}

/// Remembers rows read under exclusive locks, and the spans of those locks; returns the bytes added.
fn remember(
    known: &mut BTreeMap<Key, Option<Value>>,
    exclusive: &mut Vec<KeySpan>,
    rows: &[Row],
    consumed: &[KeySpan],
    room: usize,
) -> usize {
    let mut added = 0;
    for row in rows {
        let size = row.key.as_bytes().len() + row.value.as_bytes().len();
        if added + size > room {
            break;
        }
        added += size;
        known.insert(row.key.clone(), Some(row.value.clone()));
    }
    for span in consumed {
        match span.as_point() {
            Some(key) if known.contains_key(key) => {}
            // No row came back for the point: it is known to be absent, unless there was no room.
            Some(key) if rows.binary_search_by(|row| row.key.cmp(key)).is_err() && added < room => {
                added += key.as_bytes().len();
                known.insert(key.clone(), None);
            }
            Some(_) | None => exclusive.push(span.clone()),
        }
    }
    added
}
