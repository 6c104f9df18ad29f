//! The settings of one session: SET, RESET and SHOW.
//!
//! Names are PostgreSQL's, so that its drivers find what they set. A value set inside a transaction goes with it
//! when it is rolled back, and with SET LOCAL also when it commits. Some are known and have no effect here,
//! which their description says: a driver sets them whatever the server is, and has them shown again.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::tz::{Offset, TimeZone};

use super::Identity;
use crate::error::{SqlError, SqlState};
use crate::scalar::env::{ByteaOutput, SessionEnv};
use crate::settings::parse_duration;

/// What the values of a variable are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Boolean,
    OneOf(&'static [&'static str]),
    Integer {
        min: i64,
        max: i64,
    },
    /// Shown in milliseconds, 0 is off.
    Timeout,
    TimeZone,
    /// A list of isolation levels, all of which mean serializable here.
    Isolation,
    /// It cannot be set.
    Fixed,
}

struct Definition {
    /// As SHOW ALL has it.
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
}

const fn define(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, description }
}

/// The server version that clients are told: they choose their SQL by it.
pub const SERVER_VERSION: &str = "15.0";
const NO_EFFECT: &str = "known, and without effect";
const MESSAGES: &[&str] = &[
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error", "info",
];

/// In the order of their names, without regard to case.
const DEFINITIONS: [Definition; 33] = [
    define("application_name", Kind::Text, "", "name that the client gives itself"),
    define("bytea_output", Kind::OneOf(&["hex", "escape"]), "hex", "form of BYTEA in text"),
    define("client_encoding", Kind::OneOf(&["UTF8"]), "UTF8", "encoding of text, always UTF8"),
    define("client_min_messages", Kind::OneOf(MESSAGES), "notice", "least notices that are sent"),
    define("DateStyle", Kind::Text, "ISO, MDY", NO_EFFECT),
    define("default_transaction_isolation", Kind::Isolation, "serializable", NO_EFFECT),
    define(
        "default_transaction_read_only",
        Kind::Boolean,
        "off",
        "whether transactions are read-only unless they say otherwise",
    ),
    define(
        "extra_float_digits",
        Kind::Integer { min: -15, max: 3 },
        "1",
        "digits of DOUBLE PRECISION",
    ),
    define("idle_in_transaction_session_timeout", Kind::Timeout, "0", NO_EFFECT),
    define("in_hot_standby", Kind::Fixed, "off", "always off"),
    define("integer_datetimes", Kind::Fixed, "on", "always on"),
    define("IntervalStyle", Kind::Text, "postgres", NO_EFFECT),
    define("is_superuser", Kind::Fixed, "on", "always on: there are no users yet"),
    define("lock_timeout", Kind::Timeout, "0", NO_EFFECT),
    define("max_identifier_length", Kind::Fixed, "63", "most bytes of a name"),
    define("row_security", Kind::Boolean, "on", NO_EFFECT),
    define("search_path", Kind::Text, "\"$user\", public", NO_EFFECT),
    define("server_encoding", Kind::Fixed, "UTF8", "always UTF8"),
    define(
        "server_version",
        Kind::Fixed,
        SERVER_VERSION,
        "version of PostgreSQL that this resembles",
    ),
    define("server_version_num", Kind::Fixed, "150000", "the same as a number"),
    define("session_authorization", Kind::Fixed, "root", "the user"),
    define("standard_conforming_strings", Kind::OneOf(&["on"]), "on", "always on"),
    define("statement_timeout", Kind::Timeout, "0", "after how long a statement is cancelled"),
    define("synchronize_seqscans", Kind::Boolean, "on", NO_EFFECT),
    define(
        "synchronous_commit",
        Kind::OneOf(&["on", "remote_write", "remote_apply", "local", "off"]),
        "on",
        "every commit is durable at a majority, whatever it says",
    ),
    define("TimeZone", Kind::TimeZone, "UTC", "time zone of TIMESTAMPTZ in text"),
    define("transaction_deferrable", Kind::Boolean, "off", NO_EFFECT),
    define("transaction_isolation", Kind::Isolation, "serializable", "always serializable"),
    define("transaction_read_only", Kind::Fixed, "off", "whether the transaction is read-only"),
    define("vacuum_cost_delay", Kind::Integer { min: 0, max: 100 }, "0", NO_EFFECT),
    define("work_mem", Kind::Text, "4MB", NO_EFFECT),
    define("xmlbinary", Kind::OneOf(&["base64", "hex"]), "base64", NO_EFFECT),
    define("xmloption", Kind::OneOf(&["content", "document"]), "content", NO_EFFECT),
];

fn definition(name: &str) -> Result<&'static Definition, SqlError> {
    let alias = match name.to_ascii_lowercase().as_str() {
        "time zone" => "timezone".to_owned(),
        "names" => "client_encoding".to_owned(),
        "session characteristics" | "transaction isolation level" => {
            "transaction_isolation".to_owned()
        }
        other => other.to_owned(),
    };
    DEFINITIONS.iter().find(|found| found.name.eq_ignore_ascii_case(&alias)).ok_or_else(|| {
        let message = format!("unrecognized configuration parameter \"{name}\"");
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
    })
}

/// The values of one session.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// Defaults that are the cluster's.
    defaults: BTreeMap<&'static str, String>,
    set: BTreeMap<&'static str, String>,
    /// By SET LOCAL, until the transaction ends.
    local: BTreeMap<&'static str, String>,
    /// As they were at BEGIN.
    before: Option<BTreeMap<&'static str, String>>,
    /// What they make, until one changes.
    env: OnceLock<Arc<SessionEnv>>,
}

impl Variables {
    /// Sets a variable, or with `None` goes back to its default.
    ///
    /// # Errors
    /// When there is no such variable, it cannot be set, or not to that value.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        let definition = definition(name)?;
        self.env.take();
        self.local.remove(definition.name);
        match value {
            None => {
                check_settable(definition)?;
                self.set.remove(definition.name);
            }
            Some(value) => {
                self.set.insert(definition.name, checked(definition, value)?);
            }
        }
        Ok(())
    }

    /// Sets a variable until the transaction ends.
    ///
    /// # Errors
    /// As [`Variables::set`].
    pub fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        let definition = definition(name)?;
        check_settable(definition)?;
        let value = match value {
            None => self.default_of(definition).to_owned(),
            Some(value) => checked(definition, value)?,
        };
        self.env.take();
        self.local.insert(definition.name, value);
        Ok(())
    }

    /// The cluster has this timeout for sessions that set none.
    pub(super) fn set_default_statement_timeout(&mut self, timeout: Option<Duration>) {
        self.env.take();
        let shown = shown_timeout(timeout.unwrap_or_default());
        self.defaults.insert("statement_timeout", shown);
    }

    /// All go back to their defaults.
    pub fn reset_all(&mut self) {
        self.env.take();
        self.set.clear();
        self.local.clear();
    }

    /// A transaction began.
    pub fn begin(&mut self) {
        self.before = Some(self.set.clone());
    }

    /// It committed.
    pub fn commit(&mut self) {
        self.env.take();
        self.before = None;
        self.local.clear();
    }

    /// It was rolled back.
    pub fn roll_back(&mut self) {
        self.env.take();
        if let Some(before) = self.before.take() {
            self.set = before;
        }
        self.local.clear();
    }

    /// The name as SHOW heads its column, and the value.
    ///
    /// # Errors
    /// When there is no such variable.
    pub fn show(&self, name: &str) -> Result<(&'static str, String), SqlError> {
        let definition = definition(name)?;
        Ok((definition.name, self.value(definition)))
    }

    /// Name, value and description of all.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, String, &'static str)> {
        DEFINITIONS.iter().map(|found| (found.name, self.value(found), found.description))
    }

    /// A value that is sure to be there.
    #[must_use]
    pub fn get(&self, name: &'static str) -> String {
        self.show(name).map(|(_, value)| value).unwrap_or_default()
    }

    /// Whether transactions are read-only unless they say otherwise.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.get("default_transaction_read_only") == "on"
    }

    /// After how long a statement is cancelled.
    #[must_use]
    pub fn statement_timeout(&self) -> Option<Duration> {
        parse_duration(&self.get("statement_timeout")).filter(|timeout| !timeout.is_zero())
    }

    /// What evaluation depends on, with these variables.
    pub(super) fn env(&self, identity: &Identity) -> Arc<SessionEnv> {
        Arc::clone(self.env.get_or_init(|| Arc::new(self.new_env(identity))))
    }

    fn new_env(&self, identity: &Identity) -> SessionEnv {
        let text = self.get("bytea_output");
        let bytea_output = if text == "escape" { ByteaOutput::Escape } else { ByteaOutput::Hex };
        let zone = time_zone(&self.get("TimeZone")).map(|(_, zone)| zone);
        SessionEnv {
            time_zone: zone.unwrap_or(TimeZone::UTC),
            extra_float_digits: self.get("extra_float_digits").parse().unwrap_or(1),
            bytea_output,
            user: identity.user.clone(),
            database: identity.database.clone(),
            schema: "public".to_owned(),
            version: format!(
                "PostgreSQL {SERVER_VERSION} (Spandrel {})",
                env!("CARGO_PKG_VERSION")
            ),
            backend_pid: 0,
            settings: self
                .all()
                .map(|(name, value, _)| (name.to_ascii_lowercase(), value))
                .collect(),
        }
    }

    fn default_of(&self, definition: &Definition) -> &str {
        self.defaults.get(definition.name).map_or(definition.default, String::as_str)
    }

    fn value(&self, definition: &Definition) -> String {
        let set = self.local.get(definition.name).or_else(|| self.set.get(definition.name));
        set.map_or_else(|| self.default_of(definition), String::as_str).to_owned()
    }
}

/// A time zone by its name or offset, and the name as it is shown.
fn time_zone(name: &str) -> Option<(String, TimeZone)> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("gmt") || name == "0" {
        return Some(("UTC".to_owned(), TimeZone::UTC));
    }
    if let Ok(hours) = name.parse::<i8>() {
        let offset = Offset::from_hours(hours).ok()?;
        return Some((name.to_owned(), TimeZone::fixed(offset)));
    }
    let zone = TimeZone::get(name).ok()?;
    let shown = zone.iana_name().unwrap_or(name).to_owned();
    Some((shown, zone))
}

fn check_settable(definition: &Definition) -> Result<(), SqlError> {
    if definition.kind == Kind::Fixed {
        let message = format!("parameter \"{}\" cannot be changed", definition.name);
        return Err(SqlError::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, message));
    }
    Ok(())
}

/// The value in the form in which it is shown.
fn checked(definition: &Definition, value: &str) -> Result<String, SqlError> {
    check_settable(definition)?;
    let invalid = || {
        let message = format!("invalid value for parameter \"{}\": \"{value}\"", definition.name);
        SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
    };
    let shown = match definition.kind {
        Kind::Text | Kind::Fixed => Some(value.to_owned()),
        Kind::Boolean => boolean(value).map(|on| if on { "on" } else { "off" }.to_owned()),
        Kind::OneOf(values) => one_of(values, value),
        Kind::Integer { min, max } => {
            let number = value.trim().parse::<i64>().ok();
            number.filter(|number| (min..=max).contains(number)).map(|number| number.to_string())
        }
        Kind::Timeout => parse_duration(value).map(shown_timeout),
        Kind::TimeZone => time_zone(value).map(|(name, _)| name),
        Kind::Isolation => {
            let levels = ["serializable", "repeatable read", "read committed", "read uncommitted"];
            one_of(&levels, value).map(|_| "serializable".to_owned())
        }
    };
    shown.ok_or_else(invalid)
}

fn shown_timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        0 => "0".to_owned(),
        millis if millis % 60_000 == 0 => format!("{}min", millis / 60_000),
        millis if millis % 1_000 == 0 => format!("{}s", millis / 1_000),
        millis => format!("{millis}ms"),
    }
}

fn one_of(values: &[&str], value: &str) -> Option<String> {
    let same = |a: &str, b: &str| {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        plain(a) == plain(b)
    };
    let alias = if value.eq_ignore_ascii_case("unicode") { "UTF8" } else { value };
    values.iter().find(|known| same(known, alias)).map(|known| (*known).to_owned())
}

/// A boolean as PostgreSQL's settings take it.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(variables: &Variables, name: &str) -> String {
        variables.show(name).unwrap().1
    }

    #[test]
    fn every_default_is_a_value_of_its_variable() {
        for definition in DEFINITIONS.iter().filter(|d| d.kind != Kind::Fixed) {
            if definition.default.is_empty() {
                continue;
            }
            let shown = checked(definition, definition.default).unwrap();
            assert_eq!(shown, definition.default, "{}", definition.name);
        }
        let names: Vec<String> = DEFINITIONS.iter().map(|d| d.name.to_ascii_lowercase()).collect();
        assert!(names.is_sorted());
    }

    #[test]
    fn names_have_no_case_and_values_one_form() {
        let mut variables = Variables::default();
        variables.set("timezone", Some("Europe/Berlin")).unwrap();
        variables.set("STATEMENT_TIMEOUT", Some("90000")).unwrap();
        variables.set("client_encoding", Some("utf-8")).unwrap();
        variables.set("default_transaction_isolation", Some("read committed")).unwrap();
        assert_eq!(shown(&variables, "TimeZone"), "Europe/Berlin");
        assert_eq!(shown(&variables, "statement_timeout"), "90s");
        assert_eq!(shown(&variables, "client_encoding"), "UTF8");
        assert_eq!(shown(&variables, "default_transaction_isolation"), "serializable");
        assert_eq!(variables.statement_timeout(), Some(Duration::from_secs(90)));
    }

    #[test]
    fn unknown_names_and_wrong_values_are_refused() {
        let mut variables = Variables::default();
        let state = |result: Result<(), SqlError>| result.unwrap_err().state;
        assert_eq!(state(variables.set("no_such", Some("1"))), SqlState::UNDEFINED_OBJECT);
        let wrong = SqlState::INVALID_PARAMETER_VALUE;
        assert_eq!(state(variables.set("timezone", Some("Mars/North"))), wrong);
        assert_eq!(state(variables.set("extra_float_digits", Some("4"))), wrong);
        assert_eq!(state(variables.set("bytea_output", Some("octal"))), wrong);
        let fixed = SqlState::CANT_CHANGE_RUNTIME_PARAM;
        assert_eq!(state(variables.set("server_version", Some("16"))), fixed);
    }

    #[test]
    fn what_a_transaction_set_goes_with_it_when_it_is_rolled_back() {
        let mut variables = Variables::default();
        variables.set("application_name", Some("a")).unwrap();
        variables.begin();
        variables.set("application_name", Some("b")).unwrap();
        variables.set_local("work_mem", Some("8MB")).unwrap();
        assert_eq!(shown(&variables, "work_mem"), "8MB");
        variables.roll_back();
        assert_eq!(shown(&variables, "application_name"), "a");
        variables.begin();
        variables.set("application_name", Some("b")).unwrap();
        variables.set_local("work_mem", Some("8MB")).unwrap();
        variables.commit();
        assert_eq!(shown(&variables, "application_name"), "b");
        assert_eq!(shown(&variables, "work_mem"), "4MB");
    }
}
