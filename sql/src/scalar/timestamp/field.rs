//! Fields of an instant: what `extract`, `date_part` and `date_trunc` know.

use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use super::calendar::{self, Civil};
use super::{MICROS_PER_SECOND, MINUS_INFINITY};
use crate::error::{SqlError, SqlState};
use crate::scalar::numeric;

/// A field, by any of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Century,
    Day,
    Decade,
    DayOfWeek,
    DayOfYear,
    Epoch,
    Hour,
    IsoDayOfWeek,
    IsoYear,
    Julian,
    Microseconds,
    Millennium,
    Milliseconds,
    Minute,
    Month,
    Quarter,
    Second,
    Zone,
    ZoneHour,
    ZoneMinute,
    Week,
    Year,
}

impl Field {
    fn named(name: &str) -> Result<Field, SqlError> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "century" | "centuries" | "cent" | "c" => Field::Century,
            "day" | "days" | "d" => Field::Day,
            "decade" | "decades" | "dec" | "decs" => Field::Decade,
            "dow" => Field::DayOfWeek,
            "doy" => Field::DayOfYear,
            "epoch" => Field::Epoch,
            "hour" | "hours" | "h" | "hr" | "hrs" => Field::Hour,
            "isodow" => Field::IsoDayOfWeek,
            "isoyear" => Field::IsoYear,
            "julian" | "j" | "jd" => Field::Julian,
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "usecond" | "useconds"
            | "microsecon" => Field::Microseconds,
            "millennium" | "millennia" | "mil" | "mils" => Field::Millennium,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds"
            | "millisecon" => Field::Milliseconds,
            "minute" | "minutes" | "m" | "min" | "mins" => Field::Minute,
            "month" | "months" | "mon" | "mons" => Field::Month,
            "quarter" | "qtr" => Field::Quarter,
            "second" | "seconds" | "s" | "sec" | "secs" => Field::Second,
            "timezone" => Field::Zone,
            "timezone_hour" | "timezone_h" => Field::ZoneHour,
            "timezone_minute" | "timezone_m" => Field::ZoneMinute,
            "week" | "weeks" | "w" => Field::Week,
            "year" | "years" | "y" | "yr" | "yrs" => Field::Year,
            _ => return Err(unrecognized(name)),
        })
    }

    /// Whether it grows for ever, and so is infinite for an infinite instant.
    fn grows(self) -> bool {
        matches!(
            self,
            Field::Century
                | Field::Decade
                | Field::Epoch
                | Field::IsoYear
                | Field::Julian
                | Field::Millennium
                | Field::Year
        )
    }
}

fn unrecognized(name: &str) -> SqlError {
    let name = name.to_ascii_lowercase();
    let message = format!("unit \"{name}\" not recognized for type timestamp with time zone");
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn unsupported(name: &str) -> SqlError {
    let name = name.to_ascii_lowercase();
    let message = format!("unit \"{name}\" not supported for type timestamp with time zone");
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

/// A field of an instant.
pub(in crate::scalar) enum Extracted {
    /// Exactly, and as `date_part` computes it.
    Number { exact: Decimal, double: f64 },
    /// That of an infinite instant, which may be negative.
    Infinite(f64),
    /// Nothing: the instant is infinite and the field goes round.
    Nothing,
}

/// What `extract(name from micros)` is.
pub(in crate::scalar) fn extract(
    name: &str,
    micros: i64,
    zone: &TimeZone,
) -> Result<Extracted, SqlError> {
    let field = Field::named(name)?;
    if !super::is_finite(micros) {
        if !field.grows() {
            return Ok(Extracted::Nothing);
        }
        let infinity = if micros == MINUS_INFINITY { f64::NEG_INFINITY } else { f64::INFINITY };
        return Ok(Extracted::Infinite(infinity));
    }
    let (civil, offset) = super::local(micros, zone);
    let days = civil.days();
    let micros_of_minute = civil.second * MICROS_PER_SECOND + civil.micros;
    let (number, scale) = match field {
        Field::Century => (century(civil.year, 100), 0),
        Field::Day => (civil.day, 0),
        Field::Decade => (civil.year.div_euclid(10), 0),
        Field::DayOfWeek => ((calendar::weekday(days) + 1) % 7, 0),
        Field::DayOfYear => (days - calendar::days_of_date(civil.year, 1, 1) + 1, 0),
        Field::Epoch => (micros, 6),
        Field::Hour => (civil.hour, 0),
        Field::IsoDayOfWeek => (calendar::weekday(days) + 1, 0),
        Field::IsoYear => (shown_year(civil.iso_week().0), 0),
        Field::Julian => return julian(days, civil.micros_of_day()),
        Field::Microseconds => (micros_of_minute, 0),
        Field::Millennium => (century(civil.year, 1000), 0),
        Field::Milliseconds => (micros_of_minute, 3),
        Field::Minute => (civil.minute, 0),
        Field::Month => (civil.month, 0),
        Field::Quarter => ((civil.month - 1) / 3 + 1, 0),
        Field::Second => (micros_of_minute, 6),
        Field::Zone => (offset, 0),
        Field::ZoneHour => (offset / 3600, 0),
        Field::ZoneMinute => (offset / 60 % 60, 0),
        Field::Week => (civil.iso_week().1, 0),
        Field::Year => (shown_year(civil.year), 0),
    };
    let exact = numeric::exact(i128::from(number), scale)?;
    let fraction = |per: f64| small(civil.micros) / per;
    let double = match field {
        Field::Second => small(civil.second) + fraction(1e6),
        Field::Milliseconds => small(civil.second) * 1e3 + fraction(1e3),
        #[expect(clippy::cast_precision_loss, reason = "PostgreSQL rounds them too")]
        Field::Epoch => micros as f64 / 1e6,
        _ => numeric::to_double(exact),
    };
    Ok(Extracted::Number { exact, double })
}

/// There is no year zero.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// Which of the spans of so many years, the first beginning with year 1, the one before it being -1.
fn century(year: i64, years: i64) -> i64 {
    if year > 0 { (year + years - 1) / years } else { -((years - year) / years) }
}

/// Exactly.
#[expect(clippy::cast_precision_loss, reason = "they are microseconds of a day at most")]
fn small(value: i64) -> f64 {
    value as f64
}

/// Days since the start of the Julian period, with the fraction of the day.
fn julian(days: i64, micros_of_day: i64) -> Result<Extracted, SqlError> {
    let fraction = numeric::divide(
        numeric::exact(i128::from(micros_of_day), 6)?,
        numeric::exact(86_400_000_000, 6)?,
    )?;
    let whole = days + 2_440_588;
    let seconds = micros_of_day / MICROS_PER_SECOND;
    let seconds = small(seconds) + small(micros_of_day % MICROS_PER_SECOND) / 1e6;
    let exact = numeric::add(numeric::from_int(whole), fraction)?;
    Ok(Extracted::Number { exact, double: small(whole) + seconds / 86_400.0 })
}

/// What `date_trunc(name, micros)` is in a zone.
pub(in crate::scalar) fn truncate(
    name: &str,
    micros: i64,
    zone: &TimeZone,
) -> Result<i64, SqlError> {
    if !super::is_finite(micros) {
        return Ok(micros);
    }
    let field = Field::named(name)?;
    let (civil, _) = super::local(micros, zone);
    let within = |step: i64| Ok(micros - civil.micros_of_day().rem_euclid(step));
    let year = civil.year;
    let start = match field {
        Field::Microseconds => return Ok(micros),
        Field::Milliseconds => return within(1000),
        Field::Second => return within(MICROS_PER_SECOND),
        Field::Minute => return within(60 * MICROS_PER_SECOND),
        Field::Hour => return within(3600 * MICROS_PER_SECOND),
        Field::Day => Civil::date(year, civil.month, civil.day),
        Field::Week => {
            let days = civil.days();
            let (year, month, day) = calendar::date_of_days(days - calendar::weekday(days));
            Civil::date(year, month, day)
        }
        Field::Month => Civil::date(year, civil.month, 1),
        Field::Quarter => Civil::date(year, (civil.month - 1) / 3 * 3 + 1, 1),
        Field::Year => Civil::date(year, 1, 1),
        Field::Decade => Civil::date(year.div_euclid(10) * 10, 1, 1),
        Field::Century => Civil::date((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        Field::Millennium => Civil::date((year - 1).div_euclid(1000) * 1000 + 1, 1, 1),
        // PostgreSQL knows these for `extract` only.
        Field::DayOfWeek
        | Field::DayOfYear
        | Field::Epoch
        | Field::IsoDayOfWeek
        | Field::IsoYear
        | Field::Julian => return Err(unrecognized(name)),
        Field::Zone | Field::ZoneHour | Field::ZoneMinute => return Err(unsupported(name)),
    };
    super::of_local(start.to_micros(), zone).ok_or_else(|| super::out_of_range(None))
}
