//! What is said to be copied was copied, and what is said to go by reference does: memory that is written after the
//! send, before anybody has received it, arrives as it was in the one case and as it is in the other.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{available, fitting, spec, within};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::pool::MessagePool;
use copycost::internals::sys::socket::Socket;
use copycost::message::{Message, content};
use copycost::send::{Budget, Release, SendPath, Sender, SenderConfig};

/// Fits the socket buffers whole.
const SIZE: usize = 65_536;

/// A sender, its peer, and a message that it takes.
fn connected(path: &SendPath) -> (Box<dyn Sender>, Socket, Arc<Message>) {
    let options = ConnectionOptions::for_this_machine();
    let listener = connection::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let client = connection::connect(listener.local_addr().unwrap(), &options).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let spec = fitting(path, spec(SIZE, false));
    let pool = MessagePool::new(&spec, false).unwrap();
    let sender = (path.open)(
        socket,
        pool.messages(),
        SenderConfig { urgent: true, ..SenderConfig::within(Budget::unbounded()) },
    )
    .unwrap();
    (sender, client, Arc::new(Message::new(&spec).unwrap()))
}

fn received(client: &Socket) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    assert!(client.recv_exact(&mut bytes, Instant::now() + Duration::from_secs(20)).unwrap());
    bytes
}

fn of_sequence(sequence: u64) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    content(sequence, 0, &mut bytes);
    bytes
}

/// Writes the content of `sequence` by way of the kernel, which no type keeps from it: there is no safe way.
fn write_behind(message: &Message, sequence: u64) {
    let memory = File::options().write(true).open("/proc/self/mem").unwrap();
    let mut position = 0;
    for field in message.slices() {
        let mut bytes = vec![0; field.len()];
        content(sequence, position, &mut bytes);
        memory.write_all_at(&bytes, field.as_ptr() as u64).unwrap();
        position += field.len();
    }
}

#[test]
fn what_is_written_after_the_send_tells_whether_it_was_copied() {
    for path in available(&spec(SIZE, false)) {
        // The kernel holds these messages until it says so; nobody can write into them by the safe way.
        if path.release == Release::OnCompletion {
            continue;
        }
        within(path.name, move || {
            let (mut sender, client, mut message) = connected(path);
            sender.send(&message).unwrap();
            sender.flush().unwrap();
            let sequence = if path.release == Release::Never {
                assert!(
                    Arc::get_mut(&mut message).is_none(),
                    "{} gives back what is never released",
                    path.name
                );
                write_behind(&message, 1);
                1
            } else {
                Arc::get_mut(&mut message).expect("nobody holds it").write(1);
                0
            };
            assert!(received(&client) == of_sequence(sequence), "{}", path.name);
        });
    }
}

#[test]
fn a_message_that_is_gone_arrives_as_it_was() {
    for path in available(&spec(SIZE, false)) {
        if path.release != Release::Never {
            continue;
        }
        within(path.name, move || {
            let (mut sender, client, message) = connected(path);
            sender.send(&message).unwrap();
            // The sender keeps it; with the sender goes the last owner.
            drop(message);
            drop(sender);
            // Whoever gets memory now must not get what is still to be sent.
            let others: Vec<Message> = (0..64)
                .map(|_| {
                    let mut other = Message::new(&fitting(path, spec(SIZE, false))).unwrap();
                    other.write(2);
                    other
                })
                .collect();
            assert!(received(&client) == of_sequence(0), "{}", path.name);
            drop(others);
        });
    }
}
