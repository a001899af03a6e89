//! Results as CSV, one line a row; what is unknown is empty.
//!
//! A CSV file is one table, and these have nothing in common that columns could be: what was measured by cells
//! ([`cells`]), where CPU time goes by class ([`classes`]), and the cells of cost models ([`models`]). So the first of
//! them that the results hold is written; a file of `copycost run`, `explain` or `predict` holds one kind. Coefficients and
//! stacks are in the JSON.

mod cells;
mod classes;
mod models;

use super::set::RecordSet;

/// The table.
pub(super) fn report(sets: &[RecordSet]) -> String {
    let any = |holds: fn(&RecordSet) -> bool| sets.iter().any(holds);
    let (header, lines) = match () {
        () if any(|set| !set.rows.is_empty()) => (cells::header(), cells::lines(sets)),
        () if any(|set| !set.explanations.is_empty()) => (classes::header(), classes::lines(sets)),
        () if any(|set| !set.models.is_empty()) => (models::header(), models::lines(sets)),
        () => (cells::header(), Vec::new()),
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail, and every line has as many columns as the first.
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
