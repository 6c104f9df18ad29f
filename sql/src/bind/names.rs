//! The names of output columns: PostgreSQL's `FigureColname`.

use crate::parse::ast::Expr;

/// The name of an output column without AS.
pub(super) fn column_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// How good a name is: a column's or function's is taken through a cast, a type's is not.
#[derive(PartialEq)]
enum Strength {
    Weak,
    Strong,
}

fn figure(expr: &Expr) -> Option<(String, Strength)> {
    match expr {
        Expr::Column { name, .. } => Some((name.value.clone(), Strength::Strong)),
        Expr::Call(call) => Some((call.name.value.clone(), Strength::Strong)),
        Expr::Cast(operand, ty) => match figure(operand) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            Some((_, Strength::Weak)) | None => Some((ty.column_name.to_owned(), Strength::Weak)),
        },
        Expr::Case { otherwise, .. } => match otherwise.as_deref().and_then(figure) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            Some((_, Strength::Weak)) | None => Some(("case".to_owned(), Strength::Weak)),
        },
        Expr::Literal(..)
        | Expr::Parameter(..)
        | Expr::Unary(..)
        | Expr::Fold(..)
        | Expr::And(_)
        | Expr::Or(_)
        | Expr::Not(_)
        | Expr::Is { .. }
        | Expr::Distinct { .. }
        | Expr::In { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::Default(_) => None,
    }
}
