//! SipHash-2-4 (Aumasson and Bernstein, 2012), a keyed hash of byte strings.
//!
//! Used for two things that must agree between nodes and releases: the digest of a transaction's writes
//! (section 4: an id that comes with other writes is refused) and the seal of a resume token (T17). The
//! standard library's hasher promises neither its algorithm nor its key over releases.

use crate::message::Write;

/// The key of a [`Digest`] whose input nobody would forge.
pub const PLAIN_KEY: [u64; 2] = [0, 0];

/// The state of one hash.
#[derive(Clone, Debug)]
pub struct Digest {
    v: [u64; 4],
    tail: u64,
    tail_len: u32,
    total: u64,
}

impl Digest {
    /// An empty input under `key`.
    #[must_use]
    pub fn new(key: [u64; 2]) -> Self {
        let v = [
            key[0] ^ 0x736f_6d65_7073_6575,
            key[1] ^ 0x646f_7261_6e64_6f6d,
            key[0] ^ 0x6c79_6765_6e65_7261,
            key[1] ^ 0x7465_6462_7974_6573,
        ];
        Digest { v, tail: 0, tail_len: 0, total: 0 }
    }

    /// Appends raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        let mut rest = bytes;
        while self.tail_len != 0 {
            let Some((first, others)) = rest.split_first() else { return };
            self.push(*first);
            rest = others;
        }
        let mut words = rest.chunks_exact(8);
        for word in &mut words {
            let mut buffer = [0; 8];
            buffer.copy_from_slice(word);
            self.word(u64::from_le_bytes(buffer));
        }
        for byte in words.remainder() {
            self.push(*byte);
        }
    }

    /// Appends a number, as eight bytes.
    pub fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Appends a byte string with its length, so that two strings never read as one.
    pub fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// The hash of what was appended.
    #[must_use]
    pub fn finish(mut self) -> u64 {
        let last = ((self.total & 0xff) << 56) | self.tail;
        self.word(last);
        self.v[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }

    fn push(&mut self, byte: u8) {
        self.tail |= u64::from(byte) << (8 * self.tail_len);
        self.tail_len += 1;
        if self.tail_len == 8 {
            let word = self.tail;
            self.tail = 0;
            self.tail_len = 0;
            self.word(word);
        }
    }

    fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.round();
        self.v[0] ^= word;
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }
}

/// The digest of a transaction's writes, which must come in key order.
#[must_use]
pub fn of_writes<'a>(writes: impl Iterator<Item = &'a Write>) -> u64 {
    let mut digest = Digest::new(PLAIN_KEY);
    for write in writes {
        digest.string(write.key.as_bytes());
        match &write.value {
            Some(value) => {
                digest.number(1);
                digest.string(value.as_bytes());
            }
            None => digest.number(0),
        }
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE_KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    #[test]
    fn digest_of_reference_input_matches_the_paper() {
        // Appendix A of the SipHash paper: the input is 00 01 .. 0e.
        let input: Vec<u8> = (0..15).collect();
        let mut digest = Digest::new(REFERENCE_KEY);
        digest.bytes(&input);
        assert_eq!(digest.finish(), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn digest_in_pieces_equals_digest_at_once() {
        let input: Vec<u8> = (0..100).collect();
        for cut in 0..input.len() {
            let (head, tail) = input.split_at(cut);
            let mut pieces = Digest::new(REFERENCE_KEY);
            pieces.bytes(head);
            pieces.bytes(tail);
            let mut whole = Digest::new(REFERENCE_KEY);
            whole.bytes(&input);
            assert_eq!(pieces.finish(), whole.finish(), "cut at {cut}");
        }
    }

    #[test]
    fn digest_of_writes_tells_a_delete_from_an_empty_row() {
        let key = proto::Key::from(vec![1]);
        let delete = Write { key: key.clone(), value: None };
        let empty = Write { key, value: Some(proto::Value::default()) };
        assert_ne!(of_writes([&delete].into_iter()), of_writes([&empty].into_iter()));
    }
}
