//! `getsockopt(TCP_INFO)`, with as many fields as this kernel has.
//!
//! The libc crate's struct ends where the kernel's ended in 2007, before the fields that say what limited a
//! sender. The kernel returns how many bytes it has filled. A field after them is `None`, because a zero
//! would mean "never limited".

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct tcp_info` of `include/uapi/linux/tcp.h`, up to the last field used here (Linux 4.19).
#[repr(C)]
struct RawTcpInfo {
    /// State, retransmits, options, window scales: eight one-byte fields; the app-limited bit is in the last.
    head: [u8; 8],
    rto: u32,
    ato: u32,
    snd_mss: u32,
    rcv_mss: u32,
    /// unacked, sacked, lost, retrans, fackets, four times since the last packet, pmtu, rcv_ssthresh.
    unused: [u32; 11],
    rtt: u32,
    rttvar: u32,
    /// snd_ssthresh, snd_cwnd, advmss, reordering, rcv_rtt, rcv_space.
    unused2: [u32; 6],
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    delivered: u32,
    delivered_ce: u32,
    bytes_sent: u64,
    bytes_retrans: u64,
}

/// One snapshot of a connection. Counts run since the connection started. A field is `None` if this kernel
/// does not have it, or (rates and times) has no sample yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The most payload bytes of a segment, without options.
    pub snd_mss: Option<u32>,
    /// The size of received segments in bytes, as the kernel estimates it.
    pub rcv_mss: Option<u32>,
    /// Smoothed round-trip time in µs.
    pub rtt_us: Option<u32>,
    /// Smallest round-trip time of the kernel's window (5 minutes) in µs; since 4.6.
    pub min_rtt_us: Option<u32>,
    /// Retransmitted segments; wraps at 2^32.
    pub total_retrans: Option<u32>,
    /// Segments sent with payload, including retransmitted ones; wraps at 2^32; since 4.6. With segmentation
    /// offload it counts the segments on the wire.
    pub data_segs_out: Option<u32>,
    /// Most recent rate at which data reached the peer, in bytes per second; since 4.9.
    pub delivery_rate: Option<u64>,
    /// Time with unsent or unacknowledged data, in µs (counted in jiffies); since 4.10. The next two times
    /// are part of it.
    pub busy_us: Option<u64>,
    /// Time stopped by the peer's receive window, in µs; since 4.10.
    pub rwnd_limited_us: Option<u64>,
    /// Time with the whole send buffer in flight and nothing more to send, in µs; since 4.10.
    pub sndbuf_limited_us: Option<u64>,
    /// Segments the peer has acknowledged; wraps at 2^32; since 4.18.
    pub delivered: Option<u32>,
    /// Payload bytes sent, including retransmitted ones; since 4.19.
    pub bytes_sent: Option<u64>,
    /// Payload bytes retransmitted; since 4.19.
    pub bytes_retrans: Option<u64>,
}

/// Reads the kernel's data about the connection of `fd`.
///
/// The error of `getsockopt(2)`: not a socket, not TCP.
pub fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let mut bytes = [0u8; size_of::<RawTcpInfo>()];
    let mut length = bytes.len() as libc::socklen_t;
    // SAFETY: `bytes` is writable for `length` bytes; the kernel writes at most that many and stores their
    // number in `length`. `fd` is open while it is borrowed.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let length = (length as usize).min(bytes.len());
    Ok(TcpInfo::from_bytes(&bytes[..length]))
}

impl TcpInfo {
    /// Reads the fields that are completely within `bytes`.
    fn from_bytes(bytes: &[u8]) -> TcpInfo {
        let u32_at = |at: usize| {
            let field = bytes.get(at..at + 4)?;
            Some(u32::from_ne_bytes(field.try_into().ok()?))
        };
        let u64_at = |at: usize| {
            let field = bytes.get(at..at + 8)?;
            Some(u64::from_ne_bytes(field.try_into().ok()?))
        };
        TcpInfo {
            snd_mss: u32_at(offset_of!(RawTcpInfo, snd_mss)),
            rcv_mss: u32_at(offset_of!(RawTcpInfo, rcv_mss)),
            // Without a sample, this is 0, and the minimum is all ones.
            rtt_us: u32_at(offset_of!(RawTcpInfo, rtt)).filter(|&rtt| rtt != 0),
            min_rtt_us: u32_at(offset_of!(RawTcpInfo, min_rtt)).filter(|&rtt| rtt != u32::MAX),
            total_retrans: u32_at(offset_of!(RawTcpInfo, total_retrans)),
            data_segs_out: u32_at(offset_of!(RawTcpInfo, data_segs_out)),
            delivery_rate: u64_at(offset_of!(RawTcpInfo, delivery_rate)).filter(|&rate| rate != 0),
            busy_us: u64_at(offset_of!(RawTcpInfo, busy_time)),
            rwnd_limited_us: u64_at(offset_of!(RawTcpInfo, rwnd_limited)),
            sndbuf_limited_us: u64_at(offset_of!(RawTcpInfo, sndbuf_limited)),
            delivered: u32_at(offset_of!(RawTcpInfo, delivered)),
            bytes_sent: u64_at(offset_of!(RawTcpInfo, bytes_sent)),
            bytes_retrans: u64_at(offset_of!(RawTcpInfo, bytes_retrans)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_the_kernels() {
        // From offsetof() over <linux/tcp.h>; a padding mistake in `RawTcpInfo` would shift everything after
        // it.
        assert_eq!(offset_of!(RawTcpInfo, rtt), 68);
        assert_eq!(offset_of!(RawTcpInfo, total_retrans), 100);
        assert_eq!(offset_of!(RawTcpInfo, pacing_rate), 104);
        assert_eq!(offset_of!(RawTcpInfo, data_segs_out), 156);
        assert_eq!(offset_of!(RawTcpInfo, busy_time), 168);
        assert_eq!(offset_of!(RawTcpInfo, bytes_sent), 200);
    }

    #[test]
    fn fields_that_an_older_kernel_lacks_are_none() {
        let ones = [1u8; size_of::<RawTcpInfo>()];
        // Linux 2.6: ends after total_retrans. Linux 4.10: ends after sndbuf_limited.
        let old = TcpInfo::from_bytes(&ones[..104]);
        assert_eq!(old.total_retrans, Some(0x0101_0101));
        assert_eq!((old.data_segs_out, old.busy_us), (None, None));
        let newer = TcpInfo::from_bytes(&ones[..192]);
        assert!(newer.sndbuf_limited_us.is_some());
        assert_eq!((newer.delivered, newer.bytes_sent), (None, None));
        // A length in the middle of a field leaves the field out.
        assert_eq!(TcpInfo::from_bytes(&ones[..102]).total_retrans, None);
        assert_eq!(TcpInfo::from_bytes(&[]), TcpInfo::default());
    }

    #[test]
    fn no_sample_yet_is_none() {
        let zeroes = TcpInfo::from_bytes(&[0u8; size_of::<RawTcpInfo>()]);
        assert_eq!((zeroes.rtt_us, zeroes.delivery_rate), (None, None));
        let ones = TcpInfo::from_bytes(&[0xff; size_of::<RawTcpInfo>()]);
        assert_eq!(ones.min_rtt_us, None);
    }

    #[test]
    fn another_socket_is_an_error() {
        use std::os::fd::AsFd;
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(tcp_info(udp.as_fd()).is_err());
    }
}
