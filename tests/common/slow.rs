//! A receiver that is slower than any sender, so that what is sent waits in the sender's queue.

use std::io;
use std::thread;
use std::time::Duration;

use copycost::recv::{self, ReceivePath, Receiver};

#[derive(Debug)]
struct Slow(Box<dyn Receiver>);

impl Receiver for Slow {
    fn recv(&mut self, max: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(3));
        self.0.recv(max.min(65536), see)
    }
}

/// Takes 64 KiB every 3 ms at most, by the first receive path.
pub static SLOW: ReceivePath = ReceivePath {
    name: "slow",
    description: "for tests",
    probe: |_| Ok(()),
    open: |socket, begin| Ok(Box::new(Slow((recv::ALL[0].open)(socket, begin)?))),
};
