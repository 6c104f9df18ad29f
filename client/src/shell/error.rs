//! Errors as psql writes them.
//!
//! ```text
//! ERROR:  column "balanse" does not exist
//! LINE 1: SELECT balanse FROM accounts
//!                ^
//! HINT:  There is a column "balance".
//! SQLSTATE:  42703
//! ```

use super::render::{clean, width};
use crate::error::{ClientError, Refusal};
use proto::TxnId;
use std::fmt::Write;

/// How much of a line is shown where nothing tells how wide the terminal is.
const LINE_WIDTH: usize = 80;

/// The error of a statement, with a newline at its end.
pub(super) fn describe(error: &ClientError, sql: &str, width_max: Option<usize>) -> String {
    let Some(refusal) = error.refusal() else {
        return format!("ERROR:  {}\n", sentence(&error.to_string()));
    };
    let mut text = String::new();
    let mut line = |label: &str, words: &str| {
        if !words.is_empty() {
            writeln!(text, "{label}:  {words}").expect("a string takes everything");
        }
    };
    line("ERROR", &sentence(&refusal.message));
    let said = refusal.sql.clone().unwrap_or_default();
    if let Some(place) = place(sql, said.position, width_max.unwrap_or(LINE_WIDTH)) {
        text.push_str(&place);
    }
    let mut line = |label: &str, words: &str| {
        if !words.is_empty() {
            writeln!(text, "{label}:  {words}").expect("a string takes everything");
        }
    };
    line("DETAIL", &said.detail);
    if let Some(by) = refusal.wounded_by {
        line("DETAIL", &wounded(refusal, by));
    }
    line("HINT", if said.hint.is_empty() { &refusal.hint } else { &said.hint });
    line("SQLSTATE", &said.sqlstate);
    text
}

/// Control characters of a message must not reach the terminal; its newlines may.
fn sentence(text: &str) -> String {
    text.trim_end().split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// Who aborted the transaction.
fn wounded(refusal: &Refusal, by: TxnId) -> String {
    let mine = refusal.transaction.map_or(String::new(), |id| format!(" {id}"));
    format!("The transaction{mine} was in the way of the older transaction {by}{}.", begun_at(by))
}

/// Where a transaction began, as its id tells.
fn begun_at(id: TxnId) -> String {
    /// Set in ids that a client has made.
    const OF_CLIENT: u64 = 1 << 63;
    match id.origin {
        0 => String::new(),
        origin if origin & OF_CLIENT != 0 => ", which a client began with its commit".to_owned(),
        origin => format!(", which began at node {}", origin >> 32),
    }
}

/// The line of the statement that has the position, and a caret below. `None` when there is no such position.
fn place(sql: &str, position: u32, width_max: usize) -> Option<String> {
    let position = usize::try_from(position).ok()?.checked_sub(1)?;
    let at = match sql.char_indices().nth(position) {
        Some((at, _)) => at,
        // Right behind the end, as of a statement that ends too soon.
        None if sql.chars().count() == position => sql.len(),
        None => return None,
    };
    let (before, after) = sql.split_at(at);
    let number = before.matches('\n').count() + 1;
    let head = clean(before.rsplit('\n').next().unwrap_or_default());
    let tail = clean(after.split('\n').next().unwrap_or_default().trim_end_matches('\r'));
    let label = format!("LINE {number}: ");
    let room = width_max.saturating_sub(label.len()).max(20);
    let (head, tail) = window(&head, &tail, room);
    let indent = " ".repeat(label.len() + width(&head));
    Some(format!("{label}{head}{tail}\n{indent}^\n"))
}

/// Cuts both sides so that what is between them is seen.
fn window(head: &str, tail: &str, room: usize) -> (String, String) {
    const CUT: &str = "...";
    if width(head) + width(tail) <= room {
        return (head.to_owned(), tail.to_owned());
    }
    // Two thirds for what comes before.
    let head_room = (room * 2 / 3).max(room.saturating_sub(width(tail)));
    let head = if width(head) <= head_room {
        head.to_owned()
    } else {
        let mut start = 0;
        while width(&head[start..]) > head_room.saturating_sub(CUT.len()) {
            start += head[start..].chars().next().map_or(1, char::len_utf8);
        }
        format!("{CUT}{}", &head[start..])
    };
    let tail_room = room.saturating_sub(width(&head));
    if width(tail) <= tail_room {
        return (head, tail.to_owned());
    }
    let mut kept = String::new();
    for c in tail.chars() {
        if width(&kept) + width(&c.to_string()) + CUT.len() > tail_room {
            break;
        }
        kept.push(c);
    }
    (head, kept + CUT)
}

#[cfg(test)]
mod tests {
    use super::{describe, place};
    use crate::error::{CallError, ClientError, Refusal};
    use proto::rpc::to_error;
    use proto::rpc::v1::{ErrorDetail, ErrorKind, SqlError, TransactionId};

    fn refused(detail: ErrorDetail, message: &str) -> ClientError {
        let refusal = Refusal::from(to_error(detail, message.to_owned()));
        CallError::Refused(Box::new(refusal)).of_harmless()
    }

    #[test]
    fn sql_error_has_its_place_detail_hint_and_state() {
        let detail = ErrorDetail {
            sql: Some(SqlError {
                sqlstate: "42703".to_owned(),
                detail: "Columns are id, balance.".to_owned(),
                hint: "There is a column \"balance\".".to_owned(),
                position: 13,
                statement: 0,
            }),
            ..ErrorDetail::of(ErrorKind::Sql)
        };
        let error = refused(detail, "column \"balanse\" does not exist");
        assert_eq!(
            describe(&error, "SELECT id,\n balanse\nFROM accounts", None),
            "ERROR:  column \"balanse\" does not exist\n\
             LINE 2:  balanse\n         ^\n\
             DETAIL:  Columns are id, balance.\n\
             HINT:  There is a column \"balance\".\n\
             SQLSTATE:  42703\n"
        );
    }

    #[test]
    fn abort_says_who_caused_it() {
        let id =
            |node: u64, n| TransactionId { horizon: 9, begin: n, origin: node << 32, sequence: n };
        let detail = ErrorDetail {
            transaction: Some(id(1, 2_000_000)),
            wounded_by: Some(id(3, 1_000_000)),
            hint: "Run it again.".to_owned(),
            ..ErrorDetail::of(ErrorKind::AbortedWounded)
        };
        assert_eq!(
            describe(&refused(detail, "transaction aborted"), "SELECT 1", None),
            "ERROR:  transaction aborted\n\
             DETAIL:  The transaction x2.100000000.1e8480 was in the way of the older transaction \
             x1.300000000.f4240, which began at node 3.\n\
             HINT:  Run it again.\n"
        );
    }

    #[test]
    fn error_without_a_refusal_is_one_sentence() {
        let error = ClientError::TransactionEnded;
        let text = describe(&error, "SELECT 1", None);
        assert!(text.starts_with("ERROR:  the transaction has ended"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn place_counts_characters_and_allows_for_their_widths() {
        assert_eq!(place("SELECT x", 8, 80).unwrap(), "LINE 1: SELECT x\n               ^\n");
        // Two wide characters and a tabulator before it.
        let expected = "LINE 1: \u{6c34}\u{6c34}\u{20}\u{20}\u{20}\u{20}x\n                ^\n";
        assert_eq!(place("\u{6c34}\u{6c34}\tx", 4, 80).unwrap(), expected);
        assert_eq!(place("SELECT", 7, 80).unwrap(), "LINE 1: SELECT\n              ^\n");
        assert_eq!(place("SELECT", 0, 80), None);
        assert_eq!(place("SELECT", 9, 80), None);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let sql = format!("SELECT {}, oops, {}", "a".repeat(60), "b".repeat(60));
        let text = place(&sql, 70, 40).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].len() <= 40, "{text}");
        assert!(lines[0].starts_with("LINE 1: ...aaa") && lines[0].ends_with("..."), "{text}");
        assert_eq!(lines[0][lines[1].len() - 1..].chars().next(), Some('o'), "{text}");
    }
}
