//! What the kernel's own statement about its clock is worth: the bound behind `--clock kernel`.
//!
//! An NTP or PTP daemon tells the kernel the largest error its clock can have (`maxerror`). Until the
//! next statement the kernel widens it by 500 us each second, in one go at the second's end. The call
//! that reads it costs more than a whole pass of a host's loop, so it is made every
//! [`QUERY_INTERVAL`] and the bound widens by the drift bound in between.
//!
//! Example: the daemon says 300 us. The bound is 300 us, plus 200 us for the second that the kernel
//! may not have counted yet, plus 2 us after 10 ms.
//!
//! A *synchronisation* is numbered: the kernel says "synchronised" after it said "unsynchronised", or
//! `maxerror` is lower than before, which only a daemon's new statement brings about. Not here: a
//! judgement whether the daemon tells the truth; that takes other nodes ([`crate::Peers`]).

use crate::vouch::drift_of;
use crate::{ClockUnsure, Mono};
use std::time::Duration;

/// How old the kernel's statement may be before it is asked again.
pub(crate) const QUERY_INTERVAL: Duration = Duration::from_millis(10);
/// The kernel counts the growth of its error once a second, up to a tick late.
const UNCOUNTED_MAX: Duration = Duration::from_millis(1_010);

/// What the kernel says about its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelReport {
    /// Whether the kernel believes that a daemon keeps the clock right.
    pub synchronised: bool,
    /// The largest error at the last second's end, as far as daemon and kernel know.
    pub maxerror: Duration,
    /// A correction that the kernel has been given and has not finished.
    pub pending: Duration,
    /// By how much the reading that came with it may be cut off.
    pub resolution: Duration,
}

/// The kernel's last statement, and how often the clock was synchronised.
#[derive(Debug, Default)]
pub(crate) struct KernelBound {
    last: Option<(Mono, Result<Duration, ClockUnsure>)>,
    /// `maxerror` of the last statement that was "synchronised"; `None` after "unsynchronised".
    maxerror: Option<Duration>,
    synchronisation: u64,
}

impl KernelBound {
    /// Takes in an answer of the kernel.
    pub(crate) fn report(&mut self, at: Mono, report: Result<KernelReport, String>) {
        let bound = match report {
            Err(reason) => Err(ClockUnsure::Unreadable { reason }),
            Ok(KernelReport { synchronised: false, .. }) => {
                self.maxerror = None;
                Err(ClockUnsure::Unsynchronised)
            }
            Ok(report) => {
                if self.maxerror.is_none_or(|before| report.maxerror < before) {
                    self.synchronisation += 1;
                }
                self.maxerror = Some(report.maxerror);
                let claimed = report.maxerror + report.pending + report.resolution;
                Ok(claimed + drift_of(UNCOUNTED_MAX))
            }
        };
        self.last = Some((at, bound));
    }

    /// Epsilon at `at`, and the number of the synchronisation that it rests on.
    pub(crate) fn epsilon(&self, at: Mono) -> Result<(Duration, u64), ClockUnsure> {
        match &self.last {
            None => Err(ClockUnsure::Unsynchronised),
            Some((_, Err(why))) => Err(why.clone()),
            Some((reported, Ok(bound))) => {
                Ok((*bound + drift_of(at.since(*reported)), self.synchronisation))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn report(synchronised: bool, maxerror_us: u64) -> Result<KernelReport, String> {
        Ok(KernelReport {
            synchronised,
            maxerror: Duration::from_micros(maxerror_us),
            pending: Duration::ZERO,
            resolution: Duration::from_nanos(1),
        })
    }

    fn at(ms: u64) -> Mono {
        Mono::from_nanos(ms * MS)
    }

    #[test]
    fn epsilon_unsynchronised_kernel_refuses_in_a_clear_sentence() {
        let mut bound = KernelBound::default();
        bound.report(at(0), report(false, 16_000_000));
        let why = bound.epsilon(at(0)).unwrap_err();
        assert_eq!(
            why.to_string(),
            "the kernel clock is not synchronised; run an NTP or PTP daemon, \
             or start with --clock fixed:<epsilon> if you know a bound"
        );
    }

    #[test]
    fn epsilon_unreadable_kernel_tells_the_reason() {
        let mut bound = KernelBound::default();
        bound.report(at(0), Err("ntp_adjtime: not permitted".into()));
        let why = bound.epsilon(at(0)).unwrap_err().to_string();
        assert_eq!(why, "the clock source cannot be read: ntp_adjtime: not permitted");
    }

    #[test]
    fn epsilon_between_reports_widens_by_the_drift_bound() {
        let mut bound = KernelBound::default();
        bound.report(at(0), report(true, 300));
        // 300 us + 1 ns + 200 ppm of 1.01 s.
        let (fresh, _) = bound.epsilon(at(0)).unwrap();
        assert_eq!(fresh, Duration::from_nanos(300_001 + 202_000));
        let (later, _) = bound.epsilon(at(10)).unwrap();
        assert_eq!(later - fresh, Duration::from_micros(2));
    }

    #[test]
    fn epsilon_pending_correction_is_added() {
        let mut bound = KernelBound::default();
        bound.report(at(0), report(true, 300));
        let (without, _) = bound.epsilon(at(0)).unwrap();
        let pending = Duration::from_millis(3);
        bound.report(at(0), report(true, 300).map(|report| KernelReport { pending, ..report }));
        assert_eq!(bound.epsilon(at(0)).unwrap().0 - without, pending);
    }

    #[test]
    fn synchronisation_is_counted_when_maxerror_falls_or_the_status_returns() {
        let mut bound = KernelBound::default();
        let mut number = |millis, answer| {
            bound.report(at(millis), answer);
            bound.epsilon(at(millis)).map(|(_, number)| number)
        };
        assert_eq!(number(0, report(true, 300)), Ok(1));
        assert_eq!(number(10, report(true, 300)), Ok(1), "the same statement");
        assert_eq!(number(20, report(true, 800)), Ok(1), "the kernel's own widening");
        assert!(number(25, Err("busy".into())).is_err());
        assert_eq!(number(26, report(true, 800)), Ok(1), "a failed call is no synchronisation");
        assert_eq!(number(30, report(true, 799)), Ok(2), "a new statement");
        assert!(number(40, report(false, 16_000_000)).is_err());
        assert_eq!(number(50, report(true, 5_000)), Ok(3), "the status returned");
    }
}
