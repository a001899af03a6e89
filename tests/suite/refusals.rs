//! What a path cannot send is refused when it is set up, in the words of its probe, and never sent otherwise.

use copycost::message::{Buffers, Layout, Spec};
use copycost::rig::Rig;
use copycost::scenario::Scenario;

use crate::common::*;

#[test]
fn what_a_probe_refuses_is_refused_by_the_rig_in_the_same_words() {
    let mut refused = 0;
    for path in paths() {
        for layout in Layout::ALL {
            for buffers in [Buffers::Constant, Buffers::Ring(4)] {
                let spec = Spec { layout: *layout, buffers, ..spec(4097, true) };
                let built = Rig::build(&Scenario::new(path, spec, 1));
                match (path.probe)(&spec) {
                    Ok(()) => drop(built.unwrap_or_else(|error| panic!("{} {layout}: {error}", path.name))),
                    Err(reason) => {
                        refused += 1;
                        let error = built.expect_err(path.name).to_string();
                        assert!(
                            error.contains(&reason.to_string()),
                            "{} {layout} {buffers}: {error}",
                            path.name
                        );
                        // What it can send instead, it says itself; where it can send nothing, that is the reason.
                        let nearest = path.nearest(&spec).map(|nearest| (path.probe)(&nearest).is_ok());
                        assert!(nearest.unwrap_or(true), "{} {layout}", path.name);
                    }
                }
            }
        }
    }
    assert!(refused > 0 || std::env::var_os("COPYCOST_PATH").is_some(), "no path refuses anything");
}
