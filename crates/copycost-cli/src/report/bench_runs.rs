//! The log that the benches keep in Criterion's folder: when each run began, from which commit, under which conditions.

/// The date of a figure, and the build that it was measured with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dated {
    /// The modification time of the figure's file, in seconds since 1970.
    pub at: u64,
    /// The commit and the conditions that the bench logged when it began; `None` without a log entry.
    pub build: Option<BenchBuild>,
}

/// The build of a bench and the machine that it ran on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub struct BenchBuild {
    /// The commit; `None` if the build did not know it.
    #[serde(default)]
    pub commit: Option<String>,
    /// The machine's settings, as text.
    #[serde(default)]
    pub conditions: Option<String>,
}

/// A run of the benches, one line of JSON in the log.
#[derive(Debug, Clone, serde::Deserialize)]
struct BenchRun {
    /// Seconds since 1970.
    began: u64,
    #[serde(flatten)]
    build: BenchBuild,
}

/// The logged runs of the benches in a Criterion folder, by start time.
#[derive(Debug, Clone, Default)]
pub struct BenchRuns(Vec<BenchRun>);

/// The name of the log in Criterion's folder. Each bench adds a line when it begins.
pub const RUNS: &str = "copycost-runs.jsonl";

impl BenchRuns {
    /// Parses the text of the log. Invalid lines are skipped.
    pub fn read(text: &str) -> Self {
        let mut runs: Vec<BenchRun> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        runs.sort_by_key(|run| run.began);
        Self(runs)
    }

    /// Assigns a figure whose file was written at `at` to the last run that began before.
    pub fn dated(&self, at: u64) -> Dated {
        let run = self.0.iter().rev().find(|run| run.began <= at);
        Dated { at, build: run.map(|run| run.build.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_belongs_to_the_run_that_began_last_before_it() {
        let runs =
            BenchRuns::read("{\"began\":200,\"commit\":\"b\"}\nno line\n{\"began\":100,\"commit\":\"a\"}\n");
        let commit = |at| runs.dated(at).build.and_then(|build| build.commit);
        assert_eq!((commit(99), commit(100), commit(199)), (None, Some("a".into()), Some("a".into())));
        assert_eq!(commit(1000), Some("b".into()));
    }
}
