//! What an evaluation depends on beyond its arguments.
//!
//! A session makes one for each statement; two evaluations with the same environment and arguments give the
//! same results, random ones included.

use jiff::tz::TimeZone;
use std::collections::BTreeMap;

use super::timestamp;

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteaOutput {
    /// `\x00ff`.
    #[default]
    Hex,
    /// `\000\377`.
    Escape,
}

/// The environment of an evaluation.
#[derive(Clone, Debug)]
pub struct Env {
    /// What `now()` is: microseconds since the Unix epoch.
    pub transaction_micros: i64,
    /// What `statement_timestamp()` is.
    pub statement_micros: i64,
    /// What `clock_timestamp()` is; whoever evaluates for long moves it on.
    pub clock_micros: i64,
    /// The zone that instants are written in, and read in when they name none.
    pub time_zone: TimeZone,
    /// PostgreSQL's setting of that name: above 0, doubles are written so that they can be read back.
    pub extra_float_digits: i32,
    /// How bytes are written.
    pub bytea_output: ByteaOutput,
    /// What `current_user` is.
    pub user: String,
    /// What `current_database()` is.
    pub database: String,
    /// What `current_schema()` is.
    pub schema: String,
    /// What `version()` is.
    pub version: String,
    /// What `pg_backend_pid()` is.
    pub backend_pid: i32,
    /// The state of the random sequence; any value will do to begin with.
    pub random: u64,
    /// What `current_setting()` reads, names in lower case.
    pub settings: BTreeMap<String, String>,
}

impl Default for Env {
    /// The Unix epoch in UTC, and nobody.
    fn default() -> Self {
        Env {
            transaction_micros: 0,
            statement_micros: 0,
            clock_micros: 0,
            time_zone: TimeZone::UTC,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            user: String::new(),
            database: String::new(),
            schema: "public".to_owned(),
            version: String::new(),
            backend_pid: 0,
            random: 0,
            settings: BTreeMap::new(),
        }
    }
}

impl Env {
    /// The time zone that the setting `TimeZone` means: a name, hours to the east, or an offset as POSIX has it,
    /// which counts to the west.
    #[must_use]
    pub fn time_zone_named(name: &str) -> Option<TimeZone> {
        timestamp::zone_of_setting(name)
    }

    /// The next sixty-four random bits (SplitMix64).
    pub fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}
