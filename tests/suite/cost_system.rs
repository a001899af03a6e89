//! The system level on fixture texts and fixture trees: /proc of machines that this one is not.

use std::fs;
use std::time::Duration;

use copycost::cost::Missing;
use copycost::internals::cost::system::{
    IdleBaseline, SystemCpu, SystemSpent, SystemTime, parse_schedstat, parse_stat,
};
use tempfile::TempDir;

const TICK: Duration = Duration::from_millis(10);

/// user 537, nice 3, system 811, idle 74944, iowait 84, irq 2, softirq 15, steal 6, guest 100 (part of user).
const STAT: &str = "cpu  537 3 811 74944 84 2 15 6 100 0\ncpu0 220 0 353 37629 4 0 5 2 0 0\nctxt 1\n";

#[test]
fn the_columns_of_proc_stat() {
    let time = parse_stat(STAT, TICK).unwrap();
    assert_eq!(time.busy, TICK * (537 + 3 + 811 + 2 + 15));
    assert_eq!(time.softirq, TICK * 15);
    assert_eq!(time.idle, TICK * (74944 + 84));
    assert_eq!(time.steal, TICK * 6);
    // Kernels before 2.6.33 end after steal or guest.
    assert_eq!(parse_stat("cpu  1 2 3 4 5 6 7 8\n", TICK).unwrap().steal, TICK * 8);
}

#[test]
fn bad_texts_are_reasons() {
    for text in ["", "cpu", "cpu  \n", "cpu0 1 2 3 4 5 6 7 8\n", "cpu  1 2 x 4 5 6 7 8\n", "cpu  1 2 3 4\n"] {
        assert!(matches!(parse_stat(text, TICK), Err(Missing::File { .. })), "{text:?}");
    }
    let huge = format!("cpu  {0} {0} {0} {0} {0} {0} {0} {0}\n", u64::MAX);
    assert!(parse_stat(&huge, TICK).is_ok(), "saturates");
    assert_eq!(parse_schedstat("123 4 5\n"), Ok(Duration::from_nanos(123)));
    for text in ["", "123", "1 2\n", "a b c\n", "-1 0 0\n"] {
        assert!(parse_schedstat(text).is_err(), "{text:?}");
    }
}

/// A moment: busy, softirq, idle and steal in ms, ksoftirqd in ms.
fn moment(busy: u64, softirq: u64, idle: u64, steal: u64, ksoftirqd: u64) -> SystemCpu {
    let ms = Duration::from_millis;
    SystemCpu {
        time: SystemTime { busy: ms(busy), softirq: ms(softirq), idle: ms(idle), steal: ms(steal) },
        ksoftirqd: Ok(ms(ksoftirqd)),
    }
}

#[test]
fn a_run_above_its_baseline() {
    let seconds = Duration::from_secs;
    // Two CPUs: 2 s idle with 5 % of one in use, then 4 s with 6 s of CPU time, 0.4 s of 8 stolen.
    let idle = moment(0, 0, 0, 0, 0);
    let begun = moment(100, 0, 3900, 0, 0);
    let ended = moment(6100, 1500, 5500, 400, 70);
    let baseline = IdleBaseline::between(&idle, &begun, seconds(2)).unwrap();
    assert!((baseline.cpus - 0.05).abs() < 1e-9);
    let spent = SystemSpent::between(&begun, &ended, seconds(4), Some(baseline)).unwrap();
    assert_eq!(spent.busy, seconds(6));
    assert_eq!(spent.above_idle, Ok(Duration::from_millis(5800)));
    assert_eq!(spent.softirq, Duration::from_millis(1500));
    assert_eq!(spent.ksoftirqd, Ok(Duration::from_millis(70)));
    assert!((spent.steal_percent - 5.0).abs() < 1e-9);
}

#[test]
fn what_the_run_does_not_give_is_a_reason() {
    let (begun, ended) = (moment(0, 0, 0, 0, 0), moment(100, 0, 3900, 0, 0));
    let short = Duration::from_millis(1999);
    let word = SystemSpent::between(&begun, &ended, short, None).unwrap_err().to_string();
    assert!(word.starts_with("CPU time of the system needs at least 2 s"), "{word}");
    assert!(IdleBaseline::between(&begun, &ended, short).is_err());
    let long = Duration::from_secs(2);
    let spent = SystemSpent::between(&begun, &ended, long, None).unwrap();
    assert_eq!(spent.above_idle, Err(Missing::NoBaseline));
    // A baseline busier than the run would make a negative cost.
    let noisy = Some(IdleBaseline { cpus: 1.0 });
    let spent = SystemSpent::between(&begun, &ended, long, noisy).unwrap();
    assert_eq!(spent.above_idle, Err(Missing::NoBaseline));
    assert!(SystemSpent::between(&ended, &ended, long, None).is_err());
    let hidden = SystemCpu { ksoftirqd: Err(Missing::KernelThreadsHidden), ..ended };
    let spent = SystemSpent::between(&begun, &hidden, long, None).unwrap();
    assert_eq!(spent.ksoftirqd, Err(Missing::KernelThreadsHidden));
}

/// A root with the given files.
fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn ksoftirqd_is_found_by_name_and_parent() {
    let tree = root(&[
        ("proc/stat", STAT),
        ("proc/16/stat", "16 (ksoftirqd/0) S 2 0 0 0 -1\n"),
        ("proc/16/schedstat", "5000 1 1\n"),
        ("proc/24/stat", "24 (ksoftirqd/1) S 2 0 0 0 -1\n"),
        ("proc/24/schedstat", "7000 1 1\n"),
        // A program that took the name, and one with brackets in its own.
        ("proc/300/stat", "300 (ksoftirqd/2) S 1 300 0 0 -1\n"),
        ("proc/300/schedstat", "900000 1 1\n"),
        ("proc/301/stat", "301 (a) b) R 1 301 0 0 -1\n"),
        ("proc/301/schedstat", "900000 1 1\n"),
        ("proc/sys/kernel/x", ""),
    ]);
    let read = SystemCpu::read_under(tree.path()).unwrap();
    assert_eq!(read.ksoftirqd, Ok(Duration::from_nanos(12_000)));
    assert_eq!(read.time.softirq, TICK * 15);
}

#[test]
fn trees_that_lack_something() {
    let container = root(&[("proc/stat", STAT), ("proc/1/stat", "1 (sh) S 0 1 1 0\n")]);
    let read = SystemCpu::read_under(container.path()).unwrap();
    assert_eq!(read.ksoftirqd, Err(Missing::KernelThreadsHidden));
    let untimed = root(&[
        ("proc/stat", STAT),
        ("proc/16/stat", "16 (ksoftirqd/0) S 2 0 0 0 -1\n"),
        ("proc/16/schedstat", "0 0 0\n"),
    ]);
    let read = SystemCpu::read_under(untimed.path()).unwrap();
    assert!(read.ksoftirqd.unwrap_err().to_string().contains("CONFIG_SCHED_INFO"));
    let empty = root(&[("proc/nothing", "")]);
    assert!(matches!(SystemCpu::read_under(empty.path()), Err(Missing::File { .. })));
}

#[test]
fn this_machine_can_be_read() {
    let before = SystemCpu::read().unwrap();
    let after = SystemCpu::read().unwrap();
    assert!(after.time.busy >= before.time.busy);
    println!("ksoftirqd: {:?}", after.ksoftirqd);
}
