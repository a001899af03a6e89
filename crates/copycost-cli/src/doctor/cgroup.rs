//! CPU time that a control group takes away: cpu.max (v2) or cpu.cfs_quota_us (v1), and how often it did.
//!
//! A throttled thread stops for the rest of the period, usually up to 100 ms, in the middle of a message. Sources:
//! Documentation/admin-guide/cgroup-v2.rst, Documentation/scheduler/sched-bwc.rst.

use super::Machine;
use super::Plan;
use super::finding::Answer;
use super::machine::Unread;

/// A limit in CPUs, where it was found, and how to lift it.
struct Quota {
    cpus: f64,
    file: String,
    lift: String,
}

/// The tightest CPU quota from this process' group up to the root, against the CPUs planned.
pub(super) fn quota(machine: &Machine, plan: &Plan) -> Result<Answer, Unread> {
    let mut tightest: Option<Quota> = None;
    let mut throttled = 0;
    for directory in directories(machine)? {
        let here = [v2(machine, &directory)?, v1(machine, &directory)?];
        for quota in here.into_iter().flatten() {
            if tightest.as_ref().is_none_or(|so_far| quota.cpus < so_far.cpus) {
                tightest = Some(quota);
            }
        }
        throttled = throttled.max(throttlings(machine, &directory)?);
    }
    let stopped = match throttled {
        0 => String::new(),
        times => format!(" The group has been stopped {times} times already."),
    };
    let Some(Quota { cpus, file, lift }) = tightest else {
        return Ok(if throttled == 0 {
            Answer::ready("No control group limits the CPU time.")
        } else {
            Answer::note(format!("No control group limits the CPU time now.{stopped}"))
        });
    };
    let allowed = machine.facts.allowed_cpus.len().max(1) as u64;
    let used = plan.threads_here().clamp(1, allowed);
    let told = format!("{file} allows {cpus:.2} CPUs; the plan keeps {used} busy.{stopped}");
    if cpus >= used as f64 && throttled == 0 {
        return Ok(Answer::ready(told));
    }
    Ok(Answer::distorts(told)
        .effect("Threads stop in the middle of a message until the next period begins.")
        .fix(format!("{lift} (a container: start it without --cpus)")))
}

fn v2(machine: &Machine, directory: &str) -> Result<Option<Quota>, Unread> {
    let file = format!("{directory}/cpu.max");
    let Some(text) = machine.read_if_there(&file)? else {
        return Ok(None);
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.first() == Some(&"max") {
        return Ok(None);
    }
    let [quota, period] = words[..] else {
        return Err(Unread::strange(&file, &text));
    };
    let (Ok(quota), Ok(period)) = (quota.parse::<u64>(), period.parse::<u64>()) else {
        return Err(Unread::strange(&file, &text));
    };
    let lift = format!("echo max > {file}");
    Ok(Some(Quota { cpus: quota as f64 / period.max(1) as f64, file, lift }))
}

fn v1(machine: &Machine, directory: &str) -> Result<Option<Quota>, Unread> {
    let file = format!("{directory}/cpu.cfs_quota_us");
    // -1 is no quota.
    let quota = machine.number_if_there::<i64>(&file)?.filter(|&quota| quota > 0);
    let Some(quota) = quota else {
        return Ok(None);
    };
    let period: u64 = machine.number(&format!("{directory}/cpu.cfs_period_us"))?;
    let lift = format!("echo -1 > {file}");
    Ok(Some(Quota { cpus: quota as f64 / period.max(1) as f64, file, lift }))
}

fn throttlings(machine: &Machine, directory: &str) -> Result<u64, Unread> {
    let file = format!("{directory}/cpu.stat");
    let Some(text) = machine.read_if_there(&file)? else {
        return Ok(0);
    };
    match text.lines().find_map(|line| line.strip_prefix("nr_throttled ")) {
        None => Ok(0),
        Some(times) => times.trim().parse().map_err(|_| Unread::strange(&file, times)),
    }
}

/// The directories of this process' groups that may hold a CPU limit: its own, then each parent.
fn directories(machine: &Machine) -> Result<Vec<String>, Unread> {
    let Some(groups) = machine.read_if_there("/proc/self/cgroup")? else {
        return Ok(Vec::new());
    };
    let mounts = machine.read_if_there("/proc/self/mountinfo")?.unwrap_or_default();
    let mut found = Vec::new();
    for mount in mounts.lines().filter_map(Mount::parse) {
        // A line is `hierarchy:controllers:path`; cgroups(7).
        let path = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            mount.carries(controllers).then_some(path)
        });
        if let Some(path) = path {
            mount.ancestry(path, &mut found);
        }
    }
    Ok(found)
}

/// A mounted hierarchy of control groups that may limit CPU time.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    unified: bool,
}

impl<'a> Mount<'a> {
    /// A line of mountinfo: `id parent major:minor root point options… - type source options`; proc_pid_mountinfo(5).
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        let (root, point) = (left.next()?, left.next()?);
        let (kind, options) = (right.next()?, right.nth(1)?);
        let unified = kind == "cgroup2";
        let limits = unified || (kind == "cgroup" && options.split(',').any(|option| option == "cpu"));
        limits.then_some(Mount { root, point, unified })
    }

    fn carries(&self, controllers: &str) -> bool {
        if self.unified { controllers.is_empty() } else { controllers.split(',').any(|name| name == "cpu") }
    }

    fn ancestry(&self, path: &str, found: &mut Vec<String>) {
        // Below a container's mount the path begins where the mount's root ends; a path that lies elsewhere
        // (`/..`, another namespace) leaves the mount point itself as the best known group.
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
        let line = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let mut found = Vec::new();
        Mount::parse(line).expect("a mount").ancestry("/a/b", &mut found);
        assert_eq!(found, ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
    }

    #[test]
    fn a_container_sees_its_own_part_of_the_tree() {
        let line = "32 31 0:29 /docker/f00 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct";
        let mount = Mount::parse(line).expect("a mount");
        assert!(mount.carries("cpu,cpuacct") && !mount.carries("cpuset"));
        let mut found = Vec::new();
        mount.ancestry("/docker/f00", &mut found);
        assert_eq!(found, ["/sys/fs/cgroup/cpu"]);
    }

    #[test]
    fn other_mounts_are_passed_over() {
        assert!(Mount::parse("1 2 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids").is_none());
        assert!(Mount::parse("garbled").is_none());
    }
}
