//! What one cell of a table shows: lines of a known width, without anything that would move the cursor.

use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Where tabulators stand.
const TAB_WIDTH: usize = 8;

/// How a line of a cell goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    /// It was the last one.
    Ends,
    /// The text has a newline here.
    Newline,
    /// The line was too long.
    Wraps,
}

/// One line of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) goes: Goes,
}

/// How many columns of a terminal a text takes.
pub(in super::super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A line without control characters: they are written as what they are.
pub(in super::super) fn clean(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '\t' => {
                let gap = TAB_WIDTH - width(&clean) % TAB_WIDTH;
                clean.extend(std::iter::repeat_n(' ', gap));
            }
            '\r' => clean.push_str("\\r"),
            '\n' => clean.push_str("\\n"),
            c if c.is_control() => {
                write!(clean, "\\x{:02X}", u32::from(c)).expect("a string takes everything");
            }
            // These turn the direction of what follows, also of other cells.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(clean, "\\u{:04X}", u32::from(c)).expect("a string takes everything");
            }
            c => clean.push(c),
        }
    }
    clean
}

/// How wide a text is when nothing has to wrap.
pub(super) fn natural_width(text: &str) -> usize {
    text.split('\n').map(|line| width(&clean(line))).max().unwrap_or(0)
}

/// The lines of a text, none wider than `width_max`, which is at least 2.
pub(super) fn lines(text: &str, width_max: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let line = clean(line);
        let mut rest = line.as_str();
        while width(rest) > width_max {
            let (head, tail) = rest.split_at(cut(rest, width_max));
            lines.push(Line { text: head.to_owned(), goes: Goes::Wraps });
            rest = tail;
        }
        lines.push(Line { text: rest.to_owned(), goes: Goes::Newline });
    }
    if let Some(last) = lines.last_mut() {
        last.goes = Goes::Ends;
    }
    lines
}

/// How many bytes of a text fit: at least one character, and what combines with the last one.
fn cut(text: &str, width_max: usize) -> usize {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += c.width().unwrap_or(0);
        if taken > width_max && at > 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Goes, clean, lines};

    fn check(text: &str, width_max: usize, expected: &[(&str, Goes)]) {
        let found = lines(text, width_max);
        let found: Vec<_> = found.iter().map(|line| (line.text.as_str(), line.goes)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn long_lines_wrap_between_characters() {
        check("abcdef", 3, &[("abc", Goes::Wraps), ("def", Goes::Ends)]);
        check("ab\n\nc", 3, &[("ab", Goes::Newline), ("", Goes::Newline), ("c", Goes::Ends)]);
        // Wide characters take two columns each.
        check("\u{6c34}\u{6c34}", 3, &[("\u{6c34}", Goes::Wraps), ("\u{6c34}", Goes::Ends)]);
        // What combines stays with what it combines with.
        check("ae\u{301}b", 2, &[("ae\u{301}", Goes::Wraps), ("b", Goes::Ends)]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\tb"), "a       b");
        assert_eq!(clean("\u{1b}[2J\r"), "\\x1B[2J\\r");
        assert_eq!(clean("a\u{202e}b"), "a\\u202Eb");
    }
}
