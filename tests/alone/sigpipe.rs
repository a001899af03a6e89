//! A peer that went away raises no SIGPIPE: the signal is put back to its default here, which is to end the
//! process, so a single send without MSG_NOSIGNAL would end this test binary.
#![allow(unsafe_code, reason = "signal(2) has no safe wrapper in the standard library")]

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::child::{alone, this_test};
use crate::common::{Host, available, fitting, spec, within};
use copycost::internals::connection::{self, ConnectionOptions};
use copycost::internals::pool::MessagePool;
use copycost::message::Message;
use copycost::send::{Budget, SenderConfig, drain};

#[test]
fn a_peer_that_went_away_raises_no_signal() {
    alone(this_test!(), peers_that_go_away);
}

fn peers_that_go_away() {
    // SAFETY: SIG_DFL installs no handler, so no code of ours can run in a signal's context.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
    for path in available(&spec(65536, false)) {
        within(path.name, move || {
            let options = ConnectionOptions::for_this_machine();
            let listener = connection::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
            let client = connection::connect(listener.local_addr().unwrap(), &options).unwrap();
            let (socket, _) = listener.accept().unwrap();
            connection::set_timeouts(&socket, &options).unwrap();
            let spec = fitting(path, spec(65536, false));
            let pool = MessagePool::new(&spec, false).unwrap();
            let mut sender =
                (path.open)(socket, pool.messages(), SenderConfig::within(Budget::unbounded())).unwrap();
            let message = Arc::new(Message::new(&spec).unwrap());
            drop(client);
            // The first sends may still be taken; then come a reset and, ever after, a broken pipe.
            let mut broken = 0;
            for _ in 0..200 {
                let error = sender.send(&message).err().map(|error| error.kind());
                broken += u32::from(error == Some(io::ErrorKind::BrokenPipe));
            }
            assert!(broken > 0, "{}", path.name);
            let _ = drain(&mut *sender, Instant::now() + Duration::from_secs(1));
            sender.abort();
            sender.send(&message).unwrap_err();
        });
        within("a server", move || {
            let host = Host::start(path, spec(65536, false), 1, |_| {});
            let guest = host.guest(0);
            guest.ask(100, true);
            guest.reset();
            host.failure(0);
        });
    }
}
