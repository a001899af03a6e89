//! The result of one check: a status, a sentence, what it distorts and how to fix it.
//!
//! A finding is plain data, so that the table, the JSON and the exit code are functions of a list of findings.

use serde::Serialize;

/// How much a finding matters for a measurement by copycost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing to do.
    Ready,
    /// Worth knowing; copycost copes with it or records it.
    Note,
    /// The results will be distorted, or a part of the measurement cannot run.
    Distorts,
    /// A file could not be read, so the answer is not known.
    Unreadable,
}

impl Status {
    /// Every status, worst first: the order in which they are printed.
    pub const WORST_FIRST: [Status; 4] = [Status::Distorts, Status::Unreadable, Status::Note, Status::Ready];

    /// The label in front of a printed finding.
    pub fn mark(self) -> &'static str {
        match self {
            Status::Ready => "ready",
            Status::Note => "note",
            Status::Distorts => "distorts",
            Status::Unreadable => "unread",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable id of the check, such as `congestion-control`.
    pub check: &'static str,
    /// How much the finding matters.
    pub status: Status,
    /// What the check found, in one sentence.
    pub told: String,
    /// What the finding distorts, if anything.
    pub effect: Option<String>,
    /// The command or sysctl line to type, for a root shell.
    pub fix: Option<String>,
}

/// A finding without the id of its check. Ids are written only once, in the list of checks.
#[derive(Debug)]
pub(super) struct CheckResult {
    status: Status,
    message: String,
    effect: Option<String>,
    fix: Option<String>,
}

impl CheckResult {
    fn new(status: Status, message: impl Into<String>) -> CheckResult {
        CheckResult { status, message: message.into(), effect: None, fix: None }
    }

    pub(super) fn ready(message: impl Into<String>) -> CheckResult {
        CheckResult::new(Status::Ready, message)
    }

    pub(super) fn note(message: impl Into<String>) -> CheckResult {
        CheckResult::new(Status::Note, message)
    }

    pub(super) fn distorts(message: impl Into<String>) -> CheckResult {
        CheckResult::new(Status::Distorts, message)
    }

    pub(super) fn unreadable(message: impl Into<String>) -> CheckResult {
        CheckResult::new(Status::Unreadable, message)
    }

    pub(super) fn effect(self, effect: impl Into<String>) -> CheckResult {
        CheckResult { effect: Some(effect.into()), ..self }
    }

    pub(super) fn fix(self, fix: impl Into<String>) -> CheckResult {
        CheckResult { fix: Some(fix.into()), ..self }
    }

    pub(super) fn of(self, check: &'static str) -> Finding {
        Finding { check, status: self.status, told: self.message, effect: self.effect, fix: self.fix }
    }
}
