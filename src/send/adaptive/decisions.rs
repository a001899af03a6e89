//! Which way messages went, and why: what an adaptive sender's ledger tells of its own decisions.

use std::fmt;

use crate::message::words;

/// A way to hand over one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// Copied by one call from where the fields lie, as `onecopy` does.
    Gather,
    /// Gathered into a staging buffer and copied from there, as `flatten` does.
    Flatten,
    /// By reference, as `zerocopy` does.
    Reference,
    /// Small fields copied and large ones by reference, as `hybrid` does.
    Hybrid,
}

words!(Way: Gather = "gather", Flatten = "flatten", Reference = "reference", Hybrid = "hybrid");

impl Way {
    /// How many there are.
    pub(super) const COUNT: usize = Self::ALL.len();

    /// Whether the kernel holds the message's memory until a completion says otherwise.
    pub fn by_reference(self) -> bool {
        matches!(self, Self::Reference | Self::Hybrid)
    }
}

/// Why a message went the way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing is measured yet: what size, fields and link suggest.
    Start,
    /// No other way is thought of for such messages.
    Only,
    /// To measure a way, or to ask the kernel whether it copies.
    Probe,
    /// It was measured to be the cheapest.
    Cheaper,
    /// No difference was measured, so the first stays.
    Equal,
    /// By reference would be the choice, but the kernel copies what it is given so.
    Copied,
    /// By reference would be the choice, but the kernel refuses it for want of memory (ENOBUFS).
    Refused,
}

words!(Reason:
    Start = "start", Only = "only", Probe = "probe", Cheaper = "cheaper", Equal = "equal", Copied = "copied", Refused = "refused"
);

impl Reason {
    const COUNT: usize = Self::ALL.len();
}

/// How often which way, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "form::Told", into = "form::Told")]
pub struct Decisions {
    /// Messages by way and reason, each in the order of its `ALL`.
    messages: [[u64; Reason::COUNT]; Way::COUNT],
    /// How often messages of some size changed their usual way.
    pub switches: u64,
    /// How often by reference was given up because the kernel copied.
    pub given_up_copied: u64,
    /// How often by reference was given up because the kernel refused.
    pub given_up_refused: u64,
}

impl Decisions {
    /// Messages that went this way for this reason.
    pub fn messages(&self, way: Way, reason: Reason) -> u64 {
        self.messages[way as usize][reason as usize]
    }

    /// Messages that went this way.
    pub fn of_way(&self, way: Way) -> u64 {
        self.messages[way as usize].iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Messages of which anything was decided; 0 for a path that decides nothing.
    pub fn total(&self) -> u64 {
        self.messages.iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(super) fn count(&mut self, way: Way, reason: Reason, messages: u64) {
        self.messages[way as usize][reason as usize] += messages;
    }

    /// What was added since `earlier`, a former state of the same decisions.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, |mine, theirs| mine.saturating_sub(theirs))
    }

    /// The sum of two senders' decisions.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |mine, theirs| mine.saturating_add(theirs))
    }

    fn with(&self, other: &Self, both: impl Fn(u64, u64) -> u64) -> Self {
        let mut messages = self.messages;
        for (mine, theirs) in messages.iter_mut().flatten().zip(other.messages.iter().flatten()) {
            *mine = both(*mine, *theirs);
        }
        Self {
            messages,
            switches: both(self.switches, other.switches),
            given_up_copied: both(self.given_up_copied, other.given_up_copied),
            given_up_refused: both(self.given_up_refused, other.given_up_refused),
        }
    }
}

impl fmt::Display for Decisions {
    /// `flatten 98.9 % (cheaper 98.2 %, probe 0.7 %), …; stopped sending by reference 2 times: copied`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total().max(1) as f64;
        let percent = |count: u64| 100.0 * count as f64 / total;
        let mut ways: Vec<Way> = Way::ALL.iter().copied().filter(|way| self.of_way(*way) > 0).collect();
        ways.sort_by_key(|way| std::cmp::Reverse(self.of_way(*way)));
        for (i, way) in ways.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{way} {:.1} %", percent(self.of_way(*way)))?;
            let reasons = Reason::ALL.iter().filter(|reason| self.messages(*way, **reason) > 0);
            let told: Vec<String> = reasons
                .map(|reason| format!("{reason} {:.1} %", percent(self.messages(*way, *reason))))
                .collect();
            write!(f, " ({})", told.join(", "))?;
        }
        for (count, why) in [(self.given_up_copied, Reason::Copied), (self.given_up_refused, Reason::Refused)]
        {
            match count {
                0 => {}
                1 => write!(f, "; stopped sending by reference once: {why}")?,
                _ => write!(f, "; stopped sending by reference {count} times: {why}")?,
            }
        }
        Ok(())
    }
}

/// Decisions as they are kept and sent: in words, so that ways can be added.
mod form {
    use serde::{Deserialize, Serialize};

    use super::{Decisions, Reason, Way};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Told {
        chosen: Vec<Chosen>,
        switches: u64,
        given_up_copied: u64,
        given_up_refused: u64,
    }

    #[derive(Serialize, Deserialize)]
    struct Chosen {
        way: String,
        reason: String,
        messages: u64,
    }

    impl From<Decisions> for Told {
        fn from(decisions: Decisions) -> Self {
            let mut chosen = Vec::new();
            for way in Way::ALL {
                for reason in Reason::ALL {
                    let messages = decisions.messages(*way, *reason);
                    if messages > 0 {
                        chosen.push(Chosen { way: way.to_string(), reason: reason.to_string(), messages });
                    }
                }
            }
            let Decisions { switches, given_up_copied, given_up_refused, .. } = decisions;
            Self { chosen, switches, given_up_copied, given_up_refused }
        }
    }

    impl From<Told> for Decisions {
        /// Words of another version are passed over.
        fn from(told: Told) -> Self {
            let mut messages = Self::default().messages;
            for Chosen { way, reason, messages: count } in told.chosen {
                if let (Ok(way), Ok(reason)) = (way.parse::<Way>(), reason.parse::<Reason>()) {
                    messages[way as usize][reason as usize] = count;
                }
            }
            let Told { switches, given_up_copied, given_up_refused, .. } = told;
            Self { messages, switches, given_up_copied, given_up_refused }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_kept_in_words() {
        let mut decisions = Decisions { switches: 1, ..Decisions::default() };
        decisions.count(Way::Gather, Reason::Equal, 1);
        let text = serde_json::to_string(&decisions).unwrap();
        assert!(text.contains(r#"{"way":"gather","reason":"equal","messages":1}"#), "{text}");
        assert_eq!(serde_json::from_str::<Decisions>(&text).unwrap(), decisions);
        let later = text.replace("gather", "teleport");
        assert_eq!(serde_json::from_str::<Decisions>(&later).unwrap().total(), 0);
    }

    #[test]
    fn decisions_are_told_in_shares_the_most_frequent_way_first() {
        let mut decisions = Decisions { given_up_copied: 2, ..Decisions::default() };
        decisions.count(Way::Reference, Reason::Probe, 1);
        decisions.count(Way::Flatten, Reason::Cheaper, 8);
        decisions.count(Way::Flatten, Reason::Start, 1);
        assert_eq!(
            decisions.to_string(),
            "flatten 90.0 % (start 10.0 %, cheaper 80.0 %), reference 10.0 % (probe 10.0 %); stopped sending \
             by reference 2 times: copied"
        );
        assert_eq!(decisions.total(), 10);
        let twice = decisions.and(&decisions);
        assert_eq!(twice.of_way(Way::Flatten), 18);
        assert_eq!(twice.since(&decisions), decisions);
    }
}
