//! Seeds of the simulator in the ordinary tests. A failure names its seed; to see all that happened:
//! `cargo run -p tests --bin sim -- --seed S --trace`.

use tests::sim;

/// Runs seeds and fails with everything that went wrong.
fn check(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let summary = sim::run_many(seeds);
    assert_eq!(summary.seeds, count);
    let failures: Vec<String> = summary
        .failures
        .iter()
        .map(|outcome| {
            let (seed, failure) = (outcome.seed, outcome.failure.as_deref().unwrap_or_default());
            format!("{failure}\n    cargo run -p tests --bin sim -- --seed {seed} --trace")
        })
        .collect();
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
    assert!(summary.in_pieces > 10 * count, "hardly any transaction travelled in pieces");
    assert!(summary.changes > 2 * count, "tables hardly came and went");
    assert!(summary.checked > 100 * count, "the clients of {count} seeds hardly did anything");
}

#[test]
fn seeds_1_to_55_are_safe_and_come_to_an_end() {
    check(1..56);
}

#[test]
fn seeds_56_to_110_are_safe_and_come_to_an_end() {
    check(56..111);
}

#[test]
fn seeds_111_to_165_are_safe_and_come_to_an_end() {
    check(111..166);
}

#[test]
fn seeds_166_to_220_are_safe_and_come_to_an_end() {
    check(166..221);
}

#[test]
fn same_seed_twice_gives_the_same_run() {
    for seed in [3, 17, 53] {
        let (one, two) = (sim::run(seed, None), sim::run(seed, None));
        assert_eq!(one.trace_hash, two.trace_hash, "seed {seed}");
        assert_eq!((one.simulated, one.committed), (two.simulated, two.committed), "seed {seed}");
    }
    assert_ne!(sim::run(3, None).trace_hash, sim::run(17, None).trace_hash);
}

#[test]
fn tracing_does_not_change_the_run() {
    let mut lines = 0_u64;
    let mut count = |_: &str| lines += 1;
    let traced = sim::run(17, Some(&mut count));
    assert_eq!(traced.trace_hash, sim::run(17, None).trace_hash);
    assert!(lines > 1_000, "{lines} lines");
}
