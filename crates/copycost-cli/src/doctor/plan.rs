//! What is going to be measured, as far as the machine's limits care.
//!
//! A limit is small or large only against a plan: 64 KiB of lockable memory is plenty for copying sends.

use std::net::IpAddr;

use copycost::units::ByteSize;

/// The planned measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// Message sizes in bytes.
    pub sizes: Vec<usize>,
    /// Client counts.
    pub clients: Vec<usize>,
    /// Bytes that will be given to SO_SNDBUF; the kernel doubles them.
    pub send_buffer: usize,
    /// Bytes that will be given to SO_RCVBUF; the kernel doubles them.
    pub receive_buffer: usize,
    /// Threads of the server at the largest client count.
    pub server_threads: usize,
    /// Where the clients are; `None` means on this machine, over loopback.
    pub address: Option<IpAddr>,
    /// The interface over which they are, where the address does not say it: that of a link-local one.
    pub zone: Option<String>,
}

// No machine has as much; the bounds keep products of a mistyped plan from overflowing.
const MOST_BYTES: u64 = 1 << 40;
const MOST_THREADS: u64 = 1 << 20;

fn bounded(number: usize, most: u64) -> u64 {
    (number as u64).min(most)
}

impl Default for PlannedRun {
    /// The mission's matrix over loopback: {1, 4, 16, 64} KiB × {1, 2, 4, 8} clients, a server thread each.
    fn default() -> PlannedRun {
        PlannedRun {
            sizes: vec![1024, 4096, 16384, 65536],
            clients: vec![1, 2, 4, 8],
            send_buffer: 256 << 10,
            receive_buffer: 1 << 20,
            server_threads: 8,
            address: None,
            zone: None,
        }
    }
}

impl PlannedRun {
    /// The largest planned client count, at least 1.
    pub fn most_clients(&self) -> u64 {
        bounded(self.clients.iter().copied().max().unwrap_or(1).max(1), MOST_THREADS)
    }

    /// Threads that will run on this machine at once: the server's, and the clients' where they are local.
    pub fn threads_here(&self) -> u64 {
        let clients = if self.address.is_none() { self.most_clients() } else { 0 };
        bounded(self.server_threads, MOST_THREADS) + clients
    }

    /// Zero-copy sends of `size` bytes that fit a send buffer at once.
    ///
    /// The kernel doubles SO_SNDBUF (net/core/sock.c) and charges a zero-copy send by whole pages
    /// (zerocopy_fill_skb_from_iter, net/core/datagram.c), so this is an upper bound, met by fields that lie together.
    pub(super) fn sends_in_flight(&self, size: u64, page_bytes: u64) -> u64 {
        let charged = size.max(1).next_multiple_of(page_bytes);
        (2 * bounded(self.send_buffer, MOST_BYTES) / charged).max(1)
    }

    /// The planned sizes in bytes, in order.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.sizes.iter().map(|&size| bounded(size, MOST_BYTES))
    }

    /// Bytes of the largest message of each of the most clients, where they are sent from memory that is in the caches.
    pub(super) fn messages(&self) -> u64 {
        let largest = self.sizes().max().unwrap_or(0);
        largest.saturating_mul(bounded(self.server_threads, MOST_THREADS))
    }

    /// Bytes that full buffers of both ends hold at the most clients.
    pub(super) fn buffered(&self) -> u64 {
        let pair = bounded(self.send_buffer, MOST_BYTES) + bounded(self.receive_buffer, MOST_BYTES);
        2 * pair * self.most_clients()
    }
}

/// Bytes as the tables print sizes: `64 KiB`.
pub(super) fn spelled(bytes: u64) -> String {
    ByteSize(usize::try_from(bytes).unwrap_or(usize::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_are_charged_a_page_each() {
        assert_eq!(PlannedRun::default().sends_in_flight(1024, 4096), 128);
        assert_eq!(PlannedRun::default().sends_in_flight(65536, 4096), 8);
        assert_eq!(PlannedRun::default().sends_in_flight(64 << 20, 4096), 1);
    }
}
