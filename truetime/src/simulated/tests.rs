use super::*;

const MS: u64 = 1_000_000;

fn start() -> SimulatedStart {
    SimulatedStart {
        offset_nanos: 0,
        epsilon: Duration::from_millis(5),
        drift_ppm: 0,
        growth_ppm: 0,
        honesty: Honesty::Kept,
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos((1_000_000 + ms) * MS)
}

fn clock(start: SimulatedStart) -> SimulatedClock {
    let mut clock = SimulatedClock::new(at(0), start);
    assert!(clock.now().sure().is_some());
    clock
}

#[test]
fn read_at_offset_inside_the_claim_moves_the_interval() {
    let mut clock = clock(SimulatedStart { offset_nanos: -2 * MS as i64, ..start() });
    let interval = clock.read_at(at(100)).sure().unwrap();
    assert_eq!(interval.earliest, at(93));
    assert_eq!(interval.latest, at(103));
    assert_eq!(clock.now().mono, Mono::from_nanos(100 * MS));
}

#[test]
fn step_is_disowned_until_a_later_synchronisation() {
    let mut clock = clock(start());
    clock.apply(ClockFault::Step(-50 * MS as i64));
    let step = Duration::from_millis(50);
    assert_eq!(clock.read_at(at(20)).interval, Err(ClockUnsure::Stepped { step }));
    clock.apply(ClockFault::Step(52 * MS as i64));
    assert!(clock.read_at(at(40)).sure().is_none());
    clock.apply(ClockFault::Synchronise(Duration::from_millis(3)));
    assert!(clock.read_at(at(60)).sure().is_some());
    assert_eq!(clock.offset_nanos(), 2 * MS as i64);
}

#[test]
fn growth_with_a_dead_daemon_keeps_true_time_inside_for_an_hour() {
    let mut clock = clock(SimulatedStart { growth_ppm: 200, drift_ppm: -200, ..start() });
    for second in 1..=3_600 {
        let now = clock.read_at(at(second * 1_000));
        assert!(now.sure().is_some(), "second {second}");
    }
    assert_eq!(clock.offset_nanos(), -720 * MS as i64);
    assert_eq!(clock.epsilon(), Duration::from_millis(725));
}

#[test]
#[should_panic(expected = "which an honest clock vouches for")]
fn drift_beyond_the_claim_of_a_kept_clock_is_noticed() {
    let mut clock = clock(SimulatedStart { drift_ppm: 200, ..start() });
    clock.read_at(at(30_000));
}

#[test]
fn outside_claim_is_vouched_for() {
    let outside =
        SimulatedStart { offset_nanos: 900 * MS as i64, honesty: Honesty::Outside, ..start() };
    assert_eq!(clock(outside).read_at(at(10)).sure().unwrap().earliest, at(905));
}

#[test]
fn die_and_unsynchronise_refuse_until_synchronised() {
    let mut clock = clock(start());
    for fault in [ClockFault::Die, ClockFault::Unsynchronise] {
        clock.apply(fault);
        assert!(clock.now().sure().is_none());
        clock.apply(ClockFault::Synchronise(Duration::from_millis(5)));
        assert!(clock.now().sure().is_some());
    }
}

#[test]
fn suspend_stops_the_monotonic_clock_and_is_disowned() {
    let mut clock = clock(start());
    clock.apply(ClockFault::Suspend(Duration::from_secs(1)));
    let now = clock.read_at(at(1_020));
    assert_eq!(now.mono, Mono::from_nanos(20 * MS));
    let slept = Duration::from_secs(1);
    assert_eq!(now.interval, Err(ClockUnsure::Suspended { slept }));
    clock.apply(ClockFault::Synchronise(Duration::from_millis(5)));
    assert_eq!(clock.read_at(at(1_030)).mono, Mono::from_nanos(30 * MS));
    assert!(clock.now().sure().is_some());
}

/// [`Honesty::Kept`] asserts at each reading that true time is inside.
#[test]
fn random_faults_never_vouch_for_an_interval_without_true_time() {
    for seed in 1..300_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let offset_nanos = draw(10 * MS) as i64 - 5 * MS as i64;
        let mut clock = clock(SimulatedStart { growth_ppm: 200, offset_nanos, ..start() });
        let (mut now, mut sure) = (0, 0);
        for _ in 0..400 {
            match draw(20) {
                // Always more than what may pass as drift.
                0 => clock.apply(ClockFault::Step(2 * MS as i64 + draw(100 * MS) as i64)),
                1 => clock.apply(ClockFault::Step(-2 * MS as i64 - draw(100 * MS) as i64)),
                2 => clock.apply(ClockFault::Drift(i32::try_from(draw(401)).unwrap() - 200)),
                3 => clock.apply(ClockFault::Unsynchronise),
                4 => clock.apply(ClockFault::Suspend(Duration::from_nanos(draw(500 * MS)))),
                5..=8 => {
                    let epsilon = clock.offset_nanos().unsigned_abs() + draw(MS);
                    clock.apply(ClockFault::Synchronise(Duration::from_nanos(epsilon)));
                }
                _ => {}
            }
            now += draw(1_000);
            sure += u32::from(clock.read_at(at(now)).sure().is_some());
        }
        assert!(sure > 40, "seed {seed}: sure {sure} times");
    }
}
