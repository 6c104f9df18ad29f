//! A node of its own, served over loopback and asked through the generated stubs.

mod reads;
mod sessions;
mod sql;
mod unary;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::rpc::detail_of;
use proto::rpc::v1::spandrel_client::SpandrelClient;
use proto::rpc::v1::{self, ErrorKind};
use proto::{NodeId, ReplicaId, ShardId};
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::Channel;
use truetime::{ClockSource, Skew};

use super::listen::{ConnectionLimits, Exposure, bind, routes, serve_grpc};
use super::service::{InitFailed, InitHook, Initialised, ServerSettings};
use super::status::{NodeReport, Peers};
use super::{SpandrelService, http};
use crate::host::data_dir::Member;
use crate::host::{Node, NodeOptions};
use crate::routing::ShardDescriptor;
use crate::shard::replica::ReplicaConfig;
use crate::system::{NodeRecord, encode, node_key, system_shard_span};

/// The key of a table whose primary key is one BIGINT.
pub(super) fn bigint_key(value: i64) -> v1::RowKey {
    v1::RowKey::from(value)
}

pub(super) const CLUSTER: [u8; 16] = [7; 16];

const SECRET: [u8; 16] = [8; 16];

/// A node that serves, and a client of it.
pub(super) struct Served {
    pub(super) node: Arc<Node>,
    pub(super) service: SpandrelService,
    pub(super) client: SpandrelClient<Channel>,
    pub(super) http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    _dir: tempfile::TempDir,
}

struct Alone;

#[tonic::async_trait]
impl InitHook for Alone {
    async fn init(&self) -> Result<Initialised, InitFailed> {
        Err(InitFailed {
            kind: ErrorKind::Unavailable,
            message: "node n2 does not answer".to_owned(),
            hint: "start it".to_owned(),
        })
    }
}

#[tonic::async_trait]
impl Peers for Alone {
    async fn ask_status(&self, _node: NodeId) -> Option<NodeReport> {
        None
    }
}

/// A node that is part of no cluster yet.
pub(super) async fn waiting(settings: ServerSettings) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let (listener, address) = bind("127.0.0.1:0", Exposure::Loopback).await.unwrap();
    let options = NodeOptions {
        data_dir: dir.path().to_owned(),
        advertise: address.to_string(),
        http: String::new(),
        join: vec![address.to_string()],
        clock: ClockSource::Fixed { epsilon: Duration::from_micros(250), skew: Skew::default() },
        cores: 1,
        replica: ReplicaConfig::default(),
    };
    let node = Node::open(options).unwrap();
    let service = SpandrelService::new(node.clone(), Arc::new(Alone), Arc::new(Alone), settings);
    let routes = routes(service.clone(), &node).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (http_listener, http_address) = bind("127.0.0.1:0", Exposure::Loopback).await.unwrap();
    let shared = futures_of(stopped);
    let until = shared.clone();
    tokio::spawn(async move {
        let limits = ConnectionLimits::default();
        serve_grpc(listener, routes, limits, wait(until)).await.unwrap();
    });
    let pages = http::router(node.clone());
    tokio::spawn(async move { http::serve(http_listener, pages, wait(shared)).await.unwrap() });
    let client = SpandrelClient::connect(format!("http://{address}")).await.unwrap();
    Served { node, service, client, http: http_address, stop: Some(stop), _dir: dir }
}

type Stopped = tokio::sync::watch::Receiver<bool>;

fn futures_of(stopped: oneshot::Receiver<()>) -> Stopped {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let _ = stopped.await;
        let _ = sender.send(true);
    });
    receiver
}

async fn wait(mut stopped: Stopped) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// A cluster of one node.
pub(super) async fn running(settings: ServerSettings) -> Served {
    let served = waiting(settings).await;
    let options = served.node.options();
    let record = NodeRecord {
        id: NodeId(1),
        uuid: served.node.directory(),
        advertise: options.advertise.clone(),
        http: options.http.clone(),
        cores: 1,
    };
    let system_shard = ShardDescriptor {
        id: ShardId::SYSTEM,
        span: system_shard_span(),
        replicas: vec![(ReplicaId(1), NodeId(1))],
    };
    let row = encode(&record).unwrap();
    let key = node_key(NodeId(1));
    let member = Member {
        cluster: CLUSTER,
        secret: SECRET,
        node: NodeId(1),
        nodes: vec![record],
        system_shard,
        seed: vec![(key.as_bytes().to_vec(), row.as_bytes().to_vec())],
        storage_created: false,
    };
    served.node.join(member).unwrap();
    served.node.run().unwrap();
    served
}

impl Served {
    /// The kind of a call's failure.
    pub(super) fn kind(status: &Status) -> ErrorKind {
        detail_of(status).unwrap_or_else(|| panic!("no detail: {status:?}")).kind()
    }

    /// With table `accounts (id, balance, note)` and rows 1 to `rows` of balance 10.
    pub(super) async fn bank(rows: i64) -> Self {
        let mut served = running(ServerSettings::default()).await;
        served.client.create_table(accounts()).await.unwrap();
        let insert = insert((1..=rows).map(|id| (id, 10)));
        served.commit_alone(vec![insert]).await.unwrap();
        served
    }

    /// Commits mutations in a transaction of their own.
    pub(super) async fn commit_alone(
        &mut self,
        mutations: Vec<v1::Mutation>,
    ) -> Result<v1::CommitResponse, Status> {
        let begun = self.client.begin(begin_read_write()).await?.into_inner();
        let transaction = begun.transaction.map(v1::commit_request::Transaction::Id);
        let request = v1::CommitRequest { transaction, mutations };
        Ok(self.client.commit(request).await?.into_inner())
    }

    /// All chunks of a read.
    pub(super) async fn read(
        &mut self,
        request: v1::ReadRequest,
    ) -> Result<Vec<v1::ReadResponse>, Status> {
        let mut stream = self.client.read(request).await?.into_inner();
        let mut chunks = Vec::new();
        while let Some(chunk) = stream.message().await? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(running) = self.node.running() {
            running.stop();
        }
    }
}

pub(super) fn accounts() -> v1::CreateTableRequest {
    let column = |name: &str, column_type: v1::ColumnType| v1::Column {
        name: name.to_owned(),
        r#type: column_type.into(),
        not_null: false,
        ..Default::default()
    };
    v1::CreateTableRequest {
        table: Some(v1::Table {
            name: "accounts".to_owned(),
            id: 0,
            columns: vec![
                column("id", v1::ColumnType::Bigint),
                column("balance", v1::ColumnType::Bigint),
                column("note", v1::ColumnType::Text),
            ],
            primary_key: vec!["id".to_owned()],
        }),
        placement: Some(v1::create_table_request::Placement::SplitEvenly(v1::SplitEvenly {
            shards: 2,
            from: 0,
            to: 200,
        })),
        if_not_exists: false,
    }
}

pub(super) fn table() -> Option<v1::TableRef> {
    Some(v1::TableRef { name: "accounts".to_owned(), id: 0 })
}

fn write(rows: impl IntoIterator<Item = (i64, i64)>) -> v1::Write {
    let row = |(id, balance): (i64, i64)| v1::RowValues { values: vec![id.into(), balance.into()] };
    v1::Write {
        table: table(),
        columns: vec!["id".to_owned(), "balance".to_owned()],
        rows: rows.into_iter().map(row).collect(),
    }
}

pub(super) fn insert(rows: impl IntoIterator<Item = (i64, i64)>) -> v1::Mutation {
    v1::Mutation { operation: Some(v1::mutation::Operation::Insert(write(rows))) }
}

pub(super) fn update(rows: impl IntoIterator<Item = (i64, i64)>) -> v1::Mutation {
    v1::Mutation { operation: Some(v1::mutation::Operation::Update(write(rows))) }
}

pub(super) fn begin_read_write() -> v1::BeginRequest {
    let mode = v1::transaction_options::Mode::ReadWrite(v1::ReadWriteOptions::default());
    v1::BeginRequest { options: Some(v1::TransactionOptions { mode: Some(mode) }) }
}

pub(super) fn selector(
    selector: v1::transaction_selector::Selector,
) -> Option<v1::TransactionSelector> {
    Some(v1::TransactionSelector { selector: Some(selector) })
}

pub(super) fn strong() -> Option<v1::TransactionSelector> {
    let options = v1::ReadOnlyOptions::default();
    selector(v1::transaction_selector::Selector::SingleUse(options))
}

/// Reads `id` and `balance` of points.
pub(super) fn read_points(
    transaction: Option<v1::TransactionSelector>,
    ids: &[i64],
) -> v1::ReadRequest {
    v1::ReadRequest {
        transaction,
        table: table(),
        columns: vec!["id".to_owned(), "balance".to_owned()],
        keys: Some(v1::KeySet {
            points: ids.iter().map(|id| bigint_key(*id)).collect(),
            ranges: vec![],
        }),
        ..Default::default()
    }
}

/// Reads `id` and `balance` of ranges, both ends included.
pub(super) fn read_ranges(ranges: &[(i64, i64)]) -> v1::ReadRequest {
    let range = |(from, to): &(i64, i64)| v1::KeyRange {
        start: Some(v1::key_range::Start::StartClosed(bigint_key(*from))),
        end: Some(v1::key_range::End::EndClosed(bigint_key(*to))),
    };
    let ranges = ranges.iter().map(range).collect();
    v1::ReadRequest {
        keys: Some(v1::KeySet { points: vec![], ranges }),
        ..read_points(strong(), &[])
    }
}

/// The first two columns of the rows that exist, `None` for those that do not.
pub(super) fn pairs(chunks: &[v1::ReadResponse]) -> Vec<Option<(i64, i64)>> {
    use proto::rpc::FromValue;
    let number = |value: &v1::Value| i64::from_value(value.clone()).unwrap();
    let pair = |row: &v1::Row| match &row.values[..] {
        [] => {
            assert_eq!(row.commit_timestamp, 0);
            None
        }
        [first, second, ..] => {
            assert!(row.commit_timestamp > 0);
            Some((number(first), number(second)))
        }
        other => panic!("{other:?}"),
    };
    chunks.iter().flat_map(|chunk| &chunk.rows).map(pair).collect()
}
