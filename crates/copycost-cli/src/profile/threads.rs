//! Whose samples count: the process's threads by their names, and the kernel threads that work for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use copycost::internals::sys::text;
use copycost::message::words;

/// What a thread does in a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreadRole {
    /// Hands messages to the kernel. On loopback it also does what the receiving half of TCP does in softirq.
    Sender,
    /// Takes bytes from a socket.
    Receiver,
    /// Carries frames between the ends of a software network card.
    Relay,
    /// Works off what softirq puts aside.
    Ksoftirqd,
}

words!(ThreadRole: Sender = "sender", Receiver = "receiver", Relay = "relay", Ksoftirqd = "ksoftirqd");

impl ThreadRole {
    /// By a thread's name, which is the only thing that all who start threads agree on; `None` for others, such as the
    /// one that asks.
    fn of(name: &str) -> Option<Self> {
        let begins = |with| name.starts_with(with);
        match () {
            () if begins("serve-") => Some(Self::Sender),
            () if begins("client-") => Some(Self::Receiver),
            () if name == "relay" => Some(Self::Relay),
            () if begins("ksoftirqd/") => Some(Self::Ksoftirqd),
            () => None,
        }
    }
}

/// Threads by their ids.
pub type Threads = BTreeMap<i32, ThreadRole>;

/// The threads of this process that take part.
pub fn of_process() -> Threads {
    named_in(Path::new("/proc/self/task"))
}

/// The kernel's threads that do; none where they cannot be seen.
pub fn of_kernel() -> Threads {
    let mut all = named_in(Path::new("/proc"));
    // Processes of others may have any name.
    all.retain(|_, role| *role == ThreadRole::Ksoftirqd);
    all
}

/// The same with the threads that the kernel gives to the io_uring of one of them: their time is counted as its own
/// (`cost::cpu`), so their samples are. They come and go.
pub fn with_workers(threads: &Threads) -> Threads {
    let worker = |(thread, name): (i32, String)| {
        let owner = name.strip_prefix("iou-wrk-").or_else(|| name.strip_prefix("iou-sqp-"))?.parse().ok()?;
        Some((thread, *threads.get(&owner)?))
    };
    let workers = names_in(Path::new("/proc/self/task")).filter_map(worker);
    threads.iter().map(|(thread, role)| (*thread, *role)).chain(workers).collect()
}

fn named_in(folder: &Path) -> Threads {
    names_in(folder).filter_map(|(thread, name)| Some((thread, ThreadRole::of(&name)?))).collect()
}

/// The threads in a folder of /proc, and their names; none where it cannot be read.
fn names_in(folder: &Path) -> impl Iterator<Item = (i32, String)> {
    let name = |entry: fs::DirEntry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let name = text::read(entry.path().join("comm")).ok()?;
        Some((thread, name.trim_end().to_owned()))
    };
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_role() {
        for (name, role) in [
            ("serve-1", Some(ThreadRole::Sender)),
            ("client-17", Some(ThreadRole::Receiver)),
            ("relay", Some(ThreadRole::Relay)),
            ("relay-7", None),
            ("iou-sqp-77", None),
            ("ksoftirqd/12", Some(ThreadRole::Ksoftirqd)),
            ("copycost", None),
            ("accept", None),
            ("", None),
        ] {
            assert_eq!(ThreadRole::of(name), role, "{name}");
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
        assert_eq!(of_process().get(&id), Some(&ThreadRole::Receiver));
        assert_eq!(with_workers(&of_process()).get(&id), Some(&ThreadRole::Receiver));
        drop(end);
        thread.unwrap().join().unwrap();
        assert_eq!(of_process().get(&id), None);
    }
}
