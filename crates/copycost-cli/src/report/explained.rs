//! The CPU time of paths by class, two paths side by side: tables with bars for a terminal, and listings.

use comfy_table::CellAlignment;

use super::listing::{Listing, UNKNOWN};
use super::screen::{Screen, bar, printed};
use crate::record::{ALL, ExplainedEnd, ExplainedPath, Explanation, FigureRecord};
use copycost::units::{ClientCount, hundredths, signed, significant, thousands};

/// The length of a bar, in characters.
const BAR: usize = 8;

/// A table for each path next to the first one, or for the only path, followed by remarks.
pub(super) fn tables(explanations: &[Explanation], screen: Screen) -> String {
    explanations.iter().map(|explanation| one(explanation, screen)).collect()
}

fn one(explanation: &Explanation, screen: Screen) -> String {
    let tables: Vec<_> =
        pairs(explanation).into_iter().map(|pair| table(explanation, pair, screen)).collect();
    let mut text = tables.join("\n");
    text += &screen.wrapped("", &format!("{}; {}", cell(explanation), explanation.settings.join(", ")));
    text += "\n";
    sentences(explanation).iter().for_each(|sentence| text += &screen.wrapped("- ", sentence));
    text
}

/// `CPU time in ns/KiB, 64 KiB, 1 client`
pub(super) fn cell(explanation: &Explanation) -> String {
    let Explanation { size, clients, .. } = explanation;
    format!("CPU time in ns/KiB, {}, {}", size, ClientCount(*clients))
}

/// Remarks on the figures.
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
            let parts: Vec<_> = explanation.paths.iter().filter_map(split).collect();
            if !parts.is_empty() {
                sentences.push(format!(
                    "Still known: CPU time in user space by the kernel's tick, in ns/KiB: {}; the rest is \
                     kernel time.",
                    parts.join("; ")
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
                "{}: {} samples were lost because the buffer was full.",
                path.path,
                thousands(path.lost)
            ));
        }
    }
    sentences
}

/// How the samples were taken, and how well they agree with the CPU clocks.
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
        "{} samples for each second of CPU time, of {}. They show how the time is divided; the time itself \
         was measured without them.",
        thousands(explanation.hertz),
        explanation.scope.as_deref().unwrap_or("the threads")
    ));
    sentences.push(
        "A timer takes the samples: code that runs with interrupts off is charged to the function that \
         enables them again."
            .to_owned(),
    );
    sentences
}

/// A line of the table.
struct ExplainedLine {
    /// The kind of threads.
    end: String,
    /// The class; `None` for the total.
    class: Option<String>,
    figures: [Option<FigureRecord>; 2],
    difference: String,
}

/// Two paths side by side, or the only one.
type SideBySide<'a> = (&'a ExplainedPath, Option<&'a ExplainedPath>);

/// The pairs of paths of an explanation: the first with each other one.
fn pairs(explanation: &Explanation) -> Vec<SideBySide<'_>> {
    match explanation.paths.split_first() {
        None => Vec::new(),
        Some((first, [])) => vec![(first, None)],
        Some((first, others)) => others.iter().map(|other| (first, Some(other))).collect(),
    }
}

fn header((first, other): &SideBySide<'_>) -> Vec<String> {
    let of_other = |other: &&ExplainedPath| [other.path.clone(), format!("{} - {}", other.path, first.path)];
    [first.path.clone()].into_iter().chain(other.iter().flat_map(of_other)).collect()
}

/// A listing of each pair of paths.
pub(super) fn listings(explanation: &Explanation) -> Vec<Listing> {
    let listing = |pair: SideBySide<'_>| {
        let header: Vec<_> = ["end", "class"].map(str::to_owned).into_iter().chain(header(&pair)).collect();
        let columns = header.len();
        let figure = |figure: &Option<FigureRecord>| {
            figure.map_or_else(|| UNKNOWN.to_owned(), |figure| hundredths(figure.value))
        };
        let row = |line: ExplainedLine| {
            let [one, two] = line.figures;
            let class = line.class.unwrap_or_else(|| ALL.to_owned());
            let cells = [line.end, class, figure(&one), figure(&two), line.difference];
            cells.into_iter().take(columns).collect()
        };
        Listing { rows: lines(explanation, pair).into_iter().map(row).collect(), header }
    };
    pairs(explanation).into_iter().map(listing).collect()
}

fn table(explanation: &Explanation, pair: SideBySide<'_>, screen: Screen) -> String {
    let lines = lines(explanation, pair);
    let inner = lines.iter().filter(|line| line.class.is_some());
    let most = inner.flat_map(|line| line.figures.iter().flatten()).map(|figure| figure.value);
    let most = most.fold(0.0, f64::max);
    let mut table = screen.table();
    let header: Vec<_> = ["ns/KiB".to_owned()].into_iter().chain(header(&pair)).collect();
    let columns = header.len();
    table.set_header(header);
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let figure = |line: &ExplainedLine, figure: &Option<FigureRecord>| {
        let Some(figure) = figure else { return String::new() };
        let inner = line.class.is_some() && most > 0.0;
        let drawn = if inner { bar(figure.value / most, BAR) } else { String::new() };
        format!("{:>6} {drawn:BAR$}", hundredths(figure.value))
    };
    for line in &lines {
        let [one, two] = &line.figures;
        let name = line.class.as_ref().map_or_else(|| line.end.clone(), |class| format!("  {class}"));
        let cells = [name, figure(line, one), figure(line, two), line.difference.clone()];
        table.add_row(cells.into_iter().take(columns));
    }
    printed(&table)
}

fn lines(explanation: &Explanation, (first, other): SideBySide<'_>) -> Vec<ExplainedLine> {
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
        let difference =
            |class: &str| other.map_or_else(String::new, |other| difference(explanation, other, name, class));
        lines.push(ExplainedLine {
            end: name.to_owned(),
            class: None,
            figures: [0, 1].map(|at| ends[at].as_ref().map(|end| end.demand)),
            difference: difference(ALL),
        });
        for class in crate::profile::classes::Class::ALL.iter().map(ToString::to_string) {
            let figures = [0, 1].map(|at| ends[at].as_ref()?.of(&class));
            if figures.iter().any(Option::is_some) {
                let difference = difference(&class);
                lines.push(ExplainedLine { end: name.to_owned(), class: Some(class), figures, difference });
            }
        }
    }
    lines
}

/// How much more a path spends than the first one: `+12.3 (10.1 to 14.5)`, with a `?` in front if the interval contains
/// 0. Empty for the first path itself.
pub(super) fn difference(explanation: &Explanation, other: &ExplainedPath, end: &str, class: &str) -> String {
    let Some(found) = explanation.difference(&other.path, end, class) else { return String::new() };
    let FigureRecord { value, low, high } = found.ns_per_kib;
    match low.zip(high) {
        Some((low, high)) => {
            let mark = if found.decided { "" } else { "? " };
            format!("{mark}{} ({} to {})", signed(value), signed(low), signed(high))
        }
        None => signed(value),
    }
}
