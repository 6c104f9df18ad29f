//! Points in time and intervals.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Nanoseconds since the Unix epoch. Orders commits; never read from a clock without an interval.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Below every timestamp that is ever assigned.
    pub const ZERO: Timestamp = Timestamp(0);
    /// Above every timestamp that is ever assigned.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The timestamp of that many nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The next higher timestamp. At the end of time it stays there.
    #[must_use]
    pub const fn next(self) -> Self {
        Timestamp(self.0.saturating_add(1))
    }

    /// The next lower timestamp. At zero it stays there.
    #[must_use]
    pub const fn prev(self) -> Self {
        Timestamp(self.0.saturating_sub(1))
    }

    /// Later by `by`, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_add(nanos_of(by)))
    }

    /// Earlier by `by`, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_sub(nanos_of(by)))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration's nanoseconds, saturating at 584 years.
pub(crate) fn nanos_of(duration: Duration) -> u64 {
    // Not `as_nanos`: a clock is read on every pass of a host's loop, and 128 bits are slow.
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(duration.subsec_nanos()))
}

impl fmt::Display for Timestamp {
    /// Seconds since the Unix epoch with nine decimals: sorts and parses back without loss.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// An interval that surely contains true time, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeInterval {
    /// True time is not below this.
    pub earliest: Timestamp,
    /// True time is not above this.
    pub latest: Timestamp,
}

impl TimeInterval {
    /// The interval of `epsilon` on either side of `reading`.
    #[must_use]
    pub fn around(reading: Timestamp, epsilon: Duration) -> Self {
        TimeInterval { earliest: reading.minus(epsilon), latest: reading.plus(epsilon) }
    }

    /// Half the width.
    #[must_use]
    pub fn epsilon(self) -> Duration {
        self.latest.since(self.earliest) / 2
    }

    /// Whether the two intervals share an instant. Two honest clocks' intervals of one instant do.
    #[must_use]
    pub fn meets(self, other: TimeInterval) -> bool {
        self.earliest <= other.latest && other.earliest <= self.latest
    }
}

impl fmt::Display for TimeInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.earliest, self.latest)
    }
}
