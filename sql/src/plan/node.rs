//! The parts of a query's plan.

use proto::encoding::TableSchema;
use std::sync::Arc;

use super::keys::Keys;
use crate::bind::bound::Expr;
use crate::bind::query::{Grouping, SortKey};
use crate::kv::Lock;

/// How many rows to skip, and how many to give.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) limit: Option<Expr>,
    pub(crate) offset: Option<Expr>,
}

/// Rows of a table.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) schema: Arc<TableSchema>,
    /// Positions in the schema; a row has these.
    pub(crate) columns: Vec<usize>,
    pub(crate) keys: Keys,
    pub(crate) lock: Lock,
    /// No more rows are needed than these bounds say.
    pub(crate) bounds: Option<Bounds>,
}

/// A part of a plan, which takes the rows of the parts below it.
#[derive(Debug)]
pub(crate) enum Node {
    Scan(Scan),
    /// Rows of expressions without columns.
    Rows(Vec<Vec<Expr>>),
    Filter(Box<Node>, Expr),
    Project(Box<Node>, Vec<Expr>),
    /// One row for each group: its keys and its aggregates.
    Group(Box<Node>, Grouping),
    Distinct(Box<Node>),
    /// With bounds when only the first rows are needed.
    Sort(Box<Node>, Vec<SortKey>, Option<Bounds>),
    Limit(Box<Node>, Bounds),
    /// The first columns.
    Cut(Box<Node>, usize),
}

impl Node {
    /// The part below.
    pub(crate) fn input(&self) -> Option<&Node> {
        match self {
            Node::Scan(_) | Node::Rows(_) => None,
            Node::Filter(input, _)
            | Node::Project(input, _)
            | Node::Group(input, _)
            | Node::Distinct(input)
            | Node::Sort(input, ..)
            | Node::Limit(input, _)
            | Node::Cut(input, _) => Some(input),
        }
    }

    /// The scan at the bottom.
    pub(crate) fn scan(&self) -> Option<&Scan> {
        let mut at = self;
        while let Some(input) = at.input() {
            at = input;
        }
        match at {
            Node::Scan(scan) => Some(scan),
            _ => None,
        }
    }
}
