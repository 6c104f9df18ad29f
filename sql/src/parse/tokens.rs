//! From text to tokens, and the limits that are checked before anything is built of them.
//!
//! Terms: a token's *place* is its character in the text, from 1. A *chain* is a run of operators that no comma
//! and no bracket interrupts; the parser builds a tree as deep as it is long.
//!
//! Example: `SELECT 'a` has no end, which is an error at place 8.
//!
//! Not here: what the tokens mean.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::Limits;
use crate::error::{SqlError, SqlState};

/// A statement's text, with what it takes to name a place in it.
pub(super) struct Source<'a> {
    text: &'a str,
    /// Of each line: the byte and the character that it starts at.
    lines: Vec<(usize, u32)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut lines = vec![(0, 0)];
        let mut characters = 0;
        for (byte, character) in text.char_indices() {
            characters += 1;
            if character == '\n' {
                lines.push((byte + 1, characters));
            }
        }
        Source { text, lines }
    }

    /// The place of a location; 0 when it has none.
    pub(super) fn place(&self, location: Location) -> u32 {
        let line = usize::try_from(location.line).ok().and_then(|line| line.checked_sub(1));
        let start = line.and_then(|line| self.lines.get(line));
        start.map_or(0, |(_, start)| start + u32::try_from(location.column).unwrap_or(0))
    }

    fn byte(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(1).max(1) - 1;
        let Some((start, _)) = self.lines.get(line) else { return self.text.len() };
        let column = usize::try_from(location.column).unwrap_or(1).max(1) - 1;
        let rest = &self.text[*start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(byte, _)| byte)
    }

    /// The text between two locations.
    pub(super) fn slice(&self, span: Span) -> &'a str {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        self.text.get(start..end).unwrap_or("").trim_end()
    }

    /// The error that PostgreSQL gives for a token that cannot stand there.
    pub(super) fn unexpected(&self, token: Option<&TokenWithSpan>) -> SqlError {
        match token {
            Some(TokenWithSpan { token: Token::EOF, .. }) | None => self.unexpected_end(),
            Some(token) => {
                let message = format!("syntax error at or near \"{}\"", self.slice(token.span));
                let place = self.place(token.span.start);
                SqlError::new(SqlState::SYNTAX_ERROR, message).at(place)
            }
        }
    }

    fn unexpected_end(&self) -> SqlError {
        let end = u32::try_from(self.text.chars().count()).unwrap_or(u32::MAX).saturating_add(1);
        SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at end of input").at(end)
    }
}

fn too_complex(message: String, hint: &str) -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, message).with_hint(hint)
}

/// The tokens of a text without blanks and comments.
pub(super) fn tokenize(
    source: &Source<'_>,
    limits: &Limits,
) -> Result<Vec<TokenWithSpan>, SqlError> {
    let length = source.text.len();
    if length > limits.statement_bytes_max {
        let message = format!(
            "the statement has {length} bytes; the limit is {}",
            limits.statement_bytes_max
        );
        return Err(too_complex(message, "Send the rows in several statements."));
    }
    if estimate(source.text) > limits.tokens_max {
        return Err(too_many(limits));
    }
    let mut all = Vec::new();
    let dialect = PostgreSqlDialect {};
    let outcome = Tokenizer::new(&dialect, source.text).tokenize_with_location_into_buf(&mut all);
    outcome.map_err(|error| lexical(source, &error.message, error.location))?;
    let tokens = significant(all);
    if tokens.len() > limits.tokens_max {
        return Err(too_many(limits));
    }
    Ok(tokens)
}

fn too_many(limits: &Limits) -> SqlError {
    let message = format!("the statement has more than {} tokens", limits.tokens_max);
    too_complex(message, "Send the rows in several statements, or as parameters.")
}

/// PostgreSQL's words for what is no token.
fn lexical(source: &Source<'_>, message: &str, location: Location) -> SqlError {
    let place = source.place(location);
    let rest = &source.text[source.byte(location).min(source.text.len())..];
    let near: String = rest.chars().take(40).collect();
    let lower = message.to_ascii_lowercase();
    let words = if lower.contains("string literal") || lower.contains("unterminated encoded") {
        "unterminated quoted string"
    } else if lower.contains("close delimiter") {
        "unterminated quoted identifier"
    } else if lower.contains("dollar") {
        "unterminated dollar-quoted string"
    } else if lower.contains("multi-line comment") {
        "unterminated /* comment"
    } else {
        "syntax error"
    };
    let message = format!("{words} at or near \"{near}\"");
    SqlError::new(SqlState::SYNTAX_ERROR, message).at(place)
}

/// Drops blanks and comments. Two texts with a line break between them are one text, as the standard says.
fn significant(all: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(all.len() / 2);
    let mut line_break = false;
    for TokenWithSpan { token, span } in all {
        match token {
            Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }) => {
                line_break = true;
                continue;
            }
            Token::Whitespace(_) => continue,
            Token::EOF => break,
            Token::SingleQuotedString(text) => match kept.last_mut() {
                Some(TokenWithSpan { token: Token::SingleQuotedString(before), span: whole })
                    if line_break =>
                {
                    before.push_str(&text);
                    whole.end = span.end;
                }
                _ => kept.push(TokenWithSpan { token: Token::SingleQuotedString(text), span }),
            },
            token => kept.push(TokenWithSpan { token, span }),
        }
        line_break = false;
    }
    kept
}

/// About how many tokens a text has: words, numbers, quoted texts and signs. Counted without allocating,
/// because a text of 16 MiB may have as many tokens, each of a hundred bytes.
fn estimate(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut count) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let (length, counts) = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => (1, false),
            b'\'' | b'"' => (quoted(rest, byte, false), true),
            b'e' | b'E' if rest.get(1) == Some(&b'\'') => {
                (1 + quoted(&rest[1..], b'\'', true), true)
            }
            b'-' if rest.starts_with(b"--") => (until(rest, b"\n"), false),
            b'/' if rest.starts_with(b"/*") => (until(rest, b"*/"), false),
            b'$' if !rest.get(1).is_some_and(u8::is_ascii_digit) => {
                let tag = 1 + rest[1..]
                    .iter()
                    .take_while(|each| is_word(**each) && **each != b'$')
                    .count();
                match rest.get(tag) {
                    Some(b'$') => (tag + 1 + until(&rest[tag + 1..], &rest[..=tag]), true),
                    _ => (1, true),
                }
            }
            _ if is_word(byte) => (rest.iter().take_while(|each| is_word(**each)).count(), true),
            _ => (1, true),
        };
        at += length;
        count += usize::from(counts);
    }
    count
}

/// The length of a quoted text.
fn quoted(text: &[u8], quote: u8, backslashes: bool) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        at += 1;
        if *byte == quote {
            return at;
        }
        at += usize::from(backslashes && *byte == b'\\');
    }
    text.len()
}

/// The length up to and with a mark, or of all.
fn until(text: &[u8], mark: &[u8]) -> usize {
    let found = text.windows(mark.len()).position(|window| window == mark);
    found.map_or(text.len(), |at| at + mark.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// A query in brackets takes as much of the parser's stack as so many other brackets.
const QUERY_LEVELS: usize = 3;

/// Refuses what nests too deep or chains too many operators.
pub(super) fn check_shape(
    source: &Source<'_>,
    tokens: &[TokenWithSpan],
    limits: &Limits,
) -> Result<(), SqlError> {
    let mut levels = vec![Chain::default()];
    // Prefix operators in a row, each of which is a level.
    let mut prefixes = 0;
    let mut cases = 0_usize;
    // Levels of brackets, those around queries counted more often.
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        prefixes = if is_prefix(&token.token) { prefixes + 1 } else { 0 };
        match &token.token {
            Token::Word(word) if word.keyword == Keyword::CASE => cases += 1,
            Token::Word(word) if word.keyword == Keyword::END => cases = cases.saturating_sub(1),
            _ => {}
        }
        if prefixes.max(cases) > limits.nesting_max {
            return Err(too_deep(limits).at(source.place(token.span.start)));
        }
        let open = levels.len() - 1;
        let top = levels.last_mut().expect("the outermost is never closed");
        match &token.token {
            Token::LParen | Token::LBracket => {
                let weight = if starts_query(&tokens[at + 1..]) { QUERY_LEVELS } else { 1 };
                levels.push(Chain { weight, ..Chain::default() });
                depth += weight;
                if depth > limits.nesting_max {
                    return Err(too_deep(limits).at(source.place(token.span.start)));
                }
            }
            Token::RParen | Token::RBracket if open > 0 => {
                depth -= levels.pop().map_or(0, |level| level.weight);
            }
            Token::Comma => *top = Chain { weight: top.weight, ..Chain::default() },
            other => top.see(other),
        }
        let top = levels.last().expect("the outermost is never closed");
        if top.operators > limits.chain_max {
            let message = format!("an expression has more than {} operators", limits.chain_max);
            let hint = "Use IN (..) instead of many ORs, or parentheses around parts of it.";
            return Err(too_complex(message, hint).at(source.place(token.span.start)));
        }
    }
    Ok(())
}

fn starts_query(tokens: &[TokenWithSpan]) -> bool {
    match tokens.first().map(|token| &token.token) {
        Some(Token::Word(word)) => {
            word.quote_style.is_none()
                && matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES)
        }
        _ => false,
    }
}

fn is_prefix(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && word.keyword == Keyword::NOT,
        other => matches!(other, Token::Minus | Token::Plus | Token::Tilde),
    }
}

/// What nests too deep.
pub(super) fn too_deep(limits: &Limits) -> SqlError {
    let message = format!("the statement nests deeper than {} levels", limits.nesting_max);
    too_complex(message, "Simplify the expression.")
}

#[derive(Default)]
struct Chain {
    /// How many levels its brackets count as.
    weight: usize,
    operators: usize,
    /// Whether an operator came since the last AND or OR. The first comparison after one is an operand of it
    /// and makes the chain no deeper.
    compared: bool,
}

impl Chain {
    fn see(&mut self, token: &Token) {
        match token {
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::AND | Keyword::OR => {
                    self.operators += 1;
                    self.compared = false;
                }
                Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::NOT
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::AT
                | Keyword::OPERATOR
                | Keyword::OVERLAPS => self.operators += 1,
                _ => {}
            },
            Token::Eq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq | Token::Neq
                if !self.compared =>
            {
                self.compared = true;
            }
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Period
            | Token::Placeholder(_)
            | Token::LParen
            | Token::RParen => {}
            _ => {
                self.operators += 1;
                self.compared = true;
            }
        }
    }
}

/// Writes what sqlparser does not know in words that it does: BETWEEN SYMMETRIC with a sign, BETWEEN ASYMMETRIC
/// and TRIM (LEADING FROM ..) without their words of noise.
pub(super) fn respell(tokens: &mut Vec<TokenWithSpan>) {
    let is = |token: &TokenWithSpan, keyword| match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.keyword == keyword,
        _ => false,
    };
    for at in 1..tokens.len() {
        if is(&tokens[at - 1], Keyword::BETWEEN) && is(&tokens[at], Keyword::SYMMETRIC) {
            tokens[at].token = Token::AtDashAt;
        }
    }
    let (mut between, mut side) = (false, false);
    tokens.retain(|token| {
        let noise =
            (between && is(token, Keyword::ASYMMETRIC)) || (side && is(token, Keyword::FROM));
        between = is(token, Keyword::BETWEEN);
        let sides = [Keyword::BOTH, Keyword::LEADING, Keyword::TRAILING];
        side = sides.iter().any(|keyword| is(token, *keyword));
        !noise
    });
}
