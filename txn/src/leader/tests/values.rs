//! Keys, writes and who asks, for the tests of the leader.

use proto::{GrantPair, Key, Priority, TxnId, Value};
use truetime::Timestamp;

use crate::message::{Attempt, Participant, Write};

pub(super) fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

pub(super) fn write(name: &str) -> Write {
    Write { key: key(name), value: Some(Value::from(&b"row"[..])) }
}

pub(super) fn attempt(id: TxnId, grant: Option<GrantPair>) -> Attempt {
    Attempt { id, priority: Priority::first(id), grant }
}

pub(super) fn participant(name: &str, prepare_ts: u64, expires: Option<u64>) -> Participant {
    Participant {
        key: key(name),
        prepare_ts: Timestamp::from_nanos(prepare_ts),
        expires: expires.map(Timestamp::from_nanos),
        writes: true,
    }
}
