//! Functions of instants.

use super::arguments::{double, text, timestamp};
use crate::error::{SqlError, SqlState};
use crate::scalar::double as floats;
use crate::scalar::env::Env;
use crate::scalar::function::Function;
use crate::scalar::numeric;
use crate::scalar::timestamp::{self as instants, Extracted};
use crate::scalar::types::Type::{Boolean, Double, Numeric, Text, TimestampTz};
use crate::scalar::value::Value;

type Evaluated = Result<Value, SqlError>;

fn transaction(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::TimestampTz(env.transaction_micros))
}

fn statement(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::TimestampTz(env.statement_micros))
}

fn clock(_: &[Value], env: &mut Env) -> Evaluated {
    Ok(Value::TimestampTz(env.clock_micros))
}

fn extract(arguments: &[Value], env: &mut Env) -> Evaluated {
    let (name, micros) = (text(arguments, 0)?, timestamp(arguments, 1)?);
    match instants::extract(name, micros, &env.session.time_zone)? {
        Extracted::Number { exact, .. } => Ok(Value::Numeric(exact)),
        Extracted::Infinite(infinity) => numeric::from_double(infinity).map(Value::Numeric),
        Extracted::Nothing => Ok(Value::Null),
    }
}

fn date_part(arguments: &[Value], env: &mut Env) -> Evaluated {
    let (name, micros) = (text(arguments, 0)?, timestamp(arguments, 1)?);
    match instants::extract(name, micros, &env.session.time_zone)? {
        Extracted::Number { double, .. } => Ok(Value::Double(double)),
        Extracted::Infinite(infinity) => Ok(Value::Double(infinity)),
        Extracted::Nothing => Ok(Value::Null),
    }
}

fn date_trunc(arguments: &[Value], env: &mut Env) -> Evaluated {
    let (name, micros) = (text(arguments, 0)?, timestamp(arguments, 1)?);
    instants::truncate(name, micros, &env.session.time_zone).map(Value::TimestampTz)
}

fn date_trunc_in_zone(arguments: &[Value], _: &mut Env) -> Evaluated {
    let (name, micros, zone) = (text(arguments, 0)?, timestamp(arguments, 1)?, text(arguments, 2)?);
    let zone = instants::zone_named(zone).ok_or_else(|| {
        let message = format!("time zone \"{zone}\" not recognized");
        SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
    })?;
    instants::truncate(name, micros, &zone).map(Value::TimestampTz)
}

fn to_timestamp(arguments: &[Value], _: &mut Env) -> Evaluated {
    let seconds = double(arguments, 0)?;
    if seconds.is_nan() {
        let message = "timestamp cannot be NaN";
        return Err(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message));
    }
    if seconds.is_infinite() {
        let micros = if seconds < 0.0 { instants::MINUS_INFINITY } else { instants::INFINITY };
        return Ok(Value::TimestampTz(micros));
    }
    // PostgreSQL counts from 2000, and so rounds the fraction as it is then.
    const EPOCH_2000: f64 = 946_684_800.0;
    let micros = floats::to_integer((seconds - EPOCH_2000) * 1e6, i64::MIN, i64::MAX);
    let micros = micros.map(|micros| i128::from(micros) + 946_684_800_000_000);
    let micros = micros
        .and_then(instants::in_range)
        .ok_or_else(|| instants::out_of_range(Some(&floats::format_g(seconds, 6))))?;
    Ok(Value::TimestampTz(micros))
}

fn is_finite(arguments: &[Value], _: &mut Env) -> Evaluated {
    Ok(Value::Bool(instants::is_finite(timestamp(arguments, 0)?)))
}

pub(super) static FUNCTIONS: [Function; 10] = [
    Function::new("now", &[], TimestampTz, transaction).stable(),
    Function::new("transaction_timestamp", &[], TimestampTz, transaction).stable(),
    Function::new("statement_timestamp", &[], TimestampTz, statement).stable(),
    Function::new("clock_timestamp", &[], TimestampTz, clock).volatile(),
    Function::new("extract", &[Text, TimestampTz], Numeric, extract).stable(),
    Function::new("date_part", &[Text, TimestampTz], Double, date_part).stable(),
    Function::new("date_trunc", &[Text, TimestampTz], TimestampTz, date_trunc).stable(),
    Function::new("date_trunc", &[Text, TimestampTz, Text], TimestampTz, date_trunc_in_zone)
        .stable(),
    Function::new("to_timestamp", &[Double], TimestampTz, to_timestamp),
    Function::new("isfinite", &[TimestampTz], Boolean, is_finite),
];
