//! Many sends do not grow memory. One test alone in its process, so that the memory that is counted is its own.

use std::time::Instant;

use crate::common::{status_kib, waiting};
use copycost::message::{Layout, Spec};
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;
use copycost::send::Ledger;

/// How many small messages to send; ten million make a stronger statement and take longer.
const MESSAGES: &str = "COPYCOST_ENDURANCE";

/// What this process holds in memory now, in KiB.
fn resident() -> u64 {
    status_kib("self", "VmRSS")
}

#[test]
fn a_million_small_sends_do_not_grow_memory() {
    let messages: u64 = std::env::var(MESSAGES).map_or(1_000_000, |count| count.parse().unwrap());
    for path in waiting() {
        let spec = Spec { layout: Layout::Arena, ..Spec::new(8).unwrap() };
        let mut rig = Rig::build(&Scenario::new(path, spec, 1)).unwrap();
        let mut total = Ledger::default();
        let mut sent = 0;
        let mut run = |messages| {
            let sample = rig.run(Work::Rounds(messages)).unwrap();
            sent += sample.messages;
            total.add(&sample.ledger);
        };
        run(messages / 10);
        let before = resident();
        let began = Instant::now();
        (0..9).for_each(|_| run(messages / 10));
        let grown = resident().saturating_sub(before);
        eprintln!("{}: {messages} messages of 8 bytes, {:?}, {grown} KiB more", path.name, began.elapsed());
        // One pointer lost in a thousand messages would be far more.
        assert!(grown < 2048, "{}: {grown} KiB more", path.name);
        assert_eq!(sent, messages / 10 * 10, "{}", path.name);
        assert_eq!(total.completed, total.sends);
        // One request takes four messages at most.
        assert!(4 * (total.sends + total.fallbacks + total.plain) >= sent, "{total:?}");
    }
}
