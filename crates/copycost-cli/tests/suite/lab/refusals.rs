//! What a lab needs and has not: one sentence, and exit code 1.

use super::{names_of, possible, works};
use crate::common::child::write_executable;
use crate::program::Program;

#[test]
fn without_capabilities_a_sentence_names_them() {
    if !possible() {
        return;
    }
    let nobody = ["setpriv", "--reuid", "65534", "--clear-groups"];
    if !works("setpriv", &["--reuid", "65534", "--clear-groups", "true"]) {
        super::skip("no setpriv");
        return;
    }
    for arguments in [&["lab", "--", "true"][..], &["run", "--over", "lab"]] {
        let ended = Program::start_in(&nobody, arguments).finish();
        ended.refused(1, &["CAP_NET_ADMIN and CAP_SYS_ADMIN", "root"]);
    }
}

#[test]
fn a_device_that_may_not_be_made_is_named() {
    if !possible() {
        return;
    }
    if !works("setpriv", &["--bounding-set", "-mknod", "true"]) {
        return super::skip("no setpriv that takes a capability away");
    }
    let program = Program::start_in(
        &["setpriv", "--bounding-set", "-mknod"],
        &["run", "--over", "lab", "--seconds", "0.1"],
    );
    let pid = program.pid();
    program.finish().refused(1, &["device cgroup", "CAP_MKNOD", "c 2"]);
    assert!(names_of(pid).is_empty());
}

#[test]
fn without_iproute_a_sentence_names_it() {
    if !possible() {
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let path = format!("PATH={}", empty.path().display());
    Program::start_in(&["/usr/bin/env", &path], &["lab"]).finish().refused(1, &["install iproute2"]);
}

#[test]
fn a_kernel_without_the_links_is_told() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("ip");
    for kind in ["veth", "macvtap"] {
        // An `ip` on a kernel without this kind of link: as iproute2 6.1 says it.
        let text = format!(
            "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nlines=$(cat)\n\
             if echo \"$lines\" | grep -q 'type {kind}'; then\n\
             echo 'Error: Unknown device type.' >&2; echo 'Command failed -:1' >&2; exit 2\nfi\n\
             echo \"$lines\" | exec ip \"$@\"\n"
        );
        write_executable(&script, text.as_bytes());
        let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", folder.path().display());
        let program = Program::start_in(&["/usr/bin/env", &path], &["lab", "--", "true"]);
        let pid = program.pid();
        program.finish().refused(1, &[&format!("no {kind} links"), &format!("modprobe {kind}")]);
        assert!(names_of(pid).is_empty(), "{kind}");
    }
}

#[test]
fn the_token_belongs_to_another_host() {
    Program::run(&["run", "--over", "lab", "--token-file", "x"]).refused(2, &["--token-file", "--over lab"]);
}
