//! A database in memory that answers like a cluster of one node, right or wrong as the test wants.

use client::{Client, ClientError, Config, Dial, Dialing, Inbound, Outbox};
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{self, ErrorDetail, ErrorKind, Outcome, mutation, transaction_selector};
use proto::rpc::{to_error, v1::read_only_options::Bound};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};

/// What the fake gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// A transfer's second write is lost now and then.
    LosesWrites,
    /// Says now and then that an outcome is unknown, and tells it only when it is asked the second time.
    ForgetsOutcomes,
    /// Reads nothing without locks any more after a while: a shard that does not come back.
    LosesAShard,
}

#[derive(Debug)]
pub(super) struct Fake {
    state: Mutex<State>,
    flaw: Flaw,
}

#[derive(Debug)]
struct State {
    now: u64,
    table: Option<v1::Table>,
    shards: u64,
    /// Versions by account, ascending.
    rows: BTreeMap<i64, Vec<(u64, i64)>>,
    locks: BTreeMap<i64, u64>,
    begun: u64,
    commits: u64,
    forgotten: BTreeMap<u64, (u64, u32)>,
}

fn id(sequence: u64) -> v1::TransactionId {
    v1::TransactionId { horizon: 1 << 40, begin: sequence, origin: 7, sequence }
}

fn refuse(kind: ErrorKind) -> Response {
    Response::Error(to_error(ErrorDetail::of(kind), "as the test wants".to_owned()))
}

fn number(value: &v1::Value) -> i64 {
    match value.kind {
        Some(v1::value::Kind::Bigint(number)) => number,
        ref other => panic!("no number: {other:?}"),
    }
}

impl Fake {
    pub(super) fn new(flaw: Flaw) -> Arc<Self> {
        let state = State {
            now: 1_000,
            table: None,
            shards: 1,
            rows: BTreeMap::new(),
            locks: BTreeMap::new(),
            begun: 0,
            commits: 0,
            forgotten: BTreeMap::new(),
        };
        Arc::new(Fake { state: Mutex::new(state), flaw })
    }

    pub(super) async fn connect(self: &Arc<Self>, config: Config) -> Result<Client, ClientError> {
        let config = Config { outcome_timeout: Duration::from_millis(5), ..config };
        Client::connect_by(Arc::new(InProcess(Arc::clone(self))), ["n1"], config).await
    }

    fn answer(&self, request: Request) -> Option<Response> {
        let mut state = self.state.lock().unwrap();
        Some(match request {
            Request::Read(read) => {
                let locked = matches!(
                    read.transaction.as_ref().and_then(|t| t.selector.as_ref()),
                    Some(transaction_selector::Selector::Begin(_))
                );
                if self.flaw == Flaw::LosesAShard && state.commits > 500 && !locked {
                    return Some(refuse(ErrorKind::Unavailable));
                }
                state.read(&read)
            }
            Request::Commit(commit) => state.commit(&commit, self.flaw),
            Request::Rollback(rollback) => {
                state.unlock(rollback.transaction.unwrap().sequence);
                Response::Rollback(v1::RollbackResponse {})
            }
            Request::KeepAlive(_) => Response::KeepAlive(v1::KeepAliveResponse::default()),
            Request::ResolveCommit(_) => {
                state.begun += 1;
                Response::ResolveCommit(v1::ResolveCommitResponse {
                    transaction: Some(id(state.begun)),
                    coordinator_key: b"key"[..].into(),
                })
            }
            Request::LookupOutcome(lookup) => state.look_up(lookup.transaction.unwrap().sequence),
            Request::GetTable(_) => match &state.table {
                Some(table) => {
                    Response::GetTable(v1::GetTableResponse { table: Some(table.clone()) })
                }
                None => refuse(ErrorKind::TableNotFound),
            },
            Request::DropTable(_) => {
                state.table = None;
                Response::DropTable(v1::DropTableResponse {})
            }
            Request::CreateTable(create) => {
                let table = v1::Table { id: 100, ..create.table.unwrap() };
                state.table = Some(table.clone());
                state.shards = 2;
                state.rows.clear();
                let table = Some(table);
                Response::CreateTable(v1::CreateTableResponse { table, existed: false })
            }
            Request::ShardMap(_) => Response::ShardMap(v1::ShardMapResponse {
                version: 1 + state.shards,
                shards: state.places(),
                nodes: Vec::new(),
            }),
            Request::Status(_) => Response::Status(state.status()),
            Request::Cancel(_) => return None,
            other => panic!("the fake does not know {other:?}"),
        })
    }
}

impl State {
    /// The shards begin at 0 and at 5.
    fn places(&self) -> Vec<v1::ShardLocation> {
        let place = |shard: u64| v1::ShardLocation {
            shard: 10 + shard,
            table: 100,
            start: (shard > 0).then(|| 5_i64.into()),
            leader: 1,
            replicas: vec![1],
        };
        (0..self.shards).map(place).collect()
    }

    fn status(&self) -> v1::StatusResponse {
        let clock = v1::ClockStatus { epsilon_nanos: 250_000, ..v1::ClockStatus::default() };
        let node = v1::NodeStatus {
            address: Some(v1::NodeAddress { node: 1, ..v1::NodeAddress::default() }),
            state: v1::NodeState::Up.into(),
            clock: Some(clock),
            ..v1::NodeStatus::default()
        };
        let shard =
            |location| v1::ShardStatus { location: Some(location), ..v1::ShardStatus::default() };
        v1::StatusResponse {
            nodes: vec![node],
            shards: self.places().into_iter().map(shard).collect(),
            ..v1::StatusResponse::default()
        }
    }

    fn read(&mut self, read: &v1::ReadRequest) -> Response {
        use transaction_selector::Selector;
        let keys = read.keys.clone().unwrap_or_default();
        let points: Vec<i64> = keys.points.iter().map(|key| number(&key.values[0])).collect();
        let mut answer = v1::ReadResponse::default();
        let at = match read.transaction.as_ref().and_then(|t| t.selector.as_ref()) {
            Some(Selector::Begin(_)) => {
                if points.iter().any(|key| self.locks.contains_key(key)) {
                    return refuse(ErrorKind::AbortedWounded);
                }
                self.begun += 1;
                self.locks.extend(points.iter().map(|key| (*key, self.begun)));
                answer.transaction = Some(id(self.begun));
                u64::MAX
            }
            Some(Selector::SingleUse(options)) => {
                answer.read_timestamp = match options.bound {
                    Some(Bound::ExactTimestamp(at)) => at,
                    // Whatever staleness is allowed, the present will do.
                    _ => self.now,
                };
                answer.read_timestamp
            }
            other => panic!("the fake does not know {other:?}"),
        };
        let row = |key: &i64| match self.newest(*key, at) {
            Some((version, balance)) => {
                let balance: v1::Value = balance.into();
                let values = match &keys.points[..] {
                    [] => vec![(*key).into(), balance],
                    _ => vec![balance],
                };
                v1::Row { commit_timestamp: version, values }
            }
            None => v1::Row::default(),
        };
        answer.rows = match &points[..] {
            [] => self.rows.keys().map(row).collect(),
            points => points.iter().map(row).collect(),
        };
        Response::Read(answer)
    }

    fn newest(&self, key: i64, at: u64) -> Option<(u64, i64)> {
        self.rows.get(&key)?.iter().rev().find(|(version, _)| *version <= at).copied()
    }

    fn unlock(&mut self, sequence: u64) {
        self.locks.retain(|_, holder| *holder != sequence);
    }

    fn commit(&mut self, commit: &v1::CommitRequest, flaw: Flaw) -> Response {
        use v1::commit_request::Transaction;
        let sequence = match &commit.transaction {
            Some(Transaction::Id(id)) => id.sequence,
            Some(Transaction::SingleUse(single)) => single.id.unwrap().sequence,
            None => panic!("a commit of nothing"),
        };
        self.now += 10;
        self.commits += 1;
        let mut writes = Vec::new();
        for mutation in &commit.mutations {
            match mutation.operation.as_ref().unwrap() {
                mutation::Operation::Update(write) | mutation::Operation::Replace(write) => {
                    let row =
                        |row: &v1::RowValues| (number(&row.values[0]), number(&row.values[1]));
                    writes.extend(write.rows.iter().map(row));
                }
                other => panic!("the fake does not know {other:?}"),
            }
        }
        let is_odd = self.commits.is_multiple_of(20);
        if flaw == Flaw::LosesWrites && is_odd {
            writes.pop();
        }
        for (key, balance) in writes {
            self.rows.entry(key).or_default().push((self.now, balance));
        }
        self.unlock(sequence);
        if flaw == Flaw::ForgetsOutcomes && is_odd {
            self.forgotten.insert(sequence, (self.now, 0));
            let coordinator_key = b"key"[..].into();
            let detail =
                ErrorDetail { coordinator_key, ..ErrorDetail::of(ErrorKind::OutcomeUnknown) };
            return Response::Error(to_error(detail, "as the test wants".to_owned()));
        }
        Response::Commit(v1::CommitResponse {
            commit_timestamp: self.now,
            commit_wait_nanos: 500_000,
            participants: 1,
        })
    }

    fn look_up(&mut self, sequence: u64) -> Response {
        let (at, asked) = self.forgotten.get_mut(&sequence).expect("only these are asked for");
        *asked += 1;
        let (outcome, commit_timestamp) = match *asked {
            1 => (Outcome::InProgress, 0),
            _ => (Outcome::Committed, *at),
        };
        Response::LookupOutcome(v1::LookupOutcomeResponse {
            outcome: outcome.into(),
            commit_timestamp,
        })
    }
}

#[derive(Debug)]
struct InProcess(Arc<Fake>);

impl Dial for InProcess {
    fn dial<'a>(&'a self, _: &'a str, mut requests: Outbox) -> Dialing<'a> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let (sender, answers) = mpsc::unbounded_channel();
            let hello = v1::SessionHello {
                node: 1,
                cluster_id: vec![1; 16].into(),
                idle_timeout_ms: 10_000,
                nodes: Vec::new(),
            };
            let hello = v1::SessionResponse { hello: Some(hello), answers: Vec::new() };
            sender.send(Ok(hello)).unwrap();
            tokio::spawn(async move {
                while let Some(message) = requests.next().await {
                    // Time passes only while somebody waits.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    for call in message.calls {
                        let response = fake.answer(call.request.unwrap());
                        let Some(response) = response else { continue };
                        let correlation_id = call.correlation_id;
                        let response = Some(response);
                        let answer =
                            v1::SessionAnswer { correlation_id, more_follow: false, response };
                        // A client that is gone needs no answer.
                        let _ = sender
                            .send(Ok(v1::SessionResponse { hello: None, answers: vec![answer] }));
                    }
                }
            });
            Ok(Box::pin(UnboundedReceiverStream::new(answers)) as Inbound)
        })
    }
}
