//! What can be set about the output.

use std::str::FromStr;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// For each statement that answers rows an array of objects.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Format::Table),
            "csv" => Ok(Format::Csv),
            "json" => Ok(Format::Json),
            other => Err(format!("there is no format {other:?}: table, csv or json")),
        }
    }
}

/// Whether tables have a line for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expanded {
    Off,
    On,
    /// When they are too wide for the terminal otherwise.
    Auto,
}

/// The settings of a shell.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) format: Format,
    pub(super) expanded: Expanded,
    /// What stands for NULL in tables.
    pub(super) null: String,
    /// Whether long results go through the pager.
    pub(super) pager: bool,
    /// Whether to tell how long statements took.
    pub(super) timing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            format: Format::Table,
            expanded: Expanded::Auto,
            null: "NULL".to_owned(),
            pager: true,
            timing: false,
        }
    }
}
