//! How messages went, and why: what the ledger of a path that decides tells of its decisions.

use std::fmt;

use crate::message::words;

/// How a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendMethod {
    /// Copied by the call that sent it.
    Copied,
    /// Its large pieces by reference.
    Reference,
}

words!(SendMethod: Copied = "copied", Reference = "by reference");

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// By reference: a piece of it was large enough.
    Large,
    /// By reference, to see whether the kernel copies: nothing was known of the two addresses.
    Asking,
    /// Copied: no piece was large enough.
    Small,
    /// Copied: between these addresses the kernel copies what it is given by reference.
    KernelCopies,
    /// Copied: between these addresses the kernel has refused (ENOBUFS).
    KernelRefuses,
    /// Copied: another message asks.
    NotKnownYet,
    /// Copied: this connection sends nothing by reference.
    Unable,
}

words!(Reason:
    Large = "large", Asking = "asking", Small = "small", KernelCopies = "the kernel copies", KernelRefuses = "the kernel refuses",
    NotKnownYet = "not known yet", Unable = "not possible"
);

impl Reason {
    const COUNT: usize = Self::ALL.len();

    /// The way that it is a reason for.
    pub fn method(self) -> SendMethod {
        match self {
            Self::Large | Self::Asking => SendMethod::Reference,
            _ => SendMethod::Copied,
        }
    }
}

/// How many messages went which way, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "form::Told", into = "form::Told")]
pub struct Decisions {
    /// In the order of `Reason::ALL`.
    messages: [u64; Reason::COUNT],
}

impl From<zerosend::Decisions> for Decisions {
    fn from(told: zerosend::Decisions) -> Self {
        let mut decisions = Self::default();
        for (reason, messages) in [
            (Reason::Large, told.by_reference),
            (Reason::Asking, told.asking),
            (Reason::Small, told.small),
            (Reason::KernelCopies, told.route_copies),
            (Reason::KernelRefuses, told.route_refuses),
            (Reason::NotKnownYet, told.route_unknown),
            (Reason::Unable, told.unable),
        ] {
            decisions.messages[reason as usize] = messages;
        }
        decisions
    }
}

impl Decisions {
    /// Messages that went as they did for this reason.
    pub fn messages(&self, reason: Reason) -> u64 {
        self.messages[reason as usize]
    }

    /// Messages that went this way.
    pub fn by_method(&self, way: SendMethod) -> u64 {
        let of_way = Reason::ALL.iter().filter(|reason| reason.method() == way);
        of_way.fold(0, |sum, reason| sum.saturating_add(self.messages(*reason)))
    }

    /// Messages of which anything was decided; 0 for a path that decides nothing.
    pub fn total(&self) -> u64 {
        self.messages.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What was added since `earlier`, a former state of the same decisions.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// The sum of two senders' decisions.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(&self, other: &Self, both: impl Fn(u64, u64) -> u64) -> Self {
        let mut messages = self.messages;
        messages.iter_mut().zip(other.messages).for_each(|(mine, theirs)| *mine = both(*mine, theirs));
        Self { messages }
    }
}

impl fmt::Display for Decisions {
    /// `copied 98.9 % (the kernel copies 98.2 %, not known yet 0.7 %), by reference 1.1 % (asking 1.1 %)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total().max(1) as f64;
        let percent = |count: u64| 100.0 * count as f64 / total;
        let mut ways: Vec<SendMethod> =
            SendMethod::ALL.iter().copied().filter(|way| self.by_method(*way) > 0).collect();
        ways.sort_by_key(|way| std::cmp::Reverse(self.by_method(*way)));
        for (i, way) in ways.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{way} {:.1} %", percent(self.by_method(*way)))?;
            let reasons =
                Reason::ALL.iter().filter(|reason| reason.method() == *way && self.messages(**reason) > 0);
            let told: Vec<String> =
                reasons.map(|reason| format!("{reason} {:.1} %", percent(self.messages(*reason)))).collect();
            write!(f, " ({})", told.join(", "))?;
        }
        Ok(())
    }
}

/// Decisions as they are kept and sent: in words, so that reasons can be added.
mod form {
    use serde::{Deserialize, Serialize};

    use super::{Decisions, Reason};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Told {
        chosen: Vec<Chosen>,
    }

    #[derive(Serialize, Deserialize)]
    struct Chosen {
        way: String,
        reason: String,
        messages: u64,
    }

    impl From<Decisions> for Told {
        fn from(decisions: Decisions) -> Self {
            let chosen = |reason: &Reason| {
                let messages = decisions.messages(*reason);
                let told =
                    || Chosen { way: reason.method().to_string(), reason: reason.to_string(), messages };
                (messages > 0).then(told)
            };
            Self { chosen: Reason::ALL.iter().filter_map(chosen).collect() }
        }
    }

    impl From<Told> for Decisions {
        /// Words of another version are passed over.
        fn from(told: Told) -> Self {
            let mut decisions = Self::default();
            for Chosen { way, reason, messages } in told.chosen {
                if let Ok(reason) = reason.parse::<Reason>()
                    && reason.method().to_string() == way
                {
                    decisions.messages[reason as usize] = messages;
                }
            }
            decisions
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(counts: &[(Reason, u64)]) -> Decisions {
        let mut decisions = Decisions::default();
        counts.iter().for_each(|(reason, messages)| decisions.messages[*reason as usize] = *messages);
        decisions
    }

    #[test]
    fn decisions_are_kept_in_words() {
        let decisions = decisions(&[(Reason::KernelCopies, 1)]);
        let text = serde_json::to_string(&decisions).unwrap();
        assert!(text.contains(r#"{"way":"copied","reason":"the kernel copies","messages":1}"#), "{text}");
        assert_eq!(serde_json::from_str::<Decisions>(&text).unwrap(), decisions);
        let later = text.replace("the kernel copies", "the moon is full");
        assert_eq!(serde_json::from_str::<Decisions>(&later).unwrap().total(), 0);
        // As version 0.1.0 wrote them until November 2026.
        let earlier = r#"{"chosen":[{"way":"flatten","reason":"cheaper","messages":3}],"switches":1,"given_up_copied":0,"given_up_refused":0}"#;
        assert_eq!(serde_json::from_str::<Decisions>(earlier).unwrap().total(), 0);
    }

    #[test]
    fn decisions_are_told_in_shares_the_most_frequent_way_first() {
        let decisions =
            decisions(&[(Reason::Asking, 1), (Reason::KernelCopies, 8), (Reason::NotKnownYet, 1)]);
        assert_eq!(
            decisions.to_string(),
            "copied 90.0 % (the kernel copies 80.0 %, not known yet 10.0 %), by reference 10.0 % (asking 10.0 %)"
        );
        assert_eq!(decisions.total(), 10);
        let twice = decisions.and(&decisions);
        assert_eq!(twice.by_method(SendMethod::Copied), 18);
        assert_eq!(twice.since(&decisions), decisions);
    }

    #[test]
    fn every_count_of_zerosend_has_a_reason() {
        let mut told = zerosend::Decisions::default();
        for count in [
            &mut told.by_reference,
            &mut told.asking,
            &mut told.small,
            &mut told.route_copies,
            &mut told.route_refuses,
            &mut told.route_unknown,
            &mut told.unable,
        ] {
            *count = 1;
        }
        let decisions = Decisions::from(told);
        assert!(Reason::ALL.iter().all(|reason| decisions.messages(*reason) == 1), "{decisions}");
    }
}
