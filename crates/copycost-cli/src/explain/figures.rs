//! Computes ns/KiB by class from samples and CPU time, and the differences of two paths.

use std::time::Duration;

use super::{Explained, ExplainedSetUp};
use crate::profile::breakdown::Breakdown;
use crate::profile::classes::Class;
use crate::profile::stacks::Stacks;
use crate::profile::threads::ThreadRole;
use crate::stats::{Mean, holm};
use copycost::cost::ns_per_kib;
use copycost::internals::cost::meter::Spent;
use copycost::rig::Sample;

/// The probability that any interval of one explanation misses, with Holm's correction.
pub const ALPHA: f64 = 0.05;

/// A mean over set-ups in ns/KiB, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanFigure {
    /// The mean in ns/KiB.
    pub value: f64,
    /// The interval (low, high); `None` with fewer than two set-ups.
    pub interval: Option<(f64, f64)>,
}

/// The CPU time of the threads of one role.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleCost {
    /// The role of the threads.
    pub role: ThreadRole,
    /// CPU time without sampling. If no clock is read, as for ksoftirqd over loopback, it is estimated from the
    /// samples.
    pub demand: MeanFigure,
    /// The demand by class, in the order of [`Class::ALL`]; empty without samples. The sum is the demand.
    pub classes: Vec<(Class, MeanFigure)>,
    /// The number of samples by class, and the innermost functions of samples without a class.
    pub breakdown: Breakdown,
    /// The relative difference between samples times their period and the CPU time of the sampled turns; `None` if no
    /// clock was read.
    pub unscaled_error: Option<f64>,
    /// The share of user space according to the kernel's tick, for roles without samples.
    pub user_share: Option<f64>,
}

/// How much more one path spends than another, for one role and class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The role of the threads.
    pub role: ThreadRole,
    /// The class; `None` means all classes together.
    pub class: Option<Class>,
    /// The path minus the reference in ns/KiB, with the interval at the level at which Holm tested it.
    pub figure: MeanFigure,
    /// Whether the whole interval lies on one side of 0.
    pub decided: bool,
}

/// The time in ns that a sample represents.
fn period(hertz: u64) -> f64 {
    1e9 / hertz.max(1) as f64
}

impl Explained {
    /// The samples of all set-ups together.
    pub fn stacks(&self) -> Stacks {
        let mut all = Stacks::default();
        self.setups.iter().for_each(|setup| all.join(&setup.stacks));
        all
    }

    /// The number of lost samples over all set-ups.
    pub fn lost(&self) -> u64 {
        self.setups.iter().map(|setup| setup.lost).sum()
    }

    /// How much more CPU time both ends need while they are sampled: 0.1 is 10 %. `None` if that is unknown.
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

    /// The cost of each role, at `hertz` samples per second.
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

    /// The demand of a role without sampling in ns/KiB, one value for each set-up that has it.
    fn demands(&self, role: ThreadRole, hertz: u64) -> Vec<f64> {
        self.setups.iter().filter_map(|setup| self.demand_in(setup, role, hertz)).collect()
    }

    /// The demand of each set-up, with the samples that divide it into classes; empty without samples, unless the
    /// demand is zero. A set-up without samples, which happens for ksoftirqd, uses those of all set-ups.
    fn parts(&self, role: ThreadRole, hertz: u64) -> Vec<RoleSample> {
        let whole = Breakdown::of(&self.stacks(), role);
        let part = |setup: &ExplainedSetUp| {
            let of_setup = Breakdown::of(&setup.stacks, role);
            let demand = self.demand_in(setup, role, hertz)?;
            (whole.samples > 0 || demand == 0.0)
                .then(|| (demand, if of_setup.samples > 0 { of_setup } else { whole.clone() }))
        };
        self.setups.iter().filter_map(part).collect()
    }

    fn demand_in(&self, setup: &ExplainedSetUp, role: ThreadRole, hertz: u64) -> Option<f64> {
        let plain = setup.plain.as_ref()?;
        self.demand(plain, role).or_else(|| match role {
            ThreadRole::Sender | ThreadRole::Receiver => None,
            // No clock is read for these roles, but they have samples.
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
        sample.sent
    }
}

/// The demand of a role in a set-up in ns/KiB, and the samples that divide it.
type RoleSample = (f64, Breakdown);

/// The part of each demand that a class takes.
fn values(parts: &[RoleSample], class: Class) -> Vec<f64> {
    parts.iter().map(|(demand, breakdown)| demand * breakdown.share(class).unwrap_or(0.0)).collect()
}

/// The CPU time of a role's threads by their clocks; `None` if these are not read.
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

/// How much more `path` spends than `reference`, for each role and class of either path, and for all classes together.
/// The difference is taken within each set-up, because both paths then meet the same conditions of the machine.
pub fn differences(path: &Explained, reference: &Explained, hertz: u64) -> Vec<Difference> {
    let mut all = Vec::new();
    for role in ThreadRole::ALL {
        let parts = [path, reference].map(|path| path.parts(*role, hertz));
        for class in [None].into_iter().chain(Class::ALL.iter().copied().map(Some)) {
            let [of_path, of_reference] = match class {
                Some(class) => [0, 1].map(|at| values(&parts[at], class)),
                None => [path, reference].map(|path| path.demands(*role, hertz)),
            };
            let differences: Vec<f64> =
                of_path.iter().zip(&of_reference).map(|(path, reference)| path - reference).collect();
            let any = of_path.iter().chain(&of_reference).any(|value| *value > 0.0);
            if let (true, true, Ok(mean)) = (any, of_path.len() == of_reference.len(), Mean::of(&differences))
            {
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
