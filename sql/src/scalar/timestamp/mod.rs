//! Instants: microseconds since the Unix epoch, and how they look in a time zone.
//!
//! The calendar is PostgreSQL's, Gregorian at all times. Dates go from 4714-11-24 BC to 294246 AD, thirty
//! years short of PostgreSQL's end, which counts from 2000.

mod calendar;
mod field;
mod input;

use jiff::tz::{TimeZone, TimeZoneDatabase};

pub(super) use calendar::Civil;
pub(super) use field::{Extracted, extract, truncate};
pub(super) use input::input;

use crate::error::{SqlError, SqlState};

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 4714-11-24 BC, the start of the Julian period.
const MICROS_MIN: i64 = -210_866_803_200 * MICROS_PER_SECOND;
/// `infinity`.
pub(super) const INFINITY: i64 = i64::MAX;
/// `-infinity`.
pub(super) const MINUS_INFINITY: i64 = i64::MIN;

/// Whether it is an instant and no infinity.
pub(super) fn is_finite(micros: i64) -> bool {
    micros != INFINITY && micros != MINUS_INFINITY
}

/// It, if there is such an instant.
pub(super) fn in_range(micros: i128) -> Option<i64> {
    let micros = i64::try_from(micros).ok()?;
    (micros >= MICROS_MIN && micros != INFINITY).then_some(micros)
}

/// The error of an instant that there is not.
pub(super) fn out_of_range(text: Option<&str>) -> SqlError {
    let message = match text {
        Some(text) => format!("timestamp out of range: \"{text}\""),
        None => "timestamp out of range".to_owned(),
    };
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// Seconds that local time is ahead of UTC.
pub(super) fn offset_at(micros: i64, zone: &TimeZone) -> i64 {
    // 400 years are 146097 days, whole weeks, and all that zones know so far ahead is a rule for every year.
    const CYCLE: i64 = 146_097 * MICROS_PER_DAY;
    let year_9000 = 221_845_392_000 * MICROS_PER_SECOND;
    let cycles = if micros < year_9000 { 0 } else { (micros - year_9000) / CYCLE + 1 };
    match jiff::Timestamp::from_microsecond(micros - cycles * CYCLE) {
        Ok(timestamp) => i64::from(zone.to_offset(timestamp).seconds()),
        Err(_) => 0,
    }
}

/// The instant of a local time. Of two, when clocks go back, the later; one that clocks skip is read with the
/// offset from before.
pub(super) fn of_local(local_micros: i128, zone: &TimeZone) -> Option<i64> {
    let day = i128::from(MICROS_PER_DAY);
    let offset = |micros: i128| in_range(micros).map(|micros| offset_at(micros, zone));
    // No offset is a day, and none changes twice in two days.
    let before = offset(local_micros - day).or_else(|| offset(local_micros));
    let after = offset(local_micros + day).or(before);
    let (before, after) = (before.or(after)?, after?);
    let with = |offset: i64| local_micros - i128::from(offset * MICROS_PER_SECOND);
    let holds = |seconds: i64| offset(with(seconds)) == Some(seconds);
    let later = if with(after) >= with(before) { after } else { before };
    let earlier = before + after - later;
    let chosen = if holds(later) {
        later
    } else if holds(earlier) {
        earlier
    } else {
        before
    };
    in_range(with(chosen))
}

/// The local date and time of an instant, and its offset in seconds.
pub(super) fn local(micros: i64, zone: &TimeZone) -> (Civil, i64) {
    let offset = offset_at(micros, zone);
    let local = i128::from(micros) + i128::from(offset * MICROS_PER_SECOND);
    (Civil::of_micros(local), offset)
}

/// PostgreSQL's output in ISO style.
pub(super) fn output(micros: i64, zone: &TimeZone) -> String {
    if micros == INFINITY {
        return "infinity".to_owned();
    }
    if micros == MINUS_INFINITY {
        return "-infinity".to_owned();
    }
    let (civil, offset) = local(micros, zone);
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year };
    let mut text = format!(
        "{year:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        civil.month, civil.day, civil.hour, civil.minute, civil.second
    );
    if civil.micros != 0 {
        text.push_str(format!(".{:06}", civil.micros).trim_end_matches('0'));
    }
    let (hours, minutes, seconds) =
        (offset.abs() / 3600, offset.abs() / 60 % 60, offset.abs() % 60);
    text.push_str(&format!("{}{hours:02}", if offset < 0 { '-' } else { '+' }));
    if minutes != 0 || seconds != 0 {
        text.push_str(&format!(":{minutes:02}"));
    }
    if seconds != 0 {
        text.push_str(&format!(":{seconds:02}"));
    }
    if civil.year <= 0 {
        text.push_str(" BC");
    }
    text
}

/// The time zone of that name, in any case, out of the database that is built in; or an offset as POSIX has it,
/// which counts to the west: `+02`, `UTC+3:30`.
pub(super) fn zone_named(name: &str) -> Option<TimeZone> {
    if let Ok(zone) = TimeZoneDatabase::bundled().get(name) {
        return Some(zone);
    }
    let offset = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let (sign, digits) = offset.split_at_checked(1)?;
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let number = |text: &str, max: i32| match text.starts_with('+') {
        true => None,
        false => text.parse().ok().filter(|number| (0..=max).contains(number)),
    };
    let seconds = number(hours, 24)? * 3600 + number(minutes, 59)? * 60;
    match sign {
        "+" => fixed_zone(-seconds),
        "-" => fixed_zone(seconds),
        _ => None,
    }
}

/// The time zone that the setting of that name means: like [`zone_named`], but a mere number is hours to the east,
/// with a fraction if need be.
pub(super) fn zone_of_setting(value: &str) -> Option<TimeZone> {
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    let is_number = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match value.parse::<f64>().ok().filter(|_| is_number) {
        Some(hours) => {
            let seconds = crate::scalar::double::to_integer(hours * 3600.0, -93_599, 93_599)?;
            fixed_zone(i32::try_from(seconds).ok()?)
        }
        None => zone_named(value),
    }
}

/// A zone that many seconds ahead of UTC.
fn fixed_zone(seconds: i32) -> Option<TimeZone> {
    jiff::tz::Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}
