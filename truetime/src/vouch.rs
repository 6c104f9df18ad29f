//! Whether a clock source is believed: pure logic, fed with raw readings.
//!
//! A *reading* pairs the wall clock with the monotonic clock and carries the source's *claim*: an
//! interval for true time, and the number of the synchronisation it rests on. On Linux the two
//! clocks run at one rate and part only when somebody sets the wall clock or the machine sleeps. So:
//!
//! - A reading that parts from the last one, or from the one at the last synchronisation, by more than
//!   [`DRIFT_MAX_PPM`] of the time between them is a *step*. A stepped clock is disowned, not clamped
//!   (T20): it vouches for nothing until it is synchronised again, which [`Resync`] defines.
//! - The same holds when `CLOCK_BOOTTIME` parts from the monotonic clock (the machine slept, T22), and
//!   when a claim does not meet the interval before it, moved by the time since and widened by drift.
//! - While it vouches, neither end of what is reported goes back. `latest` is held by widening;
//!   `earliest` is held because true time, once past it, stays past it.
//!
//! Example, epsilon 1 ms: readings at 10.000 and 10.020 s, 20 ms apart by the monotonic clock, give
//! `[9.999, 10.001]` and `[10.019, 10.021]`. The next, 20 ms later, reads 9.540: half a second
//! backwards, so the answer is [`ClockUnsure::Stepped`], and not `[10.019, 10.021]` once more.
//!
//! Not here: system calls, and lies that every reading agrees with ([`crate::Peers`] looks for those).

use crate::timestamp::nanos_of;
use crate::{ClockUnsure, Mono, TimeInterval, Timestamp};
use std::time::Duration;

/// How far an oscillator may stray, in parts per million (Spanner section 3 applies the same bound
/// between synchronisations).
pub const DRIFT_MAX_PPM: u64 = 200;
/// Two clocks cannot be read at once; below this, parting says nothing.
const READ_TOLERANCE: Duration = Duration::from_micros(5);
/// A reading that took longer than this is judged with that much more tolerance, so the next one is
/// not compared with it but with the last that was quick. Else a step could hide in it.
const LOOSE_MAX: Duration = Duration::from_micros(100);

/// The most that two clocks may part in `elapsed`, rounded up.
pub(crate) fn drift_of(elapsed: Duration) -> Duration {
    Duration::from_nanos(drift_nanos(nanos_of(elapsed)))
}

fn drift_nanos(elapsed: u64) -> u64 {
    const MILLION: u64 = 1_000_000;
    elapsed / MILLION * DRIFT_MAX_PPM + (elapsed % MILLION * DRIFT_MAX_PPM).div_ceil(MILLION)
}

/// What one look at the machine's clocks gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_MONOTONIC`, read first.
    pub mono: Mono,
    /// The other clocks were read at most this long after `mono`.
    pub loose: Duration,
    /// `CLOCK_REALTIME`.
    pub realtime: Timestamp,
    /// `CLOCK_BOOTTIME`, when it was read too.
    pub boot: Option<Mono>,
    /// What the source says of true time, or why it says nothing.
    pub claim: Result<Claim, ClockUnsure>,
}

/// What a source says of true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Contains true time, says the source.
    pub interval: TimeInterval,
    /// Changes when the source was synchronised anew.
    pub synchronisation: u64,
}

/// What "synchronised again" means for a source that was disowned. In either case it is believed only
/// once its `earliest` has reached all that was reported, which may have been false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// The source numbers its synchronisations: a number that is new since it was disowned.
    Numbered,
    /// The source is an operator's word that the wall clock is within a bound, and nothing ever confirms
    /// it. As long as the sums of steps at which it vouched, and now, are no further apart than the bound
    /// is wide, that word can have been true each time: it is believed again after this long without a
    /// further step. Else it is disproved, until steps undo that or the process is started anew.
    AtRest(Duration),
}

/// The state of belief in one source.
#[derive(Debug)]
pub struct Vouch {
    resync: Resync,
    last: Option<Pair>,
    /// The last reading of the boot clock: `realtime` is not looked at.
    awake: Option<(Pair, Mono)>,
    belief: Belief,
    /// All steps since the start, added up, in nanoseconds.
    stepped: i128,
    /// Between which sums it vouched.
    steps: Steps,
    /// What was last reported: neither end goes back behind it.
    floor: Option<TimeInterval>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    mono: Mono,
    loose: Duration,
    realtime: Timestamp,
}

#[derive(Debug)]
enum Belief {
    /// Nothing was vouched for yet, so there is nothing to disown.
    Fresh,
    Vouching {
        /// The reading at the last synchronisation.
        anchor: Pair,
        known: Known,
        synchronisation: u64,
    },
    Disowned {
        why: ClockUnsure,
        /// The reading that showed the last step.
        since: Pair,
        /// The number that is not good enough.
        synchronisation: u64,
    },
}

/// What was known of true time when the source last vouched.
#[derive(Clone, Copy, Debug)]
struct Known {
    mono: Mono,
    loose: Duration,
    interval: TimeInterval,
}

/// A range of sums of steps, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    least: i128,
    most: i128,
}

/// A disagreement between two readings.
struct Parting {
    why: ClockUnsure,
    /// How far the wall clock moved beyond the time that passed, in nanoseconds.
    stepped: i128,
}

impl Pair {
    fn of(reading: &Reading) -> Self {
        Pair { mono: reading.mono, loose: reading.loose, realtime: reading.realtime }
    }

    /// How far `reading` is from where this one puts it, `slept` included, in nanoseconds, when that is
    /// more than drift and the time it took to read can explain.
    fn step_to(&self, reading: &Reading, slept: Duration) -> Option<i128> {
        // In plain numbers: every pass of every host's loop comes through here.
        let elapsed = reading.mono.nanos().saturating_sub(self.mono.nanos()) + nanos_of(slept);
        let moved = i128::from(reading.realtime.nanos()) - i128::from(self.realtime.nanos());
        let step = moved - i128::from(elapsed);
        let loose = nanos_of(self.loose) + nanos_of(reading.loose);
        let tolerance = drift_nanos(elapsed) + loose + nanos_of(READ_TOLERANCE);
        (step.unsigned_abs() > u128::from(tolerance)).then_some(step)
    }
}

impl Known {
    /// What follows from it for the instant of `reading`.
    fn moved_to(&self, reading: &Reading) -> TimeInterval {
        let (from, to) = (self.mono.nanos(), reading.mono.nanos());
        let least = to.saturating_sub(from + nanos_of(self.loose));
        let most = (to + nanos_of(reading.loose)).saturating_sub(from);
        let TimeInterval { earliest, latest } = self.interval;
        let earliest = earliest.nanos().saturating_add(least.saturating_sub(drift_nanos(least)));
        let latest = latest.nanos().saturating_add(most + drift_nanos(most));
        TimeInterval {
            earliest: Timestamp::from_nanos(earliest),
            latest: Timestamp::from_nanos(latest),
        }
    }
}

impl Steps {
    fn with(self, sum: i128) -> Steps {
        Steps { least: self.least.min(sum), most: self.most.max(sum) }
    }

    fn size(self) -> Duration {
        size_of(self.most - self.least)
    }
}

impl Belief {
    /// The reading from which steps too small to see one by one add up.
    fn anchor(&self) -> Option<&Pair> {
        match self {
            Belief::Fresh => None,
            Belief::Vouching { anchor, .. } => Some(anchor),
            Belief::Disowned { since, .. } => Some(since),
        }
    }

    fn disowned(self, parting: Parting, reading: &Reading) -> Belief {
        let (Belief::Vouching { synchronisation, .. } | Belief::Disowned { synchronisation, .. }) =
            self
        else {
            return Belief::Fresh;
        };
        Belief::Disowned {
            why: parting.why,
            since: Pair::of(reading),
            // Whether a number that came with the step was given before it or after it is not known.
            synchronisation: reading
                .claim
                .as_ref()
                .map_or(synchronisation, |claim| claim.synchronisation),
        }
    }
}

impl Vouch {
    /// A source of which nothing is known yet.
    #[must_use]
    pub fn new(resync: Resync) -> Self {
        Vouch {
            resync,
            last: None,
            awake: None,
            belief: Belief::Fresh,
            stepped: 0,
            steps: Steps::default(),
            floor: None,
        }
    }

    /// Takes in a reading, unless it parts from the last one: that may be a step, or a thread that was
    /// interrupted between two clocks. Then `None`: read again with care, and let [`Vouch::observe`] judge.
    pub fn observe_unless_parted(
        &mut self,
        reading: &Reading,
    ) -> Option<Result<TimeInterval, ClockUnsure>> {
        match self.parting(reading) {
            None => Some(self.judge(reading, None)),
            Some(_) => None,
        }
    }

    /// Takes in a reading and says what the source vouches for.
    ///
    /// # Errors
    ///
    /// Why it vouches for nothing at the moment.
    pub fn observe(&mut self, reading: &Reading) -> Result<TimeInterval, ClockUnsure> {
        let parting = self.parting(reading);
        self.judge(reading, parting)
    }

    fn judge(
        &mut self,
        reading: &Reading,
        parting: Option<Parting>,
    ) -> Result<TimeInterval, ClockUnsure> {
        self.remember(reading, parting.is_some());
        if let Some(parting) = parting {
            self.disown(parting, reading);
        }
        let claim = reading.claim.clone()?;
        match &self.belief {
            Belief::Fresh => {}
            Belief::Vouching { known, .. } => {
                let moved = known.moved_to(reading);
                if !claim.interval.meets(moved) {
                    let parting = Parting::of_intervals(moved, claim.interval);
                    let why = parting.why.clone();
                    self.disown(parting, reading);
                    return Err(why);
                }
            }
            Belief::Disowned { .. } => self.check_synchronised_again(reading, claim)?,
        }
        Ok(self.vouch(reading, claim))
    }

    fn parting(&self, reading: &Reading) -> Option<Parting> {
        let slept = self.slept(reading);
        let last = self.last.as_ref()?;
        if let Some(slept) = slept {
            let stepped = last.step_to(reading, slept).unwrap_or(0);
            return Some(Parting { why: ClockUnsure::Suspended { slept }, stepped });
        }
        let anchor = self.belief.anchor();
        let stepped = last
            .step_to(reading, Duration::ZERO)
            .or_else(|| anchor.and_then(|anchor| anchor.step_to(reading, Duration::ZERO)));
        stepped.map(|stepped| Parting {
            why: ClockUnsure::Stepped { step: size_of(stepped) },
            stepped,
        })
    }

    /// How long the machine slept since the last look at the boot clock, if it did.
    fn slept(&self, reading: &Reading) -> Option<Duration> {
        let (pair, boot) = self.awake.as_ref()?;
        let by_boot = reading.boot?.since(*boot);
        let missed = by_boot.saturating_sub(reading.mono.since(pair.mono));
        (missed > pair.loose + reading.loose + READ_TOLERANCE).then_some(missed)
    }

    fn remember(&mut self, reading: &Reading, is_parted: bool) {
        let new = Pair::of(reading);
        let replaces = |old: &Pair| is_parted || new.loose <= LOOSE_MAX || new.loose <= old.loose;
        if self.last.as_ref().is_none_or(replaces) {
            self.last = Some(new);
        }
        if let Some(boot) = reading.boot
            && self.awake.as_ref().is_none_or(|(old, _)| replaces(old))
        {
            self.awake = Some((new, boot));
        }
    }

    fn disown(&mut self, parting: Parting, reading: &Reading) {
        self.stepped += parting.stepped;
        let belief = std::mem::replace(&mut self.belief, Belief::Fresh);
        self.belief = belief.disowned(parting, reading);
    }

    /// Whether a disowned source is to be believed again.
    fn check_synchronised_again(&self, reading: &Reading, claim: Claim) -> Result<(), ClockUnsure> {
        let Belief::Disowned { why, since, synchronisation } = &self.belief else {
            return Ok(());
        };
        let is_synchronised = match self.resync {
            Resync::Numbered => claim.synchronisation != *synchronisation,
            Resync::AtRest(rest) => {
                let steps = self.steps.with(self.stepped);
                // Not judged by the interval before the steps, which would have to widen with time until
                // it meets anything.
                if steps.size() > claim.interval.latest.since(claim.interval.earliest) {
                    return Err(ClockUnsure::Disproved { step: steps.size() });
                }
                reading.mono.since(since.mono) >= rest
            }
        };
        // What was reported may have been false. Holding `earliest` there would build on it.
        let is_caught_up = self.floor.is_none_or(|floor| floor.earliest <= claim.interval.earliest);
        if is_synchronised && is_caught_up { Ok(()) } else { Err(why.clone()) }
    }

    fn vouch(&mut self, reading: &Reading, claim: Claim) -> TimeInterval {
        let mut reported = claim.interval;
        if let Some(floor) = self.floor {
            reported.earliest = reported.earliest.max(floor.earliest);
            reported.latest = reported.latest.max(floor.latest);
        }
        assert!(
            reported.earliest <= claim.interval.latest,
            "reported earliest {} is past the claim {}",
            reported.earliest,
            claim.interval
        );
        self.floor = Some(reported);
        self.steps = self.steps.with(self.stepped);
        let known = Known { mono: reading.mono, loose: reading.loose, interval: reported };
        let synchronisation = claim.synchronisation;
        match &mut self.belief {
            Belief::Vouching { known: before, synchronisation: same, .. }
                if *same == synchronisation =>
            {
                *before = known;
            }
            Belief::Fresh | Belief::Vouching { .. } | Belief::Disowned { .. } => {
                self.belief =
                    Belief::Vouching { anchor: Pair::of(reading), known, synchronisation };
            }
        }
        reported
    }
}

impl Parting {
    /// Two intervals of one instant that share none.
    fn of_intervals(moved: TimeInterval, claimed: TimeInterval) -> Self {
        let ahead = claimed.earliest.since(moved.latest);
        let behind = moved.earliest.since(claimed.latest);
        let stepped = i128::from(nanos_of(ahead)) - i128::from(nanos_of(behind));
        let why = ClockUnsure::Stepped { step: ahead.max(behind) };
        Parting { why, stepped }
    }
}

fn size_of(step: i128) -> Duration {
    Duration::from_nanos(u64::try_from(step.unsigned_abs()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
