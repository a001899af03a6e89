//! CPUs, quotas, clocks and counters.

use copycost_cli::doctor::{Status, Support};

use super::fixture::{Fixture, expect};

#[test]
fn one_cpu_distorts() {
    let mut machine = Fixture::healthy();
    machine.facts.allowed_cpus = vec![3];
    expect(&machine.of("cpus"), Status::Distorts, "Only one CPU for 16 threads", Some("taskset -pc 0-15 $$"));
    expect(
        &machine.of("cpuset"),
        Status::Note,
        "1 of 16 online CPUs may be used (3)",
        Some("taskset -pc 0-15 $$ (a container: start it without --cpuset-cpus)"),
    );
    machine.write("sys/devices/system/cpu/online", "3\n");
    expect(&machine.of("cpus"), Status::Distorts, "Only one CPU", Some("give this machine a second CPU"));
}

#[test]
fn more_clients_than_cpus_is_a_note() {
    let mut machine = Fixture::healthy();
    machine.facts.allowed_cpus = vec![0, 1];
    machine.write("sys/devices/system/cpu/online", "0-1\n");
    expect(&machine.only("cpus"), Status::Note, "2 CPUs for 16 threads", None);
}

#[test]
fn other_programs_distort_by_the_time_that_threads_wait_or_by_the_load_average() {
    let machine = Fixture::healthy();
    let fix = Some("wait some seconds, or stop what runs (`top` shows it)");
    expect(&machine.of("load"), Status::Ready, "load average of the last minute is 0.1", None);
    machine.write("proc/loadavg", "54.00 50.00 40.00 60/123 4567\n");
    expect(&machine.only("load"), Status::Distorts, "is 54.0, with 16 CPUs", fix);
    let pressure = |percent: &str| {
        machine.write("proc/pressure/cpu", &format!("some avg10={percent} avg60=0.00 avg300=0.00 total=1\n"));
        machine.of("load")
    };
    // What waits now counts for more than what ran in the last minute.
    expect(&pressure("1.00"), Status::Ready, "waited for a CPU 1 % of the time", None);
    expect(&pressure("43.20"), Status::Distorts, "waited for a CPU 43 % of the time", fix);
}

#[test]
fn siblings_are_a_note() {
    let machine = Fixture::healthy();
    for cpu in 0..16 {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        machine.write(&path, &format!("{},{}\n", cpu % 8, cpu % 8 + 8));
    }
    let fix = Some("echo off > /sys/devices/system/cpu/smt/control");
    expect(&machine.only("smt"), Status::Note, "16 CPUs are threads of 8 cores (CPUs 0,8 share one)", fix);
}

#[test]
fn a_quota_of_a_parent_group_that_throttled_distorts() {
    let machine = Fixture::healthy();
    machine.write("sys/fs/cgroup/bench.slice/cpu.max", "150000 100000\n");
    machine.write("sys/fs/cgroup/bench.slice/cpu.stat", "usage_usec 5\nnr_throttled 42\n");
    let finding = machine.only("cpu-quota");
    let fix = "echo max > /sys/fs/cgroup/bench.slice/cpu.max (a container: start it without --cpus)";
    expect(&finding, Status::Distorts, "allows 1.50 CPUs; the plan keeps 16 busy", Some(fix));
    assert!(!finding.told.contains("stopped"), "42 times, but since the group was made: {finding:?}");
}

#[test]
fn a_quota_that_covers_the_plan_is_ready() {
    let machine = Fixture::healthy();
    machine.write("sys/fs/cgroup/bench.slice/run/cpu.max", "1600000 100000\n");
    expect(&machine.only("cpu-quota"), Status::Ready, "allows 16.00 CPUs", None);
}

#[test]
fn a_quota_of_version_one_is_found_below_a_containers_mount() {
    let machine = Fixture::healthy();
    machine.write("proc/self/cgroup", "2:cpuset:/\n1:cpu,cpuacct:/docker/f00\n");
    machine.write(
        "proc/self/mountinfo",
        "32 31 0:29 /docker/f00 /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
    );
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    let fix = "echo -1 > /sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us (a container: start it without --cpus)";
    expect(&machine.only("cpu-quota"), Status::Distorts, "allows 2.00 CPUs", Some(fix));
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    expect(&machine.only("cpu-quota"), Status::Ready, "No control group", None);
}

#[test]
fn a_saving_governor_distorts() {
    let machine = Fixture::healthy();
    machine.write("sys/devices/system/cpu/cpu5/cpufreq/scaling_governor", "powersave\n");
    let fix = "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    expect(&machine.only("governor"), Status::Distorts, "performance and powersave", Some(fix));
}

#[test]
fn turbo_is_a_note_whatever_its_switch() {
    let machine = Fixture::healthy();
    machine.write("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n");
    let fix = Some("echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo");
    expect(&machine.only("turbo"), Status::Note, "Turbo is on", fix);
    machine.remove("sys/devices/system/cpu/intel_pstate/no_turbo");
    machine.write("sys/devices/system/cpu/cpufreq/boost", "1\n");
    let fix = Some("echo 0 > /sys/devices/system/cpu/cpufreq/boost");
    expect(&machine.only("turbo"), Status::Note, "Turbo is on", fix);
}

#[test]
fn stolen_time_distorts_from_a_per_cent_on() {
    let machine = Fixture::healthy();
    machine.write("proc/stat", "cpu  100 0 100 780 0 0 0 20 0 0\n");
    let fix = "use a machine with dedicated CPUs, or repeat when the host is quiet";
    expect(&machine.only("steal"), Status::Distorts, "2.00 %", Some(fix));
}

#[test]
fn irq_time_matters_only_without_the_task_clock() {
    let mut machine = Fixture::healthy();
    machine.write("boot/config-6.12.1-fixture", "CONFIG_IRQ_TIME_ACCOUNTING=y\n");
    expect(&machine.only("irq-time"), Status::Note, "is on (/boot/config-6.12.1-fixture)", None);
    machine.facts.task_clock = Support::Unknown;
    let fix = Some("sysctl -w kernel.perf_event_paranoid=1");
    expect(&machine.only("irq-time"), Status::Distorts, "is on", fix);
}

#[test]
fn irq_time_is_told_by_the_symbols_or_not_at_all() {
    let machine = Fixture::healthy();
    machine.remove("boot/config-6.12.1-fixture");
    expect(&machine.only("irq-time"), Status::Note, "is unknown", None);
    machine.write("proc/kallsyms", "0000000000000000 T irqtime_account_irq\n");
    expect(&machine.only("irq-time"), Status::Note, "is on (/proc/kallsyms)", None);
    machine.write("proc/kallsyms", "0000000000000000 T other\n");
    expect(&machine.only("irq-time"), Status::Ready, "is off (/proc/kallsyms)", None);
}

#[test]
fn paranoid_levels_count_by_what_opens() {
    let mut machine = Fixture::healthy();
    machine.facts.task_clock = Support::Unknown;
    machine.write("proc/sys/kernel/perf_event_paranoid", "4\n");
    let fix = Some("sysctl -w kernel.perf_event_paranoid=1");
    expect(&machine.only("perf-paranoid"), Status::Distorts, "is 4: this user can open no event", fix);
    machine.facts.task_clock = Support::Present;
    expect(&machine.only("perf-paranoid"), Status::Note, "is 4: hardware counters count user mode only", fix);
    machine.facts.capabilities.perfmon = true;
    expect(&machine.only("perf-paranoid"), Status::Ready, "CAP_PERFMON", None);
}

#[test]
fn a_machine_without_counters_is_a_note() {
    let mut machine = Fixture::healthy();
    machine.facts.pmu = Support::Absent;
    expect(&machine.only("pmu"), Status::Note, "exposes no PMU", None);
}
