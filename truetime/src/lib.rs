//! TrueTime: timestamps, intervals that surely contain true time, and the clocks that vouch for them.
//!
//! Terms: a [`Timestamp`] is a point; a [`TimeInterval`] surely contains true time; *epsilon* is half
//! its width; a clock that cannot vouch is *unsure* ([`ClockUnsure`]), which is a value to handle and
//! never a narrower guess (Spanner section 3). [`Mono`] is the monotonic clock, for elections and
//! timeouts only.
//!
//! Example: with an interval `[100, 110]`, `after(99)` holds (99 has surely passed), `before(111)`
//! holds (111 surely has not come), and nothing is known of 105.
//!
//! A source ([`ClockSource`]) gives readings, [`Vouch`] says whether they are believed, and [`Peers`]
//! compares what this node vouches for with the others. [`SystemClock`] is the machine's clock and
//! [`SimulatedClock`] the simulator's; both go through [`Vouch`]. `docs/time.md` is the operator's view.
//!
//! Not here: any wait. Protocol code takes [`Now`] as data and says when it wants to be called again.

mod clock;
mod kernel;
#[expect(unsafe_code, reason = "the clocks' system calls have no safe form in std or libc")]
mod machine;
mod now;
mod peers;
mod simulated;
mod source;
mod system;
mod timestamp;
mod vouch;

pub use clock::Clock;
pub use kernel::KernelReport;
pub use now::{ClockUnsure, Mono, Now};
pub use peers::{EXCHANGE_AGE_MAX, Exchange, Meeting, Peers};
pub use simulated::{ClockFault, Honesty, SimulatedClock, SimulatedStart};
pub use source::{ClockSource, Skew, SourceError};
pub use system::SystemClock;
pub use timestamp::{TimeInterval, Timestamp};
pub use vouch::{Claim, DRIFT_MAX_PPM, Reading, Resync, Vouch};
