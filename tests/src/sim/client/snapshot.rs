//! A read of a whole table without locks, perhaps in pages.

use bench::history::{HistoryTime, Kind, Record, Transaction};
use node::gateway::api::{Read, ReadBound, Request, Response, Selector};
use proto::table::KeySet;
use truetime::Timestamp;
use txn::lock_table::LockMode;

use super::{Client, Event, Gateway, State, Wish, World, scan_op};
use crate::sim::plan::MS;
use crate::sim::tables::{Content, Table, row_of};

#[derive(Debug)]
pub(super) struct SnapshotRead {
    pub(super) table: Table,
    pub(super) bound: ReadBound,
    page: Option<u64>,
    invoked: u64,
    at: Option<Timestamp>,
    rows: Vec<(i64, Content)>,
    resume: Option<Vec<u8>>,
    tries: u32,
}

impl Client {
    pub(super) fn snapshot(
        &mut self,
        now: u64,
        table: Table,
        bound: ReadBound,
        page: Option<u64>,
    ) -> Vec<Wish> {
        let job = SnapshotRead {
            table,
            bound,
            page,
            invoked: now,
            at: None,
            rows: Vec::new(),
            resume: None,
            tries: 1,
        };
        self.ask_page(Box::new(job))
    }

    pub(super) fn ask_page(&mut self, job: Box<SnapshotRead>) -> Vec<Wish> {
        let read = Read {
            selector: Selector::SingleUse(job.bound),
            table: job.table.reference(),
            columns: Vec::new(),
            keys: KeySet::all(),
            limit: job.page,
            lock: LockMode::Shared,
            resume: job.resume.clone(),
        };
        self.state = State::Snapshot(job);
        vec![Wish::Ask(Gateway::Any, Request::Read(read))]
    }

    pub(super) fn snapshot_step(
        &mut self,
        now: u64,
        mut job: Box<SnapshotRead>,
        event: Event,
        world: &mut World,
    ) -> Vec<Wish> {
        match event {
            Event::Answered(Ok(Response::Rows(rows))) => {
                let at = rows.at.expect("a read without locks tells its timestamp");
                assert!(job.at.is_none_or(|before| before == at), "pages keep their timestamp");
                job.at = Some(at);
                job.rows.extend(rows.rows.iter().filter_map(|row| row_of(&row.values)));
                job.resume = rows.resume;
                if job.resume.is_some() {
                    return self.ask_page(job);
                }
                self.record_snapshot(now, &job, at, world);
                vec![Wish::Done]
            }
            // Pausing is over.
            Event::Go => self.ask_page(job),
            Event::Answered(Err(_)) | Event::Lost if job.tries < 5 => {
                job.tries += 1;
                self.state = State::Snapshot(job);
                vec![Wish::Pause(self.rng.between(5 * MS, 200 * MS))]
            }
            Event::Answered(Err(_)) | Event::Lost => vec![Wish::Done],
            Event::Answered(Ok(other)) => panic!("a read was answered {other:?}"),
        }
    }

    pub(super) fn record_snapshot(
        &self,
        now: u64,
        job: &SnapshotRead,
        at: Timestamp,
        world: &mut World,
    ) {
        if job.table == Table::Accounts {
            crate::invariants::bank_total::check(&job.rows, world.accounts, world.total, at);
        }
        let kind = match job.bound {
            ReadBound::Strong => Kind::Strong { at },
            ReadBound::ExactTimestamp(_)
            | ReadBound::ExactStaleness(_)
            | ReadBound::MaxStaleness(_) => Kind::Stale { at },
        };
        world.records.push(Record::Transaction(Transaction {
            process: self.id,
            invoked: HistoryTime::from_nanos(job.invoked),
            responded: HistoryTime::from_nanos(now),
            id: None,
            kind,
            ops: vec![scan_op(job.table, 0, i64::MAX, &job.rows)],
        }));
    }
}
