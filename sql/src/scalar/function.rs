//! Functions and operators, and which of those of one name a call means.
//!
//! An operator is a function whose name is its sign; the prefix operators have one argument. Which ones there
//! are say the tables in `functions/`; the choice is made in `overload.rs`.

use std::fmt;

use super::cast::{self, Coercion};
use super::env::Env;
use super::types::Type;
use super::value::Value;
use super::{functions, overload};
use crate::error::{SqlError, SqlState};

/// When a call gives the same result again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Always, for the same arguments.
    Immutable,
    /// Within a statement: it depends on the environment.
    Stable,
    /// Never.
    Volatile,
}

/// What arguments may follow those that a function declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// None.
    None,
    /// One or more, of any types: PostgreSQL's `VARIADIC "any"`.
    Any,
}

/// What computes a function. NULLs reach it only if the function is not strict.
pub(super) type Eval = fn(&[Value], &mut Env) -> Result<Value, SqlError>;

/// A function or an operator.
pub struct Function {
    /// Its name, in lower case, or its sign.
    pub name: &'static str,
    /// The types of its arguments.
    pub arguments: &'static [Type],
    /// What may follow them.
    pub rest: Rest,
    /// The type of its result.
    pub returns: Type,
    /// When it gives the same result again.
    pub volatility: Volatility,
    /// Whether a NULL among the arguments makes the result NULL.
    pub strict: bool,
    pub(super) eval: Eval,
}

impl Function {
    /// An immutable strict function.
    pub(super) const fn new(
        name: &'static str,
        arguments: &'static [Type],
        returns: Type,
        eval: Eval,
    ) -> Self {
        let (rest, volatility) = (Rest::None, Volatility::Immutable);
        Function { name, arguments, rest, returns, volatility, strict: true, eval }
    }

    pub(super) const fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    pub(super) const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// NULLs are arguments like others.
    pub(super) const fn takes_null(mut self) -> Self {
        self.strict = false;
        self
    }

    pub(super) const fn variadic(mut self) -> Self {
        self.rest = Rest::Any;
        self
    }

    /// Its result for arguments that were coerced to the types that [`Resolved::arguments`] says.
    ///
    /// # Errors
    ///
    /// Those of the function.
    pub fn call(&self, arguments: &[Value], env: &mut Env) -> Result<Value, SqlError> {
        if self.strict && arguments.iter().any(Value::is_null) {
            return Ok(Value::Null);
        }
        (self.eval)(arguments, env)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, list(self.arguments))
    }
}

/// A call whose function is found.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The function.
    pub function: &'static Function,
    /// To which types the arguments are to be coerced, implicitly.
    pub arguments: Vec<Type>,
    /// The type of the result.
    pub returns: Type,
}

impl Resolved {
    fn new(function: &'static Function, arguments: &[Type]) -> Self {
        let rest = arguments.iter().skip(function.arguments.len());
        // PostgreSQL reads a literal of unknown type as text where any type will do.
        let rest = rest.map(|ty| if *ty == Type::Unknown { Type::Text } else { *ty });
        Resolved {
            function,
            arguments: function.arguments.iter().copied().chain(rest).collect(),
            returns: function.returns,
        }
    }
}

/// The function that a call means. The name is in lower case, without a schema.
///
/// # Errors
///
/// There is none (42883), or several fit as well (42725).
pub fn resolve_function(name: &str, arguments: &[Type]) -> Result<Resolved, SqlError> {
    // What the grammar of PostgreSQL turns into calls of these.
    let searched = match name {
        "trim" => "btrim",
        "current_timestamp" => "now",
        "current_catalog" => "current_database",
        "user" | "current_role" => "current_user",
        _ => name,
    };
    let candidates = functions::named(searched).filter(|function| takes(function, arguments.len()));
    let candidates: Vec<_> = candidates.collect();
    if let Some(exact) = candidates.iter().copied().find(|each| each.arguments == arguments) {
        return Ok(Resolved::new(exact, arguments));
    }
    let error = |state, problem: &str, hint: &str| {
        let message = format!("function {name}({}) {problem}", list(arguments));
        Err(SqlError::new(state, message).with_hint(hint))
    };
    match overload::choose(candidates, arguments) {
        overload::Choice::One(function) => Ok(Resolved::new(function, arguments)),
        overload::Choice::None => error(
            SqlState::UNDEFINED_FUNCTION,
            "does not exist",
            "No function matches the given name and argument types. \
             You might need to add explicit type casts.",
        ),
        overload::Choice::Several => error(
            SqlState::AMBIGUOUS_FUNCTION,
            "is not unique",
            "Could not choose a best candidate function. You might need to add explicit type casts.",
        ),
    }
}

/// The operator that an expression means; without a left operand a prefix operator. `LIKE` is `~~`, `ILIKE`
/// is `~~*`, with `!` before it for `NOT`; a pattern with an ESCAPE goes through the function `like_escape`.
///
/// # Errors
///
/// There is none (42883), or several fit as well (42725).
pub fn resolve_operator(
    operator: &str,
    left: Option<Type>,
    right: Type,
) -> Result<Resolved, SqlError> {
    let searched = if operator == "!=" { "<>" } else { operator };
    let arguments: Vec<Type> = left.into_iter().chain([right]).collect();
    let candidates = functions::operators(searched).filter(|each| takes(each, arguments.len()));
    let candidates: Vec<_> = candidates.collect();
    let known = arguments.iter().copied().find(|ty| *ty != Type::Unknown);
    // An unknown operand is first tried as one of the other's type.
    let alike: Vec<Type> = match known {
        Some(known) => {
            arguments.iter().map(|ty| if *ty == Type::Unknown { known } else { *ty }).collect()
        }
        None => arguments.clone(),
    };
    if let Some(exact) = candidates.iter().copied().find(|each| each.arguments == alike) {
        return Ok(Resolved::new(exact, &arguments));
    }
    let error = |state, problem: &str, hint: &str| {
        let left = left.map(|ty| format!("{ty} ")).unwrap_or_default();
        let message = format!("operator {problem}: {left}{searched} {right}");
        Err(SqlError::new(state, message).with_hint(hint))
    };
    let hint_types = match left {
        Some(_) => "name and argument types. You might need to add explicit type casts.",
        None => "name and argument type. You might need to add an explicit type cast.",
    };
    let choice = match overload::choose(candidates, &arguments) {
        // With dates and intervals PostgreSQL has more of these than there are here.
        overload::Choice::One(_) if known.is_none() && is_arithmetic(searched, left) => {
            overload::Choice::Several
        }
        choice => choice,
    };
    match choice {
        overload::Choice::One(function) => Ok(Resolved::new(function, &arguments)),
        overload::Choice::None => error(
            SqlState::UNDEFINED_FUNCTION,
            "does not exist",
            &format!("No operator matches the given {hint_types}"),
        ),
        overload::Choice::Several => error(
            SqlState::AMBIGUOUS_FUNCTION,
            "is not unique",
            "Could not choose a best candidate operator. You might need to add explicit type casts.",
        ),
    }
}

/// The one type of the branches of a CASE, the rows of VALUES and the like: PostgreSQL's rules for "UNION,
/// CASE, and Related Constructs". `what` is for the message: `CASE`, `COALESCE`, `VALUES`, `GREATEST`.
///
/// # Errors
///
/// They have none (42804).
pub fn common_type(types: &[Type], what: &str) -> Result<Type, SqlError> {
    let mut common = Type::Unknown;
    for &next in types.iter().filter(|ty| **ty != Type::Unknown) {
        if common == Type::Unknown {
            common = next;
        } else if common.category() != next.category() {
            let message = format!("{what} types {common} and {next} cannot be matched");
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        } else if !common.is_preferred()
            && cast::can_cast(common, next, Coercion::Implicit)
            && !cast::can_cast(next, common, Coercion::Implicit)
        {
            common = next;
        }
    }
    Ok(if common == Type::Unknown { Type::Text } else { common })
}

/// Whether PostgreSQL takes an operator for arithmetic of more than numbers.
fn is_arithmetic(operator: &str, left: Option<Type>) -> bool {
    match left {
        Some(_) => matches!(operator, "+" | "-" | "*" | "/" | "%"),
        None => operator == "-",
    }
}

fn takes(function: &Function, count: usize) -> bool {
    match function.rest {
        Rest::None => function.arguments.len() == count,
        Rest::Any => function.arguments.len() < count,
    }
}

/// Types as messages list them.
pub(super) fn list(types: &[Type]) -> String {
    types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ")
}
