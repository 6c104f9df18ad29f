//! Days and dates.

use super::{MICROS_PER_DAY, MICROS_PER_SECOND};

/// A date and time without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scalar) struct Civil {
    /// 0 is 1 BC.
    pub(in crate::scalar) year: i64,
    pub(in crate::scalar) month: i64,
    pub(in crate::scalar) day: i64,
    pub(in crate::scalar) hour: i64,
    pub(in crate::scalar) minute: i64,
    pub(in crate::scalar) second: i64,
    pub(in crate::scalar) micros: i64,
}

impl Civil {
    /// Midnight of a date.
    pub(in crate::scalar) fn date(year: i64, month: i64, day: i64) -> Self {
        Civil { year, month, day, hour: 0, minute: 0, second: 0, micros: 0 }
    }

    /// That of microseconds since the start of 1970.
    pub(in crate::scalar) fn of_micros(micros: i128) -> Self {
        let per_day = i128::from(MICROS_PER_DAY);
        let of_day = i64::try_from(micros.rem_euclid(per_day)).expect("a day's are few");
        let days = i64::try_from(micros.div_euclid(per_day)).expect("days are fewer than micros");
        let seconds = of_day / MICROS_PER_SECOND;
        let (year, month, day) = date_of_days(days);
        Civil {
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: of_day % MICROS_PER_SECOND,
        }
    }

    /// Days since 1970-01-01.
    pub(in crate::scalar) fn days(&self) -> i64 {
        days_of_date(self.year, self.month, self.day)
    }

    /// Microseconds since midnight.
    pub(in crate::scalar) fn micros_of_day(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.micros
    }

    /// Microseconds since the start of 1970.
    pub(in crate::scalar) fn to_micros(self) -> i128 {
        i128::from(self.days()) * i128::from(MICROS_PER_DAY) + i128::from(self.micros_of_day())
    }

    /// The year and the number of its ISO week.
    pub(in crate::scalar) fn iso_week(&self) -> (i64, i64) {
        let days = self.days();
        // The Thursday of a week says which year it is in.
        let thursday = days - weekday(days) + 3;
        let (year, _, _) = date_of_days(thursday);
        (year, (thursday - days_of_date(year, 1, 1)) / 7 + 1)
    }
}

/// 0 for Monday to 6 for Sunday.
pub(super) fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// Days of a month.
pub(super) fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a Gregorian date. Years begin in March here, so that a leap day is the last.
pub(super) fn days_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_of_date`].
pub(super) fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
