//! Resume tokens of reads, as clients have them: where in the key set a read stopped.
//!
//! A gateway's own token goes on within one range; this one has it inside, and says which point or range
//! it is for, what is left of the limit, and at which timestamp. Sealed with the cluster's secret, which no client
//! is told, so that one that changes a byte has an invalid token and any node takes an unchanged one.

use serde::{Deserialize, Serialize};
use truetime::Timestamp;
use txn::transaction::digest::Digest;

use proto::table::KeySet;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 8;

/// Where a read stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadToken {
    /// The timestamp of a read without locks, and whether leaders serve it best.
    pub(super) at: Option<(Timestamp, bool)>,
    /// Points answered.
    pub(super) points: u64,
    /// Ranges answered.
    pub(super) ranges: u64,
    /// What is left of the limit on rows of ranges.
    pub(super) limit: Option<u64>,
    /// The gateway's token within the next range.
    pub(super) inner: Option<Vec<u8>>,
    /// Of the request that it belongs to.
    pub(super) digest: u64,
}

/// What a request asks for, so that a token is not used with another one.
pub(super) fn digest_of(columns: &[String], keys: &KeySet) -> u64 {
    let mut digest = Digest::new([1, 1]);
    for column in columns {
        digest.string(column.as_bytes());
    }
    let keys = postcard::to_stdvec(keys).expect("a vector grows and keys are plain data");
    digest.bytes(&keys);
    digest.finish()
}

/// The sealed form.
pub(super) fn seal(token: &ReadToken, secret: &[u8; 16]) -> Vec<u8> {
    let mut bytes = postcard::to_extend(token, vec![VERSION])
        .expect("a token of plain numbers and byte strings always encodes");
    let seal = seal_of(&bytes, secret);
    bytes.extend_from_slice(&seal.to_le_bytes());
    bytes
}

/// Opens a token; `None` when this cluster did not seal it.
pub(super) fn open(bytes: &[u8], secret: &[u8; 16]) -> Option<ReadToken> {
    let (body, seal) = bytes.split_last_chunk::<SEAL_BYTES>()?;
    if seal_of(body, secret) != u64::from_le_bytes(*seal) {
        return None;
    }
    let (version, token) = body.split_first()?;
    if *version != VERSION {
        return None;
    }
    postcard::from_bytes(token).ok()
}

fn seal_of(bytes: &[u8], secret: &[u8; 16]) -> u64 {
    let (low, high) = secret.split_at(8);
    let half = |half: &[u8]| half.iter().fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte));
    let mut digest = Digest::new([half(low), half(high)]);
    digest.bytes(bytes);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_token_with_any_bit_flipped_or_of_another_cluster_is_refused() {
        let token = ReadToken {
            at: Some((Timestamp::from_nanos(7), true)),
            points: 3,
            ranges: 1,
            limit: Some(9),
            inner: Some(vec![1, 2]),
            digest: 77,
        };
        let sealed = seal(&token, &[5; 16]);
        assert_eq!(open(&sealed, &[5; 16]), Some(token));
        assert_eq!(open(&sealed, &[6; 16]), None);
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&forged, &[5; 16]), None, "bit {bit}");
        }
    }
}
