//! Who holds a descriptor: the processes below /proc.
//!
//! "There is a tap" is worth little; "lldpd (pid 812) has a tap" can be acted upon.

use super::Machine;

/// An open descriptor of some process.
pub(super) struct Descriptor {
    /// The process' id, as /proc spells it.
    pub(super) pid: String,
    /// The descriptor's number, as /proc spells it.
    pub(super) number: String,
}

impl Descriptor {
    /// The process as a person knows it: `lldpd (pid 812)`.
    pub(super) fn owner(&self, machine: &Machine) -> String {
        let name = machine.read(&format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        // Any process may call itself what it likes, and this is shown on a terminal.
        let name = name.trim().replace(char::is_control, " ");
        let name = if name.is_empty() { "a process".to_owned() } else { name };
        format!("{name} (pid {})", self.pid)
    }
}

/// Every visible descriptor that leads to `target`, such as `socket:[4711]`.
///
/// Another user's processes are visible to root only, and processes come and go: what cannot be read is passed over.
pub(super) fn holding(machine: &Machine, target: &str) -> Vec<Descriptor> {
    let mut found = Vec::new();
    for pid in
        machine.names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    {
        let directory = format!("/proc/{pid}/fd");
        for number in machine.names(&directory) {
            if machine.link(&format!("{directory}/{number}")).is_ok_and(|link| link == target) {
                found.push(Descriptor { pid: pid.clone(), number });
            }
        }
    }
    found
}
