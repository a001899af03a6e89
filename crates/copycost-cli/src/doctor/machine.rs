//! The machine under examination: files below a root, and facts that only system calls provide.
//!
//! Checks read files only through this type, so that a test can show them another machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::facts::Facts;
use copycost::internals::sys::text;

/// A machine to examine: the `/` of this one, or a tree of files that imitates another.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    /// The facts that only system calls provide.
    pub facts: Facts,
}

/// The reason why a file gave no usable value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("{path} cannot be read: {why}")]
    Failed { path: String, why: io::Error },
    #[error("{path} holds `{text}`, which copycost does not understand")]
    Strange { path: String, text: String },
}

impl Unread {
    pub(super) fn strange(path: &str, text: &str) -> Unread {
        // Forty characters show what the file looks like and still fit into a sentence.
        Unread::Strange { path: path.into(), text: text.trim().chars().take(40).collect() }
    }

    /// Whether the read failed for lack of permission.
    pub(super) fn forbidden(&self) -> bool {
        matches!(self, Unread::Failed { why, .. } if why.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl Machine {
    /// This machine, without the times of copies.
    pub fn live() -> Machine {
        Machine::at("/", Facts::live())
    }

    /// This machine with the times of copies, which take some milliseconds per CPU to measure.
    pub fn measured() -> Machine {
        let mut machine = Machine::live();
        machine.facts.copies = super::copies::measure(&machine.facts.allowed_cpus);
        machine
    }

    /// A machine whose `/proc`, `/sys` and `/boot` lie below `root`.
    pub fn at(root: impl Into<PathBuf>, facts: Facts) -> Machine {
        Machine { root: root.into(), facts }
    }

    /// The directory that stands for `/`.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes of a page; never 0, because it is used as a divisor.
    pub(super) fn page_bytes(&self) -> u64 {
        self.facts.page_bytes.max(1)
    }

    /// `path` below [`Self::root`].
    pub(super) fn below_root(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }

    /// The text of a file that must exist.
    pub(super) fn read(&self, path: &str) -> Result<String, Unread> {
        text::read(self.below_root(path)).map_err(|why| Unread::Failed { path: path.into(), why })
    }

    /// The text of a file; `None` if it does not exist, as on some kernels, containers and virtual machines.
    pub(super) fn read_if_there(&self, path: &str) -> Result<Option<String>, Unread> {
        match self.read(path) {
            Ok(text) => Ok(Some(text)),
            // Some sysfs files exist and return ENODEV or EINVAL if the device has no such property.
            Err(Unread::Failed { why, .. })
                if why.kind() == io::ErrorKind::NotFound
                    || matches!(why.raw_os_error(), Some(ENODEV | ENOTDIR | EINVAL)) =>
            {
                Ok(None)
            }
            Err(unread) => Err(unread),
        }
    }

    /// The number in a file that must exist.
    pub(super) fn number<T: FromStr>(&self, path: &str) -> Result<T, Unread> {
        let text = self.read(path)?;
        text.trim().parse().map_err(|_| Unread::strange(path, &text))
    }

    /// The number in a file; `None` if it does not exist.
    pub(super) fn number_if_there<T: FromStr>(&self, path: &str) -> Result<Option<T>, Unread> {
        match self.read_if_there(path)? {
            None => Ok(None),
            Some(text) => text.trim().parse().map(Some).map_err(|_| Unread::strange(path, &text)),
        }
    }

    /// The sorted names in a directory; empty if it cannot be read.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.below_root(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// The target of a symbolic link, unresolved.
    pub(super) fn link(&self, path: &str) -> io::Result<String> {
        fs::read_link(self.below_root(path)).map(|target| target.to_string_lossy().into_owned())
    }

    /// Whether there is such a file or directory.
    pub(super) fn has(&self, path: &str) -> bool {
        self.below_root(path).symlink_metadata().is_ok()
    }
}

const ENODEV: i32 = libc::ENODEV;
const ENOTDIR: i32 = libc::ENOTDIR;
const EINVAL: i32 = libc::EINVAL;

/// The numbers of a kernel list such as `0-3,8` (Documentation/admin-guide/cputopology.rst).
pub(super) fn parse_cpus(text: &str) -> Option<Vec<usize>> {
    // No kernel supports more CPUs. The bound keeps a corrupt file from filling the memory.
    const MOST: usize = 1 << 16;
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The inverse of [`parse_cpus`].
pub(super) fn spell_cpus(cpus: &[usize]) -> String {
    let mut spelled = String::new();
    for run in cpus.chunk_by(|before, after| before + 1 == *after) {
        let comma = if spelled.is_empty() { "" } else { "," };
        spelled += &match run {
            [one] => format!("{comma}{one}"),
            _ => format!("{comma}{}-{}", run[0], run[run.len() - 1]),
        };
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_go_both_ways() {
        for list in ["", "0", "0-3", "0-3,8", "1,3,5-6"] {
            assert_eq!(spell_cpus(&parse_cpus(list).expect(list)), list);
        }
        for garbled in ["x", "3-1", "0-99999999", "-"] {
            assert_eq!(parse_cpus(garbled), None, "{garbled}");
        }
    }
}
