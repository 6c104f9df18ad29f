//! Pulls batches of rows through the parts of a plan.
//!
//! Each part of a plan has a state of its own in an execution. A part that filters asks the part below until it
//! has rows; one that sorts or groups asks until there are no more.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use super::eval::Evaluator;
use super::memory::{Memory, size_of_row};
use super::scan::{self, ScanState};
use super::{group, sort};
use crate::bind::bound::Expr;
use crate::error::{SqlError, SqlState};
use crate::kv::{Kv, Transaction};
use crate::plan::node::{Bounds, Node};
use crate::scalar::env::Env;
use crate::scalar::value::{GroupKey, Value};

/// A row.
pub(super) type Row = Vec<Value>;

/// Rows of one batch that are computed and not read.
pub(super) const BATCH_ROWS: usize = 1_000;

/// What an execution works with.
pub(super) struct Run<'r, K> {
    pub(super) kv: &'r K,
    pub(super) transaction: Option<Transaction>,
    pub(super) parameters: &'r [Value],
    pub(super) env: &'r mut Env,
    pub(super) memory: &'r mut Memory,
    /// Rows computed since the last breath.
    pub(super) computed: usize,
}

impl<K: Kv> Run<'_, K> {
    pub(super) fn evaluator(&mut self) -> Evaluator<'_> {
        Evaluator { parameters: self.parameters, env: self.env }
    }

    /// Counts a row that was computed, and breathes after a batch of them.
    pub(super) fn row_done(&mut self) -> impl Future<Output = Result<(), SqlError>> + Send {
        async move {
            self.computed += 1;
            match self.computed < BATCH_ROWS {
                true => Ok(()),
                false => self.breathe().await,
            }
        }
    }

    /// Lets others run.
    pub(super) fn breathe(&mut self) -> impl Future<Output = Result<(), SqlError>> + Send {
        self.computed = 0;
        self.env.clock_micros = self.kv.now_micros();
        self.kv.breathe()
    }
}

/// How far a part of a plan is.
#[derive(Debug)]
pub(super) enum State {
    Scan(ScanState),
    Rows {
        at: usize,
    },
    Over(Box<State>),
    Limit {
        input: Box<State>,
        left: Option<Left>,
    },
    Distinct {
        input: Box<State>,
        seen: BTreeSet<GroupKey>,
    },
    /// Rows that are ready once all below were taken.
    Whole {
        input: Box<State>,
        ready: Option<std::vec::IntoIter<Row>>,
    },
}

/// What a limit has left.
#[derive(Debug)]
pub(super) struct Left {
    skip: u64,
    give: Option<u64>,
}

impl State {
    /// That of a part that has not begun.
    pub(super) fn of(node: &Node) -> State {
        let below = |input: &Node| Box::new(State::of(input));
        match node {
            Node::Scan(_) => State::Scan(ScanState::default()),
            Node::Rows(_) => State::Rows { at: 0 },
            Node::Filter(input, _) | Node::Project(input, _) | Node::Cut(input, _) => {
                State::Over(below(input))
            }
            Node::Limit(input, _) => State::Limit { input: below(input), left: None },
            Node::Distinct(input) => State::Distinct { input: below(input), seen: BTreeSet::new() },
            Node::Group(input, _) | Node::Sort(input, ..) => {
                State::Whole { input: below(input), ready: None }
            }
        }
    }
}

/// A batch to come. Boxed because parts call the parts below.
pub(super) type NextBatch<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a>>;

/// The next batch of a part: some rows, or `None` at the end.
pub(super) fn next<'a, K: Kv>(
    node: &'a Node,
    state: &'a mut State,
    run: &'a mut Run<'_, K>,
) -> NextBatch<'a> {
    match (node, state) {
        (Node::Scan(scan), State::Scan(state)) => Box::pin(scan::next(scan, state, run)),
        (Node::Rows(rows), State::Rows { at }) => Box::pin(computed(rows, at, run)),
        (Node::Filter(input, condition), State::Over(state)) => {
            Box::pin(kept(input, state, run, |row, run| {
                Ok(run.evaluator().holds(condition, &row)?.then_some(row))
            }))
        }
        (Node::Project(input, outputs), State::Over(state)) => {
            Box::pin(project(input, outputs, state, run))
        }
        (Node::Cut(input, width), State::Over(state)) => Box::pin(async move {
            let mut rows = next(input, state, run).await?;
            rows.iter_mut().flatten().for_each(|row| row.truncate(*width));
            Ok(rows)
        }),
        (Node::Limit(input, bounds), State::Limit { input: state, left }) => {
            Box::pin(limit(input, bounds, state, left, run))
        }
        (Node::Distinct(input), State::Distinct { input: state, seen }) => {
            Box::pin(kept(input, state, run, |row, run| {
                let key = GroupKey(row);
                if seen.contains(&key) {
                    return Ok(None);
                }
                run.memory.take(key.size(), "DISTINCT")?;
                let row = key.0.clone();
                seen.insert(key);
                Ok(Some(row))
            }))
        }
        (Node::Group(input, grouping), State::Whole { input: state, ready }) => {
            Box::pin(async move {
                if ready.is_none() {
                    *ready = Some(group::all(input, grouping, state, run).await?.into_iter());
                }
                Ok(batch(ready))
            })
        }
        (Node::Sort(input, keys, bounds), State::Whole { input: state, ready }) => {
            Box::pin(async move {
                if ready.is_none() {
                    let first = match bounds {
                        Some(bounds) => rows_needed(bounds, run)?,
                        None => None,
                    };
                    *ready = Some(sort::all(input, keys, first, state, run).await?.into_iter());
                }
                Ok(batch(ready))
            })
        }
        _ => unreachable!("a state is made for its part"),
    }
}

fn batch(ready: &mut Option<std::vec::IntoIter<Row>>) -> Option<Vec<Row>> {
    let rows: Vec<Row> = ready.iter_mut().flatten().take(BATCH_ROWS).collect();
    (!rows.is_empty()).then_some(rows)
}

fn computed<'a, K: Kv>(
    rows: &'a [Vec<Expr>],
    at: &'a mut usize,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a {
    async move {
        if *at >= rows.len() {
            return Ok(None);
        }
        if *at > 0 {
            run.breathe().await?;
        }
        let end = rows.len().min(*at + BATCH_ROWS);
        let mut evaluator = run.evaluator();
        let value_of = |expr: &Expr| evaluator.value(expr, &[]);
        let mut value_of = value_of;
        let mut computed = Vec::with_capacity(end - *at);
        for row in &rows[*at..end] {
            computed.push(row.iter().map(&mut value_of).collect::<Result<Row, _>>()?);
        }
        *at = end;
        Ok(Some(computed))
    }
}

/// The next batch of the rows below that `keep` keeps.
fn kept<'a, K: Kv>(
    input: &'a Node,
    state: &'a mut State,
    run: &'a mut Run<'_, K>,
    mut keep: impl FnMut(Row, &mut Run<'_, K>) -> Result<Option<Row>, SqlError> + Send + 'a,
) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a {
    async move {
        while let Some(rows) = next(input, state, run).await? {
            let mut kept = Vec::new();
            for row in rows {
                kept.extend(keep(row, run)?);
                run.row_done().await?;
            }
            if !kept.is_empty() {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }
}

fn project<'a, K: Kv>(
    input: &'a Node,
    outputs: &'a [Expr],
    state: &'a mut State,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a {
    async move {
        let Some(mut rows) = next(input, state, run).await? else { return Ok(None) };
        // A page of small rows may become one of any size: `repeat('x', 1000000)`.
        let mut bytes = 0;
        for row in &mut rows {
            let mut evaluator = run.evaluator();
            let values = outputs.iter().map(|output| evaluator.value(output, row));
            *row = values.collect::<Result<Row, _>>()?;
            let size = size_of_row(row);
            run.memory.take(size, "computing a page of results")?;
            bytes += size;
            run.row_done().await?;
        }
        run.memory.give_back(bytes);
        Ok(Some(rows))
    }
}

fn limit<'a, K: Kv>(
    input: &'a Node,
    bounds: &'a Bounds,
    state: &'a mut State,
    left: &'a mut Option<Left>,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a {
    async move {
        let left = match left {
            Some(left) => left,
            None => {
                let (skip, give) = evaluate(bounds, run)?;
                left.insert(Left { skip, give })
            }
        };
        while left.give != Some(0) {
            let Some(mut rows) = next(input, state, run).await? else { return Ok(None) };
            let skipped = rows.len().min(usize::try_from(left.skip).unwrap_or(usize::MAX));
            rows.drain(..skipped);
            left.skip -= u64::try_from(skipped).expect("a count of rows");
            if let Some(give) = &mut left.give {
                rows.truncate(usize::try_from(*give).unwrap_or(usize::MAX));
                *give -= u64::try_from(rows.len()).expect("a count of rows");
            }
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

/// OFFSET and LIMIT; no limit when that is NULL.
fn evaluate<K: Kv>(bounds: &Bounds, run: &mut Run<'_, K>) -> Result<(u64, Option<u64>), SqlError> {
    let mut value = |expr: &Option<Expr>, state, what| match expr {
        None => Ok(None),
        Some(expr) => match run.evaluator().value(expr, &[])? {
            Value::Int(value) => u64::try_from(value)
                .map(Some)
                .map_err(|_| SqlError::new(state, format!("{what} must not be negative"))),
            _ => Ok(None),
        },
    };
    let offset = value(&bounds.offset, SqlState::INVALID_ROW_COUNT_IN_OFFSET_CLAUSE, "OFFSET")?;
    let limit = value(&bounds.limit, SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE, "LIMIT")?;
    Ok((offset.unwrap_or(0), limit))
}

/// How many rows are needed at the most to skip and give so many.
pub(super) fn rows_needed<K: Kv>(
    bounds: &Bounds,
    run: &mut Run<'_, K>,
) -> Result<Option<u64>, SqlError> {
    let (skip, give) = evaluate(bounds, run)?;
    Ok(give.map(|give| give.saturating_add(skip)))
}

/// Takes all rows of a part into memory.
pub(super) fn collect<'a, K: Kv>(
    node: &'a Node,
    what: &'a str,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send + 'a {
    async move {
        let mut state = State::of(node);
        let mut all = Vec::new();
        while let Some(rows) = next(node, &mut state, run).await? {
            for row in rows {
                run.memory.take(size_of_row(&row), what)?;
                all.push(row);
            }
        }
        Ok(all)
    }
}
