//! Resume tokens: where a read stopped, and at which timestamp (T17).
//!
//! A token pins the timestamp, so that all pages are of one snapshot whichever gateway serves them, and
//! names the table and columns it is good for. It is sealed with a key that all nodes share: a client that
//! changes one byte has an invalid token, not another read.

use proto::{KeySpan, TableId};
use serde::{Deserialize, Serialize};
use truetime::Timestamp;
use txn::transaction::digest::Digest;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 8;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResumeToken {
    /// The timestamp of a read without locks; nothing for a locked one, which its transaction pins.
    pub(super) at: Option<Timestamp>,
    /// Whether leaders should serve the rest.
    pub(super) strong: bool,
    /// The table.
    pub(super) table: TableId,
    /// A digest of the positions of the columns.
    pub(super) columns: u64,
    /// What is left.
    pub(super) rest: Vec<KeySpan>,
}

/// The digest of columns by position.
#[must_use]
pub(super) fn columns_digest(columns: &[usize]) -> u64 {
    let mut digest = Digest::new([0, 1]);
    for column in columns {
        digest.number(*column as u64);
    }
    digest.finish()
}

/// Seals a token.
#[must_use]
pub(super) fn seal(token: &ResumeToken, key: [u64; 2]) -> Vec<u8> {
    let mut bytes = postcard::to_extend(token, vec![VERSION])
        .expect("a token of plain numbers and byte strings always encodes");
    let seal = seal_of(&bytes, key);
    bytes.extend_from_slice(&seal.to_le_bytes());
    bytes
}

/// Opens a token; `None` if it was not sealed with this key.
#[must_use]
pub(super) fn open(bytes: &[u8], key: [u64; 2]) -> Option<ResumeToken> {
    let (body, seal) = bytes.split_last_chunk::<SEAL_BYTES>()?;
    if seal_of(body, key) != u64::from_le_bytes(*seal) {
        return None;
    }
    let (version, token) = body.split_first()?;
    if *version != VERSION {
        return None;
    }
    postcard::from_bytes(token).ok()
}

fn seal_of(bytes: &[u8], key: [u64; 2]) -> u64 {
    let mut digest = Digest::new(key);
    digest.bytes(bytes);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Key;

    #[test]
    fn token_with_any_bit_flipped_is_refused() {
        let token = ResumeToken {
            at: Some(Timestamp::from_nanos(77)),
            strong: true,
            table: TableId(100),
            columns: columns_digest(&[0, 2]),
            rest: vec![KeySpan::new(Key::from(vec![1]), Key::from(vec![2]))],
        };
        let key = [3, 4];
        let sealed = seal(&token, key);
        assert_eq!(open(&sealed, key), Some(token));
        assert_eq!(open(&sealed, [3, 5]), None);
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&forged, key), None, "bit {bit}");
        }
    }
}
