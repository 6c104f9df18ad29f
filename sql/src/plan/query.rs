//! Plans queries: stacks the parts, leaves out what is not needed.

use proto::encoding::TableSchema;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::keys::{self, Keys};
use super::node::{Bounds, Node, Scan};
use crate::bind::bound::Expr;
use crate::bind::query::{Query, SortKey, Source};
use crate::kv::Lock;
use crate::parse::ast::RowLock;

/// Plans a query whose first `visible` outputs are asked for.
pub(crate) fn plan(mut query: Query, visible: usize) -> Node {
    let bounds = (query.limit.is_some() || query.offset.is_some())
        .then(|| Bounds { limit: query.limit.take(), offset: query.offset.take() });
    let (mut node, sorted) = match std::mem::replace(&mut query.source, Source::Rows(Vec::new())) {
        Source::Rows(rows) => (filtered(Node::Rows(rows), query.filter.take()), false),
        Source::Table(schema) => table(&mut query, schema, bounds.as_ref()),
    };
    if let Some(grouping) = query.grouping.take() {
        node = Node::Group(Box::new(node), grouping);
        node = filtered(node, query.having.take());
    }
    let hidden = query.outputs.len() > visible;
    if !is_identity(&query.outputs, &node) {
        node = Node::Project(Box::new(node), query.outputs);
    }
    if query.distinct {
        node = Node::Distinct(Box::new(node));
    }
    if !query.order.is_empty() && !sorted {
        node = Node::Sort(Box::new(node), query.order, bounds.clone());
    }
    if let Some(bounds) = bounds {
        node = Node::Limit(Box::new(node), bounds);
    }
    if hidden { Node::Cut(Box::new(node), visible) } else { node }
}

fn filtered(node: Node, condition: Option<Expr>) -> Node {
    match condition {
        Some(condition) => Node::Filter(Box::new(node), condition),
        None => node,
    }
}

/// Whether a projection would give each row as it is.
fn is_identity(outputs: &[Expr], node: &Node) -> bool {
    let width = match node {
        Node::Scan(scan) => scan.columns.len(),
        Node::Filter(input, _) => return is_identity(outputs, input),
        Node::Rows(rows) => rows.first().map_or(0, Vec::len),
        Node::Group(_, grouping) => grouping.keys.len() + grouping.aggregates.len(),
        Node::Project(..)
        | Node::Distinct(_)
        | Node::Sort(..)
        | Node::Limit(..)
        | Node::Cut(..) => return false,
    };
    outputs.len() == width
        && outputs.iter().enumerate().all(|(at, output)| *output == Expr::Column(at))
}

/// The scan of a table and its filter, and whether its order is the one asked for.
fn table(query: &mut Query, schema: Arc<TableSchema>, bounds: Option<&Bounds>) -> (Node, bool) {
    let split = keys::split(&schema, query.filter.take());
    let plain = query.grouping.is_none() && !query.distinct;
    let sorted = plain && is_sorted(&schema, &split.keys, &query.order, &query.outputs);
    let columns = used_columns(query, split.filter.as_ref(), &schema);
    let place_of = |column| {
        columns.iter().position(|each| *each == column).expect("all used columns are scanned")
    };
    let filter = split.filter.map(|filter| filter.moved(&place_of));
    match &mut query.grouping {
        None => {
            let outputs = std::mem::take(&mut query.outputs).into_iter();
            query.outputs = outputs.map(|output| output.moved(&place_of)).collect();
        }
        Some(grouping) => {
            let keys = std::mem::take(&mut grouping.keys).into_iter();
            grouping.keys = keys.map(|key| key.moved(&place_of)).collect();
            for call in &mut grouping.aggregates {
                call.argument = call.argument.take().map(|argument| argument.moved(&place_of));
                call.filter = call.filter.take().map(|filter| filter.moved(&place_of));
            }
        }
    }
    let lock = match query.lock {
        Some(RowLock::Update) => Lock::Exclusive,
        Some(RowLock::Share) | None => Lock::Shared,
    };
    let all_needed = filter.is_some() || !plain || (!query.order.is_empty() && !sorted);
    let bounds = bounds.filter(|_| !all_needed).cloned();
    let scan = Scan { schema, columns, keys: split.keys, lock, bounds };
    (filtered(Node::Scan(scan), filter), sorted)
}

fn used_columns(query: &Query, filter: Option<&Expr>, schema: &TableSchema) -> Vec<usize> {
    let mut used = BTreeSet::new();
    if let Some(filter) = filter {
        filter.columns(&mut used);
    }
    match &query.grouping {
        None => query.outputs.iter().for_each(|output| output.columns(&mut used)),
        Some(grouping) => {
            grouping.keys.iter().for_each(|key| key.columns(&mut used));
            for call in &grouping.aggregates {
                call.argument.iter().chain(&call.filter).for_each(|each| each.columns(&mut used));
            }
        }
    }
    // Rows are counted by something.
    if used.is_empty() {
        used.insert(schema.key_positions()[0]);
    }
    used.into_iter().collect()
}

/// Whether rows in the order of the primary key are in the order asked for.
fn is_sorted(schema: &TableSchema, keys: &Keys, order: &[SortKey], outputs: &[Expr]) -> bool {
    let fixed = keys.fixed_columns(schema);
    let mut key = schema.key_positions().iter().peekable();
    for each in order {
        let Expr::Column(column) = outputs[each.output] else { return false };
        if fixed.contains(&column) {
            continue;
        }
        while key.next_if(|next| fixed.contains(next) && **next != column).is_some() {}
        match key.peek() {
            // What comes after a whole key decides nothing.
            None => return true,
            Some(next) if **next == column && !each.descending => {
                key.next();
            }
            Some(_) => return false,
        }
    }
    true
}
