//! Where the time of paths goes, for a terminal: a table of classes with bars, two paths side by side.

use comfy_table::CellAlignment;

use super::fold::wrapped;
use super::table::{plain, trimmed};
use super::terminal::bar;
use crate::record::{ExplainedEnd, ExplainedPath, Explanation, FigureRecord};
use crate::units::{ByteSize, significant, thousands};

/// Characters of a bar.
const BAR: usize = 8;

/// A table for each path beside the first, or of the only one, and what to know of them.
pub(super) fn tables(explanations: &[Explanation]) -> String {
    explanations.iter().map(one).collect()
}

fn one(explanation: &Explanation) -> String {
    let Some((first, others)) = explanation.paths.split_first() else { return String::new() };
    let mut text = match others {
        [] => table(explanation, first, None),
        others => others.iter().map(|other| table(explanation, first, Some(other))).collect(),
    };
    text += &wrapped("", &format!("{}; {}", cell(explanation), explanation.settings.join(", ")));
    text += "\n";
    sentences(explanation).iter().for_each(|sentence| text += &wrapped("- ", sentence));
    text
}

/// `CPU time by class, ns/KiB: 64 KiB, 1 client`
pub(super) fn cell(explanation: &Explanation) -> String {
    let Explanation { size, clients, .. } = explanation;
    let s = if *clients == 1 { "" } else { "s" };
    format!("CPU time in ns/KiB, {}, {clients} client{s}", ByteSize(*size))
}

/// What to know of the figures.
pub(super) fn sentences(explanation: &Explanation) -> Vec<String> {
    let mut sentences = Vec::new();
    match &explanation.missing {
        Some(missing) => {
            sentences.push(format!("No classes: {missing}."));
            let split = |path: &ExplainedPath| {
                let end = |end: &ExplainedEnd| {
                    let user = end.user_percent?;
                    Some(format!(
                        "{} {} ({user:.0} % of it)",
                        end.end,
                        significant(end.demand.value * user / 100.0)
                    ))
                };
                let ends: Vec<_> = path.ends.iter().filter_map(end).collect();
                (!ends.is_empty()).then(|| format!("{}: {}", path.path, ends.join(", ")))
            };
            let told: Vec<_> = explanation.paths.iter().filter_map(split).collect();
            if !told.is_empty() {
                sentences.push(format!(
                    "What can be told anyway: CPU time in user space by the kernel's tick, in ns/KiB: {}; the rest is the kernel's.",
                    told.join("; ")
                ));
            }
        }
        None => sentences.extend(sampled(explanation)),
    }
    sentences.extend(explanation.notes.iter().cloned());
    for path in &explanation.paths {
        let too_much = path.ends.iter().filter_map(ExplainedEnd::too_much_unclassed);
        sentences.extend(too_much.map(|text| format!("{}, {text}.", path.path)));
        if path.lost > 0 {
            sentences.push(format!(
                "{}: {} samples were lost for want of room.",
                path.path,
                thousands(path.lost)
            ));
        }
    }
    sentences
}

/// How the samples were taken, and how well they agree with the clocks.
fn sampled(explanation: &Explanation) -> Vec<String> {
    let samples = |path: &ExplainedPath| path.ends.iter().map(|end| end.samples).sum::<u64>();
    let of_path = |path: &ExplainedPath| {
        let errors: Vec<_> = path
            .ends
            .iter()
            .filter_map(|end| Some(format!("{} {:+.1} %", end.end, end.unscaled_error_percent?)))
            .collect();
        let cost = path
            .sampling_cost_percent
            .map_or_else(String::new, |cost| format!(", which cost {cost:.0} % more CPU time"));
        format!(
            "{}: {} samples in {} set-ups{cost}; samples times their period against the CPU clock: {}",
            path.path,
            thousands(samples(path)),
            path.setups,
            errors.join(", ")
        )
    };
    let mut sentences: Vec<_> = explanation.paths.iter().map(|path| of_path(path) + ".").collect();
    sentences.push(format!(
        "{} samples for each second of CPU time, of {}. They say how the time is divided; how much it is was measured without them.",
        thousands(explanation.hertz),
        explanation.scope.as_deref().unwrap_or("the threads")
    ));
    sentences.push(
        "A timer takes the samples: what runs with interrupts off is found in the function that puts them on again."
            .to_owned(),
    );
    sentences
}

/// A line of the table.
struct Line {
    name: String,
    figures: [Option<FigureRecord>; 2],
    difference: String,
    /// A class of an end, and not the end itself.
    inner: bool,
}

fn table(explanation: &Explanation, first: &ExplainedPath, other: Option<&ExplainedPath>) -> String {
    let lines = lines(explanation, first, other);
    let most = |figure: &FigureRecord| figure.value;
    let inner = lines.iter().filter(|line| line.inner).flat_map(|line| line.figures.iter().flatten());
    let most = inner.map(most).fold(0.0, f64::max);
    let mut table = plain();
    let mut header = vec!["ns/KiB".to_owned(), first.path.clone()];
    if let Some(other) = other {
        header.extend([other.path.clone(), format!("{} - {}", other.path, first.path)]);
    }
    let columns = header.len();
    table.set_header(header);
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let figure = |line: &Line, figure: &Option<FigureRecord>| {
        let Some(figure) = figure else { return String::new() };
        let drawn = if line.inner && most > 0.0 { bar(figure.value / most, BAR) } else { String::new() };
        format!("{:>6} {drawn:BAR$}", significant(figure.value))
    };
    for line in &lines {
        let [one, two] = &line.figures;
        let cells = [line.name.clone(), figure(line, one), figure(line, two), line.difference.clone()];
        table.add_row(cells.into_iter().take(columns));
    }
    format!("{}\n", trimmed(&table))
}

fn lines(explanation: &Explanation, first: &ExplainedPath, other: Option<&ExplainedPath>) -> Vec<Line> {
    let end_of = |path: &ExplainedPath, name: &str| path.ends.iter().find(|end| end.end == name).cloned();
    let paths = [Some(first), other];
    let mut names: Vec<&str> = Vec::new();
    for end in paths.iter().flatten().flat_map(|path| &path.ends) {
        if !names.contains(&end.end.as_str()) {
            names.push(&end.end);
        }
    }
    let mut lines = Vec::new();
    for name in names {
        let ends = paths.map(|path| end_of(path?, name));
        lines.push(Line {
            name: name.to_owned(),
            figures: [0, 1].map(|at| ends[at].as_ref().map(|end| end.demand)),
            difference: String::new(),
            inner: false,
        });
        for class in crate::profile::classes::Class::ALL.iter().map(ToString::to_string) {
            let figures = [0, 1].map(|at| ends[at].as_ref()?.of(&class));
            if figures.iter().any(Option::is_some) {
                let difference =
                    other.map_or_else(String::new, |other| difference(explanation, other, name, &class));
                lines.push(Line { name: format!("  {class}"), figures, difference, inner: true });
            }
        }
    }
    lines
}

/// `+12.3 (10.1 to 14.5)`; in parentheses alone where the interval holds 0.
fn difference(explanation: &Explanation, other: &ExplainedPath, end: &str, class: &str) -> String {
    let same = |d: &&crate::record::ClassDifference| {
        (d.path.as_str(), d.end.as_str(), d.class.as_str()) == (other.path.as_str(), end, class)
    };
    let Some(found) = explanation.differences.iter().find(same) else { return String::new() };
    let signed = |value: f64| format!("{}{}", if value < 0.0 { "-" } else { "+" }, significant(value.abs()));
    let FigureRecord { value, low, high } = found.ns_per_kib;
    match low.zip(high) {
        Some((low, high)) => {
            let mark = if found.decided { "" } else { "? " };
            format!("{mark}{} ({} to {})", signed(value), signed(low), signed(high))
        }
        None => signed(value),
    }
}
