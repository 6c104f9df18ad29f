//! Where keys are, and who leads there.
//!
//! A hint: what is out of date costs a hop, never a wrong answer.

use crate::call::ask;
use crate::client::{Client, Inner};
use crate::error::ClientError;
use proto::rpc::v1::value::Kind;
use proto::rpc::v1::{RowKey, ShardMapRequest, ShardMapResponse, Value};
use proto::{NodeId, ShardId, TableId};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::{Instant, sleep};

/// One shard.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardPlace {
    /// Its id.
    pub shard: ShardId,
    /// Where it starts; without values, at the start of its table.
    pub start: RowKey,
    /// Who is thought to lead it.
    pub leader: Option<NodeId>,
    /// Who has a replica.
    pub replicas: Vec<NodeId>,
}

/// All shards of all tables, as one node knows them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardMap {
    tables: BTreeMap<TableId, Vec<ShardPlace>>,
}

impl From<ShardMapResponse> for ShardMap {
    fn from(answer: ShardMapResponse) -> Self {
        let mut tables = BTreeMap::<TableId, Vec<ShardPlace>>::new();
        for location in answer.shards {
            let place = ShardPlace {
                shard: ShardId(location.shard),
                start: location.start.unwrap_or_default(),
                leader: (location.leader != 0).then_some(NodeId(location.leader)),
                replicas: location.replicas.into_iter().map(NodeId).collect(),
            };
            tables.entry(TableId(location.table)).or_default().push(place);
        }
        for places in tables.values_mut() {
            places.sort_by(|a, b| key_order(&a.start, &b.start));
        }
        ShardMap { tables }
    }
}

impl ShardMap {
    /// The shards of a table, by key.
    #[must_use]
    pub fn shards(&self, table: TableId) -> &[ShardPlace] {
        self.tables.get(&table).map_or(&[], Vec::as_slice)
    }

    /// The shard of a key.
    #[must_use]
    pub fn locate(&self, table: TableId, key: &RowKey) -> Option<&ShardPlace> {
        let places = self.shards(table);
        let after = places.partition_point(|place| key_order(&place.start, key).is_le());
        places.get(after.checked_sub(1)?)
    }
}

/// The order of keys: column by column, a prefix before what it begins.
fn key_order(a: &RowKey, b: &RowKey) -> Ordering {
    let columns = a.values.iter().zip(&b.values).map(|(a, b)| value_order(a, b));
    columns.fold(Ordering::Equal, Ordering::then).then(a.values.len().cmp(&b.values.len()))
}

/// The order of two values of one column. Values of two types are in one column of no table.
fn value_order(a: &Value, b: &Value) -> Ordering {
    match (&a.kind, &b.kind) {
        (Some(Kind::Bigint(a)), Some(Kind::Bigint(b)))
        | (Some(Kind::TimestamptzMicros(a)), Some(Kind::TimestamptzMicros(b))) => a.cmp(b),
        (Some(Kind::DoublePrecision(a)), Some(Kind::DoublePrecision(b))) => a.total_cmp(b),
        (Some(Kind::Text(a)), Some(Kind::Text(b))) => a.as_bytes().cmp(b.as_bytes()),
        (Some(Kind::Boolean(a)), Some(Kind::Boolean(b))) => a.cmp(b),
        (Some(Kind::Bytea(a)), Some(Kind::Bytea(b))) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

impl Client {
    /// Asks for the shard map.
    pub async fn shard_map(&self) -> Result<ShardMap, ClientError> {
        let request = ShardMapRequest { known_version: 0 };
        let answer = self.ask_anyone(request, None, self.config().request_timeout).await?;
        Ok(answer.into())
    }
}

/// Keeps the client's map fresh until the client aborts it.
pub(crate) async fn follow(inner: Arc<Inner>) {
    // The version counts only at the node that gave it.
    let mut known: Option<(NodeId, u64)> = None;
    let interval = inner.pool.config().shard_map_interval;
    loop {
        if let Ok(connection) =
            inner.pool.pick(known.map(|(n, _)| n), Instant::now() + interval).await
        {
            let version = known.filter(|(node, _)| connection.node() == Some(*node));
            let request = ShardMapRequest { known_version: version.map_or(0, |(_, v)| v) };
            match ask(&connection, request, interval).await {
                Ok(answer) => {
                    let is_news = version.is_none_or(|(_, version)| version != answer.version);
                    known = connection.node().map(|node| (node, answer.version));
                    inner.pool.learn(&answer.nodes);
                    if is_news {
                        *inner.shard_map.write() = Arc::new(answer.into());
                    }
                }
                Err(error) => tracing::debug!(?error, "cannot refresh the shard map"),
            }
        }
        sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::ShardMap;
    use proto::rpc::v1::{RowKey, ShardLocation, ShardMapResponse};
    use proto::{NodeId, ShardId, TableId};

    fn location(shard: u64, start: Option<RowKey>, leader: u64) -> ShardLocation {
        ShardLocation { shard, table: 100, start, leader, replicas: vec![1, 2, 3] }
    }

    fn map() -> ShardMap {
        // Out of order, to see that it does not matter.
        let middle = location(12, Some(RowKey::from(0)), 2);
        let last = location(13, Some(RowKey::from(50)), 0);
        let first = location(11, None, 1);
        let shards = vec![last, first, middle];
        ShardMapResponse { version: 1, shards, nodes: Vec::new() }.into()
    }

    #[test]
    fn key_is_in_the_last_shard_that_starts_at_or_before_it() {
        let map = map();
        let shard = |key: i64| map.locate(TableId(100), &key.into()).map(|place| place.shard);
        assert_eq!(shard(-1), Some(ShardId(11)));
        assert_eq!(shard(0), Some(ShardId(12)));
        assert_eq!(shard(49), Some(ShardId(12)));
        assert_eq!(shard(50), Some(ShardId(13)));
        assert_eq!(map.locate(TableId(101), &0.into()), None);
    }

    #[test]
    fn longer_key_is_after_its_prefix() {
        let map = map();
        let place = map.locate(TableId(100), &(0, "x").into()).unwrap();
        assert_eq!((place.shard, place.leader), (ShardId(12), Some(NodeId(2))));
    }

    #[test]
    fn unknown_leader_is_none() {
        assert_eq!(map().locate(TableId(100), &99.into()).unwrap().leader, None);
    }
}
