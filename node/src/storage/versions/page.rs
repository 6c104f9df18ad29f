//! One page of a read: what fits the limit, and where to go on.

use crate::storage::version_store::{ReadRows, Version, VersionStoreError};
use proto::KeySpan;
use txn::message::ReadLimit;

/// Whether a span was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// No more rows in it.
    Finished,
    /// The page is full; there may be more.
    Stopped,
}

/// The rows found so far.
pub(super) struct Page {
    rows: Vec<Version>,
    bytes: u64,
    limit: ReadLimit,
    /// How many entries may still be looked at, found or not.
    looks: u64,
}

impl Page {
    /// Takes the row if it fits; the first one always does, so that every read makes progress.
    pub(super) fn take(&mut self, row: Version) -> Scan {
        let value_len = row.value.as_ref().map_or(0, |value| value.as_bytes().len());
        let bytes = self.bytes.saturating_add((row.key.as_bytes().len() + value_len) as u64);
        if !self.rows.is_empty() && bytes > self.limit.bytes {
            return Scan::Stopped;
        }
        self.bytes = bytes;
        self.rows.push(row);
        if self.is_full() { Scan::Stopped } else { Scan::Finished }
    }

    /// To be called before an entry is looked at: says whether it may be. A read that finds little takes long
    /// too.
    pub(super) fn may_look(&mut self) -> bool {
        let left = self.looks.checked_sub(1);
        self.looks = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether no further row can fit. Told without looking for one: the caller's locks cover what was
    /// consumed, and a look ahead may have to pass many tombstones.
    fn is_full(&self) -> bool {
        !self.rows.is_empty()
            && (self.rows.len() as u64 >= self.limit.rows || self.bytes >= self.limit.bytes)
    }
}

/// Reads span after span with `scan` until the page is full, or so many entries were looked at.
pub(super) fn read_spans(
    spans: &[KeySpan],
    limit: ReadLimit,
    looks: u64,
    mut scan: impl FnMut(&KeySpan, &mut Page) -> Result<Scan, VersionStoreError>,
) -> Result<ReadRows, VersionStoreError> {
    let mut page = Page { rows: Vec::new(), bytes: 0, limit, looks };
    for (number, span) in spans.iter().enumerate() {
        let rows_before = page.rows.len();
        let end = if span.is_empty() {
            Scan::Finished
        } else if page.is_full() {
            Scan::Stopped
        } else {
            scan(span, &mut page)?
        };
        if end == Scan::Stopped {
            let start = match page.rows.get(rows_before..) {
                Some([.., last]) => last.key.successor(),
                _ => span.start.clone(),
            };
            let first = KeySpan { start, end: span.end.clone() };
            let rest = std::iter::once(first).chain(spans[number + 1..].iter().cloned());
            let rest = rest.filter(|span| !span.is_empty()).collect();
            return Ok(ReadRows { rows: page.rows, rest });
        }
    }
    Ok(ReadRows { rows: page.rows, rest: Vec::new() })
}
