//! Collects the messages of both ends, either about their readiness or about a run.

use std::time::Duration;

use super::error::{RigError, Side};
use super::sample::{OpenLoopSample, Sample};
use crate::clients::{ClientReport, GeneratorReport};
use crate::cost::pollution::Walk;
use crate::server::{SenderReport, WorkerEvent, WorkerUpdate};

pub(super) struct RunCollector {
    /// By client: whether its sender has reported that it is ready, or the result of the run.
    senders: Vec<bool>,
    /// The same for the client itself.
    clients: Vec<bool>,
    pub(super) huge_share: Option<f64>,
    pub(super) idle_walk: Walk,
    pub(super) message_offset: Option<u16>,
    sender_reports: Vec<SenderReport>,
    pub(super) client_reports: Vec<ClientReport>,
}

/// A message lists at most this many ends.
const MOST_NAMED: usize = 4;

impl RunCollector {
    pub(super) fn new(clients: usize) -> Self {
        let (sender_reports, client_reports) = (Vec::with_capacity(clients), Vec::with_capacity(clients));
        let (senders, clients) = (vec![false; clients], vec![false; clients]);
        Self {
            senders,
            clients,
            huge_share: None,
            idle_walk: Walk::default(),
            message_offset: None,
            sender_reports,
            client_reports,
        }
    }

    /// Whether every end has reported.
    pub(super) fn complete(&self) -> bool {
        self.senders.iter().chain(&self.clients).all(|heard| *heard)
    }

    /// Names the ends that have not reported.
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

    pub(super) fn take_client_report(&mut self, client: usize, report: ClientReport) {
        self.client_reports.push(report);
        heard(&mut self.clients, client);
    }

    pub(super) fn take_update(&mut self, update: WorkerUpdate) -> Result<(), RigError> {
        match update.event {
            WorkerEvent::Ready { huge_share, idle_walk, message_offset } => {
                if update.client == 0 {
                    self.message_offset = message_offset;
                }
                heard(&mut self.senders, update.client);
                self.idle_walk += idle_walk;
                self.huge_share = self.huge_share.or(huge_share);
            }
            WorkerEvent::Report(report) => {
                heard(&mut self.senders, update.client);
                self.sender_reports.push(*report);
            }
            WorkerEvent::Failed(failure) => {
                let mut ledger = Box::new(self.sample().ledger);
                ledger.add(&failure.ledger);
                return Err(RigError::EndFailed {
                    side: Side::Server,
                    client: update.client,
                    error: failure.error,
                    ledger,
                });
            }
        }
        Ok(())
    }

    pub(super) fn sample(&self) -> Sample {
        let mut sample = Sample::empty();
        for report in &self.sender_reports {
            sample.messages += report.messages;
            sample.calls += report.calls;
            sample.classes.add(&report.classes);
            sample.sender.merge_parallel(&report.spent);
            sample.walk += report.walk;
            sample.wire = match (sample.wire.take(), report.wire.clone()) {
                (Some(a), Some(b)) => Some(a.merge_parallel(b)),
                (a, b) => a.or(b),
            };
            sample.ledger.add(&report.ledger);
            sample.throttled = sample.throttled.worse(report.throttled);
            sample.drain = sample.drain.max(report.drain);
        }
        for report in &self.client_reports {
            sample.sent += report.bytes;
            sample.receiver.merge_parallel(&report.spent);
            sample.latency.add(&report.latency);
            sample.add_mapped(report.mapped);
        }
        sample
    }
}

impl RunCollector {
    /// What the clients received in an open loop, and what the generator did.
    pub(super) fn open_loop_sample(&self, generated: GeneratorReport) -> OpenLoopSample {
        let spans = self.client_reports.iter().filter_map(|report| report.due_span);
        let all = spans.reduce(|all, span| (all.0.min(span.0), all.1.max(span.1)));
        OpenLoopSample {
            due: generated.due,
            received: self.client_reports.iter().map(|report| report.latency.len()).sum(),
            elapsed: all.map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first)),
            lateness: generated.lateness,
            overloaded: generated.overloaded,
        }
    }
}

/// Records that an end has reported. A message from another host may have an invalid number.
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
    fn ends_that_have_not_reported_are_named() {
        let mut collector = RunCollector::new(2);
        assert_eq!(collector.silent(), "the sender of client 0, the sender of client 1, client 0, client 1");
        collector.take_update(report(0)).unwrap();
        // A second report does not count for the other sender, and an invalid number is ignored.
        collector.take_update(report(0)).unwrap();
        collector.take_update(report(7)).unwrap();
        assert_eq!(collector.silent(), "the sender of client 1, client 0, client 1");
        assert!(!collector.complete());
        assert_eq!(RunCollector::new(3).silent().matches("sender").count(), 3);
        assert!(RunCollector::new(1000).silent().ends_with("the sender of client 3 and 1996 more"));
    }
}
