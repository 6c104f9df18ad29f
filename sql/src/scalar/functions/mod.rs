//! All functions and operators there are.

mod arguments;
mod compare;
mod convert;
mod digest;
mod integer;
mod math;
mod session;
mod text;
mod time;

use super::function::Function;

/// The functions.
static FUNCTIONS: [&[Function]; 12] = [
    &integer::ABSOLUTE,
    &integer::MOD,
    &integer::OTHERS,
    &math::DOUBLES,
    &math::NUMERICS,
    &text::FUNCTIONS,
    &convert::FUNCTIONS,
    &digest::FUNCTIONS,
    &convert::QUOTES,
    &convert::TYPE_NAMES,
    &time::FUNCTIONS,
    &session::FUNCTIONS,
];

/// The operators.
static OPERATORS: [&[Function]; 23] = [
    &compare::EQUAL,
    &compare::NOT_EQUAL,
    &compare::LESS,
    &compare::LESS_OR_EQUAL,
    &compare::GREATER,
    &compare::GREATER_OR_EQUAL,
    &integer::ADD,
    &integer::SUBTRACT,
    &integer::MULTIPLY,
    &integer::DIVIDE,
    &integer::REMAINDER,
    &integer::NEGATE,
    &integer::PLUS,
    &integer::ABSOLUTE_SIGN,
    &integer::AND,
    &integer::OR,
    &integer::XOR,
    &integer::NOT,
    &integer::SHIFT_LEFT,
    &integer::SHIFT_RIGHT,
    &math::OPERATORS,
    &text::OPERATORS,
    &convert::OPERATORS,
];

/// All of both.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().chain(&OPERATORS).copied().flatten()
}

/// The functions of that name.
pub(super) fn named(name: &str) -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().copied().flatten().filter(move |function| function.name == name)
}

/// The operators of that sign.
pub(super) fn operators(sign: &str) -> impl Iterator<Item = &'static Function> {
    OPERATORS.iter().copied().flatten().filter(move |function| function.name == sign)
}
