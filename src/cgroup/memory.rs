//! The memory that control groups leave: a process that takes more is killed, without an error that it could report.

use std::fmt;
use std::path::Path;

use super::{directories_below, field, read};
use crate::sys::limits;
use crate::units::ByteSize;

/// What a group leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupHeadroom {
    /// Its folder.
    pub group: String,
    /// What it allows, in bytes.
    pub limit: u64,
    /// What can still be had without swapping, in bytes.
    pub bytes: u64,
}

/// What this process may still take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// In bytes.
    pub bytes: usize,
    /// The control group that allows no more; `None`: it is all that the machine has.
    pub group: Option<String>,
}

/// The memory that this process may take without swapping and without being killed: what the machine has left, and
/// each of its control groups. `None` where nothing is known.
pub fn available() -> Option<Available> {
    let machine = limits::available_memory();
    let group = left().map(|left| (usize::try_from(left.bytes).unwrap_or(usize::MAX), left.group));
    match (machine, group) {
        (Some(bytes), Some((less, group))) if less < bytes => {
            Some(Available { bytes: less, group: Some(group) })
        }
        (None, Some((bytes, group))) => Some(Available { bytes, group: Some(group) }),
        (Some(bytes), _) => Some(Available { bytes, group: None }),
        (None, None) => None,
    }
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: usize = 1 << 20;
        let bytes = ByteSize(self.bytes.div_ceil(MIB).saturating_mul(MIB));
        match &self.group {
            Some(group) => write!(f, "the control group {group} has {bytes} left"),
            None => write!(f, "this machine has {bytes} left"),
        }
    }
}

/// The group that leaves least, from this process' own up to the root; `None` where none limits memory.
pub fn left() -> Option<GroupHeadroom> {
    left_below(Path::new("/"))
}

/// The same on a machine whose `/` is `root`.
pub fn left_below(root: &Path) -> Option<GroupHeadroom> {
    let groups = directories_below(root, "memory").into_iter();
    groups.filter_map(|group| of(root, group)).min_by_key(|left| left.bytes)
}

fn of(root: &Path, group: String) -> Option<GroupHeadroom> {
    let number = |name: &str| read(root, &group, name)?.trim().parse::<u64>().ok();
    // Beyond memory.high nobody is killed, and everybody is stopped again and again. "max" is no number.
    let (limit, used, reclaimable) = match [number("memory.max"), number("memory.high")] {
        [None, None] => {
            let limit = number("memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED)?;
            (limit, number("memory.usage_in_bytes")?, ["total_inactive_file", "total_active_file"])
        }
        limits => {
            let limit = limits.into_iter().flatten().min()?;
            (limit, number("memory.current")?, ["inactive_file", "active_file"])
        }
    };
    let stat = read(root, &group, "memory.stat").unwrap_or_default();
    let [inactive, active] = reclaimable.map(|name| field(&stat, name).unwrap_or(0));
    // Of the cache of files the kernel gives back what is not in use, as MemAvailable counts it (si_mem_available,
    // mm/show_mem.c).
    let held = used.saturating_sub(inactive).saturating_sub(active / 2);
    Some(GroupHeadroom { bytes: limit.saturating_sub(held), group, limit })
}

/// Version 1 spells "no limit" as the largest number of whole pages (PAGE_COUNTER_MAX), whatever a page is; no machine
/// has as much.
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const V1: &str = "36 31 0:33 / /cg/memory rw - cgroup cgroup rw,memory\n";
    const V2: &str = "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n";

    fn machine(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<GroupHeadroom> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in
            [("proc/self/cgroup", groups), ("proc/self/mountinfo", mounts)].iter().chain(files)
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        left_below(root.path())
    }

    #[test]
    fn the_tightest_group_of_version_two_counts_whichever_it_is() {
        let stat = "anon 1\ninactive_file 100\nactive_file 40\nfile 140\n";
        let files = |own: &'static str, parent: &'static str| {
            [
                ("cg/a/b/memory.max", own),
                ("cg/a/b/memory.current", "500\n"),
                ("cg/a/b/memory.stat", stat),
                ("cg/a/memory.max", parent),
                ("cg/a/memory.current", "900\n"),
            ]
        };
        let of = |own, parent| machine("0::/a/b\n", V2, &files(own, parent));
        let left = of("1000\n", "max\n").unwrap();
        assert_eq!((left.group.as_str(), left.limit, left.bytes), ("/cg/a/b", 1000, 620));
        let left = of("1000\n", "1000\n").unwrap();
        assert_eq!((left.group.as_str(), left.bytes), ("/cg/a", 100));
        assert_eq!(of("100\n", "max\n").unwrap().bytes, 0);
        assert_eq!(of("max\n", "max\n"), None);
    }

    #[test]
    fn what_only_slows_down_is_a_limit_too() {
        let files = [("cg/memory.max", "max\n"), ("cg/memory.high", "300\n"), ("cg/memory.current", "100\n")];
        assert_eq!(machine("0::/\n", V2, &files).unwrap().bytes, 200);
    }

    #[test]
    fn version_one_is_read_with_its_own_names() {
        let files = |limit: &'static str| {
            [
                ("cg/memory/x/memory.limit_in_bytes", limit),
                ("cg/memory/x/memory.usage_in_bytes", "150\n"),
                (
                    "cg/memory/x/memory.stat",
                    "inactive_file 9\ntotal_inactive_file 50\ntotal_active_file 10\n",
                ),
                ("cg/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("cg/memory/memory.usage_in_bytes", "7\n"),
            ]
        };
        let groups = "4:memory:/x\n1:cpu:/y\n";
        let left = machine(groups, V1, &files("200\n")).unwrap();
        assert_eq!((left.group.as_str(), left.bytes), ("/cg/memory/x", 105));
        assert_eq!(machine(groups, V1, &files("9223372036854771712\n")), None);
    }
}
