//! What connections cost in memory and descriptors, living and dropped.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use zerosend::{Blocking, Cursor, Linger, Sender};

use crate::common::child::{alone, this_test};
use crate::common::{LONG, always, eventually, full, pair};
use crate::counting;

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Resident memory without what the allocator keeps for itself.
fn trimmed_resident_kib() -> i64 {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "only glibc keeps much")]
    // SAFETY: neither takes a pointer.
    unsafe {
        // Once a large block was freed, glibc takes the next ones from the thread's arena, of whose top malloc_trim gives nothing
        // back: up to 64 MiB. A threshold that is set stays.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::malloc_trim(0);
    };
    resident_kib()
}

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn an_idle_connection_costs_less_than_2_kib() {
    alone(this_test!(), || {
        const CONNECTIONS: usize = 100;
        let pairs: Vec<_> = (0..CONNECTIONS).map(|_| pair()).collect();
        let (servers, mut clients): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut senders = Vec::with_capacity(CONNECTIONS);
        let before = counting::live_bytes();
        for server in servers {
            senders.push(always(server));
        }
        let each = |what: &str| {
            // The vector was there before: what a sender has in itself comes to what it allocates.
            let allocated = (counting::live_bytes() - before) / CONNECTIONS as i64;
            let all = allocated + size_of::<Sender>() as i64;
            assert!(all <= 2048, "{what}: {all} bytes, {allocated} of them allocated");
            println!("{what}: {all} bytes");
        };
        each("new");
        for (sender, client) in senders.iter_mut().zip(&mut clients) {
            let mut received = vec![0; 10_000];
            for _ in 0..200 {
                sender.try_send(&mut Cursor::new(vec![1; 10_000])).unwrap();
                client.read_exact(&mut received).unwrap();
            }
        }
        for sender in &mut senders {
            eventually("it is idle", || {
                sender.reap().unwrap();
                sender.pending() == 0
            });
        }
        each("after a burst");
    });
}

#[test]
fn peers_that_never_read_cost_nothing_after_the_deadline() {
    alone(this_test!(), || {
        const PEERS: usize = 1000;
        zerosend::set_linger(Linger { time: Duration::from_millis(500), bytes: 1 << 30, connections: 2000 });
        let pairs = || -> Vec<_> {
            // Half of the descriptors of a usual limit.
            (0..PEERS / 4).map(|_| pair()).collect()
        };
        let (files_before, before, live_before) = (files(), trimmed_resident_kib(), counting::live_bytes());
        for _ in 0..4 {
            let mut kept = Vec::new();
            for (server, client) in pairs() {
                let mut sender = always(server);
                // More than the socket buffers hold.
                let mut cursor = Cursor::new(vec![1; 4 << 20]);
                let _ = sender.try_send(&mut cursor);
                kept.push(client);
            }
            assert!(zerosend::wait_for_dropped(Instant::now() + LONG), "{:?}", zerosend::dropped());
            drop(kept);
        }
        let dropped = zerosend::dropped();
        assert_eq!((dropped.taken_over, dropped.reset), (PEERS as u64, PEERS as u64), "{dropped:?}");
        assert_eq!((dropped.leaked_bytes, dropped.waiting), (0, 0));
        let more = (trimmed_resident_kib() - before, counting::live_bytes() - live_before);
        assert!(
            more.0 <= 8 << 10 && more.1 < 1 << 20,
            "{} KiB more resident, {} bytes allocated",
            more.0,
            more.1
        );
        println!("{} KiB more resident after {PEERS} peers", more.0);
        assert!(files() <= files_before + 2, "{} descriptors, {files_before} before", files());
    });
}

#[test]
fn bounds_reset_the_oldest_first() {
    alone(this_test!(), || {
        zerosend::set_linger(Linger { time: Duration::MAX, bytes: 20 << 20, connections: 10 });
        let mut clients = Vec::new();
        for _ in 0..30 {
            let (server, client) = pair();
            let mut sender = always(server);
            let mut cursor = Cursor::new(vec![1; 4 << 20]);
            let _ = sender.try_send(&mut cursor);
            clients.push(client);
        }
        eventually("the bounds are kept", || zerosend::dropped().waiting <= 5);
        assert!(zerosend::dropped().reset >= 25);
        // The newest ones are served.
        let mut newest = clients.pop().unwrap();
        assert!(newest.read(&mut [0; 1000]).unwrap() > 0);
    });
}

/// 100,000 in the full set, from addresses enough that no port is used twice.
#[test]
fn connections_that_send_and_go_leave_no_memory() {
    alone(this_test!(), || {
        let rounds: u32 = if full() { 10 } else { 2 };
        let each: u32 = if full() { 10_000 } else { 500 };
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut resident = Vec::new();
        for round in 0..rounds {
            for index in 0..each {
                let to = SocketAddr::from((Ipv4Addr::from(0x7F00_0001 + round * 1024 + index % 512), port));
                let mut client = TcpStream::connect(to).unwrap();
                let mut sender = Blocking::new(always(listener.accept().unwrap().0));
                for _ in 0..10 {
                    sender.send(vec![1; 2000]).unwrap();
                }
                drop(sender);
                // Its close with the last bytes unread resets the connection now and then.
                let wanted = if index % 7 == 0 { 10_000 } else { 20_000 };
                client.read_exact(&mut vec![0; wanted]).unwrap();
            }
            assert!(zerosend::wait_for_dropped(Instant::now() + LONG));
            resident.push((resident_kib(), counting::live_bytes()));
        }
        let (first, last) = (resident[0], resident[resident.len() - 1]);
        assert!(last.0 - first.0 <= 2048, "KiB resident: {resident:?}");
        assert!(last.1 - first.1 <= 64 << 10, "bytes allocated: {resident:?}");
        // The thread ends when it has been idle.
        eventually("the thread is gone", || {
            let threads = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
            !threads.into_iter().any(|thread| {
                std::fs::read_to_string(thread.path().join("comm"))
                    .is_ok_and(|name| name.trim() == "zerosend")
            })
        });
        thread::yield_now();
    });
}
