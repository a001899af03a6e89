//! Memory, buffers, files and kernel features.

use copycost_cli::doctor::{IoUring, Status, Support};

use super::fixture::{Fixture, expect};

#[test]
fn a_small_memory_lock_distorts_and_names_the_point() {
    let mut machine = Fixture::healthy();
    machine.facts.memory_lock_bytes = Some(64 << 10);
    let told = "have 8 zero-copy sends of 1 KiB, 5 of 4 KiB, 2 of 16 KiB, 0 of 64 KiB in flight; the next send gets ENOBUFS";
    let fix = Some("prlimit --pid $$ --memlock=16777216:16777216");
    expect(&machine.only("memory-lock"), Status::Distorts, told, fix);
    machine.facts.capabilities.ipc_lock = true;
    expect(&machine.only("memory-lock"), Status::Ready, "CAP_IPC_LOCK", None);
}

#[test]
fn the_usual_memory_lock_is_a_note() {
    let mut machine = Fixture::healthy();
    machine.facts.memory_lock_bytes = Some(8 << 20);
    let fix = Some("prlimit --pid $$ --memlock=16777216:16777216");
    expect(&machine.only("memory-lock"), Status::Note, "1024 zero-copy sends of 1 KiB", fix);
    machine.plan.clients = vec![1, 2];
    expect(&machine.only("memory-lock"), Status::Ready, "1024 zero-copy sends of 1 KiB", None);
}

#[test]
fn the_fix_for_the_memory_lock_is_enough() {
    let mut machine = Fixture::healthy();
    machine.facts.memory_lock_bytes = Some(16_777_216);
    expect(&machine.only("memory-lock"), Status::Ready, "16 MiB", None);
}

#[test]
fn optmem_of_older_kernels_distorts() {
    let machine = Fixture::healthy();
    machine.write("proc/sys/net/core/optmem_max", "20480\n");
    let fix = Some("sysctl -w net.core.optmem_max=131072");
    expect(
        &machine.only("optmem"),
        Status::Distorts,
        "24 zero-copy sends in flight; the next gets ENOBUFS, which can happen with messages of 16 KiB and \
         smaller",
        fix,
    );
}

#[test]
fn huge_pages_may_be_off() {
    let machine = Fixture::healthy();
    machine.write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    let fix = Some("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    expect(&machine.only("huge-pages"), Status::Note, "never", fix);
}

#[test]
fn buffers_that_the_kernel_cuts_distort() {
    let machine = Fixture::healthy();
    machine.write("proc/sys/net/core/wmem_max", "212992\n");
    let fix = Some("sysctl -w net.core.wmem_max=262144");
    expect(
        &machine.only("send-buffer"),
        Status::Distorts,
        "cuts the planned SO_SNDBUF of 256 KiB to 208 KiB",
        fix,
    );
    let machine = Fixture::healthy();
    machine.write("proc/sys/net/core/rmem_max", "212992\n");
    let fix = Some("sysctl -w net.core.rmem_max=1048576");
    expect(
        &machine.only("receive-buffer"),
        Status::Distorts,
        "cuts the planned SO_RCVBUF of 1 MiB to 208 KiB",
        fix,
    );
}

#[test]
fn tcp_memory_counts_what_is_used_already() {
    let machine = Fixture::healthy();
    machine.write("proc/sys/net/ipv4/tcp_mem", "3000 5190 8000\n");
    let fix = Some("sysctl -w net.ipv4.tcp_mem=\"5200 10400 20800\"");
    expect(&machine.only("tcp-mem"), Status::Distorts, "take 5120 pages, 80 are used now", fix);
}

#[test]
fn few_open_files_distort() {
    let mut machine = Fixture::healthy();
    machine.facts.open_files = Some(64);
    expect(&machine.only("open-files"), Status::Distorts, "Only 64 files", Some("ulimit -n 256"));
}

#[test]
fn a_kernel_without_zero_copy_distorts() {
    let mut machine = Fixture::healthy();
    machine.facts.msg_zerocopy = Support::Absent;
    expect(
        &machine.only("msg-zerocopy"),
        Status::Distorts,
        "do not accept",
        Some("boot Linux 4.14 or later"),
    );
}

#[test]
fn io_uring_is_optional() {
    let mut machine = Fixture::healthy();
    machine.write("proc/sys/kernel/io_uring_disabled", "2\n");
    machine.facts.io_uring = IoUring::Refused("Operation not permitted".into());
    let fix = Some("sysctl -w kernel.io_uring_disabled=0");
    expect(&machine.only("io-uring"), Status::Note, "disabled for everyone", fix);
    machine.write("proc/sys/kernel/io_uring_disabled", "1\n");
    expect(&machine.only("io-uring"), Status::Note, "disabled for this user", fix);
    machine.remove("proc/sys/kernel/io_uring_disabled");
    machine.facts.io_uring = IoUring::Opens { send_zc: true, sendmsg_zc: false };
    expect(&machine.only("io-uring"), Status::Note, "lacks SENDMSG_ZC", Some("boot Linux 6.1 or later"));
}
