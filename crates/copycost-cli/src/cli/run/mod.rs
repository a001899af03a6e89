//! `copycost run`: compares several paths in one interleaved run.
//!
//! - `flags`: the flags; here: what they mean together
//! - `contestants`: the contestants, and which are compared; `other_build`: another build of copycost as a server
//! - `budget`: divides the time
//! - `session`: measures the cells; `crossovers`: from which size one path beats another
//! - `loads`: measures paths under loads that do not wait
//! - `regression`: compares with an earlier run, and finds paths that became slower

mod budget;
mod contestants;
mod crossovers;
mod flags;
mod loads;
mod other_build;
mod regression;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::budget::TimeBudget;
use self::contestants::Contestants;
pub use self::flags::RunArguments;

use self::crossovers::{CrossoverSearch, FOOTPRINTS};
use self::loads::LoadedCell;
use self::other_build::BothBuilds;
use self::regression::BaselineRun;
use self::session::RunSession;
use super::arguments::{self, CrossoverRequest, PathChoice};
use super::files::Files;
use super::job::{Job, ProcessRole};
use super::plan::RunPlan;
use super::{Done, Failure, doctor, input, output, signals};
use crate::compare::contestant::Contestant;
use crate::compare::crossover;
use crate::compare::metric::Metric;
use crate::compare::schedule::Schedule;
use crate::record::{ALPHA, Conditions, Results, WorkloadRecord};
use crate::report::{self, Format};
use copycost::internals::cost::system::{IdleBaseline, MIN_WINDOW};
use copycost::internals::rig::check_memory;
use copycost::message::Spec;
use copycost::rig::Site;
use copycost::scenario::ConnectionOptions;
use copycost::scenario::{self, Scenario};
use copycost::send::{self, SendPath};
use copycost::units::ByteSize;
use copycost::workload::Workload;

impl RunArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        if self.wide && self.format != Format::Table {
            let text = "--wide is for --format table: leave one of them out (json and csv hold every figure)";
            return Err(Failure::Usage(text.to_owned()));
        }
        // The clients of all paths of a cell exist at the same time, on every host.
        let most_clients = MAX_CLIENTS_OF_JOB;
        match self.over.join(most_clients, arguments::options(self.stall))? {
            ProcessRole::Alone if !self.client_hosts.is_empty() => {
                Err(Failure::Usage("--client-hosts belongs to --over mpi".to_owned()))
            }
            ProcessRole::Alone => self.measure(None),
            ProcessRole::Directs(job) => {
                let result = self.measure(Some(&*job));
                job.end(result)
            }
            ProcessRole::Followed => Ok(Done::Yes),
        }
    }

    fn measure(&self, job: Option<&dyn Job>) -> Result<Done, Failure> {
        let files = Files::open(&self.output)?;
        let baseline = self.baseline.as_deref().map(BaselineRun::read).transpose()?;
        if self.fail_on_regression.is_some() && baseline.is_none() && self.with.is_none() {
            return Err(Failure::Usage(
                "--fail-on-regression needs --with BINARY or --baseline FILE".to_owned(),
            ));
        }
        self.setting.receivable(self.verify)?;
        let workload = self.setting.workload()?;
        if workload.is_some() && self.crossover.is_some() {
            let text = "--crossover looks at many sizes, and a mix has its own: leave one of them out";
            return Err(Failure::Usage(text.to_owned()));
        }
        let mut results = self.begin(workload.as_deref())?;
        results.at = self.at.map(|load| load.to_string()).or(results.at);
        if let Some(job) = job {
            introduce(job, &mut results.conditions);
        }
        let signals = signals::listen()?;
        let sites = self.sites(job)?;
        let contestants = self.contestants()?;
        self.check_memory(&contestants)?;
        let (mut session, cells) = self.session(contestants, &files, results, &signals, sites.len());
        let measured = self.cells(&mut session, &cells, &sites);
        session.progress.finish();
        if let Err(failure) = measured {
            if !session.results.is_empty() {
                output::show(&session.results, self.format);
            }
            return Err(failure);
        }
        let interrupted = session.interrupted();
        let mut results = session.results;
        if interrupted && results.is_empty() {
            return Ok(Done::Interrupted);
        }
        let mut incomparable = None;
        if let Some(baseline) = baseline {
            incomparable = baseline.incomparable(&results).filter(|_| self.fail_on_regression.is_some());
            baseline.compare(&mut results);
            files.save(&results)?;
        }
        let done = self.print_results(&results, interrupted)?;
        incomparable.map_or(Ok(done), |why| Err(Failure::Failed(why)))
    }

    /// An error if the messages of some cell do not fit into memory for all its paths at once. Messages of another
    /// process are not checked.
    fn check_memory(&self, contestants: &Contestants) -> Result<(), Failure> {
        if self.over.serves_elsewhere() {
            return Ok(());
        }
        for (size, clients) in scenario::matrix(&self.sizes(), &arguments::distinct(&self.clients)) {
            let of_cell = contestants.contestants(self.scenarios(size, clients)?);
            let scenarios: Vec<_> = of_cell.into_iter().map(|contestant| contestant.scenario).collect();
            check_memory(&scenarios)
                .map_err(|error| Failure::Failed(format!("{}: {error}", ByteSize(size))))?;
        }
        Ok(())
    }

    /// Measures all cells, then the crossovers.
    fn cells(
        &self,
        session: &mut RunSession<'_>,
        cells: &[(usize, usize)],
        sites: &[Arc<dyn Site>],
    ) -> Result<(), Failure> {
        for &(size, clients) in cells {
            let scenarios = self.scenarios(size, clients)?;
            let measure = |session: &mut RunSession<'_>| match self.loads() {
                Some(loads) => LoadedCell { run: self, loads: &loads, clients }.measure(session, &scenarios),
                None => session.cell(&scenarios, clients),
            };
            if sites.is_empty() {
                measure(session)?;
            }
            // All numbers of hosts in turn for each cell, so that drift does not look like scaling.
            for site in sites {
                session.contestants.move_to(site.clone());
                measure(session)?;
            }
        }
        if let Some(most) = sites.iter().max_by_key(|site| site.client_hosts()) {
            session.contestants.move_to(most.clone());
        }
        self.crossovers(session)
    }

    /// For a job of many hosts, one site for each requested number of client hosts; empty without a job.
    fn sites(&self, job: Option<&dyn Job>) -> Result<Vec<Arc<dyn Site>>, Failure> {
        let Some(job) = job else { return Ok(Vec::new()) };
        let all = job.client_hosts();
        let mut numbers = arguments::distinct(&self.client_hosts);
        if let Some(more) = numbers.iter().find(|number| **number > all) {
            return Err(Failure::Usage(format!(
                "invalid value for --client-hosts: {more}, and this job has {all} client hosts"
            )));
        }
        if numbers.is_empty() {
            numbers.push(all);
        }
        Ok(numbers.into_iter().map(|hosts| job.site(hosts)).collect())
    }

    /// Prints the results and returns how the command ends.
    fn print_results(&self, results: &Results, interrupted: bool) -> Result<Done, Failure> {
        if self.wide {
            output::print(&report::wide(results, output::screen()));
        } else {
            output::show(results, self.format);
        }
        let slower = self.fail_on_regression.map(|by| regression::slower(results, by)).unwrap_or_default();
        slower.iter().for_each(|path| output::message(&format!("regression: {path}")));
        if interrupted {
            output::message("note: interrupted: what was measured until then is above");
            return Ok(Done::CutShort);
        }
        if !results.failures.is_empty() {
            return Err(Failure::Failed(format!(
                "{} of the cells could not be measured",
                results.failures.len()
            )));
        }
        Ok(if slower.is_empty() { Done::Yes } else { Done::AnswerIsNo })
    }

    /// The contestants and their site.
    fn contestants(&self) -> Result<Contestants, Failure> {
        let site = self.over.site()?;
        let reference = match self.reference {
            Some(PathChoice::All) => {
                return Err(Failure::Usage("invalid value for --reference: one path, not all".to_owned()));
            }
            Some(PathChoice::One(path)) => Some(path),
            None => None,
        };
        let paths = self.paths()?;
        // Checks the flags before starting another build, which takes a moment.
        let arms = self.setting.arms();
        if self.crossover.is_some() && self.setting.fields.size().is_some() {
            let text =
                "--crossover looks at many sizes, and lengths of --fields are one: leave one of them out";
            return Err(Failure::Usage(text.to_owned()));
        }
        if self.crossover.is_some() && arms.len() > 1 {
            return Err(Failure::Usage("--crossover takes one offset of each kind".to_owned()));
        }
        if self.with.is_some() && arms.len() > 1 {
            return Err(Failure::Usage("--with compares builds: give it one offset of each kind".to_owned()));
        }
        Contestants::new(paths.clone(), site.clone(), None, arms.clone(), reference)?;
        let both = self.with.as_deref().map(BothBuilds::start).transpose()?;
        Contestants::new(paths, site, both, arms, reference)
    }

    /// A new session, and its cells as (size, clients).
    fn session<'a>(
        &self,
        contestants: Contestants,
        files: &'a Files,
        results: Results,
        signals: &'a crossbeam::channel::Receiver<()>,
        sites: usize,
    ) -> (RunSession<'a>, Vec<(usize, usize)>) {
        let began = Instant::now();
        let sizes = self.sizes();
        let clients = arguments::distinct(&self.clients);
        let cells: Vec<_> = scenario::matrix(&sizes, &clients).collect();
        let budget = self.budget.or(self.quick.then_some(budget::QUICK));
        let measured = cells.len() * sites.max(1);
        let comparisons = measured * contestants.pairs().len() * Metric::ALL.len();
        let time_budget = TimeBudget {
            each: self.seconds(),
            setups: self.setups,
            budgeted: budget.is_some(),
            precision: self.precision,
            // The first and strictest step of Holm's correction. An interval that is precise here is precise in all
            // steps.
            alpha: ALPHA / comparisons.max(1) as f64,
            latency: self.latency,
        };
        let crossovers = self
            .crossover
            .map_or(0, |request| clients.len() * FOOTPRINTS.len() * crossover::looks(request.most));
        let to_come = measured + crossovers;
        let until = began + budget.unwrap_or_default();
        let paths = contestants.count();
        let allot = |paths: usize, clients: usize| {
            let rows = Schedule::new(paths, 0).rows_per_block();
            time_budget.allot((paths, clients), rows, budget.unwrap_or_default(), to_come)
        };
        let loads = self.loads();
        let expected = |paths: usize, clients: usize| match &loads {
            Some(loads) => LoadedCell { run: self, loads, clients }.expected(paths),
            None => allot(paths, clients).expected(paths, clients),
        };
        // Making cold messages takes seconds. `preparation` is an upper bound, for a sixty-fourth of the usual speed.
        let making = |size: usize, clients: usize| -> Duration {
            let Ok(scenario) = self.scenarios(size, clients) else { return Duration::ZERO };
            contestants.contestants(scenario).iter().map(|one| one.scenario.preparation()).sum::<Duration>()
                / 64
        };
        let of_cell = |&(size, clients): &(usize, usize)| {
            let setups = allot(paths, clients).effort.at_least as u32;
            vec![expected(paths, clients) + making(size, clients) * setups; sites.max(1)]
        };
        // Every cell gets at least two set-ups.
        let least: Duration = cells.iter().map(|&(size, clients)| 2 * making(size, clients)).sum();
        let looks = crossovers / clients.len().max(1);
        let of_looks = clients.iter().flat_map(|&clients| vec![expected(2, clients); looks]);
        let plan = RunPlan {
            paths,
            cells: cells.iter().flat_map(of_cell).chain(of_looks).collect(),
            setups: match &loads {
                Some(loads) => LoadedCell { run: self, loads, clients: 1 }.setups(paths),
                None => allot(paths, 1).effort.at_least,
            },
            open: budget.is_some() || self.precision.is_some(),
            budget: budget.map(|budget| budget.max(least)),
        };
        let mut session = RunSession::new(contestants, time_budget, files, results, signals, plan, until);
        let planned = doctor::plan(&self.sizes(), &self.clients, self.over.serves_elsewhere());
        session.to_examine = Some((planned, self.over.is_loopback()));
        // Watching the idle machine takes two seconds. It is useful only if windows are long enough for system figures.
        let each = budget.map_or(self.seconds(), |budget| budget / (to_come * paths) as u32 / 2);
        // With several servers, this machine is not the whole system.
        let worth_it = each >= MIN_WINDOW && self.over.servers() == 1 && self.loads().is_none();
        session.baseline = worth_it.then(IdleBaseline::watch).and_then(Result::ok);
        (session, cells)
    }

    fn crossovers(&self, session: &mut RunSession<'_>) -> Result<(), Failure> {
        let Some(request) = &self.crossover else { return Ok(()) };
        session.contestants.reach(&self.options())?;
        let site = session.contestants.site().clone();
        for clients in arguments::distinct(&self.clients) {
            for footprint in FOOTPRINTS {
                let contestants = |size: usize| -> Vec<Contestant> {
                    let scenario = |path: &'static SendPath| {
                        let mut scenario = self.scenario(path, size, clients)?;
                        scenario.spec.footprint = footprint;
                        let (name, site) = (path.name.to_owned(), site.clone());
                        Ok::<_, Failure>(Contestant { name, scenario, site })
                    };
                    // Every size of a crossover is a valid message size, so no scenario fails.
                    [request.path, request.against]
                        .into_iter()
                        .filter_map(|path| scenario(path).ok())
                        .collect()
                };
                let search = CrossoverSearch { clients, footprint, contestants: &contestants };
                crossovers::find(session, request, &search)?;
            }
        }
        Ok(())
    }

    /// Empty results, or with --resume those of the earlier run.
    fn begin(&self, workload: Option<&Workload>) -> Result<Results, Failure> {
        let path = self.output.first().filter(|path| self.resume && path.exists());
        let now = self.over.conditions();
        let workload = workload.map(WorkloadRecord::of);
        let Some(path) = path else { return Ok(Results { workload, ..Results::new(now) }) };
        let earlier = input::results("--resume", path)?;
        if earlier.workload != workload {
            return Err(Failure::Usage(format!(
                "--resume: '{}' has messages of other sizes or shares: write to another file",
                path.display()
            )));
        }
        // A file holds results of one machine with the same conditions.
        let differences = now.differences_so_far(&earlier.conditions);
        if !differences.is_empty() {
            return Err(Failure::Usage(format!(
                "--resume: '{}' was measured under other conditions ({}): write to another file, and \
                 `copycost report` shows both side by side",
                path.display(),
                differences.join("; ")
            )));
        }
        Ok(earlier)
    }

    /// The requested paths. `all` skips unavailable paths with a note; an unavailable path that was named is an error.
    fn paths(&self) -> Result<Vec<&'static SendPath>, Failure> {
        let spec = self.largest_spec()?;
        // Another host checks by itself.
        let probe = |path: &'static SendPath| self.over.probe(path, &spec);
        if let Some(CrossoverRequest { path, against, .. }) = &self.crossover {
            arguments::paths(&[PathChoice::One(path), PathChoice::One(against)], probe)?;
        }
        arguments::paths(&self.paths, probe)
    }

    /// A message of the run; of a workload the largest.
    fn largest_spec(&self) -> Result<Spec, Failure> {
        let Some(workload) = self.setting.workload()? else {
            return self.setting.spec(self.sizes().first().copied().unwrap_or(65_536));
        };
        let base = self.setting.spec(workload.mean_size())?;
        Ok(workload.spec(workload.largest(), &base))
    }

    /// The requested sizes; of a workload its mean. If --fields gives lengths and --size has its default, the size is the sum
    /// of the lengths.
    fn sizes(&self) -> Vec<usize> {
        if let Ok(Some(workload)) = self.setting.workload() {
            return vec![workload.mean_size()];
        }
        let sizes: Vec<_> = arguments::distinct(&self.sizes).iter().map(|size| size.0).collect();
        match self.setting.fields.size() {
            Some(sum) if sizes == scenario::SIZES => vec![sum],
            _ => sizes,
        }
    }

    fn options(&self) -> ConnectionOptions {
        arguments::with_stall_timeout(self.over.options(), self.stall)
    }

    fn scenario(&self, path: &'static SendPath, size: usize, clients: usize) -> Result<Scenario, Failure> {
        let scenario = Scenario {
            options: self.options(),
            counted_threads: self.counters,
            pollution_table: self.pollution.map(|size| size.0),
            verify: self.verify,
            bounded: !self.no_bound,
            ..self.setting.scenario(&self.over, path, self.setting.spec(size)?, clients)?
        };
        Ok(match self.loads() {
            // Its figures have no counters.
            Some(_) => Scenario { counted_threads: 0, ..scenario.for_open_loop() },
            None => scenario,
        })
    }

    /// A function from a path to its scenario in a cell.
    fn scenarios(
        &self,
        size: usize,
        clients: usize,
    ) -> Result<impl Fn(&'static SendPath) -> Scenario + '_, Failure> {
        // The path does not matter for whether the message is valid.
        let any = self.scenario(&send::ALL[0], size, clients)?;
        Ok(move |path| Scenario { path, ..any.clone() })
    }
}

/// The most clients of a whole job, counting every path of a cell.
const MAX_CLIENTS_OF_JOB: usize = 1 << 20;

/// Adds the conditions of all ranks, and what distorts a measurement in this job.
fn introduce(job: &dyn Job, conditions: &mut Conditions) {
    conditions.ranks = job.conditions();
    for remark in job.remarks() {
        output::message(&format!("warning: {remark}"));
        if !conditions.flags.contains(&remark) {
            conditions.flags.push(remark);
        }
    }
}
