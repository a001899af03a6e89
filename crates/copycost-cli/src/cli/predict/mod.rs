//! `copycost predict`: fits a cost model to a short set of designed runs, and predicts the cheapest path for a message
//! that was not measured.
//!
//! - here: the flags, the models and the answer; `measure`: the cells

mod measure;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::measure::{MeasuredPath, Measurement};
use super::arguments::{self, PathChoice};
use super::files::Files;
use super::over::{self, Over};
use super::setting::Setting;
use super::{Done, Failure, output, signals, values};
use crate::model::cells::MeasuredCell;
use crate::model::choice::Choice;
use crate::model::features::Features;
use crate::model::fit::{Model, mean_miss};
use crate::record::{
    AskedMessage, CostModel, MISS_TOLERATED, ModelCell, ModelEnd, Named, PathModel, Results, WorkloadRecord,
};
use crate::report::Format;
use crate::verdict::LONGEST;
use copycost::message::Spec;
use copycost::scenario::Scenario;
use copycost::send::{self, Release, SendPath};
use copycost::units::{ByteSize, ClientCount, plural};

/// Whose CPU time is predicted, in the order of [`MeasuredPath::ns`].
const ENDS: [ModelEnd; 2] = [ModelEnd::Sender, ModelEnd::BothEnds];

/// Which message to predict for.
#[derive(Debug, Clone, Args)]
pub struct PredictArguments {
    /// Send paths, separated by commas, or all
    #[arg(short, long = "path", value_name = "PATH", value_delimiter = ',', value_parser = values::path(),
          hide_possible_values = true,
          default_values_t = send::USUAL.iter().filter_map(|name| send::by_name(name)).map(PathChoice::One))]
    paths: Vec<PathChoice>,
    /// The message's size, where --fields gives no lengths: bytes, or with KiB, MiB, GiB
    #[arg(short, long, value_name = "SIZE", value_parser = arguments::size)]
    size: Option<ByteSize>,
    /// The number of clients, each on a connection of its own
    #[arg(short, long, value_name = "N", value_parser = arguments::clients, default_value_t = 1)]
    clients: usize,
    #[command(flatten)]
    over: Over,
    #[command(flatten)]
    setting: Setting,
    /// The time of the whole run (30s, 5m), shared among its cells
    #[arg(long, value_name = "TIME", value_parser = arguments::duration, default_value = "60s")]
    budget: Duration,
    /// The format on standard output: table, json, csv, markdown or html
    #[arg(long, default_value_t)]
    format: Format,
    /// A file for the result; its extension chooses the format (.json, .txt, .md, .html); repeatable
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
}

impl PredictArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let files = Files::open(&self.output)?;
        let asked = self.asked()?;
        let paths = arguments::paths(&self.paths, |path| self.over.probe(path, &asked))?;
        self.setting.receivable(false)?;
        self.setting.one_offset()?;
        let signals = signals::listen()?;
        let site = self.over.site_of_two()?;
        let any = self.setting.scenario(&self.over, paths[0], asked, self.clients)?;
        over::check(&*site, &any.options)?;
        let measurement = Measurement {
            any: &any,
            paths: &paths,
            site: &site,
            budget: self.budget,
            serves_here: !self.over.serves_elsewhere(),
            signals: &signals,
        };
        // A message that does not fit into memory gets no prediction.
        measurement.fits(&asked).map_err(|error| Failure::Failed(error.to_string()))?;
        let outcome = measurement.run(self.over.conditions())?;
        if outcome.cells.iter().all(Vec::is_empty) {
            return match outcome.interrupted {
                true => Ok(Done::Interrupted),
                false => Err(Failure::Failed(
                    "the budget was over before two set-ups of a cell were measured: give it a longer --budget"
                        .to_owned(),
                )),
            };
        }
        let mut results = Results::new(outcome.conditions);
        results.workload = any.workload.as_deref().map(WorkloadRecord::of);
        let models =
            paths.iter().zip(&outcome.cells).flat_map(|(path, cells)| models(path, cells, &any)).collect();
        let model = CostModel::new(&any, &*site, models);
        results.verdict = answers(&model);
        let usable = model.models.iter().any(|model| model.prediction.is_some());
        if outcome.left_out > 0 {
            results.verdict.push(format!(
                "{} of the design were left out, because {}: {}.",
                plural(outcome.left_out, "cell"),
                if outcome.interrupted { "it was interrupted" } else { "the budget was over" },
                if usable { "the model rests on the others" } else { "give it a longer --budget" }
            ));
        }
        results.answer = answer(&model);
        results.models.push(model);
        files.save(&results)?;
        output::show(&results, self.format);
        Ok(match usable {
            _ if outcome.interrupted => Done::CutShort,
            true => Done::Yes,
            false => Done::AnswerIsNo,
        })
    }

    /// The message to predict for.
    fn asked(&self) -> Result<Spec, Failure> {
        if let Some(workload) = self.setting.workload()? {
            return self.setting.spec(workload.mean_size());
        }
        let size = self.size.map(|size| size.0).or_else(|| self.setting.fields.size());
        let size = size.ok_or_else(|| {
            Failure::Usage(
                "which message? --fields 64,65472 gives its fields, --size 64KiB its size, --mix several sizes".to_owned(),
            )
        })?;
        self.setting.spec(size)
    }
}

/// The models of one path, for each of the ends.
fn models(path: &'static SendPath, observed: &[MeasuredPath], asked: &Scenario) -> Vec<PathModel> {
    ENDS.iter().enumerate().map(|(end, _)| model(path, observed, asked, end)).collect()
}

fn model(path: &'static SendPath, observed: &[MeasuredPath], asked: &Scenario, end: usize) -> PathModel {
    let measured = |observed: &MeasuredPath| {
        let ns = observed.ns[end].as_ref().ok().cloned()?;
        Some(MeasuredCell {
            features: Features::of(&observed.spec, path.release),
            counts: observed.counts,
            ns,
        })
    };
    let training = observed.iter().filter(|cell| !cell.held_out);
    let fitted = Model::fit(&training.filter_map(measured).collect::<Vec<_>>());
    let cell = |observed: &MeasuredPath| {
        let measured = measured(observed)?;
        Some(ModelCell {
            message: AskedMessage::of(&observed.spec),
            held_out: observed.held_out,
            ns: measured.mean(),
            predicted_ns: fitted.as_ref().ok().map(|model| model.predict(&measured.features).ns),
            calls: observed.counts.calls,
            segments: observed.counts.segments,
            notifications: observed.counts.notifications,
            setups_ns: measured.ns,
        })
    };
    let cells: Vec<_> = observed.iter().filter_map(cell).collect();
    let misses: Vec<f64> = cells.iter().filter(|cell| cell.held_out).filter_map(ModelCell::miss).collect();
    let mean_miss = mean_miss(&misses);
    let failed = || observed.iter().find_map(|cell| cell.ns[end].as_ref().err().cloned());
    let refused = match (&fitted, mean_miss) {
        (Err(refused), _) => Some(failed().unwrap_or_else(|| refused.to_string())),
        // The model must not apply the cost of another footprint.
        (Ok(model), _) if !model.knows(asked.spec.footprint) => Some(format!(
            "no {} messages were measured: give it a longer --budget, or fewer --clients where memory is short",
            asked.spec.footprint
        )),
        (Ok(_), None) => Some("no cell was held out to check it by".to_owned()),
        (Ok(_), Some(miss)) if miss > MISS_TOLERATED => Some(format!(
            "it misses cells that it has not seen by {:.0} % on average, and more than {:.0} % is of no use: give it a \
             longer --budget or a quieter machine",
            100.0 * miss,
            100.0 * MISS_TOLERATED
        )),
        _ => None,
    };
    let features = match &asked.workload {
        None => Features::of(&asked.spec, path.release),
        Some(workload) => Features::of_workload(workload, &asked.spec, path.release),
    };
    let prediction = |model: &Model| model.predict(&features);
    PathModel {
        path: path.name.to_owned(),
        end: Named::Known(ENDS[end]),
        by_reference: path.release != Release::OnReturn,
        prediction: fitted.as_ref().ok().filter(|_| refused.is_none()).map(prediction),
        model: fitted.ok(),
        refused,
        mean_miss_percent: mean_miss.map(|miss| 100.0 * miss),
        cells,
    }
}

/// One sentence: the cheapest path by the sender's CPU time. `None` means that no model is good enough.
fn answer(model: &CostModel) -> Option<String> {
    let predicted = model.models.iter().filter(|path| path.end.is(ENDS[0]));
    let predictions: Vec<_> =
        predicted.filter_map(|path| Some((path.path.clone(), path.prediction?))).collect();
    let least = Choice::among(&predictions)?;
    let full = format!("Predicted for {}, by the sender's CPU time: {least}.", model.asked.text());
    let short = format!("Predicted, by the sender's CPU time: {least}.");
    [full, short].into_iter().find(|sentence| sentence.chars().count() <= LONGEST)
}

/// The cheapest path for the message, one sentence for each of [`ENDS`].
fn answers(model: &CostModel) -> Vec<String> {
    let answer = |end: &ModelEnd| {
        let predicted = model.models.iter().filter(|path| path.end.is(*end));
        let predictions: Vec<_> =
            predicted.filter_map(|path| Some((path.path.clone(), path.prediction?))).collect();
        Some(format!("By the CPU time of {}: {}.", end.in_words(), Choice::among(&predictions)?))
    };
    let sentences: Vec<_> = ENDS.iter().filter_map(answer).collect();
    let way = &model.settings[0];
    let way = if way == "lab" { "in the lab".to_owned() } else { format!("over {way}") };
    let about = format!("{}, {}, {way}", model.asked.text(), ClientCount(model.clients));
    if sentences.is_empty() {
        return vec![format!("Nothing can be said of {about}: no model is good enough.")];
    }
    [format!("Predicted, not measured, for {about}.")].into_iter().chain(sentences).collect()
}
