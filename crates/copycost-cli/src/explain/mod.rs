//! Explains the CPU time of paths: each set-up takes turns with sampling and turns without.
//!
//! Sampling costs time, in a virtual machine a tenth or more. So the samples only give the *shares* of classes, and the
//! turns without sampling give the CPU time to which the shares apply. The result also holds how far samples times
//! their period differ from the CPU time of the sampled turns.
//!
//! - here: the measurement
//! - [`figures`]: ns for each KiB by class, differences of two paths; pure

pub mod figures;

use crate::compare::contestant::Contestant;
use crate::compare::rounds_in;
use crate::compare::schedule::Schedule;
use crate::compare::turns::Turns;
use crate::conditions::Conditions;
use crate::profile::profiler::Profiler;
use crate::profile::stacks::Stacks;
use crate::profile::threads::{self, ThreadRole, Threads};
use copycost::cost::Measured;
use copycost::internals::connection::AppliedOptions;
use copycost::rig::{Rig, RigError, Sample, Work};

/// The measurements of one path.
#[derive(Debug)]
pub struct Explained {
    /// The path, its scenario and its site.
    pub contestant: Contestant,
    /// The socket options of its connections, and the other host.
    pub connected: Connected,
    /// Each complete set-up.
    pub setups: Vec<ExplainedSetUp>,
}

/// What the conditions of results record about a path's connections.
#[derive(Debug, Clone, Default)]
pub struct Connected {
    /// The socket options of the connections.
    pub applied: AppliedOptions,
    /// The conditions of the other host; `None` if there is none.
    pub host: Option<Box<Conditions>>,
}

/// One path in one set-up.
#[derive(Debug, Default)]
pub struct ExplainedSetUp {
    /// The sampled stacks.
    pub stacks: Stacks,
    /// The number of samples that were lost because the buffer was full.
    pub lost: u64,
    /// The sum of the turns with sampling; `None` without a profiler.
    pub sampled: Option<Sample>,
    /// The sum of the turns without sampling; `None` before the first.
    pub plain: Option<Sample>,
}

/// The measurement of several paths with and without sampling.
#[derive(Debug)]
pub struct ExplainSession<'a> {
    profiler: Measured<Profiler<'a>>,
    schedule: Schedule,
    paths: Vec<Explained>,
}

/// A rig with its threads and the results of its turns.
struct SampledRig {
    rig: Rig,
    threads: Threads,
    so_far: ExplainedSetUp,
}

impl<'a> ExplainSession<'a> {
    /// A session without set-ups. Without a profiler it takes only the turns without sampling.
    pub fn new(contestants: Vec<Contestant>, profiler: Measured<Profiler<'a>>, seed: u64) -> Self {
        let schedule = Schedule::new(contestants.len(), seed);
        let path = |contestant| Explained { contestant, connected: Connected::default(), setups: Vec::new() };
        Self { profiler, schedule, paths: contestants.into_iter().map(path).collect() }
    }

    /// The rows of one balanced block: see [`Schedule::rows_per_block`].
    pub fn rows_per_block(&self) -> usize {
        self.schedule.rows_per_block()
    }

    /// Builds a rig for each path and lets each take its turns, once with sampling and once without. After each turn it
    /// calls `go_on`. If that returns false, the set-up is discarded and the result is false.
    ///
    /// # Errors
    /// The error of the first path that fails.
    pub fn set_up(&mut self, turns: Turns, go_on: &mut dyn FnMut() -> bool) -> Result<bool, RigError> {
        let number = self.paths.first().map_or(0, |path| path.setups.len());
        let mut warm = self.build(number)?;
        let work = match warm.first_mut() {
            Some(first) if first.rig.scenario().workload.is_some() => {
                Work::Rounds(rounds_in(&mut first.rig, turns.length)?)
            }
            _ => Work::Window(turns.length),
        };
        for row in 0..turns.rows {
            for index in self.schedule.next().unwrap_or_default() {
                let path = &mut warm[index];
                // Alternates from row to row which of the two runs first.
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
            let host = warm.rig.site_report().map(|conditions: &Conditions| Box::new(conditions.clone()));
            path.connected = Connected { applied: warm.rig.applied().clone(), host };
            path.setups.push(warm.so_far);
        }
        Ok(true)
    }

    /// Builds the rigs of all paths and returns them in the order of the paths. The order of building rotates from
    /// set-up to set-up, because the first rig gets different pages.
    fn build(&self, number: usize) -> Result<Vec<SampledRig>, RigError> {
        let count = self.paths.len();
        let mut warm: Vec<Option<SampledRig>> = (0..count).map(|_| None).collect();
        for place in 0..count {
            let index = (place + number) % count;
            let before = threads::of_process();
            let contestant = &self.paths[index].contestant;
            let rig = contestant.build(number + 1)?;
            let mut threads = threads::of_process();
            // The threads of a rig's ends are new. The relay between them existed before and stays.
            threads.retain(|thread, role| *role == ThreadRole::Relay || !before.contains_key(thread));
            threads.extend(threads::of_kernel());
            warm[index] = Some(SampledRig { rig, threads, so_far: ExplainedSetUp::default() });
        }
        Ok(warm.into_iter().flatten().collect())
    }

    /// The measurements of the paths, and the profiler or why there is none.
    pub fn finish(self) -> (Vec<Explained>, Measured<Profiler<'a>>) {
        (self.paths, self.profiler)
    }
}

impl SampledRig {
    /// Takes a turn with sampling. If sampling could not begin or end, the turn is not counted.
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
