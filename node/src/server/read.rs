//! One read of a client as a sequence of reads of the gateway.
//!
//! The gateway answers sorted, disjoint spans with the rows that exist; a client wants its points in its own
//! order, each with an answer, and then its ranges one after the other, even where they overlap. So a read is
//! asked in steps: some points, all of them in one step unless there are very many, and then each range, going
//! on from the gateway's token as long as it has one. All steps are at one timestamp, or in one transaction.
//!
//! ```text
//! points 7 3 7, range [1, 4):  ask {3, 7} -> rows by key -> 7 3 7 in one chunk;  ask [1, 4) -> chunks
//! ```
//! A job moves from answer to answer on the core's thread; nothing waits. When the client is behind, the job is
//! parked in its outbox.

use std::sync::Arc;

use proto::Key;
use proto::encoding::Datum;
use proto::rpc::v1::session_answer::Response as WireResponse;
use proto::rpc::v1::{self, ErrorKind};
use truetime::Timestamp;
use txn::lock_table::LockMode;

use super::answers::{row, row_size};
use super::convert;
use super::errors::Failure;
use super::outbox::{Call, Delivery, SMALL};
use super::seat::Seat;
use super::token::{self, ReadToken};
use crate::gateway::api::{
    Answer, Read, ReadBound, Request, Response, Row, Rows, Selector, TransactionHandle,
};
use crate::gateway::{Error, InvalidRequest};
use proto::table::{KeySet, TableRef};

/// Points asked for at once.
const POINTS_AT_ONCE: usize = 1_000;
/// Rows of points that may be kept until they can be put in order.
const POINT_BYTES_MAX: usize = 32 << 20;
/// A chunk of points takes rows up to about so many bytes; for ranges the gateway's own limit holds.
const CHUNK_BYTES: usize = 2 << 20;

/// See the module.
pub(super) struct ReadJob {
    call: Call,
    seat: Seat,
    table: TableRef,
    columns: Vec<String>,
    keys: KeySet,
    lock: LockMode,
    selector: Selector,
    /// Of a read without locks, once it is known.
    at: Option<(Timestamp, bool)>,
    /// What is left of the limit on rows of ranges.
    limit: Option<u64>,
    /// What is left of the page.
    page: Option<u64>,
    points_done: usize,
    ranges_done: usize,
    /// The gateway's token within this step.
    inner: Option<Vec<u8>>,
    /// Points of this step, until all their rows are here.
    batch: Batch,
    /// Whether a chunk was sent.
    begun: bool,
}

#[derive(Default)]
struct Batch {
    asked: usize,
    keys: Vec<Key>,
    rows: Vec<Row>,
    bytes: usize,
}

/// What there is to ask next.
enum Step {
    Points(usize),
    Range(Option<u64>),
    Nothing,
}

impl ReadJob {
    /// Checks the request and asks its first step.
    pub(super) fn start(seat: Seat, call: Call, request: v1::ReadRequest) {
        match ReadJob::new(seat, call.clone(), request) {
            Ok(job) => Box::new(job).ask(),
            Err(failure) => call.fail(failure.into_error()),
        }
    }

    fn new(seat: Seat, call: Call, request: v1::ReadRequest) -> Result<Self, Failure> {
        let some = |number: u64| (number > 0).then_some(number);
        let mut job = ReadJob {
            call,
            seat,
            table: convert::table_ref(request.table, "table")?,
            columns: request.columns,
            keys: convert::key_set(request.keys)?,
            lock: convert::lock_mode(request.lock)?,
            selector: convert::selector(request.transaction)?,
            at: None,
            limit: some(request.limit),
            page: some(request.page_rows.into()),
            points_done: 0,
            ranges_done: 0,
            inner: None,
            batch: Batch::default(),
            begun: false,
        };
        if !request.resume_token.is_empty() {
            job.resume(&request.resume_token)?;
        }
        Ok(job)
    }

    /// Goes on where a token says.
    fn resume(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let invalid = || Failure::from(Error::from(InvalidRequest::ResumeToken));
        let token = token::open(bytes, &self.seat.running.member.secret)
            .filter(|token| token.digest == token::digest_of(&self.columns, &self.keys))
            .ok_or_else(invalid)?;
        self.points_done = usize::try_from(token.points).map_err(|_| invalid())?;
        self.ranges_done = usize::try_from(token.ranges).map_err(|_| invalid())?;
        if self.points_done > self.keys.points.len() || self.ranges_done > self.keys.ranges.len() {
            return Err(invalid());
        }
        match (&self.selector, token.at) {
            (Selector::SingleUse(_), Some((at, strong))) => {
                self.selector = Selector::Existing(TransactionHandle::ReadOnly { at, strong });
            }
            (Selector::Existing(TransactionHandle::ReadWrite(_)), None) => {}
            (Selector::SingleUse(_) | Selector::Existing(_) | Selector::Begin(_), _) => {
                return Err(invalid());
            }
        }
        (self.at, self.limit, self.inner) = (token.at, token.limit, token.inner);
        self.begun = true;
        Ok(())
    }

    /// Whose answer it is.
    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    fn next(&self) -> Step {
        let page = self.page.unwrap_or(u64::MAX);
        let points_left = self.keys.points.len() - self.points_done;
        if page == 0 {
            return Step::Nothing;
        }
        if points_left > 0 {
            let page = usize::try_from(page).unwrap_or(usize::MAX);
            return Step::Points(points_left.min(POINTS_AT_ONCE).min(page));
        }
        if self.ranges_done < self.keys.ranges.len() && self.limit != Some(0) {
            let rows = page.min(self.limit.unwrap_or(u64::MAX));
            return Step::Range((rows < u64::MAX).then_some(rows));
        }
        Step::Nothing
    }

    /// Asks for the next step.
    pub(super) fn ask(mut self: Box<Self>) {
        let (keys, limit) = match self.next() {
            Step::Points(count) => {
                let first = self.points_done;
                self.batch.asked = count;
                // With a token the gateway goes on with what it was asked before.
                let points = match &self.inner {
                    Some(_) => Vec::new(),
                    None => self.keys.points[first..first + count].to_vec(),
                };
                (KeySet { points, ranges: Vec::new() }, None)
            }
            Step::Range(limit) => {
                let ranges = vec![self.keys.ranges[self.ranges_done].clone()];
                (KeySet { points: Vec::new(), ranges }, limit)
            }
            // Nothing is asked for; it still may begin a transaction, and is told the columns.
            Step::Nothing => (KeySet::default(), None),
        };
        let read = Read {
            selector: self.selector,
            table: self.table.clone(),
            columns: self.columns.clone(),
            keys,
            limit,
            lock: self.lock,
            resume: self.inner.take(),
        };
        let (seat, call) = (self.seat.clone(), self.call.clone());
        let request = Request::Read(read);
        let asked = match self.selector {
            Selector::Existing(TransactionHandle::ReadWrite(id)) => {
                seat.ask_of(id, request, move |answer| self.answered(answer))
            }
            Selector::Existing(_) | Selector::Begin(_) | Selector::SingleUse(_) => {
                seat.ask(request, move |answer| self.answered(answer));
                Ok(())
            }
        };
        if let Err(failure) = asked {
            call.fail(failure.into_error());
        }
    }

    fn answered(mut self: Box<Self>, answer: Answer) {
        let rows = match answer {
            Ok(Response::Rows(rows)) => rows,
            Ok(_) => return self.call.fail(Failure::unexpected_answer().into_error()),
            Err(error) => return self.call.fail(Failure::from(error).into_error()),
        };
        let begun = match rows.begun.map(|begun| begun.transaction) {
            Some(TransactionHandle::ReadWrite(id)) => Some(id),
            Some(TransactionHandle::ReadOnly { .. }) | None => None,
        };
        if let Some(id) = begun {
            if !self.call.is_live() {
                return self.seat.roll_back(id);
            }
            self.selector = Selector::Existing(TransactionHandle::ReadWrite(id));
        } else if let (Selector::SingleUse(bound), Some(at)) = (self.selector, rows.at) {
            let strong = bound == ReadBound::Strong;
            self.selector = Selector::Existing(TransactionHandle::ReadOnly { at, strong });
            self.at = Some((at, strong));
        }
        let mut head = v1::ReadResponse::default();
        if !std::mem::replace(&mut self.begun, true) {
            head.transaction = begun.map(Into::into);
            head.read_timestamp = self.at.map_or(0, |(at, _)| at.nanos());
            if self.columns.is_empty() {
                let columns = rows.schema.columns();
                head.columns = columns.iter().map(|column| column.name.clone()).collect();
            }
        }
        let delivered = match self.next() {
            Step::Points(_) => self.points_answered(head, rows),
            Step::Range(_) => self.range_answered(head, rows),
            Step::Nothing => self.send(head, SMALL),
        };
        match delivered {
            Some(Delivery::Taken) => self.ask(),
            Some(Delivery::Full) => {
                let outbox = Arc::clone(self.call.outbox());
                if let Some(job) = outbox.park(self) {
                    job.ask();
                }
            }
            Some(Delivery::Withdrawn) => {
                if let Some(id) = begun {
                    self.seat.roll_back(id);
                }
            }
            None => {}
        }
    }

    /// Puts rows in the order of the points, once all are here. `None` is the end.
    fn points_answered(&mut self, mut head: v1::ReadResponse, rows: Rows) -> Option<Delivery> {
        if !rows.points.is_empty() {
            self.batch.keys = rows.points;
        }
        for row in rows.rows {
            self.batch.bytes += row_bytes(&row);
            self.batch.rows.push(row);
        }
        if rows.resume.is_some() {
            if self.batch.bytes > POINT_BYTES_MAX {
                let failure = Failure::new(
                    ErrorKind::LimitExceeded,
                    format!("the rows of one read's points take more than {POINT_BYTES_MAX} bytes"),
                    "ask for fewer points in one read",
                );
                self.call.fail(failure.into_error());
                return None;
            }
            self.inner = rows.resume;
            if head == v1::ReadResponse::default() {
                return Some(Delivery::Taken);
            }
            // The transaction's id is told before the rows are here.
            return Some(self.call.chunk(WireResponse::Read(head), SMALL));
        }
        let batch = std::mem::take(&mut self.batch);
        let mut size = SMALL;
        for key in &batch.keys {
            let found = batch.rows.binary_search_by(|row| row.key.cmp(key));
            let answer = match found {
                Ok(at) => row(batch.rows[at].timestamp, batch.rows[at].values.clone()),
                Err(_) => v1::Row::default(),
            };
            let answer_size = row_size(&answer);
            if size + answer_size > CHUNK_BYTES && !head.rows.is_empty() {
                let chunk = std::mem::take(&mut head);
                match self.send(chunk, std::mem::replace(&mut size, SMALL)) {
                    Some(Delivery::Taken | Delivery::Full) => {}
                    end => return end,
                }
            }
            size += answer_size;
            head.rows.push(answer);
            self.points_done += 1;
            self.page = self.page.map(|page| page.saturating_sub(1));
        }
        self.send(head, size)
    }

    fn range_answered(&mut self, mut head: v1::ReadResponse, rows: Rows) -> Option<Delivery> {
        let count = rows.rows.len() as u64;
        let mut size = SMALL;
        for found in rows.rows {
            let answer = row(found.timestamp, found.values);
            size += row_size(&answer);
            head.rows.push(answer);
        }
        self.page = self.page.map(|page| page.saturating_sub(count));
        self.limit = self.limit.map(|limit| limit.saturating_sub(count));
        self.inner = rows.resume;
        if self.inner.is_none() {
            self.ranges_done += 1;
        }
        self.send(head, size)
    }

    /// Sends a chunk, with a token if rows may follow. `None` is the end.
    fn send(&mut self, mut chunk: v1::ReadResponse, size: usize) -> Option<Delivery> {
        let points_left = self.points_done < self.keys.points.len();
        let ranges_left = self.ranges_done < self.keys.ranges.len() && self.limit != Some(0);
        if points_left || ranges_left {
            chunk.resume_token = self.token().into();
            if self.page != Some(0) {
                return Some(self.call.chunk(WireResponse::Read(chunk), size));
            }
            chunk.more = true;
        }
        match self.call.finish(WireResponse::Read(chunk), size) {
            Delivery::Taken | Delivery::Full => None,
            Delivery::Withdrawn => Some(Delivery::Withdrawn),
        }
    }

    fn token(&self) -> Vec<u8> {
        let token = ReadToken {
            at: self.at,
            points: self.points_done as u64,
            ranges: self.ranges_done as u64,
            limit: self.limit,
            inner: self.inner.clone(),
            digest: token::digest_of(&self.columns, &self.keys),
        };
        token::seal(&token, &self.seat.running.member.secret)
    }
}

fn row_bytes(row: &Row) -> usize {
    let of_value = |value: &Datum| match value {
        Datum::Text(text) => text.len(),
        Datum::Bytes(bytes) => bytes.len(),
        Datum::Bool(_)
        | Datum::BigInt(_)
        | Datum::Double(_)
        | Datum::TimestampTz(_)
        | Datum::Null => 0,
    };
    64 + row.values.iter().map(|value| 16 + of_value(value)).sum::<usize>()
}
