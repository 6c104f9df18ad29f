//! The machine's clock, vouched for by the kernel or by an operator.
//!
//! A pass of a host's loop pays for two `clock_gettime`, which the vDSO answers without entering the
//! kernel. Every [`QUERY_INTERVAL`], and whenever the quick look parts from the last one, the clocks are
//! read with care: between two looks at the monotonic clock, again when a thread was interrupted there,
//! together with the boot clock and the kernel's bound.
//!
//! Example: the thread is paused for 3 ms between the two quick calls. The wall clock then seems 3 ms
//! ahead; the careful reading shows that it is not, and nothing was disowned.
//!
//! Not here: the judgement ([`Vouch`]).

use crate::kernel::{KernelBound, KernelReport, QUERY_INTERVAL};
use crate::machine;
use crate::source::Skew;
use crate::{Claim, Clock, ClockSource, ClockUnsure, Mono, Now, Reading, Resync, TimeInterval};
use crate::{Timestamp, Vouch};
use std::time::Duration;

/// How long a fixed source must run without a step before it is believed again.
const FIXED_REST: Duration = Duration::from_secs(10);
/// A careful reading that took no longer than this is not repeated.
const CAREFUL_ENOUGH: Duration = Duration::from_micros(10);
/// How often a careful reading is tried; the tightest is used.
const CAREFUL_TRIES_MAX: usize = 4;

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    source: ClockSource,
    vouch: Vouch,
    kernel: KernelBound,
    /// When the first reading was taken, from which a test's drift counts.
    started: Mono,
    /// When the clocks were last read with care.
    checked: Option<Mono>,
}

impl SystemClock {
    /// A clock of that source. Whether it vouches for anything shows in its first reading.
    #[must_use]
    pub fn open(source: ClockSource) -> Self {
        let resync = match source {
            ClockSource::Kernel => Resync::Numbered,
            ClockSource::Fixed { .. } => Resync::AtRest(FIXED_REST),
        };
        SystemClock {
            source,
            vouch: Vouch::new(resync),
            kernel: KernelBound::default(),
            started: machine::mono(),
            checked: None,
        }
    }

    /// What the kernel says about the machine's clock right now.
    pub fn ask_kernel() -> Result<KernelReport, String> {
        machine::kernel_report().map(|(_, report)| report)
    }

    /// The source it reads.
    #[must_use]
    pub fn source(&self) -> ClockSource {
        self.source
    }

    fn quick(&self, checked: Mono) -> Option<Reading> {
        let mono = machine::mono();
        let is_due = mono.since(checked) >= QUERY_INTERVAL;
        if is_due {
            return None;
        }
        let realtime = self.skewed(mono, machine::realtime());
        let claim = self.claim(mono, realtime);
        Some(Reading { mono, loose: Duration::ZERO, realtime, boot: None, claim })
    }

    fn careful(&mut self) -> Reading {
        let mut best: Option<Reading> = None;
        for _ in 0..CAREFUL_TRIES_MAX {
            let reading = self.bracketed();
            if best.as_ref().is_none_or(|best| reading.loose < best.loose) {
                best = Some(reading);
            }
            if best.as_ref().is_some_and(|best| best.loose <= CAREFUL_ENOUGH) {
                break;
            }
        }
        let reading = best.expect("CAREFUL_TRIES_MAX is at least one");
        self.checked = Some(reading.mono);
        reading
    }

    fn bracketed(&mut self) -> Reading {
        let mono = machine::mono();
        let realtime = match self.source {
            ClockSource::Fixed { .. } => machine::realtime(),
            // One call for both, so that the bound belongs to the reading.
            ClockSource::Kernel => match machine::kernel_report() {
                Ok((realtime, report)) => {
                    self.kernel.report(mono, Ok(report));
                    realtime
                }
                Err(reason) => {
                    self.kernel.report(mono, Err(reason));
                    machine::realtime()
                }
            },
        };
        let boot = machine::boot();
        let loose = machine::mono().since(mono);
        let realtime = self.skewed(mono, realtime);
        let claim = self.claim(mono, realtime);
        Reading { mono, loose, realtime, boot: Some(boot), claim }
    }

    fn claim(&self, mono: Mono, realtime: Timestamp) -> Result<Claim, ClockUnsure> {
        let (epsilon, synchronisation) = match self.source {
            ClockSource::Fixed { epsilon, .. } => (epsilon, 0),
            ClockSource::Kernel => self.kernel.epsilon(mono)?,
        };
        Ok(Claim { interval: TimeInterval::around(realtime, epsilon), synchronisation })
    }

    fn skewed(&self, mono: Mono, realtime: Timestamp) -> Timestamp {
        match self.source {
            ClockSource::Kernel => realtime,
            ClockSource::Fixed { skew, .. } if skew == Skew::default() => realtime,
            ClockSource::Fixed { skew, .. } => skew.applied(realtime, mono.since(self.started)),
        }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Now {
        if let Some(reading) = self.checked.and_then(|checked| self.quick(checked))
            && let Some(interval) = self.vouch.observe_unless_parted(&reading)
        {
            return Now { mono: reading.mono, interval };
        }
        let reading = self.careful();
        Now { mono: reading.mono, interval: self.vouch.observe(&reading) }
    }
}

impl Skew {
    /// What a clock with this skew reads, `elapsed` after its start.
    fn applied(self, realtime: Timestamp, elapsed: Duration) -> Timestamp {
        let elapsed = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX);
        let drifted = elapsed.saturating_mul(i128::from(self.drift_ppm)) / 1_000_000;
        let nanos = i128::from(realtime.nanos()) + i128::from(self.offset_nanos) + drifted;
        Timestamp::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(source: &str) -> SystemClock {
        SystemClock::open(source.parse().unwrap())
    }

    #[test]
    fn kernel_clock_on_this_machine_answers_or_refuses_in_words() {
        let mut clock = open("kernel");
        for _ in 0..3 {
            match clock.now().interval {
                Ok(interval) => assert!(interval.epsilon() > Duration::ZERO),
                Err(why) => assert!(!why.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn fixed_clock_readings_never_go_back() {
        let mut clock = open("fixed:250us");
        let mut before = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now.mono >= before.mono);
            // Another process may set this machine's clock while the test runs.
            if let (Some(now), Some(before)) = (now.sure(), before.sure()) {
                assert!(now.earliest >= before.earliest && now.latest >= before.latest);
                assert!(now.epsilon() >= Duration::from_micros(250));
            }
            before = now;
        }
    }

    #[test]
    fn skew_is_applied_to_the_reading() {
        let skew = Skew { offset_nanos: -3_000_000, drift_ppm: 200 };
        let realtime = Timestamp::from_nanos(1_000_000_000);
        let reading = skew.applied(realtime, Duration::from_secs(10));
        assert_eq!(reading, Timestamp::from_nanos(1_000_000_000 - 3_000_000 + 2_000_000));
        let behind = Skew { offset_nanos: -2_000_000_000, drift_ppm: 0 };
        assert_eq!(behind.applied(realtime, Duration::ZERO), Timestamp::ZERO);
    }

    #[test]
    fn offset_of_a_fixed_clock_moves_its_interval() {
        let mut ahead = open("fixed:1ms,offset=10s");
        let mut plain = open("fixed:1ms");
        let (Some(ahead), Some(plain)) = (ahead.now().sure(), plain.now().sure()) else {
            panic!("the first reading of a fixed source vouches");
        };
        assert!(!ahead.meets(plain));
        assert!(ahead.earliest > plain.latest);
    }
}
