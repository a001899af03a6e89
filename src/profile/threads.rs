//! Whose samples count: the process's threads by their names, and the kernel threads that work for them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use crate::message::words;

/// What a thread does in a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Hands messages to the kernel. On loopback it also does what the receiving half of TCP does in softirq.
    Sender,
    /// Takes bytes from a socket.
    Receiver,
    /// Carries frames between the ends of a software network card.
    Relay,
    /// A thread of the kernel that works off what this process has asked io_uring for.
    Worker,
    /// Works off what softirq puts aside.
    Ksoftirqd,
}

words!(Role: Sender = "sender", Receiver = "receiver", Relay = "relay", Worker = "io_uring worker", Ksoftirqd = "ksoftirqd");

impl Role {
    /// By a thread's name, which is the only thing that all who start threads agree on; `None` for others, such as the
    /// one that asks.
    fn of(name: &str) -> Option<Self> {
        let begins = |with| name.starts_with(with);
        match () {
            () if begins("serve-") => Some(Self::Sender),
            () if begins("client-") => Some(Self::Receiver),
            () if name.contains("relay") => Some(Self::Relay),
            () if begins("iou-") => Some(Self::Worker),
            () if begins("ksoftirqd/") => Some(Self::Ksoftirqd),
            () => None,
        }
    }
}

/// Threads by their ids.
pub type Threads = BTreeMap<i32, Role>;

/// The threads of this process that take part.
pub fn of_process() -> Threads {
    named_in(Path::new("/proc/self/task"))
}

/// The kernel's threads that do; none where they cannot be seen.
pub fn of_kernel() -> Threads {
    let mut all = named_in(Path::new("/proc"));
    // Processes of others may have any name.
    all.retain(|_, role| *role == Role::Ksoftirqd);
    all
}

fn named_in(folder: &Path) -> Threads {
    let Ok(entries) = fs::read_dir(folder) else { return Threads::new() };
    let role = |entry: fs::DirEntry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((thread, Role::of(name.trim_end())?))
    };
    entries.flatten().filter_map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_role() {
        for (name, role) in [
            ("serve-1", Some(Role::Sender)),
            ("client-17", Some(Role::Receiver)),
            ("relay", Some(Role::Relay)),
            ("lab-relay-0", Some(Role::Relay)),
            ("iou-sqp-77", Some(Role::Worker)),
            ("ksoftirqd/12", Some(Role::Ksoftirqd)),
            ("copycost", None),
            ("accept", None),
            ("", None),
        ] {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }

    #[test]
    fn a_thread_is_found_by_its_name_while_it_lives() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (id_to, id) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("client-9".into()).spawn(move || {
            // "PID/task/ID"
            let link = fs::read_link("/proc/thread-self").unwrap();
            id_to.send(link.file_name().unwrap().to_str().unwrap().parse::<i32>().unwrap()).unwrap();
            ended.recv().unwrap_err();
        });
        let id = id.recv().unwrap();
        assert_eq!(of_process().get(&id), Some(&Role::Receiver));
        drop(end);
        thread.unwrap().join().unwrap();
        assert_eq!(of_process().get(&id), None);
    }
}
