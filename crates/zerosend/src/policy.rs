//! Which segments go by reference, and how much at once.

/// From so many contiguous bytes on, [`Policy::Auto`] sends by reference. Where nothing is copied after all, a piece of 8 KiB costs the
/// sender 1.24 of what its copy costs when it lies in a cache and 0.82 when it does not, one of 16 KiB 0.98 and 0.68 (and up to 2.0 on
/// another machine), one of 32 KiB 0.80 and 0.58: `copycost run --over lab -p onecopy,zerocopy --fields single`.
pub(crate) const LARGE: usize = 32 << 10;

/// Which of the segments that may be sent by reference are. What is given as copied is copied in any case.
///
/// A *piece* is memory that is contiguous: a segment, or a part of a [`Memory`](crate::Memory). What a short write has left of one is a piece
/// for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// All of them, whatever it costs: to measure, or because you know better.
    Always,
    /// None.
    Never,
    /// Pieces of at least so many bytes.
    Above(usize),
    /// What measurements suggest: pieces of at least 32 KiB, as long as the kernel does not copy them.
    ///
    /// Nothing is known of a *route*, which is a local and a peer address, before the kernel was asked: the first large piece goes by
    /// reference, and meanwhile everything else on that route is copied. Its report says whether the kernel copied (as it does on
    /// loopback and between containers of a machine). If it did, or refused (ENOBUFS), or if more than half of the last 16 calls were
    /// copied or refused later on, nothing is asked on that route for a minute. All connections of the process share this, for at most
    /// 256 routes.
    ///
    /// A payload of at most 16 KiB in several pieces is joined in one buffer first, and larger ones are gathered by the kernel.
    #[default]
    Auto,
}

impl Policy {
    /// The smallest piece that may go by reference.
    #[inline]
    pub(crate) fn least(self) -> usize {
        match self {
            Self::Always => 1,
            Self::Never => usize::MAX,
            Self::Above(bytes) => bytes.max(1),
            Self::Auto => LARGE,
        }
    }
}

/// How much a sender may have in flight by reference. Beyond it, it copies, whatever its policy is.
///
/// This is no backpressure: the socket's send buffer bounds what is handed to the kernel in either way. It bounds the memory that is
/// pinned and the reports that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes. 0: everything is copied.
    pub bytes: usize,
    /// Calls; likewise. Each takes some 800 bytes of the socket's option memory (net.core.optmem_max: 128 KiB since Linux 6.8, 20 KiB
    /// before) until its report is read.
    pub calls: usize,
}

impl Default for Limits {
    /// 8 MiB in 128 calls: twice the largest send buffer that Linux gives by itself (net.ipv4.tcp_wmem), and the option memory.
    fn default() -> Self {
        Self { bytes: 8 << 20, calls: 128 }
    }
}

/// How a sender sends. Made of a [`Policy`] or of [`Limits`] where the other is the usual one:
///
/// ```
/// use zerosend::{Limits, Options, Policy};
///
/// let options = Options::from(Policy::Above(64 << 10));
/// assert_eq!(options.limits, Limits::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What goes by reference.
    pub policy: Policy,
    /// How much may be in flight.
    pub limits: Limits,
}

impl From<Policy> for Options {
    fn from(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }
}

impl From<Limits> for Options {
    fn from(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }
}
