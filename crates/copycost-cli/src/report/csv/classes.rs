//! One line per path, kind of threads and class of `copycost explain`.

use super::number;
use crate::record::{ALL, ExplainedEnd, ExplainedPath, Explanation, FigureRecord};
use crate::report::set::RecordSet;

/// `class` is `all` for the whole demand. The `more` columns hold the difference to the first path.
const COLUMNS: [&str; 16] = [
    "set",
    "path",
    "size",
    "clients",
    "settings",
    "end",
    "samples",
    "class",
    "ns_per_kib",
    "ns_per_kib_low",
    "ns_per_kib_high",
    "more_than",
    "more_ns_per_kib",
    "more_ns_per_kib_low",
    "more_ns_per_kib_high",
    "difference_shown",
];

/// The names of the columns.
pub(super) fn header() -> Vec<String> {
    COLUMNS.map(str::to_owned).to_vec()
}

/// A line for each class of each end of each path.
pub(super) fn lines(sets: &[RecordSet]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for set in sets {
        for explanation in &set.explanations {
            for path in &explanation.paths {
                for end in &path.ends {
                    let classes = end.classes.iter().map(|class| (class.class.as_str(), class.ns_per_kib));
                    let figures = [(ALL, end.demand)].into_iter().chain(classes);
                    lines.extend(figures.map(|figure| line(set, explanation, path, end, figure)));
                }
            }
        }
    }
    lines
}

fn line(
    set: &RecordSet,
    explanation: &Explanation,
    path: &ExplainedPath,
    end: &ExplainedEnd,
    (class, figure): (&str, FigureRecord),
) -> Vec<String> {
    let more = explanation.difference(&path.path, &end.end, class);
    let more_figure = more.map(|more| more.ns_per_kib);
    vec![
        set.label.clone(),
        path.path.clone(),
        explanation.size.bytes.to_string(),
        explanation.clients.to_string(),
        explanation.settings.join("; "),
        end.end.clone(),
        end.samples.to_string(),
        class.to_owned(),
        figure.value.to_string(),
        number(figure.low),
        number(figure.high),
        more.map_or_else(String::new, |more| more.reference.clone()),
        number(more_figure.map(|figure| figure.value)),
        number(more_figure.and_then(|figure| figure.low)),
        number(more_figure.and_then(|figure| figure.high)),
        more.map_or_else(String::new, |more| more.decided.to_string()),
    ]
}
