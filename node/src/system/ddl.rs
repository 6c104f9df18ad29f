//! What CREATE TABLE and DROP TABLE write, as functions of what was read under locks.
//!
//! Example: `CREATE TABLE t ... SPLIT AT (100)` over nodes 1 to 4 with the shard counter at 7 writes table `t`, its
//! name, shards 7 on nodes 1, 2, 3 and 8 on nodes 2, 3, 4, and moves the counters.
//!
//! A dropped table's shards stay in the map, marked: they answer for outcomes until their removal is
//! applied, and ids and key ranges are never reused (section 4).

use proto::encoding::{
    ColumnId, Datum, Direction, EncodeError, EncodingLimits, KeyColumn, SchemaError, TableParts,
    TableSchema, split_key, table_span,
};
use proto::table::NewTable;
use proto::{Key, KeySpan, NodeId, ReplicaId, ShardId, TableId};
use txn::message::Write;

use super::record::{
    Counter, ShardRecord, ShardState, SystemError, counter_key, encode, shard_key, table_key,
    table_name_key,
};
use crate::routing::ShardDescriptor;

/// Replicas of a shard, where there are as many nodes.
pub const REPLICAS: usize = 3;
/// Shards that one CREATE TABLE may ask for.
pub const SHARDS_MAX: usize = 1024;

/// What a CREATE TABLE read under locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRead {
    /// The table that has the name.
    pub existing: Option<TableId>,
    /// The table counter, if it was ever moved.
    pub next_table: Option<u64>,
    /// The shard counter, if it was ever moved.
    pub next_shard: Option<u64>,
    /// The registered nodes.
    pub nodes: Vec<NodeId>,
}

/// What a CREATE TABLE does.
#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    /// The table.
    pub schema: TableSchema,
    /// Its shards, to be started once the writes are committed.
    pub shards: Vec<ShardDescriptor>,
    /// The writes.
    pub writes: Vec<Write>,
}

/// Why a change of the catalog cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DdlError {
    /// The name is taken.
    #[error("table {name} exists already")]
    AlreadyExists {
        /// The name.
        name: String,
    },
    /// The definition contradicts itself.
    #[error("table {name} cannot be created: {reason}")]
    Invalid {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: InvalidTable,
    },
    /// No node is registered.
    #[error("no node is registered; run `spandrel init` first")]
    NoNodes,
    /// All ids are used up.
    #[error("there are no more table ids")]
    IdsUsedUp,
    /// A system row does not decode or encode.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// What is wrong with a table's definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTable {
    /// A key column that is no column of the table. Key columns are NOT NULL without saying so.
    #[error("{0} cannot be part of the primary key: the table has no such column")]
    KeyColumn(String),
    /// Names, columns or key contradict themselves, or are too many.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A split that is no key.
    #[error("a split is no prefix of a primary key: {0}")]
    Split(EncodeError),
    /// Too many shards.
    #[error("it would have more than {SHARDS_MAX} shards")]
    TooManyShards,
}

/// What creating a table writes.
///
/// # Errors
/// When the name is taken, the definition is invalid or there is nowhere to put it.
pub fn create_table(
    table: NewTable,
    read: &CreateRead,
    limits: &EncodingLimits,
) -> Result<Created, DdlError> {
    if read.existing.is_some() {
        return Err(DdlError::AlreadyExists { name: table.name });
    }
    if read.nodes.is_empty() {
        return Err(DdlError::NoNodes);
    }
    let table_number = read.next_table.unwrap_or(Counter::Table.first());
    let id = u32::try_from(table_number).map(TableId).map_err(|_| DdlError::IdsUsedUp)?;
    let first_shard = read.next_shard.unwrap_or(Counter::Shard.first());
    let name = table.name.clone();
    let invalid = |reason| DdlError::Invalid { name: name.clone(), reason };
    let splits = table.splits.clone();
    let schema = schema_of(table, id).map_err(&invalid)?;
    let starts = starts_of(&schema, &splits, limits).map_err(&invalid)?;
    let shards = shards_of(&starts, table_span(id).end, first_shard, &read.nodes);

    let next_shard = first_shard + shards.len() as u64;
    let mut writes = vec![
        put(table_name_key(schema.name()), &id)?,
        put(table_key(id), &schema)?,
        put(counter_key(Counter::Table), &(table_number + 1))?,
        put(counter_key(Counter::Shard), &next_shard)?,
    ];
    for shard in &shards {
        let record = ShardRecord { descriptor: shard.clone(), state: ShardState::Live };
        writes.push(put(shard_key(&shard.span.start), &record)?);
    }
    Ok(Created { schema, shards, writes })
}

/// What dropping a table writes. `shards` are the records of its shards.
///
/// # Errors
/// When a record cannot be encoded.
pub fn drop_table(schema: &TableSchema, shards: Vec<ShardRecord>) -> Result<Vec<Write>, DdlError> {
    let mut writes = vec![
        Write { key: table_name_key(schema.name()), value: None },
        Write { key: table_key(schema.id()), value: None },
    ];
    for record in shards.into_iter().filter(|record| record.state == ShardState::Live) {
        let marked = ShardRecord { state: ShardState::Dropping, ..record };
        writes.push(put(shard_key(&marked.descriptor.span.start), &marked)?);
    }
    Ok(writes)
}

fn put<T: serde::Serialize>(key: Key, record: &T) -> Result<Write, SystemError> {
    Ok(Write { key, value: Some(encode(record)?) })
}

fn schema_of(table: NewTable, id: TableId) -> Result<TableSchema, InvalidTable> {
    let NewTable { name, mut columns, primary_key, splits: _ } = table;
    let mut next_column = ColumnId(1);
    for column in &mut columns {
        column.id = next_column;
        next_column = ColumnId(next_column.0 + 1);
    }
    let key_column = |name: String| match columns.iter().find(|column| column.name == name) {
        Some(column) => Ok(KeyColumn { column: column.id, direction: Direction::Ascending }),
        None => Err(InvalidTable::KeyColumn(name)),
    };
    let primary_key = primary_key.into_iter().map(key_column).collect::<Result<_, _>>()?;
    Ok(TableSchema::new(TableParts { id, name, columns, primary_key, next_column })?)
}

/// The start keys of a table's shards, in order.
fn starts_of(
    schema: &TableSchema,
    splits: &[Vec<Datum>],
    limits: &EncodingLimits,
) -> Result<Vec<Key>, InvalidTable> {
    let mut starts = vec![table_span(schema.id()).start];
    for split in splits {
        starts.push(split_key(schema, split, limits).map_err(InvalidTable::Split)?);
    }
    starts.sort_unstable();
    starts.dedup();
    if starts.len() > SHARDS_MAX { Err(InvalidTable::TooManyShards) } else { Ok(starts) }
}

fn shards_of(
    starts: &[Key],
    table_end: Option<Key>,
    first_shard: u64,
    nodes: &[NodeId],
) -> Vec<ShardDescriptor> {
    let ends = starts.iter().skip(1).cloned().map(Some).chain([table_end]);
    starts
        .iter()
        .zip(ends)
        .enumerate()
        .map(|(position, (start, end))| {
            let number = first_shard + position as u64;
            // By the shard's number, so that tables with one shard do not all start at one node.
            let first = usize::try_from(number % nodes.len() as u64)
                .expect("a remainder of a length fits in a usize");
            let replicas = (0..REPLICAS.min(nodes.len()))
                .map(|i| (ReplicaId(i as u64 + 1), nodes[(first + i) % nodes.len()]))
                .collect();
            let span = KeySpan { start: start.clone(), end };
            ShardDescriptor { id: ShardId(number), span, replicas }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::encoding::{Column, ColumnType};

    const LIMITS: EncodingLimits = EncodingLimits { key_bytes_max: 64, row_bytes_max: 1 << 10 };

    fn accounts(splits: &[i64]) -> NewTable {
        let column = |name: &str, not_null| Column {
            name: name.to_owned(),
            id: ColumnId::default(),
            column_type: ColumnType::BigInt,
            not_null,
            default: None,
        };
        NewTable {
            name: "accounts".to_owned(),
            columns: vec![column("id", true), column("balance", false)],
            primary_key: vec!["id".to_owned()],
            splits: splits.iter().map(|split| vec![Datum::BigInt(*split)]).collect(),
        }
    }

    fn read(nodes: u64) -> CreateRead {
        CreateRead { nodes: (1..=nodes).map(NodeId).collect(), ..CreateRead::default() }
    }

    #[test]
    fn create_table_with_splits_covers_the_table_without_gaps() {
        let created = create_table(accounts(&[200, 100, 100]), &read(4), &LIMITS).unwrap();
        let span = table_span(TableId::FIRST_USER);
        assert_eq!(created.shards.len(), 3);
        assert_eq!(created.shards[0].span.start, span.start);
        assert_eq!(created.shards[2].span.end, span.end);
        for pair in created.shards.windows(2) {
            assert_eq!(pair[0].span.end.as_ref(), Some(&pair[1].span.start));
            assert_eq!(pair[0].id.0 + 1, pair[1].id.0);
        }
    }

    #[test]
    fn create_table_places_three_replicas_on_distinct_nodes() {
        let created = create_table(accounts(&[1, 2, 3]), &read(4), &LIMITS).unwrap();
        let mut first = Vec::new();
        for shard in &created.shards {
            let mut nodes: Vec<NodeId> = shard.replicas.iter().map(|(_, node)| *node).collect();
            first.push(nodes[0]);
            nodes.sort_unstable();
            nodes.dedup();
            assert_eq!(nodes.len(), 3);
        }
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 4, "four shards over four nodes start at four different ones");
        let lone = create_table(accounts(&[]), &read(1), &LIMITS).unwrap();
        assert_eq!(lone.shards[0].replicas.len(), 1);
    }

    #[test]
    fn create_table_moves_the_counters_past_what_it_used() {
        let created = create_table(accounts(&[5]), &read(3), &LIMITS).unwrap();
        let value = |counter| {
            let write = created.writes.iter().find(|w| w.key == counter_key(counter)).unwrap();
            super::super::decode::<u64>(write.value.as_ref().unwrap()).unwrap()
        };
        assert_eq!(value(Counter::Table), u64::from(TableId::FIRST_USER.0) + 1);
        assert_eq!(value(Counter::Shard), Counter::Shard.first() + 2);
    }

    #[test]
    fn create_table_with_bad_definition_is_refused() {
        let taken = CreateRead { existing: Some(TableId(100)), ..read(3) };
        assert!(matches!(
            create_table(accounts(&[]), &taken, &LIMITS),
            Err(DdlError::AlreadyExists { .. })
        ));
        assert_eq!(create_table(accounts(&[]), &read(0), &LIMITS), Err(DdlError::NoNodes));
        let mut unknown_key = accounts(&[]);
        unknown_key.primary_key = vec!["nothing".to_owned()];
        assert!(matches!(
            create_table(unknown_key, &read(3), &LIMITS),
            Err(DdlError::Invalid { reason: InvalidTable::KeyColumn(_), .. })
        ));
        let mut named_twice = accounts(&[]);
        named_twice.columns[1].name = "id".to_owned();
        assert!(matches!(
            create_table(named_twice, &read(3), &LIMITS),
            Err(DdlError::Invalid {
                reason: InvalidTable::Schema(SchemaError::RepeatedName { .. }),
                ..
            })
        ));
        let mut split_by_text = accounts(&[]);
        split_by_text.splits = vec![vec![Datum::Text("a".to_owned())]];
        assert!(matches!(
            create_table(split_by_text, &read(3), &LIMITS),
            Err(DdlError::Invalid { reason: InvalidTable::Split(EncodeError::Type { .. }), .. })
        ));
    }

    #[test]
    fn create_table_numbers_the_columns_whatever_ids_they_came_with() {
        let mut table = accounts(&[]);
        table.columns[0].id = ColumnId(7);
        let schema = create_table(table, &read(3), &LIMITS).unwrap().schema;
        let ids: Vec<ColumnId> = schema.columns().iter().map(|column| column.id).collect();
        assert_eq!(ids, [ColumnId(1), ColumnId(2)]);
        assert_eq!(schema.key_positions(), [0]);
        assert_eq!(schema.into_parts().next_column, ColumnId(3));
    }

    #[test]
    fn drop_table_keeps_its_shards_in_the_map_as_dropping() {
        let created = create_table(accounts(&[5]), &read(3), &LIMITS).unwrap();
        let records = created
            .shards
            .iter()
            .map(|shard| ShardRecord { descriptor: shard.clone(), state: ShardState::Live })
            .collect();
        let dropped = drop_table(&created.schema, records).unwrap();
        let kept: Vec<ShardRecord> = dropped
            .iter()
            .filter_map(|write| Some(super::super::decode(write.value.as_ref()?).unwrap()))
            .collect();
        assert!(kept.iter().all(|record| record.state == ShardState::Dropping));
        let kept: Vec<ShardDescriptor> = kept.into_iter().map(|record| record.descriptor).collect();
        assert_eq!(kept, created.shards);
    }
}
