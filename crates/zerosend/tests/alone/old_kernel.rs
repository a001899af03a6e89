//! A kernel without MSG_ZEROCOPY, as a filter of system calls makes it.
#![allow(unsafe_code, reason = "to install the filter")]

use std::io;

use zerosend::Blocking;

use crate::common::child::{alone, this_test};
use crate::common::{LONG, always, content, pair, reader};

/// From now on this thread cannot set SO_ZEROCOPY: ENOPROTOOPT, as before Linux 4.14.
fn forget_zero_copy() {
    const NUMBER: u32 = 0;
    const LEVEL: u32 = 16 + 8;
    const OPTION: u32 = 16 + 2 * 8;
    let load =
        |k| libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k };
    // Unless it is this, `to` instructions on: to the one that allows.
    let unless = |k, to| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: to,
        k,
    };
    let end = |k| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k };
    let mut filter = [
        load(NUMBER),
        unless(libc::SYS_setsockopt as u32, 5),
        load(LEVEL),
        unless(libc::SOL_SOCKET as u32, 3),
        load(OPTION),
        unless(libc::SO_ZEROCOPY as u32, 1),
        end(libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT as u32),
        end(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the first call takes no pointer; the program of the second and its filter live, and the kernel copies them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program);
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }
}

#[test]
fn without_msg_zerocopy_everything_is_copied() {
    alone(this_test!(), || {
        let (server, client) = pair();
        let received = reader(client);
        forget_zero_copy();
        let mut sender = Blocking::new(always(server));
        assert!(!sender.get_ref().is_able());
        sender.set_timeout(Some(LONG)).unwrap();
        let mut receipt = sender.send_with_receipt(content(1, 0, 1 << 20)).unwrap();
        assert_eq!(sender.wait(&mut receipt).unwrap().payload.len(), 1 << 20, "it is free at once");
        let stats = sender.stats();
        assert_eq!((stats.calls_by_reference, stats.bytes_copied), (0, 1 << 20), "{stats:?}");
        assert!(stats.decisions.unable > 0);
        drop(sender);
        assert!(received.join().unwrap().unwrap() == content(1, 0, 1 << 20));
    });
}
