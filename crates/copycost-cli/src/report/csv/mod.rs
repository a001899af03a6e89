//! Results as CSV, one line per row; unknown values are empty.
//!
//! A CSV file is a single table, but there are four kinds of rows without common columns: figures of cells
//! ([`cells`]), paths at a load ([`loads`]), CPU time by class ([`classes`]), and the cells of cost models ([`models`]). So only the first kind in
//! the results is written; a file of `copycost run`, `explain` or `predict` holds only one kind. Coefficients and
//! stacks are in the JSON.

mod cells;
mod classes;
mod loads;
mod models;

use super::set::RecordSet;

/// The CSV text with a header line.
pub(super) fn report(sets: &[RecordSet]) -> String {
    let any = |holds: fn(&RecordSet) -> bool| sets.iter().any(holds);
    let (header, lines) = match () {
        () if any(|set| !set.rows.is_empty()) => (cells::header(), cells::lines(sets)),
        () if any(|set| !set.load_curves.is_empty()) => (loads::header(), loads::lines(sets)),
        () if any(|set| !set.explanations.is_empty()) => (classes::header(), classes::lines(sets)),
        () if any(|set| !set.models.is_empty()) => (models::header(), models::lines(sets)),
        () => (cells::header(), Vec::new()),
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Cannot fail: the target is memory, and every line has as many columns as the header.
    let _ = writer.write_record(header);
    for line in lines {
        let _ = writer.write_record(line);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
