//! The send loop allocates nothing per message: an allocation costs as much as a small send, and what it costs
//! depends on the allocator and not on the path. Queues of what is in flight give their memory back when nothing is, and grow again.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::child::{alone, this_test};
use crate::common::{available, fitting, spec, within};
use crate::counting;
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::pool::MessagePool;
use copycost::message::Spec;
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;
use copycost::send::{Budget, Release, SendPath, SenderConfig, ZeroCopyLimits, drain};

/// Allocations that the sending thread makes for `messages` messages, after as many to grow what grows once.
fn allocations_of_sender(path: &'static SendPath, spec: Spec, messages: usize) -> u64 {
    let options = ConnectionOptions::for_this_machine();
    let listener = connection::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let client = connection::connect(listener.local_addr().unwrap(), &options).unwrap();
    let (socket, _) = listener.accept().unwrap();
    connection::set_timeouts(&socket, &options).unwrap();
    let reader = thread::Builder::new().spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while client.recv(&mut buffer).unwrap() > 0 {}
    });
    let budget =
        Budget::share(&ZeroCopyLimits::of_process(), 1, socket.options().send_buffer_size().unwrap());
    let mut pool = MessagePool::new(&spec, true).unwrap();
    let mut sender = (path.open)(socket, pool.messages(), SenderConfig::within(budget)).unwrap();
    let mut send = |messages| {
        for _ in 0..messages {
            let message = pool.next(&mut *sender, Duration::from_secs(20)).unwrap();
            sender.send(message).unwrap();
        }
        drain(&mut *sender, Instant::now() + Duration::from_secs(20)).unwrap();
    };
    send(messages);
    let before = counting::of_thread();
    send(messages);
    let made = counting::of_thread() - before;
    drop(sender);
    reader.unwrap().join().unwrap();
    made
}

#[test]
fn nothing_is_allocated_for_a_message() {
    alone(this_test!(), || {
        a_sender_allocates_nothing();
        a_rig_allocates_the_same_for_few_rounds_and_many();
    });
}

fn a_sender_allocates_nothing() {
    for size in [64, 1024, 65536] {
        for ring in [false, true] {
            for path in available(&spec(size, ring)) {
                let made = within(path.name, move || {
                    allocations_of_sender(path, fitting(path, spec(size, ring)), 100)
                });
                // Two queues that double, for a hundred messages.
                let most = if path.release == Release::OnCompletion { 16 } else { 0 };
                assert!(made <= most, "{}, {size} bytes, ring: {ring}: {made}", path.name);
            }
        }
    }
}

fn a_rig_allocates_the_same_for_few_rounds_and_many() {
    for path in available(&spec(1024, false)) {
        let (few, many) = within(path.name, move || {
            let mut rig = Rig::build(&Scenario::new(path, fitting(path, spec(1024, false)), 2)).unwrap();
            let mut allocations = |rounds| {
                let before = counting::of_process();
                rig.run(Work::Rounds(rounds)).unwrap();
                counting::of_process() - before
            };
            (allocations(1000), allocations(10_000))
        });
        // What a run costs by itself is the same for both, but for a block of a channel now and then.
        assert!(many <= few + 8, "{}: {few} allocations for 1,000 rounds, {many} for 10,000", path.name);
    }
}
