//! Reads without locks (section 5): one timestamp, any number of shards.

use proto::encoding::{Datum, TableSchema, table_span};
use proto::{Key, KeySpan, TableId, TxnId};
use std::collections::BTreeMap;
use std::sync::Arc;
use truetime::{Now, Timestamp};
use txn::message::{ReadLimit, Reply, Request as ShardRequest, Row};
use txn::transaction::{CallError, Obstacle, Scan, ScanRows, UnknownShard, cut, normalise};

use super::api::{
    self, Begun, Read, ReadBound, Response, Rows, Selector, Ticket, TransactionHandle,
};
use super::error::{Error, InvalidRequest};
use super::keys::{columns_of, row_of, spans_of};
use super::lease::{CatalogUse, no_lease};
use super::machine::{Effect, Gateway, answer, interval, unexpected_reply};
use super::token::{self, ResumeToken};
use crate::routing::{CallId, Preference, Route};
use crate::system::{Counter, counter_key, tables};
use txn::lock_table::LockMode;

/// What a client's read wants of the rows.
#[derive(Debug)]
pub(super) struct ClientRead {
    pub(super) ticket: Ticket,
    pub(super) schema: Arc<TableSchema>,
    pub(super) columns: Vec<usize>,
    pub(super) points: Vec<Key>,
    pub(super) begun: Option<Begun>,
}

impl ClientRead {
    /// The read-write transaction that this read began.
    pub(super) fn begun_id(&self) -> Option<TxnId> {
        match self.begun?.transaction {
            TransactionHandle::ReadWrite(id) => Some(id),
            TransactionHandle::ReadOnly { .. } => None,
        }
    }

    /// The answer that it failed; names the transaction that it began.
    pub(super) fn failed(&self, error: Error) -> Effect {
        let error = match self.begun_id() {
            Some(id) => Error::Over { id, error: Box::new(error) },
            None => error,
        };
        Effect::Answer { ticket: self.ticket, answer: Err(error) }
    }
}

#[derive(Debug)]
enum Purpose {
    /// With the catalog version that it uses.
    Client(ClientRead, CatalogUse),
    Refresh,
    /// Who uses which catalog version.
    Acknowledgements,
}

/// One read without locks in progress.
#[derive(Debug)]
pub(super) struct Snapshot {
    at: Timestamp,
    strong: bool,
    route: Route,
    scan: Scan,
    purpose: Purpose,
    /// Which part of the scan each call is for.
    calls: BTreeMap<u32, usize>,
    next_part: u32,
}

/// A read with everything resolved that needs no transaction.
pub(super) struct Resolved {
    pub(super) schema: Arc<TableSchema>,
    pub(super) columns: Vec<usize>,
    /// The keys of the points, in the order asked.
    pub(super) points: Vec<Key>,
    pub(super) spans: Vec<KeySpan>,
    pub(super) limit: Option<u64>,
    pub(super) token: Option<ResumeToken>,
}

impl Gateway {
    /// Says whether a read could be resolved, before a transaction is begun for it.
    pub(super) fn check_read(&self, read: &Read) -> Result<(), Error> {
        self.resolve_read(read).map(|_| ())
    }

    pub(super) fn resolve_read(&self, read: &Read) -> Result<Resolved, Error> {
        let schema = self.catalog.get(&read.table)?;
        let columns = columns_of(&schema, &read.columns)?;
        let limit = read.limit.filter(|limit| *limit > 0);
        let Some(bytes) = &read.resume else {
            let spans = spans_of(&schema, &read.keys, &self.settings.encoding)?;
            let points = &spans[..read.keys.points.len()];
            let points = points.iter().map(|span| span.start.clone()).collect();
            let spans = normalise(spans);
            return Ok(Resolved { schema, columns, points, spans, limit, token: None });
        };
        let token = token::open(bytes, self.settings.token_key)
            .filter(|token| token.table == schema.id())
            .filter(|token| token.columns == token::columns_digest(&columns))
            .ok_or(InvalidRequest::ResumeToken)?;
        let spans = token.rest.clone();
        let points = Vec::new();
        Ok(Resolved { schema, columns, points, spans, limit, token: Some(token) })
    }

    /// The limit of one answer.
    pub(super) fn limit_of(&self, rows: Option<u64>) -> ReadLimit {
        ReadLimit { rows: rows.unwrap_or(u64::MAX), bytes: self.settings.read_bytes_max }
    }

    /// Chooses the timestamp of a read without locks, and says whether it is meant to be fresh.
    pub(super) fn timestamp_of(
        &self,
        now: &Now,
        bound: ReadBound,
    ) -> Result<(Timestamp, bool), Error> {
        match bound {
            // Section 5. Whatever was acknowledged before this read began has a timestamp that was
            // past by then, so below `latest`.
            ReadBound::Strong => Ok((interval(now)?.1, true)),
            ReadBound::ExactTimestamp(at) => {
                let bound = now.sure().map(|i| i.latest.plus(self.settings.future_reads_max));
                if bound.is_some_and(|bound| at > bound) {
                    return Err(InvalidRequest::FutureTimestamp.into());
                }
                Ok((at, now.sure().is_none_or(|interval| at >= interval.earliest)))
            }
            // True time is not below `earliest`: this is at least that old.
            ReadBound::ExactStaleness(staleness) => {
                Ok((interval(now)?.0.minus(staleness), staleness.is_zero()))
            }
            // True time is not above `latest`: this is at most that old.
            ReadBound::MaxStaleness(staleness) => {
                Ok((interval(now)?.1.minus(staleness), staleness.is_zero()))
            }
        }
    }

    pub(super) fn snapshot_read(
        &mut self,
        now: &Now,
        ticket: Ticket,
        read: Read,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        if read.lock == LockMode::Exclusive {
            return Err(InvalidRequest::LockInReadOnly.into());
        }
        let resolved = self.resolve_read(&read)?;
        let pinned = resolved.token.as_ref().map(|token| (token.at, token.strong));
        let (at, strong, begun) = match (read.selector, pinned) {
            (_, Some((None, _))) => return Err(InvalidRequest::ResumeToken.into()),
            (Selector::Existing(TransactionHandle::ReadOnly { at, strong }), pinned) => {
                if pinned.is_some_and(|(pinned, _)| pinned != Some(at)) {
                    return Err(InvalidRequest::ResumeToken.into());
                }
                (at, strong, None)
            }
            (Selector::SingleUse(_), Some((Some(at), strong))) => (at, strong, None),
            (Selector::SingleUse(bound), None) => {
                let (at, strong) = self.timestamp_of(now, bound)?;
                (at, strong, None)
            }
            (Selector::Begin(super::api::TransactionOptions::ReadOnly(bound)), None) => {
                let (at, strong) = self.timestamp_of(now, bound)?;
                let transaction = TransactionHandle::ReadOnly { at, strong };
                (at, strong, Some(Begun { transaction, priority: None }))
            }
            (Selector::Begin(_) | Selector::Existing(_), _) => {
                return Err(InvalidRequest::ResumeToken.into());
            }
        };
        if self.snapshots.len() >= self.settings.snapshots_max {
            return Err(Error::Overloaded { what: "reads at this gateway".to_owned() });
        }
        // Section 7: at `at` these schemas must still be in use.
        let in_use = self.lease.held().filter(|held| at < held.end).ok_or_else(no_lease)?;
        let Resolved { schema, columns, points, spans, limit, .. } = resolved;
        let client = ClientRead { ticket, schema, columns, points, begun };
        let purpose = Purpose::Client(client, in_use);
        let limit = self.limit_of(limit);
        // It may end at once.
        self.lease.begin_use(in_use.version);
        match self.start_snapshot(now, (at, strong), spans, limit, purpose, effects) {
            Ok(_) => Ok(()),
            Err(_) => {
                self.lease.end_use(in_use.version);
                Err(self.shard_missing(now, effects))
            }
        }
    }

    /// Reads shard map, schemas and their version at one fresh timestamp.
    pub(super) fn refresh_snapshot(
        &mut self,
        now: &Now,
        effects: &mut Vec<Effect>,
    ) -> Result<u64, Error> {
        // A version may be granted while its commit still waits: it must be seen all the same.
        let at = interval(now)?.1.max(self.lease.newest()).max(self.removals.made());
        let mut spans = [tables::SHARDS, tables::TABLES, tables::SETTINGS].map(table_span).to_vec();
        spans.push(KeySpan::point(counter_key(Counter::Catalog)));
        self.system_snapshot(now, at, spans, Purpose::Refresh, effects)
    }

    /// Reads which versions all nodes acknowledge.
    pub(super) fn acknowledgements_snapshot(
        &mut self,
        now: &Now,
        effects: &mut Vec<Effect>,
    ) -> Result<u64, Error> {
        let at = interval(now)?.1;
        let spans = [tables::NODES, tables::ACKNOWLEDGEMENTS].map(table_span).to_vec();
        self.system_snapshot(now, at, spans, Purpose::Acknowledgements, effects)
    }

    fn system_snapshot(
        &mut self,
        now: &Now,
        at: Timestamp,
        spans: Vec<KeySpan>,
        purpose: Purpose,
        effects: &mut Vec<Effect>,
    ) -> Result<u64, Error> {
        let limit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };
        self.start_snapshot(now, (at, true), normalise(spans), limit, purpose, effects)
            .map_err(|_| no_shard())
    }

    fn start_snapshot(
        &mut self,
        now: &Now,
        (at, strong): (Timestamp, bool),
        spans: Vec<KeySpan>,
        limit: ReadLimit,
        purpose: Purpose,
        effects: &mut Vec<Effect>,
    ) -> Result<u64, UnknownShard> {
        let parts = cut(&spans, self.map.as_ref())?;
        let scan = Scan::new(parts, limit, self.settings.transaction.reads_at_once_max);
        let route = if strong { Route::Leader } else { Route::Replica(Preference::Local) };
        let calls = BTreeMap::new();
        let snapshot = Snapshot { at, strong, route, scan, purpose, calls, next_part: 0 };
        let owner = self.fresh_owner();
        self.snapshots.insert(owner, snapshot);
        self.advance_snapshot(now, owner, effects);
        Ok(owner)
    }

    /// The map has a hole: have it read again, and tell the client to come back.
    pub(super) fn shard_missing(&mut self, now: &Now, effects: &mut Vec<Effect>) -> Error {
        self.start_refresh(now, effects);
        no_shard()
    }

    pub(super) fn snapshot_completed(
        &mut self,
        now: &Now,
        call: CallId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(snapshot) = self.snapshots.get_mut(&call.owner) else { return };
        let Some(part) = snapshot.calls.remove(&call.part) else { return };
        let error = match result {
            Ok(Reply::Rows { rows, rest, .. }) => {
                snapshot.scan.answered(part, rows, rest, |rows, _| rows);
                return self.advance_snapshot(now, call.owner, effects);
            }
            Ok(Reply::Refused(refusal)) => refusal.into(),
            Ok(_) => unexpected_reply(),
            Err(error) => error.into(),
        };
        self.end_snapshot(now, call.owner, Err(error), effects);
    }

    fn advance_snapshot(&mut self, now: &Now, owner: u64, effects: &mut Vec<Effect>) {
        let Some(snapshot) = self.snapshots.get_mut(&owner) else { return };
        if let Some(rows) = snapshot.scan.take_finished() {
            return self.end_snapshot(now, owner, Ok(rows), effects);
        }
        for ask in snapshot.scan.asks() {
            let call = CallId { owner, part: snapshot.next_part };
            snapshot.next_part += 1;
            snapshot.calls.insert(call.part, ask.part);
            let (at, spans, limit) = (snapshot.at, ask.spans, ask.limit);
            let request = ShardRequest::SnapshotRead { at, spans, limit };
            effects.push(Effect::Call { call, request, route: snapshot.route });
        }
    }

    fn end_snapshot(
        &mut self,
        now: &Now,
        owner: u64,
        result: Result<ScanRows, Error>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(snapshot) = self.snapshots.remove(&owner) else { return };
        let cancelled = snapshot.calls.into_keys().map(|part| CallId { owner, part });
        effects.extend(cancelled.map(Effect::Cancel));
        match snapshot.purpose {
            Purpose::Refresh => {
                self.refresh_done(now, result.map(|read| read.rows), effects);
            }
            Purpose::Acknowledgements => {
                self.acknowledgements_read(now, result.map(|read| read.rows), effects);
            }
            Purpose::Client(mut client, in_use) => {
                self.lease.end_use(in_use.version);
                let ticket = client.ticket;
                let pinned = (Some(snapshot.at), snapshot.strong);
                match result.and_then(|read| self.rows_of(&mut client, read, pinned)) {
                    Ok(rows) => answer(effects, ticket, Response::Rows(rows)),
                    Err(error) => effects.push(Effect::Answer { ticket, answer: Err(error) }),
                }
                self.acknowledge(now, effects);
            }
        }
    }

    /// The catalog version that a read of a client uses.
    pub(super) fn version_in_use(snapshot: &Snapshot) -> Option<Timestamp> {
        match &snapshot.purpose {
            Purpose::Client(_, in_use) => Some(in_use.version),
            Purpose::Refresh | Purpose::Acknowledgements => None,
        }
    }

    /// Decodes rows for a client, with a token for what was left.
    pub(super) fn rows_of(
        &self,
        client: &mut ClientRead,
        read: ScanRows,
        (at, strong): (Option<Timestamp>, bool),
    ) -> Result<Rows, Error> {
        let ClientRead { schema, columns, begun, .. } = &*client;
        let resume = (!read.rest.is_empty()).then(|| {
            let columns = token::columns_digest(columns);
            let table: TableId = schema.id();
            let token = ResumeToken { at, strong, table, columns, rest: read.rest.clone() };
            token::seal(&token, self.settings.token_key)
        });
        let rows = read
            .rows
            .into_iter()
            .map(|row| {
                let values = columns_of_row(schema, columns, &row)?;
                Ok(api::Row { key: row.key, timestamp: row.timestamp, values })
            })
            .collect::<Result<_, Error>>()?;
        let (begun, schema) = (*begun, Arc::clone(schema));
        let points = std::mem::take(&mut client.points);
        Ok(Rows { begun, at, schema, points, rows, resume })
    }
}

fn no_shard() -> Error {
    CallError::Unavailable { what: Obstacle::NoShard, maybe_executed: false }.into()
}

fn columns_of_row(schema: &TableSchema, columns: &[usize], row: &Row) -> Result<Vec<Datum>, Error> {
    let mut whole = row_of(schema, &row.key, &row.value)?;
    if columns.len() == whole.len() && columns.iter().enumerate().all(|(i, column)| i == *column) {
        return Ok(whole);
    }
    // A column may be asked for twice; the last time it is taken, the first times it is copied.
    let taken = |index: usize| !columns[index + 1..].contains(&columns[index]);
    Ok((0..columns.len())
        .map(|index| {
            let value = &mut whole[columns[index]];
            if taken(index) { std::mem::replace(value, Datum::Null) } else { value.clone() }
        })
        .collect())
}
