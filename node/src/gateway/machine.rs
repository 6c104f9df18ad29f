//! The state machine: inputs, effects, and which part handles what.

use proto::{Key, NodeId, Priority, TableId, TxnId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use truetime::{Mono, Now, Timestamp};
use txn::message::{Asker, Outcome, Refusal, Reply, Request as ShardRequest};
use txn::transaction::CallError;

use super::api::{
    Answer, Begun, ClientId, CommitTarget, Request, Response, Selector, Ticket, TransactionHandle,
    TransactionOptions,
};
use super::catalog::Catalog;
use super::change::Changes;
use super::error::{Error, InvalidRequest};
use super::lease::{Lease, no_lease};
use super::mutation;
use super::removal::Removals;
use super::session::Session;
use super::settings::GatewaySettings;
use super::snapshot::Snapshot;
use crate::routing::{CallId, Route, ShardDescriptor, ShardMap};
use proto::table::{Mutation, TableRef};

/// What happens to a gateway.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client asks.
    Request {
        /// Which client.
        client: ClientId,
        /// Names the request.
        ticket: Ticket,
        /// What it asks.
        request: Request,
    },
    /// A call ended.
    Completed {
        /// Which.
        call: CallId,
        /// How.
        result: Result<Reply, CallError>,
    },
    /// A client's connection ended.
    ClientGone(ClientId),
    /// The router lacks a shard, or tables and shards may have changed: read the system tables again.
    Refresh,
    /// The catalog has this version, and somebody waits for it to be in use everywhere.
    CatalogChanged {
        /// The commit timestamp of the change.
        version: Timestamp,
    },
    /// What became of the system shard's replica on this core, if it has one.
    SystemShard {
        /// Whether it leads: the gateway beside the leader has dropped shards removed.
        leads: bool,
        /// The version of the catalog that it has applied.
        made: Timestamp,
    },
    /// Time passed.
    Tick,
}

/// What the core is to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask a shard, by way of the router, and bring the result back as [`Input::Completed`].
    Call {
        /// Names the call.
        call: CallId,
        /// What to ask.
        request: ShardRequest,
        /// Whom.
        route: Route,
    },
    /// Nobody waits for this call any more.
    Cancel(CallId),
    /// Answer a client.
    Answer {
        /// Which request.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
    /// The shard map as just read: hand it to the router.
    UpdateMap(Arc<ShardMap>),
    /// A committed CREATE TABLE made these shards: have their nodes start them.
    NewShards(Vec<ShardDescriptor>),
    /// Tell the gateways of these nodes, this one included. Repeated as long as somebody waits for it.
    CatalogChanged {
        /// The commit timestamp of the change.
        version: Timestamp,
        /// The registered nodes.
        nodes: Vec<NodeId>,
    },
}

/// A request that waits for the catalog to be read again.
#[derive(Debug)]
struct Parked {
    client: ClientId,
    ticket: Ticket,
    request: Request,
    refreshes: u32,
    /// How often it waited for anything.
    rounds: u32,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// A lease on the catalog.
    Lease,
    /// A newer reading of the system tables.
    Rows,
}

/// How often the catalog is read for a table that it lacks: the first reading may have begun too early.
const REFRESHES_MAX: u32 = 2;
/// How often a request waits for a lease and rows that fit: each may be overtaken by a change.
const ROUNDS_MAX: u32 = 8;

/// See the module above.
#[derive(Debug)]
pub struct Gateway {
    pub(super) settings: GatewaySettings,
    pub(super) catalog: Catalog,
    pub(super) map: Arc<ShardMap>,
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) by_id: BTreeMap<TxnId, u64>,
    pub(super) by_client: BTreeSet<(ClientId, u64)>,
    /// The sessions that have ended and are kept for requests that are repeated, by the order of their ends.
    pub(super) ended: BTreeMap<u64, u64>,
    pub(super) snapshots: BTreeMap<u64, Snapshot>,
    lookups: BTreeMap<u64, Ticket>,
    parked: Vec<Parked>,
    pub(super) lease: Lease,
    pub(super) changes: Changes,
    pub(super) removals: Removals,
    pub(super) refresh: Option<u64>,
    /// Whether somebody asked for a reading while one was under way, which may have begun too early.
    refresh_again: bool,
    timers: BTreeSet<(Mono, u64)>,
    next_owner: u64,
    next_sequence: u64,
}

impl Gateway {
    /// A gateway that knows the system shard and nothing else.
    #[must_use]
    pub fn new(settings: GatewaySettings) -> Self {
        let map = Arc::new(ShardMap::new([settings.system_shard.clone()]));
        Gateway {
            lease: Lease::new(settings.start),
            changes: Changes::new(),
            removals: Removals::new(),
            settings,
            catalog: Catalog::default(),
            map,
            sessions: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_client: BTreeSet::new(),
            ended: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            lookups: BTreeMap::new(),
            parked: Vec::new(),
            refresh: None,
            refresh_again: false,
            timers: BTreeSet::new(),
            next_owner: 0,
            next_sequence: 0,
        }
    }

    /// The shard map in use.
    #[must_use]
    pub fn map(&self) -> &Arc<ShardMap> {
        &self.map
    }

    /// The version of the catalog that was read last with the map; nothing before that.
    #[must_use]
    pub fn catalog_made(&self) -> Option<Timestamp> {
        self.catalog.made()
    }

    /// Grows with every change of the catalog that this gateway learns of.
    #[must_use]
    pub fn catalog_version(&self) -> u64 {
        self.catalog.version()
    }

    /// The names of the tables known here.
    #[must_use]
    pub fn table_names(&self) -> BTreeMap<TableId, String> {
        self.catalog.iter().map(|schema| (schema.id(), schema.name().to_owned())).collect()
    }

    /// Read-write transactions that live here, those that just ended included.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.sessions.len()
    }

    /// Takes one input.
    pub fn step(&mut self, now: &Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Request { client, ticket, request } => {
                let parked = Parked { client, ticket, request, refreshes: 0, rounds: 0 };
                self.request(now, parked, effects);
            }
            Input::Completed { call, result } => self.completed(now, call, result, effects),
            Input::ClientGone(client) => {
                let of_client = (client, 0)..=(client, u64::MAX);
                let owners: Vec<u64> =
                    self.by_client.range(of_client).map(|(_, owner)| *owner).collect();
                for owner in owners {
                    self.roll_back(now, owner, effects);
                }
                self.drop_changes_of(client, effects);
            }
            Input::Refresh => self.start_refresh(now, effects),
            Input::CatalogChanged { version } => self.catalog_changed(now, version, effects),
            Input::SystemShard { leads, made } => self.system_shard_here(now, leads, made, effects),
            Input::Tick => self.tick(now, effects),
        }
    }

    /// When [`Input::Tick`] is due; [`Mono::MAX`] if never.
    #[must_use]
    pub fn next_deadline(&self) -> Mono {
        let timers = self.timers.first().map_or(Mono::MAX, |(at, _)| *at);
        timers
            .min(self.lease.next_deadline())
            .min(self.changes.next_deadline())
            .min(self.removals.next_deadline())
    }

    fn request(&mut self, now: &Now, parked: Parked, effects: &mut Vec<Effect>) {
        let ticket = parked.ticket;
        let refused = match self.lack(now, &parked) {
            None => None,
            Some(_) if self.parked.len() >= self.settings.parked_max => {
                Some(Error::Overloaded { what: "requests waiting for the catalog".into() })
            }
            Some(Lack::Lease) if parked.rounds >= ROUNDS_MAX => Some(no_lease()),
            Some(lack) => {
                self.parked.push(parked);
                return match lack {
                    Lack::Lease => self.pursue_lease(now, effects),
                    Lack::Rows => self.start_refresh(now, effects),
                };
            }
        };
        if let Some(error) = refused {
            effects.push(Effect::Answer { ticket, answer: Err(error) });
            return;
        }
        if parked.request.uses_tables() {
            self.renew_lease(now, effects);
        }
        if let Err(error) = self.dispatch(now, parked, effects) {
            effects.push(Effect::Answer { ticket, answer: Err(error) });
        }
    }

    /// What a request must wait for.
    fn lack(&self, now: &Now, parked: &Parked) -> Option<Lack> {
        if self.lacks_lease(now, &parked.request) {
            return Some(Lack::Lease);
        }
        let looks = parked.refreshes < REFRESHES_MAX && parked.rounds < ROUNDS_MAX;
        (looks && self.needs_refresh(parked)).then_some(Lack::Rows)
    }

    /// Whether a request names a table that is not known, or wants to know what is there now.
    fn needs_refresh(&self, parked: &Parked) -> bool {
        let unknown = |table: &TableRef| self.catalog.find(table).is_none();
        let any_unknown = |mutations: &[Mutation]| {
            mutations.iter().any(|mutation| match mutation {
                Mutation::Write { table, .. } | Mutation::Delete { table, .. } => unknown(table),
            })
        };
        match &parked.request {
            Request::Read(read) => unknown(&read.table),
            Request::Write { mutations, .. }
            | Request::Commit { mutations, .. }
            | Request::ResolveCommit { mutations, .. } => any_unknown(mutations),
            Request::DropTable(table @ TableRef::Id(_)) => unknown(table),
            Request::UseTable(name) => !self.catalog.has(name),
            Request::LookupOutcome { coordinator, .. } => {
                self.map.find(coordinator).is_none() && !self.map.is_removed(coordinator)
            }
            Request::GetTable(_) | Request::ListTables => parked.refreshes == 0,
            Request::Begin(_)
            | Request::Rollback(_)
            | Request::KeepAlive(_)
            | Request::CreateTable(_)
            | Request::DropTable(TableRef::Name(_))
            | Request::SplitToken(_)
            | Request::ClusterSettings
            | Request::SetClusterSetting { .. } => false,
        }
    }

    fn dispatch(
        &mut self,
        now: &Now,
        parked: Parked,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let Parked { client, ticket, request, .. } = parked;
        match request {
            Request::Begin(options) => {
                let begun = self.begin(now, client, options)?;
                answer(effects, ticket, Response::Begun(begun));
            }
            Request::Read(read) => match read.selector {
                Selector::Existing(TransactionHandle::ReadWrite(id)) => {
                    self.locked_read(now, ticket, id, None, read, effects)?;
                }
                Selector::Begin(options @ TransactionOptions::ReadWrite(_)) => {
                    self.check_read(&read)?;
                    let begun = self.begin(now, client, options)?;
                    let TransactionHandle::ReadWrite(id) = begun.transaction else {
                        unreachable!("a read-write transaction was begun");
                    };
                    if let Err(error) =
                        self.locked_read(now, ticket, id, Some(begun), read, effects)
                    {
                        self.end_begun(now, id, effects);
                        return Err(Error::Over { id, error: Box::new(error) });
                    }
                }
                Selector::Existing(TransactionHandle::ReadOnly { .. })
                | Selector::Begin(TransactionOptions::ReadOnly(_))
                | Selector::SingleUse(_) => self.snapshot_read(now, ticket, read, effects)?,
            },
            Request::Write { transaction, mutations } => {
                self.buffer(now, ticket, transaction, mutations, effects)?;
            }
            Request::Commit { target: CommitTarget::Transaction(id), mutations } => {
                self.commit(now, ticket, id, mutations, effects)?;
            }
            Request::Commit {
                target: CommitTarget::SingleUse { id, coordinator, priority },
                mutations,
            } => {
                let priority = priority.unwrap_or_else(|| Priority::first(id));
                let named = (id, coordinator, priority);
                self.single_use(now, client, ticket, named, mutations, effects)?;
            }
            Request::Rollback(id) => self.client_rolls_back(now, ticket, id, effects)?,
            Request::KeepAlive(id) => {
                self.heard_of(now, id)?;
                answer(effects, ticket, Response::Alive);
            }
            Request::LookupOutcome { id, coordinator } => {
                self.look_up(ticket, (id, coordinator, Asker::Client), effects);
            }
            Request::ResolveCommit { id, mutations, max_age } => {
                let limits = &self.settings.encoding;
                let steps = mutation::resolve(mutations, &self.catalog, limits)?;
                let coordinator = mutation::coordinator_of(&steps)?;
                let id = match id {
                    Some(id) => id,
                    None => self.fresh_id(now, max_age.unwrap_or(self.max_age()))?,
                };
                answer(effects, ticket, Response::Resolved { id, coordinator });
            }
            Request::CreateTable(table) => {
                self.create_table(now, client, ticket, table, effects)?
            }
            Request::DropTable(table) => self.drop_table(now, client, ticket, table, effects)?,
            Request::GetTable(table) => {
                let schema = self.catalog.get(&table)?;
                answer(effects, ticket, Response::Table(schema));
            }
            Request::ListTables => {
                let tables = self.catalog.iter().cloned().collect();
                answer(effects, ticket, Response::Tables(tables));
            }
            Request::UseTable(name) => {
                let schema = self.catalog.get(&TableRef::Name(name))?;
                answer(effects, ticket, Response::Table(schema));
            }
            Request::SplitToken(token) => {
                let tokens = self.split_token(now, &token, effects)?;
                answer(effects, ticket, Response::Tokens(tokens));
            }
            Request::ClusterSettings => {
                answer(effects, ticket, Response::Settings(self.catalog.settings()));
            }
            Request::SetClusterSetting { name, value } => {
                self.set_cluster_setting(now, client, ticket, (name, value), effects)?;
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        now: &Now,
        client: ClientId,
        options: TransactionOptions,
    ) -> Result<Begun, Error> {
        match options {
            TransactionOptions::ReadWrite(options) => self.begin_session(now, client, options),
            TransactionOptions::ReadOnly(bound) => {
                let (at, strong) = self.timestamp_of(now, bound)?;
                let transaction = TransactionHandle::ReadOnly { at, strong };
                Ok(Begun { transaction, priority: None })
            }
        }
    }

    /// `txn.max_age`: the cluster's setting, else this gateway's.
    pub(super) fn max_age(&self) -> Duration {
        self.catalog.max_age().unwrap_or(self.settings.max_age)
    }

    /// An id that no node ever repeats (section 4).
    pub(super) fn fresh_id(&mut self, now: &Now, max_age: Duration) -> Result<TxnId, Error> {
        if max_age > self.settings.max_age_limit {
            return Err(InvalidRequest::MaxAge.into());
        }
        let begin = interval(now)?.0;
        let sequence = (u64::from(self.settings.core) << 48) | self.next_sequence;
        self.next_sequence += 1;
        let origin = (self.settings.node.0 << 32) | u64::from(self.settings.start);
        Ok(TxnId { horizon: begin.plus(max_age), begin, origin, sequence })
    }

    pub(super) fn look_up(
        &mut self,
        ticket: Ticket,
        (id, coordinator, asker): (TxnId, Key, Asker),
        effects: &mut Vec<Effect>,
    ) {
        let owner = self.fresh_owner();
        self.lookups.insert(owner, ticket);
        effects.push(Effect::Call {
            call: CallId { owner, part: 0 },
            request: ShardRequest::Lookup { id, coordinator, asker },
            route: Route::Leader,
        });
    }

    fn completed(
        &mut self,
        now: &Now,
        call: CallId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_lease_call(call.owner) {
            self.lease_answered(now, result, effects);
        } else if self.is_removal_call(call.owner) {
            self.removal_answered(now, call.owner, &result, effects);
        } else if self.sessions.contains_key(&call.owner) {
            self.session_completed(now, call, result, effects);
        } else if self.snapshots.contains_key(&call.owner) {
            self.snapshot_completed(now, call, result, effects);
        } else if let Some(ticket) = self.lookups.remove(&call.owner) {
            let answer = match result {
                Ok(Reply::Outcome(outcome)) => Ok(Response::Outcome(outcome)),
                // Section 4: its record went with its coordinator.
                Ok(Reply::Refused(Refusal::Removed)) => {
                    Ok(Response::Outcome(Outcome::NoLongerKnown))
                }
                Ok(Reply::Refused(refusal)) => Err(refusal.into()),
                Ok(_) => Err(unexpected_reply()),
                Err(error) => Err(error.into()),
            };
            effects.push(Effect::Answer { ticket, answer });
        }
        // Else nobody waits: the answer to a release, or a late one.
    }

    /// Reads the system tables; if that is under way, once more afterwards.
    pub(super) fn start_refresh(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if self.refresh.is_some() {
            self.refresh_again = true;
            return;
        }
        match self.refresh_snapshot(now, effects) {
            Ok(owner) => self.refresh = Some(owner),
            Err(error) => self.fail_parked(&error, effects),
        }
    }

    /// The system tables were read, or could not be.
    pub(super) fn refresh_done(
        &mut self,
        now: &Now,
        result: Result<Vec<txn::message::Row>, Error>,
        effects: &mut Vec<Effect>,
    ) {
        self.refresh = None;
        let again = std::mem::take(&mut self.refresh_again);
        let fixed = self.settings.system_shard.clone();
        let map = result.and_then(|rows| Ok(self.catalog.reload(&rows, fixed)?));
        match map {
            Ok(map) => {
                self.map = Arc::new(map);
                effects.push(Effect::UpdateMap(Arc::clone(&self.map)));
                self.rows_read();
                for parked in &mut self.parked {
                    parked.refreshes += 1;
                }
                self.unpark(now, effects);
                self.acknowledge(now, effects);
                self.remove_dropped(now, effects);
            }
            Err(error) => self.fail_parked(&error, effects),
        }
        if again && self.refresh.is_none() {
            self.start_refresh(now, effects);
        }
    }

    /// What was waited for is there, or something of it: each request looks again.
    pub(super) fn unpark(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        for mut parked in std::mem::take(&mut self.parked) {
            parked.rounds += 1;
            self.request(now, parked, effects);
        }
    }

    /// What was waited for cannot be had.
    pub(super) fn fail_parked(&mut self, error: &Error, effects: &mut Vec<Effect>) {
        for parked in std::mem::take(&mut self.parked) {
            effects.push(Effect::Answer { ticket: parked.ticket, answer: Err(error.clone()) });
        }
    }

    fn tick(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        while let Some((at, owner)) = self.timers.first().copied()
            && at <= now.mono
        {
            self.timers.remove(&(at, owner));
            self.session_tick(now, owner, effects);
        }
        self.look_at_lease(now, effects);
        self.look_at_changes(now, effects);
        self.look_at_removals(now, effects);
    }

    pub(super) fn set_timer(&mut self, at: Mono, owner: u64) {
        self.timers.insert((at, owner));
    }

    pub(super) fn remove_timer(&mut self, at: Mono, owner: u64) {
        self.timers.remove(&(at, owner));
    }

    pub(super) fn fresh_owner(&mut self) -> u64 {
        self.next_owner += 1;
        self.next_owner
    }

    /// Panics when the gateway contradicts itself. Slow; for the simulator, after each step.
    pub fn check_invariants(&self) {
        for (owner, session) in &self.sessions {
            let id = session.transaction.id();
            assert_eq!(self.by_id.get(&id), Some(owner), "session {owner} is filed under {id}");
            assert!(self.timers.contains(&(session.wake, *owner)), "session {owner} has a timer");
        }
        let has_ended = |owner| {
            let session: Option<&Session> = self.sessions.get(owner);
            session.is_some_and(|session| session.transaction.end().is_some())
        };
        assert!(self.ended.values().all(has_ended), "what is kept as ended is there and has ended");
        assert_eq!(self.by_id.len(), self.sessions.len(), "every id has a session");
        assert_eq!(self.by_client.len(), self.sessions.len(), "every session has a client");
        assert!(
            self.parked.is_empty() || self.refresh.is_some() || self.lease.is_asked(),
            "requests are parked only while the catalog is read or a lease on it is asked for"
        );
        let mut users = BTreeMap::<Timestamp, usize>::new();
        let of_sessions = self.sessions.values().filter_map(|session| session.in_use);
        let of_reads = self.snapshots.values().filter_map(Gateway::version_in_use);
        for version in of_sessions.map(|in_use| in_use.version).chain(of_reads) {
            *users.entry(version).or_default() += 1;
        }
        self.lease.check_invariants(&users);
    }
}

pub(super) fn answer(effects: &mut Vec<Effect>, ticket: Ticket, response: Response) {
    effects.push(Effect::Answer { ticket, answer: Ok(response) });
}

/// Both ends of the clock's interval, or the error that it has none.
pub(super) fn interval(now: &Now) -> Result<(Timestamp, Timestamp), Error> {
    match &now.interval {
        Ok(interval) => Ok((interval.earliest, interval.latest)),
        Err(unsure) => Err(Error::ClockUnsure { reason: unsure.to_string() }),
    }
}

/// A shard answered something that is no answer to what it was asked.
pub(super) fn unexpected_reply() -> Error {
    Refusal::Invalid { reason: "a shard's answer does not fit the request".to_owned() }.into()
}
