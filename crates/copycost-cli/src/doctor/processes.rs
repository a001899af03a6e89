//! Finds the processes that hold a descriptor, by reading /proc.
//!
//! A finding that names the process, such as "lldpd (pid 812) has a tap", tells the user what to stop.

use super::Machine;

/// An open descriptor of some process.
pub(super) struct Descriptor {
    /// The process ID, as the name of the directory in /proc.
    pub(super) pid: String,
    /// The descriptor's number, as the name of the file in /proc.
    pub(super) number: String,
}

impl Descriptor {
    /// The process as name and pid: `lldpd (pid 812)`.
    pub(super) fn owner(&self, machine: &Machine) -> String {
        let name = machine.read(&format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        // A process can choose any name, and control characters could send commands to the terminal.
        let name = name.trim().replace(char::is_control, " ");
        let name = if name.is_empty() { "a process".to_owned() } else { name };
        format!("{name} (pid {})", self.pid)
    }
}

/// Every visible descriptor that refers to `target`, such as `socket:[4711]`.
///
/// Unreadable entries are skipped: only root sees the processes of other users, and a process may end at any time.
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
