//! Settings of the kernel and the CPUs that affect the results.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use copycost::internals::sys::{c_library, sched};

/// Settings of the machine. An unknown setting is `None`, also in results of versions that did not record it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SystemConditions {
    /// When the kernel uses transparent huge pages: `always`, `madvise` or `never`.
    #[serde(default)]
    pub transparent_huge_pages: Option<String>,
    /// The kernel's mitigations by CPU vulnerability. Most add cost to every system call.
    #[serde(default)]
    pub mitigations: BTreeMap<String, String>,
    /// net.core.optmem_max in bytes: limits the unread zero-copy notifications of a socket.
    #[serde(default)]
    pub optmem_max: Option<u64>,
    /// The frequency governors of the CPUs that the process may use, joined by ` and `.
    #[serde(default)]
    pub governor: Option<String>,
    /// The C library, which provides memcpy and the allocator: `glibc 2.36`, with GLIBC_TUNABLES if that is set.
    #[serde(default)]
    pub c_library: Option<String>,
    /// The microcode revisions of the CPUs, joined by ` and `.
    #[serde(default)]
    pub microcode: Option<String>,
}

impl SystemConditions {
    /// The settings of this machine, with the governors of the CPUs that this process may use.
    pub fn here() -> Self {
        let tunables = std::env::var("GLIBC_TUNABLES").ok().filter(|tunables| !tunables.is_empty());
        let tunables = tunables.map_or_else(String::new, |tunables| format!(" (GLIBC_TUNABLES={tunables})"));
        let c_library = Some(c_library::version() + &tunables);
        Self { c_library, ..Self::below(Path::new("/"), &sched::allowed_cpus().unwrap_or_default()) }
    }

    fn below(root: &Path, cpus: &[usize]) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let chosen = |line: String| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
        let mut governors: Vec<String> = cpus
            .iter()
            .filter_map(|cpu| read(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")))
            .map(|text| text.trim().to_owned())
            .collect();
        governors.sort_unstable();
        governors.dedup();
        Self {
            transparent_huge_pages: read("sys/kernel/mm/transparent_hugepage/enabled").and_then(chosen),
            mitigations: mitigations(&root.join("sys/devices/system/cpu/vulnerabilities")),
            optmem_max: read("proc/sys/net/core/optmem_max").and_then(|text| text.trim().parse().ok()),
            governor: (!governors.is_empty()).then(|| governors.join(" and ")),
            c_library: None,
            microcode: read("proc/cpuinfo").and_then(|text| microcode(&text)),
        }
    }

    /// Names and values of the C library and the microcode, if known.
    pub fn hardware_and_libc(&self) -> Vec<(&'static str, String)> {
        let all = [("C library", &self.c_library), ("microcode", &self.microcode)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// Names and values of the known settings that a user can change, to show to the user.
    pub fn known(&self) -> Vec<(&'static str, String)> {
        let mitigated = self.mitigations.iter().filter(|(_, status)| status.as_str() != "Not affected");
        let mitigations: Vec<String> =
            mitigated.map(|(fault, status)| format!("{fault}: {status}")).collect();
        let some = |name, value: Option<String>| value.map(|value| (name, value));
        let all = [
            some("transparent huge pages", self.transparent_huge_pages.clone()),
            some("mitigations", (!self.mitigations.is_empty()).then(|| mitigations.join("; "))),
            some("net.core.optmem_max", self.optmem_max.map(|bytes| bytes.to_string())),
            some("frequency governor", self.governor.clone()),
        ];
        all.into_iter().flatten().collect()
    }
}

/// The microcode revisions in the text of /proc/cpuinfo; only x86 has them.
fn microcode(cpuinfo: &str) -> Option<String> {
    let lines = cpuinfo.lines().filter(|line| line.starts_with("microcode"));
    let mut revisions: Vec<_> = lines.filter_map(|line| Some(line.split_once(':')?.1.trim())).collect();
    revisions.sort_unstable();
    revisions.dedup();
    (!revisions.is_empty()).then(|| revisions.join(" and "))
}

fn mitigations(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path()).ok()?.trim().to_owned();
        Some((entry.file_name().into_string().ok()?, status))
    };
    entries.filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_their_files() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(SystemConditions::below(root.path(), &[0]), SystemConditions::default());
        assert_eq!(SystemConditions::default().known(), []);
        for (path, text) in [
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
            ("sys/devices/system/cpu/vulnerabilities/retbleed", "Mitigation: Enhanced IBRS\n"),
            ("proc/sys/net/core/optmem_max", "131072\n"),
            (
                "proc/cpuinfo",
                "processor\t: 0\nmicrocode\t: 0xa0011d5\nprocessor\t: 1\nmicrocode\t: 0xa0011d5\n",
            ),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "other\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let conditions = SystemConditions::below(root.path(), &[0, 1]);
        assert_eq!(conditions.hardware_and_libc(), [("microcode", "0xa0011d5".to_owned())]);
        let known = conditions.known();
        let expected = [
            ("transparent huge pages", "madvise"),
            ("mitigations", "retbleed: Mitigation: Enhanced IBRS"),
            ("net.core.optmem_max", "131072"),
            ("frequency governor", "performance and powersave"),
        ];
        assert_eq!(known, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
