//! Control groups and interfaces as they are now.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use copycost_cli::doctor::{Qdisc, Status};

use super::fixture::{Fixture, expect};

const STAT: &str = "sys/fs/cgroup/bench.slice/run/cpu.stat";

/// The finding on quotas while something counts on in the group's file.
fn quota_while_stopped(machine: &Fixture) -> copycost_cli::doctor::Finding {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for times in 41u64.. {
                // In one step, so that no reader finds half a file.
                machine.write("next", &format!("usage_usec 5\nnr_periods 99\nnr_throttled {times}\n"));
                let _ = fs::rename(machine.path("next"), machine.path(STAT));
                if over.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let finding = machine.of("cpu-quota");
        over.store(true, Ordering::Relaxed);
        finding
    })
}

#[test]
fn a_group_is_judged_by_what_happens_now() {
    let machine = Fixture::healthy();
    machine.write("sys/fs/cgroup/bench.slice/run/cpu.max", "1600000 100000\n");
    machine.write(STAT, "usage_usec 5\nnr_periods 99\nnr_throttled 40\n");
    // Stopped 40 times since its birth, and not now.
    expect(&machine.only("cpu-quota"), Status::Ready, "allows 16.00 CPUs", None);
    let finding = quota_while_stopped(&machine);
    assert_eq!(finding.status, Status::Distorts, "{finding:?}");
    assert!(finding.told.contains("In the last 20 ms it stopped the group"), "{finding:?}");
}

#[test]
fn a_memory_group_is_a_note_or_too_small_for_the_plan() {
    let machine = Fixture::healthy();
    expect(&machine.only("memory-limit"), Status::Ready, "No control group limits the memory", None);
    let group = "sys/fs/cgroup/bench.slice";
    machine.write(&format!("{group}/memory.max"), &format!("{}\n", 2u64 << 30));
    machine.write(&format!("{group}/memory.current"), &format!("{}\n", 1u64 << 30));
    let fix =
        Some("raise the limit of /sys/fs/cgroup/bench.slice (a container: start it with a larger --memory)");
    expect(&machine.only("memory-limit"), Status::Note, "allows 2048 MiB, and 1024 MiB are left", fix);
    machine.write(&format!("{group}/memory.max"), &format!("{}\n", (1u64 << 30) + (20 << 20)));
    expect(&machine.only("memory-limit"), Status::Distorts, "and 20 MiB are left", fix);
}

#[test]
fn loopback_that_is_down_distorts_what_goes_over_it() {
    let mut machine = Fixture::healthy();
    machine.facts.links.get_mut("lo").unwrap().up = Some(false);
    expect(&machine.only("loopback"), Status::Distorts, "lo is down", Some("ip link set lo up"));
    let machine = machine.over("10.1.2.3");
    expect(&machine.of("loopback"), Status::Note, "lo is down", Some("ip link set lo up"));
}

#[test]
fn a_discipline_that_shapes_distorts_and_one_that_queues_does_not() {
    let mut machine = Fixture::healthy();
    let qdisc = |kind: &str, shaping: Option<&str>| Qdisc {
        index: 1,
        kind: kind.into(),
        shaping: shaping.map(Into::into),
    };
    machine.facts.links.get_mut("lo").unwrap().qdiscs = vec![qdisc("fq_codel", None)];
    expect(&machine.only("qdisc"), Status::Ready, "lo has fq_codel, which only queues", None);
    let tbf = qdisc("tbf", Some("at most 9 B/s"));
    machine.facts.links.get_mut("lo").unwrap().qdiscs.push(tbf);
    let fix = Some("tc qdisc del dev lo root");
    expect(&machine.only("qdisc"), Status::Distorts, "tbf at most 9 B/s", fix);
}

#[test]
fn the_kernels_word_on_an_interface_counts_before_the_files() {
    let mut machine = Fixture::healthy();
    machine.facts.links.get_mut("lo").unwrap().mtu = Some(1500);
    assert!(machine.only("mtu").told.contains("1500 bytes"));
}

#[test]
fn a_link_local_address_goes_over_the_interface_of_its_zone() {
    let mut machine = Fixture::healthy().over("fe80::1");
    machine.plan.zone = Some("eth0".into());
    expect(&machine.of("route"), Status::Ready, "fe80::1 is reached over eth0", None);
}
