//! The files that results are written to.
//!
//! A file stays the file that it was: a symbolic link leads to the file behind it, and mode, owner and other names stay.
//! Where these can be kept, a new file takes the old one's place, so that no reader sees half of it; where they cannot
//! (a mount point, a folder that may not be written to, a second name, an access control list), it is written in place.
//! What cannot be written at all is refused before anything is measured.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::record::Results;
use crate::report::Format;
use copycost::internals::sys::xattr;

/// Files that results are written to, each in the form of its extension.
#[derive(Debug, Default)]
pub struct Files(Vec<OutputFile>);

#[derive(Debug)]
struct OutputFile {
    /// As the user named it.
    named: PathBuf,
    /// The file itself, links followed.
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

    /// The same, for what `written` gives for a form. One that fails keeps no other from being written.
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

    /// The first of them.
    pub fn first(&self) -> Option<&Path> {
        self.0.first().map(|output| output.named.as_path())
    }

    /// Whether one of the files has this form.
    pub fn has(&self, format: Format) -> bool {
        self.0.iter().any(|output| output.format == format)
    }
}

/// The file that `path` leads to, which can be written. Opened by the name that was given, so that the kernel judges the
/// links on the way (fs.protected_symlinks); what was not there is not there afterwards.
fn writable(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        // Results are written anew after each cell, which a device or a pipe would show one after the other.
        Ok(there) if !there.is_file() => Err(io::Error::other("it exists and is not a regular file")),
        // A pipe that has taken its place since must not block.
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
    // A second name would go on naming the old file, and a new file would have no access control list.
    let bound = old.as_ref().is_some_and(|old| old.nlink() > 1) || xattr::has_acl(target);
    if !bound && replaced(target, bytes, old.as_ref())? {
        return Ok(());
    }
    OpenOptions::new().write(true).create(true).truncate(true).open(target)?.write_all(bytes)
}

/// Puts a new file in the place of `old`, with its mode and owner; false where that is not possible, and then `target` is
/// as it was. An error, and not false, where there is no room: then the old file is worth more than half of a new one.
fn replaced(target: &Path, bytes: &[u8], old: Option<&Metadata>) -> io::Result<bool> {
    let temporary = temporary(target)?;
    // Nobody reads more of the new file than of the old one, not even for a moment.
    let mode = if old.is_some() { 0o600 } else { 0o666 };
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
        Ok(file) => file,
        Err(error) => return elsewhere(error),
    };
    let put = file.write_all(bytes).and_then(|()| match old.map_or(Ok(()), |old| liken(&file, old)) {
        Ok(()) => fs::rename(&temporary, target).map(|()| true).or_else(elsewhere),
        Err(error) => elsewhere(error),
    });
    if !matches!(put, Ok(true)) {
        let _ = fs::remove_file(&temporary);
    }
    put
}

/// What keeps a new file from taking the old one's place, and does not keep the old one from being written: a folder or an
/// owner that is not ours, a file system that is read only but for this file, a mount point.
fn elsewhere(error: io::Error) -> io::Result<bool> {
    use ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy, Unsupported};
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem | ResourceBusy | CrossesDevices | Unsupported => Ok(false),
        _ => Err(error),
    }
}

/// Gives `file` the owner and the mode of `old`: the owner first, which takes bits from the mode.
fn liken(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())
}

/// Beside the file, so that the rename stays on one file system. A name of its own length: the file's may be as long as a
/// name can be.
fn temporary(target: &Path) -> io::Result<PathBuf> {
    let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(target.with_file_name(format!(".copycost-{number:016x}.tmp")))
}
