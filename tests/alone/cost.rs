//! What the ends of a rig say that they spent is what the process spent: nobody else in it does anything.

use crate::common::child::{alone, this_test};
use crate::common::{available, representatives, spec};
use copycost::rig::{Rig, Work};
use copycost::scenario::Scenario;

const CLIENTS: usize = 4;

#[test]
fn the_cpu_time_of_all_threads_is_in_the_sum() {
    alone(this_test!(), || {
        for path in representatives(available(&spec(65_536, false)), 0) {
            let spec = path.nearest(&spec(65_536, false)).unwrap();
            let mut rig = Rig::build(&Scenario::new(path, spec, CLIENTS)).unwrap();
            let sample = rig.run(Work::Rounds(500)).unwrap();
            let threads = (sample.sender.cpu_time() + sample.receiver.cpu_time()).as_secs_f64();
            let process = sample.process.unwrap().time.as_secs_f64();
            println!("{}: {threads} s of {process} s", path.name);
            // The rest is the thread that waits for the others, and the switches, which only the process's clock sees. With
            // one of the ends left out it would be half. No thread spends more than the wall clock shows.
            assert!(threads > 0.6 * process, "{}: {threads} s of {process} s", path.name);
            let most = 2.0 * CLIENTS as f64 * sample.wall.as_secs_f64();
            assert!(threads < most, "{}: {threads} s of {most} s at most", path.name);
        }
    });
}
