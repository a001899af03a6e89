//! Results as bytes: pure functions, one file a form.
//!
//! [`set`] says what belongs together, [`metric`] what is shown of it; [`claims`], [`winner`] and [`verdict`] say what
//! it means; `csv`, `html`, `json`, `markdown` and `terminal` write it, [`plot`] draws it. What comes from Criterion
//! is read by [`criterion`].

pub mod claims;
pub mod conditions;
pub mod cores;
pub mod criterion;
mod csv;
pub mod dated;
mod explained;
pub mod html;
mod json;
pub mod listing;
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

use std::path::Path;

use crate::record::Results;
use copycost::message::words;

pub use table::list as list_table;

use screen::Screen;
use set::RecordSet;

/// A form in which results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// For people, as wide as their terminal.
    #[default]
    Table,
    /// Everything, for programs.
    Json,
    /// One line a record, a class or a model's cell, for spreadsheets.
    Csv,
    /// For a pull request.
    Markdown,
    /// For people, with plots: one file for a browser.
    Html,
}

words!(Format: Table = "table", Json = "json", Csv = "csv", Markdown = "markdown", Html = "html");

impl Format {
    /// The form that a file's extension asks for.
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

    /// `results` in this form, with a line end at the end.
    pub fn write(self, results: &Results) -> String {
        if self == Self::Json {
            return json::results(results);
        }
        self.write_sets(&set::side_by_side(set::of_results("", results)), Screen::FILE)
    }

    /// `sets` in this form, a table as `screen` shows it. JSON holds one run and no sets: there is nothing to write.
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

/// `results` as tables with every figure.
pub fn wide(results: &Results, screen: Screen) -> String {
    screen.shown(table::wide(results, screen))
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
