//! The control groups of this process: the directories with its limits, in version 1 and version 2.
//!
//! A group limits every group below it, so each group up to the mount counts. Sources:
//! Documentation/admin-guide/cgroup-v2.rst, Documentation/admin-guide/cgroup-v1/, cgroups(7).

pub mod memory;
pub mod throttle;

use std::fs;
use std::path::Path;

/// The directories that may hold limits of `controller` (`cpu`, `memory`) for a process: that of its own
/// group, then each parent's up to the mount. `groups` is the text of /proc/self/cgroup, `mounts` that of
/// /proc/self/mountinfo.
pub fn directories(controller: &str, groups: &str, mounts: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mount in mounts.lines().filter_map(|line| Mount::parse(line, controller)) {
        // A line is `hierarchy:controllers:path`; cgroups(7).
        let path = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            mount.carries(controllers, controller).then_some(path)
        });
        if let Some(path) = path {
            mount.ancestry(path, &mut found);
        }
    }
    found
}

/// As [`directories`], for this process and with `root` as `/`.
fn directories_below(root: &Path, controller: &str) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    directories(controller, &read("proc/self/cgroup"), &read("proc/self/mountinfo"))
}

fn read(root: &Path, directory: &str, name: &str) -> Option<String> {
    let directory = directory.trim_start_matches('/');
    fs::read_to_string(root.join(directory).join(name)).ok()
}

/// The number behind `name` in a file of lines `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// A mounted hierarchy of control groups that may hold the controller.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    unified: bool,
}

impl<'a> Mount<'a> {
    /// A line of mountinfo: `id parent major:minor root point options… - type source options`; proc_pid_mountinfo(5).
    fn parse(line: &'a str, controller: &str) -> Option<Mount<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        let (root, point) = (left.next()?, left.next()?);
        let (kind, options) = (right.next()?, right.nth(1)?);
        let unified = kind == "cgroup2";
        let limits = unified || (kind == "cgroup" && options.split(',').any(|option| option == controller));
        limits.then_some(Mount { root, point, unified })
    }

    fn carries(&self, controllers: &str, controller: &str) -> bool {
        if self.unified {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|name| name == controller)
        }
    }

    fn ancestry(&self, path: &str, found: &mut Vec<String>) {
        // Below a container's mount, the path continues where the mount's root ends. For a path elsewhere
        // (`/..`, another namespace), the best known group is the mount point.
        let root = self.root.trim_end_matches('/');
        let mut inner = path.strip_prefix(root).filter(|rest| !rest.contains("/..")).unwrap_or("");
        loop {
            inner = inner.trim_end_matches('/');
            found.push(format!("{}{inner}", self.point));
            match inner.rfind('/') {
                None => return,
                Some(end) => inner = &inner[..end],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_searched_up_to_its_mount() {
        let mounts = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let found = directories("cpu", "0::/a/b\n", mounts);
        assert_eq!(found, ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
    }

    #[test]
    fn a_container_sees_its_own_part_of_the_tree() {
        let mounts = "32 31 0:29 /docker/f00 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct";
        let groups = "5:cpuset:/other\n3:cpu,cpuacct:/docker/f00\n";
        assert_eq!(directories("cpu", groups, mounts), ["/sys/fs/cgroup/cpu"]);
        assert_eq!(directories("memory", groups, mounts), Vec::<String>::new());
    }

    #[test]
    fn other_mounts_are_passed_over() {
        assert!(Mount::parse("1 2 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids", "cpu").is_none());
        assert!(Mount::parse("garbled", "cpu").is_none());
    }
}
