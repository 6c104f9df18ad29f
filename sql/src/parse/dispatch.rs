//! Which parser a statement is for, by its first words.
//!
//! sqlparser knows the statements of many databases, some of which nest in each other without brackets and as
//! deep as its stack. It is given only those that we have; PostgreSQL's others are refused by name here.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::starts_with;
use super::{Context, Statement, extension, parsed, session};
use crate::error::{SqlError, SqlState};

/// What a query starts with.
const QUERY_WORDS: [&str; 4] = ["SELECT", "VALUES", "TABLE", "WITH"];

/// What a change of rows starts with.
const CHANGE_WORDS: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// What may stand before TABLE.
const TABLE_WORDS: [&str; 6] = ["TEMP", "TEMPORARY", "UNLOGGED", "GLOBAL", "LOCAL", "OR"];

/// PostgreSQL's other statements.
const REFUSED: [&str; 31] = [
    "ALTER",
    "ANALYZE",
    "CALL",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COPY",
    "DECLARE",
    "DO",
    "FETCH",
    "GRANT",
    "IMPORT",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "REVOKE",
    "SECURITY",
    "TRUNCATE",
    "UNLISTEN",
    "VACUUM",
    "EXPORT",
    "BACKUP",
    "RESTORE",
    "USE",
];

/// A statement of any kind.
pub(super) fn statement(
    context: &Context<'_>,
    tokens: &[TokenWithSpan],
) -> Result<Statement, SqlError> {
    if let Some(statement) = extension::statement(context, tokens)? {
        return Ok(statement);
    }
    if let Some(statement) = session::statement(context, tokens)? {
        return Ok(statement);
    }
    if starts_with(tokens, &["EXPLAIN"]) {
        return explain(context, &tokens[1..]);
    }
    let first = tokens.first();
    let is_query = first.is_some_and(|token| token.token == Token::LParen);
    if is_query || is_query_or_change(tokens) {
        return parsed(context, tokens);
    }
    let verb = ["CREATE", "DROP"].into_iter().find(|verb| starts_with(tokens, &[verb]));
    if let Some(verb) = verb {
        let noise = |token: &&TokenWithSpan| {
            let one = std::slice::from_ref(*token);
            TABLE_WORDS.iter().any(|word| starts_with(one, &[word]))
                || starts_with(one, &["REPLACE"])
        };
        let rest = tokens[1..].iter().find(|token| !noise(token));
        return match rest.map(|token| &token.token) {
            Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("TABLE") => {
                parsed(context, tokens)
            }
            Some(Token::Word(word)) => Err(refused(&format!("{verb} {}", word.value))),
            _ => Err(context.source.unexpected(rest)),
        };
    }
    match REFUSED.into_iter().find(|word| starts_with(tokens, &[word])) {
        Some("ALTER") => match tokens.get(1).map(|token| &token.token) {
            Some(Token::Word(word)) => Err(refused(&format!("ALTER {}", word.value))),
            _ => Err(context.source.unexpected(tokens.get(1))),
        },
        Some(word) => Err(refused(word)),
        None => Err(context.source.unexpected(first)),
    }
}

/// Whether they start as a query without brackets or as a change of rows does, both of which sqlparser parses.
pub(super) fn is_query_or_change(tokens: &[TokenWithSpan]) -> bool {
    QUERY_WORDS.iter().chain(&CHANGE_WORDS).any(|word| starts_with(tokens, &[word]))
}

fn refused(what: &str) -> SqlError {
    let message = format!("{} is not supported in this release", what.to_uppercase());
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

fn explain(context: &Context<'_>, tokens: &[TokenWithSpan]) -> Result<Statement, SqlError> {
    let in_brackets = match tokens {
        [first, rest @ ..] if first.token == Token::LParen => Some(rest),
        _ => None,
    };
    let query_in_brackets = in_brackets.is_some_and(|rest| {
        QUERY_WORDS.iter().any(|word| starts_with(rest, &[word]))
            || rest.first().is_some_and(|token| token.token == Token::LParen)
    });
    let has_options = in_brackets.is_some() && !query_in_brackets;
    if has_options || starts_with(tokens, &["ANALYZE"]) || starts_with(tokens, &["VERBOSE"]) {
        return Err(SqlError::unsupported("options of EXPLAIN"));
    }
    if query_in_brackets || is_query_or_change(tokens) {
        return Ok(Statement::Explain(Box::new(parsed(context, tokens)?)));
    }
    Err(context.source.unexpected(tokens.first()))
}
