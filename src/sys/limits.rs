//! Limits of the process: `getrlimit(2)`, capabilities.

use std::io;

/// A resource limit and how far it may be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// The ceiling for `soft`; `u64::MAX` is none.
    pub hard: u64,
}

/// RLIMIT_NOFILE: open files.
pub fn open_files() -> io::Result<Limit> {
    get(libc::RLIMIT_NOFILE)
}

/// Sets the soft limit of open files.
pub fn set_open_files(soft: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: open_files()?.hard };
    // SAFETY: `limit` is a live rlimit; the call only reads it.
    super::checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

/// RLIMIT_MEMLOCK: bytes of locked memory, including pages pinned for MSG_ZEROCOPY.
pub fn locked_memory() -> io::Result<Limit> {
    get(libc::RLIMIT_MEMLOCK)
}

/// The real user id, to which pinned pages are charged.
pub fn user() -> u32 {
    // SAFETY: getuid takes no argument and cannot fail.
    unsafe { libc::getuid() }
}

/// Whether the calling thread has CAP_IPC_LOCK in effect, which lifts the limit of locked memory. It counts
/// only in the machine's initial user namespace (`capable()` in mm_account_pinned_pages, net/core/skbuff.c):
/// the root of a rootless container has all capabilities, and still the limit.
pub fn can_lock_memory() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    in_initial_user_namespace() && has_capability(CAP_IPC_LOCK)
}

/// Whether the calling thread has this capability in effect in its user namespace.
pub fn has_capability(number: u32) -> bool {
    let status = super::text::read("/proc/thread-self/status").unwrap_or_default();
    effective_capabilities(&status).is_some_and(|set| set >> number & 1 == 1)
}

/// The initial user namespace has a fixed inode (USER_NS_INIT_INO, include/uapi/linux/nsfs.h). Without
/// namespaces there is no file.
fn in_initial_user_namespace() -> bool {
    const USER_NS_INIT_INO: u32 = 0xEFFF_FFFD;
    match std::fs::read_link("/proc/thread-self/ns/user") {
        Ok(name) => name.as_os_str() == format!("user:[{USER_NS_INIT_INO}]").as_str(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn get(resource: Resource) -> io::Result<Limit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live rlimit, and the call writes only it.
    super::checked(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// The memory that the machine has available without swapping, in bytes: MemAvailable in /proc/meminfo.
pub fn available_memory() -> Option<usize> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        assert_eq!(effective_capabilities("Name:\tx\nCapEff:\t000001fffeffffff\n"), Some(0x1_ff_fe_ff_ff_ff));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }
}
