//! Joins sets that belong together, and labels the others.

use super::RecordSet;
use crate::record::{Conditions, LoadCurve};

/// Joins the sets that belong together and labels those that remain side by side.
pub fn side_by_side(all: impl IntoIterator<Item = RecordSet>) -> Vec<RecordSet> {
    let mut sets: Vec<RecordSet> = Vec::new();
    for set in all {
        match sets.iter_mut().find(|known| known.joins(&set)) {
            Some(known) => known.join(set),
            None => sets.push(set),
        }
    }
    let labels: Vec<String> = sets.iter().map(|set| label(set, &sets)).collect();
    for (set, label) in sets.iter_mut().zip(labels) {
        set.label = label;
    }
    let (first, others) = match sets.split_first_mut() {
        Some((first, others)) => (&*first, others),
        None => return sets,
    };
    others.iter_mut().for_each(|set| set.differs = differs(set, first));
    sets
}

/// A sentence about the conditions in which a set differs from the first one.
fn differs(set: &RecordSet, first: &RecordSet) -> Option<String> {
    let (here, there) = (set.conditions.as_ref()?, first.conditions.as_ref()?);
    let mut differences = here.differences(there);
    let build = |c: &Conditions| format!("{} {}", c.version, c.commit.as_deref().unwrap_or_default());
    if build(here) != build(there) {
        differences.push(format!("copycost: {} there, {} here", build(there).trim(), build(here).trim()));
    }
    (!differences.is_empty()).then(|| {
        let files = first.files.join(" + ");
        format!(
            "not joined with {files}, which was measured under different conditions: {}",
            differences.join("; ")
        )
    })
}

/// The file's name if the files differ, and the settings in which the sets of one file differ.
fn label(set: &RecordSet, sets: &[RecordSet]) -> String {
    let same_file = |other: &&RecordSet| other.files == set.files;
    let mut parts = Vec::new();
    if !sets.iter().all(|other| same_file(&other)) {
        let stems: Vec<_> = sets.iter().filter(|other| !same_file(other)).map(stem).collect();
        let name = stem(set);
        parts.push(if stems.contains(&name) { set.files.join(" + ") } else { name });
    }
    for (place, setting) in set.settings.iter().enumerate() {
        if sets.iter().filter(same_file).any(|other| other.settings[place] != *setting) {
            parts.push(setting.clone());
        }
    }
    parts.join(", ")
}

fn stem(set: &RecordSet) -> String {
    let stem = |file: &String| {
        let path = std::path::Path::new(file);
        path.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned())
    };
    set.files.iter().map(stem).collect::<Vec<_>>().join(" + ")
}

impl RecordSet {
    fn joins(&self, other: &Self) -> bool {
        let same_place = match (&self.conditions, &other.conditions) {
            (Some(one), Some(other)) => comparable(one) == comparable(other),
            _ => false,
        };
        let cells = self.cells();
        same_place
            && self.settings == other.settings
            && !other.cells().iter().any(|cell| cells.contains(cell))
            && !other.load_curves.iter().any(|curve| self.has_curve_of(curve))
    }

    /// Whether it has a curve of the same cell, which is that of another run.
    fn has_curve_of(&self, other: &LoadCurve) -> bool {
        let cell = |curve: &LoadCurve| (curve.size, curve.clients, curve.client_hosts);
        self.load_curves.iter().any(|curve| cell(curve) == cell(other))
    }

    fn join(&mut self, other: Self) {
        self.files.extend(other.files);
        self.rows.extend(other.rows);
        self.failures.extend(other.failures);
        self.comparisons.extend(other.comparisons);
        self.crossovers.extend(other.crossovers);
        self.load_curves.extend(other.load_curves);
        self.explanations.extend(other.explanations);
        self.models.extend(other.models);
        self.answers.extend(other.answers);
        self.verdict.extend(other.verdict);
        self.commands.extend(other.commands);
    }
}

/// The conditions without the fields in which two runs on one machine may differ.
fn comparable(conditions: &Conditions) -> Conditions {
    Conditions { command: Vec::new(), flags: Vec::new(), ..conditions.clone() }
}
