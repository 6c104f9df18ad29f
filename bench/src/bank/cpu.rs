//! What processes use of the processors, by Linux's word.

use std::path::Path;
use std::time::Duration;

/// The unit of times in `/proc`: Linux tells programs of a hundredth of a second, whatever its own ticks are.
const TICK: Duration = Duration::from_millis(10);

/// What process `pid` has used since it began, all its threads together; `None` when it is gone.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    parse(&stat)
}

/// User and system time of a `/proc/PID/stat`. Its second field, the name, may hold anything.
fn parse(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // The first of these is field 3; user time is field 14, system time 15.
    let mut ticks = after_name.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(TICK * user + TICK * system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_process_is_called() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194304 123 0 0 0 250 50 9 9 20 0 1 0 100 1 1";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn own_process_is_known_and_no_other_by_chance() {
        assert!(cpu_time(std::process::id()).is_some());
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
