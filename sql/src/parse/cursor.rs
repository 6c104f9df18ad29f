//! Reads tokens one by one, for what we parse without sqlparser.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::ast::Name;
use super::tokens::Source;
use crate::error::SqlError;

/// A place among the tokens of one statement.
pub(super) struct Cursor<'a> {
    source: &'a Source<'a>,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a Source<'a>, tokens: &'a [TokenWithSpan]) -> Self {
        Cursor { source, tokens, at: 0 }
    }

    /// The tokens not read yet.
    pub(super) fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.at..]
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.tokens.len());
    }

    pub(super) fn peek(&self) -> Option<&'a TokenWithSpan> {
        self.tokens.get(self.at)
    }

    pub(super) fn place(&self) -> u32 {
        self.peek().map_or(0, |token| self.source.place(token.span.start))
    }

    /// Reads these words, if they come next.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let found = starts_with(self.rest(), words);
        if found {
            self.at += words.len();
        }
        found
    }

    /// Reads a word, if it comes next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        self.words(&[word])
    }

    /// Reads a sign, if it comes next.
    pub(super) fn sign(&mut self, sign: &Token) -> bool {
        let found = self.peek().is_some_and(|token| token.token == *sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_words(&mut self, words: &[&str]) -> Result<(), SqlError> {
        for word in words {
            if !self.word(word) {
                return Err(self.unexpected());
            }
        }
        Ok(())
    }

    pub(super) fn expect_sign(&mut self, sign: &Token) -> Result<(), SqlError> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// A name, folded unless quoted.
    pub(super) fn name(&mut self) -> Result<Name, SqlError> {
        let at = self.place();
        match self.peek().map(|token| &token.token) {
            Some(Token::Word(word)) => {
                self.at += 1;
                let value = match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_lowercase(),
                };
                Ok(Name { value, at })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A text in quotes.
    pub(super) fn text(&mut self) -> Option<String> {
        match self.peek().map(|token| &token.token) {
            Some(
                Token::SingleQuotedString(text)
                | Token::EscapedStringLiteral(text)
                | Token::UnicodeStringLiteral(text),
            ) => {
                self.at += 1;
                Some(text.clone())
            }
            Some(Token::DollarQuotedString(text)) => {
                self.at += 1;
                Some(text.value.clone())
            }
            _ => None,
        }
    }

    /// A number, with its sign.
    pub(super) fn number(&mut self) -> Option<String> {
        let (sign, ahead) = match self.peek().map(|token| &token.token) {
            Some(Token::Minus) => ("-", 1),
            Some(Token::Plus) => ("", 1),
            _ => ("", 0),
        };
        match self.tokens.get(self.at + ahead).map(|token| &token.token) {
            Some(Token::Number(digits, _)) => {
                self.at += ahead + 1;
                Some(format!("{sign}{digits}"))
            }
            _ => None,
        }
    }

    /// Refuses what is left.
    pub(super) fn end(&self) -> Result<(), SqlError> {
        if self.at < self.tokens.len() { Err(self.unexpected()) } else { Ok(()) }
    }

    pub(super) fn unexpected(&self) -> SqlError {
        self.source.unexpected(self.peek())
    }
}

/// Whether tokens start with these words, unquoted, in any case.
pub(super) fn starts_with(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && words.iter().zip(tokens).all(|(word, token)| match &token.token {
            Token::Word(found) => {
                found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word)
            }
            _ => false,
        })
}
