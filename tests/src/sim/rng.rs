//! The one source of chance of a simulation: splitmix64, the same on every machine.

/// A seeded stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of one seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A stream of its own, so that what one part draws does not change what another part gets.
    pub fn fork(&mut self) -> Rng {
        Rng(self.draw())
    }

    /// A number below `limit`, which is positive.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "no number is below zero");
        self.draw() % limit
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `share` of a thousand draws.
    pub fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.draw() & 1 == 0
    }

    /// An index into something of that many elements.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length, so it fits a usize")
    }

    /// A signed number from `-bound` to `bound`.
    pub fn signed(&mut self, bound: u64) -> i64 {
        let magnitude = i64::try_from(self.below(bound + 1)).unwrap_or(i64::MAX);
        if self.coin() { magnitude } else { -magnitude }
    }

    /// A duration in nanoseconds between the two, small ones as likely as large ones: uniform in its
    /// order of magnitude.
    pub fn log_between(&mut self, low: u64, high: u64) -> u64 {
        let (low, high) = (low.max(1), high.max(1));
        let bits = u64::from((high / low).max(1).ilog2());
        let scaled = low << self.between(0, bits);
        scaled.saturating_add(self.below(scaled)).clamp(low, high)
    }
}
