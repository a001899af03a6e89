//! Messages of several sizes: every path delivers them complete and in any order, and both ends agree on what was sent.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    available, fitting, one_or_all, representatives, spec, verified, window_with_bytes, within,
};
use copycost::message::{Buffers, Fields, Footprint, Layout, Spec};
use copycost::rig::{Rig, Sample, Work};
use copycost::scenario::Scenario;
use copycost::send::SendPath;
use copycost::workload::{MessageClass, TraceLine, Workload};

/// Sizes below a page, of several pages and larger than a send buffer, in every division.
fn mix() -> Arc<Workload> {
    let text = "8B/single:20%,512B:40%,4097B/headed:20%,65536B/64+65472:10%,1MiB/single:10%";
    Arc::new(Workload::mix(text, Fields::Even).unwrap())
}

fn trace(connections: u32) -> Arc<Workload> {
    let sizes = [100, 70_000, 8, 4096, 300_000, 100, 513];
    let line = |(number, size): (u32, usize)| TraceLine {
        message: MessageClass { size, fields: Fields::Single },
        connection: number % connections,
    };
    let lines = (0..20).zip(sizes.into_iter().cycle()).map(line);
    Arc::new(Workload::trace("a trace", lines, connections > 1).unwrap())
}

fn scenario(path: &'static SendPath, base: Spec, clients: usize, workload: &Arc<Workload>) -> Scenario {
    let scenario = verified(path, fitting(path, base), clients);
    scenario.with_workload(Arc::clone(workload)).unwrap().of_set_up(3)
}

/// Runs verified rounds and checks that the counts add up.
fn deliver(scenario: Scenario, rounds: u64) -> Sample {
    within(&scenario.id(), move || {
        let what = format!("{scenario}, {}", scenario.spec);
        let mut rig = Rig::build(&scenario).unwrap_or_else(|error| panic!("{error}: {what}"));
        let sample = rig.run(Work::Rounds(rounds)).unwrap_or_else(|error| panic!("{error}: {what}"));
        let workload = scenario.workload.as_ref().unwrap();
        assert_eq!(sample.sent, rounds * scenario.round_bytes(), "{what}");
        assert!(sample.bytes <= sample.sent && sample.bytes > 0, "{what}");
        let ledger = &sample.ledger;
        assert_eq!((ledger.completed, ledger.undrained, ledger.aborted), (ledger.sends, 0, 0), "{what}");
        assert_eq!(sample.classes.groups().len(), workload.groups().len(), "{what}");
        let timed: u64 = sample.classes.groups().iter().map(|group| group.messages).sum();
        let clients = scenario.clients as u64;
        assert!(
            timed.abs_diff(sample.messages / 13) <= clients * 2,
            "{what}: {timed} of {}",
            sample.messages
        );
        sample
    })
}

#[test]
fn every_path_delivers_a_mix_in_every_layout() {
    for (p, path) in available(&spec(4096, false)).into_iter().enumerate() {
        for (l, layout) in Layout::ALL.iter().enumerate() {
            for buffers in one_or_all(&[Buffers::Constant, Buffers::Ring(3)], p + l) {
                let base = Spec { layout: *layout, buffers, ..spec(4096, false) };
                if (path.probe)(&base).is_ok() {
                    let sample = deliver(scenario(path, base, 1 + (p + l) % 2, &mix()), 6);
                    assert_eq!(sample.messages % 10, 0);
                }
            }
        }
    }
}

#[test]
fn a_pool_fills_the_footprint() {
    for (p, path) in representatives(available(&spec(4096, false)), 1).into_iter().enumerate() {
        for buffers in one_or_all(&[Buffers::Constant, Buffers::Ring(2)], p) {
            let base = Spec { footprint: Footprint::L2, buffers, ..spec(4096, false) };
            deliver(scenario(path, base, 1, &mix()), 12);
        }
    }
}

#[test]
fn a_trace_is_sent_as_it_was_recorded() {
    for (p, path) in representatives(available(&spec(4096, false)), 2).into_iter().enumerate() {
        for connections in one_or_all(&[1, 3, 5], p) {
            for clients in [1, 3] {
                let sample = deliver(scenario(path, spec(4096, false), clients, &trace(connections)), 5);
                let decks = if connections == 1 { clients as u64 } else { 1 };
                // With more clients than connections some play the same one.
                if connections == 1 || clients as u32 <= connections {
                    assert_eq!(sample.messages, 5 * 20 * decks);
                }
            }
        }
    }
}

#[test]
fn every_kind_of_work_on_one_rig() {
    for path in representatives(available(&spec(4096, false)), 0) {
        within(path.name, move || {
            let scenario = scenario(path, spec(4096, false), 2, &mix());
            let mut rig = Rig::build(&scenario).unwrap();
            for _ in 0..2 {
                let window = window_with_bytes(&mut rig);
                assert!(window.sent >= window.bytes, "{window:?}");
                let single = rig.run(Work::Single(7)).unwrap();
                assert_eq!((single.messages, single.latency.len()), (14, 14));
                let rounds = rig.run(Work::Rounds(3)).unwrap();
                assert_eq!((rounds.messages, rounds.sent), (60, 3 * scenario.round_bytes()));
                assert_eq!(rig.run(Work::Rounds(0)).unwrap().sent, 0);
            }
        });
    }
}

#[test]
fn set_ups_differ_in_order_and_agree_among_paths() {
    let of = |name: &str, number| {
        let path = copycost::send::by_name(name).unwrap();
        let scenario =
            Scenario::new(path, spec(64, false), 2).with_workload(mix()).unwrap().of_set_up(number);
        let workload = scenario.workload.clone().unwrap();
        [0, 1].map(|client| workload.deck(scenario.offsets.seed, client, 2))
    };
    assert_eq!(of("onecopy", 1), of("zerocopy", 1));
    assert_ne!(of("onecopy", 1), of("onecopy", 2));
    let [first, second] = of("onecopy", 1);
    assert_ne!(first, second);
}

#[test]
fn what_adaptive_decided_is_known_for_each_size() {
    within("adaptive", || {
        let path = copycost::send::by_name("adaptive").unwrap();
        let scenario = scenario(path, spec(64, false), 1, &mix());
        let mut rig = Rig::build(&scenario).unwrap();
        let mut sample = rig.run(Work::Rounds(200)).unwrap();
        while sample.elapsed < Duration::from_millis(1) {
            sample = rig.run(Work::Rounds(200)).unwrap();
        }
        for group in sample.classes.groups() {
            assert_eq!(group.decisions.total(), group.messages, "{:?}", sample.classes);
            assert!(group.messages > 0 && group.time > Duration::ZERO);
        }
    });
}
