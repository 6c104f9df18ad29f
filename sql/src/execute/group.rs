//! Groups rows and computes aggregates.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use super::run::{Row, Run, State, next};
use crate::bind::bound::AggregateCall;
use crate::bind::query::Grouping;
use crate::error::SqlError;
use crate::kv::Kv;
use crate::plan::node::Node;
use crate::scalar::aggregate::Accumulator;
use crate::scalar::value::{GroupKey, Value};

/// An aggregate of one group at work.
struct Working {
    accumulator: Accumulator,
    /// With DISTINCT: what was added.
    seen: BTreeSet<GroupKey>,
}

/// What a group costs beside its key.
const OVERHEAD: usize = 64;

/// The groups of all rows of a part, in the order of their keys.
pub(super) fn all<'a, K: Kv>(
    input: &'a Node,
    grouping: &'a Grouping,
    state: &'a mut State,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send + 'a {
    async move {
        let mut groups: BTreeMap<GroupKey, Vec<Working>> = BTreeMap::new();
        if grouping.keys.is_empty() {
            groups.insert(GroupKey(Vec::new()), working(&grouping.aggregates));
        }
        while let Some(rows) = next(input, state, run).await? {
            for row in rows {
                add(&mut groups, grouping, &row, run)?;
                run.row_done().await?;
            }
        }
        let mut rows = Vec::with_capacity(groups.len());
        for (GroupKey(mut row), working) in groups {
            for each in working {
                row.push(each.accumulator.finish()?);
            }
            rows.push(row);
            run.row_done().await?;
        }
        Ok(rows)
    }
}

fn working(calls: &[AggregateCall]) -> Vec<Working> {
    let begin = |call: &AggregateCall| Working {
        accumulator: Accumulator::new(&call.call),
        seen: BTreeSet::new(),
    };
    calls.iter().map(begin).collect()
}

fn add<K: Kv>(
    groups: &mut BTreeMap<GroupKey, Vec<Working>>,
    grouping: &Grouping,
    row: &Row,
    run: &mut Run<'_, K>,
) -> Result<(), SqlError> {
    let mut evaluator = run.evaluator();
    let key = grouping.keys.iter().map(|key| evaluator.value(key, row));
    let key = GroupKey(key.collect::<Result<_, _>>()?);
    if !groups.contains_key(&key) {
        let begun = working(&grouping.aggregates);
        let accumulators: usize = begun.iter().map(|each| each.accumulator.size()).sum();
        run.memory.take(key.size() + accumulators + OVERHEAD, "GROUP BY")?;
        groups.insert(key.clone(), begun);
    }
    let group = groups.get_mut(&key).expect("it is there now");
    for (call, working) in grouping.aggregates.iter().zip(group) {
        let mut evaluator = run.evaluator();
        if let Some(filter) = &call.filter
            && !evaluator.holds(filter, row)?
        {
            continue;
        }
        let value = match &call.argument {
            Some(argument) => evaluator.value(argument, row)?,
            None => Value::Null,
        };
        if call.distinct {
            let key = GroupKey(vec![value]);
            if working.seen.contains(&key) {
                continue;
            }
            run.memory.take(key.size() + OVERHEAD, "an aggregate of DISTINCT values")?;
            working.accumulator.add(&key.0[0])?;
            working.seen.insert(key);
            continue;
        }
        let before = working.accumulator.size();
        working.accumulator.add(&value)?;
        let grown = working.accumulator.size().saturating_sub(before);
        run.memory.take(grown, "an aggregate")?;
    }
    Ok(())
}
