//! What both ends have said so far, of their seats or of a run.

use super::error::{RigError, Side};
use super::sample::Sample;
use crate::clients::ClientReport;
use crate::cost::pollution::Walk;
use crate::server::{SenderReport, WorkerEvent, WorkerUpdate};

/// What both ends have said so far.
pub(super) struct RunCollector {
    /// By client: whether its sender has said that it is seated, or what the run was.
    senders: Vec<bool>,
    /// By client: whether it has said the same.
    clients: Vec<bool>,
    pub(super) huge_share: Option<f64>,
    pub(super) idle_walk: Walk,
    pub(super) message_offset: Option<u16>,
    reports: Vec<SenderReport>,
    pub(super) receipts: Vec<ClientReport>,
}

/// More names than this are not read.
const MOST_NAMED: usize = 4;

impl RunCollector {
    pub(super) fn new(clients: usize) -> Self {
        let (reports, receipts) = (Vec::with_capacity(clients), Vec::with_capacity(clients));
        let (senders, clients) = (vec![false; clients], vec![false; clients]);
        Self {
            senders,
            clients,
            huge_share: None,
            idle_walk: Walk::default(),
            message_offset: None,
            reports,
            receipts,
        }
    }

    /// Whether every end has spoken.
    pub(super) fn complete(&self) -> bool {
        self.senders.iter().chain(&self.clients).all(|heard| *heard)
    }

    /// The ends that have yet to speak.
    pub(super) fn silent(&self) -> String {
        let of = |side: Side, heard: &[bool]| -> Vec<String> {
            let silent = heard.iter().enumerate().filter(|(_, heard)| !**heard);
            silent.map(|(client, _)| format!("{side} {client}")).collect()
        };
        let all = [of(Side::Server, &self.senders), of(Side::Client, &self.clients)].concat();
        let more = all.len().saturating_sub(MOST_NAMED);
        let named = all[..all.len() - more].join(", ");
        if more > 0 { format!("{named} and {more} more") } else { named }
    }

    pub(super) fn take_receipt(&mut self, client: usize, receipt: ClientReport) {
        self.receipts.push(receipt);
        heard(&mut self.clients, client);
    }

    pub(super) fn take_news(&mut self, news: WorkerUpdate) -> Result<(), RigError> {
        match news.event {
            WorkerEvent::Ready { huge_share, idle_walk, message_offset } => {
                if news.client == 0 {
                    self.message_offset = message_offset;
                }
                heard(&mut self.senders, news.client);
                self.idle_walk += idle_walk;
                self.huge_share = self.huge_share.or(huge_share);
            }
            WorkerEvent::Report(report) => {
                heard(&mut self.senders, news.client);
                self.reports.push(*report);
            }
            WorkerEvent::Failed(failure) => {
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
            sample.sender.merge_parallel(&report.spent);
            sample.walk += report.walk;
            sample.wire = match (sample.wire.take(), report.wire.clone()) {
                (Some(mine), Some(theirs)) => Some(mine.and(theirs)),
                (mine, theirs) => mine.or(theirs),
            };
            sample.ledger.add(&report.ledger);
            sample.throttled = sample.throttled.worse(report.throttled);
            sample.drain = sample.drain.max(report.drain);
        }
        for receipt in &self.receipts {
            sample.receiver.merge_parallel(&receipt.spent);
            sample.latency.add(&receipt.latency);
            sample.add_mapped(receipt.mapped);
        }
        sample
    }
}

/// Notes that the end with this number has spoken; another host may give one that there is not.
fn heard(ends: &mut [bool], number: usize) {
    if let Some(heard) = ends.get_mut(number) {
        *heard = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(client: usize) -> WorkerUpdate {
        WorkerUpdate { client, event: WorkerEvent::Report(Box::default()) }
    }

    #[test]
    fn who_has_not_spoken_is_named() {
        let mut gathered = RunCollector::new(2);
        assert_eq!(gathered.silent(), "the sender of client 0, the sender of client 1, client 0, client 1");
        gathered.take_news(report(0)).unwrap();
        // Twice is not for the other, and a number that there is not is nobody's.
        gathered.take_news(report(0)).unwrap();
        gathered.take_news(report(7)).unwrap();
        assert_eq!(gathered.silent(), "the sender of client 1, client 0, client 1");
        assert!(!gathered.complete());
        assert_eq!(RunCollector::new(3).silent().matches("sender").count(), 3);
        assert!(RunCollector::new(1000).silent().ends_with("the sender of client 3 and 1996 more"));
    }
}
