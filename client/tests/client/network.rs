//! The same client over a real listener: the transport, the message sizes, the hello.

use crate::support::{Cluster, Reaction};
use client::{Bound, Client, ClientError, Config, LockMode, Routing};
use proto::rpc::v1::session_answer;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::spandrel_server::{Spandrel, SpandrelServer};
use proto::rpc::v1::{ReadResponse, Row, SessionRequest, SessionResponse};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Response, Status, Streaming};

/// A listener in front of one scripted node.
struct Listener {
    cluster: Arc<Cluster>,
    node: u64,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! only_sessions {
    ($($name:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl Spandrel for Listener {
            $(async fn $name(
                &self,
                _: tonic::Request<proto::rpc::v1::$request>,
            ) -> Result<Response<proto::rpc::v1::$answer>, Status> {
                Err(Status::unimplemented("the client uses the session"))
            })*

            type ReadStream = Answers<proto::rpc::v1::ReadResponse>;

            async fn read(
                &self,
                _: tonic::Request<proto::rpc::v1::ReadRequest>,
            ) -> Result<Response<Self::ReadStream>, Status> {
                Err(Status::unimplemented("the client uses the session"))
            }

            type ExecuteSqlStream = Answers<proto::rpc::v1::ExecuteSqlResponse>;

            async fn execute_sql(
                &self,
                _: tonic::Request<proto::rpc::v1::ExecuteSqlRequest>,
            ) -> Result<Response<Self::ExecuteSqlStream>, Status> {
                Err(Status::unimplemented("the client uses the session"))
            }

            type SessionStream = Answers<SessionResponse>;

            async fn session(
                &self,
                request: tonic::Request<Streaming<SessionRequest>>,
            ) -> Result<Response<Self::SessionStream>, Status> {
                let requests = request.into_inner().map_while(Result::ok);
                let answers = self.cluster.serve(self.node, requests);
                Ok(Response::new(Box::pin(UnboundedReceiverStream::new(answers))))
            }
        }
    };
}

only_sessions! {
    begin(BeginRequest) -> BeginResponse;
    commit(CommitRequest) -> CommitResponse;
    rollback(RollbackRequest) -> RollbackResponse;
    keep_alive(KeepAliveRequest) -> KeepAliveResponse;
    lookup_outcome(LookupOutcomeRequest) -> LookupOutcomeResponse;
    resolve_commit(ResolveCommitRequest) -> ResolveCommitResponse;
    create_table(CreateTableRequest) -> CreateTableResponse;
    drop_table(DropTableRequest) -> DropTableResponse;
    get_table(GetTableRequest) -> GetTableResponse;
    list_tables(ListTablesRequest) -> ListTablesResponse;
    execute_sql_batch(ExecuteSqlBatchRequest) -> ExecuteSqlBatchResponse;
    cancel_sql(CancelSqlRequest) -> CancelSqlResponse;
    close_sql_session(CloseSqlSessionRequest) -> CloseSqlSessionResponse;
    init(InitRequest) -> InitResponse;
    shard_map(ShardMapRequest) -> ShardMapResponse;
    status(StatusRequest) -> StatusResponse;
}

async fn listen(cluster: &Arc<Cluster>, node: u64) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = SpandrelServer::new(Listener { cluster: Arc::clone(cluster), node });
    let server = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    (address, tokio::spawn(async { server.await.unwrap() }))
}

fn config() -> Config {
    Config { discover_nodes: false, routing: Routing::InTurn, ..Config::default() }
}

#[tokio::test]
async fn transactions_run_over_the_network_and_survive_a_node() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let (first, _server) = listen(&cluster, 1).await;
    let (second, _other) = listen(&cluster, 2).await;
    let addresses = [first.to_string(), second.to_string()];
    let client = Client::connect_with(addresses, config()).await.unwrap();
    for round in 0..3 {
        if round == 1 {
            cluster.kill(1);
        }
        let committed = client
            .run(|transaction| async move {
                let keys = vec![1.into(), 2.into()];
                let rows = transaction
                    .get_many("accounts", keys, &["balance"], LockMode::ForUpdate)
                    .await?;
                let value = rows[0].get::<i64>(0)?;
                transaction.update("accounts", &["id", "balance"], vec![1.into(), value.into()]);
                Ok::<_, ClientError>(())
            })
            .await
            .unwrap();
        assert!(committed.commit.timestamp.is_some());
    }
}

#[tokio::test]
async fn answer_larger_than_the_default_limit_of_one_message_arrives() {
    const SIZE: usize = 5 << 20;
    let cluster = Cluster::new(|_, call| match call {
        Request::Read(_) => {
            let values = vec!["x".repeat(SIZE).into()];
            let rows = vec![Row { commit_timestamp: 1, values }];
            let answer = ReadResponse { rows, ..ReadResponse::default() };
            Reaction::Answer(vec![session_answer::Response::Read(answer)])
        }
        _ => Reaction::Usual,
    });
    let (address, _server) = listen(&cluster, 1).await;
    let client = Client::connect_with([address.to_string()], config()).await.unwrap();
    let mut snapshot = client.snapshot(Bound::Strong);
    let row = snapshot.get("accounts", 1, &["blob"]).await.unwrap().unwrap();
    assert_eq!(row.get::<String>(0).unwrap().len(), SIZE);
}

#[tokio::test]
async fn address_where_nobody_listens_is_named_in_the_error() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let quick = std::time::Duration::from_millis(200);
    let config = Config { connect_timeout: quick, ..config() };
    let error = Client::connect_with([unused.to_string()], config).await.unwrap_err();
    assert!(error.to_string().contains(&unused.to_string()), "{error}");
}

#[tokio::test]
async fn client_works_on_a_runtime_of_many_threads_as_a_spawned_task() {
    // That it compiles is the test: every future of the client has to be Send.
    async fn body(client: Client) -> Result<(), ClientError> {
        client.run(|t| async move { t.get("accounts", 1, &["id"]).await }).await?;
        client.snapshot(Bound::Strong).get("accounts", 1, &["id"]).await?;
        client.apply(&client::Mutations::new()).await?;
        Ok(())
    }
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    tokio::spawn(body(client)).await.unwrap().unwrap();
}
