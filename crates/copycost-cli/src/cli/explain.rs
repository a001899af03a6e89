//! `copycost explain`: shows where the CPU time of paths goes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use crossbeam::channel::Receiver;

use super::arguments::{self, PathChoice};
use super::files::Files;
use super::over::{self, Over};
use super::progress::Progress;
use super::setting::Setting;
use super::{Done, Failure, output, signals, values};
use crate::compare::contestant::Contestant;
use crate::compare::trial::SETUPS;
use crate::compare::turns::Turns;
use crate::explain::{Connected, ExplainSession};
use crate::profile::perf::PerfSampler;
use crate::profile::profiler::Profiler;
use crate::record::{self, Results, WorkloadRecord};
use crate::report::Format;
use crate::verdict::explained;
use copycost::cost::Measured;
use copycost::rig::Site;
use copycost::scenario::Scenario;
use copycost::units::ByteSize;

/// The default size, in bytes: large enough that the cost of copying is visible.
const DEFAULT_SIZE: usize = 65_536;

/// What to explain.
#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// Send paths, separated by commas; each is compared with the first
    #[arg(short, long = "path", value_name = "PATH", value_delimiter = ',', value_parser = values::path(),
          hide_possible_values = true,
          default_value = "onecopy,zerocopy")]
    paths: Vec<PathChoice>,
    /// The message's size: bytes, or with KiB, MiB, GiB [default: 64 KiB, or the sum of --fields]
    #[arg(short, long, value_name = "SIZE", value_parser = arguments::size)]
    size: Option<ByteSize>,
    /// The number of clients, each on a connection of its own
    #[arg(short, long, value_name = "N", value_parser = arguments::clients, default_value_t = 1)]
    clients: usize,
    #[command(flatten)]
    over: Over,
    #[command(flatten)]
    setting: Setting,
    /// How long to sample each path, divided among the set-ups; each also runs as long without sampling
    #[arg(long, value_name = "S", value_parser = arguments::seconds, default_value = "3")]
    seconds: Duration,
    /// The format on standard output: table, json, csv, markdown or html
    #[arg(long, default_value_t)]
    format: Format,
    /// A file for the result; its extension chooses the format (.json, .txt, .md, .html); repeatable
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
}

impl ExplainArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let files = Files::open(&self.output)?;
        let workload = self.setting.workload()?;
        let size = match &workload {
            Some(workload) => workload.mean_size(),
            None => {
                self.size.map_or_else(|| self.setting.fields.size().unwrap_or(DEFAULT_SIZE), |size| size.0)
            }
        };
        let spec = self.setting.spec(size)?;
        let paths = arguments::paths(&self.paths, |path| self.over.probe(path, &spec))?;
        self.setting.receivable(false)?;
        self.setting.one_offset()?;
        let signals = signals::listen()?;
        let site = self.over.site_of_two()?;
        let any = self.setting.scenario(&self.over, paths[0], spec, self.clients)?;
        over::check(&*site, &any.options)?;
        let contestants: Vec<_> = paths
            .iter()
            .map(|path| Contestant {
                name: path.name.to_owned(),
                scenario: Scenario { path, ..any.clone() },
                site: site.clone(),
            })
            .collect();
        let profiler = Profiler::open(&PerfSampler);
        let mut called_off = false;
        let measured = self.measure(contestants, profiler, &signals, &mut called_off)?;
        let Some((explanation, connected)) = measured else { return Ok(Done::Interrupted) };
        let mut results = Results::new(self.over.conditions());
        results.workload = workload.as_deref().map(WorkloadRecord::of);
        results.conditions.connected(&connected.applied);
        results.conditions.host = connected.host;
        results.answer = explained::headline(&explanation);
        results.verdict = explained::sentences(&explanation);
        results.explanations.push(with_notes(explanation, &*site));
        files.save(&results)?;
        output::show(&results, self.format);
        Ok(if called_off { Done::CutShort } else { Done::Yes })
    }

    /// Measures all set-ups. `None` means that a signal arrived before every path had a set-up.
    fn measure(
        &self,
        contestants: Vec<Contestant>,
        profiler: Measured<Profiler<'_>>,
        signals: &Receiver<()>,
        called_off: &mut bool,
    ) -> Result<Option<(record::Explanation, Connected)>, Failure> {
        let paths = contestants.len() as u32;
        let mut progress = Progress::of_steps(SETUPS, 2 * self.seconds * paths / SETUPS as u32);
        let mut explanation = ExplainSession::new(contestants, profiler, 1);
        let turns = Turns::of(self.seconds / SETUPS as u32, explanation.rows_per_block(), self.clients);
        for number in 1..=SETUPS {
            progress.begin(&format!("set-up {number} of {SETUPS}"));
            let go_on = &mut || {
                *called_off |= signals.try_recv().is_ok();
                !*called_off
            };
            match explanation.set_up(turns, go_on) {
                Ok(true) => progress.end(1, &format!("set-up {number} of {SETUPS}")),
                Ok(false) => break,
                Err(error) => return Err(Failure::Failed(error.to_string())),
            }
        }
        progress.finish();
        let (paths, profiler) = explanation.finish();
        if paths.iter().any(|path| path.setups.is_empty()) {
            return Ok(None);
        }
        let (hertz, scope, missing) = match profiler {
            Ok(profiler) => (profiler.hertz(), Some(profiler.scope().to_string()), None),
            Err(missing) => (0, None, Some(missing.to_string())),
        };
        let mut record = record::Explanation::new(&paths, hertz, scope, missing);
        if *called_off {
            record.notes.push("The run was interrupted and has fewer set-ups than usual.".to_owned());
        }
        Ok(paths.into_iter().next().map(|path| (record, path.connected)))
    }
}

/// Adds a note where the sender is another process, whose samples cannot be taken here.
fn with_notes(mut explanation: record::Explanation, site: &dyn Site) -> record::Explanation {
    let unseen = |end: &record::ExplainedEnd| end.end == "sender" && end.samples == 0;
    let sender_unseen = explanation.paths.iter().any(|path| path.ends.iter().any(unseen));
    if explanation.missing.is_none() && sender_unseen {
        explanation.notes.push(format!(
            "The sender is another process ({}): its CPU time is known, but its samples can only be taken \
             there.",
            site.transport()
        ));
    }
    explanation
}
