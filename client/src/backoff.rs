//! Randomised waits between attempts.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Draws that differ between clients, so that those that failed together do not return together.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        // The standard library seeds its hashers from the operating system's random source.
        Jitter(AtomicU64::new(seed.unwrap_or_else(|| RandomState::new().hash_one(0_u8))))
    }

    /// A number below `bound` nanoseconds, by splitmix64.
    fn below(&self, bound: u64) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

/// Waits that double, each drawn between half of it and all of it.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Backoff { next: first.min(max), max }
    }

    /// The next wait. Never shorter than `at_least`, as far as the maximum allows.
    pub(crate) fn next(&mut self, jitter: &Jitter, at_least: Duration) -> Duration {
        let full = self.next.max(at_least).min(self.max);
        self.next = (full * 2).min(self.max);
        let half = full / 2;
        half + Duration::from_nanos(
            jitter.below(u64::try_from(half.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Jitter};
    use std::time::Duration;

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_stays_above_half() {
        let jitter = Jitter::new(Some(1));
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(6));
        for full in [1, 2, 4, 6, 6].map(Duration::from_millis) {
            let wait = backoff.next(&jitter, Duration::ZERO);
            assert!(full / 2 <= wait && wait <= full, "{wait:?} for {full:?}");
        }
    }

    #[test]
    fn backoff_draws_differ() {
        let jitter = Jitter::new(Some(1));
        assert_ne!(jitter.below(u64::MAX), jitter.below(u64::MAX));
        assert_ne!(Jitter::new(Some(2)).below(u64::MAX), Jitter::new(Some(3)).below(u64::MAX));
    }
}
