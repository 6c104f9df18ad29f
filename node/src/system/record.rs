//! Records of the system tables and their keys.

use proto::encoding::table_span;
use proto::{Key, KeySpan, NodeId, TableId, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use truetime::Timestamp;

use crate::routing::ShardDescriptor;

/// The ids of the system tables.
pub mod tables {
    use proto::TableId;

    /// The node registry.
    pub const NODES: TableId = TableId(1);
    /// The shard map.
    pub const SHARDS: TableId = TableId(2);
    /// Schemas by table id.
    pub const TABLES: TableId = TableId(3);
    /// Table ids by name.
    pub const TABLE_NAMES: TableId = TableId(4);
    /// The next free numbers.
    pub const COUNTERS: TableId = TableId(5);
    /// Which catalog version each core of each node acknowledges.
    pub const ACKNOWLEDGEMENTS: TableId = TableId(6);
    /// The cluster's settings that differ from their defaults.
    pub const SETTINGS: TableId = TableId(7);
}

/// The version byte of all records.
const RECORD_VERSION: u8 = 1;

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The node.
    pub id: NodeId,
    /// Minted with its data directory, so that another directory never passes for it (T49).
    pub uuid: [u8; 16],
    /// `HOST:PORT` of its gRPC listener as others reach it.
    pub advertise: String,
    /// `HOST:PORT` of its HTTP listener.
    pub http: String,
    /// How many cores it runs.
    pub cores: u16,
}

/// Whether a shard still takes part in anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShardState {
    /// In use.
    Live,
    /// Its table was dropped; it still answers for outcomes until its removal is applied.
    Dropping,
    /// Its removal was applied; the mark is kept for ever (section 4).
    Removed,
}

/// A shard in the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Its keys and replicas.
    pub descriptor: ShardDescriptor,
    /// Whether it is in use.
    pub state: ShardState,
}

/// What numbers are allocated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Nodes.
    Node,
    /// Shards.
    Shard,
    /// Tables.
    Table,
    /// Catalog versions. What names a version is the commit timestamp of this counter's row.
    Catalog,
}

/// What one core of a node says of the catalog version that it uses (TRANSACTIONS.md section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// It uses this version or a newer one, and nothing of its own on an older one is open or unanswered.
    pub version: Timestamp,
    /// How many cores its process has, each of which acknowledges for itself.
    pub cores: u16,
}

impl Counter {
    /// The first number, when none was allocated yet.
    #[must_use]
    pub fn first(self) -> u64 {
        match self {
            Counter::Node | Counter::Catalog => 1,
            // The system shard is 1.
            Counter::Shard => 2,
            Counter::Table => u64::from(TableId::FIRST_USER.0),
        }
    }
}

/// A system row that does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SystemError {
    /// Written by a newer release.
    #[error(
        "a system row has version {version}, this release knows {RECORD_VERSION}; upgrade this node"
    )]
    NewerVersion {
        /// Its version byte.
        version: u8,
    },
    /// Not a record at all.
    #[error("a system row is damaged: {reason}; report it, with this node's log")]
    Damaged {
        /// What the decoder says.
        reason: String,
    },
}

/// A record as a row's value.
///
/// # Errors
/// When it cannot be encoded, which its types exclude.
pub fn encode<T: Serialize>(record: &T) -> Result<Value, SystemError> {
    postcard::to_extend(record, vec![RECORD_VERSION])
        .map(Value::from)
        .map_err(|error| SystemError::Damaged { reason: error.to_string() })
}

/// The record of a row's value.
///
/// # Errors
/// When the value is of a newer release, or damaged.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, SystemError> {
    match value.as_bytes().split_first() {
        None => Err(SystemError::Damaged { reason: "it is empty".to_owned() }),
        Some((&RECORD_VERSION, bytes)) => postcard::from_bytes(bytes)
            .map_err(|error| SystemError::Damaged { reason: error.to_string() }),
        Some((&version, _)) => Err(SystemError::NewerVersion { version }),
    }
}

/// The keys of the system shard: all below the first user table's.
#[must_use]
pub fn system_shard_span() -> KeySpan {
    KeySpan { start: Key::default(), end: Some(table_span(TableId::FIRST_USER).start) }
}

/// Where a node's record is.
#[must_use]
pub fn node_key(node: NodeId) -> Key {
    row_key(tables::NODES, &node.0.to_be_bytes())
}

/// Where the record of the shard that starts there is.
#[must_use]
pub fn shard_key(start: &Key) -> Key {
    row_key(tables::SHARDS, start.as_bytes())
}

/// Where the records of all shards are that start in `span`.
#[must_use]
pub fn shard_spans_of(span: &KeySpan) -> KeySpan {
    let end = match &span.end {
        Some(end) => Some(shard_key(end)),
        None => table_span(tables::SHARDS).end,
    };
    KeySpan { start: shard_key(&span.start), end }
}

/// Where a table's schema is.
#[must_use]
pub fn table_key(table: TableId) -> Key {
    row_key(tables::TABLES, &table.0.to_be_bytes())
}

/// Where a table's id is, by its name.
#[must_use]
pub fn table_name_key(name: &str) -> Key {
    row_key(tables::TABLE_NAMES, name.as_bytes())
}

/// Where a counter is.
#[must_use]
pub fn counter_key(counter: Counter) -> Key {
    let name: &[u8] = match counter {
        Counter::Node => b"node",
        Counter::Shard => b"shard",
        Counter::Table => b"table",
        Counter::Catalog => b"catalog",
    };
    row_key(tables::COUNTERS, name)
}

/// Where the value of a setting is.
#[must_use]
pub fn setting_key(name: &str) -> Key {
    row_key(tables::SETTINGS, name.as_bytes())
}

/// Which setting's value is there.
#[must_use]
pub fn setting_name(key: &Key) -> Option<&str> {
    let prefix = table_span(tables::SETTINGS).start;
    std::str::from_utf8(key.as_bytes().strip_prefix(prefix.as_bytes())?).ok()
}

/// Where the acknowledgement of a core is.
#[must_use]
pub fn acknowledgement_key(node: NodeId, core: u16) -> Key {
    let mut key = node.0.to_be_bytes().to_vec();
    key.extend_from_slice(&core.to_be_bytes());
    row_key(tables::ACKNOWLEDGEMENTS, &key)
}

/// Whose acknowledgement is there.
#[must_use]
pub fn acknowledging(key: &Key) -> Option<(NodeId, u16)> {
    let prefix = table_span(tables::ACKNOWLEDGEMENTS).start;
    let rest = key.as_bytes().strip_prefix(prefix.as_bytes())?;
    let (node, core) = rest.split_first_chunk::<8>()?;
    Some((NodeId(u64::from_be_bytes(*node)), u16::from_be_bytes(core.try_into().ok()?)))
}

/// The record's own key comes last, so raw bytes keep their order.
fn row_key(table: TableId, key: &[u8]) -> Key {
    let prefix = table_span(table).start;
    let mut bytes = Vec::with_capacity(prefix.as_bytes().len() + key.len());
    bytes.extend_from_slice(prefix.as_bytes());
    bytes.extend_from_slice(key);
    Key::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::encoding::table_of;

    #[test]
    fn record_of_newer_release_is_told_from_a_damaged_one() {
        let value = Value::from(vec![RECORD_VERSION + 1, 0]);
        assert_eq!(
            decode::<u64>(&value),
            Err(SystemError::NewerVersion { version: RECORD_VERSION + 1 })
        );
        assert!(matches!(decode::<u64>(&Value::default()), Err(SystemError::Damaged { .. })));
        assert_eq!(decode::<u64>(&encode(&300_u64).unwrap()), Ok(300));
    }

    #[test]
    fn system_keys_lie_in_the_system_shard() {
        let span = system_shard_span();
        for (table, key) in [
            (tables::NODES, node_key(NodeId(u64::MAX))),
            (tables::SHARDS, shard_key(&Key::from(vec![0xff; 9]))),
            (tables::TABLES, table_key(TableId(u32::MAX))),
            (tables::TABLE_NAMES, table_name_key("zzz")),
            (tables::COUNTERS, counter_key(Counter::Table)),
            (tables::COUNTERS, counter_key(Counter::Catalog)),
            (tables::ACKNOWLEDGEMENTS, acknowledgement_key(NodeId(u64::MAX), u16::MAX)),
            (tables::SETTINGS, setting_key("zzz")),
        ] {
            assert!(span.contains(&key), "{key}");
            assert!(table_span(table).contains(&key), "{key}");
            assert_eq!(table_of(&key), Some(table), "{key}");
        }
    }

    #[test]
    fn acknowledgement_key_says_whose_it_is() {
        let key = acknowledgement_key(NodeId(300), 7);
        assert_eq!(acknowledging(&key), Some((NodeId(300), 7)));
        assert_eq!(acknowledging(&node_key(NodeId(300))), None);
    }

    #[test]
    fn setting_key_says_which_setting_it_is() {
        assert_eq!(setting_name(&setting_key("txn.max_age")), Some("txn.max_age"));
        assert_eq!(setting_name(&table_name_key("txn.max_age")), None);
    }

    #[test]
    fn shard_keys_sort_by_start_key() {
        let starts = [vec![], vec![0], vec![0, 0, 0, 100], vec![0, 0, 0, 101, 4]];
        let keys = starts.into_iter().map(|start| shard_key(&Key::from(start)));
        assert!(keys.is_sorted());
    }
}
