//! Numbers for byte strings, so that a history of millions of steps compares and stores 4 bytes each.

use std::hash::Hasher;

/// A slot of the table that holds no string.
const EMPTY: u32 = u32::MAX;

/// Byte strings numbered from 0 in order of first appearance, each kept once.
#[derive(Default)]
pub(super) struct Interner {
    bytes: Vec<u8>,
    /// Where each string ends in `bytes`; it begins where the one before it ends.
    ends: Vec<usize>,
    /// Open addressing over the numbers; its length is a power of two and it is at most half full.
    table: Vec<u32>,
}

impl Interner {
    /// The number of `string`, which gets the next one when it is new.
    pub(super) fn intern(&mut self, string: &[u8]) -> u32 {
        if self.ends.len() * 2 >= self.table.len() {
            self.grow();
        }
        let slot = self.slot_of(string);
        if self.table[slot] != EMPTY {
            return self.table[slot];
        }
        let number = self.len();
        assert!(number < EMPTY - 1, "a history holds fewer than 2^32 - 2 distinct byte strings");
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
        self.table[slot] = number;
        number
    }

    /// The string with that number.
    pub(super) fn get(&self, number: u32) -> &[u8] {
        let index = index(number);
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("intern() stops below 2^32")
    }

    /// Where `string` is in the table, or the empty slot where it belongs.
    fn slot_of(&self, string: &[u8]) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = hash(string) & mask;
        while self.table[slot] != EMPTY && self.get(self.table[slot]) != string {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let slots = (self.table.len() * 2).max(64);
        self.table = vec![EMPTY; slots];
        for number in 0..self.len() {
            let slot = self.slot_of(self.get(number));
            self.table[slot] = number;
        }
    }
}

/// SipHash with fixed keys: the same order on every run, and no quadratic time on chosen strings that
/// were not made for these keys.
fn hash(string: &[u8]) -> usize {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(string);
    // The table is masked to fewer bits than a usize has, whatever its width.
    let [a, b, c, d, e, f, g, h] = hasher.finish().to_le_bytes();
    index(u32::from_le_bytes([a, b, c, d]))
        ^ index(u32::from_le_bytes([e, f, g, h])).rotate_left(20)
}

/// `number` as an index.
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).expect("this code runs where a usize has at least 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intern_gives_each_string_one_number() {
        let mut interner = Interner::default();
        let strings: Vec<String> = (0..1000).map(|i| format!("key/{i}")).collect();
        for round in 0..2 {
            for (i, string) in strings.iter().enumerate() {
                assert_eq!(index(interner.intern(string.as_bytes())), i, "round {round}");
            }
        }
        for (i, string) in (0..).zip(&strings) {
            assert_eq!(interner.get(i), string.as_bytes());
        }
        assert_eq!(interner.len(), 1000);
    }

    #[test]
    fn intern_tells_the_empty_string_from_prefixes() {
        let mut interner = Interner::default();
        let numbers = [b"ab".as_slice(), b"", b"a", b"b"].map(|s| interner.intern(s));
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(interner.get(1), b"");
        assert_eq!(interner.get(3), b"b");
    }
}
