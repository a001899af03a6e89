//! The planned measurement, as far as the limits of the machine matter for it.
//!
//! Only a plan makes a limit small or large: 64 KiB of lockable memory suffices for sends that copy.

use std::net::IpAddr;

use copycost::units::ByteSize;

/// The properties of a planned measurement that the checks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// The planned message sizes, in bytes.
    pub sizes: Vec<usize>,
    /// The planned numbers of clients.
    pub clients: Vec<usize>,
    /// The value for SO_SNDBUF in bytes; the kernel doubles it.
    pub send_buffer: usize,
    /// The value for SO_RCVBUF in bytes; the kernel doubles it.
    pub receive_buffer: usize,
    /// The number of server threads at the largest number of clients.
    pub server_threads: usize,
    /// The address of the clients; `None` means on this machine, over loopback.
    pub address: Option<IpAddr>,
    /// The interface to the clients if `address` is link-local.
    pub zone: Option<String>,
}

// Above the size of any machine. The bounds keep products of a mistyped plan from overflowing.
const MOST_BYTES: u64 = 1 << 40;
const MOST_THREADS: u64 = 1 << 20;

fn bounded(number: usize, most: u64) -> u64 {
    (number as u64).min(most)
}

impl Default for PlannedRun {
    /// The default matrix over loopback: {1, 4, 16, 64} KiB × {1, 2, 4, 8} clients, with one server thread per client.
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

    /// The number of threads on this machine at once: those of the server, and those of local clients.
    pub fn threads_here(&self) -> u64 {
        let clients = if self.address.is_none() { self.most_clients() } else { 0 };
        bounded(self.server_threads, MOST_THREADS) + clients
    }

    /// The number of zero-copy sends of `size` bytes that fit into a send buffer.
    ///
    /// The kernel doubles SO_SNDBUF (net/core/sock.c) and charges whole pages for a zero-copy send
    /// (zerocopy_fill_skb_from_iter, net/core/datagram.c). So this is an upper bound, exact for fields in adjacent
    /// memory.
    pub(super) fn sends_in_flight(&self, size: u64, page_bytes: u64) -> u64 {
        let charged = size.max(1).next_multiple_of(page_bytes);
        (2 * bounded(self.send_buffer, MOST_BYTES) / charged).max(1)
    }

    /// The planned sizes in bytes, in order.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.sizes.iter().map(|&size| bounded(size, MOST_BYTES))
    }

    /// Bytes of messages if each server thread sends the largest one over and over, from memory in the caches.
    pub(super) fn messages(&self) -> u64 {
        let largest = self.sizes().max().unwrap_or(0);
        largest.saturating_mul(bounded(self.server_threads, MOST_THREADS))
    }

    /// Bytes in the full buffers of both ends, at the largest number of clients.
    pub(super) fn buffered(&self) -> u64 {
        let pair = bounded(self.send_buffer, MOST_BYTES) + bounded(self.receive_buffer, MOST_BYTES);
        2 * pair * self.most_clients()
    }
}

/// Bytes in the notation of the tables: `64 KiB`.
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
