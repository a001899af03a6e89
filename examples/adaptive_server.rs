//! A server with a thread for each connection that leaves the way of each response to `Adaptive`, as it is measured. Your own takes
//! the crate `zerosend`, which needs no `Message`.
//!
//! `cargo run --release --example adaptive_server` serves three clients of its own over loopback, each of which asks for
//! responses of different sizes, and prints at the end which way they went and why. The idea to take along: a response is
//! an `Arc<Message>` from a pool; a buffer that `Arc::get_mut` gives back may be written again, whichever way it went.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use copycost::message::Message;
use copycost::send::Socket;
use copycost::send::{Adaptive, Budget, Ledger, Sender, ZeroCopyLimits, drain};

const CLIENTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(10);

/// A status, a page, an image; and how many of each a client asks for.
const SIZES: [usize; 3] = [1 << 10, 16 << 10, 256 << 10];
const ROUNDS: usize = 2000;

/// Responses of one size that can be on their way at once, for each connection.
const POOL: usize = 8;

pub(crate) fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(move || ask_for_everything(address))).collect();
        let mut servers = Vec::new();
        for _ in 0..CLIENTS {
            let (stream, _) = listener.accept()?;
            servers.push(scope.spawn(|| serve(stream)));
        }
        let mut total = Ledger::default();
        for server in servers {
            total.add(&server.join().map_err(|_| io::Error::other("a connection's thread panicked"))??);
        }
        for client in clients {
            let received = client.join().map_err(|_| io::Error::other("a client panicked"))??;
            println!("a client received {received} bytes, all of them correct");
        }
        println!("{} responses: {}", total.decisions.total(), total.decisions);
        Ok(())
    })
}

/// One connection to its end: a request is one byte that names a size.
fn serve(stream: TcpStream) -> io::Result<Ledger> {
    // A peer that stops reading must not hold the buffers for ever.
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut requests = stream.try_clone()?;
    let socket = Socket::from(stream);
    let budget = Budget::share(&ZeroCopyLimits::of_process(), CLIENTS, socket.options().send_buffer_size()?);
    let mut sender = Adaptive::new(socket, budget)?;
    let mut pools: Vec<Vec<Arc<Message>>> = SIZES
        .iter()
        .map(|size| (0..POOL).map(|_| Arc::new(Message::from_bytes(vec![0; *size]))).collect())
        .collect();
    let mut turns = [0; SIZES.len()];

    let mut request = [0];
    while requests.read(&mut request)? > 0 {
        let kind = usize::from(request[0]);
        let pool =
            pools.get_mut(kind).ok_or_else(|| io::Error::other("a request for no size that is served"))?;
        let response = &mut pool[turns[kind] % POOL];
        while Arc::get_mut(response).is_none() {
            sender.reap(Instant::now() + PATIENCE)?;
        }
        if let Some(message) = Arc::get_mut(response) {
            message.slices_mut().for_each(|field| field.fill(turns[kind] as u8));
        }
        sender.send(response)?;
        turns[kind] += 1;
    }

    drain(&mut sender, Instant::now() + PATIENCE)?;
    Ok(sender.ledger())
}

/// Asks some requests ahead, and checks what comes.
fn ask_for_everything(address: std::net::SocketAddr) -> io::Result<usize> {
    const AHEAD: usize = 4;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; 256 << 10];
    let mut received = 0;
    for round in 0..ROUNDS + AHEAD {
        if round < ROUNDS {
            stream.write_all(&[0, 1, 2])?;
        }
        if round >= AHEAD {
            for size in SIZES {
                stream.read_exact(&mut buffer[..size])?;
                if buffer[..size] != vec![(round - AHEAD) as u8; size] {
                    return Err(io::Error::other("a response holds the content of another one"));
                }
                received += size;
            }
        }
    }
    Ok(received)
}
