//! Operators and functions of the three integer types, checked at the width of their result.

use super::arguments::int;
use crate::error::{SqlError, SqlState};
use crate::scalar::cast;
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::text;
use crate::scalar::types::Type::{self, BigInt, Int, SmallInt};
use crate::scalar::value::Value;

/// How wide a result is.
trait Width {
    const TYPE: Type;
}
struct Small;
struct Medium;
struct Big;
impl Width for Small {
    const TYPE: Type = SmallInt;
}
impl Width for Medium {
    const TYPE: Type = Int;
}
impl Width for Big {
    const TYPE: Type = BigInt;
}

type Evaluated = Result<Value, SqlError>;

/// A result, if it is in range.
fn checked<W: Width>(result: Option<i64>) -> Evaluated {
    let (min, max) = text::bounds(W::TYPE);
    let result = result.filter(|result| (min..=max).contains(result));
    result.map(Value::Int).ok_or_else(|| cast::out_of_range(W::TYPE))
}

fn add<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    checked::<W>(int(arguments, 0)?.checked_add(int(arguments, 1)?))
}

fn subtract<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    checked::<W>(int(arguments, 0)?.checked_sub(int(arguments, 1)?))
}

fn multiply<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    checked::<W>(int(arguments, 0)?.checked_mul(int(arguments, 1)?))
}

fn divisor(arguments: &[Value]) -> Result<i64, SqlError> {
    match int(arguments, 1)? {
        0 => Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
        divisor => Ok(divisor),
    }
}

fn divide<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    let divisor = divisor(arguments)?;
    checked::<W>(int(arguments, 0)?.checked_div(divisor))
}

fn remainder(arguments: &[Value], _: &mut Env) -> Evaluated {
    let divisor = divisor(arguments)?;
    // It is 0 for -1, even where the quotient would overflow.
    Ok(Value::Int(int(arguments, 0)?.checked_rem(divisor).unwrap_or(0)))
}

fn negate<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    checked::<W>(int(arguments, 0)?.checked_neg())
}

fn same(arguments: &[Value], _: &mut Env) -> Evaluated {
    int(arguments, 0).map(Value::Int)
}

fn absolute<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    checked::<W>(int(arguments, 0)?.checked_abs())
}

fn and(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Int(int(arguments, 0)? & int(arguments, 1)?))
}

fn or(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Int(int(arguments, 0)? | int(arguments, 1)?))
}

fn xor(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Int(int(arguments, 0)? ^ int(arguments, 1)?))
}

fn not(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Int(!int(arguments, 0)?))
}

/// By how many bits to shift: as many of the count's low bits as the processor looks at.
fn shift<W: Width>(arguments: &[Value]) -> Result<i64, SqlError> {
    let mask = if W::TYPE == BigInt { 63 } else { 31 };
    Ok(int(arguments, 1)? & mask)
}

fn shift_left<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    let shifted = int(arguments, 0)? << shift::<W>(arguments)?;
    // Bits that are shifted out are lost, and the sign is the highest that is left.
    let unused = match W::TYPE {
        SmallInt => 48,
        Int => 32,
        _ => 0,
    };
    Ok(Value::Int((shifted << unused) >> unused))
}

fn shift_right<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Int(int(arguments, 0)? >> shift::<W>(arguments)?))
}

fn divisor_common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn gcd<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (a, b) = (int(arguments, 0)?, int(arguments, 1)?);
    checked::<W>(i64::try_from(divisor_common(a.unsigned_abs(), b.unsigned_abs())).ok())
}

fn lcm<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (a, b) = (int(arguments, 0)?.unsigned_abs(), int(arguments, 1)?.unsigned_abs());
    if a == 0 || b == 0 {
        return Ok(Value::Int(0));
    }
    let multiple = (a / divisor_common(a, b)).checked_mul(b);
    checked::<W>(multiple.and_then(|multiple| i64::try_from(multiple).ok()))
}

fn to_hex<W: Width>(arguments: &[Value], _: &mut Env) -> Evaluated {
    let value = int(arguments, 0)?;
    Ok(Value::Text(match i32::try_from(value) {
        Ok(narrow) if W::TYPE == Int => format!("{narrow:x}"),
        _ => format!("{value:x}"),
    }))
}

/// An operator for every pair of types; its result has the wider one.
macro_rules! pairs {
    ($sign:literal, $eval:ident) => {
        [
            Function::new($sign, &[SmallInt, SmallInt], SmallInt, $eval::<Small>),
            Function::new($sign, &[SmallInt, Int], Int, $eval::<Medium>),
            Function::new($sign, &[SmallInt, BigInt], BigInt, $eval::<Big>),
            Function::new($sign, &[Int, SmallInt], Int, $eval::<Medium>),
            Function::new($sign, &[Int, Int], Int, $eval::<Medium>),
            Function::new($sign, &[Int, BigInt], BigInt, $eval::<Big>),
            Function::new($sign, &[BigInt, SmallInt], BigInt, $eval::<Big>),
            Function::new($sign, &[BigInt, Int], BigInt, $eval::<Big>),
            Function::new($sign, &[BigInt, BigInt], BigInt, $eval::<Big>),
        ]
    };
}

pub(super) static ADD: [Function; 9] = pairs!("+", add);
pub(super) static SUBTRACT: [Function; 9] = pairs!("-", subtract);
pub(super) static MULTIPLY: [Function; 9] = pairs!("*", multiply);
pub(super) static DIVIDE: [Function; 9] = pairs!("/", divide);

/// A function of so many arguments of one type, for each type.
macro_rules! alike {
    ($name:literal, [$($argument:ident)+], $eval:ident::<_>) => {
        alike!($name, [$($argument)+], $eval::<Small>, $eval::<Medium>, $eval::<Big>)
    };
    ($name:literal, [$($argument:ident)+], $small:expr, $medium:expr, $big:expr) => {
        [
            Function::new($name, &[$(alike!(@ $argument SmallInt)),+], SmallInt, $small),
            Function::new($name, &[$(alike!(@ $argument Int)),+], Int, $medium),
            Function::new($name, &[$(alike!(@ $argument BigInt)),+], BigInt, $big),
        ]
    };
    (@ same $ty:ident) => { $ty };
    (@ int $ty:ident) => { Int };
}

pub(super) static REMAINDER: [Function; 3] =
    alike!("%", [same same], remainder, remainder, remainder);
pub(super) static NEGATE: [Function; 3] = alike!("-", [same], negate::<_>);
pub(super) static PLUS: [Function; 3] = alike!("+", [same], same, same, same);
pub(super) static ABSOLUTE_SIGN: [Function; 3] = alike!("@", [same], absolute::<_>);
pub(super) static AND: [Function; 3] = alike!("&", [same same], and, and, and);
pub(super) static OR: [Function; 3] = alike!("|", [same same], or, or, or);
pub(super) static XOR: [Function; 3] = alike!("#", [same same], xor, xor, xor);
pub(super) static NOT: [Function; 3] = alike!("~", [same], not, not, not);
pub(super) static SHIFT_LEFT: [Function; 3] = alike!("<<", [same int], shift_left::<_>);
pub(super) static SHIFT_RIGHT: [Function; 3] = alike!(">>", [same int], shift_right::<_>);

pub(super) static ABSOLUTE: [Function; 3] = alike!("abs", [same], absolute::<_>);
pub(super) static MOD: [Function; 3] = alike!("mod", [same same], remainder, remainder, remainder);
pub(super) static OTHERS: [Function; 6] = [
    Function::new("gcd", &[Int, Int], Int, gcd::<Medium>),
    Function::new("gcd", &[BigInt, BigInt], BigInt, gcd::<Big>),
    Function::new("lcm", &[Int, Int], Int, lcm::<Medium>),
    Function::new("lcm", &[BigInt, BigInt], BigInt, lcm::<Big>),
    Function::new("to_hex", &[Int], Type::Text, to_hex::<Medium>),
    Function::new("to_hex", &[BigInt], Type::Text, to_hex::<Big>),
];
