//! What the clients of a run share: how much each has received, and when a window begins and ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;

use super::progress::Progress;

/// The state of a run that all clients share.
#[derive(Debug)]
pub struct RunState {
    /// Bytes received so far, by client.
    received: Vec<CachePadded<AtomicU64>>,
    /// The window is over, so clients ask for no more data.
    window_closed: AtomicBool,
    /// When the first client had all its data, and the bytes that all clients had received by then.
    first_finish: OnceLock<(Instant, u64)>,
    /// Clients that have not yet received a first byte in this window.
    without_data: Mutex<usize>,
    started: Condvar,
    /// For [`super::Work::OpenLoop`].
    pub(super) open_loop: Progress,
}

/// The longest time that a client with data waits for the others.
const START_TIMEOUT: Duration = Duration::from_millis(500);

impl RunState {
    /// The state at the start of a run of `clients` clients.
    pub fn new(clients: usize) -> Self {
        let received = (0..clients).map(|_| CachePadded::default()).collect();
        let (without_data, started) = (Mutex::new(clients), Condvar::new());
        Self {
            received,
            window_closed: AtomicBool::new(false),
            first_finish: OnceLock::new(),
            without_data,
            started,
            open_loop: Progress::new(clients),
        }
    }

    /// Bytes that all clients together have received.
    pub fn bytes(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The first client that has received nothing so far.
    pub fn first_without_data(&self) -> Option<usize> {
        self.received.iter().position(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Sets the bytes that a client has received.
    pub(super) fn set_received(&self, client: usize, bytes: u64) {
        self.received[client].store(bytes, Ordering::Relaxed);
    }

    /// Whether the window is over.
    pub(super) fn window_closed(&self) -> bool {
        self.window_closed.load(Ordering::Relaxed)
    }

    /// Notes that a client has all its data.
    pub(super) fn finish(&self) {
        self.first_finish.get_or_init(|| (Instant::now(), self.bytes()));
    }

    /// Ends a window.
    pub fn close_window(&self) {
        self.window_closed.store(true, Ordering::Relaxed);
    }

    /// Waits until every client has its first byte. Otherwise each client would use up its time slice before
    /// the next one gets the CPU: with 64 clients on two CPUs, the last first byte came 90 ms late.
    pub(super) fn start_together(&self) {
        let mut waiting = self.lock_start();
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0 {
            self.started.notify_all();
            return;
        }
        let waited = self.started.wait_timeout_while(waiting, START_TIMEOUT, |waiting| *waiting > 0);
        drop(waited);
    }

    /// Releases the clients that wait for the others and ends the generator, because the run has failed.
    pub fn abandon(&self) {
        self.open_loop.abandon();
        *self.lock_start() = 0;
        self.started.notify_all();
    }

    fn lock_start(&self) -> MutexGuard<'_, usize> {
        self.without_data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first client had all its data, and the bytes that all clients had received by then.
    pub fn first_finish(&self) -> Option<(Instant, u64)> {
        self.first_finish.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_client_with_data_waits_until_all_have_data_or_one_fails() {
        for fails in [false, true] {
            let state = Arc::new(RunState::new(2));
            let first = {
                let state = Arc::clone(&state);
                thread::Builder::new().spawn(move || state.start_together()).unwrap()
            };
            // The test does not depend on this time: the first thread ends when the other one arrives.
            thread::sleep(Duration::from_millis(5));
            if fails {
                state.abandon()
            } else {
                state.start_together()
            }
            first.join().unwrap();
            assert_eq!(*state.lock_start(), 0);
        }
    }

    #[test]
    fn waiting_for_the_others_has_a_timeout() {
        let state = RunState::new(2);
        let began = Instant::now();
        state.start_together();
        assert!(began.elapsed() >= START_TIMEOUT && *state.lock_start() == 1);
    }
}
