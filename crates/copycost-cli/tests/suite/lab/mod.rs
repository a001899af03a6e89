//! The lab: what it delivers, what its probe proves, and that nothing is left of it.
//!
//! - `proof`: delivery, and the probe against the kernel's word
//! - `standing`: builds and ends, by every way to end; several at once
//! - `refusals`: what is missing, in one sentence
//! - `xdp`: an XDP program that passes everything, as an object file that `ip` loads
mod proof;
mod refusals;
mod standing;
mod xdp;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::common::child::{is_root, works};
use crate::common::skip;

/// Whether a lab can be had here; false with the reason printed.
fn possible() -> bool {
    let possible = is_root() && works("ip", &["netns", "list"]);
    if !possible {
        skip("the lab needs root and iproute2");
    }
    possible
}

/// Names of the namespaces of labs of the process `pid`.
fn names_of(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let (whole, numbered) = (format!("copycost-{pid}-"), format!("copycost-{pid}."));
    names.filter(|name| name.starts_with(&whole) || name.starts_with(&numbered)).collect()
}

/// Carries out an `ip` command.
#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

/// The links of the host and its tap nodes: what no lab may touch. Those of labs that other tests are just building may
/// be among them.
fn of_host() -> BTreeSet<String> {
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let names = String::from_utf8_lossy(&links.stdout);
    let links = names.lines().filter_map(|line| line.split(": ").nth(1).map(str::to_owned));
    let nodes = std::fs::read_dir(Path::new("/dev")).unwrap().flatten();
    let taps = nodes
        .filter_map(|node| node.file_name().into_string().ok())
        .filter(|name| name.strip_prefix("tap").is_some_and(|number| number.parse::<u32>().is_ok()));
    links.chain(taps).collect()
}
