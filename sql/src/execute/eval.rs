//! Evaluates expressions.
//!
//! Example: `a > 1 OR b` over the row `(2, NULL)` is true; `b` is not looked at.
//!
//! Recursion is as deep as the statement nests; chains are loops.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::bind::bound::{Branch, Comparison, Expr, Negated, Operation, Step};
use crate::error::SqlError;
use crate::parse::ast::IsTest;
use crate::scalar::cast::cast;
use crate::scalar::env::Env;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// What expressions are evaluated with, beside a row.
pub(crate) struct Evaluator<'e> {
    pub(crate) parameters: &'e [Value],
    pub(crate) env: &'e mut Env,
}

/// The value of an expression without columns and parameters.
pub(crate) fn constant(expr: &Expr, env: &Env) -> Result<Value, SqlError> {
    let mut env = env.clone();
    Evaluator { parameters: &[], env: &mut env }.value(expr, &[])
}

impl Evaluator<'_> {
    /// The value of an expression over a row.
    pub(crate) fn value(&mut self, expr: &Expr, row: &[Value]) -> Result<Value, SqlError> {
        self.eval(expr, row).map(Cow::into_owned)
    }

    /// Whether a condition is true, and neither false nor NULL.
    pub(crate) fn holds(&mut self, condition: &Expr, row: &[Value]) -> Result<bool, SqlError> {
        Ok(matches!(*self.eval(condition, row)?, Value::Bool(true)))
    }

    fn eval<'a>(&mut self, expr: &'a Expr, row: &'a [Value]) -> Result<Cow<'a, Value>, SqlError> {
        match expr {
            Expr::Constant(value) => Ok(Cow::Borrowed(value)),
            Expr::Column(column) => Ok(Cow::Borrowed(&row[*column])),
            Expr::Parameter(index) => Ok(Cow::Owned(self.parameters[*index].clone())),
            Expr::Aggregate(_) => unreachable!("it became a column of the groups"),
            Expr::Compare(comparison, left, right) => {
                let left = self.eval(left, row)?;
                let right = self.eval(right, row)?;
                Ok(Cow::Owned(compare(*comparison, &left, &right)))
            }
            other => self.compute(other, row).map(Cow::Owned),
        }
    }

    fn compute(&mut self, expr: &Expr, row: &[Value]) -> Result<Value, SqlError> {
        match expr {
            Expr::Constant(_)
            | Expr::Column(_)
            | Expr::Parameter(_)
            | Expr::Aggregate(_)
            | Expr::Compare(..) => unreachable!("eval does these"),
            Expr::Call(function, operands) => {
                let arguments = self.values(operands, row)?;
                function.0.call(&arguments, self.env)
            }
            Expr::Fold(first, steps) => self.fold(first, steps, row),
            Expr::Cast(operand, from, to) => {
                let value = self.value(operand, row)?;
                self.cast(value, *from, *to)
            }
            Expr::And(operands) => self.connect(operands, row, false),
            Expr::Or(operands) => self.connect(operands, row, true),
            Expr::Not(operand) => Ok(match *self.eval(operand, row)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            }),
            Expr::Is(operand, test, Negated(negated)) => {
                let value = self.eval(operand, row)?;
                let holds = match test {
                    IsTest::Null | IsTest::Unknown => value.is_null(),
                    IsTest::True => matches!(*value, Value::Bool(true)),
                    IsTest::False => matches!(*value, Value::Bool(false)),
                };
                Ok(Value::Bool(holds != *negated))
            }
            Expr::Distinct(left, right, Negated(negated)) => {
                let left = self.eval(left, row)?;
                let right = self.eval(right, row)?;
                Ok(Value::Bool((left != right) != *negated))
            }
            Expr::In(operand, list, Negated(negated)) => self.is_in(operand, list, *negated, row),
            Expr::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise, row)
            }
            Expr::Coalesce(operands) => {
                for operand in operands {
                    let value = self.eval(operand, row)?;
                    if !value.is_null() {
                        return Ok(value.into_owned());
                    }
                }
                Ok(Value::Null)
            }
            Expr::NullIf(left, right) => {
                let left = self.eval(left, row)?;
                let right = self.eval(right, row)?;
                let equal = !left.is_null() && left.order(&right) == Ordering::Equal;
                Ok(if equal { Value::Null } else { left.into_owned() })
            }
            Expr::Greatest(operands) => self.extreme(operands, row, Ordering::Greater),
            Expr::Least(operands) => self.extreme(operands, row, Ordering::Less),
        }
    }

    fn values(&mut self, exprs: &[Expr], row: &[Value]) -> Result<Vec<Value>, SqlError> {
        exprs.iter().map(|expr| self.value(expr, row)).collect()
    }

    fn cast(&self, value: Value, from: Type, to: Type) -> Result<Value, SqlError> {
        if value.is_null() { Ok(value) } else { cast(value, from, to, self.env) }
    }

    fn fold(&mut self, first: &Expr, steps: &[Step], row: &[Value]) -> Result<Value, SqlError> {
        let mut whole = self.value(first, row)?;
        for step in steps {
            if let Some((from, to)) = step.left {
                whole = self.cast(whole, from, to)?;
            }
            let right = self.value(&step.right, row)?;
            whole = match &step.operation {
                Operation::Compare(comparison) => compare(*comparison, &whole, &right),
                Operation::Call(function) => function.0.call(&[whole, right], self.env)?,
            };
        }
        Ok(whole)
    }

    /// AND, or OR, which `decides` with true.
    fn connect(
        &mut self,
        operands: &[Expr],
        row: &[Value],
        decides: bool,
    ) -> Result<Value, SqlError> {
        let mut unknown = false;
        for operand in operands {
            match *self.eval(operand, row)? {
                Value::Bool(value) if value == decides => return Ok(Value::Bool(decides)),
                Value::Bool(_) => {}
                _ => unknown = true,
            }
        }
        Ok(if unknown { Value::Null } else { Value::Bool(!decides) })
    }

    fn is_in(
        &mut self,
        operand: &Expr,
        list: &[Expr],
        negated: bool,
        row: &[Value],
    ) -> Result<Value, SqlError> {
        let value = self.eval(operand, row)?;
        if value.is_null() {
            return Ok(Value::Null);
        }
        let mut unknown = false;
        for each in list {
            let each = self.eval(each, row)?;
            if each.is_null() {
                unknown = true;
            } else if value.order(&each) == Ordering::Equal {
                return Ok(Value::Bool(!negated));
            }
        }
        Ok(if unknown { Value::Null } else { Value::Bool(negated) })
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        branches: &[Branch],
        otherwise: &Expr,
        row: &[Value],
    ) -> Result<Value, SqlError> {
        let operand = operand.map(|operand| self.value(operand, row)).transpose()?;
        for branch in branches {
            let condition = self.eval(&branch.condition, row)?;
            let taken = match &operand {
                None => matches!(*condition, Value::Bool(true)),
                Some(operand) => {
                    let operand = match branch.operand {
                        Some((from, to)) => Cow::Owned(self.cast(operand.clone(), from, to)?),
                        None => Cow::Borrowed(operand),
                    };
                    compare(Comparison::Equal, &operand, &condition) == Value::Bool(true)
                }
            };
            if taken {
                return self.value(&branch.result, row);
            }
        }
        self.value(otherwise, row)
    }

    /// GREATEST and LEAST leave NULLs out.
    fn extreme(
        &mut self,
        operands: &[Expr],
        row: &[Value],
        wanted: Ordering,
    ) -> Result<Value, SqlError> {
        let mut best = Value::Null;
        for operand in operands {
            let value = self.eval(operand, row)?;
            if !value.is_null() && (best.is_null() || value.order(&best) == wanted) {
                best = value.into_owned();
            }
        }
        Ok(best)
    }
}

/// NULL when an operand is.
fn compare(comparison: Comparison, left: &Value, right: &Value) -> Value {
    if left.is_null() || right.is_null() {
        return Value::Null;
    }
    let order = left.order(right);
    Value::Bool(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}
