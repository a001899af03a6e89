//! The threads of a process and of its children, which come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use copycost::internals::sys::text;

/// A process and its children, and their children.
#[derive(Debug)]
pub struct Processes {
    first: i32,
    /// Every process that belongs to it and runs, with its memory.
    living: BTreeMap<i32, ProcessMemory>,
    count: usize,
    refused: BTreeSet<i32>,
}

impl Processes {
    /// Those of `pid`.
    pub fn of(pid: i32) -> Self {
        Self { first: pid, living: BTreeMap::new(), count: 0, refused: BTreeSet::new() }
    }

    /// The threads that there are now (gettid(2)), each with its process. A child stays one after its parent has ended.
    pub fn threads(&mut self) -> BTreeMap<i32, i32> {
        let parents = parents();
        // Not this process: what it does is watching.
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut members: BTreeSet<i32> = self.living.keys().copied().chain([self.first]).collect();
        // A child may have a smaller id than its parent, where ids have come round.
        loop {
            let children = parents.iter().filter(|(_, parent)| members.contains(parent)).map(|(id, _)| *id);
            let found: BTreeSet<i32> = children.filter(|id| !members.contains(id) && *id != own).collect();
            if found.is_empty() {
                break;
            }
            members.extend(found);
        }
        let mut threads = BTreeMap::new();
        let mut living = BTreeMap::new();
        for process in members.into_iter().filter(|process| *process != own) {
            // One that has ended, and waits for its parent to notice, has a folder and runs no more.
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
            threads.extend(running.into_iter().map(|thread| (thread, process)));
        }
        // Whoever has ended is forgotten: its number may be somebody else's soon.
        self.living = living;
        self.refused.retain(|thread| threads.contains_key(thread));
        threads
    }

    /// How many processes there were.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The memory of a process that ran when threads were last looked for.
    pub fn memory(&mut self, process: i32) -> Option<&mut ProcessMemory> {
        self.living.get_mut(&process)
    }

    /// Notes that a thread cannot be sampled.
    pub fn refuse(&mut self, thread: i32) {
        self.refused.insert(thread);
    }

    /// Whether it was noted.
    pub fn was_refused(&self, thread: i32) -> bool {
        self.refused.contains(&thread)
    }
}

/// The memory of a process, to be read. It takes the right to attach to it, which is more than the right to sample it.
#[derive(Debug)]
pub struct ProcessMemory {
    process: i32,
    file: Option<File>,
}

impl ProcessMemory {
    fn of(process: i32) -> Self {
        Self { process, file: open(process) }
    }

    /// Memory that lies in a file, for tests.
    #[cfg(test)]
    pub fn in_file(file: File) -> Self {
        Self { process: 0, file: Some(file) }
    }

    /// The bytes at `address`; `None` where they cannot be read.
    pub fn read<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        if self.file.as_ref()?.read_exact_at(&mut bytes, address).is_err() {
            // Another program runs there since execve(2), and the file has the memory of the one before.
            self.file = open(self.process);
            self.file.as_ref()?.read_exact_at(&mut bytes, address).ok()?;
        }
        Some(bytes)
    }
}

fn open(process: i32) -> Option<File> {
    File::open(format!("/proc/{process}/mem")).ok()
}

/// The numbers among the names in a folder; none where it cannot be read.
fn ids_in(folder: &str) -> impl Iterator<Item = i32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Every process and its parent.
fn parents() -> BTreeMap<i32, i32> {
    let parent = |id: i32| Some((id, stat(&format!("/proc/{id}/stat"))?.1));
    ids_in("/proc").filter_map(parent).collect()
}

fn has_ended(process: i32, thread: i32) -> bool {
    stat(&format!("/proc/{process}/task/{thread}/stat"))
        .is_none_or(|(state, _)| matches!(state, 'Z' | 'X' | 'x'))
}

/// The state and the parent. The name before them is in brackets, and may have any in it.
fn stat(path: &str) -> Option<(char, i32)> {
    let text = text::read(path).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::{Duration, Instant};

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
        let mut processes = Processes::of(pid);
        let of = |threads: BTreeMap<i32, i32>| threads.into_values().collect::<BTreeSet<_>>();
        assert_eq!(of(processes.threads()), BTreeSet::from([pid, child]));
        shell.kill().unwrap();
        // Not yet waited for: it has a folder and, after a moment, no life.
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
