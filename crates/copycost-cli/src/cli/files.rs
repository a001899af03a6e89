//! The files that results are written to.
//!
//! Writing preserves the file: symbolic links are followed, and mode, owner and hard links stay. Where possible, a new
//! file replaces the old one, so that no reader sees half of it. Where that would lose something (a mount point, a
//! read-only folder, a hard link, an access control list), the file is written in place.
//! A file that cannot be written is an error before anything is measured.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::record::Results;
use crate::report::Format;
use copycost::internals::sys::xattr;

/// The files that results are written to. The extension of each decides its format.
#[derive(Debug, Default)]
pub struct Files(Vec<OutputFile>);

#[derive(Debug)]
struct OutputFile {
    /// The path as the user wrote it.
    named: PathBuf,
    /// The path with symbolic links resolved.
    target: PathBuf,
    format: Format,
}

impl Files {
    /// Checks the extensions, and that each file can be written, before anything is measured.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Failure> {
        let open = |path: &PathBuf| {
            let usage = |what: String| Failure::Usage(format!("invalid value for --output: {what}"));
            let format = Format::of_file(path).map_err(usage)?;
            let unwritable = |error| usage(format!("'{}' cannot be written: {error}", path.display()));
            let target = writable(path).map_err(unwritable)?;
            Ok(OutputFile { named: path.clone(), target, format })
        };
        paths.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Writes `results` to every file.
    pub fn save(&self, results: &Results) -> Result<(), Failure> {
        self.save_each(|format| format.write(results))
    }

    /// Writes to every file the text that `written` returns for its format. After a failure the others are still
    /// written, and the first error is returned.
    pub fn save_each(&self, written: impl Fn(Format) -> String) -> Result<(), Failure> {
        let mut first = Ok(());
        for output in &self.0 {
            let saved = save(&output.target, written(output.format).as_bytes());
            first = first.and(saved.map_err(|error| {
                Failure::Failed(format!("'{}' was not written: {error}", output.named.display()))
            }));
        }
        first
    }

    /// The first file, as the user named it.
    pub fn first(&self) -> Option<&Path> {
        self.0.first().map(|output| output.named.as_path())
    }

    /// Whether one of the files has this format.
    pub fn has(&self, format: Format) -> bool {
        self.0.iter().any(|output| output.format == format)
    }
}

/// Checks that `path` can be written and returns it with links resolved. It opens the path as given, so that the kernel
/// applies fs.protected_symlinks. A file that did not exist is removed again.
fn writable(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        // The whole file is written again after each cell; a device or a pipe would receive every version.
        Ok(there) if !there.is_file() => Err(io::Error::other("it exists and is not a regular file")),
        // O_NONBLOCK: a pipe may have replaced the file since the check above, and must not block.
        Ok(_) => {
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
            fs::canonicalize(path)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            let target = fs::canonicalize(path)?;
            fs::remove_file(&target)?;
            Ok(target)
        }
        Err(error) => Err(error),
    }
}

fn save(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(target).ok();
    // A hard link would keep the old contents, and a new file would lose the access control list.
    let bound = old.as_ref().is_some_and(|old| old.nlink() > 1) || xattr::has_acl(target);
    if !bound && replaced(target, bytes, old.as_ref())? {
        return Ok(());
    }
    OpenOptions::new().write(true).create(true).truncate(true).open(target)?.write_all(bytes)
}

/// Replaces `target` by a new file with the mode and owner of `old`. Returns false where that is not possible; `target`
/// is then unchanged. A full disk is an error rather than false, because writing in place would destroy the old file.
fn replaced(target: &Path, bytes: &[u8], old: Option<&Metadata>) -> io::Result<bool> {
    let temporary = temporary(target)?;
    // Starts private, so that no user can read the new file who could not read the old one.
    let mode = if old.is_some() { 0o600 } else { 0o666 };
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
        Ok(file) => file,
        Err(error) => return false_if_writable_in_place(error),
    };
    let put = file.write_all(bytes).and_then(|()| {
        match old.map_or(Ok(()), |old| copy_owner_and_mode(&file, old)) {
            Ok(()) => fs::rename(&temporary, target).map(|()| true).or_else(false_if_writable_in_place),
            Err(error) => false_if_writable_in_place(error),
        }
    });
    if !matches!(put, Ok(true)) {
        let _ = fs::remove_file(&temporary);
    }
    put
}

/// Returns false for errors that prevent replacing the file but not writing it in place: a folder or an owner of
/// another user, a read-only file system around a writable file, a mount point.
fn false_if_writable_in_place(error: io::Error) -> io::Result<bool> {
    use ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy, Unsupported};
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem | ResourceBusy | CrossesDevices | Unsupported => Ok(false),
        _ => Err(error),
    }
}

/// Gives `file` the owner and the mode of `old`. The owner comes first, because chown clears mode bits.
fn copy_owner_and_mode(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())
}

/// A name in the same folder, so that the rename stays on one file system. It does not contain the name of the target,
/// which may already have the maximum length.
fn temporary(target: &Path) -> io::Result<PathBuf> {
    let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(target.with_file_name(format!(".copycost-{number:016x}.tmp")))
}
