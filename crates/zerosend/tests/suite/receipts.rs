//! What comes back.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;

use zerosend::{Cursor, Lost, Memory, Outcome, Payload};

use crate::common::{always, content, eventually, pair, reader};

#[test]
fn memory_comes_back_as_what_it_was() {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = always(server);
    let text = String::from("some text");
    let bytes = content(1, 0, 5000);
    let shared: Arc<[u8]> = bytes.clone().into();
    let at = bytes.as_ptr();
    let payload = Payload::new()
        .copied(text.clone())
        .by_reference(bytes.clone().into_boxed_slice())
        .by_reference(Arc::clone(&shared))
        .by_reference(bytes);
    let (mut cursor, mut receipt) = Cursor::with_receipt(payload);
    assert!(receipt.try_take().unwrap().is_none() && !receipt.is_resolved());
    sender.try_send(&mut cursor).unwrap();
    eventually("it is released", || {
        sender.reap().unwrap();
        receipt.is_resolved()
    });
    let released = receipt.try_take().unwrap().unwrap();
    assert!(receipt.try_take().unwrap().is_none(), "taken once");
    assert_eq!(released.outcome, Outcome::Copied, "over loopback");
    let mut segments = released.payload.into_segments();
    assert_eq!(String::try_from(segments.next().unwrap()).unwrap(), text);
    assert_eq!(Box::<[u8]>::try_from(segments.next().unwrap()).unwrap()[..], shared[..]);
    assert!(Arc::ptr_eq(&Arc::<[u8]>::try_from(segments.next().unwrap()).unwrap(), &shared));
    let segment = String::try_from(segments.next().unwrap()).unwrap_err();
    let bytes = Vec::try_from(segment).unwrap();
    assert_eq!(bytes.as_ptr(), at, "without a copy");
    assert_eq!(Arc::strong_count(&shared), 1, "nothing keeps it");
    drop(sender);
    assert_eq!(received.join().unwrap().unwrap().len(), 9 + 3 * 5000);
}

struct Parts(Vec<Vec<u8>>);

#[allow(unsafe_code, reason = "the trait is unsafe to implement")]
// SAFETY: nothing changes the parts while an Arc of them is left.
unsafe impl Memory for Parts {
    fn part(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index).map(Vec::as_slice)
    }
}

#[test]
fn memory_of_ones_own_in_parts_is_sent_and_comes_back() {
    let (server, client) = pair();
    let received = reader(client);
    let mut sender = always(server);
    let parts = Arc::new(Parts((0..100).map(|part| content(2, 50 * part, 50)).collect()));
    let memory = || Arc::clone(&parts) as Arc<dyn Memory>;
    let segment = zerosend::Segment::from(memory()).range(20..4970).range(5..);
    let (mut cursor, mut receipt) = Cursor::with_receipt(Payload::from(memory()).by_reference(segment));
    sender.try_send(&mut cursor).unwrap();
    assert_eq!(sender.stats().calls_by_reference, 4, "each takes 64 parts");
    eventually("it is released", || {
        sender.reap().unwrap();
        receipt.is_resolved()
    });
    let segment = receipt.try_take().unwrap().unwrap().payload.into_segments().next().unwrap();
    let memory = Arc::<dyn Memory>::try_from(segment).unwrap() as Arc<dyn std::any::Any + Send + Sync>;
    assert!(Arc::ptr_eq(&memory.downcast::<Parts>().unwrap(), &parts));
    drop(sender);
    let expected = [content(2, 0, 5000), content(2, 25, 4945)].concat();
    assert!(received.join().unwrap().unwrap() == expected);
}

#[test]
fn what_is_copied_comes_back_at_once_and_what_is_empty_too() {
    let (server, _client) = pair();
    let mut sender = always(server);
    // One that nobody acknowledges, so that the others would wait for it if they waited for any.
    let mut held = Cursor::new(vec![0; 1 << 20]);
    while sender.try_send(&mut held).is_ok() && !held.is_done() {}
    let (server, _client) = pair();
    let mut sender = always(server);
    for payload in [Payload::new().copied(vec![1; 100]), Payload::new(), Payload::from(Vec::new())] {
        let (mut cursor, mut receipt) = Cursor::with_receipt(payload);
        sender.try_send(&mut cursor).unwrap();
        assert!(cursor.is_done());
        assert_eq!(receipt.try_take().unwrap().unwrap().outcome, Outcome::Copied);
    }
}

#[test]
fn a_payload_that_was_not_sent_is_lost_and_one_whose_receipt_is_dropped_is_freed() {
    let (cursor, mut receipt) = Cursor::with_receipt(vec![1]);
    drop(cursor);
    assert_eq!(receipt.try_take().unwrap_err(), Lost);
    assert!(receipt.is_resolved());
    let (server, mut client) = pair();
    let mut sender = always(server);
    let shared: Arc<[u8]> = vec![1; 10_000].into();
    let (mut cursor, receipt) = Cursor::with_receipt(Arc::clone(&shared));
    drop(receipt);
    sender.try_send(&mut cursor).unwrap();
    client.read_exact(&mut [0; 10_000]).unwrap();
    eventually("it is freed", || {
        sender.reap().unwrap();
        Arc::strong_count(&shared) == 1
    });
}

#[test]
fn what_the_peer_never_acknowledged_is_aborted() {
    for end in ["abort", "reset"] {
        let (server, client) = pair();
        let mut sender = always(server);
        let mut receipts = Vec::new();
        // The first is acknowledged, and read; the last is not, for no buffer has room for it.
        for size in [1000, 16 << 20] {
            let (mut cursor, receipt) = Cursor::with_receipt(vec![7; size]);
            while sender.try_send(&mut cursor).is_ok() {
                if cursor.is_done() {
                    break;
                }
            }
            receipts.push(receipt);
        }
        (&client).read_exact(&mut [0; 1000]).unwrap();
        assert!(sender.stats().in_flight > 0);
        match end {
            "abort" => sender.abort().unwrap(),
            // A close with unread data is a reset.
            _ => drop(client),
        }
        eventually("everything is released", || {
            let _ = sender.reap();
            sender.pending() == 0
        });
        assert_ne!(receipts[0].try_take().unwrap().unwrap().outcome, Outcome::Aborted, "{end}");
        assert!(sender.stats().released_aborted > 0, "{end}: {:?}", sender.stats());
        // It was begun and never finished: it comes back when nothing more can be sent.
        drop(sender);
        eventually("it comes back", || receipts[1].is_resolved());
        assert_eq!(receipts[1].try_take().unwrap().unwrap().outcome, Outcome::Aborted, "{end}");
    }
}

#[test]
fn an_orderly_end_of_the_peer_aborts_nothing() {
    let (server, client) = pair();
    client.shutdown(Shutdown::Write).unwrap();
    let mut sender = always(server);
    let received = reader(client);
    let (mut cursor, mut receipt) = Cursor::with_receipt(content(3, 0, 100_000));
    sender.try_send(&mut cursor).unwrap();
    sender.shutdown().unwrap();
    eventually("it is released", || {
        let _ = sender.reap();
        receipt.is_resolved()
    });
    assert_eq!(receipt.try_take().unwrap().unwrap().outcome, Outcome::Copied);
    assert!(received.join().unwrap().unwrap() == content(3, 0, 100_000));
}

#[test]
fn what_was_copied_in_part_is_lost_with_its_cursor() {
    let (server, _client) = pair();
    let mut sender = always(server);
    let (mut cursor, mut receipt) = Cursor::with_receipt(Payload::new().copied(vec![1; 32 << 20]));
    sender.try_send(&mut cursor).unwrap();
    assert_eq!((cursor.is_done(), sender.pending()), (false, 0));
    sender.abort().unwrap();
    // It is in its cursor still: nobody refers to it.
    assert!(receipt.try_take().unwrap().is_none());
    drop(cursor);
    assert_eq!(receipt.try_take().unwrap_err(), Lost);
}

#[test]
fn ends_of_the_direction_are_counted_once() {
    let (server, client) = pair();
    let mut sender = always(server);
    // More than the peer takes without reading, so that the last of it is not acknowledged.
    let mut receipts = Vec::new();
    for _ in 0..200 {
        let (mut cursor, receipt) = Cursor::with_receipt(vec![1; 64 << 10]);
        let sent = sender.try_send(&mut cursor);
        receipts.push(receipt);
        if sent.is_err() || !cursor.is_done() {
            break;
        }
    }
    // The last but one was handed over whole.
    receipts.pop();
    (0..100_000).for_each(|_| drop(sender.shutdown()));
    sender.abort().unwrap();
    eventually("everything is back", || {
        let _ = sender.reap();
        sender.pending() == 0
    });
    let last = receipts.pop().unwrap().try_take().unwrap().unwrap();
    assert_eq!(last.outcome, Outcome::Aborted);
    drop(client);
}

#[test]
fn a_payload_of_which_nothing_was_sent_comes_back_also_where_it_begins_with_nothing() {
    let (server, _client) = pair();
    // The send buffer is full.
    server.set_nonblocking(true).unwrap();
    while (&server).write(&[1; 100_000]).is_ok() {}
    let mut sender = always(server);
    let payload = Payload::new().copied("").by_reference(vec![2; 1000]);
    let mut cursor = Cursor::new(payload);
    assert!(sender.try_send(&mut cursor).is_err());
    assert_eq!(cursor.into_payload().unwrap().len(), 1000);
    // And it is not in the way of another.
    let mut next = Cursor::new(vec![3; 1000]);
    assert_eq!(sender.try_send(&mut next).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_memory_that_panics_lets_no_other_payload_come_behind_it() {
    struct Panics;
    #[allow(unsafe_code, reason = "the trait is unsafe to implement")]
    // SAFETY: there is no memory.
    unsafe impl Memory for Panics {
        fn part(&self, _: usize) -> Option<&[u8]> {
            panic!("an implementation's panic")
        }
        fn size(&self) -> usize {
            100
        }
    }
    let (server, _client) = pair();
    let mut sender = always(server);
    let mut cursor = Cursor::new(Arc::new(Panics) as Arc<dyn Memory>);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sender.try_send(&mut cursor)));
    std::panic::set_hook(hook);
    assert!(sent.is_err());
    let kind = sender.try_send(&mut Cursor::new(vec![1])).unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::InvalidInput);
}
