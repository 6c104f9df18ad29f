//! The system tables: shard map, node registry, catalog and id allocation, as rows of the system shard.
//!
//! Each row's key is where its [`proto::encoding::table_span`] starts and then the record's own key as raw
//! bytes, so that a row's table can be read from any key; its value is a version byte and the record in
//! postcard. The rows are written by ordinary transactions, so everything that TRANSACTIONS.md says of rows
//! holds for them.
//!
//! | table | id | key | value |
//! |---|---|---|---|
//! | nodes | 1 | node id | [`NodeRecord`] |
//! | shards | 2 | start key | [`ShardRecord`] |
//! | tables | 3 | table id | [`proto::encoding::TableSchema`] |
//! | table names | 4 | name | table id |
//! | counters | 5 | counter | next free number; `catalog` counts the catalog's versions |
//! | acknowledgements | 6 | node id, core (2 bytes) | [`Acknowledgement`] |
//! | settings | 7 | name | its value, as text |
//!
//! Not here: reading and writing them; the gateway does. [`ddl`] has what a change of the catalog writes, as
//! a function of what was read.

pub mod ddl;
mod record;

pub use record::{
    Acknowledgement, Counter, NodeRecord, ShardRecord, ShardState, SystemError,
    acknowledgement_key, acknowledging, counter_key, decode, encode, node_key, setting_key,
    setting_name, shard_key, shard_spans_of, system_shard_span, table_key, table_name_key, tables,
};
