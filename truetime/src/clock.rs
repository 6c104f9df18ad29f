//! The clock that a host reads once per pass.

use crate::Now;

/// A source of readings. Within a process neither end of the interval ever goes back.
pub trait Clock: Send {
    /// Reads both clocks.
    fn now(&mut self) -> Now;
}
