//! Results as a table for people: at most 100 columns, conditions and warnings under it.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::record::{Record, Results};
use crate::units::{ByteSize, Rate, significant};

/// Wide enough for every column, narrow enough for a terminal and a pull request.
const COLUMNS: u16 = 100;

/// `results`, one line a record.
pub(super) fn results(results: &Results) -> String {
    let mut table = plain();
    table.set_header(["path", "size", "clients", "throughput", "calls/msg", "switches/msg", "copied", ""]);
    for column in 1..=6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut flags: Vec<&str> = results.records.iter().flat_map(|r| &r.flags).map(String::as_str).collect();
    flags.sort_unstable();
    flags.dedup();
    for record in &results.records {
        table.add_row(row(record));
    }
    let mut text = if results.records.is_empty() { String::new() } else { format!("{}\n", trimmed(&table)) };
    for flag in flags {
        text += &format!("\n! {flag}\n");
    }
    for failure in &results.failures {
        let (size, clients) = (ByteSize(failure.size), failure.clients);
        text += &format!("not measured: {}, {size}, clients {clients}: {}\n", failure.path, failure.error);
    }
    text + &conditions(results)
}

fn row(record: &Record) -> [String; 8] {
    let copied = record.ledger.as_ref().map_or_else(String::new, |ledger| match ledger.completed {
        0 => "unknown".to_owned(),
        completed => format!("{:.0} %", 100.0 * ledger.copied as f64 / completed as f64),
    });
    [
        record.path.clone(),
        ByteSize(record.size).to_string(),
        record.clients.to_string(),
        Rate(record.throughput_bytes_per_second).to_string(),
        significant(record.syscalls_per_message),
        significant(record.context_switches_per_message),
        copied,
        if record.flags.is_empty() { String::new() } else { "!".to_owned() },
    ]
}

fn conditions(results: &Results) -> String {
    let c = &results.conditions;
    let mut text = String::new();
    if let Some(record) = results.records.first() {
        text += &format!(
            "\n{}, {} placement, {} layout, {} fields, {} buffers, {} footprint\n",
            record.transport,
            record.placement,
            record.layout,
            record.fields,
            record.buffers,
            record.footprint
        );
        text += &format!(
            "Linux {}, {} × {}, {}, SO_SNDBUF {}, SO_RCVBUF {}\n",
            c.kernel,
            c.cpus,
            c.cpu_model,
            c.congestion_control,
            ByteSize(c.send_buffer_bytes),
            ByteSize(c.receive_buffer_bytes)
        );
    }
    for flag in &c.flags {
        text += &format!("! {flag}\n");
    }
    text
}

/// A name, whether it is to be had, and what it is: one line each.
pub fn list(rows: &[[String; 3]]) -> String {
    let mut table = plain();
    table.set_header(["path", "here", "what it does"]);
    for row in rows {
        table.add_row(row);
    }
    format!("{}\n", trimmed(&table))
}

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(COLUMNS);
    table
}

/// Without the blanks at the ends of the lines.
fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
