//! Keys, values and key spans: byte strings with an order, and nothing about what they mean.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

macro_rules! byte_string {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<[u8]>);

        impl $name {
            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name(Arc::from([]))
            }
        }

        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                $name(bytes.into())
            }
        }

        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                $name(bytes.into())
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl fmt::Display for $name {
            /// Printable ASCII as it is, everything else as `\xNN`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.escape_ascii())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Bytes;
                impl<'de> Visitor<'de> for Bytes {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a byte string")
                    }
                    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        Ok($name::from(bytes))
                    }
                    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<$name, E> {
                        Ok($name::from(bytes))
                    }
                    /// Formats without byte strings, such as JSON, have numbers in their place.
                    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<$name, A::Error> {
                        let mut bytes = Vec::new();
                        while let Some(byte) = seq.next_element()? {
                            bytes.push(byte);
                        }
                        Ok($name::from(bytes))
                    }
                }
                deserializer.deserialize_bytes(Bytes)
            }
        }
    };
}

byte_string!(
    /// A key of the ordered key space. Cheap to clone.
    Key
);
byte_string!(
    /// An encoded row. Cheap to clone.
    Value
);

impl Key {
    /// The lowest key above this one.
    #[must_use]
    pub fn successor(&self) -> Key {
        let mut bytes = Vec::with_capacity(self.0.len() + 1);
        bytes.extend_from_slice(&self.0);
        bytes.push(0);
        Key::from(bytes)
    }
}

/// The keys in `[start, end)`; without an end, all from `start` on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct KeySpan {
    /// The first key.
    pub start: Key,
    /// The first key past the end; `None` is the end of the key space.
    pub end: Option<Key>,
}

impl KeySpan {
    /// Exactly one key.
    #[must_use]
    pub fn point(key: Key) -> Self {
        let end = Some(key.successor());
        KeySpan { start: key, end }
    }

    /// `[start, end)`.
    #[must_use]
    pub fn new(start: Key, end: Key) -> Self {
        KeySpan { start, end: Some(end) }
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        KeySpan { start: Key::default(), end: None }
    }

    /// Whether no key is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The only key, when there is exactly one.
    #[must_use]
    pub fn as_point(&self) -> Option<&Key> {
        let start = self.start.as_bytes();
        let end = self.end.as_ref()?.as_bytes();
        let is_point =
            end.len() == start.len() + 1 && end.starts_with(start) && end.ends_with(&[0]);
        is_point.then_some(&self.start)
    }

    /// Whether `key` is in it.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.start <= *key && self.end.as_ref().is_none_or(|end| key < end)
    }

    /// Whether every key of `other` is in it.
    #[must_use]
    pub fn covers(&self, other: &KeySpan) -> bool {
        other.is_empty()
            || (self.start <= other.start
                && match (&self.end, &other.end) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(mine), Some(theirs)) => theirs <= mine,
                })
    }

    /// Whether the two share a key.
    #[must_use]
    pub fn overlaps(&self, other: &KeySpan) -> bool {
        self.intersection(other).is_some()
    }

    /// The keys in both, when there are any.
    #[must_use]
    pub fn intersection(&self, other: &KeySpan) -> Option<KeySpan> {
        let start = self.start.clone().max(other.start.clone());
        let end = match (&self.end, &other.end) {
            (None, end) | (end, None) => end.clone(),
            (Some(mine), Some(theirs)) => Some(mine.min(theirs).clone()),
        };
        let span = KeySpan { start, end };
        (!span.is_empty()).then_some(span)
    }
}

impl fmt::Display for KeySpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_point(), &self.end) {
            (Some(key), _) => write!(f, "{key}"),
            (None, Some(end)) => write!(f, "[{}, {end})", self.start),
            (None, None) => write!(f, "[{}, end)", self.start),
        }
    }
}
