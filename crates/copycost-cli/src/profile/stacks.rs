//! Samples as counted stacks of names, the input of flame graphs and of the classification.
//!
//! The text form is that of `stackcollapse-perf`, one line per stack: the role, the frames from the outermost to the
//! innermost, all separated by semicolons, then a space and the count.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::classes;
use super::source::{CopyRegisters, StackSample};
use super::symbols::Symbols;
use super::threads::ThreadRole;

/// The only frame of a sample in user space, which is not divided further.
pub const USER: &str = "user space";

/// The innermost frame of a copy whose destination minus source, modulo 4096, is 1 to 31. On CPUs with the copy hazard
/// such a copy takes many times as long as others (docs/buffer-offsets.md).
pub const HAZARDOUS: &str = "at a hazardous distance";

/// The frame of an address without a name.
const UNKNOWN: &str = "?";

/// The counted stacks of all roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stacks {
    /// The number of samples by role and frames, the outermost frame first.
    pub counts: BTreeMap<(ThreadRole, Vec<Rc<str>>), u64>,
}

impl Stacks {
    /// Counts `sample` for `role`.
    pub fn add(&mut self, role: ThreadRole, sample: &StackSample, symbols: &Symbols) {
        let frames = match sample.user {
            true => vec![Rc::from(USER)],
            false => {
                let name = |address: &u64| Rc::from(symbols.name(*address).unwrap_or(UNKNOWN));
                let mut frames: Vec<Rc<str>> = sample.chain.iter().rev().map(name).collect();
                let copies = frames.last().is_some_and(|innermost| classes::has_the_copy(innermost));
                let hazardous =
                    |copying: CopyRegisters| copying.crosses().is_some() && copying.is_hazardous();
                if copies && sample.copying.is_some_and(hazardous) {
                    frames.push(Rc::from(HAZARDOUS));
                }
                frames
            }
        };
        *self.counts.entry((role, frames)).or_default() += 1;
    }

    /// Adds the counts of `others`.
    pub fn join(&mut self, others: &Self) {
        for (stack, count) in &others.counts {
            *self.counts.entry(stack.clone()).or_default() += count;
        }
    }

    /// The number of samples of a role.
    pub fn of(&self, role: ThreadRole) -> u64 {
        self.counts.iter().filter(|((of, _), _)| *of == role).map(|(_, count)| count).sum()
    }

    /// The roles that have samples.
    pub fn roles(&self) -> Vec<ThreadRole> {
        let mut roles: Vec<_> = self.counts.keys().map(|(role, _)| *role).collect();
        roles.dedup();
        roles
    }

    /// A copy without the branches that hold less than this share of all samples. Their samples count for the frame
    /// from which they branch off.
    #[must_use]
    pub fn pruned(&self, least: f64) -> Self {
        let all: u64 = self.counts.values().sum();
        let least = (all as f64 * least).ceil() as u64;
        let mut within: BTreeMap<(ThreadRole, &[Rc<str>]), u64> = BTreeMap::new();
        for ((role, frames), count) in &self.counts {
            for depth in 1..=frames.len() {
                *within.entry((*role, &frames[..depth])).or_default() += count;
            }
        }
        let mut pruned = Self::default();
        for ((role, frames), count) in &self.counts {
            let wide = |depth: &usize| within[&(*role, &frames[..*depth])] >= least;
            let depth = (1..=frames.len()).take_while(wide).last().unwrap_or(0);
            *pruned.counts.entry((*role, frames[..depth].to_vec())).or_default() += count;
        }
        pruned
    }

    /// The text form, one line per stack.
    pub fn folded(&self) -> Vec<String> {
        let line = |((role, frames), count): (&(ThreadRole, Vec<Rc<str>>), &u64)| {
            let frames: String = frames.iter().flat_map(|frame| [";", frame]).collect();
            format!("{role}{frames} {count}")
        };
        self.counts.iter().map(line).collect()
    }

    /// Parses the text form. Invalid lines are skipped.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut stacks = Self::default();
        for line in lines {
            let Some((stack, count)) = line.rsplit_once(' ') else { continue };
            let mut frames = stack.split(';');
            let role = frames.next().and_then(|role| role.parse().ok());
            if let (Some(role), Ok(count)) = (role, count.parse::<u64>()) {
                let sum = stacks.counts.entry((role, frames.map(Rc::from).collect())).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        stacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stacks() -> Stacks {
        Stacks::parse([
            "sender;entry;send;copy 90",
            "sender;entry;send;copy;check 5",
            "sender;user space 4",
            "receiver;entry;recv 101",
            "no line",
            "nobody;entry 3",
            "sender;entry many",
        ])
    }

    #[test]
    fn samples_are_counted_by_their_names() {
        let symbols = Symbols::parse("10 T entry\n20 T send\n30 T copy\n");
        let mut stacks = Stacks::default();
        for (user, chain) in [(false, vec![0x31, 0x22, 0x15]), (true, vec![]), (false, vec![0x2, 0x22])] {
            let sample = StackSample { thread: 1, user, address: 0, chain, copying: None };
            stacks.add(ThreadRole::Sender, &sample, &symbols);
        }
        assert_eq!(stacks.folded(), ["sender;entry;send;copy 1", "sender;send;? 1", "sender;user space 1"]);
    }

    #[test]
    fn a_copy_at_a_hazardous_distance_gets_its_own_frame() {
        let symbols = Symbols::parse("10 T entry\n20 T rep_movs_alternative\n30 T kfree\n");
        let mut stacks = Stacks::default();
        // The registers belong to a copy only in the function with the copy instruction.
        let user = 0x7f00_0000_9000;
        for (at, destination) in [(0x22, user + 16), (0x22, user + 64), (0x22, user), (0x33, user + 16)] {
            let copying = Some(CopyRegisters { destination, source: 0xffff_8880_0000_5000 });
            stacks.add(
                ThreadRole::Receiver,
                &StackSample { thread: 1, user: false, address: at, chain: vec![at, 0x15], copying },
                &symbols,
            );
        }
        let expected = [
            "receiver;entry;kfree 1",
            "receiver;entry;rep_movs_alternative 2",
            "receiver;entry;rep_movs_alternative;at a hazardous distance 1",
        ];
        assert_eq!(stacks.folded(), expected);
        let breakdown = super::super::breakdown::Breakdown::of(&stacks, ThreadRole::Receiver);
        assert_eq!(
            (breakdown.classes[&classes::Class::Hazard], breakdown.classes[&classes::Class::Copy]),
            (1, 2)
        );
    }

    #[test]
    fn narrow_branches_go_back_to_their_stem() {
        let pruned = stacks().pruned(0.05);
        assert_eq!(pruned.folded(), ["sender 4", "sender;entry;send;copy 95", "receiver;entry;recv 101"]);
        assert_eq!(pruned.of(ThreadRole::Sender), stacks().of(ThreadRole::Sender));
        assert_eq!(stacks().roles(), [ThreadRole::Sender, ThreadRole::Receiver]);
    }

    proptest! {
        #[test]
        fn text_and_stacks_are_the_same(lines in prop::collection::vec("(sender|relay)(;[a-z_ ]{1,9}){0,5} [0-9]{1,6}", 0..20), least in 0.0..1.0f64) {
            let stacks = Stacks::parse(lines.iter().map(String::as_str));
            let folded = stacks.folded();
            prop_assert_eq!(&Stacks::parse(folded.iter().map(String::as_str)), &stacks);
            let pruned = stacks.pruned(least);
            prop_assert_eq!(pruned.counts.values().sum::<u64>(), stacks.counts.values().sum::<u64>());
        }
    }
}
