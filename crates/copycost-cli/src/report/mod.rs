//! Writes results in several formats: pure functions, one file per format.
//!
//! [`set`] groups the records, and [`metric`] selects their figures. [`claims`], [`winner`] and [`verdict`] interpret
//! them.
//! `csv`, `html`, `json`, `markdown` and `terminal` write them, and [`plot`] draws them. [`criterion`] reads the
//! results of Criterion.

pub mod bench_runs;
pub mod claims;
mod conditions;
pub mod cores;
pub mod criterion;
mod csv;
pub mod dated;
mod explained;
pub mod html;
mod json;
pub mod listing;
mod load_curve;
mod markdown;
pub mod metric;
mod modelled;
mod paired;
pub mod plot;
pub mod screen;
pub mod set;
mod table;
mod terminal;
pub mod verdict;
pub mod winner;
mod workload;

use std::path::Path;

use crate::record::Results;
use copycost::named_enum;

pub use table::list as list_table;

use screen::Screen;
use set::RecordSet;

/// An output format for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// Text tables that fit the width of the terminal.
    #[default]
    Table,
    /// All data, for programs.
    Json,
    /// One line per record, class or cell of a model, for spreadsheets.
    Csv,
    /// Markdown for a pull request or an issue.
    Markdown,
    /// A single HTML file with plots, for a browser.
    Html,
}

named_enum!(Format: Table = "table", Json = "json", Csv = "csv", Markdown = "markdown", Html = "html");

impl Format {
    /// The format for a file's extension.
    ///
    /// # Errors
    /// The extension is unknown: a sentence for the user.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("txt") => Ok(Self::Table),
            Some("md") => Ok(Self::Markdown),
            Some("html") => Ok(Self::Html),
            _ => Err(format!("'{}' must end in .json, .csv, .txt, .md or .html", path.display())),
        }
    }

    /// `results` in this format, with a final line break.
    pub fn write(self, results: &Results) -> String {
        if self == Self::Json {
            return json::results(results);
        }
        self.write_sets(&set::side_by_side(set::of_results("", results)), Screen::FILE)
    }

    /// `sets` in this format, a table as `screen` shows it. Empty for JSON, which holds one run and no sets.
    pub fn write_sets(self, sets: &[RecordSet], screen: Screen) -> String {
        match self {
            Self::Table => screen.shown(terminal::report(sets, screen)),
            Self::Json => String::new(),
            Self::Csv => csv::report(sets),
            Self::Markdown => markdown::report(sets),
            Self::Html => html::page(sets) + "\n",
        }
    }
}

/// `results` as several text tables with every figure.
pub fn wide(results: &Results, screen: Screen) -> String {
    screen.shown(table::wide(results, screen))
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
