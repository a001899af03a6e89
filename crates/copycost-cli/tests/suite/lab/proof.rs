//! What arrives, and what the probe says of how it was sent.

use std::sync::Arc;
use std::time::Duration;

use copycost::message::{Layout, Spec};
use copycost::rig::{Site, Work};
use copycost::scenario::ConnectionOptions;
use copycost::scenario::Placement;
use copycost::scenario::Scenario;
use copycost::send::{Copies, Reason, Release, SendMethod, SendPath, USUAL, by_name};
use copycost_cli::lab::{Lab, LabSite};

use super::{ip, possible, xdp};
use crate::common::full;
use crate::common::{available, receivers, spec, verified, within};
use crate::program::{Program, length, received_by, results, sample};

fn in_lab(path: &'static SendPath, spec: Spec, clients: usize) -> Scenario {
    let placement = Placement::Split;
    Scenario { options: ConnectionOptions::for_a_lab(), placement, ..verified(path, spec, clients) }
}

#[test]
fn every_path_delivers_every_byte() {
    if !possible() {
        return;
    }
    let lab = Arc::new(Lab::start().unwrap());
    let cells = [(8, false, 1), (1024, true, 3), (4097, true, 1), (65_536, true, 3), (1 << 20, true, 1)];
    for (number, (size, ring, clients)) in cells.into_iter().enumerate() {
        for (place, path) in available(&spec(size, ring)).into_iter().enumerate() {
            // Every path; otherwise than in the full set in one of the cells.
            if !full() && place % cells.len() != number {
                continue;
            }
            let (lab, scenario) = (Arc::clone(&lab), in_lab(path, spec(size, ring), clients));
            within(&format!("{scenario}"), move || deliver(&LabSite(lab), &scenario));
        }
    }
}

#[test]
fn every_receive_path_takes_what_every_send_path_sends() {
    if !possible() {
        return;
    }
    let lab = Arc::new(Lab::start().unwrap());
    for (receive, verify) in receivers() {
        for path in sample(available(&spec(65_536, true))) {
            let in_lab = in_lab(path, spec(65_536, true), 2);
            let (lab, scenario) = (Arc::clone(&lab), Scenario { receive, verify, ..in_lab });
            within(&format!("{scenario} by {}", receive.name), move || deliver(&LabSite(lab), &scenario));
        }
        let run = [
            "run",
            "--over",
            "lab",
            "--receive",
            receive.name,
            "-p",
            "onecopy",
            "-s",
            "64KiB",
            "--seconds",
            "0.05",
        ];
        let results = results(&Program::run(&[&run[..], &["--format", "json"]].concat()).good());
        assert_eq!((results.records.len(), results.failures.len()), (1, 0), "{:?}", results.failures);
        received_by(&results.records[0], receive);
    }
}

fn deliver(site: &LabSite, scenario: &Scenario) {
    let rounds = (1 << 20) / scenario.spec.size.max(512) as u64 / scenario.clients as u64 + 1;
    let sample = site
        .build(scenario)
        .and_then(|mut rig| rig.run(Work::Rounds(rounds)))
        .unwrap_or_else(|error| panic!("{scenario}: {error}"));
    assert!(sample.bytes >= scenario.spec.size as u64, "{scenario}");
    let relayed = sample.relayed.expect("the relay's account");
    assert!(relayed.frames > 0 && relayed.cpu.is_some(), "{scenario}: {relayed:?}");
}

#[test]
fn the_probe_tells_reference_from_copy_as_the_kernel_does() {
    if !possible() {
        return;
    }
    let lab = Arc::new(Lab::start().unwrap());
    assert_eq!(lab.tapped(), None, "a packet tap would spoil this test");
    for layout in [Layout::Heap, Layout::Huge] {
        let spec = Spec { layout, ..spec(65_536, false) };
        for path in available(&spec) {
            let probed = lab.probed(&in_lab(path, spec, 1));
            eprintln!("{}, {layout}: {} ({})", path.name, probed.copies, probed.observation);
            // What may be written again as soon as the send returns was copied, whatever else the path does.
            if path.release == Release::OnReturn {
                assert_eq!(probed.copies, Copies::Copied, "{}: {}", path.name, probed.observation);
            }
        }
        let zero_copy = in_lab(by_name("zerocopy").unwrap(), spec, 1);
        assert_eq!(lab.probed(&zero_copy).copies, Copies::ByReference);
        let site = LabSite(Arc::clone(&lab));
        let sample = site.build(&zero_copy).unwrap().run(Work::Rounds(64)).unwrap();
        assert!(sample.ledger.completed >= 64 && sample.ledger.copied == 0, "{:?}", sample.ledger);
    }
}

/// Nothing else here makes `adaptive` hold memory for long: over loopback it asks once, and copies.
#[test]
fn adaptive_goes_by_reference_where_nothing_is_copied_and_delivers_what_it_holds() {
    if !possible() {
        return;
    }
    let lab = Arc::new(Lab::start().unwrap());
    let spec = Spec { layout: Layout::Huge, ..spec(256 << 10, true) };
    let scenario = in_lab(by_name("adaptive").unwrap(), spec, 2);
    within("adaptive", move || {
        let sample = LabSite(lab).build(&scenario).unwrap().run(Work::Rounds(200)).unwrap();
        let (ledger, decisions) = (&sample.ledger, &sample.ledger.decisions);
        assert!(decisions.by_method(SendMethod::Reference) > 200, "{decisions}");
        assert!(ledger.completed > 0 && ledger.completed == ledger.sends, "{ledger:?}");
        assert_eq!((ledger.copied, decisions.messages(Reason::KernelCopies)), (0, 0), "{decisions}");
    });
}

#[test]
fn a_program_that_only_passes_fools_the_kernels_word_and_not_the_probe() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("pass.o");
    std::fs::write(&object, xdp::pass()).unwrap();
    for mode in ["xdpdrv", "xdpgeneric"] {
        let lab = Arc::new(Lab::start().unwrap());
        let wire = lab.network().ends()[1].name.clone();
        ip(&[
            "-n",
            &wire,
            "link",
            "set",
            "dev",
            "wire-a",
            mode,
            "obj",
            object.to_str().unwrap(),
            "sec",
            "xdp",
        ]);
        let zero_copy = in_lab(by_name("zerocopy").unwrap(), spec(65_536, false), 1);
        let probed = lab.probed(&zero_copy);
        let mut rig = LabSite(Arc::clone(&lab)).build(&zero_copy).unwrap();
        let ledger = rig.run(Work::Rounds(64)).unwrap().ledger;
        eprintln!(
            "{mode}: {} ({}), {} of {} copied",
            probed.copies, probed.observation, ledger.copied, ledger.completed
        );
        // On the link itself the kernel is fooled; before it, it still sees its own copy.
        let fooled = mode == "xdpdrv";
        assert!(ledger.completed >= 64 && (ledger.copied == 0) == fooled, "{mode}: {ledger:?}");
        assert_eq!(probed.copies, Copies::Copied, "{mode}: {}", probed.observation);
    }
}

#[test]
fn every_record_holds_the_proof_and_the_cost_of_the_way() {
    if !possible() {
        return;
    }
    let arguments =
        ["run", "--over", "lab", "--verify", "--latency", "-s", "64KiB", "-c", "1,2", "--layout", "huge"];
    let json = ["--format", "json"];
    let told = results(&Program::run(&[&arguments[..], &length("0.2"), &json].concat()).good());
    assert_eq!((told.records.len(), told.failures.len()), (2 * USUAL.len(), 0), "{:?}", told.failures);
    for record in &told.records {
        assert_eq!((record.transport.as_str(), record.placement.as_str()), ("lab", "split"));
        let lab = record.lab.as_ref().expect("what the way cost");
        let word = if record.path == "zerocopy" { "by reference (probed)" } else { "copied" };
        assert_eq!((lab.probe.as_str(), record.verdict.as_deref()), (word, Some(word)), "{record:?}");
        let parts = [record.cpu.sender_ns_per_kib, record.cpu.receiver_ns_per_kib, lab.relay_ns_per_kib];
        let parts: f64 = parts.iter().map(|part| part.expect("a part")).sum::<f64>()
            + lab.ksoftirqd_ns_per_kib.unwrap_or_default();
        let sum = lab.sum_ns_per_kib.expect("the sum");
        assert!((sum - parts).abs() < 0.01 * sum, "{record:?}");
        assert!(lab.frames > 0 && record.latency_ns.is_some());
        assert!(lab.mean_frame_bytes.unwrap() > 10_000.0, "frames stay whole: {lab:?}");
    }
    assert!(
        told.verdict.iter().any(|sentence| sentence.contains("The lab stands for")),
        "{:?}",
        told.verdict
    );
}

#[test]
fn a_load_that_does_not_wait_goes_by_reference_too() {
    if !possible() {
        return;
    }
    let arguments =
        ["run", "--over", "lab", "--verify", "--rate", "300", "-s", "64KiB", "-p", "onecopy,zerocopy"];
    let json = ["--layout", "huge", "--format", "json"];
    let found = results(&Program::run(&[&arguments[..], &length("0.4"), &json].concat()).good());
    assert_eq!(found.failures, []);
    for point in &found.load_curves[0].points {
        let word = if point.path == "zerocopy" { "by reference (probed)" } else { "copied" };
        assert_eq!(point.verdict.as_deref(), Some(word), "{point:?}");
        assert!(point.due > 0 && point.received <= point.due, "{point:?}");
        let pinned = point.ledger.as_ref().map_or(0, |ledger| ledger.peak_in_flight_bytes);
        assert_eq!(pinned >= 65_536, point.path == "zerocopy", "{point:?}");
    }
    assert!(
        found.verdict.iter().any(|sentence| sentence.contains("The lab stands for")),
        "{:?}",
        found.verdict
    );
}

#[test]
fn a_tap_inside_is_named() {
    if !possible() {
        return;
    }
    let lab = Lab::start().unwrap();
    assert_eq!(lab.tapped(), None);
    let end = &lab.network().server.name;
    // iproute2's own monitor opens no packet socket, so this needs a tool that does.
    if !super::works("tcpdump", &["--version"]) {
        return crate::common::skip("no tcpdump to tap the lab");
    }
    let command = ["netns", "exec", end.as_str(), "tcpdump", "-i", "eth0", "-w", "/dev/null"];
    let mut tap = std::process::Command::new("ip").args(command).spawn().unwrap();
    crate::common::eventually("the tap is seen", || lab.tapped().is_some());
    let told = lab.tapped().unwrap();
    assert!(told.contains("tcpdump (pid ") && told.contains(end.as_str()), "{told}");
    tap.kill().unwrap();
    tap.wait().unwrap();
    crate::common::eventually("it is gone", || lab.tapped().is_none());
}

#[test]
fn the_wire_can_be_held_and_goes_on() {
    if !possible() {
        return;
    }
    let lab = Lab::start().unwrap();
    let options = ConnectionOptions {
        stall_timeout: Duration::from_secs(5),
        nodelay: true,
        ..ConnectionOptions::for_a_lab()
    };
    let listener = lab.listen(&options).unwrap();
    let far = lab.connect(listener.local_addr().unwrap(), &options).unwrap();
    let (near, _) = listener.accept().unwrap();
    let held = lab.hold().unwrap();
    assert_eq!(near.send(b"held", copycost::internals::sys::socket::SendFlags::NONE).unwrap(), 4);
    let soon = std::time::Instant::now() + Duration::from_millis(100);
    assert_eq!(far.readable_by(soon).unwrap(), copycost::internals::sys::socket::WakeReason::Late);
    drop(held);
    let mut bytes = [0; 4];
    assert!(far.recv_exact(&mut bytes, std::time::Instant::now() + Duration::from_secs(5)).unwrap());
    assert_eq!(&bytes, b"held");
}
