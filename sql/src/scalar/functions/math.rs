//! Operators and functions of doubles and of NUMERIC.
//!
//! Example: `sqrt(4)` is a double, because PostgreSQL prefers doubles where an integer has to become something
//! else; `sqrt(4.0)` is a NUMERIC.

use rust_decimal::Decimal;

use super::arguments;
use crate::error::SqlError;
use crate::scalar::double;
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::numeric::{self, Rounding};
use crate::scalar::series;
use crate::scalar::types::Type::{Double, Int, Numeric};
use crate::scalar::value::Value;

/// Wraps a function of Rust as one of SQL.
macro_rules! wrapped {
    (double $($name:ident($($place:literal),*) = $compute:expr;)*) => {
        $(fn $name(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
            $compute($(arguments::double(arguments, $place)?),*).map(Value::Double)
        })*
    };
    (numeric $($name:ident($($place:literal),*) = $compute:expr;)*) => {
        $(fn $name(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
            $compute($(arguments::numeric(arguments, $place)?),*).map(Value::Numeric)
        })*
    };
}

/// As PostgreSQL has it.
const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

type Float = Result<f64, SqlError>;
type Exact = Result<Decimal, SqlError>;

wrapped! { double
    add(0, 1) = double::add;
    subtract(0, 1) = double::subtract;
    multiply(0, 1) = double::multiply;
    divide(0, 1) = double::divide;
    power(0, 1) = double::power;
    negate(0) = |a: f64| -> Float { Ok(-a) };
    same(0) = |a: f64| -> Float { Ok(a) };
    absolute(0) = |a: f64| -> Float { Ok(a.abs()) };
    ceil(0) = |a: f64| -> Float { Ok(a.ceil()) };
    floor(0) = |a: f64| -> Float { Ok(a.floor()) };
    round(0) = |a: f64| -> Float { Ok(a.round_ties_even()) };
    trunc(0) = |a: f64| -> Float { Ok(a.trunc()) };
    sign(0) = |a: f64| -> Float { Ok(double::sign(a)) };
    sqrt(0) = double::sqrt;
    cbrt(0) = double::cbrt;
    exp(0) = double::exp;
    ln(0) = double::ln;
    log10(0) = double::log10;
    degrees(0) = |a: f64| -> Float { double::not_overflowed(a / RADIANS_PER_DEGREE, &[a]) };
    radians(0) = |a: f64| -> Float { Ok(a * RADIANS_PER_DEGREE) };
    sin(0) = |a: f64| double::trigonometric(a, f64::sin);
    cos(0) = |a: f64| double::trigonometric(a, f64::cos);
    tan(0) = |a: f64| double::trigonometric(a, f64::tan);
    asin(0) = |a: f64| double::of_unit(a, f64::asin);
    acos(0) = |a: f64| double::of_unit(a, f64::acos);
    atan(0) = |a: f64| -> Float { Ok(a.atan()) };
    atan2(0, 1) = |a: f64, b: f64| -> Float { Ok(a.atan2(b)) };
}

wrapped! { numeric
    add_numeric(0, 1) = numeric::add;
    subtract_numeric(0, 1) = numeric::subtract;
    multiply_numeric(0, 1) = numeric::multiply;
    divide_numeric(0, 1) = numeric::divide;
    remainder_numeric(0, 1) = numeric::remainder;
    power_numeric(0, 1) = series::power;
    div(0, 1) = numeric::divide_to_integer;
    gcd(0, 1) = numeric::greatest_divisor;
    lcm(0, 1) = numeric::least_multiple;
    negate_numeric(0) = |a: Decimal| -> Exact { Ok(numeric::negate(a)) };
    same_numeric(0) = |a: Decimal| -> Exact { Ok(a) };
    absolute_numeric(0) = |a: Decimal| -> Exact { Ok(a.abs()) };
    ceil_numeric(0) = |a: Decimal| numeric::round(a, 0, Rounding::Up);
    floor_numeric(0) = |a: Decimal| numeric::round(a, 0, Rounding::Down);
    round_numeric(0) = |a: Decimal| numeric::round(a, 0, Rounding::HalfAwayFromZero);
    trunc_numeric(0) = |a: Decimal| numeric::round(a, 0, Rounding::TowardsZero);
    sign_numeric(0) = |a: Decimal| numeric::exact(a.mantissa().signum(), 0);
    sqrt_numeric(0) = series::sqrt;
    exp_numeric(0) = series::exp;
    ln_numeric(0) = series::ln;
    log10_numeric(0) = |a: Decimal| series::log(numeric::from_int(10), a);
    log_numeric(0, 1) = series::log;
    trim_scale(0) = |a: Decimal| -> Exact { Ok(a.normalize()) };
}

/// Places that a second argument asks for.
fn places(arguments: &[Value]) -> Result<i32, SqlError> {
    // PostgreSQL cuts them to its greatest scale too.
    let places = arguments::int(arguments, 1)?.clamp(-2000, 2000);
    Ok(i32::try_from(places).expect("it is clamped"))
}

fn round_places(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    let number = arguments::numeric(arguments, 0)?;
    numeric::round(number, places(arguments)?, Rounding::HalfAwayFromZero).map(Value::Numeric)
}

fn trunc_places(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    let number = arguments::numeric(arguments, 0)?;
    numeric::round(number, places(arguments)?, Rounding::TowardsZero).map(Value::Numeric)
}

fn scale(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Int(i64::from(arguments::numeric(arguments, 0)?.scale())))
}

fn min_scale(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Int(i64::from(arguments::numeric(arguments, 0)?.normalize().scale())))
}

fn pi(_: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Double(std::f64::consts::PI))
}

fn random(_: &[Value], env: &mut Env) -> Result<Value, SqlError> {
    // The upper 53 bits, as many as a double has.
    #[expect(clippy::cast_precision_loss, reason = "53 bits lose nothing")]
    let fraction = (env.next_random() >> 11) as f64 / (1_u64 << 53) as f64;
    Ok(Value::Double(fraction))
}

pub(super) static OPERATORS: [Function; 18] = [
    Function::new("+", &[Double, Double], Double, add),
    Function::new("-", &[Double, Double], Double, subtract),
    Function::new("*", &[Double, Double], Double, multiply),
    Function::new("/", &[Double, Double], Double, divide),
    Function::new("^", &[Double, Double], Double, power),
    Function::new("-", &[Double], Double, negate),
    Function::new("+", &[Double], Double, same),
    Function::new("@", &[Double], Double, absolute),
    Function::new("|/", &[Double], Double, sqrt),
    Function::new("+", &[Numeric, Numeric], Numeric, add_numeric),
    Function::new("-", &[Numeric, Numeric], Numeric, subtract_numeric),
    Function::new("*", &[Numeric, Numeric], Numeric, multiply_numeric),
    Function::new("/", &[Numeric, Numeric], Numeric, divide_numeric),
    Function::new("%", &[Numeric, Numeric], Numeric, remainder_numeric),
    Function::new("^", &[Numeric, Numeric], Numeric, power_numeric),
    Function::new("-", &[Numeric], Numeric, negate_numeric),
    Function::new("+", &[Numeric], Numeric, same_numeric),
    Function::new("@", &[Numeric], Numeric, absolute_numeric),
];

pub(super) static DOUBLES: [Function; 26] = [
    Function::new("abs", &[Double], Double, absolute),
    Function::new("ceil", &[Double], Double, ceil),
    Function::new("ceiling", &[Double], Double, ceil),
    Function::new("floor", &[Double], Double, floor),
    Function::new("round", &[Double], Double, round),
    Function::new("trunc", &[Double], Double, trunc),
    Function::new("sign", &[Double], Double, sign),
    Function::new("sqrt", &[Double], Double, sqrt),
    Function::new("cbrt", &[Double], Double, cbrt),
    Function::new("power", &[Double, Double], Double, power),
    Function::new("pow", &[Double, Double], Double, power),
    Function::new("exp", &[Double], Double, exp),
    Function::new("ln", &[Double], Double, ln),
    Function::new("log", &[Double], Double, log10),
    Function::new("log10", &[Double], Double, log10),
    Function::new("degrees", &[Double], Double, degrees),
    Function::new("radians", &[Double], Double, radians),
    Function::new("sin", &[Double], Double, sin),
    Function::new("cos", &[Double], Double, cos),
    Function::new("tan", &[Double], Double, tan),
    Function::new("asin", &[Double], Double, asin),
    Function::new("acos", &[Double], Double, acos),
    Function::new("atan", &[Double], Double, atan),
    Function::new("atan2", &[Double, Double], Double, atan2),
    Function::new("pi", &[], Double, pi),
    Function::new("random", &[], Double, random).volatile(),
];

pub(super) static NUMERICS: [Function; 24] = [
    Function::new("abs", &[Numeric], Numeric, absolute_numeric),
    Function::new("ceil", &[Numeric], Numeric, ceil_numeric),
    Function::new("ceiling", &[Numeric], Numeric, ceil_numeric),
    Function::new("floor", &[Numeric], Numeric, floor_numeric),
    Function::new("round", &[Numeric], Numeric, round_numeric),
    Function::new("round", &[Numeric, Int], Numeric, round_places),
    Function::new("trunc", &[Numeric], Numeric, trunc_numeric),
    Function::new("trunc", &[Numeric, Int], Numeric, trunc_places),
    Function::new("sign", &[Numeric], Numeric, sign_numeric),
    Function::new("sqrt", &[Numeric], Numeric, sqrt_numeric),
    Function::new("power", &[Numeric, Numeric], Numeric, power_numeric),
    Function::new("pow", &[Numeric, Numeric], Numeric, power_numeric),
    Function::new("exp", &[Numeric], Numeric, exp_numeric),
    Function::new("ln", &[Numeric], Numeric, ln_numeric),
    Function::new("log", &[Numeric], Numeric, log10_numeric),
    Function::new("log10", &[Numeric], Numeric, log10_numeric),
    Function::new("log", &[Numeric, Numeric], Numeric, log_numeric),
    Function::new("mod", &[Numeric, Numeric], Numeric, remainder_numeric),
    Function::new("div", &[Numeric, Numeric], Numeric, div),
    Function::new("gcd", &[Numeric, Numeric], Numeric, gcd),
    Function::new("lcm", &[Numeric, Numeric], Numeric, lcm),
    Function::new("scale", &[Numeric], Int, scale),
    Function::new("min_scale", &[Numeric], Int, min_scale),
    Function::new("trim_scale", &[Numeric], Numeric, trim_scale),
];
