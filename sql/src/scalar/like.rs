//! LIKE: `%` stands for any characters, `_` for one, and a backslash takes their meaning from them.
//!
//! Not here: other escape characters. `a LIKE p ESCAPE e` is `a ~~ like_escape(p, e)`, as in PostgreSQL.

use crate::error::{SqlError, SqlState};

/// What one `_` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A character of UTF-8.
    Character,
    /// A byte.
    Byte,
}

impl Unit {
    /// How long the unit is that starts with that byte.
    fn length(self, first: u8) -> usize {
        match (self, first) {
            (Unit::Byte, _) | (_, 0..0xC0) => 1,
            (Unit::Character, 0xC0..0xE0) => 2,
            (Unit::Character, 0xE0..0xF0) => 3,
            (Unit::Character, 0xF0..) => 4,
        }
    }
}

/// Whether a text matches a pattern.
///
/// One place is enough to come back to: if what follows a `%` does not match, an earlier `%` would not help.
pub(super) fn matches(text: &[u8], pattern: &[u8], unit: Unit) -> Result<bool, SqlError> {
    let (mut at, mut sought) = (0, 0);
    // Where the pattern goes on after the last `%`, and where the text was tried.
    let mut last: Option<(usize, usize)> = None;
    while at < text.len() {
        let literal = match pattern.get(sought) {
            Some(b'%') => {
                // What follows is seen before it is known whether any text is left for it, as in PostgreSQL.
                while let Some(wildcard @ (b'%' | b'_')) = pattern.get(sought) {
                    if *wildcard == b'_' {
                        let Some(first) = text.get(at) else { return Ok(false) };
                        at += unit.length(*first);
                    }
                    sought += 1;
                }
                if pattern[sought..] == *b"\\" {
                    return Err(ends_in_escape());
                }
                last = Some((sought, at));
                continue;
            }
            Some(b'_') => {
                at += unit.length(text[at]);
                sought += 1;
                continue;
            }
            Some(b'\\') => Some((*pattern.get(sought + 1).ok_or_else(ends_in_escape)?, 2)),
            Some(byte) => Some((*byte, 1)),
            None => None,
        };
        match literal {
            Some((byte, length)) if byte == text[at] => {
                at += 1;
                sought += length;
            }
            _ => match last {
                Some((after, tried)) => {
                    let next = tried + unit.length(text[tried]);
                    (sought, at, last) = (after, next, Some((after, next)));
                }
                None => return Ok(false),
            },
        }
    }
    Ok(pattern[sought.min(pattern.len())..].iter().all(|byte| *byte == b'%'))
}

fn ends_in_escape() -> SqlError {
    let message = "LIKE pattern must not end with escape character";
    SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, message)
}

/// The pattern with backslashes for its own escape character; none if that is empty.
pub(super) fn with_backslashes(pattern: &str, escape: &str) -> Result<String, SqlError> {
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        return Err(SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .with_hint("Escape string must be empty or one character."));
    }
    if escape == Some('\\') {
        return Ok(pattern.to_owned());
    }
    let mut result = String::with_capacity(pattern.len());
    let mut escaped = false;
    for c in pattern.chars() {
        if Some(c) == escape && !escaped {
            result.push('\\');
            escaped = true;
            continue;
        }
        if c == '\\' && !escaped {
            result.push('\\');
        }
        result.push(c);
        escaped = false;
    }
    Ok(result)
}
