//! One read on one connection, chunk by chunk.

use crate::client::Client;
use crate::connection::Connection;
use crate::error::{CallError, ClientError};
use crate::mutation::reference;
use bytes::Bytes;
use proto::TxnId;
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{KeyRange, KeySet, LockMode, ReadRequest, Row, RowKey, Table, key_range};
use std::sync::Arc;
use std::time::Duration;
use truetime::Timestamp;

/// What to read of a range of rows.
#[derive(Clone, Debug, Default)]
pub struct Scan<'a> {
    /// Which rows.
    pub range: KeyRange,
    /// Which columns; none means all.
    pub columns: &'a [&'a str],
    /// At most so many rows; 0 means all.
    pub limit: u64,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) rows: Vec<Row>,
    pub(crate) transaction: Option<TxnId>,
    pub(crate) timestamp: Option<Timestamp>,
    /// Where to go on, and how many of the rows come before that.
    pub(crate) token: Option<(Bytes, usize)>,
    /// Rows follow in another page.
    pub(crate) more: bool,
}

/// Reads until the last chunk or the first error; what came before an error is good up to its token.
pub(crate) async fn read(
    connection: &Arc<Connection>,
    request: ReadRequest,
    timeout: Duration,
) -> (Part, Result<(), CallError>) {
    let mut part = Part::default();
    let result = read_into(&mut part, connection, request, timeout).await;
    (part, result)
}

async fn read_into(
    part: &mut Part,
    connection: &Arc<Connection>,
    request: ReadRequest,
    timeout: Duration,
) -> Result<(), CallError> {
    let mut call = connection.call(Request::Read(request), timeout)?;
    while let Some(response) = call.next().await? {
        let Response::Read(chunk) = response else {
            return Err(CallError::Protocol { reason: "an answer is of another request" });
        };
        if part.rows.is_empty() {
            part.rows = chunk.rows;
        } else {
            part.rows.extend(chunk.rows);
        }
        if let Some(id) = chunk.transaction {
            part.transaction = Some(id.into());
        }
        if chunk.read_timestamp != 0 {
            part.timestamp = Some(Timestamp::from_nanos(chunk.read_timestamp));
        }
        if !chunk.resume_token.is_empty() {
            part.token = Some((chunk.resume_token, part.rows.len()));
        }
        part.more = chunk.more;
    }
    if part.more && part.token.is_none() {
        return Err(CallError::Protocol { reason: "a page that is not the last has no token" });
    }
    Ok(())
}

/// Which rows a request is for.
pub(crate) enum Rows<'a> {
    Points(Vec<RowKey>),
    Range(Scan<'a>),
}

impl Rows<'_> {
    /// The request without its transaction.
    pub(crate) fn request(
        self,
        client: &Client,
        table: &Table,
        columns: &[&str],
        lock: LockMode,
    ) -> ReadRequest {
        let (keys, limit, page_rows) = match self {
            Rows::Points(points) => (KeySet { points, ranges: Vec::new() }, 0, 0),
            Rows::Range(scan) => {
                let keys = KeySet { points: Vec::new(), ranges: vec![scan.range] };
                (keys, scan.limit, client.config().page_rows)
            }
        };
        ReadRequest {
            transaction: None,
            table: Some(reference(table)),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            keys: Some(keys),
            limit,
            page_rows,
            lock: lock.into(),
            resume_token: Bytes::new(),
        }
    }
}

/// The first key that a request reads, as far as it names one.
pub(crate) fn first_key(request: &ReadRequest) -> Option<&RowKey> {
    let keys = request.keys.as_ref()?;
    keys.points.first().or_else(|| match keys.ranges.first()?.start.as_ref()? {
        key_range::Start::StartClosed(key) | key_range::Start::StartOpen(key) => Some(key),
    })
}

/// Checks that each point got its answer.
pub(crate) fn one_for_each(rows: Vec<Row>, points: usize) -> Result<Vec<Row>, ClientError> {
    if rows.len() != points {
        return Err(ClientError::Protocol { reason: "not every key has its one row" });
    }
    Ok(rows)
}

/// The only row, if it exists.
pub(crate) fn only_row(rows: Vec<Row>) -> Option<Row> {
    rows.into_iter().next().filter(Row::exists)
}
