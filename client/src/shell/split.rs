//! Cuts input into statements and the shell's own commands.
//!
//! A statement ends with `;` outside of strings, quoted names, dollar quotes and comments. A `\` in the same
//! places starts a command, which is the rest of its line.
//!
//! ```text
//! SELECT 'a;b', $x$ ; $x$ -- ;      not complete yet
//!   FROM t; \d t                    completes the statement; then the command "d t"
//! ```
//! Text is fed line by line, and each character is looked at once, however long a statement gets.
//!
//! Not here: whether a statement is SQL.

/// What was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Without the `;`, and without the spaces around it.
    Statement {
        /// Its text.
        text: String,
        /// The line of the input on which it starts, from 1.
        line: u32,
    },
    /// Without the `\`.
    Command {
        /// Its text.
        text: String,
        /// Its line of the input, from 1.
        line: u32,
    },
}

/// In what the text fed so far ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Inside {
    /// Between statements.
    #[default]
    Nothing,
    /// A statement.
    Statement,
    /// A string: `'...'`.
    Text,
    /// A quoted name: `"..."`.
    Name,
    /// `$tag$...$tag$`.
    Dollars,
    /// A comment with `/*`.
    Comment,
}

/// Where in a statement the scan stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Plain,
    /// In a string whose backslashes are like any other character.
    Text,
    /// In an E'' string, where a backslash takes the next character with it.
    EscapedText,
    Name,
    /// With the delimiter, `$` included.
    Dollars(String),
    /// How many comments are open.
    Comment(u32),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Splitter {
    /// The statement so far, and what follows it.
    text: String,
    /// Up to where it was scanned.
    at: usize,
    mode: Mode,
    /// Where the first character of the statement is that is no space or comment.
    starts_at: Option<usize>,
    /// The line of the input at which `text` starts.
    line: u32,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Splitter { text: String::new(), at: 0, mode: Mode::Plain, starts_at: None, line: 1 }
    }

    /// More input: whole lines, or the rest of it.
    pub(super) fn feed(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Throws away what is not complete.
    pub(super) fn clear(&mut self) {
        let lines = newlines(&self.text);
        *self = Splitter { line: self.line.saturating_add(lines), ..Splitter::new() };
    }

    /// In what the input ends. For after [`Splitter::next`] has answered `None`.
    pub(super) fn inside(&self) -> Inside {
        match &self.mode {
            Mode::Plain if self.starts_at.is_some() => Inside::Statement,
            Mode::Plain => Inside::Nothing,
            Mode::Text | Mode::EscapedText => Inside::Text,
            Mode::Name => Inside::Name,
            Mode::Dollars(_) => Inside::Dollars,
            Mode::Comment(_) => Inside::Comment,
        }
    }

    /// The next piece that is complete.
    pub(super) fn next(&mut self) -> Option<Piece> {
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            match &mut self.mode {
                Mode::Plain => {
                    if let Some(piece) = self.plain() {
                        return Some(piece);
                    }
                }
                Mode::Text => self.close('\''),
                Mode::Name => self.close('"'),
                Mode::EscapedText => match rest.find(['\'', '\\']) {
                    Some(found) if rest[found..].starts_with('\\') => {
                        let escaped = rest[found + 1..].chars().next().map_or(0, char::len_utf8);
                        self.at += found + 1 + escaped;
                    }
                    Some(_) | None => self.close('\''),
                },
                Mode::Dollars(delimiter) => match rest.find(delimiter.as_str()) {
                    Some(found) => {
                        self.at += found + delimiter.len();
                        self.mode = Mode::Plain;
                    }
                    None => self.at = self.text.len(),
                },
                Mode::Comment(depth) => {
                    let next = rest.find("/*").into_iter().chain(rest.find("*/")).min();
                    let Some(found) = next else {
                        self.at = self.text.len();
                        continue;
                    };
                    let opens = rest[found..].starts_with("/*");
                    *depth = if opens { *depth + 1 } else { *depth - 1 };
                    if *depth == 0 {
                        self.mode = Mode::Plain;
                    }
                    self.at += found + 2;
                }
            }
        }
        None
    }

    /// What is left when the input has ended: a last statement without its `;`.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        let starts_at = self.starts_at?;
        let end = self.text.len();
        Some(self.cut_statement(starts_at, end, end))
    }

    /// Goes on to behind the closing quote. A doubled one closes and opens again, which comes to the same.
    fn close(&mut self, quote: char) {
        match self.text[self.at..].find(quote) {
            Some(found) => {
                self.at += found + quote.len_utf8();
                self.mode = Mode::Plain;
            }
            None => self.at = self.text.len(),
        }
    }

    /// Looks at one thing outside of quotes and comments.
    fn plain(&mut self) -> Option<Piece> {
        let at = self.at;
        let rest = &self.text[at..];
        let first = rest.chars().next()?;
        if first.is_whitespace() || first == '\u{feff}' {
            self.at += first.len_utf8();
            return None;
        }
        if rest.starts_with("--") {
            self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
            return None;
        }
        if rest.starts_with("/*") {
            self.mode = Mode::Comment(1);
            self.at += 2;
            return None;
        }
        if first == '\\' {
            return Some(self.cut_command());
        }
        if first == ';' {
            self.at += 1;
            if let Some(starts_at) = self.starts_at {
                return Some(self.cut_statement(starts_at, at, at + 1));
            }
            return None;
        }
        self.starts_at.get_or_insert(at);
        match first {
            '\'' => (self.mode, self.at) = (Mode::Text, at + 1),
            '"' => (self.mode, self.at) = (Mode::Name, at + 1),
            '$' => match dollar_delimiter(rest) {
                Some(delimiter) => {
                    self.at += delimiter.len();
                    self.mode = Mode::Dollars(delimiter.to_owned());
                }
                None => self.at += 1,
            },
            'e' | 'E' if rest[1..].starts_with('\'') => {
                (self.mode, self.at) = (Mode::EscapedText, at + 2);
            }
            first if is_word(first) => {
                // A whole word, so that the `$` or the `e` at its end is taken for what it is.
                self.at += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            }
            other => self.at += other.len_utf8(),
        }
        None
    }

    fn cut_statement(&mut self, starts_at: usize, end: usize, after: usize) -> Piece {
        let line = self.line.saturating_add(newlines(&self.text[..starts_at]));
        let text = self.text[starts_at..end].trim_end().to_owned();
        self.drop_up_to(after);
        Piece::Statement { text, line }
    }

    /// Takes the command out of the text, and leaves what is around it.
    fn cut_command(&mut self) -> Piece {
        let rest = &self.text[self.at..];
        let end = rest.find('\n').unwrap_or(rest.len());
        let text = rest[1..end].trim().to_owned();
        let line = self.line.saturating_add(newlines(&self.text[..self.at]));
        if self.starts_at.is_some() {
            // The newline stays, so that lines are counted right.
            self.text.replace_range(self.at..self.at + end, "");
        } else {
            let after = self.at + (end + 1).min(rest.len());
            self.drop_up_to(after);
        }
        Piece::Command { text, line }
    }

    fn drop_up_to(&mut self, end: usize) {
        self.line = self.line.saturating_add(newlines(&self.text[..end]));
        self.text.drain(..end);
        (self.at, self.mode, self.starts_at) = (0, Mode::Plain, None);
    }
}

fn newlines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// `$$` or `$tag$` at the start of the text. `$1` is a parameter.
fn dollar_delimiter(text: &str) -> Option<&str> {
    let tag = text[1..].find('$').map(|end| &text[1..=end])?;
    let fits = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_numeric());
    fits.then(|| &text[..tag.len() + 2])
}

#[cfg(test)]
mod tests {
    use super::{Inside, Piece, Splitter};

    /// Fed line by line, as from a terminal: the pieces, and what the text ends in.
    fn split(text: &str) -> (Vec<String>, Inside) {
        let mut splitter = Splitter::new();
        let mut pieces = Vec::new();
        for line in text.split_inclusive('\n') {
            splitter.feed(line);
            pieces.extend(std::iter::from_fn(|| splitter.next()));
        }
        let inside = splitter.inside();
        let pieces = pieces.into_iter().map(|piece| match piece {
            Piece::Statement { text, line } => format!("{line}: {text}"),
            Piece::Command { text, line } => format!("{line}: \\{text}"),
        });
        (pieces.collect(), inside)
    }

    #[track_caller]
    fn check(text: &str, pieces: &[&str], inside: Inside) {
        let (found, ends) = split(text);
        assert_eq!(found, pieces, "{text:?}");
        assert_eq!(ends, inside, "{text:?}");
        // All at once gives the same.
        let mut splitter = Splitter::new();
        splitter.feed(text);
        assert_eq!(std::iter::from_fn(|| splitter.next()).count(), pieces.len(), "{text:?}");
    }

    #[test]
    fn statements_end_at_semicolons() {
        check("SELECT 1; SELECT 2;\n", &["1: SELECT 1", "1: SELECT 2"], Inside::Nothing);
        check("SELECT\n 1\n;", &["1: SELECT\n 1"], Inside::Nothing);
        check(";;\n ; SELECT 1 ;", &["2: SELECT 1"], Inside::Nothing);
        check("SELECT 1", &[], Inside::Statement);
        check("", &[], Inside::Nothing);
    }

    #[test]
    fn semicolons_in_quotes_do_not_end_statements() {
        check("SELECT ';';", &["1: SELECT ';'"], Inside::Nothing);
        check("SELECT 'it''s;';", &["1: SELECT 'it''s;'"], Inside::Nothing);
        check("SELECT \"a;\"\"b;\";", &["1: SELECT \"a;\"\"b;\""], Inside::Nothing);
        check("SELECT 'a\n;", &[], Inside::Text);
        check("SELECT \"a\n;", &[], Inside::Name);
        check("SELECT ''; SELECT 2;", &["1: SELECT ''", "1: SELECT 2"], Inside::Nothing);
    }

    #[test]
    fn backslash_escapes_the_quote_only_in_e_strings() {
        check(r"SELECT '\'; SELECT 2;", &[r"1: SELECT '\'", "1: SELECT 2"], Inside::Nothing);
        check(r"SELECT E'\';'; SELECT 2;", &[r"1: SELECT E'\';'", "1: SELECT 2"], Inside::Nothing);
        check(r"SELECT e'\\'; SELECT 2;", &[r"1: SELECT e'\\'", "1: SELECT 2"], Inside::Nothing);
        check("SELECT E'\\\u{e9}'; ", &["1: SELECT E'\\\u{e9}'"], Inside::Nothing);
        // The e of another word makes no such string.
        check(
            r"SELECT type'\'; SELECT 2;",
            &[r"1: SELECT type'\'", "1: SELECT 2"],
            Inside::Nothing,
        );
        check(r"SELECT E'\", &[], Inside::Text);
    }

    #[test]
    fn dollar_quotes_end_with_their_own_tag() {
        check("SELECT $$;'$$;", &["1: SELECT $$;'$$"], Inside::Nothing);
        check("SELECT $a$;$b$;$$;$a$;", &["1: SELECT $a$;$b$;$$;$a$"], Inside::Nothing);
        check("SELECT $a$\n;", &[], Inside::Dollars);
        check("SELECT $1; SELECT $2;", &["1: SELECT $1", "1: SELECT $2"], Inside::Nothing);
        check("SELECT $1 + $2$;", &["1: SELECT $1 + $2$"], Inside::Nothing);
        // In a name, dollars are letters.
        check("SELECT a$b$; SELECT 2;", &["1: SELECT a$b$", "1: SELECT 2"], Inside::Nothing);
        check("SELECT $\u{e9}$;$\u{e9}$;", &["1: SELECT $\u{e9}$;$\u{e9}$"], Inside::Nothing);
    }

    #[test]
    fn semicolons_in_comments_do_not_end_statements() {
        check("SELECT 1 -- ;\n;", &["1: SELECT 1 -- ;"], Inside::Nothing);
        check("SELECT /* ; /* ; */ ; */ 1;", &["1: SELECT /* ; /* ; */ ; */ 1"], Inside::Nothing);
        check("/* open\n;", &[], Inside::Comment);
        check("-- only\n/* comments */\n", &[], Inside::Nothing);
        check("-- before\n\nSELECT 1;", &["3: SELECT 1"], Inside::Nothing);
        check("SELECT '--'; SELECT 2;", &["1: SELECT '--'", "1: SELECT 2"], Inside::Nothing);
        check(
            "SELECT 1 - -1; SELECT 4/2*2;",
            &["1: SELECT 1 - -1", "1: SELECT 4/2*2"],
            Inside::Nothing,
        );
    }

    #[test]
    fn commands_take_the_rest_of_their_line() {
        check(
            "\\d accounts; x\nSELECT 1;",
            &["1: \\d accounts; x", "2: SELECT 1"],
            Inside::Nothing,
        );
        check("SELECT 1; \\q", &["1: SELECT 1", "1: \\q"], Inside::Nothing);
        check("-- so\n\\x\n", &["2: \\x"], Inside::Nothing);
        check("SELECT '\\d';", &["1: SELECT '\\d'"], Inside::Nothing);
    }

    #[test]
    fn command_inside_a_statement_leaves_the_statement() {
        check("SELECT\n\\?\n1;", &["2: \\?", "1: SELECT\n\n1"], Inside::Nothing);
    }

    #[test]
    fn last_statement_needs_no_semicolon_and_comments_are_none() {
        let mut splitter = Splitter::new();
        splitter.feed("-- a\nSELECT 'open");
        assert_eq!(splitter.next(), None);
        let text = "SELECT 'open".to_owned();
        assert_eq!(splitter.finish(), Some(Piece::Statement { text, line: 2 }));
        assert_eq!(splitter.finish(), None);
        splitter.feed("-- nothing\n");
        assert_eq!(splitter.next(), None);
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn cleared_input_starts_anew_and_lines_go_on() {
        let mut splitter = Splitter::new();
        splitter.feed("SELECT '\n");
        assert_eq!(splitter.next(), None);
        splitter.clear();
        assert_eq!(splitter.inside(), Inside::Nothing);
        splitter.feed("SELECT 2;\n");
        let text = "SELECT 2".to_owned();
        assert_eq!(splitter.next(), Some(Piece::Statement { text, line: 2 }));
    }

    #[test]
    fn byte_order_mark_is_no_part_of_a_statement() {
        check("\u{feff}SELECT 1;", &["1: SELECT 1"], Inside::Nothing);
    }
}
