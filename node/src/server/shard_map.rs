//! The shard map for clients that route by themselves.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use proto::ShardId;
use proto::encoding::{Datum, decode_any_key};
use proto::rpc::v1;
use txn::transaction::digest::Digest;

use super::answers::value;
use super::errors::Failure;
use super::seat::Seat;
use super::status::address;
use crate::core::status::{Places, ShardPlace};
use crate::gateway::api::Request;
use crate::host::monotonic;
use tokio::sync::oneshot;

/// The system tables are read again for a map that is older than this.
const FRESH: Duration = Duration::from_secs(1);
/// How long that may take; after it, the answer is what is known.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers ShardMap, always from the first core, so that versions of one node are comparable.
#[derive(Default)]
pub(super) struct ShardMaps {
    /// When the system tables were last read for it.
    read: Mutex<Option<Duration>>,
}

impl ShardMaps {
    /// The map, or nothing but its version when the client has it.
    pub(super) async fn answer(
        &self,
        seat: &Seat,
        known_version: u64,
    ) -> Result<v1::ShardMapResponse, Failure> {
        let first = seat.first();
        self.refresh(&first).await;
        let places = first.core().places().await.ok_or_else(Failure::stopping)?;
        let nodes = seat.running.member.nodes.iter().map(address).collect();
        let map = v1::ShardMapResponse { version: 0, shards: locations(&places), nodes };
        let version = version_of(&map);
        if version == known_version {
            return Ok(v1::ShardMapResponse { version, ..Default::default() });
        }
        Ok(v1::ShardMapResponse { version, ..map })
    }

    /// Has the core read the system tables, unless it did lately or cannot.
    async fn refresh(&self, first: &Seat) {
        let now = monotonic();
        {
            let mut read = self.read.lock();
            if read.is_some_and(|read| now.saturating_sub(read) < FRESH) {
                return;
            }
            *read = Some(now);
        }
        let (sender, receiver) = oneshot::channel();
        first.ask(Request::ListTables, move |_| {
            let _ = sender.send(());
        });
        let _ = tokio::time::timeout(PATIENCE, receiver).await;
    }
}

/// Never zero, which stands for no version.
fn version_of(map: &v1::ShardMapResponse) -> u64 {
    let mut digest = Digest::new([2, 2]);
    digest.bytes(&map.encode_to_vec());
    digest.finish().max(1)
}

/// The shards of tables, by table and key.
fn locations(places: &Places) -> Vec<v1::ShardLocation> {
    let of_tables = places.shards.iter().filter(|place| place.shard != ShardId::SYSTEM);
    of_tables.map(location).collect()
}

/// A shard's place.
pub(super) fn location(place: &ShardPlace) -> v1::ShardLocation {
    let (table, start) = start_of(&place.span.start);
    v1::ShardLocation {
        shard: place.shard.0,
        table,
        start: Some(v1::RowKey { values: start.into_iter().map(value).collect() }),
        leader: place.leader.map_or(0, |node| node.0),
        replicas: place.nodes.iter().map(|node| node.0).collect(),
    }
}

/// The table and the values that a shard's keys start with. A table's first shard starts with the table, and a
/// start that does not decode is shown as bytes.
fn start_of(start: &proto::Key) -> (u32, Vec<Datum>) {
    match decode_any_key(start) {
        Ok(key) => (key.table.0, key.fields.into_iter().map(|(datum, _)| datum).collect()),
        Err(_) => (0, vec![Datum::Bytes(Bytes::copy_from_slice(start.as_bytes()).into())]),
    }
}
