//! Sessions.

use super::*;
use proto::rpc::v1::session_answer::Response as Wire;
use proto::rpc::v1::session_call::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// A client's end of a session.
pub(super) struct Session {
    requests: mpsc::Sender<v1::SessionRequest>,
    responses: Streaming<v1::SessionResponse>,
    hello: v1::SessionHello,
    ready: Vec<v1::SessionAnswer>,
}

impl Session {
    pub(super) async fn open(served: &mut Served) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(64);
        let mut responses =
            served.client.session(ReceiverStream::new(receiver)).await?.into_inner();
        let first = responses.message().await?.expect("a session says hello");
        assert_eq!(first.answers, []);
        let hello = first.hello.expect("the first message is the hello");
        Ok(Session { requests, responses, hello, ready: Vec::new() })
    }

    pub(super) async fn send(&self, calls: impl IntoIterator<Item = (u64, Request)>) {
        let call = |(correlation_id, request)| v1::SessionCall {
            correlation_id,
            timeout_ms: 0,
            request: Some(request),
        };
        self.send_calls(calls.into_iter().map(call).collect()).await;
    }

    async fn send_calls(&self, calls: Vec<v1::SessionCall>) {
        self.requests.send(v1::SessionRequest { calls }).await.unwrap();
    }

    /// The next answer to this call, whatever comes before it.
    pub(super) async fn answer(&mut self, number: u64) -> Wire {
        loop {
            let found = self.ready.iter().position(|answer| answer.correlation_id == number);
            if let Some(found) = found {
                return self.ready.remove(found).response.unwrap();
            }
            let message = self.responses.message().await.unwrap().expect("it is answered");
            self.ready.extend(message.answers);
        }
    }

    pub(super) async fn ask(&mut self, number: u64, request: Request) -> Wire {
        self.send([(number, request)]).await;
        self.answer(number).await
    }
}

fn begin_for_update(ids: &[i64], priority: Option<v1::Priority>) -> Request {
    let options = v1::ReadWriteOptions { priority, max_age_ms: 0 };
    let begin = v1::transaction_selector::Selector::Begin(options);
    Request::Read(v1::ReadRequest {
        lock: v1::LockMode::ForUpdate.into(),
        ..read_points(selector(begin), ids)
    })
}

fn commit(id: v1::TransactionId, mutations: Vec<v1::Mutation>) -> Request {
    let transaction = Some(v1::commit_request::Transaction::Id(id));
    Request::Commit(v1::CommitRequest { transaction, mutations })
}

fn kind_of(answer: &Wire) -> ErrorKind {
    match answer {
        Wire::Error(error) => error.detail.as_ref().expect("errors have a detail").kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn transfer_in_a_session_is_two_calls() {
    let mut served = Served::bank(2).await;
    let mut session = Session::open(&mut served).await.unwrap();
    assert_eq!(session.hello.node, 1);
    assert_eq!(session.hello.cluster_id[..], CLUSTER);
    assert_eq!(session.hello.nodes.len(), 1);
    let Wire::Read(chunk) = session.ask(1, begin_for_update(&[2, 1], None)).await else { panic!() };
    assert_eq!(pairs(std::slice::from_ref(&chunk)), [Some((2, 10)), Some((1, 10))]);
    assert!(!chunk.more && chunk.resume_token.is_empty());
    let id = chunk.transaction.expect("the read began a transaction");
    let answer = session.ask(2, commit(id, vec![update([(1, 7), (2, 13)])])).await;
    let Wire::Commit(committed) = answer else { panic!("{answer:?}") };
    assert!(committed.commit_timestamp > 0);
    let Wire::Read(chunk) = session.ask(3, Request::Read(read_points(strong(), &[1, 2]))).await
    else {
        panic!()
    };
    assert_eq!(pairs(&[chunk]), [Some((1, 7)), Some((2, 13))]);
}

#[tokio::test]
async fn calls_of_one_message_are_all_answered_whatever_became_of_each() {
    let mut served = Served::bank(2).await;
    let mut session = Session::open(&mut served).await.unwrap();
    let mut nameless = read_points(strong(), &[1]);
    nameless.table = None;
    let unknown = v1::SessionCall { correlation_id: 3, timeout_ms: 0, request: None };
    let calls = [
        (1, Request::Read(read_points(strong(), &[1]))),
        (2, Request::Read(nameless)),
        (4, Request::ListTables(v1::ListTablesRequest {})),
    ];
    session.send_calls(vec![unknown]).await;
    session.send(calls).await;
    assert_eq!(kind_of(&session.answer(3).await), ErrorKind::Unimplemented);
    let refused = session.answer(2).await;
    assert_eq!(kind_of(&refused), ErrorKind::InvalidRequest);
    assert!(matches!(refused, Wire::Error(error) if error.message.contains("`table`")));
    assert!(matches!(session.answer(1).await, Wire::Read(_)));
    let Wire::ListTables(tables) = session.answer(4).await else { panic!() };
    assert_eq!(tables.tables[0].name, "accounts");
}

#[tokio::test]
async fn lock_wait_ends_with_its_time_and_a_cancelled_call_has_no_answer() {
    let mut served = Served::bank(1).await;
    let mut holder = Session::open(&mut served).await.unwrap();
    let Wire::Read(held) = holder.ask(1, begin_for_update(&[1], None)).await else { panic!() };
    let mut waiter = Session::open(&mut served).await.unwrap();
    let request = Some(begin_for_update(&[1], None));
    let timed = v1::SessionCall { correlation_id: 1, timeout_ms: 1, request };
    waiter.send_calls(vec![timed]).await;
    assert_eq!(kind_of(&waiter.answer(1).await), ErrorKind::DeadlineExceeded);
    waiter.send([(2, begin_for_update(&[1], None)), (2, Request::Cancel(v1::Cancel {}))]).await;
    // The number is free again, and its next answer is not that of the read.
    let answer = waiter.ask(2, Request::ListTables(v1::ListTablesRequest {})).await;
    assert!(matches!(answer, Wire::ListTables(_)), "{answer:?}");
    let id = held.transaction.unwrap();
    let answer = holder.ask(2, commit(id, vec![update([(1, 11)])])).await;
    assert!(matches!(answer, Wire::Commit(_)), "{answer:?}");
    // What the two began when the lock came free was rolled back: nobody holds the row.
    let Wire::Read(read) = holder.ask(3, begin_for_update(&[1], None)).await else { panic!() };
    assert_eq!(pairs(&[read]), [Some((1, 11))]);
    assert_eq!(waiter.ready, []);
}

#[tokio::test]
async fn session_that_ends_releases_its_locks() {
    let mut served = Served::bank(1).await;
    let mut holder = Session::open(&mut served).await.unwrap();
    assert!(matches!(holder.ask(1, begin_for_update(&[1], None)).await, Wire::Read(_)));
    let mut waiter = Session::open(&mut served).await.unwrap();
    waiter.send([(1, begin_for_update(&[1], None))]).await;
    drop(holder);
    assert!(matches!(waiter.answer(1).await, Wire::Read(_)));
}

#[tokio::test]
async fn older_transaction_wounds_and_the_younger_is_told_by_whom() {
    let mut served = Served::bank(1).await;
    let mut older = Session::open(&mut served).await.unwrap();
    let Wire::Begin(begun) = older.ask(1, Request::Begin(begin_read_write())).await else {
        panic!()
    };
    let mut younger = Session::open(&mut served).await.unwrap();
    let Wire::Read(held) = younger.ask(1, begin_for_update(&[1], None)).await else { panic!() };
    let id = begun.transaction.unwrap();
    let in_older = v1::transaction_selector::Selector::Id(id);
    let read = v1::ReadRequest {
        lock: v1::LockMode::ForUpdate.into(),
        ..read_points(selector(in_older), &[1])
    };
    assert!(matches!(older.ask(2, Request::Read(read)).await, Wire::Read(_)));
    let lost = held.transaction.unwrap();
    let Wire::Error(error) = younger.ask(2, commit(lost, vec![update([(1, 0)])])).await else {
        panic!()
    };
    let detail = error.detail.unwrap();
    assert_eq!(detail.kind(), ErrorKind::AbortedWounded);
    assert_eq!(detail.retry(), v1::Retry::Transaction);
    assert_eq!(detail.wounded_by, Some(id));
    // The retry has the first attempt's priority, and waits for its elder.
    let priority = v1::Priority { first: Some(lost), attempt: 2 };
    younger.send([(3, begin_for_update(&[1], Some(priority)))]).await;
    assert!(matches!(older.ask(3, commit(id, vec![update([(1, 5)])])).await, Wire::Commit(_)));
    let Wire::Read(read) = younger.answer(3).await else { panic!() };
    assert_eq!(pairs(&[read]), [Some((1, 5))]);
}

#[tokio::test]
async fn session_that_breaks_the_protocol_ends_with_the_reason() {
    let mut served = Served::bank(1).await;
    for (first, second) in [(0, 0), (7, 7)] {
        let mut session = Session::open(&mut served).await.unwrap();
        let list = |number| (number, Request::ListTables(v1::ListTablesRequest {}));
        session.send([list(first), list(second)]).await;
        let status = loop {
            match session.responses.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended well"),
                Err(status) => break status,
            }
        };
        assert_eq!(Served::kind(&status), ErrorKind::InvalidRequest);
        assert!(status.message().contains("correlation_id"));
    }
}

#[tokio::test]
async fn session_before_init_begins_and_is_told_what_to_do() {
    let mut served = waiting(ServerSettings::default()).await;
    let mut session = Session::open(&mut served).await.unwrap();
    assert_eq!(session.hello.node, 0);
    assert!(session.hello.cluster_id.is_empty());
    let answer = session.ask(1, Request::Begin(begin_read_write())).await;
    assert_eq!(kind_of(&answer), ErrorKind::NotInitialised);
}

#[tokio::test]
async fn sessions_and_calls_above_their_limits_are_refused() {
    let settings =
        ServerSettings { sessions_max: 1, session_calls_max: 1, ..ServerSettings::default() };
    let mut served = waiting(settings).await;
    let mut session = Session::open(&mut served).await.unwrap();
    let refused = Session::open(&mut served).await.err().unwrap();
    assert_eq!(Served::kind(&refused), ErrorKind::Overloaded);
    // Status takes a task of its own, so the first is not answered when the second is taken in.
    let status = |number| (number, Request::Status(v1::StatusRequest { local: true }));
    session.send([status(1), status(2)]).await;
    assert_eq!(kind_of(&session.answer(2).await), ErrorKind::Overloaded);
    assert!(matches!(session.answer(1).await, Wire::Status(_)));
    served.service.stop();
    assert_eq!(kind_of(&session.ask(3, status(3).1).await), ErrorKind::Stopping);
}

#[tokio::test]
async fn message_above_the_limit_is_refused_with_a_detail() {
    let mut served = Served::bank(1).await;
    let text = "x".repeat(crate::server::MESSAGE_BYTES_MAX);
    let large = v1::GetTableRequest { table: Some(v1::TableRef { name: text, id: 0 }) };
    let status = served.client.get_table(large.clone()).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::LimitExceeded);
    let mut session = Session::open(&mut served).await.unwrap();
    session.send([(1, Request::GetTable(large))]).await;
    let status = session.responses.message().await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::LimitExceeded);
}
