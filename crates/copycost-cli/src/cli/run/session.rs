//! A run in progress: measures the cells and saves the results after each.

use crate::record::MessageSize;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;

use super::budget::{CellBudget, TimeBudget};
use super::contestants::Contestants;
use crate::cli::Failure;
use crate::cli::files::Files;
use crate::cli::plan::RunPlan;
use crate::cli::progress::Progress;
use crate::compare::ContestantResult;
use crate::compare::cell::{Cell, ContestantFailure};
use crate::compare::contestant::Contestant;
use crate::compare::metric::Metric;
use crate::compare::rigs::Rigs;
use crate::compare::trial::{self, TrialEnd};
use crate::doctor;
use crate::record::{CellFailure, Comparison, Paired, Record, Results};
use crate::verdict;
use copycost::internals::cost::system::IdleBaseline;
use copycost::scenario::Scenario;
use copycost::send::SendPath;
use copycost::units::{ClientCount, Rate};

/// A run may exceed its budget by a tenth, or by this if that is more, because every cell needs at least two set-ups.
const OVERRUN: Duration = Duration::from_secs(5);

/// A run in progress.
#[derive(Debug)]
pub struct RunSession<'a> {
    pub contestants: Contestants,
    pub time_budget: TimeBudget,
    /// The end of the budget, if there is one.
    pub until: Instant,
    pub baseline: Option<IdleBaseline>,
    /// The length of the budget, or zero.
    budget: Duration,
    /// The plan that `doctor` examines when the first cell begins, and whether the run is over loopback. The
    /// examination takes a moment, so a run that measures nothing skips it.
    pub to_examine: Option<(doctor::PlannedRun, bool)>,
    pub files: &'a Files,
    pub results: Results,
    pub progress: Progress,
    /// The number of cells and crossover sizes left, which share the rest of the budget.
    pub to_come: usize,
    signals: &'a Receiver<()>,
    interrupted: bool,
    paired: Vec<Paired>,
    /// Comparisons of the earlier run that this run resumes.
    kept: Vec<Comparison>,
    seed: u64,
}

impl<'a> RunSession<'a> {
    /// A run that starts from `results`, which are empty unless it resumes an earlier run.
    pub fn new(
        contestants: Contestants,
        time_budget: TimeBudget,
        files: &'a Files,
        results: Results,
        signals: &'a Receiver<()>,
        plan: RunPlan,
        until: Instant,
    ) -> Self {
        let to_come = plan.cells.len();
        let budget = plan.budget.unwrap_or_default();
        Self {
            contestants,
            time_budget,
            until,
            baseline: None,
            to_examine: None,
            budget,
            files,
            kept: results.comparisons.clone(),
            results,
            progress: Progress::of(plan),
            to_come,
            signals,
            interrupted: false,
            paired: Vec::new(),
            seed: 0,
        }
    }

    /// Whether a signal interrupted the run.
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether there is a budget and it is used up.
    pub fn is_out_of_time(&self) -> bool {
        self.time_budget.budgeted && Instant::now() >= self.until
    }

    /// Measures a cell, unless the earlier run already measured it completely.
    pub fn cell(
        &mut self,
        scenario: impl Fn(&'static SendPath) -> Scenario,
        clients: usize,
    ) -> Result<(), Failure> {
        let contestants = self.contestants.contestants(&scenario);
        let size = MessageSize::of(&contestants[0].scenario);
        let hosts = self.contestants.site().client_hosts();
        let here =
            |record: &Record| (record.size, record.clients, record.client_hosts) == (size, clients, hosts);
        let known = |contestant: &Contestant| {
            self.results
                .records
                .iter()
                .any(|record| record.is_of(&contestant.name, &contestant.scenario, &*contestant.site))
        };
        if self.interrupted || contestants.iter().all(known) {
            self.to_come -= 1;
            self.progress.skip();
            return Ok(());
        }
        let overrun = self.is_out_of_time() && self.until.elapsed() > OVERRUN.max(self.budget / 10);
        if overrun && !self.results.records.is_empty() {
            let error = "the budget was used up before this cell began: a longer --budget measures it";
            let left_out = contestants.iter().map(|contestant| CellFailure {
                path: contestant.name.clone(),
                size,
                clients,
                client_hosts: hosts,
                error: error.to_owned(),
            });
            self.results.failures.extend(left_out);
            self.to_come -= 1;
            self.progress.skip();
            return self.save();
        }
        // Not earlier: a run with nothing left to measure does not need the other host.
        self.contestants.reach(&contestants[0].scenario.options)?;
        let contestants = self.contestants.contestants(&scenario);
        // A ratio needs paths that took turns with each other, so earlier records of this cell are dropped.
        self.results.records.retain(|record| !here(record));
        let failed = |failure: &CellFailure| {
            (failure.size, failure.clients, failure.client_hosts) == (size, clients, hosts)
        };
        self.results.failures.retain(|failure| !failed(failure));
        self.kept.retain(|kept| (kept.size, kept.clients, kept.client_hosts) != (size, clients, hosts));
        let of_hosts = if hosts > 1 { format!(" on each of {hosts} hosts") } else { String::new() };
        let what = cell_name(size, clients) + &of_hosts;
        self.progress.begin(&what);
        self.keep_distortions();
        let pairs = self.contestants.pairs();
        let began = Instant::now();
        let (cell, end, allotment) = self.measure(contestants, &pairs);
        self.still_whole()?;
        if cell.setups() == 0 && end == TrialEnd::CalledOff {
            return Ok(());
        }
        self.keep_pairs(&cell, &pairs, end, &allotment, (size, clients));
        let setups = cell.setups();
        let progress = &self.progress;
        let latency = allotment.latency.filter(|_| end != TrialEnd::CalledOff);
        let finished = cell.finish(latency, &mut |_| progress.tick());
        self.still_whole()?;
        let figures: Vec<_> =
            finished.iter().map(|(contestant, measured)| one_figure(contestant, measured)).collect();
        finished.into_iter().for_each(|(contestant, measured)| self.keep(&contestant, measured));
        self.to_come -= 1;
        let seconds = began.elapsed().as_secs_f64();
        self.progress.end(1, &format!("{what}: {} ({setups} set-ups, {seconds:.1} s)", figures.join(", ")));
        self.save()
    }

    /// An error if hosts of the job are lost. The unfinished cell is dropped; the finished cells are on disk.
    pub(super) fn still_whole(&self) -> Result<(), Failure> {
        let Some(why) = self.contestants.site().lost() else { return Ok(()) };
        let cells = self.results.records.len();
        let kept = match (cells, self.files.first()) {
            (0, _) => "nothing was measured before".to_owned(),
            (_, Some(file)) => format!("the {cells} records of finished cells are in '{}'", file.display()),
            (_, None) => format!("the {cells} records of finished cells are above"),
        };
        Err(Failure::Failed(format!("{why}; {kept}")))
    }

    /// Keeps what distorts the run, one flag for each check. In a resumed run the new flag replaces the old one.
    pub(super) fn keep_distortions(&mut self) {
        let Some((plan, over_loopback)) = self.to_examine.take() else { return };
        let flags = &mut self.results.conditions.flags;
        for distortion in crate::cli::doctor::distortions(&plan, over_loopback) {
            let check = distortion.split_inclusive(':').next().unwrap_or_default();
            flags.retain(|flag| !flag.starts_with(check));
            flags.push(distortion);
        }
    }

    /// Measures set-ups of all contestants, as many as the time budget allows.
    pub fn measure(
        &mut self,
        contestants: Vec<Contestant>,
        pairs: &[(usize, usize)],
    ) -> (Cell, TrialEnd, CellBudget) {
        let paths = contestants.len();
        let clients = contestants.first().map_or(1, |contestant| contestant.scenario.clients);
        let seed = self.next_seed();
        let cell = Cell::new(contestants, seed, self.baseline);
        let left = self.until.saturating_duration_since(Instant::now());
        let allotment = self.time_budget.allot((paths, clients), cell.rows_per_block(), left, self.to_come);
        let began = Instant::now();
        let (progress, signals, interrupted) = (&self.progress, self.signals, &mut self.interrupted);
        let mut go_on = || {
            *interrupted |= signals.try_recv().is_ok();
            progress.measuring();
            !*interrupted
        };
        let mut setting_up = |number: usize| progress.setting_up(number, clients * paths);
        let mut rigs = Rigs {
            cell,
            turns: allotment.turns,
            pairs,
            began,
            setting_up: &mut setting_up,
            go_on: &mut go_on,
        };
        let end = trial::run(&mut rigs, &allotment.effort);
        (rigs.cell, end, allotment)
    }

    fn keep_pairs(
        &mut self,
        cell: &Cell,
        pairs: &[(usize, usize)],
        end: TrialEnd,
        allotment: &CellBudget,
        (size, clients): (MessageSize, usize),
    ) {
        let why = match end {
            TrialEnd::OutOfTime => "the budget was used up",
            TrialEnd::CalledOff => "it was interrupted",
            TrialEnd::Precise | TrialEnd::Full | TrialEnd::NobodyLeft => "no more were made",
        };
        let client_hosts = self.contestants.site().client_hosts();
        let goal = allotment.effort.precision.map(|precision| (precision, why));
        for &(path, reference) in pairs {
            self.paired.extend(Metric::ALL.iter().map(|&metric| Paired {
                size,
                clients,
                client_hosts,
                path: cell.name(path).to_owned(),
                reference: cell.name(reference).to_owned(),
                metric,
                pairs: cell.pairs(path, reference, metric),
                goal,
            }));
        }
    }

    fn keep(&mut self, contestant: &Contestant, measured: Result<ContestantResult, ContestantFailure>) {
        let Contestant { name, scenario, .. } = contestant;
        match measured {
            Ok(measured) => {
                self.results.conditions.connected(&measured.applied);
                if let Some(host) = &measured.host {
                    self.results.conditions.host = Some(Box::new(host.clone()));
                }
                let record = Record { path: name.clone(), ..Record::new(scenario, &measured) };
                self.results.records.push(record);
            }
            Err(error) => self.fail(name, MessageSize::of(scenario), scenario.clients, &error),
        }
    }

    /// Whether to go on: false after a signal. Updates the progress.
    pub(super) fn go_on(&mut self) -> bool {
        self.interrupted |= self.signals.try_recv().is_ok();
        self.progress.measuring();
        !self.interrupted
    }

    /// A seed for the order of turns in the next cell.
    pub(super) fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    /// Records that a path could not be measured.
    pub fn fail(&mut self, path: &str, size: MessageSize, clients: usize, error: &ContestantFailure) {
        let (path, error) = (path.to_owned(), error.to_string());
        let client_hosts = self.contestants.site().client_hosts();
        self.results.failures.push(CellFailure { path, size, clients, client_hosts, error });
    }

    pub(super) fn save(&mut self) -> Result<(), Failure> {
        self.results.comparisons.clone_from(&self.kept);
        self.results.comparisons.extend(Comparison::judged(&self.paired, self.kept.len()));
        verdict::conclude(&mut self.results);
        self.files.save(&self.results)
    }
}

/// The name of a cell in messages: `64 KiB, 8 clients`.
pub fn cell_name(size: MessageSize, clients: usize) -> String {
    format!("{}, {}", size, ClientCount(clients))
}

fn one_figure(contestant: &Contestant, measured: &Result<ContestantResult, ContestantFailure>) -> String {
    match measured {
        Ok(measured) if measured.sample.bytes == 0 => format!("{} received nothing", contestant.name),
        Ok(measured) => format!("{} {}", contestant.name, Rate(measured.sample.throughput())),
        Err(_) => format!("{} failed", contestant.name),
    }
}
