//! What the kernel and the CPUs are set to, as far as it moves figures.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use copycost::internals::sys::{c_library, sched};

/// Settings of the machine. What is not known is `None`, also in results of versions that did not ask.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SystemConditions {
    /// When memory lies on transparent huge pages: `always`, `madvise` or `never`.
    #[serde(default)]
    pub transparent_huge_pages: Option<String>,
    /// What the kernel does against faults of the CPU, by fault: each costs something at every system call.
    #[serde(default)]
    pub mitigations: BTreeMap<String, String>,
    /// net.core.optmem_max in bytes: notifications of zero-copy sends that a socket may have unread.
    #[serde(default)]
    pub optmem_max: Option<u64>,
    /// The frequency governors of the CPUs that the process may use.
    #[serde(default)]
    pub governor: Option<String>,
    /// The C library, whose memcpy and whose allocator the program uses: `glibc 2.36`, with GLIBC_TUNABLES where that is
    /// set.
    #[serde(default)]
    pub c_library: Option<String>,
    /// The revision of the CPUs' microcode.
    #[serde(default)]
    pub microcode: Option<String>,
}

impl SystemConditions {
    /// Those of this machine.
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

    /// Names and values of the C library and the microcode, as far as they are known.
    pub fn hardware_and_libc(&self) -> Vec<(&'static str, String)> {
        let all = [("C library", &self.c_library), ("microcode", &self.microcode)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// Names and values of what somebody has set, as far as it is known, for people.
    pub fn known(&self) -> Vec<(&'static str, String)> {
        let mitigated = self.mitigations.iter().filter(|(_, does)| does.as_str() != "Not affected");
        let mitigations: Vec<String> = mitigated.map(|(fault, does)| format!("{fault}: {does}")).collect();
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

/// The revisions in a text of /proc/cpuinfo, of x86.
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
        let does = fs::read_to_string(entry.path()).ok()?.trim().to_owned();
        Some((entry.file_name().into_string().ok()?, does))
    };
    entries.filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_where_they_are() {
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
