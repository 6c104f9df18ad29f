use super::*;

const MS: u64 = 1_000_000;
const START: u64 = 1_000_000 * MS;
const REST: Duration = Duration::from_secs(10);

/// A machine whose clocks are set by hand. True time equals `START + elapsed`.
struct Machine {
    vouch: Vouch,
    elapsed: u64,
    /// Wall clock minus true time.
    offset: i64,
    /// What the monotonic clock missed.
    slept: u64,
    epsilon: u64,
    synchronisation: u64,
    loose: u64,
    is_synchronised: bool,
    reads_boot: bool,
}

impl Machine {
    fn new(resync: Resync) -> Self {
        Machine {
            vouch: Vouch::new(resync),
            elapsed: 0,
            offset: 0,
            slept: 0,
            epsilon: MS,
            synchronisation: 1,
            loose: 0,
            is_synchronised: true,
            reads_boot: true,
        }
    }

    fn reading(&self) -> Reading {
        let realtime = START.wrapping_add(self.elapsed).wrapping_add_signed(self.offset);
        let realtime = Timestamp::from_nanos(realtime);
        let interval = TimeInterval::around(realtime, Duration::from_nanos(self.epsilon));
        let claim = Claim { interval, synchronisation: self.synchronisation };
        Reading {
            mono: Mono::from_nanos(self.elapsed - self.slept),
            loose: Duration::from_nanos(self.loose),
            realtime,
            boot: self.reads_boot.then_some(Mono::from_nanos(self.elapsed)),
            claim: if self.is_synchronised { Ok(claim) } else { Err(ClockUnsure::Unsynchronised) },
        }
    }

    /// Lets time pass and reads. `Ok` holds the ends relative to true time, in microseconds.
    fn read_after(&mut self, nanos: u64) -> Result<(i64, i64), ClockUnsure> {
        self.elapsed += nanos;
        let interval = self.vouch.observe(&self.reading())?;
        let truth = i64::try_from(START + self.elapsed).unwrap();
        let micros = |end: Timestamp| (i64::try_from(end.nanos()).unwrap() - truth) / 1_000;
        Ok((micros(interval.earliest), micros(interval.latest)))
    }
}

fn stepped(ms: u64) -> Result<(i64, i64), ClockUnsure> {
    Err(ClockUnsure::Stepped { step: Duration::from_millis(ms) })
}

fn suspended(ms: u64) -> Result<(i64, i64), ClockUnsure> {
    Err(ClockUnsure::Suspended { slept: Duration::from_millis(ms) })
}

#[test]
fn observe_steady_clock_vouches_for_its_claim() {
    let mut machine = Machine::new(Resync::Numbered);
    for _ in 0..100 {
        assert_eq!(machine.read_after(20 * MS), Ok((-1_000, 1_000)));
    }
}

#[test]
fn observe_step_back_is_disowned_and_not_clamped() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.offset = -500 * MS as i64;
    assert_eq!(machine.read_after(20 * MS), stepped(500));
    assert_eq!(machine.read_after(60_000 * MS), stepped(500), "time alone heals nothing");
}

#[test]
fn observe_step_forward_is_disowned() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.offset = 10_000 * MS as i64;
    assert_eq!(machine.read_after(20 * MS), stepped(10_000));
}

#[test]
fn observe_step_inside_the_bound_is_disowned() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    // Half of epsilon: the claims still meet, and yet somebody moved the clock.
    machine.offset = MS as i64 / 2;
    let step = Duration::from_micros(500);
    assert_eq!(machine.read_after(20 * MS), Err(ClockUnsure::Stepped { step }));
}

#[test]
fn observe_drift_at_the_bound_is_believed_and_above_it_disowned() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.epsilon = 10 * MS;
    machine.read_after(0).unwrap();
    for _ in 0..1_000 {
        machine.offset += 4_000;
        assert!(machine.read_after(20 * MS).is_ok(), "200 ppm after {}", machine.elapsed);
    }
    machine.offset += 10_000;
    let step = Duration::from_nanos(10_000);
    assert_eq!(machine.read_after(20 * MS), Err(ClockUnsure::Stepped { step }));
}

#[test]
fn observe_steps_too_small_to_see_add_up_and_are_disowned() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    // 8 us in 20 ms pass as jitter of one reading (4 us of drift, 5 us of tolerance).
    let seen = (1..=100).find(|_| {
        machine.offset += 8_000;
        machine.read_after(20 * MS).is_err()
    });
    assert_eq!(seen, Some(2));
}

#[test]
fn observe_new_synchronisation_starts_the_sum_of_small_steps_anew() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    for _ in 0..100 {
        machine.offset += 8_000;
        machine.synchronisation += 1;
        assert!(machine.read_after(20 * MS).is_ok());
    }
}

#[test]
fn observe_claim_that_misses_the_moved_interval_is_disowned() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.elapsed += 20 * MS;
    let mut reading = machine.reading();
    // The wall clock did not move, but the source now says that it is 10 ms slow.
    let centre = reading.realtime.plus(Duration::from_millis(10));
    let interval = TimeInterval::around(centre, Duration::from_millis(1));
    reading.claim = Ok(Claim { interval, synchronisation: 1 });
    // The gap: 10 ms less epsilon of both, less 200 ppm of 20 ms.
    let step = Duration::from_nanos(8 * MS - 4_000);
    assert_eq!(machine.vouch.observe(&reading), Err(ClockUnsure::Stepped { step }));
    assert!(machine.read_after(20 * MS).is_err(), "until synchronised again");
    machine.synchronisation += 1;
    assert!(machine.read_after(20 * MS).is_ok());
}

#[test]
fn observe_growing_epsilon_is_reported_as_it_grows_and_earliest_holds() {
    let mut machine = Machine::new(Resync::Numbered);
    assert_eq!(machine.read_after(0), Ok((-1_000, 1_000)));
    machine.epsilon = 4 * MS;
    // The claim reaches 3 ms further back than before, 1 ms later. True time was not below -1000 us
    // then, so it is not below -2000 us now.
    assert_eq!(machine.read_after(MS), Ok((-2_000, 4_000)));
    assert_eq!(machine.read_after(MS), Ok((-3_000, 4_000)));
    assert_eq!(machine.read_after(20 * MS), Ok((-4_000, 4_000)));
}

#[test]
fn observe_shrinking_epsilon_latest_holds_until_reached() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.epsilon = 10 * MS;
    assert_eq!(machine.read_after(0), Ok((-10_000, 10_000)));
    machine.epsilon = MS;
    machine.synchronisation += 1;
    assert_eq!(machine.read_after(MS), Ok((-1_000, 9_000)));
    assert_eq!(machine.read_after(5 * MS), Ok((-1_000, 4_000)));
    assert_eq!(machine.read_after(5 * MS), Ok((-1_000, 1_000)));
}

#[test]
fn observe_unsynchronised_source_refuses_until_it_is_back() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.is_synchronised = false;
    assert_eq!(machine.read_after(0), Err(ClockUnsure::Unsynchronised));
    machine.is_synchronised = true;
    assert!(machine.read_after(20 * MS).is_ok());
    machine.is_synchronised = false;
    assert_eq!(machine.read_after(20 * MS), Err(ClockUnsure::Unsynchronised));
    machine.is_synchronised = true;
    assert!(machine.read_after(20 * MS).is_ok(), "nothing disagreed in between");
}

#[test]
fn observe_step_while_unsynchronised_is_remembered_until_a_new_synchronisation() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.is_synchronised = false;
    machine.offset = -30 * MS as i64;
    assert_eq!(machine.read_after(20 * MS), Err(ClockUnsure::Unsynchronised));
    machine.is_synchronised = true;
    assert_eq!(machine.read_after(20 * MS), stepped(30), "the old number");
    machine.offset = 0;
    assert_eq!(machine.read_after(20 * MS), stepped(30), "set right, but by whom");
    machine.synchronisation += 1;
    assert!(machine.read_after(20 * MS).is_ok());
}

#[test]
fn observe_first_synchronisation_after_a_step_is_believed() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.is_synchronised = false;
    machine.offset = 3_600_000 * MS as i64;
    assert!(machine.read_after(0).is_err());
    machine.offset = 0;
    machine.is_synchronised = true;
    assert!(machine.read_after(20 * MS).is_ok(), "nothing was vouched for, so nothing is disowned");
}

#[test]
fn resync_numbered_with_a_step_in_the_same_reading_waits_for_the_next() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.offset = 5 * MS as i64;
    machine.synchronisation = 2;
    assert_eq!(machine.read_after(20 * MS), stepped(5));
    assert_eq!(machine.read_after(20 * MS), stepped(5));
    machine.synchronisation = 3;
    machine.offset = 0;
    assert_eq!(machine.read_after(20 * MS), stepped(5), "a step again");
    machine.synchronisation = 4;
    assert!(machine.read_after(20 * MS).is_ok());
}

#[test]
fn resync_numbered_that_contradicts_the_past_waits_until_time_has_caught_up() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.offset = 100 * MS as i64;
    // The claim was false: 100 ms ahead with an epsilon of 1 ms. Then the daemon notices.
    assert_eq!(machine.read_after(0), Ok((99_000, 101_000)));
    machine.offset = 0;
    assert_eq!(machine.read_after(MS), stepped(100));
    machine.synchronisation += 1;
    assert_eq!(machine.read_after(MS), stepped(100));
    assert_eq!(machine.read_after(97 * MS), stepped(100), "the reported earliest is still ahead");
    // 100 ms after it reported +99 ms, true time has reached what it reported. `latest` still holds.
    assert_eq!(machine.read_after(MS), Ok((-1_000, 1_000)));
}

#[test]
fn resync_at_rest_believes_a_small_step_after_the_rest() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    // 1.5 ms: from -0.75 to +0.75 both claims of 1 ms were true.
    machine.offset = 3 * MS as i64 / 2;
    assert!(machine.read_after(20 * MS).is_err());
    assert!(machine.read_after(9_900 * MS).is_err());
    assert!(machine.read_after(100 * MS).is_ok());
}

#[test]
fn resync_at_rest_another_step_begins_the_rest_anew() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    machine.offset = MS as i64;
    assert!(machine.read_after(20 * MS).is_err());
    assert!(machine.read_after(9_000 * MS).is_err());
    machine.offset = 0;
    assert!(machine.read_after(20 * MS).is_err());
    assert!(machine.read_after(9_000 * MS).is_err());
    assert!(machine.read_after(1_000 * MS).is_ok());
}

#[test]
fn resync_at_rest_step_wider_than_the_bound_disproves_it_for_good() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    machine.offset = 3 * MS as i64;
    let disproved = Err(ClockUnsure::Disproved { step: Duration::from_millis(3) });
    assert_eq!(machine.read_after(20 * MS), disproved);
    // After an hour, drift alone could explain 720 ms; the step was still not drift.
    assert_eq!(machine.read_after(3_600_000 * MS), disproved);
    machine.synchronisation += 1;
    assert_eq!(machine.read_after(20 * MS), disproved, "nothing synchronises a fixed source");
}

#[test]
fn resync_at_rest_step_that_is_undone_leaves_the_word_standing() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    machine.offset = 3_000 * MS as i64;
    assert!(machine.read_after(20 * MS).is_err());
    machine.offset = 0;
    assert_eq!(machine.read_after(20 * MS), stepped(3_000));
    assert!(machine.read_after(10_000 * MS).is_ok());
}

#[test]
fn resync_at_rest_many_small_steps_add_up_to_a_disproof() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    for _ in 0..2 {
        machine.offset += MS as i64;
        assert!(machine.read_after(20 * MS).is_err());
        assert!(machine.read_after(10_000 * MS).is_ok());
    }
    machine.offset += MS as i64;
    let disproved = Err(ClockUnsure::Disproved { step: Duration::from_millis(3) });
    assert_eq!(machine.read_after(20 * MS), disproved);
    assert_eq!(machine.read_after(10_000 * MS), disproved);
}

#[test]
fn resync_at_rest_steps_to_both_sides_that_fit_one_by_one_are_a_disproof() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    machine.offset = 3 * MS as i64 / 2;
    assert!(machine.read_after(20 * MS).is_err());
    assert!(machine.read_after(10_000 * MS).is_ok());
    // From +1.5 ms to -1.5 ms: no truth is within 1 ms of both.
    machine.offset = -3 * MS as i64 / 2;
    let disproved = Err(ClockUnsure::Disproved { step: Duration::from_millis(3) });
    assert_eq!(machine.read_after(20 * MS), disproved);
    machine.offset = 0;
    assert!(machine.read_after(20 * MS).is_err());
    assert!(machine.read_after(10_000 * MS).is_ok());
}

#[test]
fn resync_at_rest_creeping_clock_is_not_at_rest() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.epsilon = 100 * MS;
    machine.read_after(0).unwrap();
    // 300 ppm; each 20 ms it is 6 us, less than one reading can tell.
    for pass in 0..1_000 {
        machine.offset += 6_000;
        let read = machine.read_after(20 * MS);
        assert!(pass < 10 || read.is_err(), "pass {pass}: {read:?}");
    }
}

#[test]
fn observe_suspend_is_told_apart_from_a_step() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.elapsed += 8_000 * MS;
    machine.slept = 8_000 * MS;
    assert_eq!(machine.read_after(20 * MS), suspended(8_000));
    assert_eq!(machine.read_after(20 * MS), suspended(8_000));
    machine.synchronisation += 1;
    assert_eq!(machine.read_after(20 * MS), Ok((-1_000, 1_000)));
}

#[test]
fn observe_suspend_that_the_wall_clock_missed_too_is_seen() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.elapsed += 8_000 * MS;
    machine.slept = 8_000 * MS;
    machine.offset = -8_000 * MS as i64;
    assert_eq!(machine.read_after(20 * MS), suspended(8_000));
}

#[test]
fn observe_suspend_between_two_looks_at_the_boot_clock_is_seen_at_the_second() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.reads_boot = false;
    assert!(machine.read_after(5 * MS).is_ok());
    machine.reads_boot = true;
    machine.elapsed += 700 * MS;
    machine.slept = 700 * MS;
    assert_eq!(machine.read_after(5 * MS), suspended(700));
}

#[test]
fn resync_at_rest_suspend_is_no_disproof() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    machine.elapsed += 3_600_000 * MS;
    machine.slept = 3_600_000 * MS;
    assert_eq!(machine.read_after(20 * MS), suspended(3_600_000));
    assert_eq!(machine.read_after(9_000 * MS), suspended(3_600_000));
    assert_eq!(machine.read_after(1_000 * MS), Ok((-1_000, 1_000)));
}

#[test]
fn resync_at_rest_clock_that_is_wrong_after_a_suspend_is_disproved() {
    let mut machine = Machine::new(Resync::AtRest(REST));
    machine.read_after(0).unwrap();
    machine.elapsed += 1_000 * MS;
    machine.slept = 1_000 * MS;
    machine.offset = -40 * MS as i64;
    let disproved = Err(ClockUnsure::Disproved { step: Duration::from_millis(40) });
    assert_eq!(machine.read_after(20 * MS), disproved);
}

#[test]
fn observe_loose_reading_is_given_its_looseness_and_hides_no_step_from_the_next() {
    let mut machine = Machine::new(Resync::Numbered);
    // After 1000 s, drift alone can part the clocks by 200 ms.
    machine.read_after(0).unwrap();
    machine.read_after(1_000_000 * MS).unwrap();
    // The thread was paused for 30 ms between the clocks: 20 ms of parting mean nothing.
    machine.loose = 30 * MS;
    machine.offset = 20 * MS as i64;
    assert!(machine.read_after(20 * MS).is_ok());
    machine.loose = 0;
    assert_eq!(machine.read_after(20 * MS), stepped(20), "the clock really stepped");
}

#[test]
fn observe_unless_parted_leaves_an_interrupted_reading_out() {
    let mut machine = Machine::new(Resync::Numbered);
    machine.read_after(0).unwrap();
    machine.elapsed += 20 * MS;
    let good = machine.reading();
    let mut interrupted = good.clone();
    interrupted.realtime = interrupted.realtime.plus(Duration::from_millis(3));
    assert_eq!(machine.vouch.observe_unless_parted(&interrupted), None);
    assert!(matches!(machine.vouch.observe_unless_parted(&good), Some(Ok(_))));
    assert!(machine.read_after(20 * MS).is_ok());
}

/// Random machines, whatever happens to their clocks: what is reported never goes back.
#[test]
fn observe_random_faults_never_reports_an_end_going_back() {
    for seed in 1..200_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let resync = if seed % 2 == 0 { Resync::Numbered } else { Resync::AtRest(REST) };
        let mut machine = Machine::new(resync);
        let mut before: Option<TimeInterval> = None;
        let mut vouched = 0;
        for _ in 0..500 {
            match draw(40) {
                0 => machine.offset = draw(40 * MS) as i64 - 20 * MS as i64,
                1 => machine.epsilon = draw(20 * MS),
                2 => machine.synchronisation += 1,
                3 => machine.is_synchronised = !machine.is_synchronised,
                4 => {
                    let slept = draw(1_000 * MS);
                    machine.elapsed += slept;
                    machine.slept += slept;
                }
                5 => machine.loose = draw(MS),
                _ => {}
            }
            machine.elapsed += draw(2_000 * MS);
            let Ok(now) = machine.vouch.observe(&machine.reading()) else { continue };
            vouched += 1;
            if let Some(before) = before.replace(now) {
                assert!(before.earliest <= now.earliest && before.latest <= now.latest);
            }
        }
        assert!(vouched > 0, "seed {seed}");
    }
}
