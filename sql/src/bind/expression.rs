//! Binds expressions: finds columns, functions and types.
//!
//! Example: in `id = $1` with a BIGINT column, the operator's overloads make `$1` a BIGINT.

use super::bound::{Branch, Comparison, Expr, FunctionRef, Negated, Operation, Step, Typed};
use super::{Aggregates, Binder};
use crate::error::{SqlError, SqlState};
use crate::parse::ast::{self, IsTest, Literal};
use crate::scalar::cast::{self, Coercion};
use crate::scalar::function::{Resolved, common_type, resolve_function, resolve_operator};
use crate::scalar::types::Type;
use crate::scalar::value::Value;

impl Binder<'_> {
    /// Binds an expression. Literals and parameters of no known type stay so.
    pub(crate) fn bind(&mut self, expr: &ast::Expr) -> Result<Typed, SqlError> {
        match expr {
            ast::Expr::Literal(value, place) => {
                self.literal(value).map_err(|error| at(error, *place))
            }
            ast::Expr::Column { qualifier, name } => self.scope.column(qualifier.as_ref(), name),
            ast::Expr::Parameter(number, at) => Ok(self.parameters.use_of(*number, *at)),
            ast::Expr::Unary(operator, operand) => {
                let operand = self.bind(operand)?;
                let resolved = resolve_operator(operator, None, operand.ty)?;
                self.call(resolved, vec![operand])
            }
            ast::Expr::Fold(first, steps) => self.fold(first, steps),
            ast::Expr::And(operands) => Ok(boolean(Expr::And(self.booleans(operands, "AND")?))),
            ast::Expr::Or(operands) => Ok(boolean(Expr::Or(self.booleans(operands, "OR")?))),
            ast::Expr::Not(operand) => {
                Ok(boolean(Expr::Not(Box::new(self.condition(operand, "NOT")?))))
            }
            ast::Expr::Is { operand, test, negated } => self.is(operand, *test, *negated),
            ast::Expr::Distinct { left, right, negated } => {
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                let (left, right) = self.comparable("=", left, right)?;
                let negated = Negated(*negated);
                Ok(boolean(Expr::Distinct(Box::new(left), Box::new(right), negated)))
            }
            ast::Expr::In { operand, list, negated } => self.in_list(operand, list, *negated),
            ast::Expr::Between { .. } => self.between(expr),
            ast::Expr::Like { operand, pattern, escape, operator } => {
                self.like(operand, pattern, escape.as_deref(), operator)
            }
            ast::Expr::Cast(operand, to) => {
                let operand = self.bind(operand)?;
                let expr = self.coerce(operand, to.ty, Coercion::Explicit)?;
                Ok(Typed::new(expr, to.ty))
            }
            ast::Expr::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref())
            }
            ast::Expr::Call(call) => self.named_call(call),
            ast::Expr::Default(at) => {
                let message = "DEFAULT is not allowed in this context";
                Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(*at))
            }
        }
    }

    fn literal(&mut self, literal: &Literal) -> Result<Typed, SqlError> {
        Ok(match literal {
            Literal::Null => Typed::new(Expr::Constant(Value::Null), Type::Unknown),
            Literal::Bool(value) => boolean(Expr::Constant(Value::Bool(*value))),
            Literal::Text(text) => {
                Typed::new(Expr::Constant(Value::Text(text.clone())), Type::Unknown)
            }
            Literal::Number(digits) => match digits.parse::<i64>() {
                Ok(value) => {
                    let ty = if i32::try_from(value).is_ok() { Type::Int } else { Type::BigInt };
                    Typed::new(Expr::Constant(Value::Int(value)), ty)
                }
                Err(_) => self.fraction(digits)?,
            },
        })
    }

    /// A number with a point or an exponent is NUMERIC; one that is too large for that here is a double.
    fn fraction(&mut self, digits: &str) -> Result<Typed, SqlError> {
        match Value::from_text(digits, Type::Numeric, self.env) {
            Ok(value) => Ok(Typed::new(Expr::Constant(value), Type::Numeric)),
            Err(_) if digits.contains(['e', 'E']) => {
                let value = Value::from_text(digits, Type::Double, self.env)?;
                Ok(Typed::new(Expr::Constant(value), Type::Double))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes an expression one of type `to`.
    pub(crate) fn coerce(
        &mut self,
        typed: Typed,
        to: Type,
        coercion: Coercion,
    ) -> Result<Expr, SqlError> {
        self.coerced(typed, to, coercion)?.map_err(|typed| {
            let message = format!("cannot cast type {} to {to}", typed.ty);
            SqlError::new(SqlState::CANNOT_COERCE, message)
        })
    }

    /// The same; what cannot be cast is given back.
    pub(crate) fn coerced(
        &mut self,
        typed: Typed,
        to: Type,
        coercion: Coercion,
    ) -> Result<Result<Expr, Typed>, SqlError> {
        let Typed { expr, mut ty } = typed;
        if ty == Type::Unknown {
            match expr {
                Expr::Constant(Value::Text(text)) if to != Type::Unknown => {
                    return Ok(Ok(Expr::Constant(Value::from_text(&text, to, self.env)?)));
                }
                Expr::Parameter(index) => {
                    self.parameters.set(index, to);
                    ty = self.parameters.type_of(index);
                }
                Expr::Constant(_) => return Ok(Ok(expr)),
                _ => {}
            }
        }
        if ty == to || is_widening(ty, to) {
            return Ok(Ok(expr));
        }
        if !cast::can_cast(ty, to, coercion) {
            return Ok(Err(Typed { expr, ty }));
        }
        Ok(Ok(match expr {
            Expr::Constant(value) => Expr::Constant(cast::cast(value, ty, to, self.env)?),
            expr => Expr::Cast(Box::new(expr), ty, to),
        }))
    }

    fn call(&mut self, resolved: Resolved, operands: Vec<Typed>) -> Result<Typed, SqlError> {
        let mut arguments = Vec::with_capacity(operands.len());
        for (operand, to) in operands.into_iter().zip(&resolved.arguments) {
            arguments.push(self.coerce(operand, *to, Coercion::Implicit)?);
        }
        Ok(Typed::new(Expr::Call(FunctionRef(resolved.function), arguments), resolved.returns))
    }

    /// Both operands of a comparison.
    fn comparable(
        &mut self,
        sign: &str,
        left: Typed,
        right: Typed,
    ) -> Result<(Expr, Expr), SqlError> {
        let resolved = resolve_operator(sign, Some(left.ty), right.ty)?;
        let left = self.coerce(left, resolved.arguments[0], Coercion::Implicit)?;
        let right = self.coerce(right, resolved.arguments[1], Coercion::Implicit)?;
        Ok((left, right))
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: Typed,
        right: Typed,
    ) -> Result<Expr, SqlError> {
        let (left, right) = self.comparable(comparison.sign(), left, right)?;
        Ok(Expr::Compare(comparison, Box::new(left), Box::new(right)))
    }

    fn fold(&mut self, first: &ast::Expr, steps: &[ast::Step]) -> Result<Typed, SqlError> {
        let first = self.bind(first)?;
        let (last, before) = steps.split_last().expect("a chain has an operator");
        let mut whole = first;
        let mut chain: Option<(Box<Expr>, Vec<Step>)> = None;
        for step in before {
            let right = self.bind(&step.right)?;
            let resolved = resolve_operator(&step.operator, Some(whole.ty), right.ty)?;
            let right = self.coerce(right, resolved.arguments[1], Coercion::Implicit)?;
            let operation = match Comparison::of_sign(&step.operator) {
                Some(comparison) => Operation::Compare(comparison),
                None => Operation::Call(FunctionRef(resolved.function)),
            };
            let (left, first, mut done) = match chain.take() {
                Some((first, done)) => {
                    let to = resolved.arguments[0];
                    let same = whole.ty == to || is_widening(whole.ty, to);
                    ((!same).then_some((whole.ty, to)), first, done)
                }
                None => {
                    let to = resolved.arguments[0];
                    (None, Box::new(self.coerce(whole, to, Coercion::Implicit)?), Vec::new())
                }
            };
            done.push(Step { left, operation, right });
            chain = Some((first, done));
            whole = Typed::new(Expr::Constant(Value::Null), resolved.returns);
        }
        if let Some((first, done)) = chain {
            whole = Typed::new(Expr::Fold(first, done), whole.ty);
        }
        let right = self.bind(&last.right)?;
        match Comparison::of_sign(&last.operator) {
            Some(comparison) => Ok(boolean(self.compare(comparison, whole, right)?)),
            None => {
                let resolved = resolve_operator(&last.operator, Some(whole.ty), right.ty)?;
                self.call(resolved, vec![whole, right])
            }
        }
    }

    /// A condition of a clause or an operator.
    pub(crate) fn condition(&mut self, expr: &ast::Expr, what: &str) -> Result<Expr, SqlError> {
        let bound = self.bind(expr)?;
        self.coerced(bound, Type::Boolean, Coercion::Implicit)?.map_err(|typed| {
            let message = format!("argument of {what} must be type boolean, not type {}", typed.ty);
            at(SqlError::new(SqlState::DATATYPE_MISMATCH, message), place_of(expr))
        })
    }

    fn booleans(&mut self, exprs: &[ast::Expr], what: &str) -> Result<Vec<Expr>, SqlError> {
        exprs.iter().map(|expr| self.condition(expr, what)).collect()
    }

    fn is(&mut self, operand: &ast::Expr, test: IsTest, negated: bool) -> Result<Typed, SqlError> {
        let what = match (test, negated) {
            (IsTest::Null, _) => {
                let operand = self.bind(operand)?.expr;
                return Ok(boolean(Expr::Is(Box::new(operand), test, Negated(negated))));
            }
            (IsTest::True, false) => "IS TRUE",
            (IsTest::True, true) => "IS NOT TRUE",
            (IsTest::False, false) => "IS FALSE",
            (IsTest::False, true) => "IS NOT FALSE",
            (IsTest::Unknown, false) => "IS UNKNOWN",
            (IsTest::Unknown, true) => "IS NOT UNKNOWN",
        };
        let operand = self.condition(operand, what)?;
        Ok(boolean(Expr::Is(Box::new(operand), test, Negated(negated))))
    }

    fn in_list(
        &mut self,
        operand: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
    ) -> Result<Typed, SqlError> {
        let operand = self.bind(operand)?;
        let list = list.iter().map(|each| self.bind(each)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<Type> =
            std::iter::once(&operand).chain(&list).map(|typed| typed.ty).collect();
        let common = match common_type(&types, "IN") {
            Ok(common) => common,
            Err(error) => {
                // PostgreSQL then compares with each; what does not compare is its error.
                for ty in &types[1..] {
                    resolve_operator("=", Some(operand.ty), *ty)?;
                }
                return Err(error);
            }
        };
        let resolved = resolve_operator("=", Some(common), common)?;
        let to = resolved.arguments[0];
        let operand = self.coerce(operand, to, Coercion::Implicit)?;
        let list = list.into_iter().map(|each| self.coerce(each, to, Coercion::Implicit));
        let list = list.collect::<Result<_, _>>()?;
        Ok(boolean(Expr::In(Box::new(operand), list, Negated(negated))))
    }

    fn between(&mut self, expr: &ast::Expr) -> Result<Typed, SqlError> {
        let ast::Expr::Between { operand, low, high, negated, symmetric } = expr else {
            unreachable!("it was matched");
        };
        let (operand, low, high) = (self.bind(operand)?, self.bind(low)?, self.bind(high)?);
        let mut within = |low: &Typed, high: &Typed| -> Result<Expr, SqlError> {
            let above = self.compare(Comparison::GreaterOrEqual, operand.clone(), low.clone())?;
            let below = self.compare(Comparison::LessOrEqual, operand.clone(), high.clone())?;
            Ok(Expr::And(vec![above, below]))
        };
        let mut whole = within(&low, &high)?;
        if *symmetric {
            whole = Expr::Or(vec![whole, within(&high, &low)?]);
        }
        Ok(boolean(if *negated { Expr::Not(Box::new(whole)) } else { whole }))
    }

    fn like(
        &mut self,
        operand: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        operator: &str,
    ) -> Result<Typed, SqlError> {
        let operand = self.bind(operand)?;
        let mut pattern = self.bind(pattern)?;
        if let Some(escape) = escape {
            let escape = self.bind(escape)?;
            let resolved = resolve_function("like_escape", &[pattern.ty, escape.ty])?;
            pattern = self.call(resolved, vec![pattern, escape])?;
        }
        let resolved = resolve_operator(operator, Some(operand.ty), pattern.ty)?;
        self.call(resolved, vec![operand, pattern])
    }

    /// Makes expressions all of one type.
    pub(crate) fn unify(
        &mut self,
        exprs: Vec<Typed>,
        what: &str,
    ) -> Result<(Vec<Expr>, Type), SqlError> {
        let types: Vec<Type> = exprs.iter().map(|typed| typed.ty).collect();
        let common = common_type(&types, what)?;
        let exprs = exprs.into_iter().map(|typed| self.coerce(typed, common, Coercion::Implicit));
        Ok((exprs.collect::<Result<_, _>>()?, common))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        branches: &[(ast::Expr, ast::Expr)],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Typed, SqlError> {
        let operand = match operand {
            None => None,
            Some(operand) => {
                let operand = self.bind(operand)?;
                let ty = if operand.ty == Type::Unknown { Type::Text } else { operand.ty };
                Some(Typed::new(self.coerce(operand, ty, Coercion::Implicit)?, ty))
            }
        };
        let mut conditions = Vec::with_capacity(branches.len());
        // PostgreSQL looks at ELSE first.
        let mut results = vec![match otherwise {
            Some(otherwise) => self.bind(otherwise)?,
            None => Typed::new(Expr::Constant(Value::Null), Type::Unknown),
        }];
        for (condition, result) in branches {
            conditions.push(match &operand {
                None => (None, self.condition(condition, "CASE/WHEN")?),
                Some(operand) => {
                    let condition = self.bind(condition)?;
                    let resolved = resolve_operator("=", Some(operand.ty), condition.ty)?;
                    let to = resolved.arguments[0];
                    let same = operand.ty == to || is_widening(operand.ty, to);
                    let condition =
                        self.coerce(condition, resolved.arguments[1], Coercion::Implicit)?;
                    ((!same).then_some((operand.ty, to)), condition)
                }
            });
            results.push(self.bind(result)?);
        }
        let (results, ty) = self.unify(results, "CASE")?;
        let mut results = results.into_iter();
        let otherwise = Box::new(results.next().expect("ELSE is the first"));
        let branches = conditions.into_iter().zip(results);
        let branches = branches
            .map(|((operand, condition), result)| Branch { operand, condition, result })
            .collect();
        let operand = operand.map(|operand| Box::new(operand.expr));
        Ok(Typed::new(Expr::Case { operand, branches, otherwise }, ty))
    }

    fn named_call(&mut self, call: &ast::Call) -> Result<Typed, SqlError> {
        let name = call.name.value.as_str();
        if crate::scalar::aggregate::is_aggregate(name) {
            return self.aggregate(call);
        }
        let error =
            |problem: &str, state| Err(at(SqlError::new(state, problem.to_owned()), call.name.at));
        if call.distinct || call.filter.is_some() {
            let what = if call.distinct { "DISTINCT" } else { "FILTER" };
            let problem = format!("{what} specified, but {name} is not an aggregate function");
            return error(&problem, SqlState("42809"));
        }
        let operands = call.arguments.iter().map(|argument| self.bind(argument));
        let operands = operands.collect::<Result<Vec<_>, _>>()?;
        let unified = |what| matches!(what, "coalesce" | "greatest" | "least");
        if (unified(name) && operands.is_empty()) || (name == "nullif" && operands.len() != 2) {
            return error(&format!("syntax error in {name}()"), SqlState::SYNTAX_ERROR);
        }
        if unified(name) {
            let (operands, ty) = self.unify(operands, &name.to_uppercase())?;
            let expr = match name {
                "coalesce" => Expr::Coalesce(operands),
                "greatest" => Expr::Greatest(operands),
                _ => Expr::Least(operands),
            };
            return Ok(Typed::new(expr, ty));
        }
        if name == "nullif" {
            let mut operands = operands.into_iter();
            let left = operands.next().expect("there are two");
            let right = operands.next().expect("there are two");
            let resolved = resolve_operator("=", Some(left.ty), right.ty)?;
            let ty = resolved.arguments[0];
            let ty = if is_widening(left.ty, ty) { left.ty } else { ty };
            let (left, right) = self.comparable("=", left, right)?;
            return Ok(Typed::new(Expr::NullIf(Box::new(left), Box::new(right)), ty));
        }
        let types: Vec<Type> = operands.iter().map(|typed| typed.ty).collect();
        let resolved = resolve_function(name, &types).map_err(|error| at(error, call.name.at))?;
        self.call(resolved, operands)
    }

    fn aggregate(&mut self, call: &ast::Call) -> Result<Typed, SqlError> {
        let name = &call.name;
        let error =
            |problem: String| Err(at(SqlError::new(SqlState::GROUPING_ERROR, problem), name.at));
        match &self.aggregates {
            Aggregates::Refused(clause) => {
                return error(format!("aggregate functions are not allowed in {clause}"));
            }
            Aggregates::Nested => {
                return error("aggregate function calls cannot be nested".to_owned());
            }
            Aggregates::Collected(_) => {}
        }
        let collected = std::mem::replace(&mut self.aggregates, Aggregates::Nested);
        let bound = self.aggregate_operands(call);
        self.aggregates = collected;
        let (bound, returns) = bound?;
        let Aggregates::Collected(calls) = &mut self.aggregates else {
            unreachable!("it was put back");
        };
        let index = calls.iter().position(|each| *each == bound).unwrap_or_else(|| {
            calls.push(bound);
            calls.len() - 1
        });
        Ok(Typed::new(Expr::Aggregate(index), returns))
    }

    fn aggregate_operands(
        &mut self,
        call: &ast::Call,
    ) -> Result<(super::bound::AggregateCall, Type), SqlError> {
        let name = &call.name;
        let operands = call.arguments.iter().map(|argument| self.bind(argument));
        let mut operands = operands.collect::<Result<Vec<_>, _>>()?;
        if operands.is_empty() && !call.star && name.value == "count" {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return Err(at(SqlError::new(SqlState("42809"), message), name.at));
        }
        let types: Vec<Type> = operands.iter().map(|typed| typed.ty).collect();
        let resolved = crate::scalar::aggregate::resolve_aggregate(&name.value, &types)
            .map_err(|error| at(error, name.at))?;
        let argument = match (operands.pop(), resolved.argument) {
            (Some(operand), Some(to)) => Some(self.coerce(operand, to, Coercion::Implicit)?),
            _ => None,
        };
        let filter = call.filter.as_deref().map(|filter| self.condition(filter, "FILTER"));
        let bound = super::bound::AggregateCall {
            call: resolved,
            name: name.value.clone(),
            argument,
            distinct: call.distinct,
            filter: filter.transpose()?,
        };
        Ok((bound, resolved.returns))
    }
}

fn boolean(expr: Expr) -> Typed {
    Typed::new(expr, Type::Boolean)
}

/// Whether values of one integer type are, unchanged, values of the other.
pub(crate) fn is_widening(from: Type, to: Type) -> bool {
    from.is_integer() && to.is_integer() && from < to
}

fn at(error: SqlError, place: u32) -> SqlError {
    if place > 0 { error.at(place) } else { error }
}

/// Where an expression starts; 0 when that is not known.
fn place_of(expr: &ast::Expr) -> u32 {
    match expr {
        ast::Expr::Literal(_, at) | ast::Expr::Parameter(_, at) | ast::Expr::Default(at) => *at,
        ast::Expr::Column { qualifier, name } => {
            qualifier.as_ref().map_or(name.at, |table| table.at)
        }
        ast::Expr::Call(call) => call.name.at,
        ast::Expr::Fold(first, _) => place_of(first),
        ast::Expr::And(operands) | ast::Expr::Or(operands) => operands.first().map_or(0, place_of),
        ast::Expr::Is { operand, .. }
        | ast::Expr::In { operand, .. }
        | ast::Expr::Between { operand, .. }
        | ast::Expr::Like { operand, .. }
        | ast::Expr::Cast(operand, _) => place_of(operand),
        ast::Expr::Distinct { left, .. } => place_of(left),
        ast::Expr::Unary(..) | ast::Expr::Not(_) | ast::Expr::Case { .. } => 0,
    }
}
