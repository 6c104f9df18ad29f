//! Arguments of EXECUTE, which only these tests run: sessions have no named statements in this release.

use crate::bind::scope::{Parameters, Scope};
use crate::bind::{Catalog, Context};
use crate::error::{SqlError, SqlState};
use crate::execute::eval::constant;
use crate::parse::ast::Expr;
use crate::scalar::cast::Coercion;
use crate::scalar::env::Env;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

/// The value of an argument of EXECUTE, as parameter `number`, from 1, which is of type `ty`.
pub(super) fn argument(expr: &Expr, number: usize, ty: Type, env: &Env) -> Result<Value, SqlError> {
    let catalog = Catalog::default();
    let mut context = Context { catalog: &catalog, parameters: Parameters::default(), env };
    let nothing = Scope::default();
    let mut binder = context.binder(&nothing, "EXECUTE parameters");
    let typed = binder.bind(expr)?;
    let coerced = binder.coerced(typed, ty, Coercion::Assignment)?.map_err(|typed| {
        let message = format!(
            "parameter ${number} of type {} cannot be coerced to the expected type {ty}",
            typed.ty
        );
        SqlError::new(SqlState::DATATYPE_MISMATCH, message)
            .with_hint("You will need to rewrite or cast the expression.")
    })?;
    if !context.parameters.finish()?.is_empty() {
        let message = "there are no parameters in EXECUTE";
        return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, message));
    }
    constant(&coerced, env)
}
