//! From samples and CPU time to ns for each KiB by class, and the differences of two paths.

use std::time::Duration;

use super::{Explained, ExplainedSetUp};
use crate::compare::stats::{Mean, holm};
use crate::profile::breakdown::Breakdown;
use crate::profile::classes::Class;
use crate::profile::stacks::Stacks;
use crate::profile::threads::ThreadRole;
use copycost::cost::meter::Spent;
use copycost::cost::ns_per_kib;
use copycost::rig::Sample;

/// The probability with which any interval of one explanation misses, Holm's correction included.
pub const ALPHA: f64 = 0.05;

/// A mean over set-ups in ns/KiB and its interval, where several set-ups give one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanFigure {
    /// The mean.
    pub value: f64,
    /// Where it lies with 95 %.
    pub interval: Option<(f64, f64)>,
}

/// What the threads of one role spent.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleCost {
    /// Whose threads.
    pub role: ThreadRole,
    /// CPU time without sampling; where no clock is read, as of ksoftirqd over loopback, from the samples.
    pub demand: MeanFigure,
    /// The same by class, in the order of [`Class::ALL`]; empty without samples. Their sum is the demand.
    pub classes: Vec<(Class, MeanFigure)>,
    /// How many samples, and innermost functions of those without a class.
    pub breakdown: Breakdown,
    /// By how much of it samples times their period miss the CPU time of the turns that were sampled; `None` where no
    /// clock was read.
    pub unscaled_error: Option<f64>,
    /// The share of the time that the kernel's tick found in user space, for those who have no samples.
    pub user_share: Option<f64>,
}

/// By how much one path spends more than the other, by role and class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Whose threads.
    pub role: ThreadRole,
    /// In what; `None`: in all.
    pub class: Option<Class>,
    /// In ns/KiB: the path less the reference, with the interval at the level at which Holm tested it.
    pub figure: MeanFigure,
    /// Whether the whole interval lies on one side of 0.
    pub decided: bool,
}

/// Nanoseconds that a sample stands for.
fn period(hertz: u64) -> f64 {
    1e9 / hertz.max(1) as f64
}

impl Explained {
    /// All samples.
    pub fn stacks(&self) -> Stacks {
        let mut all = Stacks::default();
        self.setups.iter().for_each(|setup| all.join(&setup.stacks));
        all
    }

    /// Samples that were lost.
    pub fn lost(&self) -> u64 {
        self.setups.iter().map(|setup| setup.lost).sum()
    }

    /// By how much CPU time of both ends is higher while it is sampled: 0.1 is 10 %.
    pub fn cost_of_sampling(&self) -> Option<f64> {
        let both = |sample: &Option<Sample>| {
            let sample = sample.as_ref()?;
            Some(self.demand(sample, ThreadRole::Sender)? + self.demand(sample, ThreadRole::Receiver)?)
        };
        let sum = |of: fn(&ExplainedSetUp) -> &Option<Sample>| {
            self.setups.iter().map(|setup| both(of(setup))).sum::<Option<f64>>()
        };
        let (with, without) = (sum(|setup| &setup.sampled)?, sum(|setup| &setup.plain)?);
        (without > 0.0).then(|| with / without - 1.0)
    }

    /// What each role spent, at `hertz` samples a second.
    pub fn ends(&self, hertz: u64) -> Vec<RoleCost> {
        let stacks = self.stacks();
        let mut roles = vec![ThreadRole::Sender, ThreadRole::Receiver];
        roles.extend(stacks.roles().into_iter().filter(|role| !roles.contains(role)).collect::<Vec<_>>());
        roles.into_iter().filter_map(|role| self.end(role, &stacks, hertz)).collect()
    }

    fn end(&self, role: ThreadRole, stacks: &Stacks, hertz: u64) -> Option<RoleCost> {
        let breakdown = Breakdown::of(stacks, role);
        let demand = mean(&self.demands(role, hertz))?;
        let parts = self.parts(role, hertz);
        let classes = |class: Class| Some((class, mean(&values(&parts, class))?));
        let used = |class: &Class| breakdown.classes.contains_key(class);
        let classes = Class::ALL.iter().copied().filter(used).filter_map(classes).collect();
        let unscaled_error = self.unscaled_error(role, &breakdown, hertz);
        Some(RoleCost { role, demand, classes, breakdown, unscaled_error, user_share: self.user_share(role) })
    }

    fn user_share(&self, role: ThreadRole) -> Option<f64> {
        let mut usage = Spent::default();
        for sample in self.setups.iter().filter_map(|setup| setup.plain.as_ref()) {
            match role {
                ThreadRole::Sender => usage.merge_sequential(&sample.sender),
                ThreadRole::Receiver => usage.merge_sequential(&sample.receiver),
                ThreadRole::Relay | ThreadRole::Ksoftirqd => {}
            }
        }
        usage.user_share()
    }

    fn unscaled_error(&self, role: ThreadRole, breakdown: &Breakdown, hertz: u64) -> Option<f64> {
        let time = |setup: &ExplainedSetUp| clock(setup.sampled.as_ref()?, role);
        let time: Duration = self.setups.iter().map(time).sum::<Option<Duration>>()?;
        let sampled = breakdown.samples as f64 * period(hertz);
        (breakdown.samples > 0 && !time.is_zero()).then(|| sampled / time.as_nanos() as f64 - 1.0)
    }

    /// CPU time of a role without sampling, in each set-up that has it.
    fn demands(&self, role: ThreadRole, hertz: u64) -> Vec<f64> {
        self.setups.iter().filter_map(|setup| self.demand_in(setup, role, hertz)).collect()
    }

    /// The same with its division; nothing without samples, unless there is nothing to divide. A set-up that has none, as
    /// ksoftirqd may, is divided as all set-ups together are.
    fn parts(&self, role: ThreadRole, hertz: u64) -> Vec<RoleSample> {
        let whole = Breakdown::of(&self.stacks(), role);
        let part = |setup: &ExplainedSetUp| {
            let own = Breakdown::of(&setup.stacks, role);
            let demand = self.demand_in(setup, role, hertz)?;
            (whole.samples > 0 || demand == 0.0)
                .then(|| (demand, if own.samples > 0 { own } else { whole.clone() }))
        };
        self.setups.iter().filter_map(part).collect()
    }

    fn demand_in(&self, setup: &ExplainedSetUp, role: ThreadRole, hertz: u64) -> Option<f64> {
        let plain = setup.plain.as_ref()?;
        self.demand(plain, role).or_else(|| match role {
            ThreadRole::Sender | ThreadRole::Receiver => None,
            // No clock is read of them, but their samples are there.
            ThreadRole::Relay | ThreadRole::Ksoftirqd => {
                let time = setup.stacks.of(role) as f64 * period(hertz);
                let kib = self.bytes(setup.sampled.as_ref()?) as f64 / 1024.0;
                (kib > 0.0).then(|| time / kib)
            }
        })
    }

    fn demand(&self, sample: &Sample, role: ThreadRole) -> Option<f64> {
        ns_per_kib(clock(sample, role)?, self.bytes(sample)).ok()
    }

    fn bytes(&self, sample: &Sample) -> u64 {
        sample.messages * self.contestant.scenario.spec.size as u64
    }
}

/// CPU time in a set-up, and how it is divided.
type RoleSample = (f64, Breakdown);

/// What of it went into a class.
fn values(parts: &[RoleSample], class: Class) -> Vec<f64> {
    parts.iter().map(|(demand, breakdown)| demand * breakdown.share(class).unwrap_or(0.0)).collect()
}

/// What the threads of a role spent by their clocks, where these are read.
fn clock(sample: &Sample, role: ThreadRole) -> Option<Duration> {
    match role {
        ThreadRole::Sender => Some(sample.sender.cpu?.time),
        ThreadRole::Receiver => Some(sample.receiver.cpu?.time),
        ThreadRole::Relay => Some(sample.relayed.as_ref()?.cpu?.time),
        ThreadRole::Ksoftirqd => sample.relayed.as_ref()?.ksoftirqd.as_ref().ok().copied(),
    }
}

fn mean(values: &[f64]) -> Option<MeanFigure> {
    let interval = Mean::of(values).ok().map(|mean| mean.interval(ALPHA));
    let value = values.iter().sum::<f64>() / values.len() as f64;
    (!values.is_empty()).then_some(MeanFigure { value, interval })
}

/// By how much `path` spends more than `reference`, for every role and class that either of them has, and in all. Both
/// were set up together, so that a set-up's difference is of two that had the same luck with the machine.
pub fn differences(path: &Explained, reference: &Explained, hertz: u64) -> Vec<Difference> {
    let mut all = Vec::new();
    for role in ThreadRole::ALL {
        let parts = [path, reference].map(|path| path.parts(*role, hertz));
        for class in [None].into_iter().chain(Class::ALL.iter().copied().map(Some)) {
            let [ours, theirs] = match class {
                Some(class) => [0, 1].map(|at| values(&parts[at], class)),
                None => [path, reference].map(|path| path.demands(*role, hertz)),
            };
            let pairs: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs).collect();
            let any = ours.iter().chain(&theirs).any(|value| *value > 0.0);
            if let (true, true, Ok(mean)) = (any, ours.len() == theirs.len(), Mean::of(&pairs)) {
                all.push((*role, class, mean));
            }
        }
    }
    let levels = holm(&all.iter().map(|(_, _, mean)| mean.p_value()).collect::<Vec<_>>(), ALPHA);
    let difference = |((role, class, mean), level): ((ThreadRole, Option<Class>, Mean), f64)| {
        let (low, high) = mean.interval(level);
        let figure = MeanFigure { value: mean.mean, interval: Some((low, high)) };
        Difference { role, class, figure, decided: low > 0.0 || high < 0.0 }
    };
    all.into_iter().zip(levels).map(difference).collect()
}
