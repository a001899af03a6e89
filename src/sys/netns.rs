//! Network namespaces, and mounts that only one thread sees: `unshare(2)`, `setns(2)`, `mount(2)`, `mknod(2)`.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

/// A network namespace. A handle keeps it alive, and so do sockets and links.
#[derive(Debug, Clone)]
pub struct Netns(Arc<File>);

/// A handle equals its clones; two separate handles on the same namespace differ.
impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Netns {}

impl Netns {
    /// Moves the calling thread into a new namespace, which has only a loopback device that is down.
    pub fn unshare() -> io::Result<Self> {
        // SAFETY: the call takes a number; it changes the calling thread's view of the network and no memory.
        super::checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
        Self::of_this_thread()
    }

    /// The namespace of the calling thread.
    pub fn of_this_thread() -> io::Result<Self> {
        Ok(Self(Arc::new(File::open("/proc/thread-self/ns/net")?)))
    }

    /// Moves the calling thread into it. New sockets of the thread belong to this namespace.
    pub fn enter(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open as long as self, and the kernel checks that it is a network namespace.
        super::checked(unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
    }

    /// Marks it as in use while a handle lives. The mark ends with the process in every case, because it is a
    /// `flock(2)` on the namespace's own inode.
    pub fn mark_used(&self) -> io::Result<()> {
        flock(&self.0, libc::LOCK_SH).map(drop)
    }

    /// Whether a process has marked the namespace at `path` as in use.
    pub fn is_used(path: &Path) -> io::Result<bool> {
        flock(&File::open(path)?, libc::LOCK_EX).map(|locked| !locked)
    }
}

/// Returns false if a conflicting lock exists.
fn flock(file: &File, lock: libc::c_int) -> io::Result<bool> {
    // SAFETY: the call takes two numbers; the descriptor is open.
    match super::checked(unsafe { libc::flock(file.as_raw_fd(), lock | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the calling thread its own mounts. Nobody else sees what it mounts from now on, and these mounts end
/// with the thread, even if the process is killed.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: the call takes a number. CLONE_NEWNS includes CLONE_FS, so only this thread is moved.
    super::checked(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // Otherwise mounts would propagate to the original namespace.
    mount("none", Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE)
}

/// Mounts `/sys` again for the calling thread, so that it shows the links of the thread's network namespace.
pub fn mount_sysfs(at: &Path) -> io::Result<()> {
    mount("sysfs", at, Some("sysfs"), libc::MS_NOSUID | libc::MS_NOEXEC)
}

/// Mounts an empty file system in memory that may have device nodes.
pub fn mount_tmpfs(at: &Path) -> io::Result<()> {
    mount("tmpfs", at, Some("tmpfs"), libc::MS_NOSUID | libc::MS_NOEXEC)
}

/// Makes the node of a character device, for its owner only.
pub fn make_node(path: &Path, (major, minor): (u32, u32)) -> io::Result<()> {
    let path = c_string(path)?;
    let device = libc::makedev(major, minor);
    // SAFETY: `path` is a live, NUL-terminated string, which the call only reads.
    super::checked(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, device) }).map(drop)
}

fn mount(source: &str, target: &Path, kind: Option<&str>, flags: libc::c_ulong) -> io::Result<()> {
    let source = c_string(Path::new(source))?;
    let target = c_string(target)?;
    let kind = kind.map(|kind| c_string(Path::new(kind))).transpose()?;
    let kind = kind.as_ref().map_or(ptr::null(), |kind| kind.as_ptr());
    // SAFETY: the strings are live and NUL-terminated, a null type and null data are allowed, and nothing is written.
    super::checked(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, ptr::null()) })
        .map(drop)
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
