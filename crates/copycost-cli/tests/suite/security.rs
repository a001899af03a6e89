//! A host among strangers: who is not let in costs it little, learns nothing and keeps nobody out; who is let in has
//! bounds. Attacks are bounded and leave pauses, so that they test the host and not the CPUs.
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::{LONG, eventually, spec, taking};
use crate::program::{Program, length, named, results, sample, secret, sized};
use copycost::internals::connection::ConnectionOptions;
use copycost::internals::protocol::{Ask, Hello, Purpose, Ticket};
use copycost::message::Fields;
use copycost::message::Spec;
use copycost::scenario::Scenario;
use copycost::send;
use copycost::workload::Workload;
use copycost_cli::remote::order::{ServerReply, ServiceOrder};
use copycost_cli::remote::{CLIENT_MEMORY, frame};

/// What a host may hold when it serves next to nothing, whatever is done to it: 256 threads of a debug build are a
/// quarter of this.
const BOUND_KIB: u64 = 96 << 10;

/// A connection without any of this crate's code.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// Likewise from another address of loopback.
fn connect_from(from: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// The first bytes of a guest: hello, nonce, zeroes.
fn opening() -> Vec<u8> {
    [&Hello { purpose: Purpose::Control }.encode()[..], &[9; 32], &[0; 32]].concat()
}

/// What comes until the host ends the connection, one way or another.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            // With a timeout even a stop and a continuation interrupt it (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("the host does not end the connection: {error}"),
        }
    }
}

/// Whether the host has ended a connection that nothing is expected from.
fn is_ended(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// A folder with a token, and a host that asks for it.
fn guarded(arguments: &[&str]) -> (tempfile::TempDir, String, Program, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let token = secret(folder.path(), "token", b"0123456789abcdef0123456789abcdef\n", 0o600);
    let token = token.to_str().unwrap().to_owned();
    let (server, address) = Program::serve(&[&["--token-file", &token], arguments].concat());
    (folder, token, server, (Ipv4Addr::LOCALHOST, address.port()).into())
}

/// A verified run of a guest that knows the token.
fn honest(address: SocketAddr, token: &str, arguments: &[&str]) -> Program {
    let address = address.to_string();
    let base = ["run", "--over", &address, "--token-file", token, "--verify", "--format", "json"];
    Program::start(&[&base[..], arguments].concat())
}

/// Honest guests, one after the other, until it is told to end: each must get all that it asks for.
struct Honest {
    over: Arc<AtomicBool>,
    guests: Option<JoinHandle<usize>>,
}

impl Honest {
    fn start(address: SocketAddr, token: &str) -> Self {
        let (over, token) = (Arc::new(AtomicBool::new(false)), token.to_owned());
        let until = Arc::clone(&over);
        // Here and not in the thread, which would wait for its own test's turn with the locked memory.
        let paths = sample(taking(&spec(4096, false)));
        let guests = thread::Builder::new().spawn(move || {
            let mut served = 0;
            let names = named(&paths);
            while !until.load(Ordering::SeqCst) || served == 0 {
                let cells = [&["-p", &names, "-s", "4KiB,64KiB", "-c", "2"][..], &length("0.1")].concat();
                let results = results(&honest(address, &token, &cells).finish().good());
                assert_eq!((results.records.len(), results.failures.len()), (2 * paths.len(), 0));
                served += 1;
            }
            served
        });
        Self { over, guests: Some(guests.unwrap()) }
    }

    /// How many runs were served meanwhile.
    fn end(mut self) -> usize {
        self.over.store(true, Ordering::SeqCst);
        self.guests.take().unwrap().join().expect("an honest guest was not served")
    }
}

#[test]
fn off_loopback_a_host_needs_a_token_or_an_explicit_word() {
    let folder = tempfile::tempdir().unwrap();
    let token = secret(folder.path(), "token", b"0123456789abcdef", 0o600);
    let token = token.to_str().unwrap();
    for bind in ["0.0.0.0", "::", "::ffff:127.0.0.1"] {
        let serve = ["serve", "--port", "0", "--bind", bind];
        Program::run(&serve).refused(2, &["--bind", "--token-file", "--insecure-open"]);
        Program::run(&[&serve[..], &["--raw", "onecopy"]].concat()).refused(2, &["--raw", "--insecure-open"]);
    }
    let raw = ["serve", "--port", "0", "--raw", "onecopy", "--token-file", token];
    Program::run(&raw).refused(2, &["--raw", "--token-file"]);
    for (arguments, warns) in [
        (&["--bind", "0.0.0.0", "--token-file", token][..], false),
        (&["--bind", "0.0.0.0", "--insecure-open"], true),
        (&["--bind", "0.0.0.0", "--insecure-open", "--raw", "onecopy"], true),
        (&["--bind", "0.0.0.0", "--insecure-open", "--token-file", token], false),
        (&["--bind", "127.0.0.2"], false),
    ] {
        let (server, _) = Program::serve(arguments);
        let ended = server.stop();
        assert_eq!(ended.err.contains("warning: --insecure-open"), warns, "{arguments:?}: {ended:?}");
        ended.good();
    }
}

#[test]
fn a_token_file_that_is_no_secret_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name, text: &[u8], mode| secret(folder.path(), name, text, mode).to_str().unwrap().to_owned();
    let good = b"0123456789abcdef";
    let cases = [
        (file("missing", good, 0o600) + ".not", "cannot be read"),
        (folder.path().to_str().unwrap().to_owned(), "not a regular file"),
        ("/dev/zero".to_owned(), "not a regular file"),
        (file("empty", b"", 0o600), "holds 0 bytes"),
        (file("blank", b" \n\n", 0o600), "holds 0 bytes"),
        (file("short", b"0123456789abcde\n", 0o600), "holds 15 bytes"),
        (file("long", &[b'x'; 1 << 20], 0o600), "16 to 4096"),
        (file("group", good, 0o640), "chmod 600"),
        (file("world", good, 0o604), "chmod 600"),
        (file("writable", good, 0o620), "chmod 600"),
    ];
    for (path, says) in &cases {
        for verb in [&["serve", "--port", "0"][..], &["run", "--over", "127.0.0.1:9"]] {
            let ended = Program::run(&[verb, &["--token-file", path]].concat());
            assert!(!ended.err.contains("0123456789"), "a secret is shown: {ended:?}");
            ended.refused(2, &["--token-file", path, says]);
        }
    }
}

#[test]
fn ends_whose_tokens_differ_say_so() {
    let (folder, token, server, address) = guarded(&["--bind", "0.0.0.0"]);
    let other = secret(folder.path(), "other", b"0123456789abcdef0123456789abcdeF", 0o600);
    let over = address.to_string();
    let run = |more: &[&str]| Program::run(&[&["run", "--over", &over], more].concat());
    run(&[]).refused(1, &[&over, "asks for a token", "--token-file"]);
    run(&["--token-file", other.to_str().unwrap()]).refused(1, &[&over, "a different token"]);
    let (open, at) = Program::serve(&[]);
    let at = at.to_string();
    Program::run(&["run", "--over", &at, "--token-file", &token])
        .refused(1, &[&at, "does not ask for a token"]);
    open.stop().good();
    assert_eq!(server.stop().good(), "served 0 scenarios\n");
}

#[test]
fn a_peer_of_another_version_is_told_so() {
    let (server, address) = Program::serve(&[]);
    let mut bytes = opening();
    bytes[8] = 77;
    let mut stream = connect(address);
    stream.write_all(&bytes).unwrap();
    let told = rest(&mut stream);
    assert_eq!(
        told,
        Hello { purpose: Purpose::Control }.encode(),
        "its own version, in no more bytes than came"
    );
    server.stop().good();
    // And a guest understands that of a host.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let host = thread::Builder::new().spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 96]).unwrap();
        stream.write_all(&bytes[..32]).unwrap();
    });
    Program::run(&["run", "--over", &address.to_string()]).refused(1, &["version 77", "this is version 1"]);
    host.unwrap().join().unwrap();
}

#[test]
fn strangers_get_no_more_bytes_than_they_send() {
    let (_folder, _token, server, address) = guarded(&["--bind", "0.0.0.0"]);
    let mut other_version = opening();
    other_version[8] = 2;
    let data = Hello::data(0, Ticket::new().unwrap()).encode();
    let proof = [3u8; 32];
    let ask = Ask { messages: 1 << 40, last: false }.encode();
    for parts in [
        &[][..],
        &[&opening()[..1]],
        &[&opening()[..31]],
        &[&opening()[..32]],
        &[&opening()[..95]],
        &[&opening()[..]],
        &[&opening()[..], &proof[..]],
        &[&opening()[..], &proof[..31]],
        &[&opening()[..], &proof[..], &[0xff; 4096]],
        &[&other_version[..]],
        &[&other_version[..32]],
        &[&data[..]],
        &[&data[..], &ask[..], &ask[..]],
        &[b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        &[&[0; 100_000]],
    ] {
        let mut stream = connect(address);
        let mut sent = 0;
        for part in parts {
            // The host may have heard enough by then.
            sent += stream.write(part).unwrap_or(0);
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let got = rest(&mut stream).len();
        assert!(got <= sent, "{got} bytes for {sent}: {parts:?}");
    }
    server.stop().good();
}

/// Passes one connection on and keeps what the guest said.
fn listen_in(to: SocketAddr) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let heard = thread::Builder::new().spawn(move || {
        let (mut guest, _) = listener.accept().unwrap();
        let mut host = connect(to);
        let mut said = vec![0; 128];
        let mut answer = [0; 40];
        for part in [0..96, 96..128] {
            guest.read_exact(&mut said[part.clone()]).unwrap();
            host.write_all(&said[part]).unwrap();
            host.read_exact(&mut answer).unwrap();
            guest.write_all(&answer).unwrap();
        }
        assert_eq!(&answer[..4], b"good", "the guest itself was let in");
        said
    });
    (address, heard.unwrap())
}

#[test]
fn a_recorded_proof_opens_nothing() {
    let (_folder, token, server, address) = guarded(&[]);
    let (proxy, heard) = listen_in(address);
    // What comes after the handshake does not matter here.
    let _ = honest(proxy, &token, &["-s", "64", "--seconds", "0.01"]).finish();
    let said = heard.join().unwrap();
    let (secret, proof) = (b"0123456789abcdef", &said[96..]);
    assert!(!said.windows(8).any(|part| secret.windows(8).any(|key| key == part)), "the secret travelled");
    for _ in 0..3 {
        let mut stream = connect(address);
        stream.write_all(&said[..96]).unwrap();
        let mut challenge = [0; 40];
        stream.read_exact(&mut challenge).unwrap();
        stream.write_all(proof).unwrap();
        let answer = rest(&mut stream);
        assert_eq!(&answer[..8], b"deny\0\0\0\0");
        assert_eq!(answer[8..], [0; 32], "no proof for a stranger");
    }
    // Nor does the host's own challenge, sent back.
    let mut stream = connect(address);
    stream.write_all(&said[..96]).unwrap();
    let mut challenge = [0; 40];
    stream.read_exact(&mut challenge).unwrap();
    stream.write_all(&challenge[8..]).unwrap();
    assert!(rest(&mut stream).starts_with(b"deny"));
    server.stop().good();
}

#[test]
fn a_thousand_wrong_tokens_change_nothing() {
    let (_folder, token, server, address) = guarded(&[]);
    let honest = Honest::start(address, &token);
    for attempt in 0..sized(1000u32, 100) {
        let mut stream = connect(address);
        stream.write_all(&opening()).unwrap();
        stream.read_exact(&mut [0; 40]).unwrap();
        let proof: Vec<u8> = attempt.to_le_bytes().into_iter().cycle().take(32).collect();
        stream.write_all(&proof).unwrap();
        assert!(rest(&mut stream).starts_with(b"deny"));
        thread::sleep(Duration::from_millis(2));
    }
    assert!(server.memory_kib() < BOUND_KIB, "{} KiB", server.memory_kib());
    assert!(honest.end() > 0);
    server.stop().good();
}

#[test]
fn ten_thousand_half_open_hellos_keep_nobody_out() {
    let (_folder, token, server, address) = guarded(&["--hello", sized("5", "3")]);
    // One whose cell lasts, so that its connections are idle for long, and others that come and go.
    let paths = sample(taking(&spec(65_536, false)));
    let names = named(&paths);
    let cell = ["-p", &names, "-s", "64KiB", "-c", "2", "--seconds", sized("2", "0.2")];
    let long = honest(address, &token, &cell);
    let honest = Honest::start(address, &token);
    let (mut open, mut most) = (VecDeque::new(), 0);
    // The host hears out 256 of them at once, and twice as many are kept open.
    for number in 0..sized(10_000, 1000) {
        let mut stream = connect(address);
        let bytes = opening();
        // Some say nothing, some half of a hello, some all but the proof.
        let _ = stream.write_all(&bytes[..[0, 16, 96][number % 3]]);
        open.push_back(stream);
        if open.len() > 512 {
            open.pop_front();
        }
        if number % 100 == 0 {
            most = most.max(server.memory_kib());
            thread::sleep(Duration::from_millis(60));
        }
    }
    eprintln!("most: {most} KiB, {} threads", server.threads());
    assert!(most < BOUND_KIB, "{most} KiB");
    assert!(honest.end() > 0);
    assert_eq!(results(&long.finish().good()).records.len(), paths.len());
    // Each of those that stayed is ended by the host.
    eventually("they are ended", || open.iter_mut().all(is_ended));
    server.stop().good();
}

/// A flood from one address ends the flood's own connections, not the one that was there before.
#[test]
fn strangers_crowd_out_only_their_neighbours() {
    let (_folder, _token, server, address) = guarded(&[]);
    let mut slow = connect(address);
    slow.write_all(&opening()[..10]).unwrap();
    let flood: Vec<TcpStream> =
        (0..600).map(|_| connect_from(Ipv4Addr::new(127, 0, 0, 2), address)).collect();
    slow.write_all(&opening()[10..]).unwrap();
    let mut challenge = [0; 40];
    slow.read_exact(&mut challenge).unwrap();
    assert!(challenge.starts_with(b"hmac"));
    drop(flood);
    server.stop().good();
}

#[test]
fn a_slow_hello_has_an_end() {
    let (_folder, token, server, address) = guarded(&["--hello", "2"]);
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(address);
            thread::Builder::new().spawn(move || {
                let mut said = 0;
                for byte in opening() {
                    if stream.write_all(&[byte]).is_err() || (said > 0 && is_ended(&mut stream)) {
                        break;
                    }
                    said += 1;
                    thread::sleep(Duration::from_millis(40));
                }
                said
            })
        })
        .collect();
    honest(address, &token, &["-s", "4KiB", "--seconds", "0.02"]).finish().good();
    for stream in slow {
        let said = stream.unwrap().join().unwrap();
        assert!(said < 96, "whoever takes twice as long to say hello is not listened to");
    }
    server.stop().good();
}

#[test]
fn a_gibibyte_of_garbage_is_not_kept() {
    // More than twice what the host may hold.
    let size: usize = sized(1 << 30, 1 << 28);
    let (_folder, token, server, address) = guarded(&[]);
    let honest = Honest::start(address, &token);
    let garbage: Vec<u8> = (0..1u32 << 18).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut sent, mut connections, mut most) = (0, 0, 0);
    while sent < size {
        let mut stream = connect(address);
        // At once, after a hello, and after a handshake that fails.
        let beginning = [&[][..], &opening()[..32], &opening()[..]][connections % 3].to_vec();
        let _ = stream.write_all(&beginning);
        while let Ok(n) = stream.write(&garbage) {
            sent += n;
        }
        // What was accepted before the reset counts, and an early reset does not make this endless.
        sent += garbage.len();
        connections += 1;
        if connections % 16 == 0 {
            most = most.max(server.memory_kib());
            thread::sleep(Duration::from_millis(20));
        }
    }
    eprintln!("{connections} connections, most: {most} KiB");
    assert!(most < BOUND_KIB, "{most} KiB");
    assert!(honest.end() > 0);
    server.stop().good();
}

/// A control connection to an open host, after the handshake.
fn guest(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(&opening()).unwrap();
    stream.read_exact(&mut [0; 40]).unwrap();
    stream.write_all(&[0; 32]).unwrap();
    let mut verdict = [0; 40];
    stream.read_exact(&mut verdict).unwrap();
    assert!(verdict.starts_with(b"good"));
    stream
}

fn answer(stream: &mut TcpStream) -> ServerReply {
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let mut json = vec![0; frame::length(header, frame::MOST_FROM_SERVER).unwrap()];
    stream.read_exact(&mut json).unwrap();
    frame::decode(&json).unwrap()
}

fn refusal(stream: &mut TcpStream) -> String {
    match answer(stream) {
        ServerReply::Refused(reason) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn order(size: usize, clients: usize) -> ServiceOrder {
    ServiceOrder::of(&Scenario::new(&send::ALL[1], Spec::new(size).unwrap(), clients))
}

#[test]
fn frames_that_are_none_are_refused_with_a_reason() {
    let (server, address) = Program::serve(&["--hello", "2"]);
    let nested = "[".repeat(60_000);
    let framed = |json: &str| [&(json.len() as u32).to_le_bytes()[..], json.as_bytes()].concat();
    for (bytes, says) in [
        (vec![0xff; 4], "4294967295 bytes"),
        (262_145u32.to_le_bytes().to_vec(), "at most 262144 are allowed"),
        (vec![0; 4], "could not be parsed"),
        (framed("{}"), "could not be parsed"),
        (framed("null"), "could not be parsed"),
        (framed("\u{7f}\0"), "could not be parsed"),
        (framed(&nested), "could not be parsed"),
        (framed(&serde_json::to_string(&order(64, 1)).unwrap().replace("64", "-64")), "could not be parsed"),
        (
            framed(&serde_json::to_string(&order(64, 1)).unwrap().replace("64", "1e400")),
            "could not be parsed",
        ),
    ] {
        let mut stream = guest(address);
        stream.write_all(&bytes).unwrap();
        let reason = refusal(&mut stream);
        assert!(reason.contains(says), "{reason}");
        assert_eq!(rest(&mut stream).len(), 0);
    }
    // Half of a frame, and then nothing: refused when the time is over.
    let mut stream = guest(address);
    stream.write_all(&[200, 0, 0, 0, b'{']).unwrap();
    refusal(&mut stream);
    server.stop().good();
}

fn mix(text: &str) -> Option<Workload> {
    Some(Workload::mix(text, Fields::Even).unwrap())
}

#[test]
fn orders_beyond_the_bounds_are_refused_with_a_reason() {
    let (server, address) = Program::serve(&["--max-clients", "3"]);
    type Change = fn(&mut ServiceOrder);
    let cases: &[(Change, &str)] = &[
        (|order| order.size = (1 << 30) + 1, "1 GiB"),
        (|order| order.size = usize::MAX, "1 GiB"),
        (|order| order.size = 7, "8 bytes"),
        (|order| order.clients = 0, "1 to 3"),
        (|order| order.clients = 4, "1 to 3"),
        (|order| order.clients = usize::MAX, "1 to 3"),
        (|order| order.path = "none".into(), "no path 'none'"),
        (|order| order.path = "\u{1b}[2J".into(), "no path"),
        (|order| order.layout = "pile".into(), "heap, page, arena, huge"),
        (|order| order.fields = "odd".into(), "even, headed, single"),
        (|order| order.buffers = "ring:65537".into(), "1 to 65536"),
        (|order| order.placement = "near".into(), "paired, split, free"),
        (|order| order.footprint = "warm".into(), "hot, l2, llc, cold"),
        (|order| order.pollution_table = Some(usize::MAX), "table"),
        (|order| (order.size, order.buffers) = (1 << 20, "ring:1025".into()), "bytes of memory"),
        (|order| (order.size, order.buffers) = (1 << 30, "ring:65536".into()), "bytes of memory"),
        (|order| (order.layout, order.buffers) = ("page".into(), "ring:65536".into()), "bytes of memory"),
        (|order| (order.size, order.footprint) = (8, "cold".into()), "bytes of memory"),
        (|order| (order.workload, order.footprint) = (mix("8B:1,16B:1"), "cold".into()), "bytes of memory"),
        (|order| (order.workload, order.buffers) = (mix("1MiB:1"), "ring:1025".into()), "bytes of memory"),
    ];
    for (change, says) in cases {
        let mut order = order(64, 1);
        change(&mut order);
        let mut stream = guest(address);
        stream.write_all(&frame::encode(&order).unwrap()).unwrap();
        let reason = refusal(&mut stream);
        assert!(reason.contains(says), "{reason}");
    }
    assert!(server.memory_kib() < BOUND_KIB, "nothing was allocated for any of them");
    // Within the bounds, but not beside what others have.
    let mut first = guest(address);
    first.write_all(&frame::encode(&order(64, 2)).unwrap()).unwrap();
    assert!(matches!(answer(&mut first), ServerReply::Offered(_)));
    let mut second = guest(address);
    second.write_all(&frame::encode(&order(64, 2)).unwrap()).unwrap();
    let reason = refusal(&mut second);
    assert!(reason.contains("1 of 3 are free") && reason.contains("--max-clients"), "{reason}");
    drop(first);
    let mut third = guest(address);
    third.write_all(&frame::encode(&order(64, 3)).unwrap()).unwrap();
    assert!(matches!(answer(&mut third), ServerReply::Offered(_)));
    drop(third);
    // The same as a user sees it.
    let cell =
        ["run", "--over", &address.to_string(), "-c", "4", "-p", "onecopy", "-s", "64", "--seconds", "0.05"];
    let ended = Program::run(&cell);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("this host serves 1 to 3 clients"), "{ended:?}");
    server.stop().good();
}

#[test]
fn one_message_of_any_size_is_served() {
    let spec = Spec::new(1 << 30).unwrap();
    assert!(spec.memory(1) > CLIENT_MEMORY);
    let mut order = order(64, 1);
    order.size = 1 << 30;
    assert!(order.parse(1, ConnectionOptions::for_this_machine()).is_ok());
}

#[test]
fn a_ticket_lets_each_client_in_once() {
    let (server, address) = Program::serve(&[]);
    let mut control = guest(address);
    control.write_all(&frame::encode(&order(64, 2)).unwrap()).unwrap();
    let ServerReply::Offered(offered) = answer(&mut control) else { panic!("not offered") };
    let ticket = Ticket::from(offered.ticket);
    let data = |client, ticket| {
        let mut stream = connect(address);
        stream.write_all(&Hello::data(client, ticket).encode()).unwrap();
        stream
    };
    let mut client = data(0, ticket);
    assert!(matches!(answer(&mut control), ServerReply::News(news) if news.client == 0));
    client.write_all(&Ask { messages: 3, last: true }.encode()).unwrap();
    client.read_exact(&mut [0; 3 * 64]).unwrap();
    assert!(matches!(answer(&mut control), ServerReply::News(news) if news.client == 0));
    let mut wrong = offered.ticket;
    wrong[15] ^= 1;
    for (number, ticket) in
        [(0, ticket), (2, ticket), (u32::MAX, ticket), (1, wrong.into()), (1, [0; 16].into())]
    {
        let mut stream = data(number, ticket);
        let _ = stream.write_all(&Ask { messages: 1, last: true }.encode());
        assert_eq!(rest(&mut stream).len(), 0, "client {number} was let in");
    }
    // A client that sends anything but a request is ended, and the owner gets an update.
    client.write_all(&[7; Ask::BYTES]).unwrap();
    assert_eq!(rest(&mut client).len(), 0);
    let ServerReply::News(update) = answer(&mut control) else { panic!("no update") };
    let event = format!("{:?}", update.event);
    assert!(update.client == 0 && event.contains("something other than a request"), "{event}");
    // With the control connection everything ends that was served for it.
    let mut other = data(1, ticket);
    assert!(matches!(answer(&mut control), ServerReply::News(news) if news.client == 1));
    drop(control);
    assert_eq!(rest(&mut other).len(), 0);
    let mut late = data(1, ticket);
    assert_eq!(rest(&mut late).len(), 0);
    server.stop().good();
}

#[test]
fn secrets_stay_out_of_sight() {
    let (_folder, token, server, address) = guarded(&[]);
    let guest = honest(address, &token, &["-s", "4KiB", "--seconds", "0.2"]);
    for pid in [server.pid(), guest.pid()] {
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(Path::new("/proc").join(pid.to_string()).join(file)).unwrap();
            assert!(!text.windows(16).any(|part| part == b"0123456789abcdef"), "{file}");
        }
    }
    let ended = guest.finish();
    assert!(!format!("{ended:?}").contains("0123456789abcdef"));
    ended.good();
    let ended = server.stop();
    assert!(!format!("{ended:?}").contains("0123456789abcdef"));
    ended.good();
}

/// From what a host says, in JSON, to what arrives instead.
type Lie = fn(&str) -> Vec<u8>;

/// Passes a guest's connections on to an open host, and changes what the host says on a control connection after the
/// offer.
fn liar(to: SocketAddr, lie: Lie) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let pass = move |guest: TcpStream| -> std::io::Result<()> {
        let (mut guest, mut host) = (guest, connect(to));
        let mut hello = [0; Hello::BYTES];
        guest.read_exact(&mut hello)?;
        host.write_all(&hello)?;
        let (mut up, mut up_to) = (guest.try_clone()?, host.try_clone()?);
        thread::Builder::new().spawn(move || {
            let _ = std::io::copy(&mut up, &mut up_to);
            let _ = up_to.shutdown(std::net::Shutdown::Both);
        })?;
        if hello[10] == 0 {
            return std::io::copy(&mut host, &mut guest).map(drop);
        }
        let mut handshake = [0; 80];
        for half in handshake.chunks_mut(40) {
            host.read_exact(half)?;
            guest.write_all(half)?;
        }
        loop {
            let mut header = [0; 4];
            host.read_exact(&mut header)?;
            let mut json = vec![0; u32::from_le_bytes(header) as usize];
            host.read_exact(&mut json)?;
            let json = String::from_utf8(json).unwrap();
            if json.starts_with(r#"{"Offered"#) {
                guest.write_all(&[&header, json.as_bytes()].concat())?;
            } else {
                guest.write_all(&lie(&json))?;
            }
        }
    };
    thread::Builder::new()
        .spawn(move || {
            for guest in listener.incoming().map_while(Result::ok) {
                thread::Builder::new().spawn(move || pass(guest)).unwrap();
            }
        })
        .unwrap();
    address
}

fn framed(json: &str) -> Vec<u8> {
    [&(json.len() as u32).to_le_bytes()[..], json.as_bytes()].concat()
}

/// A frame with `json`, in which the fields of these names are as large as can be.
fn inflated(json: &str, names: &[&str]) -> Vec<u8> {
    let mut json = json.to_owned();
    for quoted in names.iter().map(|name| format!("\"{name}\":")) {
        let mut from = 0;
        while let Some(at) = json[from..].find(&quoted).map(|at| from + at + quoted.len()) {
            let end = at + json[at..].find(|c: char| !c.is_ascii_digit()).unwrap();
            json.replace_range(at..end, &u64::MAX.to_string());
            from = at;
        }
    }
    framed(&json)
}

/// A host that was let in by mistake, or is no host of ours: its guest fails with a sentence.
#[test]
fn a_host_that_lies_breaks_nothing() {
    let (server, address) = Program::serve(&[]);
    let lies: [(Lie, &str); 9] = [
        (|json| inflated(json, &["secs"]), "impossible figures"),
        (|json| inflated(json, &["messages", "calls", "sends"]), "impossible figures"),
        (|json| inflated(json, &["client"]), "impossible figures"),
        (|json| framed(json).repeat(5000), ""),
        (|_| vec![0xff; 64], "are allowed"),
        (|_| framed("{\"News\":7}"), "failed"),
        (|_| framed("\u{1b}[31m"), "failed"),
        (|_| framed("{\"Refused\":\"\\u001b[2J go\\naway\"}"), "[2J go away"),
        (|json| framed(&json.replace("\"client\":0", "\"client\":99")), ""),
    ];
    // All at once, as some leave the guest waiting for news that never come.
    let guests = lies.map(|(lie, says)| {
        let over = liar(address, lie).to_string();
        let cell =
            ["run", "-p", "zerocopy", "-s", "4KiB", "--stall", "1", "--format", "json", "--over", &over];
        (Program::start(&[&cell[..], &length("0.1")].concat()), says)
    });
    for (number, (guest, says)) in guests.into_iter().enumerate() {
        let ended = guest.finish();
        assert!(!ended.err.contains("panicked"), "{number}: {ended:?}");
        assert!(matches!(ended.code, Some(0 | 1)), "{number}: {ended:?}");
        assert!(!ended.out.contains('\u{1b}') && ended.out.contains(says), "{number}: {ended:?}");
    }
    server.stop().good();
}
