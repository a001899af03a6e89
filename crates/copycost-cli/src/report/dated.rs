//! The dates of Criterion's figures. Criterion keeps the last figure of each benchmark, so the cells of one report may
//! come from different times and commits.

use std::collections::BTreeSet;

use super::bench_runs::{BenchBuild, Dated};
use super::metric::RecordMetric;
use super::set::{RecordSet, SetRow};

/// Seconds between the cells of a plot above which the report has a note. A machine drifts by a fifth within minutes,
/// and within an hour users rebuild and change settings.
const APART: u64 = 3600;

/// A date and time in UTC: `2026-11-30 09:14`.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Counts days from the first of March of a year divisible by 400, so that a leap day is the last day of its year
    // (Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * cycle + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}", rest / 3600, rest / 60 % 60)
}

/// The dates of a row's figures, for a cell of a table.
pub fn of_row(row: &SetRow) -> String {
    range(row.measured.values())
}

/// The dates of a row's figures for these metrics.
pub fn of_figures(row: &SetRow, metrics: &[RecordMetric]) -> String {
    range(metrics.iter().filter_map(|metric| row.measured.get(metric)))
}

/// The dates of all figures and records of a set.
pub fn span(set: &RecordSet) -> String {
    let of_records = set.rows.iter().filter_map(|row| row.record.as_ref()?.measured_at);
    let of_figures = set.rows.iter().flat_map(|row| row.measured.values()).map(|dated| dated.at);
    of_times(of_figures.chain(of_records))
}

fn range<'a>(dated: impl Iterator<Item = &'a Dated>) -> String {
    of_times(dated.map(|dated| dated.at))
}

fn of_times(times: impl Iterator<Item = u64>) -> String {
    let times: BTreeSet<String> = times.map(utc).collect();
    match (times.first(), times.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(only), _) => only.clone(),
        _ => String::new(),
    }
}

/// Whether any figure of a set has a date.
pub fn has_dates(set: &RecordSet) -> bool {
    set.rows.iter().any(|row| !row.measured.is_empty())
}

/// A sentence for each metric whose cells do not come from one run.
pub fn notes(set: &RecordSet) -> Vec<String> {
    let metrics: BTreeSet<RecordMetric> =
        set.rows.iter().flat_map(|row| row.measured.keys().copied()).collect();
    metrics.into_iter().filter_map(|metric| note(set, metric)).collect()
}

fn note(set: &RecordSet, metric: RecordMetric) -> Option<String> {
    let dated: Vec<&Dated> = set.rows.iter().filter_map(|row| row.measured.get(&metric)).collect();
    let (first, last) = (dated.iter().map(|of| of.at).min()?, dated.iter().map(|of| of.at).max()?);
    let distinct = |of: fn(&BenchBuild) -> Option<&String>| -> Vec<String> {
        let values: BTreeSet<String> = dated
            .iter()
            .map(|of_cell| of_cell.build.as_ref().and_then(of).map_or_else(unknown, Clone::clone))
            .collect();
        values.into_iter().collect()
    };
    let commits = distinct(|build| build.commit.as_ref());
    let conditions = distinct(|build| build.conditions.as_ref());
    let mut apart = Vec::new();
    if last - first > APART {
        apart.push(format!(
            "between {} and {} UTC by their files, more than an hour apart",
            utc(first),
            utc(last)
        ));
    }
    if commits.len() > 1 {
        apart.push(format!("from several commits ({})", commits.join(", ")));
    }
    if conditions.len() > 1 {
        apart.push(format!("under several conditions ({})", conditions.join("; ")));
    }
    (!apart.is_empty()).then(|| {
        format!(
            "{}: the cells are not from one run, and differ in more than the send path: measured {}",
            metric.title(),
            apart.join(", ")
        )
    })
}

fn unknown() -> String {
    "not known".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (951_868_800, "2000-03-01 00:00"),
            (1_709_164_800, "2024-02-29 00:00"),
            (1_796_030_040, "2026-11-30 09:14"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }
}
