//! Doubles: text, arithmetic with PostgreSQL's checks, and rounding to integers.
//!
//! Example: `1e308 * 10` is an error here, not infinity, but `'Infinity' * 10` is infinity.

use crate::error::{SqlError, SqlState};

/// The text of a double: the shortest that reads back as it, or with fewer digits when
/// `extra_float_digits` is not above 0.
pub(super) fn output(value: f64, extra_float_digits: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-Infinity" } else { "Infinity" }.to_owned();
    }
    if extra_float_digits > 0 {
        return layout(&shortest(value), 15);
    }
    let digits = (15 + extra_float_digits).max(1);
    format_g(value, usize::try_from(digits).expect("it is at least 1"))
}

/// The shortest that reads back, in scientific notation.
///
/// Rust also gives one that lies just in the middle between two doubles and only reads back because ties go to
/// the even one; PostgreSQL trusts no reader with that. Example: 1e23. And where two texts of that length are
/// as near, PostgreSQL's last digit is even.
fn shortest(value: f64) -> String {
    let text = format!("{value:e}");
    let (digits, _) = text.split_once('e').unwrap_or((&text, ""));
    let places = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let even = format!("{value:.places$e}");
    let text = if even.parse() == Ok(value) { even } else { text };
    if !is_tie(value, &text) {
        return text;
    }
    let longer = format!("{value:.15e}");
    if longer.parse() == Ok(value) && !is_tie(value, &longer) {
        longer
    } else {
        format!("{value:.16e}")
    }
}

/// Whether a number in scientific notation is in the middle between a double and one next to it.
fn is_tie(value: f64, scientific: &str) -> bool {
    let bits = value.abs().to_bits();
    let (fraction, exponent) = (u128::from(bits & ((1 << 52) - 1)), i64::try_from(bits >> 52));
    let exponent = exponent.unwrap_or(0);
    let (mantissa, exponent) =
        if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    let Some((digits, power)) = scientific.split_once('e') else { return false };
    let (whole, after) = digits.trim_start_matches('-').split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('-');
    let (Ok(number), Ok(power)) = (format!("{whole}{after}").parse::<u128>(), power.parse::<i64>())
    else {
        return false;
    };
    let power = power - i64::try_from(after.len()).unwrap_or(0);
    // number * 10^power as an odd number times a power of two, as the middle is.
    let odd = match u32::try_from(power) {
        Ok(power) => 5_u128.checked_pow(power).and_then(|fives| number.checked_mul(fives)),
        Err(_) if power == -1 && number % 5 == 0 => Some(number / 5),
        Err(_) => None,
    };
    let Some(odd) = odd.filter(|odd| *odd != 0) else { return false };
    let twos = odd.trailing_zeros();
    let (odd, power) = (odd >> twos, power + i64::from(twos));
    let below = if fraction == 0 {
        (4 * mantissa - 1, exponent - 2)
    } else {
        (2 * mantissa - 1, exponent - 1)
    };
    (odd, power) == (2 * mantissa + 1, exponent - 1) || (odd, power) == below
}

/// C's `%.*g`, for finite values.
pub(super) fn format_g(value: f64, digits: usize) -> String {
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    layout(&format!("{mantissa}e{exponent}"), i32::try_from(digits).unwrap_or(i32::MAX))
}

/// A number in Rust's scientific notation, written out if its exponent is from -4 to below `plain_max`.
fn layout(scientific: &str, plain_max: i32) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..plain_max).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let shift = usize::try_from(exponent.unsigned_abs()).unwrap_or(0);
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(shift - 1));
    }
    if digits.len() <= shift + 1 {
        return format!("{sign}{digits}{}", "0".repeat(shift + 1 - digits.len()));
    }
    let (whole, fraction) = digits.split_at(shift + 1);
    format!("{sign}{whole}.{fraction}")
}

/// The double of a text.
pub(super) fn input(text: &str) -> Result<f64, SqlError> {
    let trimmed = text.trim_matches(super::text::is_space);
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let is_word = ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    // Rust reads all that PostgreSQL does but hexadecimal fractions.
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let value = match trimmed.parse::<f64>() {
        Ok(value) if is_word || is_number => value,
        _ => {
            let message = format!("invalid input syntax for type double precision: \"{text}\"");
            return Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
        }
    };
    let digits = unsigned.split(['e', 'E']).next().unwrap_or("");
    let vanished = value == 0.0 && digits.contains(|c: char| ('1'..='9').contains(&c));
    if is_number && (value.is_infinite() || vanished) {
        let message = format!("\"{trimmed}\" is out of range for type double precision");
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    Ok(value)
}

/// The result of a function, unless it became infinite though no argument was.
pub(super) fn not_overflowed(result: f64, arguments: &[f64]) -> Result<f64, SqlError> {
    if result.is_infinite() && arguments.iter().all(|argument| !argument.is_infinite()) {
        return Err(out_of_range("overflow"));
    }
    Ok(result)
}

fn out_of_range(why: &str) -> SqlError {
    let message = format!("value out of range: {why}");
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

fn underflow() -> SqlError {
    out_of_range("underflow")
}

pub(super) fn add(a: f64, b: f64) -> Result<f64, SqlError> {
    not_overflowed(a + b, &[a, b])
}

pub(super) fn subtract(a: f64, b: f64) -> Result<f64, SqlError> {
    not_overflowed(a - b, &[a, b])
}

pub(super) fn multiply(a: f64, b: f64) -> Result<f64, SqlError> {
    let result = not_overflowed(a * b, &[a, b])?;
    if result == 0.0 && a != 0.0 && b != 0.0 {
        return Err(underflow());
    }
    Ok(result)
}

pub(super) fn divide(a: f64, b: f64) -> Result<f64, SqlError> {
    if b == 0.0 && !a.is_nan() {
        return Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
    }
    let result = not_overflowed(a / b, &[a])?;
    if result == 0.0 && a != 0.0 && !b.is_infinite() {
        return Err(underflow());
    }
    Ok(result)
}

pub(super) fn sqrt(a: f64) -> Result<f64, SqlError> {
    if a < 0.0 {
        return Err(power_error("cannot take square root of a negative number"));
    }
    Ok(a.sqrt())
}

pub(super) fn cbrt(a: f64) -> Result<f64, SqlError> {
    Ok(a.cbrt())
}

pub(super) fn power_error(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

pub(super) const ZERO_TO_NEGATIVE: &str = "zero raised to a negative power is undefined";
pub(super) const COMPLEX: &str =
    "a negative number raised to a non-integer power yields a complex result";

pub(super) fn power(a: f64, b: f64) -> Result<f64, SqlError> {
    if a == 0.0 && b < 0.0 {
        return Err(power_error(ZERO_TO_NEGATIVE));
    }
    if a < 0.0 && b.is_finite() && b.fract() != 0.0 {
        return Err(power_error(COMPLEX));
    }
    let result = not_overflowed(a.powf(b), &[a, b])?;
    if result == 0.0 && a != 0.0 && a.is_finite() && b.is_finite() {
        return Err(underflow());
    }
    Ok(result)
}

pub(super) fn exp(a: f64) -> Result<f64, SqlError> {
    let result = not_overflowed(a.exp(), &[a])?;
    if result == 0.0 && a.is_finite() {
        return Err(underflow());
    }
    Ok(result)
}

/// Refuses what has no logarithm.
pub(super) fn check_logarithm(is_zero: bool, is_negative: bool) -> Result<(), SqlError> {
    let what = match (is_zero, is_negative) {
        (true, _) => "zero",
        (_, true) => "a negative number",
        _ => return Ok(()),
    };
    let message = format!("cannot take logarithm of {what}");
    Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message))
}

pub(super) fn ln(a: f64) -> Result<f64, SqlError> {
    check_logarithm(a == 0.0, a < 0.0)?;
    Ok(a.ln())
}

pub(super) fn log10(a: f64) -> Result<f64, SqlError> {
    check_logarithm(a == 0.0, a < 0.0)?;
    Ok(a.log10())
}

/// The sign, which a zero keeps and a NaN has not.
pub(super) fn sign(a: f64) -> f64 {
    if a > 0.0 {
        1.0
    } else if a < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// The integer nearest to it, the even one of two, if it is from `min` to `max`.
pub(super) fn to_integer(value: f64, min: i64, max: i64) -> Option<i64> {
    let rounded = value.round_ties_even();
    // Both bounds of `i64` in the form that doubles have: the upper is excluded.
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is integral and in range")]
    let integer = rounded as i64;
    (min..=max).contains(&integer).then_some(integer)
}

/// A function of an angle, which is finite.
pub(super) fn trigonometric(a: f64, function: fn(f64) -> f64) -> Result<f64, SqlError> {
    if a.is_infinite() { Err(input_out_of_range()) } else { Ok(function(a)) }
}

/// A function of a number from -1 to 1.
pub(super) fn of_unit(a: f64, function: fn(f64) -> f64) -> Result<f64, SqlError> {
    if a.abs() > 1.0 { Err(input_out_of_range()) } else { Ok(function(a)) }
}

fn input_out_of_range() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}
