//! Expressions.

use sqlparser::ast as sql;

use super::{Context, boxed, name, names, type_name};
use crate::error::{SqlError, SqlState};
use crate::parse::ast::{Call, Expr, IsTest, Literal, Name, Step};
use crate::parse::tokens::too_deep;

/// An expression.
pub(in crate::parse) fn expression(
    context: &Context<'_>,
    expr: sql::Expr,
) -> Result<Expr, SqlError> {
    convert(context, expr, 0)
}

/// `depth` counts what encloses it, chains of operators aside.
fn convert(context: &Context<'_>, expr: sql::Expr, depth: usize) -> Result<Expr, SqlError> {
    if depth > context.limits.nesting_max {
        return Err(too_deep(context.limits));
    }
    match expr {
        sql::Expr::BinaryOp { .. } => chain(context, expr, depth),
        sql::Expr::Nested(inner) => convert(context, *inner, depth + 1),
        sql::Expr::Identifier(ident) => Ok(identifier(context, ident)),
        sql::Expr::CompoundIdentifier(idents) => compound(context, idents),
        sql::Expr::Value(value) => literal(context, value),
        sql::Expr::Function(function) => call(context, function, depth + 1),
        sql::Expr::UnaryOp { op, expr } => unary(context, op, *expr, depth + 1),
        sql::Expr::Cast {
            expr,
            data_type,
            kind: sql::CastKind::Cast | sql::CastKind::DoubleColon,
            format: None,
        } => {
            let inner = convert(context, *expr, depth + 1)?;
            Ok(Expr::Cast(boxed(inner), type_name(&data_type)?))
        }
        sql::Expr::TypedString(typed) => {
            let ty = type_name(&typed.data_type)?;
            Ok(Expr::Cast(boxed(literal(context, typed.value)?), ty))
        }
        sql::Expr::Case { operand, conditions, else_result, .. } => {
            case(context, operand, conditions, else_result, depth + 1)
        }
        other => match predicate(context, other, depth + 1)? {
            Ok(expr) => Ok(expr),
            Err(other) => spelled_call(context, other, depth + 1),
        },
    }
}

fn convert_boxed(
    context: &Context<'_>,
    expr: Box<sql::Expr>,
    depth: usize,
) -> Result<Box<Expr>, SqlError> {
    convert(context, *expr, depth).map(Box::new)
}

fn convert_all(
    context: &Context<'_>,
    exprs: Vec<sql::Expr>,
    depth: usize,
) -> Result<Vec<Expr>, SqlError> {
    exprs.into_iter().map(|expr| convert(context, expr, depth)).collect()
}

/// Binary operators from left to right, flat.
fn chain(context: &Context<'_>, expr: sql::Expr, depth: usize) -> Result<Expr, SqlError> {
    let mut steps = Vec::new();
    let mut first = expr;
    while let sql::Expr::BinaryOp { left, op, right } = first {
        steps.push((op, *right));
        first = *left;
    }
    let mut whole = convert(context, first, depth)?;
    let mut compared = false;
    for (operator, right) in steps.into_iter().rev() {
        let compares = is_comparison(&operator);
        if compares && compared {
            let message = format!("syntax error at or near \"{}\"", sign(&operator));
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message)
                .with_hint("Comparisons do not chain; use AND, or parentheses."));
        }
        compared = compares;
        let right = convert(context, right, depth)?;
        whole = match operator {
            sql::BinaryOperator::And => match whole {
                Expr::And(mut operands) => {
                    operands.push(right);
                    Expr::And(operands)
                }
                first => Expr::And(vec![first, right]),
            },
            sql::BinaryOperator::Or => match whole {
                Expr::Or(mut operands) => {
                    operands.push(right);
                    Expr::Or(operands)
                }
                first => Expr::Or(vec![first, right]),
            },
            operator => {
                let step = Step { operator: sign(&operator), right };
                match whole {
                    Expr::Fold(first, mut steps) => {
                        steps.push(step);
                        Expr::Fold(first, steps)
                    }
                    first => Expr::Fold(boxed(first), vec![step]),
                }
            }
        };
    }
    Ok(whole)
}

fn is_comparison(operator: &sql::BinaryOperator) -> bool {
    matches!(
        operator,
        sql::BinaryOperator::Eq
            | sql::BinaryOperator::NotEq
            | sql::BinaryOperator::Lt
            | sql::BinaryOperator::LtEq
            | sql::BinaryOperator::Gt
            | sql::BinaryOperator::GtEq
    )
}

/// PostgreSQL's name of an operator.
fn sign(operator: &sql::BinaryOperator) -> String {
    match operator {
        sql::BinaryOperator::PGCustomBinaryOperator(parts) => {
            parts.last().cloned().unwrap_or_default()
        }
        sql::BinaryOperator::NotEq => "<>".to_owned(),
        other => other.to_string(),
    }
}

fn identifier(context: &Context<'_>, ident: sql::Ident) -> Expr {
    let quoted = ident.quote_style.is_some();
    let name = name(context, ident);
    if !quoted && name.value == "default" {
        return Expr::Default(name.at);
    }
    Expr::Column { qualifier: None, name }
}

fn compound(context: &Context<'_>, idents: Vec<sql::Ident>) -> Result<Expr, SqlError> {
    let mut parts: Vec<Name> = idents.into_iter().map(|ident| name(context, ident)).collect();
    let name = parts.pop().expect("it has two parts or more");
    let qualifier = parts.pop();
    match parts.last() {
        Some(schema) if schema.value != "public" => Err(super::no_schema(schema)),
        Some(_) | None => Ok(Expr::Column { qualifier, name }),
    }
}

fn literal(context: &Context<'_>, value: sql::ValueWithSpan) -> Result<Expr, SqlError> {
    let at = context.place(value.span);
    let literal = match value.value {
        sql::Value::Number(digits, _) => Literal::Number(digits.replace('_', "")),
        sql::Value::SingleQuotedString(text)
        | sql::Value::EscapedStringLiteral(text)
        | sql::Value::UnicodeStringLiteral(text)
        | sql::Value::NationalStringLiteral(text) => Literal::Text(text),
        sql::Value::DollarQuotedString(text) => Literal::Text(text.value),
        sql::Value::Boolean(value) => Literal::Bool(value),
        sql::Value::Null => Literal::Null,
        sql::Value::Placeholder(name) => return parameter(context, &name, at),
        sql::Value::HexStringLiteral(_) | sql::Value::SingleQuotedByteStringLiteral(_) => {
            return Err(SqlError::unsupported("bit strings")
                .with_hint("Write bytes as '\\x00ff'::bytea.")
                .at(at));
        }
        other => {
            let message = format!("syntax error at or near \"{other}\"");
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(at));
        }
    };
    if matches!(&literal, Literal::Text(text) if text.contains('\0')) {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Err(SqlError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message).at(at));
    }
    Ok(Expr::Literal(literal, at))
}

fn parameter(context: &Context<'_>, name: &str, at: u32) -> Result<Expr, SqlError> {
    let number = name.strip_prefix('$').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let Some(digits) = number.filter(|digits| !digits.is_empty()) else {
        let message = format!("syntax error at or near \"{name}\"");
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(at));
    };
    let error = |state, message: String| Err(SqlError::new(state, message).at(at));
    match digits.parse::<u32>() {
        Ok(0) => error(SqlState::UNDEFINED_PARAMETER, "there is no parameter $0".to_owned()),
        Ok(number) if number <= context.limits.parameter_max => Ok(Expr::Parameter(number, at)),
        Ok(_) | Err(_) => {
            let max = context.limits.parameter_max;
            let message = format!("parameter {name} is beyond the limit of {max} parameters");
            error(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        }
    }
}

fn unary(
    context: &Context<'_>,
    operator: sql::UnaryOperator,
    operand: sql::Expr,
    depth: usize,
) -> Result<Expr, SqlError> {
    // A sign binds closer than `^` for PostgreSQL, and less close for sqlparser.
    let is_power = matches!(&operand, sql::Expr::BinaryOp { op: sql::BinaryOperator::PGExp, .. });
    let operand = convert(context, operand, depth)?;
    Ok(match (operator, operand) {
        (sql::UnaryOperator::Not, operand) => Expr::Not(boxed(operand)),
        (operator, Expr::Fold(first, steps)) if is_power => {
            Expr::Fold(boxed(signed(operator, *first)), steps)
        }
        (operator, operand) => signed(operator, operand),
    })
}

fn signed(operator: sql::UnaryOperator, operand: Expr) -> Expr {
    match (operator, operand) {
        // As PostgreSQL's grammar does, so that the least BIGINT can be written.
        (sql::UnaryOperator::Minus, Expr::Literal(Literal::Number(digits), at))
            if !digits.starts_with('-') =>
        {
            Expr::Literal(Literal::Number(format!("-{digits}")), at)
        }
        (operator, operand) => Expr::Unary(operator.to_string(), boxed(operand)),
    }
}

fn case(
    context: &Context<'_>,
    operand: Option<Box<sql::Expr>>,
    conditions: Vec<sql::CaseWhen>,
    otherwise: Option<Box<sql::Expr>>,
    depth: usize,
) -> Result<Expr, SqlError> {
    let operand = operand.map(|expr| convert_boxed(context, expr, depth)).transpose()?;
    let mut branches = Vec::with_capacity(conditions.len());
    for when in conditions {
        let condition = convert(context, when.condition, depth)?;
        branches.push((condition, convert(context, when.result, depth)?));
    }
    let otherwise = otherwise.map(|expr| convert_boxed(context, expr, depth)).transpose()?;
    Ok(Expr::Case { operand, branches, otherwise })
}

/// Predicates with words; what is none is given back.
fn predicate(
    context: &Context<'_>,
    expr: sql::Expr,
    depth: usize,
) -> Result<Result<Expr, sql::Expr>, SqlError> {
    let one = |expr: Box<sql::Expr>| convert_boxed(context, expr, depth);
    let is = |operand, test, negated| Ok(Ok(Expr::Is { operand: one(operand)?, test, negated }));
    match expr {
        sql::Expr::IsNull(operand) => is(operand, IsTest::Null, false),
        sql::Expr::IsNotNull(operand) => is(operand, IsTest::Null, true),
        sql::Expr::IsTrue(operand) => is(operand, IsTest::True, false),
        sql::Expr::IsNotTrue(operand) => is(operand, IsTest::True, true),
        sql::Expr::IsFalse(operand) => is(operand, IsTest::False, false),
        sql::Expr::IsNotFalse(operand) => is(operand, IsTest::False, true),
        sql::Expr::IsUnknown(operand) => is(operand, IsTest::Unknown, false),
        sql::Expr::IsNotUnknown(operand) => is(operand, IsTest::Unknown, true),
        sql::Expr::IsDistinctFrom(left, right) => {
            Ok(Ok(Expr::Distinct { left: one(left)?, right: one(right)?, negated: false }))
        }
        sql::Expr::IsNotDistinctFrom(left, right) => {
            Ok(Ok(Expr::Distinct { left: one(left)?, right: one(right)?, negated: true }))
        }
        sql::Expr::InList { expr, list, negated } => {
            let operand = one(expr)?;
            Ok(Ok(Expr::In { operand, list: convert_all(context, list, depth)?, negated }))
        }
        sql::Expr::Between { expr, negated, mut low, high } => {
            let symmetric = take_symmetric(&mut low);
            let (operand, low, high) = (one(expr)?, one(low)?, one(high)?);
            Ok(Ok(Expr::Between { operand, low, high, negated, symmetric }))
        }
        sql::Expr::Like { negated, any: false, expr, pattern, escape_char } => {
            let operator = if negated { "!~~" } else { "~~" };
            like(context, [expr, pattern], escape_char, operator, depth).map(Ok)
        }
        sql::Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
            let operator = if negated { "!~~*" } else { "~~*" };
            like(context, [expr, pattern], escape_char, operator, depth).map(Ok)
        }
        other => Ok(Err(other)),
    }
}

fn like(
    context: &Context<'_>,
    [operand, pattern]: [Box<sql::Expr>; 2],
    escape: Option<Box<sql::Expr>>,
    operator: &'static str,
    depth: usize,
) -> Result<Expr, SqlError> {
    let operand = convert_boxed(context, operand, depth)?;
    let pattern = convert_boxed(context, pattern, depth)?;
    let escape = escape.map(|expr| convert_boxed(context, expr, depth)).transpose()?;
    Ok(Expr::Like { operand, pattern, escape, operator })
}

/// Whether the lower bound has the mark that `tokens` put in the place of SYMMETRIC; it is taken away.
fn take_symmetric(low: &mut sql::Expr) -> bool {
    let mut leftmost = low;
    loop {
        match leftmost {
            sql::Expr::BinaryOp { left, .. } => leftmost = left,
            sql::Expr::Cast { expr, kind: sql::CastKind::DoubleColon, .. } => leftmost = expr,
            sql::Expr::UnaryOp { op: sql::UnaryOperator::AtDashAt, expr } => {
                let null = sql::Expr::Tuple(Vec::new());
                let inner = std::mem::replace(&mut **expr, null);
                *leftmost = inner;
                return true;
            }
            _ => return false,
        }
    }
}

fn named_call(name: &str, arguments: Vec<Expr>) -> Expr {
    let name = Name { value: name.to_owned(), at: 0 };
    Expr::Call(Call { name, arguments, star: false, distinct: false, filter: None })
}

/// Calls that have a syntax of their own, and what we do not have.
fn spelled_call(context: &Context<'_>, expr: sql::Expr, depth: usize) -> Result<Expr, SqlError> {
    let one = |expr: Box<sql::Expr>| convert(context, *expr, depth);
    match expr {
        sql::Expr::Extract { field, expr, .. } => {
            let field = field.to_string().to_ascii_lowercase();
            let field = Expr::Literal(Literal::Text(field.trim_matches('\'').to_owned()), 0);
            Ok(named_call("extract", vec![field, one(expr)?]))
        }
        sql::Expr::Position { expr, r#in } => {
            Ok(named_call("position", vec![one(r#in)?, one(expr)?]))
        }
        sql::Expr::Substring { expr, substring_from, substring_for, .. } => {
            let mut arguments = vec![one(expr)?];
            match substring_from {
                Some(from) => arguments.push(one(from)?),
                None => arguments.push(Expr::Literal(Literal::Number("1".to_owned()), 0)),
            }
            if let Some(length) = substring_for {
                arguments.push(one(length)?);
            }
            Ok(named_call("substring", arguments))
        }
        sql::Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                None | Some(sql::TrimWhereField::Both) => "btrim",
                Some(sql::TrimWhereField::Leading) => "ltrim",
                Some(sql::TrimWhereField::Trailing) => "rtrim",
            };
            let mut arguments = vec![one(expr)?];
            if let Some(what) = trim_what {
                arguments.push(one(what)?);
            }
            arguments.extend(convert_all(context, trim_characters.unwrap_or_default(), depth)?);
            Ok(named_call(name, arguments))
        }
        sql::Expr::Ceil { expr, .. } => Ok(named_call("ceil", vec![one(expr)?])),
        sql::Expr::Floor { expr, .. } => Ok(named_call("floor", vec![one(expr)?])),
        sql::Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut arguments = vec![one(expr)?, one(overlay_what)?, one(overlay_from)?];
            arguments.extend(overlay_for.map(one).transpose()?);
            Ok(named_call("overlay", arguments))
        }
        sql::Expr::AtTimeZone { timestamp, time_zone } => {
            Ok(named_call("timezone", vec![one(time_zone)?, one(timestamp)?]))
        }
        sql::Expr::Collate { expr, collation } => {
            let collation = collation.to_string();
            if collation.ends_with("\"C\"") || collation.ends_with("\"POSIX\"") {
                return one(expr);
            }
            Err(SqlError::unsupported("collations other than \"C\""))
        }
        other => Err(unsupported(&other)),
    }
}

fn unsupported(expr: &sql::Expr) -> SqlError {
    SqlError::unsupported(match expr {
        sql::Expr::Subquery(_) | sql::Expr::Exists { .. } | sql::Expr::InSubquery { .. } => {
            "subqueries"
        }
        sql::Expr::AnyOp { .. } | sql::Expr::AllOp { .. } => "ANY, SOME and ALL",
        sql::Expr::Array(_) | sql::Expr::CompoundFieldAccess { .. } => "arrays and subscripts",
        sql::Expr::Tuple(_) => "row values",
        sql::Expr::Interval(_) => "intervals",
        sql::Expr::SimilarTo { .. } | sql::Expr::RLike { .. } => "regular expressions",
        sql::Expr::GroupingSets(_) | sql::Expr::Cube(_) | sql::Expr::Rollup(_) => "grouping sets",
        sql::Expr::Like { .. } | sql::Expr::ILike { .. } => "LIKE ANY and LIKE ALL",
        sql::Expr::JsonAccess { .. } | sql::Expr::IsJson { .. } => "JSON values",
        _ => "expressions of this kind",
    })
}

fn call(context: &Context<'_>, function: sql::Function, depth: usize) -> Result<Expr, SqlError> {
    if function.over.is_some() {
        return Err(SqlError::unsupported("window functions"));
    }
    if !function.within_group.is_empty() || function.null_treatment.is_some() {
        return Err(SqlError::unsupported("ordered-set aggregates"));
    }
    let mut parts = names(context, function.name)?;
    let name = parts.pop().expect("a function has a name");
    if let Some(schema) = parts.pop().filter(|schema| schema.value != "pg_catalog") {
        return Err(super::no_schema(&schema));
    }
    let filter = function.filter.map(|expr| convert_boxed(context, expr, depth)).transpose()?;
    let mut call = Call { name, arguments: Vec::new(), star: false, distinct: false, filter };
    match function.args {
        sql::FunctionArguments::None => {}
        sql::FunctionArguments::Subquery(_) => return Err(SqlError::unsupported("subqueries")),
        sql::FunctionArguments::List(list) => {
            if !list.clauses.is_empty() {
                return Err(SqlError::unsupported("ORDER BY and other clauses inside calls"));
            }
            call.distinct = list.duplicate_treatment == Some(sql::DuplicateTreatment::Distinct);
            for argument in list.args {
                match argument {
                    sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(expr)) => {
                        call.arguments.push(convert(context, expr, depth)?);
                    }
                    sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Wildcard) => call.star = true,
                    _ => return Err(SqlError::unsupported("named arguments")),
                }
            }
        }
    }
    Ok(Expr::Call(call))
}
