//! io_uring where it is forbidden, and what its worker threads cost.
#![allow(unsafe_code, reason = "a seccomp filter and a ring of the test's own have no safe wrapper here")]

use std::fs;
use std::thread;
use std::time::Duration;

use crate::common::child::{Wanted, role, this_test};
use crate::common::{receivers, skip, spec, verified, within};
use copycost::internals::cost::cpu::ThreadCpu;
use copycost::message::{Layout, Spec};
use copycost::recv;
use copycost::rig::{Rig, Work};
use copycost::send;
use io_uring::{IoUring, opcode, squeue, types};

/// Has io_uring_setup(2) fail with `errno` in this process and its children, as a container's filter does.
fn forbid(errno: u32) {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const RETURN_ERRNO: u32 = 0x0005_0000;
    const RETURN_ALLOW: u32 = 0x7fff_0000;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The number of the call is the first word of struct seccomp_data.
    let mut program = [
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, RETURN_ERRNO | errno),
        step(RETURN, 0, 0, RETURN_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call takes numbers; the second reads a program that lives, of the length told.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[test]
fn without_io_uring_the_other_paths_work() {
    let test = this_test!();
    let Some(errno) = role(test) else {
        for errno in [libc::EPERM, libc::ENOSYS] {
            Wanted::new(test, &errno.to_string(), &[]).run();
        }
        return;
    };
    let errno = errno.parse().unwrap();
    forbid(errno);
    let spec = Spec { layout: Layout::Arena, ..spec(4096, false) };
    let word = if errno as i32 == libc::EPERM { "forbids" } else { "no io_uring" };
    let mut refused = 0;
    for path in send::ALL {
        match path.nearest(&spec) {
            Ok(spec) => {
                let sample = Rig::build(&verified(path, spec, 1)).unwrap().run(Work::Rounds(20)).unwrap();
                assert_eq!(sample.messages, 20, "{}", path.name);
            }
            Err(why) => {
                assert!(why.0.contains(word), "{}: {why}", path.name);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4, "the io_uring paths and no other");
    let refused: Vec<_> = recv::ALL.iter().filter_map(|path| (path.probe)(false).err()).collect();
    assert!(refused.len() == 1 && refused[0].0.contains(word), "{refused:?}");
}

#[test]
fn a_request_that_a_worker_thread_does_counts_as_its_threads_time() {
    let Ok(mut ring) = IoUring::new(64) else { return skip("no io_uring here") };
    let spent = thread::Builder::new().spawn(move || {
        let zero = fs::File::open("/dev/zero").unwrap();
        let fd = types::Fd(std::os::fd::AsRawFd::as_raw_fd(&zero));
        let mut buffer = vec![0; 4 << 20];
        let mut meter = ThreadCpu::open();
        let before = (meter.now().unwrap(), workers());
        for _ in 0..50 {
            let read = opcode::Read::new(fd, buffer.as_mut_ptr(), buffer.len() as u32).build();
            // SAFETY: the buffer lives, and is not looked at, until the read has ended.
            unsafe { ring.submission().push(&read.flags(squeue::Flags::ASYNC)).unwrap() };
            ring.submit_and_wait(1).unwrap();
            assert_eq!(ring.completion().next().unwrap().result(), 4 << 20);
        }
        (meter.now().unwrap() - before.0, workers() - before.1)
    });
    let (counted, workers) = spent.unwrap().join().unwrap();
    assert!(workers > Duration::ZERO, "no worker did anything");
    // What the thread itself did is on top; two clocks of the same work differ by the switches.
    assert!(counted > workers * 9 / 10, "{counted:?} counted, {workers:?} spent by workers");
}

/// CPU time of the workers of this thread, from the kernel's own books.
fn workers() -> Duration {
    let mine = fs::read_link("/proc/thread-self").unwrap();
    let name = format!("iou-wrk-{}\n", mine.file_name().unwrap().to_str().unwrap());
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let own =
        tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm == name));
    let time = |task: fs::DirEntry| -> u64 {
        let books = fs::read_to_string(task.path().join("schedstat")).unwrap();
        books.split(' ').next().unwrap().parse().unwrap()
    };
    Duration::from_nanos(own.map(time).sum())
}

/// Four messages fit in flight, so there is at most one call for four messages of a copying path.
#[test]
fn one_call_for_four_messages() {
    let path = send::by_name("uring-sendmsg").unwrap();
    if let Err(why) = (path.probe)(&spec(1024, false)) {
        return skip(&why.0);
    }
    within("calls", move || {
        let mut rig = Rig::build(&verified(path, spec(1024, false), 1)).unwrap();
        let sample = rig.run(Work::Rounds(4000)).unwrap();
        assert!(sample.calls <= 1000 + 50, "{} calls for 4,000 messages", sample.calls);
    });
}

#[test]
fn the_receive_path_is_there_where_the_kernel_has_it() {
    match copycost::internals::sys::uring::operations() {
        Ok(operations) if operations.send_zc => {
            assert!(receivers().iter().any(|(path, verifies)| path.name == "uring" && *verifies));
        }
        Ok(_) => skip("this kernel's io_uring has no SEND_ZC, and so may lack what the receive path needs"),
        Err(error) => skip(&error.to_string()),
    }
}
