//! A frame of a control connection, as each end reads it: its length, its JSON, what it means, and its figures added up.
#![no_main]

use copycost::internals::connection::ConnectionOptions;
use copycost::internals::server::{SenderReport, WorkerEvent, WorkerUpdate};
use copycost::rig::Sample;
use copycost_cli::json::disarmed;
use copycost_cli::remote::frame::{self, MOST_FROM_CLIENT, MOST_FROM_SERVER};
use copycost_cli::remote::order::{ServerReply, ServiceOrder, sentence};
use copycost_cli::remote::parse_update;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((header, json)) = data.split_first_chunk() else { return };
    for most in [MOST_FROM_CLIENT, MOST_FROM_SERVER] {
        if let Ok(length) = frame::length(*header, most) {
            assert!(length <= most);
        }
    }
    if let Ok(order) = frame::decode::<ServiceOrder>(json) {
        let frame = frame::encode(&order).expect("what was read can be written");
        assert_eq!(frame::decode::<ServiceOrder>(&frame[4..]).as_ref(), Ok(&order));
        match order.parse(64, ConnectionOptions::for_this_machine()) {
            Ok(understood) => assert!(understood.memory / order.clients <= 2 << 30),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
    match frame::decode::<ServerReply>(json) {
        Ok(ServerReply::News(message)) => drop(message),
        Ok(ServerReply::Refused(reason)) => assert!(!sentence(&reason).contains('\n')),
        Ok(ServerReply::Offered(_)) | Err(_) => {}
    }
    let shown = disarmed(&String::from_utf8_lossy(json)).into_owned();
    if let Ok(Ok(WorkerUpdate { event: WorkerEvent::Report(report), .. })) =
        frame::decode(shown.as_bytes()).map(parse_update)
    {
        add_up(&report);
    }
    // What the ranks of a job send each other. They are builds of one program, so that only reading must be safe.
    let _ = frame::decode::<Sample>(json);
});

/// As a rig does with the reports of its clients, and a cell with those of its runs.
fn add_up(report: &SenderReport) {
    let mut sum = Sample::empty();
    for _ in 0..3 {
        let mut run = Sample::empty();
        run.messages = report.messages;
        run.calls = report.calls;
        run.sender.merge_parallel(&report.spent);
        run.wire = report.wire.clone();
        run.walk += report.walk;
        run.ledger.add(&report.ledger);
        run.drain = report.drain;
        sum.merge_parallel(&run);
        sum.merge_sequential(&run);
    }
    let _ =
        (sum.sender.user_share(), sum.switches_per_message(), sum.ledger.copies(), sum.ledger.judged(None));
    let _ = (sum.ledger.notification_quantiles(), sum.ledger.decisions.to_string(), format!("{sum:?}"));
}
