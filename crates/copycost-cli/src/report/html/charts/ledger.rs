//! The kernel's completions: how many of the sends by reference were copied after all.

use super::{Chart, Content, Plots, named, of_each_set};
use crate::record::LedgerRecord;
use crate::report::listing::{Listing, cell, cell_header};
use crate::report::plot::bars::{Bar, BarSegment, Bars};
use crate::report::plot::ink::Ink;
use crate::report::set::{RecordSet, SetRow, place};
use copycost::units::thousands;

pub(super) const CHART: Chart =
    Chart { id: "ledger", title: "The kernel's ledger: copied after all", content };

/// The most bars in the plot; the table has the rest.
const MOST_BARS: usize = 24;

fn content(sets: &[RecordSet]) -> Content {
    let with = |set: &RecordSet| {
        set.rows.iter().filter_map(|row| Some((row.clone(), ledger(row)?.clone()))).collect::<Vec<_>>()
    };
    let mut bars = Vec::new();
    for set in sets {
        bars.extend(with(set).iter().map(|(row, ledger)| bar(set, row, ledger)));
    }
    if bars.is_empty() {
        let criterion = sets.iter().all(|set| set.conditions.is_none());
        return Content::Missing(if criterion {
            "Criterion keeps no ledger: its benches print one line per group; `copycost run` keeps it."
                .to_owned()
        } else {
            "No path of these results asks for zero copy, so the kernel reported nothing.".to_owned()
        });
    }
    let mut caption = of_each_set(sets, |set| sentence(&with(set)));
    caption.push(
        "Of the calls that asked for zero copy: full colour: not copied, as the kernel reports; hatched: \
         copied after all; weak: sent without asking, or no notification was read, or its mark proves \
         nothing (io_uring)."
            .to_owned(),
    );
    for (row, ledger) in sets.iter().flat_map(with).take(MOST_BARS) {
        if let Some(decisions) = ledger.decisions {
            let size = row.size;
            caption.push(format!("{}, {size} × {} chose {decisions}.", row.path, row.clients));
        }
    }
    if bars.len() > MOST_BARS {
        caption.push(format!("The first {MOST_BARS} of {} bars; the table has the rest.", bars.len()));
        bars.truncate(MOST_BARS);
    }
    let title = "share of the calls, %".to_owned();
    Plots::content(vec![Bars { title, bars }.svg()], caption, table(sets))
}

fn ledger(row: &SetRow) -> Option<&LedgerRecord> {
    row.record.as_ref()?.ledger.as_ref()
}

fn bar(set: &RecordSet, row: &SetRow, ledger: &LedgerRecord) -> Bar {
    let place = place(&row.path);
    let all = ledger.sends.saturating_add(ledger.fallbacks).saturating_add(ledger.plain).max(1) as f64;
    let copied = ledger.copied.min(ledger.completed);
    // If the marks prove nothing, no send is drawn as not copied.
    let by_reference = if ledger.doubtful > 0 { 0 } else { ledger.completed - copied };
    let rest = (all - (copied + by_reference) as f64).max(0.0);
    let segment = |value: f64, ink, hatched| BarSegment { value: 100.0 * value / all, ink, hatched };
    let segments = vec![
        segment(by_reference as f64, Ink::Series(place), false),
        segment(copied as f64, Ink::Tint(place), true),
        segment(rest, Ink::Grid, false),
    ];
    let figure = match ledger.completed {
        0 if ledger.plain.saturating_add(ledger.fallbacks) > 0 => "all copied".to_owned(),
        0 => "unknown".to_owned(),
        _ if ledger.doubtful > 0 => "unknown".to_owned(),
        completed => format!("{:.0} % copied", 100.0 * copied as f64 / completed as f64),
    };
    Bar { label: format!("{}, {} × {}", named(&row.path, set), row.size, row.clients), segments, figure }
}

fn sentence(rows: &[(SetRow, LedgerRecord)]) -> Option<String> {
    let sum = |of: fn(&LedgerRecord) -> u64| rows.iter().map(|row| of(&row.1)).fold(0, u64::saturating_add);
    let (sends, completed, copied) = (sum(|l| l.sends), sum(|l| l.completed), sum(|l| l.copied));
    let share = 100.0 * copied as f64 / completed.max(1) as f64;
    let mut text = format!("The kernel copied {share:.0} % of {} sends", thousands(sends));
    let reason = rows.iter().find_map(|row| row.0.record.as_ref()?.verdict_reason.clone());
    text.extend(reason.map(|reason| format!(": {reason}")));
    for (count, what) in [
        (sum(|l| l.doubtful), "marked copied by io_uring, which proves nothing"),
        (sum(|l| l.enobufs), "refused with ENOBUFS"),
        (sum(|l| l.fallbacks), "sent without MSG_ZEROCOPY"),
        (sum(|l| l.plain), "copied by choice"),
        (sum(|l| l.undrained), "never released"),
    ] {
        if count > 0 {
            text += &format!("; {} {what}", thousands(count));
        }
    }
    (!rows.is_empty()).then(|| text + ".")
}

fn table(sets: &[RecordSet]) -> Listing {
    let mut header = cell_header(sets);
    let figures = [
        "sends",
        "completed",
        "copied",
        "doubtful",
        "merged ranges",
        "ENOBUFS",
        "waits",
        "fallbacks",
        "by choice",
        "aborted",
        "undrained",
    ];
    header.extend(figures.map(str::to_owned));
    let mut rows = Vec::new();
    for set in sets {
        for row in &set.rows {
            let Some(l) = ledger(row) else { continue };
            let counts = [
                l.sends,
                l.completed,
                l.copied,
                l.doubtful,
                l.merged_ranges,
                l.enobufs,
                l.waits,
                l.fallbacks,
                l.plain,
                l.aborted,
                l.undrained,
            ];
            rows.push(cell(sets, set, row).into_iter().chain(counts.map(thousands)).collect());
        }
    }
    Listing { header, rows }
}
