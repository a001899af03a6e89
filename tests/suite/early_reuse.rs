//! The fault that verification is there to find: a sender that forgets that the kernel still holds a message,
//! so that it is written again before it is sent. It is possible on loopback: data in the write queue is still
//! by reference. If this were not caught, "intact" in every other test would mean nothing.

use crate::common::forgetful::Forgetful;
use crate::common::slow::SLOW;
use crate::common::{at_once, available, end_of, skip, spec, taking, verified, within};
use copycost::message::{Buffers, Spec};
use copycost::rig::{Rig, RigError, Sample, Work};
use copycost::scenario::Scenario;
use copycost::send::{Release, SendPath};

static FORGETFUL: SendPath = SendPath {
    name: "forgetful",
    description: "for tests",
    aliases: &[],
    release: Release::OnReturn,
    delays: false,
    probe: |_| Ok(()),
    open: |socket, _, _| Ok(Box::new(Forgetful::new(socket))),
};

/// Between what fails to show the fault: of smaller messages the queue holds only such that wait for an
/// acknowledgement, and whoever writes into those does no harm on loopback; of larger ones it does not hold
/// as many as there are in turn, so that the first has left before it is written again.
const SIZES: [usize; 2] = [65536, 100_000];

/// More than all socket buffers hold.
const ROUNDS: u64 = 100;

fn run(path: &'static SendPath, size: usize) -> Result<Sample, RigError> {
    within(path.name, move || {
        // Two in turn: even where sysctls cap the send buffer it holds the one while the other is written.
        let spec = Spec { buffers: Buffers::Ring(2), ..spec(size, true) };
        let scenario = Scenario { receive: &SLOW, ..verified(path, spec, 1) };
        Rig::build(&scenario)?.run(Work::Rounds(ROUNDS))
    })
}

#[test]
fn a_message_written_before_the_kernel_let_go_is_caught_and_its_first_wrong_byte_named() {
    if available(&spec(8, true)).iter().all(|path| path.release != Release::OnCompletion) {
        return skip("no path of this machine sends by reference, so nothing can be written too early");
    }
    for size in SIZES {
        let error = end_of(run(&FORGETFUL, size));
        assert!(
            error.starts_with("client 0 failed: message ") && error.contains(" is wrong from byte "),
            "{error}"
        );
    }
}

#[test]
fn the_honest_paths_pass_under_the_same_stall() {
    at_once(taking(&spec(8, true)), 1 << 20, |path| {
        for size in SIZES {
            let sample = run(path, size).unwrap_or_else(|error| panic!("{}: {error}", path.name));
            assert_eq!(sample.messages, ROUNDS);
        }
    });
}
