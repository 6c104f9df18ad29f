//! CREATE TABLE, DROP TABLE and SET CLUSTER SETTING: read-write transactions of the gateway itself on the system tables.
//!
//! Names are unique because the name's key is read under an exclusive lock. An aborted attempt surely changed
//! nothing and is made again here, with its priority; an unknown outcome is the client's to look up. Each change
//! makes a version of the catalog: it waits, without locks, for the version before it to be in use everywhere,
//! and with its answer for its own (`change.rs`).

use proto::encoding::{EncodingLimits, TableSchema, table_span};
use proto::{Key, KeySpan, TableId};
use std::sync::Arc;
use truetime::{Mono, Now, Timestamp};
use txn::lock_table::LockMode;
use txn::message::{ReadLimit, Row, Write};
use txn::transaction::Driver;

use super::api::{ClientId, Response, Ticket};
use super::change::{self, Change};
use super::error::{Error, Subject};
use super::machine::{Effect, Gateway};
use super::session::ReadPurpose;
use crate::routing::ShardDescriptor;
use crate::system::ddl::{CreateRead, create_table, drop_table};
use crate::system::{
    Counter, NodeRecord, ShardRecord, counter_key, decode, encode, setting_key, shard_spans_of,
    table_key, table_name_key, tables,
};
use proto::table::NewTable;
use proto::table::TableRef;

/// A change of the catalog in progress.
#[derive(Debug)]
pub(super) struct DdlJob {
    pub(super) ticket: Ticket,
    statement: Statement,
    stage: Stage,
    attempts: u32,
    /// How many versions there will be with it.
    next_version: u64,
    /// When it no longer waits for the version before it.
    give_up: Mono,
}

impl DdlJob {
    /// Whether it has waited for too long to be made.
    pub(super) fn is_late(&self, now: &Now) -> bool {
        self.give_up <= now.mono
    }
}

#[derive(Clone, Debug)]
enum Statement {
    Create(NewTable),
    Drop {
        name: String,
        /// When it was named by id: only this one.
        id: Option<TableId>,
    },
    /// A setting of the cluster; no value goes back to its default.
    Set {
        name: String,
        value: Option<String>,
    },
}

#[derive(Debug)]
enum Stage {
    /// Names, counters and nodes are being read.
    Reading,
    /// The dropped table's schema and shards are being read.
    ReadingTable,
    /// The commit is under way.
    Created(Arc<TableSchema>, Vec<ShardDescriptor>),
    /// The commit is under way.
    Dropped,
    /// The commit is under way.
    Set,
}

impl Gateway {
    pub(super) fn create_table(
        &mut self,
        now: &Now,
        client: ClientId,
        ticket: Ticket,
        table: NewTable,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let job = self.job(now, ticket, Statement::Create(table));
        self.start_ddl(now, client, None, job, effects)
    }

    pub(super) fn drop_table(
        &mut self,
        now: &Now,
        client: ClientId,
        ticket: Ticket,
        table: TableRef,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let statement = match table {
            TableRef::Name(name) => Statement::Drop { name, id: None },
            TableRef::Id(id) => {
                let name = self.catalog.get(&table)?.name().to_owned();
                Statement::Drop { name, id: Some(id) }
            }
        };
        let job = self.job(now, ticket, statement);
        self.start_ddl(now, client, None, job, effects)
    }

    pub(super) fn set_cluster_setting(
        &mut self,
        now: &Now,
        client: ClientId,
        ticket: Ticket,
        (name, value): (String, Option<String>),
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let job = self.job(now, ticket, Statement::Set { name, value });
        self.start_ddl(now, client, None, job, effects)
    }

    fn job(&self, now: &Now, ticket: Ticket, statement: Statement) -> DdlJob {
        DdlJob {
            ticket,
            statement,
            stage: Stage::Reading,
            attempts: 1,
            next_version: 0,
            give_up: now.mono.plus(self.settings.ddl_wait_max),
        }
    }

    pub(super) fn start_ddl(
        &mut self,
        now: &Now,
        client: ClientId,
        retry_of: Option<proto::Priority>,
        job: DdlJob,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let id = self.fresh_id(now, self.settings.max_age)?;
        let first = || proto::Priority::first(id);
        let priority = retry_of.map_or_else(first, proto::Priority::retry);
        let owner = self.new_session(now, client, (id, priority), Driver::Only)?;
        // The nodes are read with the rest, under the same exclusive locks: changes of the catalog are
        // rare, and one round is simpler than two.
        let mut spans = vec![KeySpan::point(counter_key(Counter::Catalog))];
        match &job.statement {
            Statement::Create(table) => spans.extend([
                KeySpan::point(table_name_key(&table.name)),
                KeySpan::point(counter_key(Counter::Table)),
                KeySpan::point(counter_key(Counter::Shard)),
                table_span(tables::NODES),
            ]),
            Statement::Drop { name, .. } => spans.push(KeySpan::point(table_name_key(name))),
            // The catalog's counter, which every change writes, is lock enough.
            Statement::Set { .. } => {}
        }
        if let Some(session) = self.sessions.get_mut(&owner) {
            session.ddl = Some(Box::new(job));
        }
        self.read_system(now, owner, spans, effects);
        Ok(())
    }

    fn read_system(
        &mut self,
        now: &Now,
        owner: u64,
        spans: Vec<KeySpan>,
        effects: &mut Vec<Effect>,
    ) {
        let limit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };
        let (mode, purpose) = (LockMode::Exclusive, ReadPurpose::Ddl);
        if let Err(error) = self.read_in(now, owner, mode, (spans, limit), purpose, effects) {
            self.object(now, owner, error, effects);
        }
    }

    /// What a change of the catalog needs was read.
    pub(super) fn ddl_read(
        &mut self,
        now: &Now,
        owner: u64,
        rows: Vec<Row>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let Some(mut job) = session.ddl.take() else { return };
        if matches!(job.stage, Stage::Reading) {
            let (client, priority) = (session.client, session.transaction.priority());
            let version = match version_of(&rows) {
                Ok((version, number)) => {
                    job.next_version = number + 1;
                    version
                }
                Err(error) => {
                    session.ddl = Some(job);
                    return self.object(now, owner, error, effects);
                }
            };
            if !self.is_everywhere(now, version) {
                self.roll_back(now, owner, effects);
                let next = change::Next::Make(*job, priority);
                return self.await_version(now, Change { version, client, next }, effects);
            }
        }
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let next = match (&job.statement, &job.stage) {
            (Statement::Create(table), _) => {
                formed_create(table.clone(), &rows, &self.settings.encoding)
            }
            (Statement::Drop { name, id }, Stage::Reading) => found_table(name, *id, &rows),
            (Statement::Drop { name, .. }, _) => formed_drop(name, &rows),
            (Statement::Set { name, value }, _) => formed_setting(name, value.as_ref()),
        };
        let result = next.and_then(|next| match next {
            Next::Read(table) => {
                job.stage = Stage::ReadingTable;
                Ok(Some(table))
            }
            Next::Commit(stage, writes) => {
                job.stage = stage;
                let version = Some(encode(&job.next_version)?);
                let version = Write { key: counter_key(Counter::Catalog), value: version };
                for write in writes.into_iter().chain([version]) {
                    session.transaction.write(write)?;
                }
                Ok(None)
            }
        });
        session.ddl = Some(job);
        match result {
            Ok(Some(table)) => {
                let shards = shard_spans_of(&table_span(table));
                let spans = vec![KeySpan::point(table_key(table)), shards];
                self.read_system(now, owner, spans, effects);
            }
            Ok(None) => self.commit_now(now, owner, effects),
            Err(error) => self.object(now, owner, error, effects),
        }
    }

    /// The transaction of a change of the catalog ended.
    pub(super) fn ddl_ended(
        &mut self,
        now: &Now,
        owner: u64,
        job: DdlJob,
        outcome: Result<Response, Error>,
        effects: &mut Vec<Effect>,
    ) {
        let ticket = job.ticket;
        match (outcome, job.stage) {
            (Ok(Response::Committed(committed)), Stage::Created(schema, shards)) => {
                self.map = Arc::new(self.map.with(shards.iter().cloned()));
                effects.push(Effect::UpdateMap(Arc::clone(&self.map)));
                effects.push(Effect::NewShards(shards));
                let response = Response::Table(schema);
                self.ddl_made(now, owner, committed.commit_ts, (ticket, response), effects);
            }
            (Ok(Response::Committed(committed)), Stage::Dropped) => {
                let done = (ticket, Response::TableDropped);
                self.ddl_made(now, owner, committed.commit_ts, done, effects);
            }
            (Ok(Response::Committed(committed)), Stage::Set) => {
                let done = (ticket, Response::SettingChanged);
                self.ddl_made(now, owner, committed.commit_ts, done, effects);
            }
            (Ok(_), _) => {
                unreachable!("a change of the catalog commits only once it formed its writes");
            }
            (Err(Error::Aborted { .. }), _) if job.attempts < self.settings.ddl_attempts_max => {
                let Some(session) = self.sessions.get(&owner) else { return };
                let (client, priority) = (session.client, session.transaction.priority());
                let attempts = job.attempts + 1;
                let again = DdlJob { stage: Stage::Reading, attempts, ..job };
                if let Err(error) = self.start_ddl(now, client, Some(priority), again, effects) {
                    effects.push(Effect::Answer { ticket, answer: Err(error) });
                }
            }
            (Err(error), _) => effects.push(Effect::Answer { ticket, answer: Err(error) }),
        }
    }

    /// The change is committed; it is answered when every gateway uses the version that it made.
    fn ddl_made(
        &mut self,
        now: &Now,
        owner: u64,
        version: Timestamp,
        (ticket, response): (Ticket, Response),
        effects: &mut Vec<Effect>,
    ) {
        let Some(client) = self.sessions.get(&owner).map(|session| session.client) else { return };
        let next = change::Next::Answer(ticket, response);
        self.await_version(now, Change { version, client, next }, effects);
    }
}

/// The catalog's version, and how many there were.
fn version_of(rows: &[Row]) -> Result<(Timestamp, u64), Error> {
    let key = counter_key(Counter::Catalog);
    match rows.iter().find(|row| row.key == key) {
        Some(row) => Ok((row.timestamp, decode(&row.value)?)),
        None => Ok((Timestamp::ZERO, 0)),
    }
}

enum Next {
    Read(TableId),
    Commit(Stage, Vec<Write>),
}

fn formed_create(table: NewTable, rows: &[Row], limits: &EncodingLimits) -> Result<Next, Error> {
    let mut read = CreateRead {
        existing: value_of(rows, &table_name_key(&table.name))?,
        next_table: value_of(rows, &counter_key(Counter::Table))?,
        next_shard: value_of(rows, &counter_key(Counter::Shard))?,
        nodes: Vec::new(),
    };
    let nodes = table_span(tables::NODES);
    for row in rows.iter().filter(|row| nodes.contains(&row.key)) {
        read.nodes.push(decode::<NodeRecord>(&row.value)?.id);
    }
    let created = create_table(table, &read, limits)?;
    Ok(Next::Commit(Stage::Created(Arc::new(created.schema), created.shards), created.writes))
}

fn found_table(name: &str, id: Option<TableId>, rows: &[Row]) -> Result<Next, Error> {
    let not_found = || Error::NotFound { what: Subject::Table(name.to_owned()) };
    let found: Option<TableId> = value_of(rows, &table_name_key(name))?;
    // Another table has the name by now: the one that was meant is gone.
    let meant = found.filter(|found| id.is_none_or(|id| id == *found));
    meant.map(Next::Read).ok_or_else(not_found)
}

fn formed_drop(name: &str, rows: &[Row]) -> Result<Next, Error> {
    let not_found = || Error::NotFound { what: Subject::Table(name.to_owned()) };
    let tables = table_span(tables::TABLES);
    let row = rows.iter().find(|row| tables.contains(&row.key)).ok_or_else(not_found)?;
    let schema: TableSchema = decode(&row.value)?;
    let of_shards = table_span(tables::SHARDS);
    let shards = rows
        .iter()
        .filter(|row| of_shards.contains(&row.key))
        .map(|row| decode::<ShardRecord>(&row.value))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Next::Commit(Stage::Dropped, drop_table(&schema, shards)?))
}

fn formed_setting(name: &str, value: Option<&String>) -> Result<Next, Error> {
    let value = value.map(encode).transpose()?;
    Ok(Next::Commit(Stage::Set, vec![Write { key: setting_key(name), value }]))
}

fn value_of<T: serde::de::DeserializeOwned>(rows: &[Row], key: &Key) -> Result<Option<T>, Error> {
    let row = rows.iter().find(|row| row.key == *key);
    Ok(row.map(|row| decode(&row.value)).transpose()?)
}
