//! The call that sends, from the chain of kernel functions at the end of a send.

use copycost::named_enum;

/// The call that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SendKind {
    /// `write(2)`, `pwrite(2)`
    Write,
    /// `writev(2)`, `pwritev(2)`
    Writev,
    /// `send(2)`, `sendto(2)`
    Send,
    /// `sendmsg(2)`
    Sendmsg,
    /// `sendmmsg(2)`; each message is a send of its own
    Sendmmsg,
    /// `sendfile(2)`; each part of at most 64 KiB is a send of its own
    Sendfile,
    /// `splice(2)`, from a pipe; parts as with `sendfile`
    Splice,
    /// io_uring's SEND and SENDMSG
    UringSend,
    /// io_uring's SEND_ZC and SENDMSG_ZC
    UringSendZc,
    /// io_uring's WRITE and WRITEV
    UringWrite,
    /// Anything else, such as a send of the kernel itself.
    Other,
}

named_enum!(SendKind: Write = "write", Writev = "writev", Send = "send", Sendmsg = "sendmsg", Sendmmsg = "sendmmsg",
    Sendfile = "sendfile", Splice = "splice", UringSend = "io_uring send", UringSendZc = "io_uring send_zc",
    UringWrite = "io_uring write", Other = "other");

/// Beginnings of function names, from the most to the least telling: `sendfile` ends in the same functions as `splice`, and
/// `sendmmsg` calls what `sendmsg` does. The outermost function, `__x64_sys_*`, is missing where it ends in a tail call.
const FUNCTIONS: [(&str, SendKind); 17] = [
    ("io_send_zc", SendKind::UringSendZc),
    ("io_sendmsg_zc", SendKind::UringSendZc),
    ("io_sendmsg", SendKind::UringSend),
    ("io_send", SendKind::UringSend),
    ("io_write", SendKind::UringWrite),
    ("do_sendfile", SendKind::Sendfile),
    ("__do_sys_sendfile", SendKind::Sendfile),
    ("__sys_sendmmsg", SendKind::Sendmmsg),
    ("__sys_sendmsg", SendKind::Sendmsg),
    ("__sys_sendto", SendKind::Send),
    ("do_writev", SendKind::Writev),
    ("do_pwritev", SendKind::Writev),
    ("vfs_writev", SendKind::Writev),
    ("ksys_write", SendKind::Write),
    ("vfs_write", SendKind::Write),
    ("do_splice", SendKind::Splice),
    ("splice_to_socket", SendKind::Splice),
];

impl SendKind {
    /// The call of a chain, the innermost function first.
    pub fn of<'a>(chain: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = chain.collect();
        let has = |begin: &str| names.iter().any(|name| name.starts_with(begin));
        FUNCTIONS.iter().find(|(begin, _)| has(begin)).map_or(Self::Other, |(_, kind)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_function_decides() {
        for (chain, kind) in [
            (&["sock_sendmsg", "sock_write_iter", "vfs_write", "ksys_write", "do_syscall_64"][..], "write"),
            (
                &["sock_sendmsg", "sock_write_iter", "do_iter_readv_writev", "vfs_writev", "do_writev"],
                "writev",
            ),
            (&["__sock_sendmsg", "__sys_sendto", "do_syscall_64"], "send"),
            (&["____sys_sendmsg", "___sys_sendmsg", "__sys_sendmsg"], "sendmsg"),
            (&["____sys_sendmsg", "___sys_sendmsg", "__sys_sendmmsg"], "sendmmsg"),
            (
                &["splice_to_socket", "direct_splice_actor", "splice_direct_to_actor", "do_sendfile"],
                "sendfile",
            ),
            (&["splice_to_socket", "do_splice", "__do_splice"], "splice"),
            (&["__sock_sendmsg", "io_send", "io_issue_sqe"], "io_uring send"),
            (&["__sock_sendmsg", "io_sendmsg_zc", "io_issue_sqe"], "io_uring send_zc"),
            (&["sock_write_iter", "io_write", "io_issue_sqe"], "io_uring write"),
            (&["kernel_sendmsg", "rds_send"], "other"),
            (&[], "other"),
        ] {
            assert_eq!(SendKind::of(chain.iter().copied()).to_string(), kind, "{chain:?}");
        }
    }
}
