//! The messages a sender sends in turn, and the rule when one may be written again.
//!
//! The rule is one line: [`Arc::get_mut`] succeeds exactly when the path has let go. So buffer policies live
//! here, outside the paths, and a path cannot get its memory overwritten under the kernel.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::{Buffers, Footprint, Message, Spec};
use crate::offset::PERIOD;
use crate::send::Sender;
use crate::sys::sched;

/// How much of a message is written before it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewrite {
    Nothing,
    OneBytePerPage,
    Everything,
}

/// Messages in turn.
#[derive(Debug)]
pub struct MessagePool {
    messages: Vec<Arc<Message>>,
    rewrite: Rewrite,
    turn: usize,
    sequence: u64,
}

impl MessagePool {
    /// The messages that `spec` asks for, every page touched. With `verify` a ring's messages are rewritten
    /// whole, otherwise one byte in each page.
    pub fn new(spec: &Spec, verify: bool) -> io::Result<Self> {
        let rewrite = match spec.buffers {
            Buffers::Constant => Rewrite::Nothing,
            Buffers::Ring(_) if verify => Rewrite::Everything,
            Buffers::Ring(_) => Rewrite::OneBytePerPage,
        };
        let messages = Message::several(spec, Self::count(spec))?.into_iter().map(Arc::new).collect();
        Ok(Self { messages, rewrite, turn: 0, sequence: 0 })
    }

    /// How many messages `spec` asks for.
    pub fn count(spec: &Spec) -> usize {
        let ring = match spec.buffers {
            Buffers::Constant => 1,
            Buffers::Ring(messages) => messages,
        };
        ring.max(footprint_bytes(spec.footprint).div_ceil(spec.size)).max(1)
    }

    /// The memory that they take, in bytes: not less than they take.
    pub fn memory(spec: &Spec) -> usize {
        spec.memory(Self::count(spec))
    }

    /// The next message to send, rewritten if the policy says so. Waits at most `patience` for the sender to let
    /// go of it; a duration and not an instant, so that no clock is read where nothing has to be waited for.
    #[inline]
    pub fn next(&mut self, sender: &mut dyn Sender, patience: Duration) -> io::Result<&Arc<Message>> {
        let turn = self.turn;
        self.turn = if turn + 1 == self.messages.len() { 0 } else { turn + 1 };
        if self.rewrite != Rewrite::Nothing {
            self.rewrite(turn, sender, patience)?;
        }
        Ok(&self.messages[turn])
    }

    /// The messages, for a path that registers their memory with the kernel.
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// The share of the memory, 0 to 1, that the kernel backs by huge pages.
    pub fn huge_share(&self) -> f64 {
        // All lie in one mapping.
        self.messages.first().map_or(0.0, |message| message.huge_share())
    }

    /// Where in a page the first message begins.
    pub fn message_offset(&self) -> Option<u16> {
        let first = self.messages.first()?.slices().first()?;
        Some((first.as_ptr() as usize % PERIOD) as u16)
    }

    /// The memory that the messages in turn cover, in bytes.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.size()).sum()
    }

    fn rewrite(&mut self, turn: usize, sender: &mut dyn Sender, patience: Duration) -> io::Result<()> {
        self.await_release(turn, sender, patience)?;
        let message = Arc::get_mut(&mut self.messages[turn]).ok_or_else(released_too_early)?;
        match self.rewrite {
            Rewrite::Everything => message.write(self.sequence),
            Rewrite::OneBytePerPage => message.touch(self.sequence),
            Rewrite::Nothing => {}
        }
        self.sequence += 1;
        Ok(())
    }

    fn await_release(&mut self, turn: usize, sender: &mut dyn Sender, patience: Duration) -> io::Result<()> {
        if Arc::get_mut(&mut self.messages[turn]).is_some() {
            return Ok(());
        }
        let by = Instant::now() + patience;
        while Arc::get_mut(&mut self.messages[turn]).is_none() {
            sender.flush()?;
            if !sender.reap(by)? {
                break;
            }
        }
        Ok(())
    }
}

/// A sender that says it holds nothing while a clone of the message is alive.
fn released_too_early() -> io::Error {
    io::Error::other("the send path still holds a message although it reported all messages as free")
}

/// How many bytes the messages in turn must cover.
fn footprint_bytes(footprint: Footprint) -> usize {
    match footprint {
        Footprint::Hot => 0,
        Footprint::L2 => cache_bytes(2).unwrap_or(1 << 20) / 2,
        Footprint::Llc => cache_bytes(3).unwrap_or(32 << 20) / 2,
        Footprint::Cold => (4 * cache_bytes(3).unwrap_or(32 << 20)).max(128 << 20),
    }
}

/// The size of the unified cache of `level` of the first CPU that this process may use, as the kernel tells it.
fn cache_bytes(level: u32) -> Option<usize> {
    let cpu = *sched::allowed_cpus().ok()?.first()?;
    let caches = fs::read_dir(format!("/sys/devices/system/cpu/cpu{cpu}/cache")).ok()?;
    caches.flatten().find_map(|cache| {
        let read = |name| fs::read_to_string(cache.path().join(name)).ok();
        let unified = read("type")?.trim() == "Unified" && read("level")?.trim().parse() == Ok(level);
        unified.then(|| read("size")?.trim().parse::<crate::units::ByteSize>().ok().map(|size| size.0))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_ring_is_rewritten_only_after_its_release() {
        let mut supply = MessagePool::new(&spec(Buffers::Ring(2)), true).unwrap();
        let mut sender = Holder::default();
        for sequence in 0..6 {
            let message = Arc::clone(supply.next(&mut sender, SOON).unwrap());
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
        let mut supply = MessagePool::new(&spec(Buffers::Constant), true).unwrap();
        let mut sender = Holder::default();
        for _ in 0..4 {
            let message = Arc::clone(supply.next(&mut sender, SOON).unwrap());
            sender.send(&message).unwrap();
        }
        assert_eq!(sender.reaps, 0);
    }

    #[test]
    fn a_sender_that_forgets_what_it_holds_is_found_out() {
        #[derive(Debug, Default)]
        struct Forgetful(Vec<Arc<Message>>);
        impl Sender for Forgetful {
            fn send(&mut self, message: &Arc<Message>) -> io::Result<()> {
                self.0.push(Arc::clone(message));
                Ok(())
            }
        }
        let mut supply = MessagePool::new(&spec(Buffers::Ring(1)), false).unwrap();
        let mut sender = Forgetful::default();
        let message = Arc::clone(supply.next(&mut sender, SOON).unwrap());
        sender.send(&message).unwrap();
        drop(message);
        assert!(supply.next(&mut sender, SOON).is_err());
    }

    #[test]
    fn a_footprint_is_covered_by_messages_that_are_not_rewritten() {
        let spec = Spec { footprint: Footprint::L2, ..Spec::new(65536).unwrap() };
        let supply = MessagePool::new(&spec, false).unwrap();
        assert!(supply.bytes() >= footprint_bytes(Footprint::L2) && supply.messages().len() > 1);
    }
}
