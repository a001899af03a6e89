//! How much memory the control groups leave. The kernel kills a process that takes more, so the process
//! cannot report an error.

use std::fmt;
use std::path::Path;

use super::{directories_below, field, read};
use crate::sys::limits;
use crate::units::ByteSize;

/// The memory that a group still allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupHeadroom {
    /// The group's directory.
    pub group: String,
    /// Its limit in bytes.
    pub limit: u64,
    /// What a process can still take without swapping, in bytes.
    pub bytes: u64,
}

/// The memory that this process may still take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// Its size in bytes.
    pub bytes: usize,
    /// The control group that sets this limit, or `None` if the machine has no more.
    pub group: Option<String>,
}

/// The memory that this process may take without swapping and without being killed: the least of what the
/// machine has free and what each of its control groups allows. `None` if nothing is known.
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

/// The group that leaves least, from the process's own up to the root. `None` if no group limits memory.
pub fn left() -> Option<GroupHeadroom> {
    left_below(Path::new("/"))
}

/// As [`left`], with `root` as `/`.
pub fn left_below(root: &Path) -> Option<GroupHeadroom> {
    let groups = directories_below(root, "memory").into_iter();
    groups.filter_map(|group| of(root, group)).min_by_key(|left| left.bytes)
}

fn of(root: &Path, group: String) -> Option<GroupHeadroom> {
    let number = |name: &str| read(root, &group, name)?.trim().parse::<u64>().ok();
    // Above memory.high the kernel does not kill a process, but it slows it down again and again. "max" is
    // not a number.
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
    // The kernel reclaims the page cache that is not in use, as MemAvailable counts it (si_mem_available,
    // mm/show_mem.c).
    let held = used.saturating_sub(inactive).saturating_sub(active / 2);
    Some(GroupHeadroom { bytes: limit.saturating_sub(held), group, limit })
}

/// Version 1 writes "no limit" as the largest number of whole pages (PAGE_COUNTER_MAX), which depends on the
/// page size. No machine has this much.
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
    fn the_tightest_group_of_version_two_counts() {
        let stat = "anon 1\ninactive_file 100\nactive_file 40\nfile 140\n";
        let files = |group: &'static str, parent: &'static str| {
            [
                ("cg/a/b/memory.max", group),
                ("cg/a/b/memory.current", "500\n"),
                ("cg/a/b/memory.stat", stat),
                ("cg/a/memory.max", parent),
                ("cg/a/memory.current", "900\n"),
            ]
        };
        let of = |group, parent| machine("0::/a/b\n", V2, &files(group, parent));
        let left = of("1000\n", "max\n").unwrap();
        assert_eq!((left.group.as_str(), left.limit, left.bytes), ("/cg/a/b", 1000, 620));
        let left = of("1000\n", "1000\n").unwrap();
        assert_eq!((left.group.as_str(), left.bytes), ("/cg/a", 100));
        assert_eq!(of("100\n", "max\n").unwrap().bytes, 0);
        assert_eq!(of("max\n", "max\n"), None);
    }

    #[test]
    fn memory_high_is_a_limit() {
        let files = [("cg/memory.max", "max\n"), ("cg/memory.high", "300\n"), ("cg/memory.current", "100\n")];
        assert_eq!(machine("0::/\n", V2, &files).unwrap().bytes, 200);
    }

    #[test]
    fn version_one_has_other_file_names() {
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
