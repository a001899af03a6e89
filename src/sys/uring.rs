//! io_uring_setup(2) and the probe of its operations.
//!
//! The crate `io-uring` keeps the unsafe half; here a small ring is opened, asked and closed.

use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Which zero-copy operations the kernel's io_uring knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    /// IORING_OP_SEND_ZC, Linux 6.0.
    pub send_zc: bool,
    /// IORING_OP_SENDMSG_ZC, Linux 6.1.
    pub sendmsg_zc: bool,
}

/// Opens a ring of two entries and asks which operations it supports.
///
/// # Errors
/// ENOSYS without io_uring in the kernel, EPERM where `kernel.io_uring_disabled` or a seccomp filter forbids it.
pub fn probe() -> io::Result<Operations> {
    let ring = IoUring::new(2)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    Ok(Operations {
        send_zc: probe.is_supported(opcode::SendZc::CODE),
        sendmsg_zc: probe.is_supported(opcode::SendMsgZc::CODE),
    })
}
