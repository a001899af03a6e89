//! The messages that a sender sends one after the other, and when one may be rewritten.
//!
//! A message may be rewritten when [`Arc::get_mut`] succeeds, because then the path has dropped its clone. So
//! buffer policies live outside the paths, and they cannot overwrite memory that the kernel still reads.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::{Buffers, Message, Spec};
use crate::offset::PERIOD;
use crate::send::Sender;

/// How much of a message is written before it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewrite {
    Nothing,
    OneBytePerPage,
    Everything,
}

/// The messages of one sender.
#[derive(Debug)]
pub struct MessagePool {
    messages: Vec<Arc<Message>>,
    rewrite: Rewrite,
    next_index: usize,
    sequence: u64,
}

impl MessagePool {
    /// The messages of `spec`, with every page touched. With `verify` a ring's messages are rewritten
    /// completely, otherwise one byte in each page.
    pub fn new(spec: &Spec, verify: bool) -> io::Result<Self> {
        let rewrite = match spec.buffers {
            Buffers::Constant => Rewrite::Nothing,
            Buffers::Ring(_) if verify => Rewrite::Everything,
            Buffers::Ring(_) => Rewrite::OneBytePerPage,
        };
        let messages = Message::several(spec, spec.pool_messages())?.into_iter().map(Arc::new).collect();
        Ok(Self { messages, rewrite, next_index: 0, sequence: 0 })
    }

    /// The next message to send, rewritten if the policy says so. Waits at most `patience` for the sender to
    /// release it. `patience` is a duration, so that no clock is read if there is nothing to wait for.
    #[inline]
    pub fn next(&mut self, sender: &mut dyn Sender, patience: Duration) -> io::Result<&Arc<Message>> {
        let index = self.next_index;
        self.next_index = if index + 1 == self.messages.len() { 0 } else { index + 1 };
        if self.rewrite != Rewrite::Nothing {
            self.rewrite(index, sender, patience)?;
        }
        Ok(&self.messages[index])
    }

    /// The messages, for a path that registers their memory with the kernel.
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// The share of the memory, 0 to 1, that the kernel backs by huge pages.
    pub fn huge_share(&self) -> f64 {
        // All messages are in one mapping.
        self.messages.first().map_or(0.0, |message| message.huge_share())
    }

    /// The offset in a page at which the first message starts.
    pub fn message_offset(&self) -> Option<u16> {
        let first = self.messages.first()?.slices().first()?;
        Some((first.as_ptr() as usize % PERIOD) as u16)
    }

    /// The memory that the messages cover, in bytes.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.size()).sum()
    }

    fn rewrite(&mut self, index: usize, sender: &mut dyn Sender, patience: Duration) -> io::Result<()> {
        self.await_release(index, sender, patience)?;
        let message = Arc::get_mut(&mut self.messages[index]).ok_or_else(released_too_early)?;
        match self.rewrite {
            Rewrite::Everything => message.write(self.sequence),
            Rewrite::OneBytePerPage => message.touch(self.sequence),
            Rewrite::Nothing => {}
        }
        self.sequence += 1;
        Ok(())
    }

    fn await_release(&mut self, index: usize, sender: &mut dyn Sender, patience: Duration) -> io::Result<()> {
        if Arc::get_mut(&mut self.messages[index]).is_some() {
            return Ok(());
        }
        let by = Instant::now() + patience;
        while Arc::get_mut(&mut self.messages[index]).is_none() {
            sender.flush()?;
            if !sender.reap(by)? {
                break;
            }
        }
        Ok(())
    }
}

/// The sender says that it holds nothing, but a clone of the message exists.
fn released_too_early() -> io::Error {
    io::Error::other("the send path still holds a message although it reported all messages as free")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Footprint;

    /// Holds every message until it is reaped, one at a time.
    #[derive(Debug, Default)]
    struct Holder {
        held: Vec<Arc<Message>>,
        reaps: usize,
    }

    impl Sender for Holder {
        fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
            self.held.push(Arc::clone(message));
            Ok(())
        }

        fn reap(&mut self, _by: Instant) -> io::Result<bool> {
            self.reaps += 1;
            Ok(!self.held.is_empty() && {
                drop(self.held.remove(0));
                true
            })
        }
    }

    fn spec(buffers: Buffers) -> Spec {
        Spec { buffers, ..Spec::new(64).unwrap() }
    }

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn a_ring_is_rewritten_only_after_its_release() {
        let mut pool = MessagePool::new(&spec(Buffers::Ring(2)), true).unwrap();
        let mut sender = Holder::default();
        for sequence in 0..6 {
            let message = Arc::clone(pool.next(&mut sender, TIMEOUT).unwrap());
            let mut expected = vec![0; 64];
            crate::message::content(sequence, 0, &mut expected);
            let bytes: Vec<u8> = message.slices().iter().flat_map(|field| field.to_vec()).collect();
            assert_eq!(bytes, expected);
            sender.send(&message).unwrap();
        }
        assert_eq!(sender.reaps, 4, "the first two were free, each later one had to be waited for");
    }

    #[test]
    fn a_constant_message_is_sent_again_at_once() {
        let mut pool = MessagePool::new(&spec(Buffers::Constant), true).unwrap();
        let mut sender = Holder::default();
        for _ in 0..4 {
            let message = Arc::clone(pool.next(&mut sender, TIMEOUT).unwrap());
            sender.send(&message).unwrap();
        }
        assert_eq!(sender.reaps, 0);
    }

    #[test]
    fn a_sender_that_wrongly_reports_no_held_message_is_an_error() {
        #[derive(Debug, Default)]
        struct Forgetful(Vec<Arc<Message>>);
        impl Sender for Forgetful {
            fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
                self.0.push(Arc::clone(message));
                Ok(())
            }
        }
        let mut pool = MessagePool::new(&spec(Buffers::Ring(1)), false).unwrap();
        let mut sender = Forgetful::default();
        let message = Arc::clone(pool.next(&mut sender, TIMEOUT).unwrap());
        sender.send(&message).unwrap();
        drop(message);
        assert!(pool.next(&mut sender, TIMEOUT).is_err());
    }

    #[test]
    fn a_footprint_is_covered_by_messages_that_are_not_rewritten() {
        let spec = Spec { footprint: Footprint::L2, ..Spec::new(65536).unwrap() };
        let pool = MessagePool::new(&spec, false).unwrap();
        assert!(pool.bytes() >= Footprint::L2.bytes() && pool.messages().len() > 1);
    }
}
