//! Many clients need many open files: the soft limit is raised where the hard one allows it, and where it does
//! not, one sentence says what to do.

use crate::common::child::{Wanted, role, this_test, works};
use crate::common::{available, representatives, skip, spec, verified};
use copycost::rig::{Rig, RigError, Work};
use copycost::scenario::MAX_CLIENTS;
use copycost::send;

const PRLIMIT: &str = "open files are limited with prlimit (util-linux)";

#[test]
fn a_low_soft_limit_is_raised() {
    let test = this_test!();
    if role(test).is_some() {
        for path in representatives(available(&spec(1024, true)), 0) {
            let mut rig = Rig::build(&verified(path, spec(1024, true), 40)).unwrap();
            assert_eq!(rig.run(Work::Rounds(2)).unwrap().messages, 80);
        }
    } else if works("prlimit", &["--nofile=64:1024", "true"]) {
        Wanted::new(test, "limited", &["prlimit", "--nofile=64:1024"]).run();
    } else {
        skip(PRLIMIT);
    }
}

#[test]
fn a_low_hard_limit_is_explained() {
    let test = this_test!();
    if role(test).is_some() {
        let error = Rig::build(&verified(&send::ALL[0], spec(1024, true), MAX_CLIENTS)).unwrap_err();
        assert!(matches!(error, RigError::OpenFiles { clients: MAX_CLIENTS, hard: 256, .. }), "{error:?}");
        assert!(error.to_string().contains("hard limit is 256"), "{error}");
        // What fits is still served.
        Rig::build(&verified(&send::ALL[0], spec(1024, true), 4)).unwrap();
    } else if works("prlimit", &["--nofile=64:256", "true"]) {
        Wanted::new(test, "limited", &["prlimit", "--nofile=64:256"]).run();
    } else {
        skip(PRLIMIT);
    }
}
