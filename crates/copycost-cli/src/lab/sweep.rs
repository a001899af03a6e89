//! Removes the names of namespaces that killed labs left behind.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::network::{NAMES, PREFIX, remove};
use copycost::internals::sys::netns::Netns;

/// Removes the names of labs whose process has ended.
pub(super) fn sweep() {
    remove(&abandoned(Path::new(NAMES)));
}

fn abandoned(names: &Path) -> Vec<String> {
    let entries = fs::read_dir(names).into_iter().flatten().flatten();
    let names = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(is_lab_name) && is_abandoned(names, &entry.path())
    });
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Whether no process uses the namespace of that name. A name that cannot be inspected is never removed.
fn is_abandoned(names: &Path, path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|file| file.dev());
    let (Ok(folder), Ok(file)) = (device(names), device(path)) else { return false };
    if file == folder {
        // `ip netns attach` first makes a plain file and then mounts the namespace on it. Until then there is no mark
        // to check, but the process that makes it is alive.
        return !is_being_made(path);
    }
    Netns::is_used(path).is_ok_and(|used| !used)
}

fn is_being_made(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split(['.', '-']).next()).unwrap_or_default();
    Path::new("/proc").join(maker).exists()
}

/// Whether a name is `copycost-PID-a` or `copycost-PID.NUMBER-a`, or the same with `r` or `b`. A lab makes no other
/// names.
fn is_lab_name(name: &str) -> bool {
    let Some((lab, "a" | "r" | "b")) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match lab.split_once('.') {
        Some((pid, number)) => is_number(pid) && is_number(number),
        None => is_number(lab),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_making_is_not_swept() {
        let names = tempfile::tempdir().unwrap();
        let (present, gone) = (format!("{PREFIX}{}-a", std::process::id()), format!("{PREFIX}4194305-a"));
        for name in [&present, &gone] {
            fs::write(names.path().join(name), "").unwrap();
        }
        assert_eq!(abandoned(names.path()), [gone]);
    }

    #[test]
    fn only_names_of_labs_are_swept() {
        for name in ["copycost-1-a", "copycost-4194304-r", "copycost-7.12-b"] {
            assert!(is_lab_name(name), "{name}");
        }
        for name in
            ["copycost-1-0-host", "copycost--a", "copycost-x-a", "copycost-1.-a", "eth0", "copycost-1-c"]
        {
            assert!(!is_lab_name(name), "{name}");
        }
    }
}
