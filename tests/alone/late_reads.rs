//! Memory that the kernel reads late: what a path has given back is overwritten at once and handed out again, and the
//! receiver looks for it. AddressSanitizer does not see what the kernel reads.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::child::{alone, this_test};
use crate::common::forgetful::Forgetful;
use crate::common::{LONG, available, spec};
use crate::counting::{PATTERN, overwrite_what_is_freed};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::pool::MessagePool;
use copycost::internals::sys::socket::Socket;
use copycost::message::{Message, content};
use copycost::send::{Budget, Sender, SenderConfig, drain};

/// Of each message, in eight fields that are freed one by one.
const SIZE: usize = 64 << 10;

/// More than all socket buffers hold.
const MESSAGES: usize = 150;

/// So many bytes of the pattern in a row are no coincidence.
const RUN: usize = 64;

/// What arrived.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arrived {
    /// Messages with bytes of memory that had been given back.
    overwritten: usize,
    /// Messages with any wrong byte.
    wrong: usize,
}

/// A message of its own memory, each field an allocation.
fn message(sequence: u64) -> Arc<Message> {
    let fields = (0..8).map(|_| vec![0; SIZE / 8].into_boxed_slice());
    let mut message = Message::from_fields(fields).unwrap();
    message.write(sequence);
    Arc::new(message)
}

/// Reads more slowly than anyone sends, so that what was sent waits in the write queue.
fn receive(client: &Socket) -> Arrived {
    let (mut arrived, mut bytes, mut expected) = (Arrived::default(), vec![0; SIZE], vec![0; SIZE]);
    for sequence in 0..MESSAGES as u64 {
        thread::sleep(Duration::from_millis(2));
        assert!(client.recv_exact(&mut bytes, Instant::now() + LONG).unwrap());
        content(sequence, 0, &mut expected);
        arrived.wrong += usize::from(bytes != expected);
        let found = bytes.windows(RUN).any(|run| run.iter().all(|byte| *byte == PATTERN));
        arrived.overwritten += usize::from(found);
    }
    arrived
}

/// Sends messages by the sender that `open` makes, each given up as soon as it was sent.
fn sent(open: impl FnOnce(Socket) -> Box<dyn Sender>) -> Arrived {
    let options = ConnectionOptions::for_this_machine();
    let listener = connection::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let client = connection::connect(listener.local_addr().unwrap(), &options).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let receiver = thread::Builder::new().spawn(move || receive(&client)).unwrap();
    let mut sender = open(socket);
    for sequence in 0..MESSAGES as u64 {
        sender.send(&message(sequence)).unwrap();
    }
    drain(&mut *sender, Instant::now() + LONG).unwrap();
    receiver.join().unwrap()
}

#[test]
fn what_a_path_gives_back_is_read_by_nobody() {
    alone(this_test!(), || {
        overwrite_what_is_freed();
        for path in available(&spec(SIZE, false)) {
            if (path.probe)(&spec(SIZE, false)).is_err() {
                // It takes no memory of an allocator.
                continue;
            }
            let open = |socket| {
                let pool = MessagePool::new(&spec(SIZE, false), false).unwrap();
                (path.open)(socket, pool.messages(), SenderConfig::within(Budget::unbounded())).unwrap()
            };
            assert_eq!(sent(open), Arrived::default(), "{}", path.name);
        }
    });
}

#[test]
fn an_early_release_is_found() {
    alone(this_test!(), || {
        overwrite_what_is_freed();
        let arrived = sent(|socket| Box::new(Forgetful::new(socket)));
        assert!(
            arrived.wrong > 0 && arrived.overwritten > 0,
            "else the other test says nothing: {arrived:?}"
        );
    });
}
