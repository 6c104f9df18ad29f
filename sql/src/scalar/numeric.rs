//! NUMERIC: exact decimal fractions with PostgreSQL's scales, in the 96 bits of `rust_decimal`.
//!
//! A number is a *mantissa* and a *scale*, the count of its digits after the point: `1.50` is 150 with scale 2
//! and is shown so. Sums, products and remainders are exact. Quotients have the scale of PostgreSQL's
//! `select_div_scale`, which keeps sixteen significant digits or more.
//!
//! Example: `1 / 3.0` has scale 20 and is `0.33333333333333333333`.
//!
//! What needs more than 28 digits, or more than 28 after the point, is refused if it is exact. If it only has
//! more zeros at its end, or is a quotient, it is given with as many digits as there is room for. There is
//! no NaN and no infinity.

use rust_decimal::Decimal;

use super::double;
use crate::error::{SqlError, SqlState};

/// PostgreSQL's `NUMERIC_MIN_SIG_DIGITS`.
pub(super) const SIGNIFICANT_MIN: i32 = 16;
/// Digits after the point that there is room for.
pub(super) const SCALE_MAX: u32 = 28;
/// The greatest mantissa.
const MANTISSA_MAX: u128 = (1 << 96) - 1;

/// The error of all that needs more digits.
pub(super) fn too_many_digits() -> SqlError {
    let message = "value overflows numeric format: this release keeps NUMERIC to 28 digits";
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// Exactly that number, with that scale or as many of its zeros as there is room for.
pub(super) fn exact(mut mantissa: i128, mut scale: u32) -> Result<Decimal, SqlError> {
    while scale > SCALE_MAX || mantissa.unsigned_abs() > MANTISSA_MAX {
        if scale == 0 || mantissa % 10 != 0 {
            return Err(too_many_digits());
        }
        mantissa /= 10;
        scale -= 1;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| too_many_digits())
}

pub(super) fn from_int(value: i64) -> Decimal {
    Decimal::from(value)
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// Both mantissas with the greater of both scales.
fn aligned(a: Decimal, b: Decimal) -> Option<(i128, i128, u32)> {
    let scale = a.scale().max(b.scale());
    let align = |x: Decimal| x.mantissa().checked_mul(power_of_ten(scale - x.scale())?);
    Some((align(a)?, align(b)?, scale))
}

pub(super) fn add(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    let sum = aligned(a, b).and_then(|(x, y, scale)| Some((x.checked_add(y)?, scale)));
    let (sum, scale) = sum.ok_or_else(too_many_digits)?;
    exact(sum, scale)
}

pub(super) fn negate(a: Decimal) -> Decimal {
    Decimal::from_i128_with_scale(-a.mantissa(), a.scale())
}

pub(super) fn subtract(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    add(a, negate(b))
}

pub(super) fn multiply(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    let scale = a.scale() + b.scale();
    if let Some(product) = a.mantissa().checked_mul(b.mantissa()) {
        return exact(product, scale);
    }
    // Only zeros at the end can have made it so long.
    let (a, b) = (a.normalize(), b.normalize());
    let product = a.mantissa().checked_mul(b.mantissa()).ok_or_else(too_many_digits)?;
    exact(product, a.scale() + b.scale())
}

/// Where the first digit to the base 10000 stands, and what it is: PostgreSQL's numbers are made of these.
fn first_digit(value: Decimal) -> (i32, u128) {
    let mantissa = value.mantissa().unsigned_abs();
    if mantissa == 0 {
        return (0, 0);
    }
    let scale = i32::try_from(value.scale()).unwrap_or(0);
    let exponent = i32::try_from(mantissa.ilog10()).unwrap_or(0) - scale;
    let weight = exponent.div_euclid(4);
    let shift = scale + weight * 4;
    let power = 10_u128.pow(shift.unsigned_abs());
    (weight, if shift < 0 { mantissa * power } else { mantissa / power })
}

/// The exponent to the base 10000 of its first digit.
pub(super) fn weight(value: Decimal) -> i32 {
    first_digit(value).0
}

/// PostgreSQL's `select_div_scale`, cut to what there is room for.
fn quotient_scale(a: Decimal, b: Decimal) -> u32 {
    let ((weight_a, first_a), (weight_b, first_b)) = (first_digit(a), first_digit(b));
    let weight = weight_a - weight_b - i32::from(first_a <= first_b);
    let scale = u32::try_from(SIGNIFICANT_MIN - weight * 4).unwrap_or(0);
    scale.max(a.scale()).max(b.scale()).min(SCALE_MAX)
}

/// Division digit by digit: mantissa of the quotient, its scale, remainder and divisor. It ends at `scale`, or
/// before it where there is no room for one digit more.
fn long_division(a: Decimal, b: Decimal, scale: u32) -> Result<(u128, u32, u128, u128), SqlError> {
    let (dividend, divisor) = (a.mantissa().unsigned_abs(), b.mantissa().unsigned_abs());
    if divisor == 0 {
        return Err(division_by_zero());
    }
    let signed = |scale: u32| i32::try_from(scale).unwrap_or(0);
    let mut reached = signed(a.scale()) - signed(b.scale());
    let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
    while reached < signed(scale) {
        let next = quotient * 10 + rest * 10 / divisor;
        if next > MANTISSA_MAX {
            break;
        }
        (quotient, rest) = (next, rest * 10 % divisor);
        reached += 1;
    }
    let reached = u32::try_from(reached).map_err(|_| too_many_digits())?;
    Ok((quotient, reached, rest, divisor))
}

pub(super) fn divide(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    let (mut quotient, scale, rest, divisor) = long_division(a, b, quotient_scale(a, b))?;
    if rest * 2 >= divisor {
        quotient += 1;
    }
    signed(quotient, scale, a.is_sign_negative() != b.is_sign_negative())
}

fn signed(mantissa: u128, scale: u32, negative: bool) -> Result<Decimal, SqlError> {
    let mantissa = i128::try_from(mantissa).map_err(|_| too_many_digits())?;
    exact(if negative { -mantissa } else { mantissa }, scale)
}

/// The integer part of the quotient.
pub(super) fn divide_to_integer(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    let (quotient, scale, ..) = long_division(a, b, 0)?;
    let quotient = quotient / 10_u128.checked_pow(scale).ok_or_else(too_many_digits)?;
    signed(quotient, 0, a.is_sign_negative() != b.is_sign_negative())
}

/// The remainder, with the sign of the dividend.
pub(super) fn remainder(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    let (mut rest, mut divisor) = (a.mantissa(), b.mantissa().unsigned_abs());
    if divisor == 0 {
        return Err(division_by_zero());
    }
    let negative = rest < 0;
    let scale = a.scale().max(b.scale());
    let too_long = 10_u128.checked_pow(scale - b.scale()).and_then(|by| divisor.checked_mul(by));
    match too_long {
        Some(longer) => divisor = longer,
        // The divisor is above every dividend of that scale.
        None => return Ok(a),
    }
    let mut magnitude = rest.unsigned_abs() % divisor;
    for _ in a.scale()..scale {
        magnitude = magnitude * 10 % divisor;
    }
    rest = i128::try_from(magnitude).map_err(|_| too_many_digits())?;
    exact(if negative { -rest } else { rest }, scale)
}

/// The greatest number that both are multiples of.
pub(super) fn greatest_divisor(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    let (mut x, mut y) = (a.abs(), b.abs());
    let scale = a.scale().max(b.scale());
    while !y.is_zero() {
        (x, y) = (y, remainder(x, y)?);
    }
    padded(x, scale)
}

/// The least number that is a multiple of both.
pub(super) fn least_multiple(a: Decimal, b: Decimal) -> Result<Decimal, SqlError> {
    let scale = a.scale().max(b.scale());
    if a.is_zero() || b.is_zero() {
        return padded(Decimal::ZERO, scale);
    }
    let times = divide_to_integer(a.abs(), greatest_divisor(a, b)?)?;
    padded(multiply(times, b.abs())?, scale)
}

/// How a digit that goes changes the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    HalfAwayFromZero,
    TowardsZero,
    Down,
    Up,
}

/// To so many digits after the point, or to a power of ten if that is negative.
pub(super) fn round(a: Decimal, places: i32, rounding: Rounding) -> Result<Decimal, SqlError> {
    let scale = i32::try_from(a.scale()).unwrap_or(0);
    let shown = u32::try_from(places).unwrap_or(0);
    if places >= scale {
        return padded(a, shown);
    }
    let (quotient, rest, power) = match power_of_ten((scale - places).unsigned_abs()) {
        Some(power) => (a.mantissa() / power, a.mantissa() % power, power),
        None => (0, a.mantissa(), i128::MAX),
    };
    let away = match rounding {
        Rounding::HalfAwayFromZero => rest.unsigned_abs() >= power.unsigned_abs().div_ceil(2),
        Rounding::TowardsZero => false,
        Rounding::Down => rest < 0,
        Rounding::Up => rest > 0,
    };
    let rounded = if away { quotient + a.mantissa().signum() } else { quotient };
    let back = if places < 0 { power_of_ten(places.unsigned_abs()) } else { Some(1) };
    let mantissa = match back.and_then(|back| rounded.checked_mul(back)) {
        Some(mantissa) => mantissa,
        None if rounded == 0 => 0,
        None => return Err(too_many_digits()),
    };
    exact(mantissa, shown)
}

/// With zeros at its end up to that scale, as far as there is room.
pub(super) fn padded(a: Decimal, scale: u32) -> Result<Decimal, SqlError> {
    let (mut mantissa, mut reached) = (a.mantissa(), a.scale());
    while reached < scale.min(SCALE_MAX) && mantissa.unsigned_abs() <= MANTISSA_MAX / 10 {
        mantissa *= 10;
        reached += 1;
    }
    exact(mantissa, reached)
}

/// The integer nearest to it, the one further from zero of two.
pub(super) fn to_integer(a: Decimal, min: i64, max: i64) -> Option<i64> {
    let rounded = round(a, 0, Rounding::HalfAwayFromZero).ok()?;
    let integer = i64::try_from(rounded.mantissa()).ok()?;
    (min..=max).contains(&integer).then_some(integer)
}

pub(super) fn to_double(a: Decimal) -> f64 {
    a.to_string().parse().expect("a decimal fraction is a double's text")
}

/// With the fifteen digits that a double surely has.
pub(super) fn from_double(value: f64) -> Result<Decimal, SqlError> {
    if !value.is_finite() {
        return Err(no_such_value(&double::output(value, 1)));
    }
    input(&double::format_g(value, 15))
}

fn no_such_value(text: &str) -> SqlError {
    SqlError::unsupported(format!("{text} and other NUMERIC values that are not finite"))
}

fn invalid(text: &str) -> SqlError {
    let message = format!("invalid input syntax for type numeric: \"{text}\"");
    SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
}

/// The number of a text.
pub(super) fn input(text: &str) -> Result<Decimal, SqlError> {
    let trimmed = text.trim_matches(super::text::is_space);
    let (negative, unsigned) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return Err(no_such_value(trimmed));
    }
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    if !has_digits || !all_digits(whole) || !all_digits(fraction) {
        return Err(invalid(text));
    }
    let exponent = exponent.map_or(Ok(0), |exponent| exponent_of(exponent, text))?;
    let digits = format!("{whole}{fraction}");
    let scale = i32::try_from(fraction.len()).map_err(|_| too_many_digits())? - exponent;
    // Zeros at the start take no room; those at its end are the business of `exact`.
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    let zeros = i32::try_from(digits.len() - kept.len()).map_err(|_| too_many_digits())?;
    let mantissa = if kept.is_empty() { Ok(0) } else { kept.parse::<i128>() };
    let mantissa = mantissa.map_err(|_| too_many_digits())?;
    let (least, shown) = if kept.is_empty() { (0, scale) } else { (scale - zeros, scale) };
    let value = match power_of_ten(least.min(0).unsigned_abs()) {
        Some(power) => mantissa.checked_mul(power).ok_or_else(too_many_digits)?,
        None => return Err(too_many_digits()),
    };
    let value = exact(value, least.max(0).unsigned_abs())?;
    padded(if negative { negate(value) } else { value }, shown.max(0).unsigned_abs())
}

fn exponent_of(exponent: &str, text: &str) -> Result<i32, SqlError> {
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(text));
    }
    let exponent: i32 = exponent.parse().map_err(|_| too_many_digits())?;
    if exponent.abs() > 100_000 { Err(too_many_digits()) } else { Ok(exponent) }
}
