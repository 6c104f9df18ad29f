//! What results look like, whole.

use super::super::settings::{Expanded, Format, Settings};
use super::{Rendering, show};
use crate::shell::render::Grid;
use proto::rpc::v1::{SqlColumn, SqlType, Value};

fn columns(of: &[(&str, SqlType)]) -> Vec<SqlColumn> {
    let column = |(name, r#type): &(&str, SqlType)| SqlColumn {
        name: (*name).to_owned(),
        r#type: (*r#type).into(),
    };
    of.iter().map(column).collect()
}

fn people() -> (Vec<SqlColumn>, Vec<Vec<Value>>) {
    let columns =
        columns(&[("id", SqlType::Bigint), ("name", SqlType::Text), ("ok", SqlType::Boolean)]);
    let rows = vec![
        vec![1.into(), "Ada".into(), true.into()],
        vec![20.into(), Value::null(), false.into()],
        vec![(-3).into(), "J\u{f8}rgen, \"J\"".into(), Value::null()],
    ];
    (columns, rows)
}

fn render(
    settings: &Settings,
    width_max: Option<usize>,
    (columns, rows): (Vec<SqlColumn>, Vec<Vec<Value>>),
) -> String {
    let mut rendering = Rendering::new(settings, width_max);
    let mut text = rendering.begin(&columns);
    // In two parts, as it may come.
    let mut rows = rows.into_iter();
    text.push_str(&rendering.rows(rows.by_ref().take(1).collect()));
    text.push_str(&rendering.rows(rows.collect()));
    text + &rendering.finish()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines, expected, "\n{text}");
}

#[test]
fn table_is_drawn_as_psql_does() {
    let text = render(&Settings::default(), None, people());
    check(
        &text,
        &[
            " id |    name     |  ok",
            "----+-------------+------",
            "  1 | Ada         | t",
            " 20 | NULL        | f",
            " -3 | J\u{f8}rgen, \"J\" | NULL",
            "(3 rows)",
            "",
            "",
        ],
    );
}

#[test]
fn table_without_rows_and_with_one_row() {
    let one = (columns(&[("?column?", SqlType::Int)]), vec![vec![1.into()]]);
    check(
        &render(&Settings::default(), None, one),
        &[" ?column?", "----------", "        1", "(1 row)", "", ""],
    );
    let none = (columns(&[("a", SqlType::Text)]), Vec::new());
    check(&render(&Settings::default(), None, none), &[" a", "---", "(0 rows)", "", ""]);
}

#[test]
fn table_wraps_what_is_wider_than_the_terminal_and_marks_it() {
    let columns = columns(&[("id", SqlType::Int), ("note", SqlType::Text)]);
    let rows = vec![
        vec![1.into(), "a long note that goes on".into()],
        vec![2.into(), "two\nlines".into()],
        vec![3.into(), "\u{6c34}\u{6c34}\u{6c34}\u{6c34}\u{6c34}\u{6c34}\u{6c34}".into()],
    ];
    check(
        &render(&Settings::default(), Some(20), (columns, rows)),
        &[
            " id |     note",
            "----+---------------",
            "  1 | a long note t.",
            "    | hat goes on",
            "  2 | two          +",
            "    | lines",
            "  3 | \u{6c34}\u{6c34}\u{6c34}\u{6c34}\u{6c34}\u{6c34} .",
            "    | \u{6c34}",
            "(3 rows)",
            "",
            "",
        ],
    );
}

#[test]
fn expanded_has_a_line_for_each_value() {
    let settings =
        Settings { expanded: Expanded::On, null: "nil".to_owned(), ..Settings::default() };
    check(
        &render(&settings, None, people()),
        &[
            "-[ RECORD 1 ]-----",
            "id   | 1",
            "name | Ada",
            "ok   | t",
            "-[ RECORD 2 ]-----",
            "id   | 20",
            "name | nil",
            "ok   | f",
            "-[ RECORD 3 ]-----",
            "id   | -3",
            "name | J\u{f8}rgen, \"J\"",
            "ok   | nil",
            "(3 rows)",
            "",
            "",
        ],
    );
}

#[test]
fn expanded_aligns_long_names_and_continued_values() {
    let settings = Settings { expanded: Expanded::On, ..Settings::default() };
    let columns = columns(&[("a_rather_long_name", SqlType::Text)]);
    let rows = vec![vec!["two\nlines".into()]];
    check(
        &render(&settings, None, (columns, rows)),
        &[
            "-[ RECORD 1 ]------+------",
            "a_rather_long_name | two  +",
            "                   | lines",
            "(1 row)",
            "",
            "",
        ],
    );
}

#[test]
fn table_too_wide_to_wrap_is_expanded_only_if_that_is_left_to_the_shell() {
    let settings = Settings { expanded: Expanded::Auto, ..Settings::default() };
    let wide = |count: usize| {
        let names = (0..count).map(|n| (format!("column_{n:02}"), SqlType::Text));
        let names: Vec<_> = names.collect();
        let names: Vec<(&str, SqlType)> = names.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        (columns(&names), vec![vec!["x".into(); count]])
    };
    assert!(render(&settings, Some(33), wide(4)).starts_with("-[ RECORD 1 ]"));
    assert!(render(&settings, Some(33), wide(3)).starts_with(" column_0.|"));
    assert!(render(&settings, None, wide(4)).starts_with(" column_00 |"));
}

#[test]
fn csv_has_a_header_and_tells_null_from_empty() {
    let settings = Settings { format: Format::Csv, ..Settings::default() };
    check(
        &render(&settings, Some(20), people()),
        &["id,name,ok", "1,Ada,t", "20,,f", "-3,\"J\u{f8}rgen, \"\"J\"\"\",", ""],
    );
    let empty = (columns(&[("a", SqlType::Text)]), vec![vec!["".into()], vec!["a\nb".into()]]);
    check(&render(&settings, None, empty), &["a", "\"\"", "\"a", "b\"", ""]);
}

#[test]
fn json_is_an_array_of_objects() {
    let settings = Settings { format: Format::Json, ..Settings::default() };
    check(
        &render(&settings, Some(20), people()),
        &[
            "[{\"id\":1,\"name\":\"Ada\",\"ok\":true},",
            " {\"id\":20,\"name\":null,\"ok\":false},",
            " {\"id\":-3,\"name\":\"J\u{f8}rgen, \\\"J\\\"\",\"ok\":null}]",
            "",
        ],
    );
    check(&render(&settings, None, (columns(&[("a", SqlType::Int)]), Vec::new())), &["[]", ""]);
}

#[test]
fn json_keeps_columns_of_the_same_name_apart() {
    let settings = Settings { format: Format::Json, ..Settings::default() };
    let same = [("a", SqlType::Int), ("a", SqlType::Int), ("a_2", SqlType::Int)];
    let rows = vec![vec![1.into(), 2.into(), 3.into()]];
    check(
        &render(&settings, None, (columns(&same), rows)),
        &["[{\"a\":1,\"a_2\":2,\"a_2_2\":3}]", ""],
    );
}

#[test]
fn what_the_shell_shows_follows_the_format() {
    let grid = Grid::of_text(["Name", "Key"], vec![["t".to_owned(), "(a, b)".to_owned()]]);
    let with = |format| Settings { format, ..Settings::default() };
    check(&show(&grid, &with(Format::Csv), None), &["Name,Key", "t,\"(a, b)\"", ""]);
    check(&show(&grid, &with(Format::Json), None), &["[{\"name\":\"t\",\"key\":\"(a, b)\"}]", ""]);
    check(
        &show(&grid, &with(Format::Table), None),
        &[" Name |  Key", "------+--------", " t    | (a, b)", ""],
    );
}
