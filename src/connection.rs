//! How every connection of a measurement is made: the options are set, never inherited, and read back.
//!
//! Each of them decided a measurement at least once; the reasons stand beside the constants.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::TcpKeepalive;

use crate::sys::socket::Socket;

/// Loss-based and without pacing. A pacing default such as BBR leaves a pacing rate on the socket: the same
/// zero-copy sender measured three times slower under it (16 KiB: 0.88 against 2.46 GB/s). To check again: set
/// `net.ipv4.tcp_congestion_control` and take these out.
const CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];

/// What SO_SNDBUF and SO_RCVBUF are set to, in bytes. The receive buffer is four times the send buffer, because
/// with a closed window the sender's transmit work moves into the receiver's thread (64 KiB sendmsg, sender and
/// receiver in ns/KiB: 48/60 with 1 MiB + 256 KiB, 95/35 with 256 KiB + 1 MiB).
const BUFFERS: (usize, usize) = (256 << 10, 1 << 20);

/// Where the sysctls cap the buffers (212,992 is the usual default), these did better than a quarter of the cap
/// beside the whole cap, which starved the placement `split` by 60 %.
const CAPPED_BUFFERS: (usize, usize) = (128 << 10, 208 << 10);

/// The same in the lab, whose relay makes the way longer: with twice to four times as much under way a sender that
/// waits for room sleeps less often. What a sleep costs is the same on every path, and hides what they differ by: at
/// 256 KiB, layout `huge`, the sender's demand in ns/KiB of sendmsg and MSG_ZEROCOPY was 97 and 67 with 256 KiB + 1 MiB,
/// 87 and 56 with twice, 79 and 47 with four times as much.
const LAB_BUFFERS: (usize, usize) = (1 << 20, 4 << 20);

/// A peer that takes or gives nothing for so long is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that does not say who it is for so long is ended.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted: as many as there can be clients.
const BACKLOG: i32 = 1024;

/// What is asked of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// SO_SNDBUF in bytes as set; the kernel doubles it.
    pub send_buffer: usize,
    /// SO_RCVBUF in bytes as set; the kernel doubles it.
    pub receive_buffer: usize,
    /// TCP_NODELAY: off for throughput, as in the original; on for latency, where a held tail would wait 40 ms.
    pub nodelay: bool,
    /// SO_SNDTIMEO and SO_RCVTIMEO: the end of every blocking call.
    pub stall_timeout: Duration,
    /// How long a new connection may take to say who it is.
    pub hello_timeout: Duration,
}

impl ConnectionOptions {
    /// The options for this machine: the measured buffer sizes, or the next best where sysctls cap them.
    pub fn for_this_machine() -> Self {
        Self::within(largest_buffers(), &[BUFFERS])
    }

    /// The same for a lab on this machine.
    pub fn for_a_lab() -> Self {
        Self::within(largest_buffers(), &[LAB_BUFFERS, BUFFERS])
    }

    /// The first of `choices` that is allowed.
    fn within((wmem_max, rmem_max): (usize, usize), choices: &[(usize, usize)]) -> Self {
        let fits = |buffers: &&(usize, usize)| wmem_max >= buffers.0 && rmem_max >= buffers.1;
        let (send_buffer, receive_buffer) = *choices.iter().find(fits).unwrap_or(&CAPPED_BUFFERS);
        Self {
            send_buffer,
            receive_buffer,
            nodelay: false,
            stall_timeout: STALL_TIMEOUT,
            hello_timeout: HELLO_TIMEOUT,
        }
    }

    fn set(&self, socket: &Socket) -> io::Result<()> {
        let options = socket.options();
        let set = |name: &&str| options.set_tcp_congestion(name.as_bytes()).is_ok();
        if !CONGESTION_CONTROLS.iter().any(set) {
            return Err(io::Error::other(
                "neither cubic nor reno can be set as the congestion control: `copycost doctor` shows how to \
                 allow one",
            ));
        }
        options.set_send_buffer_size(self.send_buffer)?;
        options.set_recv_buffer_size(self.receive_buffer)?;
        options.set_tcp_nodelay(self.nodelay)?;
        options.set_write_timeout(Some(self.stall_timeout))?;
        options.set_read_timeout(Some(self.stall_timeout))
    }
}

/// The most that SO_SNDBUF and SO_RCVBUF may be set to.
fn largest_buffers() -> (usize, usize) {
    let most = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    (most("wmem_max"), most("rmem_max"))
}

/// What a connection has, as the kernel reads it back.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AppliedOptions {
    /// TCP_CONGESTION
    pub congestion_control: String,
    /// SO_SNDBUF in bytes, the kernel's doubling included.
    pub send_buffer: usize,
    /// SO_RCVBUF in bytes, the kernel's doubling included.
    pub receive_buffer: usize,
    /// TCP_NODELAY
    pub nodelay: bool,
}

impl AppliedOptions {
    /// Reads the options back.
    pub fn of(socket: &Socket) -> io::Result<Self> {
        let options = socket.options();
        let name = options.tcp_congestion()?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Self {
            congestion_control: String::from_utf8_lossy(name).into_owned(),
            send_buffer: options.send_buffer_size()?,
            receive_buffer: options.recv_buffer_size()?,
            nodelay: options.tcp_nodelay()?,
        })
    }

    /// Whether the receive buffer is too small beside the send buffer for the window to stay open.
    pub fn window_may_close(&self) -> bool {
        self.receive_buffer < 4 * self.send_buffer
    }
}

/// A listener whose connections inherit `options`: the congestion control of an accepted connection is that of
/// its listener at the time of the handshake, so it cannot be set later.
pub fn listen(address: SocketAddr, options: &ConnectionOptions) -> io::Result<Socket> {
    let socket = Socket::tcp(address)?;
    options.set(&socket)?;
    socket.options().set_reuse_address(true)?;
    // Accepting blocks until a client comes or the listener is shut down.
    socket.options().set_read_timeout(None)?;
    socket.options().bind(&address.into())?;
    socket.options().listen(BACKLOG)?;
    Ok(socket)
}

/// A connection to `address` with `options`.
pub fn connect(address: SocketAddr, options: &ConnectionOptions) -> io::Result<Socket> {
    let socket = Socket::tcp(address)?;
    options.set(&socket)?;
    // A client sends only asks, and each of them is urgent.
    socket.options().set_tcp_nodelay(true)?;
    socket.options().connect_timeout(&address.into(), options.stall_timeout)?;
    Ok(socket)
}

/// Gives an accepted connection what it does not inherit: the timeouts.
pub fn set_timeouts(socket: &Socket, options: &ConnectionOptions) -> io::Result<()> {
    socket.options().set_write_timeout(Some(options.stall_timeout))?;
    socket.options().set_read_timeout(Some(options.stall_timeout))
}

/// Makes a connection one that carries words and no messages. Each leaves at once: of two in a row Nagle's algorithm would
/// hold the second back until the first is acknowledged, 40 ms later. And since such a connection is silent by nature, the
/// kernel finds out that a silent peer is gone: two and a half times `stall` after its last sign of life, or four seconds
/// where `stall` is shorter than a second, for the kernel counts whole ones.
pub fn configure_control(socket: &Socket, stall: Duration) -> io::Result<()> {
    socket.options().set_tcp_nodelay(true)?;
    let second = Duration::from_secs(1);
    let (idle, interval) = (stall.max(second), (stall / 2).max(second));
    const PROBES: u32 = 3;
    let probes = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
    socket.options().set_tcp_keepalive(&probes)?;
    // While something is on its way the kernel sends no probes but repeats it, for a quarter of an hour.
    socket.options().set_tcp_user_timeout(Some(idle + PROBES * interval))
}

/// Sends what Nagle's algorithm holds back: the tail of a run would wait for the receiver's delayed
/// acknowledgement, and 40 ms at the end of a 70 ms sample are not what a send costs (net/ipv4/tcp.c,
/// __tcp_sock_set_nodelay, pushes when the option is set).
pub fn flush_nagle(socket: &Socket) -> io::Result<()> {
    let options = socket.options();
    if !options.tcp_nodelay()? {
        options.set_tcp_nodelay(true)?;
        options.set_tcp_nodelay(false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capped_sysctls_choose_the_buffers_that_measured_best_there() {
        let within = |most| ConnectionOptions::within((most, most), &[LAB_BUFFERS, BUFFERS]);
        let capped = within(212_992);
        assert_eq!((capped.send_buffer, capped.receive_buffer), CAPPED_BUFFERS);
        let between = within(2 << 20);
        assert_eq!((between.send_buffer, between.receive_buffer), BUFFERS);
        let free = within(4 << 20);
        assert_eq!((free.send_buffer, free.receive_buffer), LAB_BUFFERS);
    }

    #[test]
    fn both_ends_have_what_was_asked_for() {
        let options = ConnectionOptions { nodelay: true, ..ConnectionOptions::for_this_machine() };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = listen(address.parse().unwrap(), &options).unwrap();
            let client = connect(listener.local_addr().unwrap(), &options).unwrap();
            let (server, _) = listener.accept().unwrap();
            for end in [&client, &server] {
                let applied = AppliedOptions::of(end).unwrap();
                assert!(CONGESTION_CONTROLS.contains(&applied.congestion_control.as_str()));
                assert_eq!(applied.send_buffer, 2 * options.send_buffer);
                assert_eq!(applied.receive_buffer, 2 * options.receive_buffer);
                assert!(applied.nodelay);
            }
        }
    }
}
