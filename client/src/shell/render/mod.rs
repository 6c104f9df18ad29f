//! Results as text: tables for people, CSV and JSON for programs.
//!
//! CSV and JSON are written as rows come. A table is held until its end, since the widths of its columns depend
//! on all rows.
//!
//! Not here: where the text goes.

mod cell;
mod table;

pub(super) use cell::{clean, width};
pub(super) use table::{expanded, fits, table};

use super::settings::{Expanded, Format, Settings};
use super::value;
use proto::rpc::v1::{SqlColumn, Value};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A table to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) headers: Vec<Header>,
    /// `None` is NULL.
    pub(super) rows: Vec<Vec<Option<String>>>,
}

/// The head of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) align: Align,
}

/// To which side values are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

impl Grid {
    /// A table of texts, which are all set to the left.
    pub(super) fn of_text<const N: usize>(names: [&str; N], rows: Vec<[String; N]>) -> Self {
        let header = |name: &str| Header { name: name.to_owned(), align: Align::Left };
        Grid {
            headers: names.map(header).to_vec(),
            rows: rows.into_iter().map(|row| row.map(Some).to_vec()).collect(),
        }
    }
}

/// The text of one result, as its rows come.
#[derive(Debug)]
pub(super) struct Rendering<'a> {
    settings: &'a Settings,
    /// Of the terminal, if it goes to one.
    width_max: Option<usize>,
    grid: Grid,
    /// How the columns are named in JSON.
    keys: Vec<String>,
    rows: u64,
}

impl<'a> Rendering<'a> {
    pub(super) fn new(settings: &'a Settings, width_max: Option<usize>) -> Self {
        Rendering { settings, width_max, grid: Grid::default(), keys: Vec::new(), rows: 0 }
    }

    /// The columns: once, before any rows. Returns what is to be written now.
    pub(super) fn begin(&mut self, columns: &[SqlColumn]) -> String {
        let header = |column: &SqlColumn| Header {
            name: column.name.clone(),
            align: if value::is_number(column.r#type()) { Align::Right } else { Align::Left },
        };
        self.grid.headers = columns.iter().map(header).collect();
        match self.settings.format {
            Format::Table => String::new(),
            Format::Csv => csv_line(columns.iter().map(|column| Some(column.name.as_str()))),
            Format::Json => {
                self.keys = keys(columns);
                "[".to_owned()
            }
        }
    }

    /// More rows. Returns what is to be written now.
    pub(super) fn rows(&mut self, rows: Vec<Vec<Value>>) -> String {
        let mut text = String::new();
        for row in rows {
            match self.settings.format {
                Format::Table => self.grid.rows.push(row.iter().map(value::text).collect()),
                Format::Csv => {
                    let fields: Vec<Option<String>> = row.iter().map(value::text).collect();
                    text.push_str(&csv_line(fields.iter().map(Option::as_deref)));
                }
                Format::Json => {
                    text.push_str(if self.rows == 0 { "" } else { ",\n " });
                    push_object(&mut text, &self.keys, &row);
                }
            }
            self.rows += 1;
        }
        text
    }

    /// The end. Returns what is to be written last.
    pub(super) fn finish(self) -> String {
        match self.settings.format {
            Format::Csv => String::new(),
            Format::Json => "]\n".to_owned(),
            Format::Table => {
                let rows = match self.rows {
                    1 => "(1 row)".to_owned(),
                    rows => format!("({rows} rows)"),
                };
                format!("{}{rows}\n\n", draw(&self.grid, self.settings, self.width_max))
            }
        }
    }
}

/// A table or, when it is wished so or would be too wide, one line for each value.
pub(super) fn draw(grid: &Grid, settings: &Settings, width_max: Option<usize>) -> String {
    let is_expanded = match settings.expanded {
        Expanded::On => true,
        Expanded::Off => false,
        Expanded::Auto => width_max.is_some_and(|width_max| !fits(grid, width_max)),
    };
    if is_expanded {
        expanded(grid, &settings.null, width_max)
    } else {
        table(grid, &settings.null, width_max)
    }
}

/// A whole table in the format that is set, for what the shell itself shows.
pub(super) fn show(grid: &Grid, settings: &Settings, width_max: Option<usize>) -> String {
    let fields = |row: &Vec<Option<String>>| csv_line(row.iter().map(Option::as_deref));
    match settings.format {
        Format::Table => draw(grid, settings, width_max),
        Format::Csv => {
            let head = csv_line(grid.headers.iter().map(|header| Some(header.name.as_str())));
            std::iter::once(head).chain(grid.rows.iter().map(fields)).collect()
        }
        Format::Json => {
            let keys: Vec<String> =
                grid.headers.iter().map(|header| header.name.to_lowercase()).collect();
            let object = |row: &Vec<Option<String>>| {
                let mut text = String::new();
                let values: Vec<Value> = row.iter().map(|v| Value::from(v.clone())).collect();
                push_object(&mut text, &keys, &values);
                text
            };
            let objects: Vec<String> = grid.rows.iter().map(object).collect();
            format!("[{}]\n", objects.join(",\n "))
        }
    }
}

/// One line of CSV (RFC 4180, with newlines alone). NULL is nothing, and an empty text a pair of quotes.
fn csv_line<'a>(fields: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut line = String::new();
    for (index, field) in fields.enumerate() {
        if index > 0 {
            line.push(',');
        }
        match field {
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                write!(line, "\"{}\"", text.replace('"', "\"\"")).expect("a string takes all");
            }
            Some(text) => line.push_str(text),
        }
    }
    line.push('\n');
    line
}

/// The names of the columns, made different: a reader of JSON keeps one of two that are alike.
fn keys(columns: &[SqlColumn]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut keys = Vec::with_capacity(columns.len());
    for column in columns {
        let mut key = column.name.clone();
        let mut number = 2_u32;
        while !taken.insert(key.clone()) {
            key = format!("{}_{number}", column.name);
            number += 1;
        }
        keys.push(key);
    }
    keys
}

fn push_object(text: &mut String, keys: &[String], values: &[Value]) {
    text.push('{');
    for (index, (key, value)) in keys.iter().zip(values).enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let key = serde_json::Value::from(key.as_str());
        write!(text, "{comma}{key}:{}", value::json(value)).expect("a string takes all");
    }
    text.push('}');
}

#[cfg(test)]
mod tests;
