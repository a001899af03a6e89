//! Why a path costs what it costs: sampled turns beside turns without sampling, set-up after set-up.
//!
//! Sampling itself costs time (in a virtual machine a tenth and more). So the samples say how the time is *divided*, and
//! the turns without them how much it is: the shares are laid on that. How far samples times their period are from the
//! CPU time of the very turns that were sampled is kept beside it.
//!
//! - here: the measurement
//! - [`figures`]: ns for each KiB by class, differences of two paths; pure
//! - [`answer`]: the same in a sentence

pub mod answer;
pub mod figures;

use crate::compare::cell::Contestant;
use crate::compare::schedule::Schedule;
use crate::compare::turns::Turns;
use crate::conditions::Conditions;
use crate::profile::profiler::Profiler;
use crate::profile::stacks::Stacks;
use crate::profile::threads::{self, ThreadRole, Threads};
use copycost::cost::Measured;
use copycost::internals::connection::AppliedOptions;
use copycost::rig::{Rig, RigError, Sample, Work};

/// What one path came to.
#[derive(Debug)]
pub struct Explained {
    /// Who.
    pub contestant: Contestant,
    /// What its connections had.
    pub connected: Connected,
    /// Each complete set-up.
    pub setups: Vec<ExplainedSetUp>,
}

/// What a path's connections had, as the conditions of results keep it.
#[derive(Debug, Clone, Default)]
pub struct Connected {
    /// Their options.
    pub applied: AppliedOptions,
    /// The other host, where there is one.
    pub host: Option<Box<Conditions>>,
}

/// One path in one set-up.
#[derive(Debug, Default)]
pub struct ExplainedSetUp {
    /// What was sampled.
    pub stacks: Stacks,
    /// Samples for which there was no room.
    pub lost: u64,
    /// The sum of the turns with sampling; `None` where there is none to be had.
    pub sampled: Option<Sample>,
    /// The sum of the turns without.
    pub plain: Option<Sample>,
}

/// Paths that are being explained.
#[derive(Debug)]
pub struct ExplainSession<'a> {
    profiler: Measured<Profiler<'a>>,
    schedule: Schedule,
    paths: Vec<Explained>,
}

/// A rig with its threads and what its turns have come to.
struct SampledRig {
    rig: Rig,
    threads: Threads,
    so_far: ExplainedSetUp,
}

impl<'a> ExplainSession<'a> {
    /// Nothing is measured yet. Without a profiler only the turns without sampling are taken.
    pub fn new(contestants: Vec<Contestant>, profiler: Measured<Profiler<'a>>, seed: u64) -> Self {
        let schedule = Schedule::new(contestants.len(), seed);
        let path = |contestant| Explained { contestant, connected: Connected::default(), setups: Vec::new() };
        Self { profiler, schedule, paths: contestants.into_iter().map(path).collect() }
    }

    /// [`Schedule::rows_per_block`]
    pub fn rows_per_block(&self) -> usize {
        self.schedule.rows_per_block()
    }

    /// Builds every path anew and lets each take its turns, once with sampling and once without. After each `go_on` is
    /// asked; false when it said no, and then the set-up counts for nothing.
    ///
    /// # Errors
    /// The first path that fails, for what cannot be measured cannot be explained.
    pub fn set_up(&mut self, turns: Turns, go_on: &mut dyn FnMut() -> bool) -> Result<bool, RigError> {
        let number = self.paths.first().map_or(0, |path| path.setups.len());
        let mut warm = self.build(number)?;
        let work = Work::Window(turns.length);
        for row in 0..turns.rows {
            for index in self.schedule.next().unwrap_or_default() {
                let path = &mut warm[index];
                // Who comes first of the two changes from row to row.
                for sampling in [row % 2 == 0, row % 2 == 1] {
                    match &mut self.profiler {
                        Ok(profiler) if sampling => path.sample(profiler, work)?,
                        _ if sampling => {}
                        _ => add(&mut path.so_far.plain, path.rig.run(work)?),
                    }
                    if !go_on() {
                        return Ok(false);
                    }
                }
            }
        }
        for (path, warm) in self.paths.iter_mut().zip(warm) {
            let host = warm.rig.site_report().map(|host: &Conditions| Box::new(host.clone()));
            path.connected = Connected { applied: warm.rig.applied().clone(), host };
            path.setups.push(warm.so_far);
        }
        Ok(true)
    }

    /// Rigs of all paths, in their order. Who is built first changes from set-up to set-up: it gets other pages.
    fn build(&self, number: usize) -> Result<Vec<SampledRig>, RigError> {
        let count = self.paths.len();
        let mut warm: Vec<Option<SampledRig>> = (0..count).map(|_| None).collect();
        for place in 0..count {
            let index = (place + number) % count;
            let before = threads::of_process();
            let contestant = &self.paths[index].contestant;
            let rig = contestant.build(number + 1)?;
            let mut threads = threads::of_process();
            // A rig's ends are new; what lies between them is there before and stays.
            threads.retain(|thread, role| *role == ThreadRole::Relay || !before.contains_key(thread));
            threads.extend(threads::of_kernel());
            warm[index] = Some(SampledRig { rig, threads, so_far: ExplainedSetUp::default() });
        }
        Ok(warm.into_iter().flatten().collect())
    }

    /// What the paths came to, and how they were sampled or why they were not.
    pub fn finish(self) -> (Vec<Explained>, Measured<Profiler<'a>>) {
        (self.paths, self.profiler)
    }
}

impl SampledRig {
    /// A turn with sampling. Samples that could not be begun or ended are as good as lost: the turn then has none.
    fn sample(&mut self, profiler: &mut Profiler<'_>, work: Work) -> Result<(), RigError> {
        let begun = profiler.begin(&threads::with_workers(&self.threads));
        let sample = self.rig.run(work)?;
        if begun.is_ok()
            && let Ok(lost) = profiler.end(&threads::with_workers(&self.threads), &mut self.so_far.stacks)
        {
            self.so_far.lost += lost;
            add(&mut self.so_far.sampled, sample);
        }
        Ok(())
    }
}

fn add(sum: &mut Option<Sample>, sample: Sample) {
    match sum {
        Some(sum) => sum.merge_sequential(&sample),
        None => *sum = Some(sample),
    }
}
