//! A cluster of one node, without a network: what the gateway answers is on disk and comes back.

use std::sync::Arc;
use std::time::Duration;

use node::gateway::api::{
    ClientId, CommitTarget, Read, ReadBound, Request, Response, Selector, TransactionOptions,
};
use node::host::data_dir::DataDirError;
use node::host::{Node, NodeError, NodeOptions, Running, peer_service};
use node::shard::replica::ReplicaConfig;
use proto::encoding::{Column, ColumnId, ColumnType, Datum};
use proto::table::NewTable;
use proto::table::{KeySet, Mutation, TableRef, WriteKind};
use tokio::sync::oneshot;
use txn::lock_table::LockMode;

fn options(dir: &std::path::Path, address: &str) -> NodeOptions {
    NodeOptions {
        data_dir: dir.to_owned(),
        advertise: address.to_owned(),
        http: String::new(),
        join: vec![address.to_owned()],
        clock: "fixed:250us".parse().expect("a clock source"),
        cores: 1,
        replica: ReplicaConfig::default(),
    }
}

async fn ask(running: &Running, request: Request) -> Response {
    let (sender, receiver) = oneshot::channel();
    let then = Box::new(move |answer| {
        let _ = sender.send(answer);
    });
    running.cores[0].ask(ClientId(1), request, then);
    let answer = tokio::time::timeout(Duration::from_secs(20), receiver).await;
    answer.expect("an answer in time").expect("an answer").expect("a good answer")
}

/// Serves the peer service, so that `init` can introduce the node to itself.
fn serve(node: &Arc<Node>, listener: tokio::net::TcpListener) -> tokio::task::JoinHandle<()> {
    struct Nothing;
    #[tonic::async_trait]
    impl peer_service::AnswerPeers for Nothing {
        async fn answer(&self, _: &[u8]) -> Result<Vec<u8>, tonic::Status> {
            Err(tonic::Status::unimplemented("not here"))
        }
    }
    let service = peer_service::PeerService::new(node.clone(), Arc::new(Nothing));
    let service = proto::rpc::internal::peer_server::PeerServer::new(service);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        server.serve_with_incoming(incoming).await.expect("it is served until it is aborted");
    })
}

fn column(name: &str) -> Column {
    Column {
        id: ColumnId::default(),
        name: name.to_owned(),
        column_type: ColumnType::BigInt,
        not_null: true,
        default: None,
    }
}

fn read(selector: Selector, id: i64) -> Request {
    Request::Read(Read {
        selector,
        table: TableRef::Name("accounts".to_owned()),
        columns: Vec::new(),
        keys: KeySet { points: vec![vec![Datum::BigInt(id)]], ranges: Vec::new() },
        limit: None,
        lock: LockMode::Shared,
        resume: None,
    })
}

#[tokio::test]
async fn commit_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = Node::open(options(dir.path(), &address)).unwrap();
    let server = serve(&node, listener);
    assert!(!peer_service::init(&node).await.unwrap());
    let running = node.running().unwrap();

    let table = NewTable {
        name: "accounts".to_owned(),
        columns: vec![column("id"), column("balance")],
        primary_key: vec!["id".to_owned()],
        splits: vec![vec![Datum::BigInt(10)]],
    };
    ask(&running, Request::CreateTable(table)).await;
    let begun =
        ask(&running, Request::Begin(TransactionOptions::ReadWrite(Default::default()))).await;
    let Response::Begun(begun) = begun else { panic!("{begun:?}") };
    let insert = |id: i64| Mutation::Write {
        kind: WriteKind::Insert,
        table: TableRef::Name("accounts".to_owned()),
        columns: vec!["id".to_owned(), "balance".to_owned()],
        rows: vec![vec![Datum::BigInt(id), Datum::BigInt(100 + id)]],
    };
    let node::gateway::api::TransactionHandle::ReadWrite(id) = begun.transaction else { panic!() };
    let commit = Request::Commit {
        target: CommitTarget::Transaction(id),
        mutations: vec![insert(1), insert(11)],
    };
    let committed = ask(&running, commit).await;
    assert!(matches!(committed, Response::Committed(_)), "{committed:?}");
    let strong = Selector::SingleUse(ReadBound::Strong);
    let found = ask(&running, read(strong, 11)).await;
    let Response::Rows(rows) = found else { panic!("{found:?}") };
    assert_eq!(rows.rows.len(), 1);
    assert_eq!(rows.rows[0].values[1], Datum::BigInt(111));

    running.stop();
    server.abort();
    drop(running);
    drop(node);
    let again = reopen(options(dir.path(), &address)).await;
    let running = again.run().unwrap();
    let found = ask(&running, read(strong, 1)).await;
    let Response::Rows(rows) = found else { panic!("{found:?}") };
    assert_eq!(rows.rows[0].values[1], Datum::BigInt(101));
}

/// A node's own place is all that it needs to start again. The directory is free once the last task of the stopped node has let go of it.
async fn reopen(options: NodeOptions) -> Arc<Node> {
    loop {
        match Node::open(options.clone()) {
            Ok(node) => return node,
            Err(NodeError::DataDir(DataDirError::Locked { .. })) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}
