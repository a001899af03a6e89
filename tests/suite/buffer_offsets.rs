//! Every buffer that bytes are copied from or to begins where it was put, in every path, layout and placement: read back
//! from the addresses themselves.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::common::{available, receivers, spec};
use copycost::internals::pool::MessagePool;
use copycost::message::{Fields, Layout, Message, Spec};
use copycost::offset::{BufferStart, Offset, Offsets, PERIOD, is_slow};
use copycost::rig::{BufferOffsets, Rig, Work};
use copycost::scenario::{Placement, Scenario};
use copycost::send::{Budget, SenderConfig, Socket};

fn offset_of(bytes: &[u8]) -> usize {
    bytes.as_ptr() as usize % PERIOD
}

#[test]
fn messages_of_every_layout_begin_where_they_were_put() {
    for layout in Layout::ALL {
        for fields in Fields::ALL {
            for offset in [0, 1, 16, 64, 4080, 4095] {
                for size in [8, 1000, 70_000] {
                    let spec = Spec { layout: *layout, fields: *fields, ..Spec::new(size).unwrap() };
                    let spec = spec.with_offset(Offset::At(offset), 0);
                    let messages = Message::several(&spec, 3).unwrap();
                    let first = offset_of(&messages[0].slices()[0]);
                    assert_eq!(first, usize::from(offset), "{spec}");
                    for message in &messages {
                        let bytes: usize = message.slices().iter().map(|field| field.len()).sum();
                        assert_eq!((bytes, message.size()), (size, size), "{spec}");
                        // Small messages on a heap share pages: only the first begins there.
                        if *layout != Layout::Heap && *layout != Layout::Huge || size > PERIOD {
                            assert_eq!(offset_of(&message.slices()[0]), first, "{spec}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_drawn_copies_fast_and_is_decided_by_the_seed() {
    for layout in Layout::ALL {
        for fields in Fields::ALL {
            for seed in 0..50 {
                let spec = Spec { layout: *layout, fields: *fields, ..Spec::new(65_536).unwrap() };
                let spec = spec.with_offset(Offset::Drawn, seed);
                assert_eq!(
                    spec,
                    Spec { start: BufferStart::Malloc, ..spec }.with_offset(Offset::Drawn, seed)
                );
                let message = Message::new(&spec).unwrap();
                let mut position = 0;
                for field in message.slices() {
                    // Into a socket's memory that begins with a page.
                    assert!(!is_slow(position, offset_of(field)), "{spec} seed {seed}");
                    position += field.len();
                }
            }
        }
    }
}

#[test]
fn every_receive_path_begins_its_buffer_where_it_was_asked_to() {
    for (path, _) in receivers() {
        for offset in [0, 16, 64, 4032] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = Socket::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let receiver = (path.open)(socket, BufferStart::At(offset)).unwrap();
            let read_back = receiver.buffer_offset();
            assert!(read_back.is_none_or(|read| read == usize::from(offset)), "{}: {read_back:?}", path.name);
            // The one without a buffer has nothing to copy to.
            assert_eq!(read_back.is_none(), path.name == "trunc");
        }
    }
}

#[test]
fn every_send_path_gathers_where_no_copy_is_slow_or_where_it_was_asked_to() {
    for path in available(&spec(16_384, false)) {
        for asked in [None, Some(BufferStart::At(4080))] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = Socket::from(listener.accept().unwrap().0);
            let pool = MessagePool::new(&path.nearest(&spec(16_384, false)).unwrap(), false).unwrap();
            let terms = SenderConfig { staging: asked, ..SenderConfig::within(Budget::unbounded()) };
            let mut sender = (path.open)(socket, pool.messages(), terms).unwrap();
            let message = Arc::clone(&pool.messages()[0]);
            sender.send(&message).unwrap();
            sender.flush().unwrap();
            let Some(staging) = sender.staging_offset() else { continue };
            match asked {
                Some(BufferStart::At(offset)) => assert_eq!(staging, usize::from(offset), "{}", path.name),
                _ => {
                    let mut position = staging;
                    for field in message.slices() {
                        assert!(!is_slow(position, offset_of(field)), "{}", path.name);
                        position += field.len();
                    }
                    assert!(!is_slow(0, staging), "{}", path.name);
                }
            }
        }
    }
}

#[test]
fn a_rig_reads_its_offsets_back_and_all_paths_of_a_set_up_have_the_same() {
    for placement in Placement::ALL {
        for number in 1..3 {
            let mut seen: Option<BufferOffsets> = None;
            for path in available(&spec(16_384, false)) {
                // The message that all of these layouts share is what can be compared.
                if (path.probe)(&spec(16_384, false)).is_err() {
                    continue;
                }
                let scenario = Scenario::new(path, spec(16_384, false), 1).of_set_up(number);
                let scenario = Scenario { placement: *placement, verify: true, ..scenario };
                let mut rig = Rig::build(&scenario).unwrap();
                rig.run(Work::Window(Duration::from_millis(2))).unwrap();
                let offsets = rig.offsets();
                assert!(offsets.message.is_some() && offsets.receive.is_some(), "{offsets:?}");
                assert_eq!(*seen.get_or_insert(offsets), offsets, "{}", path.name);
            }
        }
        let path = &copycost::send::ALL[0];
        let offsets = Offsets { send: Offset::At(4080), receive: Offset::At(16), seed: 0 };
        let scenario = Scenario { offsets, verify: true, ..Scenario::new(path, spec(16_384, false), 2) };
        let mut rig = Rig::build(&scenario).unwrap();
        rig.run(Work::Rounds(50)).unwrap();
        assert_eq!(rig.offsets(), BufferOffsets { message: Some(4080), receive: Some(16) });
    }
}
