//! Values as text, as PostgreSQL writes them.

use proto::rpc::v1::{ColumnType, SqlType, Value, value::Kind};
use std::fmt::Write;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A value as text; `None` is NULL.
pub(super) fn text(value: &Value) -> Option<String> {
    Some(match value.kind.as_ref()? {
        Kind::Null(_) => return None,
        Kind::Bigint(number) => number.to_string(),
        Kind::DoublePrecision(number) => double(*number),
        Kind::Text(text) | Kind::Numeric(text) => text.clone(),
        Kind::Boolean(true) => "t".to_owned(),
        Kind::Boolean(false) => "f".to_owned(),
        Kind::Bytea(bytes) => hexadecimal(bytes),
        Kind::TimestamptzMicros(micros) => timestamp(*micros),
    })
}

/// A value as it is written in SQL.
pub(super) fn literal(value: &Value) -> String {
    match (&value.kind, text(value)) {
        (_, None) => "NULL".to_owned(),
        (Some(Kind::Boolean(value)), _) => value.to_string(),
        (Some(Kind::Bigint(_)), Some(text)) => text,
        (Some(Kind::Numeric(_)), Some(text)) if is_json_number(&text) => text,
        (Some(Kind::DoublePrecision(number)), Some(text)) if number.is_finite() => text,
        (_, Some(text)) => format!("'{}'", text.replace('\'', "''")),
    }
}

/// A value as JSON. Numbers have all their digits, whatever a reader makes of them; those that are none in
/// JSON, as NaN, are texts.
pub(super) fn json(value: &Value) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match (&value.kind, text(value)) {
        (_, None) => "null".to_owned(),
        (Some(Kind::Boolean(value)), _) => value.to_string(),
        (Some(Kind::Bigint(_)), Some(digits)) => digits,
        (Some(Kind::DoublePrecision(number)), Some(digits)) if number.is_finite() => digits,
        (Some(Kind::Numeric(_)), Some(digits)) if is_json_number(&digits) => digits,
        (_, Some(text)) => quoted(&text),
    }
}

/// Digits with at most a sign before and a point inside.
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_digits(whole) && is_digits(fraction) && (whole == "0" || !whole.starts_with('0'))
}

/// Whether values of a type are set against the right.
pub(super) fn is_number(of: SqlType) -> bool {
    match of {
        SqlType::Bigint
        | SqlType::DoublePrecision
        | SqlType::Smallint
        | SqlType::Int
        | SqlType::Numeric => true,
        SqlType::Unspecified
        | SqlType::Text
        | SqlType::Boolean
        | SqlType::Bytea
        | SqlType::Timestamptz => false,
    }
}

/// The name of a column's type.
pub(super) fn type_name(of: ColumnType) -> &'static str {
    match of {
        ColumnType::Unspecified => "?",
        ColumnType::Bigint => "bigint",
        ColumnType::DoublePrecision => "double precision",
        ColumnType::Text => "text",
        ColumnType::Boolean => "boolean",
        ColumnType::Bytea => "bytea",
        ColumnType::Timestamptz => "timestamptz",
        ColumnType::Smallint => "smallint",
        ColumnType::Int => "integer",
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// The shortest digits that read back as the same number; with an exponent where PostgreSQL has one.
fn double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..15).contains(&exponent) => number.to_string(),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => scientific,
    }
}

/// Microseconds since the Unix epoch, in UTC.
pub(super) fn timestamp(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    // There is no year 0: before 1 AD is 1 BC.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        text = format!("{text}.{}", digits.trim_end_matches('0'));
    }
    format!("{text}+00{era}")
}

/// Year, month and day of a day counted from the Unix epoch, in the Gregorian calendar. Counts years from March,
/// so that the leap day is the last one, in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_of_year_0 = days + 719_468;
    let era = from_march_of_year_0.div_euclid(146_097);
    let day_of_era = from_march_of_year_0.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (year_of_era + era * 400 + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{double, json, literal, text, timestamp};
    use proto::rpc::v1::{Value, value::Kind};

    #[test]
    fn doubles_are_written_as_postgresql_does() {
        for (number, written) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1e300, "1e+300"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (-1.25e-7, "-1.25e-07"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(number), written);
        }
    }

    #[test]
    fn timestamps_are_written_in_utc() {
        for (micros, written) in [
            (0, "1970-01-01 00:00:00+00"),
            (951_782_400_000_000, "2000-02-29 00:00:00+00"),
            (1_700_000_000_123_400, "2023-11-14 22:13:20.1234+00"),
            (-1, "1969-12-31 23:59:59.999999+00"),
            (-62_135_596_800_000_000, "0001-01-01 00:00:00+00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999+00 BC"),
            (253_402_300_799_999_999, "9999-12-31 23:59:59.999999+00"),
        ] {
            assert_eq!(timestamp(micros), written);
        }
        // The ends of the type do not overflow.
        assert!(timestamp(i64::MAX).starts_with("294247-"), "{}", timestamp(i64::MAX));
        assert!(timestamp(i64::MIN).ends_with(" BC"), "{}", timestamp(i64::MIN));
    }

    #[test]
    fn values_are_written_as_text_sql_and_json() {
        let numeric = |digits: &str| Value { kind: Some(Kind::Numeric(digits.to_owned())) };
        let bytes = Value { kind: Some(Kind::Bytea(vec![0, 255].into())) };
        for (value, plain, sql, as_json) in [
            (Value::null(), None, "NULL", "null"),
            (Value::from(-5_i64), Some("-5"), "-5", "-5"),
            (Value::from(true), Some("t"), "true", "true"),
            (Value::from("it's"), Some("it's"), "'it''s'", "\"it's\""),
            (Value::from(1.5), Some("1.5"), "1.5", "1.5"),
            (Value::from(f64::INFINITY), Some("Infinity"), "'Infinity'", "\"Infinity\""),
            (numeric("-12.50"), Some("-12.50"), "-12.50", "-12.50"),
            (numeric("NaN"), Some("NaN"), "'NaN'", "\"NaN\""),
            (bytes, Some("\\x00ff"), "'\\x00ff'", "\"\\\\x00ff\""),
        ] {
            assert_eq!(text(&value).as_deref(), plain);
            assert_eq!(literal(&value), sql);
            assert_eq!(json(&value), as_json);
        }
    }
}
