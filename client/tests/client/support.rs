//! A cluster of scripted nodes: each call is answered as the test says, and recorded.

use client::{Client, Config, Dial, Dialing, Inbound, Outbox, Routing};
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{
    CancelSqlResponse, CloseSqlSessionResponse, CommitResponse, ErrorDetail, ErrorKind,
    GetTableResponse, KeepAliveResponse, NodeAddress, ReadResponse, ResolveCommitResponse,
    RollbackResponse, Row, SessionAnswer, SessionHello, SessionRequest, SessionResponse,
    ShardMapResponse, Table, TransactionId, transaction_selector,
};
use proto::rpc::{to_error, v1};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt, wrappers::UnboundedReceiverStream};

/// What a node does with a call.
#[expect(clippy::large_enum_variant, reason = "a test has few of them")]
pub(crate) enum Reaction {
    /// Answers it, in one or several chunks.
    Answer(Vec<Response>),
    /// Never answers it.
    Hold,
    /// Answers it after all others of its message, the last call first.
    AnswerInReverse(Response),
    /// Answers as given, then breaks the session.
    AnswerAndBreak(Vec<Response>),
    /// What a well-behaved node does.
    Usual,
}

/// Breaks the session without an answer.
pub(crate) fn break_session() -> Reaction {
    Reaction::AnswerAndBreak(Vec::new())
}

pub(crate) fn refuse(detail: ErrorDetail) -> Reaction {
    Reaction::Answer(vec![Response::Error(to_error(detail, "scripted".to_owned()))])
}

pub(crate) fn refuse_kind(kind: ErrorKind) -> Reaction {
    refuse(ErrorDetail::of(kind))
}

/// The id of the nth transaction that the cluster began.
pub(crate) fn id(n: u64) -> TransactionId {
    TransactionId { horizon: 1_000 + n, begin: n, origin: 7, sequence: n }
}

pub(crate) fn row(key: i64, version: u64) -> Row {
    Row { commit_timestamp: version, values: vec![key.into()] }
}

type Script = dyn FnMut(u64, &Request) -> Reaction + Send;

/// The cluster. Node `n` has the address `n<n>`.
pub(crate) struct Cluster {
    state: Mutex<State>,
    script: Mutex<Box<Script>>,
    died: watch::Sender<BTreeSet<u64>>,
}

struct State {
    begun: u64,
    resolved: u64,
    tables: BTreeMap<String, u32>,
    calls: Vec<(u64, Request)>,
    messages: usize,
    leader: u64,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    pub(crate) fn new(script: impl FnMut(u64, &Request) -> Reaction + Send + 'static) -> Arc<Self> {
        Arc::new(Cluster {
            state: Mutex::new(State {
                begun: 0,
                resolved: 0,
                tables: BTreeMap::from([("accounts".to_owned(), 100)]),
                calls: Vec::new(),
                messages: 0,
                leader: 0,
            }),
            script: Mutex::new(Box::new(script)),
            died: watch::channel(BTreeSet::new()).0,
        })
    }

    /// A client with one stream to each of two nodes.
    pub(crate) async fn client(self: &Arc<Self>) -> Client {
        let config = Config { routing: Routing::InTurn, seed: Some(1), ..Config::default() };
        self.client_with(config).await
    }

    pub(crate) async fn client_with(self: &Arc<Self>, config: Config) -> Client {
        let dial = Arc::new(InProcess(Arc::clone(self)));
        Client::connect_by(dial, ["n1", "n2"], config).await.unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The node breaks its sessions and takes no new ones.
    pub(crate) fn kill(&self, node: u64) {
        self.died.send_modify(|died| {
            died.insert(node);
        });
    }

    pub(crate) fn revive(&self, node: u64) {
        self.died.send_modify(|died| {
            died.remove(&node);
        });
    }

    /// The table of this name is dropped and created again.
    pub(crate) fn recreate(&self, table: &str, id: u32) {
        self.state().tables.insert(table.to_owned(), id);
    }

    pub(crate) fn set_leader(&self, node: u64) {
        self.state().leader = node;
    }

    /// How many messages the clients sent.
    pub(crate) fn messages(&self) -> usize {
        self.state().messages
    }

    /// The recorded calls for which `pick` has an answer.
    pub(crate) fn calls<T>(&self, pick: impl Fn(u64, &Request) -> Option<T>) -> Vec<T> {
        self.state().calls.iter().filter_map(|(node, call)| pick(*node, call)).collect()
    }

    fn usual(&self, request: &Request) -> Vec<Response> {
        let mut state = self.state();
        let response = match request {
            Request::Read(read) => Response::Read(ReadResponse {
                transaction: begins(read).then(|| {
                    state.begun += 1;
                    id(state.begun)
                }),
                read_timestamp: if is_read_only(read) { 5_000 } else { 0 },
                rows: points(read).iter().map(|_| row(10, 40)).collect(),
                ..ReadResponse::default()
            }),
            Request::Commit(_) => Response::Commit(CommitResponse {
                commit_timestamp: 9_000,
                commit_wait_nanos: 17,
                participants: 2,
            }),
            Request::Rollback(_) => Response::Rollback(RollbackResponse {}),
            Request::KeepAlive(_) => Response::KeepAlive(KeepAliveResponse::default()),
            Request::ResolveCommit(_) => {
                state.resolved += 1;
                Response::ResolveCommit(ResolveCommitResponse {
                    transaction: Some(id(100 + state.resolved)),
                    coordinator_key: COORDINATOR_KEY.into(),
                })
            }
            Request::GetTable(get) => {
                let name = get.table.clone().unwrap_or_default().name;
                let table = state.tables.get(&name).map(|&id| table(&name, id));
                match table {
                    Some(_) => Response::GetTable(GetTableResponse { table }),
                    None => {
                        let detail = ErrorDetail::of(ErrorKind::TableNotFound);
                        Response::Error(to_error(detail, format!("no table {name}")))
                    }
                }
            }
            Request::ShardMap(_) => Response::ShardMap(ShardMapResponse {
                version: 1 + state.leader,
                shards: vec![v1::ShardLocation {
                    shard: 10,
                    table: 100,
                    leader: state.leader,
                    ..Default::default()
                }],
                nodes: Vec::new(),
            }),
            Request::CancelSql(_) => Response::CancelSql(CancelSqlResponse {}),
            Request::CloseSqlSession(_) => Response::CloseSqlSession(CloseSqlSessionResponse {}),
            other => panic!("no script for {other:?}"),
        };
        vec![response]
    }

    /// Serves one session of a node.
    pub(crate) fn serve(
        self: &Arc<Self>,
        node: u64,
        mut requests: impl Stream<Item = SessionRequest> + Send + Unpin + 'static,
    ) -> mpsc::UnboundedReceiver<Result<SessionResponse, tonic::Status>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let nodes = [1, 2].map(|node| NodeAddress {
            node,
            grpc: format!("n{node}"),
            ..NodeAddress::default()
        });
        let hello = SessionHello {
            node,
            cluster_id: vec![1; 16].into(),
            idle_timeout_ms: 10_000,
            nodes: nodes.into(),
        };
        let first = SessionResponse { hello: Some(hello), answers: Vec::new() };
        sender.send(Ok(first)).unwrap();
        let cluster = Arc::clone(self);
        let mut died = self.died.subscribe();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = requests.next() => message,
                    _ = died.wait_for(|died| died.contains(&node)) => {
                        let _ = sender.send(Err(tonic::Status::unavailable("the node died")));
                        return;
                    }
                };
                let Some(message) = message else { return };
                cluster.state().messages += 1;
                let mut reversed = Vec::new();
                for call in message.calls {
                    let request = call.request.unwrap();
                    let reaction = (cluster.script.lock().unwrap())(node, &request);
                    cluster.state().calls.push((node, request.clone()));
                    let (answers, is_over) = match reaction {
                        Reaction::Answer(answers) => (answers, false),
                        Reaction::Hold => continue,
                        Reaction::AnswerInReverse(answer) => {
                            reversed.push((call.correlation_id, answer));
                            continue;
                        }
                        Reaction::AnswerAndBreak(answers) => (answers, true),
                        Reaction::Usual if matches!(request, Request::Cancel(_)) => continue,
                        Reaction::Usual => (cluster.usual(&request), false),
                    };
                    let count = answers.len();
                    for (index, response) in answers.into_iter().enumerate() {
                        let more_follow = is_over || index + 1 < count;
                        send(&sender, call.correlation_id, more_follow, response);
                    }
                    if is_over {
                        let _ = sender.send(Err(tonic::Status::unavailable("cut off")));
                        return;
                    }
                }
                for (correlation_id, response) in reversed.into_iter().rev() {
                    send(&sender, correlation_id, false, response);
                }
            }
        });
        receiver
    }
}

fn send(
    sender: &mpsc::UnboundedSender<Result<SessionResponse, tonic::Status>>,
    correlation_id: u64,
    more_follow: bool,
    response: Response,
) {
    let answer = SessionAnswer { correlation_id, more_follow, response: Some(response) };
    let message = SessionResponse { hello: None, answers: vec![answer] };
    // A client that is gone needs no answer.
    let _ = sender.send(Ok(message));
}

/// Reaches the cluster without a network.
#[derive(Debug)]
struct InProcess(Arc<Cluster>);

impl Dial for InProcess {
    fn dial<'a>(&'a self, address: &'a str, outbox: Outbox) -> Dialing<'a> {
        Box::pin(async move {
            let node = address.trim_start_matches('n').parse().unwrap();
            if self.0.died.borrow().contains(&node) {
                return Err("connection refused".to_owned());
            }
            let answers = UnboundedReceiverStream::new(self.0.serve(node, outbox));
            Ok(Box::pin(answers) as Inbound)
        })
    }
}

/// The coordinator key that the cluster resolves.
pub(crate) const COORDINATOR_KEY: &[u8] = b"\x01smallest";

fn table(name: &str, id: u32) -> Table {
    Table { name: name.to_owned(), id, columns: Vec::new(), primary_key: vec!["id".to_owned()] }
}

fn begins(read: &v1::ReadRequest) -> bool {
    matches!(selector(read), Some(transaction_selector::Selector::Begin(_)))
}

fn is_read_only(read: &v1::ReadRequest) -> bool {
    matches!(selector(read), Some(transaction_selector::Selector::SingleUse(_)))
}

pub(crate) fn selector(read: &v1::ReadRequest) -> Option<&transaction_selector::Selector> {
    read.transaction.as_ref()?.selector.as_ref()
}

pub(crate) fn points(read: &v1::ReadRequest) -> &[v1::RowKey] {
    read.keys.as_ref().map_or(&[], |keys| &keys.points)
}
