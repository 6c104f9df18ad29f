//! Settings of the whole cluster: what there is, and what their values mean.
//!
//! `SET CLUSTER SETTING txn.max_age = '5m'` checks the value here, stores its text with the catalog, and is
//! answered when every gateway uses it. What is not stored has its default.
//!
//! Not here: settings of one session (`session/variables.rs`), and those of a node, which its flags and file
//! give (docs/configuration.md).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{SqlError, SqlState};

/// What the values of a setting are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A length of time: `10s`, `5min`, `250ms`; a plain number is milliseconds.
    Duration {
        /// The least allowed.
        min: Duration,
        /// The most allowed.
        max: Duration,
    },
    /// Bytes: `64MB`, `512kB`; a plain number is bytes.
    Bytes {
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A number of things.
    Count {
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSetting {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The value when none is set.
    pub default: &'static str,
    /// What it is for.
    pub description: &'static str,
}

/// How old a read-write transaction may get.
pub const TXN_MAX_AGE: &str = "txn.max_age";
/// The memory of one statement.
pub const SQL_MEMORY_MAX: &str = "sql.memory_max";
/// How often a statement is run again.
pub const SQL_RETRIES_MAX: &str = "sql.retries_max";
/// How long a statement may take.
pub const SQL_STATEMENT_TIMEOUT: &str = "sql.statement_timeout";

/// All settings, by name.
pub const CLUSTER_SETTINGS: [ClusterSetting; 4] = [
    ClusterSetting {
        name: SQL_MEMORY_MAX,
        kind: Kind::Bytes { min: 1 << 20, max: 16 << 30 },
        default: "64MB",
        description: "memory that one statement may take for sorting, grouping and results it must hold",
    },
    ClusterSetting {
        name: SQL_RETRIES_MAX,
        kind: Kind::Count { min: 0, max: 1000 },
        default: "20",
        description: "how often the server runs a statement again that was aborted for no fault of its own",
    },
    ClusterSetting {
        name: SQL_STATEMENT_TIMEOUT,
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(86_400) },
        default: "0",
        description: "after how long a statement is cancelled where the session does not say otherwise; 0 is never",
    },
    ClusterSetting {
        name: TXN_MAX_AGE,
        kind: Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(86_400) },
        default: "10min",
        description: "age at which a read-write transaction can no longer commit",
    },
];

/// The setting of that name.
///
/// # Errors
/// `UNDEFINED_OBJECT` when there is none.
pub fn find(name: &str) -> Result<&'static ClusterSetting, SqlError> {
    CLUSTER_SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| {
        let message = format!("unrecognized cluster setting \"{name}\"");
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
            .with_hint("SHOW CLUSTER SETTINGS lists them.")
    })
}

impl ClusterSetting {
    /// Whether a text is one of its values.
    ///
    /// # Errors
    /// `INVALID_PARAMETER_VALUE`, with what would be one.
    pub fn check(&self, text: &str) -> Result<(), SqlError> {
        let hint = |example: &str, min: String, max: String| {
            let message = format!("invalid value for cluster setting \"{}\": \"{text}\"", self.name);
            SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .with_hint(format!("Give a value as {example}, from {min} to {max}."))
        };
        match self.kind {
            Kind::Duration { min, max } => parse_duration(text)
                .filter(|value| (min..=max).contains(value))
                .map(|_| ())
                .ok_or_else(|| hint("'10s'", format!("{min:?}"), format!("{max:?}"))),
            Kind::Bytes { min, max } => parse_bytes(text)
                .filter(|value| (min..=max).contains(value))
                .map(|_| ())
                .ok_or_else(|| hint("'64MB'", format!("{min}"), format!("{max} bytes"))),
            Kind::Count { min, max } => text
                .trim()
                .parse()
                .ok()
                .filter(|value| (min..=max).contains(value))
                .map(|_| ())
                .ok_or_else(|| hint("10", format!("{min}"), format!("{max}"))),
        }
    }
}

/// The settings as they are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// [`TXN_MAX_AGE`].
    pub max_age: Duration,
    /// [`SQL_MEMORY_MAX`], in bytes.
    pub memory_max: usize,
    /// [`SQL_RETRIES_MAX`].
    pub retries_max: u32,
    /// [`SQL_STATEMENT_TIMEOUT`]; `None` is never.
    pub statement_timeout: Option<Duration>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings::of(&BTreeMap::new())
    }
}

impl ClusterSettings {
    /// From what is stored. A value that this release does not understand is as if it were not there.
    #[must_use]
    pub fn of(stored: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| {
            let setting = CLUSTER_SETTINGS.iter().find(|setting| setting.name == name);
            let setting = setting.expect("every setting that is used is listed");
            let stored = stored.get(name).map(String::as_str);
            stored.filter(|text| setting.check(text).is_ok()).unwrap_or(setting.default)
        };
        let duration = |name| parse_duration(text(name)).unwrap_or_default();
        let timeout = duration(SQL_STATEMENT_TIMEOUT);
        ClusterSettings {
            max_age: duration(TXN_MAX_AGE),
            memory_max: parse_bytes(text(SQL_MEMORY_MAX))
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(usize::MAX),
            retries_max: text(SQL_RETRIES_MAX).trim().parse().unwrap_or_default(),
            statement_timeout: (!timeout.is_zero()).then_some(timeout),
        }
    }
}

/// A length of time as PostgreSQL's settings have it: a number and a unit, without one milliseconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let micros = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "min" | "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.checked_mul(micros).map(Duration::from_micros)
}

/// An amount of memory: a number and a unit, without one bytes.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "kB" | "KB" | "KiB" => 1 << 10,
        "MB" | "MiB" => 1 << 20,
        "GB" | "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text.get(..end)?.parse().ok()?;
    Some((number, text.get(end..)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_setting() {
        for setting in CLUSTER_SETTINGS {
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.name);
            assert_eq!(find(setting.name).map(|found| found.name), Ok(setting.name));
        }
        assert!(CLUSTER_SETTINGS.is_sorted_by_key(|setting| setting.name));
    }

    #[test]
    fn values_out_of_range_or_of_another_kind_are_refused() {
        for (name, text) in [
            (TXN_MAX_AGE, "10"),
            (TXN_MAX_AGE, "2 d"),
            (TXN_MAX_AGE, "-1s"),
            (SQL_MEMORY_MAX, "1kB"),
            (SQL_MEMORY_MAX, "99999999999999999999GB"),
            (SQL_RETRIES_MAX, "many"),
            (SQL_RETRIES_MAX, ""),
        ] {
            let refused = find(name).and_then(|setting| setting.check(text));
            assert_eq!(refused.unwrap_err().state, SqlState::INVALID_PARAMETER_VALUE, "{text}");
        }
        assert_eq!(find("no.such").unwrap_err().state, SqlState::UNDEFINED_OBJECT);
    }

    #[test]
    fn stored_values_win_over_defaults_and_nonsense_does_not() {
        let stored = |text: &str| BTreeMap::from([(TXN_MAX_AGE.to_owned(), text.to_owned())]);
        assert_eq!(ClusterSettings::of(&stored("90s")).max_age, Duration::from_secs(90));
        assert_eq!(ClusterSettings::of(&stored("soon")).max_age, Duration::from_secs(600));
        assert_eq!(ClusterSettings::default().memory_max, 64 << 20);
        assert_eq!(ClusterSettings::default().statement_timeout, None);
    }
}
