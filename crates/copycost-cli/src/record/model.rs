//! Cost models with the conditions they were fitted under, and what they said of the message that was asked about.

use serde::{Deserialize, Serialize};

use super::{Named, WorkloadName};
use crate::model::choice;
use crate::model::features::Features;
use crate::model::fit::{Model, Prediction};
use crate::stats::Interval;
use copycost::message::{Fields, Footprint, Layout, Spec};
use copycost::named_enum;
use copycost::rig::Site;
use copycost::scenario::Scenario;
use copycost::send::Release;

/// A model that misses cells it has not seen by more than this on average is of no use.
pub const MISS_TOLERATED: f64 = 0.15;

/// The models of several paths, fitted to one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    pub clients: usize,
    /// What lay between the ends, and the other settings that hold for all cells.
    pub settings: Vec<String>,
    /// The message that was asked about.
    pub asked: AskedMessage,
    /// One for each path and each of `sender` and `both ends`.
    pub models: Vec<PathModel>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedMessage {
    /// Bytes.
    pub size: usize,
    /// How it is divided.
    pub fields: String,
    /// Where the fields lie.
    pub layout: String,
    /// How much memory the messages in turn cover.
    pub footprint: String,
    /// Of several sizes: their name; the size is then their mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadName>,
}

/// Whose CPU time a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelEnd {
    Sender,
    /// That of the sender and the receiver together.
    BothEnds,
}

named_enum!(ModelEnd: Sender = "sender", BothEnds = "both ends");

impl ModelEnd {
    /// As a sentence has it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Sender => "the sender",
            Self::BothEnds => "both ends",
        }
    }
}

/// The model of one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathModel {
    /// The send path.
    pub path: String,
    /// Whose CPU time: `sender` or `both ends`.
    pub end: Named<ModelEnd>,
    /// Whether the kernel keeps references to the pages of what is sent.
    pub by_reference: bool,
    /// The model; null where there is none.
    pub model: Option<Model>,
    /// Why it must not be used, or why there is none.
    pub refused: Option<String>,
    /// By how much it misses the cells that were held out, on average, in percent.
    pub mean_miss_percent: Option<f64>,
    /// What was measured.
    pub cells: Vec<ModelCell>,
    /// What it says of the message that was asked about; null where it is refused.
    pub prediction: Option<Prediction>,
}

/// One measured cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelCell {
    pub message: AskedMessage,
    /// Whether the model was checked by it and not fitted to it.
    pub held_out: bool,
    /// CPU time for a message in ns, the mean over set-ups.
    pub ns: f64,
    /// The same of each set-up; those with the same place are of one set-up, on every path.
    #[serde(default)]
    pub setups_ns: Vec<f64>,
    /// What the model says.
    pub predicted_ns: Option<f64>,
    /// System calls for a message.
    pub calls: f64,
    /// Segments for a message.
    pub segments: f64,
    /// Completions for a message.
    pub notifications: f64,
}

/// What lay between the ends, and how messages of any fields and footprint were measured, in words.
pub(super) fn settings(scenario: &Scenario, site: &dyn Site) -> Vec<String> {
    vec![
        site.transport().to_owned(),
        format!("{} placement", scenario.placement),
        format!("{} layout", scenario.spec.layout),
        format!("{} buffers", scenario.spec.buffers),
        format!("received by {}", scenario.receive.name),
    ]
}

impl AskedMessage {
    /// The message of `spec`.
    pub fn of(spec: &Spec) -> Self {
        Self {
            size: spec.size,
            fields: spec.fields.to_string(),
            layout: spec.layout.to_string(),
            footprint: spec.footprint.to_string(),
            workload: None,
        }
    }

    /// The messages of `scenario`.
    pub fn of_scenario(scenario: &Scenario) -> Self {
        let workload = scenario.workload.as_deref().map(WorkloadName::of);
        Self { workload, ..Self::of(&scenario.spec) }
    }

    /// In words: `64 + 65472 bytes, hot`.
    pub fn text(&self) -> String {
        let Self { size, fields, footprint, .. } = self;
        if let Some(workload) = self.workload {
            return format!("{workload}, {footprint}");
        }
        match fields.parse::<Fields>() {
            Ok(Fields::Exact(_)) => format!("{} bytes, {footprint}", fields.replace(',', " + ")),
            _ => format!("{}, {fields} fields, {footprint}", copycost::units::ByteSize(*size)),
        }
    }
}

impl ModelCell {
    /// By how much the model misses it, as a share.
    pub fn miss(&self) -> Option<f64> {
        self.predicted_ns.filter(|_| self.ns > 0.0).map(|predicted| predicted / self.ns - 1.0)
    }
}

impl PathModel {
    /// What the model says of a message, where it may be used and knows the footprint.
    pub fn of(
        &self,
        size: usize,
        fields: Fields,
        layout: Layout,
        footprint: Footprint,
    ) -> Option<Prediction> {
        let model = self.model.as_ref().filter(|model| self.refused.is_none() && model.knows(footprint))?;
        let spec = Spec { layout, footprint, ..Spec::new(size).ok()?.with_fields(fields).ok()? };
        let release = if self.by_reference { Release::OnCompletion } else { Release::OnReturn };
        Some(model.predict(&Features::of(&spec, release)))
    }
}

impl CostModel {
    /// The models for messages such as that of `any`, served at `site`.
    pub fn new(any: &Scenario, site: &dyn Site, models: Vec<PathModel>) -> Self {
        Self {
            clients: any.clients,
            settings: settings(any, site),
            asked: AskedMessage::of_scenario(any),
            models,
        }
    }

    /// The layout that the question was about.
    pub fn layout(&self) -> Layout {
        self.asked.layout.parse().unwrap_or_default()
    }

    /// Whose CPU time decides: in the lab the sender's, which is all that it stands for; elsewhere that of both ends.
    pub fn deciding_end(&self) -> ModelEnd {
        if self.settings.first().is_some_and(|way| way == "lab") {
            ModelEnd::Sender
        } else {
            ModelEnd::BothEnds
        }
    }

    /// The models of an end that may be used.
    pub fn usable(&self, end: ModelEnd) -> impl Iterator<Item = &PathModel> {
        self.models.iter().filter(move |path| path.end.is(end) && path.refused.is_none())
    }

    /// The footprints that any model of an end knows.
    pub fn footprints(&self, end: ModelEnd) -> Vec<Footprint> {
        let knows = |footprint: &Footprint| {
            self.usable(end).filter_map(|path| path.model.as_ref()).any(|model| model.knows(*footprint))
        };
        Footprint::ALL.iter().copied().filter(knows).collect()
    }

    /// The path that the others are compared with: the cheapest of those that copy, at 64 KiB; any where none does.
    pub fn reference(&self, end: ModelEnd) -> Option<&PathModel> {
        let cost = |path: &&PathModel| {
            let of = |footprint: &Footprint| path.of(64 << 10, Fields::Even, self.layout(), *footprint);
            (
                path.by_reference,
                self.footprints(end).iter().find_map(of).map_or(f64::INFINITY, |found| found.ns),
            )
        };
        self.usable(end).min_by(|one, other| {
            let (one, other) = (cost(one), cost(other));
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
        })
    }

    /// By the models of an end: how many times as much `path` costs as `reference`, for a message of this layout.
    pub fn ratio(
        &self,
        path: &PathModel,
        reference: &PathModel,
        (size, fields, footprint): (usize, Fields, Footprint),
    ) -> Option<Interval> {
        let of = |path: &PathModel| path.of(size, fields, self.layout(), footprint);
        Some(choice::ratio(&of(path)?, &of(reference)?))
    }
}
