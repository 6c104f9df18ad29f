//! What waits to be sent on one connection: a stream of messages, each with all calls that were ready.

use super::State;
use parking_lot::Mutex;
use prost::Message;
use proto::rpc::v1::{SessionCall, SessionRequest};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_stream::Stream;

/// Calls of one message together stay below this, unless one alone is larger. Far below the servers' limit
/// for one message, and large enough that small calls are not what fills it.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The requests of one session, as the transport takes them. Ends when its connection is closed.
#[derive(Debug)]
pub struct Outbox {
    pub(super) state: Arc<Mutex<State>>,
}

impl Stream for Outbox {
    type Item = SessionRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionRequest>> {
        let mut state = self.state.lock();
        if state.outbox.is_empty() {
            if state.is_closed() {
                return Poll::Ready(None);
            }
            state.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = calls_that_fit(&state.outbox);
        let rest = state.outbox.split_off(count);
        Poll::Ready(Some(SessionRequest { calls: std::mem::replace(&mut state.outbox, rest) }))
    }
}

/// How many of the calls go into one message: at least one.
fn calls_that_fit(calls: &[SessionCall]) -> usize {
    if calls.len() == 1 {
        return 1;
    }
    let mut bytes = 0;
    let fit = calls.iter().take_while(|call| {
        bytes += call.encoded_len();
        bytes <= MESSAGE_BYTES_MAX
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE_BYTES_MAX, calls_that_fit};
    use proto::rpc::v1::{CommitRequest, Delete, Mutation, RowKey, SessionCall};
    use proto::rpc::v1::{mutation::Operation, session_call::Request};

    fn call(bytes: usize) -> SessionCall {
        let key = RowKey::from("x".repeat(bytes));
        let delete = Delete { table: None, keys: vec![key] };
        let mutations = vec![Mutation { operation: Some(Operation::Delete(delete)) }];
        let commit = CommitRequest { transaction: None, mutations };
        SessionCall { correlation_id: 1, timeout_ms: 0, request: Some(Request::Commit(commit)) }
    }

    #[test]
    fn small_calls_share_one_message() {
        assert_eq!(calls_that_fit(&[call(10), call(10), call(10)]), 3);
    }

    #[test]
    fn large_calls_go_alone_and_first() {
        let half = MESSAGE_BYTES_MAX / 2;
        assert_eq!(calls_that_fit(&[call(half), call(half), call(1)]), 1);
        assert_eq!(calls_that_fit(&[call(MESSAGE_BYTES_MAX), call(1)]), 1);
    }
}
