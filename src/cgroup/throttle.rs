//! How often control groups have stopped this process' threads for the rest of a period: `nr_throttled` in cpu.stat.
//!
//! A throttled thread stops in the middle of a message for up to 100 ms, and no figure of the message shows
//! this.

use std::fs::File;
use std::ops::{Add, Sub};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{directories_below, field};

/// Periods of the CPU bandwidth controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Throttled {
    /// Periods in which the groups had something to run.
    pub periods: u64,
    /// The periods in which the groups were stopped.
    pub stopped: u64,
}

impl Add for Throttled {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { periods: self.periods + other.periods, stopped: self.stopped + other.stopped }
    }
}

impl Sub for Throttled {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            periods: self.periods.saturating_sub(earlier.periods),
            stopped: self.stopped.saturating_sub(earlier.stopped),
        }
    }
}

impl Throttled {
    /// The end that was stopped more often. The two ends may be in the same groups, so their counts cannot be
    /// added.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if (other.stopped, other.periods) > (self.stopped, self.periods) { other } else { self }
    }
}

/// The open counters of this process' groups. Reading them allocates nothing.
#[derive(Debug)]
pub struct ThrottleCounters(Vec<File>);

impl ThrottleCounters {
    /// Opens the counters of the process's own group and of each parent.
    pub fn open() -> Self {
        Self::open_below(Path::new("/"))
    }

    /// As [`ThrottleCounters::open`], with `root` as `/`.
    pub fn open_below(root: &Path) -> Self {
        let stat = |group: String| File::open(root.join(group.trim_start_matches('/')).join("cpu.stat")).ok();
        Self(directories_below(root, "cpu").into_iter().filter_map(stat).collect())
    }

    /// Reads the counters. The counts of nested groups are added, because each group has its own limit.
    pub fn read(&self) -> Throttled {
        self.0.iter().map(read).fold(Throttled::default(), Add::add)
    }
}

fn read(file: &File) -> Throttled {
    // The file has about ten short lines, and the counters are among the first.
    let mut bytes = [0; 1024];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    parse(&String::from_utf8_lossy(&bytes[..read]))
}

fn parse(text: &str) -> Throttled {
    let number = |name| field(text, name).unwrap_or(0);
    Throttled { periods: number("nr_periods"), stopped: number("nr_throttled") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_versions_are_read_and_all_groups_added() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", "3:cpu,cpuacct:/a\n0::/b\n");
        write(
            "proc/self/mountinfo",
            "36 31 0:33 / /v1 rw - cgroup cgroup rw,cpu\n41 31 0:38 / /v2 rw - cgroup2 cgroup2 rw\n",
        );
        write("v1/a/cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 5\n");
        write("v2/b/cpu.stat", "usage_usec 5\nnr_periods 3\nnr_throttled 1\nthrottled_usec 9\n");
        write("v2/cpu.stat", "usage_usec 5\n");
        let counters = ThrottleCounters::open_below(root.path());
        let before = counters.read();
        assert_eq!(before, Throttled { periods: 13, stopped: 5 });
        write("v1/a/cpu.stat", "nr_periods 20\nnr_throttled 14\nthrottled_time 5\n");
        assert_eq!(counters.read() - before, Throttled { periods: 10, stopped: 10 });
        assert_eq!(before - counters.read(), Throttled::default(), "never below nothing");
    }
}
