//! What the process counts, and what it logs.

use zerosend::{Blocking, Policy, ProcessStats, Sender, process_stats};

use crate::common::child::{alone, this_test};
use crate::common::{LONG, content, eventually, pair, reader};

fn deliver(policy: Policy, size: usize, times: usize) -> zerosend::Stats {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = Blocking::new(Sender::with_options(server, policy).unwrap());
    sender.set_timeout(Some(LONG)).unwrap();
    for turn in 0..times {
        sender.send(content(4, turn * size, size)).unwrap();
    }
    sender.drain().unwrap();
    let stats = sender.stats();
    drop(sender);
    assert!(received.join().unwrap().unwrap() == content(4, 0, size * times));
    stats
}

#[test]
fn the_process_counts_what_its_connections_did() {
    alone(this_test!(), || {
        assert_eq!(process_stats().connections, 0);
        let parts = [
            deliver(Policy::Always, 100_000, 30),
            deliver(Policy::Never, 1000, 500),
            deliver(Policy::Auto, 100_000, 3),
        ];
        eventually("the end of all connections", || process_stats().connections == 0);
        let ProcessStats { total, dropped, .. } = process_stats();
        let sum = |count: fn(&zerosend::Stats) -> u64| parts.iter().map(count).sum::<u64>();
        assert_eq!(total.calls_by_reference, sum(|stats| stats.calls_by_reference));
        assert_eq!(total.bytes_by_reference, sum(|stats| stats.bytes_by_reference));
        assert_eq!(total.bytes_copied, sum(|stats| stats.bytes_copied));
        assert_eq!(total.released, total.calls_by_reference);
        assert_eq!(total.released_copied, sum(|stats| stats.released_copied));
        assert_eq!(total.decisions.never, 500);
        assert_eq!(total.decisions.asking, 1);
        assert_eq!((total.in_flight, total.in_flight_bytes), (0, 0));
        assert_eq!(total.report_times.timed, sum(|stats| stats.report_times.timed));
        assert!(total.report_times.timed > 0 && total.report_times.longest > std::time::Duration::ZERO);
        assert_eq!(dropped.leaked_bytes, 0);

        // What is in flight shows while it is, and is gone with its connection.
        let (server, client) = pair();
        let mut sender = crate::common::always(server);
        while sender.try_send(&mut zerosend::Cursor::new(content(4, 0, 50_000))).is_ok() {}
        let _ = sender.reap();
        assert_eq!(process_stats().connections, 1);
        assert!(process_stats().total.in_flight_bytes > 50_000);
        drop(client);
        drop(sender);
        assert!(zerosend::wait_for_dropped(std::time::Instant::now() + LONG));
        eventually("nothing in flight", || process_stats().total.in_flight_bytes == 0);
        assert_eq!(process_stats().connections, 0);
    });
}

#[cfg(feature = "tracing")]
#[test]
fn a_decision_is_logged_once_when_it_changes() {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    alone(this_test!(), || {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(move || writer.clone())
            .init();
        for _ in 0..20 {
            deliver(Policy::Auto, 100_000, 10);
        }
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("zerosend")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        let line = lines[0];
        assert!(
            line.contains("DEBUG") && line.contains("the kernel copies what it is given by reference"),
            "{line}"
        );
        assert!(line.contains("local=127.0.0.1") && line.contains("peer=127.0.0.1"), "{line}");
    });
}
