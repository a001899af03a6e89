//! The report as one HTML file without network access and scripts, with a light and a dark theme, for desktops and
//! phones.
//!
//! The sections answer the questions of a reader in their usual order: the answer, its distortions, the plots, the
//! conditions, the commands to repeat the run. All text from files goes through maud, which escapes it.

pub mod charts;
mod style;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::claims::{self, ClaimVerdict};
use super::listing::Listing;
use super::plot::mark::SeriesStyle;
use super::set::{RecordSet, place};
use super::{conditions, plot, verdict};
use charts::{Chart, Content};

pub fn page(sets: &[RecordSet]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // The browser must load and run nothing, even if a file contained markup that escaped.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                link rel="icon" href="data:,";
                title { "copycost report" }
                style { (PreEscaped(style::sheet())) }
            }
            body {
                (PreEscaped(style::HATCH))
                main {
                    (head(sets))
                    (answer(sets))
                    @if sets.iter().any(|set| !conditions::flags(set).is_empty() || !set.failures.is_empty()) { (warnings(sets)) }
                    @for (chart, content) in charts::of(sets) { (figure(chart, content)) }
                    @if sets.iter().any(|set| !set.rows.is_empty()) { (claims(sets)) }
                    (measured(sets))
                    (again(sets))
                }
            }
        }
    }
    .into_string()
}

fn head(sets: &[RecordSet]) -> Markup {
    let machines: Vec<_> = sets.iter().filter_map(conditions::machine).collect();
    html! {
        header {
            p.quiet { "copycost report" }
            h1 { "What it costs to send" }
            @for (number, machine) in machines.iter().enumerate() {
                @if !machines[..number].contains(machine) { p.quiet { (machine) } }
            }
            (legend(sets))
        }
    }
}

/// The marker of each path, and the line style of each set.
fn legend(sets: &[RecordSet]) -> Markup {
    let mut paths: Vec<&str> = Vec::new();
    for path in sets.iter().flat_map(RecordSet::paths) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.sort_by_key(|path| place(path));
    let marker = |path: &str, set: usize| {
        let look = SeriesStyle { place: place(path), set };
        let svg = plot::svg(path, (16, 16), |canvas| look.draw(canvas, (8 * plot::DOTS, 8 * plot::DOTS), 50));
        PreEscaped(svg.replace("class=\"plot\"", "class=\"key\""))
    };
    html! {
        ul.legend {
            @for path in &paths { li { (marker(path, 0)) (path) } }
            @if sets.len() > 1 {
                @for (number, set) in sets.iter().enumerate() {
                    li { span.line.dashed[number % 2 == 1].dotted[number > 0 && number % 2 == 0] {} (set.label) }
                }
            }
        }
    }
}

fn answer(sets: &[RecordSet]) -> Markup {
    html! {
        section.verdict #verdict {
            h2 { "Verdict" }
            @for set in sets {
                @if !set.label.is_empty() { h3 { (set.label) } }
                @for answer in &set.answers { p.answer { (prose(answer)) } }
                @let sentences = verdict::sentences(set);
                // A long verdict in one column would push the plots off the first page.
                @let text = html! {
                    div.many[sentences.len() > 5] { @for sentence in &sentences { p { (prose(sentence)) } } }
                };
                @if set.answers.is_empty() { (text) } @else {
                    details { summary { "In sentences, with what was not shown and the conditions" } (text) }
                }
            }
            p.quiet {
                "In the glossary: "
                @for (number, (term, anchor)) in TERMS.iter().enumerate() {
                    @if number > 0 { ", " }
                    a href=(glossary(anchor)) { (term) }
                }
                "."
            }
            @if sets.len() > 1 {
                p.quiet { "These sets are different runs or settings: compare the ratios of paths within each, not the figures across." }
            }
        }
    }
}

/// Terms on the page with their anchors in the glossary.
const TERMS: [(&str, &str); 6] = [
    ("set-up", "set-up"),
    ("cell", "cell"),
    ("reference", "reference"),
    ("interval", "interval"),
    ("service demand", "service-demand"),
    ("limiter", "limiter"),
];

fn glossary(anchor: &str) -> String {
    format!("{}/blob/main/docs/glossary.md#{anchor}", env!("CARGO_PKG_REPOSITORY"))
}

fn warnings(sets: &[RecordSet]) -> Markup {
    html! {
        section.warnings #warnings {
            h2 { "What distorts it" }
            ul {
                @for set in sets {
                    @for line in conditions::flags(set).into_iter().chain(conditions::failures(set)) {
                        li { @if !set.label.is_empty() { b { (set.label) ": " } } (prose(&line)) }
                    }
                }
            }
        }
    }
}

fn claims(sets: &[RecordSet]) -> Markup {
    let badge = |verdict: ClaimVerdict| {
        let (class, sign) = match verdict {
            ClaimVerdict::Held => ("held", "✓"),
            ClaimVerdict::NotHeld => ("not-held", "✗"),
            ClaimVerdict::NotTestable => ("untestable", "–"),
        };
        html! { span class=(format!("badge {class}")) { (sign) " " (verdict.text()) } }
    };
    html! {
        section #claims {
            h2 { "The original experiment's claims, in this run" }
            p.quiet {
                "copycost began as a C assignment that compared three ways to send: two-copy, one-copy and zero-copy. These are \
                 its claims, each tested by what this run measured ("
                a href=(glossary("the-original-experiment")) { "more" }
                ")."
            }
            ul.claims {
                @for claim in &claims::ALL {
                    li {
                        p.claim { b { (claim.text) } " " span.quiet { (claim.tested) } }
                        @for set in sets {
                            @let finding = claim.evaluate(set);
                            p.finding { (badge(finding.verdict)) " " @if !set.label.is_empty() { (set.label) ": " } (finding.evidence) }
                        }
                    }
                }
            }
        }
    }
}

fn figure(chart: &Chart, content: Content) -> Markup {
    html! {
        section id=(chart.id) {
            h2 { (chart.title) }
            @match content {
                Content::Absent => {}
                Content::Missing(why) => p.missing { (prose(&why)) },
                Content::Plots(plots) => figure.single[plots.panels.len() == 1 && !plots.wide] {
                    div class=(if plots.wide { "panels".to_owned() } else { format!("panels {}", columns_class(plots.panels.len())) }) {
                        @for panel in &plots.panels { div.panel { (PreEscaped(panel)) } }
                    }
                    figcaption { @for sentence in &plots.caption { p { (prose(sentence)) } } }
                    details { summary { "The figures" } (table(&plots.table)) }
                },
            }
        }
    }
}

/// The CSS class for the number of columns, chosen so that no row holds a single plot.
fn columns_class(panels: usize) -> &'static str {
    match panels {
        1 => "one",
        2 | 4 | 8 => "two",
        _ => "three",
    }
}

/// A sentence with its commands in backticks as code, and no line break between a number and its unit.
fn prose(text: &str) -> Markup {
    let mut text = text.to_owned();
    for unit in ["B", "KiB", "MiB", "client", "GB/s", "%", "times"] {
        text = text.replace(&format!(" {unit}"), &format!("\u{a0}{unit}"));
    }
    html! {
        @for (number, part) in text.split('`').enumerate() {
            @if number % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn table(listing: &Listing) -> Markup {
    let number = |column: usize| listing.is_figures(column).then_some("number");
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for (column, name) in listing.header.iter().enumerate() { th scope="col" class=[number(column)] { (name) } } } }
                tbody {
                    @for row in &listing.rows {
                        tr { @for (column, value) in row.iter().enumerate() { td class=[number(column)] { (value) } } }
                    }
                }
            }
        }
    }
}

fn measured(sets: &[RecordSet]) -> Markup {
    html! {
        section #conditions {
            h2 { "Conditions" }
            @for set in sets {
                @if !set.label.is_empty() { h3 { (set.label) } }
                dl { @for (name, value) in conditions::pairs(set) { div { dt { (name) } dd { (value) } } } }
            }
        }
    }
}

fn again(sets: &[RecordSet]) -> Markup {
    html! {
        section #again {
            h2 { "Measure it again" }
            @for set in sets {
                @if !set.label.is_empty() { h3 { (set.label) } }
                @for command in &set.commands { pre.scroll tabindex="0" { code { (command) } } }
            }
        }
        footer { p.quiet { "Written by copycost " (env!("CARGO_PKG_VERSION")) "." } }
    }
}
