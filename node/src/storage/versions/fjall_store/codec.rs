//! Keys and values of the three keyspaces, byte by byte (docs/formats.md, "Version store").

use crate::storage::version_store::{Version, VersionStoreError};
use proto::{EntryId, Key, KeySpan, LogIndex, ShardId, Term, Value};
use std::borrow::Cow;
use std::ops::Bound;
use truetime::Timestamp;

/// The format that this code writes, and the newest that it reads.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Where the format version stands in the state keyspace.
pub(super) const FORMAT_KEY: &[u8] = b"f";

/// Bytes of a key at the most. The engine's limit is 65,535, and escaping may double a key.
const KEY_LEN_MAX: usize = 32 * 1024;

const TOMBSTONE: u8 = 0;
const ROW: u8 = 1;

/// Ends an escaped key. Below [`ESCAPED`], so that a key sorts before those it is a prefix of.
const TERMINATOR: [u8; 2] = [0, 1];
const ESCAPED: [u8; 2] = [0, 0xff];

/// A kind of entry of the state keyspace, before the shard's id.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The last entry that was applied.
    Applied,
    /// A pair of the shard's replicated state.
    State,
    /// An install or removal that is not finished.
    Unfinished,
}

impl Kind {
    const fn tag(self) -> u8 {
        match self {
            Kind::Applied => b'a',
            Kind::State => b's',
            Kind::Unfinished => b'u',
        }
    }
}

/// The interval of keys of an engine's range.
pub(super) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The key in `data`. The engine has no empty key, so one that is empty or begins with a zero byte has
/// another zero byte in front; the order stays.
pub(super) fn data_key(key: &Key) -> Cow<'_, [u8]> {
    let bytes = key.as_bytes();
    assert!(bytes.len() <= KEY_LEN_MAX, "a key of {} bytes exceeds {KEY_LEN_MAX}", bytes.len());
    match bytes.first() {
        None | Some(0) => Cow::Owned([&[0], bytes].concat()),
        Some(_) => Cow::Borrowed(bytes),
    }
}

pub(super) fn key_of_data(bytes: &[u8]) -> Key {
    Key::from(bytes.strip_prefix(&[0]).unwrap_or(bytes))
}

/// What `data` holds under a key: the newest version's timestamp, then what `history` would hold.
pub(super) fn data_value(timestamp: Timestamp, value: Option<&Value>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + value.map_or(0, |value| value.as_bytes().len()));
    bytes.extend_from_slice(&timestamp.nanos().to_be_bytes());
    push_content(&mut bytes, value);
    bytes
}

/// The timestamp and the content of a value of `data`.
pub(super) fn split_data_value(bytes: &[u8]) -> Result<(Timestamp, &[u8]), VersionStoreError> {
    let (nanos, content) =
        bytes.split_first_chunk().ok_or_else(|| damaged("a value of `data` is too short"))?;
    Ok((Timestamp::from_nanos(u64::from_be_bytes(*nanos)), content))
}

/// What `history` holds under a key and timestamp.
pub(super) fn content(value: Option<&Value>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + value.map_or(0, |value| value.as_bytes().len()));
    push_content(&mut bytes, value);
    bytes
}

fn push_content(bytes: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        Some(value) => {
            bytes.push(ROW);
            bytes.extend_from_slice(value.as_bytes());
        }
        None => bytes.push(TOMBSTONE),
    }
}

/// The row's bytes, or `None` for a tombstone.
pub(super) fn split_content(content: &[u8]) -> Result<Option<&[u8]>, VersionStoreError> {
    match content {
        [ROW, row @ ..] => Ok(Some(row)),
        [TOMBSTONE] => Ok(None),
        _ => Err(damaged("a version is neither a row nor a tombstone")),
    }
}

/// Puts a version together from its parts.
pub(super) fn version(
    key: Key,
    timestamp: Timestamp,
    content: &[u8],
) -> Result<Version, VersionStoreError> {
    Ok(Version { key, timestamp, value: split_content(content)?.map(Value::from) })
}

/// What the entries of `key` in `history` begin with, and nothing else does.
pub(super) fn history_prefix(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.as_bytes().len() + 12);
    for byte in key.as_bytes() {
        if *byte == 0 {
            bytes.extend_from_slice(&ESCAPED);
        } else {
            bytes.push(*byte);
        }
    }
    bytes.extend_from_slice(&TERMINATOR);
    bytes
}

/// The key in `history`: newest first within one key.
pub(super) fn history_key(key: &Key, timestamp: Timestamp) -> Vec<u8> {
    let mut bytes = history_prefix(key);
    bytes.extend_from_slice(&(!timestamp.nanos()).to_be_bytes());
    bytes
}

/// The entries of `key` at or below `timestamp`, newest first.
pub(super) fn history_at_or_below(key: &Key, timestamp: Timestamp) -> Bounds {
    let last = history_key(key, Timestamp::ZERO);
    (Bound::Included(history_key(key, timestamp)), Bound::Included(last))
}

/// Key and timestamp of an entry of `history`.
pub(super) fn split_history_key(bytes: &[u8]) -> Result<(Key, Timestamp), VersionStoreError> {
    let broken = || damaged("a key of `history` is cut or wrongly escaped");
    let (prefix, inverted) = bytes.split_last_chunk().ok_or_else(broken)?;
    let mut escaped = prefix.strip_suffix(&TERMINATOR).ok_or_else(broken)?;
    let mut key = Vec::with_capacity(escaped.len());
    while let Some((byte, rest)) = escaped.split_first() {
        key.push(*byte);
        escaped =
            if *byte == 0 { escaped.strip_prefix(&ESCAPED).ok_or_else(broken)? } else { rest };
    }
    Ok((Key::from(key), Timestamp::from_nanos(!u64::from_be_bytes(*inverted))))
}

/// The span's keys in `data`.
pub(super) fn data_bounds(span: &KeySpan) -> Bounds {
    bounds(span, |key| data_key(key).into_owned())
}

/// The entries of the span's keys in `history`.
pub(super) fn history_bounds(span: &KeySpan) -> Bounds {
    bounds(span, history_prefix)
}

fn bounds(span: &KeySpan, encode: impl Fn(&Key) -> Vec<u8>) -> Bounds {
    let end = span.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(encode(end)));
    (Bound::Included(encode(&span.start)), end)
}

/// The key of an entry of the state keyspace; `key` is empty but for [`Kind::State`].
pub(super) fn state_key(kind: Kind, shard: ShardId, key: &[u8]) -> Vec<u8> {
    assert!(key.len() <= KEY_LEN_MAX, "a state key of {} bytes exceeds {KEY_LEN_MAX}", key.len());
    let mut bytes = Vec::with_capacity(9 + key.len());
    bytes.push(kind.tag());
    bytes.extend_from_slice(&shard.0.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// What all entries of the kind begin with.
pub(super) fn kind_prefix(kind: Kind) -> [u8; 1] {
    [kind.tag()]
}

/// Shard and rest of a key of the state keyspace.
pub(super) fn split_state_key(bytes: &[u8]) -> Result<(ShardId, &[u8]), VersionStoreError> {
    let too_short = || damaged("a key of `state` is too short");
    let (_, rest) = bytes.split_first().ok_or_else(too_short)?;
    let (shard, key) = rest.split_first_chunk().ok_or_else(too_short)?;
    Ok((ShardId(u64::from_be_bytes(*shard)), key))
}

pub(super) fn entry_id(id: EntryId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.term.0.to_be_bytes());
    bytes[8..].copy_from_slice(&id.index.0.to_be_bytes());
    bytes
}

pub(super) fn split_entry_id(bytes: &[u8]) -> Result<EntryId, VersionStoreError> {
    let (term, index) = bytes
        .split_first_chunk()
        .and_then(|(term, index)| Some((term, <&[u8; 8]>::try_from(index).ok()?)))
        .ok_or_else(|| damaged("an applied entry has the wrong length"))?;
    let (term, index) = (u64::from_be_bytes(*term), u64::from_be_bytes(*index));
    Ok(EntryId { term: Term(term), index: LogIndex(index) })
}

pub(super) fn damaged(what: &str) -> VersionStoreError {
    VersionStoreError::Damaged { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few different bytes, so that prefixes, zeros and escapes meet often.
    fn any_key() -> impl Strategy<Value = Key> {
        let byte = prop_oneof![Just(0), Just(1), Just(2), Just(0xfe), Just(0xff), any::<u8>()];
        proptest::collection::vec(byte, 0..6).prop_map(Key::from)
    }

    proptest! {
        #[test]
        fn history_key_of_any_pair_keeps_order_and_comes_back(
            a in any_key(), b in any_key(), s in 0..4u64, t in any::<u64>(),
        ) {
            let (s, t) = (Timestamp::from_nanos(s), Timestamp::from_nanos(t));
            let (left, right) = (history_key(&a, s), history_key(&b, t));
            prop_assert_eq!(left.cmp(&right), a.cmp(&b).then(t.cmp(&s)));
            prop_assert_eq!(split_history_key(&left).unwrap(), (a, s));
        }

        #[test]
        fn history_prefix_of_another_key_never_begins_an_entry(a in any_key(), b in any_key()) {
            let entry = history_key(&a, Timestamp::from_nanos(7));
            prop_assert_eq!(entry.starts_with(&history_prefix(&b)), a == b);
        }

        #[test]
        fn data_key_of_any_pair_keeps_order_and_comes_back(a in any_key(), b in any_key()) {
            prop_assert_eq!(data_key(&a).cmp(&data_key(&b)), a.cmp(&b));
            prop_assert!(!data_key(&a).is_empty());
            prop_assert_eq!(key_of_data(&data_key(&a)), a);
        }
    }

    #[test]
    fn history_key_with_a_zero_byte_matches_the_documented_bytes() {
        let key = Key::from(&b"k\0"[..]);
        let bytes = history_key(&key, Timestamp::from_nanos(0x0102));
        let expected = b"k\0\xff\0\x01\xff\xff\xff\xff\xff\xff\xfe\xfd";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn values_match_the_documented_bytes() {
        let row = Value::from(&b"row"[..]);
        assert_eq!(data_value(Timestamp::from_nanos(5), Some(&row)), b"\0\0\0\0\0\0\0\x05\x01row");
        assert_eq!(data_value(Timestamp::from_nanos(5), None), b"\0\0\0\0\0\0\0\x05\0");
        assert_eq!(state_key(Kind::State, ShardId(3), b"k"), b"s\0\0\0\0\0\0\0\x03k");
    }

    #[test]
    fn decoding_of_cut_or_foreign_bytes_is_damage() {
        assert!(split_history_key(b"short").is_err());
        assert!(split_history_key(b"key without end12345678").is_err());
        assert!(split_history_key(b"a\0b\0\x0112345678").is_err());
        assert!(split_data_value(b"1234567").is_err());
        assert!(split_content(b"").is_err());
        assert!(split_content(b"\x02row").is_err());
        assert!(split_content(b"\0row").is_err());
        assert!(split_entry_id(b"123456781234567").is_err());
        assert!(split_state_key(b"s1234567").is_err());
    }
}
