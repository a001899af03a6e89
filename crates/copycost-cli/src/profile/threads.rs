//! The threads to sample: those of this process, identified by their names, and the kernel threads that work for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use copycost::internals::sys::text;
use copycost::named_enum;

/// The role of a thread in a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreadRole {
    /// Passes messages to the kernel. On loopback it also runs the receive path of TCP in softirq.
    Sender,
    /// Receives data from a socket.
    Receiver,
    /// Passes frames between the ends of the lab.
    Relay,
    /// The kernel thread for deferred softirq work.
    Ksoftirqd,
}

named_enum!(ThreadRole: Sender = "sender", Receiver = "receiver", Relay = "relay", Ksoftirqd = "ksoftirqd");

impl ThreadRole {
    /// The role by the name of the thread, which is fixed where the thread is started; `None` for threads without a
    /// role, such as the main thread.
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

/// The roles of threads by thread id.
pub type Threads = BTreeMap<i32, ThreadRole>;

/// The threads of this process that have a role.
pub fn of_process() -> Threads {
    tasks().into_iter().filter_map(with_role).collect()
}

/// The kernel threads that have a role; empty if they are not visible.
pub fn of_kernel() -> Threads {
    let mut all: Threads = names_in(Path::new("/proc")).filter_map(with_role).collect();
    // A process of another user may have the name of one of our threads.
    all.retain(|_, role| *role == ThreadRole::Ksoftirqd);
    all
}

/// `threads` with the kernel's workers for their io_urings, each in the role of its owner. The CPU time of a worker
/// counts for its owner (`cost::cpu`), so its samples must too. Workers may start and end at any time.
pub fn with_workers(threads: &Threads) -> Threads {
    let worker = |(thread, name): (i32, String)| {
        let owner = name.strip_prefix("iou-wrk-").or_else(|| name.strip_prefix("iou-sqp-"))?.parse().ok()?;
        Some((thread, *threads.get(&owner)?))
    };
    let workers = tasks().into_iter().filter_map(worker);
    threads.iter().map(|(thread, role)| (*thread, *role)).chain(workers).collect()
}

fn with_role((thread, name): (i32, String)) -> Option<(i32, ThreadRole)> {
    Some((thread, ThreadRole::of(&name)?))
}

/// The threads of this process with their names.
fn tasks() -> BTreeMap<i32, String> {
    without_gaps(|| names_in(Path::new("/proc/self/task")).collect())
}

/// What several listings have, until two in a row have nothing new.
///
/// If a thread ends while the kernel lists the threads, it goes on by counting and may leave out one that lives (first_tid and
/// next_tid, fs/proc/base.c): 11 of 90,640 listings left out the last thread while 60 others ended.
fn without_gaps(listing: impl Fn() -> BTreeMap<i32, String>) -> BTreeMap<i32, String> {
    const MOST_LISTINGS: usize = 8;
    let (mut tasks, mut nothing_new) = (BTreeMap::new(), 0);
    for _ in 0..MOST_LISTINGS {
        let known = tasks.len();
        tasks.extend(listing());
        nothing_new = if tasks.len() == known { nothing_new + 1 } else { 0 };
        if nothing_new == 2 {
            break;
        }
    }
    tasks
}

/// The threads in a folder of /proc with their names; empty if it cannot be read.
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
    fn the_name_determines_the_role() {
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
    fn a_thread_that_a_listing_leaves_out_is_found_by_the_next() {
        let names =
            |ids: &[i32]| ids.iter().map(|id| (*id, "client-1".to_owned())).collect::<BTreeMap<_, _>>();
        let found = |listings: &[&[i32]]| {
            let next = std::cell::Cell::new(0);
            let all = without_gaps(|| {
                let at = next.replace(next.get() + 1);
                names(listings[at.min(listings.len() - 1)])
            });
            (all.into_keys().collect::<Vec<_>>(), next.get())
        };
        assert_eq!(found(&[&[1, 2]]), (vec![1, 2], 3));
        assert_eq!(found(&[&[1], &[1, 2]]), (vec![1, 2], 4), "left out once");
        assert_eq!(found(&[&[1], &[1], &[1, 2]]), (vec![1, 2], 5), "left out twice");
        // Where threads come without end, so does not this.
        let endless: Vec<Vec<i32>> = (0..100).map(|last| (0..=last).collect()).collect();
        assert_eq!(found(&endless.iter().map(Vec::as_slice).collect::<Vec<_>>()).1, 8);
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
