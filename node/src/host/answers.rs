//! Who waits for which answer of a core's gateway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::gateway::api::{Answer, Ticket};

/// What is done with an answer; called on the core's thread, so it must be short.
pub type OnAnswer = Box<dyn FnOnce(Answer) + Send>;

/// The waiting of one core.
#[derive(Default)]
pub struct Answers {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<Ticket, OnAnswer>>,
}

impl Answers {
    /// A new ticket, for whose answer `then` waits.
    pub fn wait(&self, then: OnAnswer) -> Ticket {
        let ticket = Ticket(self.next.fetch_add(1, Ordering::Relaxed));
        self.waiting.lock().insert(ticket, then);
        ticket
    }

    /// The answer is here.
    pub fn answer(&self, ticket: Ticket, answer: Answer) {
        let then = self.waiting.lock().remove(&ticket);
        if let Some(then) = then {
            then(answer);
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
