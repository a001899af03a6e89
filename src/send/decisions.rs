//! How messages were sent, and why: the decisions of a path that chooses, as its ledger shows them.

use std::fmt;

use crate::names::named_enum;

/// How a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendMethod {
    /// Copied by the call that sent it.
    Copied,
    /// Its large pieces were sent by reference.
    Reference,
}

named_enum!(SendMethod: Copied = "copied", Reference = "by reference");

/// Why a message was sent as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// By reference: a piece was large enough.
    Large,
    /// By reference, to find out whether the kernel copies between the two addresses.
    Asking,
    /// Copied: no piece was large enough.
    Small,
    /// Copied: between these addresses the kernel copies data that is sent by reference.
    KernelCopies,
    /// Copied: between these addresses the kernel has refused sends by reference (ENOBUFS).
    KernelRefuses,
    /// Copied: another message is finding out whether the kernel copies.
    NotKnownYet,
    /// Copied: this connection cannot send by reference.
    Unable,
}

named_enum!(Reason:
    Large = "large", Asking = "asking", Small = "small", KernelCopies = "the kernel copies", KernelRefuses = "the kernel refuses",
    NotKnownYet = "not known yet", Unable = "not possible"
);

impl Reason {
    const COUNT: usize = Self::ALL.len();

    /// The method that it is a reason for.
    pub fn method(self) -> SendMethod {
        match self {
            Self::Large | Self::Asking => SendMethod::Reference,
            _ => SendMethod::Copied,
        }
    }
}

/// How many messages were sent for each reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "form::Stored", into = "form::Stored")]
pub struct Decisions {
    /// In the order of `Reason::ALL`.
    messages: [u64; Reason::COUNT],
}

impl From<zerosend::Decisions> for Decisions {
    fn from(counts: zerosend::Decisions) -> Self {
        let mut decisions = Self::default();
        for (reason, messages) in [
            (Reason::Large, counts.by_reference),
            (Reason::Asking, counts.asking),
            (Reason::Small, counts.small),
            (Reason::KernelCopies, counts.route_copies),
            (Reason::KernelRefuses, counts.route_refuses),
            (Reason::NotKnownYet, counts.route_unknown),
            (Reason::Unable, counts.unable),
        ] {
            decisions.messages[reason as usize] = messages;
        }
        decisions
    }
}

impl Decisions {
    /// Messages that were sent as they were for this reason.
    pub fn messages(&self, reason: Reason) -> u64 {
        self.messages[reason as usize]
    }

    /// Messages that were sent by this method.
    pub fn by_method(&self, method: SendMethod) -> u64 {
        let reasons = Reason::ALL.iter().filter(|reason| reason.method() == method);
        reasons.fold(0, |sum, reason| sum.saturating_add(self.messages(*reason)))
    }

    /// All messages with a decision; 0 for a path that has no choice.
    pub fn total(&self) -> u64 {
        self.messages.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The difference to `earlier`, a former state of the same decisions.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// The sum of two senders' decisions.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let mut messages = self.messages;
        messages.iter_mut().zip(other.messages).for_each(|(count, other)| *count = combine(*count, other));
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
            let shares: Vec<String> =
                reasons.map(|reason| format!("{reason} {:.1} %", percent(self.messages(*reason)))).collect();
            write!(f, " ({})", shares.join(", "))?;
        }
        Ok(())
    }
}

/// The serialised form: names instead of positions, so that reasons can be added.
mod form {
    use serde::{Deserialize, Serialize};

    use super::{Decisions, Reason};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Stored {
        chosen: Vec<Chosen>,
    }

    #[derive(Serialize, Deserialize)]
    struct Chosen {
        way: String,
        reason: String,
        messages: u64,
    }

    impl From<Decisions> for Stored {
        fn from(decisions: Decisions) -> Self {
            let chosen = |reason: &Reason| {
                let messages = decisions.messages(*reason);
                let entry =
                    || Chosen { way: reason.method().to_string(), reason: reason.to_string(), messages };
                (messages > 0).then(entry)
            };
            Self { chosen: Reason::ALL.iter().filter_map(chosen).collect() }
        }
    }

    impl From<Stored> for Decisions {
        /// Ignores unknown names of another version.
        fn from(stored: Stored) -> Self {
            let mut decisions = Self::default();
            for Chosen { way, reason, messages } in stored.chosen {
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
    fn decisions_are_serialised_by_name() {
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
    fn decisions_are_shown_in_shares_by_frequency() {
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
        let mut counts = zerosend::Decisions::default();
        for count in [
            &mut counts.by_reference,
            &mut counts.asking,
            &mut counts.small,
            &mut counts.route_copies,
            &mut counts.route_refuses,
            &mut counts.route_unknown,
            &mut counts.unable,
        ] {
            *count = 1;
        }
        let decisions = Decisions::from(counts);
        assert!(Reason::ALL.iter().all(|reason| decisions.messages(*reason) == 1), "{decisions}");
    }
}
