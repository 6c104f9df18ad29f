//! Expressions whose names are looked up and whose types are known.
//!
//! A column is a position in the row that the expression is evaluated over: that of the source below, or after
//! grouping that of the groups. Chains stay flat, as in [`crate::parse::ast`].
//!
//! Example: over a table `t(a INT, b INT)`, `b + 1 < 2.5` is `Compare(<, Cast(Call(+, [Column 1, 1])), 2.5)`.

use std::fmt;

use crate::error::SqlError;
use crate::parse::ast::IsTest;
use crate::scalar::aggregate::ResolvedAggregate;
use crate::scalar::function::{Function, Volatility};
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// A function, equal to itself only.
#[derive(Clone, Copy)]
pub(crate) struct FunctionRef(pub(crate) &'static Function);

impl PartialEq for FunctionRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl fmt::Debug for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// A comparison, made by the order of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn of_sign(sign: &str) -> Option<Comparison> {
        Some(match sign {
            "=" => Comparison::Equal,
            "<>" | "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    pub(crate) fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    /// The same with its operands exchanged.
    pub(crate) fn mirrored(self) -> Comparison {
        match self {
            Comparison::Equal => Comparison::Equal,
            Comparison::NotEqual => Comparison::NotEqual,
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        }
    }
}

/// What a step of a chain does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Call(FunctionRef),
    Compare(Comparison),
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// What what is left of it is cast from and to, first.
    pub(crate) left: Option<(Type, Type)>,
    pub(crate) operation: Operation,
    pub(crate) right: Expr,
}

/// A branch of CASE.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Branch {
    /// With an operand: what it is cast from and to, to be compared with the condition.
    pub(crate) operand: Option<(Type, Type)>,
    pub(crate) condition: Expr,
    pub(crate) result: Expr,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Constant(Value),
    Column(usize),
    /// From 0.
    Parameter(usize),
    /// The result of an aggregate, until the rows it is of are laid out.
    Aggregate(usize),
    Call(FunctionRef, Vec<Expr>),
    Fold(Box<Expr>, Vec<Step>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    Cast(Box<Expr>, Type, Type),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Is(Box<Expr>, IsTest, Negated),
    Distinct(Box<Expr>, Box<Expr>, Negated),
    In(Box<Expr>, Vec<Expr>, Negated),
    Case {
        operand: Option<Box<Expr>>,
        branches: Vec<Branch>,
        otherwise: Box<Expr>,
    },
    Coalesce(Vec<Expr>),
    NullIf(Box<Expr>, Box<Expr>),
    Greatest(Vec<Expr>),
    Least(Vec<Expr>),
}

/// Whether the opposite is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negated(pub(crate) bool);

/// An expression with its type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Typed {
    pub(crate) expr: Expr,
    pub(crate) ty: Type,
}

impl Typed {
    pub(crate) fn new(expr: Expr, ty: Type) -> Self {
        Typed { expr, ty }
    }
}

/// A call of an aggregate, its operands over the rows to be grouped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AggregateCall {
    pub(crate) call: ResolvedAggregate,
    /// For EXPLAIN.
    pub(crate) name: String,
    pub(crate) argument: Option<Expr>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Expr>,
}

impl Expr {
    /// Calls `visit` with each operand.
    pub(crate) fn each_operand<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Expr::Constant(_) | Expr::Column(_) | Expr::Parameter(_) | Expr::Aggregate(_) => {}
            Expr::Call(_, operands)
            | Expr::And(operands)
            | Expr::Or(operands)
            | Expr::Coalesce(operands)
            | Expr::Greatest(operands)
            | Expr::Least(operands) => operands.iter().for_each(visit),
            Expr::Fold(first, steps) => {
                visit(first);
                steps.iter().for_each(|step| visit(&step.right));
            }
            Expr::Cast(operand, ..) | Expr::Not(operand) | Expr::Is(operand, ..) => visit(operand),
            Expr::Compare(_, left, right)
            | Expr::Distinct(left, right, _)
            | Expr::NullIf(left, right) => {
                visit(left);
                visit(right);
            }
            Expr::In(operand, list, _) => {
                visit(operand);
                list.iter().for_each(visit);
            }
            Expr::Case { operand, branches, otherwise } => {
                operand.iter().for_each(|operand| visit(operand));
                for branch in branches {
                    visit(&branch.condition);
                    visit(&branch.result);
                }
                visit(otherwise);
            }
        }
    }

    /// The same with other operands.
    pub(crate) fn with_operands(
        self,
        change: &mut dyn FnMut(Expr) -> Result<Expr, SqlError>,
    ) -> Result<Expr, SqlError> {
        let mut all = |operands: Vec<Expr>| -> Result<Vec<Expr>, SqlError> {
            operands.into_iter().map(&mut *change).collect()
        };
        Ok(match self {
            Expr::Constant(_) | Expr::Column(_) | Expr::Parameter(_) | Expr::Aggregate(_) => self,
            Expr::Call(function, operands) => Expr::Call(function, all(operands)?),
            Expr::And(operands) => Expr::And(all(operands)?),
            Expr::Or(operands) => Expr::Or(all(operands)?),
            Expr::Coalesce(operands) => Expr::Coalesce(all(operands)?),
            Expr::Greatest(operands) => Expr::Greatest(all(operands)?),
            Expr::Least(operands) => Expr::Least(all(operands)?),
            Expr::Fold(first, steps) => {
                let first = Box::new(change(*first)?);
                let steps = steps.into_iter().map(|step| {
                    let right = change(step.right)?;
                    Ok(Step { right, ..step })
                });
                Expr::Fold(first, steps.collect::<Result<_, SqlError>>()?)
            }
            Expr::Cast(operand, from, to) => Expr::Cast(Box::new(change(*operand)?), from, to),
            Expr::Not(operand) => Expr::Not(Box::new(change(*operand)?)),
            Expr::Is(operand, test, negated) => {
                Expr::Is(Box::new(change(*operand)?), test, negated)
            }
            Expr::Compare(comparison, left, right) => {
                let left = Box::new(change(*left)?);
                Expr::Compare(comparison, left, Box::new(change(*right)?))
            }
            Expr::Distinct(left, right, negated) => {
                let left = Box::new(change(*left)?);
                Expr::Distinct(left, Box::new(change(*right)?), negated)
            }
            Expr::NullIf(left, right) => {
                let left = Box::new(change(*left)?);
                Expr::NullIf(left, Box::new(change(*right)?))
            }
            Expr::In(operand, list, negated) => {
                let operand = Box::new(change(*operand)?);
                let list = list.into_iter().map(&mut *change).collect::<Result<_, _>>()?;
                Expr::In(operand, list, negated)
            }
            Expr::Case { operand, branches, otherwise } => {
                let operand = operand.map(|operand| change(*operand)).transpose()?;
                let branches = branches.into_iter().map(|branch| {
                    let condition = change(branch.condition)?;
                    let result = change(branch.result)?;
                    Ok(Branch { operand: branch.operand, condition, result })
                });
                let branches = branches.collect::<Result<_, SqlError>>()?;
                let otherwise = Box::new(change(*otherwise)?);
                Expr::Case { operand: operand.map(Box::new), branches, otherwise }
            }
        })
    }

    /// Adds the columns that it reads.
    pub(crate) fn columns(&self, found: &mut std::collections::BTreeSet<usize>) {
        if let Expr::Column(column) = self {
            found.insert(*column);
        }
        self.each_operand(&mut |operand| operand.columns(found));
    }

    /// Whether it reads a row.
    pub(crate) fn has_columns(&self) -> bool {
        let mut found = matches!(self, Expr::Column(_) | Expr::Aggregate(_));
        self.each_operand(&mut |operand| found |= operand.has_columns());
        found
    }

    /// Whether evaluating it once or often makes a difference.
    pub(crate) fn is_volatile(&self) -> bool {
        let volatile = |function: &FunctionRef| function.0.volatility == Volatility::Volatile;
        let mut found = match self {
            Expr::Call(function, _) => volatile(function),
            Expr::Fold(_, steps) => steps.iter().any(|step| match &step.operation {
                Operation::Call(function) => volatile(function),
                Operation::Compare(_) => false,
            }),
            Expr::Constant(_)
            | Expr::Column(_)
            | Expr::Parameter(_)
            | Expr::Aggregate(_)
            | Expr::Compare(..)
            | Expr::Cast(..)
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::Is(..)
            | Expr::Distinct(..)
            | Expr::In(..)
            | Expr::Case { .. }
            | Expr::Coalesce(_)
            | Expr::NullIf(..)
            | Expr::Greatest(_)
            | Expr::Least(_) => false,
        };
        self.each_operand(&mut |operand| found |= operand.is_volatile());
        found
    }

    /// The same over rows whose columns stand elsewhere.
    pub(crate) fn moved(self, place_of: &dyn Fn(usize) -> usize) -> Expr {
        match self {
            Expr::Column(column) => Expr::Column(place_of(column)),
            other => other
                .with_operands(&mut |operand| Ok(operand.moved(place_of)))
                .expect("moving columns does not fail"),
        }
    }
}
