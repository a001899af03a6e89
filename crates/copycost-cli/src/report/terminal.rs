//! The report for a terminal: the answer, a table with bars, the comparisons, and remarks.

use comfy_table::{Cell, CellAlignment, Color};

use super::metric::RecordMetric;
use super::screen::{Screen, bar, printed};
use super::set::{RecordSet, SetRow, place};
use super::{conditions, cores, dated, explained, load_curve, modelled, paired, verdict, workload};
use crate::record::{Record, offsets_asked_for};
use copycost::units::{ByteSize, Rate, significant};

/// The colours of series: those of the HTML report, approximated by the standard colours of terminals.
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

/// The length of a throughput bar in a line of 100 columns, in characters.
const BAR: usize = 8;
/// The length of the other bars.
const SHORT_BAR: usize = 5;

/// The report of all sets, fitted to the screen.
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
    text += &workload::table(set, screen);
    text += &load_curve::tables(set, screen);
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

/// The settings and the machine, in two lines; empty if the verdict names them.
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

/// The reasons why the limiter of some rows is unknown, each once.
fn unknown_limiters(set: &RecordSet) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for record in set.rows.iter().filter_map(|row| row.record.as_ref()) {
        let Some(reason) = record.limiter.strip_prefix("unknown: ") else { continue };
        let reason = format!("limiter unknown: {reason}");
        // Reasons that differ only in numbers count as one.
        let without_numbers = |text: &str| text.replace(|c: char| c.is_ascii_digit() || c == '.', "");
        if !reasons.iter().any(|known| without_numbers(known) == without_numbers(&reason)) {
            reasons.push(reason);
        }
    }
    reasons
}

/// A column of the table.
struct Column {
    header: String,
    cells: Vec<String>,
    /// The cells without bars; empty if the column has none.
    bare: Vec<String>,
    right: bool,
    coloured: bool,
}

impl Column {
    /// The width of the column, with one blank on each side.
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        2 + cells.chain([self.header.chars().count()]).max().unwrap_or(0)
    }

    fn drop_bars(&mut self) {
        if !self.bare.is_empty() {
            self.cells = std::mem::take(&mut self.bare);
            self.right = true;
        }
    }
}

/// What a narrow screen omits, in this order: the whole column (true) or only its bars (false).
const OMISSIONS: [(&str, bool); 6] = [
    ("sw/msg", true),
    ("ns/KiB send", false),
    ("recv", true),
    ("throughput", false),
    ("limiter", true),
    ("clients", true),
];

/// Omits bars and columns until the table fits into `columns`. Returns the headers of omitted columns.
fn fitted(mut all: Vec<Column>, columns: usize) -> (Vec<Column>, Vec<String>) {
    let mut left_out = Vec::new();
    let width = |all: &[Column]| all.iter().map(Column::width).sum::<usize>();
    for (header, whole) in OMISSIONS {
        // A table that fills the last column of the line would be wrapped.
        if width(&all) < columns {
            break;
        }
        let Some(place) = all.iter().position(|column| column.header == header) else { continue };
        if whole {
            left_out.push(all.remove(place).header);
        } else {
            all[place].drop_bars();
        }
    }
    (all, left_out)
}

/// The table, and the headers of the columns that do not fit.
fn rows(set: &RecordSet, screen: Screen) -> (String, Vec<String>) {
    let cells = |of: &dyn Fn(&SetRow) -> String| set.rows.iter().map(of).collect::<Vec<_>>();
    let column = |header: &str, of: &dyn Fn(&SetRow) -> String, right| Column {
        header: header.to_owned(),
        cells: cells(of),
        bare: Vec::new(),
        right,
        coloured: false,
    };
    // A wide screen gets longer bars.
    let more = screen.columns.saturating_sub(100) / 3;
    let mut columns = vec![
        Column { coloured: true, ..column("path", &|row| row.path.clone(), false) },
        column("size", &|row| row.size.to_string(), true),
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
            let cell = Cell::new(&column.cells[number]);
            if column.coloured { cell.fg(COLOURS[place(&row.path) % COLOURS.len()]) } else { cell }
        };
        table.add_row(columns.iter().map(cell).collect::<Vec<_>>());
    }
    printed(&table)
}

/// A column of figures, aligned to the right, each followed by a bar.
fn barred(
    header: &str,
    set: &RecordSet,
    metric: RecordMetric,
    length: usize,
    format: fn(f64) -> String,
) -> Column {
    let values: Vec<_> = set.rows.iter().map(|row| row.figure(metric).map(|figure| figure.value)).collect();
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let figures: Vec<_> = values.iter().map(|value| value.map_or_else(|| "-".to_owned(), format)).collect();
    let width = figures.iter().map(|figure| figure.chars().count()).max().unwrap_or(0);
    let cell = |(figure, value): (&String, &Option<f64>)| {
        let bar = value.map_or_else(String::new, |value| bar(value / most, length));
        format!("{figure:>width$} {bar:length$}")
    };
    Column {
        header: header.to_owned(),
        cells: figures.iter().zip(&values).map(cell).collect(),
        bare: figures.clone(),
        right: false,
        coloured: true,
    }
}

fn value(row: &SetRow, metric: RecordMetric) -> String {
    row.figure(metric).map_or_else(|| "-".to_owned(), |figure| significant(figure.value))
}

/// The limiter without its reason; reasons for "unknown" are listed below the table.
fn limiter(row: &SetRow) -> String {
    let limiter = row.record.as_ref().map_or("", |record| record.limiter.as_str());
    limiter.split(':').next().unwrap_or_default().to_owned()
}

/// The copied share of the sends that requested zero copy, and the share of such sends if not all requested it.
fn copied(row: &SetRow) -> String {
    let Some(Record { ledger: Some(ledger), .. }) = &row.record else { return String::new() };
    let by_choice = ledger.plain.saturating_add(ledger.fallbacks);
    let share = |part: u64, whole: u64| match 100.0 * part as f64 / whole.max(1) as f64 {
        percent if part > 0 && percent < 0.1 => "<0.1 %".to_owned(),
        percent if part > 0 && percent < 1.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    };
    match ledger.completed {
        // Without completions, sends that copied by choice or as a fallback were all copied.
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
    fn the_copied_share_is_of_the_sends_that_requested_zero_copy() {
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
