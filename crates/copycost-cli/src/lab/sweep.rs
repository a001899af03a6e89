//! What a killed lab left behind: names of namespaces that nobody lives in.

use std::fs;
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
        name.to_str().is_some_and(is_ours)
            // A name that cannot be looked at is not ours to remove.
            && Netns::is_used(&entry.path()).is_ok_and(|used| !used)
    });
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
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
