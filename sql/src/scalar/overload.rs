//! The choice among functions or operators of one name: chapters 10.2 and 10.3 of PostgreSQL's manual, and
//! where they are vague its `func_select_candidate`.
//!
//! Example: `'1' + 2.5` is `numeric + numeric`, because the known operand is tried for the unknown one;
//! `1 + 2.5` is too, because no operator takes `integer` and `numeric` and this one is exact in more places
//! than `double precision + double precision`.

use super::cast::{self, Coercion};
use super::function::Function;
use super::types::{Category, Type};

/// What was chosen.
pub(super) enum Choice {
    /// No function takes such arguments.
    None,
    /// This one.
    One(&'static Function),
    /// Several, none of them better.
    Several,
}

/// Chooses. All candidates take that many arguments.
pub(super) fn choose(candidates: Vec<&'static Function>, arguments: &[Type]) -> Choice {
    let fits = |each: &&'static Function| {
        let mut pairs = arguments.iter().zip(each.arguments);
        pairs.all(|(from, to)| cast::can_cast(*from, *to, Coercion::Implicit))
    };
    let mut left: Vec<_> = candidates.into_iter().filter(fits).collect();
    if left.is_empty() {
        return Choice::None;
    }
    let known = |place: usize| arguments[place] != Type::Unknown;
    keep_best(&mut left, |each| matches(each, |place, ty| known(place) && ty == arguments[place]));
    keep_best(&mut left, |each| {
        matches(each, |place, ty| known(place) && (ty == arguments[place] || ty.is_preferred()))
    });
    if left.len() > 1 {
        keep_by_category(&mut left, arguments);
    }
    if left.len() > 1 {
        keep_by_known_type(&mut left, arguments);
    }
    match left.as_slice() {
        [function] => Choice::One(function),
        _ => Choice::Several,
    }
}

/// In how many places a function's argument does.
fn matches(function: &Function, does: impl Fn(usize, Type) -> bool) -> usize {
    function.arguments.iter().enumerate().filter(|(place, ty)| does(*place, **ty)).count()
}

fn keep_best(left: &mut Vec<&'static Function>, score: impl Fn(&Function) -> usize) {
    let best = left.iter().map(|each| score(each)).max().unwrap_or(0);
    left.retain(|each| score(each) == best);
}

/// Guesses a category for each unknown argument, text before others, and keeps what agrees with all guesses.
fn keep_by_category(left: &mut Vec<&'static Function>, arguments: &[Type]) {
    let mut guesses: Vec<(usize, Category, bool)> = Vec::new();
    for place in (0..arguments.len()).filter(|place| arguments[*place] == Type::Unknown) {
        let types: Vec<Type> =
            left.iter().filter_map(|each| each.arguments.get(place).copied()).collect();
        let Some(first) = types.first() else { continue };
        let category = if types.iter().any(|ty| ty.category() == Category::String) {
            Category::String
        } else if types.iter().all(|ty| ty.category() == first.category()) {
            first.category()
        } else {
            return;
        };
        let preferred = types.iter().any(|ty| ty.category() == category && ty.is_preferred());
        guesses.push((place, category, preferred));
    }
    let agrees = |each: &Function| {
        guesses.iter().all(|(place, category, preferred)| {
            let ty = each.arguments.get(*place);
            ty.is_none_or(|ty| ty.category() == *category && (!preferred || ty.is_preferred()))
        })
    };
    if left.iter().any(|each| agrees(each)) {
        left.retain(|each| agrees(each));
    }
}

/// When all known arguments are of one type, the unknown ones may be of it too.
fn keep_by_known_type(left: &mut Vec<&'static Function>, arguments: &[Type]) {
    let mut known = arguments.iter().copied().filter(|ty| *ty != Type::Unknown);
    let Some(first) = known.next() else { return };
    if known.any(|ty| ty != first) {
        return;
    }
    let accepts = |each: &Function| {
        each.arguments.iter().all(|to| cast::can_cast(first, *to, Coercion::Implicit))
    };
    if left.iter().filter(|each| accepts(each)).count() == 1 {
        left.retain(|each| accepts(each));
    }
}
