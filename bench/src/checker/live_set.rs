//! Which keys exist, by rank, with the next one found in a handful of steps.
//!
//! A scan must visit the rows that exist and not the keys that ever did: a queue leaves a hundred dead
//! keys behind each live one. Each level has one bit per word of the level below that is not zero.

use super::interner::index;

const WORD_BITS: u32 = 64;

/// A set of ranks below a fixed limit.
pub(super) struct LiveSet {
    /// The lowest level first; the last has one word.
    levels: Vec<Vec<u64>>,
}

impl LiveSet {
    /// The empty set of ranks below `limit`.
    pub(super) fn new(limit: u32) -> Self {
        let mut levels = Vec::new();
        let mut words = limit.div_ceil(WORD_BITS).max(1);
        levels.push(vec![0; index(words)]);
        while words > 1 {
            words = words.div_ceil(WORD_BITS);
            levels.push(vec![0; index(words)]);
        }
        LiveSet { levels }
    }

    /// Adds or removes `rank`.
    pub(super) fn set(&mut self, rank: u32, live: bool) {
        let mut position = rank;
        let mut bit = live;
        for level in &mut self.levels {
            let word = &mut level[index(position / WORD_BITS)];
            let mask = 1 << (position % WORD_BITS);
            let before = *word;
            *word = if bit { before | mask } else { before & !mask };
            // The level above tells only whether the word is zero.
            if (before == 0) == (*word == 0) {
                return;
            }
            bit = *word != 0;
            position /= WORD_BITS;
        }
    }

    /// The lowest member that is at least `rank`.
    pub(super) fn next(&self, rank: u32) -> Option<u32> {
        let mut position = rank;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(index(position / WORD_BITS)).copied().unwrap_or(0);
            let rest = word & (u64::MAX << (position % WORD_BITS));
            if rest != 0 {
                let found = position / WORD_BITS * WORD_BITS + rest.trailing_zeros();
                return Some(self.descend(height, found));
            }
            position = position / WORD_BITS + 1;
        }
        None
    }

    /// The lowest member below bit `position` of the level at `height`.
    fn descend(&self, height: usize, position: u32) -> u32 {
        self.levels[..height].iter().rev().fold(position, |position, level| {
            position * WORD_BITS + level[index(position)].trailing_zeros()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn live_set_agrees_with_a_sorted_set() {
        for limit in [1, 63, 64, 65, 4096, 5000, 300_000] {
            let (mut set, mut model) = (LiveSet::new(limit), BTreeSet::new());
            let mut rng = Rng::new(u64::from(limit));
            for _ in 0..3000 {
                let rank = u32::try_from(rng.below(u64::from(limit))).unwrap();
                let live = rng.chance(0.6);
                set.set(rank, live);
                if live {
                    model.insert(rank)
                } else {
                    model.remove(&rank)
                };
                let from = u32::try_from(rng.below(u64::from(limit) + 70)).unwrap();
                assert_eq!(set.next(from), model.range(from..).next().copied(), "{limit} {from}");
            }
        }
    }
}
