//! All functions and operators there are.

use super::function::Function;

/// The functions.
const FUNCTIONS: [&[Function]; 0] = [];

/// The operators.
const OPERATORS: [&[Function]; 0] = [];

/// The functions of that name.
pub(super) fn named(name: &str) -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.into_iter().flatten().filter(move |function| function.name == name)
}

/// The operators of that sign.
pub(super) fn operators(sign: &str) -> impl Iterator<Item = &'static Function> {
    OPERATORS.into_iter().flatten().filter(move |function| function.name == sign)
}
