//! What an evaluation depends on beyond its arguments.
//!
//! A session makes one for each statement; two evaluations with the same environment and arguments give the
//! same results, random ones included.

use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// What is the same from one statement of a session to the next.
#[derive(Clone, Debug)]
pub struct SessionEnv {
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
    /// What `current_setting()` reads, names in lower case.
    pub settings: BTreeMap<String, String>,
}

impl Default for SessionEnv {
    /// UTC, and nobody.
    fn default() -> Self {
        SessionEnv {
            time_zone: TimeZone::UTC,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            user: String::new(),
            database: String::new(),
            schema: "public".to_owned(),
            version: String::new(),
            backend_pid: 0,
            settings: BTreeMap::new(),
        }
    }
}

impl SessionEnv {
    /// Whether a literal means the same in both.
    #[must_use]
    pub fn reads_like(&self, other: &SessionEnv) -> bool {
        self.time_zone == other.time_zone
            && self.extra_float_digits == other.extra_float_digits
            && self.bytea_output == other.bytea_output
    }
}

/// The environment of an evaluation; the default is the Unix epoch in UTC.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// What `now()` is: microseconds since the Unix epoch.
    pub transaction_micros: i64,
    /// What `statement_timestamp()` is.
    pub statement_micros: i64,
    /// What `clock_timestamp()` is; whoever evaluates for long moves it on.
    pub clock_micros: i64,
    /// The state of the random sequence; any value will do to begin with. Two evaluations that draw UUIDs must not
    /// begin with the same one, so it has as many bits as they have.
    pub random: u128,
    /// Of the session.
    pub session: Arc<SessionEnv>,
}

impl Env {
    /// The time zone that the setting `TimeZone` means: a name, hours to the east, or an offset as POSIX has it,
    /// which counts to the west.
    #[must_use]
    pub fn time_zone_named(name: &str) -> Option<TimeZone> {
        timestamp::zone_of_setting(name)
    }

    /// The next sixty-four random bits (PCG XSL RR 128/64).
    #[expect(clippy::cast_possible_truncation, reason = "the low half, and six bits")]
    pub fn next_random(&mut self) -> u64 {
        const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
        const INCREMENT: u128 = 0x5851_F42D_4C95_7F2D_1405_7B7E_F767_814F;
        self.random = self.random.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let (high, low) = ((self.random >> 64) as u64, self.random as u64);
        (high ^ low).rotate_right((self.random >> 122) as u32)
    }
}
