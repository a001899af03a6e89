//! How connections are made: every option is set explicitly and read back, because inherited values have
//! changed results.
//!
//! docs/tuning.md, "Connections", has the measurements behind the constants.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::TcpKeepalive;

use crate::sys::socket::Socket;

/// Loss-based and without pacing. A default with pacing, such as BBR, leaves a pacing rate on the socket that
/// slows a zero-copy sender down three times: see docs/tuning.md, "Congestion control".
const CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];

/// SO_SNDBUF and SO_RCVBUF in bytes. With a smaller receive buffer the window closes, and the sender's
/// transmit work moves into the receiver's thread: see docs/tuning.md, "Socket buffers".
const BUFFERS: (usize, usize) = (256 << 10, 1 << 20);

/// Used if the sysctls cap the buffers (the usual default is 212,992). A quarter of the cap and the whole cap
/// were slower: see docs/tuning.md, "Socket buffers".
const CAPPED_BUFFERS: (usize, usize) = (128 << 10, 208 << 10);

/// The buffers in the lab, where the relay makes the route longer. With larger buffers a sender sleeps less
/// often, and sleeps hide the differences between the paths: see docs/tuning.md, "Buffers in the lab".
const LAB_BUFFERS: (usize, usize) = (1 << 20, 4 << 20);

/// A connection ends if the peer neither sends nor receives for this long.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A new connection ends if it does not identify itself within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The listen backlog: as many connections as there can be clients.
const BACKLOG: i32 = 1024;

/// The options of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// SO_SNDBUF in bytes as set; the kernel doubles it.
    pub send_buffer: usize,
    /// SO_RCVBUF in bytes as set; the kernel doubles it.
    pub receive_buffer: usize,
    /// TCP_NODELAY: off for throughput, as in the original program; on for latency, because Nagle's algorithm
    /// would delay the end of a message by 40 ms.
    pub nodelay: bool,
    /// SO_SNDTIMEO and SO_RCVTIMEO: the timeout of every blocking call.
    pub stall_timeout: Duration,
    /// How long a new connection may take to identify itself.
    pub hello_timeout: Duration,
}

impl ConnectionOptions {
    /// The options for this machine: the best buffer sizes that the sysctls allow.
    pub fn for_this_machine() -> Self {
        Self::within(largest_buffers(), &[BUFFERS])
    }

    /// The options for a lab on this machine.
    pub fn for_a_lab() -> Self {
        Self::within(largest_buffers(), &[LAB_BUFFERS, BUFFERS])
    }

    /// Takes the first of `choices` that the limits allow.
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

/// The largest SO_SNDBUF and SO_RCVBUF that the sysctls allow.
fn largest_buffers() -> (usize, usize) {
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    (limit("wmem_max"), limit("rmem_max"))
}

/// The options of a connection as the kernel reports them.
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

    /// Whether the receive buffer is so small, compared with the send buffer, that the window may close.
    pub fn window_may_close(&self) -> bool {
        self.receive_buffer < 4 * self.send_buffer
    }
}

/// A listener whose connections inherit `options`. An accepted connection takes the congestion control of its
/// listener at the time of the handshake, so it cannot be set later.
pub fn listen(address: SocketAddr, options: &ConnectionOptions) -> io::Result<Socket> {
    let socket = Socket::tcp(address)?;
    options.set(&socket)?;
    socket.options().set_reuse_address(true)?;
    // Accepting blocks until a client connects or the listener is shut down.
    socket.options().set_read_timeout(None)?;
    socket.options().bind(&address.into())?;
    socket.options().listen(BACKLOG)?;
    Ok(socket)
}

/// Connects to `address` with `options`.
pub fn connect(address: SocketAddr, options: &ConnectionOptions) -> io::Result<Socket> {
    let socket = Socket::tcp(address)?;
    options.set(&socket)?;
    // A client sends only requests, and none of them may wait.
    socket.options().set_tcp_nodelay(true)?;
    socket.options().connect_timeout(&address.into(), options.stall_timeout)?;
    Ok(socket)
}

/// Sets the timeouts of an accepted connection, which does not inherit them.
pub fn set_timeouts(socket: &Socket, options: &ConnectionOptions) -> io::Result<()> {
    socket.options().set_write_timeout(Some(options.stall_timeout))?;
    socket.options().set_read_timeout(Some(options.stall_timeout))
}

/// Sets the options of a control connection. TCP_NODELAY is on, because otherwise Nagle's algorithm would
/// hold back the second of two messages in a row for 40 ms. Keepalive finds a dead peer after two and a half
/// times `stall`, and after four seconds at the earliest, because the kernel counts whole seconds.
pub fn configure_control(socket: &Socket, stall: Duration) -> io::Result<()> {
    socket.options().set_tcp_nodelay(true)?;
    let second = Duration::from_secs(1);
    let (idle, interval) = (stall.max(second), (stall / 2).max(second));
    const PROBES: u32 = 3;
    let probes = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
    socket.options().set_tcp_keepalive(&probes)?;
    // While data is in flight the kernel sends no probes, but retransmits for a quarter of an hour.
    socket.options().set_tcp_user_timeout(Some(idle + PROBES * interval))
}

/// Sends what Nagle's algorithm holds back. Otherwise the last bytes of a run would wait 40 ms for the
/// receiver's delayed acknowledgement. Setting TCP_NODELAY sends them (net/ipv4/tcp.c,
/// __tcp_sock_set_nodelay).
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
    fn the_sysctls_decide_the_buffers() {
        let within = |limit| ConnectionOptions::within((limit, limit), &[LAB_BUFFERS, BUFFERS]);
        let capped = within(212_992);
        assert_eq!((capped.send_buffer, capped.receive_buffer), CAPPED_BUFFERS);
        let between = within(2 << 20);
        assert_eq!((between.send_buffer, between.receive_buffer), BUFFERS);
        let free = within(4 << 20);
        assert_eq!((free.send_buffer, free.receive_buffer), LAB_BUFFERS);
    }

    #[test]
    fn both_ends_have_the_options() {
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
