//! A thread for each client, and buffers that are written again when the kernel is done with them: `reused_buffers [ADDRESS]`.
//!
//! Each client gets a hundred reports of 256 KiB, each made in a buffer of its connection's pool. The idea to take along: a receipt gives a
//! buffer back when nobody reads it any more, also where it was copied at once; a pool that is empty waits for the oldest. It
//! serves one client of its own and ends, where no address is given.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use zerosend::{Blocking, Payload, Receipt, Sender};

const REPORTS: usize = 100;
const SIZE: usize = 256 << 10;
/// Buffers that may be on their way at once.
const POOL: usize = 4;

/// The buffer of a payload that came back.
fn buffer_of(payload: Payload) -> io::Result<Vec<u8>> {
    let last = payload.into_segments().last();
    last.and_then(|segment| Vec::try_from(segment).ok()).ok_or_else(|| io::Error::other("it was no buffer"))
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut sender = Blocking::new(Sender::new(stream)?);
    // A client that stops reading does not keep the thread.
    sender.set_timeout(Some(Duration::from_secs(30)))?;
    let mut on_their_way: VecDeque<Receipt> = VecDeque::new();
    for number in 0..REPORTS {
        let mut buffer = if on_their_way.len() < POOL {
            vec![0; SIZE]
        } else {
            let mut oldest = on_their_way.pop_front().ok_or(io::ErrorKind::NotFound)?;
            buffer_of(sender.wait(&mut oldest)?.payload)?
        };
        buffer.fill(number as u8);
        let header = (SIZE as u64).to_be_bytes().to_vec();
        let report = Payload::new().copied(header).by_reference(buffer);
        on_their_way.push_back(sender.send_with_receipt(report)?);
    }
    // Dropped, it goes on in the background until everything has arrived.
    Ok(())
}

/// Reads everything, and checks it.
fn client(address: SocketAddr) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = vec![0; SIZE];
    for number in 0..REPORTS {
        let mut header = [0; 8];
        stream.read_exact(&mut header)?;
        stream.read_exact(&mut buffer)?;
        if u64::from_be_bytes(header) != SIZE as u64 || buffer.iter().any(|byte| *byte != number as u8) {
            return Err(io::Error::other("a report holds what belongs to another"));
        }
    }
    Ok(REPORTS * SIZE)
}

fn main() -> io::Result<()> {
    run(std::env::args().nth(1).as_deref())
}

pub(crate) fn run(address: Option<&str>) -> io::Result<()> {
    let listener = TcpListener::bind(address.unwrap_or("127.0.0.1:0"))?;
    let here = listener.local_addr()?;
    println!("listening on {here}");
    let mut own =
        address.is_none().then(|| thread::Builder::new().spawn(move || client(here))).transpose()?;
    loop {
        let (stream, peer) = listener.accept()?;
        let serving = thread::Builder::new().spawn(move || serve(stream))?;
        if let Some(own) = own.take() {
            serving.join().map_err(|_| io::Error::other("the server panicked"))??;
            let bytes = own.join().map_err(|_| io::Error::other("the client panicked"))??;
            println!("{peer} received {bytes} bytes, all of them right");
            println!("{:?}", zerosend::process_stats().total.decisions);
            return Ok(());
        }
    }
}
