//! The statements of a session: BEGIN, COMMIT, SET, SHOW, PREPARE and the like.
//!
//! Parsed here and not by sqlparser, because what they may say is small, and PostgreSQL's to the letter.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{Cursor, starts_with};
use super::dispatch::is_query_or_change;
use super::extension::{as_of, setting_name, setting_value};
use super::statement::{Isolation, SetValue, TransactionModes};
use super::{Context, Statement};
use crate::error::{SqlError, SqlState};
use crate::scalar::types::Type;

/// The statement, if it is one of a session.
pub(super) fn statement(
    context: &Context<'_>,
    tokens: &[TokenWithSpan],
) -> Result<Option<Statement>, SqlError> {
    let mut cursor = Cursor::new(context.source, tokens);
    let statement = match transaction(&mut cursor)? {
        Some(statement) => statement,
        None => match setting(&mut cursor)? {
            Some(statement) => statement,
            None => match prepared(context, &mut cursor)? {
                Some(statement) => statement,
                None => return Ok(None),
            },
        },
    };
    cursor.end()?;
    Ok(Some(statement))
}

fn transaction(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, SqlError> {
    let statement = if cursor.word("BEGIN") {
        noise(cursor);
        begin(cursor)?
    } else if cursor.words(&["START", "TRANSACTION"]) {
        begin(cursor)?
    } else if cursor.word("COMMIT") || cursor.word("END") {
        noise(cursor);
        Statement::Commit { chain: chain(cursor)? }
    } else if cursor.word("ROLLBACK") || cursor.word("ABORT") {
        noise(cursor);
        if cursor.word("TO") {
            let _noise = cursor.word("SAVEPOINT");
            Statement::RollbackToSavepoint { name: cursor.name()?.value }
        } else {
            Statement::Rollback { chain: chain(cursor)? }
        }
    } else if cursor.word("SAVEPOINT") {
        Statement::Savepoint { name: cursor.name()?.value }
    } else if cursor.word("RELEASE") {
        let _noise = cursor.word("SAVEPOINT");
        Statement::ReleaseSavepoint { name: cursor.name()?.value }
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

fn noise(cursor: &mut Cursor<'_>) {
    let _noise = cursor.word("TRANSACTION") || cursor.word("WORK");
}

fn begin(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let modes = modes(cursor)?;
    let place = cursor.place();
    let as_of = as_of(cursor)?;
    if as_of.is_some() && modes.read_only != Some(true) {
        let message = "AS OF SYSTEM TIME is for read-only transactions";
        let error = SqlError::new(SqlState::SYNTAX_ERROR, message);
        return Err(error.with_hint("Write BEGIN READ ONLY AS OF SYSTEM TIME ..").at(place));
    }
    Ok(Statement::Begin { modes, as_of })
}

fn chain(cursor: &mut Cursor<'_>) -> Result<bool, SqlError> {
    if !cursor.word("AND") {
        return Ok(false);
    }
    let chain = !cursor.word("NO");
    cursor.expect_words(&["CHAIN"])?;
    Ok(chain)
}

fn modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes, SqlError> {
    let mut modes = TransactionModes::default();
    loop {
        if cursor.words(&["ISOLATION", "LEVEL"]) {
            modes.isolation = Some(isolation(cursor)?);
        } else if cursor.words(&["READ", "ONLY"]) {
            modes.read_only = Some(true);
        } else if cursor.words(&["READ", "WRITE"]) {
            modes.read_only = Some(false);
        } else if cursor.words(&["NOT", "DEFERRABLE"]) {
            modes.deferrable = Some(false);
        } else if cursor.word("DEFERRABLE") {
            modes.deferrable = Some(true);
        } else {
            return Ok(modes);
        }
        if cursor.sign(&Token::Comma) && cursor.peek().is_none() {
            return Err(cursor.unexpected());
        }
    }
}

fn isolation(cursor: &mut Cursor<'_>) -> Result<Isolation, SqlError> {
    if cursor.word("SERIALIZABLE") {
        Ok(Isolation::Serializable)
    } else if cursor.words(&["REPEATABLE", "READ"]) {
        Ok(Isolation::RepeatableRead)
    } else if cursor.words(&["READ", "COMMITTED"]) {
        Ok(Isolation::ReadCommitted)
    } else if cursor.words(&["READ", "UNCOMMITTED"]) {
        Ok(Isolation::ReadUncommitted)
    } else {
        Err(cursor.unexpected())
    }
}

fn setting(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, SqlError> {
    let statement = if cursor.word("SET") {
        set(cursor)?
    } else if cursor.word("RESET") {
        let name = if cursor.word("ALL") { None } else { Some(named_setting(cursor)?) };
        Statement::Reset { name }
    } else if cursor.word("SHOW") {
        match cursor.word("ALL") {
            true => Statement::ShowAll,
            false => Statement::Show { name: named_setting(cursor)? },
        }
    } else if cursor.word("DISCARD") {
        if !cursor.word("ALL") {
            return Err(SqlError::unsupported("DISCARD PLANS, SEQUENCES and TEMP")
                .with_hint("Use DISCARD ALL."));
        }
        Statement::DiscardAll
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

/// The settings that have a spelling of their own.
fn named_setting(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    if cursor.words(&["TIME", "ZONE"]) {
        Ok("timezone".to_owned())
    } else if cursor.words(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        Ok("transaction_isolation".to_owned())
    } else if cursor.words(&["SESSION", "AUTHORIZATION"]) {
        Ok("session_authorization".to_owned())
    } else {
        setting_name(cursor)
    }
}

fn set(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.words(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return Ok(Statement::SetTransaction { modes: modes(cursor)?, session: true });
    }
    if cursor.word("TRANSACTION") {
        if cursor.word("SNAPSHOT") {
            return Err(SqlError::unsupported("exported snapshots"));
        }
        return Ok(Statement::SetTransaction { modes: modes(cursor)?, session: false });
    }
    if cursor.words(&["CONSTRAINTS"]) {
        return Err(SqlError::unsupported("deferrable constraints"));
    }
    let local = cursor.word("LOCAL");
    if !local {
        let _noise =
            !starts_with(cursor.rest(), &["SESSION", "AUTHORIZATION"]) && cursor.word("SESSION");
    }
    if cursor.words(&["TIME", "ZONE"]) {
        let value = if cursor.word("LOCAL") || cursor.word("DEFAULT") {
            SetValue::Default
        } else {
            SetValue::Values(vec![setting_value(cursor)?])
        };
        return Ok(Statement::Set { name: "timezone".to_owned(), value, local });
    }
    if cursor.word("NAMES") {
        let value = SetValue::Values(vec![setting_value(cursor)?]);
        return Ok(Statement::Set { name: "client_encoding".to_owned(), value, local });
    }
    let name = setting_name(cursor)?;
    if !cursor.sign(&Token::Eq) {
        cursor.expect_words(&["TO"])?;
    }
    if cursor.word("DEFAULT") {
        return Ok(Statement::Set { name, value: SetValue::Default, local });
    }
    let mut values = vec![setting_value(cursor)?];
    while cursor.sign(&Token::Comma) {
        values.push(setting_value(cursor)?);
    }
    Ok(Statement::Set { name, value: SetValue::Values(values), local })
}

fn prepared(context: &Context<'_>, cursor: &mut Cursor<'_>) -> Result<Option<Statement>, SqlError> {
    let statement = if cursor.word("PREPARE") {
        if cursor.word("TRANSACTION") {
            return Err(SqlError::unsupported("transactions prepared by hand"));
        }
        let name = cursor.name()?.value;
        let parameters = if cursor.sign(&Token::LParen) { types(cursor)? } else { Vec::new() };
        cursor.expect_words(&["AS"])?;
        let rest = cursor.rest();
        if !is_query_or_change(rest) {
            return Err(cursor.unexpected());
        }
        cursor.skip(rest.len());
        let statement = Box::new(super::parsed(context, rest)?);
        Statement::Prepare { name, parameters, statement }
    } else if cursor.word("EXECUTE") {
        let name = cursor.name()?.value;
        Statement::Execute { name, arguments: arguments(context, cursor)? }
    } else if cursor.word("DEALLOCATE") {
        let _noise = cursor.word("PREPARE");
        let all = cursor.word("ALL");
        if !all {
            cursor.name()?;
        }
        Statement::Deallocate { all }
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

fn types(cursor: &mut Cursor<'_>) -> Result<Vec<Type>, SqlError> {
    let mut types = Vec::new();
    loop {
        let mut words = cursor.name()?.value;
        while let Some(Token::Word(_)) = cursor.peek().map(|token| &token.token) {
            words.push(' ');
            words.push_str(&cursor.name()?.value);
        }
        types.push(Type::parse_name(&words).ok_or_else(|| {
            let message = format!("type \"{words}\" does not exist");
            SqlError::new(SqlState::UNDEFINED_OBJECT, message)
        })?);
        if !cursor.sign(&Token::Comma) {
            cursor.expect_sign(&Token::RParen)?;
            return Ok(types);
        }
    }
}

fn arguments(
    context: &Context<'_>,
    cursor: &mut Cursor<'_>,
) -> Result<Vec<super::ast::Expr>, SqlError> {
    let mut arguments = Vec::new();
    if !cursor.sign(&Token::LParen) {
        return Ok(arguments);
    }
    loop {
        let (expr, consumed) = context.expression(cursor.rest())?;
        cursor.skip(consumed);
        arguments.push(expr);
        if !cursor.sign(&Token::Comma) {
            cursor.expect_sign(&Token::RParen)?;
            return Ok(arguments);
        }
    }
}
