//! The threads of a process and of its children, which may start and end at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use super::targets::{self, Target};
use copycost::internals::sys::text;

/// Processes with all their descendants.
#[derive(Debug)]
pub struct Processes {
    targets: Vec<Target>,
    /// The processes of the targets at the last look for them.
    found: BTreeSet<i32>,
    /// The running processes of the tree, each with its memory.
    living: BTreeMap<i32, ProcessMemory>,
    count: usize,
    refused: BTreeSet<i32>,
    /// The parents at the last scan.
    parents: BTreeMap<i32, i32>,
    /// The CPU time of each process, those that have ended included: at the first scan and at the last that found it.
    cpu: BTreeMap<i32, (Duration, Duration)>,
    scans: u64,
}

impl Processes {
    /// The processes of `targets` and their descendants; nothing is read yet.
    pub fn of(targets: Vec<Target>) -> Self {
        Self {
            targets,
            found: BTreeSet::new(),
            living: BTreeMap::new(),
            count: 0,
            refused: BTreeSet::new(),
            parents: BTreeMap::new(),
            cpu: BTreeMap::new(),
            scans: 0,
        }
    }

    /// The threads running now (gettid(2)), each with its process. A child still belongs after its parent has ended.
    pub fn threads(&mut self) -> BTreeMap<i32, i32> {
        // To find who has a port, all files of all processes are looked at.
        if self.scans.is_multiple_of(SCANS_TO_FIND) {
            self.found = targets::find(&self.targets);
        }
        let parents = parents();
        // This process is excluded, because it only watches.
        let this_process = i32::try_from(std::process::id()).unwrap_or(0);
        let mut members: BTreeSet<i32> =
            self.living.keys().copied().chain(self.found.iter().copied()).collect();
        // A child may have a smaller id than its parent, because ids wrap around. So the scan repeats until nothing is
        // new.
        loop {
            let children = parents.iter().filter(|(_, parent)| members.contains(parent)).map(|(id, _)| *id);
            let found: BTreeSet<i32> =
                children.filter(|id| !members.contains(id) && *id != this_process).collect();
            if found.is_empty() {
                break;
            }
            members.extend(found);
        }
        let mut threads = BTreeMap::new();
        let mut living = BTreeMap::new();
        for process in members.into_iter().filter(|process| *process != this_process) {
            // A zombie still has its folder in /proc, but no running thread.
            let running =
                ids_in(&format!("/proc/{process}/task")).filter(|thread| !has_ended(process, *thread));
            let running: Vec<i32> = running.collect();
            if running.is_empty() {
                continue;
            }
            let memory = self.living.remove(&process).unwrap_or_else(|| {
                self.count += 1;
                ProcessMemory::of(process)
            });
            living.insert(process, memory);
            let time = cpu_time(process);
            // A process that appears between two scans began from nothing.
            let first = if self.scans == 0 { time } else { Duration::ZERO };
            self.cpu.entry(process).or_insert((first, time)).1 = time;
            threads.extend(running.into_iter().map(|thread| (thread, process)));
        }
        // Ended processes are dropped, because the kernel may reuse their ids.
        self.living = living;
        self.parents = parents;
        self.scans += 1;
        self.refused.retain(|thread| threads.contains_key(thread));
        threads
    }

    /// The CPU time of all of them from the first scan to the last, that of threads that have ended included.
    pub fn cpu_time(&self) -> Duration {
        self.cpu.values().map(|(first, last)| last.saturating_sub(*first)).sum()
    }

    /// The processes of the last scan.
    pub fn living(&self) -> impl Iterator<Item = i32> + '_ {
        self.living.keys().copied()
    }

    /// The parent of a process at the last scan.
    pub fn parent(&self, process: i32) -> Option<i32> {
        self.parents.get(&process).copied()
    }

    /// The number of processes seen so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The memory of a process that ran at the last scan.
    pub fn memory(&mut self, process: i32) -> Option<&mut ProcessMemory> {
        self.living.get_mut(&process)
    }

    /// Notes that a thread cannot be sampled.
    pub fn refuse(&mut self, thread: i32) {
        self.refused.insert(thread);
    }

    /// Whether [`Self::refuse`] was called for a thread.
    pub fn was_refused(&self, thread: i32) -> bool {
        self.refused.contains(&thread)
    }
}

/// From one look for processes of the targets to the next, in scans.
const SCANS_TO_FIND: u64 = 10;

/// The memory of a process, for reading. Reading needs the right to attach to the process, which is more than the right
/// to sample it.
#[derive(Debug)]
pub struct ProcessMemory {
    process: i32,
    file: Option<File>,
}

impl ProcessMemory {
    fn of(process: i32) -> Self {
        Self { process, file: open(process) }
    }

    /// Takes a file for memory, for tests.
    #[cfg(test)]
    pub fn in_file(file: File) -> Self {
        Self { process: 0, file: Some(file) }
    }

    /// The bytes at `address`; `None` if they cannot be read.
    pub fn read<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        if self.file.as_ref()?.read_exact_at(&mut bytes, address).is_err() {
            // After execve(2) the open file still refers to the memory of the previous program, so open it again.
            self.file = open(self.process);
            self.file.as_ref()?.read_exact_at(&mut bytes, address).ok()?;
        }
        Some(bytes)
    }
}

fn open(process: i32) -> Option<File> {
    File::open(format!("/proc/{process}/mem")).ok()
}

/// The names in a folder that are numbers; empty if it cannot be read.
fn ids_in(folder: &str) -> impl Iterator<Item = i32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Every process with its parent.
fn parents() -> BTreeMap<i32, i32> {
    let parent = |id: i32| Some((id, stat(&format!("/proc/{id}/stat"))?.1));
    ids_in("/proc").filter_map(parent).collect()
}

fn has_ended(process: i32, thread: i32) -> bool {
    stat(&format!("/proc/{process}/task/{thread}/stat"))
        .is_none_or(|(state, _)| matches!(state, 'Z' | 'X' | 'x'))
}

/// The time in user space and in the kernel of all threads of a process, also of those that have ended; zero if it has
/// ended itself. The kernel counts it in ticks.
fn cpu_time(process: i32) -> Duration {
    let text = text::read(format!("/proc/{process}/stat")).unwrap_or_default();
    let ticks = |text: &str| -> Option<u64> {
        // After the name come the state and twelve more fields before utime and stime.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    Duration::from_secs_f64(ticks(&text).unwrap_or_default() as f64 / TICKS)
}

/// Ticks of a second in `/proc` (USER_HZ), on every architecture that this crate is built for.
const TICKS: f64 = 100.0;

/// The state and the parent in a `stat` file. The name before them is in brackets and may itself contain brackets.
fn stat(path: &str) -> Option<(char, i32)> {
    let text = text::read(path).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    #[test]
    fn children_and_threads_are_found_and_stay_after_their_parent() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 30 & echo $!; exec sleep 30"]).stdout(std::process::Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line)
            .unwrap();
        let child: i32 = line.trim().parse().unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        let mut processes = Processes::of(vec![Target::Pid(pid)]);
        let of = |threads: BTreeMap<i32, i32>| threads.into_values().collect::<BTreeSet<_>>();
        assert_eq!(of(processes.threads()), BTreeSet::from([pid, child]));
        shell.kill().unwrap();
        // The shell is killed but not yet waited for, so it soon is a zombie.
        let until = Instant::now() + Duration::from_secs(60);
        while of(processes.threads()) != BTreeSet::from([child]) {
            assert!(Instant::now() < until, "a process that was killed is still one");
        }
        assert!(fs::exists(format!("/proc/{pid}")).unwrap());
        shell.wait().unwrap();
        assert_eq!(of(processes.threads()), BTreeSet::from([child]));
        assert!(Command::new("kill").arg(child.to_string()).status().unwrap().success());
        assert_eq!(processes.count(), 2);
    }

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stat");
        fs::write(&path, "12 (a) R 7 (b)) S 34 12 12").unwrap();
        assert_eq!(stat(path.to_str().unwrap()), Some(('S', 34)));
    }
}
