//! Statements as they were written: names are not looked up, types not known.
//!
//! A chain of operators is flat: `1 + 2 - 3` is one [`Expr::Fold`] with two steps and `a OR b OR c` one
//! [`Expr::Or`] with three operands, so that whoever walks a tree recurses no deeper than the statement nests.
//! Names are folded to lower case unless they were quoted. `at` is a character of the text, from 1; 0 is unknown.

use std::time::Duration;
use truetime::Timestamp;

use crate::scalar::types::Type;

/// An identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Itself.
    pub value: String,
    /// Where it stands.
    pub at: u32,
}

/// The type in a cast or of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeName {
    /// The type.
    pub ty: Type,
    /// PostgreSQL's internal name, which a cast gives its output column.
    pub column_name: &'static str,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Bool(bool),
    /// Digits, with or without point and exponent.
    Number(String),
    /// A quoted text, of no known type.
    Text(String),
}

/// What IS asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsTest {
    /// IS NULL.
    Null,
    /// IS TRUE.
    True,
    /// IS FALSE.
    False,
    /// IS UNKNOWN.
    Unknown,
}

/// One step of a chain: the operator and what stands right of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its sign.
    pub operator: String,
    /// The right operand.
    pub right: Expr,
}

/// A call of a function or an aggregate.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its name.
    pub name: Name,
    /// What it is given.
    pub arguments: Vec<Expr>,
    /// Whether that is `*`.
    pub star: bool,
    /// Whether equal arguments count once.
    pub distinct: bool,
    /// FILTER (WHERE ..).
    pub filter: Option<Box<Expr>>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A constant.
    Literal(Literal, u32),
    /// A column.
    Column {
        /// The table's name or alias.
        qualifier: Option<Name>,
        /// Its name.
        name: Name,
    },
    /// `$1` is 1.
    Parameter(u32, u32),
    /// A prefix operator.
    Unary(String, Box<Expr>),
    /// Binary operators from left to right.
    Fold(Box<Expr>, Vec<Step>),
    /// AND.
    And(Vec<Expr>),
    /// OR.
    Or(Vec<Expr>),
    /// NOT.
    Not(Box<Expr>),
    /// IS.
    Is {
        /// What is tested.
        operand: Box<Expr>,
        /// For what.
        test: IsTest,
        /// IS NOT.
        negated: bool,
    },
    /// IS DISTINCT FROM.
    Distinct {
        /// Left of it.
        left: Box<Expr>,
        /// Right of it.
        right: Box<Expr>,
        /// IS NOT DISTINCT FROM.
        negated: bool,
    },
    /// IN with a list.
    In {
        /// What is looked for.
        operand: Box<Expr>,
        /// Where.
        list: Vec<Expr>,
        /// NOT IN.
        negated: bool,
    },
    /// BETWEEN.
    Between {
        /// What is compared.
        operand: Box<Expr>,
        /// The lower bound.
        low: Box<Expr>,
        /// The upper bound.
        high: Box<Expr>,
        /// NOT BETWEEN.
        negated: bool,
        /// Whether the bounds may be the wrong way round.
        symmetric: bool,
    },
    /// LIKE or ILIKE.
    Like {
        /// What is matched.
        operand: Box<Expr>,
        /// Against what.
        pattern: Box<Expr>,
        /// ESCAPE.
        escape: Option<Box<Expr>>,
        /// `~~` and the like.
        operator: &'static str,
    },
    /// CAST, `::` or a typed literal.
    Cast(Box<Expr>, TypeName),
    /// CASE.
    Case {
        /// What each WHEN is compared with.
        operand: Option<Box<Expr>>,
        /// WHEN and THEN.
        branches: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
    },
    /// A function.
    Call(Call),
    /// DEFAULT as a value of INSERT or UPDATE.
    Default(u32),
}

/// The time that a read is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Exactly this.
    Timestamp(Timestamp),
    /// So long ago.
    Ago(Duration),
    /// Whatever is served without waiting, at most so old.
    MaxStaleness(Duration),
}

/// The lock that a SELECT takes on what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLock {
    /// FOR UPDATE.
    Update,
    /// FOR SHARE.
    Share,
}

/// A key of ORDER BY.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// By what.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST or LAST, where it was said.
    pub nulls_first: Option<bool>,
}

/// SELECT or VALUES with all that may follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What it is of.
    pub body: Body,
    /// ORDER BY.
    pub order_by: Vec<Order>,
    /// LIMIT.
    pub limit: Option<Expr>,
    /// OFFSET.
    pub offset: Option<Expr>,
    /// FOR UPDATE or FOR SHARE.
    pub lock: Option<RowLock>,
    /// AS OF SYSTEM TIME.
    pub as_of: Option<AsOf>,
}

/// What a query's rows come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// SELECT.
    Select(Box<Select>),
    /// VALUES.
    Values(Vec<Vec<Expr>>),
}

/// SELECT up to HAVING.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// DISTINCT.
    pub distinct: bool,
    /// What is selected.
    pub items: Vec<Item>,
    /// FROM.
    pub from: Option<From>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group_by: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
}

/// One of what is selected.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `*` or `t.*`.
    Star(Option<Name>),
    /// An expression, and AS.
    Expr(Expr, Option<Name>),
}

/// A table in FROM.
#[derive(Clone, Debug, PartialEq)]
pub struct From {
    /// The table.
    pub table: Name,
    /// Its name in this statement.
    pub alias: Option<Name>,
    /// The names of its first columns in this statement.
    pub columns: Vec<Name>,
}

/// INSERT.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// Into which table.
    pub table: Name,
    /// The columns, where they were named.
    pub columns: Vec<Name>,
    /// The rows; none for DEFAULT VALUES.
    pub source: Option<Query>,
}

/// UPDATE.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Which table.
    pub table: From,
    /// SET.
    pub assignments: Vec<(Name, Expr)>,
    /// WHERE.
    pub filter: Option<Expr>,
}

/// DELETE.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// From which table.
    pub table: From,
    /// WHERE.
    pub filter: Option<Expr>,
}

/// A column of CREATE TABLE.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: TypeName,
    /// Whether NULL was refused or allowed in words.
    pub null: Option<bool>,
    /// DEFAULT: the expression and its text.
    pub default: Option<(Expr, String)>,
}

/// How a table is split from the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// Before these prefixes of keys.
    At(Vec<Vec<Expr>>),
    /// Evenly.
    Evenly {
        /// Into how many shards.
        shards: Expr,
        /// The first number.
        from: Expr,
        /// The number after the last.
        to: Expr,
    },
}

/// CREATE TABLE.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    /// Its name.
    pub name: Name,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Its columns.
    pub columns: Vec<ColumnDefinition>,
    /// Its primary key, however it was written.
    pub primary_key: Vec<Name>,
    /// SPLIT.
    pub split: Option<Split>,
}

/// DROP TABLE.
#[derive(Clone, Debug, PartialEq)]
pub struct DropTable {
    /// Which.
    pub names: Vec<Name>,
    /// IF EXISTS.
    pub if_exists: bool,
}
