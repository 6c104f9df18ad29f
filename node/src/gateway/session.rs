//! Read-write transactions of clients: what drives a [`Transaction`] on their behalf.
//!
//! A session stays for `txn.idle_timeout` after its end, so that a client whose answer was lost gets the
//! same answer again (T34), and one that did not know learns that it was wounded.

use proto::{KeySpan, Priority, TxnId};
use std::collections::BTreeMap;
use truetime::{Mono, Now, Timestamp};
use txn::lock_table::LockMode;
use txn::message::{AbortReason, ReadLimit, Reply};
use txn::transaction::{
    CallError, Driver, Effect as TxnEffect, End, ReadError, ReadId, ScanRows, Transaction,
};

use super::api::{
    Begun, ClientId, Committed, Read, ReadWriteOptions, Response, Ticket, TransactionHandle,
};
use super::ddl::DdlJob;
use super::error::{Error, InvalidRequest, Subject};
use super::lease::CatalogUse;
use super::machine::{Effect, Gateway, answer};
use super::mutation::{Forming, resolve};
use super::snapshot::ClientRead;
use crate::routing::{CallId, Route};
use proto::table::Mutation;

/// What a locked read is for.
#[derive(Debug)]
pub(super) enum ReadPurpose {
    /// A client's read.
    Client(ClientRead),
    /// Rows that mutations need.
    Forming(Vec<KeySpan>),
    /// The system rows that a change of the catalog needs.
    Ddl,
    /// What this gateway acknowledged before.
    Acknowledgement,
    /// The records of shards that were removed.
    Marks,
}

/// What happens to mutations once their writes are formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// They stay buffered.
    Answer(Ticket),
    /// They are committed with the rest.
    Commit,
}

/// One read-write transaction at this gateway.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) transaction: Transaction,
    pub(super) client: ClientId,
    /// When its client last sent something, or it ended.
    pub(super) last_heard: Mono,
    pub(super) reads: BTreeMap<ReadId, ReadPurpose>,
    pub(super) forming: Option<(Forming, Then)>,
    /// Of a single-use commit: the digest of its mutations.
    pub(super) single_use: Option<u64>,
    /// Requests that wait for the end.
    pub(super) waiting: Vec<Ticket>,
    /// Requests that wait for a rollback.
    pub(super) rolling_back: Vec<Ticket>,
    /// Why it is being given up; answered in place of the abort that follows.
    pub(super) objection: Option<Error>,
    pub(super) ddl: Option<Box<DdlJob>>,
    /// Its place among the ended ones.
    ended: Option<u64>,
    /// The catalog version that it writes the acknowledgement of.
    pub(super) acknowledges: Option<Timestamp>,
    /// Whether it marks shards as removed.
    pub(super) marks: bool,
    /// The catalog version under which it began to use tables, and until when it may commit.
    pub(super) in_use: Option<CatalogUse>,
    /// Its entry in the timers.
    pub(super) wake: Mono,
}

impl Session {
    /// Whether its client waits for something, or its end is under way, so that it cannot be called
    /// silent.
    fn is_busy(&self) -> bool {
        !self.transaction.is_open()
            || !self.reads.is_empty()
            || self.forming.is_some()
            || !self.waiting.is_empty()
            || !self.rolling_back.is_empty()
            || self.ddl.is_some()
    }
}

impl Gateway {
    pub(super) fn begin_session(
        &mut self,
        now: &Now,
        client: ClientId,
        options: ReadWriteOptions,
    ) -> Result<Begun, Error> {
        let max_age = options.max_age.unwrap_or(self.max_age());
        let id = self.fresh_id(now, max_age)?;
        let priority = options.retry_of.map_or_else(|| Priority::first(id), Priority::retry);
        self.new_session(now, client, (id, priority), Driver::Only)?;
        let transaction = TransactionHandle::ReadWrite(id);
        Ok(Begun { transaction, priority: Some(priority) })
    }

    pub(super) fn new_session(
        &mut self,
        now: &Now,
        client: ClientId,
        (id, priority): (TxnId, Priority),
        driver: Driver,
    ) -> Result<u64, Error> {
        if self.sessions.len() - self.ended.len() >= self.settings.transactions_max {
            return Err(Error::Overloaded { what: "transactions at this gateway".to_owned() });
        }
        let owner = self.fresh_owner();
        let wake = now.mono.plus(self.settings.transaction.idle_timeout);
        let single_use = match &driver {
            Driver::OneOfSeveral { digest, .. } => Some(*digest),
            Driver::Only => None,
        };
        let session = Session {
            single_use,
            transaction: Transaction::new(id, priority, driver, self.settings.transaction),
            client,
            last_heard: now.mono,
            reads: BTreeMap::new(),
            forming: None,
            waiting: Vec::new(),
            rolling_back: Vec::new(),
            objection: None,
            ddl: None,
            ended: None,
            acknowledges: None,
            marks: false,
            in_use: None,
            wake,
        };
        self.sessions.insert(owner, session);
        let before = self.by_id.insert(id, owner);
        assert!(before.is_none(), "transaction {id} has one session");
        self.by_client.insert((client, owner));
        self.set_timer(wake, owner);
        Ok(owner)
    }

    /// The session of a transaction whose client just asked something.
    pub(super) fn heard_of(&mut self, now: &Now, id: TxnId) -> Result<u64, Error> {
        let not_found = || Error::NotFound { what: Subject::Transaction(id) };
        let owner = *self.by_id.get(&id).ok_or_else(not_found)?;
        let session = self.sessions.get_mut(&owner).ok_or_else(not_found)?;
        match session.transaction.end() {
            Some(End::NotCommitted { cause }) => {
                Err(session.objection.clone().unwrap_or_else(|| cause.clone().into()))
            }
            Some(_) | None => {
                session.last_heard = now.mono;
                Ok(owner)
            }
        }
    }

    /// The same, for a request that an ending transaction does not take.
    fn open_session(&mut self, now: &Now, id: TxnId) -> Result<u64, Error> {
        let owner = self.heard_of(now, id)?;
        let session = &self.sessions[&owner];
        if session.forming.is_some() {
            return Err(InvalidRequest::Busy.into());
        }
        if !session.transaction.is_open() || !session.rolling_back.is_empty() {
            return Err(InvalidRequest::Ending.into());
        }
        Ok(owner)
    }

    pub(super) fn locked_read(
        &mut self,
        now: &Now,
        ticket: Ticket,
        id: TxnId,
        begun: Option<Begun>,
        read: Read,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let owner = self.open_session(now, id)?;
        self.use_tables(owner)?;
        let resolved = self.resolve_read(&read)?;
        if resolved.token.as_ref().is_some_and(|token| token.at.is_some()) {
            return Err(InvalidRequest::ResumeToken.into());
        }
        let limit = self.limit_of(resolved.limit);
        let (schema, columns, points) = (resolved.schema, resolved.columns, resolved.points);
        let client = ClientRead { ticket, schema, columns, points, begun };
        let purpose = ReadPurpose::Client(client);
        self.read_in(now, owner, read.lock, (resolved.spans, limit), purpose, effects)
    }

    /// Starts a locked read of a session.
    pub(super) fn read_in(
        &mut self,
        now: &Now,
        owner: u64,
        mode: LockMode,
        (spans, limit): (Vec<KeySpan>, ReadLimit),
        purpose: ReadPurpose,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let Some(session) = self.sessions.get_mut(&owner) else { return Ok(()) };
        let mut todo = Vec::new();
        let map = self.map.as_ref();
        match session.transaction.read(now, map, mode, spans, limit, &mut todo) {
            Ok(read) => {
                session.reads.insert(read, purpose);
                self.run(now, owner, todo, effects);
                Ok(())
            }
            Err(_) => Err(self.shard_missing(now, effects)),
        }
    }

    pub(super) fn buffer(
        &mut self,
        now: &Now,
        ticket: Ticket,
        id: TxnId,
        mutations: Vec<Mutation>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let owner = self.open_session(now, id)?;
        self.use_tables(owner)?;
        let steps = resolve(mutations, &self.catalog, &self.settings.encoding)?;
        self.form(now, owner, Forming::new(steps), Then::Answer(ticket), effects);
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        now: &Now,
        ticket: Ticket,
        id: TxnId,
        mutations: Vec<Mutation>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let owner = self.heard_of(now, id)?;
        let Some(session) = self.sessions.get_mut(&owner) else { return Ok(()) };
        // A repeated request waits for, or is told, what the first one is (T34).
        let is_repeat = !session.waiting.is_empty() || !session.transaction.is_open();
        if let Some(end) = session.transaction.end() {
            let answer = answer_of(id, end);
            effects.push(Effect::Answer { ticket, answer });
            return Ok(());
        }
        if is_repeat {
            session.waiting.push(ticket);
            return Ok(());
        }
        if !session.reads.is_empty() || session.forming.is_some() {
            return Err(InvalidRequest::Busy.into());
        }
        self.use_tables(owner)?;
        let steps = resolve(mutations, &self.catalog, &self.settings.encoding)?;
        if let Some(session) = self.sessions.get_mut(&owner) {
            session.waiting.push(ticket);
        }
        self.form(now, owner, Forming::new(steps), Then::Commit, effects);
        Ok(())
    }

    /// Reads what the mutations need, in parallel at all shards, or goes on at once.
    pub(super) fn form(
        &mut self,
        now: &Now,
        owner: u64,
        forming: Forming,
        then: Then,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let missing = forming.missing(&session.transaction);
        session.forming = Some((forming, then));
        if missing.is_empty() {
            return self.formed(now, owner, effects);
        }
        let limit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };
        let purpose = ReadPurpose::Forming(missing.clone());
        let mode = LockMode::Exclusive;
        if let Err(error) = self.read_in(now, owner, mode, (missing, limit), purpose, effects) {
            self.object(now, owner, error, effects);
        }
    }

    /// All rows are known: forms the writes, and commits if that is what they are for.
    fn formed(&mut self, now: &Now, owner: u64, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let Some((forming, then)) = session.forming.take() else { return };
        let writes = match forming.writes(&session.transaction, &self.settings.encoding) {
            Ok(writes) => writes,
            Err(error) => {
                if let Then::Answer(ticket) = then {
                    // Nothing was buffered: the transaction goes on as if it had not been asked.
                    effects.push(Effect::Answer { ticket, answer: Err(error) });
                    return;
                }
                return self.object(now, owner, error, effects);
            }
        };
        for write in writes {
            if let Err(full) = session.transaction.write(write) {
                if let Then::Answer(ticket) = then {
                    session.waiting.push(ticket);
                }
                // Some of the writes are buffered already: this attempt cannot go on.
                return self.object(now, owner, full.into(), effects);
            }
        }
        match then {
            Then::Answer(ticket) => answer(effects, ticket, Response::Written),
            Then::Commit => self.commit_now(now, owner, effects),
        }
    }

    pub(super) fn commit_now(&mut self, now: &Now, owner: u64, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        if let Some(in_use) = session.in_use {
            session.transaction.stay_below(in_use.end);
        }
        let mut todo = Vec::new();
        match session.transaction.commit(now, self.map.as_ref(), &mut todo) {
            Ok(()) => self.run(now, owner, todo, effects),
            Err(_) => {
                let error = self.shard_missing(now, effects);
                self.object(now, owner, error, effects);
            }
        }
    }

    /// Gives a transaction up for a reason that its client is told, unless it turns out that a single-use
    /// commit succeeded through another gateway.
    pub(super) fn object(
        &mut self,
        now: &Now,
        owner: u64,
        error: Error,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(session) = self.sessions.get_mut(&owner) {
            if let Some((_, Then::Answer(ticket))) = session.forming.take() {
                session.waiting.push(ticket);
            }
            session.objection.get_or_insert(error);
        }
        self.roll_back(now, owner, effects);
    }

    pub(super) fn client_rolls_back(
        &mut self,
        now: &Now,
        ticket: Ticket,
        id: TxnId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let not_found = || Error::NotFound { what: Subject::Transaction(id) };
        let owner = *self.by_id.get(&id).ok_or_else(not_found)?;
        let session = self.sessions.get_mut(&owner).ok_or_else(not_found)?;
        match session.transaction.end() {
            Some(End::NotCommitted { .. }) => {
                answer(effects, ticket, Response::RolledBack);
                Ok(())
            }
            Some(End::Committed { .. } | End::OutcomeUnknown { .. }) => {
                Err(InvalidRequest::Ending.into())
            }
            None if session.transaction.commit_was_sent() => Err(InvalidRequest::Ending.into()),
            None => {
                session.rolling_back.push(ticket);
                self.roll_back(now, owner, effects);
                Ok(())
            }
        }
    }

    /// Rolls a transaction back that was begun for a read which could not be started.
    pub(super) fn end_begun(&mut self, now: &Now, id: TxnId, effects: &mut Vec<Effect>) {
        if let Some(owner) = self.by_id.get(&id).copied() {
            self.roll_back(now, owner, effects);
        }
    }

    /// Rolls a transaction back unless it ended or a commit was sent.
    pub(super) fn roll_back(&mut self, now: &Now, owner: u64, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let mut todo = Vec::new();
        session.transaction.roll_back(now, AbortReason::GivenUp, &mut todo);
        self.run(now, owner, todo, effects);
    }

    pub(super) fn session_completed(
        &mut self,
        now: &Now,
        call: CallId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&call.owner) else { return };
        let mut todo = Vec::new();
        let txn_call = txn::transaction::TxnCall(call.part);
        session.transaction.completed(now, txn_call, result, &mut todo);
        self.run(now, call.owner, todo, effects);
    }

    pub(super) fn session_tick(&mut self, now: &Now, owner: u64, effects: &mut Vec<Effect>) {
        let idle_timeout = self.settings.transaction.idle_timeout;
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let is_silent = session.last_heard.plus(idle_timeout) <= now.mono;
        let ended = session.transaction.end().is_some();
        if is_silent && ended {
            return self.forget_session(owner);
        }
        let mut todo = Vec::new();
        if is_silent && !session.is_busy() {
            session.transaction.roll_back(now, AbortReason::Idle, &mut todo);
        } else {
            session.transaction.tick(now, &mut todo);
        }
        // The timer was taken out; `run` puts it back.
        session.wake = Mono::MAX;
        self.run(now, owner, todo, effects);
    }

    /// Keeps an ended session for a while, so that a repeated request gets the same answer; the oldest make
    /// room, and who asks for one of those looks the outcome up instead.
    fn keep_ended(&mut self, owner: u64) {
        let end = self.fresh_owner();
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        session.ended = Some(end);
        self.ended.insert(end, owner);
        while self.ended.len() > self.settings.ended_max
            && let Some((_, oldest)) = self.ended.first_key_value()
        {
            self.forget_session(*oldest);
        }
    }

    fn forget_session(&mut self, owner: u64) {
        if let Some(session) = self.sessions.remove(&owner) {
            if let Some(end) = session.ended {
                self.ended.remove(&end);
            }
            self.by_id.remove(&session.transaction.id());
            self.by_client.remove(&(session.client, owner));
            self.remove_timer(session.wake, owner);
        }
    }

    /// Does what the transaction asks for, and files its next deadline.
    pub(super) fn run(
        &mut self,
        now: &Now,
        owner: u64,
        todo: Vec<TxnEffect>,
        effects: &mut Vec<Effect>,
    ) {
        for effect in todo {
            match effect {
                TxnEffect::Call { call, request } => {
                    let call = CallId { owner, part: call.0 };
                    effects.push(Effect::Call { call, request, route: Route::Leader });
                }
                TxnEffect::Forget { request } => {
                    let call = CallId { owner: self.fresh_owner(), part: 0 };
                    effects.push(Effect::Call { call, request, route: Route::Leader });
                }
                TxnEffect::Cancel { call } => {
                    effects.push(Effect::Cancel(CallId { owner, part: call.0 }));
                }
                TxnEffect::ReadDone { read, result } => {
                    self.read_done(now, owner, read, result, effects);
                }
                TxnEffect::Ended(end) => self.session_ended(now, owner, end, effects),
            }
        }
        self.file_deadline(now, owner);
    }

    /// Moves the session's timer if it is due earlier than filed; a timer that is early only looks again.
    fn file_deadline(&mut self, now: &Now, owner: u64) {
        let idle_timeout = self.settings.transaction.idle_timeout;
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let ended = session.transaction.end().is_some();
        let silent = session.last_heard.plus(idle_timeout);
        // A busy session is looked at again when it may have become idle; never at once again.
        let look = if session.is_busy() && !ended {
            silent.max(now.mono.plus(idle_timeout))
        } else {
            silent
        };
        let due = session.transaction.next_deadline().min(look);
        if due < session.wake {
            let before = std::mem::replace(&mut session.wake, due);
            self.remove_timer(before, owner);
            self.set_timer(due, owner);
        }
    }

    fn read_done(
        &mut self,
        now: &Now,
        owner: u64,
        read: ReadId,
        result: Result<ScanRows, ReadError>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        session.last_heard = session.last_heard.max(now.mono);
        let Some(purpose) = session.reads.remove(&read) else { return };
        let result = result.map_err(|error| match error {
            ReadError::Call(error) => Error::from(error),
            ReadError::Refused(refusal) => Error::from(refusal),
        });
        match (purpose, result) {
            (ReadPurpose::Client(mut client), result) => {
                match result.and_then(|rows| self.rows_of(&mut client, rows, (None, true))) {
                    Ok(rows) => answer(effects, client.ticket, Response::Rows(rows)),
                    Err(error) => {
                        effects.push(client.failed(error));
                        // Its client learns the id only now, and as that of a failed attempt.
                        if client.begun_id().is_some() {
                            self.roll_back(now, owner, effects);
                        }
                    }
                }
            }
            (ReadPurpose::Forming(spans), Ok(read)) => {
                if let Some((forming, _)) = &mut session.forming {
                    forming.fetched(&spans, read.rows);
                }
                self.formed(now, owner, effects);
            }
            (ReadPurpose::Ddl, Ok(read)) => self.ddl_read(now, owner, read.rows, effects),
            (ReadPurpose::Acknowledgement, Ok(read)) => {
                self.acknowledgement_read(now, owner, &read.rows, effects);
            }
            (ReadPurpose::Marks, Ok(read)) => self.marks_read(now, owner, &read.rows, effects),
            (
                ReadPurpose::Forming(_)
                | ReadPurpose::Ddl
                | ReadPurpose::Acknowledgement
                | ReadPurpose::Marks,
                Err(error),
            ) => self.object(now, owner, error, effects),
        }
    }

    /// Answers everyone who waits for the end; the session itself stays for a while.
    fn session_ended(&mut self, now: &Now, owner: u64, end: End, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        session.last_heard = now.mono;
        let id = session.transaction.id();
        let objection = session.objection.clone();
        let reads = std::mem::take(&mut session.reads);
        let mut waiting = std::mem::take(&mut session.waiting);
        if let Some((_, Then::Answer(ticket))) = session.forming.take() {
            waiting.push(ticket);
        }
        let rolling_back = std::mem::take(&mut session.rolling_back);
        let ddl = session.ddl.take();
        let (in_use, acknowledges) = (session.in_use.take(), session.acknowledges.take());
        let marks = std::mem::take(&mut session.marks);
        let outcome = match (objection, &end) {
            (Some(objection), End::NotCommitted { .. }) => Err(objection),
            (_, end) => answer_of(id, end),
        };
        let over = session.single_use.is_some() && matches!(end, End::NotCommitted { .. });
        let outcome = outcome.map_err(|error| match error {
            // Its abort is logged, so only another id can fare better.
            Error::Unavailable { .. } | Error::Overloaded { .. } | Error::ClockUnsure { .. }
                if over =>
            {
                Error::Over { id, error: Box::new(error) }
            }
            error => error,
        });
        for ticket in rolling_back {
            let answer = match &end {
                End::NotCommitted { .. } => Ok(Response::RolledBack),
                End::Committed { .. } | End::OutcomeUnknown { .. } => outcome.clone(),
            };
            effects.push(Effect::Answer { ticket, answer });
        }
        for purpose in reads.into_values() {
            if let ReadPurpose::Client(client) = purpose {
                let error = match &outcome {
                    Err(error) => error.clone(),
                    Ok(_) => InvalidRequest::Ending.into(),
                };
                effects.push(client.failed(error));
            }
        }
        for ticket in waiting {
            effects.push(Effect::Answer { ticket, answer: outcome.clone() });
        }
        if let Some(in_use) = in_use {
            self.lease.end_use(in_use.version);
            if matches!(end, End::OutcomeUnknown { .. }) {
                // It may still commit, below the end that it named.
                self.lease.doubt(in_use);
            }
        }
        if let Some(version) = acknowledges {
            self.acknowledgement_ended(now, version, outcome.is_ok());
        }
        if marks {
            self.marks_ended(now, outcome.is_ok());
        }
        if let Some(ddl) = ddl {
            self.ddl_ended(now, owner, *ddl, outcome, effects);
        }
        self.keep_ended(owner);
        self.acknowledge(now, effects);
    }
}

/// What an end means to the client that asked for a commit.
pub(super) fn answer_of(id: TxnId, end: &End) -> Result<Response, Error> {
    match end {
        End::Committed { commit_ts, commit_wait, participants } => {
            let (commit_ts, commit_wait) = (*commit_ts, *commit_wait);
            let participants = *participants;
            Ok(Response::Committed(Committed { commit_ts, commit_wait, participants }))
        }
        End::NotCommitted { cause } => Err(cause.clone().into()),
        End::OutcomeUnknown { coordinator, for_good } => {
            let (coordinator, for_good) = (coordinator.clone(), *for_good);
            Err(Error::OutcomeUnknown { id, coordinator, for_good })
        }
    }
}
