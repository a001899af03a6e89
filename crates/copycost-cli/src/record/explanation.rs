//! Where the CPU time of paths goes: shares of samples, laid on the demand that was measured without sampling.

use super::MessageSize;
use serde::{Deserialize, Serialize};

use crate::explain::Explained;
use crate::explain::figures::{self, MeanFigure, RoleCost};
use crate::profile::classes::Class;
use copycost::rig::Site;
use copycost::scenario::Scenario;

/// Innermost functions without a class are named from this share of all samples on.
const NAMED_FROM: f64 = 0.005;

/// From this share on they are too much to be left unsaid.
pub const REST_TOLERATED: f64 = 0.05;

/// Of fewer samples a share of 5 % is chance.
const TELLING: u64 = 200;

/// Branches of the stacks with a smaller share are not kept.
const KEPT_FROM: f64 = 0.002;

/// The word for all classes together.
pub const ALL: &str = "all";

/// The explained paths of one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The size of the messages.
    #[serde(flatten)]
    pub size: MessageSize,
    pub clients: usize,
    /// What lay between the ends, and the other settings of the cell, as in a record.
    pub settings: Vec<String>,
    /// Samples for each second of CPU time.
    pub hertz: u64,
    /// Whose samples were taken; null where there were none.
    pub scope: Option<String>,
    /// Why there are no samples, and what to set.
    pub missing: Option<String>,
    /// What to know of these figures.
    #[serde(default)]
    pub notes: Vec<String>,
    pub paths: Vec<ExplainedPath>,
    /// The differences of each path from the first.
    #[serde(default)]
    pub differences: Vec<ClassDifference>,
}

/// One path.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainedPath {
    /// The send path.
    pub path: String,
    /// How many set-ups the figures rest on.
    pub setups: usize,
    /// By how much CPU time was higher while it was sampled, in percent.
    pub sampling_cost_percent: Option<f64>,
    /// Samples that were lost for want of room.
    pub lost: u64,
    /// What each kind of threads spent.
    pub ends: Vec<ExplainedEnd>,
    /// The stacks, in lines of `stackcollapse-perf`'s form, without narrow branches.
    #[serde(default)]
    pub folded: Vec<String>,
}

/// What one kind of threads spent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainedEnd {
    /// `sender`, `receiver`, `relay` or `ksoftirqd`; what io_uring's workers did counts where it was asked for.
    pub end: String,
    /// CPU time in ns/KiB, measured without sampling; of ksoftirqd over loopback, where nobody reads its clock, from its
    /// samples.
    pub demand: FigureRecord,
    /// The share of it that the kernel's tick found in user space, in percent.
    pub user_percent: Option<f64>,
    /// How many samples.
    pub samples: u64,
    /// By how many percent samples times their period miss the CPU time of the sampled turns.
    pub unscaled_error_percent: Option<f64>,
    /// The same CPU time by class, in ns/KiB: the sum is `demand`.
    pub classes: Vec<ClassRecord>,
    /// Innermost functions in no class, and their share of all samples of these threads in percent.
    #[serde(default)]
    pub unclassed: Vec<(String, f64)>,
}

/// A figure and its 95 % interval over set-ups; null where one set-up is all there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FigureRecord {
    /// The mean over set-ups.
    pub value: f64,
    /// The lower end.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

/// A class and what went into it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassRecord {
    pub class: String,
    /// In ns/KiB.
    pub ns_per_kib: FigureRecord,
}

/// By how much a path spends more in a class than the first path does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassDifference {
    pub path: String,
    /// What it is compared with.
    pub reference: String,
    /// Whose threads.
    pub end: String,
    /// In what: a class, or `all`.
    pub class: String,
    /// In ns/KiB, with the interval at the level of Holm's correction.
    pub ns_per_kib: FigureRecord,
    /// Whether the whole interval lies on one side of 0.
    pub decided: bool,
}

impl From<MeanFigure> for FigureRecord {
    fn from(figure: MeanFigure) -> Self {
        let (low, high) = figure.interval.unzip();
        Self { value: figure.value, low, high }
    }
}

impl Explanation {
    /// Of what `paths` came to at `hertz` samples a second.
    pub fn new(paths: &[Explained], hertz: u64, scope: Option<String>, missing: Option<String>) -> Self {
        let Some(first) = paths.first() else { return Self::default() };
        let scenario = &first.contestant.scenario;
        let against = |path: &Explained| {
            let name = |explained: &Explained| explained.contestant.name.clone();
            let record = |d: figures::Difference| ClassDifference {
                path: name(path),
                reference: name(first),
                end: d.role.to_string(),
                class: d.class.map_or_else(|| ALL.to_owned(), |class| class.to_string()),
                ns_per_kib: d.figure.into(),
                decided: d.decided,
            };
            figures::differences(path, first, hertz).into_iter().map(record).collect::<Vec<_>>()
        };
        Self {
            size: MessageSize::of(scenario),
            clients: scenario.clients,
            settings: cell_settings(scenario, &*first.contestant.site),
            hertz,
            scope,
            missing,
            notes: Vec::new(),
            differences: paths[1..].iter().flat_map(against).collect(),
            paths: paths.iter().map(|path| ExplainedPath::new(path, hertz)).collect(),
        }
    }
}

impl Explanation {
    /// By how much a path spends more than the first in a class, or in [`ALL`]; `None` of the first itself.
    pub fn difference(&self, path: &str, end: &str, class: &str) -> Option<&ClassDifference> {
        let same =
            |d: &&ClassDifference| (d.path.as_str(), d.end.as_str(), d.class.as_str()) == (path, end, class);
        self.differences.iter().find(same)
    }
}

/// What lies between the ends, and the other settings of a cell.
pub(super) fn cell_settings(scenario: &Scenario, site: &dyn Site) -> Vec<String> {
    let mut settings = super::model::settings(scenario, site);
    settings.push(format!("{} fields", scenario.spec.fields));
    settings.push(format!("{} footprint", scenario.spec.footprint));
    settings
}

impl ExplainedPath {
    fn new(explained: &Explained, hertz: u64) -> Self {
        Self {
            path: explained.contestant.name.clone(),
            setups: explained.setups.len(),
            sampling_cost_percent: explained.cost_of_sampling().map(|share| 100.0 * share),
            lost: explained.lost(),
            ends: explained.ends(hertz).into_iter().map(ExplainedEnd::from).collect(),
            folded: explained.stacks().pruned(KEPT_FROM).folded(),
        }
    }
}

impl From<RoleCost> for ExplainedEnd {
    fn from(end: RoleCost) -> Self {
        let percent = |count: u64| 100.0 * count as f64 / end.breakdown.samples.max(1) as f64;
        let named = end.breakdown.rest.iter().map(|(name, count)| (name.clone(), percent(*count)));
        let class = |(class, figure): &(Class, MeanFigure)| ClassRecord {
            class: class.to_string(),
            ns_per_kib: (*figure).into(),
        };
        Self {
            end: end.role.to_string(),
            demand: end.demand.into(),
            user_percent: end.user_share.map(|share| 100.0 * share),
            samples: end.breakdown.samples,
            unscaled_error_percent: end.unscaled_error.map(|share| 100.0 * share),
            classes: end.classes.iter().map(class).collect(),
            unclassed: named.filter(|(_, percent)| *percent >= 100.0 * NAMED_FROM).collect(),
        }
    }
}

impl ExplainedEnd {
    /// What went into a class, in ns/KiB.
    pub fn of(&self, class: &str) -> Option<FigureRecord> {
        self.classes.iter().find(|record| record.class == class).map(|record| record.ns_per_kib)
    }

    /// The functions without a class, where together they have more than `REST_TOLERATED` of the samples.
    pub fn too_much_unclassed(&self) -> Option<String> {
        let rest = self.of(&Class::Rest.to_string())?.value / self.demand.value.max(f64::MIN_POSITIVE);
        let names: Vec<_> =
            self.unclassed.iter().take(8).map(|(name, percent)| format!("{name} {percent:.1} %")).collect();
        (rest > REST_TOLERATED && self.samples >= TELLING).then(|| {
            format!(
                "{}: {:.0} % of the samples are in no class: {}",
                self.end,
                100.0 * rest,
                names.join(", ")
            )
        })
    }
}
