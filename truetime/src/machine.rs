//! The system calls that read Linux's clocks: the only unsafe code of the workspace.

use crate::kernel::KernelReport;
use crate::{Mono, Timestamp};
use std::io;
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// `CLOCK_MONOTONIC`: stands still while the machine sleeps, never steps.
pub(crate) fn mono() -> Mono {
    Mono::from_nanos(read(libc::CLOCK_MONOTONIC))
}

/// `CLOCK_BOOTTIME`: the monotonic clock plus the time the machine slept.
pub(crate) fn boot() -> Mono {
    Mono::from_nanos(read(libc::CLOCK_BOOTTIME))
}

/// `CLOCK_REALTIME`: the wall clock, which steps when somebody sets it.
pub(crate) fn realtime() -> Timestamp {
    Timestamp::from_nanos(read(libc::CLOCK_REALTIME))
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `at` is a valid timespec that outlives the call, which writes nothing else.
    let status = unsafe { libc::clock_gettime(clock, &raw mut at) };
    assert!(status == 0, "clock_gettime fails only for a clock that Linux lacks, got {clock}");
    nanos(at.tv_sec, u64::try_from(at.tv_nsec).unwrap_or(0))
}

/// The wall clock and what the kernel knows of its error, in one call.
pub(crate) fn kernel_report() -> Result<(Timestamp, KernelReport), String> {
    // SAFETY: timex is plain integers; all zero asks for nothing to be changed (modes = 0).
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` is valid and outlives the call; with modes = 0 the kernel only fills it in.
    let state = unsafe { libc::ntp_adjtime(&raw mut timex) };
    if state < 0 {
        return Err(format!("ntp_adjtime: {}", io::Error::last_os_error()));
    }
    let is_nano = timex.status & libc::STA_NANO != 0;
    let per_unit = if is_nano { 1 } else { 1_000 };
    let fraction = u64::try_from(timex.time.tv_usec).unwrap_or(0).saturating_mul(per_unit);
    let maxerror = u64::try_from(timex.maxerror)
        .map_err(|_| format!("ntp_adjtime: negative maximum error {}", timex.maxerror))?;
    let report = KernelReport {
        synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        maxerror: Duration::from_micros(maxerror),
        pending: Duration::from_nanos(timex.offset.unsigned_abs().saturating_mul(per_unit)),
        resolution: Duration::from_nanos(per_unit),
    };
    Ok((Timestamp::from_nanos(nanos(timex.time.tv_sec, fraction)), report))
}

/// A clock before 1970 reads as 1970, and one after 2554 as 2554: a step that no bound explains.
fn nanos(seconds: libc::time_t, nanos: u64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(NANOS_PER_SECOND).saturating_add(nanos)
}
