//! Coordinator keys as clients have them: the key, and a digest of it and of the transaction's id.
//!
//! A question about an outcome is answered by the shard of its key, which aborts what it does not know. One that
//! came with another transaction's key would hear "aborted" of what may have committed; with the digest it is
//! refused. That guards against mistakes, not against a client that wants to be told a lie.

use bytes::Bytes;
use proto::{Key, TxnId};
use txn::transaction::digest::{Digest, PLAIN_KEY};

const DIGEST_BYTES: usize = 8;

/// The form that clients get.
pub(super) fn name(id: &TxnId, key: &Key) -> Bytes {
    [key.as_bytes(), &digest_of(id, key.as_bytes())].concat().into()
}

/// The key in it; `None` when it is not one of this transaction.
pub(super) fn open(id: &TxnId, bytes: &[u8]) -> Option<Key> {
    let (key, digest) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    (*digest == digest_of(id, key)).then(|| Key::from(key))
}

fn digest_of(id: &TxnId, key: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut digest = Digest::new(PLAIN_KEY);
    for number in [id.horizon.nanos(), id.begin.nanos(), id.origin, id.sequence] {
        digest.bytes(&number.to_le_bytes());
    }
    digest.bytes(key);
    digest.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use truetime::Timestamp;

    #[test]
    fn key_opens_for_its_own_transaction_and_unchanged_only() {
        let id = |sequence| {
            let (begin, horizon) = (Timestamp::from_nanos(1), Timestamp::from_nanos(2));
            TxnId { horizon, begin, origin: 3, sequence }
        };
        let key = Key::from(&b"k"[..]);
        let named = name(&id(4), &key);
        assert_eq!(open(&id(4), &named), Some(key));
        assert_eq!(open(&id(5), &named), None);
        for bit in 0..named.len() * 8 {
            let mut other = named.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&id(4), &other), None, "bit {bit}");
        }
        for len in 0..named.len() {
            assert_eq!(open(&id(4), &named[..len]), None);
        }
    }
}
