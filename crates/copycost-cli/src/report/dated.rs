//! When cells were measured that no run holds together: Criterion keeps the last figure of each benchmark, whenever and
//! from whichever commit it came, and puts them on one page.

use std::collections::BTreeSet;

use super::metric::RecordMetric;
use super::set::{RecordSet, SetRow};

/// When a figure was measured, and from what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dated {
    /// Seconds since 1970, by the time of the file that holds it.
    pub at: u64,
    /// What the bench noted of itself when it began: the commit and the conditions; `None` where it noted nothing.
    pub build: Option<BenchBuild>,
}

/// What a bench was built from and ran on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub struct BenchBuild {
    /// The commit.
    #[serde(default)]
    pub commit: Option<String>,
    /// The machine's settings, in words.
    #[serde(default)]
    pub conditions: Option<String>,
}

/// A run of the benches, as they note it in a line of JSON.
#[derive(Debug, Clone, serde::Deserialize)]
struct BenchRun {
    /// Seconds since 1970.
    began: u64,
    #[serde(flatten)]
    build: BenchBuild,
}

/// The runs of the benches that wrote into a folder of Criterion.
#[derive(Debug, Clone, Default)]
pub struct BenchRuns(Vec<BenchRun>);

/// The file in Criterion's folder to which the benches add a line when they begin.
pub const RUNS: &str = "copycost-runs.jsonl";

/// Cells of one plot that were measured further apart, in seconds, get a note: the machine drifts by a fifth within minutes, and within
/// an hour people rebuild and change settings.
const APART: u64 = 3600;

impl BenchRuns {
    /// From the file's text; lines that are not understood are passed over.
    pub fn read(text: &str) -> Self {
        let mut runs: Vec<BenchRun> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        runs.sort_by_key(|run| run.began);
        Self(runs)
    }

    /// What a figure belongs to whose file was written at `at`: the run that began last before.
    pub fn dated(&self, at: u64) -> Dated {
        let run = self.0.iter().rev().find(|run| run.began <= at);
        Dated { at, build: run.map(|run| run.build.clone()) }
    }
}

/// A day and a time of it, UTC: `2026-11-30 09:14`.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days from the first of March of a year that begins a cycle of 400: then leap days come last (Hinnant, "chrono
    // -Compatible Low-Level Date Algorithms", civil_from_days).
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

/// When a row's figures were measured, as a cell of a table.
pub fn of_row(row: &SetRow) -> String {
    range(row.measured.values())
}

/// When those of its figures were that a table shows.
pub fn of_figures(row: &SetRow, metrics: &[RecordMetric]) -> String {
    range(metrics.iter().filter_map(|metric| row.measured.get(metric)))
}

/// When all of a set was.
pub fn span(set: &RecordSet) -> String {
    let own = set.rows.iter().filter_map(|row| row.record.as_ref()?.measured_at);
    of_times(set.rows.iter().flat_map(|row| row.measured.values()).map(|dated| dated.at).chain(own))
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

/// Whether anything of a set has a date.
pub fn has_dates(set: &RecordSet) -> bool {
    set.rows.iter().any(|row| !row.measured.is_empty())
}

/// A sentence for each plot whose cells were not measured in one go.
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
        for (seconds, told) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (951_868_800, "2000-03-01 00:00"),
            (1_709_164_800, "2024-02-29 00:00"),
            (1_796_030_040, "2026-11-30 09:14"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(utc(seconds), told);
        }
    }

    #[test]
    fn a_figure_belongs_to_the_run_that_began_last_before_it() {
        let runs =
            BenchRuns::read("{\"began\":200,\"commit\":\"b\"}\nno line\n{\"began\":100,\"commit\":\"a\"}\n");
        let commit = |at| runs.dated(at).build.and_then(|build| build.commit);
        assert_eq!((commit(99), commit(100), commit(199)), (None, Some("a".into()), Some("a".into())));
        assert_eq!(commit(1000), Some("b".into()));
    }
}
