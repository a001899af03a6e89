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
use crate::workload::Deck;

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
    /// Decides the order, if messages are not all the same.
    played: Option<Box<PlayedDeck>>,
}

/// A deck, and the messages that each of its classes has.
#[derive(Debug)]
struct PlayedDeck {
    deck: Deck,
    objects: Vec<ClassObjects>,
    random: fastrand::Rng,
    /// The class of the last message.
    class: usize,
}

/// Where the messages of a class lie in the pool.
#[derive(Debug, Clone, Copy)]
struct ClassObjects {
    first: usize,
    count: usize,
    /// The next of a ring.
    next: usize,
}

impl MessagePool {
    /// The messages of `spec`, with every page touched. With `verify` a ring's messages are rewritten
    /// completely, otherwise one byte in each page.
    pub fn new(spec: &Spec, verify: bool) -> io::Result<Self> {
        let messages = Message::several(spec, spec.pool_messages())?.into_iter().map(Arc::new).collect();
        Ok(Self { messages, rewrite: rewrite(spec, verify), next_index: 0, sequence: 0, played: None })
    }

    /// The messages of a deck, laid out as `base` says. A message of a class is drawn uniformly from those of its class;
    /// rings take theirs in turn.
    pub fn of_deck(deck: Deck, base: &Spec, verify: bool) -> io::Result<Self> {
        let workload = Arc::clone(&deck.workload);
        let specs: Vec<Spec> = workload.classes().iter().map(|class| workload.spec(*class, base)).collect();
        let counts =
            if workload.shares_one_buffer(base) { vec![1; specs.len()] } else { workload.objects(base) };
        let messages = if workload.shares_one_buffer(base) {
            Message::prefixes(&specs)?
        } else {
            Message::of_each(&specs.into_iter().zip(counts.iter().copied()).collect::<Vec<_>>())?
        };
        let mut first = 0;
        let objects = |count: usize| {
            let objects = ClassObjects { first, count, next: 0 };
            first += count;
            objects
        };
        let objects = counts.into_iter().map(objects).collect();
        let played = PlayedDeck { deck, objects, random: fastrand::Rng::with_seed(0), class: 0 };
        Ok(Self {
            messages: messages.into_iter().map(Arc::new).collect(),
            rewrite: rewrite(base, verify),
            next_index: 0,
            sequence: 0,
            played: Some(Box::new(played)),
        })
    }

    /// The class of the last message; 0 if all are the same.
    #[inline]
    pub fn last_class(&self) -> usize {
        self.played.as_ref().map_or(0, |played| played.class)
    }

    /// The next message to send, rewritten if the policy says so. Waits at most `patience` for the sender to
    /// release it. `patience` is a duration, so that no clock is read if there is nothing to wait for.
    #[inline]
    pub fn next(&mut self, sender: &mut dyn Sender, patience: Duration) -> io::Result<&Arc<Message>> {
        let index = match &mut self.played {
            None => {
                let index = self.next_index;
                self.next_index = if index + 1 == self.messages.len() { 0 } else { index + 1 };
                index
            }
            Some(played) => played.next_index(self.rewrite != Rewrite::Nothing),
        };
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

impl PlayedDeck {
    #[inline]
    fn next_index(&mut self, ring: bool) -> usize {
        self.class = self.deck.next_class();
        let objects = &mut self.objects[self.class];
        if objects.count == 1 {
            return objects.first;
        }
        if !ring {
            return objects.first + self.random.usize(..objects.count);
        }
        let index = objects.first + objects.next;
        objects.next = if objects.next + 1 == objects.count { 0 } else { objects.next + 1 };
        index
    }
}

/// What is rewritten of the messages of `spec`.
fn rewrite(spec: &Spec, verify: bool) -> Rewrite {
    match spec.buffers {
        Buffers::Constant => Rewrite::Nothing,
        Buffers::Ring(_) if verify => Rewrite::Everything,
        Buffers::Ring(_) => Rewrite::OneBytePerPage,
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
