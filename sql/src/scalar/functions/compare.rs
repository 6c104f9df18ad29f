//! Comparisons: the order of each type, and of each pair of integer types.

use std::cmp::Ordering;

use crate::error::SqlError;
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::types::Type::{
    BigInt, Boolean, Bytea, Double, Int, Numeric, SmallInt, Text, TimestampTz,
};
use crate::scalar::value::Value;

fn order(arguments: &[Value]) -> Ordering {
    arguments[0].order(&arguments[1])
}

fn equal(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Bool(order(arguments).is_eq()))
}

fn not_equal(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Bool(order(arguments).is_ne()))
}

fn less(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Bool(order(arguments).is_lt()))
}

fn less_or_equal(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Bool(order(arguments).is_le()))
}

fn greater(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Bool(order(arguments).is_gt()))
}

fn greater_or_equal(arguments: &[Value], _: &mut Env) -> Result<Value, SqlError> {
    Ok(Value::Bool(order(arguments).is_ge()))
}

macro_rules! comparison {
    ($sign:literal, $eval:ident) => {
        [
            Function::new($sign, &[SmallInt, SmallInt], Boolean, $eval),
            Function::new($sign, &[SmallInt, Int], Boolean, $eval),
            Function::new($sign, &[SmallInt, BigInt], Boolean, $eval),
            Function::new($sign, &[Int, SmallInt], Boolean, $eval),
            Function::new($sign, &[Int, Int], Boolean, $eval),
            Function::new($sign, &[Int, BigInt], Boolean, $eval),
            Function::new($sign, &[BigInt, SmallInt], Boolean, $eval),
            Function::new($sign, &[BigInt, Int], Boolean, $eval),
            Function::new($sign, &[BigInt, BigInt], Boolean, $eval),
            Function::new($sign, &[Numeric, Numeric], Boolean, $eval),
            Function::new($sign, &[Double, Double], Boolean, $eval),
            Function::new($sign, &[Boolean, Boolean], Boolean, $eval),
            Function::new($sign, &[Text, Text], Boolean, $eval),
            Function::new($sign, &[Bytea, Bytea], Boolean, $eval),
            Function::new($sign, &[TimestampTz, TimestampTz], Boolean, $eval),
        ]
    };
}

pub(super) static EQUAL: [Function; 15] = comparison!("=", equal);
pub(super) static NOT_EQUAL: [Function; 15] = comparison!("<>", not_equal);
pub(super) static LESS: [Function; 15] = comparison!("<", less);
pub(super) static LESS_OR_EQUAL: [Function; 15] = comparison!("<=", less_or_equal);
pub(super) static GREATER: [Function; 15] = comparison!(">", greater);
pub(super) static GREATER_OR_EQUAL: [Function; 15] = comparison!(">=", greater_or_equal);
