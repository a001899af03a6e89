//! A server that sends its own buffers with MSG_ZEROCOPY, without `unsafe`, and gets each of them back.
//!
//! `cargo run --example zero_copy_server` serves one client of its own over loopback and says what became of the
//! buffers. The idea to take along: `ZeroCopy` keeps a clone of each `Arc` until the kernel has released the pages, so
//! `Arc::get_mut` and `Arc::try_unwrap` succeed exactly when a buffer is yours again.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use copycost::message::Message;
use copycost::send::Socket;
use copycost::send::{Budget, Sender, ZeroCopy, ZeroCopyLimits, drain};

/// Responses that are sent in turn: while the kernel reads one, the next is written.
const RING: usize = 4;
const RESPONSE_BYTES: usize = 64 << 10;
const RESPONSES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let client = thread::Builder::new().spawn(move || receive_everything(TcpStream::connect(address)?))?;
    let (stream, _) = listener.accept()?;
    serve(stream)?;
    let received = client.join().map_err(|_| io::Error::other("the client panicked"))??;
    println!("the client received {received} bytes");
    Ok(())
}

fn serve(stream: TcpStream) -> io::Result<()> {
    // A peer that stops reading must not hold the buffers for ever.
    stream.set_write_timeout(Some(PATIENCE))?;
    let socket = Socket::from(stream);
    let send_buffer = socket.options().send_buffer_size()?;
    // One sender in this process: it may use the whole share of the user's locked memory.
    let mut sender = ZeroCopy::new(socket, Budget::share(&ZeroCopyLimits::of_process(), 1, send_buffer))?;

    let mut ring: Vec<Arc<Message>> =
        (0..RING).map(|_| Arc::new(Message::from_bytes(vec![0; RESPONSE_BYTES]))).collect();
    for number in 0..RESPONSES {
        let buffer = &mut ring[number % RING];
        while Arc::get_mut(buffer).is_none() {
            sender.reap(Instant::now() + PATIENCE)?;
        }
        if let Some(message) = Arc::get_mut(buffer) {
            message.slices_mut().for_each(|field| field.fill(number as u8));
        }
        sender.send(buffer)?;
    }

    drain(&mut sender, Instant::now() + PATIENCE)?;
    let back = ring.into_iter().filter_map(|buffer| Arc::try_unwrap(buffer).ok()).count();
    let ledger = sender.ledger();
    println!(
        "{back} of {RING} buffers came back; {} sends, the kernel copied {}",
        ledger.sends, ledger.copied
    );
    Ok(())
}

fn receive_everything(mut stream: TcpStream) -> io::Result<u64> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(total),
            n => total += n as u64,
        }
    }
}
