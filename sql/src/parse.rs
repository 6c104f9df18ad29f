//! From a text to statements.
//!
//! sqlparser with its PostgreSQL dialect parses queries, changes and table definitions; what it builds is turned
//! at once into the trees of [`ast`], in which chains are flat. What is ours alone is in `extension`, the
//! statements of a session (BEGIN, SET ..) in `session`; `dispatch` chooses. All of it works on the tokens
//! of one statement.
//!
//! Example: `BEGIN; SELECT 1` is a [`Statement::Begin`] and a [`Statement::Query`].
//!
//! Limits are checked before anything of their size is allocated: bytes and tokens of the text, nesting of
//! brackets and expressions, operators in a chain. Not here: whether tables, columns and functions exist.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::{SqlError, SqlState};
use tokens::Source;

pub mod ast;
mod convert;
mod cursor;
mod dispatch;
mod extension;
mod session;
mod statement;

#[cfg(test)]
mod tests;
mod tokens;

pub use statement::{Isolation, SetValue, Statement, TransactionModes};

/// What a text may have at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub statement_bytes_max: usize,
    /// Tokens.
    pub tokens_max: usize,
    /// Levels of brackets, and of expressions that are operands of others. A chain is one.
    pub nesting_max: usize,
    /// Operators in a chain.
    pub chain_max: usize,
    /// The number of a parameter.
    pub parameter_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            statement_bytes_max: 16 << 20,
            tokens_max: 500_000,
            nesting_max: 64,
            chain_max: 20_000,
            parameter_max: 65_535,
        }
    }
}

/// The statements of a text, which `;` separates. Empty ones are left out.
///
/// # Errors
///
/// It does not parse (42601), is too large or nests too deep (54001), or has what no release of this kind has
/// (0A000).
pub fn parse(text: &str, limits: &Limits) -> Result<Vec<Statement>, SqlError> {
    let source = Source::new(text);
    let mut tokens = tokens::tokenize(&source, limits)?;
    tokens::respell(&mut tokens);
    let statements = tokens.split(|token| token.token == Token::SemiColon);
    let statements = statements.filter(|tokens| !tokens.is_empty());
    statements.map(|tokens| statement(&Context { source: &source, limits }, tokens)).collect()
}

/// An expression alone, as defaults of columns are stored.
pub(crate) fn parse_expression(text: &str, limits: &Limits) -> Result<ast::Expr, SqlError> {
    let source = Source::new(text);
    let mut tokens = tokens::tokenize(&source, limits)?;
    tokens::respell(&mut tokens);
    tokens::check_shape(&source, &tokens, limits)?;
    let context = Context { source: &source, limits };
    let (expr, consumed) = context.expression(&tokens)?;
    match tokens.get(consumed) {
        Some(token) => Err(source.unexpected(Some(token))),
        None => Ok(expr),
    }
}

fn statement(context: &Context<'_>, tokens: &[TokenWithSpan]) -> Result<Statement, SqlError> {
    tokens::check_shape(context.source, tokens, context.limits)?;
    dispatch::statement(context, tokens)
}

/// A statement that sqlparser parses.
fn parsed(context: &Context<'_>, tokens: &[TokenWithSpan]) -> Result<Statement, SqlError> {
    let (tokens, clauses) = extension::take_clauses(context, tokens)?;
    let mut parser = context.parser(tokens);
    let parsed = parser.parse_statement().map_err(|error| context.error(error, &parser))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(context.source.unexpected(Some(&next)));
    }
    extension::put_clauses(convert::statement(context, parsed)?, clauses)
}

/// What all of parsing one text needs.
struct Context<'a> {
    source: &'a Source<'a>,
    limits: &'a Limits,
}

impl Context<'_> {
    fn parser(&self, tokens: Vec<TokenWithSpan>) -> Parser<'static> {
        static DIALECT: PostgreSqlDialect = PostgreSqlDialect {};
        // Each level of nesting is a few levels of the parser's recursion.
        Parser::new(&DIALECT)
            .with_recursion_limit(self.limits.nesting_max * 4)
            .with_tokens_with_locations(tokens)
    }

    /// The expression that some tokens start with, and how many they are.
    fn expression(&self, tokens: &[TokenWithSpan]) -> Result<(ast::Expr, usize), SqlError> {
        let mut parser = self.parser(tokens.to_vec());
        let parsed = parser.parse_expr().map_err(|error| self.error(error, &parser))?;
        let consumed = parser.index().min(tokens.len());
        Ok((convert::expression(self, parsed)?, consumed))
    }

    /// PostgreSQL's words for an error of the parser.
    fn error(&self, error: ParserError, parser: &Parser<'_>) -> SqlError {
        let message = match error {
            ParserError::RecursionLimitExceeded => return tokens::too_deep(self.limits),
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        };
        let found = located(&message).and_then(|location| {
            let mut tokens = (0..=parser.index()).rev().map(|index| parser.token_at(index));
            tokens.find(|token| token.span.start == location)
        });
        if let Some(found) = found {
            return self.source.unexpected(Some(found));
        }
        if message.contains("found: EOF") {
            return self.source.unexpected(None);
        }
        SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error: {message}"))
    }
}

/// The location at the end of a message of the parser.
fn located(message: &str) -> Option<Location> {
    let (_, location) = message.rsplit_once(" at Line: ")?;
    let (line, column) = location.split_once(", Column: ")?;
    let line = line.trim().parse().ok()?;
    let column = column.trim().parse().ok()?;
    (line > 0).then_some(Location { line, column })
}
