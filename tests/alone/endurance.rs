//! Many sends do not grow memory.

use std::time::Instant;

use crate::common::child::{alone, this_test};
use crate::common::{full, status_kib, waiting};
use crate::counting;
use copycost::message::{Layout, Spec};
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;
use copycost::send::{Ledger, SendPath};

/// How many small messages to send; ten million make a stronger statement and take longer. A tenth of a million is the
/// fast set's: what a message leaves behind is counted, and need not become large.
const MESSAGES: &str = "COPYCOST_ENDURANCE";

/// What this process holds in memory now, in KiB.
fn resident() -> u64 {
    status_kib("self", "VmRSS")
}

#[test]
fn small_sends_do_not_grow_memory() {
    alone(this_test!(), || {
        let default = if full() { 1_000_000 } else { 100_000 };
        let messages: u64 = std::env::var(MESSAGES).map_or(default, |count| count.parse().unwrap());
        waiting().into_iter().for_each(|path| send_many(path, messages));
    });
}

fn send_many(path: &'static SendPath, messages: u64) {
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
    let before = (resident(), counting::live());
    let began = Instant::now();
    (0..9).for_each(|_| run(messages / 10));
    let (grown, live) = (resident().saturating_sub(before.0), counting::live() - before.1);
    println!("{}: {messages} messages of 8 bytes, {:?}, {grown} KiB more", path.name, began.elapsed());
    // A KiB for every 400 messages would be more, whoever gave it.
    assert!(grown < 2048, "{}: {grown} KiB more", path.name);
    // A channel's block, a table that grew: nothing that goes with the messages.
    assert!(live < 100, "{}: {live} allocations more", path.name);
    assert_eq!(sent, messages / 10 * 10, "{}", path.name);
    assert_eq!(total.completed, total.sends);
    // One request takes four messages at most.
    assert!(4 * (total.sends + total.fallbacks + total.plain) >= sent, "{total:?}");
}
