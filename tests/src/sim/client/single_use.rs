//! A single-use commit that is sent through several gateways until its outcome is known.

use bench::history::{HistoryTime, Kind, Outcome as Ended, Record, Transaction};
use node::gateway::Error;
use node::gateway::api::{CommitTarget, Request, Response};
use proto::table::WriteKind;
use proto::{Key, TxnId};
use txn::message::Outcome;

use super::{Client, Event, Gateway, LOOKUP_PATIENCE, State, Wish, World, sensible, write_op};
use crate::sim::plan::MS;
use crate::sim::tables::{Content, Table};

#[derive(Debug)]
pub(super) struct SingleUse {
    writes: Vec<(i64, Content)>,
    pub(super) target: Option<(TxnId, Key)>,
    invoked: u64,
    sends: u32,
    /// Some earlier send may have had an effect.
    in_doubt: bool,
    looking_up: bool,
    until: u64,
}

impl Client {
    pub(super) fn single_use(
        &mut self,
        now: u64,
        nodes: usize,
        writes: Vec<(i64, Content)>,
    ) -> Vec<Wish> {
        self.gateway = self.rng.index(nodes);
        let mutations = vec![Table::Notes.write(WriteKind::Replace, &writes)];
        self.state = State::SingleUse(Box::new(SingleUse {
            writes,
            target: None,
            invoked: now,
            sends: 0,
            in_doubt: false,
            looking_up: false,
            until: now + LOOKUP_PATIENCE,
        }));
        vec![Wish::Ask(
            Gateway::This(self.gateway),
            Request::ResolveCommit { id: None, mutations, max_age: None },
        )]
    }

    pub(super) fn single_use_step(
        &mut self,
        now: u64,
        nodes: usize,
        asked: usize,
        mut job: Box<SingleUse>,
        event: Event,
        world: &mut World,
    ) -> Vec<Wish> {
        let outcome = match event {
            Event::Answered(Ok(Response::Resolved { id, coordinator })) => {
                job.target = Some((id, coordinator));
                return self.send_single_use(job, Gateway::This(asked));
            }
            _ if job.target.is_none() => return vec![Wish::Done],
            Event::Go => return self.send_single_use(job, Gateway::Any),
            Event::Answered(Ok(Response::Committed(done))) => {
                Some(Ended::Committed { at: done.commit_ts })
            }
            Event::Answered(Ok(Response::Outcome(outcome))) => match outcome {
                Outcome::Committed { commit_ts, .. } => Some(Ended::Committed { at: commit_ts }),
                Outcome::Aborted { .. } => Some(Ended::Aborted),
                Outcome::NoLongerKnown => Some(Ended::Unknown),
                Outcome::InProgress => None,
            },
            // Aborted only from a logged abort, whoever answers.
            Event::Answered(Err(Error::Aborted { .. })) => Some(Ended::Aborted),
            Event::Answered(Err(Error::OutcomeUnknown { for_good: true, .. })) => {
                Some(Ended::Unknown)
            }
            Event::Lost | Event::Answered(Err(Error::OutcomeUnknown { for_good: false, .. })) => {
                job.in_doubt = true;
                None
            }
            Event::Answered(Err(error)) => {
                sensible(&error);
                // This request had no effect; an earlier one may have had.
                (!job.in_doubt).then_some(Ended::Aborted)
            }
            Event::Answered(Ok(other)) => panic!("a single-use commit was answered {other:?}"),
        };
        let ended = match outcome {
            Some(ended) => ended,
            None if now >= job.until => Ended::Unknown,
            None => {
                job.looking_up = job.sends >= 4 || self.rng.per_mille(200);
                let _ = nodes;
                self.state = State::SingleUse(job);
                return vec![Wish::Pause(self.rng.between(5 * MS, 300 * MS))];
            }
        };
        match ended {
            Ended::Committed { .. } => world.committed += 1,
            Ended::Unknown => world.unknown += 1,
            Ended::Aborted => world.aborted += 1,
        }
        let ops = job.writes.iter().map(|(id, c)| write_op(Table::Notes, *id, Some(*c))).collect();
        world.records.push(Record::Transaction(Transaction {
            process: self.id,
            invoked: HistoryTime::from_nanos(job.invoked),
            responded: HistoryTime::from_nanos(now),
            id: job.target.map(|(id, _)| format!("{id}")),
            kind: Kind::SingleUse { outcome: ended },
            ops,
        }));
        vec![Wish::Done]
    }

    pub(super) fn send_single_use(
        &mut self,
        mut job: Box<SingleUse>,
        gateway: Gateway,
    ) -> Vec<Wish> {
        let (id, coordinator) = job.target.clone().expect("it was resolved");
        job.sends += 1;
        let request = if job.looking_up {
            Request::LookupOutcome { id, coordinator }
        } else {
            let mutations = vec![Table::Notes.write(WriteKind::Replace, &job.writes)];
            Request::Commit {
                target: CommitTarget::SingleUse { id, coordinator, priority: None },
                mutations,
            }
        };
        self.state = State::SingleUse(job);
        vec![Wish::Ask(gateway, request)]
    }
}
