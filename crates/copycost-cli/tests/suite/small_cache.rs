//! A machine with a small last-level cache: a cold footprint is four times that cache, and on a server with hundreds of
//! mebibytes of it each cold set-up fills gigabytes, which says nothing more of the command than 128 MiB do.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::common::child::{is_root, works};
use crate::common::full;

/// Where the kernel describes the first CPU's caches.
const CACHES: &str = "/sys/devices/system/cpu/cpu0/cache";

/// Level, type and size of each cache.
const SMALL: [(&str, &str, &str); 3] =
    [("1", "Data", "32K"), ("2", "Unified", "1024K"), ("3", "Unified", "8192K")];

/// The description of other caches, in place of this machine's for those who are started by [`wrapper`](Self::wrapper).
pub struct SmallCache {
    folder: TempDir,
    unshare: Vec<&'static str>,
}

impl SmallCache {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (number, (level, kind, size)) in SMALL.into_iter().enumerate() {
            let cache = folder.path().join(format!("index{number}"));
            fs::create_dir(&cache).unwrap();
            for (name, text) in [("level", level), ("type", kind), ("size", size)] {
                fs::write(cache.join(name), format!("{text}\n")).unwrap();
            }
        }
        // Whoever is not root becomes it in a namespace of its own, for the mount.
        let unshare = if is_root() { &["--mount"][..] } else { &["--mount", "--map-root-user"] };
        Self { folder, unshare: unshare.to_vec() }
    }

    /// The start of a command line. Empty in the full set, and, with a note, where there are no mount namespaces: then
    /// the caches are those of this machine, and the test takes longer.
    pub fn wrapper(&self) -> Vec<&str> {
        if full() || !Path::new(CACHES).exists() {
            return Vec::new();
        }
        let mount = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
        let folder = self.folder.path().to_str().unwrap();
        let words = [&self.unshare[..], &["sh", "-c", mount, folder, CACHES]].concat();
        if !works("unshare", &[&words[..], &["true"]].concat()) {
            eprintln!("note: no mount namespaces here: cold memory is filled for the caches of this machine");
            return Vec::new();
        }
        [&["unshare"][..], &words].concat()
    }
}
