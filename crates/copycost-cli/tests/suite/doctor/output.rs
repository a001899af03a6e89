//! The whole list: health, unreadable files, exit codes, text and JSON.

use std::collections::HashSet;

use copycost_cli::doctor::{CHECKS, Facts, Finding, Machine, PlannedRun, Status, examine, exit_code, print};

use super::fixture::{Fixture, expect};

#[test]
fn a_healthy_machine_is_ready_but_for_the_truth_about_loopback() {
    let mut machine = Fixture::healthy();
    machine.facts.uid = 0;
    let findings = machine.examine();
    let others: Vec<&Finding> = findings.iter().filter(|finding| finding.status != Status::Ready).collect();
    assert_eq!(others.iter().map(|finding| finding.check).collect::<Vec<_>>(), ["link"], "{others:?}");
    assert_eq!(exit_code(&findings), 0);
}

#[test]
fn ids_are_unique_and_fit_a_script() {
    let ids: HashSet<&str> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), CHECKS.len());
    assert!(ids.iter().all(|id| { id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') }));
}

#[test]
fn an_unreadable_file_costs_its_own_check_only() {
    let machine = Fixture::healthy();
    machine.spoil("proc/sys/net/core/wmem_max");
    let finding = machine.only("send-buffer");
    expect(&finding, Status::Unreadable, "/proc/sys/net/core/wmem_max cannot be read: Is a directory", None);
    assert_eq!(exit_code(&machine.examine()), 0);
}

#[test]
fn a_file_that_must_be_there_is_named() {
    let machine = Fixture::healthy();
    machine.remove("proc/stat");
    expect(&machine.only("steal"), Status::Unreadable, "/proc/stat cannot be read: No such file", None);
}

#[test]
fn what_a_network_namespace_hides_is_a_note() {
    let machine = Fixture::healthy();
    for path in ["core/wmem_max", "core/rmem_max", "core/optmem_max", "ipv4/tcp_mem"] {
        machine.remove(&format!("proc/sys/net/{path}"));
    }
    for check in ["send-buffer", "receive-buffer", "optmem", "tcp-mem"] {
        expect(&machine.of(check), Status::Note, "not shown in this network namespace", None);
    }
}

#[test]
fn a_garbled_file_is_quoted() {
    let machine = Fixture::healthy();
    machine.write("proc/sys/net/ipv4/tcp_mem", "1 two 3\n");
    expect(&machine.only("tcp-mem"), Status::Unreadable, "holds `1 two 3`", None);
    machine.write("proc/stat", "");
    expect(&machine.of("steal"), Status::Unreadable, "/proc/stat holds ``", None);
}

#[test]
fn nothing_at_all_is_no_reason_to_panic() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    for facts in [
        Facts::default(),
        Facts { page_bytes: 0, memory_lock_bytes: Some(0), open_files: Some(0), ..Facts::default() },
    ] {
        let nothing = PlannedRun {
            sizes: vec![],
            clients: vec![],
            send_buffer: 0,
            receive_buffer: 0,
            server_threads: 0,
            address: None,
            zone: None,
        };
        let most = PlannedRun {
            sizes: vec![0, usize::MAX],
            clients: vec![usize::MAX],
            send_buffer: usize::MAX,
            receive_buffer: usize::MAX,
            server_threads: usize::MAX,
            address: None,
            zone: None,
        };
        for plan in [PlannedRun::default(), nothing, most] {
            let findings = examine(&Machine::at(empty.path(), facts.clone()), &plan);
            assert_eq!(findings.len(), CHECKS.len());
        }
    }
}

#[test]
fn garbage_in_every_file_is_no_reason_to_panic() {
    for garbage in
        ["", "\n", "-1", "99999999999999999999999", "a b c d e f g h i j", "\u{0}", "0-", "[", "::::"]
    {
        let machine = Fixture::healthy();
        machine.fill(garbage);
        for machine in [machine.over("10.0.0.1"), Fixture::healthy().over("fd00::1")] {
            assert_eq!(machine.examine().len(), CHECKS.len(), "{garbage:?}");
        }
    }
}

#[test]
fn this_machine_gives_one_finding_for_each_check() {
    for address in [None, Some([127, 0, 0, 1].into()), Some([203, 0, 113, 1].into())] {
        let findings = examine(&Machine::live(), &PlannedRun { address, ..PlannedRun::default() });
        let ids: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(ids, CHECKS.iter().map(|check| check.id).collect::<Vec<_>>());
        assert!(findings.iter().all(|finding| finding.told.ends_with('.')), "{findings:?}");
        println!("{}", print::render(&findings));
    }
}

fn samples() -> Vec<Finding> {
    let mut machine = Fixture::healthy();
    machine.facts.memory_lock_bytes = Some(64 << 10);
    machine.write("proc/sys/net/ipv4/tcp_congestion_control", "bbr\n");
    machine.spoil("proc/stat");
    let wanted = ["steal", "memory-lock", "mtu", "congestion-control"];
    machine.examine().into_iter().filter(|finding| wanted.contains(&finding.check)).collect()
}

#[test]
fn the_text_puts_the_worst_first_and_fits_the_page() {
    let text = print::render(&samples());
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(text, @r"
     distorts memory-lock: The memory lock of 64 KiB lets all sockets of uid 1000 together have 8
              zero-copy sends of 1 KiB, 5 of 4 KiB, 2 of 16 KiB, 0 of 64 KiB in flight; the next send
              gets ENOBUFS. The send buffers of 8 clients hold 64 sends of 64 KiB, so the path waits for
              completions or falls back to copying.
              fix: prlimit --pid $$ --memlock=16777216:16777216
     unread   steal: /proc/stat cannot be read: Is a directory (os error 21).
     note     congestion-control: bbr is the default congestion control; copycost sets cubic itself.
              Your own server inherits bbr.
              fix: sysctl -w net.ipv4.tcp_congestion_control=cubic
     ready    mtu: The MTU of lo is 65536 bytes.

    4 checks: 1 distorts, 1 unread, 1 note, 1 ready. Run fixes in a root shell.
    ");
}

#[test]
fn the_json_names_every_part() {
    let json = print::to_json(&samples()[2..3]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).expect("JSON"), @r#"
    {
      "findings": [
        {
          "check": "congestion-control",
          "effect": "Your own server inherits bbr.",
          "fix": "sysctl -w net.ipv4.tcp_congestion_control=cubic",
          "status": "note",
          "told": "bbr is the default congestion control; copycost sets cubic itself."
        }
      ],
      "ready": true
    }
    "#);
}

#[test]
fn a_distortion_makes_the_exit_code() {
    assert_eq!(exit_code(&samples()), 3);
    assert_eq!(print::to_json(&samples())["ready"], false);
    assert_eq!(exit_code(&[]), 0);
}
