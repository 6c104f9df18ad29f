//! Election timeouts from a seed.
//!
//! The crate draws them from the thread's generator whenever it resets itself. It can be handed
//! another value, but not told to stop drawing; so every value of its own is replaced before the
//! next tick could look at it, and two runs with the same inputs stay the same.

use super::Role;
use proto::{ReplicaId, Term};

/// How many election timeouts a replica with an unsure clock leaves to the others.
const UNSURE_TIMEOUTS: u64 = 4;

#[derive(Debug)]
pub(super) struct Timeouts {
    state: u64,
    election_ticks: u64,
    drawn_for: (Term, Role),
    current: u64,
}

impl Timeouts {
    /// The replica is mixed in: a group whose replicas were all given one seed would vote in
    /// lockstep for ever.
    pub(super) fn new(
        seed: u64,
        replica: ReplicaId,
        election_ticks: u16,
        at: (Term, Role),
    ) -> Self {
        let mut timeouts = Timeouts {
            state: seed ^ replica.0.wrapping_mul(0xD6E8_FEB8_6659_FD93),
            election_ticks: u64::from(election_ticks),
            drawn_for: at,
            current: 0,
        };
        timeouts.draw();
        timeouts
    }

    /// After so many silent ticks a replica campaigns although its clock is unsure.
    pub(super) fn unsure(&self) -> usize {
        usize::try_from(UNSURE_TIMEOUTS * self.election_ticks).expect("a few times a u16")
    }

    /// The timeout in this term and role, in `election_ticks .. 2 * election_ticks`.
    pub(super) fn at(&mut self, at: (Term, Role)) -> usize {
        if self.drawn_for != at {
            self.drawn_for = at;
            self.draw();
        }
        usize::try_from(self.current).expect("below twice a u16")
    }

    /// One step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    fn draw(&mut self) {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        self.current = self.election_ticks + mixed % self.election_ticks;
    }
}
