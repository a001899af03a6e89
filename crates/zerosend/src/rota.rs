//! What waits for a thread that starts with the first and ends when there is none: the state alone, without its lock.

use std::mem;

/// Things that one thread looks at. Everything here is called with the lock that it lies in.
#[derive(Debug)]
pub(crate) struct Rota<T> {
    /// The oldest first.
    waiting: Vec<T>,
    /// The thread has so many of them.
    in_hand: usize,
    running: bool,
}

impl<T> Rota<T> {
    pub(crate) const fn new() -> Self {
        Self { waiting: Vec::new(), in_hand: 0, running: false }
    }

    /// One more. True: the caller must start the thread, and call [`Rota::did_not_start`] if it cannot.
    #[must_use]
    pub(crate) fn add(&mut self, one: T) -> bool {
        self.waiting.push(one);
        !mem::replace(&mut self.running, true)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    pub(crate) fn did_not_start(&mut self) {
        self.running = false;
    }

    /// All that wait, to be looked at without the lock; then come [`Rota::put_back`] and nothing else.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let taken = mem::take(&mut self.waiting);
        self.in_hand += taken.len();
        taken
    }

    /// Those of `taken`, of which there were `count`, that still are to be waited for.
    pub(crate) fn put_back(&mut self, mut taken: Vec<T>, count: usize) {
        self.in_hand -= count;
        taken.append(&mut self.waiting);
        self.waiting = taken;
    }

    /// Whether the thread ends because there is nothing for it. What is added from then on starts another.
    pub(crate) fn stop_if_empty(&mut self) -> bool {
        if self.is_empty() {
            self.running = false;
        }
        !self.running
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are, those in the thread's hand among them.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_hand
    }

    pub(crate) fn waiting(&self) -> &[T] {
        &self.waiting
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stay_first_and_the_thread_ends_when_there_is_none() {
        let mut rota = Rota::new();
        assert!(rota.add(1) && !rota.add(2));
        let taken = rota.take();
        assert!(!rota.add(3) && !rota.stop_if_empty());
        assert_eq!(rota.len(), 3);
        rota.put_back(taken[1..].to_vec(), 2);
        assert_eq!(rota.waiting(), [2, 3]);
        let taken = rota.take();
        assert!(!rota.stop_if_empty(), "they are in hand");
        rota.put_back(Vec::new(), taken.len());
        assert!(rota.stop_if_empty() && rota.is_empty());
        assert!(rota.add(4), "another thread");
        rota.did_not_start();
        assert!(rota.add(5));
    }
}

/// `RUSTFLAGS='--cfg loom' cargo test -p zerosend --lib --release loom`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::Rota;

    /// The thread: looks once at each, and ends when there is none.
    fn run(rota: &Mutex<Rota<usize>>, seen: &AtomicUsize) {
        loop {
            let taken = rota.lock().unwrap().take();
            seen.fetch_add(taken.len(), Ordering::SeqCst);
            let mut rota = rota.lock().unwrap();
            rota.put_back(Vec::new(), taken.len());
            if rota.stop_if_empty() {
                return;
            }
        }
    }

    #[test]
    fn loom_nothing_is_left_without_a_thread() {
        loom::model(|| {
            let rota = Arc::new(Mutex::new(Rota::new()));
            let seen = Arc::new(AtomicUsize::new(0));
            let droppers: Vec<_> = (0..2)
                .map(|one| {
                    let (rota, seen) = (Arc::clone(&rota), Arc::clone(&seen));
                    thread::spawn(move || {
                        let start = rota.lock().unwrap().add(one);
                        start.then(|| thread::spawn(move || run(&rota, &seen)))
                    })
                })
                .collect();
            for dropper in droppers {
                if let Some(runner) = dropper.join().unwrap() {
                    runner.join().unwrap();
                }
            }
            assert_eq!(seen.load(Ordering::SeqCst), 2);
            assert!(rota.lock().unwrap().is_empty());
        });
    }
}
