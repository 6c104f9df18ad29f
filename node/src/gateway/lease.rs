//! The lease under which this gateway uses the catalog (TRANSACTIONS.md section 7, T62).
//!
//! Terms: a *version* is named by the commit timestamp of the change that made it. A gateway *holds* a lease
//! once a grant names the very version of the rows it has read. What *uses* a version is a transaction that
//! named a table, until it is answered, or a read without locks; each keeps the end of the lease it began
//! under, and commits, or reads, below that. To *acknowledge* a version is to say, in a row of the system
//! tables, that nothing here uses an older one any more.
//!
//! ```text
//! request --no lease--> asked --grant of the rows' version--> held --half of it used, and asked again--+
//!                         ^  \--grant of another version--> rows are read again --> held              |
//!                         +----------------------------------------------------------------------------+
//! ```
//! A lease is renewed when somebody wants it: an idle gateway asks nothing. Once a newer version is granted
//! or read, nothing new begins on the old one; what began there ends by itself, at the latest with its lease.
//!
//! Not here: who grants (`txn/src/leader/catalog.rs`), and who waits for acknowledgements (`change.rs`).

use proto::{KeySpan, Priority};
use std::collections::BTreeMap;
use std::time::Duration;
use truetime::{Mono, Now, Timestamp};
use txn::lock_table::LockMode;
use txn::message::{ReadLimit, Reply, Request as ShardRequest, Row, Write};
use txn::transaction::{CallError, Driver, Obstacle};

use super::api::{
    ClientId, CommitTarget, Read, Request, Selector, TransactionHandle, TransactionOptions,
};
use super::error::Error;
use super::machine::{Effect, Gateway, unexpected_reply};
use super::session::ReadPurpose;
use crate::routing::{CallId, Route};
use crate::system::{Acknowledgement, Counter, acknowledgement_key, counter_key, decode, encode};

/// The gateway itself, as the client of its own transactions.
pub(super) const OWN: ClientId = ClientId(u64::MAX);
/// Before something that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A version in use, and the end of the lease on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CatalogUse {
    pub(super) version: Timestamp,
    pub(super) end: Timestamp,
}

/// What the system shard granted last.
#[derive(Clone, Copy, Debug)]
struct Grant {
    lease: CatalogUse,
    /// Every lease on an older version ends below it.
    version_bound: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lease {
    grant: Option<Grant>,
    held: Option<CatalogUse>,
    /// The question under way.
    call: Option<u64>,
    renew_at: Mono,
    /// How many use each version.
    users: BTreeMap<Timestamp, usize>,
    /// Versions that commits of unknown outcome named, and the ends that these must stay below.
    doubts: BTreeMap<Timestamp, Timestamp>,
    /// What an earlier process of this core may have left is over after this. `None` before the first grant
    /// told.
    acknowledge_after: Option<Timestamp>,
    acknowledged: Timestamp,
    acknowledging: bool,
    /// After an acknowledgement that failed: not before this.
    again: Mono,
    /// When to look at all this again.
    look_at: Mono,
}

impl Lease {
    /// Of a core in its node's process number `start`: the first one has no predecessor to wait for.
    pub(super) fn new(start: u32) -> Self {
        let first = start <= 1;
        Lease {
            grant: None,
            held: None,
            call: None,
            renew_at: Mono::ZERO,
            users: BTreeMap::new(),
            doubts: BTreeMap::new(),
            acknowledge_after: first.then_some(Timestamp::ZERO),
            acknowledged: Timestamp::ZERO,
            acknowledging: false,
            again: Mono::ZERO,
            // A later one asks at once, so that its wait is as short as can be.
            look_at: if first { Mono::MAX } else { Mono::ZERO },
        }
    }

    /// The lease on the version of the rows, also when it has ended.
    pub(super) fn held(&self) -> Option<CatalogUse> {
        self.held
    }

    /// Whether it may be used now. An unsure clock cannot tell; what is begun then is bounded all the same,
    /// by clocks that can.
    pub(super) fn is_valid(&self, now: &Now) -> bool {
        let in_time = |end| now.sure().is_none_or(|interval| interval.latest < end);
        self.held.is_some_and(|held| in_time(held.end))
    }

    /// The newest version granted.
    pub(super) fn newest(&self) -> Timestamp {
        self.grant.map_or(Timestamp::ZERO, |grant| grant.lease.version)
    }

    /// The bound of the leases on versions older than `version`, if that is the newest one.
    pub(super) fn bound_before(&self, version: Timestamp) -> Option<Timestamp> {
        let grant = self.grant.filter(|grant| grant.lease.version == version);
        grant.map(|grant| grant.version_bound)
    }

    pub(super) fn is_asked(&self) -> bool {
        self.call.is_some()
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.look_at
    }

    pub(super) fn begin_use(&mut self, version: Timestamp) {
        *self.users.entry(version).or_default() += 1;
    }

    pub(super) fn end_use(&mut self, version: Timestamp) {
        let users = self.users.get_mut(&version).expect("a use ends once");
        *users -= 1;
        if *users == 0 {
            self.users.remove(&version);
        }
    }

    /// A commit may still take effect.
    pub(super) fn doubt(&mut self, in_use: CatalogUse) {
        let end = self.doubts.entry(in_use.version).or_default();
        *end = in_use.end.max(*end);
    }

    /// Takes the lease on `version`, if that is what was granted, when its rows were read.
    fn take(&mut self, version: Timestamp) {
        match self.grant {
            Some(grant) if grant.lease.version == version => {
                let end = self.held.filter(|held| held.version == version).map(|held| held.end);
                let end = end.unwrap_or_default().max(grant.lease.end);
                self.held = Some(CatalogUse { version, end });
            }
            Some(_) | None => self.held = self.held.filter(|held| held.version == version),
        }
    }

    /// Panics when the counts are wrong.
    pub(super) fn check_invariants(&self, users: &BTreeMap<Timestamp, usize>) {
        assert_eq!(self.users, *users, "every use of a catalog version is counted");
    }
}

/// The answer to what needs a lease where there is none.
pub(super) fn no_lease() -> Error {
    let what = Obstacle::NoCatalogLease;
    CallError::Unavailable { what, maybe_executed: false }.into()
}

impl Gateway {
    /// Whether a request must wait for a lease.
    pub(super) fn lacks_lease(&self, now: &Now, request: &Request) -> bool {
        let invalid = || !self.lease.is_valid(now);
        match request {
            Request::Read(read) => match self.read_at(now, read) {
                Some(at) => self.lease.held().is_none_or(|held| at >= held.end),
                None => invalid(),
            },
            Request::Write { .. }
            | Request::ResolveCommit { .. }
            | Request::UseTable(_)
            | Request::ClusterSettings => invalid(),
            Request::Commit { target, .. } => {
                let (CommitTarget::Transaction(id) | CommitTarget::SingleUse { id, .. }) = target;
                // One that is being committed, or was, is answered whatever the catalog is.
                let session = self.by_id.get(id).and_then(|owner| self.sessions.get(owner));
                let is_new = matches!(target, CommitTarget::SingleUse { .. });
                session.map_or(is_new, |s| s.transaction.is_open() && s.waiting.is_empty())
                    && invalid()
            }
            Request::Begin(_)
            | Request::Rollback(_)
            | Request::KeepAlive(_)
            | Request::LookupOutcome { .. }
            | Request::CreateTable(_)
            | Request::DropTable(_)
            | Request::GetTable(_)
            | Request::ListTables
            | Request::SetClusterSetting { .. } => false,
        }
    }

    /// The timestamp of a read without locks, as far as it is known: an old enough one lies below the end
    /// of a lease that is over.
    fn read_at(&self, now: &Now, read: &Read) -> Option<Timestamp> {
        match read.selector {
            Selector::Existing(TransactionHandle::ReadOnly { at, .. }) => Some(at),
            _ if read.resume.is_some() => None,
            Selector::Begin(TransactionOptions::ReadOnly(bound)) | Selector::SingleUse(bound) => {
                self.timestamp_of(now, bound).ok().map(|(at, _)| at)
            }
            Selector::Existing(TransactionHandle::ReadWrite(_))
            | Selector::Begin(TransactionOptions::ReadWrite(_)) => None,
        }
    }

    /// A transaction names tables: it keeps to the version under which it first did. A renewal of that very
    /// version gives it more time.
    pub(super) fn use_tables(&mut self, owner: u64) -> Result<(), Error> {
        let held = self.lease.held().ok_or_else(no_lease)?;
        let Some(session) = self.sessions.get_mut(&owner) else { return Ok(()) };
        match &mut session.in_use {
            None => {
                session.in_use = Some(held);
                self.lease.begin_use(held.version);
            }
            Some(in_use) if in_use.version == held.version => in_use.end = held.end,
            // Begun on an older version: it ends with that one's lease.
            Some(_) => {}
        }
        Ok(())
    }

    /// Asks ahead, when half of the lease is used up.
    pub(super) fn renew_lease(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if now.mono >= self.lease.renew_at {
            self.ask_lease(effects);
        }
    }

    /// Gets what a request lacks that waits for a lease: a grant, or the rows that it names.
    pub(super) fn pursue_lease(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let made = self.catalog.made();
        if made.is_none_or(|made| made < self.lease.newest()) {
            if self.refresh.is_none() {
                self.start_refresh(now, effects);
            }
            if made.is_some() {
                return;
            }
        }
        if made.is_none() || self.refresh.is_none() {
            self.ask_lease(effects);
        }
    }

    fn ask_lease(&mut self, effects: &mut Vec<Effect>) {
        if self.lease.call.is_some() {
            return;
        }
        let owner = self.fresh_owner();
        self.lease.call = Some(owner);
        effects.push(Effect::Call {
            call: CallId { owner, part: 0 },
            request: ShardRequest::CatalogLease { key: counter_key(Counter::Catalog) },
            route: Route::Leader,
        });
    }

    /// Whether a call is the question for a lease.
    pub(super) fn is_lease_call(&self, owner: u64) -> bool {
        self.lease.call == Some(owner)
    }

    pub(super) fn lease_answered(
        &mut self,
        now: &Now,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        self.lease.call = None;
        let error = match result {
            Ok(Reply::CatalogLease { expires, made, made_bound, found_bound }) => {
                let lease = CatalogUse { version: made, end: expires };
                self.lease.grant = Some(Grant { lease, version_bound: made_bound });
                self.lease.acknowledge_after.get_or_insert(found_bound);
                let left = now.sure().map_or(PAUSE, |interval| expires.since(interval.latest));
                self.lease.renew_at = now.mono.plus(left / 2);
                return self.lease_granted(now, made, effects);
            }
            Ok(Reply::Refused(refusal)) => refusal.into(),
            Ok(_) => unexpected_reply(),
            Err(error) => error.into(),
        };
        self.lease.renew_at = now.mono.plus(PAUSE);
        if self.lease.acknowledge_after.is_none() {
            self.lease.look_at = now.mono.plus(PAUSE);
        }
        // Whoever waits for the rows as well is answered when that is over.
        if self.refresh.is_none() {
            self.fail_parked(&error, effects);
        }
    }

    fn lease_granted(&mut self, now: &Now, version: Timestamp, effects: &mut Vec<Effect>) {
        match self.catalog.made() {
            Some(made) if made == version => {
                self.lease.take(made);
                if self.refresh.is_none() {
                    self.unpark(now, effects);
                }
            }
            Some(made) if made > version => {
                // The rows overtook the grant.
                if self.refresh.is_none() {
                    self.unpark(now, effects);
                }
            }
            Some(_) | None => {
                if self.refresh.is_none() {
                    self.start_refresh(now, effects);
                }
            }
        }
        self.acknowledge(now, effects);
        self.settle_changes(now, effects);
    }

    /// The rows of a version were read.
    pub(super) fn rows_read(&mut self) {
        if let Some(made) = self.catalog.made() {
            self.lease.take(made);
        }
    }

    /// Somebody made this version, or waits for it to be in use everywhere.
    pub(super) fn catalog_changed(
        &mut self,
        now: &Now,
        version: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.catalog.made().is_none_or(|made| made < version)
            || self.lease.newest() < version
            || self.lease.acknowledge_after.is_none()
        {
            self.ask_lease(effects);
        }
        self.acknowledge(now, effects);
    }

    /// The deadline of the lease passed.
    pub(super) fn look_at_lease(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if now.mono < self.lease.look_at {
            return;
        }
        self.lease.look_at = Mono::MAX;
        if self.lease.acknowledge_after.is_none() {
            self.ask_lease(effects);
        }
        self.acknowledge(now, effects);
    }

    /// Acknowledges the version in use, as soon as that is true: nothing on an older one is open or
    /// unanswered, here or from before a restart, and no commit on one may still take effect.
    pub(super) fn acknowledge(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let Some(version) = self.catalog.made() else { return };
        if version <= self.lease.acknowledged
            || self.lease.acknowledging
            || self.lease.users.range(..version).next().is_some()
        {
            return;
        }
        if now.mono < self.lease.again {
            self.lease.look_at = self.lease.look_at.min(self.lease.again);
            return;
        }
        let Some(after) = self.lease.acknowledge_after else { return };
        let doubts = self.lease.doubts.range(..version).map(|(_, end)| *end).max();
        let after = after.max(doubts.unwrap_or_default());
        if after > Timestamp::ZERO && !now.after(after) {
            let look_at = now.mono_when_after(after).max(now.mono.plus(Duration::from_millis(1)));
            self.lease.look_at = self.lease.look_at.min(look_at);
            return;
        }
        self.lease.doubts = self.lease.doubts.split_off(&version);
        let id = self.fresh_id(now, self.settings.max_age);
        let begun =
            id.and_then(|id| self.new_session(now, OWN, (id, Priority::first(id)), Driver::Only));
        let Ok(owner) = begun else {
            self.lease.look_at = now.mono.plus(PAUSE);
            return;
        };
        self.lease.acknowledging = true;
        if let Some(session) = self.sessions.get_mut(&owner) {
            session.acknowledges = Some(version);
        }
        let spans = vec![KeySpan::point(self.acknowledgement_key())];
        let limit = ReadLimit { rows: 1, bytes: u64::MAX };
        let (mode, purpose) = (LockMode::Exclusive, ReadPurpose::Acknowledgement);
        if let Err(error) = self.read_in(now, owner, mode, (spans, limit), purpose, effects) {
            self.object(now, owner, error, effects);
        }
    }

    fn acknowledgement_key(&self) -> proto::Key {
        acknowledgement_key(self.settings.node, self.settings.core)
    }

    /// What was acknowledged before is known, and locked: it never goes back.
    pub(super) fn acknowledgement_read(
        &mut self,
        now: &Now,
        owner: u64,
        rows: &[Row],
        effects: &mut Vec<Effect>,
    ) {
        let key = self.acknowledgement_key();
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let Some(version) = session.acknowledges else { return };
        let known = rows.first().and_then(|row| decode::<Acknowledgement>(&row.value).ok());
        if let Some(known) = known.filter(|known| known.version >= version) {
            self.lease.acknowledged = known.version;
            return self.roll_back(now, owner, effects);
        }
        let record = Acknowledgement { version, cores: self.settings.cores };
        let written = encode(&record).map_err(Error::from).and_then(|value| {
            let write = Write { key, value: Some(value) };
            session.transaction.write(write).map_err(Error::from)
        });
        match written {
            Ok(()) => self.commit_now(now, owner, effects),
            Err(error) => self.object(now, owner, error, effects),
        }
    }

    pub(super) fn acknowledgement_ended(&mut self, now: &Now, version: Timestamp, committed: bool) {
        self.lease.acknowledging = false;
        if committed {
            self.lease.acknowledged = self.lease.acknowledged.max(version);
        } else if self.lease.acknowledged < version {
            self.lease.again = now.mono.plus(PAUSE / 5);
            self.lease.look_at = self.lease.look_at.min(self.lease.again);
        }
    }
}
