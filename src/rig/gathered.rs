//! What both ends have said of a run so far.

use super::error::{RigError, Side};
use super::sample::Sample;
use crate::cost::pollution::Walk;
use crate::fleet::Receipt;
use crate::server::{News, Report, Told};

/// What both ends have said of a run so far.
pub(super) struct Gathered {
    pub(super) clients: usize,
    pub(super) ready: usize,
    pub(super) huge_share: Option<f64>,
    pub(super) idle_walk: Walk,
    reports: Vec<Report>,
    pub(super) receipts: Vec<Receipt>,
}

impl Gathered {
    pub(super) fn new(clients: usize) -> Self {
        let (reports, receipts) = (Vec::with_capacity(clients), Vec::with_capacity(clients));
        Self { clients, ready: 0, huge_share: None, idle_walk: Walk::default(), reports, receipts }
    }

    pub(super) fn complete(&self) -> bool {
        self.reports.len() >= self.clients && self.receipts.len() >= self.clients
    }

    pub(super) fn take_news(&mut self, news: News) -> Result<(), RigError> {
        match news.told {
            Told::Ready { huge_share, idle_walk } => {
                self.ready += 1;
                self.idle_walk += idle_walk;
                self.huge_share = self.huge_share.or(huge_share);
            }
            Told::Report(report) => self.reports.push(*report),
            Told::Failed(failure) => {
                let mut ledger = Box::new(self.sample().ledger);
                ledger.add(&failure.ledger);
                return Err(RigError::End {
                    side: Side::Server,
                    client: news.client,
                    error: failure.error,
                    ledger,
                });
            }
        }
        Ok(())
    }

    pub(super) fn sample(&self) -> Sample {
        let mut sample = Sample::empty();
        for report in &self.reports {
            sample.messages += report.messages;
            sample.calls += report.calls;
            sample.sender.beside(&report.spent);
            sample.walk += report.walk;
            sample.wire = match (sample.wire.take(), report.wire.clone()) {
                (Some(mine), Some(theirs)) => Some(mine.and(theirs)),
                (mine, theirs) => mine.or(theirs),
            };
            sample.ledger.add(&report.ledger);
            sample.drain = sample.drain.max(report.drain);
        }
        for receipt in &self.receipts {
            sample.receiver.beside(&receipt.spent);
            sample.latency.add(&receipt.latency);
            sample.add_mapped(receipt.mapped);
        }
        sample
    }
}
