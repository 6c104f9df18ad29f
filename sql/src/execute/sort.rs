//! Sorts rows.
//!
//! Rows are sorted in runs of a thousand as they come, and the runs merged in pairs, so that others run in
//! between. With LIMIT only as many rows are kept as can be asked for.

use std::cmp::Ordering;
use std::future::Future;

use super::memory::size_of_row;
use super::run::{BATCH_ROWS, Row, Run, State, next};
use crate::bind::query::SortKey;
use crate::error::SqlError;
use crate::kv::Kv;
use crate::plan::node::Node;

/// All rows of a part in order, or the first of them.
pub(super) fn all<'a, K: Kv>(
    input: &'a Node,
    keys: &'a [SortKey],
    first: Option<u64>,
    state: &'a mut State,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send + 'a {
    async move {
        let first = first.map_or(usize::MAX, |first| usize::try_from(first).unwrap_or(usize::MAX));
        let mut runs: Vec<Vec<Row>> = Vec::new();
        let mut gathered: Vec<Row> = Vec::new();
        while let Some(rows) = next(input, state, run).await? {
            for row in rows {
                run.memory.take(size_of_row(&row), "ORDER BY")?;
                gathered.push(row);
                if gathered.len() < BATCH_ROWS {
                    continue;
                }
                gathered.sort_by(|a, b| order(a, b, keys));
                runs.push(std::mem::take(&mut gathered));
                run.breathe().await?;
                // Equal lengths are merged as in a binary counter: each row is moved a logarithm of times.
                while let [.., before, last] = runs.as_slice()
                    && (before.len() <= last.len() || last.len() >= first)
                {
                    merge_last(&mut runs, keys, first, run).await?;
                }
            }
        }
        gathered.sort_by(|a, b| order(a, b, keys));
        runs.push(gathered);
        while runs.len() > 1 {
            merge_last(&mut runs, keys, first, run).await?;
        }
        Ok(runs.pop().unwrap_or_default())
    }
}

/// Merges the last two runs. Of equal rows those of the earlier run come first.
fn merge_last<'a, K: Kv>(
    runs: &'a mut Vec<Vec<Row>>,
    keys: &'a [SortKey],
    first: usize,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<(), SqlError>> + Send + 'a {
    async move {
        let last = runs.pop().unwrap_or_default();
        let before = runs.pop().unwrap_or_default();
        let mut merged = Vec::with_capacity(first.min(last.len() + before.len()));
        let (mut last, mut before) = (last.into_iter().peekable(), before.into_iter().peekable());
        while merged.len() < first {
            let from_last = match (before.peek(), last.peek()) {
                (Some(a), Some(b)) => order(b, a, keys) == Ordering::Less,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (None, None) => break,
            };
            merged.extend(if from_last { last.next() } else { before.next() });
            run.row_done().await?;
        }
        let dropped = before.chain(last).map(|row| size_of_row(&row)).sum();
        run.memory.give_back(dropped);
        runs.push(merged);
        Ok(())
    }
}

fn order(a: &Row, b: &Row, keys: &[SortKey]) -> Ordering {
    for key in keys {
        let (a, b) = (&a[key.output], &b[key.output]);
        let order = match (a.is_null(), b.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if key.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if key.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) if key.descending => b.order(a),
            (false, false) => a.order(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}
