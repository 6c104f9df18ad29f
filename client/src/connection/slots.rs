//! The calls in flight on one connection, by correlation id.
//!
//! A correlation id is a slot's index and the slot's generation, so that an answer that comes after its
//! call was given up finds nobody (T9). Slots and their queues are reused: a call allocates nothing.
//!
//! Not here: time, and the connection itself.

use proto::rpc::v1::{SessionAnswer, session_answer::Response};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// The calls in flight.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    in_flight_max: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    answers: VecDeque<Response>,
    waker: Option<Waker>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    /// Answers are to come, and somebody waits for them.
    Open,
    /// Answers are to come that nobody waits for.
    Detached,
    /// The last answer is here.
    Complete,
    /// The connection broke.
    Broken(WasSent),
}

/// Whether a call had left when its connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WasSent {
    Yes,
    No,
}

/// What there is for a call at the moment.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once; a box would be an allocation for each answer"
)]
pub(super) enum Taken {
    Answer(Response),
    /// Nothing more will come.
    End,
    Broken(WasSent),
}

/// What became of an answer.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once; a box would be an allocation for each answer"
)]
pub(super) enum Delivered {
    /// It has its place; whom to wake.
    Taken(Option<Waker>),
    /// Its call was given up before.
    Unclaimed(Option<Response>),
}

/// How a call stood when its caller let go of it.
#[derive(Debug)]
pub(super) struct Closed {
    /// The server still works on it.
    pub(super) unanswered: bool,
    /// The first answer that the caller did not take.
    pub(super) leftover: Option<Response>,
}

impl Slots {
    pub(super) fn new(in_flight_max: usize) -> Self {
        assert!(u32::try_from(in_flight_max).is_ok(), "in_flight_max must fit a slot's index");
        Slots { slots: Vec::new(), free: Vec::new(), in_flight_max }
    }

    /// How many calls are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A correlation id for a call that somebody waits for; `None` when too many are in flight.
    pub(super) fn open(&mut self) -> Option<u64> {
        self.take(State::Open)
    }

    /// A correlation id for a call whose answers are dropped.
    pub(super) fn open_detached(&mut self) -> Option<u64> {
        self.take(State::Detached)
    }

    fn take(&mut self, state: State) -> Option<u64> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.in_flight_max => {
                self.slots.push(Slot::default());
                u32::try_from(self.slots.len() - 1).expect("in_flight_max fits, see new")
            }
            None => return None,
        };
        let slot = &mut self.slots[index as usize];
        assert!(slot.state == State::Free, "slot {index} was handed out twice");
        // Never 0, so that no correlation id is.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        slot.state = state;
        Some(u64::from(slot.generation) << 32 | u64::from(index))
    }

    fn find(&mut self, id: u64) -> Option<(u32, &mut Slot)> {
        let index = u32::try_from(id & u64::from(u32::MAX)).expect("masked to 32 bits");
        let slot = self.slots.get_mut(index as usize)?;
        let is_it = u64::from(slot.generation) == id >> 32 && slot.state != State::Free;
        is_it.then_some((index, slot))
    }

    /// Hands an answer to its call.
    pub(super) fn deliver(&mut self, answer: SessionAnswer) -> Delivered {
        let Some((index, slot)) = self.find(answer.correlation_id) else {
            return Delivered::Unclaimed(answer.response);
        };
        match slot.state {
            State::Open => {
                slot.answers.extend(answer.response);
                if !answer.more_follow {
                    slot.state = State::Complete;
                }
                Delivered::Taken(slot.waker.take())
            }
            State::Detached => {
                if !answer.more_follow {
                    self.release(index);
                }
                Delivered::Taken(None)
            }
            State::Free | State::Complete | State::Broken(_) => {
                Delivered::Unclaimed(answer.response)
            }
        }
    }

    /// What has come for a call; registers its waker when nothing has.
    pub(super) fn poll_take(&mut self, id: u64, cx: &mut Context<'_>) -> Poll<Taken> {
        let Some((_, slot)) = self.find(id) else { return Poll::Ready(Taken::End) };
        if let Some(answer) = slot.answers.pop_front() {
            return Poll::Ready(Taken::Answer(answer));
        }
        match slot.state {
            State::Complete => Poll::Ready(Taken::End),
            State::Broken(was_sent) => Poll::Ready(Taken::Broken(was_sent)),
            State::Open | State::Detached | State::Free => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The call is over for its caller.
    pub(super) fn close(&mut self, id: u64) -> Closed {
        let Some((index, slot)) = self.find(id) else {
            return Closed { unanswered: false, leftover: None };
        };
        let unanswered = slot.state == State::Open;
        let leftover = slot.answers.pop_front();
        self.release(index);
        Closed { unanswered, leftover }
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.state = State::Free;
        slot.answers.clear();
        slot.waker = None;
        self.free.push(index);
    }

    /// The connection broke: no answer comes any more. Returns whom to wake.
    pub(super) fn break_all(&mut self, not_sent: impl Fn(u64) -> bool) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.state == State::Open {
                let id = u64::from(slot.generation) << 32 | index as u64;
                let was_sent = if not_sent(id) { WasSent::No } else { WasSent::Yes };
                slot.state = State::Broken(was_sent);
                wakers.extend(slot.waker.take());
            }
        }
        wakers
    }
}

#[cfg(test)]
mod tests {
    use super::{Delivered, Slots, Taken, WasSent};
    use proto::rpc::v1::{RollbackResponse, SessionAnswer, session_answer::Response};
    use std::task::{Context, Poll, Waker};

    fn answer(id: u64, more_follow: bool) -> SessionAnswer {
        let response = Some(Response::Rollback(RollbackResponse {}));
        SessionAnswer { correlation_id: id, more_follow, response }
    }

    fn take(slots: &mut Slots, id: u64) -> Poll<Taken> {
        slots.poll_take(id, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn answers_out_of_order_reach_their_own_calls() {
        let mut slots = Slots::new(4);
        let (a, b) = (slots.open().unwrap(), slots.open().unwrap());
        slots.deliver(answer(b, false));
        assert!(take(&mut slots, a).is_pending());
        assert!(matches!(take(&mut slots, b), Poll::Ready(Taken::Answer(_))));
        assert!(matches!(take(&mut slots, b), Poll::Ready(Taken::End)));
    }

    #[test]
    fn late_answer_to_a_closed_call_does_not_reach_the_next_user_of_its_slot() {
        let mut slots = Slots::new(1);
        let old = slots.open().unwrap();
        assert!(slots.close(old).unanswered, "the server still works on it");
        let new = slots.open().unwrap();
        assert_ne!(old, new);
        let delivered = slots.deliver(answer(old, false));
        assert!(matches!(delivered, Delivered::Unclaimed(Some(_))));
        assert!(take(&mut slots, new).is_pending());
    }

    #[test]
    fn call_above_the_limit_is_refused_until_one_ends() {
        let mut slots = Slots::new(1);
        let first = slots.open().unwrap();
        assert_eq!(slots.open(), None);
        slots.deliver(answer(first, false));
        assert!(!slots.close(first).unanswered);
        assert!(slots.open().is_some());
    }

    #[test]
    fn detached_call_frees_its_slot_with_its_last_answer() {
        let mut slots = Slots::new(1);
        let id = slots.open_detached().unwrap();
        slots.deliver(answer(id, true));
        assert_eq!(slots.in_flight(), 1);
        slots.deliver(answer(id, false));
        assert_eq!(slots.in_flight(), 0);
    }

    #[test]
    fn broken_connection_tells_sent_calls_from_unsent_ones() {
        let mut slots = Slots::new(4);
        let (sent, unsent) = (slots.open().unwrap(), slots.open().unwrap());
        slots.break_all(|id| id == unsent);
        assert!(matches!(take(&mut slots, sent), Poll::Ready(Taken::Broken(WasSent::Yes))));
        assert!(matches!(take(&mut slots, unsent), Poll::Ready(Taken::Broken(WasSent::No))));
    }

    #[test]
    fn answer_that_came_before_the_break_is_still_taken() {
        let mut slots = Slots::new(4);
        let id = slots.open().unwrap();
        slots.deliver(answer(id, false));
        slots.break_all(|_| false);
        assert!(matches!(take(&mut slots, id), Poll::Ready(Taken::Answer(_))));
        assert!(matches!(take(&mut slots, id), Poll::Ready(Taken::End)));
    }
}
