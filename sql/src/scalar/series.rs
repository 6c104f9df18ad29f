//! Roots, exponentials and logarithms of NUMERIC.
//!
//! The scale of a result is PostgreSQL's: sixteen significant digits, or as many after the point as an argument
//! has. They are computed in *fixed point*: an `i128` that counts units of 10^-33, so that what is rounded to
//! at most 28 digits is right in all of them but for ties.
//!
//! Example: `ln(2.0)` is `0.6931471805599453`.

use rust_decimal::Decimal;

use super::double;
use super::numeric::{self, SCALE_MAX, SIGNIFICANT_MIN};
use crate::error::SqlError;

/// Digits after the point in fixed point.
const PLACES: u32 = 33;
const ONE: i128 = 10_i128.pow(PLACES);
/// ln 2 and ln 10.
const LN_2: i128 = 693_147_180_559_945_309_417_232_121_458_177;
const LN_10: i128 = 2_302_585_092_994_045_684_017_991_454_684_364;

/// `a * b / c` with 256 bits in between; none where the result has more than 127.
fn multiply_divide(a: i128, b: i128, c: i128) -> Option<i128> {
    let negative = (a < 0) != (b < 0);
    let (a, b, c) = (a.unsigned_abs(), b.unsigned_abs(), c.unsigned_abs());
    let low = |x: u128| x & u128::from(u64::MAX);
    let (a_high, a_low, b_high, b_low) = (a >> 64, low(a), b >> 64, low(b));
    let middle = a_low * b_high + ((a_low * b_low) >> 64);
    let middle_low = a_high * b_low + low(middle);
    let high = a_high * b_high + (middle >> 64) + (middle_low >> 64);
    let bottom = (middle_low << 64) | low(a_low * b_low);
    // Schoolbook division, bit by bit: the remainder stays below `c`, which has 127 bits.
    if high >= c {
        return None;
    }
    let (mut rest, mut quotient) = (high, 0_u128);
    for bit in (0..128).rev() {
        rest = (rest << 1) | (bottom >> bit & 1);
        quotient <<= 1;
        if rest >= c {
            rest -= c;
            quotient |= 1;
        }
    }
    let quotient = i128::try_from(quotient).ok()?;
    Some(if negative { -quotient } else { quotient })
}

fn times(a: i128, b: i128) -> i128 {
    multiply_divide(a, b, ONE).expect("both are small")
}

/// The natural logarithm of a positive number, in fixed point.
fn ln_fixed(value: Decimal) -> i128 {
    // value = fraction * 10^decades, with a fraction from 1 to below 10, then * 2^halvings down to about 1.
    let mantissa = value.mantissa();
    let digits = mantissa.ilog10();
    let decades = i128::from(digits) - i128::from(value.scale());
    let mut fraction = mantissa * 10_i128.pow(PLACES - digits);
    let mut halvings = 0;
    while fraction > ONE + ONE / 2 {
        fraction /= 2;
        halvings += 1;
    }
    // ln x = 2 artanh ((x - 1) / (x + 1)), and the argument is at most 1/5.
    let small = multiply_divide(fraction - ONE, ONE, fraction + ONE).expect("it is below one");
    let square = times(small, small);
    let (mut term, mut sum, mut odd) = (small, 0, 1);
    while term != 0 {
        sum += term / odd;
        term = times(term, square);
        odd += 2;
    }
    2 * sum + halvings * LN_2 + decades * LN_10
}

/// e to a number in fixed point, rounded to so many places or as many as there is room for.
fn exp_fixed(exponent: i128, places: i32) -> Result<Decimal, SqlError> {
    // e^66.6 has 29 digits; e^-66 is nothing in 28 places.
    if exponent > 67 * ONE {
        return Err(numeric::too_many_digits());
    }
    if exponent < -67 * ONE {
        return numeric::padded(Decimal::ZERO, places.max(0).unsigned_abs());
    }
    let decades = exponent.div_euclid(LN_10);
    let mut rest = exponent.rem_euclid(LN_10);
    // Halve it so that the series is short, and square as often.
    const SQUARINGS: u32 = 6;
    rest >>= SQUARINGS;
    let (mut term, mut sum, mut count) = (ONE, ONE, 1);
    while term != 0 {
        term = times(term, rest) / count;
        sum += term;
        count += 1;
    }
    for _ in 0..SQUARINGS {
        sum = times(sum, sum);
    }
    // sum * 10^decades, from 10^33 to below 10^34 in units of 10^(decades - 33).
    let decades = i32::try_from(decades).expect("it is at most 67 / ln 10");
    let scale = 33 - decades;
    let room = 27 - decades;
    let kept = places.min(room.max(0)).min(28);
    let dropped = u32::try_from(scale - kept).expect("there is room for less than is there");
    let power = match 10_i128.checked_pow(dropped) {
        Some(power) => power,
        None => return numeric::padded(Decimal::ZERO, places.max(0).unsigned_abs()),
    };
    let rounded = (sum + power / 2) / power;
    numeric::exact(rounded, kept.unsigned_abs())
}

/// Cuts a fixed-point number to so many places, or as many as there is room for.
fn rounded(fixed: i128, places: i32) -> Result<Decimal, SqlError> {
    // Five digits less than there are: no logarithm has more than two before its point.
    let places = places.clamp(0, 26);
    let power = 10_i128.pow(PLACES - places.unsigned_abs());
    let half = fixed.signum() * (power / 2);
    numeric::exact((fixed + half) / power, places.unsigned_abs())
}

fn scale_of(value: Decimal) -> i32 {
    i32::try_from(value.scale()).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, reason = "it is clamped")]
fn truncated(value: f64) -> i32 {
    value.clamp(-1e6, 1e6) as i32
}

/// PostgreSQL's `estimate_ln_dweight`: the decimal exponent of the logarithm's first digit, roughly.
fn logarithm_weight(value: Decimal) -> i32 {
    let near_one = Decimal::new(9, 1) <= value && value <= Decimal::new(11, 1);
    if near_one {
        let distance = value - Decimal::ONE;
        if distance.is_zero() {
            return 0;
        }
        let digits = distance.mantissa().unsigned_abs().ilog10();
        return i32::try_from(digits).unwrap_or(0) - scale_of(distance);
    }
    truncated(numeric::to_double(value).ln().abs().log10())
}

fn check_logarithm(value: Decimal) -> Result<(), SqlError> {
    double::check_logarithm(value.is_zero(), value.is_sign_negative())
}

pub(super) fn ln(value: Decimal) -> Result<Decimal, SqlError> {
    check_logarithm(value)?;
    let places = (SIGNIFICANT_MIN - logarithm_weight(value)).max(scale_of(value));
    rounded(ln_fixed(value), places)
}

/// The logarithm of `value` to that base.
pub(super) fn log(base: Decimal, value: Decimal) -> Result<Decimal, SqlError> {
    check_logarithm(base)?;
    check_logarithm(value)?;
    let weight = logarithm_weight(value) - logarithm_weight(base);
    let places = (SIGNIFICANT_MIN - weight).max(scale_of(value)).max(scale_of(base));
    if base == Decimal::ONE {
        return numeric::divide(Decimal::ONE, Decimal::ZERO);
    }
    let quotient = multiply_divide(ln_fixed(value), ONE, ln_fixed(base));
    let quotient = if ln_fixed(base) < 0 { quotient.map(|quotient| -quotient) } else { quotient };
    rounded(quotient.ok_or_else(numeric::too_many_digits)?, places)
}

pub(super) fn exp(value: Decimal) -> Result<Decimal, SqlError> {
    // How many decimal digits the result has: value / ln 10.
    let digits = numeric::to_double(value) * std::f64::consts::LOG10_E;
    let places = (SIGNIFICANT_MIN - truncated(digits)).max(scale_of(value)).max(0);
    let fixed = multiply_divide(value.mantissa(), ONE, 10_i128.pow(value.scale()));
    match fixed {
        Some(fixed) => exp_fixed(fixed, places),
        None if value.is_sign_negative() => numeric::padded(Decimal::ZERO, SCALE_MAX),
        None => Err(numeric::too_many_digits()),
    }
}

pub(super) fn power(base: Decimal, exponent: Decimal) -> Result<Decimal, SqlError> {
    let is_integral = exponent.fract().is_zero();
    if base.is_zero() {
        if exponent.is_sign_negative() && !exponent.is_zero() {
            return Err(double::power_error(double::ZERO_TO_NEGATIVE));
        }
        let result = if exponent.is_zero() { Decimal::ONE } else { Decimal::ZERO };
        return numeric::padded(result, SIGNIFICANT_MIN.unsigned_abs());
    }
    if base.is_sign_negative() && !is_integral {
        return Err(double::power_error(double::COMPLEX));
    }
    let magnitude = ln_fixed(base.abs());
    let fixed = multiply_divide(magnitude, exponent.mantissa(), 10_i128.pow(exponent.scale()));
    let least = scale_of(base).max(scale_of(exponent));
    let odd = is_integral
        && exponent.trunc().normalize().mantissa() % 2 != 0
        && exponent.trunc().normalize().scale() == 0;
    let shrinks = (magnitude < 0) != exponent.is_sign_negative();
    let result = match fixed {
        Some(fixed) => {
            let digits = numeric::to_double(exponent)
                * (numeric::to_double(base.abs()).ln() * std::f64::consts::LOG10_E);
            let places =
                if is_integral { SIGNIFICANT_MIN } else { SIGNIFICANT_MIN - truncated(digits) };
            exp_fixed(fixed, places.max(least).max(0))?
        }
        None if shrinks => Decimal::ZERO,
        None => return Err(numeric::too_many_digits()),
    };
    Ok(if base.is_sign_negative() && odd { numeric::negate(result) } else { result })
}

/// The square root, by the method of pairs of digits.
pub(super) fn sqrt(value: Decimal) -> Result<Decimal, SqlError> {
    if value.is_sign_negative() && !value.is_zero() {
        return Err(double::power_error("cannot take square root of a negative number"));
    }
    let weight = numeric::weight(value);
    let root_weight = (weight + 1) * 2 - 1;
    let places = (SIGNIFICANT_MIN - root_weight).max(scale_of(value)).clamp(0, 28);
    let mut digits = value.mantissa().to_string();
    if value.scale() % 2 == 1 {
        digits.push('0');
    }
    if digits.len() % 2 == 1 {
        digits.insert(0, '0');
    }
    let pairs = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |pair, digit| pair * 10 + i128::from(digit - b'0')));
    let (mut root, mut rest) = (0_i128, 0_i128);
    let mut step = |pair: i128| {
        rest = rest * 100 + pair;
        let digit = (0..=9).rev().find(|digit| (20 * root + digit) * digit <= rest).unwrap_or(0);
        rest -= (20 * root + digit) * digit;
        root = root * 10 + digit;
        (root, rest)
    };
    let (mut last_root, mut last_rest) = (0, 0);
    for pair in pairs {
        (last_root, last_rest) = step(pair);
    }
    let mut reached = (scale_of(value) + 1) / 2;
    // A root of 28 digits leaves no room for another.
    while reached < places && last_root < 10_i128.pow(27) {
        (last_root, last_rest) = step(0);
        reached += 1;
    }
    let nearest = if last_rest > last_root { last_root + 1 } else { last_root };
    numeric::exact(nearest, reached.unsigned_abs())
}
