//! The wire's deltas and shares on snapshots that no kernel need produce, read from live sockets and altered.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use copycost::cost::Missing;
use copycost::internals::cost::wire::{TcpInfo, Wire, tcp_info};

/// A live snapshot with every count at 0.
fn zero() -> TcpInfo {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut info = tcp_info(stream.as_fd()).unwrap();
    info.total_retrans = Some(0);
    info.data_segs_out = Some(0);
    info.bytes_sent = Some(0);
    info.bytes_retrans = Some(0);
    info.busy_us = Some(0);
    info.rwnd_limited_us = Some(0);
    info.sndbuf_limited_us = Some(0);
    info.delivery_rate = None;
    info.rtt_us = Some(50);
    info.min_rtt_us = Some(20);
    info
}

#[test]
fn counts_wrap_and_rates_do_not_add_across_time() {
    let (mut before, mut after) = (zero(), zero());
    before.data_segs_out = Some(u32::MAX - 9);
    after.data_segs_out = Some(90);
    after.bytes_sent = Some(100_000);
    after.delivery_rate = Some(5_000);
    let wire = Wire::between(&before, &after);
    assert_eq!(wire.segments, Ok(100));
    assert_eq!(wire.segments_per_message(50), Ok(2.0));
    assert_eq!(wire.mean_segment_bytes(), Ok(1000.0));
    assert_eq!(wire.segments_per_message(0), Err(Missing::NothingMoved));
    assert_eq!(wire.delivery_rate, Ok(5_000));
    let still = Wire::between(&before, &before);
    assert_eq!(still.delivery_rate, Err(Missing::NoSample("delivery rate")));
    assert_eq!(still.mean_segment_bytes(), Err(Missing::NothingMoved));
}

#[test]
fn an_old_kernel_has_reasons_and_no_zeroes() {
    let (before, mut after) = (zero(), zero());
    after.busy_us = None;
    after.bytes_sent = None;
    let wire = Wire::between(&before, &after);
    let word = wire.bytes.clone().unwrap_err().to_string();
    assert_eq!(word, "this kernel's TCP_INFO has no bytes_sent (needs Linux 4.19)");
    assert!(wire.shares(Duration::from_secs(1)).is_err());
    assert_eq!(wire.segments, Ok(0), "measured, and none");
}

#[test]
fn shares_add_up_to_one_over_all_connections() {
    let before = zero();
    let mut held = zero();
    held.busy_us = Some(1_000_000);
    held.rwnd_limited_us = Some(600_000);
    held.sndbuf_limited_us = Some(200_000);
    held.rtt_us = Some(70);
    held.min_rtt_us = Some(10);
    let idle = Wire::between(&before, &before);
    let sum = Wire::between(&before, &held).merge_parallel(idle);
    assert_eq!((sum.rtt_us.clone(), sum.min_rtt_us.clone()), (Ok(70), Ok(10)));
    let shares = sum.shares(Duration::from_secs(1)).unwrap();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(shares.nothing_to_send, 0.5), "{shares:?}");
    assert!(near(shares.receiver_window, 0.3) && near(shares.send_buffer, 0.1), "{shares:?}");
    assert!(near(shares.under_way, 0.1), "{shares:?}");
    // A jiffy too many at the end of a run makes no share above 1 or below 0.
    held.busy_us = Some(1_004_000);
    held.rwnd_limited_us = Some(1_004_000);
    let full = Wire::between(&before, &held).shares(Duration::from_secs(1)).unwrap();
    assert!(near(full.receiver_window, 1.0) && near(full.send_buffer, 0.0), "{full:?}");
    assert!(Wire::between(&before, &held).shares(Duration::ZERO).is_err());
}
