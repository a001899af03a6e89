//! Memory that the kernel reads late: what is freed is overwritten at once and handed out again, and the receiver looks for it.
//! AddressSanitizer does not see what the kernel reads.
#![allow(unsafe_code, reason = "an early release breaks a promise")]

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use zerosend::{Blocking, Cursor, Memory, Payload};

use crate::common::child::{alone, this_test};
use crate::common::{LONG, always, content, pair, spawn};
use crate::counting::{PATTERN, overwrite_what_is_freed};

const SIZE: usize = 64 << 10;
/// More than all socket buffers hold.
const PAYLOADS: usize = 150;

/// Reads more slowly than anyone sends, so that what was sent waits in the write queue. Returns how many payloads had a
/// wrong byte, and how many the pattern.
fn receive(mut client: TcpStream) -> (usize, usize) {
    let (mut wrong, mut overwritten, mut bytes) = (0, 0, vec![0; SIZE]);
    for index in 0..PAYLOADS {
        thread::sleep(Duration::from_millis(2));
        client.read_exact(&mut bytes).unwrap();
        wrong += usize::from(bytes != content(1, index * SIZE, SIZE));
        overwritten += usize::from(bytes.windows(64).any(|run| run.iter().all(|byte| *byte == PATTERN)));
    }
    (wrong, overwritten)
}

/// Sends payloads of `make`, each forgotten as soon as it was handed over, and then drops the sender.
fn sent(mut make: impl FnMut(Vec<u8>) -> Payload) -> (usize, usize) {
    let (server, client) = pair();
    let receiver = spawn(move || receive(client));
    let mut sender = Blocking::new(always(server));
    sender.set_timeout(Some(LONG)).unwrap();
    for index in 0..PAYLOADS {
        sender.send(make(content(1, index * SIZE, SIZE))).unwrap();
    }
    drop(sender);
    receiver.join().unwrap()
}

#[test]
fn what_is_freed_is_read_by_nobody() {
    alone(this_test!(), || {
        overwrite_what_is_freed();
        assert_eq!(sent(Payload::from), (0, 0));
        assert_eq!(sent(|bytes| bytes.into_boxed_slice().into()), (0, 0));
        assert_eq!(sent(|bytes| Arc::<[u8]>::from(bytes).into()), (0, 0));
        let halves = |bytes: Vec<u8>| {
            let second = bytes[SIZE / 2..].to_vec();
            Payload::new().copied(bytes[..SIZE / 2].to_vec()).by_reference(second)
        };
        assert_eq!(sent(halves), (0, 0));
        // A cursor that is dropped in the middle frees nothing that is in flight.
        let (server, mut client) = pair();
        let mut sender = always(server);
        let mut cursor = Cursor::new(content(2, 0, 32 << 20));
        let sent = sender.try_send(&mut cursor).unwrap();
        drop(cursor);
        drop(sender);
        let other = vec![9u8; 32 << 20];
        let mut bytes = vec![0; sent];
        client.read_exact(&mut bytes).unwrap();
        assert!(bytes == content(2, 0, sent));
        drop(other);
    });
}

/// Memory that breaks its promise: it can be freed while it is sent.
struct Early {
    pointer: *const u8,
    kept: Mutex<Option<Vec<u8>>>,
}

// SAFETY: the pointer is to bytes that the test frees on purpose, while nobody but the kernel reads them.
unsafe impl Send for Early {}
// SAFETY: likewise.
unsafe impl Sync for Early {}
// SAFETY: none: that it is broken is what the test is for. The bytes are read by the kernel alone once they are freed, and stay mapped.
unsafe impl Memory for Early {
    fn part(&self, index: usize) -> Option<&[u8]> {
        // SAFETY: as long, and mapped.
        (index == 0).then(|| unsafe { std::slice::from_raw_parts(self.pointer, SIZE) })
    }
}

#[test]
fn an_early_release_is_found() {
    alone(this_test!(), || {
        overwrite_what_is_freed();
        // The last eight are kept, so that a call is never made with memory that is freed already.
        let mut last: Vec<Arc<Early>> = Vec::new();
        let (wrong, overwritten) = sent(|bytes| {
            let early = Arc::new(Early { pointer: bytes.as_ptr(), kept: Mutex::new(Some(bytes)) });
            last.push(Arc::clone(&early));
            if last.len() > 8 {
                drop(last.remove(0).kept.lock().unwrap().take());
            }
            Payload::from(early as Arc<dyn Memory>)
        });
        assert!(wrong > 0 && overwritten > 0, "else the other test says nothing: {wrong}, {overwritten}");
    });
}
