//! The report for a terminal: the answer, a line a row with a bar for each value, the comparisons, and what was not shown.

use comfy_table::{Cell, CellAlignment, Color};

use super::metric::RecordMetric;
use super::screen::Screen;
use super::set::{RecordSet, SetRow, place};
use super::table::trimmed;
use super::{conditions, cores, dated, explained, modelled, paired, verdict};
use crate::record::{Record, offsets_asked_for};
use copycost::units::{ByteSize, Rate, significant};

/// Nearest to the report's colours among those that every terminal has.
const COLOURS: [Color; super::plot::ink::SERIES] = [
    Color::Blue,
    Color::Red,
    Color::Green,
    Color::Magenta,
    Color::Yellow,
    Color::Cyan,
    Color::Grey,
    Color::DarkMagenta,
    Color::DarkRed,
    Color::DarkGreen,
    Color::DarkCyan,
    Color::DarkBlue,
    Color::DarkYellow,
    Color::White,
];

/// Characters of a bar of throughput in a line of 100.
const BAR: usize = 8;
/// Likewise of the other bars.
const SHORT_BAR: usize = 5;

/// Everything that fits.
pub fn report(sets: &[RecordSet], screen: Screen) -> String {
    sets.iter().map(|set| one(set, screen)).collect::<Vec<_>>().join("\n")
}

fn one(set: &RecordSet, screen: Screen) -> String {
    let mut text = String::new();
    if !set.label.is_empty() {
        text += &format!("{}\n", screen.wrapped("", &set.label));
    }
    for answer in &set.answers {
        text += &screen.bold(answer);
    }
    if !set.answers.is_empty() {
        text += "\n";
    }
    let mut limiter_shown = false;
    if !set.rows.is_empty() {
        let (rows, left_out) = rows(set, screen);
        limiter_shown = !left_out.iter().any(|column| column == "limiter");
        text += &rows;
    }
    let unknown = if limiter_shown { unknown_limiters(set) } else { Vec::new() };
    let remarks = [conditions::flags(set), unknown].concat();
    if !remarks.is_empty() {
        text += "\n";
        remarks.iter().for_each(|remark| text += &screen.wrapped("! ", remark));
    }
    for failure in conditions::failures(set) {
        text += &screen.wrapped("", &failure);
    }
    text += &explained::tables(&set.explanations, screen);
    text += &modelled::tables(&set.models, screen);
    text += &paired::comparisons(&set.comparisons, screen);
    text += &paired::reasons(set, screen);
    if !set.verdict.is_empty() || set.conditions.is_none() {
        text += "\n";
        verdict::sentences(set).iter().for_each(|sentence| text += &screen.wrapped("- ", sentence));
    }
    text + &measured(set, screen)
}

/// Where it was measured, in two lines; nothing where the verdict has it.
fn measured(set: &RecordSet, screen: Screen) -> String {
    if set.verdict.iter().any(|sentence| sentence.starts_with("Measured by copycost")) {
        return String::new();
    }
    let [transport, placement, layout, fields, buffers, footprint, _, send_offset, receive_offset] =
        &set.settings;
    let mut text = String::new();
    if !transport.is_empty() {
        text += "\n";
        text += &screen.wrapped(
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
        text += &screen.wrapped(
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

/// Why it is not known what limited some rows, each reason once.
fn unknown_limiters(set: &RecordSet) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for record in set.rows.iter().filter_map(|row| row.record.as_ref()) {
        let Some(reason) = record.limiter.strip_prefix("unknown: ") else { continue };
        let reason = format!("limiter unknown: {reason}");
        // Reasons that differ in a figure are one.
        let words = |text: &str| text.replace(|c: char| c.is_ascii_digit() || c == '.', "");
        if !reasons.iter().any(|known| words(known) == words(&reason)) {
            reasons.push(reason);
        }
    }
    reasons
}

/// A column: its header, its words, and whether they stand to the right.
struct Column {
    header: String,
    words: Vec<String>,
    /// The same without bars; empty where there are none.
    bare: Vec<String>,
    right: bool,
    coloured: bool,
}

impl Column {
    /// Columns that it takes, one blank on each side.
    fn width(&self) -> usize {
        let words = self.words.iter().map(|word| word.chars().count());
        2 + words.chain([self.header.chars().count()]).max().unwrap_or(0)
    }

    fn without_bars(&mut self) {
        if !self.bare.is_empty() {
            self.words = std::mem::take(&mut self.bare);
            self.right = true;
        }
    }
}

/// What a narrow screen does without, in this order: a bar, or a column.
const SACRIFICES: [(&str, bool); 6] = [
    ("sw/msg", true),
    ("ns/KiB send", false),
    ("recv", true),
    ("throughput", false),
    ("limiter", true),
    ("clients", true),
];

/// Leaves out what `columns` are too few for; says what.
fn fitted(mut all: Vec<Column>, columns: usize) -> (Vec<Column>, Vec<String>) {
    let mut left_out = Vec::new();
    let width = |all: &[Column]| all.iter().map(Column::width).sum::<usize>();
    for (header, whole) in SACRIFICES {
        // A table that fills the line to its last column is wrapped.
        if width(&all) < columns {
            break;
        }
        let Some(place) = all.iter().position(|column| column.header == header) else { continue };
        if whole {
            left_out.push(all.remove(place).header);
        } else {
            all[place].without_bars();
        }
    }
    (all, left_out)
}

/// The table, and the columns that it has no room for.
fn rows(set: &RecordSet, screen: Screen) -> (String, Vec<String>) {
    let words = |of: &dyn Fn(&SetRow) -> String| set.rows.iter().map(of).collect::<Vec<_>>();
    let column = |header: &str, of: &dyn Fn(&SetRow) -> String, right| Column {
        header: header.to_owned(),
        words: words(of),
        bare: Vec::new(),
        right,
        coloured: false,
    };
    // A wide screen has longer bars.
    let more = screen.columns.saturating_sub(100) / 3;
    let mut columns = vec![
        Column { coloured: true, ..column("path", &|row| row.path.clone(), false) },
        column("size", &|row| ByteSize(row.size).to_string(), true),
        column("clients", &|row| row.clients.to_string(), true),
        barred("throughput", set, RecordMetric::Throughput, BAR + more, |value| {
            Rate(value * 1e9).to_string()
        }),
    ];
    if set.rows.iter().any(|row| row.record.is_some()) {
        columns.push(barred("ns/KiB send", set, RecordMetric::SenderDemand, SHORT_BAR + more, significant));
        columns.push(column("recv", &|row| value(row, RecordMetric::ReceiverDemand), true));
        if let Some(load) = set.load {
            let cores = |row: &SetRow| cores::of_row(row, load).map_or_else(|| "-".to_owned(), significant);
            columns.push(column(&format!("cores at {load}"), &cores, true));
        }
        columns.push(column("sw/msg", &|row| value(row, RecordMetric::Switches), true));
        columns.push(column("copied", &copied, true));
        columns.push(column("limiter", &limiter, true));
        columns.push(column("", &|row| if flagged(row) { "!".to_owned() } else { String::new() }, true));
    } else {
        columns.push(barred("ns/KiB, both ends", set, RecordMetric::BothDemand, BAR, significant));
        columns.push(barred("mean latency, µs", set, RecordMetric::LatencyMean, BAR, significant));
        if dated::has_dates(set) {
            columns.push(column("measured, UTC", &dated::of_row, false));
        }
    }
    let (columns, left_out) = fitted(columns, screen.columns);
    let mut text = table(set, &columns, screen);
    text += &screen.left_out(&left_out);
    (text, left_out)
}

fn table(set: &RecordSet, columns: &[Column], screen: Screen) -> String {
    let mut table = screen.table();
    table.set_header(columns.iter().map(|column| &column.header).collect::<Vec<_>>());
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
fn barred(
    header: &str,
    set: &RecordSet,
    metric: RecordMetric,
    length: usize,
    say: fn(f64) -> String,
) -> Column {
    let values: Vec<_> = set.rows.iter().map(|row| row.figure(metric).map(|figure| figure.value)).collect();
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let figures: Vec<_> = values.iter().map(|value| value.map_or_else(|| "-".to_owned(), say)).collect();
    let width = figures.iter().map(|figure| figure.chars().count()).max().unwrap_or(0);
    let word = |(figure, value): (&String, &Option<f64>)| {
        let bar = value.map_or_else(String::new, |value| bar(value / most, length));
        format!("{figure:>width$} {bar:length$}")
    };
    Column {
        header: header.to_owned(),
        words: figures.iter().zip(&values).map(word).collect(),
        bare: figures.clone(),
        right: false,
        coloured: true,
    }
}

/// A share of `length` characters, in eighths of a character.
pub(super) fn bar(share: f64, length: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    // What is there at all is seen.
    let eighths = ((share.clamp(0.0, 1.0) * 8.0 * length as f64).round() as usize).max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn value(row: &SetRow, metric: RecordMetric) -> String {
    row.figure(metric).map_or_else(|| "-".to_owned(), |figure| significant(figure.value))
}

/// The word; the reason for "unknown" stands below the table.
fn limiter(row: &SetRow) -> String {
    let limiter = row.record.as_ref().map_or("", |record| record.limiter.as_str());
    limiter.split(':').next().unwrap_or_default().to_owned()
}

/// Of the sends that asked for zero copy, the share that was copied; and where not all asked, the share that did.
fn copied(row: &SetRow) -> String {
    let Some(Record { ledger: Some(ledger), .. }) = &row.record else { return String::new() };
    let by_choice = ledger.plain.saturating_add(ledger.fallbacks);
    let share = |part: u64, whole: u64| match 100.0 * part as f64 / whole.max(1) as f64 {
        percent if part > 0 && percent < 0.1 => "<0.1 %".to_owned(),
        percent if part > 0 && percent < 1.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    };
    match ledger.completed {
        // What was copied by choice or by need was copied, and nobody had to say so.
        0 if by_choice > 0 => "100 %".to_owned(),
        0 => "unknown".to_owned(),
        _ if ledger.doubtful > 0 => "unknown".to_owned(),
        completed if by_choice > 0 => {
            let asked = share(completed, completed.saturating_add(by_choice));
            format!("{} of {asked}", share(ledger.copied, completed))
        }
        completed => share(ledger.copied, completed),
    }
}

fn flagged(row: &SetRow) -> bool {
    row.record.as_ref().is_some_and(|record| !record.flags.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::LedgerRecord;
    use crate::report::fixture::full;
    use crate::report::set::of_results;

    #[test]
    fn the_share_that_was_copied_is_of_what_asked() {
        let mut row = of_results("", &full()).remove(0).rows.remove(0);
        let mut of = |completed, copied, plain| {
            let record = row.record.as_mut().unwrap();
            record.ledger = Some(LedgerRecord { completed, copied, plain, ..LedgerRecord::default() });
            super::copied(&row)
        };
        assert_eq!(of(10, 10, 0), "100 %");
        assert_eq!(of(1000, 3, 0), "0.3 %");
        assert_eq!(of(0, 0, 10), "100 %");
        assert_eq!(of(7, 7, 993), "100 % of 0.7 %");
        assert_eq!(of(1, 0, 1_000_000), "0 % of <0.1 %");
    }

    #[test]
    fn every_width_of_a_terminal_is_kept() {
        let sets = of_results("", &full());
        for columns in [60, 72, 80, 100, 132, 200] {
            for unicode in [true, false] {
                let text = report(&sets, Screen { columns, unicode, ..Screen::FILE });
                let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
                assert!(longest <= columns, "{longest} of {columns}:\n{text}");
            }
        }
    }
}
