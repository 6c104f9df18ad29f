//! Reading instants: ISO dates and times, PostgreSQL's other orders of a date, and its special words.
//!
//! A text is cut into *tokens* (a date, a time, a word, an offset, a number), which may come in any order, as
//! in PostgreSQL. Example: `2026-11-25T01:02:03.5+02` is a date, the word `T`, a time and an offset.
//!
//! Not here: settings of `DateStyle` other than `ISO, MDY`, offsets in POSIX style (`UTC+3`), `J2451187`.

use jiff::tz::TimeZone;

use super::calendar::{self, Civil};
use super::{INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, MINUS_INFINITY};
use crate::error::{SqlError, SqlState};
use crate::scalar::env::Env;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// Three parts with the same sign between them; a part may be a month's name.
    Date([&'a str; 3]),
    /// With colons in it.
    Time(&'a str),
    /// Digits, or digits with a point.
    Number(&'a str),
    /// Letters.
    Word(&'a str),
    /// With its sign.
    Offset(&'a str),
}

/// Why a text is no instant.
enum Problem {
    Format,
    Field,
    Month,
    Displacement,
    Zone(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    Ad,
    Bc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Am,
    Pm,
}

/// What has been read so far.
#[derive(Default)]
struct Fields {
    /// Days since 1970-01-01 that a special word stands for.
    special_day: Option<i64>,
    /// Year with its count of digits, month, day.
    year: Option<(i64, usize)>,
    month: Option<i64>,
    month_is_named: bool,
    day: Option<i64>,
    /// Hour, minute, second, microseconds.
    time: Option<[i64; 4]>,
    half: Option<Half>,
    era: Option<Era>,
    /// Seconds ahead of UTC.
    offset: Option<i64>,
    zone: Option<TimeZone>,
    /// Whether the last token was the `T` before a time.
    after_t: bool,
}

/// The instant of a text.
pub(in crate::scalar) fn input(text: &str, env: &Env) -> Result<i64, SqlError> {
    let trimmed = text.trim_matches(crate::scalar::text::is_space);
    match trimmed.to_ascii_lowercase().as_str() {
        "infinity" => return Ok(INFINITY),
        "-infinity" => return Ok(MINUS_INFINITY),
        "epoch" => return Ok(0),
        "now" => return Ok(env.transaction_micros),
        _ => {}
    }
    let instant = tokens(trimmed).ok_or(Problem::Format).and_then(|tokens| {
        let mut fields = Fields::default();
        for token in tokens {
            fields.take(token, env)?;
        }
        fields.instant(env)
    });
    match instant {
        Ok(Some(micros)) => Ok(micros),
        Ok(None) => Err(super::out_of_range(Some(text))),
        Err(problem) => Err(error(problem, text)),
    }
}

fn error(problem: Problem, text: &str) -> SqlError {
    let field = || {
        let message = format!("date/time field value out of range: \"{text}\"");
        SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
    };
    match problem {
        Problem::Format => {
            let message =
                format!("invalid input syntax for type timestamp with time zone: \"{text}\"");
            SqlError::new(SqlState::INVALID_DATETIME_FORMAT, message)
        }
        Problem::Field => field(),
        Problem::Month => field().with_hint("Perhaps you need a different \"datestyle\" setting."),
        Problem::Displacement => SqlError::new(
            SqlState("22009"),
            format!("time zone displacement out of range: \"{text}\""),
        ),
        Problem::Zone(name) => SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("time zone \"{name}\" not recognized"),
        ),
    }
}

/// How long the start of a text is of which all characters are such.
fn run(text: &str, such: impl Fn(char) -> bool) -> usize {
    text.find(|c| !such(c)).unwrap_or(text.len())
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let ignored = c.is_ascii_punctuation() && !"+-".contains(c);
        let length = if crate::scalar::text::is_space(c) || ignored {
            rest = &rest[1..];
            continue;
        } else if c.is_ascii_digit() {
            let (token, length) = number(rest);
            tokens.push(token);
            length
        } else if c == '+' || c == '-' {
            let length = 1 + run(&rest[1..], |c| c.is_ascii_digit() || c == ':');
            tokens.push(Token::Offset(&rest[..length]));
            length
        } else if c.is_ascii_alphabetic() {
            let mut length = run(rest, |c| c.is_ascii_alphabetic() || c == '/' || c == '_');
            if rest[..length].contains('/') {
                // `Etc/GMT+5`, `America/Port-au-Prince`.
                let in_name = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
                length = run(rest, in_name);
            }
            match date(rest).filter(|_| length <= 9) {
                Some((parts, longer)) => {
                    tokens.push(Token::Date(parts));
                    length = longer;
                }
                None => tokens.push(Token::Word(&rest[..length])),
            }
            length
        } else {
            return None;
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

/// The token that starts with a digit.
fn number(text: &str) -> (Token<'_>, usize) {
    let digits = run(text, |c| c.is_ascii_digit());
    match text[digits..].chars().next() {
        Some(':') => {
            let length = run(text, |c| c.is_ascii_digit() || c == ':' || c == '.');
            (Token::Time(&text[..length]), length)
        }
        Some('-' | '/' | '.') => match date(text) {
            Some((parts, length)) => (Token::Date(parts), length),
            None => {
                let length = run(text, |c| c.is_ascii_digit() || c == '.');
                (Token::Number(&text[..length]), length)
            }
        },
        _ => (Token::Number(&text[..digits]), digits),
    }
}

/// A date at the start of a text, and how long it is.
fn date(text: &str) -> Option<([&str; 3], usize)> {
    let part = |text: &str| match run(text, |c| c.is_ascii_digit()) {
        0 => run(text, |c| c.is_ascii_alphabetic()),
        digits => digits,
    };
    let first = part(text);
    let sign = text[first..].chars().next().filter(|c| "-/.".contains(*c))?;
    let second = part(&text[first + 1..]);
    let after = first + 1 + second;
    if second == 0 || !text[after..].starts_with(sign) {
        return None;
    }
    let third = run(&text[after + 1..], |c| c.is_ascii_digit());
    let end = after + 1 + third;
    (third > 0).then(|| ([&text[..first], &text[first + 1..after], &text[after + 1..end]], end))
}

fn integer(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::Field)
}

/// Seconds and microseconds of `12.345678`, rounded.
fn seconds(text: &str) -> Result<(i64, i64), Problem> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Format);
    }
    let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| Problem::Format)?;
    #[expect(clippy::cast_possible_truncation, reason = "it is at most a million")]
    let micros = (fraction * 1e6).round_ties_even() as i64;
    Ok((integer(whole)?, micros))
}

/// A month by its name or the first three letters of it, or more of them as PostgreSQL has `sept`.
fn month(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let lower = word.to_ascii_lowercase();
    let is = |name: &&str| {
        **name == lower || name[..3] == lower || (lower == "sept" && name.starts_with("sept"))
    };
    let place = MONTHS.iter().position(is)?;
    i64::try_from(place + 1).ok()
}

/// Hours ahead of UTC of the abbreviations that PostgreSQL knows by default and people use.
fn abbreviation(lower: &str) -> Option<i64> {
    let half_hours = match lower {
        "z" | "zulu" | "utc" | "ut" | "gmt" | "uct" | "wet" => 0,
        "bst" | "cet" | "met" | "mez" | "wat" => 2,
        "cest" | "mest" | "mesz" | "eet" | "sast" | "ist" => 4,
        "eest" | "msk" | "eat" | "idt" => 6,
        "pkt" => 10,
        "bdt" => 12,
        "ict" => 14,
        "hkt" | "sgt" | "awst" => 16,
        "jst" | "kst" => 18,
        "acst" => 19,
        "aest" => 20,
        "acdt" => 21,
        "aedt" => 22,
        "nzst" => 24,
        "nzdt" => 26,
        "adt" | "brt" | "art" => -6,
        "nst" => -7,
        "ndt" => -5,
        "ast" | "edt" => -8,
        "est" | "cdt" => -10,
        "cst" | "mdt" => -12,
        "mst" | "pdt" => -14,
        "pst" | "akdt" => -16,
        "akst" => -18,
        "hst" => -20,
        _ => return None,
    };
    Some(half_hours * 1800)
}

fn check_time([hour, minute, second, micros]: [i64; 4]) -> Result<(), Problem> {
    let past_midnight = hour == 24 && (minute, second, micros) != (0, 0, 0);
    let past_minute = second == 60 && micros != 0;
    if hour > 24 || minute > 59 || second > 60 || past_midnight || past_minute {
        return Err(Problem::Field);
    }
    Ok(())
}

impl Fields {
    fn take(&mut self, token: Token<'_>, env: &Env) -> Result<(), Problem> {
        let after_t = std::mem::take(&mut self.after_t);
        match token {
            Token::Date(parts) => self.date(parts),
            Token::Time(text) => self.time(text),
            Token::Offset(text) => self.offset(text),
            Token::Number(text) => self.number(text, after_t),
            Token::Word(word) => self.word(word, env),
        }
    }

    fn has_date(&self) -> bool {
        self.special_day.is_some() || self.day.is_some()
    }

    fn date(&mut self, parts: [&str; 3]) -> Result<(), Problem> {
        if self.has_date() || self.month.is_some() {
            return Err(Problem::Format);
        }
        let [first, second, third] = parts;
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let (year, month_text, day) = if !digits(first) {
            (third, first, second)
        } else if !digits(second) && first.len() > 2 {
            (first, second, third)
        } else if !digits(second) {
            (third, second, first)
        } else if first.len() > 2 {
            (first, second, third)
        } else {
            // `DateStyle` is MDY.
            (third, first, second)
        };
        let month = match month(month_text) {
            Some(month) => month,
            None if digits(month_text) => integer(month_text)?,
            None => return Err(Problem::Format),
        };
        self.year = Some((integer(year)?, year.len()));
        self.month = Some(month);
        self.day = Some(integer(day)?);
        Ok(())
    }

    fn time(&mut self, text: &str) -> Result<(), Problem> {
        if self.time.is_some() {
            return Err(Problem::Format);
        }
        let mut parts = text.split(':');
        let hour = integer(parts.next().unwrap_or(""))?;
        let minute = parts.next().unwrap_or("");
        if minute.contains('.') {
            return Err(Problem::Format);
        }
        let (second, micros) = match parts.next() {
            Some(text) => seconds(text)?,
            None => (0, 0),
        };
        if parts.next().is_some() {
            return Err(Problem::Format);
        }
        let minute = if minute.is_empty() { 0 } else { integer(minute)? };
        let time = [hour, minute, second, micros];
        self.time = Some(time);
        check_time(time)
    }

    fn offset(&mut self, text: &str) -> Result<(), Problem> {
        // An offset needs something before it, and is the only one.
        if self.offset.is_some() || self.zone.is_some() || !self.has_date() {
            return Err(Problem::Format);
        }
        let digits = &text[1..];
        let parts: Vec<&str> = digits.split(':').collect();
        let (hour, minute, second) = match parts.as_slice() {
            [hour] if (1..=2).contains(&hour.len()) => (integer(hour)?, 0, 0),
            [both] if (3..=4).contains(&both.len()) => {
                let (hour, minute) = both.split_at(both.len() - 2);
                (integer(hour)?, integer(minute)?, 0)
            }
            [all] if (5..=6).contains(&all.len()) => {
                let (hour, rest) = all.split_at(all.len() - 4);
                (integer(hour)?, integer(&rest[..2])?, integer(&rest[2..])?)
            }
            [hour, minute] => (integer(hour)?, integer(minute)?, 0),
            [hour, minute, second] => (integer(hour)?, integer(minute)?, integer(second)?),
            _ => return Err(Problem::Format),
        };
        if hour > 15 || minute > 59 || second > 59 {
            return Err(Problem::Displacement);
        }
        let seconds = (hour * 60 + minute) * 60 + second;
        self.offset = Some(if text.starts_with('-') { -seconds } else { seconds });
        Ok(())
    }

    fn number(&mut self, text: &str, after_t: bool) -> Result<(), Problem> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if self.has_date() && self.time.is_none() && (after_t || whole.len() == 6) {
            let at = |range: std::ops::Range<usize>| integer(whole.get(range).unwrap_or("0"));
            if ![4, 6].contains(&whole.len()) {
                return Err(Problem::Format);
            }
            let (_, micros) = seconds(&format!("0.{fraction}"))?;
            let time = [at(0..2)?, at(2..4)?, at(4..6)?, micros];
            self.time = Some(time);
            return check_time(time);
        }
        if !fraction.is_empty() {
            return Err(Problem::Format);
        }
        let has_none = !self.has_date() && self.month.is_none() && self.year.is_none();
        if has_none && whole.len() >= 6 {
            let (year, rest) = whole.split_at(whole.len() - 4);
            self.year = Some((integer(year)?, year.len()));
            self.month = Some(integer(&rest[..2])?);
            self.day = Some(integer(&rest[2..])?);
            return Ok(());
        }
        // What is not there yet, in the order of `DateStyle`, MDY; a long number is the year.
        let value = integer(whole)?;
        let is_long = whole.len() > 2;
        if self.special_day.is_some() {
            return Err(Problem::Format);
        } else if self.year.is_none() && self.day.is_none() && is_long {
            self.year = Some((value, whole.len()));
        } else if self.month.is_none() {
            self.month = Some(value);
        } else if self.day.is_none() {
            self.day = Some(value);
        } else if self.year.is_none() {
            self.year = Some((value, whole.len()));
        } else {
            return Err(Problem::Format);
        }
        Ok(())
    }

    fn word(&mut self, word: &str, env: &Env) -> Result<(), Problem> {
        let lower = word.to_ascii_lowercase();
        let today = || super::local(env.transaction_micros, &env.session.time_zone).0.days();
        match lower.as_str() {
            "t" if self.has_date() && self.time.is_none() => self.after_t = true,
            "at" | "on" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds"
            | "wednesday" | "thu" | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat"
            | "saturday" | "sun" | "sunday" => {}
            "am" if self.half.is_none() => self.half = Some(Half::Am),
            "pm" if self.half.is_none() => self.half = Some(Half::Pm),
            "ad" if self.era.is_none() => self.era = Some(Era::Ad),
            "bc" if self.era.is_none() => self.era = Some(Era::Bc),
            "today" if !self.has_date() => self.special_day = Some(today()),
            "tomorrow" if !self.has_date() => self.special_day = Some(today() + 1),
            "yesterday" if !self.has_date() => self.special_day = Some(today() - 1),
            "allballs" if self.time.is_none() => {
                (self.time, self.offset) = (Some([0; 4]), Some(0));
            }
            _ => {
                if let Some(found) = month(&lower).filter(|_| !self.month_is_named) {
                    // `8 Jan`: what was taken for the month is the day.
                    let day = self.month.replace(found);
                    if day.is_some() && self.day.is_some() {
                        return Err(Problem::Format);
                    }
                    self.day = self.day.or(day);
                    self.month_is_named = true;
                    return Ok(());
                }
                if self.offset.is_some() || self.zone.is_some() {
                    return Err(Problem::Format);
                }
                if let Some(seconds) = abbreviation(&lower) {
                    self.offset = Some(seconds);
                } else if let Some(zone) = super::zone_named(word) {
                    self.zone = Some(zone);
                } else if word.contains('/') {
                    return Err(Problem::Zone(lower));
                } else {
                    return Err(Problem::Format);
                }
            }
        }
        Ok(())
    }

    fn instant(self, env: &Env) -> Result<Option<i64>, Problem> {
        let days = match self.special_day {
            Some(days) => days,
            None => self.days()?,
        };
        let micros_of_day = self.micros_of_day()?;
        let local = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros_of_day);
        Ok(match self.offset {
            Some(seconds) => super::in_range(local - i128::from(seconds * MICROS_PER_SECOND)),
            None => super::of_local(local, self.zone.as_ref().unwrap_or(&env.session.time_zone)),
        })
    }

    fn days(&self) -> Result<i64, Problem> {
        let within = |part: Option<i64>, max| part.is_none_or(|part| (1..=max).contains(&part));
        if !within(self.month, 12) || !within(self.day, 31) {
            return Err(Problem::Month);
        }
        let (Some((year, digits)), Some(month), Some(day)) = (self.year, self.month, self.day)
        else {
            return Err(Problem::Format);
        };
        let year = match self.era {
            Some(Era::Bc) if year > 0 => 1 - year,
            _ if year == 0 && digits > 2 => return Err(Problem::Field),
            Some(Era::Bc) => return Err(Problem::Field),
            // Two digits are of the years around 2000.
            None if digits <= 2 => year + if year < 70 { 2000 } else { 1900 },
            Some(Era::Ad) | None => year,
        };
        // A larger year is none in PostgreSQL either.
        if year > i64::from(i32::MAX) || day > calendar::days_of_month(year, month) {
            return Err(Problem::Field);
        }
        Ok(Civil::date(year, month, day).days())
    }

    fn micros_of_day(&self) -> Result<i64, Problem> {
        let [mut hour, minute, second, micros] = self.time.unwrap_or([0; 4]);
        match self.half {
            Some(_) if hour > 12 => return Err(Problem::Field),
            Some(Half::Am) if hour == 12 => hour = 0,
            Some(Half::Pm) if hour != 12 => hour += 12,
            Some(Half::Am | Half::Pm) | None => {}
        }
        Ok(((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros)
    }
}
