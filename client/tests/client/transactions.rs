//! Read-write transactions against scripted nodes: retries, priorities, and outcomes that are never guessed.

use crate::support::{
    COORDINATOR_KEY, Cluster, Reaction, break_session, id, refuse, refuse_kind, selector,
};
use client::{
    Attempt, AttemptEnd, Client, ClientError, Committed, Config, ErrorKind, LockMode, Mutations,
    Outcome, Row, RunOptions, Transaction,
};
use proto::TxnId;
use proto::rpc::v1;
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::transaction_selector::Selector;
use proto::rpc::v1::{ErrorDetail, LookupOutcomeResponse, Retry};
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use truetime::Timestamp;

/// Reads two rows for update and writes both; counts how often it ran.
async fn transfer(client: &Client, runs: &AtomicU32) -> Result<Committed<()>, ClientError> {
    client
        .run(|transaction| async move {
            runs.fetch_add(1, Ordering::Relaxed);
            transfer_once(&transaction).await
        })
        .await
}

async fn transfer_once(transaction: &Transaction) -> Result<(), ClientError> {
    let keys = vec![1.into(), 2.into()];
    let rows = transaction.get_many("accounts", keys, &["balance"], LockMode::ForUpdate).await?;
    let [from, to] = [rows[0].get::<i64>(0)?, rows[1].get::<i64>(0)?];
    transaction.update("accounts", &["id", "balance"], vec![1.into(), (from - 1).into()]);
    transaction.update("accounts", &["id", "balance"], vec![2.into(), (to + 1).into()]);
    Ok(())
}

fn outcome(outcome: Outcome, nanos: u64) -> Reaction {
    let answer = LookupOutcomeResponse { outcome: outcome.into(), commit_timestamp: nanos };
    Reaction::Answer(vec![Response::LookupOutcome(answer)])
}

/// The priorities that the reads that begin had: the first id's sequence and the attempt number.
fn priorities(cluster: &Cluster) -> Vec<Option<(u64, u32)>> {
    cluster.calls(|_, call| match call {
        Request::Read(read) => match selector(read) {
            Some(Selector::Begin(begin)) => Some(begin.priority.map(|priority| {
                (priority.first.map_or(0, |first| first.sequence), priority.attempt)
            })),
            _ => None,
        },
        _ => None,
    })
}

fn lookups(cluster: &Cluster) -> Vec<(u64, TxnId, Vec<u8>)> {
    cluster.calls(|node, call| match call {
        Request::LookupOutcome(lookup) => {
            let id = lookup.transaction.unwrap().into();
            Some((node, id, lookup.coordinator_key.to_vec()))
        }
        _ => None,
    })
}

fn rollbacks(cluster: &Cluster) -> Vec<TxnId> {
    cluster.calls(|_, call| match call {
        Request::Rollback(rollback) => Some(rollback.transaction.unwrap().into()),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn transfer_takes_one_read_and_one_commit() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    client.get_table("accounts").await.unwrap();
    let messages = cluster.messages();
    let runs = AtomicU32::new(0);
    let committed = transfer(&client, &runs).await.unwrap();
    assert_eq!(cluster.messages() - messages, 2);
    assert_eq!(committed.commit.timestamp, Some(Timestamp::from_nanos(9_000)));
    assert_eq!(committed.commit.commit_wait, Some(Duration::from_nanos(17)));
    assert_eq!(committed.commit.participants, Some(2));
    assert_eq!((committed.attempts, committed.id), (1, Some(id(1).into())));
    let rows = cluster.calls(|_, call| match call {
        Request::Commit(commit) => Some(commit.mutations.len()),
        _ => None,
    });
    assert_eq!(rows, [1], "both rows travel in one mutation");
}

#[tokio::test(start_paused = true)]
async fn aborted_commit_is_retried_with_the_first_priority_and_a_higher_attempt() {
    let mut commits = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits < 2 => {
            commits += 1;
            refuse_kind(ErrorKind::AbortedWounded)
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    let committed = transfer(&client, &runs).await.unwrap();
    assert_eq!((committed.attempts, runs.into_inner()), (3, 3));
    assert_eq!(priorities(&cluster), [None, Some((1, 2)), Some((1, 3))]);
}

#[tokio::test(start_paused = true)]
async fn begin_that_was_wounded_gives_its_id_as_priority_to_the_retry() {
    let mut reads = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Read(_) if reads == 0 => {
            reads += 1;
            let transaction = Some(id(55));
            refuse(ErrorDetail { transaction, ..ErrorDetail::of(ErrorKind::AbortedWounded) })
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    transfer(&client, &AtomicU32::new(0)).await.unwrap();
    assert_eq!(priorities(&cluster), [None, Some((55, 2))]);
}

#[tokio::test(start_paused = true)]
async fn begin_whose_answer_was_lost_is_counted_as_an_attempt() {
    // The first attempt is wounded at its commit, the second one's begin is lost.
    let (mut reads, mut commits) = (0, 0);
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits == 0 => {
            commits += 1;
            refuse_kind(ErrorKind::AbortedWounded)
        }
        Request::Read(_) => {
            reads += 1;
            if reads == 2 { break_session() } else { Reaction::Usual }
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    transfer(&client, &AtomicU32::new(0)).await.unwrap();
    assert_eq!(priorities(&cluster), [None, Some((1, 2)), Some((1, 3))]);
}

#[tokio::test(start_paused = true)]
async fn error_that_a_retry_does_not_cure_is_returned_at_once() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Commit(_) => refuse_kind(ErrorKind::RowNotFound),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    let error = transfer(&client, &runs).await.unwrap_err();
    assert_eq!(error.refusal().map(|refusal| refusal.kind), Some(ErrorKind::RowNotFound));
    assert!(!error.is_retryable());
    assert_eq!(runs.into_inner(), 1);
}

#[tokio::test(start_paused = true)]
async fn abort_that_the_closure_hides_is_retried_all_the_same() {
    let mut reads = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Read(_) if reads == 0 => {
            reads += 1;
            refuse_kind(ErrorKind::AbortedLocksLost)
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let committed: Committed<Option<Row>> = client
        .run(|transaction| async move {
            let row = transaction.get("accounts", 1, &["balance"]).await.ok().flatten();
            Ok::<_, ClientError>(row)
        })
        .await
        .unwrap();
    assert_eq!(committed.attempts, 2);
    assert!(committed.value.is_some());
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Commit(_) => refuse_kind(ErrorKind::AbortedWounded),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    let error = transfer(&client, &runs).await.unwrap_err();
    assert!(matches!(error, ClientError::RetriesExhausted { attempts: 100, .. }), "{error}");
    assert_eq!(runs.into_inner(), 100);
}

#[tokio::test(start_paused = true)]
async fn unavailable_cluster_ends_a_run_in_time() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Read(_) => refuse_kind(ErrorKind::Unavailable),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let begun = tokio::time::Instant::now();
    let error = transfer(&client, &AtomicU32::new(0)).await.unwrap_err();
    assert!(matches!(error, ClientError::RetriesExhausted { .. }), "{error}");
    let (took, unavailable_max) = (begun.elapsed(), Config::default().unavailable_max);
    assert!(took >= unavailable_max, "an election takes time: {took:?}");
    assert!(took < unavailable_max * 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn shortage_that_aborts_every_commit_ends_a_run_in_time() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Commit(_) => {
            let retry = Retry::Transaction.into();
            refuse(ErrorDetail { retry, ..ErrorDetail::of(ErrorKind::Overloaded) })
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let begins = Mutex::new(Vec::new());
    let result = client.run(|transaction| {
        begins.lock().unwrap().push(Instant::now());
        async move { transfer_once(&transaction).await }
    });
    let error = result.await.unwrap_err();
    let Config { unavailable_max, attempts_max, .. } = Config::default();
    let begins = begins.into_inner().unwrap();
    let took = begins[0].elapsed();
    assert!(unavailable_max <= took && took < unavailable_max * 2, "{took:?}");
    let ClientError::RetriesExhausted { attempts, last } = error else { panic!("{error}") };
    assert!(1 < attempts && attempts < attempts_max, "{attempts} attempts");
    assert_eq!(begins.len(), attempts as usize);
    assert_eq!(last.refusal().map(|refusal| refusal.kind), Some(ErrorKind::Overloaded));
    // From the start as long as for a leader to come back, not as short as for a lock.
    let pauses = begins.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(pauses.min().unwrap() >= Duration::from_millis(10), "{begins:?}");
}

#[tokio::test(start_paused = true)]
async fn closure_that_fails_is_rolled_back_and_not_run_again() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        TooPoor,
        Client(ClientError),
    }
    impl From<ClientError> for Mine {
        fn from(error: ClientError) -> Self {
            Mine::Client(error)
        }
    }
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    let result = client
        .run(|transaction| async move {
            transfer_once(&transaction).await?;
            Err::<(), _>(Mine::TooPoor)
        })
        .await;
    assert_eq!(result.unwrap_err(), Mine::TooPoor);
    client.get_table("accounts").await.unwrap();
    client.get_table("accounts").await.unwrap();
    assert_eq!(rollbacks(&cluster), [id(1).into()]);
    assert!(cluster.calls(|_, call| matches!(call, Request::Commit(_)).then_some(())).is_empty());
}

#[tokio::test(start_paused = true)]
async fn run_that_is_dropped_half_way_rolls_back() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    let endless = client.run(|transaction| async move {
        transfer_once(&transaction).await?;
        std::future::pending::<Result<(), ClientError>>().await
    });
    assert!(tokio::time::timeout(Duration::from_millis(5), endless).await.is_err());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rollbacks(&cluster), [id(1).into()]);
}

#[tokio::test(start_paused = true)]
async fn lost_answer_of_a_commit_is_looked_up_and_not_executed_again() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Commit(_) => break_session(),
        Request::LookupOutcome(_) => outcome(Outcome::Committed, 8_888),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    let committed = transfer(&client, &runs).await.unwrap();
    assert_eq!(committed.commit.timestamp, Some(Timestamp::from_nanos(8_888)));
    assert_eq!(runs.into_inner(), 1);
    let lookups = lookups(&cluster);
    let [(_, looked_up, key)] = lookups.as_slice() else { panic!("{lookups:?}") };
    assert_eq!((*looked_up, key.as_slice()), (id(1).into(), COORDINATOR_KEY));
    // Names may mean another table by then; ids do not.
    let resolved = cluster.calls(|_, call| match call {
        Request::ResolveCommit(resolve) => Some(resolve.writes.clone()),
        _ => None,
    });
    let table = Some(v1::TableRef { name: String::new(), id: 100 });
    let writes = vec![v1::WrittenKeys { table, keys: vec![1.into(), 2.into()] }];
    assert_eq!(resolved, [writes]);
}

#[tokio::test(start_paused = true)]
async fn commit_without_an_answer_in_time_is_looked_up() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Commit(_) => Reaction::Hold,
        Request::LookupOutcome(_) => outcome(Outcome::Committed, 8_888),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    transfer(&client, &runs).await.unwrap();
    assert_eq!((runs.into_inner(), lookups(&cluster).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn lost_commit_that_was_aborted_for_certain_is_run_again() {
    let mut commits = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits == 0 => {
            commits += 1;
            break_session()
        }
        Request::LookupOutcome(_) => outcome(Outcome::Aborted, 0),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    transfer(&client, &runs).await.unwrap();
    assert_eq!(runs.into_inner(), 2);
    assert_eq!(priorities(&cluster), [None, Some((1, 2))]);
}

#[tokio::test(start_paused = true)]
async fn outcome_that_nobody_knows_is_unknown_and_the_closure_ran_once() {
    for known in [Outcome::InProgress, Outcome::NoLongerKnown] {
        let cluster = Cluster::new(move |_, call| match call {
            Request::Commit(_) => break_session(),
            Request::LookupOutcome(_) => outcome(known, 0),
            _ => Reaction::Usual,
        });
        let client = cluster.client().await;
        let runs = AtomicU32::new(0);
        let error = transfer(&client, &runs).await.unwrap_err();
        assert!(!error.is_retryable());
        let ClientError::OutcomeUnknown { id: unknown, coordinator_key } = error else {
            panic!("{known:?}: {error}");
        };
        assert_eq!((unknown, &*coordinator_key), (id(1).into(), COORDINATOR_KEY));
        assert_eq!(runs.into_inner(), 1, "{known:?}");
        let asked = lookups(&cluster).len();
        assert!(if known == Outcome::InProgress { asked > 5 } else { asked == 1 }, "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_error_but_a_certain_one_lets_a_sent_commit_run_again() {
    for number in 0..=i32::from(u8::MAX) {
        let Ok(kind) = ErrorKind::try_from(number) else { continue };
        let cluster = Cluster::new(move |_, call| match call {
            Request::Commit(_) => refuse_kind(kind),
            Request::LookupOutcome(_) => outcome(Outcome::NoLongerKnown, 0),
            _ => Reaction::Usual,
        });
        let client = cluster.client().await;
        let runs = AtomicU32::new(0);
        let error = transfer(&client, &runs).await.unwrap_err();
        let ran_again = runs.into_inner() > 1;
        // A table that was dropped is a certain refusal too: its new id is asked for.
        let is_certain = kind.is_aborted() || kind == ErrorKind::TableNotFound;
        assert!(!ran_again || is_certain, "{kind:?} ran again: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn commit_to_a_node_that_forgot_the_transaction_is_looked_up_whatever_it_advises() {
    let forgotten =
        [ErrorKind::TransactionNotHere, ErrorKind::OutcomeUnknown, ErrorKind::OutcomeNoLongerKnown];
    for kind in forgotten {
        let cluster = Cluster::new(move |_, call| match call {
            Request::Commit(_) => {
                refuse(ErrorDetail { retry: Retry::Never.into(), ..ErrorDetail::of(kind) })
            }
            Request::LookupOutcome(_) => outcome(Outcome::Committed, 4),
            _ => Reaction::Usual,
        });
        let client = cluster.client().await;
        let committed = transfer(&client, &AtomicU32::new(0)).await.unwrap();
        assert_eq!(committed.commit.timestamp, Some(Timestamp::from_nanos(4)), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn transaction_begun_by_an_answer_that_nobody_took_is_rolled_back() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    client.get_table("accounts").await.unwrap();
    let runs = AtomicU32::new(0);
    let mut run = Box::pin(transfer(&client, &runs));
    std::future::poll_fn(|cx| {
        assert!(run.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    sleep(Duration::from_millis(1)).await;
    drop(run);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rollbacks(&cluster), [id(1).into()]);
}

#[tokio::test(start_paused = true)]
async fn transaction_begun_by_an_answer_that_comes_too_late_is_rolled_back() {
    // The node answers the read only when it is withdrawn: the two crossed on their way.
    let mut cancels = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Read(_) if cancels == 0 => Reaction::Hold,
        Request::Cancel(_) => {
            cancels += 1;
            let transaction = Some(id(77));
            let answer = v1::ReadResponse { transaction, ..Default::default() };
            Reaction::Answer(vec![Response::Read(answer)])
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    transfer(&client, &AtomicU32::new(0)).await.unwrap();
    assert_eq!(rollbacks(&cluster), [id(77).into()]);
}

#[tokio::test(start_paused = true)]
async fn error_with_the_coordinator_key_is_looked_up_by_it() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Commit(_) => refuse(ErrorDetail {
            coordinator_key: b"from the detail".to_vec().into(),
            ..ErrorDetail::of(ErrorKind::OutcomeUnknown)
        }),
        Request::LookupOutcome(_) => outcome(Outcome::Committed, 1),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    transfer(&client, &AtomicU32::new(0)).await.unwrap();
    assert_eq!(lookups(&cluster)[0].2, b"from the detail");
}

#[tokio::test(start_paused = true)]
async fn commit_that_cannot_be_taken_at_the_moment_is_sent_again_unchanged() {
    let mut commits = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits == 0 => {
            commits += 1;
            refuse_kind(ErrorKind::Overloaded)
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    transfer(&client, &runs).await.unwrap();
    let commits = cluster.calls(|_, call| match call {
        Request::Commit(commit) => Some(commit.clone()),
        _ => None,
    });
    assert_eq!((commits.len(), runs.into_inner()), (2, 1));
    assert_eq!(commits[0], commits[1]);
}

#[tokio::test(start_paused = true)]
async fn lost_commit_that_wrote_nothing_is_run_again_without_a_lookup() {
    let mut commits = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits == 0 => {
            commits += 1;
            break_session()
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let committed = client
        .run(|transaction| async move { transaction.get("accounts", 1, &["balance"]).await })
        .await
        .unwrap();
    assert_eq!((committed.attempts, lookups(&cluster).len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn single_use_commit_is_repeated_elsewhere_with_the_same_id_and_coordinator() {
    let mut commits = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits == 0 => {
            commits += 1;
            break_session()
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let mut writes = Mutations::new();
    writes.insert("accounts", &["id", "balance"], vec![1.into(), 5.into()]);
    let committed = client.apply(&writes).await.unwrap();
    assert_eq!((committed.attempts, committed.id), (1, Some(id(101).into())));
    let sent = cluster.calls(|node, call| match call {
        Request::Commit(commit) => Some((node, commit.clone())),
        _ => None,
    });
    let [(first, one), (second, other)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_ne!(first, second);
    assert_eq!(one, other);
}

#[tokio::test(start_paused = true)]
async fn single_use_commit_that_is_aborted_gets_a_fresh_id_and_keeps_its_priority() {
    let mut commits = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits == 0 => {
            commits += 1;
            refuse_kind(ErrorKind::AbortedLogged)
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let mut writes = Mutations::new();
    writes.delete("accounts", 1);
    client.apply(&writes).await.unwrap();
    let sent = cluster.calls(|_, call| match call {
        Request::Commit(commit) => match commit.transaction.as_ref().unwrap() {
            v1::commit_request::Transaction::SingleUse(single) => {
                let priority = single.priority.unwrap();
                let first = priority.first.unwrap().sequence;
                Some((single.id.unwrap().sequence, first, priority.attempt))
            }
            v1::commit_request::Transaction::Id(_) => None,
        },
        _ => None,
    });
    assert_eq!(sent, [(101, 101, 1), (102, 101, 2)]);
}

#[tokio::test(start_paused = true)]
async fn refusal_of_a_repeated_single_use_commit_is_checked_against_the_outcome() {
    for (known, is_committed) in [(Outcome::Committed, true), (Outcome::Aborted, false)] {
        let mut commits = 0;
        let cluster = Cluster::new(move |_, call| match call {
            Request::Commit(_) => {
                commits += 1;
                if commits == 1 { break_session() } else { refuse_kind(ErrorKind::IdRefused) }
            }
            Request::LookupOutcome(_) => outcome(known, 3),
            _ => Reaction::Usual,
        });
        let client = cluster.client().await;
        let mut writes = Mutations::new();
        writes.delete("accounts", 1);
        let result = client.apply(&writes).await;
        assert_eq!(result.is_ok(), is_committed, "{result:?}");
        assert_eq!(lookups(&cluster).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn single_use_commit_without_any_answer_is_unknown() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Commit(_) => Reaction::Hold,
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let mut writes = Mutations::new();
    writes.delete("accounts", 1);
    let error = client.apply(&writes).await.unwrap_err();
    assert!(matches!(error, ClientError::OutcomeUnknown { .. }), "{error}");
    let ids = cluster.calls(|_, call| matches!(call, Request::ResolveCommit(_)).then_some(()));
    assert_eq!(ids.len(), 1, "no second id for writes that may be committed");
}

#[tokio::test(start_paused = true)]
async fn transaction_is_kept_alive_while_its_closure_thinks() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    client
        .run(|transaction| async move {
            transfer_once(&transaction).await?;
            sleep(Duration::from_secs(11)).await;
            Ok::<_, ClientError>(())
        })
        .await
        .unwrap();
    let kept = |cluster: &Cluster| {
        cluster.calls(|_, call| match call {
            Request::KeepAlive(keep) => Some(keep.transactions.clone()),
            _ => None,
        })
    };
    let during = kept(&cluster);
    assert!(during.len() >= 3 && during.iter().all(|ids| *ids == [id(1)]), "{during:?}");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(kept(&cluster).len(), during.len(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn table_created_again_under_its_name_is_found_under_its_new_id() {
    let cluster = Cluster::new(|_, call| match call {
        Request::Read(read) if read.table.as_ref().unwrap().id == 100 => {
            refuse_kind(ErrorKind::TableNotFound)
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    client.get_table("accounts").await.unwrap();
    cluster.recreate("accounts", 101);
    let committed = transfer(&client, &AtomicU32::new(0)).await.unwrap();
    assert_eq!(committed.attempts, 2);
    let error = client
        .run(|transaction| async move { transaction.get("nothing", 1, &[]).await })
        .await
        .unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, ErrorKind::TableNotFound);
}

#[tokio::test(start_paused = true)]
async fn two_first_reads_at_once_begin_one_transaction() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    client
        .run(|transaction| async move {
            let other = transaction.clone();
            let (a, b) = tokio::join!(
                transaction.get("accounts", 1, &["balance"]),
                other.get("accounts", 2, &["balance"])
            );
            a.and(b)
        })
        .await
        .unwrap();
    assert_eq!(priorities(&cluster), [None]);
}

#[tokio::test(start_paused = true)]
async fn transaction_used_after_its_end_is_refused() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    let leaked = client
        .run(|transaction| async move { Ok::<_, ClientError>(transaction) })
        .await
        .unwrap()
        .value;
    let error = leaked.get("accounts", 1, &[]).await.unwrap_err();
    assert_eq!(error, ClientError::TransactionEnded);
}

#[tokio::test(start_paused = true)]
async fn observer_is_told_of_each_attempt() {
    let mut commits = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) if commits == 0 => {
            commits += 1;
            let wounded_by = Some(id(3));
            refuse(ErrorDetail { wounded_by, ..ErrorDetail::of(ErrorKind::AbortedWounded) })
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let seen = Arc::new(Mutex::new(Vec::<Attempt>::new()));
    let sink = Arc::clone(&seen);
    let observer = move |attempt| sink.lock().unwrap().push(attempt);
    let options = RunOptions { observer: Some(Arc::new(observer)), ..RunOptions::default() };
    client
        .run_with(options, |transaction| async move { transfer_once(&transaction).await })
        .await
        .unwrap();
    let seen = seen.lock().unwrap();
    let [first, second] = seen.as_slice() else { panic!("{seen:?}") };
    let AttemptEnd::Aborted(why) = &first.end else { panic!("{first:?}") };
    assert_eq!(why.refusal().unwrap().wounded_by, Some(id(3).into()));
    assert_eq!((first.number, first.id), (1, Some(id(1).into())));
    assert_eq!(second.priority.map(|p| (p.first, p.attempt)), Some((id(1).into(), 2)));
    assert!(matches!(second.end, AttemptEnd::Committed(_)) && second.gateway.is_some());
}

#[tokio::test(start_paused = true)]
async fn lock_that_is_not_granted_in_time_ends_the_attempt() {
    let mut reads = 0;
    let cluster = Cluster::new(move |_, call| match call {
        Request::Read(_) if reads == 0 => {
            reads += 1;
            Reaction::Hold
        }
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let start = Instant::now();
    let committed = transfer(&client, &AtomicU32::new(0)).await.unwrap();
    assert_eq!(committed.attempts, 2);
    assert!(start.elapsed() >= Duration::from_secs(10));
    let cancels = cluster.calls(|_, call| matches!(call, Request::Cancel(_)).then_some(()));
    assert_eq!(cancels.len(), 1, "the server must stop waiting too");
}

#[tokio::test(start_paused = true)]
async fn commit_refused_for_its_request_without_detail_is_not_taken_for_an_abort() {
    let bare = || v1::Error { code: 13, message: "a proxy's words".to_owned(), detail: None };
    let cluster = Cluster::new(move |_, call| match call {
        Request::Commit(_) => Reaction::Answer(vec![Response::Error(bare())]),
        Request::LookupOutcome(_) => outcome(Outcome::Committed, 4),
        _ => Reaction::Usual,
    });
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    transfer(&client, &runs).await.unwrap();
    assert_eq!((runs.into_inner(), lookups(&cluster).len()), (1, 1));
    assert_eq!(ErrorDetail::default().retry(), Retry::Unspecified);
}

#[tokio::test(start_paused = true)]
async fn commit_too_large_for_a_node_is_not_sent_and_leaves_the_session_to_others() {
    let cluster = Cluster::new(|_, _| Reaction::Usual);
    let client = cluster.client().await;
    let runs = AtomicU32::new(0);
    let large = || "x".repeat(16 << 20);
    let error = client
        .run(|transaction| {
            runs.fetch_add(1, Ordering::Relaxed);
            async move {
                transaction.get("accounts", 1, &["balance"]).await?;
                transaction.update("accounts", &["id", "note"], vec![1.into(), large().into()]);
                Ok::<_, ClientError>(())
            }
        })
        .await
        .unwrap_err();
    let ClientError::LimitExceeded { bytes, bytes_max } = &error else { panic!("{error}") };
    assert!(*bytes > 16 << 20 && *bytes_max < 16 << 20, "{error}");
    assert!(!error.is_retryable());
    assert_eq!(runs.load(Ordering::Relaxed), 1, "it is not tried again");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rollbacks(&cluster).len(), 1, "its locks are let go");
    let mut single = Mutations::new();
    single.insert("accounts", &["id", "note"], vec![2.into(), large().into()]);
    let error = client.apply(&single).await.unwrap_err();
    assert!(matches!(error, ClientError::LimitExceeded { .. }), "{error}");
    let commits = cluster.calls(|_, call| matches!(call, Request::Commit(_)).then_some(()));
    assert_eq!(commits, [], "neither left");
    transfer(&client, &runs).await.unwrap();
}
