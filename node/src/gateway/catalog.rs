//! The tables as one gateway knows them.
//!
//! Read together with the shard map and the catalog's version, at one timestamp, whenever something is
//! missing or a newer version was made. Whether these rows may be used is the lease's to say (`lease.rs`).

use proto::TableId;
use proto::encoding::{TableSchema, table_span};
use proto::table::TableRef;
use sql::settings::{ClusterSettings, TXN_MAX_AGE};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use truetime::Timestamp;
use txn::message::Row;

use super::error::{Error, Subject};
use crate::routing::{ShardDescriptor, ShardMap};
use crate::system::{
    Counter, ShardRecord, ShardState, SystemError, counter_key, decode, setting_name, tables,
};

/// Schemas by id and name.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    by_id: BTreeMap<TableId, Arc<TableSchema>>,
    by_name: BTreeMap<String, TableId>,
    settings: Arc<BTreeMap<String, String>>,
    /// The setting `txn.max_age`.
    max_age: Option<Duration>,
    /// The version of these rows; `None` before they were read.
    made: Option<Timestamp>,
    version: u64,
}

impl Catalog {
    /// A table's schema.
    #[must_use]
    pub(super) fn find(&self, table: &TableRef) -> Option<&Arc<TableSchema>> {
        let id = match table {
            TableRef::Id(id) => id,
            TableRef::Name(name) => self.by_name.get(name)?,
        };
        self.by_id.get(id)
    }

    /// A table's schema, or the error that it does not exist.
    ///
    /// # Errors
    /// When it does not exist.
    pub(super) fn get(&self, table: &TableRef) -> Result<Arc<TableSchema>, Error> {
        self.find(table).cloned().ok_or_else(|| {
            let name = match table {
                TableRef::Id(id) => id.to_string(),
                TableRef::Name(name) => name.clone(),
            };
            Error::NotFound { what: Subject::Table(name) }
        })
    }

    /// Whether there is a table of that name.
    #[must_use]
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The cluster's settings that differ from their defaults.
    #[must_use]
    pub(super) fn settings(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&self.settings)
    }

    /// The cluster's setting of `txn.max_age`.
    #[must_use]
    pub(super) fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// All tables, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<TableSchema>> {
        self.by_id.values()
    }

    /// Grows with every change that this gateway learns of.
    #[must_use]
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The version of these rows: the commit timestamp of the change that made it, zero when there was
    /// none, `None` before anything was read.
    #[must_use]
    pub(super) fn made(&self) -> Option<Timestamp> {
        self.made
    }

    /// Replaces everything by what was read of the system tables; also makes the shard map. `fixed` is the
    /// system shard's descriptor, from configuration, which is in no table.
    ///
    /// # Errors
    /// When a row does not decode; nothing was changed then.
    pub(super) fn reload(
        &mut self,
        rows: &[Row],
        fixed: ShardDescriptor,
    ) -> Result<ShardMap, SystemError> {
        let (shard_rows, table_rows) = (table_span(tables::SHARDS), table_span(tables::TABLES));
        let mut map = Marked { live: vec![fixed], ..Marked::default() };
        let mut by_id = BTreeMap::new();
        let mut by_name = BTreeMap::new();
        let mut settings = BTreeMap::new();
        let version_key = counter_key(Counter::Catalog);
        let mut made = Timestamp::ZERO;
        for row in rows {
            if shard_rows.contains(&row.key) {
                map.add(decode(&row.value)?);
            } else if table_rows.contains(&row.key) {
                let schema: TableSchema = decode(&row.value)?;
                by_name.insert(schema.name().to_owned(), schema.id());
                by_id.insert(schema.id(), Arc::new(schema));
            } else if let Some(name) = setting_name(&row.key) {
                settings.insert(name.to_owned(), decode(&row.value)?);
            } else if row.key == version_key {
                made = row.timestamp;
            }
        }
        self.by_id = by_id;
        self.by_name = by_name;
        let is_set = settings.contains_key(TXN_MAX_AGE);
        self.max_age = is_set.then(|| ClusterSettings::of(&settings).max_age);
        // Whoever keeps them sees by the map itself that nothing has changed.
        if *self.settings != settings {
            self.settings = Arc::new(settings);
        }
        self.made = Some(made);
        self.version += 1;
        let Marked { live, dropping, removed } = map;
        Ok(ShardMap::new(live).with_dropping(dropping).with_removed(removed))
    }
}

/// Shards by their state.
#[derive(Default)]
struct Marked {
    live: Vec<ShardDescriptor>,
    dropping: Vec<ShardDescriptor>,
    removed: Vec<ShardDescriptor>,
}

impl Marked {
    fn add(&mut self, ShardRecord { descriptor, state }: ShardRecord) {
        match state {
            ShardState::Live => self.live.push(descriptor),
            ShardState::Dropping => self.dropping.push(descriptor),
            ShardState::Removed => self.removed.push(descriptor),
        }
    }
}
