//! One reading of both clocks, as the data that protocol code takes.

use crate::timestamp::nanos_of;
use crate::{TimeInterval, Timestamp};
use std::time::Duration;

/// The monotonic clock: time since an arbitrary origin of this process. For elections and timeouts;
/// says nothing about timestamps (T22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// Before every reading.
    pub const ZERO: Mono = Mono(0);
    /// After every reading: "never" as a deadline.
    pub const MAX: Mono = Mono(u64::MAX);

    /// The reading of that many nanoseconds since the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Mono(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Later by `by`, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Mono(self.0.saturating_add(nanos_of(by)))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Until a clock that vouches for nothing is asked again.
const UNSURE_WAIT: Duration = Duration::from_millis(10);

/// Why a clock vouches for nothing at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockUnsure {
    /// The operating system says its clock is not synchronised.
    #[error(
        "the kernel clock is not synchronised; run an NTP or PTP daemon, or start with --clock fixed:<epsilon> if you know a bound"
    )]
    Unsynchronised,
    /// The source could not be read.
    #[error("the clock source cannot be read: {reason}")]
    Unreadable {
        /// The operating system's words.
        reason: String,
    },
    /// A reading disagreed with the monotonic clock by more than the drift bound, or did not meet the
    /// interval before it. The source vouches again after its next synchronisation.
    #[error(
        "the clock stepped by {step:?}, more than its drift bound allows; it vouches for nothing until it is synchronised again"
    )]
    Stepped {
        /// How far the reading was from where the last one had put it.
        step: Duration,
    },
    /// The machine slept: the monotonic clock missed that time, so what was known of true time before
    /// is worth nothing (T22). The source vouches again after its next synchronisation.
    #[error(
        "the machine was suspended for {slept:?}; the clock vouches for nothing until it is synchronised again"
    )]
    Suspended {
        /// How long the monotonic clock stood still.
        slept: Duration,
    },
    /// The clock stepped by more than a fixed bound allows in total, so the bound was false before the
    /// step or is false after it. Only an operator can say which.
    #[error(
        "the clock stepped by {step:?}, which disproves the bound that this node was started with; set the clock right and restart the node"
    )]
    Disproved {
        /// How far apart the steps since the process started have put the clock.
        step: Duration,
    },
    /// This node's interval meets no majority of the other nodes' intervals (T19).
    #[error(
        "this node's clock is outside its claimed bound: its interval meets too few of the other nodes' intervals"
    )]
    OutsideClaim,
}

/// One reading, taken after the messages it is used for had arrived (T1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Mono,
    /// The interval that contains true time, or why there is none.
    pub interval: Result<TimeInterval, ClockUnsure>,
}

impl Now {
    /// Whether `timestamp` has surely passed. False when the clock is unsure.
    #[must_use]
    pub fn after(&self, timestamp: Timestamp) -> bool {
        self.interval.as_ref().is_ok_and(|interval| timestamp < interval.earliest)
    }

    /// Whether `timestamp` surely has not come yet. False when the clock is unsure.
    #[must_use]
    pub fn before(&self, timestamp: Timestamp) -> bool {
        self.interval.as_ref().is_ok_and(|interval| interval.latest < timestamp)
    }

    /// The interval, when the clock is sure.
    #[must_use]
    pub fn sure(&self) -> Option<TimeInterval> {
        self.interval.as_ref().ok().copied()
    }

    /// When the monotonic clock will read the instant at which `after(timestamp)` may first hold, if
    /// neither clock drifts. A hint for a deadline; the caller asks [`Now::after`] again then.
    #[must_use]
    pub fn mono_when_after(&self, timestamp: Timestamp) -> Mono {
        self.mono_in(|interval| timestamp.next().since(interval.earliest))
    }

    /// When the monotonic clock will read the first instant at which `before(timestamp)` does not hold, if
    /// neither clock drifts: the deadline of what is over at `timestamp`. A hint like
    /// [`Now::mono_when_after`], and earlier by twice the epsilon.
    #[must_use]
    pub fn mono_when_not_before(&self, timestamp: Timestamp) -> Mono {
        self.mono_in(|interval| timestamp.since(interval.latest))
    }

    fn mono_in(&self, wait: impl Fn(&TimeInterval) -> Duration) -> Mono {
        self.mono.plus(self.interval.as_ref().map_or(UNSURE_WAIT, wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Now {
        let around = Timestamp::from_nanos(1_000 + nanos);
        let interval = TimeInterval::around(around, Duration::from_nanos(100));
        Now { mono: Mono::from_nanos(nanos), interval: Ok(interval) }
    }

    #[test]
    fn deadlines_are_the_first_instants_at_which_the_answers_change() {
        let timestamp = Timestamp::from_nanos(1_500);
        let after = at(0).mono_when_after(timestamp).nanos();
        assert!(!at(after - 1).after(timestamp) && at(after).after(timestamp));
        let not_before = at(0).mono_when_not_before(timestamp).nanos();
        assert!(at(not_before - 1).before(timestamp) && !at(not_before).before(timestamp));
        assert_eq!((not_before, after), (400, 601));
    }

    #[test]
    fn deadlines_that_have_passed_are_now_and_without_an_interval_it_is_asked_again_soon() {
        let now = at(700);
        let timestamp = Timestamp::from_nanos(1_500);
        assert_eq!(now.mono_when_after(timestamp), now.mono);
        assert_eq!(now.mono_when_not_before(timestamp), now.mono);
        let unsure = Now { interval: Err(ClockUnsure::Unsynchronised), ..now };
        let soon = unsure.mono.plus(UNSURE_WAIT);
        assert_eq!(unsure.mono_when_after(timestamp), soon);
        assert_eq!(unsure.mono_when_not_before(timestamp), soon);
    }
}
