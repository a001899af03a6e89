//! The report for a terminal: a line a row with a bar for each value, at most 100 columns. Colour is a choice of the
//! caller, who knows whether a terminal reads it.

use comfy_table::{Cell, CellAlignment, Color};

use super::fold::wrapped;
use super::metric::Metric;
use super::set::{Row, Set, place};
use super::table::{plain, trimmed};
use super::{conditions, dated, explained, modelled, paired, verdict};
use crate::record::offsets_asked_for;
use copycost::units::{ByteSize, Rate, significant};

/// Whether to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Text only: a file, a pipe.
    Plain,
    /// Escape sequences: a terminal whose user has not set `NO_COLOR`.
    Coloured,
}

/// Nearest to the report's colours among those that every terminal has.
const COLOURS: [Color; 7] =
    [Color::Blue, Color::Red, Color::Green, Color::Magenta, Color::Yellow, Color::Cyan, Color::Grey];

/// Characters of a bar of throughput; with every column 100 are just not exceeded.
const BAR: usize = 8;
/// Likewise of the other bars.
const SHORT_BAR: usize = 5;

/// Everything that fits.
pub fn report(sets: &[Set], paint: Paint) -> String {
    sets.iter().map(|set| one(set, paint)).collect::<Vec<_>>().join("\n")
}

fn one(set: &Set, paint: Paint) -> String {
    let mut text = String::new();
    if !set.label.is_empty() {
        text += &format!("{}\n", wrapped("", &set.label));
    }
    if !set.rows.is_empty() {
        text += &rows(set, paint);
    }
    for flag in conditions::flags(set) {
        text += &format!("\n{}", wrapped("! ", &flag));
    }
    for failure in conditions::failures(set) {
        text += &wrapped("", &failure);
    }
    text += &explained::tables(&set.explanations);
    text += &modelled::tables(&set.models);
    text += &paired::comparisons(&set.comparisons);
    text += &paired::reasons(&set.comparisons);
    if !set.verdict.is_empty() || set.conditions.is_none() {
        text += "\n";
        verdict::sentences(set).iter().for_each(|sentence| text += &wrapped("- ", sentence));
    }
    text + &measured(set)
}

/// Where it was measured, in two lines.
fn measured(set: &Set) -> String {
    let [transport, placement, layout, fields, buffers, footprint, _, send_offset, receive_offset] =
        &set.settings;
    let mut text = String::new();
    if !transport.is_empty() {
        text += "\n";
        text += &wrapped(
            "",
            &format!(
                "{transport}, {placement} placement, {layout} layout, {fields} fields, {buffers} buffers, {footprint} footprint{}",
                offsets_asked_for(send_offset, receive_offset)
            ),
        );
    }
    if let Some(c) = set
        .conditions
        .as_ref()
        .filter(|_| !set.rows.is_empty() || !set.explanations.is_empty() || !set.models.is_empty())
    {
        text += &wrapped(
            "",
            &format!(
                "Linux {}, {} × {}, {}, SO_SNDBUF {}, SO_RCVBUF {}",
                c.kernel,
                c.cpus,
                c.cpu_model,
                c.congestion_control,
                ByteSize(c.send_buffer_bytes),
                ByteSize(c.receive_buffer_bytes)
            ),
        );
    }
    text
}

/// A column: its header, its words, and whether they stand to the right.
struct Column {
    header: &'static str,
    words: Vec<String>,
    right: bool,
    coloured: bool,
}

fn rows(set: &Set, paint: Paint) -> String {
    let words = |of: &dyn Fn(&Row) -> String| set.rows.iter().map(of).collect::<Vec<_>>();
    let column = |header, of: &dyn Fn(&Row) -> String, right| Column {
        header,
        words: words(of),
        right,
        coloured: false,
    };
    let mut columns = vec![
        Column { coloured: true, ..column("path", &|row| row.path.clone(), false) },
        column("size", &|row| ByteSize(row.size).to_string(), true),
        column("clients", &|row| row.clients.to_string(), true),
        barred("throughput", set, Metric::Throughput, BAR, |value| Rate(value * 1e9).to_string()),
    ];
    if set.rows.iter().any(|row| row.record.is_some()) {
        columns.push(barred("ns/KiB send", set, Metric::SenderDemand, SHORT_BAR, significant));
        columns.push(column("recv", &|row| value(row, Metric::ReceiverDemand), true));
        columns.push(column("sw/msg", &|row| value(row, Metric::Switches), true));
        columns.push(column("copied", &copied, true));
        columns.push(column("limiter", &limiter, true));
        columns.push(column("", &|row| if flagged(row) { "!".to_owned() } else { String::new() }, true));
    } else {
        columns.push(barred("ns/KiB, both ends", set, Metric::BothDemand, BAR, significant));
        columns.push(barred("mean latency, µs", set, Metric::LatencyMean, BAR, significant));
        if dated::has_dates(set) {
            columns.push(column("measured, UTC", &dated::of_row, false));
        }
    }
    table(set, &columns, paint)
}

fn table(set: &Set, columns: &[Column], paint: Paint) -> String {
    let mut table = plain();
    match paint {
        Paint::Plain => table.force_no_tty(),
        Paint::Coloured => table.enforce_styling(),
    };
    table.set_header(columns.iter().map(|column| column.header).collect::<Vec<_>>());
    for (column, shape) in table.column_iter_mut().zip(columns) {
        column.set_cell_alignment(if shape.right { CellAlignment::Right } else { CellAlignment::Left });
    }
    for (number, row) in set.rows.iter().enumerate() {
        let cell = |column: &Column| {
            let cell = Cell::new(&column.words[number]);
            if column.coloured { cell.fg(COLOURS[place(&row.path) % COLOURS.len()]) } else { cell }
        };
        table.add_row(columns.iter().map(cell).collect::<Vec<_>>());
    }
    format!("{}\n", trimmed(&table))
}

/// Figures to the right and then their bars, which all begin in one column.
fn barred(header: &'static str, set: &Set, metric: Metric, length: usize, say: fn(f64) -> String) -> Column {
    let values: Vec<_> = set.rows.iter().map(|row| row.figure(metric).map(|figure| figure.value)).collect();
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let figures: Vec<_> = values.iter().map(|value| value.map_or_else(|| "-".to_owned(), say)).collect();
    let width = figures.iter().map(|figure| figure.chars().count()).max().unwrap_or(0);
    let word = |(figure, value): (&String, &Option<f64>)| {
        let bar = value.map_or_else(String::new, |value| bar(value / most, length));
        format!("{figure:>width$} {bar:length$}")
    };
    Column { header, words: figures.iter().zip(&values).map(word).collect(), right: false, coloured: true }
}

/// A share of `length` characters, in eighths of a character.
pub(super) fn bar(share: f64, length: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    // What is there at all is seen.
    let eighths = ((share.clamp(0.0, 1.0) * 8.0 * length as f64).round() as usize).max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn value(row: &Row, metric: Metric) -> String {
    row.figure(metric).map_or_else(|| "-".to_owned(), |figure| significant(figure.value))
}

/// The word without its reason, which is in the other forms.
fn limiter(row: &Row) -> String {
    let limiter = row.record.as_ref().map_or("", |record| record.limiter.as_str());
    limiter.split(':').next().unwrap_or_default().replace("unknown", "?")
}

fn copied(row: &Row) -> String {
    let ledger = row.record.as_ref().and_then(|record| record.ledger.as_ref());
    ledger.map_or_else(String::new, |ledger| match ledger.completed {
        // What was copied by choice or by need was copied, and nobody had to say so.
        0 if ledger.plain.saturating_add(ledger.fallbacks) > 0 => "100 %".to_owned(),
        0 => "unknown".to_owned(),
        _ if ledger.doubtful > 0 => "unknown".to_owned(),
        completed => format!("{:.0} %", 100.0 * ledger.copied as f64 / completed as f64),
    })
}

fn flagged(row: &Row) -> bool {
    row.record.as_ref().is_some_and(|record| !record.flags.is_empty())
}
