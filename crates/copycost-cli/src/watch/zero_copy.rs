//! Whether zero copy is asked for, and whether it is real, from the functions in the sampled stacks.

use serde::Serialize;

use crate::profile::stacks::Stacks;

/// Samples with a function in their stacks that only zero-copy sends reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ZeroCopySigns {
    /// Within a send by reference: MSG_ZEROCOPY, or io_uring's.
    pub asked: u64,
    /// Within `skb_copy_ubufs`, which copies what was sent by reference: on loopback, on a device that cannot gather, for a
    /// packet tap. Of `sendfile` and `splice` it copies nothing.
    pub copied: u64,
    /// Within a read of the error queue, where MSG_ZEROCOPY's notifications are.
    pub notified: u64,
}

/// Functions within a send by reference, those of the process's pages.
const ASKED: [&str; 5] = [
    "msg_zerocopy_realloc",
    "skb_zerocopy_iter_stream",
    "zerocopy_fill_skb_from_iter",
    "__zerocopy_sg_from_iter",
    "io_sg_from_iter",
];

const COPIED: &str = "skb_copy_ubufs";

const NOTIFIED: [&str; 3] = ["inet_recv_error", "ip_recv_error", "sock_recv_errqueue"];

impl ZeroCopySigns {
    /// Counts the signs in `stacks`.
    pub fn of(stacks: &Stacks) -> Self {
        let mut signs = Self::default();
        for ((_, frames), count) in &stacks.counts {
            let has = |name: &str| frames.iter().any(|frame| **frame == *name);
            signs.asked += if ASKED.into_iter().any(has) { *count } else { 0 };
            signs.copied += if has(COPIED) { *count } else { 0 };
            signs.notified += if NOTIFIED.into_iter().any(has) { *count } else { 0 };
        }
        signs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_functions_in_the_stacks() {
        let stacks = Stacks::parse([
            "sender;entry;tcp_sendmsg_locked;skb_zerocopy_iter_stream;__zerocopy_sg_from_iter 5",
            "sender;entry;skb_orphan_frags_rx;skb_copy_ubufs;memcpy 17",
            "sender;entry;tcp_recvmsg;inet_recv_error 2",
            "sender;entry;tcp_sendmsg;skb_copy_to_page 70",
        ]);
        assert_eq!(ZeroCopySigns::of(&stacks), ZeroCopySigns { asked: 5, copied: 17, notified: 2 });
    }
}
