//! The writes of a transaction that is not committed, and how its own reads see them.

use proto::{Key, KeySpan, Value};
use std::collections::BTreeMap;
use std::ops::Bound;
use truetime::Timestamp;

use crate::message::{Row, Write};

/// The buffered writes exceed their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the transaction's buffered writes exceed {bytes_max} bytes; split it into smaller transactions, or raise txn.buffered_bytes_max"
)]
pub struct BufferFull {
    /// The limit.
    pub bytes_max: usize,
}

/// Buffered writes, at most one per key: the last one counts.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    writes: BTreeMap<Key, Option<Value>>,
    bytes: usize,
}

impl WriteBuffer {
    /// Writes or deletes a row.
    ///
    /// # Errors
    /// When the buffer would hold more than `bytes_max`; it is then unchanged.
    pub fn put(&mut self, write: Write, bytes_max: usize) -> Result<(), BufferFull> {
        let size = size_of_write(&write.key, write.value.as_ref());
        let replaced =
            self.writes.get(&write.key).map_or(0, |old| size_of_write(&write.key, old.as_ref()));
        let bytes = self.bytes - replaced + size;
        if bytes > bytes_max {
            return Err(BufferFull { bytes_max });
        }
        self.bytes = bytes;
        self.writes.insert(write.key, write.value);
        Ok(())
    }

    /// The buffered state of a row: `Some(None)` when it is deleted here, `None` when nothing is
    /// buffered for it.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Option<Value>> {
        self.writes.get(key)
    }

    /// Whether nothing is buffered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// All writes in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Option<Value>)> {
        self.writes.iter()
    }

    /// Those in a span, in key order.
    pub fn range(&self, span: &KeySpan) -> impl Iterator<Item = (&Key, &Option<Value>)> {
        let end = span.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        // An empty span would make the map panic.
        let bounds = (!span.is_empty()).then_some((Bound::Included(&span.start), end));
        bounds.into_iter().flat_map(|bounds| self.writes.range::<Key, _>(bounds))
    }

    /// Lays the buffered writes of the consumed `spans` over the rows that a shard returned for them.
    /// Both come in key order. A row of this transaction's own has [`Timestamp::ZERO`].
    #[must_use]
    pub fn overlay(&self, rows: Vec<Row>, spans: &[KeySpan]) -> Vec<Row> {
        if self.writes.is_empty() || spans.iter().all(|span| self.range(span).next().is_none()) {
            return rows;
        }
        let mut merged = Vec::with_capacity(rows.len());
        let mut stored = rows.into_iter().peekable();
        for (key, value) in spans.iter().flat_map(|span| self.range(span)) {
            while let Some(row) = stored.next_if(|row| row.key < *key) {
                merged.push(row);
            }
            // The shard's version of a row that is written here is not to be seen.
            let _hidden = stored.next_if(|row| row.key == *key);
            if let Some(value) = value {
                let row =
                    Row { key: key.clone(), timestamp: Timestamp::ZERO, value: value.clone() };
                merged.push(row);
            }
        }
        merged.extend(stored);
        merged
    }
}

/// What one write counts for.
fn size_of_write(key: &Key, value: Option<&Value>) -> usize {
    // What a map entry and two reference-counted headers cost beside the bytes.
    const OVERHEAD: usize = 64;
    key.as_bytes().len() + value.map_or(0, |value| value.as_bytes().len()) + OVERHEAD
}
