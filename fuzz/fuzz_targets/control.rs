//! A frame of a control connection, as each end reads it: its length, its JSON, and what it means.
#![no_main]

use copycost_cli::remote::frame::{self, MOST_FROM_GUEST, MOST_FROM_HOST};
use copycost_cli::remote::order::{Answer, Order, sentence};
use copycost::internals::server::News;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((header, json)) = data.split_first_chunk() else { return };
    for most in [MOST_FROM_GUEST, MOST_FROM_HOST] {
        if let Ok(length) = frame::length(*header, most) {
            assert!(length <= most);
        }
    }
    if let Ok(order) = frame::decode::<Order>(json) {
        let frame = frame::encode(&order).expect("what was read can be written");
        assert_eq!(frame::decode::<Order>(&frame[4..]).as_ref(), Ok(&order));
        match order.understand(64) {
            Ok(understood) => assert!(understood.memory / order.clients <= 2 << 30),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
    match frame::decode::<Answer>(json) {
        Ok(Answer::News(message)) => drop(News::from(*message)),
        Ok(Answer::Refused(reason)) => assert!(!sentence(&reason).contains('\n')),
        Ok(Answer::Offered(_)) | Err(_) => {}
    }
});
