//! Network namespaces that a test makes for itself, removed on drop, also by a panic.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::child::{is_root, works};
use crate::common::skip;
use crate::program::{Ended, Program};

/// A network namespace, which has nothing but a loopback device that is down.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// `None`, with the reason printed, where namespaces cannot be had.
    pub fn make() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !is_root() || !works("ip", &["netns", "list"]) {
            skip("network namespaces need root and iproute2");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("copycost-place-{}-{number}", std::process::id());
        let made = Self { name };
        ip(&["netns", "add", &made.name]);
        Some(made)
    }

    /// The same with loopback up.
    pub fn with_loopback() -> Option<Self> {
        let made = Self::make()?;
        made.ip(&["link", "set", "lo", "up"]);
        Some(made)
    }

    /// `ip` in it.
    #[track_caller]
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// Whether `tc` in it works.
    pub fn tc(&self, arguments: &[&str]) -> bool {
        works("tc", &[&["-n", &self.name], arguments].concat())
    }

    pub fn wrapper(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    pub fn start(&self, arguments: &[&str]) -> Program {
        Program::start_in(&self.wrapper(), arguments)
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).finish()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

/// A host and a guest, joined by links named `veth`, with these addresses.
pub fn pair(host_address: &str, guest_address: &str) -> Option<(Namespace, Namespace)> {
    let (host, guest) = (Namespace::with_loopback()?, Namespace::with_loopback()?);
    host.ip(&["link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", &guest.name]);
    for (namespace, address) in [(&host, host_address), (&guest, guest_address)] {
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        namespace.ip(&[&["address", "add", address, "dev", "veth"], nodad].concat());
        namespace.ip(&["link", "set", "veth", "up"]);
    }
    Some((host, guest))
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}
