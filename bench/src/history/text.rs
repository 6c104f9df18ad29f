//! Byte strings as JSON strings: text as it is, anything else as `\x` and hexadecimal digits.
//!
//! The form is PostgreSQL's for bytea. Text that itself begins with `\x` is written in hexadecimal, so
//! that every byte string has exactly one reading.

use std::borrow::Cow;

const HEX_PREFIX: &str = "\\x";
const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The text form of `bytes`.
pub(super) fn encode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(HEX_PREFIX) => Cow::Borrowed(text),
        Ok(_) | Err(_) => {
            let mut text = String::with_capacity(2 + 2 * bytes.len());
            text.push_str(HEX_PREFIX);
            for byte in bytes {
                text.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
                text.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
            }
            Cow::Owned(text)
        }
    }
}

/// The bytes that `text` stands for, or `None` when what follows `\x` is not pairs of digits.
pub(super) fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let Some(digits) = text.strip_prefix(HEX_PREFIX) else {
        return Some(Cow::Borrowed(text.as_bytes()));
    };
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    bytes.map(Cow::Owned)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encode_utf8_stays_readable() {
        assert_eq!(encode(b"a/0001"), "a/0001");
        assert_eq!(encode("\u{e9}\"\n".as_bytes()), "\u{e9}\"\n");
    }

    #[test]
    fn encode_binary_becomes_hexadecimal() {
        assert_eq!(encode(&[0x00, 0xff, 0x1b]), "\\x00ff1b");
        assert_eq!(encode(b"\\x41"), "\\x5c783431");
    }

    #[test]
    fn decode_inverts_encode_for_every_prefix() {
        for bytes in [&b""[..], b"\\", b"\\x", b"\\x4", b"text", &[0xff], &[0, 1, 2], b"\\y"] {
            assert_eq!(decode(&encode(bytes)).as_deref(), Some(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn decode_odd_or_foreign_digits_is_refused() {
        assert_eq!(decode("\\x4"), None);
        assert_eq!(decode("\\x4g"), None);
    }
}
