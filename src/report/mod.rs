//! Results as bytes: pure functions, one file a form.

mod csv;
mod json;
mod paired;
mod table;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::message::words;
use crate::record::Results;

pub use table::list as list_table;

/// A form in which results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// For people, at most 100 columns.
    #[default]
    Table,
    /// Everything, for programs.
    Json,
    /// One line a record, for spreadsheets.
    Csv,
}

words!(Format: Table = "table", Json = "json", Csv = "csv");

impl Format {
    /// The form that a file's extension asks for.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("txt") => Ok(Self::Table),
            _ => Err(format!("'{}' must end in .json, .csv or .txt", path.display())),
        }
    }

    /// `results` in this form, with a line end at the end.
    pub fn write(self, results: &Results) -> String {
        match self {
            Self::Table => table::results(results),
            Self::Json => json::results(results),
            Self::Csv => csv::results(results),
        }
    }
}

/// `results` as tables with every figure.
pub fn wide(results: &Results) -> String {
    table::wide(results)
}

#[cfg(test)]
mod tests;
