//! Reads a table, page by page; where it takes more than one page, several shards at a time.
//!
//! The first page asks all shards of the keys at once. If that is not all, the rest is cut at the borders of
//! shards, and up to [`AHEAD`] of these parts are read at the same time; rows still come in the order of the key.
//! A scan with a limit goes on one page after the other, so that no more is locked than is consumed (T30).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use proto::table::KeySet;

use super::keys::key_set;
use super::run::{Row, Run, rows_needed};
use crate::error::{SqlError, SqlState};
use crate::kv::{self, Kv, Page};
use crate::plan::node::Scan;
use crate::scalar::value::Value;

/// Parts that are read at the same time: each holds a page.
const AHEAD: usize = 4;

/// How far a scan is.
#[derive(Debug, Default)]
pub(super) enum ScanState {
    /// It has not begun.
    #[default]
    Start,
    /// It goes on here.
    At { keys: KeySet, limit: Option<u64>, resume: Vec<u8> },
    /// It goes on in these parts, in order.
    Parts { keys: KeySet, parts: VecDeque<Part> },
    /// There is no more.
    End,
}

/// What is left in one shard.
#[derive(Debug)]
pub(super) enum Part {
    /// To be read from here.
    Unread(Vec<u8>),
    /// The next page was read.
    Read(Page),
}

/// The next page.
pub(super) fn next<'a, K: Kv>(
    scan: &'a Scan,
    state: &'a mut ScanState,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a {
    async move {
        loop {
            let page = match std::mem::replace(state, ScanState::End) {
                ScanState::End => return Ok(None),
                ScanState::Start => {
                    let keys = key_set(&scan.schema, &scan.keys, &mut run.evaluator())?;
                    let limit = match &scan.bounds {
                        Some(bounds) => rows_needed(bounds, run)?,
                        None => None,
                    };
                    if limit == Some(0) || (keys.points.is_empty() && keys.ranges.is_empty()) {
                        return Ok(None);
                    }
                    let request = request(scan, run, &keys, limit, None)?;
                    let page = run.kv.scan(request).await?;
                    match (page.resume, limit) {
                        (None, _) => {}
                        (Some(resume), None) => {
                            let parts = run.kv.split(resume).await?;
                            let parts = parts.into_iter().map(Part::Unread).collect();
                            *state = ScanState::Parts { keys, parts };
                        }
                        (Some(resume), Some(_)) => {
                            *state = ScanState::At { keys, limit, resume };
                        }
                    }
                    page.rows
                }
                ScanState::At { keys, limit, resume } => {
                    let request = request(scan, run, &keys, limit, Some(resume))?;
                    let page = run.kv.scan(request).await?;
                    if let Some(resume) = page.resume {
                        *state = ScanState::At { keys, limit, resume };
                    }
                    page.rows
                }
                ScanState::Parts { keys, mut parts } => {
                    read_ahead(scan, run, &keys, &mut parts).await?;
                    let Some(Part::Read(page)) = parts.pop_front() else { return Ok(None) };
                    if let Some(resume) = page.resume {
                        parts.push_front(Part::Unread(resume));
                    }
                    *state = ScanState::Parts { keys, parts };
                    page.rows
                }
            };
            if !page.is_empty() {
                let row = |row: Vec<_>| row.into_iter().map(Value::from_datum).collect();
                return Ok(Some(page.into_iter().map(row).collect()));
            }
        }
    }
}

fn request<K: Kv>(
    scan: &Scan,
    run: &Run<'_, K>,
    keys: &KeySet,
    limit: Option<u64>,
    resume: Option<Vec<u8>>,
) -> Result<kv::Scan, SqlError> {
    let transaction = run.transaction.ok_or_else(|| {
        SqlError::new(SqlState::INTERNAL_ERROR, "a table is read outside a transaction")
    })?;
    Ok(kv::Scan {
        transaction,
        schema: scan.schema.clone(),
        columns: scan.columns.clone(),
        keys: keys.clone(),
        limit,
        lock: scan.lock,
        resume,
    })
}

/// Reads the next page of each of the first parts that has none, all at the same time.
async fn read_ahead<K: Kv>(
    scan: &Scan,
    run: &Run<'_, K>,
    keys: &KeySet,
    parts: &mut VecDeque<Part>,
) -> Result<(), SqlError> {
    if matches!(parts.front(), Some(Part::Read(_)) | None) {
        return Ok(());
    }
    let mut places = Vec::new();
    let mut reads = Vec::new();
    for (place, part) in parts.iter().take(AHEAD).enumerate() {
        if let Part::Unread(resume) = part {
            let request = request(scan, run, keys, None, Some(resume.clone()))?;
            places.push(place);
            reads.push(run.kv.scan(request));
        }
    }
    for (place, page) in places.into_iter().zip(all(reads).await) {
        parts[place] = Part::Read(page?);
    }
    Ok(())
}

/// The results of all futures, which make progress together.
async fn all<T>(futures: Vec<impl Future<Output = T> + Send>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(ready) = Pin::as_mut(future).poll(cx)
            {
                *result = Some(ready);
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}
