//! One session stream to one node.
//!
//! ```text
//! call() --> outbox --(all that is ready, one message)--> node
//!   ^                                                       |
//!   +------ slot of the correlation id <----(answers)-------+
//! ```
//!
//! A connection that breaks fails each of its calls with what is known: never sent, or sent and lost. It does
//! not come back; the pool opens another one.
//!
//! Not here: choosing a node, repeating a request.

mod outbox;
mod slots;

pub use outbox::Outbox;

use crate::error::{CallError, Refusal};
use parking_lot::Mutex;
use prost::Message;
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{
    Cancel, KeepAliveRequest, NodeAddress, RollbackRequest, SessionCall, SessionResponse,
};
use proto::{NodeId, TxnId};
use slots::{Delivered, Slots, Taken, WasSent};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_stream::{Stream, StreamExt};

/// The answers of one session.
pub type Inbound = Pin<Box<dyn Stream<Item = Result<SessionResponse, tonic::Status>> + Send>>;

/// The largest call that is sent, with what frames it: a node takes messages of 16 MiB, and one above that ends
/// the stream under all other calls on it.
const CALL_BYTES_MAX: usize = (16 << 20) - 16;

/// Used when a node does not tell its own.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// One session stream. Dropping the last handle closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Arc<str>,
    node: Option<NodeId>,
    nodes: Vec<NodeAddress>,
    /// How many SQL sessions were numbered.
    sql_sessions: AtomicU32,
    state: Arc<Mutex<State>>,
}

/// What the callers, the sender and the reader of a connection share.
#[derive(Debug)]
struct State {
    slots: Slots,
    /// In the order of sending.
    outbox: Vec<SessionCall>,
    /// The transport, when it waits for something to send.
    sender: Option<Waker>,
    /// Open transactions that began here, with the number of keep-alive rounds they have seen.
    open: BTreeMap<TxnId, Rounds>,
    life: Life,
}

/// How many keep-alive rounds a transaction has seen, as far as it matters: most end before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounds {
    None,
    Some,
}

#[derive(Clone, Debug)]
enum Life {
    Live,
    /// Nobody uses it any more.
    Closed,
    Broken(String),
}

impl State {
    fn is_closed(&self) -> bool {
        match self.life {
            Life::Live => false,
            Life::Closed | Life::Broken(_) => true,
        }
    }

    fn broken_because(&self) -> String {
        match &self.life {
            Life::Broken(reason) => reason.clone(),
            Life::Live | Life::Closed => "closed".to_owned(),
        }
    }

    fn push(&mut self, call: SessionCall) -> Option<Waker> {
        self.outbox.push(call);
        self.sender.take()
    }

    /// Sends what nobody waits for; drops it when the stream is full or gone.
    fn push_detached(&mut self, request: Request) -> Option<Waker> {
        if self.is_closed() {
            return None;
        }
        let correlation_id = self.slots.open_detached()?;
        self.push(SessionCall { correlation_id, timeout_ms: 0, request: Some(request) })
    }

    /// Rolls back what an answer that nobody took had begun.
    fn disown(&mut self, response: &Response) -> Option<Waker> {
        let transaction = match response {
            Response::Read(read) => read.transaction?,
            Response::Begin(begin) => begin.transaction?,
            // No other answer begins anything.
            _ => return None,
        };
        self.push_detached(Request::Rollback(RollbackRequest { transaction: Some(transaction) }))
    }

    fn end(&mut self, life: Life) -> Vec<Waker> {
        if self.is_closed() {
            return Vec::new();
        }
        self.life = life;
        let unsent: std::collections::BTreeSet<u64> =
            self.outbox.iter().map(|call| call.correlation_id).collect();
        self.outbox.clear();
        self.open.clear();
        let mut wakers = self.slots.break_all(|id| unsent.contains(&id));
        wakers.extend(self.sender.take());
        wakers
    }
}

/// A stream whose first message has not come yet.
pub(crate) struct Opening {
    state: Arc<Mutex<State>>,
}

impl Opening {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Opening {
            state: Arc::new(Mutex::new(State {
                slots: Slots::new(in_flight_max),
                outbox: Vec::new(),
                sender: None,
                open: BTreeMap::new(),
                life: Life::Live,
            })),
        }
    }

    /// What the transport sends from.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox { state: Arc::clone(&self.state) }
    }

    /// Waits for the node's hello. The handle returned ends when the connection is broken.
    pub(crate) async fn greet(
        self,
        address: &str,
        mut inbound: Inbound,
    ) -> Result<(Arc<Connection>, JoinHandle<()>), String> {
        let first = match inbound.next().await {
            Some(Ok(message)) => message,
            Some(Err(status)) => return Err(status.message().to_owned()),
            None => return Err("the node closed the session at once".to_owned()),
        };
        let Some(hello) = first.hello else {
            return Err("the node's first message is not a hello".to_owned());
        };
        let idle_timeout = match hello.idle_timeout_ms {
            0 => IDLE_TIMEOUT,
            millis => Duration::from_millis(millis.into()),
        };
        let connection = Arc::new(Connection {
            address: address.into(),
            node: (hello.node != 0).then_some(NodeId(hello.node)),
            nodes: hello.nodes,
            sql_sessions: AtomicU32::new(0),
            state: Arc::clone(&self.state),
        });
        let reader = tokio::spawn(read(self.state, inbound, idle_timeout / 4));
        Ok((connection, reader))
    }
}

/// Hands out answers, and keeps transactions alive, until the stream ends.
async fn read(state: Arc<Mutex<State>>, mut inbound: Inbound, keep_alive_interval: Duration) {
    let mut keep_alive = interval(keep_alive_interval);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wakers = Vec::new();
    let reason = loop {
        let message = tokio::select! {
            message = inbound.next() => message,
            _ = keep_alive.tick() => {
                if state.lock().is_closed() {
                    return;
                }
                send_keep_alives(&state);
                continue;
            }
        };
        match message {
            Some(Ok(message)) => {
                let mut state = state.lock();
                for answer in message.answers {
                    match state.slots.deliver(answer) {
                        Delivered::Taken(waker) => wakers.extend(waker),
                        Delivered::Unclaimed(response) => {
                            wakers.extend(response.and_then(|r| state.disown(&r)));
                        }
                    }
                }
            }
            Some(Err(status)) => break status.message().to_owned(),
            None => break "the node ended the session".to_owned(),
        }
        wakers.drain(..).for_each(Waker::wake);
    };
    let wakers = state.lock().end(Life::Broken(reason));
    wakers.into_iter().for_each(Waker::wake);
}

fn send_keep_alives(state: &Mutex<State>) {
    let mut state = state.lock();
    let mut transactions = Vec::new();
    for (id, rounds) in &mut state.open {
        match rounds {
            Rounds::None => *rounds = Rounds::Some,
            Rounds::Some => transactions.push((*id).into()),
        }
    }
    if transactions.is_empty() {
        return;
    }
    let waker = state.push_detached(Request::KeepAlive(KeepAliveRequest { transactions }));
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}

impl Connection {
    /// The node at the other end, once it belongs to a cluster.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// All nodes, as the one at the other end told.
    pub(crate) fn nodes(&self) -> &[NodeAddress] {
        &self.nodes
    }

    /// Where the node is, as it was dialled.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A number for a SQL session that no other one of this stream has.
    pub(crate) fn next_sql_session(&self) -> u32 {
        // Wraps after 2^32 sessions of one stream; then 0, which means none, is left out.
        match self.sql_sessions.fetch_add(1, Ordering::Relaxed).wrapping_add(1) {
            0 => self.sql_sessions.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
            number => number,
        }
    }

    /// How a call fails that is made when the stream is broken.
    pub(crate) fn not_sent(&self) -> CallError {
        let reason = self.state.lock().broken_because();
        CallError::NotSent { address: self.address.to_string(), reason }
    }

    /// Sends what nobody waits for the answer of.
    pub(crate) fn send_detached(&self, request: Request) {
        let waker = self.state.lock().push_detached(request);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether calls can still be made.
    pub(crate) fn is_live(&self) -> bool {
        !self.state.lock().is_closed()
    }

    /// Starts a call, to be answered within `timeout`.
    pub(crate) fn call(
        self: &Arc<Self>,
        request: Request,
        timeout: Duration,
    ) -> Result<Call, CallError> {
        let mut call =
            SessionCall { correlation_id: u64::MAX, timeout_ms: u32::MAX, request: Some(request) };
        let bytes = call.encoded_len();
        if bytes > CALL_BYTES_MAX {
            return Err(CallError::TooLarge { bytes, bytes_max: CALL_BYTES_MAX });
        }
        let mut state = self.state.lock();
        if let Life::Broken(reason) = &state.life {
            let (address, reason) = (self.address.to_string(), reason.clone());
            return Err(CallError::NotSent { address, reason });
        }
        let Some(id) = state.slots.open() else {
            let in_flight_max = state.slots.in_flight();
            return Err(CallError::TooManyInFlight { in_flight_max });
        };
        call.correlation_id = id;
        call.timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let waker = state.push(call);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        let deadline = Instant::now() + timeout;
        Ok(Call { connection: Arc::clone(self), id, timeout, deadline })
    }

    /// From now on the transaction is kept alive.
    pub(crate) fn transaction_began(&self, id: TxnId) {
        self.state.lock().open.insert(id, Rounds::None);
    }

    /// From now on it is not.
    pub(crate) fn transaction_ended(&self, id: TxnId) {
        self.state.lock().open.remove(&id);
    }

    /// Ends a transaction without waiting for the answer.
    pub(crate) fn roll_back(&self, id: TxnId) {
        let mut state = self.state.lock();
        state.open.remove(&id);
        let request = RollbackRequest { transaction: Some(id.into()) };
        let waker = state.push_detached(Request::Rollback(request));
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let wakers = self.state.lock().end(Life::Closed);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A call in flight. Dropped before its last answer, it is withdrawn.
#[derive(Debug)]
pub(crate) struct Call {
    connection: Arc<Connection>,
    id: u64,
    timeout: Duration,
    deadline: Instant,
}

impl Call {
    /// The next answer; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Response>, CallError> {
        let taken = poll_fn(|cx| self.connection.state.lock().slots.poll_take(self.id, cx));
        let address = || self.connection.address.to_string();
        match timeout_at(self.deadline, taken).await {
            Ok(Taken::Answer(Response::Error(error))) => {
                Err(CallError::Refused(Box::new(Refusal::from(error))))
            }
            Ok(Taken::Answer(response)) => Ok(Some(response)),
            Ok(Taken::End) => Ok(None),
            Ok(Taken::Broken(was_sent)) => {
                let (address, reason) = (address(), self.broken_because());
                Err(match was_sent {
                    WasSent::Yes => CallError::Lost { address, reason },
                    WasSent::No => CallError::NotSent { address, reason },
                })
            }
            Err(_) => Err(CallError::Deadline { address: address(), timeout: self.timeout }),
        }
    }

    /// The only answer.
    pub(crate) async fn only(mut self) -> Result<Response, CallError> {
        self.next().await?.ok_or(CallError::Protocol { reason: "an answer is empty" })
    }

    fn broken_because(&self) -> String {
        self.connection.state.lock().broken_because()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.connection.state.lock();
        let closed = state.slots.close(self.id);
        let mut waker = closed.leftover.and_then(|response| state.disown(&response));
        if closed.unanswered {
            // One that has not left yet needs no cancelling.
            let before = state.outbox.len();
            state.outbox.retain(|call| call.correlation_id != self.id);
            if state.outbox.len() == before {
                let request = Some(Request::Cancel(Cancel {}));
                let cancel = SessionCall { correlation_id: self.id, timeout_ms: 0, request };
                waker = waker.or(state.push(cancel));
            }
        }
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}
