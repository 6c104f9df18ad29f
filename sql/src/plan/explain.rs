//! Plans as text, for EXPLAIN.
//!
//! ```text
//! Limit 10
//!   Sort name descending
//!     Scan t, key (a, b): a = 1, b > 2
//!       Filter c < $1
//! ```
//! One line for each part, the last one to run first. Not here: costs, of which there are none.

use super::PlanBody;
use super::keys::{Keys, Prefix};
use super::node::{Bounds, Node, Scan};
use crate::bind::bound::{Expr, Negated, Operation};
use crate::bind::query::Grouping;
use crate::kv::Lock;
use crate::parse::ast::IsTest;
use crate::scalar::env::Env;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// Operands of a list that are written out.
const LIST_MAX: usize = 8;

/// The lines of a plan.
pub(super) fn lines(body: &PlanBody, env: &Env) -> Vec<String> {
    let mut printer = Printer { env, lines: Vec::new() };
    match body {
        PlanBody::Query(node) => {
            printer.node(node, 0);
        }
        PlanBody::Insert(insert) => {
            printer.line(0, format!("Insert into {}", insert.schema.name()));
            printer.node(&insert.source, 1);
        }
        PlanBody::Update(update) => {
            let names: Vec<String> =
                update.schema.columns().iter().map(|column| column.name.clone()).collect();
            let set = update.assignments.iter().map(|(column, value)| {
                format!("{} = {}", names[*column], printer.expr(value, &names))
            });
            let set = list(set);
            let moves = if update.moves { ", moving rows" } else { "" };
            printer.line(0, format!("Update {}{moves}: {set}", update.schema.name()));
            printer.node(&update.source, 1);
        }
        PlanBody::Delete(delete) => {
            printer.line(0, format!("Delete from {}", delete.schema.name()));
            printer.node(&delete.source, 1);
        }
        PlanBody::CreateTable { table, .. } => {
            printer.line(0, format!("Create table {}", table.name));
        }
        PlanBody::DropTable { names, .. } => {
            printer.line(0, format!("Drop {}", names.join(", ")));
        }
        PlanBody::Fixed(_) => printer.line(0, "Known rows".to_owned()),
        PlanBody::ShowTables => printer.line(0, "List of tables".to_owned()),
    }
    printer.lines
}

struct Printer<'a> {
    env: &'a Env,
    lines: Vec<String>,
}

impl Printer<'_> {
    fn line(&mut self, depth: usize, text: String) {
        self.lines.push(format!("{}{text}", "  ".repeat(depth)));
    }

    /// Writes a part and those below, and says how the columns of its rows are called.
    fn node(&mut self, node: &Node, depth: usize) -> Vec<String> {
        let at = self.lines.len();
        let (text, names) = match node {
            Node::Scan(scan) => (self.scan(scan), self.names_of(scan)),
            Node::Rows(rows) => {
                let text = format!("{} row{}", rows.len(), if rows.len() == 1 { "" } else { "s" });
                let width = rows.first().map_or(0, Vec::len);
                (text, (1..=width).map(|at| format!("column{at}")).collect())
            }
            Node::Filter(input, condition) => {
                let names = self.node(input, depth + 1);
                (format!("Filter {}", self.expr(condition, &names)), names)
            }
            Node::Project(input, outputs) => {
                let names = self.node(input, depth + 1);
                let outputs: Vec<String> =
                    outputs.iter().map(|output| self.expr(output, &names)).collect();
                (format!("Project {}", list(outputs.iter().cloned())), outputs)
            }
            Node::Group(input, grouping) => {
                let names = self.node(input, depth + 1);
                self.group(grouping, &names)
            }
            Node::Distinct(input) => {
                let names = self.node(input, depth + 1);
                ("Distinct".to_owned(), names)
            }
            Node::Sort(input, keys, bounds) => {
                let names = self.node(input, depth + 1);
                let keys = keys.iter().map(|key| {
                    let direction = if key.descending { " descending" } else { "" };
                    let nulls = match (key.descending, key.nulls_first) {
                        (false, true) => " nulls first",
                        (true, false) => " nulls last",
                        (false, false) | (true, true) => "",
                    };
                    format!("{}{direction}{nulls}", names[key.output])
                });
                let limited = bounds.as_ref().is_some_and(|bounds| bounds.limit.is_some());
                let first = if limited { ", first rows only" } else { "" };
                (format!("Sort {}{first}", list(keys)), names)
            }
            Node::Limit(input, bounds) => {
                let names = self.node(input, depth + 1);
                (self.bounds(bounds), names)
            }
            Node::Cut(input, width) => {
                let mut names = self.node(input, depth);
                names.truncate(*width);
                return names;
            }
        };
        self.lines.insert(at, format!("{}{text}", "  ".repeat(depth)));
        names
    }

    fn names_of(&self, scan: &Scan) -> Vec<String> {
        let columns = scan.schema.columns();
        scan.columns.iter().map(|column| columns[*column].name.clone()).collect()
    }

    fn scan(&self, scan: &Scan) -> String {
        let columns = scan.schema.columns();
        let key: Vec<&str> = scan
            .schema
            .key_positions()
            .iter()
            .map(|column| columns[*column].name.as_str())
            .collect();
        let mut text = format!("Scan {}", scan.schema.name());
        match &scan.keys {
            Keys::All => text.push_str(", all keys"),
            Keys::Any(prefixes) => {
                let prefixes = prefixes.iter().map(|prefix| self.prefix(prefix, &key));
                text.push_str(&format!(", keys {}", join(prefixes, " or ")));
            }
        }
        if scan.bounds.is_some() {
            text.push_str(", as many as the limit");
        }
        if scan.lock == Lock::Exclusive {
            text.push_str(", locked");
        }
        text
    }

    fn prefix(&self, prefix: &Prefix, key: &[&str]) -> String {
        let equal = prefix.equal.iter().zip(key).map(|(values, column)| match values.as_slice() {
            [value] => format!("{column} = {}", self.expr(value, &[])),
            values => {
                let values = values.iter().map(|value| self.expr(value, &[]));
                format!("{column} in ({})", list(values))
            }
        });
        let next = key.get(prefix.equal.len()).copied().unwrap_or_default();
        let range = prefix.range.iter().map(|(comparison, value)| {
            format!("{next} {} {}", comparison.sign(), self.expr(value, &[]))
        });
        join(equal.chain(range), ", ")
    }

    fn group(&self, grouping: &Grouping, names: &[String]) -> (String, Vec<String>) {
        let keys: Vec<String> = grouping.keys.iter().map(|key| self.expr(key, names)).collect();
        let aggregates: Vec<String> = grouping
            .aggregates
            .iter()
            .map(|call| {
                let distinct = if call.distinct { "distinct " } else { "" };
                let argument = call.argument.as_ref();
                let argument = argument.map_or("*".to_owned(), |each| self.expr(each, names));
                let filter = call.filter.as_ref();
                let filter = filter.map(|each| format!(" filter ({})", self.expr(each, names)));
                format!("{}({distinct}{argument}){}", call.name, filter.unwrap_or_default())
            })
            .collect();
        let text = match keys.is_empty() {
            true => format!("Aggregate {}", list(aggregates.iter().cloned())),
            false => {
                let by = list(keys.iter().cloned());
                match aggregates.is_empty() {
                    true => format!("Group by {by}"),
                    false => format!("Group by {by}: {}", list(aggregates.iter().cloned())),
                }
            }
        };
        (text, keys.into_iter().chain(aggregates).collect())
    }

    fn bounds(&self, bounds: &Bounds) -> String {
        let limit = bounds.limit.as_ref().map(|limit| format!("Limit {}", self.expr(limit, &[])));
        let offset =
            bounds.offset.as_ref().map(|offset| format!("Offset {}", self.expr(offset, &[])));
        join(limit.into_iter().chain(offset), ", ")
    }

    fn expr(&self, expr: &Expr, names: &[String]) -> String {
        let one = |expr: &Expr| self.operand(expr, names);
        let all = |exprs: &[Expr]| list(exprs.iter().map(|expr| self.expr(expr, names)));
        let not = |negated: Negated| if negated.0 { "not " } else { "" };
        match expr {
            Expr::Constant(value) => self.constant(value),
            Expr::Column(column) => names.get(*column).cloned().unwrap_or_else(|| "?".to_owned()),
            Expr::Parameter(index) => format!("${}", index + 1),
            Expr::Aggregate(index) => format!("aggregate {index}"),
            Expr::Call(function, operands) => {
                let name = function.0.name;
                let is_sign = !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                match operands.as_slice() {
                    [left, right] if is_sign => format!("{} {name} {}", one(left), one(right)),
                    [operand] if is_sign => format!("{name} {}", one(operand)),
                    operands => format!("{name}({})", all(operands)),
                }
            }
            Expr::Fold(first, steps) => {
                let steps = steps.iter().map(|step| {
                    let sign = match &step.operation {
                        Operation::Call(function) => function.0.name,
                        Operation::Compare(comparison) => comparison.sign(),
                    };
                    format!("{sign} {}", one(&step.right))
                });
                join(std::iter::once(one(first)).chain(steps), " ")
            }
            Expr::Compare(comparison, left, right) => {
                format!("{} {} {}", one(left), comparison.sign(), one(right))
            }
            Expr::Cast(operand, _, to) => format!("{}::{to}", one(operand)),
            Expr::And(operands) => join(operands.iter().map(one), " and "),
            Expr::Or(operands) => join(operands.iter().map(one), " or "),
            Expr::Not(operand) => format!("not {}", one(operand)),
            Expr::Is(operand, test, negated) => {
                let test = match test {
                    IsTest::Null => "null",
                    IsTest::True => "true",
                    IsTest::False => "false",
                    IsTest::Unknown => "unknown",
                };
                format!("{} is {}{test}", one(operand), not(*negated))
            }
            Expr::Distinct(left, right, negated) => {
                format!("{} is {}distinct from {}", one(left), not(*negated), one(right))
            }
            Expr::In(operand, list, negated) => {
                format!("{} {}in ({})", one(operand), not(*negated), all(list))
            }
            Expr::Case { .. } => "case ..".to_owned(),
            Expr::Coalesce(operands) => format!("coalesce({})", all(operands)),
            Expr::NullIf(left, right) => format!("nullif({}, {})", one(left), one(right)),
            Expr::Greatest(operands) => format!("greatest({})", all(operands)),
            Expr::Least(operands) => format!("least({})", all(operands)),
        }
    }

    /// In brackets where it is made of more than a name.
    fn operand(&self, expr: &Expr, names: &[String]) -> String {
        let text = self.expr(expr, names);
        match expr {
            Expr::Constant(_)
            | Expr::Column(_)
            | Expr::Parameter(_)
            | Expr::Aggregate(_)
            | Expr::Cast(..)
            | Expr::Coalesce(_)
            | Expr::NullIf(..)
            | Expr::Greatest(_)
            | Expr::Least(_) => text,
            Expr::Call(..)
            | Expr::Fold(..)
            | Expr::Compare(..)
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::Is(..)
            | Expr::Distinct(..)
            | Expr::In(..)
            | Expr::Case { .. } => format!("({text})"),
        }
    }

    fn constant(&self, value: &Value) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(_) => value.to_text(Type::BigInt, self.env),
            Value::Double(_) => value.to_text(Type::Double, self.env),
            Value::Numeric(_) => value.to_text(Type::Numeric, self.env),
            Value::Text(text) => quoted(text),
            Value::Bytes(_) => quoted(&value.to_text(Type::Bytea, self.env)),
            Value::TimestampTz(_) => quoted(&value.to_text(Type::TimestampTz, self.env)),
        }
    }
}

fn join(parts: impl Iterator<Item = String>, between: &str) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.len() <= LIST_MAX {
        return parts.join(between);
    }
    let more = parts.len() - LIST_MAX;
    format!("{}{between}{more} more", parts[..LIST_MAX].join(between))
}

fn list(parts: impl Iterator<Item = String>) -> String {
    join(parts, ", ")
}
