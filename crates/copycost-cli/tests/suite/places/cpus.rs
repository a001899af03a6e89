//! A CPU that is offline: /proc/self/status still lists it (its mask is what was set, not what can be used), and
//! sched_getaffinity(2) does not.

use std::fs;

use crate::common::child::{is_root, works};
use crate::common::skip;
use crate::program::Program;

#[test]
fn a_cpu_that_only_a_file_lists_is_not_counted() {
    if !is_root() || !works("unshare", &["-m", "true"]) {
        return skip("mounts of its own need root");
    }
    let folder = tempfile::tempdir().unwrap();
    let proc = folder.path().join("proc");
    fs::create_dir_all(proc.join("thread-self")).unwrap();
    let status = "Name:\tcopycost\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-7\n";
    fs::write(proc.join("thread-self/status"), status).unwrap();
    let cpu = copycost::internals::sys::sched::allowed_cpus().unwrap()[0].to_string();
    let script = format!("mount --bind {} /proc && exec taskset -c {cpu} \"$@\"", proc.display());
    let wrapper = ["unshare", "-m", "sh", "-c", &script, "sh"];
    let ended = Program::start_in(&wrapper, &["doctor", "--format", "json"]).finish();
    assert!(ended.out.contains("Only one CPU for"), "{ended:?}");
}
