//! The receive paths: each takes what each send path sends, complete and intact where it shows its bytes, and what is
//! said to be mapped adds up.

use crate::common::{
    available, one_or_all, paths, receivers, representatives, spec, verified, window_with_bytes, within,
};
use copycost::recv::ReceivePath;
use copycost::rig::{Rig, RigError, Sample, Work};
use copycost::scenario::Scenario;
use copycost::send::{Release, SendPath};

fn receiving(
    path: &'static SendPath,
    receive: &'static ReceivePath,
    verify: bool,
    size: usize,
    clients: usize,
) -> Scenario {
    Scenario { receive, verify, ..verified(path, spec(size, true), clients) }
}

fn run(scenario: Scenario, rounds: u64) -> Sample {
    let what = format!("{} {}", scenario.id(), scenario.receive.name);
    within(&what.clone(), move || {
        let mut rig = Rig::build(&scenario).unwrap_or_else(|error| panic!("{what}: {error}"));
        let sample = rig.run(Work::Rounds(rounds)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(sample.messages, rounds * scenario.clients as u64, "{what}");
        if let Some(mapped) = &sample.mapped {
            let bytes = rounds * scenario.round_bytes();
            assert_eq!(mapped.mapped + mapped.copied, bytes, "{what}: {mapped:?}");
        }
        sample
    })
}

#[test]
fn everything_that_is_sent_is_received() {
    for (r, (receive, verify)) in receivers().into_iter().enumerate() {
        for (p, path) in paths().into_iter().enumerate() {
            for size in one_or_all(&[8, 1024, 4097, 65_536, 1 << 20], r + p) {
                for clients in one_or_all(&[1, 3], r + p) {
                    if available(&spec(size, true)).iter().any(|there| there.name == path.name) {
                        let rounds = (1 << 20 >> size.ilog2()).clamp(4, 60);
                        run(receiving(path, receive, verify, size, clients), rounds);
                    }
                }
            }
        }
    }
}

#[test]
fn every_kind_of_work_ends() {
    for (r, (receive, verify)) in receivers().into_iter().enumerate() {
        for path in representatives(available(&spec(65_536, true)), r) {
            within(path.name, move || {
                let mut rig = Rig::build(&receiving(path, receive, verify, 65_536, 2)).unwrap();
                window_with_bytes(&mut rig);
                assert_eq!(rig.run(Work::Single(5)).unwrap().latency.len(), 10);
                assert_eq!(rig.run(Work::Rounds(0)).unwrap().bytes, 0);
            });
        }
    }
}

#[test]
fn the_share_of_what_was_mapped_is_told_with_its_reason() {
    for (r, (receive, verify)) in receivers().into_iter().enumerate() {
        for path in representatives(available(&spec(65_536, false)), r) {
            let sample = run(receiving(path, receive, verify, 65_536, 1), 100);
            let Some(mapped) = sample.mapped else { continue };
            let share = mapped.share().unwrap();
            println!("{} from {}: {:.1} % mapped", receive.name, path.name, 100.0 * share);
            assert_eq!(mapped.copy_reason().is_some(), share < 0.95, "{mapped:?}");
            // What the kernel copies to pages of its own as it delivers it lies on single pages.
            let copied_late = path.release == Release::OnCompletion && sample.ledger.copied > 0;
            assert!(!copied_late || share > 0.0, "{}: {mapped:?}", path.name);
        }
    }
}

#[test]
fn what_shows_no_bytes_refuses_to_verify() {
    for (receive, verifies) in receivers() {
        if verifies {
            continue;
        }
        let reason = (receive.probe)(true).unwrap_err().to_string();
        assert!(reason.contains("--verify"), "{reason}");
        let path = available(&spec(64, true))[0];
        let error = Rig::build(&receiving(path, receive, true, 64, 1)).unwrap_err();
        assert!(matches!(error, RigError::Unsupported { path, .. } if path == receive.name), "{error}");
    }
}
