//! Plans INSERT, UPDATE and DELETE.

use proto::encoding::TableSchema;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::node::{Node, Scan};
use super::{Delete, Insert, Update, keys, query};
use crate::bind::bound::Expr;
use crate::bind::change as bound;
use crate::kv::Lock;

/// INSERT.
pub(super) fn insert(mut insert: bound::Insert) -> Insert {
    let width = insert.query.outputs.len();
    let visible = if insert.query.columns.is_empty() { width } else { insert.query.columns.len() };
    insert.query.columns.clear();
    let source = query::plan(insert.query, visible);
    let identity = insert.row.len() == visible
        && insert.row.iter().enumerate().all(|(at, value)| *value == Expr::Column(at));
    let source = if identity { source } else { Node::Project(Box::new(source), insert.row) };
    Insert { schema: insert.schema, source }
}

/// UPDATE.
pub(super) fn update(update: bound::Update) -> Update {
    let columns = (0..update.schema.columns().len()).collect();
    let source = scan(&update.schema, columns, update.filter);
    let key = update.schema.key_positions();
    let moves = update.assignments.iter().any(|(column, _)| key.contains(column));
    Update { schema: update.schema, source, assignments: update.assignments, moves }
}

/// DELETE.
pub(super) fn delete(delete: bound::Delete) -> Delete {
    let schema = delete.schema;
    let mut used = BTreeSet::new();
    if let Some(filter) = &delete.filter {
        filter.columns(&mut used);
    }
    // The key comes first, in its order.
    let mut columns = schema.key_positions().to_vec();
    columns.extend(used.into_iter().filter(|column| !schema.key_positions().contains(column)));
    let width = columns.len();
    let node = scan(&schema, columns, delete.filter);
    let key = schema.key_positions().len();
    let source = if width > key { Node::Cut(Box::new(node), key) } else { node };
    Delete { schema, source }
}

/// The rows to change, under exclusive locks.
fn scan(schema: &Arc<TableSchema>, columns: Vec<usize>, filter: Option<Expr>) -> Node {
    let split = keys::split(schema, filter);
    let place_of = |column| {
        columns.iter().position(|each| *each == column).expect("all used columns are scanned")
    };
    let filter = split.filter.map(|filter| filter.moved(&place_of));
    let scan = Scan {
        schema: Arc::clone(schema),
        columns,
        keys: split.keys,
        lock: Lock::Exclusive,
        bounds: None,
    };
    match filter {
        Some(filter) => Node::Filter(Box::new(Node::Scan(scan)), filter),
        None => Node::Scan(scan),
    }
}
