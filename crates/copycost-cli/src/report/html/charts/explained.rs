//! The CPU time of paths: stacked bars by class, and a flame graph for each path.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Chart, Content, Plots};
use crate::profile::classes::{self, Class};
use crate::profile::stacks::USER;
use crate::record::{ALL, ExplainedEnd, ExplainedPath, Explanation};
use crate::report::explained::{cell, difference, sentences};
use crate::report::listing::{Listing, UNKNOWN};
use crate::report::plot::bars::{Bar, BarSegment, Bars};
use crate::report::plot::ink::Ink;
use crate::report::plot::{self, Canvas, DOTS, Drawn, TEXT, WIDTH, flame, text};
use crate::report::set::RecordSet;
use copycost::units::{hundredths, significant};

/// The chart of stacked bars.
pub(super) const CHART: Chart = Chart { id: "classes", title: "Where the CPU time goes", content: classes };

/// The chart of flame graphs.
pub(super) const FLAMES: Chart = Chart { id: "flames", title: "Which function calls which", content: flames };

/// The share of the longest bar below which a bar is invisible and left to the table.
const SEEN_FROM: f64 = 0.005;

fn all(sets: &[RecordSet]) -> impl Iterator<Item = &Explanation> {
    sets.iter().flat_map(|set| &set.explanations)
}

fn classes(sets: &[RecordSet]) -> Content {
    if all(sets).next().is_none() {
        return Content::Absent;
    }
    let (mut panels, mut caption) = (Vec::new(), Vec::new());
    for explanation in all(sets) {
        if explanation.missing.is_none() {
            let title = cell(explanation);
            let all = explanation.paths.iter().flat_map(|path| path.ends.iter().map(move |end| (path, end)));
            let most = all.clone().map(|(_, end)| end.demand.value).fold(0.0, f64::max);
            let seen = all.filter(|(_, end)| end.demand.value >= SEEN_FROM * most);
            let bars = seen.map(|(path, end)| stacked(path, end));
            panels.push(Bars { title, bars: bars.collect() }.svg());
        }
        caption.extend(sentences(explanation));
    }
    if panels.is_empty() {
        return Content::Missing(caption.join(" "));
    }
    panels.push(plot::svg("the classes", (WIDTH, 8 + LINE * Class::ALL.len() as i32), legend));
    caption.dedup();
    Plots::content(panels, caption, table(sets))
}

/// The colour of a class, and whether it is hatched.
fn look(class: Class) -> (Ink, bool) {
    match class {
        Class::Copy => (Ink::Series(0), false),
        Class::Hazard => (Ink::Series(2), true),
        Class::Pin => (Ink::Series(1), false),
        Class::Allocate => (Ink::Series(2), false),
        Class::Entry => (Ink::Series(3), false),
        Class::Transmit => (Ink::Series(4), false),
        Class::Softirq => (Ink::Series(5), false),
        Class::Receive => (Ink::Series(6), false),
        Class::Notification => (Ink::Series(1), true),
        Class::Scheduling => (Ink::Series(0), true),
        Class::User => (Ink::Series(6), true),
        Class::Rest => (Ink::Grid, false),
    }
}

fn stacked(path: &ExplainedPath, end: &ExplainedEnd) -> Bar {
    let segment = |class: &Class| {
        let value = end.of(&class.to_string())?.value;
        let (ink, hatched) = look(*class);
        Some(BarSegment { value, ink, hatched })
    };
    Bar {
        label: format!("{}, {}", path.path, end.end),
        segments: Class::ALL.iter().filter_map(segment).collect(),
        figure: significant(end.demand.value),
    }
}

/// The height of a line of the legend, in CSS pixels.
const LINE: i32 = 19;

fn legend(canvas: &Canvas<'_>) -> Drawn {
    for (number, class) in Class::ALL.iter().enumerate() {
        let top = (4 + LINE * number as i32) * DOTS;
        let corners = [(0, top + 2 * DOTS), (22 * DOTS, top + (LINE - 3) * DOTS)];
        let (ink, hatched) = look(*class);
        canvas.draw(&Rectangle::new(corners, ink.colour().filled()))?;
        if hatched {
            canvas.draw(&Rectangle::new(corners, Ink::Hatch.colour().filled()))?;
        }
        let style = text(Ink::Text, TEXT, (HPos::Left, VPos::Center));
        canvas.draw(&Text::new(class.to_string(), (30 * DOTS, top + LINE * DOTS / 2), style))?;
    }
    Ok(())
}

fn table(sets: &[RecordSet]) -> Listing {
    let header =
        ["size", "clients", "path", "end", "class", "ns/KiB", "low", "high", "more than the first path"];
    let mut rows = Vec::new();
    for explanation in all(sets) {
        for path in &explanation.paths {
            for end in &path.ends {
                let figures = end.classes.iter().map(|class| (class.class.as_str(), class.ns_per_kib));
                for (class, figure) in [(ALL, end.demand)].into_iter().chain(figures) {
                    let side = |side: Option<f64>| side.map_or_else(|| UNKNOWN.to_owned(), hundredths);
                    rows.push(vec![
                        explanation.size.to_string(),
                        explanation.clients.to_string(),
                        path.path.clone(),
                        end.end.clone(),
                        class.to_owned(),
                        hundredths(figure.value),
                        side(figure.low),
                        side(figure.high),
                        difference(explanation, path, &end.end, class),
                    ]);
                }
            }
        }
    }
    Listing { header: header.map(str::to_owned).to_vec(), rows }
}

/// The colour of a function by its own class. A function in the class of its callers is grey.
fn tint(name: &str) -> Ink {
    let class = if name == USER { Class::User } else { classes::of([name].into_iter()) };
    match class {
        Class::Rest => Ink::Grid,
        class => match look(class).0 {
            Ink::Series(place) => Ink::Tint(place),
            ink => ink,
        },
    }
}

fn flames(sets: &[RecordSet]) -> Content {
    let drawn = |explanation: &Explanation, path: &ExplainedPath| {
        let title = format!("{}, {}", path.path, explanation.size);
        flame::svg(&title, &path.folded, tint).map(|svg| (title, svg))
    };
    let graphs: Vec<_> =
        all(sets).flat_map(|e| e.paths.iter().filter_map(move |path| drawn(e, path))).collect();
    if graphs.is_empty() {
        // The chart of classes gives the reason.
        return Content::Absent;
    }
    let names: Vec<_> = graphs.iter().map(|(title, _)| title.clone()).collect();
    let caption = vec![
        format!("From above: {}.", names.join("; ")),
        "Each frame is a function below its caller, as wide as its share of the samples; hover over it for \
         its figures. Its colour is its class; a grey function belongs to the class of its callers. Branches \
         below 0.25 % are left out."
            .to_owned(),
    ];
    let rows = sets.iter().flat_map(|set| &set.explanations).flat_map(|explanation| &explanation.paths);
    let row = |path: &ExplainedPath, end: &ExplainedEnd| {
        let named = end.unclassed.iter().map(|(name, percent)| format!("{name} {percent:.1} %"));
        vec![
            path.path.clone(),
            end.end.clone(),
            end.samples.to_string(),
            named.collect::<Vec<_>>().join(", "),
        ]
    };
    let rows = rows.flat_map(|path| path.ends.iter().map(move |end| row(path, end))).collect();
    let header = ["path", "end", "samples", "in no class"].map(str::to_owned).to_vec();
    Content::Plots(Plots {
        panels: graphs.into_iter().map(|(_, svg)| svg).collect(),
        caption,
        table: Listing { header, rows },
        wide: true,
    })
}
