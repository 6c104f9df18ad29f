//! Reads without locks, all at one timestamp.
//!
//! A snapshot is nothing but its timestamp: the first read chooses it by the bound, and each later one asks
//! for exactly it, at whatever node. So a read that was cut off is repeated, or resumed after its last good
//! chunk, without anybody noticing (T17).

use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::Connection;
use crate::error::ClientError;
pub use crate::reading::Scan;
use crate::reading::{Part, Rows, first_key, one_for_each, only_row, read};
use crate::tables::is_stale_table;
use bytes::Bytes;
use proto::NodeId;
use proto::rpc::v1::transaction_options::Mode;
use proto::rpc::v1::transaction_selector::Selector;
use proto::rpc::v1::{
    BeginRequest, LockMode, ReadOnlyOptions, ReadRequest, Row, RowKey, TransactionOptions,
    TransactionSelector, read_only_options,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use truetime::Timestamp;

/// Which state of the database to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Everything that was acknowledged before.
    Strong,
    /// Exactly this timestamp.
    ExactTimestamp(Timestamp),
    /// Exactly so long ago.
    ExactStaleness(Duration),
    /// At most so long ago, as fresh as is possible without waiting.
    MaxStaleness(Duration),
}

impl Bound {
    fn options(self) -> ReadOnlyOptions {
        let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let bound = match self {
            Bound::Strong => read_only_options::Bound::Strong(true),
            Bound::ExactTimestamp(at) => read_only_options::Bound::ExactTimestamp(at.nanos()),
            Bound::ExactStaleness(age) => read_only_options::Bound::ExactStalenessNanos(nanos(age)),
            Bound::MaxStaleness(age) => read_only_options::Bound::MaxStalenessNanos(nanos(age)),
        };
        ReadOnlyOptions { bound: Some(bound) }
    }
}

/// A read-only transaction.
#[derive(Clone, Debug)]
pub struct Snapshot {
    client: Client,
    bound: Bound,
    node: Option<NodeId>,
}

impl Client {
    /// A read-only transaction. Nothing is sent before its first read.
    #[must_use]
    pub fn snapshot(&self, bound: Bound) -> Snapshot {
        Snapshot { client: self.clone(), bound, node: None }
    }

    /// Goes on with pages where [`Pages::resume_token`] was taken, at the same timestamp. `table` and `scan` are
    /// those of the first request.
    pub async fn resume_pages(
        &self,
        table: &str,
        scan: Scan<'_>,
        resume_token: Bytes,
    ) -> Result<Pages, ClientError> {
        let mut pages = self.snapshot(Bound::Strong).pages(table, scan).await?;
        pages.request.resume_token = resume_token;
        Ok(pages)
    }
}

impl Snapshot {
    /// Sends every read to this node, such as one that only follows. When it does not answer, the read fails.
    #[must_use]
    pub fn at_node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// The timestamp, once it is chosen.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self.bound {
            Bound::ExactTimestamp(timestamp) => Some(timestamp),
            Bound::Strong | Bound::ExactStaleness(_) | Bound::MaxStaleness(_) => None,
        }
    }

    /// Has the timestamp chosen without a read.
    pub async fn pin(&mut self) -> Result<Timestamp, ClientError> {
        if let Some(timestamp) = self.timestamp() {
            return Ok(timestamp);
        }
        let mode = Some(Mode::ReadOnly(self.bound.options()));
        let request = BeginRequest { options: Some(TransactionOptions { mode }) };
        let time = self.client.config().request_timeout;
        let answer = self.client.ask_anyone(request, self.node, time).await?;
        let timestamp = Timestamp::from_nanos(answer.read_timestamp);
        self.bound = Bound::ExactTimestamp(timestamp);
        Ok(timestamp)
    }

    /// Reads one row.
    pub async fn get(
        &mut self,
        table: &str,
        key: impl Into<RowKey>,
        columns: &[&str],
    ) -> Result<Option<Row>, ClientError> {
        self.get_many(table, vec![key.into()], columns).await.map(only_row)
    }

    /// Reads many rows in one request: one answer for each key, in the same order. `Row::exists` tells
    /// whether there is such a row.
    pub async fn get_many(
        &mut self,
        table: &str,
        keys: Vec<RowKey>,
        columns: &[&str],
    ) -> Result<Vec<Row>, ClientError> {
        let count = keys.len();
        let mut request = self.request(table, Rows::Points(keys), columns).await?;
        let part = self.read(table, &mut request).await?;
        one_for_each(part.rows, count)
    }

    /// Reads all rows of a range.
    pub async fn scan(&mut self, table: &str, scan: Scan<'_>) -> Result<Vec<Row>, ClientError> {
        let columns = scan.columns;
        let mut request = self.request(table, Rows::Range(scan), columns).await?;
        let mut rows = Vec::new();
        loop {
            let part = self.read(table, &mut request).await?;
            rows.extend(part.rows);
            if !part.more {
                return Ok(rows);
            }
        }
    }

    /// Reads a range page by page, `Config::page_rows` at a time.
    pub async fn pages(&self, table: &str, scan: Scan<'_>) -> Result<Pages, ClientError> {
        let columns = scan.columns;
        let request = self.request(table, Rows::Range(scan), columns).await?;
        let (snapshot, table) = (self.clone(), table.to_owned());
        Ok(Pages { snapshot, table, request, progress: Progress::More })
    }

    async fn request(
        &self,
        table: &str,
        rows: Rows<'_>,
        columns: &[&str],
    ) -> Result<ReadRequest, ClientError> {
        let table = self.client.table(table).await?;
        Ok(rows.request(&self.client, &table, columns, LockMode::Shared))
    }

    /// Reads to the end of the page, wherever and in as many pieces as it takes; `request` then asks for the
    /// next one.
    async fn read(&mut self, name: &str, request: &mut ReadRequest) -> Result<Part, ClientError> {
        let config = self.client.config();
        let deadline = Instant::now() + config.request_timeout;
        let mut backoff = Backoff::new(Duration::from_millis(5), config.backoff_max);
        let mut whole = Part::default();
        let mut asked_anew = false;
        let mut earlier = None;
        loop {
            let selector = Some(Selector::SingleUse(self.bound.options()));
            request.transaction = Some(TransactionSelector { selector });
            let connection = self.connection(request, deadline).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let (part, result) = read(&connection, request.clone(), left).await;
            if let Some(timestamp) = part.timestamp {
                self.bound = Bound::ExactTimestamp(timestamp);
            }
            let good = match &result {
                Ok(()) => part.rows.len(),
                Err(_) => part.token.as_ref().map_or(0, |(_, rows)| *rows),
            };
            whole.rows.extend(part.rows.into_iter().take(good));
            if let Some((token, _)) = part.token {
                request.resume_token = token;
            }
            let Err(error) = result else {
                whole.more = part.more;
                return Ok(whole);
            };
            let error = error.or_earlier(earlier.take());
            let may_pass = error.may_pass();
            earlier = Some(error.clone());
            let error = error.of_harmless();
            let is_first = !asked_anew && request.resume_token.is_empty();
            let is_stale = is_first && is_stale_table(&error);
            if is_stale {
                // The name may mean another table now.
                asked_anew = true;
                let table = self.client.fetch_table(name).await?;
                request.table = Some(crate::mutation::reference(&table));
                continue;
            }
            let wait = backoff.next(self.client.pool().jitter(), Duration::ZERO);
            if !may_pass || Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    async fn connection(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Arc<Connection>, ClientError> {
        let pool = self.client.pool();
        match self.node {
            Some(node) => pool.at_node(node).await,
            None => {
                let table = request.table.as_ref().map_or(0, |table| table.id);
                let leader = self.client.leader_of(table, first_key(request));
                pool.pick(leader, deadline).await
            }
        }
    }
}

/// A range that is read page by page, all at one timestamp.
#[derive(Clone, Debug)]
pub struct Pages {
    snapshot: Snapshot,
    table: String,
    request: ReadRequest,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

impl Pages {
    /// The next page; `None` after the last one.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Row>>, ClientError> {
        if self.progress == Progress::Done {
            return Ok(None);
        }
        let part = self.snapshot.read(&self.table, &mut self.request).await?;
        if !part.more {
            self.progress = Progress::Done;
        }
        Ok(Some(part.rows))
    }

    /// What [`Client::resume_pages`] needs to go on after the pages read so far, in this process or another;
    /// `None` when nothing was read yet, or nothing is left.
    #[must_use]
    pub fn resume_token(&self) -> Option<Bytes> {
        let token = &self.request.resume_token;
        (self.progress == Progress::More && !token.is_empty()).then(|| token.clone())
    }

    /// The timestamp, once the first page has been read. Pages that were resumed have it in their token.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.snapshot.timestamp()
    }
}
