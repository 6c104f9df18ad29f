//! The retrying loop around a closure.
//!
//! An aborted attempt is run again, with the priority of the first one and an attempt number one higher for
//! each begin that was sent: the begin whose answer was lost may hold locks, and the next attempt has to count
//! as older than it. An attempt whose outcome is unknown is never run again.

use crate::backoff::Backoff;
use crate::client::Client;
use crate::commit::Verdict;
use crate::error::ClientError;
use crate::mutation::Mutations;
use crate::observe::{Attempt, AttemptEnd, Commit, Observe};
use crate::transaction::{Leftover, Transaction};
use proto::{NodeId, Priority, TxnId};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long to wait at least when a node or shard is gone, rather than a lock taken.
const UNAVAILABLE_WAIT: Duration = Duration::from_millis(20);

/// Settings of one `run` or `apply`.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// After this long an attempt can no longer commit; zero for the server's default.
    pub max_age: Duration,
    /// Told of each attempt.
    pub observer: Option<Arc<dyn Observe>>,
}

/// A transaction that committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the closure returned.
    pub value: T,
    /// The commit.
    pub commit: Commit,
    /// The attempt that committed; `None` when there was nothing to commit.
    pub id: Option<TxnId>,
    /// How many attempts it took.
    pub attempts: u32,
}

/// Rolls back when the closure's future is dropped half way.
struct Running(Transaction);

impl Drop for Running {
    fn drop(&mut self) {
        roll_back(&self.0.end());
    }
}

fn roll_back(leftover: &Leftover) {
    if let Some(begun) = &leftover.begun {
        begun.connection.roll_back(begun.id);
    }
}

/// What the attempts of one transaction have in common.
struct Attempts {
    options: RunOptions,
    number: u32,
    attempts_max: u32,
    /// When the first of the latest attempts began that found the cluster not available.
    unavailable_since: Option<Instant>,
    begun: Instant,
    priority: Option<Priority>,
    backoff: Backoff,
}

/// Which attempt it was.
#[derive(Clone, Copy, Default)]
struct Who {
    id: Option<TxnId>,
    /// `None` when no begin was sent.
    priority: Option<Priority>,
    gateway: Option<NodeId>,
}

impl Who {
    fn of(leftover: &Leftover) -> Self {
        let begun = leftover.begun.as_ref();
        Who {
            id: begun.map(|begun| begun.id),
            priority: leftover.priority,
            gateway: begun.and_then(|begun| begun.connection.node()),
        }
    }
}

impl Attempts {
    fn new(client: &Client, options: RunOptions) -> Self {
        let config = client.config();
        Attempts {
            options,
            number: 0,
            attempts_max: config.attempts_max.max(1),
            unavailable_since: None,
            begun: Instant::now(),
            priority: None,
            backoff: Backoff::new(Duration::from_millis(1), config.backoff_max),
        }
    }

    /// Starts another attempt; its priority, unless no attempt has one yet.
    fn next(&mut self) -> Option<Priority> {
        self.number += 1;
        self.begun = Instant::now();
        self.priority.map(Priority::retry)
    }

    fn observe(&self, who: Who, end: AttemptEnd) {
        if let Some(observer) = &self.options.observer {
            let Who { id, priority, gateway } = who;
            observer.attempt_ended(Attempt { number: self.number, id, priority, gateway, end });
        }
    }

    /// The attempt has ended: its commit, or what to do next.
    fn ended(&mut self, client: &Client, who: Who, verdict: Verdict) -> Result<Commit, Next> {
        match verdict {
            Verdict::Committed(commit) => {
                self.observe(who, AttemptEnd::Committed(commit));
                Ok(commit)
            }
            Verdict::Failed(error) => {
                self.observe(who, AttemptEnd::Failed(Some(error.clone())));
                Err(Next::GiveUp(error))
            }
            Verdict::Unknown(error) => {
                self.observe(who, AttemptEnd::OutcomeUnknown(error.clone()));
                Err(Next::GiveUp(error))
            }
            Verdict::Aborted(error) => Err(self.aborted(client, who, error)),
        }
    }

    /// The attempt is aborted for certain.
    fn aborted(&mut self, client: &Client, who: Who, error: ClientError) -> Next {
        self.observe(who, AttemptEnd::Aborted(error.clone()));
        // Counted only once a begin was sent; else the next attempt has the same number.
        self.priority = who.priority.or(self.priority);
        let at_least = match &error {
            // Also when a shortage aborted it: then as long as others that lasted.
            ClientError::Aborted(refusal) if !refusal.is_shortage() => {
                self.unavailable_since = None;
                Duration::ZERO
            }
            _ => {
                self.unavailable_since.get_or_insert(self.begun);
                UNAVAILABLE_WAIT
            }
        };
        let unavailable = self.unavailable_since.map(|since| since.elapsed());
        let no_hope = unavailable.is_some_and(|time| time >= client.config().unavailable_max);
        if no_hope || self.number >= self.attempts_max {
            let (attempts, last) = (self.number, Box::new(error));
            return Next::GiveUp(ClientError::RetriesExhausted { attempts, last });
        }
        Next::RetryAfter(self.backoff.next(client.pool().jitter(), at_least))
    }
}

enum Next {
    GiveUp(ClientError),
    RetryAfter(Duration),
}

impl Client {
    /// Runs `body` as a read-write transaction and commits its writes; see [`Client::run_with`].
    pub async fn run<T, E, F, Fut>(&self, body: F) -> Result<Committed<T>, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<ClientError>,
    {
        self.run_with(RunOptions::default(), body).await
    }

    /// Runs `body` as a read-write transaction. It is run again when the transaction was aborted, so it must
    /// have no effects of its own. An error of its own ends the transaction without a commit and is returned.
    /// [`ClientError::OutcomeUnknown`] is returned when the transaction may have committed.
    pub async fn run_with<T, E, F, Fut>(
        &self,
        options: RunOptions,
        mut body: F,
    ) -> Result<Committed<T>, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<ClientError>,
    {
        let mut attempts = Attempts::new(self, options);
        loop {
            let priority = attempts.next();
            let running =
                Running(Transaction::new(self.clone(), priority, attempts.options.max_age));
            let result = body(running.0.clone()).await;
            let mut leftover = running.0.end();
            let who = Who::of(&leftover);
            let next = match (leftover.failed.take(), result) {
                (Some(error), _) => {
                    roll_back(&leftover);
                    attempts.aborted(self, who, error)
                }
                (None, Err(error)) => {
                    roll_back(&leftover);
                    attempts.observe(who, AttemptEnd::Failed(None));
                    return Err(error);
                }
                (None, Ok(value)) => {
                    let (who, verdict) = self.finish(who, &leftover, &attempts, priority).await;
                    match attempts.ended(self, who, verdict) {
                        Ok(commit) => {
                            let (id, attempts) = (who.id, attempts.number);
                            return Ok(Committed { value, commit, id, attempts });
                        }
                        Err(next) => next,
                    }
                }
            };
            match next {
                Next::GiveUp(error) => return Err(error.into()),
                Next::RetryAfter(wait) => sleep(wait).await,
            }
        }
    }

    /// Commits writes that depend on no read, as one transaction of one request. Exactly once, unless the
    /// error is [`ClientError::OutcomeUnknown`].
    pub async fn apply(&self, mutations: &Mutations) -> Result<Committed<()>, ClientError> {
        self.apply_with(RunOptions::default(), mutations).await
    }

    /// Like [`Client::apply`], with settings.
    pub async fn apply_with(
        &self,
        options: RunOptions,
        mutations: &Mutations,
    ) -> Result<Committed<()>, ClientError> {
        let mut attempts = Attempts::new(self, options);
        loop {
            let priority = attempts.next();
            let (who, verdict) = self.commit_writes(mutations, &attempts, priority).await;
            match attempts.ended(self, who, verdict) {
                Ok(commit) => {
                    let (id, attempts) = (who.id, attempts.number);
                    return Ok(Committed { value: (), commit, id, attempts });
                }
                Err(Next::GiveUp(error)) => return Err(error),
                Err(Next::RetryAfter(wait)) => sleep(wait).await,
            }
        }
    }

    /// Commits what the closure has left.
    async fn finish(
        &self,
        who: Who,
        leftover: &Leftover,
        attempts: &Attempts,
        priority: Option<Priority>,
    ) -> (Who, Verdict) {
        match &leftover.begun {
            Some(begun) => (who, self.commit_begun(begun, &leftover.mutations).await),
            None => self.commit_writes(&leftover.mutations, attempts, priority).await,
        }
    }

    /// Commits writes without a begin.
    async fn commit_writes(
        &self,
        mutations: &Mutations,
        attempts: &Attempts,
        priority: Option<Priority>,
    ) -> (Who, Verdict) {
        if mutations.is_empty() {
            return (Who::default(), Verdict::Committed(Commit::NOTHING));
        }
        let prepared = self.prepare_single_use(mutations, attempts.options.max_age).await;
        let (resolved, request, leader) = match prepared {
            Ok(prepared) => prepared,
            Err(verdict) => return (Who::default(), verdict),
        };
        let id = resolved.id;
        let priority = priority.unwrap_or_else(|| Priority::first(id));
        let (gateway, verdict) = self.commit_single_use(&resolved, request, priority, leader).await;
        let verdict = self.forget_stale(mutations, verdict);
        (Who { id: Some(id), priority: Some(priority), gateway }, verdict)
    }
}
