//! The report as Markdown, for a pull request or an issue: the verdict, the figures, the claims, the conditions.

use std::fmt::Write;

use super::claims;
use super::html::charts;
use super::listing::Listing;
use super::metric::RecordMetric;
use super::set::RecordSet;
use super::{conditions, explained, load_curve, modelled, verdict, workload};
use crate::record::{CostModel, Explanation, LoadCurve};

/// The most important metrics; other formats have all.
const SHOWN: [RecordMetric; 4] = [
    RecordMetric::Throughput,
    RecordMetric::BothDemand,
    RecordMetric::SystemDemand,
    RecordMetric::LatencyMedian,
];

/// The report of all sets.
pub fn report(sets: &[RecordSet]) -> String {
    let mut out = String::from("## copycost\n\n");
    for set in sets {
        // Writing into a string does not fail.
        if !set.label.is_empty() {
            let _ = writeln!(out, "### {}\n", escaped(&set.label));
        }
        for answer in &set.answers {
            let _ = writeln!(out, "**{}**\n", prose(answer));
        }
        for sentence in verdict::sentences(set) {
            let _ = writeln!(out, "> {}\n>", prose(&sentence));
        }
        out.truncate(out.trim_end_matches(['>', '\n']).len());
        out.push_str("\n\n");
        for line in conditions::flags(set).iter().chain(&conditions::failures(set)) {
            let _ = writeln!(out, "- ⚠ {}", escaped(line));
        }
        out.truncate(out.trim_end().len());
        out.push_str("\n\n");
    }
    if sets.iter().any(|set| !set.rows.is_empty()) {
        out += &cells(sets);
    }
    sets.iter().flat_map(|set| &set.load_curves).for_each(|curve| out += &loaded(curve));
    sets.iter().flat_map(|set| &set.explanations).for_each(|explanation| out += &explained(explanation));
    sets.iter().flat_map(|set| &set.models).for_each(|model| out += &modelled(model));
    out + &measured(sets)
}

/// The figures of the cells, the comparisons, and the claims of the original experiment.
fn cells(sets: &[RecordSet]) -> String {
    let known = |metric: &RecordMetric| {
        sets.iter().flat_map(|set| &set.rows).any(|row| row.figure(*metric).is_some())
    };
    let metrics: Vec<_> = SHOWN.into_iter().chain([RecordMetric::LatencyMean]).filter(known).collect();
    let mut out = table(&Listing::of_metrics(sets, &metrics));
    for set in sets {
        if let Some(listing) = workload::listing(set) {
            let _ = write!(out, "\n### The sizes of messages\n\n{}", table(&listing));
            out += &list(workload::sentences(set));
        }
    }
    let compared = charts::comparison_table(sets);
    if !compared.rows.is_empty() {
        let _ = write!(out, "\n### Beside the reference\n\n{}", table(&compared));
    }
    out + &claims(sets)
}

/// Paths under loads that did not wait.
fn loaded(curve: &LoadCurve) -> String {
    let settings = escaped(&curve.settings.join(", "));
    let cell = escaped(&load_curve::cell(curve));
    let mut out = format!("\n### {cell}\n\n{settings}\n\n{}", table(&load_curve::listing(curve)));
    let compared = load_curve::comparisons(curve);
    if !compared.rows.is_empty() {
        let _ = write!(out, "\n{}", table(&compared));
    }
    out + &list(load_curve::sentences(curve))
}

/// The CPU time by class: a table for each path next to the first one.
fn explained(explanation: &Explanation) -> String {
    let settings = escaped(&explanation.settings.join(", "));
    let mut out = format!("\n### {}\n\n{settings}\n", escaped(&explained::cell(explanation)));
    for listing in explained::listings(explanation) {
        let _ = write!(out, "\n{}", table(&listing));
    }
    out + &list(explained::sentences(explanation))
}

/// A cost model: its coefficients, its checks, and its predictions for the message in question.
fn modelled(model: &CostModel) -> String {
    let [coefficients, predictions] = modelled::listings(model);
    let settings = escaped(&modelled::conditions(model));
    format!(
        "\n### {}\n\n{settings}\n\n{}{}\n### {}\n\n{}",
        "What things cost here",
        table(&coefficients),
        list(modelled::all_sentences(model)),
        escaped(&format!("Predicted for {}", model.asked.text())),
        table(&predictions),
    )
}

fn list(sentences: impl IntoIterator<Item = String>) -> String {
    let items: String = sentences.into_iter().map(|sentence| format!("- {}\n", escaped(&sentence))).collect();
    if items.is_empty() { items } else { format!("\n{items}") }
}

fn claims(sets: &[RecordSet]) -> String {
    let mut out = String::from("\n### The original experiment's claims, in this run\n\n");
    for claim in &claims::ALL {
        for set in sets {
            let found = claim.evaluate(set);
            let label =
                if set.label.is_empty() { String::new() } else { format!(" ({})", escaped(&set.label)) };
            let _ = writeln!(
                out,
                "- **{}**{label}: {}. {}",
                found.verdict.text(),
                claim.text,
                escaped(&found.evidence)
            );
        }
    }
    out
}

fn measured(sets: &[RecordSet]) -> String {
    let mut out = String::from("\n<details><summary>Conditions</summary>\n\n");
    for set in sets {
        if !set.label.is_empty() {
            let _ = writeln!(out, "**{}**\n", escaped(&set.label));
        }
        for (name, value) in conditions::pairs(set) {
            let _ = writeln!(out, "- {}: {}", escaped(&name), escaped(&value));
        }
        out.push('\n');
        for command in &set.commands {
            out += &fenced(command);
        }
    }
    out + "</details>\n"
}

/// A code block whose fence is longer than any run of backticks inside.
fn fenced(command: &str) -> String {
    let command: String = command.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}sh\n{command}\n{fence}\n\n")
}

fn table(listing: &Listing) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| escaped(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = |column: usize| if listing.is_figures(column) { "---:" } else { "---" };
    let rules: Vec<_> = (0..listing.header.len()).map(rule).collect();
    let rows: String = listing.rows.iter().map(|row| line(row)).collect();
    format!("{}|{}|\n{rows}", line(&listing.header), rules.join("|"))
}

/// A sentence with commands in backticks. Unpaired backticks are escaped like other text.
fn prose(text: &str) -> String {
    let parts: Vec<_> = text.split('`').collect();
    if parts.len() % 2 == 0 {
        return escaped(text);
    }
    let part = |(number, part): (usize, &&str)| match number % 2 {
        0 => escaped(part),
        _ => format!("`{}`", part.replace(char::is_control, " ")),
    };
    parts.iter().enumerate().map(part).collect()
}

/// One line of plain text for Markdown: without table columns, HTML, emphasis or links.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '*' | '_' | '[' | ']' | '`' | '~' | '#' | '!' => out.extend(['\\', c]),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
