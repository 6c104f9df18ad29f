//! The names of clock sources, as `--clock` takes them.
//!
//! `kernel`, `fixed:<epsilon>`, and for tests `fixed:<epsilon>,offset=<d>,drift=<ppm>`. Durations are
//! whole numbers with a unit: `250us`, `-3ms`. Not here: what the sources do ([`crate::SystemClock`]).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A fixed bound above this is refused: nothing waits an hour for a commit.
const EPSILON_MAX: Duration = Duration::from_secs(3_600);
/// A test may put a clock at most this far off: ten years.
const OFFSET_MAX_NANOS: u64 = 10 * 366 * 86_400 * 1_000_000_000;
/// A test may let a clock run at most at half or one and a half times its speed.
const DRIFT_MAX: i64 = 500_000;

const UNITS: [(&str, u64); 4] = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// Where a node takes its intervals from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClockSource {
    /// The kernel's clock, with the bound that an NTP or PTP daemon gives the kernel.
    Kernel,
    /// The kernel's clock, with a bound that the operator answers for.
    Fixed {
        /// No further is the wall clock from true time.
        epsilon: Duration,
        /// For tests: how wrong to read the wall clock.
        skew: Skew,
    },
}

/// How far from the wall clock a source reads. Zero except in tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    /// Ahead by that many nanoseconds from the start.
    pub offset_nanos: i64,
    /// And by that many more for every million that pass.
    pub drift_ppm: i64,
}

/// Why a clock source's name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No such source.
    #[error("unknown clock source {given:?}; write kernel, or fixed:<epsilon> as in fixed:250us")]
    Unknown {
        /// What was given.
        given: String,
    },
    /// Not a duration.
    #[error(
        "{given:?} is no duration for {field}; write a whole number and ns, us, ms or s, as in 250us"
    )]
    Duration {
        /// Which part of the name.
        field: &'static str,
        /// What was given.
        given: String,
    },
    /// Not a number of parts per million.
    #[error("{given:?} is no drift; write whole parts per million, as in drift=200")]
    Drift {
        /// What was given.
        given: String,
    },
    /// A bound or skew outside of what makes sense.
    #[error("{field} is {given}, but at most {most} is allowed")]
    TooLarge {
        /// Which part of the name.
        field: &'static str,
        /// What was given.
        given: String,
        /// The limit.
        most: &'static str,
    },
    /// Not an option of a fixed source.
    #[error(
        "unknown option {given:?} of a fixed clock source; it takes offset=<d> and drift=<ppm>"
    )]
    Option {
        /// What was given.
        given: String,
    },
    /// The same option twice.
    #[error("option {option} of the clock source is given twice; leave one out")]
    Repeated {
        /// Which one.
        option: &'static str,
    },
}

impl ClockSource {
    /// A fixed bound, read without skew.
    #[must_use]
    pub fn fixed(epsilon: Duration) -> Self {
        ClockSource::Fixed { epsilon, skew: Skew::default() }
    }
}

impl FromStr for ClockSource {
    type Err = SourceError;

    fn from_str(given: &str) -> Result<Self, SourceError> {
        if given == "kernel" {
            return Ok(ClockSource::Kernel);
        }
        let Some(fixed) = given.strip_prefix("fixed:") else {
            return Err(SourceError::Unknown { given: given.to_owned() });
        };
        let mut parts = fixed.split(',');
        let epsilon = epsilon_of(parts.next().unwrap_or_default())?;
        let (mut offset, mut drift) = (None, None);
        for part in parts {
            let (slot, option, value) = match part.split_once('=') {
                Some(("offset", value)) => (&mut offset, "offset", offset_of(value)?),
                Some(("drift", value)) => (&mut drift, "drift", drift_of(value)?),
                Some(_) | None => return Err(SourceError::Option { given: part.to_owned() }),
            };
            if slot.replace(value).is_some() {
                return Err(SourceError::Repeated { option });
            }
        }
        let skew =
            Skew { offset_nanos: offset.unwrap_or_default(), drift_ppm: drift.unwrap_or_default() };
        Ok(ClockSource::Fixed { epsilon, skew })
    }
}

fn epsilon_of(given: &str) -> Result<Duration, SourceError> {
    let bad = || SourceError::Duration { field: "epsilon", given: given.to_owned() };
    let epsilon = Duration::from_nanos(nanos_of(given).ok_or_else(bad)?);
    if epsilon > EPSILON_MAX {
        return Err(SourceError::TooLarge {
            field: "epsilon",
            given: given.to_owned(),
            most: "3600s",
        });
    }
    Ok(epsilon)
}

fn offset_of(given: &str) -> Result<i64, SourceError> {
    let bad = || SourceError::Duration { field: "offset", given: given.to_owned() };
    let (size, is_behind) = match given.strip_prefix('-') {
        Some(size) => (size, true),
        None => (given, false),
    };
    let size = nanos_of(size).ok_or_else(bad)?;
    match i64::try_from(size) {
        Ok(nanos) if size <= OFFSET_MAX_NANOS => Ok(if is_behind { -nanos } else { nanos }),
        Ok(_) | Err(_) => Err(SourceError::TooLarge {
            field: "offset",
            given: given.to_owned(),
            most: "316224000s",
        }),
    }
}

fn drift_of(given: &str) -> Result<i64, SourceError> {
    let ppm: i64 = given.parse().map_err(|_| SourceError::Drift { given: given.to_owned() })?;
    if ppm.abs() > DRIFT_MAX {
        return Err(SourceError::TooLarge {
            field: "drift",
            given: given.to_owned(),
            most: "500000",
        });
    }
    Ok(ppm)
}

/// The nanoseconds of `250us` and the like.
fn nanos_of(given: &str) -> Option<u64> {
    let digits = given.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = given.split_at(digits);
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*nanos)
}

/// Nanoseconds in the largest unit that tells them exactly.
struct Exact(u64);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, nanos): &&(&str, u64)| self.0.is_multiple_of(*nanos);
        let (unit, nanos) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        write!(f, "{}{unit}", self.0 / nanos)
    }
}

impl fmt::Display for ClockSource {
    /// The name that parses back to this source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epsilon, skew) = match self {
            ClockSource::Kernel => return f.write_str("kernel"),
            ClockSource::Fixed { epsilon, skew } => (epsilon, skew),
        };
        write!(f, "fixed:{}", Exact(u64::try_from(epsilon.as_nanos()).unwrap_or(u64::MAX)))?;
        if skew.offset_nanos != 0 {
            let sign = if skew.offset_nanos < 0 { "-" } else { "" };
            write!(f, ",offset={sign}{}", Exact(skew.offset_nanos.unsigned_abs()))?;
        }
        if skew.drift_ppm != 0 {
            write!(f, ",drift={}", skew.drift_ppm)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ClockSource {
    type Error = SourceError;

    fn try_from(given: String) -> Result<Self, SourceError> {
        given.parse()
    }
}

impl From<ClockSource> for String {
    fn from(source: ClockSource) -> String {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(given: &str) -> String {
        given.parse::<ClockSource>().unwrap_err().to_string()
    }

    #[test]
    fn parse_every_form_gives_its_source() {
        let fixed = |epsilon, offset_nanos, drift_ppm| ClockSource::Fixed {
            epsilon,
            skew: Skew { offset_nanos, drift_ppm },
        };
        for (given, source) in [
            ("kernel", ClockSource::Kernel),
            ("fixed:250us", ClockSource::fixed(Duration::from_micros(250))),
            ("fixed:0s", ClockSource::fixed(Duration::ZERO)),
            ("fixed:1ms,offset=-3ms,drift=200", fixed(Duration::from_millis(1), -3_000_000, 200)),
            ("fixed:2s,drift=-5,offset=7ns", fixed(Duration::from_secs(2), 7, -5)),
        ] {
            assert_eq!(given.parse(), Ok(source), "{given}");
        }
    }

    #[test]
    fn display_of_a_source_parses_back() {
        for (given, shown) in [
            ("kernel", "kernel"),
            ("fixed:1000us", "fixed:1ms"),
            ("fixed:0us", "fixed:0s"),
            ("fixed:1500us", "fixed:1500us"),
            ("fixed:3600s,drift=-7,offset=-1001ns", "fixed:3600s,offset=-1001ns,drift=-7"),
            ("fixed:1ms,offset=0s,drift=0", "fixed:1ms"),
        ] {
            let source: ClockSource = given.parse().unwrap();
            assert_eq!(source.to_string(), shown);
            assert_eq!(shown.parse(), Ok(source));
        }
    }

    #[test]
    fn parse_bad_names_tells_the_syntax() {
        for (given, told) in [
            ("ntp", "write kernel, or fixed:<epsilon>"),
            ("kernel,offset=1ms", "write kernel, or fixed:<epsilon>"),
            ("fixed:", "\"\" is no duration for epsilon"),
            ("fixed:250", "\"250\" is no duration for epsilon"),
            ("fixed:us", "write a whole number and ns, us, ms or s"),
            ("fixed:1.5ms", "no duration for epsilon"),
            ("fixed:-1ms", "no duration for epsilon"),
            ("fixed:99999999999999999999s", "no duration for epsilon"),
            ("fixed:3601s", "at most 3600s is allowed"),
            ("fixed:1ms,offset=3", "\"3\" is no duration for offset"),
            ("fixed:1ms,offset=--3ms", "no duration for offset"),
            ("fixed:1ms,offset=999999999s", "at most 316224000s is allowed"),
            ("fixed:1ms,drift=1ppm", "write whole parts per million"),
            ("fixed:1ms,drift=500001", "at most 500000 is allowed"),
            ("fixed:1ms,jitter=3", "it takes offset=<d> and drift=<ppm>"),
            ("fixed:1ms,", "it takes offset=<d> and drift=<ppm>"),
            ("fixed:1ms,drift=1,drift=1", "drift of the clock source is given twice"),
        ] {
            assert!(refusal(given).contains(told), "{given}: {}", refusal(given));
        }
    }
}
