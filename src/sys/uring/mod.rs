//! io_uring behind a safe interface: rings that hold the memory of their requests until the completion is
//! read.
//!
//! The crate `io-uring` maps the queues. It leaves to its user that the memory of a request outlives the
//! request, which this module ensures.

mod receives;
mod sends;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};

use super::socket::{CallCounter, Socket};

pub use receives::ReceiveRing;
pub use sends::{After, CompletionInfo, Excerpt, JOINED, MOST_BUFFERS, Operation, RequestRefused, SendRing};

/// The operations that the kernel's io_uring supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    /// What [`SendRing`] needs from the ring (IORING_SETUP_SUBMIT_ALL), Linux 5.18.
    pub chains: bool,
    /// IORING_OP_SEND_ZC, Linux 6.0.
    pub send_zc: bool,
    /// IORING_OP_SENDMSG_ZC, Linux 6.1.
    pub sendmsg_zc: bool,
    /// Their notifications report copies, Linux 6.2.
    pub reports_usage: bool,
}

/// Opens a ring of two entries and finds out which operations it supports.
///
/// ENOSYS without io_uring in the kernel, EPERM if `kernel.io_uring_disabled` or a seccomp filter forbids it.
pub fn probe() -> io::Result<Operations> {
    // One ring only, because a closed ring is charged to the user's locked memory for a while.
    let (mut ring, chains) = match <IoUring>::builder().setup_submit_all().build(2) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (IoUring::new(2)?, false),
        ring => (ring?, true),
    };
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let send_zc = probe.is_supported(opcode::SendZc::CODE);
    Ok(Operations {
        chains,
        send_zc,
        sendmsg_zc: probe.is_supported(opcode::SendMsgZc::CODE),
        reports_usage: send_zc && reports_usage(&mut ring)?,
    })
}

/// The operations of this kernel's io_uring, or why the paths cannot use it.
///
/// A message for the user.
pub fn operations() -> Result<Operations, String> {
    match probe() {
        Ok(operations) if operations.chains => Ok(operations),
        Ok(_) => Err("this kernel's io_uring is too old (needs Linux 5.18 or later)".to_owned()),
        Err(error) => Err(match error.raw_os_error() {
            Some(libc::ENOSYS) => "this kernel has no io_uring, or a seccomp filter hides it".to_owned(),
            Some(libc::EPERM | libc::EACCES) => format!(
                "the sysctl kernel.io_uring_disabled or a seccomp filter forbids io_uring here: {error}"
            ),
            _ => format!("io_uring could not be opened: {error}"),
        }),
    }
}

/// Sends on an unconnected socket, which fails: with EINVAL if the flag is unknown.
fn reports_usage(ring: &mut IoUring) -> io::Result<bool> {
    static BYTE: u8 = 0;
    let socket = Socket::tcp(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let request = opcode::SendZc::new(Fd(socket.as_fd().as_raw_fd()), &raw const BYTE, 1)
        .zc_flags(REPORT_USAGE)
        .build();
    // SAFETY: it points to a static.
    unsafe { ring.submission().push(&request).map_err(io::Error::other)? };
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(-libc::EINVAL, |completion| completion.result());
    Ok(result != -libc::EINVAL)
}

/// IORING_SEND_ZC_REPORT_USAGE (include/uapi/linux/io_uring.h, Linux 6.2): the notification reports a copy.
const REPORT_USAGE: u16 = 1 << 3;

/// The user data of requests whose completion is ignored.
const IGNORED: u64 = u64::MAX;

/// A ring for one thread.
///
/// The thread makes completions when it enters the kernel (IORING_SETUP_DEFER_TASKRUN, Linux 6.1), not in
/// interrupts; on older kernels at its next return from the kernel. The ring belongs to the thread that
/// enters it first (IORING_SETUP_R_DISABLED until then), because another thread may open it.
struct Ring {
    ring: IoUring,
    disabled: bool,
    /// The kernel took only a part of a submission, or the call failed. The rest of the queue must not be
    /// submitted later.
    torn: bool,
    calls: CallCounter,
}

impl Ring {
    /// Opens a ring for this many requests at once and this many unread completions.
    ///
    /// As [`probe`]; EINVAL before Linux 5.18, which stops at a bad request and leaves the rest in the queue.
    fn open(requests: u32, completions: u32, calls: CallCounter) -> io::Result<Self> {
        let deferred = <IoUring>::builder()
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_r_disabled()
            .setup_cqsize(completions)
            .build(requests);
        let (ring, disabled) = match deferred {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let ring =
                    <IoUring>::builder().setup_submit_all().setup_cqsize(completions).build(requests)?;
                (ring, false)
            }
            ring => (ring?, true),
        };
        if !ring.params().is_feature_submit_stable() || !ring.params().is_feature_ext_arg() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(Self { ring, disabled, torn: false, calls })
    }

    /// One io_uring_enter(2): submits the queue and waits until `want` completions are unread or `patience`
    /// is over. The completions show what ended the wait.
    ///
    /// Those of io_uring_enter(2), such as EEXIST for another thread than the one that entered first. After
    /// an error nothing is submitted any more.
    fn enter(&mut self, want: usize, patience: Duration) -> io::Result<()> {
        if self.disabled {
            self.ring.submitter().register_enable_rings().inspect_err(|_| self.torn = true)?;
            self.disabled = false;
        }
        let pending = if self.torn { 0 } else { self.ring.submission().len() };
        let time = Timespec::from(patience);
        let arguments = SubmitArgs::new().timespec(&time);
        self.calls.add();
        let entered = if self.torn {
            const GETEVENTS: u32 = 1;
            const EXT_ARG: u32 = 1 << 3;
            // SAFETY: nothing is submitted; the argument has the form that EXT_ARG announces, and lives
            // through the call.
            unsafe { self.ring.submitter().enter(0, want as u32, GETEVENTS | EXT_ARG, Some(&arguments)) }
        } else {
            self.ring.submitter().submit_with_args(want, &arguments)
        };
        let taken = match entered {
            Ok(taken) => taken,
            // EBUSY: completions must be read first. The others mean that the wait ended early.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => 0,
                _ => {
                    self.torn = true;
                    return Err(error);
                }
            },
        };
        self.torn |= 0 < taken && taken < pending;
        Ok(())
    }

    /// Whether the queue has requests that the kernel has not taken.
    fn has_unsubmitted(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Whether completions did not fit into the queue. The next [`Ring::enter`] fetches them
    /// (IORING_FEAT_NODROP, Linux 5.5).
    fn has_overflown(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("disabled", &self.disabled)
            .field("torn", &self.torn)
            .finish_non_exhaustive()
    }
}
