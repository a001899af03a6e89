//! One entry of the error queue, from its control data. Pure.

/// What became of a payload's bytes, by the kernel's word.
///
/// The kernel merges the reports of neighbouring calls and keeps the mark of the first, so this is what it said of the range in
/// which the payload's calls were reported. It is said of the sending side alone: a network card or a tap may copy without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Every piece that was to go by reference did, as the payload and the policy say.
    ByReference,
    /// At least a part of what was to go by reference was copied: by the kernel on its way (loopback always does), or by the
    /// sender because the kernel refused. Also where nothing was to go by reference.
    Copied,
    /// The connection ended before the peer had acknowledged all of it.
    Aborted,
}

/// The calls `low` to `high`, inclusive and modulo 2^32, are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) low: u32,
    /// Below `low` where the counter wrapped in between.
    pub(crate) high: u32,
    /// The kernel copied at least one of them. It merges ranges and keeps the mark of the first (skb_zerocopy_notify_extend,
    /// net/core/skbuff.c).
    pub(crate) copied: bool,
}

/// What an entry of the error queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Released(Report),
    /// A timestamp, an error of ICMP, or what this crate does not know.
    Foreign,
}

/// struct cmsghdr: length, level, type.
const HEADER: usize = size_of::<libc::cmsghdr>();
/// struct sock_extended_err: errno u32; origin, type, code, pad u8; info, data u32.
const EXTENDED_ERROR: usize = 16;
/// SO_EE_ORIGIN_ZEROCOPY and SO_EE_CODE_ZEROCOPY_COPIED, include/uapi/linux/errqueue.h.
const ORIGIN_ZEROCOPY: u8 = 5;
const CODE_COPIED: u8 = 1;

impl Entry {
    /// Reads the control bytes of one `recvmsg(MSG_ERRQUEUE)`. An extended error that was cut off is foreign: if it was a
    /// report, its calls stay in flight until the connection ends, which is late and safe.
    pub(crate) fn parse(control: &[u8]) -> Self {
        let mut rest = control;
        while rest.len() >= HEADER {
            let length = usize::from_ne_bytes(array(rest, 0));
            if length < HEADER || length > rest.len() {
                break;
            }
            let level = i32::from_ne_bytes(array(rest, size_of::<usize>()));
            let kind = i32::from_ne_bytes(array(rest, size_of::<usize>() + 4));
            let is_error = matches!(
                (level, kind),
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
            );
            if is_error {
                return Self::from_extended_error(&rest[HEADER..length]);
            }
            rest = &rest[length.next_multiple_of(size_of::<usize>()).min(rest.len())..];
        }
        Self::Foreign
    }

    fn from_extended_error(bytes: &[u8]) -> Self {
        if bytes.len() < EXTENDED_ERROR || bytes[4] != ORIGIN_ZEROCOPY || array(bytes, 0) != [0; 4] {
            return Self::Foreign;
        }
        Self::Released(Report {
            low: u32::from_ne_bytes(array(bytes, 8)),
            high: u32::from_ne_bytes(array(bytes, 12)),
            copied: bytes[6] & CODE_COPIED != 0,
        })
    }
}

impl Report {
    /// How many ids the range holds, over the wrap too.
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.high.wrapping_sub(self.low)) + 1
    }
}

/// `N` bytes from `at` on; the callers have checked that they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control data with one header and this extended error.
    fn control(level: i32, kind: i32, error: [u8; EXTENDED_ERROR]) -> Vec<u8> {
        let mut bytes = (HEADER + EXTENDED_ERROR).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(error);
        bytes
    }

    fn error(errno: u32, origin: u8, code: u8, low: u32, high: u32) -> [u8; EXTENDED_ERROR] {
        let mut bytes = [0; EXTENDED_ERROR];
        bytes[..4].copy_from_slice(&errno.to_ne_bytes());
        (bytes[4], bytes[6]) = (origin, code);
        bytes[8..12].copy_from_slice(&low.to_ne_bytes());
        bytes[12..].copy_from_slice(&high.to_ne_bytes());
        bytes
    }

    #[test]
    fn reports_of_both_protocols_are_read() {
        for (level, kind) in [(libc::SOL_IP, libc::IP_RECVERR), (libc::SOL_IPV6, libc::IPV6_RECVERR)] {
            for copied in [false, true] {
                let bytes = control(level, kind, error(0, 5, copied.into(), 7, 9));
                assert_eq!(Entry::parse(&bytes), Entry::Released(Report { low: 7, high: 9, copied }));
            }
        }
        assert_eq!(Report { low: u32::MAX, high: 1, copied: false }.count(), 3);
    }

    #[test]
    fn what_is_no_report_is_foreign() {
        let ip = (libc::SOL_IP, libc::IP_RECVERR);
        // A timestamp (origin 4), an ICMP error (2), and a report with an errno.
        for bytes in [error(42, 4, 0, 0, 0), error(111, 2, 3, 0, 0), error(5, 5, 0, 0, 0)] {
            assert_eq!(Entry::parse(&control(ip.0, ip.1, bytes)), Entry::Foreign);
        }
        let whole = control(ip.0, ip.1, error(0, 5, 0, 0, 0));
        for cut in 0..whole.len() {
            assert_eq!(Entry::parse(&whole[..cut]), Entry::Foreign, "{cut} bytes");
        }
        // Another message before it is skipped.
        let mut both = control(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, [0; EXTENDED_ERROR]);
        both.extend(&whole);
        assert!(matches!(Entry::parse(&both), Entry::Released(_)));
    }
}
