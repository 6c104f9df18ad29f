//! A clock for simulations: true time comes from the simulator, every fault is data.
//!
//! The clock has one oscillator for wall and monotonic clock, as Linux has, and claims `wall +- epsilon`
//! like a machine with a daemon. Readings go through the same [`Vouch`] as the real sources, so a
//! simulation exercises the logic that production runs.
//!
//! Example: true time 100 s, offset -2 ms, epsilon 5 ms: the wall clock reads 99.998 s and the clock
//! vouches for `[99.993, 100.003]`. After `Step(50 ms)` it is disowned until a `Synchronise`.
//!
//! [`Honesty::Kept`] asserts that true time is inside whatever is vouched for; a clock whose claim is to
//! be false is declared [`Honesty::Outside`]. A step of less than drift allows since the last reading
//! passes as drift: it must stay inside the claim, or the clock is `Outside`.
//!
//! Not here: randomness, and when what happens.

use crate::{Claim, Clock, ClockUnsure, Mono, Now, Reading, Resync, TimeInterval};
use crate::{Timestamp, Vouch};
use std::time::Duration;

/// Whether the claims of a simulated clock are true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honesty {
    /// What it vouches for contains true time: asserted at every reading.
    Kept,
    /// It may vouch for intervals that true time is not in, for the runs in which others must notice.
    Outside,
}

/// How a simulated clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedStart {
    /// The wall clock minus true time, in nanoseconds.
    pub offset_nanos: i64,
    /// The claimed bound of that.
    pub epsilon: Duration,
    /// How much too fast the oscillator runs.
    pub drift_ppm: i32,
    /// How fast epsilon grows between synchronisations.
    pub growth_ppm: u32,
    /// Whether the claims are true.
    pub honesty: Honesty,
}

/// What happens to a simulated clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFault {
    /// Somebody sets the wall clock, by that many nanoseconds.
    Step(i64),
    /// The oscillator changes its speed, as after a live migration.
    Drift(i32),
    /// Epsilon grows at that rate from now on: 200 and a daemon that is dead (T21).
    Growth(u32),
    /// The daemon states a bound anew. Moves no clock.
    Synchronise(Duration),
    /// The kernel says that its clock is not synchronised, until the next `Synchronise`.
    Unsynchronise,
    /// The source cannot be read, until the next `Synchronise`.
    Die,
    /// The machine sleeps from now on, that long: the monotonic clock misses it, the wall clock does not.
    Suspend(Duration),
}

/// A clock that a simulator drives.
#[derive(Debug)]
pub struct SimulatedClock {
    honesty: Honesty,
    vouch: Vouch,
    /// Where true time stands.
    true_time: Timestamp,
    mono: Mono,
    boot: Mono,
    wall: Timestamp,
    epsilon: Duration,
    drift_ppm: i32,
    growth_ppm: u32,
    /// Until when, in true time, the monotonic clock stands still.
    asleep_until: Timestamp,
    source: Result<u64, ClockUnsure>,
    synchronisations: u64,
}

impl SimulatedClock {
    /// A clock that starts at `true_time`, with the monotonic clock at zero.
    #[must_use]
    pub fn new(true_time: Timestamp, start: SimulatedStart) -> Self {
        SimulatedClock {
            honesty: start.honesty,
            vouch: Vouch::new(Resync::Numbered),
            true_time,
            mono: Mono::ZERO,
            boot: Mono::ZERO,
            wall: moved(true_time, start.offset_nanos),
            epsilon: start.epsilon,
            drift_ppm: start.drift_ppm,
            growth_ppm: start.growth_ppm,
            asleep_until: Timestamp::ZERO,
            source: Ok(0),
            synchronisations: 0,
        }
    }

    /// Lets true time pass until `true_time`. It never goes back.
    pub fn advance_to(&mut self, true_time: Timestamp) {
        assert!(
            self.true_time <= true_time,
            "true time goes back from {} to {true_time}",
            self.true_time
        );
        let elapsed = at_rate(true_time.since(self.true_time), self.drift_ppm);
        let awake_from = self.true_time.max(self.asleep_until);
        let awake = at_rate(true_time.since(awake_from), self.drift_ppm);
        self.wall = self.wall.plus(elapsed);
        self.boot = self.boot.plus(elapsed);
        self.mono = self.mono.plus(awake);
        self.epsilon += ppm_of(true_time.since(self.true_time), self.growth_ppm);
        self.true_time = true_time;
    }

    /// Something happens to the clock, now.
    pub fn apply(&mut self, fault: ClockFault) {
        match fault {
            ClockFault::Step(nanos) => self.wall = moved(self.wall, nanos),
            ClockFault::Drift(ppm) => self.drift_ppm = ppm,
            ClockFault::Growth(ppm) => self.growth_ppm = ppm,
            ClockFault::Synchronise(epsilon) => {
                self.epsilon = epsilon;
                self.synchronisations += 1;
                self.source = Ok(self.synchronisations);
            }
            ClockFault::Unsynchronise => self.source = Err(ClockUnsure::Unsynchronised),
            ClockFault::Die => {
                let reason = "the simulated source is dead".to_owned();
                self.source = Err(ClockUnsure::Unreadable { reason });
            }
            ClockFault::Suspend(long) => self.asleep_until = self.true_time.plus(long),
        }
    }

    /// The wall clock minus true time, in nanoseconds.
    #[must_use]
    pub fn offset_nanos(&self) -> i64 {
        let offset = i128::from(self.wall.nanos()) - i128::from(self.true_time.nanos());
        i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX })
    }

    /// The bound that the clock claims, whether or not it is believed.
    #[must_use]
    pub fn epsilon(&self) -> Duration {
        self.epsilon
    }

    /// Lets true time pass, then reads the clock.
    pub fn read_at(&mut self, true_time: Timestamp) -> Now {
        self.advance_to(true_time);
        self.now()
    }
}

impl Clock for SimulatedClock {
    fn now(&mut self) -> Now {
        let interval = TimeInterval::around(self.wall, self.epsilon);
        let claim = self.source.clone().map(|synchronisation| Claim { interval, synchronisation });
        let interval = self.vouch.observe(&Reading {
            mono: self.mono,
            loose: Duration::ZERO,
            realtime: self.wall,
            boot: Some(self.boot),
            claim,
        });
        if let (Ok(interval), Honesty::Kept) = (&interval, self.honesty) {
            let true_time = self.true_time;
            assert!(
                interval.earliest <= true_time && true_time <= interval.latest,
                "true time {true_time} is not in {interval}, which an honest clock vouches for"
            );
        }
        Now { mono: self.mono, interval }
    }
}

fn moved(from: Timestamp, nanos: i64) -> Timestamp {
    let by = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { from.minus(by) } else { from.plus(by) }
}

fn ppm_of(elapsed: Duration, ppm: u32) -> Duration {
    let nanos = elapsed.as_nanos() * u128::from(ppm) / 1_000_000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What an oscillator counts that is `ppm` too fast.
fn at_rate(elapsed: Duration, ppm: i32) -> Duration {
    let error = ppm_of(elapsed, ppm.unsigned_abs());
    if ppm < 0 { elapsed.saturating_sub(error) } else { elapsed + error }
}

#[cfg(test)]
mod tests;
