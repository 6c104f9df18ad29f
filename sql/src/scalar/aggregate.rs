//! Aggregates: one value from many.
//!
//! Example: `sum` of `integer` returns `bigint`; an [`Accumulator`] is given 1, NULL and 2 and finishes with 3.
//! NULLs count only for `count(*)`. Not here: DISTINCT and FILTER, which decide what is added.

use rust_decimal::Decimal;

use super::cast::{self, Coercion};
use super::function;
use super::types::Type;
use super::value::Value;
use super::{double, numeric};
use crate::error::{SqlError, SqlState};

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Rows.
    CountStar,
    /// Values.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Whether all are true.
    BoolAnd,
    /// Whether one is true.
    BoolOr,
}

/// A call of an aggregate whose types are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedAggregate {
    /// The function.
    pub aggregate: Aggregate,
    /// To which type its argument is to be coerced; none for `count(*)`.
    pub argument: Option<Type>,
    /// The type of the result.
    pub returns: Type,
}

/// Whether a name, in lower case, is that of an aggregate.
#[must_use]
pub fn is_aggregate(name: &str) -> bool {
    named(name).is_some()
}

fn named(name: &str) -> Option<Aggregate> {
    Some(match name {
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "avg" => Aggregate::Avg,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "bool_and" | "every" => Aggregate::BoolAnd,
        "bool_or" => Aggregate::BoolOr,
        _ => return None,
    })
}

/// The aggregate that a call means; no arguments stand for `(*)`.
///
/// # Errors
///
/// There is none of such arguments (42883), or several fit as well (42725).
pub fn resolve_aggregate(name: &str, arguments: &[Type]) -> Result<ResolvedAggregate, SqlError> {
    let problem = |state, problem: &str, hint: &str| {
        let message = format!("function {name}({}) {problem}", function::list(arguments));
        Err(SqlError::new(state, message).with_hint(hint))
    };
    let found = match (named(name), arguments) {
        (Some(Aggregate::Count), []) => Some((Aggregate::CountStar, None, Type::BigInt)),
        // `count` takes any type, an unknown one as text.
        (Some(Aggregate::Count), [ty]) => {
            let ty = if *ty == Type::Unknown { Type::Text } else { *ty };
            Some((Aggregate::Count, Some(ty), Type::BigInt))
        }
        (Some(Aggregate::Sum | Aggregate::Avg), [Type::Unknown]) => {
            return problem(
                SqlState::AMBIGUOUS_FUNCTION,
                "is not unique",
                "Could not choose a best candidate function. \
                 You might need to add explicit type casts.",
            );
        }
        (Some(aggregate), [ty]) => {
            returns(aggregate, *ty).map(|(to, returns)| (aggregate, Some(to), returns))
        }
        _ => None,
    };
    match found {
        Some((aggregate, argument, returns)) => {
            let coercible = arguments
                .iter()
                .zip(argument)
                .all(|(from, to)| cast::can_cast(*from, to, Coercion::Implicit));
            assert!(coercible, "{name} takes what it was resolved for");
            Ok(ResolvedAggregate { aggregate, argument, returns })
        }
        None => problem(
            SqlState::UNDEFINED_FUNCTION,
            "does not exist",
            "No function matches the given name and argument types. \
             You might need to add explicit type casts.",
        ),
    }
}

/// The types of argument and result.
fn returns(aggregate: Aggregate, ty: Type) -> Option<(Type, Type)> {
    match aggregate {
        Aggregate::CountStar | Aggregate::Count => Some((ty, Type::BigInt)),
        Aggregate::Sum => match ty {
            Type::SmallInt | Type::Int => Some((ty, Type::BigInt)),
            Type::BigInt | Type::Numeric => Some((ty, Type::Numeric)),
            Type::Double => Some((ty, Type::Double)),
            Type::Unknown | Type::Boolean | Type::Text | Type::Bytea | Type::TimestampTz => None,
        },
        Aggregate::Avg => match ty {
            Type::SmallInt | Type::Int | Type::BigInt | Type::Numeric => Some((ty, Type::Numeric)),
            Type::Double => Some((ty, Type::Double)),
            Type::Unknown | Type::Boolean | Type::Text | Type::Bytea | Type::TimestampTz => None,
        },
        Aggregate::Min | Aggregate::Max => match ty {
            Type::Unknown => Some((Type::Text, Type::Text)),
            Type::SmallInt
            | Type::Int
            | Type::BigInt
            | Type::Numeric
            | Type::Double
            | Type::Text
            | Type::TimestampTz => Some((ty, ty)),
            Type::Boolean | Type::Bytea => None,
        },
        Aggregate::BoolAnd | Aggregate::BoolOr => {
            matches!(ty, Type::Boolean | Type::Unknown).then_some((Type::Boolean, Type::Boolean))
        }
    }
}

/// An aggregate at work.
#[derive(Clone, Debug)]
pub struct Accumulator {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    CountStar(i64),
    Count(i64),
    /// A sum of integers, which fits: there are not 2^64 rows.
    SumInt {
        sum: Option<i128>,
        returns: Type,
    },
    SumNumeric(Option<Decimal>),
    SumDouble(Option<f64>),
    AvgInt {
        sum: i128,
        count: i64,
    },
    AvgNumeric {
        sum: Decimal,
        count: i64,
    },
    AvgDouble {
        sum: f64,
        squares: f64,
        count: f64,
    },
    Min(Value),
    Max(Value),
    All(Option<bool>),
    Some(Option<bool>),
}

impl Accumulator {
    /// That of no rows.
    #[must_use]
    pub fn new(call: &ResolvedAggregate) -> Self {
        let returns = call.returns;
        let state = match (call.aggregate, call.argument) {
            (Aggregate::CountStar, _) => State::CountStar(0),
            (Aggregate::Count, _) => State::Count(0),
            (Aggregate::Sum, Some(Type::Double)) => State::SumDouble(None),
            (Aggregate::Sum, Some(Type::Numeric)) => State::SumNumeric(None),
            (Aggregate::Sum, _) => State::SumInt { sum: None, returns },
            (Aggregate::Avg, Some(Type::Double)) => {
                State::AvgDouble { sum: 0.0, squares: 0.0, count: 0.0 }
            }
            (Aggregate::Avg, Some(Type::Numeric)) => {
                State::AvgNumeric { sum: Decimal::ZERO, count: 0 }
            }
            (Aggregate::Avg, _) => State::AvgInt { sum: 0, count: 0 },
            (Aggregate::Min, _) => State::Min(Value::Null),
            (Aggregate::Max, _) => State::Max(Value::Null),
            (Aggregate::BoolAnd, _) => State::All(None),
            (Aggregate::BoolOr, _) => State::Some(None),
        };
        Accumulator { state }
    }

    /// Adds a row's value, of the argument's type; anything for `count(*)`.
    ///
    /// # Errors
    ///
    /// The sum is out of range (22003).
    pub fn add(&mut self, value: &Value) -> Result<(), SqlError> {
        if let State::CountStar(count) = &mut self.state {
            *count += 1;
            return Ok(());
        }
        if value.is_null() {
            return Ok(());
        }
        match (&mut self.state, value) {
            (State::Count(count), _) => *count += 1,
            (State::SumInt { sum, .. }, Value::Int(value)) => {
                *sum = Some(sum.unwrap_or(0) + i128::from(*value));
            }
            (State::SumNumeric(sum), Value::Numeric(value)) => {
                *sum = Some(match *sum {
                    Some(sum) => numeric::add(sum, *value)?,
                    None => *value,
                });
            }
            (State::SumDouble(sum), Value::Double(value)) => {
                *sum = Some(match *sum {
                    Some(sum) => double::add(sum, *value)?,
                    None => *value,
                });
            }
            (State::AvgInt { sum, count }, Value::Int(value)) => {
                *sum += i128::from(*value);
                *count += 1;
            }
            (State::AvgNumeric { sum, count }, Value::Numeric(value)) => {
                *sum = numeric::add(*sum, *value)?;
                *count += 1;
            }
            (State::AvgDouble { sum, squares, count }, Value::Double(value)) => {
                add_to_mean(sum, squares, count, *value)?;
            }
            (State::Min(least), value) => {
                if value.order(least).is_lt() {
                    *least = value.clone();
                }
            }
            (State::Max(greatest), value) => {
                if greatest.is_null() || value.order(greatest).is_gt() {
                    *greatest = value.clone();
                }
            }
            (State::All(all), Value::Bool(value)) => *all = Some(all.unwrap_or(true) && *value),
            (State::Some(some), Value::Bool(value)) => {
                *some = Some(some.unwrap_or(false) || *value)
            }
            (state, value) => {
                let message = format!("an aggregate in state {state:?} was given {value:?}");
                return Err(SqlError::new(SqlState::INTERNAL_ERROR, message));
            }
        }
        Ok(())
    }

    /// The result.
    ///
    /// # Errors
    ///
    /// It is out of range (22003).
    pub fn finish(self) -> Result<Value, SqlError> {
        let divided = |sum: Decimal, count: i64| match count {
            0 => Ok(Value::Null),
            _ => numeric::divide(sum, numeric::from_int(count)).map(Value::Numeric),
        };
        Ok(match self.state {
            State::CountStar(count) | State::Count(count) => Value::Int(count),
            State::SumInt { sum: Some(sum), returns: Type::Numeric } => {
                Value::Numeric(numeric::exact(sum, 0)?)
            }
            State::SumInt { sum: Some(sum), returns } => {
                Value::Int(i64::try_from(sum).map_err(|_| cast::out_of_range(returns))?)
            }
            State::SumInt { sum: None, .. } => Value::Null,
            State::SumNumeric(sum) => sum.map_or(Value::Null, Value::Numeric),
            State::SumDouble(sum) => sum.map_or(Value::Null, Value::Double),
            State::AvgInt { sum, count } => divided(numeric::exact(sum, 0)?, count)?,
            State::AvgNumeric { sum, count } => divided(sum, count)?,
            State::AvgDouble { count: 0.0, .. } => Value::Null,
            State::AvgDouble { sum, count, .. } => Value::Double(sum / count),
            State::Min(value) | State::Max(value) => value,
            State::All(result) | State::Some(result) => result.map_or(Value::Null, Value::Bool),
        })
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let value = match &self.state {
            State::Min(value) | State::Max(value) => value.size(),
            _ => 0,
        };
        size_of::<Accumulator>() + value
    }
}

/// Adds to a mean of doubles. PostgreSQL sums the squares of the deviations along with it, and refuses the
/// mean when they overflow; so they are here for nothing else.
fn add_to_mean(
    sum: &mut f64,
    squares: &mut f64,
    count: &mut f64,
    value: f64,
) -> Result<(), SqlError> {
    let (sum_before, count_before) = (*sum, *count);
    *count += 1.0;
    *sum += value;
    if count_before > 0.0 {
        let deviation = value * *count - *sum;
        *squares += deviation * deviation / (*count * count_before);
        if sum.is_infinite() || squares.is_infinite() {
            double::not_overflowed(f64::INFINITY, &[sum_before, value])?;
            *squares = f64::NAN;
        }
    } else if !value.is_finite() {
        *squares = f64::NAN;
    }
    Ok(())
}
