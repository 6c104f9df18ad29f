//! The clients of a simulated cluster: state machines that speak to gateways as a careful driver would, and
//! record what they saw.
//!
//! A client does one *job* after the other. A job is a read-write transaction with its retries, a single-use
//! commit that is sent through several gateways, or a read without locks. Every attempt becomes one record of
//! the history, with true time; a lost answer to a commit is followed by questions for the outcome, and what
//! cannot be learned is recorded as unknown.
//!
//! Example: `transfer 3 -> 7`: Begin, read both rows under locks, commit both; the answer is lost because the
//! gateway dies; `LookupOutcome` at another gateway says that it committed.

use bench::history::{HistoryTime, Kind, Op, Outcome as Ended, Record, Row, Transaction};
use node::gateway::Error;
use node::gateway::api::{
    Answer, CommitTarget, Read, ReadBound, ReadWriteOptions, Request, Response, Rows, Selector,
    TransactionHandle, TransactionOptions,
};
use proto::encoding::TableSchema;
use proto::table::{KeySet, Mutation, WriteKind};
use proto::{Priority, TxnId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use txn::lock_table::LockMode;
use txn::message::Outcome;

mod single_use;
mod snapshot;

use single_use::SingleUse;
use snapshot::SnapshotRead;

use super::plan::{MS, SECOND};
use super::rng::Rng;
use super::tables::{Content, Table, coordinator_of, history_value, points, range, row_of};

/// What happens to a client.
#[derive(Debug)]
pub(super) enum Event {
    /// It may begin its next job, or its pause is over.
    Go,
    /// The answer to its one request.
    Answered(Answer),
    /// The connection broke, or no answer came in time.
    Lost,
}

/// What a client wants.
#[derive(Debug)]
pub(super) enum Wish {
    /// Ask this gateway, or another one when the client does not care which.
    Ask(Gateway, Request),
    /// Tell this gateway, and do not wait.
    Tell(usize, Request),
    /// Wait so long.
    Pause(u64),
    /// The job is done.
    Done,
}

/// Which gateway to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gateway {
    Any,
    This(usize),
}

/// What the clients of one cluster know.
#[derive(Debug)]
pub(super) struct World {
    pub(super) accounts: i64,
    pub(super) schemas: BTreeMap<Table, Arc<TableSchema>>,
    pub(super) records: Vec<Record>,
    pub(super) next_tag: i64,
    pub(super) total: i64,
    pub(super) committed: u64,
    pub(super) unknown: u64,
    pub(super) aborted: u64,
}

impl World {
    fn tag(&mut self) -> i64 {
        self.next_tag += 1;
        self.next_tag
    }
}

/// Money of an account at the beginning.
pub(super) const MONEY: i64 = 1000;
/// How often one transaction is tried.
const ATTEMPTS_MAX: u32 = 12;
/// After this long a client stops asking for an outcome.
const LOOKUP_PATIENCE: u64 = 30 * SECOND;

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: u32,
    rng: Rng,
    /// Where its transaction lives.
    gateway: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    ReadWrite(Box<ReadWrite>),
    SingleUse(Box<SingleUse>),
    Snapshot(Box<SnapshotRead>),
}

/// What a read-write transaction does.
#[derive(Clone, Debug)]
enum Script {
    /// Creates the accounts.
    Load,
    /// Moves money.
    Transfer { from: i64, to: i64, amount: i64, lock: LockMode, one_by_one: bool, buffered: bool },
    /// Reads two notes and writes one: write skew when locks fail.
    Skew { read: [i64; 2], write: i64 },
    /// Scans notes and then inserts into or deletes from what it scanned.
    Phantom { from: i64, to: i64, id: i64 },
    /// Scans notes and writes every one of them: many writes at once.
    Sweep { from: i64, to: i64 },
}

#[derive(Debug)]
struct ReadWrite {
    script: Script,
    attempt: u32,
    priority: Option<Priority>,
    stage: Stage,
    invoked: u64,
    id: Option<TxnId>,
    ops: Vec<Op>,
    seen: BTreeMap<i64, Option<Content>>,
    /// The writes of the commit.
    writes: Vec<(Table, i64, Option<Content>)>,
    commit_sent: Option<u64>,
    lookup_until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    /// Reading the part of that number.
    Read(usize),
    /// Buffering the first write.
    Write,
    /// Reading it back.
    ReadOwn,
    Commit,
    Lookup,
    /// Pausing before it is tried again.
    Again,
    /// Pausing before the next question.
    LookupPause,
}

impl Client {
    pub(super) fn new(id: u32, rng: Rng) -> Self {
        Client { id, rng, gateway: 0, state: State::Idle }
    }

    /// A line for the trace and for whoever waits too long.
    pub(super) fn doing(&self) -> String {
        match &self.state {
            State::Idle => "nothing".to_owned(),
            State::ReadWrite(job) => {
                format!("{:?} {:?} attempt {} {:?}", job.script, job.stage, job.attempt, job.id)
            }
            State::SingleUse(job) => format!("single use {:?}", job.target),
            State::Snapshot(job) => format!("read {:?} {:?}", job.table, job.bound),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// The job of creating the accounts.
    pub(super) fn load(&mut self, now: u64, nodes: usize) -> Vec<Wish> {
        self.begin(now, nodes, Script::Load)
    }

    /// A read of everything, strong.
    pub(super) fn audit(&mut self, now: u64, table: Table) -> Vec<Wish> {
        self.snapshot(now, table, ReadBound::Strong, None)
    }

    /// Moves one unit of money.
    pub(super) fn transfer(&mut self, now: u64, nodes: usize, from: i64, to: i64) -> Vec<Wish> {
        let lock = LockMode::Exclusive;
        let script =
            Script::Transfer { from, to, amount: 1, lock, one_by_one: false, buffered: false };
        self.begin(now, nodes, script)
    }

    /// Draws and begins a job.
    pub(super) fn next_job(&mut self, now: u64, nodes: usize, world: &mut World) -> Vec<Wish> {
        let rows = u64::try_from(world.accounts).unwrap_or(1);
        let id = |rng: &mut Rng| i64::try_from(rng.below(rows)).unwrap_or(0);
        match self.rng.below(100) {
            0..40 => {
                let (from, to) = (id(&mut self.rng), id(&mut self.rng));
                let to = if from == to { (to + 1) % world.accounts } else { to };
                let lock = if self.rng.coin() { LockMode::Shared } else { LockMode::Exclusive };
                let (one_by_one, buffered) = (self.rng.coin(), self.rng.per_mille(200));
                let amount = i64::try_from(self.rng.between(1, 9)).unwrap_or(1);
                let script = Script::Transfer { from, to, amount, lock, one_by_one, buffered };
                self.begin(now, nodes, script)
            }
            40..50 => {
                let read = [id(&mut self.rng), id(&mut self.rng)];
                let write = if self.rng.coin() { read[0] } else { id(&mut self.rng) };
                self.begin(now, nodes, Script::Skew { read, write })
            }
            50..53 => {
                let from = id(&mut self.rng);
                let rows = i64::try_from(self.rng.between(1, 16)).unwrap_or(1);
                let to = (from + rows).min(world.accounts);
                self.begin(now, nodes, Script::Sweep { from, to })
            }
            53..60 => {
                let (a, b) = (id(&mut self.rng), id(&mut self.rng));
                let (from, to) = (a.min(b), a.max(b) + 1);
                let id = if self.rng.coin() { from } else { id(&mut self.rng) };
                self.begin(now, nodes, Script::Phantom { from, to, id })
            }
            60..75 => {
                let most = if self.rng.per_mille(100) { 16 } else { 4 };
                let mut ids: Vec<i64> =
                    (0..self.rng.between(1, most)).map(|_| id(&mut self.rng)).collect();
                ids.sort_unstable();
                ids.dedup();
                let amount = i64::try_from(self.rng.below(1000)).unwrap_or(0);
                let mut content = |_| Content { amount, tag: world.tag() };
                let writes = ids.into_iter().map(|id| (id, content(id))).collect();
                self.single_use(now, nodes, writes)
            }
            _ => {
                let table = if self.rng.per_mille(700) { Table::Accounts } else { Table::Notes };
                let staleness = Duration::from_nanos(self.rng.log_between(MS, 4 * SECOND));
                let bound = match self.rng.below(4) {
                    0 | 1 => ReadBound::Strong,
                    2 => ReadBound::ExactStaleness(staleness),
                    _ => ReadBound::MaxStaleness(staleness),
                };
                let page = self.rng.per_mille(300).then(|| self.rng.between(1, 9));
                self.snapshot(now, table, bound, page)
            }
        }
    }

    /// Takes an event; what it wants follows.
    pub(super) fn step(
        &mut self,
        now: u64,
        nodes: usize,
        asked: usize,
        event: Event,
        world: &mut World,
    ) -> Vec<Wish> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => Vec::new(),
            State::ReadWrite(job) => self.read_write(now, nodes, job, event, world),
            State::SingleUse(job) => self.single_use_step(now, nodes, asked, job, event, world),
            State::Snapshot(job) => self.snapshot_step(now, job, event, world),
        }
    }

    fn begin(&mut self, now: u64, nodes: usize, script: Script) -> Vec<Wish> {
        let job = ReadWrite {
            script,
            attempt: 1,
            priority: None,
            stage: Stage::Begin,
            invoked: now,
            id: None,
            ops: Vec::new(),
            seen: BTreeMap::new(),
            writes: Vec::new(),
            commit_sent: None,
            lookup_until: 0,
        };
        self.attempt(now, nodes, Box::new(job))
    }

    fn attempt(&mut self, now: u64, nodes: usize, mut job: Box<ReadWrite>) -> Vec<Wish> {
        self.gateway = self.rng.index(nodes);
        job.stage = Stage::Begin;
        (job.invoked, job.id, job.commit_sent) = (now, None, None);
        job.ops.clear();
        job.seen.clear();
        job.writes.clear();
        let options = ReadWriteOptions { retry_of: job.priority, max_age: None };
        self.state = State::ReadWrite(job);
        let request = Request::Begin(TransactionOptions::ReadWrite(options));
        vec![Wish::Ask(Gateway::This(self.gateway), request)]
    }

    fn read_write(
        &mut self,
        now: u64,
        nodes: usize,
        mut job: Box<ReadWrite>,
        event: Event,
        world: &mut World,
    ) -> Vec<Wish> {
        match (job.stage, event) {
            (Stage::Again, _) => {
                job.attempt += 1;
                self.attempt(now, nodes, job)
            }
            (Stage::LookupPause, _) => self.look_up(now, job, world),
            (Stage::Begin, Event::Answered(Ok(Response::Begun(begun)))) => {
                let TransactionHandle::ReadWrite(id) = begun.transaction else {
                    panic!("a read-write transaction was asked for")
                };
                job.id = Some(id);
                job.priority = begun.priority;
                self.go_on(now, job, Stage::Read(0), world)
            }
            (Stage::Read(part), Event::Answered(Ok(Response::Rows(rows)))) => {
                self.take_rows(&mut job, part, rows);
                self.go_on(now, job, Stage::Read(part + 1), world)
            }
            (Stage::Write, Event::Answered(Ok(Response::Written))) => {
                self.go_on(now, job, Stage::ReadOwn, world)
            }
            (Stage::ReadOwn, Event::Answered(Ok(Response::Rows(rows)))) => {
                let (table, id, _) = job.writes[0];
                let content = rows.rows.iter().find_map(|row| row_of(&row.values)).map(|(_, c)| c);
                job.ops.push(read_op(table, id, content));
                self.go_on(now, job, Stage::Commit, world)
            }
            (Stage::Commit, Event::Answered(Ok(Response::Committed(done)))) => {
                self.end(now, job, Ended::Committed { at: done.commit_ts }, world)
            }
            (Stage::Commit, Event::Answered(Err(Error::OutcomeUnknown { for_good, .. }))) => {
                if for_good {
                    return self.end(now, job, Ended::Unknown, world);
                }
                self.look_up(now, job, world)
            }
            (Stage::Commit, Event::Lost) => self.look_up(now, job, world),
            (Stage::Lookup, Event::Answered(Ok(Response::Outcome(outcome)))) => match outcome {
                Outcome::Committed { commit_ts, .. } => {
                    self.end(now, job, Ended::Committed { at: commit_ts }, world)
                }
                Outcome::Aborted { .. } => self.end(now, job, Ended::Aborted, world),
                Outcome::NoLongerKnown => self.end(now, job, Ended::Unknown, world),
                Outcome::InProgress => self.look_up_later(now, job, world),
            },
            (Stage::Lookup, Event::Answered(Err(_)) | Event::Lost) => {
                self.look_up_later(now, job, world)
            }
            (Stage::Begin, Event::Answered(Err(_)) | Event::Lost) => self.again(job),
            (_, Event::Answered(Err(error))) => {
                sensible(&error);
                self.end(now, job, Ended::Aborted, world)
            }
            (Stage::Read(_) | Stage::Write | Stage::ReadOwn, Event::Lost) => {
                self.end(now, job, Ended::Aborted, world)
            }
            (stage, event) => panic!("{stage:?} was answered {event:?}"),
        }
    }

    /// The next step of the script.
    fn go_on(
        &mut self,
        now: u64,
        mut job: Box<ReadWrite>,
        stage: Stage,
        world: &mut World,
    ) -> Vec<Wish> {
        let id = job.id.expect("it was begun");
        let (stage, request) = match stage {
            Stage::Read(part) => match self.read_of(&job, id, part) {
                Some(read) => (Stage::Read(part), Request::Read(read)),
                None => {
                    form_writes(&mut job, world);
                    let buffered = matches!(job.script, Script::Transfer { buffered: true, .. });
                    let stage = if buffered { Stage::Write } else { Stage::Commit };
                    return self.go_on(now, job, stage, world);
                }
            },
            Stage::Write => {
                let (table, row, content) = job.writes[0];
                job.ops.push(write_op(table, row, content));
                let mutations = vec![mutation_of(table, row, content)];
                (Stage::Write, Request::Write { transaction: id, mutations })
            }
            Stage::ReadOwn => {
                let (table, row, _) = job.writes[0];
                let read = self.read(id, table, points(&[row]), LockMode::Shared);
                (Stage::ReadOwn, Request::Read(read))
            }
            Stage::Commit => {
                let written = job.ops.iter().any(|op| matches!(op, Op::Write { .. }));
                let rest = &job.writes[usize::from(written)..];
                let mutations =
                    rest.iter().map(|(table, row, content)| mutation_of(*table, *row, *content));
                let mutations = mutations.collect();
                let ops = rest.iter().map(|(t, row, c)| write_op(*t, *row, *c));
                let ops: Vec<Op> = ops.collect();
                job.ops.extend(ops);
                job.commit_sent = Some(now);
                job.lookup_until = now + LOOKUP_PATIENCE;
                let target = CommitTarget::Transaction(id);
                (Stage::Commit, Request::Commit { target, mutations })
            }
            Stage::Begin | Stage::Lookup | Stage::Again | Stage::LookupPause => {
                unreachable!("these begin elsewhere")
            }
        };
        job.stage = stage;
        self.state = State::ReadWrite(job);
        vec![Wish::Ask(Gateway::This(self.gateway), request)]
    }

    /// The read of that number, if the script has one.
    fn read_of(&mut self, job: &ReadWrite, id: TxnId, part: usize) -> Option<Read> {
        match (&job.script, part) {
            (Script::Load, _) => None,
            (Script::Transfer { from, to, lock, one_by_one: false, .. }, 0) => {
                Some(self.read(id, Table::Accounts, points(&[*from, *to]), *lock))
            }
            (Script::Transfer { from, lock, one_by_one: true, .. }, 0) => {
                Some(self.read(id, Table::Accounts, points(&[*from]), *lock))
            }
            (Script::Transfer { to, lock, one_by_one: true, .. }, 1) => {
                Some(self.read(id, Table::Accounts, points(&[*to]), *lock))
            }
            (Script::Skew { read, .. }, 0 | 1) => {
                Some(self.read(id, Table::Notes, points(&[read[part]]), LockMode::Shared))
            }
            (Script::Phantom { from, to, .. } | Script::Sweep { from, to }, 0) => {
                Some(self.read(id, Table::Notes, range(*from, *to), LockMode::Shared))
            }
            (
                Script::Transfer { .. }
                | Script::Skew { .. }
                | Script::Phantom { .. }
                | Script::Sweep { .. },
                _,
            ) => None,
        }
    }

    fn read(&self, id: TxnId, table: Table, keys: KeySet, lock: LockMode) -> Read {
        Read {
            selector: Selector::Existing(TransactionHandle::ReadWrite(id)),
            table: table.reference(),
            columns: Vec::new(),
            keys,
            limit: None,
            lock,
            resume: None,
        }
    }

    fn take_rows(&mut self, job: &mut ReadWrite, part: usize, rows: Rows) {
        let found: Vec<(i64, Content)> =
            rows.rows.iter().filter_map(|row| row_of(&row.values)).collect();
        assert_eq!(found.len(), rows.rows.len(), "rows have the columns of their table");
        if let Script::Phantom { from, to, .. } | Script::Sweep { from, to } = job.script {
            job.ops.push(scan_op(Table::Notes, from, to, &found));
            job.seen.extend(found.iter().map(|(id, content)| (*id, Some(*content))));
            return;
        }
        let (table, ids) = match &job.script {
            Script::Transfer { from, to, one_by_one, .. } => {
                let both = [*from, *to];
                let ids = if *one_by_one { vec![both[part]] } else { both.to_vec() };
                (Table::Accounts, ids)
            }
            Script::Skew { read, .. } => (Table::Notes, vec![read[part]]),
            Script::Load | Script::Phantom { .. } | Script::Sweep { .. } => {
                unreachable!("these read no points")
            }
        };
        for id in ids {
            let content = found.iter().find(|(found, _)| *found == id).map(|(_, content)| *content);
            job.seen.insert(id, content);
            job.ops.push(read_op(table, id, content));
        }
    }

    fn look_up(&mut self, now: u64, mut job: Box<ReadWrite>, world: &mut World) -> Vec<Wish> {
        if now >= job.lookup_until {
            return self.end(now, job, Ended::Unknown, world);
        }
        let id = job.id.expect("it was begun");
        let smallest = job
            .writes
            .iter()
            .filter_map(|(table, row, _)| coordinator_of(&world.schemas[table], *row))
            .min();
        let Some(coordinator) = smallest else {
            // It wrote nothing, so nothing is in doubt.
            return self.end(now, job, Ended::Aborted, world);
        };
        job.stage = Stage::Lookup;
        self.state = State::ReadWrite(job);
        vec![Wish::Ask(Gateway::Any, Request::LookupOutcome { id, coordinator })]
    }

    fn look_up_later(&mut self, now: u64, mut job: Box<ReadWrite>, world: &mut World) -> Vec<Wish> {
        if now >= job.lookup_until {
            return self.end(now, job, Ended::Unknown, world);
        }
        job.stage = Stage::LookupPause;
        self.state = State::ReadWrite(job);
        vec![Wish::Pause(self.rng.between(20 * MS, 400 * MS))]
    }

    /// The attempt is over: it is recorded, and tried again when it surely had no effect.
    fn end(&mut self, now: u64, job: Box<ReadWrite>, ended: Ended, world: &mut World) -> Vec<Wish> {
        let mut wishes = Vec::new();
        match ended {
            Ended::Committed { .. } => {
                world.committed += 1;
                if matches!(job.script, Script::Load) {
                    world.total = world.accounts * MONEY;
                }
            }
            Ended::Unknown => world.unknown += 1,
            Ended::Aborted => {
                world.aborted += 1;
                wishes.extend(job.id.map(|id| Wish::Tell(self.gateway, Request::Rollback(id))));
            }
        }
        let kind = Kind::ReadWrite {
            outcome: ended,
            commit_sent: job.commit_sent.map(HistoryTime::from_nanos),
        };
        world.records.push(Record::Transaction(Transaction {
            process: self.id,
            invoked: HistoryTime::from_nanos(job.invoked),
            responded: HistoryTime::from_nanos(now),
            id: job.id.map(|id| format!("{id}")),
            kind,
            ops: job.ops.clone(),
        }));
        if ended == Ended::Aborted {
            wishes.extend(self.again(job));
        } else {
            wishes.push(Wish::Done);
        }
        wishes
    }

    fn again(&mut self, mut job: Box<ReadWrite>) -> Vec<Wish> {
        if job.attempt >= ATTEMPTS_MAX && !matches!(job.script, Script::Load) {
            return vec![Wish::Done];
        }
        job.stage = Stage::Again;
        self.state = State::ReadWrite(job);
        vec![Wish::Pause(self.rng.between(MS, 50 * MS))]
    }
}

/// Errors that a correct client never gets.
fn sensible(error: &Error) {
    use node::gateway::InvalidRequest;
    match error {
        Error::Damaged { .. } | Error::BeginOutOfBounds { .. } | Error::TooLarge(_) => {
            panic!("a client was told: {error}")
        }
        Error::Invalid { reason: InvalidRequest::Ending } => {}
        Error::Invalid { .. } => panic!("a client was told: {error}"),
        _ => {}
    }
}

/// What the commit writes, by what was read.
fn form_writes(job: &mut ReadWrite, world: &mut World) {
    let accounts = world.accounts;
    let mut put = |job: &mut ReadWrite, table, id, amount| {
        job.writes.push((table, id, Some(Content { amount, tag: world.tag() })));
    };
    match job.script.clone() {
        Script::Load => {
            for id in 0..accounts {
                put(job, Table::Accounts, id, MONEY);
            }
        }
        Script::Transfer { from, to, amount, .. } => {
            let money =
                |id| job.seen.get(&id).copied().flatten().map(|content: Content| content.amount);
            let (Some(a), Some(b)) = (money(from), money(to)) else {
                panic!("accounts {from} and {to} exist")
            };
            put(job, Table::Accounts, from, a - amount);
            put(job, Table::Accounts, to, b + amount);
        }
        Script::Skew { read, write } => {
            let sum = read.iter().filter_map(|id| job.seen.get(id).copied().flatten());
            let sum = sum.map(|content| content.amount).sum::<i64>() % 1000;
            put(job, Table::Notes, write, sum);
        }
        Script::Sweep { from, to } => {
            let found = i64::try_from(job.seen.len()).unwrap_or(0);
            for id in from..to {
                put(job, Table::Notes, id, found);
            }
        }
        Script::Phantom { id, .. } => {
            if job.seen.contains_key(&id) {
                job.writes.push((Table::Notes, id, None));
            } else {
                let found = i64::try_from(job.seen.len()).unwrap_or(0);
                put(job, Table::Notes, id, found);
            }
        }
    }
}

fn mutation_of(table: Table, id: i64, content: Option<Content>) -> Mutation {
    match content {
        Some(content) => table.write(WriteKind::Replace, &[(id, content)]),
        None => table.delete(&[id]),
    }
}

fn read_op(table: Table, id: i64, content: Option<Content>) -> Op {
    Op::Read { key: table.history_key(id), value: content.map(history_value), version: None }
}

fn write_op(table: Table, id: i64, content: Option<Content>) -> Op {
    Op::Write { key: table.history_key(id), value: content.map(history_value) }
}

fn scan_op(table: Table, from: i64, to: i64, rows: &[(i64, Content)]) -> Op {
    let row = |(id, content): &(i64, Content)| Row {
        key: table.history_key(*id),
        value: history_value(*content),
        version: None,
    };
    Op::Scan { span: table.history_span(from, to), rows: rows.iter().map(row).collect() }
}
