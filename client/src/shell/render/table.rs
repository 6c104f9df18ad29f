//! Tables, drawn as psql draws them.
//!
//! ```text
//!  id | name         -[ RECORD 1 ]
//! ----+------        id   | 1
//!   1 | a long.      name | a long name
//!     |  name
//! ```
//! A line that is continued ends with `.` when it was too long, and with `+` when its text has a newline.

use super::cell::{Goes, Line, lines, natural_width, width};
use super::{Align, Grid};

/// Columns are not made narrower than this to fit.
const COLUMN_WIDTH_MIN: usize = 8;
/// Nor values that stand beside their column's name.
const VALUE_WIDTH_MIN: usize = 20;

/// Whether the table can be drawn that narrow.
pub(in super::super) fn fits(grid: &Grid, width_max: usize) -> bool {
    let narrow = natural_widths(grid, "").into_iter().map(|w| w.min(COLUMN_WIDTH_MIN));
    drawn_width(&narrow.collect::<Vec<_>>()) <= width_max
}

/// A row of each row.
pub(in super::super) fn table(grid: &Grid, null: &str, width_max: Option<usize>) -> String {
    let widths = narrowed(natural_widths(grid, null), width_max);
    let mut text = String::new();
    let names: Vec<Vec<Line>> =
        grid.headers.iter().zip(&widths).map(|(header, w)| lines(&header.name, *w)).collect();
    push_row(&mut text, &names, &widths, |_| Place::Middle);
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    text.push_str(&rules.join("+"));
    text.push('\n');
    for row in &grid.rows {
        let cells = row.iter().zip(&widths).map(|(value, w)| lines(or_null(value, null), *w));
        push_row(&mut text, &cells.collect::<Vec<_>>(), &widths, |column| {
            match grid.headers.get(column).map(|header| header.align) {
                Some(Align::Right) => Place::Right,
                Some(Align::Left) | None => Place::Left,
            }
        });
    }
    text
}

/// A row of each value.
pub(in super::super) fn expanded(grid: &Grid, null: &str, width_max: Option<usize>) -> String {
    let names: Vec<String> = grid.headers.iter().map(|h| super::clean(&h.name)).collect();
    let name_width = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let values = grid.rows.iter().flatten().map(|value| natural_width(or_null(value, null)));
    let room = width_max.map_or(usize::MAX, |max| max.saturating_sub(name_width + 4));
    let value_width = values.max().unwrap_or(0).min(room.max(VALUE_WIDTH_MIN)).max(2);
    let mut text = String::new();
    for (number, row) in grid.rows.iter().enumerate() {
        text.push_str(&record_line(number + 1, name_width, value_width));
        for (name, value) in names.iter().zip(row) {
            let mut name = name.as_str();
            for Line { text: line, goes } in lines(or_null(value, null), value_width) {
                let pad = " ".repeat(name_width - width(name));
                let mark = mark(goes);
                let fill = fill_before_mark(mark, value_width, &line);
                text.push_str(format!("{name}{pad} | {line}{fill}{mark}").trim_end());
                text.push('\n');
                name = "";
            }
        }
    }
    text
}

fn record_line(number: usize, name_width: usize, value_width: usize) -> String {
    let label = format!("-[ RECORD {number} ]");
    let used = width(&label);
    let line = if used <= name_width {
        format!("{label}{}+{}", "-".repeat(name_width + 1 - used), "-".repeat(value_width + 1))
    } else {
        let rest = (name_width + value_width + 3).saturating_sub(used);
        format!("{label}{}", "-".repeat(rest))
    };
    line + "\n"
}

/// Where a cell stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Left,
    Middle,
    Right,
}

fn push_row(
    text: &mut String,
    cells: &[Vec<Line>],
    widths: &[usize],
    place: impl Fn(usize) -> Place,
) {
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for level in 0..height {
        let mut line = String::new();
        for (column, (cell, column_width)) in cells.iter().zip(widths).enumerate() {
            let (shown, goes) =
                cell.get(level).map_or(("", Goes::Ends), |line| (line.text.as_str(), line.goes));
            let room = column_width.saturating_sub(width(shown));
            let before = match place(column) {
                Place::Left => 0,
                Place::Middle => room / 2,
                Place::Right => room,
            };
            if column > 0 {
                line.push('|');
            }
            line.push(' ');
            line.push_str(&" ".repeat(before));
            line.push_str(shown);
            line.push_str(&" ".repeat(room - before));
            line.push_str(mark(goes));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn mark(goes: Goes) -> &'static str {
    match goes {
        Goes::Ends => " ",
        Goes::Newline => "+",
        Goes::Wraps => ".",
    }
}

fn fill_before_mark(mark: &str, column_width: usize, line: &str) -> String {
    match mark {
        " " => String::new(),
        _ => " ".repeat(column_width.saturating_sub(width(line))),
    }
}

fn or_null<'a>(value: &'a Option<String>, null: &'a str) -> &'a str {
    value.as_deref().unwrap_or(null)
}

fn natural_widths(grid: &Grid, null: &str) -> Vec<usize> {
    let mut widths: Vec<usize> =
        grid.headers.iter().map(|header| natural_width(&header.name)).collect();
    for row in &grid.rows {
        for (width, value) in widths.iter_mut().zip(row) {
            *width = natural_width(or_null(value, null)).max(*width);
        }
    }
    widths
}

fn drawn_width(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + 3).sum::<usize>().saturating_sub(1)
}

/// The widest columns are narrowed, all to the same width, until the table fits or that would make them too
/// narrow.
fn narrowed(widths: Vec<usize>, width_max: Option<usize>) -> Vec<usize> {
    let capped =
        |cap: usize| -> Vec<usize> { widths.iter().map(|width| *width.min(&cap)).collect() };
    let widest = widths.iter().copied().max().unwrap_or(0);
    let fits = |cap: usize| width_max.is_none_or(|max| drawn_width(&capped(cap)) <= max);
    if fits(widest) {
        return widths;
    }
    // The largest width that fits, by bisection.
    let (mut low, mut high) = (COLUMN_WIDTH_MIN, widest);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if fits(middle) { low = middle } else { high = middle }
    }
    capped(low)
}
