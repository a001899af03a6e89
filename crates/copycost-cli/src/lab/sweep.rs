//! What a killed lab left behind: names of namespaces that nobody lives in.

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
        name.to_str().is_some_and(is_ours) && is_abandoned(names, &entry.path())
    });
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Whether nobody lives in the namespace of that name. A name that cannot be looked at is not ours to remove.
fn is_abandoned(names: &Path, path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|file| file.dev());
    let (Ok(around), Ok(own)) = (device(names), device(path)) else { return false };
    if own == around {
        // `ip netns attach` makes a plain file first and mounts the namespace on it then: until then there is no mark, and
        // whoever makes it is alive.
        return !is_being_made(path);
    }
    Netns::is_used(path).is_ok_and(|used| !used)
}

fn is_being_made(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split(['.', '-']).next()).unwrap_or_default();
    Path::new("/proc").join(maker).exists()
}

/// `copycost-PID-a`, or `copycost-PID.NUMBER-a`, and so for `r` and `b`. Other names with this beginning are not made
/// here.
fn is_ours(name: &str) -> bool {
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
    fn a_name_that_is_just_being_made_is_not_swept() {
        let names = tempfile::tempdir().unwrap();
        let (own, gone) = (format!("{PREFIX}{}-a", std::process::id()), format!("{PREFIX}4194305-a"));
        for name in [&own, &gone] {
            fs::write(names.path().join(name), "").unwrap();
        }
        assert_eq!(abandoned(names.path()), [gone]);
    }

    #[test]
    fn only_names_of_labs_are_swept() {
        for name in ["copycost-1-a", "copycost-4194304-r", "copycost-7.12-b"] {
            assert!(is_ours(name), "{name}");
        }
        for name in
            ["copycost-1-0-host", "copycost--a", "copycost-x-a", "copycost-1.-a", "eth0", "copycost-1-c"]
        {
            assert!(!is_ours(name), "{name}");
        }
    }
}
