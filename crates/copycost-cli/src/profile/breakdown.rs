//! Counted stacks by class, and the functions that belong to no class.

use std::collections::BTreeMap;

use super::classes::{self, Class};
use super::stacks::{HAZARDOUS, Stacks, USER};
use super::threads::ThreadRole;

/// The samples of one role by class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Breakdown {
    pub samples: u64,
    /// The samples of each class; a class without samples is missing.
    pub classes: BTreeMap<Class, u64>,
    /// The innermost functions of [`Class::Rest`] with their samples, the most frequent first.
    pub rest: Vec<(String, u64)>,
}

impl Breakdown {
    /// Divides the samples of `role` into classes.
    pub fn of(stacks: &Stacks, role: ThreadRole) -> Self {
        let mut breakdown = Self::default();
        let mut rest: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, frames), count) in stacks.counts.iter().filter(|((of, _), _)| *of == role) {
            let innermost = frames.last().map_or("", |frame| frame);
            let class = match innermost {
                USER => Class::User,
                HAZARDOUS => Class::Hazard,
                _ => classes::of(frames.iter().rev().map(AsRef::as_ref)),
            };
            breakdown.samples += count;
            *breakdown.classes.entry(class).or_default() += count;
            if class == Class::Rest {
                *rest.entry(innermost).or_default() += count;
            }
        }
        breakdown.rest = rest.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        breakdown.rest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        breakdown
    }

    /// The share of a class, 0 to 1; `None` without samples.
    pub fn share(&self, class: Class) -> Option<f64> {
        let count = self.classes.get(&class).copied().unwrap_or(0);
        (self.samples > 0).then(|| count as f64 / self.samples as f64)
    }
}
