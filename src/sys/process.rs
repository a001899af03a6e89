//! Child processes that must not outlive this one: `prctl(PR_SET_PDEATHSIG)`, and `kill(2)`.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use super::netns::Netns;

/// Starts `command` in its own process group, so that a Ctrl-C in the terminal does not reach it. The kernel
/// ends it when the calling thread ends, so start it from the main thread. With `batched_on` it runs on this
/// CPU only, under SCHED_BATCH.
pub fn spawn_tied(command: &mut Command, batched_on: Option<usize>) -> io::Result<Child> {
    let parent = std::process::id();
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes four system calls, all async-signal-safe, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some(cpu) = batched_on {
                super::sched::pin(&[cpu])?;
                super::sched::batch()?;
            }
            super::checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
            // The parent may have ended before the call, and then nobody would send the signal.
            if libc::getppid() as u32 == parent { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
        });
    }
    command.spawn()
}

/// Starts `command` in `netns`, without the mounts of `ip netns exec`. The kernel ends it when the calling
/// thread ends, so start it from the main thread. It stays in the terminal's process group and gets its
/// Ctrl-C.
pub fn spawn_within(command: &mut Command, netns: &Netns) -> io::Result<Child> {
    let parent = std::process::id();
    let netns = netns.clone();
    // SAFETY: between fork and exec the closure makes three system calls, all async-signal-safe, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            netns.enter()?;
            super::checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
            if libc::getppid() as u32 == parent { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
        });
    }
    command.spawn()
}

/// Sends SIGTERM to a child that has not ended.
pub fn terminate(child: &mut Child) -> io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    // SAFETY: the call takes two numbers. The child has not been waited for, so its number is not reused.
    super::checked(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) }).map(drop)
}
