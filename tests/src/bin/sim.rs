//! Runs seeds of the simulator: `sim --seeds N [--first S] [--minutes M] [--json FILE]`, or
//! `sim --seed S [--trace]`. Exit codes: 0 good, 1 a failure, 2 usage.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks")]

use std::process::ExitCode;
use tests::sim::{self, Summary};

#[derive(Default)]
struct Arguments {
    seed: Option<u64>,
    seeds: Option<u64>,
    first: u64,
    minutes: Option<u64>,
    json: Option<String>,
    trace: bool,
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { first: 1, ..Arguments::default() };
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or(format!("{flag} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        match flag.as_str() {
            "--seed" => arguments.seed = Some(number(value()?)?),
            "--seeds" => arguments.seeds = Some(number(value()?)?),
            "--first" => arguments.first = number(value()?)?,
            "--minutes" => arguments.minutes = Some(number(value()?)?),
            "--json" => arguments.json = Some(value()?),
            "--trace" => arguments.trace = true,
            _ => return Err(format!("unknown argument {flag}")),
        }
    }
    match (arguments.seed, arguments.seeds, arguments.minutes) {
        (Some(_), None, None) | (None, Some(_), _) | (None, None, Some(_)) => Ok(arguments),
        _ => Err("give --seed S, or --seeds N, or --minutes M".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let begun = cpu_now();
    let mut summary = Summary::default();
    if let Some(seed) = arguments.seed {
        let mut show = |line: &str| println!("{line}");
        let trace: Option<&mut dyn FnMut(&str)> =
            if arguments.trace { Some(&mut show) } else { None };
        let outcome = sim::run(seed, trace);
        eprintln!("{outcome:?}");
        summary.add(outcome);
    } else {
        let wanted = arguments.seeds.unwrap_or(u64::MAX);
        let minutes = arguments.minutes.map(|minutes| std::time::Duration::from_secs(minutes * 60));
        for seed in (arguments.first..).take(usize::try_from(wanted).unwrap_or(usize::MAX)) {
            if minutes.is_some_and(|minutes| begun.elapsed() > minutes) {
                break;
            }
            let outcome = sim::run(seed, None);
            if let Some(failure) = &outcome.failure {
                println!("seed {seed}: {failure}");
                println!("    cargo run -p tests --bin sim -- --seed {seed} --trace");
            }
            summary.add(outcome);
        }
    }
    let seconds = begun.elapsed().as_secs_f64().max(1e-9);
    report(&summary, seconds, arguments.json.as_deref())
}

#[expect(clippy::disallowed_methods, reason = "the speed of the simulator itself")]
fn cpu_now() -> std::time::Instant {
    std::time::Instant::now()
}

fn report(summary: &Summary, seconds: f64, json: Option<&str>) -> ExitCode {
    let rate = summary.checked as f64 / seconds;
    let hours = summary.simulated as f64 / 3.6e12;
    println!(
        "{} seeds, {} failures, {hours:.2} simulated hours, {} transactions checked, {} in pieces, {rate:.0}/s",
        summary.seeds,
        summary.failures.len(),
        summary.checked,
        summary.in_pieces
    );
    let failures: Vec<serde_json::Value> = summary
        .failures
        .iter()
        .map(|outcome| serde_json::json!({"seed": outcome.seed, "failure": outcome.failure}))
        .collect();
    let value = serde_json::json!({
        "seeds": summary.seeds,
        "failures": failures,
        "simulated_hours": hours,
        "checked_transactions": summary.checked,
        "in_pieces": summary.in_pieces,
        "faults": summary.faults,
        "transactions_per_core_second": rate,
    });
    if let Some(path) = json
        && let Err(error) = std::fs::write(path, format!("{value:#}\n"))
    {
        eprintln!("cannot write {path}: {error}");
        return ExitCode::FAILURE;
    }
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
