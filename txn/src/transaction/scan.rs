//! A read over several shards: cut at their borders, asked in parallel, put together in key order.
//!
//! A *part* is what lies in one shard. With a limit on rows, ranges are asked one part after the other, so
//! that no more is locked than was consumed (T30); points and unlimited ranges are asked all at once.
//!
//! Example: shards `[-, m)` and `[m, -)`, read `[k, p)`: parts `[k, m)` and `[m, p)`. The first answers
//! `k`, `l` with `[l\0, m)` left over; with a limit of three rows it is asked again for one more row before the
//! second part is asked at all.
//!
//! Not here: who is asked and how often; that is routing.

use proto::{Key, KeySpan, ShardId};

use crate::message::{ReadLimit, Row};

/// What the gateway must know of the shard map to cut a read.
pub trait Shards {
    /// The shard of a key, and the first key past it (`None` at the end of the key space).
    fn locate(&self, key: &Key) -> Option<(ShardId, Option<&Key>)>;
}

/// No shard in the map holds this key: the map must be read again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard map has no shard for key {key}")]
pub struct UnknownShard {
    /// The key.
    pub key: Key,
}

/// Sorts spans, drops empty ones and joins those that overlap or touch.
#[must_use]
pub fn normalise(mut spans: Vec<KeySpan>) -> Vec<KeySpan> {
    spans.retain(|span| !span.is_empty());
    if spans.is_sorted_by(|a, b| a.end.as_ref().is_some_and(|end| *end <= b.start)) {
        return spans;
    }
    spans.sort_unstable();
    let mut joined: Vec<KeySpan> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if last.end.as_ref().is_none_or(|end| span.start < *end) => {
                last.end = match (last.end.take(), span.end) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (None, _) | (_, None) => None,
                };
            }
            Some(_) | None => joined.push(span),
        }
    }
    joined
}

/// Cuts normalised spans at the borders of shards.
///
/// # Errors
/// When the map has no shard for some key.
pub fn cut(
    spans: &[KeySpan],
    shards: &impl Shards,
) -> Result<Vec<(ShardId, Vec<KeySpan>)>, UnknownShard> {
    let mut parts: Vec<(ShardId, Vec<KeySpan>)> = Vec::new();
    for span in spans {
        let mut rest = span.clone();
        while !rest.is_empty() {
            let (shard, border) = shards
                .locate(&rest.start)
                .ok_or_else(|| UnknownShard { key: rest.start.clone() })?;
            let cut_here =
                border.filter(|border| rest.end.as_ref().is_none_or(|end| *border < end));
            let next =
                cut_here.map(|border| KeySpan { start: border.clone(), end: rest.end.clone() });
            let piece = KeySpan { end: cut_here.cloned().or(rest.end), start: rest.start };
            match parts.last_mut() {
                Some((last, pieces)) if *last == shard => pieces.push(piece),
                Some(_) | None => parts.push((shard, vec![piece])),
            }
            match next {
                Some(next) => rest = next,
                None => break,
            }
        }
    }
    Ok(parts)
}

/// One shard to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which part this is; the answer names it.
    pub part: usize,
    /// The shard.
    pub shard: ShardId,
    /// What of it.
    pub spans: Vec<KeySpan>,
    /// How much.
    pub limit: ReadLimit,
}

/// What a read returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanRows {
    /// In key order.
    pub rows: Vec<Row>,
    /// What was not read because of the limit.
    pub rest: Vec<KeySpan>,
}

#[derive(Debug)]
struct Part {
    shard: ShardId,
    spans: Vec<KeySpan>,
    unread: Vec<KeySpan>,
    rows: Vec<Row>,
    bytes: u64,
    asked: bool,
}

/// A read in progress.
#[derive(Debug)]
pub struct Scan {
    parts: Vec<Part>,
    limit: ReadLimit,
    at_once_max: usize,
}

impl Scan {
    /// A read of parts as [`cut`] made them; at most `at_once_max` are asked at the same time.
    #[must_use]
    pub fn new(parts: Vec<(ShardId, Vec<KeySpan>)>, limit: ReadLimit, at_once_max: usize) -> Self {
        let only_points =
            parts.iter().all(|(_, spans)| spans.iter().all(|span| span.as_point().is_some()));
        let in_turn = limit.rows != u64::MAX && !only_points;
        let parts = parts
            .into_iter()
            .map(|(shard, spans)| Part {
                shard,
                unread: spans.clone(),
                spans,
                rows: Vec::new(),
                bytes: 0,
                asked: false,
            })
            .collect();
        Scan { parts, limit, at_once_max: if in_turn { 1 } else { at_once_max.max(1) } }
    }

    /// The shard of a part.
    #[must_use]
    pub fn shard(&self, part: usize) -> ShardId {
        self.parts[part].shard
    }

    /// The shards to ask now, so that every part that can still contribute is under way.
    pub fn asks(&mut self) -> Vec<Ask> {
        let mut left = self.limit;
        let mut asks = Vec::new();
        let mut under_way = 0;
        for (index, part) in self.parts.iter_mut().enumerate() {
            left.rows = left.rows.saturating_sub(part.rows.len() as u64);
            left.bytes = left.bytes.saturating_sub(part.bytes);
            if left.rows == 0 || left.bytes == 0 || under_way == self.at_once_max {
                break;
            }
            if part.unread.is_empty() {
                continue;
            }
            under_way += 1;
            if !part.asked {
                part.asked = true;
                let spans = part.unread.clone();
                asks.push(Ask { part: index, shard: part.shard, spans, limit: left });
            }
        }
        asks
    }

    /// A shard answered: what of the ask was consumed becomes the part's, after `overlay` had its way
    /// with it.
    pub fn answered(
        &mut self,
        part: usize,
        rows: Vec<Row>,
        rest: Vec<KeySpan>,
        overlay: impl FnOnce(Vec<Row>, &[KeySpan]) -> Vec<Row>,
    ) {
        let part = &mut self.parts[part];
        assert!(part.asked, "a part that was not asked answered");
        part.asked = false;
        let consumed = match rest.first() {
            None => std::mem::take(&mut part.unread),
            Some(next) => {
                let consumed = up_to(&part.unread, &next.start);
                part.unread = rest;
                consumed
            }
        };
        let rows = overlay(rows, &consumed);
        part.bytes += rows.iter().map(row_bytes).sum::<u64>();
        if part.rows.is_empty() {
            part.rows = rows;
        } else {
            part.rows.extend(rows);
        }
    }

    /// The result, once nothing more is to be asked or awaited.
    #[must_use]
    pub fn take_finished(&mut self) -> Option<ScanRows> {
        let mut left = self.limit;
        for part in &self.parts {
            left.rows = left.rows.saturating_sub(part.rows.len() as u64);
            left.bytes = left.bytes.saturating_sub(part.bytes);
            if left.rows == 0 || left.bytes == 0 {
                break;
            }
            if part.asked || !part.unread.is_empty() {
                return None;
            }
        }
        Some(self.assemble())
    }

    fn assemble(&mut self) -> ScanRows {
        let mut left = self.limit;
        let mut result = ScanRows::default();
        for part in std::mem::take(&mut self.parts) {
            if left.rows == 0 || left.bytes == 0 {
                result.rest.extend(part.spans);
                continue;
            }
            let mut taken = 0;
            for row in &part.rows {
                if left.rows == 0 || left.bytes == 0 {
                    break;
                }
                left.rows -= 1;
                left.bytes = left.bytes.saturating_sub(row_bytes(row));
                taken += 1;
            }
            let mut rows = part.rows;
            match rows.get(taken) {
                // Cut off within the rows: what follows the last row taken is the rest.
                Some(first_left) => {
                    let after = match taken.checked_sub(1) {
                        Some(last) => rows[last].key.successor(),
                        None => first_left.key.clone(),
                    };
                    result.rest.extend(from(&part.spans, &after));
                    rows.truncate(taken);
                }
                None => result.rest.extend(part.unread),
            }
            if result.rows.is_empty() {
                result.rows = rows;
            } else {
                result.rows.extend(rows);
            }
        }
        result
    }
}

/// What a row counts for in [`ReadLimit::bytes`].
fn row_bytes(row: &Row) -> u64 {
    (row.key.as_bytes().len() + row.value.as_bytes().len()) as u64
}

/// The part of normalised spans below `key`.
fn up_to(spans: &[KeySpan], key: &Key) -> Vec<KeySpan> {
    let below = KeySpan { start: Key::default(), end: Some(key.clone()) };
    spans.iter().filter_map(|span| span.intersection(&below)).collect()
}

/// The part of normalised spans at and above `key`.
fn from(spans: &[KeySpan], key: &Key) -> Vec<KeySpan> {
    let above = KeySpan { start: key.clone(), end: None };
    spans.iter().filter_map(|span| span.intersection(&above)).collect()
}
