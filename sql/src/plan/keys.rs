//! Which primary keys a condition can be true for.
//!
//! A *prefix* says what the first columns of the key are equal to, and may bound the next one. Each conjunct of
//! a condition that says so exactly is used up; the rest stays a filter.
//!
//! Example: of a table with the key `(a, b, c)`, `a = 1 AND b IN (2, 3) AND c > 4 AND d = 5` reads the ranges
//! from `(1, 2, 4)` and `(1, 3, 4)`, ends of the pairs included, and filters by `d = 5`.
//!
//! Values are compared as the condition does and not as the column's type would: they are made bounds of the
//! column's type when their values are known ([`crate::execute::keys`]). Not here: conditions on expressions of
//! key columns, `LIKE 'x%'`.

use proto::encoding::{ColumnType, TableSchema};

use crate::bind::bound::{Comparison, Expr, Negated};
use crate::parse::ast::IsTest;
use crate::scalar::types::Type;

/// More keys are not listed for one condition over several columns; the next column is then a filter.
const PRODUCT_MAX: usize = 65_536;

/// The keys to read.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// All.
    All,
    /// Those of any of these.
    Any(Vec<Prefix>),
}

/// Keys that begin alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefix {
    /// For each of the first columns: what it may be equal to.
    pub(crate) equal: Vec<Vec<Expr>>,
    /// What bounds the next.
    pub(crate) range: Vec<(Comparison, Expr)>,
}

/// A condition split into keys and the rest.
pub(crate) struct Split {
    pub(crate) keys: Keys,
    pub(crate) filter: Option<Expr>,
}

/// Splits a condition over all columns of a table.
pub(crate) fn split(schema: &TableSchema, condition: Option<Expr>) -> Split {
    let Some(condition) = condition else { return Split { keys: Keys::All, filter: None } };
    let mut conjuncts = Vec::new();
    flatten(condition, &mut conjuncts);
    let all: Vec<&Expr> = conjuncts.iter().collect();
    let (keys, used) = match extract(schema, &all) {
        Some((prefix, used)) => (Keys::Any(vec![prefix]), used),
        None => match alternatives(schema, &all) {
            Some((prefixes, used)) => (Keys::Any(prefixes), used),
            None => (Keys::All, Vec::new()),
        },
    };
    let rest = conjuncts.into_iter().enumerate().filter(|(at, _)| !used.contains(at));
    let mut rest: Vec<Expr> = rest.map(|(_, conjunct)| conjunct).collect();
    let filter = if rest.len() > 1 { Some(Expr::And(rest)) } else { rest.pop() };
    Split { keys, filter }
}

fn flatten(condition: Expr, conjuncts: &mut Vec<Expr>) {
    match condition {
        Expr::And(operands) => {
            operands.into_iter().for_each(|operand| flatten(operand, conjuncts));
        }
        other => conjuncts.push(other),
    }
}

/// What a conjunct says of one column.
enum Says {
    Equal(Vec<Expr>),
    Bound(Comparison, Expr),
}

/// The keys of conjuncts, and which of those are used up.
fn extract(schema: &TableSchema, conjuncts: &[&Expr]) -> Option<(Prefix, Vec<usize>)> {
    let said: Vec<Option<(usize, Says)>> =
        conjuncts.iter().map(|conjunct| says(schema, conjunct)).collect();
    let (mut prefix, mut used, mut product) = (Prefix::default(), Vec::new(), 1_usize);
    for column in schema.key_positions() {
        let of_column = |each: &Option<(usize, Says)>| match each {
            Some((found, says)) if found == column => match says {
                Says::Equal(values) => Some(values.clone()),
                Says::Bound(..) => None,
            },
            _ => None,
        };
        let equal = said.iter().enumerate().find_map(|(at, each)| Some((at, of_column(each)?)));
        let Some((at, values)) = equal else {
            for (at, each) in said.iter().enumerate() {
                if let Some((found, Says::Bound(comparison, value))) = each
                    && found == column
                {
                    prefix.range.push((*comparison, value.clone()));
                    used.push(at);
                }
            }
            break;
        };
        product = product.saturating_mul(values.len());
        if product > PRODUCT_MAX && !prefix.equal.is_empty() {
            break;
        }
        prefix.equal.push(values);
        used.push(at);
    }
    (!used.is_empty()).then_some((prefix, used))
}

/// The keys of the first OR whose every operand says something of keys.
fn alternatives(schema: &TableSchema, conjuncts: &[&Expr]) -> Option<(Vec<Prefix>, Vec<usize>)> {
    let ors = conjuncts.iter().enumerate().filter_map(|(at, conjunct)| match conjunct {
        Expr::Or(operands) => Some((at, operands)),
        _ => None,
    });
    for (at, operands) in ors {
        let (mut prefixes, mut exact) = (Vec::with_capacity(operands.len()), true);
        for operand in operands {
            let mut parts = Vec::new();
            parts_of(operand, &mut parts);
            let Some((prefix, used)) = extract(schema, &parts) else { break };
            exact &= used.len() == parts.len();
            prefixes.push(prefix);
        }
        if prefixes.len() == operands.len() {
            return Some((prefixes, if exact { vec![at] } else { Vec::new() }));
        }
    }
    None
}

fn parts_of<'a>(condition: &'a Expr, parts: &mut Vec<&'a Expr>) {
    match condition {
        Expr::And(operands) => operands.iter().for_each(|operand| parts_of(operand, parts)),
        other => parts.push(other),
    }
}

/// What a conjunct says exactly of a key column.
fn says(schema: &TableSchema, conjunct: &Expr) -> Option<(usize, Says)> {
    match conjunct {
        Expr::Compare(comparison, left, right) => {
            let (comparison, column, value) = match (key_column(schema, left), is_fixed(right)) {
                (Some(column), true) => (*comparison, column, right),
                _ => {
                    let column = key_column(schema, right).filter(|_| is_fixed(left))?;
                    (comparison.mirrored(), column, left)
                }
            };
            let value = (**value).clone();
            match comparison {
                Comparison::Equal => Some((column, Says::Equal(vec![value]))),
                Comparison::NotEqual => None,
                Comparison::Less
                | Comparison::LessOrEqual
                | Comparison::Greater
                | Comparison::GreaterOrEqual => Some((column, Says::Bound(comparison, value))),
            }
        }
        Expr::In(operand, list, Negated(false)) if list.iter().all(is_fixed) => {
            Some((key_column(schema, operand)?, Says::Equal(list.clone())))
        }
        // Key columns are never NULL, so a NULL on the other side is not equal either way.
        Expr::Distinct(left, right, Negated(true)) if is_fixed(right) => {
            Some((key_column(schema, left)?, Says::Equal(vec![(**right).clone()])))
        }
        Expr::Is(operand, IsTest::Null, Negated(false)) => {
            Some((key_column(schema, operand)?, Says::Equal(Vec::new())))
        }
        Expr::Or(operands) => {
            let mut found = None;
            let mut values = Vec::with_capacity(operands.len());
            for operand in operands {
                let (column, Says::Equal(more)) = says(schema, operand)? else { return None };
                if *found.get_or_insert(column) != column {
                    return None;
                }
                values.extend(more);
            }
            Some((found?, Says::Equal(values)))
        }
        _ => None,
    }
}

/// The key column that an operand of a comparison is, if equal values of it are equal keys.
fn key_column(schema: &TableSchema, operand: &Expr) -> Option<usize> {
    let column = match operand {
        Expr::Column(column) => *column,
        // An integer among other numbers keeps its value, except for a BIGINT that becomes a double.
        Expr::Cast(inner, from, to) => match &**inner {
            Expr::Column(column) if from.is_integer() => match to {
                Type::Numeric => *column,
                Type::Double if *from != Type::BigInt => *column,
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    };
    schema.key_positions().contains(&column).then_some(column)
}

/// Whether an operand has one value for a whole execution.
fn is_fixed(operand: &Expr) -> bool {
    !operand.has_columns() && !operand.is_volatile()
}

impl Keys {
    /// The columns that are equal to one value.
    pub(crate) fn fixed_columns(&self, schema: &TableSchema) -> Vec<usize> {
        match self {
            Keys::Any(prefixes) => match prefixes.as_slice() {
                [prefix] => {
                    let columns = prefix.equal.iter().zip(schema.key_positions());
                    let fixed = columns.filter(|(values, _)| values.len() == 1);
                    fixed.map(|(_, column)| *column).collect()
                }
                _ => Vec::new(),
            },
            Keys::All => Vec::new(),
        }
    }
}

/// The type of a key column.
pub(crate) fn key_type(schema: &TableSchema, place: usize) -> ColumnType {
    schema.columns()[schema.key_positions()[place]].column_type
}
