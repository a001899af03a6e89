//! Finds paths that became slower since an earlier run, or than in another build.

use std::path::{Path, PathBuf};

use crate::cli::{Failure, input};
use crate::record::{Comparison, Named, Results};
use crate::stats::{Better, Judgement};
use crate::verdict::{self, baseline};

/// The beginning of the note of a comparison between runs with different conditions.
const OTHER_CONDITIONS: &str = "measured under other conditions";

/// The results of the earlier run that --baseline names.
#[derive(Debug)]
pub struct BaselineRun {
    file: PathBuf,
    results: Results,
}

impl BaselineRun {
    /// Reads a file that `copycost run -o FILE.json` wrote. Call it before measuring, so that a bad file fails early.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let results = input::results("--baseline", file)?;
        if results.comparisons.is_empty() {
            let file = file.display();
            return Err(Failure::Usage(format!(
                "invalid value for --baseline: '{file}' has no comparisons: measure two paths or more"
            )));
        }
        Ok(Self { file: file.to_owned(), results })
    }

    /// Adds to `results` how each ratio changed since the earlier run, and how the conditions differ.
    pub fn compare(&self, results: &mut Results) {
        let mut changes = baseline::changes(results, &self.results);
        let file = self.file.display();
        let mut sentences = Vec::new();
        if changes.is_empty() {
            sentences.push(format!(
                "Nothing of {file} can be compared: it has other paths, sizes, clients or another reference."
            ));
        }
        let differences = baseline::differences(results, &self.results);
        // A difference in settings is not a change of the path.
        if let Some(settings) = self.other_settings(results) {
            for change in &mut changes {
                change.word = Named::Known(Judgement::Undecided);
                change.note = Some(format!("{OTHER_CONDITIONS}: {settings}"));
            }
        }
        if !differences.is_empty() {
            let differences = differences.join("; ");
            sentences.push(format!("{file} was measured under other conditions, which may be all that has changed: {differences}."));
        }
        results.comparisons.extend(changes);
        verdict::conclude(results);
        results.verdict.extend(sentences);
    }
}

impl BaselineRun {
    /// If the two runs cannot show whether a path became slower, a sentence that says why.
    pub fn incomparable(&self, results: &Results) -> Option<String> {
        self.other_settings(results).map(|settings| {
            format!(
                "whether a path became slower than in {} cannot be said, because it was measured under other \
                 conditions: {settings}",
                self.file.display(),
            )
        })
    }

    fn other_settings(&self, results: &Results) -> Option<String> {
        let mut differences = results.conditions.differences_of_settings(&self.results.conditions);
        differences.extend(baseline::offsets(results, &self.results));
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

/// The paths that became slower by more than `by`, the whole interval, each as a sentence.
pub fn slower(results: &Results, by: f64) -> Vec<String> {
    let among_builds = results.comparisons.iter().filter(|comparison| comparison.is_of_builds());
    among_builds.filter(|comparison| is_slower(comparison, by)).map(sentence).collect()
}

fn is_slower(comparison: &Comparison, by: f64) -> bool {
    let Some(metric) = comparison.metric.known() else { return false };
    if comparison.note.as_deref().is_some_and(|note| note.starts_with(OTHER_CONDITIONS)) {
        return false;
    }
    match metric.better() {
        Better::Higher => comparison.high.is_some_and(|high| high < 1.0 - by),
        Better::Lower => comparison.low.is_some_and(|low| low > 1.0 + by),
    }
}

fn sentence(comparison: &Comparison) -> String {
    let Comparison { path, reference, size, clients, metric, .. } = comparison;
    let number = |value: Option<f64>| format!("{:.3}", value.unwrap_or(f64::NAN));
    format!(
        "{path}, {}, clients {clients}: {metric} is {} ({} to {}) of {reference}",
        size,
        number(comparison.ratio),
        number(comparison.low),
        number(comparison.high)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Conditions;

    fn slower_by(metric: &str, reference: &str, low: f64, high: f64) -> usize {
        let comparison = Comparison {
            ratio: Some((low * high).sqrt()),
            low: Some(low),
            high: Some(high),
            ..Comparison::example("onecopy", reference, metric)
        };
        let results = Results { comparisons: vec![comparison], ..Results::new(Conditions::default()) };
        slower(&results, 0.05).len()
    }

    #[test]
    fn only_a_whole_interval_beyond_the_margin_is_a_regression() {
        assert_eq!(slower_by("throughput", "onecopy@OLD", 0.90, 0.94), 1);
        assert_eq!(slower_by("throughput", "onecopy@OLD", 0.90, 0.96), 0);
        assert_eq!(slower_by("throughput", "onecopy@BASELINE", 1.2, 1.3), 0);
        assert_eq!(slower_by("demand", "onecopy@OLD", 1.06, 1.2), 1);
        assert_eq!(slower_by("demand", "onecopy@OLD", 0.8, 0.9), 0);
        assert_eq!(slower_by("throughput", "twocopy", 0.5, 0.6), 0, "other paths are no regression");
        assert_eq!(slower_by("colour", "onecopy@OLD", 0.5, 0.6), 0);
    }
}
